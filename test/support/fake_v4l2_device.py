"""A file that `fake_v4l2/sitecustomize.py` takes for a V4L2 device with a focus motor."""

import struct
from pathlib import Path

SHIM = Path(__file__).parent / 'fake_v4l2'
SLOTS = {'focus_absolute': 1, 'focus_auto': 2}


class FakeV4l2Device:
    """At `path`; `controls`: those that it has."""

    def __init__(self, path: Path, controls: tuple[str, ...] = ('focus_absolute', 'focus_auto')) -> None:
        self.path = path
        have = b''.join(b'HAVE' if name in controls else b'NONE' for name in SLOTS)
        path.write_bytes(b'FAKE' + struct.pack('=ii', 0, 1) + bytes(8) + have)

    def read(self) -> dict[str, int]:
        content = self.path.read_bytes()
        return {name: struct.unpack_from('=i', content, 4 * slot)[0] for name, slot in SLOTS.items()}

    def write(self, name: str, value: int) -> None:
        with open(self.path, 'r+b') as file:
            file.seek(4 * SLOTS[name])
            file.write(struct.pack('=i', value))
