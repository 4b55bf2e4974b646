"""Focal stack folders: there and back, EXIF, and one clear line for everything that can be wrong."""

import math
import tempfile
from pathlib import Path

import numpy as np
import pytest
import yaml
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from PIL import ExifTags, Image
from PIL.TiffImagePlugin import IFDRational

from dfd_ros.core.errors import InputError
from dfd_ros.core.focal_stack import FocalStack
from dfd_ros.core.lens_state import LensState

BALLS = Path(__file__).resolve().parents[3] / 'shared' / 'data' / 'balls'


def picture(seed=0, height=24, width=32):
    return np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8)


def make_folder(folder: Path, **changes) -> dict:
    """A good stack of three frames; `changes` replace top-level entries of stack.yaml."""
    folder.mkdir(exist_ok=True)
    frames = []
    for i, focus in enumerate([math.inf, 2.0, 0.5]):
        Image.fromarray(picture(i)).save(folder / f'{i:02d}.png')
        frames.append({'file': f'{i:02d}.png', 'focus_distance_m': focus})
    description = {
        'lens': {'focal_length_mm': 4.3, 'f_number': 1.8, 'sensor_width_mm': 6.4},
        'frames': frames,
        **changes,
    }
    (folder / 'stack.yaml').write_text(yaml.safe_dump(description))
    return description


def rewrite(folder: Path, description: dict) -> None:
    (folder / 'stack.yaml').write_text(yaml.safe_dump(description))


def test_read(tmp_path):
    make_folder(tmp_path / 'stack', depth='truth.npy')
    truth = np.full((24, 32), 1.5)
    truth[0, :3] = [0, math.nan, -1]
    np.save(tmp_path / 'stack' / 'truth.npy', truth)

    stack = FocalStack.read(tmp_path / 'stack')

    assert len(stack) == 3
    for i, (image, state) in enumerate(stack):
        np.testing.assert_array_equal(image, picture(i))
        assert state.focus_distance == [math.inf, 2.0, 0.5][i]
        assert state.focal_length == pytest.approx(4.3e-3)
        assert state.f_number == 1.8
        assert state.pixel_pitch == pytest.approx(6.4e-3 / 32)
        assert math.isnan(state.magnification) and math.isnan(state.stamp) and state.range is None
    assert (stack.range.near, stack.range.far) == (0.5, math.inf)
    assert stack.depth.dtype == np.float32 and stack.depth[5, 5] == 1.5
    assert np.isnan(stack.depth[0, :3]).all()


unknown = st.just(math.nan)


def known(low, high):
    return st.floats(low, high).map(lambda x: float(f'{x:.9g}'))


@pytest.mark.slow(reason='dozens of stacks are written and read')
@settings(max_examples=30, deadline=None)
@given(
    st.lists(
        st.tuples(
            st.one_of(known(0.02, 1e3), st.just(math.inf)),
            st.one_of(unknown, known(0.9, 1.2)),
            st.one_of(unknown, st.floats(0, 2e9)),
        ),
        min_size=1,
        max_size=12,
    ),
    st.one_of(unknown, known(1e-3, 0.2)),
    st.one_of(unknown, known(0.9, 32)),
    st.one_of(unknown, known(1e-6, 1e-5)),
    st.sampled_from([(math.nan, math.nan), (0.1, math.inf), (0.25, 4.0)]),
    st.booleans(),
)
def test_there_and_back(frames, focal_length, f_number, pitch, limits, with_depth):
    assume(not any(focal_length >= focus for focus, *_ in frames))
    states = [
        LensState(focus, focal_length, f_number, pitch, magnification, *limits, stamp=stamp)
        for focus, magnification, stamp in frames
    ]
    depth = np.full((24, 32), 0.75, np.float32) if with_depth else None
    if with_depth:
        depth[3:5] = np.nan
    stack = FocalStack([picture(i) for i in range(len(states))], states, depth)
    with tempfile.TemporaryDirectory() as folder:
        stack.write(Path(folder) / 'stack')
        again = FocalStack.read(Path(folder) / 'stack')
        assert [path.name for path in Path(folder).iterdir()] == ['stack']
    for (image, state), (image_again, state_again) in zip(stack, again, strict=True):
        np.testing.assert_array_equal(image, image_again)
        for field in vars(state):
            expected = pytest.approx(getattr(state, field), rel=1e-9, nan_ok=True)
            assert getattr(state_again, field) == expected, field
    if with_depth:
        np.testing.assert_array_equal(again.depth, depth)
    else:
        assert again.depth is None


def test_written_whole_or_not_at_all(tmp_path):
    stack = FocalStack([picture(), 'not an image'], [LensState(1.0), LensState(2.0)])
    with pytest.raises(AttributeError):
        stack.write(tmp_path / 'stack')
    assert list(tmp_path.iterdir()) == []


def test_writing_over_a_stack_has_to_be_asked_for(tmp_path):
    old = FocalStack([picture(i) for i in range(4)], [LensState(1.0 + i) for i in range(4)])
    new = FocalStack([picture(9)], [LensState(7.0)])
    old.write(tmp_path / 'stack')
    with pytest.raises(InputError, match='stack: already exists'):
        new.write(tmp_path / 'stack')
    new.write(tmp_path / 'stack', overwrite=True)
    assert sorted(path.name for path in (tmp_path / 'stack').iterdir()) == ['00.png', 'stack.yaml']
    assert [path.name for path in tmp_path.iterdir()] == ['stack']


def test_only_a_stack_is_written_over(tmp_path):
    (tmp_path / 'thesis.pdf').touch()
    with pytest.raises(InputError, match='already exists'):
        FocalStack([picture()], [LensState(7.0)]).write(tmp_path, overwrite=True)
    assert [path.name for path in tmp_path.iterdir()] == ['thesis.pdf']


def test_an_image_has_one_focus(tmp_path):
    frames = make_folder(tmp_path)['frames']
    make_folder(tmp_path, frames=[*frames, frames[0]])
    assert len(FocalStack.read(tmp_path)) == 4
    make_folder(tmp_path, frames=[*frames, {'file': '00.png', 'focus_distance_m': 1.0}])
    with pytest.raises(InputError, match=r"frames\[3\], file: '00.png' is named before with another focus"):
        FocalStack.read(tmp_path)


def test_a_stack_has_one_lens(tmp_path):
    stack = FocalStack([picture(), picture()], [LensState(1.0, f_number=2.0), LensState(2.0, f_number=4.0)])
    with pytest.raises(InputError, match='the lens of frame 1 is another'):
        stack.write(tmp_path / 'stack')


def save_with_exif(path: Path, size=(32, 24), **tags):
    image = Image.fromarray(picture(0, size[1], size[0]))
    exif = Image.Exif()
    exif.get_ifd(ExifTags.IFD.Exif).update(
        {ExifTags.Base[name]: value for name, value in tags.items() if name != 'Orientation'}
    )
    if 'Orientation' in tags:
        exif[ExifTags.Base.Orientation] = tags['Orientation']
    image.save(path, exif=exif)


def exif_folder(folder: Path, size=(32, 24), lens=None, focus=None, **tags) -> FocalStack:
    folder.mkdir(exist_ok=True)
    save_with_exif(folder / 'a.jpg', size, **tags)
    frame = {'file': 'a.jpg'} if focus is None else {'file': 'a.jpg', 'focus_distance_m': focus}
    rewrite(folder, {'lens': lens, 'frames': [frame]})
    return FocalStack.read(folder)


OF_A_PHONE = {
    'FocalLength': IFDRational(43, 10),
    'FNumber': IFDRational(18, 10),
    'FocalPlaneXResolution': IFDRational(200),
    'FocalPlaneResolutionUnit': 3,
    'SubjectDistance': IFDRational(3, 2),
}


def test_unknown_lens_data_come_from_exif(tmp_path):
    state = exif_folder(tmp_path, **OF_A_PHONE).lens_states[0]
    assert state.focal_length == pytest.approx(4.3e-3)
    assert state.f_number == pytest.approx(1.8)
    assert state.pixel_pitch == pytest.approx(1e-2 / 200)
    assert state.focus_distance == 1.5


def test_what_stack_yaml_says_goes_before_exif(tmp_path):
    lens = {'focal_length_mm': 50, 'f_number': None, 'sensor_width_mm': 36}
    state = exif_folder(tmp_path, lens=lens, focus=9.0, **OF_A_PHONE).lens_states[0]
    assert state.focal_length == pytest.approx(50e-3)
    assert state.f_number == pytest.approx(1.8)
    assert state.pixel_pitch == pytest.approx(36e-3 / 32)
    assert state.focus_distance == 9.0


def test_pixel_pitch_of_an_image_resized_since(tmp_path):
    stack = exif_folder(
        tmp_path, focus=1.0, FocalPlaneXResolution=IFDRational(1000), FocalPlaneResolutionUnit=3, ExifImageWidth=128
    )
    assert stack.lens_states[0].pixel_pitch == pytest.approx(1e-2 / 1000 * 128 / 32)


def test_pixel_pitch_from_the_35_mm_equivalent(tmp_path):
    """A 36x24 mm sensor is its own equivalent."""
    stack = exif_folder(tmp_path, (36, 24), focus=1.0, FocalLength=IFDRational(50), FocalLengthIn35mmFilm=50)
    assert stack.lens_states[0].pixel_pitch == pytest.approx(1e-3)


def test_rotated_image_is_turned_upright_and_keeps_its_pitch(tmp_path):
    stack = exif_folder(
        tmp_path,
        (32, 24),
        focus=1.0,
        Orientation=6,
        FocalPlaneXResolution=IFDRational(1000),
        FocalPlaneResolutionUnit=3,
    )
    assert stack.images[0].shape == (32, 24, 3)
    assert stack.lens_states[0].pixel_pitch == pytest.approx(1e-5)


def test_sensor_width_refers_to_the_stored_image(tmp_path):
    exif_folder(tmp_path, (32, 24), focus=1.0, Orientation=6)
    rewrite(tmp_path, {'lens': {'sensor_width_mm': 6.4}, 'frames': [{'file': 'a.jpg', 'focus_distance_m': 1}]})
    stack = FocalStack.read(tmp_path)
    assert stack.images[0].shape == (32, 24, 3) and stack.lens_states[0].pixel_pitch == pytest.approx(6.4e-3 / 32)


def test_exif_subject_distance_infinity_and_unknown(tmp_path):
    stack = exif_folder(tmp_path, SubjectDistance=IFDRational(0xFFFFFFFF))
    assert stack.lens_states[0].focus_distance == math.inf
    with pytest.raises(InputError, match=r'frames\[0\], focus_distance_m: unknown, and a.jpg has no EXIF'):
        exif_folder(tmp_path, SubjectDistance=IFDRational(0))


def test_zeros_in_exif_are_unknown(tmp_path):
    state = exif_folder(
        tmp_path,
        focus=1.0,
        FocalLength=IFDRational(0, 0),
        FNumber=IFDRational(0),
        FocalPlaneXResolution=IFDRational(0),
        FocalLengthIn35mmFilm=0,
    ).lens_states[0]
    assert math.isnan(state.focal_length) and math.isnan(state.f_number) and math.isnan(state.pixel_pitch)


def test_sixteen_bit_images_are_scaled_and_not_clipped(tmp_path):
    Image.fromarray(np.full((24, 32), 0x8012, np.uint16)).save(tmp_path / 'a.png')
    rewrite(tmp_path, {'frames': [{'file': 'a.png', 'focus_distance_m': 1}]})
    assert (FocalStack.read(tmp_path).images[0] == 0x80).all()


def test_images_of_mode_i_are_read_as_sixteen_bit(tmp_path):
    """As Pillow before 10.3 opens 16-bit PNGs, and every Pillow this TIFF."""
    for value, is_read in ((0x8012, 0x80), (200, 200)):
        Image.fromarray(np.full((24, 32), value, np.int32)).save(tmp_path / 'a.tif')
        rewrite(tmp_path, {'frames': [{'file': 'a.tif', 'focus_distance_m': 1}]})
        with Image.open(tmp_path / 'a.tif') as opened:
            assert opened.mode == 'I'
        assert (FocalStack.read(tmp_path).images[0] == is_read).all()
    Image.fromarray(np.full((24, 32), 0.5, np.float32)).save(tmp_path / 'a.tif')
    assert 'a.tif: cannot be read as an image: its pixels are floating-point' in message(tmp_path)


def test_numbers_that_yaml_takes_for_text(tmp_path):
    description = make_folder(tmp_path)
    (tmp_path / 'stack.yaml').write_text(yaml.safe_dump(description).replace('2.0', '2e-1'))
    assert FocalStack.read(tmp_path).lens_states[1].focus_distance == 0.2


def message(folder: Path) -> str:
    with pytest.raises(InputError) as caught:
        FocalStack.read(folder)
    text = str(caught.value)
    assert '\n' not in text and str(folder) in text
    return text


def test_missing_folder(tmp_path):
    assert message(tmp_path / 'nowhere').endswith('nowhere: no such folder')


def test_missing_description(tmp_path):
    assert 'stack.yaml: no such file' in message(tmp_path)


@pytest.mark.parametrize(
    'text, says',
    [
        ('frames: [', 'stack.yaml: not YAML'),
        ('- 1', '[1] should be a mapping'),
        ('', 'None should be a mapping'),
        ('frames: []', 'frames: []: list should have at least 1 item'),
        ('lens: {}', 'frames: is missing'),
        ('frames: 3', 'frames: 3 should be a list'),
        ('frames: [3]', 'frames[0]: 3 should be a mapping'),
        ('lens: 3\nframes: [{file: a}]', 'lens: 3 should be a mapping'),
        ('frame: []', 'no setting "frame"; there are frames, lens, order, depth'),
        ('lens: {focal_lenght_mm: 3}', 'lens: no setting "focal_lenght_mm"'),
        ('frames: [{file: a.png, focus: 3}]', 'frames[0]: no setting "focus"'),
        ('frames: [{focus_distance_m: 3}]', 'frames[0], file: is missing'),
        ('frames: [{file: null}]', 'frames[0], file: None should be text'),
        ('frames: [{file: a.png}]\ndepth: 3', 'depth: 3 should be text'),
    ],
)
def test_description_that_is_none(tmp_path, text, says):
    (tmp_path / 'stack.yaml').write_text(text)
    assert says in message(tmp_path)


@pytest.mark.parametrize(
    'value, says',
    [
        ('two', "'two' should be a number"),
        (math.nan, 'nan should be above 0'),
        (True, 'True should be a number'),
        ([1], '[1] should be a number'),
        (0, '0 should be above 0'),
        (-1.5, '-1.5 should be above 0'),
        (-math.inf, '-inf should be above 0'),
        (None, 'unknown, and 01.png has no EXIF subject distance'),
    ],
)
def test_focus_distance_that_is_none(tmp_path, value, says):
    description = make_folder(tmp_path)
    description['frames'][1]['focus_distance_m'] = value
    rewrite(tmp_path, description)
    assert f'stack.yaml, frames[1], focus_distance_m: {says}' in message(tmp_path)


@pytest.mark.parametrize('key', ['focal_length_mm', 'f_number', 'sensor_width_mm', 'near_m'])
@pytest.mark.parametrize('value', ['x', 0, -2, math.nan, math.inf])
def test_lens_number_that_is_none(tmp_path, key, value):
    make_folder(tmp_path, lens={key: value})
    assert f'stack.yaml, lens, {key}: {value!r} should be' in message(tmp_path)


@pytest.mark.parametrize(
    'key, value', [('magnification', 'x'), ('magnification', -1), ('stamp_s', 'x'), ('stamp_s', math.nan)]
)
def test_frame_number_that_is_none(tmp_path, key, value):
    description = make_folder(tmp_path)
    description['frames'][2][key] = value
    rewrite(tmp_path, description)
    assert f'frames[2], {key}: {value!r} should be' in message(tmp_path)


def test_missing_image(tmp_path):
    make_folder(tmp_path)
    (tmp_path / '01.png').unlink()
    text = message(tmp_path)
    assert '01.png: no such image' in text and 'frames[1], file' in text


def test_unreadable_image(tmp_path):
    make_folder(tmp_path)
    (tmp_path / '01.png').write_bytes(b'nothing to see here')
    assert '01.png: cannot be read as an image' in message(tmp_path)


def test_image_cut_short(tmp_path):
    make_folder(tmp_path)
    whole = (tmp_path / '01.png').read_bytes()
    (tmp_path / '01.png').write_bytes(whole[: len(whole) // 2])
    assert '01.png: cannot be read as an image' in message(tmp_path)


def test_odd_sized_image(tmp_path):
    make_folder(tmp_path)
    Image.fromarray(picture(1, 24, 31)).save(tmp_path / '01.png')
    assert '01.png: 31x24 pixels, but 00.png has 32x24' in message(tmp_path)


@pytest.mark.parametrize(
    'truth, says',
    [
        (np.ones((24, 31), np.float32), 'float32 (24, 31), must be metres as float32 (24, 32)'),
        (np.full((24, 32), 850, np.uint16), 'uint16 (24, 32), must be metres as float32'),
        (np.ones((24, 32, 1), np.float32), 'float32 (24, 32, 1), must be'),
        (np.full((24, 32), 'a'), 'must be metres'),
        (np.ones((24, 32), bool), 'must be metres'),
        (np.full((24, 32), None), 'cannot be read as a NumPy array'),
    ],
)
def test_depth_of_another_shape_or_kind(tmp_path, truth, says):
    make_folder(tmp_path, depth='truth.npy')
    np.save(tmp_path / 'truth.npy', truth, allow_pickle=True)
    text = message(tmp_path)
    assert 'truth.npy: ' in text and says in text


def test_depth_missing_or_cut_short(tmp_path):
    make_folder(tmp_path, depth='truth.npy')
    assert 'truth.npy: no such file, named by' in message(tmp_path)
    np.save(tmp_path / 'truth.npy', np.ones((24, 32)))
    whole = (tmp_path / 'truth.npy').read_bytes()
    for cut in (0, 40, len(whole) - 100):
        (tmp_path / 'truth.npy').write_bytes(whole[:cut])
        assert 'truth.npy: cannot be read' in message(tmp_path)
    for damaged in (whole.replace(b"'descr'", b"('descr'"), b'PK\x03\x04' + whole):
        (tmp_path / 'truth.npy').write_bytes(damaged)
        assert 'truth.npy: cannot be read' in message(tmp_path)


def test_range_needs_two_distances(tmp_path):
    stack = FocalStack([picture(), picture()], [LensState(2.0), LensState(2.0)])
    with pytest.raises(InputError, match='every frame is focused at 2 m'):
        _ = stack.range


@pytest.mark.skipif(not BALLS.is_dir(), reason='the real stack is not part of the checkout')
def test_the_real_stack():
    stack = FocalStack.read(BALLS)
    assert len(stack) == 10
    assert stack.images[0].shape == (720, 1280, 3)
    assert (stack.range.near, stack.range.far) == (0.1, math.inf)
    assert all(math.isnan(state.f_number) for state in stack.lens_states)
