"""The process that renders views: ``python -m dfd_ros.synthesis.worlds.view_worker``, one JSON object on stdin::

    {"world": "FILE.world", "models": ["DIR"], "out": "DIR", "seeds": [0, 1, 2], "textures": ["a.jpg"],
     "settings": {...}, "threads": 1, "device": "cpu"}

Answers with a JSON object a line: {"left_out": [...]} once the world is built, {"seed": 0, "seconds": 4.1} for each view,
and {"input_error": "..."} for bad input. What Blender has to say goes to stderr.
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
        _work(json.loads(sys.stdin.readline()), answer)
    except InputError as error:
        answer(input_error=str(error))
        return 2
    except BrokenPipeError:   # nobody listens any more
        return 1
    return 0


def _work(job: dict, answer) -> None:
    from dfd_ros.synthesis.worlds.building import build
    from dfd_ros.synthesis.worlds.sdf import read_world
    from dfd_ros.synthesis.worlds.shooting import Shooting, ViewSettings

    path, out = Path(job['world']), Path(job['out'])
    world = read_world(path, [Path(folder) for folder in job['models']])
    build(world)
    answer(left_out=world.left_out)
    shooting = Shooting(path.stem, ViewSettings(**job['settings']), [Path(file) for file in job['textures']],
                        job['threads'], job['device'])
    for seed in job['seeds']:
        file = out / view_name(path.stem, seed)
        if file.exists():
            continue
        start = time.monotonic()
        shooting.view(seed).write(file)
        answer(seed=seed, seconds=time.monotonic() - start)


def view_name(world: str, seed: int) -> str:
    """The file of the view of a seed."""
    return f'{world}-{seed:06d}.npz'


if __name__ == '__main__':
    sys.exit(main())
