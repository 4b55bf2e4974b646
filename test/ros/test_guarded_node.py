"""Exceptions in callbacks, over DDS: the node says so and continues."""

import importlib
import re
import time

import pytest

pytest.importorskip('rclpy')

import rclpy
from rcl_interfaces.msg import SetParametersResult
from rclpy.parameter import Parameter
from ros_processes import spinning, wait_until
from std_msgs.msg import String
from std_srvs.srv import Trigger

from dfd_ros.core.errors import InputError
from dfd_ros.ros.diagnostics import WARN
from dfd_ros.ros.guarded_node import STARTS_WITHIN, GuardedNode
from dfd_ros.ros.managed_node import ManagedNode
from dfd_ros.ros.throttled_warnings import KINDS, MAX_TEXT, ThrottledWarnings, log_text


class Fragile(GuardedNode):
    def __init__(self):
        super().__init__('fragile')
        self.heard = []
        self.said = []
        self._warn = self.said.append
        self.declare_parameter('size', 1)
        self.create_subscription(String, 'text', self._on_text, 10)
        self.create_service(Trigger, '~/work', self._work)
        self.add_on_set_parameters_callback(self._check)
        self.add_post_set_parameters_callback(lambda _: 1 / 0)

    def _on_text(self, message):
        if message.data == 'bad':
            raise OverflowError('too large')
        if message.data == 'input':
            raise InputError('/text: no number')
        self.heard.append(message.data)

    def _work(self, request, response):
        raise OSError(36, 'File name too long')

    def _check(self, changes):
        if changes[0].value < 0:
            raise RecursionError('too deep')
        return SetParametersResult(successful=True)


@pytest.fixture(scope='module')
def fragile():
    rclpy.init()
    node = Fragile()
    with spinning(node):
        yield node
    rclpy.try_shutdown()


def test_an_exception_out_of_a_message_names_the_topic(fragile):
    publisher = fragile.create_publisher(String, 'text', 10)
    wait_until(publisher.get_subscription_count, 'the subscription')
    for text in ('bad', 'input', 'good'):
        publisher.publish(String(data=text))
    wait_until(lambda: 'good' in fragile.heard, 'the last message')
    assert fragile.said[-2:] == ['/text: OverflowError: too large', '/text: no number']


def test_an_exception_out_of_a_service_is_its_answer(fragile):
    client = fragile.create_client(Trigger, '~/work')
    future = client.call_async(Trigger.Request())
    wait_until(future.done, 'an answer')
    assert not future.result().success and 'File name too long' in future.result().message


def test_an_exception_out_of_a_parameter_refuses_it(fragile):
    (result,) = fragile.set_parameters([Parameter('size', value=-1)])
    assert not result.successful and result.reason == 'RecursionError: too deep'
    assert fragile.said[-1] == 'parameter size: RecursionError: too deep'
    (result,) = fragile.set_parameters([Parameter('size', value=2)])
    assert result.successful and fragile.get_parameter('size').value == 2
    assert 'ZeroDivisionError' in fragile.said[-1]


@pytest.mark.parametrize(
    'name, heard', [('depth', '_paired_at'), ('accuracy', '_paired_at'), ('recorder', '_heard_at')]
)
def test_silence_is_no_warning_during_start(fragile, tmp_path, name, heard):
    given = {'network': 'best_focus', 'folder': str(tmp_path), 'disk_reserve': 0}
    module = importlib.import_module(f'dfd_ros.ros.nodes.{name}')
    node = getattr(module, f'{name.title()}Node')(parameter_overrides=[Parameter(n, value=v) for n, v in given.items()])
    said = []
    node._warn = said.append
    try:
        if isinstance(node, ManagedNode):
            node.start()
        report = node.report if isinstance(node, ManagedNode) else node._report
        setattr(node, heard, getattr(node, heard) - 5.0)
        assert report().level == WARN and 'nothing' in report().message and said == []
        node._began -= STARTS_WITHIN
        report()
        assert len(said) == 1 and said[0].startswith('nothing on /')
    finally:
        node.destroy_node()


# Throttling


class Log:
    def __init__(self):
        self.lines = []
        self.warning = self.lines.append

    def get_logger(self):
        return self


def test_foreign_text_does_not_defeat_throttling():
    log = Log()
    warn = ThrottledWarnings(log)
    for i in range(300):
        warn(f'/image_raw: unknown encoding {"x" * i!r} of {i} bytes')
        warn(f'/lens_state: focus_distance is {-i} m')
    assert len(log.lines) == 2
    for i in range(300):
        warn('kind ' + 'abcdefghij'[i % 10] * (i // 10 + 1))
    assert len(log.lines) == 302 and len(warn._warned_at) <= KINDS


def test_each_kind_comes_again_after_a_while():
    log = Log()
    warn = ThrottledWarnings(log, every=0.05)
    warn('a 1')
    warn('a 2')
    time.sleep(0.06)
    warn('a 3')
    assert log.lines == ['a 1', 'a 3']


def test_long_quotes_and_texts_are_cut():
    assert log_text("a 'short' quote\nin two lines") == "a 'short' quote in two lines"
    text = log_text(f"encoding '{'x' * 5000}' is not known")
    assert len(text) < 130 and re.fullmatch(r"encoding 'x+\.\.\.' is not known", text)
    assert len(log_text('y' * 5000)) <= MAX_TEXT + 3
