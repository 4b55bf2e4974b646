"""The ROS nodes, one a file: camera, sweep, depth, accuracy, recorder, trainer, monitor, viewer.

Each runs as ``python -m dfd_ros.ros.nodes.NAME``."""

import os
import sys

from dfd_ros.ros import node_signals

# Before torch is loaded: its threads sleep while they wait for each other. By default they spin, and on a
# robot, where every core has other work, they keep from each other the cores they wait for: a frame at low
# priority beside a training run took 0.3 s instead of 20 s, one at normal priority 170 ms instead of 230 ms.
os.environ.setdefault('OMP_WAIT_POLICY', 'PASSIVE')

if sys.argv[0] == '-m':  # a node is being started, and what it needs takes seconds to import
    node_signals.end_at_once()
