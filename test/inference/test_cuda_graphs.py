"""Recordings of a network. Without a GPU a stand-in records: as a CUDA graph it always uses the same tensors."""

import warnings

import numpy as np
import pytest
import torch

from dfd_ros import networks
from dfd_ros.core.lens_state import LensState
from dfd_ros.core.optics import VergenceRange
from dfd_ros.inference.cuda_graphs import MAX_GRAPHS, WARM_UP, Replays
from dfd_ros.inference.estimator import DepthEstimator

RANGE = VergenceRange(0.3, 3.0)
FOCI = (3.0, 1.0, 0.6, 0.4, 0.3)


class StandIn:
    made = 0

    def __init__(self, function, inputs):
        type(self).made += 1
        self._function = function
        self.inputs = [tensor.clone() for tensor in inputs]
        self.outputs = [torch.empty_like(tensor) for tensor in function(*inputs)]

    def replay(self):
        for mine, output in zip(self.outputs, self._function(*self.inputs)):
            mine.copy_(output)


@pytest.fixture
def stand_in():
    return type('Fresh', (StandIn,), {'made': 0})


def twice(x):
    return [2 * x]


def test_a_function_is_recorded_once_it_is_warm(stand_in):
    replays = Replays(twice, stand_in)
    results = []
    for i in range(2 * WARM_UP):
        (result,) = replays(torch.full((3,), float(i)))
        results.append(result)
        assert stand_in.made == (i + 1 >= WARM_UP)
    assert [float(result[0]) for result in results] == [2.0 * i for i in range(2 * WARM_UP)]  # none is overwritten


def test_shapes_and_options_have_recordings_of_their_own_but_not_many(stand_in):
    replays = Replays(lambda x, add=0: [x + add], stand_in)
    for size, add in ((3, 1), (3, 2), (4, 2), (5, 2)):
        for _ in range(WARM_UP + 1):
            assert torch.equal(replays(torch.ones(size), add=add)[0], torch.full((size,), 1.0 + add))
    assert stand_in.made == MAX_GRAPHS


class Wrong(StandIn):
    def replay(self):
        super().replay()
        self.outputs[0] += 1


class Impossible:
    def __init__(self, function, inputs):
        raise RuntimeError('CUDA error: operation not permitted when stream is capturing')


@pytest.mark.parametrize('record, because', [(Wrong, 'other results'), (Impossible, 'not permitted')])
def test_what_cannot_be_recorded_runs_as_before(record, because):
    replays, x = Replays(twice, record), torch.ones(3)
    for i in range(1, 2 * WARM_UP):
        if i == WARM_UP:
            with pytest.warns(UserWarning, match=because):
                replays(x)
        else:
            assert torch.equal(replays(x)[0], 2 * x)


def estimates(network, device='cpu', **changes):
    estimator = DepthEstimator(network=network, device=device, range_=RANGE, precision='fp32')
    if changes:
        estimator._backend._run = Replays(estimator._backend._step, **changes)
    rng = np.random.default_rng(0)
    image = rng.integers(0, 256, (64, 96, 3), np.uint8)
    return [
        estimator.push(np.roll(image, i, 1), LensState(focus, 0.004, 1.8, 2e-6)) for i, focus in enumerate(2 * FOCI)
    ]


def test_a_stream_by_replays_is_that_of_the_network(stand_in):
    network = networks.create('stream')
    for a, b in zip(estimates(network), estimates(network, record=stand_in), strict=True):
        np.testing.assert_allclose(a.vergence, b.vergence, atol=1e-6)
    assert stand_in.made == 1  # the first frame, without a memory, comes once


@pytest.mark.skipif(not torch.cuda.is_available(), reason='needs a GPU')
def test_a_gpu_gives_what_the_cpu_gives():
    network = networks.create('stream')
    with warnings.catch_warnings():
        warnings.simplefilter('error')  # of a graph that cannot be
        found = estimates(network, 'cuda')
    for a, b in zip(found, estimates(network), strict=True):
        np.testing.assert_allclose(a.vergence, b.vergence, atol=2e-3)
