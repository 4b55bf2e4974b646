"""dfd inspect on every kind of file that the package writes, and on what is none."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from command_line import dfd
from focus_pictures import HEIGHT, WIDTH, save_all, sweep
from PIL import Image

from dfd_ros import networks
from dfd_ros.bags.bag_writer import BagWriter, Topic
from dfd_ros.bags.message_types import typestore
from dfd_ros.calibration.calibration_file import Calibration, FocusMap, FocusMotion
from dfd_ros.core.focal_stack import FocalStack
from dfd_ros.core.lens_state import LensState
from dfd_ros.core.sample import Sample
from dfd_ros.core.version import __version__
from dfd_ros.datasets.shards import Samples, ShardWriter

CALIBRATIONS = Path(__file__).resolve().parents[1] / 'data' / 'calibrations'
MADE = f'dfd_ros {__version__}, '
"""How the line about what made a file begins."""
IMAGES = np.zeros((3, 48, 64, 3), np.uint8)
STATES = [LensState(distance, 4e-3, 2.0, 2e-6) for distance in (2.0, 1.0, 0.5)]


@pytest.fixture
def printed(capsys):
    def inspect(path):
        assert dfd('inspect', path) == 0
        return capsys.readouterr().out

    return inspect


def test_weights(random_weights, printed):
    text = printed(random_weights)
    assert 'kind        weights\n' in text and 'network     stream\n' in text
    assert 'config      channels: [8, 8, 8, 8]\n            hypotheses: 6\n' in text


def test_what_controls_a_terminal_is_shown_as_text(tmp_path, printed):
    settings = {'steps': '\x1b[31m5\x07', 'evil\nname': '1'}
    torch.save({'step': 40, 'best': 0.5, 'settings': settings}, tmp_path / 'checkpoint.pt')
    text = printed(tmp_path / 'checkpoint.pt')
    assert '\\x1b[31m5\\x07' in text and 'evil\\nname  1\n' in text and '\x1b' not in text


def test_checkpoint(tmp_path, printed):
    settings = {'steps': '100', 'data.frames': '5'}
    torch.save({'step': 40, 'best': 0.5, 'seconds': 7200.0, 'settings': settings}, tmp_path / 'checkpoint.pt')
    for path, kind in ((tmp_path / 'checkpoint.pt', 'checkpoint'), (tmp_path, 'training run')):
        text = printed(path)
        assert f'kind         {kind}\n' in text and 'step         40\n' in text
        assert 'time         2.00 h\n' in text and 'data.frames  5\n' in text


def test_focal_stack(tmp_path, printed):
    FocalStack(list(IMAGES), STATES, np.ones((48, 64), np.float32)).write(tmp_path / 'stack')
    text = printed(tmp_path / 'stack')
    assert 'frames      3 of 64x48\nfocus       2, 1, 0.5 m\n' in text
    assert 'lens        f = 4 mm, f-number 2, pixels of 2 um\ntrue depth  yes\n' in text


def test_photographs_without_focus_distances(tmp_path, printed):
    """Held upright, and once their stack.yaml waits to be completed."""
    folder = save_all(tmp_path / 'my desk', sweep(4), Orientation=6)
    text = printed(folder)
    assert f'IMG_1.jpg to IMG_4.jpg, {HEIGHT}x{WIDTH}\n' in text and "dfd stack init '" in text
    assert dfd('stack', 'init', folder) == 0
    text = printed(folder)
    assert 'focus       distances unknown, only the order of the frames\nlens        unknown\n' in text


def test_shard(tmp_path, printed):
    sample = Sample(IMAGES, STATES, np.ones((3, 48, 64), np.float32), source='bag', about={'offset': 0.02})
    with ShardWriter(tmp_path / 'shards', 'set') as writer:
        writer.add('000', sample)
    text = printed(tmp_path / 'shards')
    assert 'samples       1\n' in text and 'first sample  3 frames of 64x48\n' in text
    assert 'truth         depth\nsource        bag\n' in text and 'offset        0.02\n' in text


@pytest.mark.parametrize('metadata', ['rosbag2_bagfile_information: 1.5', '7', 'a: [', '[rosbag2_bagfile_information]'])
def test_damaged_metadata_of_a_bag_is_not_needed(tmp_path, printed, metadata):
    bag = BagWriter(tmp_path / 'bag', [Topic('/a', 'std_msgs/msg/String')])
    bag.write(0, 1, typestore().serialize_cdr(typestore().types['std_msgs/msg/String']('a'), 'std_msgs/msg/String'))
    bag.close()
    (tmp_path / 'bag' / 'metadata.yaml').write_text(metadata)
    assert '/a    1 std_msgs/msg/String\n' in printed(tmp_path / 'bag')


@pytest.mark.slow(reason='files of every kind are written and read')
def test_what_made_a_file(tmp_path, printed, random_weights):
    """Weights, their export, a checkpoint, a shard, a stack, a calibration and a bag."""
    from dfd_ros.training import checkpoint

    networks.save(tmp_path / 'a.safetensors', networks.load(random_weights), {'inputs': '{"shards": "2 files, ab12"}'})
    network = torch.nn.Linear(1, 1)
    average, optimiser = torch.optim.swa_utils.AveragedModel(network), torch.optim.Adam(network.parameters())
    checkpoint.save(
        tmp_path / 'a.pt', network, average, optimiser, checkpoint.Position(), {'content of shards': 'ab12'}
    )
    with ShardWriter(tmp_path / 'shards', 'set') as writer:
        job = {'calibration': 'ab12', 'settings': {'frames': 6}}
        writer.add('0', Sample(IMAGES, STATES, np.ones((3, 48, 64), np.float32), about={'job': job}))
    FocalStack(list(IMAGES), STATES).write(tmp_path / 'stack')
    Calibration().write(tmp_path / 'calibration.yaml')
    bag = BagWriter(tmp_path / 'bag', [Topic('/a', 'std_msgs/msg/String')])
    bag.write(0, 1, typestore().serialize_cdr(typestore().types['std_msgs/msg/String']('a'), 'std_msgs/msg/String'))
    bag.close()
    (tmp_path / 'b.json').write_text(
        json.dumps({'summary': 'all', 'job': job, 'made_by': {'dfd_ros': __version__, 'python': '3'}})
    )
    for name in ('a.safetensors', 'a.pt', 'shards', 'stack', 'calibration.yaml', 'bag', 'b.json'):
        text = printed(tmp_path / name)
        made = [line for line in text.splitlines() if line.startswith('made by ')]
        assert len(made) == 1 and made[0].split(None, 2)[2].startswith(MADE) and ', python 3' in made[0], name
    assert '2 files, ab12' in printed(tmp_path / 'a.safetensors') and 'ab12' in printed(tmp_path / 'a.pt')
    assert 'calibration: ab12\n' in printed(tmp_path / 'shards') and 'settings: {frames: 6}' in printed(
        tmp_path / 'shards'
    )
    assert 'kind     report of dfd convert\n' in printed(tmp_path / 'b.json')


def test_a_sample_that_is_written_again_keeps_what_made_it(tmp_path):
    sample = Sample(IMAGES, STATES, np.ones((3, 48, 64), np.float32), about={'made_by': {'dfd_ros': '0.0.1'}})
    with ShardWriter(tmp_path, 'set') as writer:
        writer.add('0', sample)
    assert Samples(tmp_path)[0].about == {'made_by': {'dfd_ros': '0.0.1'}}


def test_photographs(tmp_path, printed):
    rng = np.random.default_rng(0)
    for number in range(3):
        Image.fromarray(rng.integers(0, 255, (48, 64, 3), np.uint8)).save(tmp_path / f'IMG_{number}.png')
    text = printed(tmp_path)
    assert 'kind         photographs\nphotographs  3, IMG_0.png to IMG_2.png, 64x48\n' in text
    assert 'focal stack  no: ' in text and 'shows another scene' in text


def test_training_configuration(printed):
    text = printed('config/training/fine_tune.yaml')
    assert 'kind              training configuration\n' in text and 'learning_rate     ' in text


@pytest.mark.parametrize(
    'name, kind, camera',
    [
        ('camchain.yaml', 'Kalibr', 'cam1 /rgbd/color/image_raw  752x480, fx 461.629'),
        ('ost.yaml', 'camera_calibration', 'rectified: fx 531.821'),
        ('opencv_fisheye.json', 'OpenCV', 'equidistant: 0.0218'),
        ('opencv_stereo.xml', 'OpenCV', '1 to 2  - ['),
    ],
)
def test_calibration_of_other_programs(printed, name, kind, camera):
    text = printed(CALIBRATIONS / name)
    assert f' calibration of {kind}\n' in text and camera in text


def test_calibration(tmp_path, printed):
    motion = FocusMotion(latency_frames=3)
    Calibration(focus=FocusMap((0.0, 250.0), (float('inf'), 0.1)), motion=motion).write(tmp_path / 'calibration.yaml')
    text = printed(tmp_path / 'calibration.yaml')
    assert 'latency_frames: 3' in text and 'not measured' in text and '250.0' in text


def test_onnx(random_weights, tmp_path, printed):
    onnx = pytest.importorskip('onnx')
    from onnx import TensorProto, helper

    value = helper.make_tensor_value_info('image', TensorProto.FLOAT, [1, 3, 'rows', 64])
    node = helper.make_node('Identity', ['image'], ['vergence'])
    model = helper.make_model(helper.make_graph([node], 'step', [value], [value]))
    helper.set_model_props(model, {'dfd_ros': '{"network": "stream"}'})
    onnx.save(model, tmp_path / 'network.onnx')
    text = printed(tmp_path / 'network.onnx')
    assert 'dfd_ros  {network: stream}\n' in text and 'inputs   image (1, 3, rows, 64)\n' in text


@pytest.mark.parametrize(
    'name, content, says',
    [
        ('nothing', None, 'nothing: no such file'),
        ('empty/', None, 'neither a focal stack'),
        ('a.txt', b'', 'dfd inspect does not know this kind of file'),
        ('a.safetensors', b'abc', 'not a complete safetensors file'),
        ('a.pt', b'abc', 'not a complete checkpoint'),
        ('a.onnx', b'abc', 'not a complete ONNX file'),
        ('b.onnx', b'', 'not a complete ONNX file (it has no graph)'),
        ('a.tar', b'abc', 'truncated or not a tar file'),
        ('a.tar', bytes(10240), 'no sample in it; create it again'),
        ('a.mcap', b'abc', 'a.mcap'),
        ('a.yaml', b'[', 'a.yaml'),
        ('b.yaml', b'a: 3', 'b.yaml: neither a calibration of dfd calibrate, camera_calibration'),
        ('metadata.yaml', b'a: 3', 'metadata.yaml: part of a bag; inspect its folder: dfd inspect '),
        ('a.json', b'{"a": 3}', 'a.json: neither a calibration'),
        ('b.json', b'{', 'b.json: not JSON'),
        ('a.xml', b'<a/>', 'a.xml: '),
    ],
)
def test_what_is_none_of_these(tmp_path, capsys, name, content, says):
    path = tmp_path / name
    if name.endswith('/'):
        path.mkdir()
    elif content is not None:
        path.write_bytes(content)
    assert dfd('inspect', path) == 2
    error = capsys.readouterr().err
    assert says in error and error.count('\n') == 1
