"""dfd assets: what is unpacked, what is left out and why, and whose it is."""

import os
import subprocess
import zipfile

import cv2
import numpy as np
import pytest
from command_line import dfd
from odd_images import png_header

TRIANGLE = 'mtllib a.mtl\nv 0 0 0\nv 1 0 0\nv 0 1 0\nf 1/1 2/2 3/3\nf 1 2\n'
CATALOGUE = (
    '# nothing\nid=Some#Models\nname=Some\nlicense=CC0 \\u00a9 somebody\n\nmodel#1=/some/chair/chair.obj\n'
    'creator#1=Ann\\\n   a\nmodel#2=/some/empty/empty.obj\nmodel#3=/../../outside.obj\nmodel#4=/some/none.obj\n'
)


def picture(path, side=64):
    path.parent.mkdir(parents=True, exist_ok=True)
    cv2.imwrite(str(path), np.full((side, side + 10, 3), 120, np.uint8))
    return path.read_bytes()


def library(path, tmp_path, **more):
    texture = picture(tmp_path / 'texture.png')
    with zipfile.ZipFile(path, 'w') as zipped:
        for name, data in {
            'PluginFurnitureCatalog.properties': CATALOGUE,
            'some/chair.png': texture,
            'some/chair/chair.obj': TRIANGLE,
            'some/chair/a.mtl': 'newmtl x\nmap_Kd wood.png\n',
            'some/chair/wood.png': texture,
            'some/empty/empty.obj': 'v 0 0 0\n',
            '../../evil.obj': TRIANGLE,
            '/evil.obj': TRIANGLE,
            **more,
        }.items():
            zipped.writestr(name, data)
    return path


def test_a_library_is_unpacked_with_who_made_it(tmp_path, capsys):
    out = tmp_path / 'out'
    assert dfd('assets', library(tmp_path / 'Some.sh3f', tmp_path), '--out', out) == 0
    captured = capsys.readouterr()
    assert sorted(str(p.relative_to(out)) for p in out.rglob('*') if p.is_file()) == [
        'LICENCES.md',
        'models/Some/some/chair/a.mtl',
        'models/Some/some/chair/chair.obj',
        'models/Some/some/chair/wood.png',
    ]
    licences = (out / 'LICENCES.md').read_text()
    assert 'Some.sh3f' in licences and 'CC0 © somebody' in licences and 'some/chair/chair.obj, by Anna' in licences
    warnings = captured.err.strip().splitlines()
    for name, reason in (
        ('../../evil.obj', 'outside the folder'),
        ('/evil.obj', 'outside the folder'),
        ('some/empty/empty.obj', 'without faces'),
        ('outside.obj', 'outside the folder'),
        ('some/none.obj', 'does not exist'),
    ):
        assert any(name in line and reason in line for line in warnings), name
    assert not list(tmp_path.rglob('evil.obj')) and 'models       1 ' in captured.out


@pytest.mark.slow(reason='pictures of many kinds are written and read')
def test_a_folder_of_ones_own(tmp_path, capsys):
    own, out = tmp_path / 'own', tmp_path / 'out'
    picture(own / 'deep' / 'holiday.png', 3000)
    (own / 'broken.jpg').write_bytes(b'nothing')
    (own / 'torn.png').write_bytes(picture(own / 'deep' / 'other.png')[:60])
    (own / 'huge.png').write_bytes(png_header(30000, 30000))
    (own / 'model').mkdir()
    (own / 'model' / 'good.obj').write_text(TRIANGLE)
    (own / 'model' / 'few.obj').write_text('v 0 0 0\nf 1 2 3\n')
    (own / 'model' / 'text.obj').write_text('v a b c\nf 1 2 3\n')
    (own / 'model' / 'thief.obj').write_text('mtllib ../../secret.mtl\n' + TRIANGLE)
    os.mkfifo(own / 'model' / 'pipe.obj')
    (own / 'model' / 'loop.obj').write_text('mtllib loop.mtl\n' + TRIANGLE)
    (own / 'model' / 'loop.mtl').symlink_to('loop.mtl')
    (own / 'sky.hdr').write_bytes(b'#?RADIANCE\n')
    (own / 'no.exr').write_bytes(b'no')
    assert dfd('assets', own, '--out', out) == 0
    captured = capsys.readouterr()
    photographs = sorted(p.name for p in (out / 'photographs' / 'own').iterdir())
    assert photographs == ['deep_holiday.jpg', 'deep_other.jpg']
    assert max(cv2.imread(str(out / 'photographs' / 'own' / 'deep_holiday.jpg')).shape) == 2048
    assert (out / 'models' / 'own' / 'model' / 'good.obj').is_file() and (out / 'hdris' / 'own' / 'sky.hdr').is_file()
    warnings = [line for line in captured.err.splitlines() if line.startswith('dfd: warning: ')]
    assert len(warnings) == 8 and all('left out: ' in line for line in warnings)
    for name in ('broken.jpg', 'torn.png', 'huge.png', 'few.obj', 'text.obj', 'thief.obj', 'pipe.obj', 'no.exr'):
        assert sum(name in line for line in warnings) == 1, name


def test_a_debian_package(tmp_path, capsys):
    tree = tmp_path / 'tree'
    picture(tree / 'usr' / 'share' / 'wallpapers' / 'lake.jpg')
    (tree / 'usr' / 'share' / 'wallpapers' / 'again.jpg').symlink_to('lake.jpg')
    library(tree / 'usr' / 'share' / 'Some.sh3f', tmp_path)
    (tree / 'usr' / 'share' / 'doc' / 'lakes').mkdir(parents=True)
    (tree / 'usr' / 'share' / 'doc' / 'lakes' / 'copyright').write_text(
        'Files: *\nLicense: CC0\n\nLicense: CC0\n text\n'
    )
    (tree / 'DEBIAN').mkdir()
    (tree / 'DEBIAN' / 'control').write_text(
        'Package: lakes\nVersion: 1\nArchitecture: all\nMaintainer: a <a@b>\nDescription: lakes\n'
    )
    deb = tmp_path / 'lakes_1_all.deb'
    if subprocess.run(['dpkg-deb', '-b', str(tree), str(deb)], capture_output=True).returncode:
        pytest.skip('no dpkg-deb that builds')
    out = tmp_path / 'out'
    assert dfd('assets', deb, '--out', out) == 0
    assert f'{deb}!usr/share/Some.sh3f!some/none.obj: left out' in capsys.readouterr().err
    assert [p.name for p in (out / 'photographs' / 'lakes').iterdir()] == ['share_wallpapers_lake.jpg']
    assert (out / 'models' / 'Some' / 'some' / 'chair' / 'chair.obj').is_file()
    assert 'CC0 (see copyright/lakes.txt)' in (out / 'LICENCES.md').read_text()
    assert 'License: CC0' in (out / 'copyright' / 'lakes.txt').read_text()


def test_prints_show_photographs_and_are_drawn_once(tmp_path, capsys):
    own, out = tmp_path / 'own', tmp_path / 'out'
    picture(own / 'holiday.png')
    assert dfd('assets', own, '--out', out, '--prints', 12) == 0
    assert 'prints       12 in ' in capsys.readouterr().out
    prints = sorted((out / 'prints').iterdir())
    images = [cv2.imread(str(path)) for path in prints]
    assert [path.name for path in prints] == [f'print-{n:05d}.png' for n in range(12)]
    assert all(min(image.shape[:2]) >= 200 and image.std() > 3 for image in images)
    prints[3].write_bytes(prints[4].read_bytes())
    prints[5].unlink()
    assert dfd('assets', own, '--out', out, '--prints', 12) == 0
    assert prints[3].read_bytes() == prints[4].read_bytes()  # kept
    assert (cv2.imread(str(prints[5])) == images[5]).all()
    assert dfd('assets', own, '--out', out, '--prints', -1) == 2
    assert capsys.readouterr().err.endswith('--prints -1: must be at least 0\n')


def test_licences_of_an_earlier_run_stay(tmp_path):
    out = tmp_path / 'out'
    for name in ('one', 'two', 'one'):
        picture(tmp_path / name / f'{name}.png')
        assert dfd('assets', tmp_path / name, '--out', out) == 0
    text = (out / 'LICENCES.md').read_text()
    assert text.count('- one.png') == text.count('- two.png') == 1


def test_surroundings_of_blender(tmp_path):
    world = tmp_path / 'bpy' / '4.5' / 'datafiles' / 'studiolights' / 'world'
    world.mkdir(parents=True)
    (world / 'city.exr').write_bytes(b'\x76\x2f\x31\x01')
    (world / 'license.txt').write_text('all\nCC0')
    assert dfd('assets', '--bpy', tmp_path, '--out', tmp_path / 'out') == 0
    assert (tmp_path / 'out' / 'hdris' / 'bpy' / 'city.exr').is_file()
    assert 'Licence: all CC0' in (tmp_path / 'out' / 'LICENCES.md').read_text()


@pytest.mark.parametrize(
    'make, message',
    [
        (lambda p: p / 'none', 'no such file or folder'),
        (lambda p: p, 'nothing usable in it'),
        (lambda p: write(p / 'a.zip', b'x'), 'neither a .deb nor a .sh3f nor a folder'),
        (lambda p: write(p / 'a.sh3f', b'x'), 'not a furniture library'),
        (lambda p: write(p / 'a.deb', b'x'), 'not a Debian package'),
    ],
)
def test_bad_sources_are_one_line(tmp_path, capsys, make, message):
    folder = tmp_path / 'in'
    folder.mkdir()
    assert dfd('assets', make(folder), '--out', tmp_path / 'out') == 2
    (line,) = capsys.readouterr().err.strip().splitlines()
    assert message in line and str(folder) in line


def write(path, data):
    path.write_bytes(data)
    return path


def test_a_bpy_that_is_not_there_is_one_line(tmp_path, capsys):
    assert dfd('assets', '--bpy', tmp_path, '--out', tmp_path / 'out') == 2
    assert 'site-packages' in capsys.readouterr().err
