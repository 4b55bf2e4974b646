"""The loss for training without ground truth: predictions should explain the frames, be smooth, and stay near those of
the initial network where these are confident."""

from __future__ import annotations

import copy

import torch
import torch.nn.functional as F

from dfd_ros.networks import Network, Prediction
from dfd_ros.synthesis.procedural import StackBatch
from dfd_ros.training.config import SelfSupervisionConfig, TrainingConfig
from dfd_ros.training.reblurring import HYPOTHESES, misfits

_SCALES = 3
_EDGE = 10.0  # how fast the weight of smoothness falls with the gradient of the sharp image
_MIN_SPREAD = 0.04  # in u: the spacing of the hypotheses
_UNIT_WEIGHT_SCALE = 0.05  # scale of u with weight 1; smaller scales weigh more, up to `_MAX_WEIGHT`
_MAX_WEIGHT = 2.0
_OTHERS = 0.1  # weight of uncertainty and CoC in the loss `anchor`


def expected_misfit(misfit: torch.Tensor, vergence: torch.Tensor, log_scale: torch.Tensor) -> torch.Tensor:
    """The mean misfit over the Laplace distribution of the vergence: uncertain predictions include distant hypotheses.

    Args:
        misfit: (B, J, H, W) of `HYPOTHESES`; vergence, log_scale: (B, T, 1, H, W).

    Returns:
        (B, T, H, W), without a gradient for the scale, which would only shrink.
    """
    spread = log_scale.detach().exp().clamp_min(_MIN_SPREAD)
    hypotheses = HYPOTHESES.to(vergence.device)[:, None, None]
    return (torch.softmax(-(hypotheses - vergence).abs() / spread, 2) * misfit[:, None]).sum(2)


def roughness(vergence: torch.Tensor, sharp: torch.Tensor) -> torch.Tensor:
    """Mean difference of neighbours at full size, a half and a quarter, with less weight at edges of the sharp image
    (Godard et al., CVPR 2017). vergence: (B, T, 1, H, W); sharp: (B, H, W)."""
    frames = vergence.shape[1]
    u, image = vergence.flatten(0, 1), sharp[:, None].repeat_interleave(frames, 0)
    total = u.new_zeros(())
    for scale in range(_SCALES):
        if scale:
            u, image = F.avg_pool2d(u, 2), F.avg_pool2d(image, 2)
        for axis in (-1, -2):
            total = total + (u.diff(dim=axis).abs() * torch.exp(-_EDGE * image.diff(dim=axis).abs())).mean()
    return total


class SelfSupervision:
    """The loss.

    Args:
        network: the initial network; it is copied.
        config: `config.self_supervision` has the weights of the losses.
    """

    def __init__(self, network: Network, config: TrainingConfig):
        self.before = copy.deepcopy(network).eval().requires_grad_(False)
        self.weights = config.self_supervision

    def __call__(
        self, prediction: Prediction, batch: StackBatch, frames: list[int]
    ) -> tuple[torch.Tensor, dict[str, torch.Tensor]]:
        """The weighted sum of all losses with a weight, and each loss by name.

        Args:
            prediction: for the decoded `frames`; batch: sequences, with images in 0..1.
        """
        parts = explained(prediction, *evidence(batch))
        if self.weights.anchor:
            with torch.no_grad():
                before, _, _ = self.before.sequence(batch.images, batch.focus, batch.blur_scale, decode=frames)
            parts['anchor'] = _distance(prediction, before)
        return weighted(parts, self.weights), parts


def weighted(parts: dict[str, torch.Tensor], weights: SelfSupervisionConfig) -> torch.Tensor:
    """The weighted sum of losses."""
    return torch.stack([getattr(weights, name) * value for name, value in parts.items()]).sum()


@torch.no_grad()
def evidence(batch: StackBatch) -> tuple[torch.Tensor, torch.Tensor]:
    """`misfits` of each sequence: (B, J, H, W) and (B, H, W)."""
    with torch.autocast(batch.images.device.type, enabled=False):
        pairs = [misfits(*stack) for stack in zip(batch.images, batch.focus, batch.blur)]
    misfit, sharp = (torch.stack(maps) for maps in zip(*pairs))
    return misfit, sharp


def explained(prediction: Prediction, misfit: torch.Tensor, sharp: torch.Tensor) -> dict[str, torch.Tensor]:
    """The losses that need no other network, from the `evidence` of the sequences."""
    vergence = prediction.vergence.float()
    return {
        'frames': expected_misfit(misfit, vergence, prediction.log_scale.float()).mean(),
        'smoothness': roughness(vergence, sharp),
    }


def _distance(prediction: Prediction, before: Prediction) -> torch.Tensor:
    """The difference in vergence where the initial network is confident, and in uncertainty and CoC, which the frames
    do not constrain."""
    vergence, log_scale, coc = (map_.float() for map_ in prediction)
    vergence_before, log_scale_before, coc_before = (map_.float() for map_ in before)
    sure = (_UNIT_WEIGHT_SCALE * torch.exp(-log_scale_before)).clamp_max(_MAX_WEIGHT)
    others = (log_scale - log_scale_before).abs() + (torch.asinh(coc / 4) - torch.asinh(coc_before / 4)).abs()
    return (sure * (vergence - vergence_before).abs()).mean() + _OTHERS * others.mean()
