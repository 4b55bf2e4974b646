"""`benchmarks/soak.py` notices growth of a node, and no growth where there is none."""

import importlib.util
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip('rclpy')

BENCHMARKS = Path(__file__).parents[1] / 'benchmarks'


@pytest.fixture
def soak(monkeypatch):
    monkeypatch.syspath_prepend(str(BENCHMARKS))
    spec = importlib.util.spec_from_file_location('soak', BENCHMARKS / 'soak.py')
    module = importlib.util.module_from_spec(spec)
    monkeypatch.setitem(sys.modules, 'soak', module)
    spec.loader.exec_module(module)
    return module


@pytest.mark.parametrize(
    ('usage', 'interval', 'says'),
    [
        ({}, {}, []),
        ({'memory': 2.0}, {}, ['memory']),
        ({'files': 1}, {}, ['files']),
        ({'threads': 1}, {}, ['threads']),
        ({}, {'lost': 1}, ['without an answer']),
    ],
)
def test_what_grows_with_every_interval_is_named(soak, usage, interval, says):
    """usage, interval: what is added in each."""
    intervals = []
    for i in range(20):
        use = soak.Usage(300.0 + i % 3, 20, 10, 1.0 * i)
        use = replace(use, **{name: getattr(use, name) + i * step for name, step in usage.items()})
        added = {name: i * step for name, step in interval.items()}
        intervals.append(
            soak.Interval(100 * (i + 1), added.get('lost', 0), np.ones(5), use, 10.0 + added.get('time', 0))
        )
    faults = soak.growth(intervals)
    assert len(faults) == len(says) and all(part in fault for part, fault in zip(says, faults))
