"""Validation during training: small fixed sets, with other seeds than the training's and its families of textures
and shapes. The test sets of `dfd evaluate` have seeds and families of their own; nothing is chosen on them."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch

from dfd_ros.files import whole
from dfd_ros.synthesis.procedural import StackSettings, render_batch
from dfd_ros.training.config import TrainingConfig
from dfd_ros.training.metrics import mae, most_confident, mse, rms

_FIRST_SEED = 1_000_000_000


class Validation:
    """The `study` and `field` conditions, ten frames each."""

    SCORE = 'field_mae'
    """The figure by which the best weights are chosen."""

    def __init__(self, config: TrainingConfig, device: torch.device):
        seeds = [_FIRST_SEED + i for i in range(config.validate_stacks)]
        self.sets = {name: render_batch(seeds, make(frames=10, height=192, width=192), device)
                     for name, make in (('study', StackSettings.study), ('field', StackSettings.field))}

    @torch.no_grad()
    def _run(self, network: torch.nn.Module, batch):
        was_training = network.training
        network.eval()
        predictions = []
        for i in range(len(batch.images)):  # one at a time: the memory of a small machine
            prediction, _, _ = network.sequence(batch.images[i:i + 1].float() / 255, batch.focus[i:i + 1],
                                                batch.blur_scale[i:i + 1])
            predictions.append(prediction)
        network.train(was_training)
        return [torch.cat(parts) for parts in zip(*predictions)]

    def figures(self, network: torch.nn.Module) -> dict[str, float]:
        """MAE of u after one and two ramps of five frames, and of the most confident 70 %."""
        result = {}
        for name, batch in self.sets.items():
            vergence, log_scale, coc = self._run(network, batch)
            result[f'{name}_mae'] = mae(vergence[:, 4], batch.vergence[:, 4])
            result[f'{name}_mae_10'] = mae(vergence[:, 9], batch.vergence[:, 9])
            error = (vergence[:, 4] - batch.vergence[:, 4]).abs().flatten()
            result[f'{name}_confident_70'] = most_confident(error, -log_scale[:, 4].flatten(), 0.7)
            result[f'{name}_coc_px'] = mae(coc[:, 4], batch.coc[:, 4])
        return result

    def picture(self, network: torch.nn.Module, path: Path, stacks: int = 6) -> None:
        """Rows of: the fifth frame, true and estimated vergence, its uncertainty, true and estimated CoC. Without
        OpenCV there is none."""
        try:
            import cv2
        except ImportError:   # a machine that only trains has none
            return
        rows = []
        for batch in self.sets.values():
            batch = type(batch)(*(getattr(batch, f)[:stacks] for f in batch.__dataclass_fields__))
            vergence, log_scale, coc = self._run(network, batch)
            scale = batch.coc[:, 4].abs().amax((1, 2, 3), keepdim=True)
            for i in range(len(batch.images)):
                image = batch.images[i, 4].permute(1, 2, 0).cpu().numpy()[..., ::-1]
                maps = [batch.vergence[i, 4], vergence[i, 4], (log_scale[i, 4] + 5) / 5,
                        batch.coc[i, 4].abs() / scale[i], coc[i, 4].abs() / scale[i]]
                maps = [cv2.applyColorMap((m[0].clamp(0, 1) * 255).byte().cpu().numpy(), cv2.COLORMAP_TURBO)
                        for m in maps]
                rows.append(np.concatenate([image, *maps], 1))
        half = len(rows) // 2
        picture = np.concatenate([np.concatenate(rows[:half]), np.concatenate(rows[half:])], 1)
        with whole(path) as temporary:
            cv2.imwrite(str(temporary), picture)


class DataValidation:
    """Stacks as those that the run trains on, of other seeds; what counts there counts here."""

    SCORE = 'mse'

    def __init__(self, config: TrainingConfig, device: torch.device):
        stage = config.stages[-1]
        self.batches = []
        for seed in range(_FIRST_SEED, _FIRST_SEED + config.validate_stacks):
            stack = render_batch([seed], config.data, device)
            top, left = ((n - stage.crop) // 2 for n in stack.images.shape[-2:])
            area = (..., slice(top, top + stage.crop), slice(left, left + stage.crop))
            truth = stack.vergence[:, stage.frames - 1][area]
            if config.mask_wall:
                truth = torch.where(stack.foreground[:, stage.frames - 1][area], truth, torch.nan)
            self.batches.append((stack.images[:, :stage.frames][area], stack.focus[:, :stage.frames],
                                 stack.blur_scale, truth))

    @torch.no_grad()
    def figures(self, network: torch.nn.Module) -> dict[str, float]:
        """MSE, its root and MAE of u after the last frame."""
        was_training = network.training
        network.eval()
        estimates = [network.sequence(images.float() / 255, focus, blur_scale, decode=[images.shape[1] - 1]
                                      )[0].vergence[:, 0] for images, focus, blur_scale, _ in self.batches]
        network.train(was_training)
        estimate, truth = torch.cat(estimates), torch.cat([batch[-1] for batch in self.batches])
        return {'mse': mse(estimate, truth), 'rms': rms(estimate, truth), 'mae': mae(estimate, truth)}
