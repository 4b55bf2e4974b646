"""The checkpoint from which a training resumes, with the settings and data it was written with."""

from __future__ import annotations

import hashlib
import json
import math
import zipfile
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from torch.optim.swa_utils import AveragedModel

from dfd_ros import networks
from dfd_ros.core import provenance
from dfd_ros.core.errors import InputError, quoted, reason, warn
from dfd_ros.core.files import require_file, written_atomically
from dfd_ros.networks import Network
from dfd_ros.training.config import TrainingConfig

# Settings that may change when a training resumes: how long it runs, what it reports, and where its files are. The
# content of the files must stay the same, see `settings_of`.
_FREE = {
    *('name', 'steps', 'hours', 'save_every', 'validate_every', 'validations', 'pool.workers', 'readers', 'parts'),
    *('pool.folder', 'shards', 'stacks', 'initial_weights', 'data.views', 'data.surfaces.photographs'),
}
_CONTENT = 'content of '  # begins the names of the hashes


@dataclass
class Position:
    """Progress of a training.

    Attributes:
        step: completed optimiser steps; seconds: time spent in them.
        best: score of the best weights so far.
        validates: whether a validation is due before the next step.
    """

    step: int = 0
    seconds: float = 0.0
    best: float = math.inf
    validates: bool = False


def save(
    path: Path,
    network: Network,
    average: AveragedModel,
    optimiser: torch.optim.Optimizer,
    position: Position,
    settings: dict[str, str],
) -> None:
    """Write a checkpoint. settings: from `settings_of`."""
    content = {
        'network': network.state_dict(),
        'average': average.state_dict(),
        'optimiser': optimiser.state_dict(),
        'settings': settings,
        provenance.KEY: provenance.made_by(),
        **asdict(position),
    }
    with written_atomically(path) as temporary:
        torch.save(content, temporary)


def resume(
    path: Path,
    network: Network,
    average: AveragedModel,
    optimiser: torch.optim.Optimizer,
    settings: dict[str, str],
    device: torch.device,
) -> Position:
    """Load a checkpoint into a training.

    Raises:
        InputError: the file is damaged, of another training, or was written with other settings or data.
    """
    try:
        saved = read(path, device)
        position, written_with = _position(saved), saved.get('settings')
        if written_with is None:
            warn(f'{path}: an older version wrote it without its settings, which therefore cannot be compared')
        elif different := _differences(written_with, settings):
            raise InputError(
                f'{path}: written with other settings or data ({different}); resume with the same, start another '
                'run from its weights (dfd train ... --fork NAME), or remove its folder'
            )
        _load(saved, network, average, optimiser)
        if int(average.n_averaged) != position.step:
            raise ValueError(f'step {position.step}, but weights of step {int(average.n_averaged)}')
        return position
    except InputError:
        raise
    except Exception as error:  # a damaged file can raise anything
        raise InputError(
            f'{path}: not a complete checkpoint of this network ({reason(error)}); remove it, or rename the run'
        ) from None


def read(path: Path, device: torch.device = torch.device('cpu')) -> dict[str, Any]:
    """The content of a checkpoint. Raises `InputError`."""
    require_file(path)
    try:
        with zipfile.ZipFile(path) as archive:
            members = archive.infolist()
        # torch does not compress, so no part can be larger than the file.
        if any(member.compress_type != zipfile.ZIP_STORED for member in members):
            raise ValueError('compressed')
        if sum(member.file_size for member in members) > path.stat().st_size:
            raise ValueError('its parts are larger than the file')
        saved = torch.load(path, map_location=device, weights_only=True)
        if not isinstance(saved, dict):
            raise TypeError(f'{quoted(saved)} instead of its parts')
        return saved
    except Exception as error:  # a damaged file can raise anything
        raise InputError(f'{path}: not a complete checkpoint ({reason(error)}); remove it, or rename the run') from None


def step_of(saved: dict[str, Any], path: Path) -> int:
    """The completed steps of what `read` gave. Raises `InputError`."""
    try:
        return _position(saved).step
    except Exception as error:  # a damaged file can raise anything
        raise InputError(f'{path}: not a complete checkpoint ({reason(error)}); remove it, or rename the run') from None


def _position(saved: dict[str, Any]) -> Position:
    # Older checkpoints lack the last two.
    step, best, seconds, validates = (
        saved['step'],
        saved['best'],
        saved.get('seconds', 0.0),
        saved.get('validates', False),
    )
    if type(step) is not int or step < 0:
        raise ValueError(f'step {quoted(step)}')
    if type(best) not in (int, float) or math.isnan(best):
        raise ValueError(f'best {quoted(best)}')
    if type(seconds) not in (int, float) or not 0 <= seconds < math.inf:
        raise ValueError(f'seconds {quoted(seconds)}')
    return Position(step, seconds, best, bool(validates))


def _load(saved: dict, network: Network, average: AveragedModel, optimiser: torch.optim.Optimizer) -> None:
    network.load_state_dict(saved['network'])
    average.load_state_dict(saved['average'])
    for module in (network, average):
        for name, tensor in module.state_dict().items():
            if not torch.isfinite(tensor).all():
                raise ValueError(f'{name} has values that are not finite')
    parameters = [parameter for group in optimiser.param_groups for parameter in group['params']]
    state = saved['optimiser']['state']
    for index, values in state.items():
        for name in ('exp_avg', 'exp_avg_sq'):
            if values[name].shape != parameters[index].shape or not torch.isfinite(values[name]).all():
                raise ValueError(f'{name} of parameter {index}')
        if values.keys() != {'step', 'exp_avg', 'exp_avg_sq'} or not 0 <= float(values['step']) < math.inf:
            raise ValueError(f'state of parameter {index}')
    # Everything else in the optimiser comes from the configuration.
    optimiser.load_state_dict({'state': state, 'param_groups': optimiser.state_dict()['param_groups']})


def _differences(there: Any, now: dict[str, str]) -> str:
    """A list of the settings that differ; '' if none does."""
    if not isinstance(there, dict):
        raise TypeError(f'settings {quoted(there)}')
    names = [name for name in {**now, **there} if there.get(name) != now.get(name)]
    return ', '.join(f'{name}: {quoted(there.get(name))}, now {quoted(now.get(name))}' for name in names[:5]) + (
        f' and {len(names) - 5} more' if len(names) > 5 else ''
    )


def settings_of(config: TrainingConfig) -> dict[str, str]:
    """Everything that the result of a training depends on, as JSON by name, with hashes of its files.

    Raises:
        InputError: a file does not exist.
    """
    settings = {name: value for name, value in _flat(asdict(config)) if name not in _FREE}
    if config.initial_weights:
        weights = networks.default_weights() if config.initial_weights == 'default' else Path(config.initial_weights)
        settings[f'{_CONTENT}initial_weights'] = provenance.file_hash(weights)
    if config.shards:
        settings[f'{_CONTENT}shards'] = config.samples.content()
    for name, folder in (
        ('stacks', config.stacks),
        ('views', config.data.views),
        ('photographs', config.data.surfaces.photographs),
    ):
        if folder:
            settings[f'{_CONTENT}{name}'] = _names(Path(folder))
    return settings


def contents_of(settings: dict[str, str]) -> dict[str, str]:
    """The hashes of files among what `settings_of` returns, by the setting that names the files."""
    return {name.removeprefix(_CONTENT): value for name, value in settings.items() if name.startswith(_CONTENT)}


def _flat(values: dict[str, Any], prefix: str = '') -> Iterator[tuple[str, str]]:
    for name, value in values.items():
        if isinstance(value, dict) and f'{prefix}{name}' != 'network_config':
            yield from _flat(value, f'{prefix}{name}.')
        else:
            yield f'{prefix}{name}', json.dumps(value, sort_keys=True)


def _names(folder: Path) -> str:
    """A hash of the names and sizes of all files in a folder."""
    files = sorted((str(path.relative_to(folder)), path.stat().st_size) for path in folder.rglob('*') if path.is_file())
    return f'{len(files)} files, {hashlib.sha256(json.dumps(files).encode()).hexdigest()[:12]}'
