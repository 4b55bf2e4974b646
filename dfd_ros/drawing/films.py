"""Moving pictures: MP4 and GIF."""

from __future__ import annotations

import importlib.util
from collections.abc import Iterable
from fractions import Fraction
from pathlib import Path

import cv2
import numpy as np
from PIL import Image

from dfd_ros.core.files import written_atomically

GIF_WIDTH = 720
GIF_COLOURS = 256


def write_video(path: Path, frames: Iterable[np.ndarray], size: tuple[int, int], rate: float) -> None:
    """MP4 of (H, W, 3) uint8 RGB frames of `size` (width, height). Raises OSError if that fails.

    With PyAV it is H.264, which browsers play. Without, it is MPEG-4 Part 2, which only players of videos play:
    OpenCV's wheel has no H.264, and its VP9 takes fifty times as long.
    """
    with written_atomically(path) as temporary:
        (_write_h264 if importlib.util.find_spec('av') else _write_mpeg4)(temporary, frames, size, rate)


def _write_h264(path: Path, frames: Iterable[np.ndarray], size: tuple[int, int], rate: float) -> None:
    import av

    width, height = (side - side % 2 for side in size)  # colour has half the resolution
    with av.open(path, 'w', format='mp4', options={'movflags': 'faststart'}) as file:
        stream = file.add_stream('libx264', Fraction(rate).limit_denominator(1000), {'preset': 'veryfast'})
        stream.width, stream.height, stream.pix_fmt = width, height, 'yuv420p'
        for frame in frames:
            even = np.ascontiguousarray(frame[:height, :width])
            file.mux(stream.encode(av.VideoFrame.from_ndarray(even, 'rgb24')))
        file.mux(stream.encode())


def _write_mpeg4(path: Path, frames: Iterable[np.ndarray], size: tuple[int, int], rate: float) -> None:
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter.fourcc(*'mp4v'), rate, size)
    if not writer.isOpened():
        raise OSError(f'{path}: OpenCV cannot write MPEG-4 video there')
    try:
        for frame in frames:
            writer.write(cv2.cvtColor(frame, cv2.COLOR_RGB2BGR))
    finally:
        writer.release()


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
