"""One upload and one download a frame, and nothing in between that waits for a GPU.

Tensors on torch's device ``meta`` have no values: to read one raises.
"""

import contextlib

import numpy as np
import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode

from dfd_ros import networks
from dfd_ros.core.lens_state import LensState
from dfd_ros.core.optics import VergenceRange
from dfd_ros.inference import backends, estimator
from dfd_ros.inference.estimator import DepthEstimator

SIZE = 96, 128
RANGE = VergenceRange(0.3, 3.0)
META = torch.device('meta')


class Transfers(TorchDispatchMode):
    """Records the copies to and from `META`: bytes up, or down."""

    def __init__(self):
        super().__init__()
        self.up, self.down = [], []

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        kwargs = kwargs or {}
        if func._schema.name == 'aten::to':  # in inference mode; it consists of `_to_copy`
            with self:
                return func.decompose(*args, **kwargs)
        if func is torch.ops.aten._to_copy.default:
            tensor, device = args[0], kwargs.get('device') or args[0].device
            assert tensor.device == device or kwargs.get('non_blocking'), 'waits for the GPU'
            if tensor.device == META and device != META:
                self.down.append(tensor.nbytes)
                return torch.zeros(tensor.shape, dtype=tensor.dtype)
            if device == META and tensor.device != META:
                self.up.append(tensor.nbytes)
        return func(*args, **kwargs)


@pytest.fixture
def on_meta(monkeypatch):
    monkeypatch.setattr(torch, 'autocast', lambda *_, **__: contextlib.nullcontext())  # it does not know `meta`
    monkeypatch.setattr(estimator, 'choose_device', lambda name: META)
    monkeypatch.setattr(torch.cuda, 'synchronize', lambda device: None)
    monkeypatch.setattr(backends, 'is_bf16_fast', lambda device: False)


def test_a_value_of_these_tensors_cannot_be_read():
    with pytest.raises((RuntimeError, NotImplementedError)):
        bool(torch.zeros(3, device=META).isnan().any())


@pytest.mark.parametrize('f_number, channels', [(1.8, 2), (np.nan, 3)])
@pytest.mark.parametrize('resolution', [None, 64])
def test_a_frame_is_one_upload_and_one_download(on_meta, monkeypatch, f_number, channels, resolution):
    module = networks.create('stream')
    module.reads_blur_scale = False  # a search for an unknown one reads values, in frames of its own
    stream = DepthEstimator(network=module, range_=RANGE, resolution=resolution)
    monkeypatch.setattr(DepthEstimator, 'MAX_OFFSET', -1.0)  # the memory is warped at each frame
    height, width = SIZE if resolution is None else (48, 64)
    image = np.random.default_rng(0).integers(0, 256, (*SIZE, 3), np.uint8)
    for focus in (3.0, 0.3, 1.0):
        with Transfers() as transfers:
            estimate = stream.push(image, LensState(focus, 0.004, f_number, 2e-6))
        assert [size for size in transfers.up if size > 64] == [height * width * 3]
        assert transfers.down == [channels * height * width * 4]
        with Transfers() as transfers:
            assert estimate.depth.shape == estimate.coc.shape == SIZE
        assert not (transfers.up or transfers.down)


def test_a_transfer_that_waits_is_noticed():
    with Transfers(), pytest.raises(AssertionError, match='waits'):
        torch.ones(3).to(META)
