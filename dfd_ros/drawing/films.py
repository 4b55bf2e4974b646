"""Moving pictures: MP4 and GIF."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

import cv2
import numpy as np
from PIL import Image

from dfd_ros.core.files import written_atomically

# Browsers play the first two; OpenCV's wheel has no encoder of H.264, other builds none of VP9.
CODECS = {'VP9': 'vp09', 'H.264': 'avc1', 'MPEG-4 Part 2': 'mp4v'}
GIF_WIDTH = 720
GIF_COLOURS = 256


def write_video(path: Path, frames: Iterable[np.ndarray], size: tuple[int, int], rate: float) -> None:
    """MP4 of (H, W, 3) uint8 RGB frames of `size` (width, height), in the first of `CODECS` that OpenCV can write.

    Raises:
        OSError: it can write none of them, or not there.
    """
    with written_atomically(path) as temporary:
        writer = _open_writer(temporary, size, rate)
        try:
            for frame in frames:
                writer.write(cv2.cvtColor(frame, cv2.COLOR_RGB2BGR))
        finally:
            writer.release()


def _open_writer(path: Path, size: tuple[int, int], rate: float) -> cv2.VideoWriter:
    for codec in CODECS.values():
        writer = cv2.VideoWriter(str(path), cv2.VideoWriter.fourcc(*codec), rate, size)
        if writer.isOpened():
            return writer
    raise OSError(f'{path}: OpenCV can write no MP4 video there (tried {", ".join(CODECS)})')


def write_gif(path: Path, frames: list[np.ndarray], rate: float) -> None:
    """An endless GIF, `GIF_WIDTH` wide, of (H, W, 3) uint8 RGB frames. One palette for all frames avoids flicker."""
    if not frames:
        return
    height = round(GIF_WIDTH * frames[0].shape[0] / frames[0].shape[1])
    small = [Image.fromarray(cv2.resize(frame, (GIF_WIDTH, height), interpolation=cv2.INTER_AREA)) for frame in frames]
    some = Image.fromarray(np.vstack([np.asarray(frame) for frame in small[:: max(1, len(small) // 3)]]))
    palette = some.quantize(GIF_COLOURS, method=Image.Quantize.FASTOCTREE)
    indexed = [frame.quantize(palette=palette, dither=Image.Dither.NONE) for frame in small]
    with written_atomically(path) as temporary:
        indexed[0].save(temporary, save_all=True, append_images=indexed[1:], duration=round(1000 / rate), loop=0)
