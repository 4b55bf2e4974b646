"""Odd input of every kind is read, or refused in one line. `benchmarks/fuzz.py` gives far more of it."""

import pytest
from fuzzing import SUBJECTS, fuzz

pytestmark = pytest.mark.slow(reason='hundreds of odd inputs')

COUNTS = {
    'messages': 200,
    'nodes': 300,
    'frames': 30,
    'videos': 30,
    'bags': 1,
    'phones': 2,
    'checkpoints': 5,
    'commands': 4,
}
NEEDS = {
    'videos': ['av'],
    'messages': ['rclpy'],
    'nodes': ['rclpy'],
    'onnx': ['onnx', 'onnxruntime'],
    'public': ['h5py', 'OpenEXR'],
}
SLOW = {'nodes': 'three nodes start', 'steps': 'trains', 'commands': 'renders and exports', 'studies': 'trains'}


@pytest.mark.parametrize(
    'name', [pytest.param(name, marks=pytest.mark.slow(reason=SLOW[name]) if name in SLOW else ()) for name in SUBJECTS]
)
def test_odd_input_is_read_or_refused_in_one_line(name, tmp_path):
    for module in NEEDS.get(name, ()):
        pytest.importorskip(module)
    outcome = fuzz(name, COUNTS.get(name, 8), 1, tmp_path)
    assert not outcome.faults, outcome
    assert outcome.read + outcome.refused == COUNTS.get(name, 8)
