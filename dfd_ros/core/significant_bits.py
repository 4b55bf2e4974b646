"""How many bits the images of a stream use of the 16 that they are stored in.

Cameras of 10, 12 or 14 bits mostly leave the upper bits of 16 at 0, and say so nowhere: mono16, rgb16 and 16-bit PNG
and TIFF files have no field for it. The values show it.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable

import numpy as np

from dfd_ros.core.errors import InputError

DEPTHS = (8, 10, 12, 14, 16)
"""Bits that cameras have."""
_CLIPPED = 1e-3  # share of the pixels that may exceed the bits, such as defective ones
_REMEMBERED = 10  # images


def needed_bits(pixels: np.ndarray) -> int:
    """The fewest of `DEPTHS` that hold the values of one image, uint16 of any shape, but for a thousandth of them."""
    allowed, largest = _CLIPPED * pixels.size, pixels.max(initial=0)
    return next(bits for bits in DEPTHS if largest < 2**bits or np.count_nonzero(pixels >= 2**bits) <= allowed)


def in_8_bits(pixels: np.ndarray, bits: int) -> np.ndarray:
    """uint8, the 8 upper ones of the `bits` (8 to 16) that uint16 pixels use; brighter pixels are 255."""
    return np.minimum(pixels >> (bits - 8), 255).astype(np.uint8)


def scaling(name: str, bits: int) -> str:
    """A line for users about a stream whose 16-bit images use `bits`; empty if there is nothing to say."""
    return f'{name}: the 16-bit images use {bits} bits, and are scaled accordingly' if 0 < bits < 16 else ''


class SignificantBits:
    """The bits that the 16-bit images of one stream use, found from the values of its images.

    The first image gives a number, which can only grow: when two of the last ten images need more. So the exposure
    does not flicker, and a single broken image does not darken all that follow.

    Args:
        bits: if they are known; one of `DEPTHS`, 0 = found.
        say: is given a line when the number is found, or grows.
    """

    def __init__(self, bits: int = 0, say: Callable[[str], None] = lambda line: None) -> None:
        """Raises InputError for another number of bits."""
        if bits not in (0, *DEPTHS):
            raise InputError(f'image_bits: {bits} must be one of {", ".join(map(str, DEPTHS))}, or 0 to find them')
        self.bits = bits
        """0 = no image seen."""
        self._is_given, self._say = bool(bits), say
        self._needed: deque[int] = deque(maxlen=_REMEMBERED)

    @classmethod
    def of_images(cls, images: Iterable[np.ndarray]) -> SignificantBits:
        """Those that the brightest of a set needs, such as a focal stack; images of 8 bits (uint8) do not count."""
        deep = [needed_bits(pixels) for pixels in images if pixels.dtype == np.uint16]
        return cls(max(deep, default=0))

    def look(self, pixels: np.ndarray, name: str = '') -> None:
        """Takes note of the next image, uint16 of any shape. name: of the stream, for the line."""
        if self._is_given:
            return
        self._needed.append(needed_bits(pixels))
        bits = sorted(self._needed)[-2:][0]
        if bits > self.bits:
            before, self.bits = self.bits, bits
            if before:
                self._say(f'{name}: the 16-bit images use {bits} bits, not {before}, and are darker from here on')
            elif line := scaling(name, bits):
                self._say(line)

    def reduced(self, pixels: np.ndarray, name: str = '') -> np.ndarray:
        """uint8 of the next image: uint16 by the bits of the stream, see `look`; uint8 as it is."""
        if pixels.dtype != np.uint16:
            return pixels
        self.look(pixels, name)
        return in_8_bits(pixels, self.bits)
