"""A camera in a rendered, slowly moving scene, with ground truth."""

from __future__ import annotations

from dataclasses import replace

from dfd_ros.cameras import Frame
from dfd_ros.cameras.focus_drive import DrivenSource, FocusDrive
from dfd_ros.core.optics import VergenceRange
from dfd_ros.synthesis.synthetic_camera import SyntheticCamera


class SyntheticSource(DrivenSource):
    """`SyntheticCamera` with a focus drive. Motion starts with the first frame.

    Args:
        desk: look at a desk instead of a random scene.
    """

    RANGE = VergenceRange(0.15, 1.5)

    def __init__(
        self, width: int = 640, height: int = 480, seed: int = 0, settle_time: float = 0.0, desk: bool = True
    ) -> None:
        self._camera = SyntheticCamera(width, height, seed, self.RANGE.near, self.RANGE.far, desk=desk)
        self._drive = FocusDrive(self.RANGE.far, settle_time, self.RANGE)
        self._began: float | None = None

    def capture(self, time_s: float) -> Frame:
        if self._began is None:
            self._began = time_s
        focus_distance, settled = self._drive.at(time_s)
        image, depth, state = self._camera.capture(time_s - self._began, focus_distance)
        return Frame(image, replace(state, settled=settled, stamp=time_s), time_s, depth)
