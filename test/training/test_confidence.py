"""`dfd_ros.training.confidence`: confidence that is right as often as it says."""

import json

import pytest
import torch

from dfd_ros import networks
from dfd_ros.core.laplace import CONFIDENT_ERROR
from dfd_ros.synthesis.procedural import StackSettings
from dfd_ros.training.confidence import correct_file, fit
from dfd_ros.training.config import TrainingConfig
from dfd_ros.training.metrics import reliability

TINY = {'channels': (8, 8, 8, 8), 'hypotheses': 6, 'kinds': (1, 2, 1), 'hidden': (4, 4)}
DATA = StackSettings(height=48, width=48, frames=4, ramp=(4, 4))


def confidence(log_scale):
    return -torch.expm1(-CONFIDENT_ERROR * torch.exp(-log_scale))


@pytest.mark.parametrize('slope, offset', [(1.0, 0.0), (0.6, 0.8), (1.8, -0.5)])
def test_the_correction_that_was_undone_is_found(slope, offset):
    torch.manual_seed(0)
    log_scale = torch.empty(100_000).uniform_(-6, 0)
    error = torch.distributions.Exponential(torch.exp(-log_scale)).sample()  # |x| of a Laplace distribution
    stated = (log_scale - offset) / slope
    found = fit(stated, error)
    assert (found.slope, found.offset) == pytest.approx((slope, offset), abs=0.06)
    right = error <= CONFIDENT_ERROR
    assert reliability(confidence(found.slope * stated + found.offset), right).calibration_error < 0.01


def test_confidence_fit_is_finite_if_all_is_right_or_all_wrong():
    log_scale = torch.linspace(-5, 0, 1000)
    for error in (torch.zeros(1000), torch.ones(1000)):
        found = fit(log_scale, error)
        assert torch.isfinite(torch.tensor([found.slope, found.offset])).all() and found.slope > 0


def test_reliability_of_known_confidence():
    found = reliability(torch.tensor([0.85, 0.85, 0.15, 1.0]), torch.tensor([True, False, False, True]))
    assert found.share.tolist() == [0, 0.25, 0, 0, 0, 0, 0, 0, 0.5, 0.25]
    assert found.right[8] == 0.5 and found.stated[1] == pytest.approx(0.15)
    assert found.calibration_error == pytest.approx(0.5 * 0.35 + 0.25 * 0.15)


@pytest.fixture
def network():
    torch.manual_seed(0)
    return networks.create('stream', **TINY).eval()


def test_correcting_confidence_keeps_depth(network, tmp_path):
    frame = torch.rand(1, 3, 48, 48), torch.tensor([0.3]), torch.tensor([10.0])
    with torch.no_grad():
        before = network(*frame)[0]
        network.correct_log_scale(0.5, 0.3)
        networks.save(tmp_path / 'a.safetensors', network)
        after = networks.load(tmp_path / 'a.safetensors')(*frame)[0]
    assert torch.allclose(after.log_scale, 0.5 * before.log_scale + 0.3, atol=1e-5)
    assert torch.equal(after.vergence, before.vergence)


def test_confidence_is_corrected_once_on_held_out_stacks(network, tmp_path):
    path, config = tmp_path / 'best.safetensors', TrainingConfig(network='stream', data=DATA, validate_stacks=2)
    networks.save(path, network, {'steps': '7'})
    found = correct_file(path, config, torch.device('cpu'))
    with networks.opened(path) as file:
        assert json.loads(file.metadata['confidence']) == vars(found) and file.metadata['steps'] == '7'
    corrected = path.read_bytes()
    assert correct_file(path, config, torch.device('cpu')) is None and path.read_bytes() == corrected
