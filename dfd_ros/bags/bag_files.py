"""Which files make a bag: rosbag2 splits a recording into several files, and a folder may have several recordings."""

from __future__ import annotations

import contextlib
import re
from pathlib import Path
from typing import Any

from dfd_ros.core.errors import InputError, shortened
from dfd_ros.core.files import read_yaml

SUFFIXES = ('.mcap', '.db3', '.mcap.zstd', '.db3.zstd')
METADATA = 'metadata.yaml'
# rosbag2 names the files of a recording NAME_0, NAME_1 or 0_NAME_TIME, 1_NAME_TIME.
_COUNTED = (
    re.compile(r'(?P<counter>\d+)(?P<name>_.*?)_?\d{4}_\d\d_\d\d-\d\d_\d\d_\d\d'),
    re.compile(r'(?P<name>.+)_(?P<counter>\d+)'),
)


def is_bag(path: Path) -> bool:
    """Whether this is a file of a bag, or a folder with a recording in it."""
    if path.is_dir():
        return (path / METADATA).exists() or bool(_files(path))
    return path.name.endswith(SUFFIXES)


def format_of(file: Path | str) -> str:
    """The storage format of a file of a bag, by its name: .mcap or .db3."""
    return Path(Path(file).name.removesuffix('.zstd')).suffix


def stem_of(file: Path | str) -> str:
    """The name of a file of a bag, without its suffixes. Dots are part of a name."""
    return Path(file).name.removesuffix('.zstd').removesuffix(format_of(file))


def metadata_of(path: Path) -> dict[str, Any]:
    """What the metadata.yaml of a folder says of its bag; empty if it cannot be read."""
    with contextlib.suppress(InputError, OSError, KeyError, TypeError):
        if (path / METADATA).is_file():
            content = read_yaml(path / METADATA)['rosbag2_bagfile_information']
            return content if isinstance(content, dict) else {}
    return {}


def listed_files(metadata: dict[str, Any]) -> list[str]:
    """Names of the files that metadata.yaml lists, in their order, as they are when they are unpacked."""
    listed = metadata.get('relative_file_paths')
    names = [name for name in listed if isinstance(name, str)] if isinstance(listed, list) else []
    return [Path(name).name.removesuffix('.zstd') for name in names]


def bag_files(path: Path) -> tuple[list[Path], list[Path]]:
    """The files of a bag, and those beside them in its folder that are of other recordings.

    Raises InputError if there are none, or if the folder has several recordings.
    """
    if not path.exists():
        raise InputError(f'{path}: no such bag')
    if not path.is_dir():
        if not is_bag(path):
            raise InputError(f'{path}: not a bag; give a folder with .mcap or .db3 files, or one such file')
        return [path], []
    bags, others = _bags(path)
    if not bags:
        raise InputError(f'{path}: no bag, there is no .mcap or .db3 file in it')
    if len(bags) > 1:
        raise InputError(
            f'{path}: has {len(bags)} recordings ({_names(bags)}), and no {METADATA} that lists their files; give one '
            'of the files, or put the files of each recording into a folder of their own'
        )
    return bags[0], others


def recordings_in(folder: Path) -> list[Path]:
    """What to give to `bag_files` for each recording in a folder: its files if each is one, otherwise the folder."""
    bags, _ = _bags(folder)
    if len(bags) > 1 and all(len(files) == 1 for files in bags):
        return [files[0] for files in bags]
    return [folder]


def numbered(name: str) -> list[tuple[int, str]]:
    """Sorts bag_2 before bag_10."""
    return [(int(part[:18]), '') if part.isdecimal() else (-1, part) for part in re.split(r'(\d+)', name)]


def _bags(folder: Path) -> tuple[list[list[Path]], list[Path]]:
    """The files of each recording in a folder, and, beside the one that metadata.yaml lists, those of others."""
    found = _files(folder)
    plain = {file.name for file in found}
    found = [file for file in found if file.suffix != '.zstd' or file.stem not in plain]
    groups: dict[tuple[str, str], dict[str, list[Path]]] = {}
    for file in sorted(found, key=lambda file: numbered(file.name)):
        recording, counter = _split_name(file.name)
        groups.setdefault(recording, {}).setdefault(counter, []).append(file)
    # All of the recording that metadata.yaml lists, as it lacks the last file after a crash.
    listed = {_split_name(name)[0] for name in listed_files(metadata_of(folder))}
    own = [file for key in groups if key in listed for files in groups[key].values() for file in files]
    if own:
        return [sorted(own, key=lambda file: numbered(file.name))], [file for file in found if file not in own]
    bags: list[list[Path]] = []
    for counted in groups.values():
        files = [file for same in counted.values() for file in same]
        # A counter that is there twice counts the files of two recordings.
        bags += [files] if len(counted) == len(files) else [[file] for file in files]
    return bags, []


def _files(folder: Path) -> list[Path]:
    # A bag's folder may have the name of a file: `ros2 bag record -o run.mcap`.
    return [file for file in folder.iterdir() if file.name.endswith(SUFFIXES) and not file.is_dir()]


def _split_name(file: str) -> tuple[tuple[str, str], str]:
    """Name and format of the recording that a file is of, and the file's counter there; empty = it has none."""
    stem = stem_of(file)
    for pattern in _COUNTED:
        if match := pattern.fullmatch(stem):
            return (match['name'], format_of(file)), match['counter']
    return (stem, format_of(file)), ''


def _names(bags: list[list[Path]]) -> str:
    return shortened(', '.join(files[0].name for files in bags))
