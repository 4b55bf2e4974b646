"""Measures of public test sets, against errors that are known; and the command."""

import json
from types import SimpleNamespace

import numpy as np
import public_files
import pytest
from command_line import dfd

from dfd_ros.core.focal_stack import FocalStack
from dfd_ros.core.lens_state import LensState
from dfd_ros.evaluation.public_measures import bumpiness, measures
from dfd_ros.evaluation.public_sets import PUBLIC_SETS, evaluate_public, find_public_set
from dfd_ros.evaluation.published_figures import PUBLISHED


def test_errors_that_are_known():
    truth = np.full((8, 8), 2.0)
    truth[0] = np.nan
    result = measures(np.full((8, 8), 2.4), truth)
    assert result['mae'] == pytest.approx(0.4) and result['mse'] == pytest.approx(0.16)
    assert result['rms'] == pytest.approx(0.4) and result['abs_rel'] == pytest.approx(0.2)
    assert result['sq_rel'] == pytest.approx(0.08) and result['log_rms'] == pytest.approx(np.log(1.2))
    assert (result['d1.15'], result['d1.25']) == (0, 100)


def test_bumpiness_is_that_of_the_hessian():
    x = np.arange(16.0)[None] * np.ones((16, 1))
    inner = np.zeros(x.shape, bool)
    inner[3:-3, 3:-3] = True
    assert bumpiness(1 + 0.01 * x, np.ones(x.shape), inner) == pytest.approx(0, abs=1e-9)
    # The second derivative of 0.001 x^2 is 0.002, and both filters have a weight of 2.
    assert bumpiness(1 + 0.001 * x**2, np.ones(x.shape), inner) == pytest.approx(100 * 4 * 0.002)
    assert bumpiness(1 + x**2, np.ones(x.shape), inner) == pytest.approx(5)  # at most 0.05 a pixel


class Known:
    """An estimator that gives the depth that it was made with."""

    def __init__(self, depth):
        self.depth = depth

    def estimate_stack(self, stack):
        assert all((state.near, state.far) == (0.5, 4.0) for state in stack.lens_states)
        return SimpleNamespace(depth=self.depth)


def stack(depth):
    return FocalStack([np.zeros((4, 4, 3), np.uint8)] * 2, [LensState(0.5), LensState(4.0)], depth)


def test_ddff12_is_measured_in_disparity():
    public = PUBLIC_SETS['ddff12']
    truth = np.full((4, 4), public.disparity / 0.1, np.float32)
    result = evaluate_public(Known(np.full((4, 4), public.disparity / 0.12)), public, [stack(truth)])
    assert result['mse'] == pytest.approx(0.02**2, rel=1e-4) and result['abs_rel'] == pytest.approx(0.2, rel=1e-4)
    # What lies at infinity is as far as the set goes.
    result = evaluate_public(Known(np.full((4, 4), np.inf)), public, [stack(truth)])
    assert result['rms'] == pytest.approx(0.08, rel=1e-4)


def test_figures_are_means_over_stacks_and_say_what_is_known():
    depth = np.full((4, 4), 1.0)
    depth[:2] = np.nan
    truths = [np.full((4, 4), value, np.float32) for value in (1.0, 2.0)]
    result = evaluate_public(Known(depth), PUBLIC_SETS['zedd'], [stack(truth) for truth in truths])
    assert result['known'] == 0.5 and result['abs_rel'] == pytest.approx(0.25) and result['d1.05'] == 50


def test_depth_of_fod500_is_cut_where_it_is_in_the_literature():
    truth = np.full((4, 4), 2.5, np.float32)
    assert evaluate_public(Known(np.full((4, 4), 9.0)), PUBLIC_SETS['fod500'], [stack(truth)])['mse'] == 0


def test_published_figures_use_the_measures_of_their_set():
    for one in PUBLISHED:
        assert set(one.figures) <= set(PUBLIC_SETS[one.data].measures) and one.source, one


def test_other_data_is_no_public_set(tmp_path):
    assert find_public_set('field') is None and find_public_set(str(tmp_path)) is None


@pytest.mark.parametrize('network', ['best_focus', 'variational'])
def test_figures_are_printed_beside_published_ones(tmp_path, network, capsys):
    path = tmp_path / 'trainval.h5'
    public_files.ddff12(path, 1)
    assert (
        dfd(
            'evaluate',
            '--data',
            f'ddff12:{path}',
            '--network',
            network,
            '--sweep',
            '5',
            '--json',
            tmp_path / 'figures.json',
        )
        == 0
    )
    out = capsys.readouterr().out
    assert f'| {network}' in out and '| AiFDepthNet' in out and 'Bump.' in out
    assert 0 < json.loads((tmp_path / 'figures.json').read_text())['abs_rel'] < 10


def test_the_command_on_a_set_that_is_not_there(tmp_path, capsys):
    assert dfd('evaluate', '--data', f'zedd:{tmp_path / "none"}', '--network', 'best_focus') == 2
    error = capsys.readouterr().err
    assert f'{tmp_path / "none"}: no such file or folder' in error and error.count('\n') == 1
