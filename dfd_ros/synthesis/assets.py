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
import zipfile
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath

from dfd_ros.core.errors import InputError
from dfd_ros.core.files import write_text, written_atomically
from dfd_ros.core.image_io import FORMATS, SUFFIXES
from dfd_ros.synthesis.pictures import unusable

PACKAGES = ('sweethome3d-furniture', 'plasma-workspace-wallpapers', 'mate-backgrounds')
HDRI_SUFFIXES = ('.exr', '.hdr')
LONGEST = 2048  # px, of a photograph; larger ones are reduced
MAX_BYTES = 500 * 2**20  # of one file in an archive
LICENCES = 'LICENCES.md'
# Catalogues of human figures are left out: their faces are portraits.
_LEFT_OUT = {'reallusion': 'figures of people'}


@dataclass
class Unpacked:
    """Unpacked assets.

    Attributes:
        photographs, models, hdris: the number of each.
        licences: (title, licence text, file names with authors) of each source.
        left_out: one line for each skipped file, with the reason.
    """

    photographs: int = 0
    models: int = 0
    hdris: int = 0
    licences: list[tuple[str, str, list[str]]] = field(default_factory=list)
    left_out: list[str] = field(default_factory=list)

    def leave_out(self, path, reason: str) -> None:
        self.left_out.append(f'{path}: left out: {reason}')


Progress = Callable[[Iterable, str], Iterable]


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
        _catalogue(source, out / 'models', result, progress)
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
            _catalogue(catalogue, out / 'models', result, progress)
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
                    opened.draft('RGB', (2 * LONGEST, 2 * LONGEST))
                    image = ImageOps.exif_transpose(opened).convert('RGB')
                    image.thumbnail((LONGEST, LONGEST), Image.Resampling.LANCZOS)
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


def _faces(obj: Path) -> str | None:
    """Why a Wavefront .obj cannot be used; None if it can: it has faces, and their points exist."""
    points = faces = largest = 0
    try:
        with open(obj, errors='replace') as lines:
            for line in lines:
                if line.startswith('v '):
                    points += 1
                    [float(value) for value in line.split()[1:4]]
                elif line.startswith('f '):
                    corners = [int(corner.split('/')[0]) for corner in line.split()[1:]]
                    faces += len(corners) >= 3  # modelling tools leave edges among the faces; readers skip them
                    largest = max([largest, *(abs(corner) for corner in corners)])
    except (ValueError, OSError) as error:
        return f'not a Wavefront .obj ({error})'
    if largest > points:
        return f'a face has point {largest}, but there are {points}'
    return None if faces else 'a model without faces'


def _needed(obj: Path, root: Path) -> list[Path] | str:
    """The existing materials and textures of an .obj, or why it cannot be used: one is outside the folder."""
    root, found = root.resolve(), []
    for mtl in _named(obj, ('mtllib',)):
        path = obj.parent / mtl
        if root not in path.resolve().parents:
            return f'its material {mtl} is outside the folder'
        if not path.is_file():
            continue
        found.append(path)
        for texture in _named(path, ('map_', 'bump', 'disp', 'norm')):
            image = path.parent / texture
            if root not in image.resolve().parents:
                return f'its texture {texture} is outside the folder'
            if image.is_file():
                found.append(image)
    return found


def _named(path: Path, keywords: tuple[str, ...]) -> list[str]:
    """Files that an .obj or .mtl names, without options such as `-s 1 1 1`."""
    names = []
    for line in path.read_text(errors='replace').splitlines():
        word, _, rest = line.strip().partition(' ')
        if word.lower().startswith(keywords) and rest.strip():
            rest = rest.strip().replace('\\', '/')
            names.append(
                re.split(r'\s+', re.sub(r'^(-\w+\s+([\d.eE+-]+\s+|on\s+|off\s+)*)+', '', rest), maxsplit=0)[0]
                if rest.startswith('-')
                else rest
            )
    return names


def _loose_models(source: Path, out: Path, result: Unpacked) -> list[str]:
    names = []
    for obj in sorted(source.rglob('*.obj')):
        needed = _faces(obj) or _needed(obj, source)
        if isinstance(needed, str):
            result.leave_out(obj, needed)
            continue
        inside = obj.relative_to(source)
        for path in (obj, *needed):
            target = out / path.resolve().relative_to(source.resolve())
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(path, target)
        result.models += 1
        names.append(str(inside))
    return names


def _catalogue(archive: Path, out: Path, result: Unpacked, progress: Progress) -> None:
    """Unpack a furniture library of Sweet Home 3D: its models with textures and authors."""
    if reason := next((why for word, why in _LEFT_OUT.items() if word in archive.stem.lower()), None):
        result.leave_out(archive, reason)
        return
    folder = out / _plain(archive.stem)
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
        elif isinstance(needed := _faces(obj) or _needed(obj, folder), str):
            result.leave_out(f'{archive}!{model}', needed)
            obj.unlink()
        else:
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
