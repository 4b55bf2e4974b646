"""Camera, sweep and depth, with the description of the rig; optionally RViz and a comparison with an RGB-D sensor.

ros2 launch dfd_ros depth_from_focus.launch.py source:=synthetic rviz:=true
ros2 launch dfd_ros depth_from_focus.launch.py source:=stack stack:=/path/to/stack
ros2 launch dfd_ros depth_from_focus.launch.py source:=v4l2 calibration:=/path/to/calibration.yaml
ros2 launch dfd_ros depth_from_focus.launch.py source:=external image_raw:=/camera/image_raw ...
ros2 launch dfd_ros depth_from_focus.launch.py --show-args
"""

from __future__ import annotations

import shlex

from launch import LaunchContext, LaunchDescription
from launch.actions import DeclareLaunchArgument, OpaqueFunction, Shutdown
from launch.conditions import IfCondition
from launch.substitutions import Command, LaunchConfiguration, PathJoinSubstitution
from launch_ros.actions import Node
from launch_ros.parameter_descriptions import ParameterValue
from launch_ros.substitutions import FindPackageShare

from dfd_ros.ros import launch_arguments


def generate_launch_description() -> LaunchDescription:
    return LaunchDescription(
        [
            *(
                DeclareLaunchArgument(
                    a.name, default_value=a.default, description=a.launch_description, choices=a.closed_choices or None
                )
                for a in launch_arguments.ARGUMENTS
            ),
            *(
                DeclareLaunchArgument(topic, default_value=topic, description=f'remap {topic} to this topic')
                for topic in launch_arguments.TOPICS
            ),
            DeclareLaunchArgument(
                'params_file',
                default_value=_share('config', 'depth_from_focus.yaml'),
                description='parameter file of the nodes; launch arguments take precedence',
            ),
            DeclareLaunchArgument('namespace', default_value='', description='namespace of the nodes'),
            DeclareLaunchArgument(
                'record', default_value='', description='folder for pictures and a video of the run; empty: none'
            ),
            DeclareLaunchArgument(
                'rgbd',
                default_value='false',
                choices=('true', 'false'),
                description='compare depth with an RGB-D sensor (accuracy node)',
            ),
            DeclareLaunchArgument(
                'rig',
                default_value='true',
                choices=('true', 'false'),
                description='publish the description of the rig and its frames',
            ),
            DeclareLaunchArgument('rviz', default_value='false', choices=('true', 'false'), description='start RViz'),
            OpaqueFunction(function=_nodes),
            OpaqueFunction(function=_rig, condition=IfCondition(LaunchConfiguration('rig'))),
            Node(
                package='rviz2',
                executable='rviz2',
                namespace=LaunchConfiguration('namespace'),
                condition=IfCondition(LaunchConfiguration('rviz')),
                remappings=[(topic, LaunchConfiguration(topic)) for topic in launch_arguments.TOPICS],
                arguments=['-d', _share('config', 'depth_from_focus.rviz')],
            ),
        ]
    )


def _share(*path: str) -> PathJoinSubstitution:
    return PathJoinSubstitution([FindPackageShare('dfd_ros'), *path])


def _nodes(context: LaunchContext) -> list[Node]:
    # Only what was given is passed on, in the parameter's type: `near:=1` has to reach the node as 1.0.
    values = context.launch_configurations
    remappings = launch_arguments.remappings(values)
    nodes = [
        _node(name, remappings, [values['params_file'], _typed(launch_arguments.parameters(name, values))])
        for name in launch_arguments.nodes(values['source'], values['rgbd'] == 'true')
    ]
    if values['record']:
        watched = {'output': launch_arguments.path(values['record']), **launch_arguments.monitored(values)}
        # Drawing takes its time after Ctrl-C.
        nodes.append(_node('monitor', remappings, [values['params_file'], _typed(watched)], sigterm_timeout='120'))
    return nodes


def _rig(context: LaunchContext) -> list[Node]:
    calibration = context.launch_configurations['calibration']
    description = ['xacro ', _share('urdf', 'focus_rig.urdf.xacro')]
    if calibration:
        # Quoted, since the command is split as a shell does; absolute, since xacro looks beside its own file.
        description.append(' ' + shlex.quote(f'calibration:={launch_arguments.path(calibration)}'))
    return [
        Node(
            package='robot_state_publisher',
            executable='robot_state_publisher',
            namespace=LaunchConfiguration('namespace'),
            parameters=[{'robot_description': ParameterValue(Command(description), value_type=str)}],
        )
    ]


def _typed(parameters: dict[str, bool | int | float | str]) -> dict:
    # launch_ros reads bare text as YAML: the device '0' would become an integer.
    return {
        name: ParameterValue(value, value_type=str) if isinstance(value, str) else value
        for name, value in parameters.items()
    }


def _node(name: str, remappings: list[tuple[str, str]], parameters: list, **options) -> Node:
    return Node(
        package='dfd_ros',
        executable=name,
        name=name,
        namespace=LaunchConfiguration('namespace'),
        parameters=parameters,
        remappings=remappings,
        output='screen',
        emulate_tty=True,
        on_exit=Shutdown(reason=f'{name} has ended'),
        **options,
    )
