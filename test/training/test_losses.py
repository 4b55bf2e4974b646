"""Losses against values worked out by hand."""

import math
from types import SimpleNamespace

import pytest
import torch

from dfd_ros.core.optics import VergenceRange
from dfd_ros.networks import Prediction
from dfd_ros.training.losses import (
    edge_sides,
    gradient_error,
    hypothesis_cross_entropy,
    laplace_nll,
    sequence_loss,
    share_of_far,
)

CENTRES = torch.linspace(0, 1, 5)
WEIGHTS = SimpleNamespace(
    likelihood=1.0, beta=0.0, mse=10.0, depth=3.0, coarse=0.5, coc=0.25, gradient=2.0, edges=0.0, edges_behind=0.5
)
RATIO = torch.tensor([5.0])


def test_laplace_nll_by_hand():
    loss = laplace_nll(torch.tensor(0.5), torch.tensor(math.log(0.1)), torch.tensor(0.3))
    assert loss.item() == pytest.approx(0.2 / 0.1 + math.log(0.1))


def test_laplace_nll_is_least_where_the_scale_is_the_error():
    scales = torch.linspace(0.01, 1, 1000)
    loss = laplace_nll(torch.tensor(0.7), scales.log(), torch.tensor(0.5))
    assert scales[loss.argmin()].item() == pytest.approx(0.2, abs=2e-3)


@pytest.mark.parametrize('beta', [0.0, 0.5, 1.0])
def test_the_scale_to_the_power_beta_weighs_a_pixel(beta):
    vergence = torch.tensor([0.7, 0.7], requires_grad=True)
    log_scale = torch.tensor([0.2, 0.02]).log().requires_grad_()
    laplace_nll(vergence, log_scale, torch.tensor([0.5, 0.5]), beta).sum().backward()
    assert vergence.grad.tolist() == pytest.approx([0.2 ** (beta - 1), 0.02 ** (beta - 1)])
    # Whatever its weight, a scale that is the error stays.
    assert log_scale.grad[0].item() == pytest.approx(0, abs=1e-6) and log_scale.grad[1] < 0


def entropy(logits: list[float], truth: float) -> float:
    return hypothesis_cross_entropy(
        torch.tensor(logits).view(1, -1, 1, 1), CENTRES, torch.full((1, 1, 1, 1), truth)
    ).item()


def test_cross_entropy_shares_the_truth_between_two_hypotheses():
    logits = [0.3, -1.0, 2.0, 0.5, 0.0]
    log_p = torch.tensor(logits).log_softmax(0)
    assert entropy(logits, 0.5) == pytest.approx(-log_p[2].item())
    assert entropy(logits, 0.3125) == pytest.approx(-(0.75 * log_p[1] + 0.25 * log_p[2]).item())


@pytest.mark.parametrize('beyond, end', [(-0.4, 0), (1.7, 4)])
def test_truth_beyond_the_hypotheses_counts_for_the_last_one(beyond, end):
    logits = [0.3, -1.0, 2.0, 0.5, 0.0]
    assert entropy(logits, beyond) == pytest.approx(-torch.tensor(logits).log_softmax(0)[end].item())


def sequences(height=16, width=16):
    """Predictions and truth of (2, 3) frames."""
    generator = torch.Generator().manual_seed(0)

    def random(*shape):
        return torch.rand(2, 3, *shape, generator=generator)

    prediction = Prediction(random(1, height, width), random(1, height, width) - 3, 10 * random(1, height, width))
    logits = [random(5, height // 4, width // 4) for _ in range(2)]
    return prediction, logits, random(1, height, width), 10 * random(1, height, width)


def test_the_sum_is_the_weighted_sum_of_the_parts():
    prediction, logits, vergence, coc = sequences()
    total, parts = sequence_loss(prediction, logits, CENTRES, vergence, coc, RATIO, WEIGHTS)
    assert set(parts) == {'likelihood', 'mse', 'depth', 'coarse', 'coc', 'gradient'}
    expected = (
        parts['likelihood']
        + 10 * parts['mse']
        + 3 * parts['depth']
        + 0.5 * parts['coarse']
        + 0.25 * parts['coc']
        + 2 * parts['gradient']
    )
    assert total.item() == pytest.approx(expected.item())
    assert parts['mse'].item() == pytest.approx((prediction.vergence - vergence).square().mean().item())
    truth = vergence[..., 2::4, 2::4].flatten(0, 1)
    entropies = [hypothesis_cross_entropy(a.flatten(0, 1), CENTRES, truth).mean().item() for a in logits]
    assert parts['coarse'].item() == pytest.approx(sum(entropies) / 2)
    assert parts['likelihood'].item() == pytest.approx(
        laplace_nll(prediction.vergence, prediction.log_scale, vergence).mean().item()
    )


def test_a_perfect_prediction_costs_nothing():
    prediction, logits, vergence, coc = sequences()
    _, parts = sequence_loss(
        Prediction(vergence, prediction.log_scale, coc), logits, CENTRES, vergence, coc, RATIO, WEIGHTS
    )
    assert parts['mse'] == 0 and parts['depth'] == 0 and parts['coc'] == 0


def test_the_loss_of_depth_is_that_of_the_metres():
    """Those of `dfd_ros.core.optics`, as shares of the far end; what goes to infinity has none."""
    prediction, logits, vergence, coc = sequences()
    ranges = [VergenceRange(0.25, 1.25), VergenceRange(0.5, 8.0)]
    ratio = torch.tensor([range_.far / range_.near for range_ in ranges])
    error = [(r.denormalise(prediction.vergence[i]) - r.denormalise(vergence[i])) / r.far for i, r in enumerate(ranges)]
    _, parts = sequence_loss(prediction, logits, CENTRES, vergence, coc, ratio, WEIGHTS)
    assert parts['depth'].item() == pytest.approx(torch.stack(error).square().mean().item(), rel=1e-5)
    ratio[1] = math.inf
    _, parts = sequence_loss(prediction, logits, CENTRES, vergence, coc, ratio, WEIGHTS)
    assert parts['depth'].item() == pytest.approx(error[0].square().mean().item(), rel=1e-5)


def test_beyond_the_range_is_at_its_far_end():
    u = torch.tensor([-0.3, 0.0, 1.0])
    assert share_of_far(u, torch.tensor(5.0)).tolist() == pytest.approx([1, 1, 0.2])


def test_pixels_without_truth_do_not_count():
    prediction, logits, vergence, coc = sequences()
    holes = vergence.clone()
    holes[:, :, :, :8] = math.nan
    _, parts = sequence_loss(prediction, logits, CENTRES, holes, coc, RATIO, WEIGHTS)
    kept = Prediction(*(p[..., 8:, :] for p in prediction))
    _, expected = sequence_loss(
        kept, [a[..., 2:, :] for a in logits], CENTRES, vergence[..., 8:, :], coc[..., 8:, :], RATIO, WEIGHTS
    )
    for name, value in parts.items():
        assert value.item() == pytest.approx(expected[name].item(), rel=1e-5), name


@pytest.mark.parametrize('crop', [16, 24, 36, 40])
def test_hypotheses_are_aligned_with_the_truth_despite_padding(crop):
    cells = -(-crop // 16) * 4
    vergence = CENTRES[torch.randint(len(CENTRES), (1, 1, 1, crop, crop), generator=torch.Generator().manual_seed(1))]
    here = vergence[..., 2::4, 2::4]
    logits = torch.full((1, 1, 5, cells, cells), math.nan)  # of what is padded
    logits[..., : here.shape[-2], : here.shape[-1]] = -200 * (here - CENTRES[:, None, None]).abs()
    _, parts = sequence_loss(
        Prediction(vergence, vergence, vergence), [logits], CENTRES, vergence, vergence, RATIO, WEIGHTS
    )
    assert parts['coarse'].item() == pytest.approx(0, abs=1e-3)


def test_no_truth_at_all_gives_zero_and_finite_gradients():
    prediction, logits, vergence, coc = sequences()
    prediction = Prediction(*(p.requires_grad_() for p in prediction))
    total, _ = sequence_loss(prediction, logits, CENTRES, torch.full_like(vergence, math.nan), coc, RATIO, WEIGHTS)
    total.backward()
    assert total.item() == 0
    assert all(torch.isfinite(p.grad).all() for p in prediction)


def test_a_wrong_sign_of_the_coc_costs():
    prediction, logits, vergence, coc = sequences()
    flipped = Prediction(vergence, prediction.log_scale, -coc)
    _, parts = sequence_loss(flipped, logits, CENTRES, vergence, coc, RATIO, WEIGHTS)
    assert parts['coc'] > 0.1


def test_edge_pixels_weigh_more_and_most_in_front():
    truth = torch.zeros(1, 1, 1, 32, 32)
    truth[..., 16:] = 0.5
    in_front, behind = edge_sides(truth[0], radius=4)
    assert behind[..., 12:16].all() and not behind[..., :12].any() and not behind[..., 16:].any()
    assert in_front[..., 16:20].all() and not in_front[..., :16].any() and not in_front[..., 20:].any()

    def cost(columns, weight):
        vergence = truth.clone()
        vergence[..., columns] += 0.1
        prediction = Prediction(vergence, torch.zeros_like(truth), torch.zeros_like(truth))
        parts = sequence_loss(
            prediction,
            [torch.zeros(1, 1, 3, 8, 8)],
            torch.tensor([0.0, 0.5, 1.0]),
            truth,
            torch.zeros_like(truth),
            RATIO,
            SimpleNamespace(**{**vars(WEIGHTS), 'edges': weight}),
        )[1]
        return parts['mse'].item()

    near_side, far_side, away = slice(16, 18), slice(14, 16), slice(2, 4)
    assert cost(near_side, 0.0) == pytest.approx(cost(far_side, 0.0)) == pytest.approx(cost(away, 0.0))
    assert cost(near_side, 2.0) == pytest.approx(3 * cost(away, 2.0))
    assert cost(far_side, 2.0) == pytest.approx(2 * cost(away, 2.0))


def test_where_the_prediction_is_nan_only_the_coc_counts():
    prediction, logits, vergence, coc = sequences()
    early = prediction.vergence.clone()
    early[:, :2] = math.nan  # a network that reads whole stacks: a map at their end alone
    early.requires_grad_()
    total, parts = sequence_loss(prediction._replace(vergence=early), logits, CENTRES, vergence, coc, RATIO, WEIGHTS)
    last = Prediction(*(p[:, 2:] for p in prediction))
    _, expected = sequence_loss(last, [a[:, 2:] for a in logits], CENTRES, vergence[:, 2:], coc[:, 2:], RATIO, WEIGHTS)
    assert parts['mse'].item() == pytest.approx(expected['mse'].item())
    assert parts['likelihood'].item() == pytest.approx(expected['likelihood'].item())
    _, everywhere = sequence_loss(prediction, logits, CENTRES, vergence, coc, RATIO, WEIGHTS)
    assert parts['coc'].item() == pytest.approx(everywhere['coc'].item())
    total.backward()
    assert torch.isfinite(early.grad).all() and early.grad[:, 2:].any()


def test_gradient_loss_ignores_offsets_and_sees_slopes():
    valid = torch.ones(1, 1, 32, 32, dtype=torch.bool)
    assert gradient_error(torch.full((1, 1, 32, 32), 0.3), valid) == 0
    slope = (0.01 * torch.arange(32.0)).expand(1, 1, 32, 32)
    # Neighbours at a half, a quarter and an eighth of the size lie 2, 4 and 8 px apart; along the other axis none do.
    assert gradient_error(slope, valid).item() == pytest.approx(0.01 * (1 + 2 + 4 + 8) / 8, rel=1e-4)


def test_the_gradient_of_pixels_without_truth_does_not_count():
    error = torch.zeros(1, 1, 16, 16)
    valid = torch.ones(1, 1, 16, 16, dtype=torch.bool)
    error[..., 5, 5], valid[..., 5, 5] = 9.0, False
    assert gradient_error(error, valid) == 0
    assert gradient_error(error, torch.zeros_like(valid)) == 0
