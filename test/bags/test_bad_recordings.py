"""Recordings with something wrong in them: what is good is converted, and what is not is named."""

import math
import os
import re
import signal
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip('rosbags')
pytest.importorskip('cv2')

from recorded_rig import DEPTH_FRAME, IMAGE_FRAME, START, STORE, Options, header, messages, tf_message, write_bag

from dfd_ros import cli
from dfd_ros.bags import convert_recording, convert_recordings
from dfd_ros.bags.bag_reader import Bag
from dfd_ros.bags.bag_writer import BagWriter, Topic
from dfd_ros.bags.convert_recording import ConvertSettings
from dfd_ros.bags.convert_recordings import Job, convert_all, convert_one
from dfd_ros.bags.recording_events import Topics
from dfd_ros.datasets.shards import Samples

pytestmark = pytest.mark.slow(reason='whole bags are written and converted')

IMAGE, INFO, LENS, DEPTH = '/image_raw', '/camera_info', '/lens_state', '/rgbd/depth/image_rect'


def recorded(change=lambda topic, number, message: message, delay=None, **options):
    """The messages of a recording, with one of them or more changed. delay: s from sending to recording, by topic."""
    numbers: dict[str, int] = {}
    items = []
    for topic, time, message in messages(Options(**options)):
        numbers[topic] = number = numbers.get(topic, -1) + 1
        items.append((topic, time + (delay or {}).get(topic, 0.0), change(topic, number, message)))
    return sorted(items, key=lambda item: item[1])


@pytest.fixture
def convert(tmp_path, capsys):
    """Converts a bag of these messages; gives its samples and the line about it."""

    def run(items, *arguments, status=0):
        write_bag(tmp_path / 'bag', recorded=items)
        assert cli.main(['convert', str(tmp_path / 'bag'), '--out', str(tmp_path / 'out'), *arguments]) == status
        said = capsys.readouterr()
        line = said.out if status == 0 else next(x for x in said.err.splitlines() if x.startswith('dfd: error: '))
        assert str(tmp_path / 'bag') in line
        return list(Samples(tmp_path / 'out')) if status == 0 else [], line

    return run


def at(topic, number, **fields):
    """Changes fields of one message of a topic, or of all (None)."""

    def change(message_topic, message_number, message):
        if message_topic == topic and number in (None, message_number):
            for name, value in fields.items():
                setattr(message, name, value)
        return message

    return change


def test_two_cameras_on_one_topic_are_not_mixed(convert):
    def change(topic, number, message):
        if topic == IMAGE and number % 2:
            message.header.frame_id = 'another'
        return message

    _, line = convert(recorded(change), status=2)
    assert f"images with the frame_id '{IMAGE_FRAME}' and with 'another', which are taken for two cameras" in line


@pytest.mark.parametrize(
    'change, said',
    [
        (at(IMAGE, 2, data=np.zeros(0, np.uint8)), '1 that cannot be decoded'),
        (
            at(IMAGE, 2, step=1),
            f'1 that cannot be decoded; .*image at {START + 2 / 30:.3f} s: {IMAGE}: step 1 is shorter',
        ),
        (at(IMAGE, 2, width=0, height=0), '1 that cannot be decoded'),
        (at(IMAGE, 2, encoding='x' * 300), '1 that cannot be decoded'),
        (at(DEPTH, 2, data=np.zeros(5, np.uint8)), '1 with depth that cannot be decoded'),
        (
            at(LENS, 2, focus_distance=math.nan),
            f'1 with no lens state; {LENS}: 1 ignored, not valid .focus_distance is nan',
        ),
        (at(LENS, 2, focus_distance=1e-9), '1 with no lens state'),
        (at(IMAGE, 2, header=header(0.0, IMAGE_FRAME)), '1 with a header stamp of 0'),
        (at(IMAGE, 2, header=header(2e9, IMAGE_FRAME)), '1 with no lens state'),
        (at(DEPTH, 2, header=header(2e9, DEPTH_FRAME)), '1 with no depth at that time'),
    ],
)
def test_a_bad_message_costs_its_frame_alone(convert, change, said):
    samples, line = convert(recorded(change))
    assert [len(sample) for sample in samples] == [3, 4, 4] and '12 images, 11 in 3 samples' in line
    assert re.search(said, line), line


@pytest.mark.parametrize(
    'change',
    [
        at(INFO, 2, k=np.full(9, np.nan), p=np.zeros(12)),
        at(INFO, 0, d=np.full(5, np.nan)),
        at(INFO, 1, k=np.zeros(9), p=np.zeros(12)),
    ],
)
def test_a_bad_calibration_among_good_ones_does_not_matter(convert, change):
    samples, line = convert(recorded(change, info_follows_focus=False))
    assert [len(sample) for sample in samples] == [4, 4, 4] and f'{INFO}: 1 ignored, not valid' in line


@pytest.mark.parametrize('d', [math.nan, math.inf, 1e9, -1000.0, 50.0])
def test_distortion_of_no_camera_is_refused(convert, d):
    """Else the images would be rectified to black."""
    _, line = convert(recorded(at(INFO, None, d=np.array([d, 0, 0, 0, 0]))), status=2)
    assert (
        'no camera_info of the focus camera; give its intrinsics' in line
        and f'{INFO}: 12 ignored, not valid (D is' in line
    )


def test_six_coefficients_are_refused(convert):
    _, line = convert(recorded(at(INFO, None, d=np.full(6, 0.01))), status=2)
    assert 'D has 6 coefficients, must be 4, 5, 8, 12, 14' in line


def test_rectified_depth_goes_by_p(convert):
    samples, _ = convert(recorded(at('/rgbd/depth/camera_info', None, k=np.eye(3).reshape(-1))))
    # Depth is found in nearly all of the view: with K it would be in a corner.
    assert len(samples) == 3 and all(np.isfinite(sample.depth).mean() > 0.8 for sample in samples)


def test_the_largest_value_of_sixteen_bits_is_no_depth(convert):
    def change(topic, number, message):
        if topic == DEPTH:
            message.data = message.data.copy()
            message.data.view(np.uint16)[:2000] = 65535
        return message

    samples, _ = convert(recorded(change))
    assert all(np.nanmax(sample.depth) < 3.0 for sample in samples)


def bad_transform():
    message = tf_message()
    message.transforms[0].child_frame_id, message.transforms[0].header.frame_id = 'gripper', 'map'
    message.transforms[0].transform.rotation = STORE.types['geometry_msgs/msg/Quaternion'](0.0, 0.0, 0.0, 0.0)
    return message


def test_an_impossible_transform_elsewhere_does_not_matter(convert):
    samples, line = convert([('/tf', START, bad_transform()), *recorded()])
    assert len(samples) == 3 and '/tf: 1 ignored, transforms that are impossible (map -> gripper: quaternion' in line


@pytest.mark.parametrize('topic', ['/tf_static', INFO, '/rgbd/depth/camera_info'])
def test_what_is_published_once_may_be_recorded_late(convert, topic):
    items = [item for item in recorded(sweeps=3, info_follows_focus=False) if item[0] != topic]
    one = next(item for item in messages(Options(info_follows_focus=False)) if item[0] == topic)
    samples, line = convert([*items, (topic, items[-1][1] + 1.0, one[2])])
    assert len(samples) == 3 and '12 images, 12 in 3 samples' in line


def test_depth_may_be_recorded_late(convert):
    samples, line = convert(recorded(delay={DEPTH: 5.0}))
    assert len(samples) == 3 and '12 images, 12 in 3 samples' in line


@pytest.mark.parametrize('empty', [IMAGE + '/compressedDepth', IMAGE])
def test_the_transport_with_messages_is_taken(tmp_path, empty):
    full = IMAGE + '/compressed'
    compressed, raw = 'sensor_msgs/msg/CompressedImage', 'sensor_msgs/msg/Image'
    topics = [Topic(full, compressed), Topic(empty, raw if empty == IMAGE else compressed), Topic(DEPTH, raw)]
    writer = BagWriter(tmp_path / 'bag', [*topics, Topic(LENS, 'dfd_ros/msg/LensState')])
    (message,) = [m for t, _, m in messages(Options(compressed=True, sweeps=1, focus=(1.0,))) if t == full]
    writer.write(0, 1, bytes(STORE.serialize_cdr(message, message.__msgtype__)))
    writer.close()
    assert Topics().of(Bag(tmp_path / 'bag')).image == full


@pytest.mark.parametrize(
    'topics, said',
    [
        ((IMAGE, LENS, DEPTH), '12 with a header stamp of 0: the camera driver does not set the stamps of its images'),
        ((DEPTH,), f'12 with no depth at that time: there is none; {DEPTH}: 12 ignored, with a header stamp of 0'),
    ],
)
def test_stamps_that_are_all_zero_are_named(convert, topics, said):
    def change(topic, number, message):
        if topic in topics:
            message.header = header(0.0, message.header.frame_id)
        return message

    assert said in convert(recorded(change), status=2)[1]


def test_what_is_too_large_for_the_memory_is_refused(convert, monkeypatch):
    monkeypatch.setattr(convert_recording, 'MAX_SAMPLE', 40_000)
    _, line = convert(recorded(), status=2)
    assert '4 frames of 128x96 pixels are more than 0 million pixels; give a smaller --width' in line


def small(path, sweeps=3):
    return write_bag(path, Options(sweeps=sweeps))


def quietly(recording, job):
    return convert_one(recording, job, lambda images, more: None)


def test_shards_without_a_report_are_not_mixed_in(tmp_path):
    """Neither where the user has removed the report, nor where another tool has made them."""
    bag, out = small(tmp_path / 'bag'), tmp_path / 'out'
    out.mkdir()
    assert not quietly(bag, Job(out)).error
    frames = Job(out, settings=ConvertSettings(frames=6))
    error = quietly(bag, frames).error
    assert f'{out}/bag.json: converted before, with other settings (settings.frames: 0, not 6)' in error
    assert error.endswith('or remove it together with its shards, bag-*.tar')
    (out / 'bag.json').unlink()
    shard = (out / 'bag-000000.tar').read_bytes()
    assert quietly(bag, frames).error.startswith(f'{out}/bag-000000.tar: is there without its report, bag.json; remove')
    assert (out / 'bag-000000.tar').read_bytes() == shard and not (out / 'bag.json').exists()
    (out / 'bag-000000.tar').rename(out / 'bag-of-others.tar')
    assert not quietly(bag, frames).error and (out / 'bag-of-others.tar').read_bytes() == shard


@pytest.mark.parametrize('settings', [ConvertSettings(), ConvertSettings(frames=6)])
def test_a_kill_while_shards_are_published(tmp_path, monkeypatch, settings):
    """The same job is published to its end; another one removes what is there of the first."""
    bag, out = small(tmp_path / 'bag', sweeps=4), tmp_path / 'out'
    out.mkdir()
    monkeypatch.setattr(convert_recordings, 'SAMPLES_PER_SHARD', 1)
    moved = []

    def replace(source, target):
        if len(moved) == 2:
            raise KeyboardInterrupt
        moved.append(target)
        os.rename(source, target)

    with monkeypatch.context() as patch:
        patch.setattr(convert_recordings, 'move', replace)
        with pytest.raises(KeyboardInterrupt):
            quietly(bag, Job(out))
    assert len(list(out.glob('*.tar'))) == 2 and not (out / 'bag.json').exists()
    assert not quietly(bag, Job(out, settings=settings)).error
    assert sorted(len(sample) for sample in Samples(out)) == ([6, 6] if settings.frames else [4] * 4)
    assert [path.name for path in out.iterdir() if path.name.startswith('.')] == []


@pytest.mark.parametrize('text', ['', '[]', 'null', '{}', '{"job": 3}', '{"job": {}, "summary": 5}', '[' * 9999])
def test_an_unreadable_report_is_one_line_and_its_job_restarts(tmp_path, text):
    bag, out = small(tmp_path / 'bag'), tmp_path / 'out'
    (out / '.bag.partial').mkdir(parents=True)
    (out / '.bag.partial' / 'job.json').write_text(text)
    assert not quietly(bag, Job(out)).error
    (out / 'bag.json').write_text(text)
    error = quietly(bag, Job(out)).error
    assert error.startswith(f'{out}/bag.json: not ') and error.endswith('; remove it, or give another --out')
    assert (out / 'bag.json').read_text() == text


class _Deadly(type(Path())):
    """A path that kills the process that opens it."""

    def __reduce__(self):
        return _die_in_a_worker, (str(self),)


def _die_in_a_worker(path):
    os.kill(os.getpid(), signal.SIGKILL)


def test_a_process_that_dies_costs_its_recording_alone(tmp_path):
    """As the system kills one that takes too much memory."""
    bags = [small(tmp_path / name, sweeps=1) for name in 'abc']
    recordings = [bags[0], _Deadly(bags[1]), bags[2]]
    results = convert_all(recordings, Job(tmp_path / 'out'), workers=2)
    assert [bool(result.error) for result in results] == [False, True, False]
    assert results[1].error == f'{bags[1]}: its process was killed, perhaps for want of memory'
    assert sorted(path.name for path in (tmp_path / 'out').glob('*.json')) == ['a.json', 'c.json']


def test_a_resumed_conversion_gives_the_same_shards(tmp_path, monkeypatch):
    bag = small(tmp_path / 'bag', sweeps=5)
    monkeypatch.setattr(convert_recordings, 'SAMPLES_PER_SHARD', 2)
    monkeypatch.setattr(convert_recordings, 'PROGRESS_EVERY', -1.0)
    calls = []

    def progress(images, more):
        calls.append(images)
        if len(calls) == 5:
            raise KeyboardInterrupt

    (tmp_path / 'out').mkdir()
    (tmp_path / 'at_once').mkdir()
    with pytest.raises(KeyboardInterrupt):
        convert_one(bag, Job(tmp_path / 'out'), progress)
    for out in ('out', 'at_once'):
        assert not quietly(bag, Job(tmp_path / out)).error
    names = sorted(path.name for path in (tmp_path / 'at_once').glob('*.tar'))
    assert len(names) == 3
    for name in names:
        assert (tmp_path / 'out' / name).read_bytes() == (tmp_path / 'at_once' / name).read_bytes()


def test_a_bag_that_changed_in_the_middle_is_another_one(tmp_path):
    bag, out = small(tmp_path / 'bag'), tmp_path / 'out'
    out.mkdir()
    assert not quietly(bag, Job(out)).error
    (file,) = bag.glob('*.mcap')
    data = bytearray(file.read_bytes())
    data[len(data) // 2] ^= 1
    file.write_bytes(data)
    assert 'is of another recording of that name, or of this one before it changed' in quietly(bag, Job(out)).error


def test_fifos_in_the_output_are_not_opened(tmp_path):
    bag, out = small(tmp_path / 'bag'), tmp_path / 'out'
    out.mkdir()
    for name in ('bag.json', '.bag.partial'):
        os.mkfifo(out / name)
        assert f'{out}/{name}: is ' in quietly(bag, Job(out)).error
        (out / name).unlink()
