"""What holds for every node: odd parameters are refused with a reason, or taken within limits; no rests at the end."""

import math
import os
import re
from pathlib import Path

import pytest

pytest.importorskip('rclpy')

from rcl_interfaces.srv import SetParameters
from rclpy.parameter import Parameter
from tiny_training import ENDLESS

from dfd_ros.ros.node_parameters import NODES

DATA = Path(__file__).parents[1] / 'data' / 'blender'
LONG = 'x' * 5000
ODD = {
    float: [math.nan, math.inf, -math.inf, 1e308, -1e308, -1.0, 0.0, 5e-324, 1e-9],
    int: [-(2**63), 2**63 - 1, -1, 0, 2**31],
    bool: [True, False],
    str: ['', LONG, 'no such', 'a\n b', '/', '../..', 'ä', '/dev/zero', '~'],
}
OTHER_TYPE = {float: 'text', int: 0.5, bool: 1, str: 3.0}
ROUNDS = max(map(len, ODD.values())) + 1
MAX_REASON = 1000  # characters


def odd_value(kind, i):
    """The i-th odd value for a parameter of this type; the last one is of another type."""
    return OTHER_TYPE[kind] if i == ROUNDS - 1 else ODD[kind][i % len(ODD[kind])]


def arguments_of(name, tmp_path):
    if name == 'trainer':
        (tmp_path / 'config.yaml').write_text(ENDLESS)
        return {'data': DATA, 'config': tmp_path / 'config.yaml', 'output': tmp_path / 'runs', 'device': 'cpu'}
    return {
        'camera': {'width': 64, 'height': 48},
        'depth': {'device': 'cpu'},
        'viewer': {'port': 0},
        'recorder': {'folder': tmp_path / 'bags', 'enabled': False},
    }.get(name, {})


def shared_memory(process):
    """The segments of Fast DDS that belong to a process: it holds their locks."""
    opened = [os.path.realpath(path) for path in Path(f'/proc/{process.process.pid}/fd').iterdir()]
    return [Path(path.removesuffix('_el')) for path in opened if re.search(r'/fast(dds|rtps)_[0-9a-f]{16}_el$', path)]


@pytest.mark.parametrize('name', NODES)
def test_odd_parameters_harm_nothing_and_nothing_is_left(start_node, observer, tmp_path, name):
    node = f'/odd_{name}/{name}'
    process = start_node(name, '-r', f'__ns:=/odd_{name}', **arguments_of(name, tmp_path))
    declarations = NODES[name].declarations()

    def set_all(values):
        request = SetParameters.Request(
            parameters=[Parameter(k, value=v).to_parameter_msg() for k, v in values.items()]
        )
        return observer.call(SetParameters, f'{node}/set_parameters', request).results

    for i in range(ROUNDS):
        results = set_all({d.name: odd_value(d.type, i) for d in declarations})
        assert process.process.poll() is None, process.output
        for declaration, result in zip(declarations, results, strict=True):
            if result.successful:
                assert declaration.run_time
                declaration.check(odd_value(declaration.type, i))
            else:
                assert 0 < len(result.reason) < MAX_REASON and '\n' not in result.reason, declaration.name
    assert all(result.successful for result in set_all({d.name: d.default for d in declarations if d.run_time}))
    segments = shared_memory(process)
    assert segments
    assert process.stop() == 0 and 'Traceback' not in process.output
    assert not [segment for segment in segments if segment.exists()]
