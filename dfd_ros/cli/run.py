"""dfd run: camera, sweep and depth nodes, as depth_from_focus.launch.py starts them, without launch."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from dfd_ros.ros.launch_arguments import ARGUMENTS, FRAME_PREFIX, OF_THE_RUN, SWITCHES, TOPICS, USE_SIM_TIME

HELP = 'run the camera, sweep and depth nodes, as depth_from_focus.launch.py does, without launch'
EXAMPLE = 'dfd run --source stack --stack output/stacks/0000 --record output/run --seconds 20'

PATIENCE = 120.0  # s until the first depth image, if --seconds limits the run
DRAWING = 120.0  # s that pictures and video may take after Ctrl-C


def _option(name: str) -> str:
    return '--' + name.replace('_', '-')


def add_arguments(parser: argparse.ArgumentParser) -> None:
    for argument in ARGUMENTS:
        choices = [choice for choice in argument.closed_choices if choice] or None
        metavar = '|'.join(argument.choices) if argument.choices else argument.type.__name__.upper()
        parser.add_argument(
            _option(argument.name),
            metavar=None if choices else metavar,
            choices=choices,
            default=argument.default or None,
            help=argument.description.replace('%', '%%'),
        )
    for topic in TOPICS:
        parser.add_argument(_option(topic), metavar='TOPIC', default=topic, help=f'remap {topic} to this topic')
    parser.add_argument(
        '--params-file', metavar='YAML', type=Path, help='node parameter file; command-line arguments take precedence'
    )
    parser.add_argument(_option(FRAME_PREFIX), metavar='PREFIX', help=OF_THE_RUN[FRAME_PREFIX])
    parser.add_argument(_option(USE_SIM_TIME), choices=('true', 'false'), help=OF_THE_RUN[USE_SIM_TIME])
    parser.add_argument('--namespace', default='', help='namespace of the nodes')
    parser.add_argument('--record', metavar='DIR', type=Path, help='save pictures and a video to this folder')
    for name, switch in SWITCHES.items():
        parser.add_argument(_option(name), action='store_const', const='true', help=switch.description)
    parser.add_argument(
        '--seconds',
        metavar='S',
        type=float,
        default=0.0,
        help='with --record: stop after this many seconds of depth; 0: at Ctrl-C',
    )


def run(args: argparse.Namespace) -> int:
    from dfd_ros.core.child_processes import terminable
    from dfd_ros.core.errors import InputError
    from dfd_ros.core.files import require_output_folder
    from dfd_ros.ros import launch_arguments
    from dfd_ros.ros.node_processes import NodeFailed, NodeProcesses, require_ros

    values = {
        name: getattr(args, name) or '' for name in (*(a.name for a in ARGUMENTS), *SWITCHES, *TOPICS, *OF_THE_RUN)
    }
    names = launch_arguments.nodes(values)
    values, of_driver = launch_arguments.with_driver(values)
    parameters = {
        name: launch_arguments.parameters(name, values) | launch_arguments.of_the_run(name, values) for name in names
    }
    parameters['depth'] |= of_driver
    if args.seconds and not args.record:
        raise InputError('--seconds: needs --record')
    if args.params_file and not args.params_file.is_file():
        raise InputError(f'{args.params_file}: no such file')
    launch_arguments.require_files(values, has_parameter_file=bool(args.params_file))
    if args.record:
        require_output_folder(args.record)
    require_ros()
    common = [part for topic, name in launch_arguments.remappings(values) for part in ('-r', f'{topic}:={name}')]
    if args.namespace:
        common += ['-r', f'__ns:=/{args.namespace.strip("/")}']
    if args.params_file:
        common += ['--params-file', str(args.params_file)]
    try:
        with terminable(), NodeProcesses() as processes:
            if args.record:
                patience = PATIENCE if args.seconds else 0.0
                watched = {'output': str(args.record), 'seconds': args.seconds, 'patience': patience}
                watched |= launch_arguments.monitored(values) | launch_arguments.of_the_run('monitor', values)
                processes.start('monitor', watched, *common, grace=DRAWING)
            for name in names:
                processes.start(name, parameters[name], *common)
            processes.wait(until='monitor')
    except NodeFailed as error:
        print(f'dfd: error: {error}', file=sys.stderr)
        return 1
    return 0
