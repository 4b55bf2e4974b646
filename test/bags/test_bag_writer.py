"""Bags as the recorder writes them: whole at every moment, read back by rosbags."""

import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest
import yaml

pytest.importorskip('rosbags')

from recorded_rig import lens_message
from rosbags.rosbag2 import Reader

from dfd_ros.bags import mcap_file
from dfd_ros.bags.background_writer import BackgroundWriter
from dfd_ros.bags.bag_writer import BagWriter, Topic
from dfd_ros.bags.message_types import typestore
from dfd_ros.core.errors import InputError

pytestmark = pytest.mark.slow(reason='whole bags are written and read')

STORE = typestore()
TOPICS = [Topic('/lens_state', 'dfd_ros/msg/LensState'), Topic('/tf_static', 'tf2_msgs/msg/TFMessage', latched=True)]
ROOT = Path(__file__).resolve().parents[2]


def lens_state(focus_distance):
    message = lens_message(focus_distance, 1.0)
    return bytes(STORE.serialize_cdr(message, message.__msgtype__))


def transforms(*frames, sec=1):
    """A message on /tf_static that names these child frames."""
    types = STORE.types
    transform = types['geometry_msgs/msg/Transform'](
        types['geometry_msgs/msg/Vector3'](0.0, 0.0, 0.0), types['geometry_msgs/msg/Quaternion'](0.0, 0.0, 0.0, 1.0)
    )
    header = types['std_msgs/msg/Header'](types['builtin_interfaces/msg/Time'](sec, 0), 'base_link')
    message = types['tf2_msgs/msg/TFMessage'](
        [types['geometry_msgs/msg/TransformStamped'](header, frame, transform) for frame in frames or ('camera',)]
    )
    return bytes(STORE.serialize_cdr(message, message.__msgtype__))


def read(path):
    with Reader(path) as reader:
        return [(c.topic, t, STORE.deserialize_cdr(data, c.msgtype)) for c, t, data in reader.messages()]


def test_what_is_written_is_read_by_others(tmp_path):
    writer = BagWriter(tmp_path / 'bag', TOPICS)
    writer.write(1, 5, transforms())
    for i in range(100):
        writer.write(0, 10 + i, lens_state(1.0 + i))
        if i % 30 == 0:
            writer.flush()
    writer.close()
    messages = read(tmp_path / 'bag')
    assert [m[1] for m in messages] == [5, *range(10, 110)]
    assert [m[2].focus_distance for m in messages[1:]] == [1.0 + i for i in range(100)]
    with Reader(tmp_path / 'bag') as reader:
        assert reader.message_count == 101 and reader.duration == 105
        (qos,) = next(c for c in reader.connections if c.topic == '/tf_static').ext.offered_qos_profiles
        assert qos.durability.name == 'TRANSIENT_LOCAL'
        assert reader.topics['/lens_state'].msgdef.data.startswith('# What the lens') or (
            'float64 focus_distance' in reader.topics['/lens_state'].msgdef.data
        )


def test_a_bag_can_be_read_while_it_is_written(tmp_path):
    writer = BagWriter(tmp_path / 'bag', TOPICS, flush_every=60.0)
    assert read(tmp_path / 'bag') == []
    for i in range(3):
        writer.write(0, i + 1, lens_state(i + 1.0))
        assert len(read(tmp_path / 'bag')) == i
        writer.flush()
        assert len(read(tmp_path / 'bag')) == i + 1
        with Reader(tmp_path / 'bag' / 'bag_0.mcap') as reader:  # the file alone
            assert reader.message_count == i + 1
    writer.close()


@pytest.mark.parametrize('split', [{'split_size': 4000}, {'split_time': 0.05}])
def test_split_bags_are_read_as_one(tmp_path, split):
    writer = BagWriter(tmp_path / 'bag', TOPICS, **split)
    writer.write(1, 1, transforms())
    for i in range(50):
        writer.write(0, i + 2, lens_state(i + 1.0))
        time.sleep(0.004 if 'split_time' in split else 0)
    writer.close()
    files = sorted(path.name for path in (tmp_path / 'bag').glob('*.mcap'))
    assert len(files) > 2
    messages = read(tmp_path / 'bag')
    assert [m[2].focus_distance for m in messages if m[0] == '/lens_state'] == [i + 1.0 for i in range(50)]
    assert sum(m[0] == '/tf_static' for m in messages) == len(files)  # each file has what is latched
    metadata = yaml.safe_load((tmp_path / 'bag' / 'metadata.yaml').read_text())['rosbag2_bagfile_information']
    assert sorted(metadata['relative_file_paths']) == files
    assert sum(f['message_count'] for f in metadata['files']) == metadata['message_count'] == len(messages)


def test_latched_transforms_are_repeated_once_per_frame(tmp_path):
    """A driver that sends its transforms again and again, with new stamps, must not make the bag grow."""
    writer = BackgroundWriter(tmp_path, TOPICS, split_size=20000, clock=lambda: 50)  # simulated time
    for sec in range(50):
        writer.put(1, sec, transforms('camera', 'lens', sec=sec))
        writer.put(1, sec, transforms('arm', sec=sec))
    writer.put(1, 50, transforms('camera', sec=50))  # the message before still has to say where the lens is
    thread = threading.Thread(target=writer.run)
    thread.start()
    bag = writer.start('bag')
    for i in range(500):
        writer.put(0, i + 1, lens_state(1.0))
    writer.close()
    thread.join()
    expected = [(49, ['camera', 'lens']), (49, ['arm']), (50, ['camera'])]
    files = sorted(bag.glob('*.mcap'))
    assert len(files) > 2
    for file in files:
        assert [
            (m.transforms[0].header.stamp.sec, [t.child_frame_id for t in m.transforms])
            for topic, _, m in read(file)
            if topic == '/tf_static'
        ] == expected
        assert max(time for _, time, _ in read(file)) <= 500


def test_a_disk_that_does_not_answer_is_one_line(tmp_path):
    writer = BackgroundWriter(tmp_path, TOPICS)  # nothing runs that would write
    for work, words in (
        (lambda: writer.start('bag', timeout=0.01), 'start takes more than 0.01 s'),
        (lambda: writer.stop(timeout=0.01), 'stop takes more than 0.01 s'),
    ):
        with pytest.raises(InputError, match=f'^{tmp_path}: {words}; the disk is slow'):
            work()
    writer.close()
    writer.run()  # and what was asked for is done
    assert [path.name for path in tmp_path.iterdir()] == ['bag'] and (tmp_path / 'bag' / 'metadata.yaml').exists()


def test_a_split_that_fails_leaves_each_file_once(tmp_path):
    writer = BagWriter(tmp_path / 'bag', TOPICS, split_size=1)
    writer.write(0, 1, lens_state(1.0))
    writer.flush()
    (tmp_path / 'bag' / 'bag_1.mcap').write_bytes(b'in the way')
    with pytest.raises(FileExistsError):
        writer.write(0, 2, lens_state(2.0))
    writer.close()
    (tmp_path / 'bag' / 'bag_1.mcap').unlink()
    metadata = yaml.safe_load((tmp_path / 'bag' / 'metadata.yaml').read_text())['rosbag2_bagfile_information']
    assert metadata['relative_file_paths'] == ['bag_0.mcap']
    assert [m[1] for m in read(tmp_path / 'bag')] == [1]


def test_what_is_flushed_goes_to_the_disk_at_once(tmp_path, monkeypatch):
    """So that the end of a large file, which waits for the disk, has little to wait for."""
    real, asked = os.posix_fadvise, []

    def advise(file, offset, length, advice):
        asked.append((offset, length, advice))
        real(file, offset, length, advice)

    monkeypatch.setattr(os, 'posix_fadvise', advise)
    writer = BagWriter(tmp_path / 'bag', TOPICS, flush_every=60.0)
    for i in range(3):
        writer.write(0, i + 1, lens_state(1.0))
        writer.flush()
    ends = [offset + length for offset, length, _ in asked]
    assert [offset for offset, _, _ in asked][1:] == ends[:-1] and ends[-1] <= writer._file.size
    assert {advice for _, _, advice in asked} == {os.POSIX_FADV_DONTNEED}


WRITE_WITHOUT_END = """
import sys, time
from pathlib import Path
sys.path.insert(0, sys.argv[2])
from test_bag_writer import TOPICS, lens_state
from dfd_ros.bags.bag_writer import BagWriter
writer = BagWriter(Path(sys.argv[1]), TOPICS, flush_every=0.05)
i = 0
while True:
    i += 1
    writer.write(0, i, lens_state(float(i)))
    print(i, flush=True)
    time.sleep(0.001)
"""


def test_a_kill_loses_only_what_was_not_flushed(tmp_path):
    environment = {**os.environ, 'PYTHONPATH': os.pathsep.join([str(ROOT), *sys.path])}
    process = subprocess.Popen(
        [sys.executable, '-c', WRITE_WITHOUT_END, tmp_path / 'bag', Path(__file__).parent],
        stdout=subprocess.PIPE,
        text=True,
        env=environment,
    )
    for line in process.stdout:
        if int(line) >= 500:
            process.send_signal(signal.SIGKILL)
            break
    last = [500, *map(int, process.stdout.read().split())][-1]
    process.wait()
    from dfd_ros.bags.bag_reader import Bag

    found = [m.focus_distance for _, _, m in Bag(tmp_path / 'bag').messages(['/lens_state'])]
    assert found == [float(i + 1) for i in range(len(found))]
    assert last - 200 < len(found) <= last + 1


def test_a_full_disk_leaves_a_whole_bag(tmp_path, monkeypatch):
    writer = BagWriter(tmp_path / 'bag', TOPICS, flush_every=60.0)
    writer.write(0, 1, lens_state(1.0))
    writer.flush()
    real, calls = os.pwritev, []

    def full(file, buffers, offset):
        calls.append(offset)
        if len(calls) == 1:
            real(file, [bytes(buffers[0])[:20]], offset)
            raise OSError(28, 'No space left on device')
        return real(file, buffers, offset)

    monkeypatch.setattr(os, 'pwritev', full)
    writer.write(0, 2, lens_state(2.0))
    with pytest.raises(OSError, match='No space left'):
        writer.flush()
    assert [m[1] for m in read(tmp_path / 'bag')] == [1]


def test_a_full_disk_and_the_messages_that_are_in_the_bag(tmp_path, monkeypatch):
    """What waits is not in the bag: neither the line nor metadata.yaml counts it."""
    lines = []
    writer = BackgroundWriter(tmp_path, TOPICS, on_end=lines.append)
    thread = threading.Thread(target=writer.run)
    thread.start()
    bag = writer.start('bag')
    writer.put(0, 1, lens_state(1.0))
    while writer.bag.messages < 1:
        time.sleep(0.01)
    write = mcap_file._write_all

    def full(file, buffers, offset):
        if len(buffers) > 5:  # a chunk, and not only the end of the file
            raise OSError(28, 'No space left on device')
        write(file, buffers, offset)

    monkeypatch.setattr(mcap_file, '_write_all', full)
    for i in range(20):
        writer.put(0, i + 2, lens_state(2.0))
    while not lines:
        time.sleep(0.01)
    writer.close()
    thread.join()
    assert 'No space left on device' in lines[-1]
    metadata = yaml.safe_load((bag / 'metadata.yaml').read_text())['rosbag2_bagfile_information']
    written = len(read(bag))
    assert (
        metadata['message_count'] == written == sum(t['message_count'] for t in metadata['topics_with_message_count'])
    )
    assert f'{bag}: {written} messages' in ' '.join(lines)


def test_a_bag_that_cannot_be_started_leaves_nothing(tmp_path, monkeypatch):
    def full(file, buffers, offset):
        raise OSError(28, 'No space left on device')

    monkeypatch.setattr(mcap_file, '_write_all', full)
    with pytest.raises(OSError, match='No space left'):
        BagWriter(tmp_path / 'bag', TOPICS)
    assert not (tmp_path / 'bag').exists()
