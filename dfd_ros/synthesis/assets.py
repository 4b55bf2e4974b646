"""Photographs, models and surroundings for synthetic scenes, unpacked into one folder with their licences.

    OUT/photographs/SOURCE/*.jpg   OUT/models/SOURCE/NAME/*.obj   OUT/hdris/SOURCE/*.exr   OUT/LICENCES.md

Sources are Debian packages, libraries of Sweet Home 3D (.sh3f), your own folders and the `bpy` wheel. Broken files
are skipped, with one line that names each.
"""

from __future__ import annotations

import re
import shutil
import subprocess
import tempfile
from collections.abc import Iterable
from pathlib import Path

from dfd_ros.core.errors import InputError
from dfd_ros.core.files import write_text, written_atomically
from dfd_ros.core.image_io import FORMATS, SUFFIXES
from dfd_ros.synthesis.furniture_catalogue import unpack_catalogue
from dfd_ros.synthesis.pictures import unusable
from dfd_ros.synthesis.unpacked import Progress, Unpacked
from dfd_ros.synthesis.wavefront_obj import needed_files

PACKAGES = ('sweethome3d-furniture', 'plasma-workspace-wallpapers', 'mate-backgrounds')
HDRI_SUFFIXES = ('.exr', '.hdr')
MAX_SIDE = 2048  # px, of a photograph; larger ones are reduced
LICENCES = 'LICENCES.md'


def _silent(items: Iterable, _: str) -> Iterable:
    return items


def download(packages: Iterable[str], folder: Path) -> list[Path]:
    """The .deb files of packages, downloaded by apt unless they exist.

    Raises:
        InputError: apt is not installed or does not find the package.
    """
    folder.mkdir(parents=True, exist_ok=True)
    for package in packages:
        if list(folder.glob(f'{package}_*.deb')):
            continue
        if not shutil.which('apt-get'):
            raise InputError(f'{package}: downloading it needs apt-get; give its .deb file instead')
        result = subprocess.run(['apt-get', 'download', package], cwd=folder, capture_output=True, text=True)
        if result.returncode:
            said = (result.stderr.strip().splitlines() or ['no reason given'])[-1]
            raise InputError(f'{package}: apt-get cannot download it: {said}')
    return [sorted(folder.glob(f'{package}_*.deb'))[-1] for package in packages]


def unpack(source: Path, out: Path, result: Unpacked, progress: Progress = _silent) -> None:
    """Add the content of a .deb, a .sh3f or a folder to `out`.

    Raises:
        InputError: the source does not exist, is none of these, or has nothing usable in it.
    """
    source = Path(source)
    if source.is_dir():
        name = _plain(source.resolve().name)
        before = result.photographs + result.models + result.hdris
        names = _photographs(source, out / 'photographs' / name, result, progress)
        names += _loose_models(source, out / 'models' / name, result)
        names += _hdris(source, out / 'hdris' / name, result)
        if result.photographs + result.models + result.hdris == before:
            raise InputError(f'{source}: nothing usable in it: no images, .obj, .exr or .hdr files')
        result.licences.append((str(source), 'as its owner says', names))
    elif not source.is_file():
        raise InputError(f'{source}: no such file or folder')
    elif source.suffix == '.sh3f':
        unpack_catalogue(source, out / 'models' / _plain(source.stem), result, progress)
    elif source.suffix == '.deb':
        _package(source, out, result, progress)
    else:
        raise InputError(f'{source}: neither a .deb nor a .sh3f nor a folder')


def unpack_bpy(site_packages: Path, out: Path, result: Unpacked) -> None:
    """Add the surroundings that come with Blender's `bpy` wheel.

    Raises:
        InputError: there are none.
    """
    found = sorted(Path(site_packages).glob('bpy/*/datafiles/studiolights/world/*.exr'))
    if not found:
        raise InputError(
            f'{site_packages}: no bpy/*/datafiles/studiolights/world/*.exr in it; give the site-packages '
            'folder of the environment with bpy'
        )
    names = _hdris(found[0].parent, out / 'hdris' / 'bpy', result)
    said = found[0].with_name('license.txt')
    licence = ' '.join(said.read_text(errors='replace').split()) if said.is_file() else 'not stated'
    result.licences.append(('bpy (Blender)', licence, names))


def write_licences(out: Path, result: Unpacked) -> Path:
    """Write the origin, author and licence of all unpacked files to OUT/LICENCES.md. Keeps entries of other sources."""
    path = out / LICENCES
    before = path.read_text().split('\n## ')[1:] if path.is_file() else []
    titles = [title for title, _, _ in result.licences]
    lines = [
        '# Photographs, models and surroundings',
        '',
        'Written by `dfd assets`. None of it is part of dfd_ros; each is under the licence of its source.',
    ]
    lines += [f'\n## {section.rstrip()}' for section in before if section.partition('\n')[0] not in titles]
    for title, licence, names in result.licences:
        lines += ['', f'## {title}', '', f'Licence: {licence}', ''] + [f'- {name}' for name in names]
    write_text(path, '\n'.join(lines) + '\n')
    return path


def _plain(name: str) -> str:
    """A folder name that is valid on every system."""
    return re.sub(r'[^A-Za-z0-9._-]+', '_', name).strip('._') or 'assets'


def _package(deb: Path, out: Path, result: Unpacked, progress: Progress) -> None:
    if not shutil.which('dpkg-deb'):
        raise InputError(f'{deb}: unpacking it needs dpkg-deb (apt install dpkg)')
    with tempfile.TemporaryDirectory(prefix='dfd-assets-') as folder:
        tree, known = Path(folder), len(result.left_out)
        done = subprocess.run(['dpkg-deb', '-x', str(deb.resolve()), folder], capture_output=True, text=True)
        if done.returncode:
            said = (done.stderr.strip().splitlines() or ['no reason given'])[-1]
            raise InputError(f'{deb}: not a Debian package that can be unpacked: {said}')
        name = deb.name.split('_')[0]
        copyrights = sorted(tree.glob('usr/share/doc/*/copyright'))
        licences = ', '.join(_licences(copyrights[0].read_text(errors='replace'))) if copyrights else 'not stated in it'
        if copyrights:
            (out / 'copyright').mkdir(parents=True, exist_ok=True)
            shutil.copyfile(copyrights[0], out / 'copyright' / f'{name}.txt')
        for catalogue in sorted(tree.rglob('*.sh3f')):
            unpack_catalogue(catalogue, out / 'models' / _plain(catalogue.stem), result, progress)
        names = _photographs(tree / 'usr', out / 'photographs' / name, result, progress)
        # Name the package: nobody can open the temporary folder later.
        result.left_out[known:] = [line.replace(f'{folder}/', f'{deb}!') for line in result.left_out[known:]]
        result.licences.append((deb.name, f'{licences} (see copyright/{name}.txt)', names))


def _licences(copyright_file: str) -> list[str]:
    """Short names of the licences in a debian/copyright file, in order of appearance."""
    return list(
        dict.fromkeys(
            line.removeprefix('License:').strip()
            for line in copyright_file.splitlines()
            if line.startswith('License:') and line.removeprefix('License:').strip()
        )
    )


def _photographs(source: Path, out: Path, result: Unpacked, progress: Progress) -> list[str]:
    from PIL import Image, ImageOps

    names = []
    paths = sorted(
        p
        for p in source.rglob('*')
        if p.suffix.lower() in SUFFIXES and p.is_file() and out.resolve() not in p.resolve().parents
    )
    # Images beside an .obj are its textures, and wallpapers come with small previews (`screenshot`).
    paths = [p for p in paths if not any(p.parent.glob('*.obj')) and p.stem != 'screenshot' and not _is_link(p, source)]
    for path in progress(paths, f'photographs of {source.name}' if paths else ''):
        if path.is_symlink():
            result.leave_out(path, 'a link to outside the folder')
            continue
        if reason := unusable(path):
            result.leave_out(path, reason)
            continue
        inside = path.relative_to(source)
        target = out / f'{_plain("_".join(inside.with_suffix("").parts))}.jpg'
        try:
            if not target.exists():
                with Image.open(path, formats=FORMATS) as opened:
                    opened.draft('RGB', (2 * MAX_SIDE, 2 * MAX_SIDE))
                    image = ImageOps.exif_transpose(opened).convert('RGB')
                    image.thumbnail((MAX_SIDE, MAX_SIDE), Image.Resampling.LANCZOS)
                out.mkdir(parents=True, exist_ok=True)
                with written_atomically(target) as part:
                    image.save(part, 'JPEG', quality=95)
        except Exception as error:  # Pillow's decoders raise many types on broken files
            result.leave_out(path, f'truncated or broken image ({type(error).__name__})')
            continue
        result.photographs += 1
        names.append(str(inside))
    return names


def _is_link(path: Path, folder: Path) -> bool:
    """Whether a file is a link to another file in the folder."""
    return path.is_symlink() and folder.resolve() in path.resolve().parents


def _hdris(source: Path, out: Path, result: Unpacked) -> list[str]:
    names = []
    for path in sorted(p for p in source.rglob('*') if p.suffix.lower() in HDRI_SUFFIXES and p.is_file()):
        start = path.read_bytes()[:10]
        if not (start.startswith(b'\x76\x2f\x31\x01') or start.startswith((b'#?RADIANCE', b'#?RGBE'))):
            result.leave_out(path, 'neither OpenEXR nor Radiance')
            continue
        out.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(path, out / path.name)
        result.hdris += 1
        names.append(path.name)
    return names


def _loose_models(source: Path, out: Path, result: Unpacked) -> list[str]:
    names = []
    for obj in sorted(source.rglob('*.obj')):
        try:
            needed = needed_files(obj, source)
        except InputError as error:
            result.leave_out(obj, str(error))
            continue
        inside = obj.relative_to(source)
        for path in (obj, *needed):
            target = out / path.resolve().relative_to(source.resolve())
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(path, target)
        result.models += 1
        names.append(str(inside))
    return names
