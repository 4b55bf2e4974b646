"""Which files of a folder are one recording, and which are several."""

import pytest

from dfd_ros.bags.bag_files import bag_files, recordings_in
from dfd_ros.bags.convert_recordings import find_recordings, name_of
from dfd_ros.core.errors import InputError

TWO_DAYS = ['0_rosbag2_2026_05_01-10_00_00.mcap', '0_rosbag2_2026_05_02-10_00_00.mcap']


def fill(folder, names, listed=()):
    for name in names:
        (folder / name).touch()
    if listed:
        lines = ''.join(f'  - {name}\n' for name in listed)
        (folder / 'metadata.yaml').write_text(f'rosbag2_bagfile_information:\n  relative_file_paths:\n{lines}')
    return folder


@pytest.mark.parametrize(
    'names',
    [
        ['run_0.mcap', 'run_1.mcap', 'run_10.mcap'],
        ['run.v2_1.db3', 'run.v2_2.db3.zstd'],
        ['0_run_2026_05_01-10_00_59.mcap', '1_run_2026_05_01-10_00_17.mcap'],
        ['0_2026_05_01-10_00_59.mcap', '1_2026_05_01-10_00_17.mcap'],
        ['alone.mcap'],
    ],
)
def test_split_files_are_one_recording(tmp_path, names):
    assert recordings_in(fill(tmp_path, names)) == [tmp_path]
    assert [file.name for file in bag_files(tmp_path)[0]] == names


@pytest.mark.parametrize(
    'names', [['run.1.mcap', 'run.2.mcap'], ['a.mcap', 'b.db3'], ['a_0.mcap', 'b_0.mcap'], TWO_DAYS]
)
def test_several_recordings_in_a_folder_are_converted_each(tmp_path, names):
    found = find_recordings([fill(tmp_path, names)])
    assert [file.name for file in found] == names
    assert len({name_of(file) for file in found}) == 2
    with pytest.raises(InputError, match=f'{tmp_path}: has 2 recordings .{names[0]}, {names[1]}.*give one'):
        bag_files(tmp_path)


def test_several_recordings_of_which_one_is_split_are_named(tmp_path):
    assert find_recordings([fill(tmp_path, ['a_0.mcap', 'a_1.mcap', 'b.mcap'])]) == [tmp_path]
    with pytest.raises(InputError, match=r'has 2 recordings .a_0.mcap, b.mcap.*folder of their own'):
        bag_files(tmp_path)


def test_a_listed_recording_is_read_without_the_files_beside_it(tmp_path):
    names = ['copy.mcap', 'run_0.mcap', 'run_1.mcap', 'x.mcap']
    files, others = bag_files(fill(tmp_path, names, listed=['run_0.mcap', 'x.mcap']))  # ended by a crash
    assert [file.name for file in files] == names[1:]
    assert [file.name for file in others] == names[:1]


def test_dots_are_part_of_a_name(tmp_path):
    fill(tmp_path, ['run.1.mcap', 'run.2.db3.zstd'])
    assert [name_of(tmp_path / name) for name in ('run.1.mcap', 'run.2.db3.zstd')] == ['run_1', 'run_2']


def test_a_folder_may_have_the_name_of_a_file(tmp_path):
    """As by ``ros2 bag record -o run.mcap``."""
    (tmp_path / 'run.mcap').mkdir()
    fill(tmp_path / 'run.mcap', ['run.mcap_0.mcap', 'run.mcap_1.mcap'])
    assert find_recordings([tmp_path]) == find_recordings([tmp_path / 'run.mcap']) == [tmp_path / 'run.mcap']
    assert [file.name for file in bag_files(tmp_path / 'run.mcap')[0]] == ['run.mcap_0.mcap', 'run.mcap_1.mcap']
    assert name_of(tmp_path / 'run.mcap') == 'run_mcap'
