"""Images that are recorded as video: decoded when they are needed, and damage costs them up to the next keyframe."""

import gc
import random
import re
import sys
import weakref
from types import SimpleNamespace

import numpy as np
import pytest

pytest.importorskip('rosbags')
pytest.importorskip('cv2')
pytest.importorskip('av')

from command_line import dfd
from recorded_rig import FOCUS, STORE, Options, header, messages, write_bag
from recorded_video import IMAGE, as_video, encoded, video_message

from dfd_ros.bags.video_stream import COMPRESSED_VIDEO, FFMPEG_PACKET, BeforeKeyframe, VideoStream, codec_of
from dfd_ros.core.errors import InputError
from dfd_ros.datasets.shards import Samples
from dfd_ros.viewing.bag_frames import BagFrames

CODECS = {'h264': 'H.264', 'hevc': 'H.265', 'av1': 'AV1', 'vp9': 'VP9'}
KINDS = [(COMPRESSED_VIDEO, '/foxglove'), (FFMPEG_PACKET, '/ffmpeg'), (IMAGE, '/compressed')]


def scene(number):
    """A pattern that moves by three pixels a frame."""
    y, x = np.mgrid[:48, :64]
    wave = np.sin((x + 3 * number) / 9) * np.sin(y / 13)
    return np.stack([120 + 80 * wave, 130 + 60 * wave, 110 + 70 * wave], -1).astype(np.uint8)


SCENES = [scene(number) for number in range(12)]


def loaders(packets, codec):
    """Of each message; the error where there is none."""
    stream, found = VideoStream('/image'), []
    for data in packets:
        try:
            found.append(stream.add(codec, data, lambda data=data: SimpleNamespace(data=data)))
        except BeforeKeyframe as error:
            found.append(error)
    return found


def is_scene(load, number):
    return np.abs(load().astype(int) - SCENES[number]).mean() < 4


@pytest.fixture(scope='module')
def packets():
    return {codec: [data for _, data in encoded(SCENES, codec)] for codec in CODECS}


@pytest.mark.parametrize('codec', CODECS)
def test_frames_are_decoded_in_any_order(packets, codec):
    found = loaders(packets[codec], CODECS[codec])
    assert all(is_scene(load, number) for number, load in enumerate(found))
    order = list(range(12))
    random.Random(0).shuffle(order)
    assert all(is_scene(found[number], number) for number in order)


@pytest.mark.parametrize('codec', CODECS)
def test_frames_before_the_first_keyframe_cannot_be_decoded(packets, codec):
    found = loaders(packets[codec][2:], CODECS[codec])
    assert [isinstance(load, BeforeKeyframe) for load in found] == [True, True] + 8 * [False]
    assert all(is_scene(load, number) for number, load in enumerate(found[2:], 4))


@pytest.mark.parametrize('codec', CODECS)
def test_damage_costs_the_frames_up_to_the_next_keyframe(packets, codec):
    damaged = list(packets[codec])
    damaged[5] = bytes([damaged[5][0] ^ 0x40, *damaged[5][1:4]]) if codec in ('av1', 'vp9') else damaged[5][:5]
    found = loaders(damaged, CODECS[codec])
    for number in (5, 6, 7):
        with pytest.raises(InputError, match=f'^/image: {re.escape(CODECS[codec])} video is damaged, up to its next'):
            found[number]()
    assert all(is_scene(found[number], number) for number in (0, 1, 2, 3, 4, 8, 9, 10, 11))


@pytest.mark.parametrize('codec', ['h264', 'hevc'])
def test_a_lost_message_costs_the_frames_up_to_the_next_keyframe(packets, codec):
    """FFmpeg makes up what is lost of H.264."""
    found = loaders(packets[codec][:5] + packets[codec][6:], CODECS[codec])
    for load in found[5:7]:
        with pytest.raises(InputError, match='^/image: .* up to its next keyframe'):
            load()
    assert is_scene(found[4], 4) and is_scene(found[7], 8)


def test_parameter_sets_that_only_the_first_keyframe_has(packets):
    for codec, kinds in (('h264', (7, 8)), ('hevc', (32, 33, 34))):
        stripped = list(packets[codec])
        units = [unit for unit in re.split(b'\0?\0\0\1', stripped[4]) if unit]
        kept = [u for u in units if (u[0] & 31 if codec == 'h264' else u[0] >> 1 & 63) not in kinds]
        assert len(kept) < len(units)
        stripped[4] = b''.join(b'\0\0\0\1' + unit for unit in kept)
        assert is_scene(loaders(stripped, CODECS[codec])[5], 5)


def test_frames_that_leave_the_decoder_later(packets):
    """B-frames, which come after what follows them."""
    late = encoded(SCENES, 'h264', every=12, b_frames=2, tune='film', preset='medium')
    numbers = [number for number, _ in late]
    assert numbers != sorted(numbers)
    assert all(map(is_scene, loaders([data for _, data in late], 'H.264'), numbers))


def test_memory_does_not_grow_with_the_recording(packets):
    class Message:
        def __init__(self, data):
            self.data = data

        def __call__(self):
            return self

    stream, alive = VideoStream('/image'), []
    for _ in range(5):
        for data in packets['h264']:
            message = Message(data)
            load = stream.add('H.264', data, message)
            alive.append(weakref.ref(message))
        load()
    del message, load
    gc.collect()
    assert sum(ref() is not None for ref in alive) == 4  # since the last keyframe


@pytest.mark.parametrize(
    'kind, name, codec',
    [
        (FFMPEG_PACKET, 'libx264', 'H.264'),
        (FFMPEG_PACKET, 'hevc_nvenc', 'H.265'),
        (FFMPEG_PACKET, 'libsvtav1', 'AV1'),
        (COMPRESSED_VIDEO, 'h265', 'H.265'),
        (IMAGE, 'h264', 'H.264'),
        (IMAGE, 'rgb8; jpeg compressed bgr8', ''),
        (IMAGE, '', ''),
    ],
)
def test_codecs(kind, name, codec):
    assert codec_of(video_message(kind, header(1.0, ''), name, b''), '/image') == codec


def test_another_codec_is_refused():
    message = STORE.types[COMPRESSED_VIDEO](header(1.0, '').stamp, '', np.zeros(0, np.uint8), 'theora')
    with pytest.raises(InputError, match=r"^/image: video in 'theora', must be H\.264, H\.265, AV1 or VP9$"):
        codec_of(message, '/image')


@pytest.mark.slow(reason='whole bags are written and converted')
class TestRecordings:
    @pytest.mark.parametrize('codec, kind, suffix', [(codec, *kind) for codec, kind in zip(CODECS, (*KINDS, KINDS[0]))])
    def test_are_converted_as_those_of_images(self, tmp_path, codec, kind, suffix):
        options = Options(sweeps=4, unsettled=1)
        write_bag(tmp_path / 'images', options)
        write_bag(tmp_path / 'video', recorded=as_video(messages(options), kind, codec, suffix=suffix))
        for name in ('images', 'video'):
            assert dfd('convert', tmp_path / name, '--out', tmp_path / 'out' / name) == 0
        expected, found = (list(Samples(tmp_path / 'out' / name)) for name in ('images', 'video'))
        assert len(found) == len(expected) == 4
        for one, other in zip(expected, found):
            assert np.abs(one.images.astype(int) - other.images).mean() < 4
            np.testing.assert_array_equal(one.depth, other.depth)
            assert one.lens_states == other.lens_states

    def test_of_which_messages_were_lost(self, tmp_path, capsys):
        def damaged(packets):
            return [None, *packets[1:9], None, *packets[10:]]

        recorded = as_video(messages(Options(sweeps=5)), FFMPEG_PACKET, 'h264', suffix='/ffmpeg', damaged=damaged)
        write_bag(tmp_path / 'bag', recorded=recorded)
        assert dfd('convert', tmp_path / 'bag', '--out', tmp_path / 'out') == 0
        said = capsys.readouterr().out
        assert '3 before the first keyframe of their video' in said
        assert '2 that cannot be decoded' in said and 'messages of the H.264 video were lost' in said
        assert [len(sample) for sample in Samples(tmp_path / 'out')] == [len(FOCUS)] * 3

    def test_need_pyav(self, tmp_path, capsys, monkeypatch):
        write_bag(tmp_path / 'bag', recorded=as_video(messages(Options()), IMAGE, 'h264', suffix='/compressed'))
        monkeypatch.setitem(sys.modules, 'av', None)
        line = '/image_raw/compressed: video needs PyAV, which is not installed: pip install av'
        assert dfd('convert', tmp_path / 'bag', '--out', tmp_path / 'out') == 2
        assert f'{line}\n' in capsys.readouterr().err
        with pytest.raises(InputError, match=f'^{line}$'):
            BagFrames(tmp_path / 'bag')
        assert not list((tmp_path / 'out').iterdir())

    def test_can_be_viewed(self, tmp_path):
        recorded = as_video(messages(Options()), COMPRESSED_VIDEO, 'h264', suffix='/foxglove')
        write_bag(tmp_path / 'bag', recorded=recorded)
        shots = list(BagFrames(tmp_path / 'bag').shots())
        assert [shot.lens_state.focus_distance for shot in shots] == [*FOCUS] * 3
