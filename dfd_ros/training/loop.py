"""The training loop, which `dfd train` runs."""

from __future__ import annotations

import contextlib
import json
import math
import os
import time
from dataclasses import asdict, dataclass
from pathlib import Path

import torch
import torch.distributed as distributed
from torch.nn.parallel import DistributedDataParallel
from tqdm import tqdm

from dfd_ros import networks
from dfd_ros.core.errors import InputError, quoted, reason
from dfd_ros.core.files import locked, naming, output_folder, require_output_folder, require_writable
from dfd_ros.inference.backends import choose_device, uses_bf16
from dfd_ros.networks import Network
from dfd_ros.training.batch_statistics import has_statistics, take_statistics
from dfd_ros.training.checkpoint import Position, resume, save, settings_of
from dfd_ros.training.confidence import correct_file
from dfd_ros.training.config import TrainingConfig
from dfd_ros.training.interruption import Interrupted, Interruption
from dfd_ros.training.losses import sequence_loss
from dfd_ros.training.observer import Observer, Progress
from dfd_ros.training.self_supervision import SelfSupervision
from dfd_ros.training.sequences import TrainingData
from dfd_ros.training.validation import SampleValidation, make_validation
from dfd_ros.training.weights_card import write_card

_MAX_UNSAVED = 600.0  # s of training between two checkpoints
_STATISTICS = 4  # last steps, whose batches determine the statistics of batch normalisation
_MAX_SKIPPED = 50  # steps in a row
_SHOWN_EVERY = 2.0  # s
_FILES = ('checkpoint.pt', 'best.safetensors', 'last.safetensors', 'README.md', 'samples.png', 'log.jsonl')


@dataclass(frozen=True)
class Trained:
    """The result of a training.

    Attributes:
        best: the best weights by validation; the file does not exist if training stopped before the first validation.
        step: completed optimiser steps.
        finished: whether the budget is used up.
    """

    best: Path
    step: int
    finished: bool


class _Trainable(torch.nn.Module):
    """`sequence` as `forward`, which is what DistributedDataParallel synchronises."""

    def __init__(self, network: Network, config: TrainingConfig):
        super().__init__()
        self.network, self.config = network, config

    def forward(self, images, focus, blur_scale, decode):
        prediction, logits, _ = self.network.sequence(images, focus, blur_scale, decode=decode)
        # DistributedDataParallel regards every output as used, even if it enters no loss.
        if not (self.config.coc or self.config.stacks):
            prediction = prediction._replace(coc=prediction.coc.detach())
        return prediction, logits if self.config.coarse else []


def progress(config: TrainingConfig, step: int, seconds: float) -> float:
    """The used share of the budget after `step` steps in `seconds`: of the steps or of the time, whichever is more."""
    share = step / config.steps
    return max(share, seconds / 3600 / config.hours) if config.hours else share


def learning_rate(config: TrainingConfig, step: int, share: float | None = None) -> float:
    """The learning rate: rises over the warm-up, stays, and falls to zero over the last part of the budget.

    Args:
        share: used share of the budget, see `progress`; None = share of the steps.
    """
    share = step / config.steps if share is None else share
    rise = min(1.0, (step + 1) / max(config.warmup, 1))
    fall = min(1.0, (1 - share) / max(config.decay, 1 / config.steps))
    return config.learning_rate * rise * fall


def decoded_frames(config: TrainingConfig, step: int) -> list[int]:
    """The frames that enter the loss of a step: the last, and random others."""
    stage = config.stage(step)
    rng = torch.Generator().manual_seed(config.seed + 7919 * step)
    others = torch.randperm(stage.frames - 1, generator=rng)[: stage.decode - 1].tolist()
    return sorted([*others, stage.frames - 1])


def train(
    config: TrainingConfig,
    folder: Path,
    device_name: str = 'auto',
    stop_after: int | None = None,
    observer: Observer | None = None,
) -> Trained:
    """Train until `config.steps` or `config.hours`, resuming from the run's last checkpoint if there is one.

    A run that was killed and resumed gives the same result as an uninterrupted one: data and random draws are functions
    of the step, and the checkpoint has everything else. (With a limit of time, the learning rate depends on the clock,
    so no two runs are the same.) Started by torchrun, it trains on all processes.

    In the main thread, SIGINT and SIGTERM take effect after a checkpoint is written.

    Args:
        folder: of the run: checkpoint.pt, best.safetensors, last.safetensors, their card README.md, log.jsonl,
            TensorBoard events.
        device_name: auto, cpu, cuda or cuda:N.
        stop_after: stop with a checkpoint after this step.
        observer: replaces the progress bar, and may stop the training with a checkpoint but without another
            validation. Only for one process.

    Raises:
        InputError: a setting, the data or the checkpoint does not fit, or a file cannot be written.
    """
    rank, ranks = int(os.environ.get('RANK', 0)), int(os.environ.get('WORLD_SIZE', 1))
    if device_name == 'auto' and torch.cuda.is_available():
        device_name = f'cuda:{os.environ.get("LOCAL_RANK", 0)}'
    device = choose_device(device_name)
    if ranks > 1 and config.hours:
        raise InputError('hours: a limit of time is for one process; give a number of steps')
    if ranks > 1 and observer:
        raise ValueError('an observer is for one process')
    if ranks > 1:
        distributed.init_process_group('nccl' if device.type == 'cuda' else 'gloo')

    quiet = rank > 0 or observer is not None

    def say(text: str) -> None:
        if not quiet:
            print(text, flush=True)

    say(f'{config.name}: training on {device} in {folder}')
    require_output_folder(folder, *_FILES)
    torch.manual_seed(config.seed)
    if config.initial_weights:
        weights = networks.default_weights() if config.initial_weights == 'default' else config.initial_weights
        network = networks.load(weights, network=config.network, changes=config.network_config)
    else:
        network = networks.create(config.network, **config.network_config)
    network = network.to(device).train()
    if config.validation == 'presets' and network.reads_stacks:
        raise InputError(
            f'network {config.network}: reads stacks of {network.frames} frames, the validation presets '
            'have ten; set validation: data'
        )
    if config.coc and not network.decodes_coc:
        raise InputError(
            f'coc: {config.coc}, but the network {config.network} has no decoder for the circle of '
            'confusion as it is configured: set coc: 0'
            + (', or network_config: {coc: true}' if 'coc' in network.config else '')
        )
    _try(network, config, device)
    without_truth = SelfSupervision(network, config) if config.stacks else None
    average = torch.optim.swa_utils.AveragedModel(
        network,
        use_buffers=True,
        avg_fn=lambda mean, new, n: _running_mean(mean, new, min(config.ema, (1 + int(n)) / (10 + int(n)))),
    )
    averaged = average.module
    assert isinstance(averaged, Network)
    matrices = [parameter for parameter in network.parameters() if parameter.ndim > 1]
    biases = [parameter for parameter in network.parameters() if parameter.ndim <= 1]
    optimiser = torch.optim.AdamW(
        [{'params': matrices, 'weight_decay': config.weight_decay}, {'params': biases, 'weight_decay': 0.0}],
        config.learning_rate,
        (0.9, 0.99),
    )

    checkpoint, settings = folder / 'checkpoint.pt', settings_of(config)
    at = Position()
    if os.path.lexists(checkpoint):
        at = resume(checkpoint, network, average, optimiser, settings, device)
    elif without_truth:
        at.validates = True  # before the first step, to see whether fine-tuning helps
    model: torch.nn.Module = _Trainable(network, config)
    if ranks > 1:
        weights_of_losses = (config.likelihood, config.mse or config.depth, config.coarse, config.coc)
        model = DistributedDataParallel(model, find_unused_parameters=not all(weights_of_losses))

    data = TrainingData(config, folder, device, rank, ranks)
    validation = make_validation(config, device, data, quiet) if rank == 0 else None
    if isinstance(validation, SampleValidation):
        validation.check(network)
    output_folder(folder, *_FILES)  # only now, after all checks of the input
    lock = locked(folder) if rank == 0 else None
    writer = _writer(folder) if rank == 0 else None
    precision = torch.autocast(device.type, torch.bfloat16, enabled=uses_bf16(config.precision, device))
    share = progress(config, at.step, at.seconds)
    at_start, saved_at, skipped = (share, at.seconds), at.seconds, 0
    is_over = share >= 1 or (stop_after is not None and at.step >= stop_after)
    shown_at = -math.inf
    bar = tqdm(
        iter(range(at.step, at.step if is_over else config.steps)),
        initial=at.step,
        total=None if config.hours else config.steps,
        desc=config.name,
        disable=quiet,
        smoothing=0.02,
        mininterval=_SHOWN_EVERY,
    )

    def wait(rendered: int, wanted: int) -> None:
        nonlocal shown_at
        if time.monotonic() - shown_at > _SHOWN_EVERY:
            shown_at = time.monotonic()
            bar.set_postfix_str(f'{rendered} of {wanted} stacks rendered')
        if observer and not observer.on_wait(rendered, wanted):
            raise Interrupted

    def validate() -> None:
        assert validation is not None
        if has_statistics(network):
            with precision:
                take_statistics(
                    averaged, (data.batch(step, wait) for step in range(max(0, at.step - _STATISTICS), at.step))
                )
        figures = validation.figures(averaged)
        _write(folder, writer, {'step': at.step, 'hours': at.seconds / 3600, **figures}, 'validation')
        if not quiet:
            bar.write(f'step {at.step}: ' + ', '.join(f'{k} {v:.4f}' for k, v in figures.items()))
        picture = None
        with contextlib.suppress(ImportError):  # training machines may lack Pillow
            picture = validation.picture(averaged, folder / 'samples.png')
        score = figures[validation.SCORE]
        is_best = score < at.best or at.best == math.inf
        for name in ['last'] + ['best'] * is_best:
            networks.save(
                folder / f'{name}.safetensors',
                averaged,
                {'steps': str(at.step), 'run': json.dumps(asdict(config)), 'validation': json.dumps(figures)},
            )
        at.best, at.validates = min(at.best, score), False
        if is_best:
            write_card(folder / 'README.md', averaged, config, device, at.step, at.seconds / 3600, figures)
        if observer:
            observer.on_validation(at.step, figures, folder / 'best.safetensors' if is_best else None, picture)

    with (
        contextlib.closing(data),
        contextlib.ExitStack() as at_end,
        Interruption() if ranks == 1 else contextlib.nullcontext() as interruption,
    ):
        if lock is not None:
            at_end.callback(os.close, lock)
        anywhere = interruption.anywhere if interruption else contextlib.nullcontext
        try:
            if at.validates and rank == 0:
                with anywhere():
                    validate()
                save(checkpoint, network, average, optimiser, at, settings)
            for step in bar:
                with anywhere():
                    batch = data.batch(step, wait)
                started = time.monotonic()
                torch.manual_seed(config.seed * 1_000_003 + step * ranks + rank)  # for dropout
                frames = decoded_frames(config, step)
                for group in optimiser.param_groups:
                    group['lr'] = learning_rate(config, step, share)

                with precision:
                    prediction, logits = model(batch.images, batch.focus, batch.blur_scale, frames)
                if without_truth:
                    with precision:  # for the initial network
                        loss, parts = without_truth(prediction, batch, frames)
                else:
                    loss, parts = sequence_loss(
                        prediction,
                        logits,
                        network.centres,
                        batch.vergence[:, frames],
                        batch.coc[:, frames],
                        batch.range_ratio,
                        config,
                    )
                optimiser.zero_grad(set_to_none=True)
                loss.backward()
                norm = torch.nn.utils.clip_grad_norm_(network.parameters(), config.clip)
                if torch.isfinite(norm):
                    optimiser.step()
                    skipped = 0
                elif (skipped := skipped + 1) == _MAX_SKIPPED:
                    raise InputError(
                        f'{config.name}: the loss or its gradient was not finite in {skipped} steps in a row, '
                        f'up to step {step + 1}; give a lower learning_rate, or weigh other losses'
                    )
                network.record_error(prediction.vergence, batch.vergence[:, frames])
                average.update_parameters(network)

                before = share
                at.step, at.seconds = step + 1, at.seconds + time.monotonic() - started
                share = progress(config, at.step, at.seconds)
                is_over = share >= 1 or (stop_after is not None and at.step >= stop_after)
                if config.validations:
                    at.validates = int(share * config.validations) > int(before * config.validations)
                else:
                    at.validates = at.step % config.validate_every == 0
                at.validates |= is_over
                if rank == 0 and at.step % 20 == 0:
                    with torch.no_grad():
                        mae = (prediction.vergence[:, -1] - batch.vergence[:, -1]).abs().nanmean().item()
                    figures = {
                        'step': at.step,
                        'loss': loss.item(),
                        **({} if without_truth else {'mae_last_frame': mae}),
                        'gradient': norm.item(),
                        'hours': at.seconds / 3600,
                        **{name: value.item() for name, value in parts.items()},
                    }
                    _write(folder, writer, figures, 'training')
                    shown = {'loss': f'{loss.item():.3f}'} | ({} if without_truth else {'mae': f'{mae:.3f}'})
                    bar.set_postfix(shown, refresh=False)
                if rank == 0 and at.validates:
                    with anywhere():
                        validate()
                if observer and not is_over:
                    pace = (at.seconds - at_start[1]) / max(share - at_start[0], 1e-9)
                    left = pace * (1 - share)
                    is_over = not observer.on_step(Progress(at.step, config.steps, share, loss.item(), left))
                if interruption and interruption.signal is not None:
                    break
                if rank == 0 and (is_over or at.step % config.save_every == 0 or at.seconds - saved_at > _MAX_UNSAVED):
                    saved_at = at.seconds
                    save(checkpoint, network, average, optimiser, at, settings)
                if is_over:
                    break
        except Interrupted:
            is_over = False
        if interruption and (interruption.signal is not None or not is_over):
            save(checkpoint, network, average, optimiser, at, settings)
            bar.close()
            say(f'{config.name}: stopped after step {at.step}; run the same command again to resume from {checkpoint}')
    bar.close()
    if rank == 0 and share >= 1 and (correction := correct_file(folder / 'best.safetensors', config, device)):
        say(
            f'{config.name}: confidence corrected on {config.validate_stacks} stacks that were not trained on: '
            f'log b becomes {correction.slope:.2f} log b {correction.offset:+.2f}'
        )
    if ranks > 1:
        distributed.destroy_process_group()
    return Trained(folder / 'best.safetensors', at.step, share >= 1)


def _try(network: Network, config: TrainingConfig, device: torch.device) -> None:
    """Refuse an impossible configuration before stacks are rendered, by running the network on one sequence. Does not
    affect training."""
    for stage in config.stages:
        images = torch.zeros(1, stage.frames, 3, stage.crop, stage.crop, device=device)
        focus = torch.linspace(0, 1, stage.frames, device=device)[None]
        try:
            with torch.no_grad():
                network.eval().sequence(images, focus, focus.new_full((1,), 10.0), decode=[stage.frames - 1])
        except InputError:
            raise
        except Exception as error:  # layers raise many types
            raise InputError(
                f'network "{config.network}" with {quoted(network.config)}: cannot read {stage.frames} frames of '
                f'{stage.crop}x{stage.crop} ({reason(error)})'
            ) from error
        finally:
            network.train()


def _running_mean(mean: torch.Tensor, new: torch.Tensor, decay: float) -> torch.Tensor:
    return mean + (new - mean) * (1 - decay) if mean.is_floating_point() else new


def _writer(folder: Path):
    """A writer for TensorBoard, if it is installed; log.jsonl has the same figures."""
    try:
        from torch.utils.tensorboard import SummaryWriter
    except ImportError:
        return None
    return SummaryWriter(folder)


def _write(folder: Path, writer, figures: dict[str, float], group: str) -> None:
    path = require_writable(folder / 'log.jsonl')
    with naming(path), path.open('a') as log:
        log.write(json.dumps({'group': group, **figures}) + '\n')
    if writer:
        for name, value in figures.items():
            if name != 'step':
                writer.add_scalar(f'{group}/{name}', value, figures['step'])
