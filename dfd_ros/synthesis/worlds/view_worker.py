"""The process that renders views of a world: ``python -m dfd_ros.synthesis.worlds.view_worker``.

Uses the protocol of `dfd_ros.datasets.rendering.worker`: the first line of stdin has the settings, each other line a
view::

    {"world": "FILE.world", "models": ["DIR"], "exclude": ["*Portrait*"], "textures": ["a.jpg"], "settings": {...},
     "threads": 1, "device": "cpu"}                       ->  {"blender": "4.5.15 LTS", "gpu": false, "left_out": [...]}
    {"key": "house-000007", "seed": 7, "path": "..."}     ->  {"key": "house-000007", "about": {"seconds": 4.1, ...}}

Without a world ("world": null) every 20 views show a new generated room, furnished with the mesh files in "models".
The answer to bad input is {"input_error": "..."}. Blender's own output goes to stderr.
"""

from __future__ import annotations

import json
import sys
import time
from pathlib import Path

from dfd_ros.synthesis.blender.blender_process import answer_lines

VIEWS_OF_A_ROOM = 20


def main() -> int:
    return answer_lines(_work)


def _work(answer) -> None:
    import bpy

    from dfd_ros.synthesis.blender.passes import on_gpu
    from dfd_ros.synthesis.worlds.building import build
    from dfd_ros.synthesis.worlds.made_rooms import make_room
    from dfd_ros.synthesis.worlds.sdf import read_world
    from dfd_ros.synthesis.worlds.shooting import Shooting, ViewSettings

    task = json.loads(sys.stdin.readline())
    models, textures = ([Path(file) for file in task[name]] for name in ('models', 'textures'))

    def prepare(world, name) -> Shooting:
        build(world)
        return Shooting(name, ViewSettings(**task['settings']), textures, task['threads'], task['device'])

    room = 0
    if task['world']:
        world, name = read_world(Path(task['world']), models, tuple(task['exclude'])), Path(task['world']).stem
    else:
        world, name = make_room(room, models, textures), f'room {room}'
    shooting = prepare(world, name)
    answer(blender=bpy.app.version_string, gpu=on_gpu(task['device']), left_out=world.left_out)
    for line in sys.stdin:
        job = json.loads(line)
        start = time.monotonic()
        if not task['world'] and room != job['seed'] // VIEWS_OF_A_ROOM:
            room = job['seed'] // VIEWS_OF_A_ROOM
            shooting = prepare(make_room(room, models, textures), f'room {room}')
        view = shooting.view(job['seed'])
        view.write(Path(job['path']))
        answer(key=job['key'], about={'seconds': round(time.monotonic() - start, 2), **view.about})


if __name__ == '__main__':
    sys.exit(main())
