"""What `dfd view` opens, and what it says of that which it cannot."""

import json
import math
import re

import cv2
import numpy as np
import pytest
from PIL import Image

from dfd_ros.core.errors import InputError
from dfd_ros.core.focal_stack import FocalStack
from dfd_ros.core.lens_state import LensState
from dfd_ros.core.optics import VergenceRange
from dfd_ros.core.sample import Sample
from dfd_ros.datasets.shards import ShardWriter
from dfd_ros.viewing.recorded_scenes import FocalScene, ResultScene, StreamScene, recorded

SIZE = 48, 64
FOCI = math.inf, 2.0, 0.5


def images():
    draw = np.random.default_rng(0)
    return [draw.integers(0, 256, (*SIZE, 3), dtype=np.uint8) for _ in FOCI]


def write_stack(folder, **lens):
    FocalStack(images(), [LensState(focus, **lens) for focus in FOCI]).write(folder)
    return folder


def test_a_focal_stack(tmp_path):
    folder = write_stack(tmp_path / 'desk', focal_length=4e-3, f_number=2.0, pixel_pitch=5e-5)
    for path in (folder, folder / 'stack.yaml'):
        found = recorded(path)
        scene = found.open(0)
        assert found.scenes == [found.title] == ['desk']
        assert isinstance(scene, FocalScene) and scene.range == VergenceRange(0.5, math.inf)
        assert [shot.lens_state.focus_distance for shot in scene.shots] == list(FOCI)
        assert scene.shots[0].camera == pytest.approx((80, 80, 31.5, 23.5, True))


def test_a_folder_of_focal_stacks(tmp_path):
    for name in ('b', 'a'):
        write_stack(tmp_path / name)
    found = recorded(tmp_path)
    assert found.scenes == ['a', 'b']
    scene = found.open(1)
    assert len(scene.shots) == 3 and not scene.shots[0].camera.is_known


def test_a_shard(tmp_path):
    states = [LensState(focus, magnification=1.1, stamp=i) for i, focus in enumerate(FOCI)]
    with ShardWriter(tmp_path, 'rooms') as writer:
        for key in ('0', '1'):
            depth = np.ones((3, *SIZE), np.float32)
            writer.add(key, Sample(np.stack(images()), states, depth, intrinsics=(70.0, 71.0, 30.0, 20.0)))
    for path in (tmp_path, tmp_path / 'rooms-000000.tar'):
        found = recorded(path)
        assert found.scenes == ['rooms-000000.tar/0', 'rooms-000000.tar/1']
        scene = found.open(1)
        assert scene.shots[0].camera == pytest.approx((77, 78.1, 30, 20, True))
        assert math.isnan(scene.shots[1].lens_state.stamp), 'a stack is one stream, however slow it was'


@pytest.mark.parametrize('compressed', [False, True])
def test_a_bag(tmp_path, compressed):
    pytest.importorskip('rosbags')
    from recorded_rig import FOCUS, Options, view_at, write_bag

    bag = write_bag(tmp_path / 'bag', Options(sweeps=2, unsettled=1, compressed=compressed))
    scene = recorded(bag).open(0)
    assert isinstance(scene, StreamScene)
    for _ in range(2):  # from the start each time
        shots = list(scene.shots())
        assert [shot.lens_state.focus_distance for shot in shots] == 2 * list(FOCUS[1:]), 'the first had a moving focus'
        assert shots[0].image.shape == (96, 128, 3)
        assert shots[0].camera.fx == pytest.approx(view_at(FOCUS[1]).fx)


def test_a_bag_of_a_lens_with_distortion(tmp_path):
    """Points are those of a pinhole camera, so the images must be, too; those on image_rect are already."""
    pytest.importorskip('rosbags')
    from recorded_rig import Options, write_bag

    distortion = -0.3, 0.1, 0.001, 0.0, 0.0
    shots = []
    for name in ('image_raw', 'image_rect'):
        bag = write_bag(tmp_path / name, Options(distortion=distortion, image_topic=f'/{name}'))
        shots.append(next(recorded(bag, {'image': f'/{name}'}).open(0).shots()))
    raw, rectified = shots
    assert raw.camera == rectified.camera and raw.camera.is_known
    fx, fy, cx, cy, _ = raw.camera
    matrix = np.array([[fx, 0, cx], [0, fy, cy], [0, 0, 1]])
    expected = cv2.undistort(rectified.image, matrix, np.array(distortion))
    assert np.abs(raw.image.astype(int) - expected).mean() < 1 < np.abs(raw.image.astype(int) - rectified.image).mean()


def test_a_bag_whose_topics_are_not_found(tmp_path):
    pytest.importorskip('rosbags')
    from recorded_rig import Options, messages, write_bag

    every = list(messages(Options(sweeps=1)))
    bags = {
        'no lens states': [item for item in every if item[0] != '/lens_state'],
        'two cameras': every + [('/left' + item[0], *item[1:]) for item in every if item[0] == '/lens_state'],
        'images elsewhere': [('/eye/picture' if t == '/image_raw' else t, s, m) for t, s, m in every],
    }
    paths = {name: write_bag(tmp_path / str(i), recorded=items) for i, (name, items) in enumerate(bags.items())}
    with pytest.raises(InputError, match='0: no topic of type dfd_ros/msg/LensState in it'):
        recorded(paths['no lens states'])
    with pytest.raises(InputError, match='lens states on /left/lens_state, /lens_state; give one as --lens-state-t'):
        recorded(paths['two cameras'])
    with pytest.raises(InputError, match='no images on /image_raw; give the topic as --image-topic: /eye/picture'):
        recorded(paths['images elsewhere'])
    found = recorded(paths['images elsewhere'], {'image': '/eye/picture'})
    assert len(list(found.open(0).shots())) == 4


def test_a_bag_without_pairs(tmp_path):
    pytest.importorskip('rosbags')
    from recorded_rig import Options, lens_message, messages, write_bag

    late = [
        (topic, time, lens_message(1.0, time + 0.01) if topic == '/lens_state' else message)
        for topic, time, message in messages(Options(sweeps=1))
    ]
    scene = recorded(write_bag(tmp_path / 'late', recorded=late)).open(0)
    with pytest.raises(InputError, match='no image on /image_raw has a lens state on /lens_state within 0.002 s'):
        next(scene.shots())


def write_results(folder, summary=None):
    folder.mkdir()
    depth = np.linspace(0.5, 2.0, SIZE[0] * SIZE[1], dtype=np.float32).reshape(SIZE)
    depth[0] = np.nan
    np.save(folder / 'depth.npy', depth)
    np.save(folder / 'confidence.npy', np.full(SIZE, 0.6, np.float32))
    np.save(folder / 'coc.npy', np.stack([np.full(SIZE, i, np.float32) for i in range(3)]))
    Image.fromarray(images()[0]).save(folder / 'all_in_focus.png')
    if summary is not None:
        (folder / 'summary.json').write_text(json.dumps(summary))
    return folder


def test_results_of_dfd_estimate(tmp_path):
    scene = recorded(write_results(tmp_path / 'plain')).open(0)
    assert isinstance(scene, ResultScene)
    frame = scene.frame
    assert not frame.camera.is_known and frame.coc.max() == 2
    assert 0.5 <= frame.range.near < 0.6 < 1.9 < frame.range.far <= 2.0
    lens = {'focal_length_mm': 4.0, 'pixel_pitch_um': 50.0}
    summary = {'range_m': {'near': 0.4, 'far': 'inf'}, 'lens': lens}
    frame = recorded(write_results(tmp_path / 'told', summary)).open(0).frame
    assert frame.range == VergenceRange(0.4, math.inf) and frame.camera == pytest.approx((80, 80, 31.5, 23.5, True))
    (tmp_path / 'plain' / 'all_in_focus.png').unlink()
    assert recorded(tmp_path / 'plain').open(0).frame.image.shape == (*SIZE, 3)


def test_results_that_do_not_fit(tmp_path):
    folder = write_results(tmp_path / 'r')
    np.save(folder / 'confidence.npy', np.zeros((3, 4), np.float32))
    with pytest.raises(InputError, match=r'confidence.npy: float32 \(3, 4\), must be float32 \(48, 64\)'):
        recorded(folder).open(0)
    np.save(folder / 'depth.npy', np.full(SIZE, np.nan, np.float32))
    (folder / 'confidence.npy').unlink()
    with pytest.raises(InputError, match='depth.npy: no depth is known in it'):
        recorded(folder).open(0)
    Image.fromarray(images()[0][:40]).save(folder / 'all_in_focus.png')
    with pytest.raises(InputError, match='all_in_focus.png: 64x40 pixels, but depth.npy has 64x48'):
        recorded(folder).open(0)


def test_a_folder_of_photographs_without_focus_distances(tmp_path):
    for i, image in enumerate(images()):
        Image.fromarray(image).save(tmp_path / f'{i}.png')
    with pytest.raises(InputError, match='no focal stack'):  # they show nothing of the same scene
        recorded(tmp_path).open(0)


def test_relative_results(tmp_path):
    folder = write_results(tmp_path / 'r', {'metric': False})
    np.save(folder / 'relative_depth.npy', np.linspace(0, 1, SIZE[0] * SIZE[1], dtype=np.float32).reshape(SIZE))
    (folder / 'depth.npy').unlink()
    scene = recorded(folder).open(0)
    assert not scene.is_metric and scene.frame.range == VergenceRange(1.0, math.inf)
    assert scene.frame.depth[0, 0] == math.inf and scene.frame.depth[-1, -1] == 1
    assert 1 <= np.nanmin(scene.frame.in_space.depth) < 1.01 and np.nanmax(scene.frame.in_space.depth) == 2


def test_relative_stacks(tmp_path):
    folder = write_stack(tmp_path / 'desk')
    text = (folder / 'stack.yaml').read_text()
    (folder / 'stack.yaml').write_text(re.sub(r'focus_distance_m: [^},]+', 'focus_distance_m: null', text))
    with open(folder / 'stack.yaml', 'a') as file:
        file.write('order: near_to_far\n')
    scene = recorded(folder).open(0)
    assert not scene.is_metric and scene.range == VergenceRange(1.0, math.inf)
    assert [shot.lens_state.focus_distance for shot in scene.shots] == [1.0, 2.0, math.inf]
    assert not scene.shots[0].camera.is_known


def test_what_cannot_be_viewed(tmp_path):
    (tmp_path / 'notes.txt').write_text('hello')
    (tmp_path / 'pictures').mkdir()
    with pytest.raises(InputError, match='nowhere: no such file or folder; give a focal stack'):
        recorded(tmp_path / 'nowhere')
    for name in ('notes.txt', 'pictures'):
        with pytest.raises(InputError, match=name):
            recorded(tmp_path / name).open(0)
    (tmp_path / 'pictures' / 'demo.mp4').touch()
    with pytest.raises(InputError, match='nothing to view but pictures and a video, demo.mp4; give a focal stack'):
        recorded(tmp_path / 'pictures')
