"""The sample format: there and back, whole or not at all, and one clear line for what is not a sample."""

import io
import json
import math
import os
import re
import tarfile
import tempfile
import zipfile
from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from dfd_ros.core.errors import InputError
from dfd_ros.core.focal_stack import FocalStack
from dfd_ros.core.lens_state import LensState
from dfd_ros.core.sample import Sample
from dfd_ros.datasets.shards import FORMAT, Samples, ShardWriter, count, write_sample
from dfd_ros.datasets.stack_batch import to_stack_batch
from dfd_ros.datasets.stored_sample import Area

T, H, W = 3, 12, 16


def make_sample(seed=0, states=None, full=True, **changes) -> Sample:
    rng = np.random.default_rng(seed)
    images = rng.integers(0, 256, (T, H, W, 3), dtype=np.uint8)
    depth = rng.uniform(0.2, 3, (T, H, W)).astype(np.float32)
    depth[:, 0, 0], depth[:, 1, 1] = np.nan, np.inf
    if states is None:
        states = [
            LensState(focus, 4e-3, 1.8, 2e-5, near=0.25, far=2.0, stamp=t / 30)
            for t, focus in enumerate((2.0, 0.5, 0.25))
        ]
    rest = (
        dict(
            background=depth > 2,
            coc=depth * 3,
            flow=rng.normal(0, 2, (T - 1, H, W, 2)).astype(np.float16),
            all_in_focus=images[::-1].copy(),
            intrinsics=(20.0, 20.0, 7.5, 5.5),
            poses=np.tile(np.eye(4), (T, 1, 1)),
            about={'set': 'small'},
        )
        if full
        else {}
    )
    return Sample(
        **{'images': images, 'lens_states': states, 'depth': depth, 'source': 'test', 'seed': seed, **rest, **changes}
    )


def assert_same(a: Sample, b: Sample) -> None:
    for name in ('images', 'depth', 'background', 'coc', 'flow', 'all_in_focus', 'poses'):
        one, other = getattr(a, name), getattr(b, name)
        assert (one is None) == (other is None), name
        if one is not None:
            np.testing.assert_array_equal(one, other, err_msg=name)
            assert one.dtype == other.dtype, name
    assert repr(a.lens_states) == repr(b.lens_states)
    about = [{key: value for key, value in one.about.items() if key != 'made_by'} for one in (a, b)]
    assert (a.intrinsics, a.source, a.seed, about[0]) == (b.intrinsics, b.source, b.seed, about[1])


unknown = st.just(math.nan)


@settings(max_examples=15)
@given(
    st.lists(
        st.builds(
            LensState,
            st.one_of(st.floats(0.25, 1e3), st.just(math.inf)),
            st.one_of(unknown, st.floats(1e-3, 0.2)),
            st.one_of(unknown, st.floats(0.9, 32)),
            st.one_of(unknown, st.floats(1e-6, 1e-4)),
            st.one_of(unknown, st.floats(0.9, 1.2)),
            st.one_of(unknown, st.just(0.1)),
            st.one_of(unknown, st.just(math.inf)),
            st.booleans(),
            st.one_of(unknown, st.floats(0, 2e9)),
        ),
        min_size=T,
        max_size=T,
    ),
    st.booleans(),
)
def test_there_and_back(states, full):
    sample = make_sample(states=states, full=full)
    with tempfile.TemporaryDirectory() as folder:
        with ShardWriter(folder, 'data') as writer:
            writer.add('a', sample)
        (again,) = Samples(folder)
        assert os.listdir(folder) == ['data-000000.tar']
    assert_same(sample, again)


def test_shard_length_and_sample_order(tmp_path):
    with ShardWriter(tmp_path / 'deep' / 'set', 'data', samples_per_shard=2) as writer:
        for i in range(5):
            writer.add(f'{i:03d}', make_sample(i))
    folder = tmp_path / 'deep' / 'set'
    assert sorted(os.listdir(folder)) == [f'data-{n:06d}.tar' for n in range(3)]
    assert count(folder) == 5 and count(folder / 'data-000002.tar') == 1
    assert [sample.seed for sample in Samples(tmp_path)] == [0, 1, 2, 3, 4]
    assert [s.seed for s in Samples([folder / 'data-000001.tar', folder / 'data-000000.tar'])] == [2, 3, 0, 1]
    samples = Samples(folder)
    assert_same(samples[3], make_sample(3))
    assert samples[-1].seed == 4
    with tarfile.open(folder / 'data-000000.tar') as tar:
        assert tar.getnames()[:5] == [
            '000.json',
            '000.image.000.png',
            '000.image.001.png',
            '000.image.002.png',
            '000.truth.npz',
        ]


@pytest.mark.parametrize('name', ['data', 'data[1]'])
def test_a_kill_loses_nothing_that_was_added(tmp_path, name):
    writer = ShardWriter(tmp_path, name, samples_per_shard=2)
    for i in range(3):
        writer.add(f'{i}', make_sample(i))
    (tmp_path / f'.{name}-000001.77.part.tar').write_bytes(b'half a shard')
    os.close(writer._lock)  # and then the process was killed
    assert count(tmp_path) == 2

    with ShardWriter(tmp_path, name, samples_per_shard=2) as writer:
        assert writer.done == {'0', '1', '2'}
        with pytest.raises(InputError, match='sample 2 exists already'):
            writer.add('2', make_sample(2))
        writer.add('3', make_sample(3))
    assert sorted(sample.seed for sample in Samples(tmp_path)) == [0, 1, 2, 3]
    assert sorted(os.listdir(tmp_path)) == [f'{name}-000000.tar', f'{name}-000001.tar']


def test_a_kill_between_packing_and_cleanup_duplicates_nothing(tmp_path):
    with ShardWriter(tmp_path, 'data') as writer:
        writer.add('a', make_sample())
    (tmp_path / '.data.parts').mkdir()
    write_sample(tmp_path / '.data.parts' / 'a.tar', 'a', make_sample())
    with ShardWriter(tmp_path, 'data') as writer:
        assert writer.done == {'a'}
    assert count(tmp_path) == 1


def test_an_interrupt_while_tidying_up_doubles_nothing(tmp_path, monkeypatch):
    def interrupted(path, **_):
        monkeypatch.undo()
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt), ShardWriter(tmp_path, 'data', samples_per_shard=3) as writer:
        for i in range(2):
            writer.add(f'{i}', make_sample(i))
        monkeypatch.setattr(type(tmp_path), 'unlink', interrupted)
        writer._pack()
    assert sorted(sample.seed for sample in Samples(tmp_path)) == [0, 1]
    ShardWriter(tmp_path, 'data').close()
    assert os.listdir(tmp_path) == ['data-000000.tar']


def test_two_writers_of_one_folder_are_refused(tmp_path):
    with ShardWriter(tmp_path, 'data') as writer:
        writer.add('a', make_sample())
        (writer.parts / '.b.77.part.tar').write_bytes(b'half a sample')
        with pytest.raises(InputError, match=f'{tmp_path}: another process writes here'):
            ShardWriter(tmp_path, 'data')
        assert (writer.parts / '.b.77.part.tar').exists()
        (writer.parts / '.b.77.part.tar').unlink()
    with ShardWriter(tmp_path, 'data') as writer:
        assert writer.done == {'a'}


def test_samples_that_were_not_flushed_do_not_outlive_a_power_cut(tmp_path):
    writer = ShardWriter(tmp_path, 'data', flush=False)
    for key in 'ab':
        writer.add(key, make_sample())
    os.utime(writer.parts / 'a.tar', (0, 0))  # before this machine started
    writer.release()
    writer = ShardWriter(tmp_path, 'data', flush=False)
    assert writer.done == {'b'}
    writer.release()


def test_samples_of_other_processes_are_taken_over(tmp_path):
    with ShardWriter(tmp_path, 'data', samples_per_shard=10) as writer:
        write_sample(writer.parts / 'b.tar', 'b', make_sample(7))
        writer.take('b')
        assert writer.done == {'b'}
    assert [sample.seed for sample in Samples(tmp_path)] == [7]


def test_the_same_sample_gives_the_same_file(tmp_path):
    for name in ('one', 'two'):
        write_sample(tmp_path / f'{name}.tar', 'a', make_sample())
    assert (tmp_path / 'one.tar').read_bytes() == (tmp_path / 'two.tar').read_bytes()


def test_jpeg_images(tmp_path):
    smooth = np.broadcast_to(np.linspace(0, 255, W).astype(np.uint8)[:, None], (T, H, W, 3)).copy()
    with ShardWriter(tmp_path, 'data', image_format='jpg') as writer:
        writer.add('a', make_sample(images=smooth))
    with tarfile.open(tmp_path / 'data-000000.tar') as tar:
        assert 'a.image.001.jpg' in tar.getnames()
    (sample,) = Samples(tmp_path)
    assert np.abs(sample.images.astype(int) - smooth).max() < 12
    with pytest.raises(InputError, match='image format "gif"'):
        write_sample(tmp_path / 'b.tar', 'b', make_sample(), 'gif')


def test_as_a_focal_stack_and_back(tmp_path):
    sample = make_sample(full=False)
    sample.to_focal_stack().write(tmp_path / 'stack')
    stack = FocalStack.read(tmp_path / 'stack')
    again = Sample.from_focal_stack(stack, 'stack', about={'file': 'x'})
    np.testing.assert_array_equal(again.images, sample.images)
    np.testing.assert_array_equal(again.depth[-1], sample.depth[-1])
    assert np.isnan(again.depth[:-1]).all() and again.about == {'file': 'x'}
    for one, other in zip(again.lens_states, sample.lens_states):
        assert one.focus_distance == other.focus_distance
        assert one.pixel_pitch == pytest.approx(other.pixel_pitch)
    without = FocalStack(stack.images, stack.lens_states)
    assert np.isnan(Sample.from_focal_stack(without).depth).all()


def test_as_a_stack_batch():
    sample = make_sample()
    batch = to_stack_batch(sample)
    range_ = batch.ranges()[0]
    assert (range_.near, range_.far) == (0.25, 2.0)
    assert batch.focus[0].tolist() == pytest.approx([0, 3 / 7, 1])
    np.testing.assert_array_equal(batch.images[0].permute(0, 2, 3, 1), sample.images)
    u = batch.vergence[0, :, 0].numpy()
    np.testing.assert_array_equal(np.isnan(u), np.isnan(sample.depth))
    np.testing.assert_allclose(
        range_.denormalise(u.astype(float))[np.isfinite(sample.depth)],
        sample.depth[np.isfinite(sample.depth)],
        rtol=1e-5,
    )
    np.testing.assert_array_equal(batch.foreground[0, :, 0], ~sample.background)
    expected = np.stack(
        [state.lens.coc_px(depth, state.focus_distance) for state, depth in zip(sample.lens_states, sample.depth)]
    )
    np.testing.assert_allclose(batch.coc[0, :, 0].abs(), expected, rtol=1e-4, atol=1e-4)
    assert batch.blur_scale.item() == pytest.approx(sample.lens_states[0].lens.blur_scale(range_))
    assert {tensor.dtype for name, tensor in vars(batch).items() if name not in ('images', 'foreground')} == {
        torch.float32
    }


def test_an_unknown_lens_leaves_the_blur_unknown():
    batch = to_stack_batch(make_sample(states=[LensState(focus) for focus in (2.0, 1.0, 0.5)]))
    assert batch.blur_scale.isnan().all() and batch.coc.isnan().all() and batch.vergence.isfinite().any()
    assert batch.magnification.tolist() == [[1.0] * T]


def test_training_scales_frames_to_the_largest_magnification():
    growth = (1.0, 1.1, 1.25)
    y, x = np.mgrid[:41, :51]

    def zoomed(pattern, m):  # what a camera sees of it that grows the image about its centre
        return pattern(25 + (x - 25) / m, 20 + (y - 20) / m)

    images = (
        np.stack(
            [
                np.repeat(zoomed(lambda x, y: 128 + 60 * np.sin(x / 4) * np.cos(y / 5), m)[..., None], 3, 2)
                for m in growth
            ]
        )
        .round()
        .astype(np.uint8)
    )
    depth = np.stack([zoomed(lambda x, y: np.where(x > 30, 0.4, 1.5), m) for m in growth]).astype(np.float32)
    states = [LensState(focus, 4e-3, 1.8, 2e-5, magnification=m) for focus, m in zip((2.0, 0.5, 0.25), growth)]
    sample = Sample(images, states, depth, background=depth > 1)
    batch = to_stack_batch(sample)
    assert (batch.images[0].float() - batch.images[0, -1].float()).abs().max() <= 3
    assert np.abs(images[0].astype(float) - images[-1]).max() > 30
    assert (batch.vergence[0, :, 0] == batch.vergence[0, -1, 0])[..., :30].all()
    assert (batch.foreground[0, :, 0] == batch.foreground[0, -1, 0]).float().mean() > 0.97
    assert batch.magnification[0].tolist() == pytest.approx([1.25] * 3)
    as_one = to_stack_batch(Sample(images, [replace(state, magnification=1.1) for state in states], depth))
    np.testing.assert_array_equal(as_one.images[0].permute(0, 2, 3, 1), images)
    np.testing.assert_allclose(batch.blur / as_one.blur, [[1.25, 1.25 / 1.1, 1]], rtol=1e-6)  # blur grows as well


def test_samples_whose_parts_do_not_fit_are_refused():
    with pytest.raises(InputError, match=r'depth of \(3, 12, 15\), must be \(3, 12, 16\)'):
        make_sample(depth=np.zeros((T, H, W - 1), np.float32))
    with pytest.raises(InputError, match=r'flow of \(3, 12, 16, 2\), must be \(2, 12, 16, 2\)'):
        make_sample(flow=np.zeros((T, H, W, 2), np.float16))
    with pytest.raises(InputError, match='3 images, but 2 lens states'):
        make_sample(states=[LensState(1.0), LensState(2.0)])
    with pytest.raises(InputError, match='poses of'):
        make_sample(poses=np.eye(4))


@pytest.mark.parametrize('key', ['', 'a.b', 'a/b'])
def test_keys_that_cannot_be(tmp_path, key):
    with ShardWriter(tmp_path, 'data') as writer, pytest.raises(InputError, match='sample key'):
        writer.add(key, make_sample())
    assert os.listdir(tmp_path) == []


@pytest.mark.parametrize('left', [100, 700, 5000, 0.5, 0.9, -1024, -513])
def test_a_shard_cut_short_is_refused_in_one_line(tmp_path, left):
    path = tmp_path / 'a.tar'
    write_sample(path, 'a', make_sample())
    with tarfile.open(path) as tar:
        end = tar.getmembers()[-1]
    whole = path.read_bytes()
    padded = end.offset_data + -(-end.size // 512) * 512 + 1024  # with the two empty blocks that end it
    path.write_bytes(whole[: int(left * padded) if isinstance(left, float) else left if left > 0 else padded + left])
    with pytest.raises(InputError, match=r'a\.tar') as caught:
        list(Samples(path))
    assert '\n' not in str(caught.value)


def write_tar(path, members: dict[str, bytes]) -> None:
    with tarfile.open(path, 'w') as tar:
        for name, data in members.items():
            member = tarfile.TarInfo(name)
            member.size = len(data)
            tar.addfile(member, io.BytesIO(data))


def members_of(path) -> dict[str, bytes]:
    with tarfile.open(path) as tar:
        return {member.name: tar.extractfile(member).read() for member in tar}


def changed(members: dict[str, bytes], **values) -> dict[str, bytes]:
    """Its description with other values of the second frame."""
    description = json.loads(members['a.json'])
    description['frames'][1].update(values)
    return {'a.json': json.dumps(description).encode()}


def zeros(count: int) -> bytes:
    """An archive, small itself, of so many zeros as depth."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, 'w', zipfile.ZIP_DEFLATED) as archive:
        with archive.open('depth.npy', 'w', force_zip64=True) as file:
            np.lib.format.write_array_header_1_0(file, {'descr': '<f4', 'fortran_order': False, 'shape': (count,)})
    return buffer.getvalue()


@pytest.mark.parametrize('width', [1, 3, 5])
def test_frames_are_in_the_order_of_their_numbers(tmp_path, width):
    count = 12 if width == 1 else 1003
    images = np.zeros((count, 2, 2, 3), np.uint8)
    images[:, 0, 0, 0], images[:, 0, 0, 1] = np.arange(count) % 256, np.arange(count) // 256
    states = [LensState(1 + i) for i in range(count)]
    write_sample(tmp_path / 'a.tar', 'a', Sample(images, states, np.ones((count, 2, 2), np.float32)))
    members = members_of(tmp_path / 'a.tar')
    if width != 3:  # as other writers number them; of this one they are as they are
        members = {re.sub(r'\.(\d+)\.png', lambda m: f'.{int(m[1]):0{width}d}.png', k): v for k, v in members.items()}
        write_tar(tmp_path / 'a.tar', members)
    (sample,) = Samples(tmp_path)
    np.testing.assert_array_equal(sample.images, images)


def test_depth_of_zero_or_less_is_none(tmp_path):
    sample = make_sample()
    sample.depth[:, :2, 0] = [0, -np.inf]
    write_sample(tmp_path / 'a.tar', 'a', sample)
    samples = Samples(tmp_path)
    with samples.opened(0) as stored:
        part = stored.part([1], Area(0, 0, 3, 3), ())
    for depth in (samples[0].depth, part.depth):
        assert np.isnan(depth[:, :2, 0]).all() and (depth[:, 2] > 0).all()


@pytest.mark.parametrize(
    'change, says',
    [
        (lambda m: m.pop('a.json'), 'a has no a.json'),
        (lambda m: m.pop('a.truth.npz'), 'a has no a.truth.npz'),
        (lambda m: m.update({'a.json': b'{"format": "other"}'}), f'its format is \'other\', must be "{FORMAT}"'),
        (lambda m: m.update({'a.json': b'nonsense'}), 'a.json: not JSON: Expecting value'),
        (lambda m: m.update({'a.json': json.dumps({'format': FORMAT}).encode()}), "no 'frames'"),
        (lambda m: m.update({'a.json': json.dumps({'format': FORMAT, 'frames': [1, 2, 3]}).encode()}), 'a frame is 1'),
        (lambda m: m.update(changed(m, focus_distance=None)), 'a frame has no focus_distance'),
        (lambda m: m.update(changed(m, focus_distance=0)), 'a frame: focus_distance 0, no lens has that'),
        (lambda m: m.update(changed(m, f_number=-1.8)), 'a frame: f_number -1.8, no lens has that'),
        (lambda m: m.pop('a.image.001.png'), '2 images, but 3 lens states'),
        (lambda m: m.update({'a.image.001.png': m['a.image.001.png'][:60]}), 'cannot be read as an image'),
        (lambda m: m.update({'a.truth.npz': m['a.truth.npz'][:200]}), 'cannot be read as an archive of NumPy arrays'),
        (lambda m: m.update({'a.truth.npz': zeros(2**28)}), '1024 MB, more than'),
        (
            lambda m: m.update({'a.json': m['a.json'].replace(b'"seed"', b'"x": 1' + b'0' * 400 + b', "seed"')}),
            'not JSON',
        ),
        (lambda m: m.update(changed(m, focal_length=2.0, focus_distance=2.0)), 'not beyond the focal length'),
        (lambda m: m.update(changed(m, magnification=1e30)), 'magnification 1e+30, no lens has that'),
        (lambda m: m.update(changed(m, stamp='inf')), 'stamp inf s, expected a finite number'),
        (lambda m: m.update({'a.image.1.png': m['a.image.001.png']}), 'frame 1 twice'),
        (lambda m: m.update({'readme.txt': b'hello'}), 'readme has no readme.json'),
    ],
)
def test_what_is_no_sample_is_refused_in_one_line(tmp_path, change, says):
    path = tmp_path / 'a.tar'
    write_sample(path, 'a', make_sample())
    members = members_of(path)
    change(members)
    write_tar(path, members)
    with pytest.raises(InputError) as caught:
        list(Samples(path))
    assert says in str(caught.value) and str(path) in str(caught.value) and '\n' not in str(caught.value)


def test_places_without_samples(tmp_path):
    with pytest.raises(InputError, match='no shard'):
        count(tmp_path)
    with pytest.raises(InputError, match='no such folder or shard'):
        count(tmp_path / 'absent')
    (tmp_path / 'x.tar').write_text('this is no tar file at all' * 100)
    with pytest.raises(InputError, match=r'x\.tar: truncated or not a tar file'):
        count(tmp_path)
    (tmp_path / 'x.tar').rename(tmp_path / 'x-000000.tar')
    for _ in range(2):  # the first one leaves no lock behind
        with pytest.raises(InputError, match=r'x-000000\.tar: truncated or not a tar file'):
            ShardWriter(tmp_path, 'x')


def test_only_the_truth_that_is_wanted_is_read(tmp_path):
    write_sample(tmp_path / 'a.tar', 'a', make_sample())
    (sample,) = Samples(tmp_path, ('background',))
    assert sample.depth is not None and sample.background is not None
    assert sample.coc is sample.flow is sample.all_in_focus is None
