"""Damage, foreign contents and bombs cost what they hit, and no more."""

import json
import os
import struct
import zlib

import numpy as np
import pytest

pytest.importorskip('rosbags')
pytest.importorskip('cv2')

import recorded_rig
from recorded_rig import STORE, Options, lens_message, messages, write_bag
from rosbags.typesys import get_types_from_msg
from rosbags.typesys.store import Typestore

from dfd_ros.bags import decompression, mcap_file
from dfd_ros.bags.bag_reader import Bag
from dfd_ros.bags.bag_writer import BagWriter, Topic
from dfd_ros.bags.mcap_file import McapFile
from dfd_ros.bags.message_types import deserialiser
from dfd_ros.bags.recording_events import lens_state
from dfd_ros.core.errors import InputError

TOPIC = '/lens_state'
LENS_STATE = 'dfd_ros/msg/LensState'
COUNT, PER_CHUNK = 40, 4


def serialised(message, store=STORE):
    return bytes(store.serialize_cdr(message, message.__msgtype__))


def own_bag(path):
    """A bag of the project's recorder, `PER_CHUNK` lens states a chunk, the focus distances 1, 2, ... m."""
    writer = BagWriter(path, [Topic(TOPIC, LENS_STATE)], flush_every=1e9)
    for i in range(COUNT):
        writer.write(0, i + 1, serialised(lens_message(i + 1.0, i + 1.0)))
        if i % PER_CHUNK == PER_CHUNK - 1:
            writer.flush()
    writer.close()
    return path / f'{path.name}_0.mcap'


def focus_distances(path):
    bag = Bag(path)
    return [message.focus_distance for _, _, message in bag.messages([TOPIC])], bag.notes()


ALL = [i + 1.0 for i in range(COUNT)]


def records(data):
    """(opcode, position, length) of the records of an MCAP file."""
    position = len(mcap_file.MAGIC)
    while position + 9 <= len(data) - len(mcap_file.MAGIC):
        kind, length = struct.unpack_from('<BQ', data, position)
        yield kind, position, length
        position += 9 + length


def test_any_bit_of_the_summary_may_be_wrong(tmp_path):
    file = own_bag(tmp_path / 'bag')
    data = file.read_bytes()
    start = next(position for kind, position, _ in records(data) if kind == mcap_file.DATA_END)
    for position in (*range(start, len(data) - 8, 41), *range(len(data) - 37, len(data) - 8)):
        changed = bytearray(data)
        changed[position] ^= 1 << position % 8
        file.write_bytes(changed)
        found, notes = focus_distances(file)
        assert found == ALL and len(notes) == 1 and str(file) in notes[0], position


@pytest.mark.parametrize('part', ['opcode', 'length', 'data'])
def test_a_damaged_chunk_costs_its_own_messages(tmp_path, part):
    file = own_bag(tmp_path / 'bag')
    data = bytearray(file.read_bytes())
    chunks = [position for kind, position, _ in records(data) if kind == mcap_file.CHUNK]
    for number in (1, 5):
        data[chunks[number] + {'opcode': 0, 'length': 2, 'data': 200}[part]] ^= 1
    file.write_bytes(data)
    found, notes = focus_distances(file)
    lost = {number * PER_CHUNK + i + 1.0 for number in (1, 5) for i in range(PER_CHUNK)}
    assert found == [focus for focus in ALL if focus not in lost]
    assert notes[0].startswith(f'{file}: damaged: ') and notes[0].endswith('and 1 more')


def test_a_damaged_record_costs_only_itself_without_chunks(tmp_path):
    chunked = own_bag(tmp_path / 'bag').read_bytes()
    (first,) = [(p, n) for kind, p, n in records(chunked) if kind == mcap_file.CHUNK][:1]
    head = chunked[: first[0]]
    body = b''.join(chunked[p + 9 + 40 : p + 9 + n] for kind, p, n in records(chunked) if kind == mcap_file.CHUNK)
    data = bytearray(head + body + chunked[next(p for kind, p, _ in records(chunked) if kind == mcap_file.DATA_END) :])
    file = tmp_path / 'plain.mcap'
    file.write_bytes(data)
    assert focus_distances(file)[0] == ALL
    third = [p for kind, p, _ in records(data) if kind == mcap_file.MESSAGE][2]
    data[third + 3] ^= 0xFF  # its length
    file.write_bytes(data)
    found, notes = focus_distances(file)
    assert found == [focus for focus in ALL if focus != 3.0] and f'{file}: damaged: ' in notes[0]


def test_a_damaged_page_of_sqlite_costs_its_own_messages(tmp_path):
    path = write_bag(tmp_path / 'bag', Options(sweeps=10), storage='sqlite3')
    (file,) = path.glob('*.db3')
    data = bytearray(file.read_bytes())
    middle = len(data) // 2 // 4096 * 4096
    data[middle : middle + 4096] = bytes(4096)
    file.write_bytes(data)
    bag = Bag(path)
    assert 30 < sum(1 for _ in bag.messages(['/image_raw'])) <= 40


def test_a_message_that_cannot_be_read_costs_itself_alone(tmp_path):
    writer = BagWriter(tmp_path / 'bag', [Topic(TOPIC, LENS_STATE)])
    for data in (serialised(lens_message(1.0, 1.0)), b'', b'\0\1\0\0abc', serialised(lens_message(2.0, 2.0))):
        writer.write(0, 1, data)
    writer.close()
    found, notes = focus_distances(tmp_path / 'bag')
    assert found == [1.0, 2.0] and notes == [
        f'{TOPIC}: 2 ignored, cannot be read (Invalid or unsupported CDR encapsulation.)'
    ]


HEADER = f'{"=" * 80}\nMSG: std_msgs/Header\nbuiltin_interfaces/Time stamp\nstring frame_id\n'
DEFINITIONS = {
    'another order': 'std_msgs/Header header\nfloat64 magnification\nfloat64 focus_distance\nbool settled\n',
    'a field more': 'std_msgs/Header header\nfloat64 focus_distance\nstring x\nfloat64 magnification\nbool settled\n',
    'fields less': 'std_msgs/Header header\nfloat64 focus_distance\n',
}


@pytest.mark.parametrize('definition', DEFINITIONS.values(), ids=DEFINITIONS)
def test_messages_are_read_by_the_definition_in_the_bag(tmp_path, definition):
    """So a bag of another version is read as it was meant; a field that it lacks is unknown."""
    store = Typestore()
    known = {name: STORE.fielddefs[name] for name in ('std_msgs/msg/Header', 'builtin_interfaces/msg/Time')}
    store.register({**known, **get_types_from_msg(definition, LENS_STATE)})
    kind = store.types[LENS_STATE]
    header = store.types['std_msgs/msg/Header'](store.types['builtin_interfaces/msg/Time'](5, 0), 'camera')
    fields = {'header': header, 'focus_distance': 2.0, 'magnification': 1.25, 'settled': False, 'x': 'x'}
    message = kind(**{name: fields[name] for name, _ in store.fielddefs[LENS_STATE][1]})
    file = McapFile(tmp_path / 'old.mcap')
    channel = file.add_channel(TOPIC, LENS_STATE, definition + HEADER, {})
    file.write(channel, 1, 1, serialised(message, store))
    file.close()
    ((_, _, read),) = Bag(tmp_path / 'old.mcap').messages([TOPIC])
    state = lens_state(read, TOPIC)
    assert state.focus_distance == 2.0 and state.stamp == 5.0 and np.isnan(state.f_number)
    if 'magnification' in definition:
        assert state.magnification == 1.25 and not state.settled


def mcap(*parts):
    head = mcap_file._record(mcap_file.HEADER, mcap_file._text(''), mcap_file._text('another recorder'))
    return mcap_file.MAGIC + head + b''.join(parts)


def schema(number, name, definition, encoding='ros2msg'):
    texts = map(mcap_file._text, (name, encoding, definition))
    return mcap_file._record(mcap_file.SCHEMA, struct.pack('<H', number), *texts)


def channel(number, topic, schema_number, encoding='cdr'):
    texts = mcap_file._text(topic), mcap_file._text(encoding), mcap_file._map({})
    return mcap_file._record(mcap_file.CHANNEL, struct.pack('<HH', number, schema_number), *texts)


def message(number, data, time=1):
    return mcap_file._record(mcap_file.MESSAGE, struct.pack('<HIQQ', number, 0, time, time), data)


def test_what_nobody_wants_is_never_parsed(tmp_path):
    """JSON and protobuf channels, service events with the text of the service, schemas without any text; no profile."""
    definition = STORE.generate_msgdef(LENS_STATE, ros_version=2)[0]
    file = tmp_path / 'bag.mcap'
    file.write_bytes(
        mcap(
            schema(1, LENS_STATE, definition),
            channel(1, TOPIC, 1),
            schema(2, 'foxglove.Log', '{"type": "object"}', 'jsonschema'),
            channel(2, '/log', 2, 'json'),
            schema(3, 'std_srvs/srv/Empty_Event', '---\nuint8 a\n---'),
            channel(3, '/_service_event', 3),
            schema(4, 'my_msgs/msg/Cloud', 'my_msgs/msg/Cloud'),
            channel(4, '/cloud', 4),
            *(message(number, b'{}') for number in (2, 3, 4)),
            message(1, serialised(lens_message(3.0, 1.0))),
        )
    )
    found, notes = focus_distances(file)
    assert found == [3.0] and len(notes) == 1 and 'cut short' in notes[0]
    bag = Bag(file)
    with pytest.raises(InputError, match='no topic /log; it is in json, not in CDR'):
        bag.require('/log')
    with pytest.raises(InputError, match=f'{file}: /cloud: the definition of my_msgs/msg/Cloud cannot be used'):
        list(bag.messages(['/cloud']))


@pytest.mark.parametrize(
    'names',
    [
        [f'lab_{i}' for i in range(12)],
        [f'{i}_lab_2026_05_01-10_{50 + i // 6}_{i * 17 % 60:02d}' for i in range(12)],
        [f'lab.v2_{i}' for i in range(12)],
        [f'{chr(ord("l") - i)}' for i in range(12)],
    ],
    ids=['lab_N', 'N_lab_TIMESTAMP', 'lab.v2_N', 'any'],
)
def test_split_files_are_in_the_order_of_their_contents(tmp_path, names):
    for i, name in enumerate(names):
        file = McapFile(tmp_path / f'{name}.mcap')
        number = file.add_channel(TOPIC, LENS_STATE, STORE.generate_msgdef(LENS_STATE, ros_version=2)[0], {})
        file.write(number, 10 + i, 10 + i, serialised(lens_message(i + 1.0, 1.0)))
        file.close()
    if '_' in names[0]:  # other names are of files of several recordings, unless metadata.yaml lists them
        assert focus_distances(tmp_path) == ([i + 1.0 for i in range(12)], [])
    listed = ''.join(f'  - {name}.mcap\n' for name in names)
    (tmp_path / 'metadata.yaml').write_text(f'rosbag2_bagfile_information:\n  relative_file_paths:\n{listed}')
    assert focus_distances(tmp_path) == ([i + 1.0 for i in range(12)], [])
    (tmp_path / f'{names[4]}.mcap').unlink()
    found, notes = focus_distances(tmp_path)
    assert len(found) == 11
    assert notes == [f'{tmp_path}: {names[4]}.mcap is missing, which metadata.yaml lists']


def chunk(content, compression, size=None):
    size = len(content) if size is None else size
    parts = struct.pack('<QQQI', 1, 1, size, 0), mcap_file._text(compression), struct.pack('<Q', len(content)), content
    return mcap_file._record(mcap_file.CHUNK, *parts)


@pytest.mark.parametrize('size', [8 << 30, 100], ids=['as it says', 'more than it says'])
def test_decompression_bombs_are_not_decompressed(tmp_path, monkeypatch, size):
    monkeypatch.setattr(decompression, 'MAX_SIZE', 1 << 20)
    bomb = decompression.zstd().compress(bytes(64 << 20))
    (tmp_path / 'bomb.mcap').write_bytes(mcap(chunk(bomb, 'zstd', size)))
    with pytest.raises(InputError, match=f'bomb.mcap: damaged: chunk at byte .*{size}'):
        Bag(tmp_path / 'bomb.mcap')


def test_files_and_messages_that_expand_without_measure(tmp_path, monkeypatch):
    monkeypatch.setattr(decompression, 'MAX_SIZE', 1 << 20)
    bomb = decompression.zstd().compress(bytes(64 << 20))
    (tmp_path / 'bomb.mcap.zstd').write_bytes(bomb)
    with pytest.raises(InputError, match='bomb.mcap.zstd: expands to more than 200 times its size; not a bag'):
        Bag(tmp_path / 'bomb.mcap.zstd')
    writer = BagWriter(tmp_path / 'bag', [Topic(TOPIC, LENS_STATE)])
    writer.write(0, 1, bomb)
    writer.close()
    found, notes = focus_distances(tmp_path / 'bag')
    assert found == [] and '1 ignored, cannot be read (decompresses to more than 1048576 bytes)' in notes[0]


@pytest.mark.parametrize('name', ['bag.mcap', 'bag.db3', 'bag.mcap.zstd'])
def test_what_is_no_file_is_not_opened(tmp_path, name):
    os.mkfifo(tmp_path / name)
    with pytest.raises(InputError, match=f'{name}: is a FIFO'):
        Bag(tmp_path)


def test_a_damaged_compressed_file_is_not_called_empty(tmp_path):
    path = write_bag(tmp_path / 'bag', compression='file')
    (file,) = path.glob('*.zstd')
    file.write_bytes(file.read_bytes()[:20])
    with pytest.raises(InputError, match='cut short or damaged: '):
        Bag(path)


def test_messages_can_be_read_again(tmp_path):
    """From each kind of storage: images are not kept while they wait for what belongs to them."""
    recorded = list(messages(Options(sweeps=1)))
    for kind in ({}, {'compression': 'storage'}, {'compression': 'message'}, {'storage': 'sqlite3'}):
        name = '_'.join(kind.values()) or 'plain'
        bag = Bag(write_bag(tmp_path / name, recorded=recorded, **kind))
        items = list(bag.read(['/image_raw']))
        assert len(items) == len(recorded_rig.FOCUS)
        for item in reversed(items):
            np.testing.assert_array_equal(item.reload().data, item.message.data)


def test_checksums_of_the_recorder_are_those_of_mcap(tmp_path):
    """The reader compares them, so that both being wrong in the same way would not be seen."""
    data = own_bag(tmp_path / 'bag').read_bytes()
    for kind, position, length in records(data):
        if kind == mcap_file.CHUNK:
            (checksum,) = struct.unpack_from('<I', data, position + 9 + 24)
            assert checksum == zlib.crc32(data[position + 9 + 40 : position + 9 + length])


def test_notes_are_short_and_few_whatever_the_bag_says(tmp_path):
    file = own_bag(tmp_path / 'bag')
    names = ['x' * 5000, 7, {'y': 1}, *(f'{i}.mcap' for i in range(500))]
    (file.parent / 'metadata.yaml').write_text(
        f'rosbag2_bagfile_information: {{relative_file_paths: {json.dumps(names)}}}'
    )
    found, notes = focus_distances(file.parent)
    assert found == ALL
    assert len(notes) < 30 and max(map(len, notes)) < 500 and '481 more' in notes[-1]
    with pytest.raises(InputError, match='no topic /other') as refused:
        Bag(file.parent).require('/other')
    assert len(str(refused.value)) < 12_000


@pytest.mark.parametrize('damaged', ['strang data', 'string', 'geometry_msgs/Veltor3 data', '\0\1'])
def test_a_damaged_definition_costs_no_standard_type(damaged):
    data = serialised(STORE.types['std_msgs/msg/String']('here'))
    assert deserialiser('std_msgs/msg/String', 'ros2msg', damaged)(data).data == 'here'
    with pytest.raises(InputError, match='definition of dfd_ros/msg/LensState'):
        deserialiser(LENS_STATE, 'ros2msg', damaged)
