"""Letterbox, heads, suppression, classes."""

from __future__ import annotations

import numpy as np
import pytest

from services.analytics.core.boxes import Head, Letterbox, RawBoxes, decode, detections, head_of, iou_matrix, suppress
from services.analytics.core.classes import NO_TARGET, TARGETS, groups
from shared.domain.targets import TargetClass

WANTED = np.array([0, 2])
COCO = groups({}, 80)


def yolo_output(*boxes: tuple[float, float, float, float, int, float]) -> np.ndarray:
    output = np.zeros((84, 5040), dtype=np.float32)
    for index, (x, y, w, h, number, score) in enumerate(boxes):
        output[:4, 10 * index] = (x, y, w, h)
        output[4 + number, 10 * index] = score
    return output


def test_heads_are_known_by_their_shape() -> None:
    assert head_of((1, 84, 5040), 640, 384) is Head.YOLO
    assert head_of((1, 3549, 85), 416, 416) is Head.YOLOX
    assert head_of((1, 300, 6), 640, 640) is Head.END_TO_END
    assert head_of((1, 1000), 224, 224) is None


@pytest.mark.parametrize(("width", "height"), [(640, 360), (768, 432), (480, 360), (1920, 1080), (100, 300)])
def test_letterbox_and_back(width: int, height: int) -> None:
    for centred in (True, False):
        box = Letterbox.fit(width, height, 640, 384, centred=centred)
        assert box.left + box.width <= 640
        assert box.top + box.height <= 384
        whole = np.array([[box.left, box.top, box.left + box.width, box.top + box.height]], dtype=np.float32)
        np.testing.assert_allclose(box.normalise(whole), [[0, 0, 1, 1]], atol=0.01)


def test_yolo_boxes_of_wanted_classes_best_first() -> None:
    output = yolo_output((100, 100, 50, 80, 0, 0.6), (300, 200, 100, 60, 2, 0.9), (400, 100, 20, 20, 16, 0.95), (500, 100, 20, 20, 0, 0.2))
    found = decode(output, Head.YOLO, confidence=0.25, wanted=WANTED, input_width=640, input_height=384)
    assert found.classes.tolist() == [2, 0]
    np.testing.assert_allclose(found.corners[1], [75, 60, 125, 140])


def test_an_anchor_whose_best_class_is_another_is_none_of_ours() -> None:
    output = yolo_output((100, 100, 50, 80, 0, 0.4))
    output[4 + 16, 0] = 0.5  # rather a dog than a person
    assert len(decode(output, Head.YOLO, confidence=0.25, wanted=WANTED, input_width=640, input_height=384).scores) == 0


def test_yolox_is_decoded_on_its_grid() -> None:
    output = np.zeros((3549, 85), dtype=np.float32)
    anchor = 52 * 52 + 3 * 26 + 5  # stride 16, row 3, column 5
    output[anchor, :6] = [0.5, 0.25, np.log(2.0), np.log(4.0), 0.8, 0.9]
    found = decode(output, Head.YOLOX, confidence=0.25, wanted=WANTED, input_width=416, input_height=416)
    np.testing.assert_allclose(found.corners, [[88 - 16, 52 - 32, 88 + 16, 52 + 32]], rtol=1e-5)
    np.testing.assert_allclose(found.scores, [0.72], rtol=1e-5)


def test_end_to_end_rows_are_taken_as_they_are() -> None:
    output = np.array([[10, 20, 30, 40, 0.9, 0], [10, 20, 30, 40, 0.1, 0], [0, 0, 5, 5, 0.9, 16]], dtype=np.float32)
    found = decode(output, Head.END_TO_END, confidence=0.25, wanted=WANTED, input_width=640, input_height=640)
    assert found.corners.tolist() == [[10, 20, 30, 40]]


def raw(*rows: tuple[float, float, float, float, float, int]) -> RawBoxes:
    table = np.array(rows, dtype=np.float32)
    return RawBoxes(table[:, :4], table[:, 4], table[:, 5].astype(np.int64))


def test_suppression_keeps_the_best_of_each_group() -> None:
    boxes = raw((0, 0, 10, 10, 0.9, 2), (0, 0, 10, 9.5, 0.8, 7), (0, 0, 10, 9.5, 0.7, 0), (20, 0, 30, 10, 0.6, 2))
    kept = suppress(boxes, COCO, 0.7)
    assert kept.classes.tolist() == [2, 0, 2]  # the truck is the car; the person is not


def test_suppression_is_greedy_from_the_best_down() -> None:
    chain = raw((0, 0, 10, 10, 0.9, 0), (2, 0, 12, 10, 0.8, 0), (4, 0, 14, 10, 0.7, 0))
    assert suppress(chain, COCO, 0.5).corners[:, 0].tolist() == [0, 4]


def test_iou_matrix_agrees_with_boxes() -> None:
    matrix = iou_matrix(np.array([[0, 0, 2, 2]], dtype=np.float32), np.array([[1, 1, 3, 3], [5, 5, 6, 6]], dtype=np.float32))
    np.testing.assert_allclose(matrix, [[1 / 7, 0]], rtol=1e-6)


def test_boxes_become_targets_of_the_three_classes() -> None:
    box = Letterbox.fit(640, 360, 640, 384)
    found = detections(
        raw((100, 100, 200, 300, 0.9, 0), (0, 0, 50, 50, 0.8, 1), (0, 0, 50, 50, 0.7, 3), (0, 0, 640, 12, 0.5, 0)), box, COCO
    )
    assert [one.target for one in found] == [
        TargetClass.HUMAN,
        TargetClass.NON_MOTOR_VEHICLE,
        TargetClass.MOTOR_VEHICLE,
    ]  # the last is padding
    assert found[0].box.y1 == pytest.approx((100 - 12) / 360)


def test_names_of_a_model_of_ones_own_are_mapped_by_name() -> None:
    table = groups({0: "Truck", 1: "helmet", 2: "person"}, 3)
    assert [TARGETS[index] if index != NO_TARGET else None for index in table] == [TargetClass.MOTOR_VEHICLE, None, TargetClass.HUMAN]
