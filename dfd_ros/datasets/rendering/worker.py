"""The process that renders: ``python -m dfd_ros.datasets.rendering.worker``.

Reads one JSON object per line from stdin, answers each with one on stdout, and exits at the end of stdin. The first
line has the settings and is answered once Blender has started; the others are scenes::

    {"settings": {...}, "threads": 1, "device": "cpu"}     ->  {"blender": "4.5.15 LTS", "gpu": false}
    {"key": "00000007", "seed": 7, "path": "..."}          ->  {"key": "00000007", "about": {...}}

The answer to bad input is {"input_error": "..."}. Blender's own output goes to stderr.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

from dfd_ros.synthesis.blender.blender_process import answer_lines


def main() -> int:
    return answer_lines(_work)


def _work(answer) -> None:
    import bpy

    from dfd_ros.datasets.shards import write_sample
    from dfd_ros.synthesis.blender.blender_scene import Pools
    from dfd_ros.synthesis.blender.passes import Renderer
    from dfd_ros.synthesis.blender.render_settings import RenderSettings
    from dfd_ros.synthesis.blender.sample_rendering import render_sample

    first = json.loads(sys.stdin.readline())
    settings = RenderSettings.from_json(first['settings'])
    renderer = Renderer(settings.height, settings.width, first['threads'], first['device'])
    files = Pools(settings)
    answer(blender=bpy.app.version_string, gpu=renderer.on_gpu())
    for line in sys.stdin:
        job = json.loads(line)
        sample, cost = render_sample(job['seed'], settings, files, renderer)
        write_sample(Path(job['path']), job['key'], sample)
        answer(key=job['key'], about={**sample.about, **cost})


if __name__ == '__main__':
    sys.exit(main())
