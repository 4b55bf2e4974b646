"""Puts ROS and the overlay into the environment of this Python as it starts: you need not source anything.

Lies in the environment's site-packages, where a .pth file imports it. The values are beside it, in
dfd_ros_activation.json: the set-up writes them.
"""

import json
import os
import sys

REPLACED = 'DFD_ROS_REPLACED_PROCESS'


def activate():
    with open(os.path.splitext(__file__)[0] + '.json', encoding='utf-8') as file:
        values = json.load(file)
    for name, value in values['variables'].items():
        os.environ.setdefault(name, value)
    added = {name: _prepend(name, paths) for name, paths in values['paths'].items()}
    # The loader reads LD_LIBRARY_PATH once, as a process starts: Python starts anew under the same process id. There is
    # no plainer way that needs no sourcing: ROS opens its middleware and type support by bare name (dlopen), long after
    # Python has started, and paths in a .pth file are Python's own alone.
    # The id tells the new one from a child that was given less of the environment.
    if added.get('LD_LIBRARY_PATH') and os.environ.get(REPLACED) != str(os.getpid()):
        os.environ[REPLACED] = str(os.getpid())
        os.execv(sys.executable, [sys.executable, *sys.orig_argv[1:]])


def _prepend(name, paths):
    present = [path for path in os.environ.get(name, '').split(os.pathsep) if path]
    missing = [path for path in paths if path not in present]
    if missing:
        os.environ[name] = os.pathsep.join(missing + present)
    return missing


activate()
