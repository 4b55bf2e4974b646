"""The viewer node with a real browser: topics reach the page, sliders reach the nodes, and nobody looks for nothing."""

import socket
import threading
import time

import pytest

pytest.importorskip('rclpy')
pytest.importorskip('viser', reason='viser is not installed: pip install viser')
import chromium
from chromium import LEFT, PICTURES, RIGHT
from diagnostic_msgs.msg import DiagnosticArray, DiagnosticStatus
from published_scene import FAR, FOCI, NEAR, READ_NUMBER, PublishedScene
from rclpy.node import Node
from ros_processes import wait_until

from dfd_ros.core.errors import InputError
from dfd_ros.core.optics import VergenceRange
from dfd_ros.msg import FocusCommand
from dfd_ros.ros import node_controls, qos
from dfd_ros.ros.bound_parameters import BoundParameters
from dfd_ros.ros.node_parameters import DepthParameters, SweepParameters, ViewerParameters

needs_browser = pytest.mark.skipif(chromium.browser() is None, reason='no Chromium on this machine')


class Rig:
    """A scene that is published, and nodes whose parameters can be set."""

    def __init__(self, observer):
        self.observer = observer
        self.depth, self.sweep = Node('depth'), Node('sweep')
        self.settings = {
            'depth': BoundParameters(self.depth, DepthParameters),
            'sweep': BoundParameters(self.sweep, SweepParameters),
        }
        for node in (self.depth, self.sweep):
            observer.thread.add(node)
        self.scene = PublishedScene(observer.node, 120, 160)
        self.commands = observer.listen(FocusCommand, 'focus_command', qos.COMMAND)
        self.diagnostics = observer.node.create_publisher(DiagnosticArray, '/diagnostics', 10)
        self._ends = threading.Event()
        self.pause = threading.Event()
        self._thread = threading.Thread(target=self._feed)
        self._thread.start()

    def _feed(self):
        while not self._ends.wait(0.2):
            if not self.pause.is_set():
                self.scene.publish()
            status = DiagnosticStatus(level=DiagnosticStatus.WARN, name='camera', message='a warning')
            self.diagnostics.publish(DiagnosticArray(status=[status]))

    def values(self, node):
        return self.settings[node].values

    def close(self):
        self._ends.set()
        self._thread.join()
        for node in (self.depth, self.sweep):
            self.observer.thread.destroy(node)


@pytest.fixture
def rig(observer):
    running = Rig(observer)
    yield running
    running.close()


def address_of(viewer):
    return wait_until(lambda: viewer.output.partition('page: ')[2].partition('\n')[0].strip(), 'the page')


@needs_browser
@pytest.mark.slow(reason='a browser, and nodes that find each other over DDS')
def test_topics_reach_the_page_and_sliders_reach_the_nodes(rig, start_node, tmp_path):
    viewer = start_node('viewer', port=0)
    url = address_of(viewer)
    assert url.startswith('http://127.0.0.1:')
    time.sleep(2)
    assert rig.scene.subscribers() == 0, 'nobody looks'
    with chromium.chromium(tmp_path) as browser:
        tab = browser.new_tab()
        tab.open(url)
        tab.wait_for(f'{PICTURES}.length >= 5', 120)
        assert rig.scene.subscribers() == 1

        number = chromium.of_picture(0, READ_NUMBER)
        first = tab.run(number)
        tab.wait_for(f'{number}.then((n) => n !== {first})')
        tab.wait_for("document.body.innerText.includes('a warning')")
        for x, distance in ((0.25, NEAR), (0.75, FAR)):
            box = tab.run(
                f'(() => {{ const b = {PICTURES}[0].getBoundingClientRect();'
                ' return [b.left, b.top, b.width, b.height] })()'
            )
            tab.click(box[0] + x * box[2], box[1] + 0.5 * box[3])
            tab.wait_for(f"document.body.innerText.includes('{distance:#.3g} m\\nconfidence')", 60)

        tab.wait_for("[...document.querySelectorAll('label')].some((l) => l.textContent.trim() === 'steps')")
        tab.step_slider('confidence', RIGHT)
        wait_until(lambda: rig.values('depth').confidence_threshold == pytest.approx(0.31), 'the confidence')
        tab.step_slider('steps', RIGHT)
        wait_until(lambda: rig.values('sweep').steps == 6, 'the steps')
        rig.commands.clear()
        tab.step_slider('focus (1/m)', LEFT)  # it starts at the near end
        wait_until(lambda: not rig.values('sweep').enabled, 'the end of the sweep')
        wait_until(lambda: rig.commands, 'a focus command')
        assert FOCI[-1] <= rig.commands[0].focus_distance <= FOCI[0]

        rig.pause.set()
        tab.wait_for("document.body.innerText.includes('/depth/image_rect nothing for 3 s')")
        rig.pause.clear()
        tab.wait_for("!document.body.innerText.includes('nothing for 3 s')")
    wait_until(lambda: rig.scene.subscribers() == 0, 'the end of the subscriptions')
    assert viewer.stop() == 0


@needs_browser
@pytest.mark.slow(reason='a browser, and nodes that find each other over DDS')
def test_topics_that_never_come_are_named(observer, start_node, tmp_path):
    viewer = start_node('viewer', '-r', '__ns:=/none', port=0)
    with chromium.chromium(tmp_path) as browser:
        tab = browser.new_tab()
        tab.open(address_of(viewer))
        for line in ('/none/image_raw nobody publishes it', '/none/depth/image_rect nobody publishes it'):
            tab.wait_for(f"document.body.innerText.includes('{line}')", 60)
        tab.wait_for("document.body.innerText.includes('/none/sweep does not answer')")
    wait_until(lambda: '/none/image_raw: nobody publishes it' in viewer.output, 'a line in the log')
    assert viewer.stop() == 0


def test_a_taken_port_ends_it_with_one_line(start_node):
    with socket.socket() as server:
        server.bind(('127.0.0.1', 0))
        server.listen()
        port = server.getsockname()[1]
        viewer = start_node('viewer', port=port)
        assert viewer.wait() == 2
    lines = [line for line in viewer.output.splitlines() if 'error:' in line]
    assert lines == [f'error: port {port}: taken by another program; choose another, such as {port + 1}']


def test_names_of_nodes_are_checked():
    with pytest.raises(InputError, match="parameter sweep_node: 'my sweep' is not a node name such as /depth"):
        ViewerParameters(sweep_node='my sweep').check()


@pytest.fixture
def controls(rig):
    node = Node('controls')
    rig.observer.thread.add(node)
    made = node_controls.NodeControls(node, 'depth', 'sweep')
    yield made
    made.close()
    rig.observer.thread.destroy(node)


def settled(controls):
    def known():
        controls.read()
        time.sleep(0.1)
        return controls.settings

    return wait_until(known, 'the settings')


def test_settings_are_those_of_the_nodes(rig, controls):
    assert controls.settings is None and not controls.can_focus and controls.missing() == ['/depth', '/sweep']
    controls.note(rig.scene.state(), 7, 'lens')
    settings = settled(controls)
    wait_until(lambda: controls.read() or controls.can_focus, 'the sweep node')
    settings = controls.settings
    assert settings.range == controls.limits == VergenceRange(FOCI[-1], FOCI[0])
    assert (settings.confidence, settings.pattern, settings.steps, settings.sweeping) == (0.3, 'ramp', 5, True)
    assert controls.missing() == []


def test_changes_are_taken_or_refused_with_the_reason(rig, controls, observer):
    controls.note(rig.scene.state(), 7, 'lens')
    settled(controls)
    wait_until(lambda: controls.read() or controls.can_focus, 'the sweep node')
    controls.change(range=VergenceRange(0.3, 1.0), pattern='jumps')
    values = rig.values('sweep')
    assert (values.near, values.far, values.pattern) == (0.3, 1.0, 'jumps')
    assert controls.settings.range == VergenceRange(0.3, 1.0)
    with pytest.raises(InputError, match='^/sweep: Parameter steps out of range. Min: 2'):
        controls.change(steps=1)
    assert rig.values('sweep').steps == 5
    wait_until(lambda: controls._commands.get_subscription_count(), 'a camera')
    controls.change(focus=0.4, sweeping=False)
    (command,) = wait_until(lambda: list(rig.commands), 'a command')
    assert (command.focus_distance, command.command_id) == (0.4, 8)
    assert not rig.values('sweep').enabled


def test_a_node_that_is_not_there_is_named(observer, monkeypatch):
    node = Node('alone')
    observer.thread.add(node)
    controls = node_controls.NodeControls(node, '/nowhere/depth', '/nowhere/sweep')
    with pytest.raises(InputError, match='^/nowhere/depth: no such node'):
        controls.change(confidence=0.5)
    controls.close()
    observer.thread.destroy(node)
