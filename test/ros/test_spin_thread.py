"""The thread that spins the nodes of commands and tests."""

import contextlib
import threading
import time

import pytest

pytest.importorskip('rclpy')

import rclpy
from rclpy.node import Node
from rclpy.waitable import NumberOfEntities, Waitable
from ros_processes import wait_until
from std_msgs.msg import Header

from dfd_ros.ros.spin_thread import SpinThread

pytestmark = [
    pytest.mark.slow(reason='messages go over DDS, and the executor is held up'),
    # of a thread that has died
    pytest.mark.filterwarnings('error::pytest.PytestUnhandledThreadExceptionWarning'),
]
HELD_UP = 0.2  # s


class Slow(Waitable):
    """Holds up the executor while it collects what to wait for, and while it sees what is ready."""

    def __init__(self, node):
        super().__init__(node.default_callback_group)
        self.collects, self.looks = threading.Event(), threading.Event()
        node.add_waitable(self)

    def __enter__(self):
        pass

    def __exit__(self, *_):
        pass

    def get_num_entities(self):
        return NumberOfEntities()

    def add_to_wait_set(self, wait_set):
        self.collects.set()
        time.sleep(HELD_UP)

    def is_ready(self, wait_set):
        self.looks.set()
        time.sleep(HELD_UP)
        return True

    def take_data(self):
        pass

    async def execute(self, taken_data):
        pass


@pytest.fixture
def node():
    rclpy.init()
    node = Node('spun')
    node.create_timer(0.01, lambda: None)
    yield node
    node.destroy_node()
    rclpy.try_shutdown()


def test_it_ends_between_two_callbacks(node):
    slow = Slow(node)
    thread = SpinThread(node)
    assert slow.looks.wait(10)
    thread.close()
    slow.looks.clear()
    assert not slow.looks.wait(2 * HELD_UP)


def test_topics_are_destroyed_between_two_callbacks(node):
    slow = Slow(node)
    subscription = node.create_subscription(Header, 'topic', lambda _: None, 10)
    with contextlib.closing(SpinThread(node)) as thread:
        assert slow.collects.wait(10)
        assert thread.run(lambda: node.destroy_subscription(subscription))
        slow.collects.clear()
        assert slow.collects.wait(10)


def test_errors_of_other_work_are_those_of_the_caller(node):
    def fails():
        raise ValueError(threading.current_thread())

    with contextlib.closing(SpinThread(node)) as thread:
        with pytest.raises(ValueError) as error:
            thread.run(fails)
        assert error.value.args[0] is not threading.current_thread()
        assert thread.run(lambda: 1) == 1


def test_nodes_come_and_go(node):
    publisher = node.create_publisher(Header, 'topic', 10)
    with contextlib.closing(SpinThread(node)) as thread:
        other, heard = Node('other'), []
        other.create_subscription(Header, 'topic', heard.append, 10)
        thread.add(other)
        wait_until(lambda: publisher.publish(Header()) or heard, 'a message')
        thread.destroy(other)
        assert thread.run(lambda: 1) == 1
