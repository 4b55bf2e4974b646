"""Trains a network on samples, and sends improved weights to a depth node if one is named.

    ros2 launch dfd_ros train.launch.py data:=data/kitchen
    ros2 launch dfd_ros train.launch.py data:=data/kitchen name:=kitchen depth_node:=/depth
    ros2 launch dfd_ros train.launch.py --show-args
"""

from __future__ import annotations

from launch.actions import DeclareLaunchArgument, OpaqueFunction, Shutdown
from launch.substitutions import LaunchConfiguration, PathJoinSubstitution
from launch_ros.actions import Node
from launch_ros.substitutions import FindPackageShare

from dfd_ros.ros import launch_arguments
from launch import LaunchContext, LaunchDescription

PATHS = {'data': 'folder of samples to train on; empty: as in the configuration',
         'config': 'configuration of the run (YAML); empty: config/training/fine_tune.yaml of the package',
         'weights': 'weights to start from; empty: as in the configuration',
         'output': 'folder of the runs; an existing run resumes'}


def generate_launch_description() -> LaunchDescription:
    return LaunchDescription([
        *(DeclareLaunchArgument(name, default_value='runs' if name == 'output' else '', description=description)
          for name, description in PATHS.items()),
        DeclareLaunchArgument('name', default_value='',
                              description='name of the run; empty: as in the configuration'),
        DeclareLaunchArgument('steps', default_value='0',
                              description='optimiser steps; 0: as in the configuration'),
        DeclareLaunchArgument('device', default_value='auto', description='device: auto, cpu, cuda, cuda:1'),
        DeclareLaunchArgument('depth_node', default_value='',
                              description='depth node that receives every improved weights file, such as /depth'),
        DeclareLaunchArgument('params_file', description='parameter file of the node; launch arguments take precedence',
                              default_value=PathJoinSubstitution([FindPackageShare('dfd_ros'), 'config',
                                                                  'depth_from_focus.yaml'])),
        DeclareLaunchArgument('namespace', default_value='', description='namespace of the node'),
        OpaqueFunction(function=_trainer),
    ])


def _trainer(context: LaunchContext) -> list[Node]:
    values = context.launch_configurations
    parameters = {name: launch_arguments.path(values[name]) for name in PATHS if values[name]}
    parameters |= {name: values[name] for name in ('name', 'device', 'depth_node') if values[name]}
    if values['steps'] != '0':
        parameters['steps'] = int(values['steps'])
    return [Node(package='dfd_ros', executable='trainer', name='trainer', namespace=LaunchConfiguration('namespace'),
                 parameters=[values['params_file'], parameters], output='screen', emulate_tty=True,
                 # After Ctrl-C the current step and its checkpoint are finished.
                 sigterm_timeout='60', on_exit=Shutdown(reason='trainer has ended'))]
