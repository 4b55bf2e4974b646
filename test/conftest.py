"""Tests keep to this machine and to a ROS domain of their own, so that no robot nearby hears them."""

import os

os.environ['ROS_AUTOMATIC_DISCOVERY_RANGE'] = 'LOCALHOST'
os.environ['ROS_DOMAIN_ID'] = str(os.getpid() % 100 + 1)
