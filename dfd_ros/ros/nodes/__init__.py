"""The ROS nodes, one a file: camera, sweep, depth, accuracy, recorder, trainer, monitor, viewer.

Each runs as ``python -m dfd_ros.ros.nodes.NAME``."""

import sys

from dfd_ros.core.machine import let_waiting_threads_sleep
from dfd_ros.ros import node_signals

let_waiting_threads_sleep()

if sys.argv[0] == '-m':  # a node is being started, and what it needs takes seconds to import
    node_signals.end_at_once()
