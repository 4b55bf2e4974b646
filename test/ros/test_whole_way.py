"""From recording on a rig to fine-tuned weights, over DDS: record, convert, train, run, and compare with the sensor."""

import cv2
import numpy as np
import pytest
from tiny_training import TINY

pytest.importorskip('rclpy')
pytest.importorskip('rosbags')

import torch
from command_line import dfd
from ros_processes import wait_until
from sensor_msgs.msg import Image
from std_msgs.msg import Float32

from dfd_ros import networks
from dfd_ros.bags.bag_reader import Bag
from dfd_ros.core.errors import InputError
from dfd_ros.datasets.shards import Samples
from dfd_ros.datasets.stored_stacks import stored_stacks
from dfd_ros.evaluation.evaluation_stacks import folder_stacks
from dfd_ros.evaluation.frame_figures import evaluate
from dfd_ros.inference.estimator import DepthEstimator
from dfd_ros.ros import qos
from dfd_ros.training.config import Stage, TrainingConfig
from dfd_ros.training.loop import train

pytestmark = pytest.mark.slow(reason='from a recording through training to depth from the nodes')
SIZE = 72, 96
STEPS = 4  # focus distances of a sweep


def write_scene(folder, seed):
    """A textured box before a textured wall, with a hole in its depth: an RGB-D image of 96x72."""
    random = np.random.default_rng(seed)
    depth = np.full(SIZE, 2000, np.uint16)
    top, left = random.integers(5, 30, 2)
    depth[top : top + 35, left : left + 45] = 1000
    depth[60:66, 80:86] = 0
    folder.mkdir()
    cv2.imwrite(str(folder / 'color_0.png'), random.integers(20, 236, (*SIZE, 3), np.uint8))
    cv2.imwrite(str(folder / 'depth_0.png'), depth)
    (folder / 'intrinsics.yaml').write_text('{fx: 300.0, fy: 300.0, cx: 47.5, cy: 35.5}\n')


def record(start_node, scene, folder):
    """A bag of some sweeps over a scene."""
    nodes = [
        start_node('recorder', folder=folder, disk_reserve=0),
        start_node('camera', source='rgbd', rgbd_folder=scene, rate=15.0, settle_time=0.01),
        start_node('sweep', steps=STEPS),
    ]

    def recorded():
        try:
            return any(
                Bag(path.parent).counts.get('/image_raw', 0) >= 8 * STEPS for path in folder.glob('*/metadata.yaml')
            )
        except InputError:  # nothing in it yet
            return False

    wait_until(recorded, 'a bag with images')
    for node in nodes:
        assert node.stop() == 0, node.output
    (bag,) = (path.parent for path in folder.glob('*/metadata.yaml'))
    counts = Bag(bag).counts
    assert all(
        counts[f'/rgbd/{topic}']
        for topic in ('color/image_raw', 'color/camera_info', 'depth/image_rect', 'depth/camera_info')
    )
    return bag


def error(weights, held_out):
    """Mean error of u after the last frame of a sweep."""
    found = evaluate(
        DepthEstimator(weights, device='cpu', registration=False), folder_stacks(stored_stacks(held_out)), (STEPS,)
    )
    return found[-1].mae_u


def test_from_the_rig_to_weights_of_its_own(start_node, observer, tmp_path):
    for seed, part in enumerate(('train', 'held_out')):
        write_scene(tmp_path / f'{part}_scene', seed)
        bag = record(start_node, tmp_path / f'{part}_scene', tmp_path / f'{part}_bags')
        assert dfd('convert', bag, '--out', tmp_path / part) == 0
    # A sweep that the recording cuts may be shorter, and the first one can have a frame more.
    sample = Samples(tmp_path / 'train')[0]
    assert len(sample) >= 3 and sample.images.shape[1:3] == SIZE
    # The sensor's depth is the truth, and its hole is still one.
    known = np.isfinite(sample.depth)
    np.testing.assert_allclose(sample.depth[0][known[0]].max(), 2.0, rtol=1e-3)
    assert not known[:, 61:65, 81:85].any() and 0.95 < known.mean() < 1

    torch.manual_seed(0)
    before = tmp_path / 'random.safetensors'
    networks.save(before, networks.create('stream', **TINY))
    config = TrainingConfig(
        name='mine',
        network_config=TINY,
        initial_weights=str(before),
        steps=60,
        warmup=1,
        learning_rate=5e-3,
        precision='fp32',
        ema=0.9,
        stages=(Stage(crop=48, batch=2, frames=3, decode=2),),
        half_size=0.0,
        validate_every=1000,
        validate_stacks=1,
        shards=str(tmp_path / 'train'),
    )
    train(config, tmp_path / 'run', 'cpu')
    after = tmp_path / 'run' / 'last.safetensors'
    assert error(after, tmp_path / 'held_out') < 0.8 * error(before, tmp_path / 'held_out')

    depths = observer.listen(Image, '/mine/depth/image_rect', qos.PUBLISHER)
    figures = [
        observer.listen(Float32, f'/mine/accuracy/{name}', qos.PUBLISHER)
        for name in ('mse', 'rms', 'accuracy', 'abs_rel')
    ]
    namespace = '-r', '__ns:=/mine'
    start_node('accuracy', *namespace)
    start_node('depth', *namespace, weights=after, confidence_threshold=0.0)
    start_node('camera', *namespace, source='rgbd', rgbd_folder=tmp_path / 'held_out_scene', rate=5.0)
    start_node('sweep', *namespace, steps=STEPS)
    wait_until(lambda: len(depths) > 3 and all(len(heard) > 3 for heard in figures), 'depth and its errors')
    message = depths[-1]
    depth = np.frombuffer(message.data, np.float32).reshape(message.height, message.width)
    assert np.isfinite(depth).mean() > 0.5 and depth.shape == SIZE
    mse, rms, accuracy, abs_rel = (heard[-1].data for heard in figures)
    assert 0 < abs_rel < 2 and 0 <= accuracy <= 100 and rms == pytest.approx(mse**0.5, rel=1e-3)
