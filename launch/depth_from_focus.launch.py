"""Camera, sweep and depth, with the description of the rig; optionally RViz and a comparison with an RGB-D sensor.

ros2 launch dfd_ros depth_from_focus.launch.py source:=synthetic rviz:=true
ros2 launch dfd_ros depth_from_focus.launch.py source:=synthetic view:=true
ros2 launch dfd_ros depth_from_focus.launch.py source:=stack stack:=/path/to/stack
ros2 launch dfd_ros depth_from_focus.launch.py source:=v4l2 calibration:=/path/to/calibration.yaml
ros2 launch dfd_ros depth_from_focus.launch.py source:=external driver:=camera_ros
ros2 launch dfd_ros depth_from_focus.launch.py source:=external image_raw:=/camera/image_raw ...
ros2 launch dfd_ros depth_from_focus.launch.py --show-args
"""

from __future__ import annotations

import shlex

from launch import LaunchContext, LaunchDescription
from launch.actions import DeclareLaunchArgument, OpaqueFunction
from launch.substitutions import Command, LaunchConfiguration
from launch_ros.actions import Node
from launch_ros.parameter_descriptions import ParameterValue

from dfd_ros.ros import launch_arguments, launch_files


def generate_launch_description() -> LaunchDescription:
    return LaunchDescription(
        [
            *launch_files.declarations(launch_arguments.ARGUMENTS),
            launch_files.RESPAWN,
            *(
                DeclareLaunchArgument(topic, default_value=topic, description=f'remap {topic} to this topic')
                for topic in launch_arguments.TOPICS
            ),
            DeclareLaunchArgument(
                'record', default_value='', description='folder for pictures and a video of the run; empty: none'
            ),
            *(
                DeclareLaunchArgument(
                    name, default_value='false', choices=('true', 'false'), description=switch.description
                )
                for name, switch in launch_arguments.SWITCHES.items()
            ),
            DeclareLaunchArgument(
                'rig',
                default_value='auto',
                choices=('auto', 'true', 'false'),
                description='publish the description of the rig and its frames; auto: unless source is external, '
                'since such a robot has a description of its own',
            ),
            DeclareLaunchArgument(
                'rig_rgbd',
                default_value='auto',
                choices=('auto', 'true', 'false'),
                description='the description of the rig has an RGB-D camera; auto: if source is rgbd, rgbd is true, or '
                'the calibration has one',
            ),
            DeclareLaunchArgument(
                'frame_prefix', default_value='', description=launch_arguments.OF_THE_RUN['frame_prefix']
            ),
            DeclareLaunchArgument('rviz', default_value='false', choices=('true', 'false'), description='start RViz'),
            OpaqueFunction(function=_start),
        ]
    )


def _start(context: LaunchContext) -> list[Node]:
    # Where rviz2, robot_state_publisher or xacro is missing, launch ends and leaves running what has been started:
    # these go first.
    nodes = _nodes(context)
    rviz = _rviz(context) if context.launch_configurations['rviz'] == 'true' else []
    return [*rviz, *_rig(context), *nodes]


def _nodes(context: LaunchContext) -> list[Node]:
    # Only what was given is passed on, in the parameter's type: `near:=1` has to reach the node as 1.0.
    values, of_driver = launch_arguments.with_driver(dict(context.launch_configurations))
    remappings = launch_arguments.remappings(values)
    nodes = []
    for name in launch_arguments.nodes(values):
        parameters = launch_arguments.parameters(name, values) | launch_arguments.of_the_run(name, values)
        if name == 'depth':
            parameters |= of_driver
        nodes.append(launch_files.node(context, name, parameters, remappings))
    if values['record']:
        watched: launch_files.Parameters = {**launch_arguments.monitored(values)}
        watched['output'] = launch_arguments.path(values['record'])
        # Drawing takes its time after Ctrl-C.
        nodes.append(launch_files.node(context, 'monitor', watched, remappings, sigterm_timeout='120'))
    return nodes


def _rig(context: LaunchContext) -> list[Node]:
    values = context.launch_configurations
    arguments = launch_arguments.rig(values)
    if arguments is None:
        return []
    # Quoted, since the command is split as a shell does.
    quoted = ''.join(f' {shlex.quote(f"{name}:={value}")}' for name, value in arguments.items())
    description = ['xacro ', launch_files.share('urdf', 'focus_rig.urdf.xacro'), quoted]
    robot_description = ParameterValue(Command(description), value_type=str)
    return [
        Node(
            package='robot_state_publisher',
            executable='robot_state_publisher',
            namespace=LaunchConfiguration('namespace'),
            parameters=[
                {
                    'robot_description': robot_description,
                    'frame_prefix': ParameterValue(values['frame_prefix'], value_type=str),
                    **launch_files.sim_time(context),
                }
            ],
        )
    ]


def _rviz(context: LaunchContext) -> list[Node]:
    return [
        Node(
            package='rviz2',
            executable='rviz2',
            namespace=LaunchConfiguration('namespace'),
            parameters=[launch_files.sim_time(context)],
            remappings=[(topic, LaunchConfiguration(topic)) for topic in launch_arguments.TOPICS],
            arguments=['-d', launch_files.share('config', 'depth_from_focus.rviz')],
        )
    ]
