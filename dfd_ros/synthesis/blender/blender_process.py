"""Python processes that have Blender: where they find this package, and questions that one answers."""

from __future__ import annotations

import json
import os
import subprocess
import tempfile
from pathlib import Path

import dfd_ros
from dfd_ros.core.errors import InputError


def environment(**more: str) -> dict[str, str]:
    """Of this process, with this package on the path; `more` comes on top."""
    root = str(Path(dfd_ros.__file__).parents[1])
    path = os.pathsep.join([root, *filter(None, [os.environ.get('PYTHONPATH')])])
    return {**os.environ, 'PYTHONPATH': path, **more}


def ask(module: str, job: object, python: str) -> list:
    """What a module of `dfd_ros.synthesis.blender` answers: it reads JSON from stdin, and writes it to the file that it
    is given (Blender writes to stdout).

    Args:
        python: of an environment with bpy.

    Raises:
        InputError: it cannot be started, or ends with an error.
    """
    with tempfile.TemporaryDirectory() as folder:
        answer = Path(folder) / 'answer.json'
        try:
            # JSON has an infinity in Python.
            run = subprocess.run(
                [python, '-m', f'dfd_ros.synthesis.blender.{module}', str(answer)],
                text=True,
                input=json.dumps(job),
                stdout=subprocess.DEVNULL,
                stderr=subprocess.PIPE,
                env=environment(),
            )
        except OSError as error:
            raise InputError(f'--blender-python {python}: {error.strerror}') from None
        if run.returncode:
            reason = (run.stderr.strip().splitlines() or [f'exit status {run.returncode}'])[-1]
            raise InputError(f'--blender-python {python}, {module}: {reason}; give a Python that has bpy')
        return json.loads(answer.read_text())
