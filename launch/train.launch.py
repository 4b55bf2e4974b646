"""Trains a network on samples, and sends improved weights to a depth node if one is named.

ros2 launch dfd_ros train.launch.py data:=data/kitchen
ros2 launch dfd_ros train.launch.py data:=data/kitchen name:=kitchen depth_node:=/depth
ros2 launch dfd_ros train.launch.py --show-args
"""

from __future__ import annotations

from launch import LaunchContext, LaunchDescription
from launch.actions import OpaqueFunction
from launch_ros.actions import Node

from dfd_ros.ros import launch_arguments, launch_files

PATHS = ('data', 'config', 'weights', 'output')


def generate_launch_description() -> LaunchDescription:
    arguments = launch_files.declarations(launch_arguments.TRAINER)
    return LaunchDescription([*arguments, OpaqueFunction(function=_trainer)])


def _trainer(context: LaunchContext) -> list[Node]:
    values = context.launch_configurations
    parameters = launch_arguments.parameters('trainer', values, launch_arguments.TRAINER)
    parameters |= {name: launch_arguments.path(values[name]) for name in PATHS if values[name]}
    # After Ctrl-C the current step and its checkpoint are finished.
    return [launch_files.node(context, 'trainer', parameters, sigterm_timeout='60')]
