"""Figures of the estimator on test stacks, against errors that are known."""

from types import SimpleNamespace

import cv2
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
from dfd_ros.drawing.visualise import BACKGROUND
from dfd_ros.evaluation.frame_figures import EDGE, evaluate
from dfd_ros.inference.estimator import DepthEstimator
from dfd_ros.networks import Network, Prediction

RANGE = VergenceRange(0.5, 2.0)
SIDE, STEP = 24, 12  # px; the depth steps from 2 m to 0.5 m at this column


class Known:
    """An estimator that gives the vergence that it was made with, after each frame (T, H, W) or after all (H, W)."""

    def __init__(self, vergence, confidence=None):
        self.vergence = vergence
        self.confidence = np.zeros_like(vergence) if confidence is None else confidence

    def estimate_frames(self, stack):
        shape = (len(stack), SIDE, SIDE)
        zero = np.zeros((SIDE, SIDE), np.float32)
        return [
            SimpleNamespace(vergence=u, log_scale=zero, confidence=confidence, coc=zero, range=RANGE)
            for u, confidence in zip(np.broadcast_to(self.vergence, shape), np.broadcast_to(self.confidence, shape))
        ]


def known_stack(frames=1):
    depth = np.full((frames, SIDE, SIDE), 2.0)
    depth[..., STEP:] = 0.5
    return Sample(
        np.zeros((frames, SIDE, SIDE, 3), np.uint8),
        [LensState(1.0, near=0.5, far=2.0)] * frames,
        depth,
        coc=np.zeros((frames, SIDE, SIDE)),
    )


def figures(vergence, confidence=None):
    (result,) = evaluate(Known(vergence, confidence), [known_stack()], (1,))
    return result


def truth():
    u = np.zeros((SIDE, SIDE), np.float32)
    u[:, STEP:] = 1
    return u


def test_errors_along_an_edge_are_not_those_of_the_rest():
    u = truth()
    u[:, STEP : STEP + EDGE] = 0  # drawn 3 px too far to the right: 2 m instead of 0.5 m, of at most 2 m
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
    write('c', 1.0, 'depth.npy')
    capsys.readouterr()
    assert dfd(*command, '--stacks', 1) == 0
    assert '1/1 [' in capsys.readouterr().err


@pytest.mark.slow(reason='whole commands render a stack and draw')
def test_the_confidence_is_drawn(tmp_path, capsys):
    pytest.importorskip('matplotlib')
    command = 'evaluate', '--data', 'field', '--stacks', 1, '--size', 64, '--network', 'best_focus', '--plot'
    assert dfd(*command, tmp_path / 'plot.png') == 0
    picture = cv2.imread(str(tmp_path / 'plot.png'))
    assert picture.std() > 10 and tuple(picture[0, 0, ::-1]) == BACKGROUND
    assert dfd(*command, tmp_path / 'plot.txt') == 2
    assert 'plot.txt: must end in .png or .svg' in capsys.readouterr().err


def test_a_stack_is_one_stream_whatever_its_times_are():
    class Counts(Network):
        def forward(self, image, focus, blur_scale, *state):
            count = state[0] + 1 if state else torch.zeros_like(image[:, :1])
            return Prediction(count / 4, count, count), count

    depth = np.full((4, SIDE, SIDE), np.nan)
    depth[3] = 1
    stack = Sample(
        np.zeros((4, SIDE, SIDE, 3), np.uint8),
        [LensState(1 + i % 2, near=0.5, far=2.0, stamp=stamp) for i, stamp in enumerate((0.0, 9.0, 3.0, 3.1))],
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


def test_what_is_shown_as_confident_and_wrong():
    u = truth()
    u[:, :6] += 0.11
    u[:, 6:9] += 0.09  # off, but not wrong
    confidence = np.zeros_like(u)
    confidence[:, 4:12] = 0.6  # 2 of these 8 columns are wrong
    found = figures(u, confidence)
    assert found.sure == pytest.approx(8 / SIDE)
    assert found.sure_wrong == pytest.approx(2 / 8)
    assert found.shown_wrong == pytest.approx(2 / SIDE)
    found = figures(u)
    assert (found.sure, found.shown_wrong) == (0, 0) and np.isnan(found.sure_wrong)
    u[:, 4] = np.nan  # what has no estimate is not confident
    assert figures(u, np.where(np.isnan(u), 0, confidence)).sure == pytest.approx(7 / SIDE)


def test_flicker_is_of_the_pixels_whose_truth_stays():
    stack = known_stack(frames=4)  # two sweeps of two frames
    stack.depth[2:, :, :3] = 1.0  # from u = 0 to 1/3
    u = np.stack([truth()] * 4)
    u[0] += 0.5  # other phases of the sweep do not count
    u[3, :, 3:9] += 0.2  # 6 of the 21 columns that are still
    u[3, :, 9:20] += 0.1  # 11 of them
    found = {f.frame: f for f in evaluate(Known(u), [stack], (2, 4), sweep=2)}
    assert found[4].still == pytest.approx(21 / SIDE)
    assert found[4].flicker_rms == pytest.approx(((6 * 0.2**2 + 11 * 0.1**2) / 21) ** 0.5)
    assert found[4].flicker_median == pytest.approx(0.1)
    assert found[4].changed_mae == pytest.approx(1 / 3)  # it still says 0 there
    assert np.isnan([found[2].still, found[2].flicker_rms, found[2].changed_mae]).all()  # no sweep before


def test_one_true_depth_says_nothing_of_flicker():
    stack = known_stack(frames=4)
    stack.depth[:3] = np.nan
    (found,) = evaluate(Known(truth()), [stack], (4,), sweep=2)
    assert found.frame == 0 and np.isnan(found.still)
