"""A camera in a rendered scene that moves slowly, with ground truth."""

from __future__ import annotations

from dataclasses import replace

from dfd_ros.camera_sources import Frame
from dfd_ros.camera_sources.focus_drive import FocusDrive
from dfd_ros.synthesis.camera import SyntheticCamera


class SyntheticSource:
    """`SyntheticCamera` with a focus drive."""

    def __init__(self, width: int = 640, height: int = 480, seed: int = 0, settle_time: float = 0.05) -> None:
        self._camera = SyntheticCamera(width, height, seed)
        self._drive: FocusDrive | None = None
        self._settle_time = settle_time
        self._start: float | None = None

    def focus(self, distance: float, time_s: float) -> None:
        self._focus_drive().command(distance, time_s)

    def capture(self, time_s: float) -> Frame:
        if self._start is None:
            self._start = time_s
        focus_distance, settled = self._focus_drive().at(time_s)
        image, depth, lens_state = self._camera.capture(time_s - self._start, focus_distance)
        return Frame(image, replace(lens_state, settled=settled), depth)

    def close(self) -> None:
        """Nothing to let go of."""
