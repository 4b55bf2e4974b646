"""Where the camera node's images come from: a synthetic scene, a recorded focal stack, RGB-D
images, a device with a focus motor, or a class of your own.

Plain Python, no ROS. Each source is a `CameraSource`: it accepts focus commands and returns frames.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass

import numpy as np

from dfd_ros.calibration.calibration_file import CameraModel
from dfd_ros.core.lens_state import LensState


@dataclass(frozen=True)
class RgbdImages:
    """Images of an RGB-D sensor: color (H, W, 3) uint8 RGB, depth (H, W) uint16 mm, 0 = none, both of one camera."""

    color: np.ndarray
    depth: np.ndarray
    camera: CameraModel


@dataclass(frozen=True)
class Frame:
    """One exposure: `image` (H, W, 3) uint8 RGB, `lens_state`, `depth` (H, W) float32 m if the true depth is known.

    `time_s` is when it was exposed, on the clock of `CameraSource.capture`.
    """

    image: np.ndarray
    lens_state: LensState
    time_s: float
    depth: np.ndarray | None = None
    rgbd: RgbdImages | None = None
    """From an RGB-D sensor at the position of the camera, with the same intrinsics."""
    warning: str = ''
    """What is wrong with the camera, for the log of the node."""
    commands: int | None = None
    """How many calls of `focus` the lens had reached; None: all, where it is settled."""


class CameraLost(RuntimeError):
    """The camera gave no image: unplugged, or in use by another process. A later call may succeed."""


class CameraSource(ABC):
    """A camera whose focus can be set. Times are those of `time.monotonic`, in seconds.

    The camera node takes a subclass of your own as ``source:=module:Class``; ``source_options``, a mapping in YAML, are
    the arguments of its constructor. That raises InputError for what cannot work. `focus` may be called while another
    thread is in `capture`. `gives_rgbd`: its frames have `rgbd`.
    """

    gives_rgbd = False

    @abstractmethod
    def focus(self, distance: float, time_s: float) -> None:
        """Starts to move the focus to `distance` (m, inf allowed). Raises InputError for an invalid distance."""

    @abstractmethod
    def capture(self, time_s: float) -> Frame:
        """The frame exposed at `time_s` or soon after. Raises CameraLost if the camera gives none."""

    def close(self) -> None:
        """Lets go of the device, if there is one."""
