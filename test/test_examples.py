"""The scripts of examples/, run as a user runs them, and the stack that ships there."""

import itertools
import os
import subprocess
import sys
import threading
import time
from pathlib import Path

import cv2
import numpy as np
import pytest
from focus_pictures import sweep
from PIL import Image

from dfd_ros.core.focal_stack import FocalStack
from dfd_ros.core.lens_state import LensState
from dfd_ros.photographs import read_focal_stack

ROOT = Path(__file__).resolve().parents[1]
EXAMPLES = ROOT / 'examples'
STACK = EXAMPLES / 'push_button'


def run(script, *arguments, folder=ROOT):
    command = [sys.executable, EXAMPLES / script, *map(str, arguments)]
    done = subprocess.run(command, capture_output=True, text=True, cwd=folder)
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.fixture
def metric_stack(tmp_path):
    depth = np.full((180, 240), 1.0, np.float32)
    states = [LensState(focus, 0.005, 2.0, 5e-6) for focus in (3.0, 1.5, 1.0, 0.75)]
    for i in range(6):
        FocalStack(sweep(4, seed=i), states, depth).write(tmp_path / 'stacks' / f'{i}')
    return tmp_path / 'stacks' / '0'


def test_the_stack_is_small_and_its_order_is_found():
    assert sum(path.stat().st_size for path in STACK.iterdir()) < 2**20
    assert 'Petteri Aimonen' in (STACK / 'LICENSE').read_text()
    stack = read_focal_stack(STACK)
    assert len(stack) == 10 and not stack.is_metric
    # The files go from the board to the top of the button, which is nearer.
    np.testing.assert_array_equal(stack.images[0], np.asarray(Image.open(STACK / '00.jpg')))


def test_every_script_is_listed_and_tested():
    listed = (EXAMPLES / 'README.md').read_text()
    here = Path(__file__).read_text()
    for script in EXAMPLES.glob('*.[pc]*'):
        assert f'examples/{script.name}' in listed and f"'{script.name}'" in here


@pytest.mark.slow(reason='a process that loads torch')
def test_library(random_weights, metric_stack):
    said = run('library.py', '--weights', random_weights)
    assert '10 frames; order of sharpness' in said and said.count('after frame') == 10
    assert 'relative depth' in said or 'nothing is known' in said
    said = run('library.py', metric_stack, '--weights', random_weights)
    assert '4 frames; stack.yaml' in said and ('median depth' in said or 'nothing is known' in said)


@pytest.mark.slow(reason='a network is exported, and run in a process of its own')
def test_onnx(metric_stack, tmp_path):
    pytest.importorskip('onnxruntime')
    pytest.importorskip('onnxscript')
    from sharpest_focus import SharpestFocus

    from dfd_ros.inference.onnx_export import export_onnx

    export_onnx(SharpestFocus(), tmp_path / 'fixed.onnx', (96, 128))
    said = run('onnx_runtime.py', tmp_path / 'fixed.onnx', folder=tmp_path)
    assert said.count('confidence') == 10 and 'vergence.png: 128x96' in said and 'median depth' not in said
    assert Image.open(tmp_path / 'vergence.png').size == (128, 96)
    said = run('onnx_runtime.py', tmp_path / 'fixed.onnx', metric_stack, folder=tmp_path)
    assert 'focus 0.00' in said and 'focus 1.00' in said and 'median depth' in said


@pytest.fixture(scope='module')
def onnx_program(tmp_path_factory):
    """The C++ example, built with the headers of ONNX Runtime in $ONNXRUNTIME and the library of its wheel."""
    onnxruntime = pytest.importorskip('onnxruntime')
    root = Path(os.environ.get('ONNXRUNTIME', '/usr'))
    include = next(iter(root.glob('include/**/onnxruntime_cxx_api.h')), None)
    if include is None:
        pytest.skip('no headers of ONNX Runtime, which wheels lack; give the folder above them as ONNXRUNTIME')
    folder = tmp_path_factory.mktemp('program')
    (library,) = (Path(onnxruntime.__file__).parent / 'capi').glob('libonnxruntime.so.*')
    for name in ('libonnxruntime.so', 'libonnxruntime.so.1'):
        (folder / name).symlink_to(library)
    command = ['c++', '-std=c++17', '-Wall', '-Wextra', '-Werror', '-isystem', include.parent, f'-L{folder}']
    source = EXAMPLES / 'onnx_runtime.cpp'
    subprocess.run([*command, source, '-o', folder / 'depth', f'-Wl,-rpath,{folder}', '-lonnxruntime'], check=True)
    return folder / 'depth'


@pytest.mark.slow(reason='a program is compiled and a network is exported')
def test_onnx_in_cpp(onnx_program, random_weights, metric_stack, tmp_path):
    import torch

    from dfd_ros import networks
    from dfd_ros.inference.backends import OnnxBackend, to_tensor
    from dfd_ros.inference.onnx_export import export_onnx

    stack, model = FocalStack.read(metric_stack), tmp_path / 'network.onnx'
    export_onnx(networks.load(random_weights), model, (96, 128))
    near, far, blur_scale = 0.75, 3.0, 12.5
    images = [np.ascontiguousarray(image[:96, :128]) for image in stack.images]
    arguments, state, backend = [], [], OnnxBackend(model, torch.device('cpu'))
    for i, (image, lens) in enumerate(zip(images, stack.lens_states)):
        Image.fromarray(image).save(tmp_path / f'{i}.ppm')
        arguments += [lens.focus_distance, tmp_path / f'{i}.ppm']
        v = (1 / lens.focus_distance - 1 / far) / (1 / near - 1 / far)
        step = to_tensor(image, backend.device), torch.tensor([v]), torch.tensor([blur_scale])
        prediction, *state = backend(*step, *state)

    def depth(*arguments):
        command = [onnx_program, model, near, far, blur_scale, tmp_path / 'depth.pfm', *arguments]
        return subprocess.run([str(part) for part in command], capture_output=True, text=True)

    done = depth(*arguments)
    assert done.returncode == 0 and done.stdout.count('% of the pixels') == 4, done.stderr
    found = cv2.imread(str(tmp_path / 'depth.pfm'), cv2.IMREAD_UNCHANGED)
    u = prediction.vergence[0, 0].numpy()
    confidence = -np.expm1(-0.05 / np.exp(prediction.log_scale[0, 0].numpy()))
    wanted = np.where(confidence < 0.3, np.nan, 1 / (1 / far + u * (1 / near - 1 / far)))
    assert np.isfinite(wanted).any()
    np.testing.assert_allclose(found, wanted, rtol=1e-4)

    Image.fromarray(images[0][:50]).save(tmp_path / '0.ppm')
    done = depth(*arguments)
    assert done.returncode == 1 and '0.ppm: must have the 128x96 px of the network' in done.stderr
    assert depth(0.5).returncode == 2


@pytest.mark.slow(reason='a small network is trained in a process of its own')
def test_fine_tuning(random_weights, metric_stack, tmp_path):
    out = tmp_path / 'run'
    said = run('fine_tune.py', metric_stack.parent, '--steps', 2, '--weights', random_weights, '--out', out)
    assert '6 stacks' in said and f'weights: {out / "best.safetensors"}' in said
    assert (out / 'best.safetensors').stat().st_size > 0


def test_ros_subscriber(observer):
    from ros_processes import wait_until
    from sensor_msgs.msg import Image as ImageMessage
    from std_msgs.msg import Header

    from dfd_ros.ros import image_messages, qos

    process = subprocess.Popen([sys.executable, EXAMPLES / 'ros_subscriber.py'], stdout=subprocess.PIPE, text=True)
    lines: list[str] = []

    def read():
        for line in process.stdout:
            lines.append(line)

    reader = threading.Thread(target=read)
    reader.start()
    try:
        depth, confidence = (
            observer.publisher(ImageMessage, topic, qos.PUBLISHER) for topic in ('depth/image_rect', 'confidence/image')
        )
        seconds = itertools.count(1)

        def answers(distance, certain, line):
            """Publishes a frame; whether one of this kind has been answered. The first ones may be lost."""
            header = Header()
            header.stamp.sec = next(seconds)
            depth_map = np.full((30, 40), 9.0, np.float32)
            depth_map[10:20, 14:26] = distance
            depth.publish(image_messages.to_message(depth_map, header))
            confidence.publish(image_messages.to_message(np.full((30, 40), certain, np.float32), header))
            time.sleep(0.1)
            return lines and lines[-1] == f'{line}\n'

        for distance, certain, line in (
            (1.25, 0.9, '1.25 m'),
            (np.nan, 0.9, 'unknown'),
            (0.5, 0.9, '0.50 m'),
            (7.0, 0.1, 'unknown'),
        ):
            wait_until(lambda: answers(distance, certain, line), f'"{line}" of the example')
        assert set(lines) == {'1.25 m\n', '0.50 m\n', 'unknown\n'}
    finally:
        process.terminate()
        process.wait(30)
        reader.join()
