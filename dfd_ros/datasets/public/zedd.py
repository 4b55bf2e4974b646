"""ZEDD (Zuo et al., "Zero-Shot Depth from Defocus", arXiv 2603.26658), in the layout of github.com/princeton-vl/FOSSA::

    metadata.txt                                       run_1 <tab> 6D3E <tab> focus distance (m); # comments
    val/val_0001/focus_stack/img_run_1_motor_6D3E_aperture_F2.8.jpg     nine runs, several apertures
    val/val_0001/gt/depth.npy                          (H, W) m, NaN = none
    val/val_0001/gt/K.txt                              3x3 intrinsics, px of the depth

The test split has no public ground truth, so the validation split is used. As published: runs 1, 3, 5, 7 and 9 at
f/2.8, resized to 480 rows and cropped to the middle 640 columns.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
from PIL import Image

from dfd_ros.core.array_files import read_array
from dfd_ros.core.errors import InputError
from dfd_ros.core.files import read_text, require_file
from dfd_ros.core.focal_stack import FocalStack
from dfd_ros.core.image_io import read_image_and_lens, used_bits
from dfd_ros.core.lens_state import LensState
from dfd_ros.datasets.public.slices import chosen

F_NUMBER, SLICES = 2.8, 5
HEIGHT, WIDTH = 480, 640


class Zedd:
    """The validation scenes of a folder.

    Args:
        slices: slices of each stack; None = five.

    Raises:
        InputError: the folder differs from the published format.
    """

    def __init__(self, folder: Path, slices: int | None = None):
        self._runs = _runs(folder / 'metadata.txt')
        self._slices = chosen(slices or min(SLICES, len(self._runs)), len(self._runs), f'{folder} (ZEDD)')
        self._scenes = sorted(path.parent.parent for path in folder.glob('val/*/gt/depth.npy'))
        if not self._scenes:
            raise InputError(
                f'{folder}: not ZEDD: expected val/val_0001/gt/depth.npy and '
                'val/val_0001/focus_stack/img_run_1_motor_6D3E_aperture_F2.8.jpg'
            )
        self._bits = used_bits([self._image(scene, i) for scene in self._scenes for i in self._slices], str(folder))

    def __len__(self) -> int:
        return len(self._scenes)

    def __getitem__(self, index: int) -> FocalStack:
        scene = self._scenes[index]
        depth, focal_length_px = _truth(scene / 'gt')
        images, states = [], []
        for i in self._slices:
            named_by = str(scene.parents[1] / 'metadata.txt')
            image, _, lens = read_image_and_lens(self._image(scene, i), named_by, self._bits)
            images.append(_reduced(Image.fromarray(image), Image.Resampling.LANCZOS))
            # Without a focal length in the EXIF the blur is unknown: NaN.
            states.append(
                LensState(self._runs[i][2], lens['focal_length'], F_NUMBER, lens['focal_length'] / focal_length_px)
            )
        return FocalStack(images, states, depth, str(scene))

    def _image(self, scene: Path, slice_: int) -> Path:
        run, motor, _ = self._runs[slice_]
        return scene / 'focus_stack' / f'img_{run}_motor_{motor}_aperture_F{F_NUMBER:.1f}.jpg'


def _runs(path: Path) -> list[tuple[str, str, float]]:
    """(run, motor position, focus distance in m) of each."""
    try:
        text = read_text(path, ', a folder of ZEDD has one')
        lines = [line.split('\t') for line in text.splitlines() if line.strip() and line[0] != '#']
        runs = [(run, motor, float(distance)) for run, motor, distance in lines]
    except InputError:
        raise
    except ValueError:
        runs = []
    if len(runs) < 2 or not all(distance > 0 for *_, distance in runs):
        raise InputError(f'{path}: expected lines of run_1 <tab> motor position <tab> focus distance in m')
    return runs


def _truth(folder: Path) -> tuple[np.ndarray, float]:
    """Depth (m, NaN = none) and the focal length (px), both for the evaluated image."""
    depth = read_array(folder / 'depth.npy')
    if depth.ndim != 2 or depth.dtype.kind not in 'fiu':
        raise InputError(f'{folder / "depth.npy"}: {depth.dtype} {depth.shape}, expected (height, width) numbers in m')
    depth = depth.astype(np.float32)
    try:
        intrinsics = np.loadtxt(require_file(folder / 'K.txt', largest=2**16))
        if intrinsics.shape != (3, 3) or not intrinsics[0, 0] > 0:
            raise ValueError
    except InputError:
        raise
    except (OSError, ValueError):
        raise InputError(f'{folder / "K.txt"}: expected the 3x3 intrinsics in px') from None
    focal_length = intrinsics[0, 0] * HEIGHT / len(depth)
    with np.errstate(invalid='ignore'):
        depth[~((depth >= 0.01) & (depth <= 1000))] = np.nan
    return _reduced(Image.fromarray(depth), Image.Resampling.NEAREST), focal_length


def _reduced(image: Image.Image, resampling: Image.Resampling) -> np.ndarray:
    """Resized to 480 rows and cropped to the middle 640 columns."""
    if image.height != HEIGHT:
        image = image.resize((int(image.width * (HEIGHT / image.height)), HEIGHT), resampling)
    left = max((image.width - WIDTH) // 2, 0)
    return np.asarray(image)[:, left : left + WIDTH]
