"""Trains a network on samples, and sends improved weights to a depth node if one is named.

ros2 launch dfd_ros train.launch.py data:=data/kitchen
ros2 launch dfd_ros train.launch.py data:=data/kitchen name:=kitchen depth_node:=/depth
ros2 launch dfd_ros train.launch.py --show-args
"""

from __future__ import annotations

from launch import LaunchContext, LaunchDescription
from launch.actions import DeclareLaunchArgument, OpaqueFunction, Shutdown
from launch.substitutions import LaunchConfiguration, PathJoinSubstitution
from launch_ros.actions import Node
from launch_ros.parameter_descriptions import ParameterValue
from launch_ros.substitutions import FindPackageShare

from dfd_ros.ros import launch_arguments

PATHS = ('data', 'config', 'weights', 'output')


def generate_launch_description() -> LaunchDescription:
    return LaunchDescription(
        [
            *(
                DeclareLaunchArgument(a.name, default_value=a.default, description=a.launch_description)
                for a in launch_arguments.TRAINER
            ),
            DeclareLaunchArgument(
                'params_file',
                description='parameter file of the node; launch arguments take precedence',
                default_value=PathJoinSubstitution([FindPackageShare('dfd_ros'), 'config', 'depth_from_focus.yaml']),
            ),
            DeclareLaunchArgument('namespace', default_value='', description='namespace of the node'),
            OpaqueFunction(function=_trainer),
        ]
    )


def _trainer(context: LaunchContext) -> list[Node]:
    values = context.launch_configurations
    parameters = launch_arguments.parameters('trainer', values, launch_arguments.TRAINER)
    parameters |= {name: launch_arguments.path(values[name]) for name in PATHS if values[name]}
    # launch_ros reads bare text as YAML: a run of the name '7' would become an integer.
    parameters = {
        name: ParameterValue(value, value_type=str) if isinstance(value, str) else value
        for name, value in parameters.items()
    }
    return [
        Node(
            package='dfd_ros',
            executable='trainer',
            name='trainer',
            namespace=LaunchConfiguration('namespace'),
            parameters=[values['params_file'], parameters],
            output='screen',
            emulate_tty=True,
            # After Ctrl-C the current step and its checkpoint are finished.
            sigterm_timeout='60',
            on_exit=Shutdown(reason='trainer has ended'),
        )
    ]
