"""Shards that several processes write together: the same files whoever writes them, and whatever is killed."""

import json

import numpy as np
import pytest

from dfd_ros.core.errors import InputError
from dfd_ros.core.lens_state import LensState
from dfd_ros.core.sample import Sample
from dfd_ros.core.shared_lock import SharedLock
from dfd_ros.core.shares import share_of
from dfd_ros.datasets.rendering.job_log import JobLog, jobs_row, read_log
from dfd_ros.datasets.shards import Samples, ShardWriter
from dfd_ros.datasets.shared_shards import SharedShards

KEYS = [f'{seed:08d}' for seed in range(7)]


def sample(key: str) -> Sample:
    images = np.full((2, 4, 6, 3), int(key), np.uint8)
    states = [LensState(f, 0.004, 1.8, 2e-6) for f in (0.5, 1.0)]
    return Sample(images, states, np.ones((2, 4, 6), np.float32), seed=int(key), source='test')


def written(folder, shares=True, **settings) -> SharedShards:
    return SharedShards(folder, 'set', KEYS, 3, shares, **settings)


def files(folder) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir() if path.is_file()}


@pytest.fixture
def undisturbed(tmp_path):
    with written(tmp_path / 'one', shares=False) as shards:
        for key in KEYS:
            shards.write(key, sample(key))
    return files(tmp_path / 'one')


def test_the_files_are_the_same_whoever_writes_them(tmp_path, undisturbed):
    assert list(undisturbed) and sorted(undisturbed) == [f'set-{KEYS[i]}.tar' for i in (0, 3, 6)]
    out = tmp_path / 'two'
    with written(out) as first, written(out) as second:
        for key in (KEYS[6], KEYS[1], KEYS[4]):
            first.write(key, sample(key))
        assert not second.has(KEYS[0]) and second.has(KEYS[1]) and second.count() == 3
        for key in share_of(KEYS, '1/2'):
            second.write(key, sample(key))  # 4 and 6 once more
        assert not first.finish()
        for key in (KEYS[5], KEYS[3]):
            first.write(key, sample(key))
        assert first.finish() and second.finish()
    assert files(out) == undisturbed
    assert not (out / '.set.parts').exists()


def test_what_a_kill_leaves_is_taken_up(tmp_path, undisturbed):
    out = tmp_path / 'set'
    killed = written(out)
    for key in KEYS[:2]:
        killed.write(key, sample(key))
    (out / '.set.parts' / '.00000002.99999999-0.part.tar').write_bytes(b'half')
    (out / '.set-00000000.99999999-0.part.tar').write_bytes(b'half')
    killed._lock.close()
    with written(out) as shards:
        assert [shards.has(key) for key in KEYS] == [True] * 2 + [False] * 5
        for key in KEYS[2:]:
            shards.write(key, sample(key))
    assert files(out) == undisturbed and not (out / '.set.parts').exists()


def test_a_kill_between_packing_and_deleting_does_no_harm(tmp_path, undisturbed):
    out = tmp_path / 'set'
    with written(out) as shards:
        for key in KEYS[:3]:
            shards.write(key, sample(key))
        SharedShards.write(shards, KEYS[0], sample(KEYS[0]))  # by a process that was slower
        assert [path.name for path in (out / '.set.parts').iterdir()] == ['set.json']
    with written(out, shares=False) as shards:
        for key in KEYS[3:]:
            shards.write(key, sample(key))
    assert files(out) == undisturbed


def test_one_that_is_slower_does_no_harm(tmp_path, undisturbed):
    out = tmp_path / 'set'
    with written(out) as slow:
        with written(out) as fast:
            for key in KEYS:
                fast.write(key, sample(key))
            assert fast.finish()
        for path in (out / '.set.parts').iterdir():  # on a file system without locks, fast cleans up
            path.unlink()
        (out / '.set.parts').rmdir()
        for key in KEYS:
            slow.write(key, sample(key))
        assert slow.finish()
    assert files(out) == undisturbed


def test_a_full_disk_loses_no_sample(tmp_path, monkeypatch):
    out = tmp_path / 'set'
    with pytest.raises(OSError), written(out) as shards:
        for key in KEYS[:2]:
            shards.write(key, sample(key))

        def full(*_):
            raise OSError(28, 'No space left on device')

        with monkeypatch.context() as context:
            context.setattr('tarfile.TarFile.addfile', full)
            shards._pack(KEYS[:2])
    with written(out) as shards:
        assert shards.count() == 2


def test_a_full_disk_before_the_first_sample_leaves_nothing(tmp_path, monkeypatch):
    def full(*_):
        raise OSError(28, 'No space left on device')

    monkeypatch.setattr('tarfile.TarFile.addfile', full)
    out = tmp_path / 'set'
    with pytest.raises(OSError), written(out, shares=False) as shards:
        shards.write(KEYS[0], sample(KEYS[0]))
    assert not list(out.iterdir())


def test_a_set_grows(tmp_path):
    out = tmp_path / 'set'
    with ShardWriter(out, 'set') as writer:  # as older versions wrote them
        for key in KEYS[1:3]:
            writer.add(key, sample(key))
    with written(out, shares=False) as shards:
        assert shards.count() == 2
        shards.write(KEYS[3], sample(KEYS[3]))  # alone: what there is can be used
    assert sorted(path.name for path in out.iterdir() if path.suffix == '.tar') == [
        'set-000000.tar',
        'set-00000003.tar',
    ]
    with written(out, shares=False) as shards:
        for key in KEYS:
            if not shards.has(key):
                shards.write(key, sample(key))
    assert sorted(one.seed for one in Samples(out)) == list(range(7))


def test_other_sets_and_other_kinds_of_jobs_are_refused(tmp_path):
    claims = []
    with written(tmp_path, claim=claims.append):
        with pytest.raises(InputError, match='other processes write a set with count 7, not 6; give the same'):
            SharedShards(tmp_path, 'set', KEYS[:-1], 3, True)
        with pytest.raises(InputError, match=f'^{tmp_path}: another process writes here'):
            written(tmp_path, shares=False)
        with written(tmp_path, claim=claims.append):
            pass
    assert claims == [True, False]


def test_the_first_has_the_folder_alone_until_it_shares(tmp_path, monkeypatch):
    monkeypatch.setattr('dfd_ros.core.shared_lock._PATIENCE', 0.0)
    first = SharedLock(tmp_path)
    assert first.is_first
    with pytest.raises(InputError, match='another process'):
        SharedLock(tmp_path)
    first.share()
    second = SharedLock(tmp_path)
    assert not second.is_first and not second.take_alone()
    second.close()
    assert first.take_alone()
    first.close()


def test_what_the_first_did_not_note_the_next_one_does(tmp_path):
    (tmp_path / '.set.parts').mkdir()  # and then the first was killed, while the next one waited
    first = SharedLock(tmp_path)
    first.share()
    with written(tmp_path), pytest.raises(InputError, match='with count 7, not 6'):
        SharedShards(tmp_path, 'set', KEYS[:-1], 3, True)
    first.close()


def test_the_log_adds_up_what_jobs_did(tmp_path):
    path = tmp_path / 'log.jsonl'
    with JobLog(path, '10/10') as late, JobLog(path, '2/10') as early:
        late.write(seed=1, seconds=4.0)
        early.write(seed=0, seconds={'a': 1.0, 'b': 2.5})
        late.write(seed=1, seconds=5.0)
    with open(path, 'a') as file:
        file.write('{"seed": 2, "secon')
    lines = read_log(path, 'seed')
    assert lines[1] == {'seed': 1, 'seconds': 5.0, 'job': '10/10'}
    assert jobs_row(lines, 'stacks') == '2/10: 1 stacks in 3.5 s; 10/10: 1 stacks in 5.0 s'
    assert jobs_row({}, 'stacks') == 'unknown'
    assert json.loads(path.read_text().splitlines()[0])['job'] == '10/10'


@pytest.mark.parametrize('job', ['0/2', '3/2', '1', '1/', 'a/b', '-1/2', '1/2/3'])
def test_a_share_is_i_of_n(job):
    assert [share_of('abcde', f'{i}/2') for i in (1, 2)] == ['ace', 'bd']
    with pytest.raises(InputError, match='must be I/N with I from 1 to N, such as 2/4'):
        share_of('abcde', job)
