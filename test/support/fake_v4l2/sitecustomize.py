"""V4L2 controls of a file: on the PYTHONPATH of a process, it lets ioctl find controls in a file of 'FAKE' devices.

The kernel's answers, as drivers/media/v4l2-core/v4l2-ctrls-api.c gives them: EINVAL for no such control, ERANGE never
(values are clamped), EACCES for a read-only one.
"""

import errno
import fcntl
import os
import struct

_real = fcntl.ioctl
_NAMES = {0x009A090A: (1, 'focus_absolute'), 0x009A090C: (2, 'focus_auto')}
_LIMITS = {'focus_absolute': (0, 250, 5), 'focus_auto': (0, 1, 1)}


def ioctl(file, request, argument=0, mutate=True):
    if not isinstance(file, int) or os.pread(file, 4, 0) != b'FAKE':
        return _real(file, request, argument, mutate)
    number = request & 0xFF
    (control,) = struct.unpack_from('=I', argument)
    slot, name = _NAMES.get(control, (0, ''))
    if not name or not os.pread(file, 4, 16 + 4 * slot) == b'HAVE':
        raise OSError(errno.EINVAL, os.strerror(errno.EINVAL))
    low, high, step = _LIMITS[name]
    if number == 36:
        struct.pack_into('=II32siiiiI', argument, 0, control, 1, name.encode(), low, high, step, low, 0)
    elif number == 27:
        struct.pack_into('=i', argument, 4, struct.unpack('=i', os.pread(file, 4, 4 * slot))[0])
    elif number == 28:
        (value,) = struct.unpack_from('=i', argument, 4)
        value = min(max(round((value - low) / step) * step + low, low), high)
        struct.pack_into('=i', argument, 4, value)
        os.pwrite(file, struct.pack('=i', value), 4 * slot)
    return 0


fcntl.ioctl = ioctl
