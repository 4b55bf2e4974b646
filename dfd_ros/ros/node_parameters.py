"""The parameters of every node.

There is no ROS in this module, and nothing that is slow to import: launch files and `dfd run --help` read it.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from dfd_ros.core import sweeps
from dfd_ros.core.errors import InputError
from dfd_ros.core.focus_device import DEVICES
from dfd_ros.core.optics import VergenceRange
from dfd_ros.core.own_class import MODULE_CLASS
from dfd_ros.core.resources import resource
from dfd_ros.core.significant_bits import DEPTHS
from dfd_ros.inference.estimator_arguments import MIN_IMAGE, PRECISIONS, RESOLUTION
from dfd_ros.ros.parameters import (
    ManagedParameters,
    Parameters,
    check_node_name,
    check_range,
    parameter,
    run_time_parameter,
)

if TYPE_CHECKING:
    from dfd_ros.inference.estimator import DepthEstimator
    from dfd_ros.training.config import TrainingConfig

SWEEP_PATTERNS = (*sweeps.PATTERNS, 'auto')


def _max_travel(run_time: bool = False) -> Any:
    return parameter(
        0.0,
        'A frame also counts as settled if the lens moved over at most this share of its range, between two known '
        'positions, during its exposure; its focus is the middle of the two. 0: the lens has to rest.',
        within=(0.0, 0.1),
        run_time=run_time,
    )


@dataclass(frozen=True)
class CameraParameters(ManagedParameters):
    """Parameters of the camera node."""

    source: str = parameter(
        'synthetic',
        'Where the images come from: a rendered scene, a focal stack folder, a folder of RGB-D images, a device with '
        'a focus motor (V4L2, Luxonis OAK, Raspberry Pi, GenICam), a class of your own.',
        choices=('synthetic', 'stack', 'rgbd', *DEVICES, MODULE_CLASS),
    )
    source_options: str = parameter(
        '', 'Class of your own: arguments of its constructor, a mapping in YAML, such as {serial: 42}.'
    )
    rate: float = run_time_parameter(10.0, 'Images a second.', unit='Hz', within=(0.1, 1000.0))
    frame_id: str = parameter(
        'focus_camera_optical_frame', 'Coordinate frame of the images (z forward, x right, y down).'
    )
    image_width: int = parameter(
        0,
        "Width of the images. 0: 640 (synthetic, depthai, picamera2), as stored (stack, rgbd), the driver's choice "
        '(v4l2, pypylon).',
        unit='px',
        within=(0, 8192),
    )
    image_height: int = parameter(
        0,
        "Height of the images. 0: 480 (synthetic, depthai, picamera2), the driver's choice (v4l2, pypylon). A stack "
        'and rgbd keep their proportions.',
        unit='px',
        within=(0, 8192),
    )
    settle_time: float = parameter(
        0.0,
        'Time from a focus command until the focus rests. Images in between are marked as not settled. 0: 0.03 s, '
        '0.2 s of a device.',
        unit='s',
        within=(0.0, 10.0),
    )
    seed: int = parameter(0, 'Synthetic: which scene. RGB-D: of the noise.', within=(0, 2**31 - 1))
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
    camera_id: str = parameter(
        '',
        'Device: which camera of depthai (id or IP address), picamera2 (number), pypylon (serial number). Empty: the '
        'first.',
    )
    calibration: str = parameter(
        '',
        'Calibration file, written by dfd calibrate: intrinsics for camera_info, and for devices the focus table, '
        'the lens and its focus breathing, unless parameters of their own give them.',
    )
    focus_table: str = parameter(
        '',
        'Device: YAML file with the values of the focus motor against focus distances. Empty: that of the calibration, '
        'otherwise dioptres (picamera2).',
    )
    focal_length: float = parameter(
        0.0, 'Device, RGB-D: focal length of the lens. 0: unknown; 50 mm (rgbd).', unit='m', within=(0.0, 10.0)
    )
    f_number: float = parameter(
        0.0, 'Device, RGB-D: focal length over aperture diameter. 0: unknown; 1.4 (rgbd).', within=(0.0, 1000.0)
    )
    pixel_pitch: float = parameter(
        0.0,
        'Device: distance of two pixels of the published image on the sensor. 0: unknown.',
        unit='m',
        within=(0.0, 0.001),
    )
    pixel_format: str = parameter(
        '',
        'V4L2: how the images come over the wire. MJPG (JPEG) allows larger images at a higher rate. Empty: as the '
        'driver chooses.',
        choices=('', 'MJPG', 'YUYV'),
    )
    exposure_time: float = parameter(
        0.0, 'Device: exposure time. 0: as the camera chooses.', unit='s', within=(0.0, 10.0)
    )
    max_travel: float = _max_travel()
    white_balance: int = parameter(
        0, 'Device: colour temperature. 0: as the camera chooses.', unit='K', within=(0, 20000)
    )
    gain: int = parameter(-1, "Device: gain, in the camera's own unit. -1: as the camera chooses.", within=(-1, 65535))


@dataclass(frozen=True)
class FocusBridgeParameters(ManagedParameters):
    """Parameters of the focus bridge."""

    driver: str = parameter(
        'camera_ros',
        'The camera driver whose focus is set: a name of config/drivers, such as camera_ros, or a YAML file '
        '(docs/cameras.md).',
    )
    driver_node: str = parameter('', "Name of the driver's node, such as /left/camera. Empty: as in the driver file.")
    video_device: str = parameter('', 'V4L2: device whose focus is set. Empty: as in the driver file.')
    calibration: str = parameter(
        '', 'Calibration file: the focus table, the lens and its focus breathing go into the lens state.'
    )
    focus_table: str = parameter(
        '',
        'YAML file with the values that the driver takes against focus distances. Empty: that of the calibration, '
        'otherwise the unit in the driver file.',
    )
    max_travel: float = _max_travel(run_time=True)


@dataclass(frozen=True)
class SweepParameters(ManagedParameters):
    """Parameters of the sweep node."""

    pattern: str = run_time_parameter(
        'ramp',
        'Order of the focus distances: ramp (and jump back), ping_pong, jumps (shuffled), uneven '
        '(ramps of random steps), auto (ramp or ping_pong, whichever has more settled frames with this lens).',
        choices=SWEEP_PATTERNS,
    )
    near_to_far: bool = run_time_parameter(False, 'Ramps run from near to far, not from far to near.')
    near: float = run_time_parameter(
        0.0, 'Nearest focus distance. 0: what the lens state says.', unit='m', within=(0.0, math.inf)
    )
    far: float = run_time_parameter(
        0.0,
        'Farthest focus distance; .inf for infinity. 0: what the lens state says.',
        unit='m',
        within=(0.0, math.inf),
    )
    steps: int = run_time_parameter(5, 'Focus distances from one end of the range to the other.', within=(2, 1000))
    frames_per_step: int = run_time_parameter(
        1,
        'Settled frames to wait for at each focus distance; pipelined: frames from one command to the next.',
        within=(1, 1000),
    )
    focus_on: float = run_time_parameter(
        0.0,
        'Distance to hold the focus on, .inf for infinity; one step of the sweep follows after hold_steps steps there. '
        'Images of what is there stay sharp, while depth is still seen everywhere. 0: sweep only. The topic focus_on '
        'changes it.',
        unit='m',
        within=(0.0, math.inf),
    )
    hold_steps: int = run_time_parameter(
        3, 'focus_on: steps at that distance between two steps of the sweep.', within=(1, 1000)
    )
    pipelined: bool = run_time_parameter(
        False,
        'Command the next focus distance without waiting for the lens. Needs a camera or focus bridge that knows where '
        'its lens was in each frame: by reports, or by dfd calibrate latency. Where no frame settles within timeout, '
        'the sweep waits for a while.',
    )
    timeout: float = run_time_parameter(
        1.0,
        'A command that no settled frame has answered by then, nor within 30 frames, is sent again.',
        unit='s',
        within=(0.05, 60.0),
    )
    tolerance: float = run_time_parameter(
        0.01,
        'How near to the requested focus a frame has to be, as a share of the range in vergence, where '
        'the camera does not give command numbers.',
        within=(0.0, 1.0),
    )
    seed: int = run_time_parameter(0, 'Seed of the random patterns.', within=(0, 2**31 - 1))
    enabled: bool = run_time_parameter(True, 'Sweep from the start; the service ~/enable changes it.')

    def check(self) -> None:
        super().check()
        check_range(self.near, self.far, need_both=False)
        if self.focus_on and self.near and self.far and not self.near <= self.focus_on <= self.far:
            raise InputError(f'parameter focus_on: {self.focus_on:g} m is outside of {self.near:g} to {self.far:g} m')


@dataclass(frozen=True)
class DepthParameters(ManagedParameters):
    """Parameters of the depth node."""

    weights: str = run_time_parameter(
        '',
        'Weights file (safetensors). Empty: the weights of the package. Setting it loads the file again and clears '
        'the memory.',
    )
    network: str = parameter(
        '',
        'variational (also called classical) or best_focus: depth from focus without learning and without weights. '
        'Otherwise the network of the weights, your own as module:Class. Empty: the one that the weights name.',
    )
    backend: str = parameter('torch', 'What runs the network.', choices=('torch', 'onnx'))
    device: str = parameter('auto', 'Device to run on: cpu, cuda, cuda:1. auto: the GPU if there is one.')
    precision: str = parameter(
        'auto',
        'Arithmetic of the network. auto: bf16 where the device has fast bf16; on another GPU fp16, otherwise fp32.',
        choices=PRECISIONS,
    )
    resolution: int = parameter(
        RESOLUTION,
        'Longest side of the image that the network sees; larger images are reduced. 0: no limit.',
        unit='px',
        within=(0, 8192),
    )
    output_resolution: int = parameter(
        0,
        'Longest side of the results. Larger images are reduced as they arrive, and depth/camera_info fits: saves time '
        'and memory with large images. 0: that of the images.',
        unit='px',
        within=(0, 8192),
    )
    adapt_resolution: bool = parameter(
        False,
        'Reduce the resolution, down to 160 px, until depth keeps up with the camera, or with max_rate. It rises again '
        'where there is time. Not for ONNX files of a fixed size.',
    )
    max_rate: float = run_time_parameter(
        0.0,
        'Process at most so many images a second, all foci of the sweep in turn; drop the others. 0: no limit.',
        unit='Hz',
        within=(0.0, 1000.0),
    )
    near: float = parameter(
        0.0,
        'Nearest distance of the depth range. 0: that of the lens state, otherwise what the sweeps cover.',
        unit='m',
        within=(0.0, math.inf),
    )
    far: float = parameter(
        0.0,
        'Farthest distance of the depth range; .inf for infinity. 0: as for near.',
        unit='m',
        within=(0.0, math.inf),
    )
    adaptive_range: bool = parameter(
        False,
        'Let the sweep cover only the depths that there are, and everything every sixth time, or when depth becomes '
        'unsure: finer depth from as many frames, where the scene does not fill the range. Confidence and filters '
        'then refer to the range that is swept.',
    )
    registration: bool = parameter(
        True,
        'Estimate zoom, rotation and shift between images and align the memory with them. If false, only the '
        'magnification of the lens state (focus breathing) is compensated.',
    )
    reset_gap: float = parameter(
        2.0, 'A longer gap between two images clears the memory.', unit='s', within=(0.001, 3600.0)
    )
    sync_slop: float = parameter(
        0.005,
        'Largest difference between the stamps of an image and its lens state. 0: they must be equal.',
        unit='s',
        within=(0.0, 10.0),
    )
    confidence_threshold: float = run_time_parameter(
        0.3,
        'Depth below this confidence becomes NaN. Confidence is the probability that the error is less than '
        '5 % of the range in vergence.',
        within=(0.0, 1.0),
    )
    accepted_errors: float = run_time_parameter(
        1.0,
        'Share of wrong depth that is accepted among the depth of an image; wrong is an error of 5 % of the range in '
        'vergence or more. As much of the least confident depth becomes NaN as this takes, if the confidence is '
        'right. 1: no limit.',
        within=(0.0, 1.0),
    )
    lens_state_delay: float = run_time_parameter(
        0.0,
        'How much later than their images the lens states are stamped: it is taken out of their stamps. Negative: '
        'earlier.',
        unit='s',
        within=(-10.0, 10.0),
    )
    trust_stamps: bool = run_time_parameter(
        False,
        'Give depth also where images and lens states that pair by their stamps arrive a frame apart each time, as '
        'with a camera whose images take a frame longer. Otherwise only if the images confirm their lens states.',
    )
    skip_unsettled: bool = run_time_parameter(True, 'Skip images taken while the focus moved.')
    max_age: float = run_time_parameter(
        0.0, 'Drop images older than this before they are processed. 0: drop none.', unit='s', within=(0.0, 3600.0)
    )
    compressed: bool = parameter(False, 'Take the images from image_raw/compressed (JPEG or PNG).')
    image_bits: int = parameter(
        0,
        'Bits that 16-bit images, such as mono16, use: 8, 10, 12, 14 or 16. 0: found from the values; the number only '
        'grows, so that the exposure does not flicker.',
        within=(0, 16),
    )
    rectification: str = parameter(
        'apply',
        'apply: depth, CoC and confidence are rectified where camera_info has distortion. none: they stay in the view '
        'of image_raw, and depth is published as depth/image. done: image_raw is rectified already, whatever '
        'camera_info has.',
        choices=('apply', 'none', 'done'),
    )
    out_of_range: str = run_time_parameter(
        'keep',
        'Depth outside the depth range. keep: as estimated. nan: unknown. infinite: +inf beyond far and -inf nearer '
        'than near (REP 117).',
        choices=('keep', 'nan', 'infinite'),
    )
    median: bool = run_time_parameter(False, 'Filter: the median of the last three depth images, for a camera at rest.')
    edge_jump: float = run_time_parameter(
        0.0,
        'Filter: depth becomes NaN where neighbours differ by more than this share of the range in vergence, since it '
        'flies between two surfaces there. 0: off.',
        within=(0.0, 1.0),
    )
    speckle_size: int = run_time_parameter(
        0, 'Filter: surfaces of fewer pixels become NaN. 0: off.', unit='px', within=(0, 100000)
    )
    points_decimation: int = run_time_parameter(1, 'points has one point for so many columns and rows.', within=(1, 64))
    lazy: bool = run_time_parameter(
        False, 'Pause while nobody subscribes to a result. Processing then starts again with an empty memory.'
    )

    min_known: float = run_time_parameter(
        0.05, 'Diagnostics warn if a smaller share of the pixels has depth.', within=(0.0, 1.0)
    )
    min_positions: int = run_time_parameter(
        3, 'Diagnostics warn if depth sees fewer different foci within 10 s.', within=(0, 1000)
    )
    max_refused: float = run_time_parameter(
        0.5, 'Diagnostics warn if a larger share of the image and lens state pairs is refused.', within=(0.0, 1.0)
    )
    max_unpaired: float = run_time_parameter(
        0.5, 'Diagnostics warn if a larger share of the images finds no lens state.', within=(0.0, 1.0)
    )
    max_resets: int = run_time_parameter(
        10, 'Diagnostics warn if the memory restarts more often in a minute.', within=(0, 10000)
    )
    min_rate: float = run_time_parameter(
        0.0, 'Diagnostics warn if depth comes less often.', unit='Hz', within=(0.0, 1000.0)
    )
    max_latency: float = run_time_parameter(
        0.0,
        'Diagnostics warn if 5 % of the depth images come later than this after the stamp of their image. 0: never.',
        unit='s',
        within=(0.0, 600.0),
    )
    max_dropped: float = run_time_parameter(
        1.0, 'Diagnostics warn if a larger share of the image and lens state pairs is dropped.', within=(0.0, 1.0)
    )
    min_confidence: float = run_time_parameter(
        0.0, 'Diagnostics warn if the mean confidence of the depth that is published is lower.', within=(0.0, 1.0)
    )
    max_memory: float = run_time_parameter(
        0.0, 'Diagnostics warn if the process takes more RAM. 0: never.', unit='MB', within=(0.0, 1e9)
    )

    def check(self) -> None:
        super().check()
        check_range(self.near, self.far)
        if self.image_bits not in (0, *DEPTHS):
            raise InputError(f'parameter image_bits: {self.image_bits} must be 0, {", ".join(map(str, DEPTHS))}')
        for name in ('resolution', 'output_resolution'):
            if 0 < getattr(self, name) < MIN_IMAGE:
                raise InputError(f'parameter {name}: {getattr(self, name)} px is too small; 0, or from {MIN_IMAGE}')

    @property
    def range(self) -> VergenceRange | None:
        return VergenceRange(self.near, self.far) if self.near else None

    def estimator(self) -> DepthEstimator:
        """Raises `InputError` if the weights, network, backend or device cannot be used."""
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
        'Largest difference between the stamps of a depth image and of a depth image of the RGB-D sensor.',
        unit='s',
        within=(0.0001, 10.0),
    )
    calibration: str = parameter(
        '', 'Calibration file of dfd calibrate, with the pose of the RGB-D camera. Used if TF does not have it.'
    )
    near: float = parameter(
        0.0,
        'Nearest distance to compare. 0: that of the range in the lens state; if that is unknown, all distances count.',
        unit='m',
        within=(0.0, math.inf),
    )
    far: float = parameter(0.0, 'Farthest distance to compare. 0: as for near.', unit='m', within=(0.0, math.inf))
    largest_depth: float = parameter(
        1.0,
        'MSE and RMS are computed on depth divided by this. 1.0: MSE in square metres, RMS in metres.',
        unit='m',
        within=(0.001, 1000.0),
    )

    def check(self) -> None:
        super().check()
        check_range(self.near, self.far)


@dataclass(frozen=True)
class MonitorParameters(Parameters):
    """Parameters of the monitor node."""

    seconds: float = parameter(
        0.0, 'How long to run, from the first depth image on. 0: until stopped.', unit='s', within=(0.0, 86400.0)
    )
    patience: float = parameter(
        0.0,
        'Exit with an error if no depth image arrives within this time. 0: wait for ever.',
        unit='s',
        within=(0.0, 3600.0),
    )
    truth: bool = parameter(False, 'Compare depth with the ground truth on truth/depth.')
    sync_slop: float = parameter(
        0.005,
        'Largest difference between the stamps of the messages of one image. 0: they must be equal.',
        unit='s',
        within=(0.0, 10.0),
    )
    output: str = parameter('', 'Folder for pictures and a video of the last frames. Empty: write none.')


@dataclass(frozen=True)
class ViewerParameters(Parameters):
    """Parameters of the viewer node."""

    host: str = parameter(
        '127.0.0.1', 'Live page: address to listen on. 0.0.0.0: reachable from the whole network, for everybody in it.'
    )
    port: int = parameter(8080, 'Live page: port. 0: any free one.', within=(0, 65535))
    max_rate: float = run_time_parameter(10.0, 'Frames a second that are shown at most.', unit='Hz', within=(0.1, 60.0))
    all_in_focus: bool = parameter(True, 'Show the all-in-focus image, which the depth node computes only then.')
    depth_node: str = parameter('depth', 'Depth node whose parameters the sliders set.')
    sweep_node: str = parameter('sweep', 'Sweep node whose parameters the sliders set.')

    def check(self) -> None:
        super().check()
        for name in ('depth_node', 'sweep_node'):
            check_node_name(name, getattr(self, name))


@dataclass(frozen=True)
class RecorderParameters(ManagedParameters):
    """Parameters of the recorder node."""

    mode: str = parameter(
        'record',
        'record: write topics to a bag. convert: turn bags into samples, as dfd convert does, then exit.',
        choices=('record', 'convert'),
    )
    folder: str = parameter('recordings', 'Record: folder for the bags, each named after its start time.')
    enabled: bool = parameter(True, 'Record: start at once. If false: wait for the service ~/start.')
    compressed: bool = parameter(
        False, 'Record: record the images from TOPIC/compressed (depth: TOPIC/compressedDepth).'
    )
    split_size: int = parameter(
        2000, 'Record: start a new file of the bag at this size. 0: never.', unit='MB', within=(0, 1000000)
    )
    split_time: float = parameter(
        300.0, 'Record: start a new file of the bag after this time. 0: never.', unit='s', within=(0.0, 86400.0)
    )
    disk_reserve: int = parameter(
        1000, 'Record: stop when the free disk space falls to this.', unit='MB', within=(0, 1000000000)
    )
    slop: float = parameter(
        0.02, 'Largest difference between the stamps of an image and its depth image.', unit='s', within=(0.0001, 10.0)
    )
    bags: str = parameter('', 'Convert: a bag, or a folder of bags.')
    output: str = parameter('', 'Convert: folder for the samples.')
    calibration: str = parameter(
        '', 'Convert: calibration of the rig, as dfd convert takes it. Empty: camera_info and TF of the bags.'
    )
    clock_offset: str = parameter('0', 'Convert: seconds to add to the stamps of the RGB-D sensor, or auto.')
    workers: int = parameter(1, 'Convert: number of processes; each converts one bag at a time.', within=(1, 1024))

    def check(self) -> None:
        super().check()
        for name in ('bags', 'output') if self.mode == 'convert' else ('folder',):
            if not getattr(self, name):
                raise InputError(f'parameter {name}: required in mode {self.mode}')


@dataclass(frozen=True)
class TrainerParameters(Parameters):
    """Parameters of the trainer node."""

    data: str = parameter(
        '', 'Folder of training samples, as written by dfd convert and dfd render. Empty: that of the configuration.'
    )
    config: str = parameter('', 'Training configuration (YAML). Empty: config/training/fine_tune.yaml of the package.')
    weights: str = parameter('', 'Initial weights. Empty: those of the configuration.')
    output: str = parameter('runs', 'Folder of the runs. A run found there is resumed.')
    name: str = parameter('', 'Name of the run and of its folder in output. Empty: that of the configuration.')
    steps: int = parameter(0, 'Optimiser steps. 0: as in the configuration.', within=(0, None))
    device: str = parameter('auto', 'Device to train on: cpu, cuda, cuda:1. auto: the GPU if there is one.')
    depth_node: str = run_time_parameter(
        '', 'Depth node whose parameter weights is set to each improved weights file, for example /depth. Empty: none.'
    )

    def check(self) -> None:
        super().check()
        if self.depth_node:
            check_node_name('depth_node', self.depth_node)

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
    'focus_bridge': FocusBridgeParameters,
    'sweep': SweepParameters,
    'depth': DepthParameters,
    'accuracy': AccuracyParameters,
    'monitor': MonitorParameters,
    'viewer': ViewerParameters,
    'recorder': RecorderParameters,
    'trainer': TrainerParameters,
}
