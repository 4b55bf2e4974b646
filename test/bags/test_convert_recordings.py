"""Bags into samples: the right depth in the right view, what is left out and why, and what goes wrong."""

import json
import math
import os
import shutil
import signal
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import numpy as np
import pytest

pytest.importorskip('rosbags')
pytest.importorskip('cv2')

from command_line import dfd
from recorded_rig import (
    DEPTH,
    DEPTH_FRAME,
    FOCUS,
    IMAGE_FRAME,
    POSE,
    SIZE,
    START,
    VIEW,
    Options,
    calibration_file,
    compressed_message,
    image_message,
    magnification,
    messages,
    picture,
    room,
    view_at,
    write_bag,
)

from dfd_ros.bags.convert_recordings import Job, convert_all
from dfd_ros.calibration.calibration_file import CameraModel, Extrinsics
from dfd_ros.core.geometry import matrix_from_quaternion, rigid_transform
from dfd_ros.datasets.shards import Samples, count, locked
from dfd_ros.datasets.stack_batch import to_stack_batch

pytestmark = pytest.mark.slow(reason='whole bags are written and converted')


def convert(*arguments):
    return dfd('convert', *arguments)


@pytest.fixture
def converted(tmp_path, capsys):
    """Converts a bag with these options; gives its samples and what was said."""

    def run(options=None, *arguments, status=0, **kind):
        write_bag(tmp_path / 'bag', options, **kind)
        assert convert(tmp_path / 'bag', '--out', tmp_path / 'out', *arguments) == status
        said = capsys.readouterr()
        return (list(Samples(tmp_path / 'out')) if not status else None), said.out + said.err

    return run


def check(samples, view=None, tolerance=0.01):
    """Registered depth within a pixel and 1 %, and all frames in one scale."""
    view = view or view_at(min(FOCUS))
    truth, points = room(view, POSE)
    for sample in samples:
        assert [state.focus_distance for state in sample.lens_states] == list(FOCUS)
        for depth, image in zip(sample.depth, sample.images):
            valid = np.isfinite(depth)
            assert valid.mean() > 0.8
            near = np.stack([np.roll(truth, (dy, dx), (0, 1)) for dy in (-1, 0, 1) for dx in (-1, 0, 1)])
            assert (np.abs(near / depth - 1).min(0)[valid] < tolerance).all()
            assert np.abs(image[4:-4, 4:-4].astype(float) - picture(points)[4:-4, 4:-4]).mean() < 6


@pytest.mark.parametrize(
    'storage, options',
    [
        ('mcap', Options()),
        ('sqlite3', Options(depth_encoding='32FC1')),
        ('mcap', Options(compressed=True)),
        ('mcap', Options(info_follows_focus=False)),
    ],
)
def test_depth_comes_into_the_view_of_the_focus_camera(converted, storage, options):
    samples, said = converted(options, storage=storage)
    assert len(samples) == 3 and '12 images, 12 in 3 samples' in said
    check(samples)
    sample = samples[0]
    np.testing.assert_allclose(sample.intrinsics, (VIEW.fx, VIEW.fy, VIEW.cx, VIEW.cy), rtol=1e-6)
    assert {state.magnification for state in sample.lens_states} == {magnification(0.5)}
    assert sample.lens_states[0].stamp == START and sample.lens_states[0].far == math.inf


@pytest.mark.parametrize('compressed', [False, True])
def test_twelve_bits_in_sixteen_are_as_bright_as_eight(converted, compressed):
    def deep(image, *rest):
        grey = image[..., 0].astype(np.uint16) << 4
        if compressed:
            return compressed_message(grey, '.png', *rest)
        return image_message(grey, 'mono16', *rest)

    options = Options()
    recorded = [
        (topic, time, deep(np.asarray(message.data).reshape(*SIZE, 3), time - 0.003, IMAGE_FRAME))
        if topic == options.image_topic
        else (topic, time, message)
        for topic, time, message in messages(options)
    ]
    samples, said = converted(options, '--image-format', 'png', recorded=recorded)
    assert len(samples) == 3 and '/image_raw: the 16-bit images use 12 bits, and are scaled accordingly' in said
    expected = picture(room(view_at(min(FOCUS)), POSE)[1])[..., 0].astype(float)
    for sample in samples:
        for image in sample.images:
            assert np.abs(image[4:-4, 4:-4] - expected[4:-4, 4:-4, None]).mean() < 6


def test_image_bits_that_are_given(converted, tmp_path, capsys):
    samples, said = converted(None, '--image-bits', 12)  # means nothing for rgb8
    assert len(samples) == 3 and '16-bit' not in said
    assert convert(tmp_path / 'bag', '--out', tmp_path / 'out', '--image-bits', 11) == 2
    said = capsys.readouterr().err
    assert said == 'dfd: error: image_bits: 11 must be one of 8, 10, 12, 14, 16, or 0 to find them\n'
    assert convert(tmp_path / 'bag', '--out', tmp_path / 'out', '--image-bits', 10) == 2
    assert 'converted before, with other settings' in capsys.readouterr().err


def test_samples_can_be_trained_on(converted):
    samples, _ = converted()
    batch = to_stack_batch(samples[0])
    assert batch.images.shape == (1, 4, 3, *SIZE)
    assert batch.vergence.isfinite().float().mean() > 0.8


def test_width(converted):
    samples, _ = converted(None, '--width', 64)
    half = view_at(0.5).resized(0.5)
    assert samples[0].images.shape == (4, 48, 64, 3)
    assert samples[0].lens_states[0].pixel_pitch == pytest.approx(6e-5)
    rays = half.rays(48, 64).astype(float)
    directions = np.concatenate([rays, np.ones((48, 64, 1))], -1) @ POSE[:3, :3]
    origin, normal = -POSE[:3, :3].T @ POSE[:3, 3], np.array([0.3, 0.1, 1.0])
    truth = (1.5 - origin @ normal) / (directions @ normal)
    depth = samples[0].depth[0]
    assert np.nanmax(np.abs(depth / truth - 1)) < 0.01


def test_frames_that_are_of_no_use_are_left_out_and_counted(converted):
    samples, said = converted(Options(sweeps=5, focus=(math.inf, *FOCUS), unsettled=1, black=2, no_depth=7))
    # Of the first sweep one frame moved and one is black (the first, unsettled, is not looked at); of the second
    # the first two depth images have no reading.
    assert '5 with a moving lens' in said and '1 with bad exposure' in said
    assert '4 with too little valid depth' in said
    assert len(samples) == 4 and [len(sample) for sample in samples] == [3, 4, 4, 4]


def test_sweeps_of_a_number_of_frames(converted):
    samples, _ = converted(Options(focus=(1.0, 0.4, 2.0, 0.5, 3.0, 0.6)), '--frames', 6)
    assert [len(sample) for sample in samples] == [6, 6, 6]


def test_keep_moving(converted):
    samples, _said = converted(Options(unsettled=2), '--keep-moving')
    assert [len(sample) for sample in samples] == [4, 4, 4] and not samples[0].lens_states[0].settled


def test_calibration_instead_of_tf_and_camera_info(converted, tmp_path):
    options = Options(tf=False, infos=False)
    samples, _ = converted(options, '--calibration', calibration_file(tmp_path / 'rig.yaml'))
    check(samples)


def test_distortion_is_taken_out(converted, tmp_path):
    """By a calibration that says the images are distorted: what is straight in the world is bent back."""
    camera = CameraModel(SIZE[1], SIZE[0], VIEW.fx, VIEW.fy, VIEW.cx, VIEW.cy, (-0.2, 0.0, 0.0, 0.0, 0.0), math.inf)
    samples, _ = converted(None, '--calibration', calibration_file(tmp_path / 'rig.yaml', focus_camera=camera))
    undistorted, _ = samples[0], None
    _, points = room(view_at(0.5), POSE)
    # At the centre nothing changes, at the rim the images differ.
    difference = np.abs(undistorted.images[0].astype(float) - picture(points)).mean(-1)
    assert difference[40:56, 56:72].mean() < 6 < difference[:, :12].mean()


@pytest.mark.parametrize(
    'model, distortion',
    [
        ('plumb_bob', (-0.25, 0.06, 0.001, -0.001, 0.0)),
        ('rational_polynomial', (-0.2, 0.05, 0.001, 0.0, 0.0, 0.05, 0.01, 0.0)),
        ('equidistant', (0.05, -0.01, 0.002, 0.0)),
    ],
)
def test_images_through_any_lens_become_those_of_a_pinhole(converted, model, distortion):
    samples, _ = converted(Options(distortion=distortion, distortion_model=model))
    truth = picture(room(view_at(0.5), POSE)[1]).astype(float)
    image = samples[0].images[0].astype(float)
    seen = image.min(-1) > 0  # a barrel does not fill the corners
    assert seen.mean() > 0.9 and np.abs(image - truth).mean(-1)[seen].mean() < 4
    check(samples)


def test_an_unknown_lens_is_refused(converted):
    recorded = list(messages(Options()))
    for topic, _, message in recorded:
        if topic == '/camera_info':
            message.distortion_model, message.d = 'fov', np.array([0.9])
    _, said = converted(recorded=recorded, status=2)
    lines = [line for line in said.splitlines() if line.startswith('dfd: error: ')]
    assert len(lines) == 1 and '/camera_info' in lines[0]
    assert "distortion model 'fov' is not known; there are plumb_bob, rational_polynomial" in lines[0]


CAM = (
    '{camera_model: pinhole, distortion_model: radtan, distortion_coeffs: [0.0, 0.0, 0.0, 0.0], resolution: [128, 96], '
)


def camchain(path):
    """Both cameras as Kalibr writes them."""
    lines = [f'cam0: {CAM} intrinsics: [{VIEW.fx}, {VIEW.fy}, {VIEW.cx}, {VIEW.cy}]}}']
    transform = np.linalg.inv(POSE).tolist()  # from the focus camera to the depth camera
    lines.append(f'cam1: {CAM} intrinsics: [{DEPTH.fx}, {DEPTH.fy}, {DEPTH.cx}, {DEPTH.cy}], T_cn_cnm1: {transform}}}')
    path.write_text('\n'.join(lines))
    return path


def ost(path, camera):
    """One camera as camera_calibration writes it; the rectified image is that of `camera`, the raw one another."""
    k = [1.1 * camera.fx, 0, camera.cx, 0, 1.1 * camera.fy, camera.cy, 0, 0, 1]
    p = [camera.fx, 0, camera.cx, 0, 0, camera.fy, camera.cy, 0, 0, 0, 1, 0]
    path.write_text(
        'image_width: 128\nimage_height: 96\ncamera_name: depth\ndistortion_model: plumb_bob\n'
        f'camera_matrix: {{rows: 3, cols: 3, data: {k}}}\n'
        'distortion_coefficients: {rows: 1, cols: 5, data: [0.1, 0.0, 0.0, 0.0, 0.0]}\n'
        f'projection_matrix: {{rows: 3, cols: 4, data: {p}}}\n'
    )
    return path


def test_calibration_of_kalibr_instead_of_camera_info_and_tf(converted, tmp_path):
    chain = camchain(tmp_path / 'camchain.yaml')
    options = Options(tf=False, infos=False, color_frame=DEPTH_FRAME)
    samples, said = converted(options, '--calibration', chain)
    assert f'{chain}: cam0 of Kalibr is the focus camera\n' in said
    check(samples)


def test_the_frame_of_the_other_camera_has_to_be_known(converted, tmp_path):
    chain, options = camchain(tmp_path / 'camchain.yaml'), Options(tf=False, infos=False)
    _, said = converted(options, '--calibration', chain, status=2)
    assert 'no images on /rgbd/color/image_raw, so that the frame of the RGB-D sensor' in said
    given = '--calibration', f'focus={chain}:cam0', '--calibration', f'depth={chain}:cam1'
    assert convert(tmp_path / 'bag', '--out', tmp_path / 'out', *given) == 0
    check(list(Samples(tmp_path / 'out')))
    swapped = '--calibration', f'focus={chain}:cam1', '--calibration', f'depth={chain}:cam0'
    assert convert(tmp_path / 'bag', '--out', tmp_path / 'out', *swapped) == 2  # the same file, but not the same


def test_wrong_camera_info_of_the_depth_images(converted, tmp_path):
    recorded = list(messages(Options()))
    for topic, _, message in recorded:
        if topic == '/rgbd/depth/camera_info':
            message.k, message.p = 1.5 * message.k, 1.5 * message.p
    samples, _ = converted(None, '--calibration', f'depth={ost(tmp_path / "ost.yaml", DEPTH)}', recorded=recorded)
    check(samples)


@pytest.mark.parametrize('model, d', [('plumb_bob', (0.15, -0.05, 0.0, 0.0, 0.0)), ('equidistant', (0.05, 0, 0, 0))])
def test_depth_that_is_not_rectified(converted, model, d):
    """By the name of its topic, as ROS has it: image_raw has the distortion of its camera_info."""
    distorted = replace(DEPTH, distortion=d, distortion_model=model)
    samples, _ = converted(
        Options(depth_camera=distorted, depth_topic='/rgbd/depth/image_raw'), '--depth-topic', '/rgbd/depth/image_raw'
    )
    check(samples)


def test_clock_offset_given(converted):
    samples, _ = converted(Options(offset=86400.0), '--clock-offset', 86400)
    check(samples)


@pytest.mark.parametrize(
    'options, arguments, said',
    [
        (Options(offset=86400.0), (), 'no samples from 12 images, 12 with no depth at that time'),
        (
            Options(tf=False),
            (),
            f'images are in the frame {IMAGE_FRAME}, depth is in {DEPTH_FRAME}, and the recording has '
            'no TF; give the extrinsics with --calibration',
        ),
        (Options(infos=False), (), 'no camera_info of the focus camera; give its intrinsics with --calibration'),
        (Options(), ('--image-topic', '/other'), 'no topic /other; of that type it has /image_raw'),
        (
            Options(),
            ('--depth-topic', '/tf_static'),
            '/tf_static is tf2_msgs/msg/TFMessage, must be sensor_msgs/msg/Image',
        ),
        (Options(), ('--depth-topic', '/image_raw'), 'image and depth are both /image_raw'),
        (Options(unsettled=4), (), '12 with a moving lens: the lens was never at rest'),
        (Options(no_depth=100), (), 'with too little valid depth: do the two cameras see the same'),
        (Options(black=100), (), 'with bad exposure'),
        (Options(focus=(1.0,)), (), 'in sweeps that are too short: was the focus sweeping?'),
        (Options(offset=3.0), ('--clock-offset', 'auto'), 'clock offset: '),
        (Options(resized_after=0), (), 'camera_info is of 128x96 pixels, the images have 128x88'),
    ],
)
def test_what_cannot_be_converted_is_one_line(converted, tmp_path, options, arguments, said):
    _, output = converted(options, *arguments, status=2)
    lines = [line for line in output.splitlines() if line.startswith('dfd: error: ')]
    assert len(lines) == 1 and said in lines[0] and str(tmp_path / 'bag') in lines[0]
    assert [path.name for path in (tmp_path / 'out').iterdir()] == []  # nothing half-written


def test_cameras_with_no_overlap(converted, tmp_path):
    behind = rigid_transform(matrix_from_quaternion(0, 1, 0, 0), (0, 0, 0))
    path = calibration_file(tmp_path / 'rig.yaml', extrinsics=Extrinsics.from_matrix(behind, IMAGE_FRAME, DEPTH_FRAME))
    _, said = converted(None, '--calibration', path, status=2)
    assert 'with too little valid depth: do the two cameras see the same, and are the extrinsics right?' in said


def test_extrinsics_to_a_frame_that_nothing_links(converted, tmp_path):
    extrinsics = Extrinsics.from_matrix(POSE, IMAGE_FRAME, 'some_other_frame')
    path = calibration_file(tmp_path / 'rig.yaml', extrinsics=extrinsics)
    _, said = converted(Options(tf=False), '--calibration', path, status=2)
    assert f'depth is in the frame {DEPTH_FRAME}, the extrinsics are to some_other_frame' in said


def test_images_that_change_size_in_the_middle(converted):
    samples, said = converted(Options(resized_after=5, infos=True), '--frames', 4)
    assert len(samples) == 1 and '7 of another size than their camera_info' in said


def test_workers_skip_broken_and_finished_bags(tmp_path, capsys):
    for name in ('a', 'b'):
        write_bag(tmp_path / 'bags' / name)
    (tmp_path / 'bags' / 'c').mkdir()
    (tmp_path / 'bags' / 'c' / 'c_0.mcap').write_bytes(b'no bag')
    out = tmp_path / 'out'
    assert convert(tmp_path / 'bags', '--out', out, '--workers', 2) == 2
    said = capsys.readouterr()
    assert 'c_0.mcap' in said.err and '1 of 3 bags were not converted' in said.err
    files = ['README.md', 'a-000000.tar', 'a.json', 'b-000000.tar', 'b.json']
    assert sorted(path.name for path in out.iterdir()) == files
    assert count(out) == 6
    report = json.loads((out / 'a.json').read_text())
    assert report['samples'] == 3 and report['frames'] == 12
    before = {path.name: path.stat().st_mtime_ns for path in out.iterdir()}
    assert convert(tmp_path / 'bags' / 'a', '--out', out) == 0
    assert 'already converted' in capsys.readouterr().out
    assert before == {path.name: path.stat().st_mtime_ns for path in out.iterdir()}
    assert convert(tmp_path / 'bags' / 'a', '--out', out, '--width', 64) == 2
    assert 'converted before, with other settings (settings.' in capsys.readouterr().err


def test_another_recording_of_the_same_name_is_refused(tmp_path, capsys):
    """Nor one that has changed since; a copy of the same recording is the same, wherever it lies."""
    for day, sweeps in enumerate((3, 4)):
        write_bag(tmp_path / f'day{day}' / 'run', Options(sweeps=sweeps))
    out = tmp_path / 'out'
    assert convert(tmp_path / 'day0' / 'run', '--out', out) == 0
    assert convert(tmp_path / 'day1' / 'run', '--out', out) == 2
    (line,) = [line for line in capsys.readouterr().err.splitlines() if line.startswith('dfd: error: ')]
    assert line.startswith(f'dfd: error: {tmp_path}/day1/run: {out}/run.json is of another recording of that name')
    assert f'({tmp_path}/day0/run); rename this one, or give another --out' in line
    assert count(out) == 3
    shutil.copytree(tmp_path / 'day0' / 'run', tmp_path / 'copy' / 'run')
    assert convert(tmp_path / 'copy' / 'run', '--out', out) == 0
    assert 'already converted' in capsys.readouterr().out


def test_a_calibration_that_was_measured_again_is_another_one(tmp_path, capsys):
    """Also for what a kill has left: samples of two calibrations must not come together."""
    bag, path, out = write_bag(tmp_path / 'bag'), calibration_file(tmp_path / 'rig.yaml'), tmp_path / 'out'
    arguments = bag, '--out', out, '--calibration', path
    assert convert(*arguments) == 0
    shards = out / '.bag.partial' / 'shards'
    shards.mkdir(parents=True)
    shutil.move(out / 'bag-000000.tar', shards)
    report = json.loads((out / 'bag.json').read_text())
    (shards.parent / 'job.json').write_text(json.dumps(report['job']))
    path = calibration_file(path, extrinsics=Extrinsics.from_matrix(np.eye(4), IMAGE_FRAME, DEPTH_FRAME))
    assert convert(*arguments) == 2
    assert 'converted before, with other settings (calibration)' in capsys.readouterr().err
    (out / 'bag.json').unlink()
    assert convert(*arguments) == 0
    truth, _ = room(view_at(0.5), POSE)
    difference = np.concatenate([sample.depth for sample in Samples(out)]) / truth - 1
    assert np.nanmax(np.abs(difference)) > 0.01  # through the new extrinsics, which are wrong


def test_a_bag_that_another_process_converts_is_left_to_it_until_the_end(tmp_path):
    bags, out = [write_bag(tmp_path / name) for name in 'ab'], tmp_path / 'out'
    partial = out / '.a.partial'
    partial.mkdir(parents=True)
    lock = locked(partial)
    with ThreadPoolExecutor() as pool:
        status = pool.submit(convert, *bags, '--out', out)
        while not (out / 'b.json').exists():
            assert not status.done()
            time.sleep(0.01)
        assert not (out / 'a.json').exists()
        os.close(lock)  # the process was killed
        assert status.result() == 0
    assert count(out) == 6 and not list(out.glob('.*'))


def test_two_at_once_convert_the_same_bags(tmp_path):
    """Locks are of open files: threads keep each other out as processes do."""
    bags = [write_bag(tmp_path / 'bags' / name, Options(sweeps=1)) for name in 'abc']
    convert_all(bags, Job(tmp_path / 'alone'))
    wanted = {path.name: path.read_bytes() for path in (tmp_path / 'alone').glob('*.tar')}
    for number in range(5):
        job = Job(tmp_path / f'out{number}')
        with ThreadPoolExecutor() as pool:
            both = [pool.submit(convert_all, bags, job) for _ in range(2)]
        assert [result.error for run in both for result in run.result()] == 6 * ['']
        assert sum(result.skipped for run in both for result in run.result()) == 3
        assert {path.name: path.read_bytes() for path in job.out.glob('*.tar')} == wanted and len(wanted) == 3
        assert not list(job.out.glob('.*'))


def test_a_bag_is_flushed_as_a_whole(tmp_path, monkeypatch):
    """On a busy disk, each flush takes tens of milliseconds."""
    fsync, flushed = os.fsync, []

    def counted(handle):
        flushed.append(os.readlink(f'/proc/self/fd/{handle}').rpartition('.')[2])
        fsync(handle)

    bag = write_bag(tmp_path / 'bag')
    monkeypatch.setattr(os, 'fsync', counted)
    assert convert(bag, '--out', tmp_path / 'out') == 0
    assert flushed == ['tar', 'json'] and count(tmp_path / 'out') == 3


def test_what_this_command_has_not_written_stays(tmp_path, capsys):
    bag, out = write_bag(tmp_path / 'bag'), tmp_path / 'out'
    partial = out / '.bag.partial'
    partial.mkdir(parents=True)
    (partial / 'mine').touch()
    assert convert(bag, '--out', out) == 2
    assert f'{partial}/mine: was not written by dfd convert; move it away' in capsys.readouterr().err
    assert [path.name for path in partial.iterdir()] == ['mine']
    (partial / 'mine').unlink()
    (partial / 'shards').mkdir()
    (partial / 'shards' / 'other.tar').touch()
    assert convert(bag, '--out', out) == 2 and (partial / 'shards' / 'other.tar').exists()
    (partial / 'shards' / 'other.tar').unlink()
    assert convert(bag, '--out', out) == 0 and count(out) == 3


@pytest.mark.parametrize('offset', ['nan', 'inf', '-inf', 'soon'])
def test_a_clock_offset_that_is_no_number(tmp_path, capsys, offset):
    bag = write_bag(tmp_path / 'bag')
    assert convert(bag, '--out', tmp_path / 'out', f'--clock-offset={offset}') == 2
    assert capsys.readouterr().err == f'dfd: error: clock offset {offset}: must be seconds or auto\n'
    assert not (tmp_path / 'out').exists()


def test_shards_of_the_work_share_the_bags(tmp_path, capsys):
    for name in 'abc':
        write_bag(tmp_path / 'bags' / name)
    assert convert(tmp_path / 'bags', '--out', tmp_path / 'out', '--shard', '1/2') == 0
    assert sorted(path.name for path in (tmp_path / 'out').glob('*.json')) == ['a.json', 'c.json']
    assert convert(tmp_path / 'bags', '--out', tmp_path / 'out', '--shard', '2/2') == 0
    assert count(tmp_path / 'out') == 9
    assert convert(tmp_path / 'bags', '--out', tmp_path / 'out', '--shard', '3/2') == 2


def test_a_bag_that_was_cut_gives_what_it_has(tmp_path, capsys):
    path = write_bag(tmp_path / 'bag', Options(sweeps=30))
    (file,) = path.glob('*.mcap')
    file.write_bytes(file.read_bytes()[: file.stat().st_size // 2])
    assert convert(path, '--out', tmp_path / 'out') == 0
    assert 10 <= count(tmp_path / 'out') < 30
    assert f'{file}: cut short; read up to byte' in capsys.readouterr().out


def test_a_kill_in_the_middle_and_once_more_gives_the_same(tmp_path):
    write_bag(tmp_path / 'bag', Options(sweeps=20))
    command = [sys.executable, '-m', 'dfd_ros.cli', 'convert', str(tmp_path / 'bag'), '--out']
    process = subprocess.Popen([*command, str(tmp_path / 'out')], stderr=subprocess.DEVNULL)
    parts = tmp_path / 'out' / '.bag.partial' / 'shards' / '.bag.parts'
    while process.poll() is None and len(list(parts.glob('[!.]*.tar')) if parts.exists() else []) < 3:
        time.sleep(0.005)
    process.send_signal(signal.SIGKILL)
    process.wait()
    assert not list((tmp_path / 'out').glob('*.tar'))
    for out in ('out', 'at_once'):
        assert convert(tmp_path / 'bag', '--out', tmp_path / out) == 0
    assert count(tmp_path / 'out') == 20
    for first, second in zip(Samples(tmp_path / 'out'), Samples(tmp_path / 'at_once')):
        np.testing.assert_array_equal(first.images, second.images)
        np.testing.assert_array_equal(first.depth, second.depth)
    assert not [path for path in (tmp_path / 'out').iterdir() if path.name.startswith('.')]
