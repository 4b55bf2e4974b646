"""A folder of RGB-D images::

intrinsics.yaml     {fx: 525.0, fy: 525.0, cx: 319.5, cy: 239.5}   px
color/NAME.png      or .jpg, sRGB
depth/NAME.png      16 bit, mm; or .npy or .exr, m; along the optical axis, 0 or NaN = none
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from dfd_ros.core.errors import InputError
from dfd_ros.core.files import read_yaml
from dfd_ros.core.image_io import used_bits
from dfd_ros.core.lens_distortion import is_pinhole
from dfd_ros.synthesis.rgbd_sets.image_files import DEPTH_SUFFIXES, read_depth, read_linear
from dfd_ros.synthesis.rgbd_sets.rgbd_view import rgbd_view
from dfd_ros.synthesis.worlds.view import View

_INTRINSICS = ('fx', 'fy', 'cx', 'cy')


class RgbdFolder:
    """The images of a folder.

    Raises:
        InputError: no intrinsics, or no images.
    """

    def __init__(self, folder: Path):
        path = folder / 'intrinsics.yaml'
        intrinsics = read_yaml(path, ', RGB-D images need one: {fx: 525.0, fy: 525.0, cx: 319.5, cy: 239.5} in px')
        values: list[Any] = [intrinsics.get(name) for name in _INTRINSICS] if isinstance(intrinsics, dict) else [None]
        if not all(isinstance(v, (int, float)) and v > 0 for v in values) or not is_pinhole(values, (0, 0)):
            raise InputError(f'{path}: expected {{fx: 525.0, fy: 525.0, cx: 319.5, cy: 239.5}}, positive numbers in px')
        self._focal_length = float(intrinsics['fx'])
        self._depth = folder / 'depth'
        self._frames = sorted(
            path for path in (folder / 'color').glob('*') if path.suffix.lower() in ('.png', '.jpg', '.jpeg')
        )
        if not self._frames:
            raise InputError(f'{folder / "color"}: no colour images (*.png, *.jpg) in it')
        self._bits = used_bits(self._frames, str(folder))

    def __len__(self) -> int:
        return len(self._frames)

    def read(self, index: int) -> View:
        """Raises `InputError` if the colour image has no depth image, or one of another size."""
        path = self._frames[index]
        candidates = [self._depth / f'{path.stem}{suffix}' for suffix in DEPTH_SUFFIXES]
        depth_path = next((candidate for candidate in candidates if candidate.exists()), None)
        if depth_path is None:
            raise InputError(
                f'{candidates[0]}: no depth image for {path}, expected .png (16 bit, mm), .npy or .exr (m)'
            )
        return rgbd_view(str(depth_path), read_linear(path, self._bits), read_depth(depth_path), self._focal_length)
