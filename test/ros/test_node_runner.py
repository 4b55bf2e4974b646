"""`dfd_ros.ros.node_runner`: a node as a process."""

import subprocess
import sys

import pytest

pytest.importorskip('rclpy', reason='no ROS here')

# What a signal comes down to where the executor, woken by it, waits again before ROS has shut down.
UNNOTICED = '''
import sys
import threading

import rclpy

from dfd_ros.ros.node_runner import run


class Idle(rclpy.node.Node):
    """Nothing wakes it: it has neither timers nor subscriptions."""

    def __init__(self):
        super().__init__('idle', start_parameter_services=False)
        threading.Timer(1.0, self.context.handle.shutdown).start()

    def destroy_node(self):
        print('destroyed', flush=True)
        super().destroy_node()


sys.exit(run(Idle))
'''


def test_a_node_that_nothing_wakes_ends_when_ros_shuts_down():
    result = subprocess.run([sys.executable, '-c', UNNOTICED], capture_output=True, text=True, timeout=60)
    assert (result.returncode, result.stdout, result.stderr) == (0, 'destroyed\n', '')
