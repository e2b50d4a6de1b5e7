"""The demo's configuration file: written for people to read and to copy from."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from pathlib import Path

from services.cli.demo.encode import CameraPair
from services.cli.demo.scene import SceneFiles

#: Real footage that the demo shows where it is present: file, title, rules.
_FOOTAGE_RULES = {
    "one-by-one-person-detection": (
        "Door",
        [f"{{kind: tripwire, id: door, line: [[{560 / 768:.4f}, 0], [{560 / 768:.4f}, 1]], targets: [human]}}"],
    ),
    "TUD-Campus": ("Campus", ["{kind: tripwire, id: path, line: [[0.375, 0], [0.375, 1]], targets: [human]}"]),
    "car-detection": ("Car park", ["{kind: smd, id: cars}"]),
}

_HEAD = """\
# The demo's site, written anew by every `vedette demo`. Copy what you need: for a camera of your own change `url`, `user` and `password`.
# `vedette config sample` shows every key there is.

site:
  name: Demo
  time_zone: {zone}

data_dir: data  # beside this file

console:
  port: {port}

storage:
  max_bytes: 4294967296  # 4 GiB: a demo must not fill the disk; the oldest recordings go first

# A monitoring centre. The demo runs one on this machine, which verifies the signatures.
centres:
  - id: demo-centre
    url: "{centre}"
    secret: {{file: webhook-secret}}

channels:
"""
_CHANNEL = """\
  - id: {id}
    number: {number}
    name: {name}
    main: {{url: "{url}/main", user: {user}, password: {{file: camera-password}}}}
    sub: {{url: "{url}/sub", user: {user}, password: {{file: camera-password}}}}  # small: analysed instead of the main stream
    rules:
{rules}
"""


@dataclass(frozen=True, slots=True)
class DemoCamera:
    """One demo camera: its files, and its rules as YAML flow mappings without linkage."""

    id: str
    name: str
    files: CameraPair
    rules: list[str] = field(default_factory=list)


def scene_camera(scene: SceneFiles) -> DemoCamera:
    """A generated scene with rules where its truth has lines and zones."""
    rules: list[str] = []
    for line in scene.truth.lines:
        points = f"[[{line.x:g}, 0], [{line.x:g}, 1]]"  # top to bottom: A is left of it, B right of it
        rules.append(f"{{kind: tripwire, id: {line.name}, line: {points}, targets: [human]}}")
        rules.append(f"{{kind: people_counting, id: {line.name}-count, line: {points}, enter: a_to_b}}")
    for zone in scene.truth.zones:
        box = zone.box
        corners = [[box.x1, box.y1], [box.x2, box.y1], [box.x2, box.y2], [box.x1, box.y2]]
        rules.append(f"{{kind: intrusion, id: {zone.name}, zone: {json.dumps(corners)}, actions: [cross], targets: [human]}}")
        rules.append(f"{{kind: smd, id: {scene.truth.name}-motion, targets: [motor_vehicle]}}")
    return DemoCamera(scene.truth.name, scene.truth.name.capitalize(), scene.files, rules)


def footage_camera(file: Path, files: CameraPair) -> DemoCamera:
    """Real footage, with the rules that fit it."""
    name, rules = _FOOTAGE_RULES[file.stem]
    return DemoCamera(name.lower().replace(" ", "-"), name, files, rules)


def footage_names() -> tuple[str, ...]:
    """Files of real footage that the demo knows rules for."""
    return tuple(f"{stem}.mp4" for stem in _FOOTAGE_RULES)


def site_text(cameras: list[DemoCamera], *, rtsp: str, user: str, centre: str, port: int, zone: str) -> str:
    """The file.

    Args:
        rtsp: `rtsp://host:port` of the cameras. centre: URL of the webhook receiver. port: of the page. zone: IANA name.
    """
    text = _HEAD.format(zone=zone, port=port, centre=centre)
    for number, camera in enumerate(cameras, 1):
        rules = "\n".join(f"      - {rule[:-1]}, linkage: {{webhooks: [demo-centre]}}}}" for rule in camera.rules)
        text += _CHANNEL.format(id=camera.id, number=number, name=camera.name, url=f"{rtsp}/{camera.id}", user=user, rules=rules)
    return text
