"""A camera before a scene that fills a part of the range of its lens."""

from __future__ import annotations

from dfd_ros.cameras.synthetic_source import SyntheticSource
from dfd_ros.synthesis.synthetic_camera import SyntheticCamera


class ShallowScene(SyntheticSource):
    NEAR, FAR = 0.25, 0.35  # m

    def __init__(self, width: int = 160, height: int = 120) -> None:
        super().__init__(width, height)
        self._camera = SyntheticCamera(width, height, 3, self.NEAR, self.FAR, blur_scale=160.0, lens_range=self.RANGE)
