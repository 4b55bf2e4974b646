"""The training loop, which `dfd train` runs."""

from __future__ import annotations

import contextlib
import json
import math
import os
import time
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import NamedTuple

import torch
import torch.distributed as distributed
from torch.nn.parallel import DistributedDataParallel
from tqdm import tqdm

from dfd_ros import networks
from dfd_ros.core import run_files
from dfd_ros.core.errors import InputError
from dfd_ros.core.files import locked, output_folder, require_output_folder
from dfd_ros.inference.backends import choose_device, uses_bf16
from dfd_ros.networks import Network
from dfd_ros.synthesis.procedural import StackBatch
from dfd_ros.training.batch_statistics import has_statistics, take_statistics
from dfd_ros.training.checkpoint import Position, contents_of, resume, save, settings_of
from dfd_ros.training.confidence import correct_file
from dfd_ros.training.config import TrainingConfig
from dfd_ros.training.interruption import Interrupted, Interruption
from dfd_ros.training.losses import sequence_loss
from dfd_ros.training.observer import Observer, Progress
from dfd_ros.training.run_log import RunLog
from dfd_ros.training.self_supervision import SelfSupervision
from dfd_ros.training.sequences import TrainingData
from dfd_ros.training.starting_network import average_of, optimiser_of, starting_network
from dfd_ros.training.validation import Kept, SampleValidation, make_validation
from dfd_ros.training.weights_card import write_card

_MAX_UNSAVED = 600.0  # s of training between two checkpoints
_STATISTICS = 4  # last steps, whose batches determine the statistics of batch normalisation
_MAX_SKIPPED = 50  # steps in a row
_SHOWN_EVERY = 2.0  # s
_LOGGED_EVERY = 20  # steps
_LONG_WAITING = 0.1  # share of the time that is shown


@dataclass(frozen=True)
class Trained:
    """The result of a training.

    Attributes:
        best: the best weights by validation; the file does not exist if training stopped before the first validation.
        step: completed optimiser steps.
        finished: whether the budget is used up.
        rank: of this process among those that trained together.
    """

    best: Path
    step: int
    finished: bool
    rank: int


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
    processes = _Processes.join(config, device_name, observer)
    run = _Run(config, folder, processes, stop_after, observer)
    run.train()
    if processes.rank == 0 and run.share >= 1:
        run.correct_confidence()
    if processes.ranks > 1:
        distributed.destroy_process_group()
    return Trained(folder / run_files.BEST, run.at.step, run.share >= 1, processes.rank)


class _Processes(NamedTuple):
    """The processes that train together, started by torchrun, and the device of this one."""

    rank: int
    ranks: int
    device: torch.device

    @staticmethod
    def join(config: TrainingConfig, device_name: str, observer: Observer | None) -> _Processes:
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
        return _Processes(rank, ranks, device)


class _Step(NamedTuple):
    """What came of one step, for the log: the losses, the norm of the gradient, and estimated and true u (B, 1, H, W)
    of the last frame."""

    loss: torch.Tensor
    parts: dict[str, torch.Tensor]
    norm: torch.Tensor
    vergence: torch.Tensor
    truth: torch.Tensor


class _PartOfStep(NamedTuple):
    """What came of a part of a step's sequences: its share of the losses, and estimated u (B, T, 1, H, W)."""

    loss: torch.Tensor
    parts: dict[str, torch.Tensor]
    vergence: torch.Tensor


class _Waiting:
    """The share of the time that the training waits for data."""

    def __init__(self) -> None:
        self._waited = self._total = 0.0

    def add(self, waited: float, total: float) -> None:
        """Count a step, s."""
        self._waited, self._total = self._waited + waited, self._total + total

    def share(self) -> float:
        """Of the steps since this was last asked for."""
        share = self._waited / max(self._total, 1e-9)
        self._waited = self._total = 0.0
        return share


class _Run:
    """One process of a training.

    Attributes:
        at: how far the training is, as checkpoints store it.
        share: used share of the budget.
    """

    def __init__(
        self,
        config: TrainingConfig,
        folder: Path,
        processes: _Processes,
        stop_after: int | None,
        observer: Observer | None,
    ):
        self._config, self._folder, self._processes, self._observer = config, folder, processes, observer
        device, self._leads = processes.device, processes.rank == 0
        self._quiet = not self._leads or observer is not None
        self._say(f'{config.name}: training on {device} in {folder}')
        require_output_folder(folder, *run_files.ALL)
        self._network = starting_network(config, device)
        self._without_truth = SelfSupervision(self._network, config) if config.stacks else None
        self._average = average_of(self._network, config.ema)
        self._optimiser = optimiser_of(self._network, config)
        self._checkpoint, self._settings = folder / run_files.CHECKPOINT, settings_of(config)
        self.at = self._position()
        self._model = self._trainable()
        self._data = TrainingData(config, folder, device, processes.rank, processes.ranks)
        kept = Kept(folder.parent / run_files.VALIDATION, contents_of(self._settings), self._quiet)
        self._validation = make_validation(config, device, self._data, kept) if self._leads else None
        if isinstance(self._validation, SampleValidation):
            self._validation.check(self._network)
        output_folder(folder, *run_files.ALL)  # only now, after all checks of the input
        self._lock = locked(folder) if self._leads else None
        self._log = RunLog(folder, config) if self._leads else None
        self._precision = torch.autocast(device.type, torch.bfloat16, enabled=uses_bf16(config.precision, device))
        self.share = progress(config, self.at.step, self.at.seconds)
        self._at_start = self.share, self.at.seconds
        self._saved_at, self._skipped, self._shown_at = self.at.seconds, 0, -math.inf
        self._waiting, self._parts = _Waiting(), config.parts or 1
        self._stop_after = stop_after
        self._bar = tqdm(
            iter(range(self.at.step, self.at.step if self._is_over() else config.steps)),
            initial=self.at.step,
            total=None if config.hours else config.steps,
            desc=config.name,
            disable=self._quiet,
            smoothing=0.02,
            mininterval=_SHOWN_EVERY,
        )
        self._interruption: Interruption | None = None

    @property
    def _averaged(self) -> Network:
        assert isinstance(self._average.module, Network)
        return self._average.module

    def _say(self, text: str) -> None:
        if not self._quiet:
            print(text, flush=True)

    def _position(self) -> Position:
        """That of the run's checkpoint, which also sets the weights; otherwise the beginning."""
        if os.path.lexists(self._checkpoint):
            device = self._processes.device
            return resume(self._checkpoint, self._network, self._average, self._optimiser, self._settings, device)
        at = Position()
        at.validates = self._without_truth is not None  # to see whether fine-tuning helps
        return at

    def _trainable(self) -> torch.nn.Module:
        config, model = self._config, _Trainable(self._network, self._config)
        if self._processes.ranks == 1:
            return model
        weights_of_losses = (config.likelihood, config.mse or config.depth, config.coarse, config.coc)
        return DistributedDataParallel(model, find_unused_parameters=not all(weights_of_losses))

    def _is_over(self) -> bool:
        return self.share >= 1 or (self._stop_after is not None and self.at.step >= self._stop_after)

    def train(self) -> None:
        """Train until the budget is used up, `stop_after`, a signal, or the observer's stop."""
        with contextlib.ExitStack() as at_end:
            if self._lock is not None:
                at_end.callback(os.close, self._lock)
            if self._log is not None:
                at_end.callback(self._log.close)
            if self._processes.ranks == 1:
                self._interruption = at_end.enter_context(Interruption())
            at_end.enter_context(contextlib.closing(self._data))
            try:
                is_complete = self._steps()
            except Interrupted:
                is_complete = False
            if self._interruption and (self._interruption.signal is not None or not is_complete):
                self._save()
                self._bar.close()
                self._say(
                    f'{self._config.name}: stopped after step {self.at.step}; '
                    f'run the same command again to resume from {self._checkpoint}'
                )
        self._bar.close()

    def _steps(self) -> bool:
        """Whether all steps that are due were taken."""
        if self.at.validates and self._leads:
            with self._anywhere():
                self._validate()
            self._save()
        is_over = self._is_over()
        for number in self._bar:
            asked = time.monotonic()
            with self._anywhere():
                batch = self._data.batch(number, self._wait)
            started = time.monotonic()
            step = self._step(number, batch)
            self._advance(number + 1, time.monotonic() - started)
            self._waiting.add(started - asked, time.monotonic() - asked)
            is_over = self._is_over()
            if self._leads and self.at.step % _LOGGED_EVERY == 0:
                self._report(step)
            if self._leads and self.at.validates:
                with self._anywhere():
                    self._validate()
            if self._observer and not is_over:
                is_over = not self._observer.on_step(self._progress(step.loss.item()))
            if self._interruption and self._interruption.signal is not None:
                break
            unsaved = self.at.seconds - self._saved_at
            if self._leads and (is_over or self.at.step % self._config.save_every == 0 or unsaved > _MAX_UNSAVED):
                self._save()
            if is_over:
                break
        return is_over

    def _anywhere(self) -> contextlib.AbstractContextManager:
        """A block that a signal ends at once: nothing in it is lost."""
        return self._interruption.anywhere() if self._interruption else contextlib.nullcontext()

    def _wait(self, rendered: int, wanted: int) -> None:
        if time.monotonic() - self._shown_at > _SHOWN_EVERY:
            self._shown_at = time.monotonic()
            self._bar.set_postfix_str(f'{rendered} of {wanted} stacks rendered')
        if self._observer and not self._observer.on_wait(rendered, wanted):
            raise Interrupted

    def _step(self, number: int, batch: StackBatch) -> _Step:
        config, network, optimiser = self._config, self._network, self._optimiser
        rank, ranks, _ = self._processes
        torch.manual_seed(config.seed * 1_000_003 + number * ranks + rank)  # for dropout
        frames = decoded_frames(config, number)
        for group in optimiser.param_groups:
            group['lr'] = learning_rate(config, number, self.share)
        parts = self._gradient(batch, frames)
        loss = sum((part.loss for part in parts), torch.zeros((), device=self._processes.device))
        losses = {name: torch.stack([part.parts[name] for part in parts]).sum() for name in parts[0].parts}
        vergence = torch.cat([part.vergence for part in parts])
        norm = torch.nn.utils.clip_grad_norm_(network.parameters(), config.clip)
        if torch.isfinite(norm):
            optimiser.step()
            self._skipped = 0
        else:
            self._skipped += 1
        if self._skipped == _MAX_SKIPPED:
            raise InputError(
                f'{config.name}: the loss or its gradient was not finite in {_MAX_SKIPPED} steps in a row, '
                f'up to step {number + 1}; give a lower learning_rate, or weigh other losses'
            )
        network.record_error(vergence, batch.vergence[:, frames])
        self._average.update_parameters(network)
        return _Step(loss, losses, norm, vergence[:, -1], batch.vergence[:, -1])

    def _gradient(self, batch: StackBatch, frames: list[int]) -> list[_PartOfStep]:
        """Compute the gradient, in parts of the batch; in twice as many where the GPU has not memory enough."""
        config, count = self._config, len(batch.images)
        while True:
            self._optimiser.zero_grad(set_to_none=True)
            size = -(-count // self._parts)
            try:
                return [self._part_of_step(batch, first, size, frames) for first in range(0, count, size)]
            except torch.OutOfMemoryError:
                # Several processes wait for each other in a step: none of them can begin it again.
                if config.parts or size == 1 or self._processes.ranks > 1:
                    raise InputError(
                        f'{config.name}: {size} sequences at a time are too many for the memory of the GPU; give more '
                        'parts, or stages with less crop or frames'
                    ) from None
            self._parts *= 2  # not in the handler, where the error still holds memory
            self._bar.write(f'{config.name}: {size} sequences at a time are too many for the GPU, taking half of them')

    def _part_of_step(self, batch: StackBatch, first: int, size: int, frames: list[int]) -> _PartOfStep:
        config, model, count, part = self._config, self._model, len(batch.images), batch[first : first + size]
        waits = first + size < count  # the processes average their gradients after the last part
        with model.no_sync() if isinstance(model, DistributedDataParallel) and waits else contextlib.nullcontext():
            with self._precision:
                prediction, logits = model(part.images, part.focus, part.blur_scale, frames)
            if self._without_truth:
                with self._precision:  # for the initial network
                    loss, parts = self._without_truth(prediction, part, frames)
            else:
                truth, coc, ratio = part.vergence[:, frames], part.coc[:, frames], part.range_ratio
                loss, parts = sequence_loss(prediction, logits, self._network.centres, truth, coc, ratio, config)
            share = len(part.images) / count
            (share * loss).backward()
        return _PartOfStep(
            share * loss.detach(),
            {name: share * value.detach() for name, value in parts.items()},
            prediction.vergence.detach(),
        )

    def _advance(self, step: int, seconds: float) -> None:
        """Count a step, and note whether a validation is due."""
        config, before = self._config, self.share
        self.at.step, self.at.seconds = step, self.at.seconds + seconds
        self.share = progress(config, self.at.step, self.at.seconds)
        if config.validations:
            self.at.validates = int(self.share * config.validations) > int(before * config.validations)
        else:
            self.at.validates = self.at.step % config.validate_every == 0
        self.at.validates |= self._is_over()

    def _progress(self, loss: float) -> Progress:
        share, seconds = self._at_start
        pace = (self.at.seconds - seconds) / max(self.share - share, 1e-9)
        return Progress(self.at.step, self._config.steps, self.share, loss, pace * (1 - self.share))

    def _report(self, step: _Step) -> None:
        assert self._log is not None
        loss, mae = step.loss.item(), (step.vergence - step.truth).abs().nanmean().item()
        with_truth = self._without_truth is None
        figures = {
            'step': self.at.step,
            'loss': loss,
            **({'mae_last_frame': mae} if with_truth else {}),
            'gradient': step.norm.item(),
            'learning_rate': self._optimiser.param_groups[0]['lr'],
            'hours': self.at.seconds / 3600,
            'waiting': (waiting := self._waiting.share()),
            **{name: value.item() for name, value in step.parts.items()},
        }
        self._log.write('training', figures)
        shown = {'loss': f'{loss:.3f}'} | ({'mae': f'{mae:.3f}'} if with_truth else {})
        shown |= {'waiting for data': f'{waiting:.0%}'} if waiting > _LONG_WAITING else {}
        self._bar.set_postfix(shown, refresh=False)

    def _validate(self) -> None:
        assert self._validation is not None and self._log is not None
        config, folder, averaged, at = self._config, self._folder, self._averaged, self.at
        if has_statistics(self._network):
            last = range(max(0, at.step - _STATISTICS), at.step)
            with self._precision:
                take_statistics(averaged, (self._data.batch(step, self._wait) for step in last))
        figures = self._validation.figures(averaged)
        self._log.write('validation', {'step': at.step, 'hours': at.seconds / 3600, **figures})
        if not self._quiet:
            self._bar.write(f'step {at.step}: ' + ', '.join(f'{k} {v:.4f}' for k, v in figures.items()))
        picture = None
        with contextlib.suppress(ImportError):  # training machines may lack Pillow
            picture = self._validation.picture(averaged, folder / run_files.PICTURE)
        if picture:
            self._log.show(picture, at.step)
        score = figures[self._validation.SCORE]
        is_best = score < at.best or at.best == math.inf
        for name in [run_files.LAST] + [run_files.BEST] * is_best:
            networks.save(
                folder / name,
                averaged,
                {
                    'steps': str(at.step),
                    'run': json.dumps(asdict(config)),
                    'inputs': json.dumps(contents_of(self._settings)),
                    'validation': json.dumps(figures),
                },
            )
        at.best, at.validates = min(at.best, score), False
        if is_best:
            card = folder / run_files.CARD
            write_card(card, averaged, config, self._processes.device, at.step, at.seconds / 3600, figures)
        if self._observer:
            self._observer.on_validation(at.step, figures, folder / run_files.BEST if is_best else None, picture)

    def _save(self) -> None:
        self._saved_at = self.at.seconds
        save(self._checkpoint, self._network, self._average, self._optimiser, self.at, self._settings)

    def correct_confidence(self) -> None:
        """Correct the confidence of the best weights, if there are stacks to do so."""
        config = self._config
        correction = correct_file(self._folder / run_files.BEST, config, self._processes.device)
        if correction:
            self._say(
                f'{config.name}: confidence corrected on {config.validate_stacks} stacks that were not trained on: '
                f'log b becomes {correction.slope:.2f} log b {correction.offset:+.2f}'
            )
