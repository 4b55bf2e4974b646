"""TartanAir (Wang et al., IROS 2020), in the layout of https://theairlab.org/tartanair-dataset::

    SCENE/Easy/P000/image_left/000000_left.png         640x480 sRGB
    SCENE/Easy/P000/depth_left/000000_left_depth.npy   (480, 640) float32 m along the optical axis; sky about 10000

with fx = fy = 320, cx = 320, cy = 240 px.
"""

from __future__ import annotations

from pathlib import Path

from dfd_ros.core.errors import InputError
from dfd_ros.core.image_io import used_bits
from dfd_ros.synthesis.rgbd_sets.image_files import read_depth, read_linear
from dfd_ros.synthesis.rgbd_sets.rgbd_view import rgbd_view
from dfd_ros.synthesis.worlds.view import View

FOCAL_LENGTH, WIDTH = 320.0, 640  # px


class TartanAir:
    """All left images below a folder.

    Raises:
        InputError: there are none.
    """

    def __init__(self, folder: Path):
        self._frames = sorted(folder.rglob('image_left/*_left.png'))
        if not self._frames:
            raise InputError(
                f'{folder}: no TartanAir images, expected P000/image_left/000000_left.png and '
                'P000/depth_left/000000_left_depth.npy'
            )
        self._bits = used_bits(self._frames, str(folder))

    def __len__(self) -> int:
        return len(self._frames)

    def read(self, index: int) -> View:
        """Raises `InputError` if a file differs from the published format."""
        path = self._frames[index]
        depth_path = path.parent.with_name('depth_left') / f'{path.stem}_depth.npy'
        colour = read_linear(path, self._bits)
        return rgbd_view(str(depth_path), colour, read_depth(depth_path), FOCAL_LENGTH * colour.shape[1] / WIDTH)
