"""`ManagedNode`: the life cycle by the services that a lifecycle manager calls, over DDS."""

import threading

import pytest

pytest.importorskip('rclpy')

from diagnostic_msgs.msg import DiagnosticArray, DiagnosticStatus
from lifecycle_msgs.msg import TransitionEvent
from ros_processes import Manager, spinning, wait_until
from std_msgs.msg import String
from std_srvs.srv import Trigger

from dfd_ros.core.errors import InputError
from dfd_ros.ros import managed_node
from dfd_ros.ros.managed_node import ManagedNode
from dfd_ros.ros.node_runner import Worker


class Echo(ManagedNode):
    """Publishes what it hears."""

    def __init__(self):
        super().__init__('echo')
        self.failing, self.loaded, self.stays = '', False, False

    def configure(self):
        self.loaded = True
        if self.failing == 'configure':
            raise InputError('parameter weights: no\nsuch file')
        self.publisher = self.create_publisher(String, 'out', 10)
        self.create_service(Trigger, '~/work', lambda _, response: response)

    def activate(self):
        self.create_subscription(String, 'in', self.publisher.publish, 10)
        self.create_timer(1.0, lambda: None)
        if self.failing == 'activate':
            raise OverflowError('too large')
        stop = threading.Event()
        self.worker = Worker(self, stop.wait, (lambda: None) if self.stays else stop.set)
        self.stop = stop

    def cleanup(self):
        self.loaded = False


@pytest.fixture
def echo(observer):
    node = Echo()
    with spinning(node):
        yield node
    node.destroy_node()


@pytest.fixture
def manager(echo, observer):
    return Manager(observer, '/echo')


def names(node):
    """What the node has beside its permanent parts."""
    found = [*node.publishers, *node.subscriptions]
    return {entity.topic_name for entity in found} & {'/in', '/out'} | {
        service.service_name for service in node.services
    } & {'/echo/work'}


def test_each_step_creates_and_destroys_its_part(echo, manager):
    before = echo._entities()
    assert (manager.state(), names(echo), echo.loaded) == ('unconfigured', set(), False)
    for _ in range(2):  # again and again
        assert manager.change('configure')
        assert (manager.state(), names(echo), echo.loaded) == ('inactive', {'/out', '/echo/work'}, True)
        for _ in range(2):
            assert manager.change('activate')
            assert (manager.state(), names(echo)) == ('active', {'/in', '/out', '/echo/work'})
            assert echo.worker._thread.is_alive()
            assert manager.change('deactivate')
            assert (manager.state(), names(echo), echo.worker) == ('inactive', {'/out', '/echo/work'}, None)
        assert manager.change('cleanup')
        assert (manager.state(), echo.loaded, echo._entities()) == ('unconfigured', False, before)


def test_an_active_node_works_and_an_inactive_one_rests(echo, manager, observer):
    heard = observer.listen(String, '/out')
    assert manager.change('configure') and manager.change('activate')
    speaker = observer.publisher(String, '/in')
    wait_until(echo.publisher.get_subscription_count, 'the listener')
    speaker.publish(String(data='a'))
    wait_until(lambda: heard, 'the echo')
    assert manager.change('deactivate')
    speaker.publish(String(data='b'))
    assert manager.change('activate')
    wait_until(speaker.get_subscription_count, 'the subscription')
    speaker.publish(String(data='c'))
    wait_until(lambda: len(heard) > 1, 'the echo')
    assert [message.data for message in heard] == ['a', 'c']


def test_a_step_that_the_state_does_not_allow_is_refused(echo, manager):
    assert not manager.change('activate') and manager.state() == 'unconfigured'


@pytest.mark.parametrize(
    'step, reason', [('configure', 'parameter weights: no such file'), ('activate', 'OverflowError: too large')]
)
def test_a_failed_transition_reports_why_and_recovers(echo, manager, observer, step, reason):
    events = observer.listen(TransitionEvent, '/echo/transition_event')
    heard = observer.listen(DiagnosticArray, '/diagnostics')
    before = echo._entities()
    echo.failing = step
    if step == 'activate':
        assert manager.change('configure')
    assert not manager.change(step)
    assert (manager.state(), echo.loaded, echo._entities()) == ('unconfigured', False, before)
    wait_until(lambda: 'errorprocessing' in [event.goal_state.label for event in events], 'the error state')

    def said(level, message):
        return any((s.level, s.message, s.name) == (level, message, 'echo') for m in list(heard) for s in m.status)

    wait_until(lambda: said(DiagnosticStatus.ERROR, f'unconfigured: {reason}'), 'the reason')
    echo.failing = ''
    assert manager.change('configure') and manager.change('activate')  # once it is mended
    wait_until(lambda: said(DiagnosticStatus.OK, 'running'), 'diagnostics of the active node')


def test_endless_work_is_an_error_and_hardly_delays_the_exit(echo, manager, monkeypatch):
    monkeypatch.setattr(Echo, 'worker_ends_within', 0.1)
    echo.stays = True
    assert manager.change('configure') and manager.change('activate')
    assert not manager.change('deactivate')
    assert manager.state() == 'finalized' and echo.loaded  # nothing is released under a thread that uses it
    echo.stop.set()


def test_shutdown_releases_everything(echo, manager):
    assert manager.change('configure') and manager.change('activate') and manager.change('shutdown')
    assert (manager.state(), echo.loaded, names(echo)) == ('finalized', False, set())


def test_start_raises_what_prevents_it(observer):
    node = Echo()
    try:
        node.failing = 'activate'
        with pytest.raises(OverflowError):
            node.start()
        assert node.state == managed_node.UNCONFIGURED and not node.loaded
    finally:
        node.destroy_node()
