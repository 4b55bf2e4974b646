"""Records a focus camera and an RGB-D sensor into a bag.

ros2 launch dfd_ros record.launch.py folder:=recordings
ros2 launch dfd_ros record.launch.py image_raw:=/camera/image_raw depth:=/camera/aligned_depth/image_raw
ros2 launch dfd_ros record.launch.py --show-args
"""

from __future__ import annotations

from launch import LaunchContext, LaunchDescription
from launch.actions import DeclareLaunchArgument, OpaqueFunction
from launch_ros.actions import Node

from dfd_ros.ros import launch_arguments, launch_files

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
            *launch_files.declarations(launch_arguments.RECORDER),
            launch_files.RESPAWN,
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
    if values['folder']:
        parameters['folder'] = launch_arguments.path(values['folder'])
    remappings = [
        (topic + suffix, values[name] + suffix)
        for name, topic in TOPICS.items()
        if values[name] != topic
        for suffix in ('', '/compressed', '/compressedDepth')
    ]
    # The rest of the bag is written after Ctrl-C.
    return [launch_files.node(context, 'recorder', parameters, remappings, sigterm_timeout='60')]
