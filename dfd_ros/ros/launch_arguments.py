"""What can be said when camera, sweep and depth are started together: by the launch file and by `dfd run`.

Both take the arguments of this table, so that they cannot drift apart. It has no ROS in it, and nothing that
is slow to import: a launch file is read before anything runs.
"""

from __future__ import annotations

import os
import re
from dataclasses import dataclass

from dfd_ros.core.errors import InputError
from dfd_ros.core.own_class import MODULE_CLASS, is_choice

EXTERNAL = 'external'


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

    def convert(self, text: str) -> bool | int | float | str:
        """The value in the parameter's type. Raises InputError."""
        if self.choices and not is_choice(text, self.choices):
            raise InputError(f'{self.name}: {text!r} is not one of {", ".join(self.choices)}')
        try:
            if self.type is bool:
                return {'true': True, 'false': False}[text.lower()]
            if self.type is float:
                return float(re.sub(r'\.(?=inf|nan)', '', text.lower()))   # as YAML writes them
            return os.path.expanduser(text) if self.type is str else self.type(text)
        except (KeyError, ValueError):
            kind = {bool: 'true or false', int: 'a whole number', float: 'a number'}[self.type]
            raise InputError(f'{self.name}: {text!r} is not {kind}') from None


ARGUMENTS = (
    Argument('source', str, ('camera',), 'where the images come from; external: a camera driver of your own',
             'synthetic', ('synthetic', 'stack', 'rgbd', 'v4l2', MODULE_CLASS, EXTERNAL)),
    Argument('source_options', str, ('camera',), 'arguments of a class of your own, a mapping in YAML'),
    Argument('stack', str, ('camera',), 'focal stack folder (source stack)'),
    Argument('rgbd_folder', str, ('camera',), 'folder with color_N.jpg and depth_N.png, in mm (source rgbd)'),
    Argument('video_device', str, ('camera',), 'device, as a path or a number (source v4l2)'),
    Argument('focus_table', str, ('camera',), 'YAML file: control values of the focus motor against focus '
             'distances (source v4l2); empty: as calibrated'),
    Argument('calibration', str, ('camera', 'accuracy'), 'calibration file, written by dfd calibrate; the rig is '
             'described from it too'),
    Argument('image_width', int, ('camera',), 'width of the images, px'),
    Argument('image_height', int, ('camera',), 'height of the images, px'),
    Argument('rate', float, ('camera',), 'images a second'),
    Argument('settle_time', float, ('camera',), 'time from a focus command until the focus rests, s'),
    Argument('seed', int, ('camera',), 'which scene (source synthetic)'),
    Argument('publish_truth', bool, ('camera',), 'publish the true depth on truth/depth, where it is known'),
    Argument('pattern', str, ('sweep',), 'order of the focus distances',
             choices=('', 'ramp', 'ping_pong', 'jumps', 'uneven')),
    Argument('steps', int, ('sweep',), 'focus distances from one end of the range to the other'),
    Argument('near', float, ('sweep', 'depth', 'accuracy'), 'nearest distance of sweep and depth, m'),
    Argument('far', float, ('sweep', 'depth', 'accuracy'), 'farthest distance of sweep and depth, m; inf for infinity'),
    Argument('weights', str, ('depth',), 'weights of the network (safetensors; ONNX for backend onnx)'),
    Argument('network', str, ('depth',), 'classical or best_focus, which take no weights; else what the weights have '
             'to be of, your own as module:Class'),
    Argument('backend', str, ('depth',), 'what runs the network', choices=('', 'torch', 'onnx')),
    Argument('device', str, ('depth',), 'where it runs: auto, cpu, cuda, cuda:1'),
    Argument('resolution', int, ('depth',), 'longer side of the image that the network sees, px'),
    Argument('confidence_threshold', float, ('depth',), 'depth that is less sure (0..1) becomes NaN'),
)

TOPICS = ('image_raw', 'camera_info', 'lens_state', 'focus_command')
"""What lies between camera, sweep and depth: topics that a driver of its own may call otherwise."""


def nodes(source: str, rgbd: bool = False) -> tuple[str, ...]:
    """The nodes to start for a source of images; `rgbd`: with the one that compares with an RGB-D sensor."""
    camera = () if source == EXTERNAL else ('camera',)
    return (*camera, 'sweep', 'depth', *(('accuracy',) if rgbd else ()))


def parameters(node: str, values: dict[str, str]) -> dict[str, bool | int | float | str]:
    """The parameters of `node` that `values`, arguments by name, set. Raises InputError for a bad value."""
    return {argument.name: argument.convert(values[argument.name]) for argument in ARGUMENTS
            if node in argument.nodes and values.get(argument.name)}


def monitored(values: dict[str, str]) -> dict[str, bool]:
    """The parameters of the monitor that follow from `values`. Raises InputError for a bad value."""
    return {'truth': parameters('camera', values).get('publish_truth', False)}


def path(text: str) -> str:
    """An absolute path; ``~`` is the home folder, which bash leaves as it is in ``folder:=~/recordings``."""
    return os.path.abspath(os.path.expanduser(text))


def remappings(values: dict[str, str]) -> list[tuple[str, str]]:
    """(topic, what it is called) for each of `TOPICS` that `values` give another name."""
    return [(topic, values[topic]) for topic in TOPICS if values[topic] != topic]
