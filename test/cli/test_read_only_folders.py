"""Output folders that may not be written are named in one line, before the work."""

import ctypes
import os
import shutil
import subprocess
import sys

import numpy as np
import pytest
from PIL import Image

from dfd_ros.core.focal_stack import FocalStack
from dfd_ros.core.lens_state import LensState

PR_CAPBSET_DROP, CAP_DAC_OVERRIDE, CAP_DAC_READ_SEARCH = 24, 1, 2  # of linux/prctl.h and linux/capability.h


def without_rights_of_root():
    """Permissions count for root, too, in what this process starts."""
    for capability in (CAP_DAC_OVERRIDE, CAP_DAC_READ_SEARCH):
        ctypes.CDLL(None).prctl(PR_CAPBSET_DROP, capability, 0, 0, 0)


@pytest.fixture
def folder(tmp_path):
    """With input for the commands, and a folder `locked` that may not be written."""
    noise = np.random.default_rng(0).integers(0, 256, (2, 32, 32, 3), np.uint8)
    FocalStack(list(noise), [LensState(focus, 4e-3, 1.8, 2e-6) for focus in (1.0, 2.0)]).write(tmp_path / 'stack')
    (tmp_path / 'photographs').mkdir()
    Image.fromarray(noise[0]).save(tmp_path / 'photographs' / 'a.png')
    (tmp_path / 'bag').mkdir()
    (tmp_path / 'bag' / 'bag.mcap').touch()
    (tmp_path / 'pages.tif').touch()
    shutil.copytree(tmp_path / 'photographs', tmp_path / 'locked_photographs')
    (tmp_path / 'locked').mkdir()
    for locked in tmp_path.glob('locked*'):
        locked.chmod(0o555)
    yield tmp_path
    for locked in tmp_path.glob('locked*'):
        locked.chmod(0o755)


@pytest.mark.slow(reason='commands load torch')
@pytest.mark.parametrize(
    'command',
    [
        'estimate stack --network best_focus --out locked',
        'estimate stack --network best_focus --out locked/new',
        'refocus stack --network best_focus --focus 1.5 --out locked',
        'evaluate --network best_focus --data field --json locked/a.json',
        'evaluate --network best_focus --data field --plot locked/a.png',
        'export --out locked/a.onnx',
        'render --stacks 1 --out locked/new',
        'render --stacks 1 --format shards --out locked',
        'study --budget 4 --out locked/new',
        'train stream --out locked/new',
        'assets --out locked',
        'demo --out locked/new',
        'run --record locked',
        'convert bag --out locked',
        'convert bag --out locked/new',
        'stack init locked_photographs',
        'stack init pages.tif --out locked/new',
        'calibrate target --out locked/a.png',
        'calibrate sweep --device none --first 0 --last 250 --out locked/new',
        'calibrate intrinsics photographs --calibration locked/a.yaml',
        'calibrate focus photographs --calibration locked/a.yaml',
    ],
)
def test_a_folder_that_may_not_be_written_is_named_in_one_line(folder, command):
    done = subprocess.run(
        [sys.executable, '-m', 'dfd_ros.cli', *command.split()],
        cwd=folder,
        env={**os.environ, 'PYTHONPATH': os.pathsep.join(sys.path)},
        preexec_fn=without_rights_of_root,
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert done.returncode == 2 and done.stderr.count('\n') == 1, done.stderr
    assert 'locked' in done.stderr and 'ermission' in done.stderr
    assert not list((folder / 'locked').iterdir())
