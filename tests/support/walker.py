"""A world of one bright figure on a dark floor, and a real .onnx detector that sees it: analytics at a pace that no camera has."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from shared.domain.media import Picture

WIDTH, HEIGHT = 160, 96
FIGURE_WIDTH, FIGURE_HEIGHT = 16, 40
_TOP = 40


def floor(x: float | None) -> Picture:
    """The floor, with a figure whose middle is at `x` (0..1 of the width), or with nobody."""
    i420 = np.full((HEIGHT * 3 // 2, WIDTH), 128, dtype=np.uint8)
    i420[:HEIGHT] = 40
    if x is not None:
        left = round(x * WIDTH) - FIGURE_WIDTH // 2
        i420[_TOP : _TOP + FIGURE_HEIGHT, max(0, left) : left + FIGURE_WIDTH] = 235
    return Picture(WIDTH, HEIGHT, i420=i420)


def walker_model(path: Path) -> Path:
    """A detector whose one box is a person where the picture is bright: the middle of the bright pixels, of the figure's size."""
    cells = sum((WIDTH // stride) * (HEIGHT // stride) for stride in (8, 16, 32))
    columns = np.broadcast_to(np.arange(WIDTH, dtype=np.float32) + 0.5, (1, 1, HEIGHT, WIDTH)).copy()
    rows = np.broadcast_to((np.arange(HEIGHT, dtype=np.float32) + 0.5)[:, None], (1, 1, HEIGHT, WIDTH)).copy()
    constants = {
        "bright": np.array([0.6], dtype=np.float32),
        "columns": columns,
        "rows": rows,
        "tiny": np.array([1e-3], dtype=np.float32).reshape(1, 1, 1),
        "whole": np.array([FIGURE_WIDTH * FIGURE_HEIGHT / 0.95], dtype=np.float32).reshape(1, 1, 1),
        "most": np.array([0.95], dtype=np.float32).reshape(1, 1, 1),
        "size": np.array([FIGURE_WIDTH, FIGURE_HEIGHT], dtype=np.float32).reshape(1, 2, 1),
        "others": np.zeros((1, 79, 1), dtype=np.float32),
        "empty": np.zeros((1, 84, cells - 1), dtype=np.float32),
        "pixels": np.array([WIDTH * HEIGHT], dtype=np.float32).reshape(1, 1, 1),
        "shape": np.array([1, 1, 1], dtype=np.int64),
    }
    nodes = [
        helper.make_node("ReduceMean", ["images"], ["grey"], axes=[1], keepdims=1),
        helper.make_node("Greater", ["grey", "bright"], ["lit"]),
        helper.make_node("Cast", ["lit"], ["mask"], to=TensorProto.FLOAT),
        *_sum("mask", "mass"),
        helper.make_node("Add", ["mass", "tiny"], ["weight"]),
        *_middle("columns", "x"),
        *_middle("rows", "y"),
        helper.make_node("Div", ["mass", "whole"], ["share"]),
        helper.make_node("Min", ["share", "most"], ["score"]),
        helper.make_node("Concat", ["x", "y", "size", "score", "others"], ["box"], axis=1),
        helper.make_node("Concat", ["box", "empty"], ["output0"], axis=2),
    ]
    source = helper.make_tensor_value_info("images", TensorProto.FLOAT, [1, 3, HEIGHT, WIDTH])
    target = helper.make_tensor_value_info("output0", TensorProto.FLOAT, [1, 84, cells])
    kept = [numpy_helper.from_array(value, name) for name, value in constants.items()]
    graph = helper.make_graph(nodes, "walker", [source], [target], kept)
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)], ir_version=8), str(path))
    return path


def _sum(of: str, name: str) -> list[onnx.NodeProto]:
    return [
        helper.make_node("ReduceMean", [of], [f"{name}_mean"], axes=[1, 2, 3], keepdims=0),
        helper.make_node("Reshape", [f"{name}_mean", "shape"], [f"{name}_one"]),
        helper.make_node("Mul", [f"{name}_one", "pixels"], [name]),
    ]


def _middle(grid: str, name: str) -> list[onnx.NodeProto]:
    return [
        helper.make_node("Mul", ["mask", grid], [f"{name}_grid"]),
        *_sum(f"{name}_grid", f"{name}_sum"),
        helper.make_node("Div", [f"{name}_sum", "weight"], [name]),
    ]
