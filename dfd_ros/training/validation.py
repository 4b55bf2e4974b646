"""Validation during training: small fixed sets with other seeds than training, but the same families of textures and
shapes. The test sets of `dfd evaluate` have different seeds and families, and no choice is based on them."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path

import torch
from tqdm import tqdm

from dfd_ros.core.errors import InputError
from dfd_ros.datasets.stack_batch import to_stack_batch
from dfd_ros.datasets.stack_cache import StackPool
from dfd_ros.drawing.visualise import Panel, colour, sheet, write_picture
from dfd_ros.networks import Network, Prediction
from dfd_ros.synthesis.procedural import StackBatch, StackSettings, render_stack
from dfd_ros.training import kept_stacks
from dfd_ros.training.config import TrainingConfig
from dfd_ros.training.cut import counted
from dfd_ros.training.metrics import mae, most_confident, mse, rms
from dfd_ros.training.sample_sequences import evenly_spaced, held_out
from dfd_ros.training.self_supervision import evidence, explained, weighted
from dfd_ros.training.sequences import TrainingData
from dfd_ros.training.unlabelled_stacks import UnlabelledStacks

_FIRST_SEED = 1_000_000_000


@dataclass(frozen=True)
class Kept:
    """Where rendered stacks are kept, see `dfd_ros.training.kept_stacks`.

    Attributes:
        folder: of the files.
        contents: hashes of the files that the settings name, see `dfd_ros.training.checkpoint.contents_of`.
        quiet: no progress bar.
    """

    folder: Path
    contents: dict[str, str] = field(default_factory=dict)
    quiet: bool = True

    def stacks(self, name: str, settings: StackSettings, count: int, device: torch.device) -> StackBatch:
        """The first stacks for validation with these settings."""
        seeds = range(_FIRST_SEED, _FIRST_SEED + count)

        def render() -> StackBatch:
            shown = tqdm(seeds, desc=f'validation, {name}', unit='stack', leave=False, disable=self.quiet)
            return StackBatch.stack([render_stack(seed, settings, device) for seed in shown])

        described = asdict(settings)
        # Files are known by their content, wherever they are.
        paths = described.pop('views'), described['surfaces'].pop('photographs')
        contents = self.contents if any(paths) else {}
        made_of = {'settings': described, 'seeds': [seeds.start, seeds.stop], 'contents': contents}
        return kept_stacks.kept(self.folder, name, made_of, device, render)


class Validation:
    """The `study` and `field` conditions, ten frames each."""

    SCORE = 'field_mae'
    """The figure that selects the best weights."""

    def __init__(self, config: TrainingConfig, device: torch.device, kept: Kept):
        self.sets = {
            name: kept.stacks(name, make(frames=10, height=192, width=192), config.validate_stacks, device)
            for name, make in (('study', StackSettings.study), ('field', StackSettings.field))
        }

    @torch.no_grad()
    def _run(self, network: Network, batch):
        was_training = network.training
        network.eval()
        predictions = []
        for i in range(len(batch.images)):  # one at a time, to save memory
            prediction, _, _ = network.sequence(
                batch.images[i : i + 1].float() / 255, batch.focus[i : i + 1], batch.blur_scale[i : i + 1]
            )
            predictions.append(prediction)
        network.train(was_training)
        return [torch.cat(parts) for parts in zip(*predictions)]

    def figures(self, network: Network) -> dict[str, float]:
        """MAE of u after one and two ramps of five frames, and that of the most confident 70 %."""
        result = {}
        for name, batch in self.sets.items():
            vergence, log_scale, coc = self._run(network, batch)
            result[f'{name}_mae'] = mae(vergence[:, 4], batch.vergence[:, 4])
            result[f'{name}_mae_10'] = mae(vergence[:, 9], batch.vergence[:, 9])
            error = (vergence[:, 4] - batch.vergence[:, 4]).abs().flatten()
            result[f'{name}_confident_70'] = most_confident(error, -log_scale[:, 4].flatten(), 0.7)
            result[f'{name}_coc_px'] = mae(coc[:, 4], batch.coc[:, 4])
        return result

    def picture(self, network: Network, path: Path, stacks: int = 6) -> Path:
        """Draw the first stacks of each set after their fifth frame."""
        rows = []
        for batch in self.sets.values():
            batch = batch[:stacks]
            maps = batch.images, batch.vergence, batch.coc, *self._run(network, batch)
            rows += [_row(*(of_stack[i, 4] for of_stack in maps)) for i in range(len(batch.images))]
        write_picture(path, sheet(rows, 'Validation', 'after the fifth frame: ' + ', then '.join(self.sets)))
        return path


def _row(image, vergence, coc, *estimate) -> list[Panel]:
    """Image (3, H, W) uint8, true and estimated vergence, its uncertainty, true and estimated CoC, all (1, H, W).
    Unknown values are black."""
    u, log_scale, estimated_coc = (e.float() for e in estimate)
    largest = coc.abs().nan_to_num().amax().clamp_min(1e-6)
    maps = [vergence, u, (log_scale + 5) / 5, coc.abs() / largest, estimated_coc.abs() / largest]
    titles = 'true u', 'estimated u', 'uncertainty', 'true CoC', 'estimated CoC'
    pictures = [Panel(colour(m[0].cpu().numpy()), title) for m, title in zip(maps, titles)]
    return [Panel(image.permute(1, 2, 0).cpu().numpy(), 'image'), *pictures]


class DataValidation:
    """Stacks like those of the training, with other seeds or held out of its pool. The same pixels count."""

    SCORE = 'mse'

    def __init__(self, config: TrainingConfig, device: torch.device, kept: Kept):
        stage = config.stages[-1]
        self.batches = []
        for stack in self._stacks(config, device, kept):
            top, left = ((n - stage.crop) // 2 for n in stack.images.shape[-2:])
            area = (..., slice(top, top + stage.crop), slice(left, left + stage.crop))
            last = (slice(None), stage.frames - 1)
            truth = counted(stack.vergence[last][area], stack.foreground[last][area], config)
            self.batches.append(
                (stack.images[:, : stage.frames][area], stack.focus[:, : stage.frames], stack.blur_scale, truth)
            )

    @staticmethod
    def _stacks(config: TrainingConfig, device: torch.device, kept: Kept) -> Iterator[StackBatch]:
        if config.pool.held_out:
            pool = StackPool(Path(config.pool.folder) / '0', config.data, workers=0)
            for index in range(config.pool.start, config.pool.start + config.pool.held_out):
                yield pool.get(index).to(device)
        else:
            stacks = kept.stacks('data', config.data, config.validate_stacks, device)
            for i in range(len(stacks.images)):
                yield stacks[i : i + 1]

    @torch.no_grad()
    def figures(self, network: Network) -> dict[str, float]:
        """MSE, its root and MAE of u after the last frame."""
        was_training = network.training
        network.eval()
        estimates = [
            network.sequence(images.float() / 255, focus, blur_scale, decode=[images.shape[1] - 1])[0].vergence[:, 0]
            for images, focus, blur_scale, _ in self.batches
        ]
        network.train(was_training)
        estimate, truth = torch.cat(estimates), torch.cat([batch[-1] for batch in self.batches])
        return {'mse': mse(estimate, truth), 'rms': rms(estimate, truth), 'mae': mae(estimate, truth)}

    def picture(self, network: Network, path: Path) -> Path | None:
        """Draw nothing: the study has its own pictures."""
        return None


class SampleValidation:
    """Held-out samples: uncropped images after their last frame. The same pixels count as in training.

    Raises:
        InputError: none of them has ground truth for its last frame.
    """

    SCORE = 'mae'

    def __init__(self, config: TrainingConfig, device: torch.device):
        indices = held_out(config)
        self.samples = [config.samples[index] for index in evenly_spaced(indices, config.validate_stacks)]
        self.config = config
        if not any(torch.isfinite(self._truth(to_stack_batch(sample))).any() for sample in self.samples):
            raise InputError(
                f'{config.shards}: none of the {len(self.samples)} samples for validation (held_out) has a true depth '
                'that counts in its last frame'
            )
        self.device = device

    def _truth(self, stack: StackBatch) -> torch.Tensor:
        """u (1, H, W) after the last frame, NaN for pixels that do not count."""
        return counted(stack.vergence[0, -1], stack.foreground[0, -1], self.config)

    def check(self, network: Network) -> None:
        """Raises `InputError` before training, with the name of the sample, if the network cannot read one of them."""
        for sample in self.samples:
            frames, height, width, _ = sample.images.shape
            try:
                network.check_size(height, width)
                network.check_frames(frames)
            except InputError as error:
                raise InputError(f'{sample.name}: {error}') from None

    @torch.no_grad()
    def _run(self, network: Network) -> Iterator[tuple[StackBatch, Prediction]]:
        was_training = network.training
        network.eval()
        for sample in self.samples:
            stack = to_stack_batch(sample).to(self.device)
            last = stack.images.shape[1] - 1
            prediction = network.sequence(stack.images.float() / 255, stack.focus, stack.blur_scale, decode=[last])[0]
            yield stack, Prediction(*(p[0, 0] for p in prediction))
        network.train(was_training)

    def figures(self, network: Network) -> dict[str, float]:
        """MSE, its root and MAE of u, and the MAE of the most confident 70 %."""
        errors, confidences = [], []
        for stack, (vergence, log_scale, _) in self._run(network):
            error = (vergence - self._truth(stack)).abs()
            known = torch.isfinite(error)
            errors.append(error[known])
            confidences.append(-log_scale[known])
        error, confidence = torch.cat(errors), torch.cat(confidences)
        return {
            'mae': error.mean().item(),
            'mse': error.square().mean().item(),
            'rms': error.square().mean().sqrt().item(),
            'confident_70': most_confident(error, confidence, 0.7),
        }

    def picture(self, network: Network, path: Path, stacks: int = 6) -> Path:
        """Draw the first samples after their last frame."""
        rows = [
            _row(stack.images[0, -1], stack.vergence[0, -1], stack.coc[0, -1], *prediction)
            for _, (stack, prediction) in zip(range(stacks), self._run(network))
        ]
        write_picture(path, sheet(rows, 'Validation', 'after the last frame'))
        return path


class StackValidation:
    """Held-out focal stacks without truth: how well the prediction after the last frame explains the frames, in the
    middle of the image."""

    SCORE = 'loss'

    def __init__(self, stacks: UnlabelledStacks, config: TrainingConfig, device: torch.device):
        self.weights, crop = config.self_supervision, config.stages[-1].crop
        self.stacks = []
        for stack in evenly_spaced(stacks.held_out, config.validate_stacks):
            top, left = (max(n - crop, 0) // 2 for n in stack.images.shape[-2:])
            area = (..., slice(top, top + crop), slice(left, left + crop))
            cut = replace(stack, images=stack.images[area].float() / 255, vergence=stack.vergence[area]).to(device)
            self.stacks.append((cut, evidence(cut)))

    @torch.no_grad()
    def _run(self, network: Network) -> Iterator[tuple[StackBatch, Prediction, dict[str, float]]]:
        was_training = network.training
        network.eval()
        for stack, (misfit, sharp) in self.stacks:
            last = stack.images.shape[1] - 1
            prediction, _, _ = network.sequence(stack.images, stack.focus, stack.blur_scale, decode=[last])
            parts = explained(prediction, misfit, sharp)
            yield (
                stack,
                Prediction(*(p[0, 0].float() for p in prediction)),
                {'loss': weighted(parts, self.weights).item(), **{name: value.item() for name, value in parts.items()}},
            )
        network.train(was_training)

    def figures(self, network: Network) -> dict[str, float]:
        """The losses without the anchor: their weighted sum and each of them."""
        every = [figures for *_, figures in self._run(network)]
        return {name: sum(figures[name] for figures in every) / len(every) for name in every[0]}

    def picture(self, network: Network, path: Path, stacks: int = 6) -> Path:
        """Draw the first stacks after their last frame, with black for ground truth."""
        rows = [
            _row((stack.images[0, -1] * 255).byte(), stack.vergence[0, -1], stack.coc[0, -1], *prediction)
            for _, (stack, prediction, _) in zip(range(stacks), self._run(network))
        ]
        write_picture(path, sheet(rows, 'Validation', 'after the last frame; there is no true depth'))
        return path


AnyValidation = Validation | DataValidation | SampleValidation | StackValidation


def make_validation(config: TrainingConfig, device: torch.device, data: TrainingData, kept: Kept) -> AnyValidation:
    """The validation that the configuration names. Focal stacks without truth come from `data`, the training's."""
    if data.unlabelled is not None:
        return StackValidation(data.unlabelled, config, device)
    if config.validation == 'presets':
        return Validation(config, device, kept)
    if config.validation == 'data':
        return DataValidation(config, device, kept)
    return SampleValidation(config, device)
