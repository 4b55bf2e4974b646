"""Bags of every kind are read: MCAP and SQLite, compressed, split, cut short, and what is none."""

import struct

import numpy as np
import pytest

pytest.importorskip('rosbags')
pytest.importorskip('cv2')

import recorded_rig
from recorded_rig import Options, write_bag

from dfd_ros.bags.bag_reader import Bag
from dfd_ros.bags.bag_writer import BagWriter, Topic
from dfd_ros.core.errors import InputError

TOPIC = '/lens_state'
ALL = [focus for _ in range(3) for focus in recorded_rig.FOCUS]


def focus_distances(path):
    bag = Bag(path)
    return [m.focus_distance for _, _, m in bag.messages([TOPIC])], bag


@pytest.mark.parametrize(
    'storage, compression',
    [
        ('mcap', ''),
        ('mcap', 'storage'),
        ('mcap', 'message'),
        ('mcap', 'file'),
        ('sqlite3', ''),
        ('sqlite3', 'message'),
        ('sqlite3', 'file'),
    ],
)
def test_every_kind_of_bag(tmp_path, storage, compression):
    found, bag = focus_distances(write_bag(tmp_path / 'bag', storage=storage, compression=compression))
    assert found == ALL and bag.notes() == []
    assert bag.counts[TOPIC] == len(ALL) and bag.topics['/image_raw'] == 'sensor_msgs/msg/Image'


@pytest.mark.parametrize('storage', ['mcap', 'sqlite3'])
def test_without_metadata(tmp_path, storage):
    path = write_bag(tmp_path / 'bag', storage=storage)
    (path / 'metadata.yaml').unlink()
    assert focus_distances(path)[0] == ALL
    (file,) = path.iterdir()
    assert focus_distances(file)[0] == ALL


@pytest.mark.parametrize('compression', ['', 'storage'])
def test_cut_mcap_is_read_up_to_the_cut(tmp_path, compression):
    path = write_bag(tmp_path / 'bag', compression=compression, options=Options(sweeps=30))
    (file,) = path.glob('*.mcap')
    whole = file.read_bytes()
    file.write_bytes(whole[: len(whole) * 2 // 3])
    found, bag = focus_distances(path)
    assert len(ALL) < len(found) < 120 and found == (ALL * 10)[: len(found)]
    damage, missing = bag.notes()
    assert str(file) in damage and f'{120 - len(found)} of 120 messages of /lens_state' in missing


def test_cut_compressed_file_is_read_up_to_the_cut(tmp_path):
    path = write_bag(tmp_path / 'bag', compression='file', options=Options(sweeps=30))
    (file,) = path.glob('*.zstd')
    file.write_bytes(file.read_bytes()[:-1000])
    found, bag = focus_distances(path)
    assert found == (ALL * 10)[: len(found)] and len(found) > 5 and bag.notes()


def test_a_broken_chunk_costs_its_messages_alone(tmp_path):
    path = write_bag(tmp_path / 'bag', compression='storage', options=Options(sweeps=30))
    (file,) = path.glob('*.mcap')
    data = bytearray(file.read_bytes())
    middle = len(data) // 2
    data[middle : middle + 2000] = bytes(2000)
    file.write_bytes(data)
    found, bag = focus_distances(path)
    # rosbags writes chunks of 1 MB: one of three.
    assert 60 < len(found) < 120 and found[-4:] == ALL[-4:]
    note, missing = bag.notes()
    assert note.startswith(f'{file}: damaged: chunk at byte ')
    assert f'{120 - len(found)} of 120 messages of /lens_state' in missing


@pytest.mark.parametrize('compression', ['', 'storage'])
def test_messages_that_are_counted_and_not_there_are_named(tmp_path, compression):
    """rosbags writes no checksums: a changed byte of a topic's name at the end of the file hides all its messages."""
    path = write_bag(tmp_path / 'bag', compression=compression)
    (file,) = path.glob('*.mcap')
    data = file.read_bytes()
    at = data.rindex(b'/lens_state')
    file.write_bytes(data[:at] + b'/lens_\x7ftate' + data[at + 11 :])
    bag = Bag(path)
    assert focus_distances(path)[0] == [] or bag.counts['/lens_state'] == len(ALL)
    assert any('/lens_state' in note for note in bag.notes())


def test_messages_fewer_than_a_chunk_has_by_its_index_are_named(tmp_path):
    """Without metadata.yaml and checksums: a message of another channel."""
    writer = BagWriter(tmp_path / 'bag', [Topic(TOPIC, 'dfd_ros/msg/LensState')], flush_every=3600)
    message = recorded_rig.lens_message(1.0, 5.0)
    for i in range(10):
        writer.write(0, i + 1, bytes(recorded_rig.STORE.serialize_cdr(message, message.__msgtype__)))
    writer.close()
    (file,) = (tmp_path / 'bag').glob('*.mcap')
    data = bytearray(file.read_bytes())
    message_at = data.index(struct.pack('<HIQ', 1, 4, 5))  # channel, sequence, time
    data[message_at] = 9
    chunk_at = data.index(struct.pack('<QQ', 1, 10))  # times; then size and checksum
    data[chunk_at + 24 : chunk_at + 28] = bytes(4)
    file.write_bytes(data)
    bag = Bag(file)
    assert [time for _, time, _ in bag.messages([TOPIC])] == [1, 2, 3, 4, 6, 7, 8, 9, 10]
    (note,) = bag.notes()
    assert note.startswith(f'{file}: damaged: chunk at byte ') and note.endswith('1 message less than its index counts')


def test_split_bag_with_its_last_file_cut(tmp_path):
    writer = BagWriter(tmp_path / 'bag', [Topic(TOPIC, 'dfd_ros/msg/LensState')], split_size=1500)
    data = recorded_rig.lens_message(1.0, 5.0)
    for i in range(100):
        writer.write(0, i + 1, bytes(recorded_rig.STORE.serialize_cdr(data, data.__msgtype__)))
    writer.close()
    files = sorted((tmp_path / 'bag').glob('*.mcap'), key=lambda f: int(f.stem.split('_')[1]))
    assert len(files) > 10  # so that bag_10 must not come before bag_2
    times = [time for _, time, _ in Bag(tmp_path / 'bag').messages([TOPIC])]
    assert times == list(range(1, 101))
    files[-1].write_bytes(files[-1].read_bytes()[:200])
    (tmp_path / 'bag' / 'metadata.yaml').unlink()
    bag = Bag(tmp_path / 'bag')
    times = [time for _, time, _ in bag.messages([TOPIC])]
    assert times == list(range(1, len(times) + 1)) and 80 < len(times) < 100 and bag.notes()


def test_truncated_sqlite_and_its_journal_are_reported(tmp_path):
    path = write_bag(tmp_path / 'bag', storage='sqlite3', options=Options(sweeps=10))
    (file,) = path.glob('*.db3')
    file.with_name(f'{file.name}-wal').write_bytes(b'x')
    assert 'open it once with sqlite3' in Bag(path).notes()[0]
    file.write_bytes(file.read_bytes()[:5000])
    with pytest.raises(InputError, match='bag.db3: cannot be read: '):
        Bag(path)


def test_what_is_no_bag_is_one_line(tmp_path):
    (tmp_path / 'text.mcap').write_text('hello, this is not a bag at all')
    (tmp_path / 'empty.db3').write_bytes(b'')
    (tmp_path / 'folder').mkdir()
    (tmp_path / 'note.txt').write_text('x')
    for name, said in [
        ('text.mcap', 'text.mcap: cannot be read: not an MCAP file'),
        ('empty.db3', 'empty.db3: cannot be read: the file is empty'),
        ('folder', 'no bag'),
        ('note.txt', 'not a bag'),
        ('none', 'no such bag'),
    ]:
        with pytest.raises(InputError) as caught:
            Bag(tmp_path / name)
        assert said in str(caught.value) and name in str(caught.value) and '\n' not in str(caught.value)


def test_a_bag_of_zero_messages(tmp_path):
    BagWriter(tmp_path / 'bag', [Topic(TOPIC, 'dfd_ros/msg/LensState')]).close()
    with pytest.raises(InputError, match='the bag has no messages'):
        Bag(tmp_path / 'bag')


def test_topics_that_are_not_there_or_of_another_type(tmp_path):
    bag = Bag(write_bag(tmp_path / 'bag'))
    with pytest.raises(InputError, match='no topic /camera/image; of that type it has /image_raw, /rgbd/depth/image'):
        bag.require('/camera/image', 'sensor_msgs/msg/Image')
    with pytest.raises(InputError, match='/lens_state is dfd_ros/msg/LensState, must be sensor_msgs/msg/Image'):
        bag.require('/lens_state', 'sensor_msgs/msg/Image')


def test_images_come_as_they_were(tmp_path):
    from dfd_ros.bags import image_decoding

    bag = Bag(write_bag(tmp_path / 'bag'))
    (_, _, image), *_ = bag.messages(['/image_raw'])
    expected = recorded_rig.picture(recorded_rig.room(recorded_rig.VIEW, recorded_rig.POSE)[1])
    np.testing.assert_array_equal(image_decoding.to_rgb(image, 'image'), expected)
