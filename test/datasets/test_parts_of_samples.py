"""What training reads of a sample is the same as if all of it were decoded."""

import io
import json
import math
import zipfile
import zlib

import cv2
import numpy as np
import pytest
import torch
from PIL import Image

from dfd_ros.core.errors import InputError
from dfd_ros.core.image_io import decode_image
from dfd_ros.core.image_rows import rows_of
from dfd_ros.core.lens_state import LensState
from dfd_ros.core.png_rows import encode_png
from dfd_ros.core.sample import Sample
from dfd_ros.datasets import shards
from dfd_ros.datasets.shards import Samples, write_sample
from dfd_ros.datasets.stack_batch import part_of, to_stack_batch
from dfd_ros.datasets.stored_sample import Area
from dfd_ros.datasets.truth_archive import packed

HEIGHT, WIDTH = 90, 70


def picture(seed: int = 0) -> np.ndarray:
    y, x = np.mgrid[:HEIGHT, :WIDTH]
    waves = np.stack([np.sin(x / (3 + c)) * np.cos(y / (5 + seed)) for c in range(3)], -1)
    noise = np.random.default_rng(seed).normal(0, 5, waves.shape)
    return np.clip(128 + 90 * waves + noise, 0, 255).astype(np.uint8)


def encoded(format: str, **options) -> bytes:
    Image.fromarray(picture()).save(buffer := io.BytesIO(), format, **options)
    return buffer.getvalue()


FORMATS = {
    'png': encoded('PNG'),
    'png in blocks': encode_png(picture()),
    'jpeg': encoded('JPEG', quality=90),
    'jpeg in colour at full size': encoded('JPEG', quality=90, subsampling=0),
    'jpeg with restarts': encoded('JPEG', quality=90, restart_marker_rows=1),
    'jpeg with other restarts': encoded('JPEG', quality=90, restart_marker_blocks=3),
}


TURNED = Image.Exif()
TURNED[274] = 6  # orientation


@pytest.mark.parametrize('first, end', [(0, 1), (0, HEIGHT), (15, 17), (33, 64), (HEIGHT - 1, HEIGHT)])
@pytest.mark.parametrize('data', FORMATS.values(), ids=FORMATS)
def test_rows_have_the_values_of_the_whole_image(data, first, end):
    cut = rows_of(data, first, end)
    assert (cut.height, cut.width) == (HEIGHT, WIDTH)
    pixels = decode_image(cut.data, 'rows')
    assert pixels.shape[1] == WIDTH and len(pixels) >= end - cut.first
    np.testing.assert_array_equal(pixels[first - cut.first : end - cut.first], decode_image(data, 'whole')[first:end])


def test_fewer_rows_are_decoded():
    rows = {name: len(decode_image(rows_of(data, 40, 44).data, name)) for name, data in FORMATS.items()}
    assert rows['png'] == 44 and rows['png in blocks'] == 12
    assert rows['jpeg'] == 64 and rows['jpeg with restarts'] == 48  # of which 16 are above
    assert len(rows_of(FORMATS['jpeg with restarts'], 70, 80).data) < 0.7 * len(FORMATS['jpeg'])
    assert len(rows_of(FORMATS['png in blocks'], 40, 44).data) < 0.3 * len(FORMATS['png in blocks'])


@pytest.mark.parametrize('height, width', [(1, 1), (16, 5), (17, 3), (90, 70)])
def test_other_readers_see_an_ordinary_png(height, width):
    image = np.random.default_rng(0).integers(0, 256, (height, width, 3), dtype=np.uint8)
    data = encode_png(image)
    Image.open(io.BytesIO(data)).verify()  # the sums of its chunks
    np.testing.assert_array_equal(cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR_RGB), image)
    content, at = b'', 8
    while at < len(data):
        size = int.from_bytes(data[at : at + 4], 'big')
        content += data[at + 8 : at + 8 + size] if data[at + 4 : at + 8] == b'IDAT' else b''
        at += size + 12
    assert len(zlib.decompress(content)) == height * (1 + 3 * width)  # which checks its sum


@pytest.mark.parametrize(
    'data',
    [
        encoded('PNG', exif=TURNED),
        encoded('JPEG', exif=TURNED),
        encoded('JPEG', progressive=True),
        encoded('WEBP', lossless=True),
        b'',
        b'\xff\xd8',
        *(data[:20] for data in FORMATS.values()),
        FORMATS['jpeg with restarts'][:-1500],  # some of the restarts are missing
    ],
)
def test_what_cannot_be_cut_is_left_to_the_decoder(data):
    assert rows_of(data, 3, 5) is None


def stored(folder, image_format: str = 'png', magnification: float = 0.0, **changes) -> Samples:
    """A shard of one sample, whose depth has no value anywhere twice."""
    draw = np.random.default_rng(0)
    images = np.stack([picture(t) for t in range(6)])
    states = [
        LensState(1 / (0.5 + t / 4), 0.0043, 1.8, 2e-5, magnification=1 + magnification * t / 5 or math.nan)
        for t in range(6)
    ]
    depth = draw.uniform(0.5, 2, images.shape[:3]).astype(np.float32)
    depth[draw.random(depth.shape) < 0.1] = np.nan
    background = draw.random(depth.shape) < 0.3
    sample = Sample(images, states, depth, **{'background': background, 'source': 'blender', **changes})
    write_sample(folder / 'a.tar', 'key', sample, image_format)
    return Samples(folder)


AREA = Area(21, 10, 40, 50)
FRAMES = [4, 3, 2, 1, 2, 3]


def both(samples: Samples, frames=FRAMES, area=AREA):
    """A part read from the shard, and cut from all of it."""
    with samples.opened(0) as sample:
        part = part_of(sample, frames, area)
    whole = to_stack_batch(samples[0])
    cut = {
        name: value[:, frames][(..., *area.slices)]
        if value.ndim == 5
        else value[:, frames]
        if value.ndim == 2
        else value
        for name, value in vars(whole).items()
    }
    return vars(part), cut


@pytest.mark.parametrize('frames', [FRAMES, [5], [0, 1, 2, 3, 4, 5]], ids=str)
@pytest.mark.parametrize('area', [AREA, Area(0, 0, HEIGHT, WIDTH), Area(HEIGHT - 5, WIDTH - 3, 5, 3)], ids=str)
@pytest.mark.parametrize('image_format', ['png', 'jpg'])
def test_a_part_is_what_the_whole_has_there(tmp_path, image_format, area, frames):
    samples = stored(tmp_path, image_format)
    if image_format == 'jpg':  # and of an older version
        samples = rewritten(tmp_path, lambda members: members.pop('truth.json'))
    part, cut = both(samples, frames, area)
    assert part.keys() == cut.keys()
    for name, value in cut.items():
        torch.testing.assert_close(part[name], value, rtol=0, atol=0, equal_nan=True, msg=name)


@pytest.mark.parametrize('area', [AREA, Area(0, 0, 30, 30), Area(HEIGHT - 30, WIDTH - 30, 30, 30)], ids=str)
def test_frames_that_breathe_are_zoomed_about_the_middle_of_the_image(tmp_path, area):
    part, cut = both(stored(tmp_path, magnification=0.12), area=area)
    for name, value in cut.items():
        if value.ndim < 5:
            assert torch.equal(part[name], value), name
    assert (part['images'].int() - cut['images'].int()).abs().max() <= 1  # rounding of the interpolation
    # The nearest of two pixels that are equally near depends on the rounding.
    for name in ('foreground', 'vergence'):
        one, other = (maps[name].float().nan_to_num(-1) for maps in (part, cut))
        assert (one != other).float().mean() < 0.01, name


def test_only_what_is_read_is_decoded(tmp_path, monkeypatch):
    """Other frames may be damaged; of those that are read, rows below the area are not looked at."""
    samples, decoded = stored(tmp_path), []
    decode = shards.StoredSample._read
    monkeypatch.setattr(
        shards.StoredSample, '_read', lambda self, suffix: decoded.append(suffix) or decode(self, suffix)
    )
    with samples.opened(0) as sample:
        part_of(sample, [2, 1, 2], AREA)
    assert decoded == ['json', 'image.000.png', 'image.001.png', 'image.002.png', 'truth.json']


def test_written_jpegs_can_be_read_from_the_middle(tmp_path):
    with stored(tmp_path, 'jpg').opened(0) as sample:
        assert rows_of(sample._read('image.000.jpg'), 60, 70).first == 32


def rewritten(folder, change):
    """The shard with other members."""
    import tarfile

    with tarfile.open(folder / 'a.tar') as tar:
        members = {member.name.partition('.')[2]: tar.extractfile(member).read() for member in tar}
    change(members)
    with tarfile.open(folder / 'a.tar', 'w') as tar:
        for suffix, data in members.items():
            info = tarfile.TarInfo(f'key.{suffix}')
            info.size = len(data)
            tar.addfile(info, io.BytesIO(data))
    return Samples(folder)


def archive(**arrays) -> bytes:
    np.savez_compressed(buffer := io.BytesIO(), **arrays)
    return buffer.getvalue()


def plain(**arrays):
    """Replaces the truth by an archive as other writers make it."""

    def change(members):
        members.pop('truth.json', None)
        members['truth.npz'] = archive(**arrays)

    return change


def test_the_truth_is_a_plain_archive_too(tmp_path):
    sample, content = stored(tmp_path)[0], {}
    rewritten(tmp_path, content.update)
    archive = np.load(io.BytesIO(content['truth.npz']))  # which checks its sum
    assert sorted(archive) == ['background', 'depth']
    np.testing.assert_array_equal(archive['depth'], sample.depth)
    np.testing.assert_array_equal(archive['background'], sample.background)
    smooth = np.linspace(1, 2, 6 * HEIGHT * WIDTH, dtype=np.float32).reshape(6, HEIGHT, WIDTH).round(2)
    assert len(packed({'depth': smooth})[0]) < smooth.nbytes / 10


def test_truth_of_other_writers(tmp_path):
    samples = stored(tmp_path)
    whole, (part, _) = samples[0], both(samples)
    for depth in (np.asfortranarray(whole.depth), whole.depth.astype(np.float64)):
        again, _ = both(rewritten(tmp_path, plain(depth=depth, background=whole.background)))
        for name, value in part.items():
            torch.testing.assert_close(again[name], value, rtol=0, atol=0, equal_nan=True, msg=name)


def test_sixteen_bits_are_scaled_by_all_frames(tmp_path):
    images = np.random.default_rng(0).integers(0, 900, (6, HEIGHT, WIDTH)).astype(np.uint16)
    images[5] *= 60  # which is not among those that are read

    def deep(members):
        for t, image in enumerate(images):
            Image.fromarray(image).save(buffer := io.BytesIO(), 'PNG')
            members[f'image.{t:03d}.png'] = buffer.getvalue()

    stored(tmp_path)
    part, cut = both(rewritten(tmp_path, deep))
    assert part['images'].max() < 8 and torch.equal(part['images'], cut['images'])


def truncated(name: str):
    return lambda members: members.update({name: members[name][: len(members[name]) // 3]})


def flipped(members):
    """A bit of the depth is wrong, as a disk may have it: only its sum tells."""
    content, depth = bytearray(members['truth.npz']), json.loads(members['truth.json'])['depth']
    content[depth['offset'] + sum(depth['sizes'][: 2 * 6 + 3]) - 100] ^= 1  # in the third rows of the third frame
    members['truth.npz'] = bytes(content)


def index(**values):
    def change(members):
        there = json.loads(members['truth.json'])
        there['depth'].update(values)
        members['truth.json'] = json.dumps(there).encode()

    return change


def short(members):
    members.pop('truth.json')
    with zipfile.ZipFile(io.BytesIO(members['truth.npz'])) as old, zipfile.ZipFile(new := io.BytesIO(), 'w') as archive:
        archive.writestr('depth.npy', old.read('depth.npy')[:2000])
    members['truth.npz'] = new.getvalue()


@pytest.mark.parametrize(
    'change, says',
    [
        (truncated('image.002.png'), r'key\.image\.002\.png: cannot be read as an image'),
        (truncated('truth.npz'), 'key: cannot be read as a sample: the index of its ground truth is damaged'),
        (flipped, 'key: cannot be read as a sample: depth is damaged'),
        (lambda m: m.update({'truth.json': b'{'}), r'key\.truth\.json: not JSON'),
        (lambda m: m.update({'truth.json': b'[]'}), "key: cannot be read as a sample: no 'depth'"),
        (lambda m: m.update({'truth.json': b'{"depth": {"rows": 0}}'}), "key: cannot be read as a sample: no 'sizes'"),
        (index(offset=10**9), 'index of its ground truth is damaged'),
        (index(rows=0), 'key: cannot be read as a sample: '),
        (index(sizes=[1, 2]), r'the index of depth is not of \(6, 90, 70\)'),
        (index(sums=[0] * 36), 'depth is damaged, or its index is of another archive'),
        (short, r'key\.truth\.npz: cannot be read .*: depth is truncated'),
        (plain(depth=np.ones((6, 9, 9))), r'depth of \(6, 9, 9\), must be \(6, 90'),
        (plain(other=np.ones(3)), "key: cannot be read as a sample: no 'depth'"),
        (lambda m: m.pop('image.005.png'), 'key: 5 images, but 6 lens states'),
        (lambda m: m.update({'image.002.png': encoded('JPEG')[:-9]}), None),
        (
            lambda m: m.update({'image.002.png': encoded('PNG').replace(b'\0\0\0Z', b'\0\0\0Y')}),
            r'key\.image\.002\.png: cannot be read as an image',
        ),
    ],
)
def test_a_damaged_sample_is_one_line_with_shard_and_key(tmp_path, change, says):
    stored(tmp_path)
    samples = rewritten(tmp_path, change)
    if says is None:  # the damage is below the area
        both_shapes = [part_of(sample, [2], Area(0, 0, 8, 8)).images.shape for sample in [samples.opened(0)]]
        assert both_shapes == [(1, 1, 3, 8, 8)]
        return
    with pytest.raises(InputError, match=says) as caught, samples.opened(0) as sample:
        part_of(sample, FRAMES, AREA)
    assert str(caught.value).startswith(f'{tmp_path / "a.tar"}: key') and '\n' not in str(caught.value)


def test_images_of_another_size_are_refused(tmp_path):
    stored(tmp_path)
    Image.fromarray(picture()[:80]).save(buffer := io.BytesIO(), 'PNG')
    samples = rewritten(tmp_path, lambda members: members.update({'image.002.png': buffer.getvalue()}))
    with (
        pytest.raises(InputError, match=r'image\.002\.png of \(80, 70\), but the first image of \(90, 70\)'),
        samples.opened(0) as sample,
    ):
        part_of(sample, FRAMES, AREA)
