"""Image files as no program writes them."""

import struct
import zlib


def png_header(width: int, height: int) -> bytes:
    """A PNG of this size (px), 8 bit RGB, that ends behind its header."""
    chunk = b'IHDR' + struct.pack('>IIBBBBB', width, height, 8, 2, 0, 0, 0)
    header = struct.pack('>I', 13) + chunk + struct.pack('>I', zlib.crc32(chunk))
    return b'\x89PNG\r\n\x1a\n' + header + struct.pack('>I', 10) + b'IDAT'
