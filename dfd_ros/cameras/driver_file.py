"""The description of a camera driver for the focus bridge: config/drivers/NAME.yaml, or a copy that a user has changed.

docs/cameras.md describes each setting. There is no ROS in this module: launch files read it.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field

from dfd_ros.core.constraints import Finite
from dfd_ros.core.errors import InputError
from dfd_ros.core.files import read_yaml
from dfd_ros.core.parsing import parse
from dfd_ros.core.resources import resource

FOLDER = 'config/drivers'
Scalar = bool | int | float | str
Duration = Annotated[float, Field(ge=0, le=60)]
"""s."""
Frames = Annotated[float, Field(ge=0, le=60)]
Unit = Literal['dioptre', 'metre', 'table']
Control = Literal['', 'focus_absolute', 'focus_auto']
_TOKENS = r'[A-Za-z_]\w*(/[A-Za-z_]\w*)*'
_NAME = re.compile(rf'(~/|/)?{_TOKENS}', re.ASCII)
_NODE = re.compile(rf'/{_TOKENS}/?', re.ASCII)


def _require_name(setting: str, name: str) -> None:
    if not _NAME.fullmatch(name):
        raise ValueError(f'{setting}: {name!r} is no name of a topic or service')


def _require_alternatives(setting: str, names: str) -> None:
    if names and not all(map(str.strip, names.split('|'))):
        raise ValueError(f'{setting}: {names!r} has an empty name')


@dataclass(frozen=True)
class Topics:
    """Names of the camera's topics. A leading ~ stands for the name of the driver's node."""

    image_raw: str = 'image_raw'
    camera_info: str = 'camera_info'
    compressed: bool = False
    """Images come on image_raw/compressed only."""

    def __post_init__(self) -> None:
        _require_name('image_raw', self.image_raw)
        _require_name('camera_info', self.camera_info)


@dataclass(frozen=True)
class Setting:
    """A value to set before the first command, such as autofocus off: by parameter, service or V4L2 control."""

    value: Scalar
    parameter: str = ''
    """Or alternatives, of which the first that the driver has is set: ``focus_auto | autofocus``."""
    service: str = ''
    type: str = ''
    """Of the service, such as std_srvs/srv/SetBool."""
    field: str = 'data'
    """Of the request."""
    control: Control = ''
    """V4L2: focus_auto, which newer kernels call focus_automatic_continuous."""
    required: bool = True
    """False: a driver may lack it."""

    def __post_init__(self) -> None:
        _one_of(self, 'parameter', 'service', 'control')
        _require_alternatives('parameter', self.parameter)
        if self.service:
            _require_name('service', self.service)
        if self.control and not isinstance(self.value, int):
            raise ValueError(f'value {self.value!r}: V4L2 controls are whole numbers')


@dataclass(frozen=True)
class Command:
    """How the focus is set, with numbers of a unit: a parameter, topic, service or V4L2 control."""

    unit: Unit
    parameter: str = ''
    topic: str = ''
    service: str = ''
    control: Control = ''
    """V4L2: focus_absolute."""
    type: str = ''
    """Of the topic or service (std_msgs/msg/Float64); of a parameter without a declared type: double, integer."""
    field: str = 'data'
    """Of the message or request, such as lens.position."""
    minimum: Finite | None = None
    """Limits, if the driver declares none or wider ones."""
    maximum: Finite | None = None
    together: dict[str, Scalar] = Field(default_factory=dict)
    """Other parameters to set in the same call."""

    def __post_init__(self) -> None:
        _one_of(self, 'parameter', 'topic', 'service', 'control')
        if (self.topic or self.service) and not self.type:
            raise ValueError('a topic or service needs its type, such as std_msgs/msg/Float64')
        if self.together and not self.parameter:
            raise ValueError('together: only parameters are set together')
        _require_alternatives('parameter', self.parameter)
        if self.topic or self.service:
            _require_name('topic' if self.topic else 'service', self.topic or self.service)
        if self.parameter and self.type not in ('', 'double', 'integer'):
            raise ValueError(f'type {self.type!r}: that of a parameter is double or integer')
        for name in self.together:
            if not name.strip() or name in map(str.strip, self.parameter.split('|')):
                raise ValueError(f'together: {name!r} has to be a parameter beside the focus')
        if None not in (self.minimum, self.maximum) and not self.minimum < self.maximum:  # type: ignore[operator]
            raise ValueError(f'minimum {self.minimum:g} is not below maximum {self.maximum:g}')


@dataclass(frozen=True)
class Report:
    """What the driver says of the focus.

    ``none``: nothing. ``read_back``: the value that it has taken, of the command's own parameter or control. ``topic``:
    where the lens is.
    """

    kind: Literal['none', 'read_back', 'topic'] = 'none'
    topic: str = ''
    """Several names are alternatives: all are listened to, as in ``~/metadata | /diagnostics``."""
    type: str = 'diagnostic_msgs/msg/DiagnosticArray'
    field: str = 'data'
    """Of the message, where there is no key."""
    key: str = ''
    """Of a diagnostic_msgs/KeyValue in the message."""
    unit: Unit | Literal[''] = ''
    """Empty: that of the command."""
    stamp: Literal['header', 'arrival'] = 'header'
    """When the lens was there."""
    latency_frames: Annotated[int, Field(ge=0, le=60)] = 0
    """Frames from the one that a report is stamped with to the one that shows it."""
    latency_s: Annotated[float, Field(ge=-60, le=60)] = 0.0
    """s, in addition. With `stamp: arrival`: by how much later than the truth a report comes at most."""
    settle_frames: Annotated[int, Field(ge=1, le=60)] = 1
    """Frames before the one in question for which the reports have to be the same."""
    wait_s: Duration = 0.2
    """s that a lens state waits for its report."""
    every_s: Annotated[float, Field(gt=0, le=60)] = 0.5
    """s between two readings of a read_back."""

    def __post_init__(self) -> None:
        if (self.kind == 'topic') != bool(self.topic):
            raise ValueError('a report of kind topic, and no other, names a topic')
        _require_alternatives('topic', self.topic)
        for name in filter(None, map(str.strip, self.topic.split('|'))):
            _require_name('topic', name)


@dataclass(frozen=True)
class Motion:
    """The lens from a command to rest, where the driver does not report its position.

    The latency is that from the driver's answer to the start of the motion, the sum of both parts.
    """

    latency_frames: Frames = 0.0
    latency_s: Annotated[float, Field(ge=-60, le=60)] = 0.0
    slew: Annotated[float, Field(ge=0, allow_inf_nan=False)] = 0.0
    """Values of the command in a second. 0: at once."""
    settle_s: Duration = 0.1
    """s until the lens rests after it has arrived."""
    rate_hz: Annotated[float, Field(ge=0, le=1000)] = 0.0
    """Frames a second at which `slew` and `settle_s` hold, where the lens moves frame by frame. 0: at any."""
    uncertainty_s: Duration | None = None
    """s by which all of this may be off, if it was measured from the command on, by the stamps of the frames. Not
    given: the lens may move at any time from the command on, and a frame is exposed within a period of its stamp."""


@dataclass(frozen=True)
class Driver:
    """A camera driver."""

    command: Command
    node: str = ''
    """Whose parameters are set, such as /camera."""
    device: str = ''
    """V4L2: the device of the camera or of its lens."""
    topics: Topics = Topics()
    setup: tuple[Setting, ...] = ()
    report: Report = Report()
    motion: Motion = Motion()
    margin_frames: Frames = 6.0
    """By how many frames the lens may rest later than this file says, until that is measured."""

    def __post_init__(self) -> None:
        kinds = {kind for s in (self.command, *self.setup) for kind in ('parameter', 'control') if getattr(s, kind)}
        if 'parameter' in kinds and not self.node:
            raise ValueError('parameters are set, so node has to name their node, such as /camera')
        if 'control' in kinds and not self.device:
            raise ValueError('V4L2 controls are set, so device has to name their device, such as /dev/video0')
        if self.node and not self.node.startswith('/'):  # what /parameter_events says
            raise ValueError(f'node: {self.node!r} has to be the full name, with its namespace, such as /{self.node}')
        if self.node and not _NODE.fullmatch(self.node):
            raise ValueError(f'node: {self.node!r} is no name of a node')
        if self.report.kind == 'read_back' and not (self.command.parameter or self.command.control):
            raise ValueError('report: only a parameter and a V4L2 control can be read back')

    @property
    def has_stamped_reports(self) -> bool:
        """Whether the driver says of each frame where the lens was."""
        return self.report.kind == 'topic' and self.report.stamp == 'header'

    def resolve(self, name: str) -> str:
        """The name of a topic or service: ~ is the driver's node."""
        return f'{self.node.rstrip("/")}/{name[2:]}' if name.startswith('~/') else name


def presets() -> list[str]:
    """The names of the drivers that the package knows."""
    return sorted(path.stem for path in resource(FOLDER).glob('*.yaml'))


def read_driver(name: str, *, node: str = '', device: str = '') -> Driver:
    """The driver of a preset or of a file of one's own. `node` and `device` replace those of the file.

    Raises:
        InputError: names the file, the setting and what is wrong.
    """
    path = Path(name).expanduser()
    if path.suffix not in ('.yaml', '.yml'):
        if name not in presets():
            raise InputError(f'driver {name!r}: give one of {", ".join(presets())}, or a .yaml file')
        path = resource(f'{FOLDER}/{name}.yaml')
    content = read_yaml(path)
    if isinstance(content, dict):
        content |= {key: value for key, value in (('node', node), ('device', device)) if value}
    return parse(Driver, content, str(path))


def _one_of(settings: object, *names: str) -> None:
    if sum(bool(getattr(settings, name)) for name in names) != 1:
        raise ValueError(f'give one of {", ".join(names)}')
