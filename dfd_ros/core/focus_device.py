"""A camera whose focus motor takes values: what V4L2 and the libraries of camera makers have in common."""

from __future__ import annotations

import time
from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from dfd_ros.core.errors import InputError

if TYPE_CHECKING:
    import numpy as np

DEVICES = ('v4l2', 'depthai', 'picamera2', 'pypylon')
"""The kinds of device that the package has; see `dfd_ros.cameras.focus_devices`."""
IN_WHOLE_NUMBERS = ('v4l2', 'depthai')
"""Those whose values are whole numbers."""
IN_DIOPTRES = ('picamera2',)
"""Those whose values are dioptres, and which need no focus table."""

PATIENCE = 1.0  # s; many cameras refuse the focus for a moment after autofocus has been switched off
RETRY = 0.1  # s between two tries


@dataclass(frozen=True)
class ImageSettings:
    """Settings of a camera; 0 or empty: the camera chooses."""

    width: int = 0
    """px."""
    height: int = 0
    """px."""
    rate: float = 0.0
    """Hz, at least."""
    pixel_format: str = ''
    """FourCC, such as MJPG."""
    exposure_time: float = 0.0
    """s."""
    white_balance: int = 0
    """K."""
    gain: int = -1
    """In the unit of the camera; negative: the camera chooses."""


class FocusDevice(ABC):
    """An open camera, its autofocus off.

    `name` is for messages. `focus_hint` says where to see which values the motor takes. `reports_late`: `focus` is what
    the last frame reported, so that a value shows there only some frames after it was set. `dioptre_limits`: the least
    and the greatest value, where values are dioptres.
    """

    name: str
    focus_hint = ''
    reports_late = False
    dioptre_limits: tuple[float, float] | None = None

    @property
    @abstractmethod
    def rate(self) -> float:
        """Images a second, as the camera says; 0 or less: unknown."""

    @property
    @abstractmethod
    def focus(self) -> float:
        """The value of the focus motor, as read from the camera; NaN where it does not say."""

    @abstractmethod
    def set_focus(self, value: float) -> bool:
        """Requests a value. Returns False where the camera refuses; `focus` says what it has taken."""

    @abstractmethod
    def grab(self) -> float | None:
        """Takes the next image. Returns the time of its exposure on the clock of time.monotonic (s), NaN where that is
        unknown, None where no image came."""

    @abstractmethod
    def retrieve(self) -> np.ndarray | None:
        """The image grabbed, (H, W, 3) uint8 RGB; None where there is none."""

    @abstractmethod
    def close(self) -> None:
        """Lets go of the camera."""

    def move_focus(self, value: float, tolerance: float) -> float:
        """Sets the focus, repeatedly for up to a second. Returns the resulting value.

        Raises InputError where that is more than `tolerance` from `value`.
        """

        def try_it() -> bool:
            accepted = self.set_focus(value)
            if self.reports_late:
                self.grab()
            return accepted and abs(self.focus - value) <= tolerance

        if not within_patience(try_it):
            raise InputError(
                f'{self.name}: the camera rejects the focus value {value:g}: it is at {self.focus:g}'
                + (f'; {self.focus_hint}' if self.focus_hint else '')
            )
        return self.focus


def within_patience(try_it: Callable[[], bool]) -> bool:
    """Whether `try_it` succeeds within PATIENCE."""
    end = time.monotonic() + PATIENCE
    while not try_it():
        if time.monotonic() > end:
            return False
        time.sleep(RETRY)
    return True
