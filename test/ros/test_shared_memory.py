"""Segments of Fast DDS are removed where nobody uses them any more, and only there."""

import fcntl
import os
import time

from dfd_ros.ros.shared_memory import MIN_AGE, remove_left_over_segments


def segment(folder, name, age=2 * MIN_AGE):
    for path in (folder / name, folder / f'{name}_el'):
        path.write_bytes(b'')
        os.utime(path, (time.time() - age,) * 2)


def test_only_what_nobody_uses_is_removed(tmp_path):
    left_over, used, new = (f'fastdds_{digit * 16}' for digit in 'abc')
    for name in (left_over, used, 'fastdds_port7000', 'other_' + 'd' * 16):
        segment(tmp_path, name)
    segment(tmp_path, new, age=1.0)
    (tmp_path / f'fastdds_{"e" * 16}_el').symlink_to('nowhere')
    before = {path.name for path in tmp_path.iterdir()}
    with open(tmp_path / f'{used}_el') as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        assert remove_left_over_segments(tmp_path) == [left_over]
    assert {path.name for path in tmp_path.iterdir()} == before - {left_over, f'{left_over}_el'}
    assert remove_left_over_segments(tmp_path) == [used]


def test_a_folder_that_is_not_there_is_none(tmp_path):
    assert remove_left_over_segments(tmp_path / 'nowhere') == []
