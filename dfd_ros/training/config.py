"""The configuration of a training run: plain values, read from YAML."""

from __future__ import annotations

import functools
import math
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, Field, NonNegativeFloat, NonNegativeInt, PositiveFloat, PositiveInt

from dfd_ros import networks
from dfd_ros.core.constraints import Frames, Share
from dfd_ros.core.errors import InputError, quoted
from dfd_ros.core.files import read_yaml
from dfd_ros.core.parsing import parse
from dfd_ros.core.resources import resource
from dfd_ros.datasets.shards import Samples
from dfd_ros.datasets.stack_batch import TRUTH_READ
from dfd_ros.networks.weights_file import MAX_NUMBER, largest_number
from dfd_ros.synthesis.procedural import StackSettings


def _trainable(network: str) -> str:
    networks.find(network)
    if not networks.needs_weights(network):
        raise InputError(f'"{network}" has no weights to train')
    return network


MAX_PIXELS = 2**28
"""Maximum pixels of the images of a step, and of a procedural stack."""
Steps = Annotated[PositiveInt, Field(le=10**9)]
Stacks = Annotated[NonNegativeInt, Field(le=10**7)]
Weight = Annotated[NonNegativeFloat, Field(le=1e6)]
Network = Annotated[str, AfterValidator(_trainable)]
Precision = Literal['auto', 'fp32', 'bf16']


@dataclass(frozen=True)
class PoolConfig:
    """The pool of procedural stacks (see `dfd_ros.datasets.stack_cache`).

    Attributes:
        start: stacks to render before the first step.
        size: maximum number of stacks that a step draws from, the newest ones.
        reuse: how often each stack is used on average.
        workers: rendering processes, each with one core.
        first_seed: seed of the first stack.
        folder: of the pool; empty = in the run's folder.
        on_gpu: draw from the pool on a GPU too, instead of rendering new stacks for every step.
        held_out: stacks of `folder`, after the first `start`, for validation 'data'; 0 = it renders its own.
    """

    start: Stacks = 64
    size: Annotated[PositiveInt, Field(le=10**9)] = 4000
    reuse: PositiveFloat = 8.0
    workers: Annotated[NonNegativeInt, Field(le=1024)] = 1
    first_seed: Annotated[NonNegativeInt, Field(le=2**40)] = 0
    folder: str = ''
    on_gpu: bool = False
    held_out: Stacks = 0


@dataclass(frozen=True)
class Stage:
    """A part of the training.

    Attributes:
        until: end of the stage, as a share of the steps.
        crop: side of the square crops (px).
        batch: sequences of a step, per process.
        frames: frames of a sequence; sequences longer than a stack go back and forth in it.
        decode: frames of each sequence that are decoded and enter the loss: the last frame, and random others.
    """

    until: Annotated[float, Field(gt=0, le=1)] = 1.0
    crop: Annotated[int, Field(ge=16, le=4096)] = 128
    batch: Annotated[PositiveInt, Field(le=4096)] = 8
    frames: Frames = 8
    decode: Frames = 4


@dataclass(frozen=True)
class SelfSupervisionConfig:
    """Weights of the losses without ground truth (see `dfd_ros.training.self_supervision`); 0 = not computed.

    Attributes:
        frames: difference between the frames and the sharp image blurred according to the predicted depth.
        smoothness: differences between neighbouring pixels where the image has no edge.
        anchor: differences to the prediction of the initial weights, where that is confident.
    """

    frames: Annotated[PositiveFloat, Field(le=1e6)] = 1.0
    smoothness: Weight = 0.5
    anchor: Weight = 0.3


@dataclass(frozen=True)
class TrainingConfig:
    """A training run.

    Attributes:
        name: of the run, whose folder is runs/NAME.
        network: first argument of `dfd_ros.networks.create`.
        network_config: the others.
        steps: optimiser steps.
        hours: stop after this time in steps, or after `steps` if that is earlier; 0 = no limit. Waiting for data and
            validation do not count. The learning rate then falls with the share of the time.
        stages: consecutive stages with their crops and batches.
        parts: in which the sequences of a step go through the network one after the other, which takes less memory;
            their gradients are averaged. 0 = one, and on a GPU as many as its memory makes necessary.
        learning_rate: after `warmup` steps; falls linearly to zero over the last `decay` share of the steps.
        weight_decay: of AdamW.
        clip: maximum norm of the gradient.
        ema: decay of the averaged weights, which are the result of the training.
        precision: bf16, fp32, or auto: bf16 if the device supports it in hardware, otherwise fp32.
        half_size: probability that the images of a sequence are halved before cropping.
        reverse: play half of the sequences backwards, so that rising sweeps fall.
        mask_wall: ignore the background.
        likelihood: weight of this loss; 0 = not computed. So are `mse`, `depth`, `coarse`, `coc` and `gradient`.
        beta: of the likelihood, see `dfd_ros.training.losses.laplace_nll`.
        edges: additional weight of pixels in front of depth edges, see `dfd_ros.training.losses.edge_weight`.
        edges_behind: share of `edges` for those behind.
        pool: of procedural stacks; a GPU renders new stacks for every step instead.
        data: settings of procedural stacks.
        shards: folder of samples to train on (see `dfd_ros.datasets.shards`); empty = none.
        shards_share: share of the sequences from these samples; the others are procedural.
        held_out: share of the samples or focal stacks to hold out for validation `samples` or `stacks`: the last by
            name, because neighbours in a recording look alike.
        readers: processes that read samples ahead, with one core each; 0 = the training reads them itself.
        stacks: folder of focal stacks without truth to train on, instead of all other data and losses; empty = none.
        self_supervision: weights of the losses without truth.
        seed: of all random numbers.
        initial_weights: weights file to start from; 'default' = the shipped weights; empty = random weights.
        save_every: steps.
        validate_every: steps.
        validate_stacks: stacks of each validation set.
        validations: number of validations, evenly over the run, instead of `validate_every`; 0 = use that.
        validation: 'presets' for ten frames in the conditions of the study and the field; 'data' for stacks like those
            of the training, after their last frame, for networks that read a fixed number of frames; 'samples' for
            held-out samples, after their last frame; 'stacks' for held-out focal stacks.
    """

    name: str = 'stream'
    network: Network = 'stream'
    network_config: dict = field(default_factory=dict)
    steps: Steps = 20000
    hours: Annotated[NonNegativeFloat, Field(le=1e6)] = 0.0
    stages: Annotated[tuple[Stage, ...], Field(min_length=1)] = (Stage(),)
    parts: Annotated[NonNegativeInt, Field(le=4096)] = 0
    learning_rate: Annotated[PositiveFloat, Field(le=1)] = 2e-3
    warmup: Annotated[NonNegativeInt, Field(le=10**9)] = 100
    decay: Share = 0.4
    weight_decay: Annotated[NonNegativeFloat, Field(le=1000)] = 1e-2
    clip: PositiveFloat = 1.0
    ema: Share = 0.998
    precision: Precision = 'auto'
    half_size: Share = 0.3
    reverse: bool = True
    mask_wall: bool = False
    likelihood: Weight = 25.0
    beta: Annotated[NonNegativeFloat, Field(le=10)] = 1.0
    mse: Weight = 30.0
    depth: Weight = 0.0
    coarse: Weight = 0.3
    coc: Weight = 0.3
    gradient: Weight = 0.0
    edges: Weight = 3.0
    edges_behind: Weight = 0.33
    pool: PoolConfig = field(default_factory=PoolConfig)
    data: StackSettings = field(default_factory=lambda: StackSettings(frames=10, ramp=(3, 10)))
    shards: str = ''
    shards_share: Annotated[float, Field(gt=0, le=1)] = 1.0
    held_out: Annotated[float, Field(ge=0, lt=1)] = 0.0
    readers: Annotated[NonNegativeInt, Field(le=1024)] = 2
    stacks: str = ''
    self_supervision: SelfSupervisionConfig = field(default_factory=SelfSupervisionConfig)
    seed: Annotated[int, Field(ge=-(2**40), le=2**40)] = 0
    initial_weights: str = ''
    save_every: Steps = 250
    validate_every: Steps = 500
    validate_stacks: Annotated[PositiveInt, Field(le=10_000)] = 16
    validations: Annotated[NonNegativeInt, Field(le=10**6)] = 0
    validation: Literal['presets', 'data', 'samples', 'stacks'] = 'presets'

    @functools.cached_property
    def samples(self) -> Samples:
        """Those of `shards`, looked up once. Raises InputError if there are none."""
        return Samples(self.shards, TRUTH_READ)

    def stage(self, step: int) -> Stage:
        """The stage of a step."""
        return next((s for s in self.stages if step < s.until * self.steps), self.stages[-1])

    def sequences(self, step: int) -> int:
        """The number of sequences that a process has trained on before a step."""
        count, first = 0, 0
        for stage in self.stages:
            end = min(step, math.ceil(stage.until * self.steps))
            count += max(end - first, 0) * stage.batch
            first = max(first, end)
        return count + (step - first) * self.stages[-1].batch


def _check_stacks(config: TrainingConfig, where: str) -> None:
    """Refuse settings that conflict with focal stacks without truth."""
    if (config.validation == 'stacks') != bool(config.stacks):
        raise InputError(
            f'{where}, validation: {config.validation}; training on focal stacks without truth (stacks) needs '
            'validation: stacks, and nothing else does: see config/training/self_supervised.yaml'
        )
    if not config.stacks:
        return
    if config.shards:
        raise InputError(f'{where}: stacks and shards are both given; give one of them')
    if not config.initial_weights:
        raise InputError(f'{where}, initial_weights: not given; training without truth can only fine-tune a network')
    if networks.find(config.network).reads_stacks:
        raise InputError(f'{where}, network: {config.network} reads stacks and cannot be fine-tuned without truth')


def _check(config: TrainingConfig, where: str) -> None:
    """Refuse settings that conflict with each other."""
    if config.name != Path(config.name).name or config.name in ('', '..'):
        raise InputError(f'{where}, name: {quoted(config.name)} is not the name of a folder')
    surfaces = config.data.surfaces
    if (together := surfaces.prints + surfaces.photos + surfaces.plain + surfaces.materials) > 1 + 1e-6:
        raise InputError(
            f'{where}, data, surfaces: prints, photos, plain and materials are together {together:.3g}, '
            'should be at most 1'
        )
    if surfaces.share and surfaces.photographs and not Path(surfaces.photographs).is_dir():
        raise InputError(f'{where}, data, surfaces, photographs: {surfaces.photographs}: no such folder')
    _check_stacks(config, where)
    if not (config.likelihood or config.mse or config.depth or config.coarse or config.coc):
        raise InputError(f'{where}: likelihood, mse, depth, coarse and coc are all 0, at least one needs a weight')
    if config.hours and len(config.stages) > 1:
        raise InputError(f'{where}, hours: stages are shares of the steps; give one stage')
    if config.validation == 'samples' and not (config.shards and config.held_out):
        raise InputError(f'{where}, validation: samples needs shards and held_out')
    if (number := largest_number(config.network_config)) > MAX_NUMBER:
        raise InputError(f'{where}, network_config: {number} should be at most {MAX_NUMBER}')
    if config.data.height * config.data.width * config.data.frames > MAX_PIXELS:
        raise InputError(f'{where}, data: height x width x frames should be at most {MAX_PIXELS} pixels')
    for stage in config.stages:
        if stage.batch * stage.frames * stage.crop**2 > MAX_PIXELS:
            raise InputError(f'{where}, stages: batch x frames x crop x crop should be at most {MAX_PIXELS} pixels')
        if stage.decode > stage.frames:
            raise InputError(f'{where}, stages: decode {stage.decode} of {stage.frames} frames')
    if config.validation == 'data' and config.stages[-1].frames > config.data.frames:
        raise InputError(
            f'{where}, stages: frames {config.stages[-1].frames}, but the stacks that validation: data is '
            f'of have {config.data.frames} (data, frames)'
        )
    if config.validation == 'data' and config.pool.held_out and not config.pool.folder:
        raise InputError(f'{where}, pool, held_out: {config.pool.held_out} stacks of pool, folder, which is not given')
    height, width = config.data.height, config.data.width
    stages = config.stages
    if config.stacks or (config.shards and config.shards_share == 1):  # real stacks have their own sizes
        stages = stages[-1:] if config.validation == 'data' else ()
    for stage in stages:
        if stage.crop > min(height, width):
            raise InputError(f'{where}, stages: crop {stage.crop}, but stacks are only {width}x{height}')


def load_config(path: str | Path, **changes) -> TrainingConfig:
    """Read a configuration from YAML: a file, or one that ships with the package by its name, such as `stream`.

    changes: settings that replace those of the file, by name; `data.jpeg` is in the section `data`.

    Raises:
        InputError: the file does not exist or is not YAML, or a setting is unknown, of the wrong type or invalid.
    """
    included = included_configs()
    if not Path(path).is_file():
        path = included.get(str(path), path)
    values = read_yaml(path, f'; included are {", ".join(included)}') or {}
    if isinstance(values, dict):
        for name, value in changes.items():
            _set(values, name.split('.'), value, name)
    return make_config(values, f'{path} with {", ".join(changes)}' if changes else str(path))


def included_configs() -> dict[str, Path]:
    """The configurations that ship with the package, by name."""
    return {file.stem: file for file in sorted(resource('config/training').glob('*.yaml'))}


def _set(values: dict, place: list[str], value: Any, name: str) -> None:
    first, *rest = place
    if not rest:
        values[first] = value
        return
    section = values.get(first)
    if section is None:
        section = values[first] = {}
    if not isinstance(section, dict):
        raise InputError(f'setting {name}: {first} is {quoted(section)}, which has no {rest[0]}')
    _set(section, rest, value, name)


def make_config(values: dict, where: str) -> TrainingConfig:
    """A configuration from plain values, as in YAML; `where`: their origin, for messages.

    Raises:
        InputError: a setting is unknown, of the wrong type or invalid.
    """
    config = parse(TrainingConfig, values, where)
    _check(config, where)
    return config
