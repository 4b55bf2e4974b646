"""The parameters of every node.

There is no ROS in this module, and nothing that is slow to import: launch files and `dfd run --help` read it.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

from dfd_ros.core.errors import InputError
from dfd_ros.core.optics import VergenceRange
from dfd_ros.core.own_class import MODULE_CLASS
from dfd_ros.core.resources import resource
from dfd_ros.inference.estimator_arguments import PRECISIONS, RESOLUTION
from dfd_ros.ros.parameters import Parameters, check_range, parameter

if TYPE_CHECKING:
    from dfd_ros.inference.estimator import DepthEstimator
    from dfd_ros.training.config import TrainingConfig


@dataclass(frozen=True)
class CameraParameters(Parameters):
    """Parameters of the camera node."""

    source: str = parameter(
        'synthetic',
        'Where the images come from: a rendered scene, a focal stack folder, a folder of RGB-D images, a '
        'V4L2 device, a class of your own.',
        choices=('synthetic', 'stack', 'rgbd', 'v4l2', MODULE_CLASS),
    )
    source_options: str = parameter(
        '', 'Class of your own: arguments of its constructor, a mapping in YAML, such as {serial: 42}.'
    )
    rate: float = parameter(10.0, 'Images a second.', unit='Hz', minimum=0.1, maximum=1000.0, run_time=True)
    frame_id: str = parameter(
        'focus_camera_optical_frame', 'Coordinate frame of the images (z forward, x right, y down).'
    )
    image_width: int = parameter(
        0,
        "Width of the images. 0: 640 (synthetic), as stored (stack, rgbd), the driver's choice (v4l2).",
        unit='px',
        minimum=0,
        maximum=8192,
    )
    image_height: int = parameter(
        0,
        "Height of the images. 0: 480 (synthetic), the driver's choice (v4l2). A stack and rgbd keep "
        'their proportions.',
        unit='px',
        minimum=0,
        maximum=8192,
    )
    settle_time: float = parameter(
        0.0,
        'Time from a focus command until the focus rests. Images in between are marked as not settled. 0: 0.03 s, '
        '0.2 s of a motor (v4l2).',
        unit='s',
        minimum=0.0,
        maximum=10.0,
    )
    seed: int = parameter(0, 'Synthetic: which scene. RGB-D: of the noise.', minimum=0, maximum=2**31 - 1)
    publish_truth: bool = parameter(
        False, 'Publish the true depth on truth/depth where the source knows it (synthetic, rgbd, stack with depth).'
    )
    stack: str = parameter('', 'Stack: folder with images and stack.yaml.')
    rgbd_folder: str = parameter(
        '',
        "RGB-D: folder with color_N.jpg and depth_N.png (16 bit, mm), which a focus camera's images are rendered "
        'from; they are published as rgbd/color and rgbd/depth.',
    )
    video_device: str = parameter('/dev/video0', 'V4L2: device, as a path or a number.')
    calibration: str = parameter(
        '',
        'Calibration file, written by dfd calibrate: intrinsics for camera_info, and for V4L2 the focus table, '
        'the lens and its focus breathing, as far as the parameters below do not give them.',
    )
    focus_table: str = parameter(
        '',
        'V4L2: YAML file with the control values of the focus motor against focus distances. Empty: that of the '
        'calibration.',
    )
    focal_length: float = parameter(
        0.0, 'V4L2, RGB-D: focal length of the lens. 0: unknown; 50 mm (rgbd).', unit='m', minimum=0.0, maximum=10.0
    )
    f_number: float = parameter(
        0.0, 'V4L2, RGB-D: focal length over aperture diameter. 0: unknown; 1.4 (rgbd).', minimum=0.0, maximum=1000.0
    )
    pixel_pitch: float = parameter(
        0.0,
        'V4L2: distance of two pixels of the published image on the sensor. 0: unknown.',
        unit='m',
        minimum=0.0,
        maximum=0.001,
    )


@dataclass(frozen=True)
class SweepParameters(Parameters):
    """Parameters of the sweep node."""

    pattern: str = parameter(
        'ramp',
        'Order of the focus distances: ramp (and jump back), ping_pong, jumps (shuffled), uneven '
        '(ramps of random steps).',
        choices=('ramp', 'ping_pong', 'jumps', 'uneven'),
        run_time=True,
    )
    near_to_far: bool = parameter(False, 'Ramps run from near to far, not from far to near.', run_time=True)
    near: float = parameter(
        0.0,
        'Nearest focus distance. 0: what the lens state says.',
        unit='m',
        minimum=0.0,
        maximum=math.inf,
        run_time=True,
    )
    far: float = parameter(
        0.0,
        'Farthest focus distance; .inf for infinity. 0: what the lens state says.',
        unit='m',
        minimum=0.0,
        maximum=math.inf,
        run_time=True,
    )
    steps: int = parameter(
        5, 'Focus distances from one end of the range to the other.', minimum=2, maximum=1000, run_time=True
    )
    frames_per_step: int = parameter(
        1, 'Settled frames to wait for at each focus distance.', minimum=1, maximum=1000, run_time=True
    )
    timeout: float = parameter(
        1.0,
        'A command that no settled frame has answered by then is sent again.',
        unit='s',
        minimum=0.05,
        maximum=60.0,
        run_time=True,
    )
    tolerance: float = parameter(
        0.01,
        'How near to the focus asked for a frame has to be, as a share of the range in vergence, where '
        'the camera does not give command numbers.',
        minimum=0.0,
        maximum=1.0,
        run_time=True,
    )
    seed: int = parameter(0, 'Seed of the random patterns.', minimum=0, maximum=2**31 - 1, run_time=True)
    enabled: bool = parameter(True, 'Sweep from the start; the service ~/enable changes it.', run_time=True)

    def check(self) -> None:
        super().check()
        if self.near and self.far and not self.near < self.far:
            raise InputError(f'parameter near: {self.near} m is not nearer than far ({self.far} m)')


@dataclass(frozen=True)
class DepthParameters(Parameters):
    """Parameters of the depth node."""

    weights: str = parameter(
        '',
        'Weights file (safetensors). Empty: the weights that come with the package. New ones '
        'start from an empty memory.',
        run_time=True,
    )
    network: str = parameter(
        '',
        'classical (variational) or best_focus: depth from focus without learning, which takes no weights. Else '
        'the network that the weights have to be of, your own as module:Class. Empty: the one that they name.',
    )
    backend: str = parameter('torch', 'What runs the network.', choices=('torch', 'onnx'))
    device: str = parameter('auto', 'Where it runs: cpu, cuda, cuda:1. auto: the GPU if there is one.')
    precision: str = parameter(
        'auto', 'Arithmetic of the network. auto: the fastest that the device does well.', choices=PRECISIONS
    )
    resolution: int = parameter(
        RESOLUTION,
        'Longer side of the image that the network sees, at most. 0: all of it.',
        unit='px',
        minimum=0,
        maximum=8192,
    )
    near: float = parameter(
        0.0,
        'Nearest distance of the depth range. 0: what the lens state says, else what the first sweep covers.',
        unit='m',
        minimum=0.0,
        maximum=math.inf,
    )
    far: float = parameter(
        0.0,
        'Farthest distance of the depth range; .inf for infinity. 0: as for near.',
        unit='m',
        minimum=0.0,
        maximum=math.inf,
    )
    registration: bool = parameter(
        True,
        'Find zoom, rotation and shift between images, and take them out of the memory. Without it '
        'only focus breathing is, where the lens state gives a magnification.',
    )
    reset_gap: float = parameter(
        2.0, 'A longer gap between two images starts the memory afresh.', unit='s', minimum=0.001, maximum=3600.0
    )
    sync_slop: float = parameter(
        0.005,
        'Stamps of an image and its lens state differ by less than this. 0: they are the same.',
        unit='s',
        minimum=0.0,
        maximum=10.0,
    )
    confidence_threshold: float = parameter(
        0.3,
        'Depth that is less sure becomes NaN. Confidence is the probability that the error is less than '
        '5 % of the range in vergence.',
        minimum=0.0,
        maximum=1.0,
        run_time=True,
    )
    skip_unsettled: bool = parameter(True, 'Pass over images taken while the focus moved.', run_time=True)
    max_age: float = parameter(
        0.0,
        'Images that are older when their turn comes are dropped. 0: none is.',
        unit='s',
        minimum=0.0,
        maximum=3600.0,
        run_time=True,
    )
    lazy: bool = parameter(
        False,
        'Rest while nobody subscribes to a result; the first ones after that start from an empty memory.',
        run_time=True,
    )

    def check(self) -> None:
        super().check()
        check_range(self.near, self.far)

    @property
    def range(self) -> VergenceRange | None:
        return VergenceRange(self.near, self.far) if self.near else None

    def estimator(self) -> DepthEstimator:
        """Raises `InputError` where weights, network, backend or device cannot be."""
        from dfd_ros.inference.estimator import DepthEstimator

        return DepthEstimator(
            self.weights or None,
            network=self.network or None,
            backend=self.backend,
            device=self.device,
            precision=self.precision,
            range_=self.range,
            resolution=self.resolution or None,
            reset_gap=self.reset_gap,
            registration=self.registration,
        )


@dataclass(frozen=True)
class AccuracyParameters(Parameters):
    """Parameters of the accuracy node."""

    slop: float = parameter(
        0.02,
        "How far the stamps of a depth image and of the RGB-D sensor's may be apart.",
        unit='s',
        minimum=0.0001,
        maximum=10.0,
    )
    calibration: str = parameter(
        '', 'Calibration file, written by dfd calibrate: where the RGB-D camera stands, where TF does not say it.'
    )
    near: float = parameter(
        0.0,
        'Nearest distance that counts. 0: that of the range in the lens state; where that is not known, all '
        'distances count.',
        unit='m',
        minimum=0.0,
        maximum=math.inf,
    )
    far: float = parameter(
        0.0, 'Farthest distance that counts. 0: as for near.', unit='m', minimum=0.0, maximum=math.inf
    )
    largest_depth: float = parameter(
        1.0,
        'MSE and RMS are those of depth divided by this. 1.0: in square metres and metres.',
        unit='m',
        minimum=0.001,
        maximum=1000.0,
    )

    def check(self) -> None:
        super().check()
        check_range(self.near, self.far)


@dataclass(frozen=True)
class MonitorParameters(Parameters):
    """Parameters of the monitor node."""

    seconds: float = parameter(
        0.0,
        'How long to watch, from the first depth image on. 0: until stopped.',
        unit='s',
        minimum=0.0,
        maximum=86400.0,
    )
    patience: float = parameter(
        0.0,
        'Give up where no depth image has come by then. 0: wait without end.',
        unit='s',
        minimum=0.0,
        maximum=3600.0,
    )
    truth: bool = parameter(False, 'Compare with the true depth on truth/depth.')
    sync_slop: float = parameter(
        0.005,
        'Stamps of what belongs to an image differ by less than this. 0: they are the same.',
        unit='s',
        minimum=0.0,
        maximum=10.0,
    )
    output: str = parameter('', 'Folder for pictures and a video of the last frames. Empty: none.')


@dataclass(frozen=True)
class RecorderParameters(Parameters):
    """Parameters of the recorder node."""

    mode: str = parameter(
        'record',
        'record: topics into a bag. convert: bags into samples, as dfd convert does, then end.',
        choices=('record', 'convert'),
    )
    folder: str = parameter('recordings', 'Record: folder for the bags; each is named after the time of its start.')
    enabled: bool = parameter(True, 'Record: from the start; else when the service ~/start is called.')
    compressed: bool = parameter(False, 'Record: the images as TOPIC/compressed (depth: TOPIC/compressedDepth).')
    split_size: int = parameter(
        2000, 'Record: a new file of the bag after so much. 0: never.', unit='MB', minimum=0, maximum=1000000
    )
    split_time: float = parameter(
        300.0, 'Record: a new file of the bag after so long. 0: never.', unit='s', minimum=0.0, maximum=86400.0
    )
    disk_reserve: int = parameter(
        1000, 'Record: stop before less than this is left on the disk.', unit='MB', minimum=0, maximum=1000000000
    )
    slop: float = parameter(
        0.02,
        'How far the stamps of an image and of its depth image may be apart.',
        unit='s',
        minimum=0.0001,
        maximum=10.0,
    )
    bags: str = parameter('', 'Convert: bag, or folder of bags.')
    output: str = parameter('', 'Convert: folder for the samples.')
    calibration: str = parameter('', 'Convert: calibration of the rig. Empty: camera_info and TF of the bags.')
    clock_offset: str = parameter('0', 'Convert: seconds to add to the stamps of the RGB-D sensor, or auto.')
    workers: int = parameter(1, 'Convert: processes, each takes a bag at a time.', minimum=1, maximum=1024)

    def check(self) -> None:
        super().check()
        for name in ('bags', 'output') if self.mode == 'convert' else ('folder',):
            if not getattr(self, name):
                raise InputError(f'parameter {name}: mode is {self.mode}, so it has to be given')


@dataclass(frozen=True)
class TrainerParameters(Parameters):
    """Parameters of the trainer node."""

    data: str = parameter(
        '',
        'Folder of samples to train on, as dfd convert and dfd render write them. Empty: what the configuration says.',
    )
    config: str = parameter(
        '', 'Configuration of the run (YAML). Empty: config/training/fine_tune.yaml of the package.'
    )
    weights: str = parameter('', 'Weights to start from. Empty: what the configuration says.')
    output: str = parameter('runs', 'Folder of the runs; a run that is there goes on.')
    name: str = parameter('', 'Name of the run, its folder in output. Empty: what the configuration says.')
    steps: int = parameter(0, 'Optimiser steps. 0: what the configuration says.', minimum=0)
    device: str = parameter('auto', 'Where it trains: cpu, cuda, cuda:1. auto: the GPU if there is one.')
    depth_node: str = parameter(
        '',
        'Depth node that gets each better weights file, by its parameter weights; for example /depth. Empty: none.',
        run_time=True,
    )

    def check(self) -> None:
        super().check()
        from rclpy.exceptions import NameValidationException
        from rclpy.expand_topic_name import expand_topic_name
        from rclpy.validate_full_topic_name import validate_full_topic_name

        try:
            service = expand_topic_name(f'{self.depth_node}/set_parameters', 'trainer', '/')
            validate_full_topic_name(service, is_service=True)
        except (NameValidationException, ValueError):
            raise InputError(
                f'parameter depth_node: {self.depth_node!r} is no name of a node, such as /depth'
            ) from None

    def training(self) -> TrainingConfig:
        """The run. Raises `InputError`."""
        from dfd_ros.training.config import load_config

        changes = {'shards': self.data, 'initial_weights': self.weights, 'name': self.name, 'steps': self.steps}
        return load_config(
            self.config or resource('config/training/fine_tune.yaml'),
            **{name: value for name, value in changes.items() if value},
        )


NODES: dict[str, type[Parameters]] = {
    'camera': CameraParameters,
    'sweep': SweepParameters,
    'depth': DepthParameters,
    'accuracy': AccuracyParameters,
    'monitor': MonitorParameters,
    'recorder': RecorderParameters,
    'trainer': TrainerParameters,
}
