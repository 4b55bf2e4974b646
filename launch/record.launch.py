"""Records a focus camera and an RGB-D sensor into a bag.

ros2 launch dfd_ros record.launch.py folder:=recordings
ros2 launch dfd_ros record.launch.py image_raw:=/camera/image_raw depth:=/camera/aligned_depth/image_raw
ros2 launch dfd_ros record.launch.py --show-args
"""

from __future__ import annotations

from launch import LaunchContext, LaunchDescription
from launch.actions import DeclareLaunchArgument, OpaqueFunction, Shutdown
from launch.substitutions import LaunchConfiguration, PathJoinSubstitution
from launch_ros.actions import Node
from launch_ros.parameter_descriptions import ParameterValue
from launch_ros.substitutions import FindPackageShare

from dfd_ros.ros import launch_arguments

TOPICS = {
    'image_raw': 'image_raw',
    'camera_info': 'camera_info',
    'lens_state': 'lens_state',
    'color': 'rgbd/color/image_raw',
    'color_info': 'rgbd/color/camera_info',
    'depth': 'rgbd/depth/image_rect',
    'depth_info': 'rgbd/depth/camera_info',
}
"""Launch argument, and the topic that it remaps."""


def generate_launch_description() -> LaunchDescription:
    return LaunchDescription(
        [
            *(
                DeclareLaunchArgument(a.name, default_value=a.default, description=a.launch_description)
                for a in launch_arguments.RECORDER
            ),
            DeclareLaunchArgument(
                'params_file',
                description='parameter file of the node; launch arguments take precedence',
                default_value=PathJoinSubstitution([FindPackageShare('dfd_ros'), 'config', 'depth_from_focus.yaml']),
            ),
            DeclareLaunchArgument('namespace', default_value='', description='namespace of the node'),
            *(
                DeclareLaunchArgument(name, default_value=topic, description=f'remap {topic} to this topic')
                for name, topic in TOPICS.items()
            ),
            OpaqueFunction(function=_recorder),
        ]
    )


def _recorder(context: LaunchContext) -> list[Node]:
    values = context.launch_configurations
    parameters = launch_arguments.parameters('recorder', values, launch_arguments.RECORDER)
    # launch_ros reads bare text as YAML: a folder '2026' would become an integer.
    parameters = {
        name: ParameterValue(launch_arguments.path(value), value_type=str) if name == 'folder' else value
        for name, value in parameters.items()
    }
    remappings = [
        (topic + suffix, values[name] + suffix)
        for name, topic in TOPICS.items()
        if values[name] != topic
        for suffix in ('', '/compressed', '/compressedDepth')
    ]
    return [
        Node(
            package='dfd_ros',
            executable='recorder',
            name='recorder',
            namespace=LaunchConfiguration('namespace'),
            parameters=[values['params_file'], parameters],
            output='screen',
            emulate_tty=True,
            remappings=remappings,
            # The rest of the bag is written after Ctrl-C.
            sigterm_timeout='60',
            on_exit=Shutdown(reason='recorder has ended'),
        )
    ]
