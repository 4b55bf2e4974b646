"""Unpacks furniture libraries of Sweet Home 3D (.sh3f): zip archives of models with a catalogue."""

from __future__ import annotations

import re
import shutil
import zipfile
from pathlib import Path, PurePosixPath

from dfd_ros.core.errors import InputError
from dfd_ros.core.image_io import SUFFIXES
from dfd_ros.synthesis.pictures import unusable
from dfd_ros.synthesis.unpacked import Progress, Unpacked
from dfd_ros.synthesis.wavefront_obj import needed_files

MAX_BYTES = 500 * 2**20  # of one file in an archive
# Catalogues of human figures are left out: their faces are portraits.
_LEFT_OUT = {'reallusion': 'figures of people'}


def unpack_catalogue(archive: Path, folder: Path, result: Unpacked, progress: Progress) -> None:
    """Unpack the models of a library with their textures and authors.

    Raises:
        InputError: it is damaged or not such a library.
    """
    if reason := next((why for word, why in _LEFT_OUT.items() if word in archive.stem.lower()), None):
        result.leave_out(archive, reason)
        return
    try:
        with zipfile.ZipFile(archive) as zipped:
            _extract(archive, zipped, folder, result)
            properties = _properties(zipped)
    except (zipfile.BadZipFile, OSError, EOFError, RuntimeError) as error:
        raise InputError(f'{archive}: not a furniture library that can be unpacked: {error}') from None
    names = []
    for number in progress(_numbers(properties), f'models of {archive.stem}'):
        model = properties[f'model#{number}'].lstrip('/')
        obj = folder / model
        if folder.resolve() not in obj.resolve().parents:
            result.leave_out(f'{archive}!{model}', 'a path outside the folder')
        elif not obj.is_file():
            if obj.suffix.lower() == '.obj':
                result.leave_out(f'{archive}!{model}', 'the catalogue names it, but it does not exist')
        else:
            try:
                needed_files(obj, folder)
            except InputError as error:
                result.leave_out(f'{archive}!{model}', str(error))
                obj.unlink()
                continue
            result.models += 1
            maker, licence = (properties.get(f'{what}#{number}') for what in ('creator', 'license'))
            names.append(model + (f', by {maker}' if maker else '') + (f', {licence}' if licence else ''))
    result.licences.append((archive.name, _licence(archive, folder, properties), names))


def _licence(archive: Path, folder: Path, properties: dict[str, str]) -> str:
    """The licence that a catalogue states, or the first lines of its LICENSE.TXT."""
    if 'license' in properties:
        return ' '.join(properties['license'].split())
    files = [p for p in folder.glob('*') if p.name.lower() == 'license.txt']
    text = files[0].read_text(errors='replace').split('\n\n')[:2] if files else []
    return ' '.join(' '.join(text).split()) or 'not stated in it'


def _extract(archive: Path, zipped: zipfile.ZipFile, folder: Path, result: Unpacked) -> None:
    for entry in zipped.infolist():
        inside = PurePosixPath(entry.filename.replace('\\', '/'))
        if entry.is_dir() or inside.name.startswith('PluginFurnitureCatalog'):
            continue
        if inside.is_absolute() or '..' in inside.parts or ':' in inside.parts[0]:
            result.leave_out(f'{archive}!{entry.filename}', 'a path outside the folder')
        elif entry.file_size > MAX_BYTES:
            result.leave_out(f'{archive}!{entry.filename}', f'{entry.file_size / 2**20:.0f} MiB, too large')
        # The catalogue's own pictures are beside the models' folders; textures are inside them.
        elif inside.suffix.lower() == '.png' and len(inside.parts) <= 2:
            continue
        else:
            target = folder.joinpath(*inside.parts)
            target.parent.mkdir(parents=True, exist_ok=True)
            try:
                with zipped.open(entry) as data, open(target, 'wb') as file:
                    shutil.copyfileobj(data, file)
            except (zipfile.BadZipFile, EOFError, RuntimeError, NotImplementedError) as error:
                target.unlink(missing_ok=True)
                result.leave_out(f'{archive}!{entry.filename}', f'cannot be unpacked ({error})')
                continue
            if inside.suffix.lower() in SUFFIXES and (reason := unusable(target)) and 'too small' not in reason:
                result.leave_out(f'{archive}!{entry.filename}', reason)
                target.unlink()


def _properties(zipped: zipfile.ZipFile) -> dict[str, str]:
    """The catalogue's entries: a Java properties file in Latin 1."""
    try:
        text = zipped.read('PluginFurnitureCatalog.properties').decode('latin-1')
    except KeyError:
        raise OSError('no PluginFurnitureCatalog.properties in it') from None
    text = re.sub(r'\\\r?\n\s*', '', text)
    pairs = (line.partition('=') for line in text.splitlines() if '=' in line and not line.lstrip().startswith('#'))
    return {
        key.strip(): re.sub(r'\\u([0-9a-fA-F]{4})', lambda m: chr(int(m[1], 16)), value.strip())
        for key, _, value in pairs
    }


def _numbers(properties: dict[str, str]) -> list[int]:
    return sorted(
        int(key.partition('#')[2]) for key in properties if key.startswith('model#') and key.partition('#')[2].isdigit()
    )
