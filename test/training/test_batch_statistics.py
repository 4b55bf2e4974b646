"""Batch normalisation's statistics, taken anew for averaged weights."""

from types import SimpleNamespace

import pytest
import torch
from torch import nn

from dfd_ros import networks
from dfd_ros.training.batch_statistics import has_statistics, take_statistics


class Normalised(nn.Module):
    def __init__(self):
        super().__init__()
        self.norm, self.dropout, self.decoded = nn.BatchNorm2d(3), nn.Dropout(0.9), []

    def sequence(self, images, focus, blur_scale, decode):
        self.decoded.append(decode)
        return self.norm(self.dropout(images.flatten(0, 1)))


def batches(count):
    images = torch.randn(count, 2, 4, 3, 8, 8, generator=torch.Generator().manual_seed(0)) * 3 + 1
    return images, [SimpleNamespace(images=i, focus=None, blur_scale=None) for i in images]


def test_the_mean_over_all_batches_without_dropout():
    network, (images, given) = Normalised().train(), batches(5)
    network.norm.running_mean.fill_(100.0)
    weight = network.norm.weight.clone()
    take_statistics(network, given)
    by_channel = images.movedim(3, 0).flatten(1)
    torch.testing.assert_close(network.norm.running_mean, by_channel.mean(1))
    torch.testing.assert_close(network.norm.running_var, by_channel.var(1), rtol=0.02, atol=0)
    assert network.training and network.norm.momentum == pytest.approx(0.1) and network.decoded == [[3]] * 5
    assert torch.equal(network.norm.weight, weight) and not network.norm.running_mean.requires_grad
    network.eval()
    take_statistics(network, given)
    assert not network.training and not network.norm.training


def test_which_networks_have_them():
    assert has_statistics(networks.create('ddffnet', width=0.1)) and not has_statistics(networks.create('stream'))
