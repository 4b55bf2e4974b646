"""What a training run is: plain values, read from YAML."""

from __future__ import annotations

import dataclasses
import math
from dataclasses import dataclass, field
from pathlib import Path

from dfd_ros import networks
from dfd_ros.core.errors import InputError
from dfd_ros.core.files import read_yaml
from dfd_ros.inference.backends import PRECISIONS
from dfd_ros.synthesis.surface_materials import SurfaceSettings
from dfd_ros.synthesis.procedural import ORDERS, StackSettings
from dfd_ros.synthesis.processing import CameraSettings
from dfd_ros.synthesis.scene import SceneSettings


@dataclass(frozen=True)
class PoolConfig:
    """The pool of procedural stacks (see `dfd_ros.datasets.stack_cache`).

    Attributes:
        start: stacks there before the first step.
        size: stacks that a step draws from at most, the newest ones.
        reuse: how often each stack is used on average.
        workers: processes that render, each with one core.
        first_seed: seed of the first stack.
        folder: where the pool lies; empty = in the run's folder.
        on_gpu: a GPU too draws from the pool, in place of stacks that it renders for every step.
        held_out: stacks of `folder` after the first `start` that validation 'data' is of; 0 = it renders its own.
    """

    start: int = 64
    size: int = 4000
    reuse: float = 8.0
    workers: int = 1
    first_seed: int = 0
    folder: str = ''
    on_gpu: bool = False
    held_out: int = 0


@dataclass(frozen=True)
class Stage:
    """A part of the training: up to the share `until` of the steps.

    Attributes:
        crop: side of the square crops (px).
        batch: sequences of a step, on each process.
        frames: frames of a sequence; where they are more than a stack has, it goes to and fro.
        decode: frames of each sequence that are decoded and enter the loss: the last, and others at random.
    """

    until: float = 1.0
    crop: int = 128
    batch: int = 8
    frames: int = 8
    decode: int = 4


@dataclass(frozen=True)
class TrainingConfig:
    """A training run.

    Attributes:
        name: of the run; its folder is runs/NAME.
        network, network_config: as `dfd_ros.networks.create` takes them.
        steps: optimiser steps.
        hours: end when this time has been spent in steps, if it comes before `steps`; 0 = no limit. Waiting for data
            and validation do not count. The learning rate then falls with the share of the time.
        stages: crops and batches, in turn.
        learning_rate: after `warmup` steps; falls to zero in a straight line over the last `decay` share of the steps.
        weight_decay, clip: of AdamW; largest norm of the gradient.
        ema: decay of the averaged weights, which are the ones that are kept.
        precision: bf16, fp32, or auto: bf16 where the device multiplies it, fp32 elsewhere.
        half_size: probability that a sequence is halved in size before it is cropped.
        reverse: half of the sequences run backwards in time, so that what rises falls.
        mask_wall: the background does not count.
        likelihood, mse, depth, coarse, coc, gradient: weights of the losses; with 0 a loss is not computed.
        beta: of the likelihood, see `dfd_ros.training.losses.laplace_nll`.
        edges, edges_behind: how much more pixels in front of depth edges count in them, and the share of that for
            those behind, see `dfd_ros.training.losses.edge_weight`.
        pool: of procedural stacks; on a GPU stacks are made for every step and none is used twice.
        data: what they are drawn from.
        shards: folder of samples to train on (see `dfd_ros.datasets.shards`); empty = none.
        shards_share: of the sequences that come from them; the others are procedural.
        held_out: share of the samples, the last by their names, that is not trained on: what validation `samples` is
            of. Neighbours in a recording look alike, so that it is a part in one piece.
        seed: of everything.
        initial_weights: a weights file to start from; 'default' = the one that ships; empty = random weights.
        save_every, validate_every, validate_stacks: steps; stacks of each validation set.
        validations: how often to validate, at even shares of the run, in place of `validate_every`; 0 = not so.
        validation: 'presets' for ten frames of the study's and the field's conditions; 'data' for stacks as those
            of the training, after their last frame: for networks that read a fixed number of frames; 'samples' for
            the samples that are held out, after their last frame.
    """

    name: str = 'stream'
    network: str = 'stream'
    network_config: dict = field(default_factory=dict)
    steps: int = 20000
    hours: float = 0.0
    stages: tuple[Stage, ...] = (Stage(),)
    learning_rate: float = 2e-3
    warmup: int = 100
    decay: float = 0.4
    weight_decay: float = 1e-2
    clip: float = 1.0
    ema: float = 0.998
    precision: str = 'auto'
    half_size: float = 0.3
    reverse: bool = True
    mask_wall: bool = False
    likelihood: float = 25.0
    beta: float = 1.0
    mse: float = 30.0
    depth: float = 0.0
    coarse: float = 0.3
    coc: float = 0.3
    gradient: float = 0.0
    edges: float = 3.0
    edges_behind: float = 0.33
    pool: PoolConfig = field(default_factory=PoolConfig)
    data: StackSettings = field(default_factory=lambda: StackSettings(frames=10, ramp=(3, 10)))
    shards: str = ''
    shards_share: float = 1.0
    held_out: float = 0.0
    seed: int = 0
    initial_weights: str = ''
    save_every: int = 250
    validate_every: int = 500
    validate_stacks: int = 16
    validations: int = 0
    validation: str = 'presets'

    def stage(self, step: int) -> Stage:
        """The stage that a step is in."""
        return next((s for s in self.stages if step < s.until * self.steps), self.stages[-1])

    def sequences(self, step: int) -> int:
        """Sequences that a process has trained on before a step."""
        count, first = 0, 0
        for stage in self.stages:
            end = min(step, math.ceil(stage.until * self.steps))
            count += max(end - first, 0) * stage.batch
            first = max(first, end)
        return count + (step - first) * self.stages[-1].batch


_TYPES = {cls.__name__: cls for cls in (int, float, str, bool, dict)}
_NESTED = {'pool': PoolConfig, 'data': StackSettings, 'scene': SceneSettings, 'surfaces': SurfaceSettings,
           'camera': CameraSettings}


def _build(cls, values: dict, where: str):
    known = {f.name: f for f in dataclasses.fields(cls)}
    if not isinstance(values, dict):
        raise InputError(f'{where}: has to be a mapping')
    result = {}
    for name, value in values.items():
        if name not in known:
            raise InputError(f'{where}: no setting "{name}"; there are {", ".join(known)}')
        kind, here = str(known[name].type), f'{where}, {name}'
        if name in _NESTED:
            value = _build(_NESTED[name], value, here)
        elif name == 'stages':
            if not isinstance(value, list) or not value:
                raise InputError(f'{here}: has to be a list of one or more')
            value = tuple(_build(Stage, v, here) for v in value)
        elif kind.startswith('tuple['):
            value = _tuple(value, kind[len('tuple['):-1].split(', '), here)
        elif value is not None or not kind.endswith(' | None'):
            value = _plain(value, _TYPES[kind.removesuffix(' | None')], here)
        result[name] = value
    return cls(**result)


def _plain(value, cls: type, where: str):
    """A value of the type `cls`."""
    if cls is float and isinstance(value, (int, str)) and not isinstance(value, bool):
        try:
            return float(value)  # YAML reads 2e-3 as text
        except (ValueError, OverflowError):
            raise InputError(f'{where}: "{value}" is not a number') from None
    if type(value) is not cls:
        raise InputError(f'{where}: {value!r} is not of the type {cls.__name__}')
    return value


def _tuple(value, kinds: list[str], where: str) -> tuple:
    """A pair of least and most, or, where the second kind is '...', any number of values."""
    if not isinstance(value, (list, tuple)):
        raise InputError(f'{where}: {value!r} is not of the type tuple')
    is_pair, cls = kinds[1] != '...', _TYPES[kinds[0]]
    if not is_pair or len(value) == 2:
        result = tuple(_plain(v, cls, where) for v in value)
        if not is_pair or result[0] <= result[1]:
            return result
    raise InputError(f'{where}: {tuple(value)!r} is not a pair of least and most')


_LEAST = {'steps': 1, 'hours': 0, 'warmup': 0, 'weight_decay': 0, 'likelihood': 0, 'beta': 0, 'mse': 0, 'depth': 0,
          'coarse': 0, 'coc': 0, 'edges': 0, 'edges_behind': 0, 'save_every': 1, 'validate_every': 1,
          'validate_stacks': 1, 'validations': 0}
_LEAST_OF_POOL = {'start': 0, 'size': 1, 'workers': 0, 'first_seed': 0, 'held_out': 0}
_LEAST_OF_DATA = {'height': 1, 'width': 1, 'frames': 1, 'ramp': 1, 'range_ratio': 1, 'shake': 0, 'travel': 0,
                  'breathing': 0, 'softness': 0}
_LEAST_OF_SCENE = {'objects': 0, 'speed': 0}
_LEAST_OF_SURFACES = {'objects': 0, 'lying': 0}
_ABOVE_0 = ('learning_rate', 'clip')
_ABOVE_0_OF_POOL = ('reuse',)
_ABOVE_0_OF_DATA = ('blur_scale', 'near', 'exponent', 'shot', 'read')
_ABOVE_0_OF_SCENE = ('radius',)
_ABOVE_0_OF_SURFACES = ('radius',)
_SHARES = ('decay', 'ema', 'half_size')
_SHARES_OF_DATA = ('uneven', 'unknown_aperture', 'infinity', 'static', 'exposure', 'jpeg', 'sharpening')
_SHARES_OF_SCENE = ('untextured', 'highlights', 'moving')
_SHARES_OF_SURFACES = ('share', 'prints', 'photos', 'plain', 'materials', 'grain', 'large_planes', 'boxes')
_SHARES_OF_CAMERA = ('share', 'denoising', 'sharpening', 'jpeg', 'video', 'tone', 'wander', 'vignetting',
                     'lateral_colour', 'aperture', 'sides_differ', 'rolling_shutter', 'focus_tied', 'focus_log')


def _lowest(settings, name: str) -> float:
    """A setting; of a pair the least."""
    value = getattr(settings, name)
    return value[0] if isinstance(value, tuple) else value


def _check(config: TrainingConfig, where: str) -> None:
    """Values that have the right type but cannot be."""
    scene, surfaces = config.data.scene, config.data.surfaces
    for place, settings, least, above_0, shares in (
            (where, config, _LEAST, _ABOVE_0, _SHARES),
            (f'{where}, pool', config.pool, _LEAST_OF_POOL, _ABOVE_0_OF_POOL, ()),
            (f'{where}, data', config.data, _LEAST_OF_DATA, _ABOVE_0_OF_DATA, _SHARES_OF_DATA),
            (f'{where}, data, scene', scene, _LEAST_OF_SCENE, _ABOVE_0_OF_SCENE, _SHARES_OF_SCENE),
            (f'{where}, data, surfaces', surfaces, _LEAST_OF_SURFACES, _ABOVE_0_OF_SURFACES, _SHARES_OF_SURFACES),
            (f'{where}, data, camera', config.data.camera, {'quality': 1}, (), _SHARES_OF_CAMERA)):
        for name, value in least.items():
            if not _lowest(settings, name) >= value:   # NaN is not either
                raise InputError(f'{place}, {name}: {_lowest(settings, name)} has to be at least {value}')
        for name in above_0:
            if not _lowest(settings, name) > 0:
                raise InputError(f'{place}, {name}: {_lowest(settings, name)} has to be above 0')
        for name in shares:
            if not 0 <= getattr(settings, name) <= 1:
                raise InputError(f'{place}, {name}: {getattr(settings, name)} has to be at least 0 and at most 1')
    if scene.split not in ('train', 'test'):
        raise InputError(f'{where}, data, scene, split: "{scene.split}" is neither train nor test')
    if (together := surfaces.prints + surfaces.photos + surfaces.plain + surfaces.materials) > 1 + 1e-6:
        raise InputError(f'{where}, data, surfaces: prints, photos, plain and materials are together {together:.3g}, '
                         'have to be at most 1')
    if config.data.camera.quality[1] > 100:
        raise InputError(f'{where}, data, camera, quality: {config.data.camera.quality[1]} has to be at most 100')
    if surfaces.share and surfaces.photographs and not Path(surfaces.photographs).is_dir():
        raise InputError(f'{where}, data, surfaces, photographs: {surfaces.photographs}: no such folder')
    if not (config.likelihood or config.mse or config.depth or config.coarse or config.coc):
        raise InputError(f'{where}: likelihood, mse, depth, coarse and coc are all 0, one has to have a weight')
    try:
        networks.find(config.network)
    except InputError as error:
        raise InputError(f'{where}, network: {error}') from None
    if not networks.needs_weights(config.network):
        raise InputError(f'{where}, network: "{config.network}" has no weights to train')
    if config.hours and len(config.stages) > 1:
        raise InputError(f'{where}, hours: stages are shares of the steps; give one stage')
    if not 0 < config.shards_share <= 1:
        raise InputError(f'{where}, shards_share: {config.shards_share} has to be more than 0 and at most 1')
    if config.validation not in ('presets', 'data', 'samples'):
        raise InputError(f'{where}, validation: "{config.validation}" is none of presets, data, samples')
    if not 0 <= config.held_out < 1:
        raise InputError(f'{where}, held_out: {config.held_out} has to be at least 0 and less than 1')
    if config.validation == 'samples' and not (config.shards and config.held_out):
        raise InputError(f'{where}, validation: samples, so shards and held_out have to be given')
    if config.precision not in PRECISIONS:
        raise InputError(f'{where}, precision: "{config.precision}" is none of {", ".join(PRECISIONS)}')
    wrong = [order for order in config.data.orders if order not in ORDERS]
    if wrong or not config.data.orders:
        raise InputError(f'{where}, data, orders: "{"".join(wrong[:1])}" is none of {", ".join(ORDERS)}')
    for stage in config.stages:
        if stage.batch < 1:
            raise InputError(f'{where}, stages: batch {stage.batch} has to be at least 1')
        if stage.frames < 1:
            raise InputError(f'{where}, stages: frames {stage.frames} has to be at least 1')
        if not 1 <= stage.decode <= stage.frames:
            raise InputError(f'{where}, stages: decode {stage.decode} of {stage.frames} frames')
    if config.validation == 'data' and config.stages[-1].frames > config.data.frames:
        raise InputError(f'{where}, stages: frames {config.stages[-1].frames}, but the stacks that validation: data is '
                         f'of have {config.data.frames} (data, frames)')
    if config.validation == 'data' and config.pool.held_out and not config.pool.folder:
        raise InputError(f'{where}, pool, held_out: {config.pool.held_out} stacks of pool, folder, which is not given')
    height, width = config.data.height, config.data.width
    stages = config.stages
    if config.shards and config.shards_share == 1:   # those trained on have the size of the samples
        stages = stages[-1:] if config.validation == 'data' else ()
    for stage in stages:
        if not 1 <= stage.crop <= min(height, width):
            raise InputError(f'{where}, stages: crop {stage.crop}, but stacks are only {width}x{height}')


def load_config(path: str | Path, **changes) -> TrainingConfig:
    """Read a run from YAML.

    Raises:
        InputError: the file is absent or not YAML, or a setting is unknown, of the wrong type or impossible.
    """
    values = read_yaml(path) or {}
    if not isinstance(values, dict):
        raise InputError(f'{path}: has to be a mapping')
    return make_config({**values, **changes}, str(path))


def make_config(values: dict, where: str) -> TrainingConfig:
    """A run of plain values, as YAML holds them; `where` they are from, for messages.

    Raises:
        InputError: a setting is unknown, of the wrong type or impossible.
    """
    config = _build(TrainingConfig, values, where)
    _check(config, where)
    return config
