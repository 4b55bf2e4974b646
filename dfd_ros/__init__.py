"""Metric depth from one camera whose focus moves.

from dfd_ros import DepthEstimator, FocalStack, LensState, read_focal_stack
"""

import sys

if sys.argv[:1] == ['-m']:  # some module is being started: if it is of this package, Ctrl-C gives no traceback
    import os
    import signal

    if any(argument.endswith('dfd_ros.cli') for argument in sys.orig_argv[1:3]):
        signal.signal(signal.SIGINT, signal.SIG_DFL)  # until the command handles it
    elif any('dfd_ros.ros.nodes.' in argument for argument in sys.orig_argv[1:3]):
        for _number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(_number, lambda *_: os._exit(0))

from pkgutil import extend_path

# The generated dfd_ros.msg lies in a directory of its own where the package is used from a checkout.
__path__ = extend_path(__path__, __name__)

# Imported when they are asked for: they need torch, which Blender's Python has not.
_PUBLIC = {
    'DepthEstimator': 'dfd_ros.inference.estimator',
    'FocalStack': 'dfd_ros.core.focal_stack',
    'LensState': 'dfd_ros.core.lens_state',
    'read_focal_stack': 'dfd_ros.photographs',
    '__version__': 'dfd_ros.core.version',
}


def __getattr__(name: str):
    if name not in _PUBLIC:
        raise AttributeError(f'module {__name__!r} has no attribute {name!r}')
    import importlib

    value = globals()[name] = getattr(importlib.import_module(_PUBLIC[name]), name)
    return value
