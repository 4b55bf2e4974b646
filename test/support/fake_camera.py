"""A camera as OpenCV's VideoCapture shows it, with the habits of real ones: it refuses, rounds or ignores values."""

import time

import cv2
import numpy as np


class FakeCamera:
    """Its pixels have the value of its focus in red, 100 in green, 0 in blue. `lens`: where play leaves the lens."""

    def __init__(
        self,
        *,
        step: int = 1,
        limit: float = 255,
        refuses: int = 0,
        ignores_focus: bool = False,
        has_autofocus_for_good: bool = False,
        fixed: dict[int, float] | None = None,
        play: float = 0.0,
    ) -> None:
        """`step`: to which the focus is rounded; `limit`: of the focus; `refuses`: that many focus values, from now on;
        `ignores_focus`: takes every value and stays where it is; `fixed`: properties that cannot be set, -1 for what
        the camera has not; `play`: by which the lens stays behind a motor that turns to larger values."""
        self.play, self.lens = play, 0.0
        self.step, self.limit, self.refuses, self.ignores_focus = step, limit, refuses, ignores_focus
        self.fixed = dict(fixed or {}) | ({cv2.CAP_PROP_AUTOFOCUS: 1} if has_autofocus_for_good else {})
        self.values = {
            cv2.CAP_PROP_AUTOFOCUS: 1.0,
            cv2.CAP_PROP_FOCUS: 0.0,
            cv2.CAP_PROP_FPS: 100.0,
            cv2.CAP_PROP_FRAME_WIDTH: 64,
            cv2.CAP_PROP_FRAME_HEIGHT: 48,
            cv2.CAP_PROP_FOURCC: cv2.VideoWriter.fourcc(*'YUYV'),
        }
        self.alive, self.images, self.released = True, 10**9, 0

    @property
    def focus(self) -> float:
        return self.values[cv2.CAP_PROP_FOCUS]

    def isOpened(self) -> bool:
        return self.alive

    def release(self) -> None:
        self.released += 1

    def set(self, control: int, value: float) -> bool:
        if control in self.fixed:
            return False
        if control == cv2.CAP_PROP_FOCUS:
            if self.refuses or self.values[cv2.CAP_PROP_AUTOFOCUS] or value > self.limit:
                self.refuses = max(self.refuses - 1, 0)
                return False
            value = self.focus if self.ignores_focus else round(value / self.step) * self.step
            self.lens = min(max(self.lens, value - self.play), value)
        self.values[control] = value
        return True

    def get(self, control: int) -> float:
        if control == cv2.CAP_PROP_POS_MSEC:
            return time.monotonic() * 1e3 - 1
        return float(self.fixed.get(control, self.values.get(control, -1.0)))

    def grab(self) -> bool:
        self.images -= 1
        return self.alive and self.images >= 0

    def retrieve(self) -> tuple[bool, np.ndarray]:
        size = round(self.get(cv2.CAP_PROP_FRAME_HEIGHT)), round(self.get(cv2.CAP_PROP_FRAME_WIDTH))
        return True, np.full((*size, 3), (0, 100, self.focus), np.uint8)  # BGR
