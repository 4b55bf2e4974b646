"""Checks Wavefront .obj models before use: their faces, and the files that they name."""

from __future__ import annotations

import os
import re
from pathlib import Path

from dfd_ros.core.errors import InputError
from dfd_ros.core.files import require_file

_OPTIONS = re.compile(r'^(-\w+\s+([\d.eE+-]+\s+|on\s+|off\s+)*)+')


def needed_files(obj: Path, root: Path) -> list[Path]:
    """The existing materials and textures of a model.

    Raises:
        InputError: the model has no faces or faces without points, or names a file outside `root`. The message gives
            the reason without the path of the model.
    """
    _check_faces(require_file(obj))
    root, found = Path(os.path.realpath(root)), []
    for mtl in _named(obj, ('mtllib',)):
        path = _inside(root, obj.parent / mtl, f'material {mtl}')
        if not path.is_file():
            continue
        found.append(path)
        for texture in _named(path, ('map_', 'bump', 'disp', 'norm')):
            image = _inside(root, path.parent / texture, f'texture {texture}')
            if image.is_file():
                found.append(image)
    return found


def _check_faces(obj: Path) -> None:
    points = faces = largest = 0
    try:
        with open(obj, errors='replace') as lines:
            for line in lines:
                if line.startswith('v '):
                    points += 1
                    [float(value) for value in line.split()[1:4]]
                elif line.startswith('f '):
                    corners = [int(corner.split('/')[0]) for corner in line.split()[1:]]
                    faces += len(corners) >= 3  # modelling tools leave stray edges among the faces; readers skip them
                    largest = max([largest, *(abs(corner) for corner in corners)])
    except (ValueError, OSError) as error:
        raise InputError(f'not a Wavefront .obj ({error})') from None
    if largest > points:
        raise InputError(f'a face has point {largest}, but there are {points}')
    if not faces:
        raise InputError('a model without faces')


def _inside(root: Path, path: Path, name: str) -> Path:
    if root not in Path(os.path.realpath(path)).parents:  # a Path refuses loops of links
        raise InputError(f'its {name} is outside the folder')
    return path


def _named(path: Path, keywords: tuple[str, ...]) -> list[str]:
    """Files that an .obj or .mtl names, without options such as `-s 1 1 1`."""
    names = []
    for line in path.read_text(errors='replace').splitlines():
        word, _, rest = line.strip().partition(' ')
        if word.lower().startswith(keywords) and rest.strip():
            rest = rest.strip().replace('\\', '/')
            names.append(_OPTIONS.sub('', rest, count=1).split()[0] if rest.startswith('-') else rest)
    return names
