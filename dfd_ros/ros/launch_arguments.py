"""The arguments of the launch files and of `dfd run`: parameters of the nodes, as those declare them.

There is no ROS in this module, and nothing that is slow to import: a launch file is read before anything runs.
"""

from __future__ import annotations

import os
import re
from dataclasses import dataclass
from typing import NamedTuple

from dfd_ros.core.errors import InputError
from dfd_ros.core.files import require_file
from dfd_ros.core.own_class import MODULE_CLASS, is_choice
from dfd_ros.ros.node_parameters import NODES, CameraParameters

EXTERNAL = 'external'
_OF_EVERY_NODE = ('autostart', 'events_executor')


@dataclass(frozen=True)
class Argument:
    """An argument of the launch, which sets the parameter `name` of each node in `nodes`.

    Its value is text, as launch and the command line have it; an empty one leaves the parameter to the
    parameter file, else to the node's default.
    """

    name: str
    type: type
    nodes: tuple[str, ...]
    description: str
    default: str = ''
    choices: tuple[str, ...] = ()

    @property
    def closed_choices(self) -> tuple[str, ...]:
        """`choices`, where nothing else is allowed."""
        return () if MODULE_CLASS in self.choices else self.choices

    @property
    def launch_description(self) -> str:
        return self.description if self.default else f'{self.description} Not given: as in params_file.'

    def convert(self, text: str) -> bool | int | float | str:
        """The value in the parameter's type. Raises InputError."""
        if self.choices and not is_choice(text, self.choices):
            raise InputError(f'{self.name}: {text!r} is not one of {", ".join(self.choices)}')
        try:
            if self.type is bool:
                return {'true': True, 'false': False}[text.lower()]
            if self.type is float:
                return float(re.sub(r'\.(?=inf|nan)', '', text.lower()))  # as YAML writes them
            return os.path.expanduser(text) if self.type is str else self.type(text)
        except (KeyError, ValueError):
            kind = {bool: 'true or false', int: 'a whole number', float: 'a number'}[self.type]
            raise InputError(f'{self.name}: {text!r} is not {kind}') from None


def arguments(names: dict[str, tuple[str, ...]]) -> tuple[Argument, ...]:
    """Arguments that set these parameters of these nodes; one of several nodes sets it of all. Those of every node,
    which few need, come last."""
    found = []
    distinct = dict.fromkeys(name for own in names.values() for name in own)
    for name in sorted(distinct, key=lambda name: name in _OF_EVERY_NODE):
        declared = {
            node: declaration
            for node, own in names.items()
            if name in own
            for declaration in NODES[node].declarations()
            if declaration.name == name
        }
        first, *more = declared.values()
        description = first.description
        if any(d.description != description for d in more):
            description = ' '.join(f'{node}: {d.description}' for node, d in declared.items())
        unit = f' [{first.unit}]' if first.unit else ''
        # Only where the images come from has to be known here: it decides which nodes there are.
        default, choices = '', ('', *first.choices) if first.choices else ()
        if name == 'source':
            default, choices = str(first.default), (*first.choices, EXTERNAL)
            description += f' {EXTERNAL}: a camera driver of your own.'
        found.append(Argument(name, first.type, tuple(declared), description + unit, default, choices))
    return tuple(found)


ARGUMENTS = arguments(
    {
        'camera': (
            *_OF_EVERY_NODE,
            'source',
            'source_options',
            'stack',
            'rgbd_folder',
            'video_device',
            'camera_id',
            'focus_table',
            'calibration',
            'image_width',
            'image_height',
            'rate',
            'settle_time',
            'max_travel',
            'seed',
            'publish_truth',
        ),
        'focus_bridge': (
            *_OF_EVERY_NODE,
            'driver',
            'driver_node',
            'video_device',
            'focus_table',
            'calibration',
            'max_travel',
        ),
        'sweep': (
            *_OF_EVERY_NODE,
            'pattern',
            'steps',
            'frames_per_step',
            'pipelined',
            'near',
            'far',
            'focus_on',
            'hold_steps',
        ),
        'depth': (
            *_OF_EVERY_NODE,
            'near',
            'far',
            'adaptive_range',
            'weights',
            'network',
            'backend',
            'device',
            'resolution',
            'confidence_threshold',
            'accepted_errors',
        ),
        'accuracy': ('calibration', 'near', 'far'),
        'viewer': ('host', 'port'),
    }
)
"""Of depth_from_focus.launch.py and `dfd run`."""
RECORDER = arguments({'recorder': (*_OF_EVERY_NODE, 'folder', 'enabled')})
"""Of record.launch.py."""
TRAINER = arguments({'trainer': ('data', 'config', 'weights', 'output', 'name', 'steps', 'device', 'depth_node')})
"""Of train.launch.py."""


FILES = ('weights', 'focus_table', 'calibration')
"""Arguments that name a file to read."""
NEEDED_BY_SOURCE = {'stack': 'stack', 'rgbd': 'rgbd_folder'}
"""By source, the argument that it cannot do without."""


class Switch(NamedTuple):
    """An argument, false by default, that starts another node."""

    node: str
    description: str


SWITCHES = {
    'rgbd': Switch('accuracy', 'compare depth with an RGB-D sensor (accuracy node)'),
    'view': Switch('viewer', 'show everything on a live page in the browser (viewer node)'),
}
"""Of depth_from_focus.launch.py and `dfd run`, by name."""
FRAME_PREFIX, USE_SIM_TIME = 'frame_prefix', 'use_sim_time'
OF_THE_RUN = {
    FRAME_PREFIX: 'before the names of the frames of images and rig, such as left/ of one of two cameras; frames that '
    'a calibration names are used as they are',
    USE_SIM_TIME: 'take the time from /clock, as in simulation and with played bags; empty: as in params_file',
}
"""Arguments with their descriptions that several nodes follow."""
ONLY_LAUNCH = ('respawn', 'rig', 'rig_rgbd', 'rviz')
"""Arguments of depth_from_focus.launch.py that `dfd run` has not: launch or other packages do it."""
TOPICS = ('image_raw', 'camera_info', 'lens_state', 'focus_command')
"""What lies between camera, sweep and depth: topics that a driver of its own may call otherwise."""


def nodes(values: dict[str, str]) -> tuple[str, ...]:
    """The nodes that `values` start. Raises InputError for a driver beside another source of images."""
    source, driver = values['source'], values['driver']
    if driver and source != EXTERNAL:
        raise InputError(f'driver: {driver!r} is the camera, so source has to be {EXTERNAL}, not {source}')
    camera = ('camera',) if source != EXTERNAL else ('focus_bridge',) if driver else ()
    return (*camera, 'sweep', 'depth', *(switch.node for name, switch in SWITCHES.items() if values[name] == 'true'))


def require_files(values: dict[str, str], has_parameter_file: bool = False) -> None:
    """Checks the files that `values` name, which nodes find missing only after seconds.

    has_parameter_file: more parameters come from a file.

    Raises InputError.
    """
    for name in FILES:
        if values.get(name):
            try:
                require_file(path(values[name]))
            except InputError as error:
                raise InputError(f'{name}: {error}') from None
    needed = NEEDED_BY_SOURCE.get(values.get('source', ''))
    if needed and not values.get(needed) and not has_parameter_file:
        raise InputError(f'source {values["source"]}: needs {needed}, the folder to show')


def parameters(
    node: str, values: dict[str, str], known: tuple[Argument, ...] = ARGUMENTS
) -> dict[str, bool | int | float | str]:
    """The parameters of `node` that `values`, `known` arguments by name, set. Raises InputError for a bad value."""
    return {
        argument.name: argument.convert(values[argument.name])
        for argument in known
        if node in argument.nodes and values.get(argument.name)
    }


def of_the_run(node: str, values: dict[str, str]) -> dict[str, bool | int | float | str]:
    """The parameters of `node` that follow from `OF_THE_RUN`."""
    found: dict[str, bool | int | float | str] = {}
    if values.get(USE_SIM_TIME):
        found[USE_SIM_TIME] = values[USE_SIM_TIME] == 'true'
    if node == 'camera' and values.get(FRAME_PREFIX):
        found['frame_id'] = values[FRAME_PREFIX] + CameraParameters().frame_id
    return found


def with_driver(values: dict[str, str]) -> tuple[dict[str, str], dict[str, bool]]:
    """`values` with the topics of the camera driver that they name, unless they name topics themselves, and the
    parameters of the depth node that follow from it. Raises InputError for a driver file that cannot be read."""
    if not values['driver']:
        return values, {}
    from dfd_ros.cameras.driver_file import read_driver  # here, as pydantic takes its time

    driver = read_driver(values['driver'], node=values['driver_node'], device=values['video_device'])
    own = {'image_raw': driver.topics.image_raw, 'camera_info': driver.topics.camera_info}
    found = {topic: driver.resolve(name) for topic, name in own.items() if values[topic] == topic}
    return values | found, {'compressed': True} if driver.topics.compressed else {}


def rig(values: dict[str, str]) -> dict[str, str] | None:
    """The arguments of the rig's description, None = no description. Its RGB-D camera is there where something says
    that there is one: the source, the comparison with it, or a calibration, whose extrinsics place it."""
    if values['rig'] == 'false' or (values['rig'] == 'auto' and values['source'] == EXTERNAL):
        return None
    exists = values['source'] == 'rgbd' or values['rgbd'] == 'true' or bool(values['calibration'])
    described = exists if values['rig_rgbd'] == 'auto' else values['rig_rgbd'] == 'true'
    found = {'rgbd': str(described).lower()}
    # Absolute, since xacro looks beside its own file.
    return found | {'calibration': path(values['calibration'])} if values['calibration'] else found


def monitored(values: dict[str, str]) -> dict[str, bool]:
    """The parameters of the monitor that follow from `values`. Raises InputError for a bad value."""
    return {'truth': bool(parameters('camera', values).get('publish_truth', False))}


def path(text: str) -> str:
    """An absolute path; ``~`` is the home folder, which bash leaves as it is in ``folder:=~/recordings``."""
    return os.path.abspath(os.path.expanduser(text))


def remappings(values: dict[str, str]) -> list[tuple[str, str]]:
    """(topic, what it is called) for each of `TOPICS` that `values` give another name."""
    return [(topic, values[topic]) for topic in TOPICS if values[topic] != topic]
