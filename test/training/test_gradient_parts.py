"""The sequences of a step in parts: gradient accumulation, and a GPU whose memory does not suffice for all at once."""

import contextlib
from dataclasses import replace

import pytest
import torch
from tiny_training import on_samples

from dfd_ros.core.errors import InputError
from dfd_ros.training import loop
from dfd_ros.training.loop import train

CONFIG = on_samples(batch=3, frames=3, steps=1)


def gradients(run, batch) -> list[torch.Tensor]:
    run._gradient(batch, loop.decoded_frames(CONFIG, 0))
    return [value.grad.clone() for value in run._network.parameters() if value.grad is not None]


def test_the_gradient_is_the_mean_of_those_of_the_parts(tmp_path):
    alone = loop._Processes(0, 1, torch.device('cpu'))
    run = loop._Run(replace(CONFIG, parts=3), tmp_path, alone, None, None)
    with contextlib.closing(run._data), contextlib.closing(run._log):
        batch = run._data.batch(0)
        together = gradients(run, batch)
        single = [gradients(run, batch[i : i + 1]) for i in range(3)]
    for value, *values in zip(together, *single, strict=True):
        assert (value - torch.stack(values).mean(0)).norm() <= 1e-4 * value.norm() + 1e-6
    assert sum(value.abs().sum() for value in together) > 0


def two_at_most(monkeypatch, most: int = 2):
    """A GPU that has memory for two sequences."""
    loss = loop.sequence_loss

    def with_little_memory(prediction, logits, centres, truth, *more):
        if len(truth) > most:
            raise torch.OutOfMemoryError('CUDA out of memory')
        return loss(prediction, logits, centres, truth, *more)

    monkeypatch.setattr(loop, 'sequence_loss', with_little_memory)


def test_parts_are_halved_until_they_fit(tmp_path, monkeypatch, capfd):
    two_at_most(monkeypatch)
    assert train(CONFIG, tmp_path / 'run', 'cpu').finished
    assert 'tiny: 3 sequences at a time are too many for the GPU, taking half of them' in capfd.readouterr().out


@pytest.mark.parametrize('parts, most', [(1, 2), (0, 0)])
def test_a_step_that_never_fits_is_refused(tmp_path, monkeypatch, parts, most):
    two_at_most(monkeypatch, most)
    with pytest.raises(InputError, match='^tiny: [13] sequences at a time are too many for the memory of the GPU; '):
        train(replace(CONFIG, parts=parts), tmp_path / 'run', 'cpu')
