"""For all tests: ROS keeps to itself, and a busy machine fails nothing."""

import os

from hypothesis import settings

# No robot nearby hears the tests, nor the tests a robot.
os.environ['ROS_AUTOMATIC_DISCOVERY_RANGE'] = 'LOCALHOST'
os.environ['ROS_DOMAIN_ID'] = str(os.getpid() % 100 + 1)

# Time is what benchmarks measure.
settings.register_profile('dfd_ros', deadline=None)
settings.load_profile('dfd_ros')
