"""What `dfd inspect` prints of YAML, JSON and XML files, whose content says what they are."""

from __future__ import annotations

import contextlib
import json
import shlex
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from dfd_ros.core import provenance
from dfd_ros.core.errors import InputError
from dfd_ros.core.files import read_json, read_text, read_yaml

Lines = Iterator[tuple[str, object]]


def kind(path: Path) -> tuple[str, Callable[[Path], Lines]]:
    """What a file is, and what describes it. Raises `InputError`."""
    from dfd_ros.calibration.calibration_file import FORMAT
    from dfd_ros.calibration.foreign_calibration import read_foreign

    content = read_json(path) if path.suffix.lower() == '.json' else None
    if isinstance(content, dict) and {'job', 'summary'} <= set(content):
        return 'report of dfd convert', _report
    foreign = read_foreign(path)
    if foreign is not None:
        return f'calibration of {foreign.kind}', _foreign
    if path.suffix.lower() in ('.yaml', '.yml') and isinstance(content := read_yaml(path), dict):
        if content.get('format') == FORMAT:
            return 'calibration', _calibration
        if {'network', 'steps', 'stages', 'data'} & set(content):
            return 'training configuration', _training
        for name, what in (('stack.yaml', 'focal stack'), ('metadata.yaml', 'bag')):
            if path.name == name:
                raise InputError(
                    f'{path}: part of a {what}; inspect its folder: dfd inspect {shlex.quote(str(path.parent))}'
                )
    raise InputError(
        f'{path}: neither a calibration of dfd calibrate, camera_calibration, Kalibr or OpenCV, nor a training '
        'configuration, nor a report of dfd convert'
    )


def _calibration(path: Path) -> Lines:
    from dataclasses import asdict

    from dfd_ros.calibration.calibration_file import Calibration

    for name, part in vars(Calibration.read(path)).items():
        yield name, 'not measured' if part is None else readable(json.dumps(asdict(part), default=str))
    yield from made_by(provenance.of_comment(read_text(path)))


def _foreign(path: Path) -> Lines:
    from dfd_ros.calibration.foreign_calibration import read_foreign

    found = read_foreign(path)
    assert found is not None
    for camera in found.cameras:
        raw = camera.raw
        lines = [
            f'{raw.width}x{raw.height}, fx {raw.fx:.6g}, fy {raw.fy:.6g}, cx {raw.cx:.6g}, cy {raw.cy:.6g} px',
            f'{raw.distortion_model}: {", ".join(f"{d:.4g}" for d in raw.distortion)}',
        ]
        if camera.rectified is not None:
            own = camera.rectified
            lines.append(f'rectified: fx {own.fx:.6g}, fy {own.fy:.6g}, cx {own.cx:.6g}, cy {own.cy:.6g} px')
        yield f'{camera.name} {camera.topic}'.strip(), '\n'.join(lines)
    for number, pose in enumerate(found.poses):
        if pose is not None:
            names = [camera.name for camera in found.cameras] or ['1', '2']
            yield f'{names[number]} to {names[number + 1]}', readable(json.dumps(pose.round(9).tolist()))


def _training(path: Path) -> Lines:
    from dataclasses import asdict

    from dfd_ros.training.config import load_config

    for name, value in asdict(load_config(path)).items():
        yield name, readable(json.dumps(value)) if isinstance(value, dict | list | tuple) else value


def _report(path: Path) -> Lines:
    content = read_json(path)
    for name, value in content.items():
        if name == provenance.KEY:
            yield from made_by(value)
        else:
            yield name, readable(json.dumps(value)) if isinstance(value, dict | list) else value


def made_by(made: Any) -> Lines:
    """The line about what made a file: as `provenance.made_by` gives it, as JSON or as text; none for nothing."""
    if isinstance(made, str):
        with contextlib.suppress(ValueError):
            made = json.loads(made)
    if made:
        yield 'made by', provenance.described(made) if isinstance(made, dict) else made


def readable(text: str) -> str:
    """JSON as indented lines, any other text as it is."""
    import yaml

    try:
        value = json.loads(text)
    except ValueError:
        return text
    if isinstance(value, dict | list):
        return yaml.safe_dump(value, sort_keys=False, default_flow_style=None, width=100).rstrip()
    return text
