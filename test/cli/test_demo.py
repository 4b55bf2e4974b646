"""The demo and `dfd run`: figures, pictures and video; nodes as processes that end when they should."""

import math
import os
import pickle
import re
import signal
import subprocess
import sys
import time
import uuid
from pathlib import Path

import command_line
import cv2
import numpy as np
import pytest
import yaml

from dfd_ros.cli import demo
from dfd_ros.core import sweeps
from dfd_ros.core.errors import InputError
from dfd_ros.core.focus_device import DEVICES
from dfd_ros.core.optics import VergenceRange
from dfd_ros.core.resources import resource
from dfd_ros.ros import launch_arguments, node_processes
from dfd_ros.ros.monitoring import run_pictures
from dfd_ros.ros.monitoring.run_figures import HEADER, HEADER_OF_ERRORS, Figures, quality
from dfd_ros.ros.monitoring.run_frames import FRAMES, WIDTH, Recording

pytestmark = pytest.mark.slow(reason='whole recordings are drawn')

RANGE = VergenceRange(0.2, 2.0)


def depth_of(u):
    return RANGE.denormalise(np.asarray(u, np.float32)).astype(np.float32)


# Figures


def test_quality_counts_known_pixels_within_the_range():
    truth = depth_of([0.1, 0.5, 0.5, 0.9, 0.5])
    truth[4] = 0.1  # nearer than the sweep reaches
    depth = depth_of([0.1, 0.6, np.nan, 0.8, 0.0])
    result = quality(depth, truth, RANGE)
    assert result.valid == 3 / 4
    assert result.mae == pytest.approx(0.2 / 3, abs=1e-6)
    compared = [0, 1, 3]
    assert result.abs_rel == pytest.approx(np.mean(np.abs(depth - truth)[compared] / truth[compared]), rel=1e-5)
    assert result.accuracy == 100.0


def test_infinite_depth_counts_as_far_not_as_unknown():
    result = quality(np.float32([np.inf, np.inf]), depth_of([0.0, 0.5]), RANGE)
    beyond = (1 / RANGE.far) / RANGE.width  # u of infinity lies so far below 0
    assert result.valid == 1.0
    assert result.mae == pytest.approx((beyond + (0.5 + beyond)) / 2, rel=1e-5)


def test_without_truth_or_range_only_coverage_is_reported():
    depth = np.float32([[1, np.nan], [np.nan, np.nan]])
    for result in (quality(depth, None, RANGE), quality(depth, depth, None)):
        assert result.valid == 0.25 and math.isnan(result.mae)
    assert quality(np.float32([np.nan]), np.float32([1.0]), RANGE).valid == 0.0


def test_lines_tell_the_last_span_and_the_summary_all():
    figures = Figures()
    for u in (0.5, 0.6, 0.7):
        figures.add(0.1, quality(depth_of([u]), depth_of([0.5]), RANGE))
    assert '0.100' in figures.line(1.0, 1.0) and len(figures.line(2.0, 1.0)) < len(HEADER)
    figures.add(0.3, quality(depth_of([0.5]), depth_of([0.5]), RANGE))
    line = figures.line(3.0, 2.0)
    assert line.split()[:6] == ['3', 's', '0.5', 'Hz', '300', 'ms'] and '0.000' in line
    assert len(line) == len(HEADER + HEADER_OF_ERRORS)
    figures.add(0.3, quality(depth_of([0.5]), None, RANGE))
    assert len(figures.line(4.0, 1.0)) == len(HEADER)
    assert '5 depth images, 1.2 Hz, latency 180 ms' in figures.summary(4.0)
    assert 'MAE of u 0.075' in figures.summary(4.0)
    assert Figures().summary(1.0) == 'no depth image'


def test_figures_do_not_grow_with_the_run(monkeypatch):
    monkeypatch.setattr('dfd_ros.ros.monitoring.run_figures.LATENCIES', 100)
    figures, frame, sizes = Figures(), quality(depth_of([0.5]), depth_of([0.5]), RANGE), []
    for _ in range(10):
        for _ in range(100):
            figures.add(0.1, frame)
        sizes.append(len(pickle.dumps(figures)))
    assert sizes[-1] < sizes[0] + 20 and '1000 depth images' in figures.summary(1.0)
    figures.add(math.nan, frame)
    assert 'latency 100 ms (95 %: 100 ms)' in figures.summary(1.0)


# Recording and pictures


def record(frames=23, size=(64, 48), truth=True):
    """Ramps of five over a slanted plane with a hole in what is known of it."""
    recording, (width, height) = Recording(RANGE), size
    u = np.linspace(0, 1, width, dtype=np.float32)[None].repeat(height, 0)
    image = np.random.default_rng(0).integers(0, 256, (height, width, 3), np.uint8)
    for i in range(frames):
        focus = sweeps.ramp(RANGE, 5)[i % 5]
        depth = depth_of(u + 0.05)
        depth[:8] = np.nan
        coc = 12 * np.abs(u - RANGE.normalise(focus))
        recording.add(0.1 * i, focus, image, depth, coc, np.full_like(u, 0.7), depth_of(u) if truth else None)
    return recording


def test_the_last_sweep_is_the_last_whole_ramp():
    sweep = record(23).last_sweep()  # ends in the middle of a ramp
    assert [frame.focus_distance for frame in sweep] == sweeps.ramp(RANGE, 5)
    assert sweep[-1].time_s == pytest.approx(1.9)
    recording = record(10)
    recording.frames.append(recording.frames[-1])  # a command that two frames have answered
    assert [frame.focus_distance for frame in recording.last_sweep()] == sweeps.ramp(RANGE, 5)


def test_a_recording_keeps_the_last_frames_and_small_ones():
    recording = record(FRAMES + 7, size=(16, 12))
    assert len(recording.frames) == FRAMES and recording.frames[0].time_s == pytest.approx(0.7)
    assert recording.rate == pytest.approx(10.0)
    large = record(1, size=(2 * WIDTH, WIDTH)).frames[0]
    assert large.image.shape == (WIDTH // 2, WIDTH, 3) and large.coc.shape == (WIDTH // 2, WIDTH)
    assert np.isnan(large.vergence[0, 0]) and large.error[-1, 0] == pytest.approx(0.05, abs=2e-3)


@pytest.mark.parametrize('truth', [True, False])
def test_pictures_and_video_are_whole(tmp_path, truth):
    recording = record(12, truth=truth)
    names = run_pictures.write(recording, tmp_path, 'summary')
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted(names) == ['demo.gif', 'demo.mp4', 'overview.png']
    video = cv2.VideoCapture(str(tmp_path / 'demo.mp4'))
    assert video.get(cv2.CAP_PROP_FPS) == pytest.approx(10.0, rel=0.01)
    frames = []
    while (read := video.read())[0]:
        frames.append(read[1])
    assert len(frames) == 12
    assert frames[0].shape[1::-1] == run_pictures.VideoFrames(recording).size
    assert cv2.imread(str(tmp_path / 'overview.png')).shape[1] == 1600


def test_colours_stay_and_the_focus_marker_moves():
    recording = record()
    drawing = run_pictures.VideoFrames(recording)
    far, near = (drawing.draw(recording.frames[i]) for i in (0, 4))
    changed = np.abs(far.astype(int) - near).max(2) > 0
    x, y = drawing._place(1)  # depth: the same in both, as nothing moves
    height = round(run_pictures.PANEL * 48 / 64)
    assert not changed[y : y + height, x : x + run_pictures.PANEL].any()
    bar = slice(x + run_pictures.PANEL, x + run_pictures.PANEL + 20)

    def marker_row(picture):
        rows = np.nonzero((picture[y - 4 : y + height + 4, bar] == 255).all(2).sum(1) > 8)[0]
        return rows.mean() - 4

    assert marker_row(far) == pytest.approx(height, abs=3) and marker_row(near) == pytest.approx(0, abs=3)
    x, y = drawing._place(3)  # CoC: 12 px at the far end when the focus is near
    assert changed[y : y + height, x : x + run_pictures.PANEL].mean() > 0.9


# Arguments


def test_no_node_is_started_whose_log_cannot_be_written(tmp_path, monkeypatch):
    started = []
    monkeypatch.setattr(node_processes.subprocess, 'Popen', lambda *_, **options: started.append(options))
    (tmp_path / 'sweep.log').mkdir()
    with pytest.raises(IsADirectoryError), node_processes.NodeProcesses(tmp_path) as processes:
        processes.start('sweep')
    assert not started


def test_arguments_are_parameters_of_the_nodes():
    pytest.importorskip('rclpy')
    from dfd_ros.ros.parameter_reference import NODES

    for argument in launch_arguments.ARGUMENTS:
        for node in argument.nodes:
            (declaration,) = (d for d in NODES[node].declarations() if d.name == argument.name)
            assert declaration.type is argument.type
            choices = {*declaration.choices} | ({launch_arguments.EXTERNAL} if argument.name == 'source' else set())
            assert set(argument.choices) - {''} == choices


def test_values_come_in_the_parameters_own_type():
    values = {'source': 'stack', 'near': '1', 'far': '.inf', 'steps': '7', 'publish_truth': 'True', 'weights': ''}
    assert launch_arguments.parameters('sweep', values) == {'near': 1.0, 'far': math.inf, 'steps': 7}
    assert launch_arguments.parameters('depth', values) == {'near': 1.0, 'far': math.inf}
    assert launch_arguments.parameters('camera', values) == {'source': 'stack', 'publish_truth': True}
    switches = {'driver': '', 'rgbd': 'false', 'view': 'false'}
    assert launch_arguments.nodes({**switches, 'source': 'external'}) == ('sweep', 'depth')
    assert launch_arguments.nodes({**switches, 'source': 'rgbd', 'rgbd': 'true'})[2:] == ('depth', 'accuracy')
    topics = {topic: topic for topic in launch_arguments.TOPICS}
    assert launch_arguments.remappings(topics) == []
    assert launch_arguments.remappings({**topics, 'image_raw': '/cam/image'}) == [('image_raw', '/cam/image')]


@pytest.mark.parametrize(
    'text, value',
    [
        ('.5', 0.5),
        ('-.5', -0.5),
        ('+.5', 0.5),
        ('0.5', 0.5),
        ('1e-3', 1e-3),
        ('.inf', math.inf),
        ('-.Inf', -math.inf),
        ('inf', math.inf),
    ],
)
def test_a_number_may_be_written_as_people_and_yaml_do(text, value):
    assert launch_arguments.parameters('depth', {'near': text}) == {'near': value}


def test_a_path_may_begin_at_home(monkeypatch):
    monkeypatch.setenv('HOME', '/home/robot')
    assert launch_arguments.parameters('camera', {'stack': '~/stack', 'video_device': '0'}) == {
        'stack': '/home/robot/stack',
        'video_device': '0',
    }
    assert launch_arguments.path('~/bags') == '/home/robot/bags'
    assert launch_arguments.path('bags') == f'{os.getcwd()}/bags'


@pytest.mark.parametrize(
    'name, value, line',
    [
        ('rate', 'fast', "rate: 'fast' is not a number"),
        ('steps', '2.5', "steps: '2.5' is not a whole number"),
        ('publish_truth', 'perhaps', "publish_truth: 'perhaps' is not true or false"),
        (
            'source',
            'bag',
            f"source: 'bag' is not one of synthetic, stack, rgbd, {', '.join(DEVICES)}, module:Class, external",
        ),
    ],
)
def test_a_bad_value_is_one_line(name, value, line):
    (argument,) = (a for a in launch_arguments.ARGUMENTS if a.name == name)
    with pytest.raises(InputError) as error:
        launch_arguments.parameters(argument.nodes[0], {name: value})
    assert str(error.value) == line


@pytest.mark.parametrize(
    'command, line',
    [
        (['demo', '--seconds', '0'], 'dfd: error: --seconds 0: must be 1 to 3600'),
        (['demo', '--size', '10x10'], "dfd: error: argument --size: '10x10' is not WIDTHxHEIGHT"),
        (['run', '--rate', 'fast'], "dfd: error: rate: 'fast' is not a number"),
        (['run', '--seconds', '3'], 'dfd: error: --seconds: needs --record'),
        (['run', '--params-file', 'none.yaml'], 'dfd: error: none.yaml: no such file'),
        (['demo', '--weights', 'none'], f'dfd: error: weights: {os.getcwd()}/none: no such file'),
        (['run', '--focus-table', '/none'], 'dfd: error: focus_table: /none: no such file'),
        (['run', '--calibration', '/dev/null'], 'dfd: error: calibration: /dev/null: is a device, expected a regular'),
        (['run', '--source', 'stack'], 'dfd: error: source stack: needs stack, the folder to show'),
    ],
)
def test_a_bad_argument_exits_2_with_one_line(command, line, capsys):
    status = command_line.dfd(*command)
    error = capsys.readouterr().err
    assert status == 2 and error.startswith(line) and error.count('\n') == 1


@pytest.mark.parametrize('command', ['demo', 'run'])
def test_without_ros_there_is_one_line(command, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setitem(sys.modules, 'rclpy', None)  # how Python marks what cannot be imported
    assert command_line.dfd(command) == 2
    error = capsys.readouterr().err
    assert error.startswith('dfd: error: the nodes need ROS 2, and rclpy cannot be imported here')
    assert error.count('\n') == 1 and not any(tmp_path.iterdir())


def test_rviz_shows_what_the_nodes_publish():
    displays = yaml.safe_load(resource('config/depth_from_focus.rviz').read_text())
    displays = displays['Visualization Manager']['Displays']
    shown = {display.get('Topic', {}).get('Value') for display in displays}
    assert {'image_raw', 'depth/image_rect', 'coc/image', 'confidence/image'} <= shown


# Real nodes


class Command:
    """`dfd` as a process whose children can be told apart from all others."""

    def __init__(self, *arguments):
        self.mark = f'DFD_TEST_MARK={uuid.uuid4()}'
        name, value = self.mark.split('=')
        self.process = subprocess.Popen(
            [sys.executable, '-m', 'dfd_ros.cli', *map(str, arguments)],
            text=True,
            env={**os.environ, name: value},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
        )

    def finish(self, timeout=240.0):
        out, err = self.process.communicate(timeout=timeout)
        assert not self.relatives(), 'a node outlived the command'
        return self.process.returncode, out, err

    def relatives(self):
        """Process ids of all that it has started and that still run."""
        found = []
        for path in Path('/proc').glob('[0-9]*/environ'):
            try:
                if self.mark.encode() in path.read_bytes():
                    found.append(int(path.parent.name))
            except OSError:  # ended meanwhile
                pass
        return found


@pytest.fixture
def dfd():
    pytest.importorskip('rclpy')
    commands = []

    def start(*arguments):
        commands.append(Command(*arguments))
        return commands[-1]

    yield start
    for command in commands:
        for pid in command.relatives():
            os.kill(pid, signal.SIGKILL)


SMALL = ('--size', '128x96', '--rate', '5')


@pytest.mark.parametrize('rate, size', [(1e-3, (640, 480)), (1e4, (320, 240))])
def test_images_are_as_large_as_the_machine_keeps_up_with(random_weights, rate, size):
    assert demo.affordable_size(str(random_weights), 64, rate) == size


def test_the_demo_measures_and_leaves_pictures(dfd, tmp_path, random_weights):
    command = dfd('demo', '--seconds', 3, '--out', tmp_path, '--weights', random_weights, *SMALL)
    status, out, err = command.finish()
    assert (status, err) == (0, '')
    lines = out.splitlines()
    start = lines.index(HEADER + HEADER_OF_ERRORS)
    assert len([line for line in lines[start + 1 :] if re.match(r' +\d+ s +\d+\.\d Hz', line)]) >= 2
    (summary,) = (line for line in lines if line.startswith('in all'))
    # Untrained weights give a depth in the range for every pixel: errors are large, but they are there.
    assert re.search(r'[1-9]\d* depth images, .* latency \d+ ms .* MAE of u 0\.\d+, AbsRel', summary)
    assert {path.name for path in tmp_path.iterdir()} == {'overview.png', 'demo.mp4', 'demo.gif', 'log'}


def wait_for(process, text):
    """Reads its output up to a line with `text`."""
    for line in process.stdout:
        if text in line:
            return
    pytest.fail(f'it ended without {text!r}: {process.stderr.read()}')


def test_an_interrupted_demo_ends_its_nodes_and_keeps_pictures(dfd, tmp_path, random_weights):
    command = dfd('demo', '--seconds', 600, '--out', tmp_path, '--weights', random_weights, *SMALL)
    wait_for(command.process, ' Hz ')
    command.process.send_signal(signal.SIGTERM)
    status, out, err = command.finish()
    assert (status, err) == (130, 'dfd: interrupted\n')
    said = (tmp_path / 'log' / 'monitor.log').read_text()
    assert 'in all' in out, f'the monitor ended without its summary: {said or "it said nothing"}'
    assert (tmp_path / 'overview.png').exists(), said


def test_killed_the_demo_takes_its_nodes_along(dfd, tmp_path, random_weights):
    command = dfd('demo', '--seconds', 600, '--out', tmp_path, '--weights', random_weights, *SMALL)
    wait_for(command.process, ' Hz ')
    command.process.kill()
    command.process.communicate(timeout=120)  # its pipes close with the last node that holds them
    end = time.monotonic() + 60
    while command.relatives():
        assert time.monotonic() < end, 'a node outlived the command'
        time.sleep(0.1)


def test_a_node_that_fails_to_start_ends_the_demo_with_its_error(dfd, tmp_path):
    weights = tmp_path / 'empty.safetensors'
    weights.touch()
    status, _out, err = dfd('demo', '--out', tmp_path, '--weights', weights, *SMALL).finish()
    assert status == 2 and err.count('\n') == 1
    assert err.startswith(f'dfd: error: depth node: weights {weights}: ')


def test_run_tells_once_why_a_node_cannot_start(dfd, tmp_path):
    status, _out, err = dfd('run', '--source', 'stack', '--stack', tmp_path / 'none').finish()
    assert status == 2 and 'Traceback' not in err  # of the others, which are stopped while they still start
    assert err.splitlines()[-1].startswith(f'dfd: error: camera node: {tmp_path}/none')
    assert err.count(f'{tmp_path}/none') == 1


def test_a_node_that_is_killed_ends_the_run(dfd, random_weights):
    command = dfd('run', '--image-width', 96, '--image-height', 72, '--weights', random_weights)
    for line in command.process.stderr:
        if '[camera]: synthetic camera' in line:
            break
    (camera,) = (
        pid for pid in command.relatives() if b'dfd_ros.ros.nodes.camera' in Path(f'/proc/{pid}/cmdline').read_bytes()
    )
    os.kill(camera, signal.SIGKILL)
    status, _out, err = command.finish()
    assert status == 1 and 'dfd: error: camera node: ended with status -9' in err


def test_run_takes_a_stack_through_the_real_nodes(dfd, tmp_path, random_weights):
    from dfd_ros.core.focal_stack import FocalStack
    from dfd_ros.core.lens_state import LensState

    rng = np.random.default_rng(0)
    FocalStack(
        [rng.integers(0, 256, (60, 80, 3), np.uint8) for _ in range(4)],
        [LensState(distance) for distance in (2.0, 0.8, 0.4, 0.2)],
    ).write(tmp_path / 'stack')
    command = dfd(
        'run',
        '--source',
        'stack',
        '--stack',
        tmp_path / 'stack',
        '--steps',
        4,
        '--rate',
        5,
        '--namespace',
        'robot',
        '--weights',
        random_weights,
        '--record',
        tmp_path / 'record',
        '--seconds',
        6,
    )  # a video takes two images, also of a busy machine
    status, out, err = command.finish()
    assert status == 0, err
    assert 'in all' in out and '[robot.depth]' in err
    assert {path.name for path in (tmp_path / 'record').iterdir()} == {'overview.png', 'demo.mp4', 'demo.gif'}


def test_monitor_survives_a_looped_bag_and_names_silent_topics(start_node, observer):
    from builtin_interfaces.msg import Time
    from ros_processes import wait_until
    from sensor_msgs.msg import Image
    from std_msgs.msg import Header

    from dfd_ros.core.lens_state import LensState
    from dfd_ros.msg import LensState as LensStateMessage
    from dfd_ros.ros import image_messages, messages, qos

    monitors = {name: start_node('monitor', '-r', f'__ns:=/{name}', truth=name == 'blind') for name in ('off', 'blind')}
    maps = 'coc/image', 'confidence/image', 'depth/image_rect'
    publishers = [
        {
            topic: observer.publisher(
                LensStateMessage if topic == 'lens_state' else Image, f'/{name}/{topic}', qos.PUBLISHER
            )
            for topic in ('lens_state', 'image_raw', *maps)
        }
        for name in monitors
    ]

    def play(first):
        for frame in range(60):  # more than wait for their counterparts
            header, lens_header = (Header(stamp=Time(sec=first + frame, nanosec=ns)) for ns in (0, 1000000))
            for topics in publishers:
                topics['lens_state'].publish(messages.to_message(LensState(1.0, near=0.2, far=2.0), lens_header))
                topics['image_raw'].publish(image_messages.to_message(np.zeros((24, 32, 3), np.uint8), header))
                for topic in maps:
                    topics[topic].publish(image_messages.to_message(np.ones((24, 32), np.float32), header))
            time.sleep(0.02)

    def rates(name):
        return re.findall(r'^ .* ([1-9][\d.]*) Hz', monitors[name].output, re.MULTILINE)

    play(1000)
    wait_until(lambda: rates('off'), 'a line', 30.0)
    count = len(rates('off'))
    time.sleep(1.5)
    for first in (100, 300):
        play(first)
    wait_until(lambda: len(rates('off')) > count, 'a line of the bag played again', 30.0)
    wait_until(
        lambda: 'depth arrives, but nothing on /blind/truth/depth' in monitors['blind'].output, 'a warning', 30.0
    )
    assert all(monitor.stop() == 0 and 'Traceback' not in monitor.output for monitor in monitors.values())
    assert re.search(r'in all   \d+ depth images, .* depth for 100% of the pixels', monitors['off'].output)
    assert re.search(r'in all   \d+ depth images, but nothing on /blind/truth/depth\n', monitors['blind'].output)


def test_an_output_of_the_monitor_that_cannot_be_is_one_line(start_node, tmp_path):
    (tmp_path / 'file').write_text('')
    process = start_node('monitor', output=tmp_path / 'file' / 'pictures')
    assert process.wait() == 2
    assert process.output == f'error: parameter output: {tmp_path}/file/pictures: {tmp_path}/file is not a folder\n'


def test_the_monitor_says_why_there_are_no_pictures(start_node, observer, tmp_path):
    process = start_node('monitor', '-r', '__ns:=/none', output=tmp_path / 'pictures')
    observer.set_parameter(
        '/none/monitor', 'seconds', 0.0
    )  # an answer, whatever it is, comes when the node has started
    assert process.stop() == 0
    assert process.output == f'no depth image came on /none/depth/image_rect: no pictures in {tmp_path}/pictures/\n'


def test_run_goes_on_until_interrupted(dfd, random_weights):
    command = dfd('run', '--image-width', 96, '--image-height', 72, '--weights', random_weights)
    for line in command.process.stderr:
        if '[camera]: synthetic camera' in line:
            break
    assert len(command.relatives()) == 4  # itself, camera, sweep, depth
    command.process.send_signal(signal.SIGINT)
    assert command.finish()[0] == 0
