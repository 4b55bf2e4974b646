"""Losses for depth from focus, over all decoded frames of a sequence."""

from __future__ import annotations

from functools import reduce

import torch
import torch.nn.functional as F

from dfd_ros.networks import Prediction

_EDGE = 0.08  # of vergence
_SCALES = 4  # of the gradient of the error


def laplace_nll(
    vergence: torch.Tensor, log_scale: torch.Tensor, truth: torch.Tensor, beta: float = 0.0
) -> torch.Tensor:
    """Negative log-likelihood of a Laplace distribution, per pixel (Kendall and Gal, NeurIPS 2017).

    Where the scale is large, as at depth edges, the vergence gets small gradients although it is wrong there. Weighting
    by the scale to the power `beta` (Seitzer et al., "On the Pitfalls of Heteroscedastic Uncertainty Estimation", ICLR
    2022) increases them; with 1 they are those of the absolute error.
    """
    loss = (vergence - truth).abs() * torch.exp(-log_scale) + log_scale
    return loss * torch.exp(beta * log_scale.detach())


def hypothesis_cross_entropy(logits: torch.Tensor, centres: torch.Tensor, truth: torch.Tensor) -> torch.Tensor:
    """Cross-entropy of vergence hypotheses, per pixel. The truth is split between the two nearest hypotheses.

    Args:
        logits: (N, J, h, w); centres: (J,), evenly spaced; truth: (N, 1, h, w).
    """
    position = ((truth - centres[0]) / (centres[1] - centres[0])).clamp(0, len(centres) - 1)
    target = (1 - (position - torch.arange(len(centres), device=truth.device)[:, None, None]).abs()).clamp_min(0)
    return -(target * logits.log_softmax(1)).sum(1, keepdim=True)


def edge_sides(vergence: torch.Tensor, radius: int = 4) -> tuple[torch.Tensor, torch.Tensor]:
    """Pixels in front of a depth edge and pixels behind one, (N, 1, H, W) bool each: within `radius` px another pixel
    is farther, or nearer, by more than `_EDGE` of vergence."""
    size = 2 * radius + 1
    return (
        vergence + F.max_pool2d(-vergence, size, 1, radius) > _EDGE,
        F.max_pool2d(vergence, size, 1, radius) - vergence > _EDGE,
    )


def edge_weight(vergence: torch.Tensor, edges: float, behind: float) -> torch.Tensor:
    """The weight of pixels (N, 1, H, W): 1 + `edges` in front of depth edges, 1 + `edges` * `behind` behind them, and
    1 elsewhere.

    With `behind` below 1, a pixel on either side of a blurred edge is more likely assigned to the near surface: for a
    robot, an obstacle that is a pixel too large is better than a missing pole.
    """
    in_front, is_behind = edge_sides(vergence)
    return 1 + edges * torch.maximum(in_front.float(), behind * is_behind)


def gradient_error(error: torch.Tensor, valid: torch.Tensor) -> torch.Tensor:
    """Mean difference of the error between neighbours, at full size, a half, a quarter, ...: the error of a surface's
    shape, whatever its distance (Ranftl et al., "Towards Robust Monocular Depth Estimation", TPAMI 2020). Texture that
    is copied into depth is penalised in proportion to its contrast.

    Args:
        error: (N, 1, H, W) error of u, 0 where not `valid` (bool).
    """
    total, weight = error.new_zeros(()), valid.to(error.dtype)
    for scale in range(_SCALES):
        if scale:
            share = F.avg_pool2d(weight, 2)
            error, weight = F.avg_pool2d(error * weight, 2) / share.clamp_min(1e-6), (share == 1).to(error.dtype)
        for axis in (-1, -2):
            both = weight.narrow(axis, 1, weight.shape[axis] - 1) * weight.narrow(axis, 0, weight.shape[axis] - 1)
            total = total + (error.diff(dim=axis).abs() * both).sum() / both.sum().clamp_min(1)
    return total / (2 * _SCALES)


def share_of_far(vergence: torch.Tensor, range_ratio: torch.Tensor) -> torch.Tensor:
    """Depth as a share of the far end of the range: 1 there and 1 / `range_ratio` (far / near) at the near end. Points
    beyond the range count as its far end, as in the figures of depth."""
    return 1 / (1 + vergence.clamp_min(0) * (range_ratio - 1))


def sequence_loss(
    prediction: Prediction,
    logits: list[torch.Tensor],
    centres: torch.Tensor | None,
    vergence: torch.Tensor,
    coc: torch.Tensor,
    range_ratio: torch.Tensor,
    config,
) -> tuple[torch.Tensor, dict[str, torch.Tensor]]:
    """The weighted sum of all losses with a weight, and each loss by name.

    Args:
        prediction: of (B, T, 1, H, W); logits: (B, T, J, H/4, W/4) each, larger if the network pads images on the
            right and at the bottom; empty for a network without hypotheses (and `centres`), which has no loss
            `coarse`.
        vergence, coc: ground truth (B, T, 1, H, W); pixels with NaN vergence do not count. Where the predicted vergence
            is NaN (a network that reads stacks, before their end) only the CoC counts.
        range_ratio: (B,) far / near; sequences whose range ends at infinity do not enter the loss `depth`.
        config: the weights `likelihood`, `mse`, `depth`, `coarse`, `coc`, `gradient`, and `edges` and `edges_behind`
            (see `edge_weight`): few pixels are near depth edges, but errors there are conspicuous.
    """
    valid = torch.isfinite(vergence)
    truth = torch.where(valid, vergence, 0.0)
    weight = valid * edge_weight(truth.flatten(0, 1), config.edges, config.edges_behind).unflatten(0, truth.shape[:2])
    known = torch.isfinite(prediction.vergence)
    estimate = torch.where(known, prediction.vergence, truth)

    def mean(x, weight):
        return (x * weight).sum() / weight.sum().clamp_min(1)

    def depth():
        finite = torch.isfinite(range_ratio)[:, None, None, None, None]
        ratio = torch.where(finite, range_ratio[:, None, None, None, None], 1.0)
        return mean((share_of_far(estimate, ratio) - share_of_far(truth, ratio)) ** 2, weight * known * finite)

    def coarse():
        coarse_truth, coarse_valid = truth[..., 2::4, 2::4], valid[..., 2::4, 2::4]
        height, width = coarse_truth.shape[-2:]  # without padding
        assert centres is not None
        entropies = [
            hypothesis_cross_entropy(a[..., :height, :width].flatten(0, 1), centres, coarse_truth.flatten(0, 1))
            for a in logits
        ]
        entropy = reduce(torch.add, entropies) / len(logits)
        return (entropy * coarse_valid.flatten(0, 1)).sum() / coarse_valid.sum().clamp_min(1)

    def compressed_coc():  # an error of one pixel matters where blur is small, not where it is large
        return mean(
            F.smooth_l1_loss(
                torch.asinh(prediction.coc / 4),
                torch.asinh(torch.where(valid, coc, 0.0) / 4),
                reduction='none',
                beta=0.05,
            ),
            weight,
        )

    def gradient():
        known_error = torch.where(valid & known, estimate - truth, 0.0)
        return gradient_error(known_error.flatten(0, 1), (valid & known).flatten(0, 1))

    losses = {
        'likelihood': lambda: mean(laplace_nll(estimate, prediction.log_scale, truth, config.beta), weight * known),
        'mse': lambda: mean((estimate - truth) ** 2, weight * known),
        'depth': depth,
        'coarse': coarse,
        'coc': compressed_coc,
        'gradient': gradient,
    }
    if not logits:
        del losses['coarse']
    # Losses without a weight must not be computed: without a decoder, the CoC is NaN where k is unknown.
    parts = {name: loss() for name, loss in losses.items() if getattr(config, name)}
    return sum(getattr(config, name) * value for name, value in parts.items()), parts
