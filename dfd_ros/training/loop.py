"""The training loop, from top to bottom. Run by `dfd train`."""

from __future__ import annotations

import contextlib
import json
import os
import pickle
import time
from dataclasses import asdict
from pathlib import Path

import torch
import torch.distributed as distributed
from torch.nn.parallel import DistributedDataParallel
from tqdm import tqdm

from dfd_ros import networks
from dfd_ros.core.errors import InputError
from dfd_ros.core.files import written_atomically
from dfd_ros.inference.backends import choose_device, uses_bf16
from dfd_ros.networks import Network
from dfd_ros.training.batch_statistics import has_statistics, take_statistics
from dfd_ros.training.config import TrainingConfig
from dfd_ros.training.losses import sequence_loss
from dfd_ros.training.observer import Observer, Progress
from dfd_ros.training.sequences import TrainingData
from dfd_ros.training.validation import SampleValidation, make_validation
from dfd_ros.training.weights_card import write_card

_LONGEST_UNSAVED = 600.0  # s of training between two checkpoints
_STATISTICS = 4  # steps whose batches give the averaged weights' statistics
_MAX_SKIPPED = 50  # steps in a row


class _Trainable(torch.nn.Module):
    """`sequence` as `forward`, which is what DistributedDataParallel synchronises."""

    def __init__(self, network: Network, config: TrainingConfig):
        super().__init__()
        self.network, self.config = network, config

    def forward(self, images, focus, blur_scale, decode):
        prediction, logits, _ = self.network.sequence(images, focus, blur_scale, decode=decode)
        # DistributedDataParallel takes for used what leads to an output, also where no loss is made of it.
        if not self.config.coc:
            prediction = prediction._replace(coc=prediction.coc.detach())
        return prediction, logits if self.config.coarse else []


def progress(config: TrainingConfig, step: int, seconds: float) -> float:
    """The share of the budget that is used up once `step` steps are done in `seconds`: of the steps, or of the time
    if that is more."""
    share = step / config.steps
    return max(share, seconds / 3600 / config.hours) if config.hours else share


def learning_rate(config: TrainingConfig, step: int, share: float | None = None) -> float:
    """Rises over the warm-up, stays, and falls to zero over the last part of the budget.

    Args:
        share: of the budget that is used, see `progress`; None = that of the steps.
    """
    share = step / config.steps if share is None else share
    rise = min(1.0, (step + 1) / max(config.warmup, 1))
    fall = min(1.0, (1 - share) / max(config.decay, 1 / config.steps))
    return config.learning_rate * rise * fall


def decoded_frames(config: TrainingConfig, step: int) -> list[int]:
    """The frames that enter a step's loss: the last, and others at random."""
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
) -> Path:
    """Train until `config.steps` or `config.hours`, going on from the run's last checkpoint where there is one.

    A run that was killed and goes on gives what it would have given without: data and random draws are functions
    of the step, and the checkpoint holds all else. (With a limit of time the time used counts on, but as
    the learning rate follows the clock no two runs are the same.) Started by torchrun, it trains on all processes.

    Args:
        folder: of the run: checkpoint.pt, best.safetensors, last.safetensors, their card README.md, log.jsonl,
            TensorBoard events.
        device_name: auto, cpu, cuda or cuda:N.
        stop_after: stop, with a checkpoint, once this step is done.
        observer: follows the training instead of the progress bar, and may stop it, with a checkpoint but without
            another validation. For one process.

    Returns:
        The best weights by validation; not there yet where an observer stopped before the first.
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

    checkpoint = folder / 'checkpoint.pt'
    first, best, seconds = 0, float('inf'), 0.0
    if checkpoint.exists():
        try:
            saved = torch.load(checkpoint, map_location=device, weights_only=True)
            network.load_state_dict(saved['network'])
            average.load_state_dict(saved['average'])
            optimiser.load_state_dict(saved['optimiser'])
        except (OSError, RuntimeError, ValueError, KeyError, EOFError, pickle.UnpicklingError) as error:
            reason = str(error).splitlines()[-1].strip() if str(error) else type(error).__name__
            raise InputError(
                f'{checkpoint}: not a whole checkpoint of this network ({reason}); remove it, or give '
                'the run another name'
            ) from None
        first, best = saved['step'], saved['best']
        seconds = saved.get('seconds', 0.0)  # older ones have none
    model: torch.nn.Module = _Trainable(network, config)
    if ranks > 1:
        weights_of_losses = (config.likelihood, config.mse or config.depth, config.coarse, config.coc)
        model = DistributedDataParallel(model, find_unused_parameters=not all(weights_of_losses))

    data = TrainingData(config, folder, device, rank, ranks)
    validation = make_validation(config, device) if rank == 0 else None
    if isinstance(validation, SampleValidation):
        validation.check(network)
    folder.mkdir(parents=True, exist_ok=True)  # now that the input is known to be good
    writer = _writer(folder) if rank == 0 else None
    log = (folder / 'log.jsonl').open('a') if rank == 0 else None
    share, saved_at = progress(config, first, seconds), seconds
    at_start, skipped = (share, seconds), 0
    bar = tqdm(
        iter(range(first, config.steps if share < 1 else first)),
        initial=first,
        total=None if config.hours else config.steps,
        desc=config.name,
        disable=rank > 0 or observer is not None,
        smoothing=0.02,
        mininterval=2,
    )
    precision = torch.autocast(device.type, torch.bfloat16, enabled=uses_bf16(config.precision, device))
    with contextlib.closing(data):
        for step in bar:
            batch = data.batch(step)
            started = time.monotonic()
            torch.manual_seed(config.seed * 1_000_003 + step * ranks + rank)  # of dropout
            frames = decoded_frames(config, step)
            for group in optimiser.param_groups:
                group['lr'] = learning_rate(config, step, share)

            with precision:
                prediction, logits = model(batch.images, batch.focus, batch.blur_scale, frames)
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

            done, before = step + 1, share
            seconds += time.monotonic() - started
            share = progress(config, done, seconds)
            last = share >= 1 or done == stop_after
            if config.validations:
                validates = int(share * config.validations) > int(before * config.validations)
            else:
                validates = done % config.validate_every == 0
            if rank == 0 and done % 20 == 0:
                with torch.no_grad():
                    mae = (prediction.vergence[:, -1] - batch.vergence[:, -1]).abs().nanmean().item()
                figures = {
                    'step': done,
                    'loss': loss.item(),
                    'mae_last_frame': mae,
                    'gradient': norm.item(),
                    'hours': seconds / 3600,
                    **{name: value.item() for name, value in parts.items()},
                }
                _write(log, writer, figures, 'training')
                bar.set_postfix(loss=f'{loss.item():.3f}', mae=f'{mae:.3f}', refresh=False)
            if validation is not None and (validates or last):
                if has_statistics(network):
                    with precision:
                        take_statistics(averaged, map(data.batch, range(max(0, done - _STATISTICS), done)))
                figures = validation.figures(averaged)
                _write(log, writer, {'step': done, 'hours': seconds / 3600, **figures}, 'validation')
                bar.write(f'step {done}: ' + ', '.join(f'{k} {v:.4f}' for k, v in figures.items()))
                picture = None
                with contextlib.suppress(ImportError):  # a machine that only trains may have no Pillow
                    picture = validation.picture(averaged, folder / 'samples.png')
                score = figures[validation.SCORE]
                is_best = score < best or best == float('inf')
                for name in ['last'] + ['best'] * is_best:
                    networks.save(
                        folder / f'{name}.safetensors',
                        averaged,
                        {'steps': str(done), 'run': json.dumps(asdict(config)), 'validation': json.dumps(figures)},
                    )
                best = min(best, score)
                if is_best:
                    write_card(folder / 'README.md', averaged, config, device, done, seconds / 3600, figures)
                if observer:
                    observer.on_validation(done, figures, folder / 'best.safetensors' if is_best else None, picture)
            if observer and not last:
                pace = (seconds - at_start[1]) / max(share - at_start[0], 1e-9)
                last = not observer.on_step(Progress(done, config.steps, share, loss.item(), pace * (1 - share)))
            if rank == 0 and (done % config.save_every == 0 or last or seconds - saved_at > _LONGEST_UNSAVED):
                saved_at = seconds
                with written_atomically(checkpoint) as temporary:
                    torch.save(
                        {
                            'network': network.state_dict(),
                            'average': average.state_dict(),
                            'optimiser': optimiser.state_dict(),
                            'step': done,
                            'best': best,
                            'seconds': seconds,
                        },
                        temporary,
                    )
            if last:
                break
    if ranks > 1:
        distributed.destroy_process_group()
    return folder / 'best.safetensors'


def _running_mean(mean: torch.Tensor, new: torch.Tensor, decay: float) -> torch.Tensor:
    return mean + (new - mean) * (1 - decay) if mean.is_floating_point() else new


def _writer(folder: Path):
    """TensorBoard where it is installed; the same figures are in log.jsonl in any case."""
    try:
        from torch.utils.tensorboard import SummaryWriter
    except ImportError:
        return None
    return SummaryWriter(folder)


def _write(log, writer, figures: dict[str, float], group: str) -> None:
    log.write(json.dumps({'group': group, **figures}) + '\n')
    log.flush()
    if writer:
        for name, value in figures.items():
            if name != 'step':
                writer.add_scalar(f'{group}/{name}', value, figures['step'])
