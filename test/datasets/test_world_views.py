"""Views rendered by several jobs into one folder, with a worker that paints instead of Blender."""

import sys

import pytest

from dfd_ros.cli import main

pytestmark = pytest.mark.slow(reason='whole commands start worker processes')

PAINTER = """#!{python}
import json, sys
from pathlib import Path
import numpy as np
from dfd_ros.synthesis.worlds.view import View

assert sys.argv[1:] == ['-m', 'dfd_ros.synthesis.worlds.view_worker']
sys.stdin.readline()
print(json.dumps({{'blender': '0.0', 'gpu': False}}), flush=True)
for line in sys.stdin:
    job = json.loads(line)
    depth = np.linspace(1, 2, 32 * 48).reshape(32, 48)
    View(np.full((32, 48, 3), 0.01 * job['seed']), depth, 50.0, about={{'seed': job['seed']}}).write(Path(job['path']))
    print(json.dumps({{'key': job['key'], 'about': {{'seconds': 1.5}}}}), flush=True)
"""


def test_jobs_render_together_what_one_renders(tmp_path, capsys):
    painter = tmp_path / 'python'
    painter.write_text(PAINTER.format(python=sys.executable))
    painter.chmod(0o755)

    def render(out, *more) -> int:
        command = ['render', '--rooms', '--views', '5', '--seed', '3', '--workers', '1', '--out', str(out)]
        return main([*command, '--blender-python', str(painter), *more])

    one, two = tmp_path / 'one', tmp_path / 'two'
    assert render(one) == 0 and 'views    5 of room, 5 rendered now' in capsys.readouterr().out
    assert render(two, '--shard', '1/2') == 0
    assert 'views    3 of 5 of room, 3 rendered now' in capsys.readouterr().out
    assert not (two / 'README.md').exists()
    for rendered in (2, 0):
        assert render(two, '--shard', '2/2') == 0
        assert f'views    5 of room, {rendered} rendered now' in capsys.readouterr().out
    names = sorted(path.name for path in two.glob('*.npz'))
    assert names == [f'room-{seed:06d}.npz' for seed in range(3, 8)]
    assert all((one / name).read_bytes() == (two / name).read_bytes() for name in names)
    card = (two / 'README.md').read_text()
    assert '| room | 5 | 480x360 px | 1/2: 3 views in 4.5 s; 2/2: 2 views in 3.0 s |' in card
