"""Between the upload of an image and the download of its results nothing reads a value, which would wait for a GPU.

Tensors on torch's device ``meta`` have no values: to read one raises.
"""

import contextlib

import numpy as np
import pytest
import torch

from dfd_ros import networks
from dfd_ros.core.geometry import Similarity
from dfd_ros.core.lens_state import LensState
from dfd_ros.core.optics import VergenceRange
from dfd_ros.inference import estimator, result_maps
from dfd_ros.inference.backends import TorchBackend
from dfd_ros.inference.evidence import Evidence

SIZE = 96, 128
RANGE = VergenceRange(0.3, 3.0)
META = torch.device('meta')


@pytest.fixture
def evidence():
    found = Evidence()
    found.push(torch.rand(1, 3, *SIZE), 0.0, 20.0)
    assert found.foci_seen is not None
    found.foci_seen[..., :4] = 1.5  # the others were seen at one focus
    return found


def test_a_value_of_these_tensors_cannot_be_read():
    with pytest.raises((RuntimeError, NotImplementedError)):
        bool(torch.zeros(3, device=META).isnan().any())


@pytest.mark.parametrize('blur_scale', [20.0, np.nan])
def test_network_and_warp(monkeypatch, blur_scale):
    monkeypatch.setattr(torch, 'autocast', lambda *_, **__: contextlib.nullcontext())  # it does not know `meta`
    backend = TorchBackend(networks.create('stream'), META, 'fp32')
    state: list[torch.Tensor] = []
    for focus in (0.0, 1.0):
        inputs = torch.empty(1, 3, *SIZE, device=META), torch.tensor([focus]), torch.tensor([blur_scale])
        prediction, *state = backend(*inputs, *state)
        state = [estimator._warp(map_, Similarity(dx=2.0), *SIZE) for map_ in state]
    assert all(map_.device == META for map_ in (*prediction, *state))


@pytest.mark.parametrize('size', [SIZE, (192, 256)])
@pytest.mark.parametrize('lens_is_known', [True, False])
def test_maps_of_the_result(monkeypatch, evidence, size, lens_is_known):
    downloads = []

    def download(tensor):
        downloads.append(tensor.shape)
        return torch.zeros(tensor.shape)

    monkeypatch.setattr(torch.Tensor, 'cpu', download)
    found = result_maps.result_maps(
        torch.empty(1, 3, *SIZE, device=META),
        np.zeros((*size, 3), np.uint8),
        np.zeros((*SIZE, 3), np.uint8),
        LensState(0.5, 0.004, 1.8, 2e-6),
        RANGE,
        evidence,
        lens_is_known=lens_is_known,
    )
    assert {name: map_.shape for name, map_ in found.items()} == dict.fromkeys(result_maps.FIELDS, size)
    assert downloads == [(len(result_maps.FIELDS), *size)]  # one, since each waits for the GPU
