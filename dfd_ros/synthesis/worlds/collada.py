"""Repairs COLLADA files of old exporters, so that Blender reads them with their textures.

What is wrong in the files of many Gazebo models: identifiers with blanks and '#'; a texture that names an image where
COLLADA wants a sampler, which is why readers find no texture; file names in other letters, with back slashes, or with
the absolute paths of the machine that exported them.
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
    """The text of a COLLADA file, mended."""
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
    """An effect whose textures name images, with a surface and a sampler for each."""
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
    """The element that names an image file, by the name that it has here; None where it names something else."""
    name = reference.strip().replace('file://', '').replace('%20', ' ').replace('\\', '/')
    if not re.search(r'\.[A-Za-z]{3,4}$', name):
        return None
    file = folder / name
    if Path(name).is_absolute() or not file.is_file():
        file = files.get(Path(name).name.lower(), file)
    return f'<init_from>{file}</init_from>'
