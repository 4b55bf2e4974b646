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
from dfd_ros.backends import choose_device
from dfd_ros.errors import InputError
from dfd_ros.training.config import TrainingConfig
from dfd_ros.training.data import ProceduralData
from dfd_ros.training.losses import sequence_loss
from dfd_ros.training.validation import Validation


class _Trainable(torch.nn.Module):
    """`sequence` as `forward`, which is what DistributedDataParallel synchronises."""

    def __init__(self, network):
        super().__init__()
        self.network = network

    def forward(self, images, focus, blur_scale, decode):
        return self.network.sequence(images, focus, blur_scale, decode=decode)[:2]


def learning_rate(config: TrainingConfig, step: int) -> float:
    """Rises over the warm-up, stays, and falls to zero over the last part."""
    rise = min(1.0, (step + 1) / max(config.warmup, 1))
    fall = min(1.0, (config.steps - step) / max(config.decay * config.steps, 1))
    return config.learning_rate * rise * fall


def decoded_frames(config: TrainingConfig, step: int) -> list[int]:
    """The frames that enter a step's loss: the last, and others at random."""
    stage = config.stage(step)
    rng = torch.Generator().manual_seed(config.seed + 7919 * step)
    others = torch.randperm(stage.frames - 1, generator=rng)[:stage.decode - 1].tolist()
    return sorted([*others, stage.frames - 1])


def train(config: TrainingConfig, folder: Path, device: str = 'auto', stop_after: int | None = None) -> Path:
    """Train until `config.steps`, going on from the run's last checkpoint where there is one.

    A run that was killed and goes on gives what it would have given without: data and random draws are functions
    of the step, and the checkpoint holds all else. Started by torchrun, it trains on all processes.

    Args:
        folder: of the run: checkpoint.pt, best.safetensors, last.safetensors, log.jsonl, TensorBoard events.
        device: 'auto', 'cpu', 'cuda', ...
        stop_after: stop, with a checkpoint, once this step is done.

    Returns:
        The best weights by validation.
    """
    rank, ranks = int(os.environ.get('RANK', 0)), int(os.environ.get('WORLD_SIZE', 1))
    if device == 'auto':
        device = f'cuda:{os.environ.get("LOCAL_RANK", 0)}' if torch.cuda.is_available() else 'cpu'
    device = choose_device(device)
    if ranks > 1:
        distributed.init_process_group('nccl' if device.type == 'cuda' else 'gloo')
    folder.mkdir(parents=True, exist_ok=True)

    torch.manual_seed(config.seed)
    network = (networks.load(config.initial_weights, network=config.network) if config.initial_weights
               else networks.create(config.network, **config.network_config)).to(device).train()
    average = torch.optim.swa_utils.AveragedModel(
        network, use_buffers=True,
        avg_fn=lambda mean, new, n: _running_mean(mean, new, min(config.ema, (1 + n) / (10 + n))))
    weights, biases = [], []
    for parameter in network.parameters():
        (weights if parameter.ndim > 1 else biases).append(parameter)
    optimiser = torch.optim.AdamW([{'params': weights, 'weight_decay': config.weight_decay},
                                   {'params': biases, 'weight_decay': 0.0}], config.learning_rate, (0.9, 0.99))

    checkpoint = folder / 'checkpoint.pt'
    first, best = 0, float('inf')
    if checkpoint.exists():
        try:
            saved = torch.load(checkpoint, map_location=device, weights_only=True)
            network.load_state_dict(saved['network'])
            average.load_state_dict(saved['average'])
            optimiser.load_state_dict(saved['optimiser'])
        except (OSError, RuntimeError, ValueError, KeyError, EOFError, pickle.UnpicklingError) as error:
            reason = str(error).splitlines()[-1].strip()
            raise InputError(f'{checkpoint}: not a whole checkpoint of this network ({reason}); remove it, or give '
                             'the run another name') from None
        first, best = saved['step'], saved['best']
    model = _Trainable(network)
    if ranks > 1:
        model = DistributedDataParallel(model)

    data = ProceduralData(config, folder, device, rank, ranks)
    validation = Validation(config, device) if rank == 0 else None
    writer = _writer(folder) if rank == 0 else None
    log = (folder / 'log.jsonl').open('a') if rank == 0 else None
    bar = tqdm(range(first, config.steps), initial=first, total=config.steps, desc=config.name,
               disable=rank > 0, smoothing=0.02, mininterval=2)
    precision = torch.autocast(device.type, torch.bfloat16, enabled=config.precision == 'bf16')
    started = time.monotonic()

    with contextlib.closing(data):
        for step in bar:
            batch = data.batch(step)
            frames = decoded_frames(config, step)
            for group in optimiser.param_groups:
                group['lr'] = learning_rate(config, step)

            with precision:
                prediction, logits = model(batch.images, batch.focus, batch.blur_scale, frames)
            loss, parts = sequence_loss(prediction, logits, network.centres, batch.vergence[:, frames],
                                        batch.coc[:, frames], config)
            optimiser.zero_grad(set_to_none=True)
            loss.backward()
            norm = torch.nn.utils.clip_grad_norm_(network.parameters(), config.clip)
            if torch.isfinite(norm):
                optimiser.step()
            average.update_parameters(network)

            done = step + 1
            last = done == config.steps or done == stop_after
            if rank == 0 and done % 20 == 0:
                with torch.no_grad():
                    error = (prediction.vergence[:, -1] - batch.vergence[:, -1]).abs().mean().item()
                figures = {'step': done, 'loss': loss.item(), 'mae_last_frame': error, 'gradient': norm.item(),
                           'hours': (time.monotonic() - started) / 3600,
                           **{name: value.item() for name, value in parts.items()}}
                _write(log, writer, figures, 'training')
                bar.set_postfix(loss=f'{loss.item():.3f}', mae=f'{error:.3f}', refresh=False)
            if rank == 0 and (done % config.validate_every == 0 or last):
                figures = validation.figures(average.module)
                _write(log, writer, {'step': done, **figures}, 'validation')
                bar.write(f'step {done}: ' + ', '.join(f'{k} {v:.4f}' for k, v in figures.items()))
                validation.picture(average.module, folder / 'samples.png')
                score = figures['field_mae']
                for name in ['last'] + ['best'] * (score < best):
                    networks.save(folder / f'{name}.safetensors', average.module,
                                  {'steps': str(done), 'run': json.dumps(asdict(config)),
                                   'validation': json.dumps(figures)})
                best = min(best, score)
            if rank == 0 and (done % config.save_every == 0 or last):
                temporary = checkpoint.with_suffix('.part')
                torch.save({'network': network.state_dict(), 'average': average.state_dict(),
                            'optimiser': optimiser.state_dict(), 'step': done, 'best': best}, temporary)
                temporary.replace(checkpoint)
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
