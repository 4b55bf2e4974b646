"""A depth node that outlives what happens to cameras, clocks, graphics cards and subscribers, over DDS."""

import os
import select
import signal
import subprocess
import sys
import time
from pathlib import Path

import failing_network
import numpy as np
import pytest

pytest.importorskip('rclpy')

from depth_rig import FOCUS, HEIGHT, WIDTH, Rig, array, figures, is_well_again, status, warned, with_header
from rclpy.duration import Duration
from ros_processes import Manager, NodeProcess, spinning, wait_until
from std_msgs.msg import Header

from dfd_ros import networks
from dfd_ros.ros import image_messages
from dfd_ros.ros.nodes.depth import DepthNode
from dfd_ros.ros.synchronisation import nanoseconds

NAMESPACE = '/faults'
SUBSCRIBER = """
import rclpy
from sensor_msgs.msg import Image
rclpy.init()
node = rclpy.create_node('subscriber')
node.create_subscription(Image, '{topic}', lambda image: print('heard', flush=True), 5)
rclpy.spin(node)
"""


@pytest.fixture(scope='module')
def rig(observer, tmp_path_factory):
    folder = tmp_path_factory.mktemp('faults')
    weights, name = folder / 'weights.safetensors', 'failing_network:FailingNetwork'
    networks.save(weights, networks.create(name))
    with pytest.MonkeyPatch.context() as patch:
        support = Path(failing_network.__file__).parent
        patch.setenv('PYTHONPATH', f'{support}{os.pathsep}{os.environ.get("PYTHONPATH", "")}')
        patch.setenv(failing_network.SWITCH, str(folder / 'failure'))
        parameters = {'network': name, 'weights': weights, 'confidence_threshold': 0.0, 'registration': False}
        process = NodeProcess('depth', folder / 'log', '-r', f'__ns:={NAMESPACE}', **parameters)
        rig = Rig(observer, process, NAMESPACE)
        rig.switch = folder / 'failure'
        yield rig
        process.end()


def knows_depth_again(rig):
    wait_until(lambda: np.isfinite(array(rig.answer())).any(), 'depth')


def stamped(rig, seconds):
    """An image with the current time, or a time earlier or later."""
    stamp = rig.observer.node.get_clock().now() + Duration(seconds=seconds)
    return rig.image(Header(stamp=stamp.to_msg(), frame_id='lens'))


def send_stamped(rig, seconds):
    """Images of another clock until one is answered by depth."""
    for _ in range(40):
        image = stamped(rig, seconds)
        rig.send(image)
        time.sleep(0.1)
        if (depth := with_header(rig.depth, image.header)) is not None and np.isfinite(array(depth)).any():
            return
    pytest.fail(f'no depth: {rig.process.output}')


def test_a_camera_that_dies_and_returns(rig):
    is_well_again(rig)
    words = f'nothing on {NAMESPACE}/image_raw and {NAMESPACE}/lens_state for 2 s'
    wait_until(lambda: words in status(rig)[1], 'a warning')
    values = is_well_again(rig)
    assert 's between two stamps' in values['last reset because']


def test_time_that_jumps_there_and_back(rig):
    is_well_again(rig)
    resets = int(figures(rig)['resets'])
    for seconds in (1000, 0):
        send_stamped(rig, seconds)
        values = figures(rig)
        assert int(values['resets']) > resets and 's between two stamps' in values['last reset because']
        resets = int(values['resets'])
    is_well_again(rig)


def test_a_clock_that_stands_still_gives_no_depth_and_is_said(rig):
    """Depth was made of images with the lens states of others."""
    is_well_again(rig)
    image = rig.image()
    for _ in range(3):
        rig.send(image)
        time.sleep(0.1)
    count = len(rig.depth)

    def said():
        rig.send(rig.image(image.header))
        time.sleep(0.02)
        return f'{NAMESPACE}/lens_state stand still at' in rig.process.output

    wait_until(said, 'a warning')
    assert len(rig.depth) <= count + 1  # one may have been on its way
    is_well_again(rig)


def test_another_image_size_amid_the_stream(rig):
    is_well_again(rig)
    for height, width in ((HEIGHT // 2, WIDTH // 2), (HEIGHT, WIDTH)):
        changes = {'height': height, 'width': width, 'step': 3 * width}

        def answered():
            image = rig.image()
            for name, value in (changes | {'data': bytes(image.data)[: 3 * height * width]}).items():
                setattr(image, name, value)
            rig.send(image)
            time.sleep(0.1)
            return with_header(rig.depth, image.header)

        depth = wait_until(answered, 'depth')
        assert (depth.height, depth.width) == (height, width)
    assert f'image size {WIDTH // 2}x{HEIGHT // 2}, then {WIDTH}x{HEIGHT}' in figures(rig)['last reset because']
    knows_depth_again(rig)


@pytest.mark.parametrize('failure', ['out of memory', 'CUDA error: device lost'])
def test_a_graphics_card_that_fails_is_left_for_the_processor(rig, failure):
    knows_depth_again(rig)
    switch = rig.switch
    switch.write_text(failure)
    knows_depth_again(rig)
    assert not switch.exists()
    values = warned(rig, 'depth continues on the CPU')
    assert values['device'] == 'cpu' and int(values['resets']) > 0
    # Another failure is no reason to load the network again.
    switch.write_text(failure)
    refused = int(values['refused'])
    wait_until(lambda: rig.send() and int(figures(rig)['refused']) == refused + 1, 'a refused frame')
    knows_depth_again(rig)
    manager = Manager(rig.observer, rig.name)
    for step in ('deactivate', 'cleanup', 'configure', 'activate'):
        assert manager.change(step)
    is_well_again(rig)


def test_a_subscriber_that_never_reads(rig):
    """Its process stands still, with a reliable subscription."""
    knows_depth_again(rig)
    code = SUBSCRIBER.format(topic=f'{NAMESPACE}/depth/image_rect')
    process = subprocess.Popen([sys.executable, '-c', code], stdout=subprocess.PIPE, text=True)
    try:
        # The graph may show a subscriber before messages reach it.
        wait_until(lambda: rig.answer() and select.select([process.stdout], [], [], 0)[0], 'the subscriber')
        assert process.stdout.readline() == 'heard\n'
        process.send_signal(signal.SIGSTOP)
        for _ in range(30):
            rig.answer()
        assert float(figures(rig)['messages (ms)']) < 1000
    finally:
        process.send_signal(signal.SIGCONT)
        process.terminate()
        process.wait()


def test_max_rate_drops_frames_and_sees_every_focus(rig):
    """Each fifth frame has the same focus."""
    is_well_again(rig)
    assert rig.observer.set_parameter(rig.name, 'max_rate', 4.0).successful
    before, count = figures(rig), len(rig.depth)
    began, foci = time.monotonic(), {}

    def answered():
        """The focus distances of the images with depth, in their order."""
        stamps = [nanoseconds(message.header.stamp) for message in rig.depth[count:]]
        return [foci[stamp] for stamp in stamps if stamp in foci]

    def are_all_seen():
        focus = rig.focus_distance
        foci[nanoseconds(rig.send().stamp)] = focus
        time.sleep(0.05)
        return len(set(answered())) == len(FOCUS)

    wait_until(are_all_seen, 'depth at every focus')
    assert len(answered()) <= 3 * len(FOCUS)
    assert len(rig.depth) - count <= 4 * (time.monotonic() - began) + 4
    assert int(figures(rig)['dropped: max_rate']) > int(before['dropped: max_rate'])
    assert rig.observer.set_parameter(rig.name, 'max_rate', 0.0).successful
    is_well_again(rig)


def test_the_resolution_falls_until_depth_keeps_up(observer, tmp_path, monkeypatch):
    (tmp_path / 'switch').write_text('slow')
    monkeypatch.setenv(failing_network.SWITCH, str(tmp_path / 'switch'))
    networks.save(tmp_path / 'weights', networks.create('failing_network:FailingNetwork'))
    values = {'network': 'failing_network:FailingNetwork', 'weights': tmp_path / 'weights', 'adapt_resolution': 'true'}
    values['reset_gap'] = 600.0  # s; a busy machine sends late
    given = [word for name, value in values.items() for word in ('-p', f'{name}:={value}')]
    node = DepthNode(cli_args=['--ros-args', '-r', '__ns:=/slow', *given])
    try:
        node.start()
        with spinning(node):
            rig, large = Rig(observer, None, '/slow'), np.zeros((160, 240, 3), np.uint8)

            def falls():
                rig.send(image_messages.to_message(large, rig.header()))
                time.sleep(0.05)
                return node._estimator.resolution == 160

            wait_until(falls, 'a lower resolution')
            depth = rig.answer_to(lambda: image_messages.to_message(large, rig.header()))
            assert (depth.height, depth.width) == (160, 240)
            values = figures(rig)
            assert values['resolution (px)'] == '160' and 1 <= int(values['resets']) <= 3
            assert 'ms between two frames' in values['last reset because']
    finally:
        node.destroy_node()
