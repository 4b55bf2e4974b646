"""The process that renders views of a world: ``python -m dfd_ros.synthesis.worlds.view_worker``.

Speaks the protocol of `dfd_ros.datasets.rendering.worker`: the first line of stdin says what to render with, the others
are views::

    {"world": "FILE.world", "models": ["DIR"], "exclude": ["*Portrait*"], "textures": ["a.jpg"], "settings": {...},
     "threads": 1, "device": "cpu"}                       ->  {"blender": "4.5.15 LTS", "gpu": false, "left_out": [...]}
    {"key": "house-000007", "seed": 7, "path": "..."}     ->  {"key": "house-000007", "about": {"seconds": 4.1, ...}}

Bad input is answered with {"input_error": "..."}. Blender's own output goes to stderr.
"""

from __future__ import annotations

import json
import os
import sys
import time
from pathlib import Path

from dfd_ros.core.errors import InputError


def main() -> int:
    # Blender writes to the process's stdout, whatever Python's is: keep that for the answers.
    answers = os.fdopen(os.dup(1), 'w', buffering=1)
    os.dup2(2, 1)

    def answer(**values) -> None:
        answers.write(json.dumps(values) + '\n')

    try:
        _work(answer)
    except InputError as error:
        answer(input_error=str(error))
        return 2
    except BrokenPipeError:   # nobody listens any more
        return 1
    return 0


def _work(answer) -> None:
    try:
        import bpy
    except ImportError as error:
        raise InputError(f'Blender is missing ({error}): pip install "dfd_ros[blender]" with Python 3.11, or give '
                         '--blender-python') from None
    from dfd_ros.synthesis.worlds.building import build
    from dfd_ros.synthesis.worlds.sdf import read_world
    from dfd_ros.synthesis.worlds.shooting import Shooting, ViewSettings

    task = json.loads(sys.stdin.readline())
    path = Path(task['world'])
    world = read_world(path, [Path(folder) for folder in task['models']], tuple(task['exclude']))
    build(world)
    shooting = Shooting(path.stem, ViewSettings(**task['settings']), [Path(file) for file in task['textures']],
                        task['threads'], task['device'])
    answer(blender=bpy.app.version_string, gpu=shooting.renderer.on_gpu(), left_out=world.left_out)
    for line in sys.stdin:
        job = json.loads(line)
        start = time.monotonic()
        view = shooting.view(job['seed'])
        view.write(Path(job['path']))
        answer(key=job['key'], about={'seconds': round(time.monotonic() - start, 2), **view.about})


if __name__ == '__main__':
    sys.exit(main())
