"""Repairs COLLADA files of old exporters, so that Blender reads them with their textures.

Files of many Gazebo models have these faults: identifiers contain blanks and '#'; textures name an image instead of a
sampler, so readers find no texture; file names differ in case, have backslashes, or are absolute paths of the machine
that exported them.
"""

from __future__ import annotations

import re
from pathlib import Path

_IDENTIFIER = re.compile(r'\b(id|sid|symbol|semantic_set|material)="([^"]*)"')
_REFERENCE = re.compile(r'\b(url|target|source)="#([^"]*)"')
_IMAGE = re.compile(r'<image\b[^>]*?\bid="([^"]*)".*?<init_from>(.*?)</init_from>', re.S)
_EFFECT = re.compile(r'<effect\b.*?</effect>', re.S)
_TEXTURE = re.compile(r'<texture texture="([^"]*)"')


def repaired(path: Path) -> str:
    """The repaired text of a COLLADA file."""
    text = path.read_text(encoding='utf-8', errors='replace')
    text = _IDENTIFIER.sub(lambda m: f'{m[1]}="{_clean(m[2])}"', text)
    text = _REFERENCE.sub(lambda m: f'{m[1]}="#{_clean(m[2])}"', text)
    images = {name for name, _ in _IMAGE.findall(text)}
    text = _EFFECT.sub(lambda m: _with_samplers(m[0], images), text)
    files = {file.name.lower(): file for file in sorted(path.parent.parent.rglob('*')) if file.is_file()}
    return re.sub(r'<init_from>([^<]*)</init_from>', lambda m: _with_file(m[1], path.parent, files) or m[0], text)


def _clean(identifier: str) -> str:
    return re.sub(r'[^A-Za-z0-9_.-]', '_', identifier)


def _with_samplers(effect: str, images: set[str]) -> str:
    """Add a surface and a sampler for each image that the textures of an effect name."""
    parameters = ''
    for texture in sorted(set(_TEXTURE.findall(effect))):
        name = _clean(texture)
        effect = effect.replace(f'texture="{texture}"', f'texture="{name}"')
        if name in images:
            effect = effect.replace(f'<texture texture="{name}"', f'<texture texture="{name}-sampler"')
            parameters += (
                f'<newparam sid="{name}-surface"><surface type="2D"><init_from>{name}</init_from></surface></newparam>'
                f'<newparam sid="{name}-sampler"><sampler2D><source>{name}-surface</source></sampler2D></newparam>'
            )
    return effect.replace('<profile_COMMON>', '<profile_COMMON>' + parameters, 1)


def _with_file(reference: str, folder: Path, files: dict[str, Path]) -> str | None:
    """The <init_from> element with the actual path of an image file; None if `reference` is not a file name."""
    name = reference.strip().replace('file://', '').replace('%20', ' ').replace('\\', '/')
    if not re.search(r'\.[A-Za-z]{3,4}$', name):
        return None
    file = folder / name
    if Path(name).is_absolute() or not file.is_file():
        file = files.get(Path(name).name.lower(), file)
    return f'<init_from>{file}</init_from>'
