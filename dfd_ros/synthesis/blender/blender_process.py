"""Starts Python processes with Blender, and implements their side of the protocol."""

from __future__ import annotations

import json
import os
import subprocess
import tempfile
from collections.abc import Callable
from pathlib import Path

import dfd_ros
from dfd_ros.core.errors import InputError


def environment(**more: str) -> dict[str, str]:
    """The environment of this process, with this package on the path and `more` variables."""
    root = str(Path(dfd_ros.__file__).parents[1])
    path = os.pathsep.join([root, *filter(None, [os.environ.get('PYTHONPATH')])])
    return {**os.environ, 'PYTHONPATH': path, **more}


def query(module: str, job: object, python: str) -> list:
    """Run a module of `dfd_ros.synthesis.blender` that reads JSON from stdin and writes its result as JSON to the file
    in its argument (stdout has Blender's own output).

    Args:
        python: of an environment with bpy.

    Raises:
        InputError: the process does not start or fails.
    """
    with tempfile.TemporaryDirectory() as folder:
        answer = Path(folder) / 'answer.json'
        try:
            # Python's JSON may contain infinity.
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


def answer_lines(work: Callable[[Callable[..., None]], None]) -> int:
    """Run `work` in a rendering process. Its argument is a function that writes a JSON object to a line of stdout.

    Returns:
        The exit status: 2 after an `InputError`, which is written as {"input_error": "..."}.
    """
    # Blender writes to file descriptor 1: send that to stderr, and keep the real stdout for answers.
    answers = os.fdopen(os.dup(1), 'w', buffering=1)
    os.dup2(2, 1)

    def answer(**values) -> None:
        answers.write(json.dumps(values) + '\n')

    try:
        try:
            import bpy  # noqa: F401 - whether it is there
        except ImportError as error:
            raise InputError(
                f'Blender is missing ({error}): pip install bpy==4.5.15 with Python 3.11, or give --blender-python'
            ) from None
        work(answer)
    except InputError as error:
        answer(input_error=str(error))
        return 2
    except BrokenPipeError:  # the parent has closed the pipe
        return 1
    return 0
