"""Figures of the estimator on test stacks, against errors that are known."""

from types import SimpleNamespace

import numpy as np
import pytest
import torch
import yaml
from command_line import dfd

from dfd_ros.core.errors import InputError
from dfd_ros.core.focal_stack import FocalStack
from dfd_ros.core.lens_state import LensState
from dfd_ros.core.optics import VergenceRange
from dfd_ros.core.sample import Sample
from dfd_ros.datasets.stored_stacks import stored_stacks
from dfd_ros.evaluation.frame_figures import EDGE, evaluate
from dfd_ros.inference.estimator import DepthEstimator
from dfd_ros.networks import Network, Prediction

RANGE = VergenceRange(0.5, 2.0)
SIDE, STEP = 24, 12  # px; the depth steps from 2 m to 0.5 m at this column


class Known:
    """An estimator that gives the vergence that it was made with."""

    def __init__(self, vergence):
        self.vergence = vergence

    def estimate_frames(self, stack):
        zero = np.zeros_like(self.vergence)
        return [SimpleNamespace(vergence=self.vergence, log_scale=zero, coc=zero, range=RANGE)] * len(stack)


def figures(vergence):
    depth = np.full((SIDE, SIDE), 2.0)
    depth[:, STEP:] = 0.5
    stack = Sample(
        np.zeros((1, SIDE, SIDE, 3), np.uint8),
        [LensState(1.0, near=0.5, far=2.0)],
        depth[None],
        coc=np.zeros((1, SIDE, SIDE)),
    )
    (result,) = evaluate(Known(vergence), iter([stack]), (1,))
    return result


def truth():
    u = np.zeros((SIDE, SIDE), np.float32)
    u[:, STEP:] = 1
    return u


def test_errors_along_an_edge_are_not_those_of_the_rest():
    u = truth()
    u[:, STEP : STEP + EDGE] = 0  # drawn 3 px too far to the right: 2 m in place of 0.5 m, of at most 2 m
    found = figures(u)
    assert found.inner == pytest.approx(1 - 2 * EDGE / SIDE)
    assert (found.inner_rms, found.inner_accuracy) == (pytest.approx(0, abs=1e-6), 100)
    assert found.accuracy == pytest.approx(100 * (1 - EDGE / SIDE))
    assert found.rms == pytest.approx(0.75 * (EDGE / SIDE) ** 0.5)


def test_folders_count_by_what_their_stack_yaml_names(tmp_path, capsys):
    def write(name, depth, named):
        folder = tmp_path / 'stacks' / name
        images = [np.full((SIDE, SIDE, 3), value, np.uint8) for value in (0, 90, 180)]
        depth = np.full((SIDE, SIDE), depth, np.float32)
        FocalStack(images, [LensState(d) for d in (2.0, 1.0, 0.5)], depth).write(folder)
        description = yaml.safe_load((folder / 'stack.yaml').read_text())
        (folder / 'stack.yaml').write_text(yaml.safe_dump({**description, 'depth': named}))
        return folder

    write('a', 1.0, None)  # a depth.npy that is no truth, such as an estimate
    command = ('evaluate', '--data', tmp_path / 'stacks', '--network', 'best_focus', '--device', 'cpu')
    assert dfd(*command) == 2
    assert 'stacks: no shard (*.tar) and no focal stack (a stack.yaml that names depth)' in capsys.readouterr().err
    with pytest.raises(InputError, match='a stack.yaml that names depth'):
        stored_stacks(tmp_path / 'stacks')
    folder = write('b', 9.0, 'truth.npy')
    (folder / 'depth.npy').rename(folder / 'truth.npy')
    assert len(stored_stacks(tmp_path / 'stacks')) == 1
    assert dfd(*command) == 2  # all of it is out of the range
    error = capsys.readouterr().err
    assert 'stacks: nothing to measure' in error and 'Traceback' not in error
    np.save(folder / 'truth.npy', np.ones((SIDE, SIDE), np.float32))
    assert dfd(*command) == 0


def test_a_stack_is_one_stream_whatever_its_times_are():
    class Counts(Network):
        def forward(self, image, focus, blur_scale, *state):
            count = state[0] + 1 if state else torch.zeros_like(image[:, :1])
            return Prediction(count / 4, count, count), count

    depth = np.full((4, SIDE, SIDE), np.nan)
    depth[3] = 1
    stack = Sample(
        np.zeros((4, SIDE, SIDE, 3), np.uint8),
        [LensState(1.0, near=0.5, far=2.0, stamp=stamp) for stamp in (0.0, 9.0, 3.0, 3.1)],
        depth,
    )
    (result,) = evaluate(DepthEstimator(network=Counts()), iter([stack]), (1,))
    assert result.mae_u == pytest.approx(3 / 4 - RANGE.normalise(1.0))


def test_errors_away_from_the_edges_are_in_both():
    u = truth()
    u[:, :6] = 1
    found = figures(u)
    assert found.accuracy == pytest.approx(75)
    assert found.inner_accuracy == pytest.approx(100 * (1 - 6 / (SIDE - 2 * EDGE)))
    assert found.mae_u == pytest.approx(0.25)
