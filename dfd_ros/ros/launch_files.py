"""What the launch files share. Needs `launch` and `launch_ros`."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from typing import Any

from launch import LaunchContext
from launch.actions import DeclareLaunchArgument, ExecuteProcess, LogInfo, Shutdown, TimerAction
from launch.events.process import ProcessExited
from launch.substitutions import LaunchConfiguration, PathJoinSubstitution
from launch_ros.actions import Node
from launch_ros.parameter_descriptions import ParameterValue
from launch_ros.substitutions import FindPackageShare

from dfd_ros.core.errors import InputError
from dfd_ros.ros import launch_arguments

Parameters = dict[str, bool | int | float | str]
FIRST_DELAY, MAX_DELAY = 1.0, 30.0  # s from the end of a node to its next start
LONG_RUN = 60.0  # s after which the delays start over
RESPAWN = DeclareLaunchArgument(
    'respawn',
    default_value='false',
    choices=('true', 'false'),
    description='start a node again when it has ended, after 1, 2, 4, up to 30 s; false: its end ends the launch',
)


def share(*path: str) -> PathJoinSubstitution:
    """A path in the installed share folder of the package."""
    return PathJoinSubstitution([FindPackageShare('dfd_ros'), *path])


def declarations(arguments: tuple[launch_arguments.Argument, ...]) -> list[DeclareLaunchArgument]:
    """The launch arguments that set parameters of nodes, and those that every launch file has."""
    return [
        *(
            DeclareLaunchArgument(
                a.name, default_value=a.default, description=a.launch_description, choices=a.closed_choices or None
            )
            for a in arguments
        ),
        DeclareLaunchArgument(
            'params_file',
            default_value=share('config', 'depth_from_focus.yaml'),
            description='parameter file of the nodes; launch arguments take precedence',
        ),
        DeclareLaunchArgument('namespace', default_value='', description='namespace of the nodes'),
        DeclareLaunchArgument(
            'use_sim_time',
            default_value='',
            choices=('', 'true', 'false'),
            description=launch_arguments.OF_THE_RUN['use_sim_time'],
        ),
    ]


def sim_time(context: LaunchContext) -> Parameters:
    """The parameter use_sim_time, where the launch argument was given."""
    given = context.launch_configurations['use_sim_time']
    return {'use_sim_time': given == 'true'} if given else {}


def node(
    context: LaunchContext,
    name: str,
    parameters: Parameters,
    remappings: list[tuple[str, str]] | None = None,
    **options,
) -> Node:
    """A node of this package. Raises InputError where the params_file is not there."""
    params_file = context.launch_configurations['params_file']
    if not os.path.isfile(params_file):
        raise InputError(f'params_file: {params_file}: no such file')

    common = {'name': name, 'output': 'screen', 'emulate_tty': True, **options}
    respawn = context.launch_configurations.get('respawn') == 'true'
    return Node(
        package='dfd_ros',
        executable=name,
        namespace=LaunchConfiguration('namespace'),
        parameters=[params_file, _typed(parameters | sim_time(context))],
        remappings=remappings or [],
        on_exit=_respawn(common) if respawn else _shut_down,
        **common,
    )


def _shut_down(event: ProcessExited, context: LaunchContext) -> list[Shutdown] | None:
    """Ends the launch, unless it is ending already: else each node would claim in the log to be the reason."""
    return None if context.is_shutdown else [Shutdown(reason=f'{event.process_name} has ended')]


def _respawn(options: dict[str, Any], waited: float = 0.0) -> Callable[[ProcessExited, LaunchContext], list | None]:
    """What to do at the end of a process: run the same again, after a longer wait than the `waited` s before it."""
    starts_at = time.monotonic() + waited

    def on_exit(event: ProcessExited, context: LaunchContext) -> list | None:
        if context.is_shutdown:
            return None
        ran_long = time.monotonic() - starts_at > LONG_RUN
        delay = FIRST_DELAY if ran_long else min(max(2 * waited, FIRST_DELAY), MAX_DELAY)
        again = ExecuteProcess(cmd=event.cmd, cwd=event.cwd, env=event.env, on_exit=_respawn(options, delay), **options)
        return [
            LogInfo(msg=f'{options["name"]} has ended with status {event.returncode}; it starts again in {delay:g} s'),
            TimerAction(period=delay, actions=[again]),
        ]

    return on_exit


def _typed(parameters: Parameters) -> dict:
    # launch_ros reads bare text as YAML: the device '0' would become an integer.
    return {
        name: ParameterValue(value, value_type=str) if isinstance(value, str) else value
        for name, value in parameters.items()
    }
