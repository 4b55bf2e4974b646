"""Networks for depth from focus: one interface, one registry, one weights format.

    prediction, *state = network(image, focus, blur_scale, *state)

reads one frame: `image` (B, 3, H, W) sRGB in 0..1; `focus` (B,) v, the focus scaled to 0..1 over the swept range;
`blur_scale` (B,) k, px, NaN = unknown. The first call takes no state. A state is a list of maps (B, C, h, w) in
the view of the image, so that it can be warped when the view moves.
"""

from __future__ import annotations

import importlib
import json
from pathlib import Path
from typing import NamedTuple

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file

from dfd_ros.core.errors import InputError
from dfd_ros.core.files import written_atomically

_NETWORKS = {
    'stream': ('dfd_ros.networks.stream', 'StreamNetwork'),
    'ddffnet': ('dfd_ros.networks.baselines.ddffnet', 'DDFFNet'),
    'lstm_ddff': ('dfd_ros.networks.baselines.lstm_ddff', 'LSTMDDFF'),
    'recurrent_autoencoder': ('dfd_ros.networks.baselines.recurrent_autoencoder', 'RecurrentAutoencoder'),
    'poolnet': ('dfd_ros.networks.baselines.poolnet', 'PoolNet'),
    'best_focus': ('dfd_ros.networks.baselines.classical', 'BestFocus'),
    'variational': ('dfd_ros.networks.baselines.classical', 'Variational'),
}
_ALIASES = {'classical': 'variational'}
_FORMAT = 'dfd_ros-1'


class Prediction(NamedTuple):
    """What a network says of one frame, each (B, 1, H, W).

    Attributes:
        vergence: u, the vergence scaled to 0..1 over the swept range.
        log_scale: log of the scale b of the Laplace distribution of u.
        coc: signed circle of confusion (px) in this frame, positive for what is nearer than the focus.
    """

    vergence: torch.Tensor
    log_scale: torch.Tensor
    coc: torch.Tensor


def names() -> list[str]:
    """The networks that `create` knows."""
    return sorted(_NETWORKS)


def find(name: str) -> type[torch.nn.Module]:
    """The class of the network of that name.

    Raises:
        InputError: no network of that name.
    """
    name = _ALIASES.get(name, name)
    if name not in _NETWORKS:
        raise InputError(f'no network "{name}": choose one of {", ".join(names())}')
    module, cls = _NETWORKS[name]
    return getattr(importlib.import_module(module), cls)


def needs_weights(name: str) -> bool:
    """False for a network without learning, which is created and not loaded; True for a name that is not known."""
    return _ALIASES.get(name, name) not in _NETWORKS or getattr(find(name), 'needs_weights', True)


def create(name: str, **config) -> torch.nn.Module:
    """A network with random weights, or one that has none.

    Args:
        config: of its constructor.

    Raises:
        InputError: no network of that name, or none with that configuration.
    """
    network = find(name)
    try:
        return network(**config)
    except InputError:
        raise
    except (RuntimeError, TypeError, ValueError, LookupError, AssertionError) as error:   # as layers complain, or we do
        reason = str(error).splitlines()[-1].strip() if str(error) else type(error).__name__
        raise InputError(f'network "{name}" with {json.dumps(config, default=str)}: {reason}') from None


def save(path: str | Path, network: torch.nn.Module, metadata: dict[str, str] | None = None) -> None:
    """Write a network's weights, whole or not at all."""
    tensors = {name: tensor.detach().cpu().contiguous() for name, tensor in network.state_dict().items()}
    with written_atomically(path) as temporary:
        save_file(tensors, temporary, {**(metadata or {}), 'format': _FORMAT, 'network': network.name,
                                       'config': json.dumps(network.config)})
        temporary.chmod(0o644)  # safetensors lets the owner alone read


def load(path: str | Path, device: str | torch.device = 'cpu', network: str | None = None,
         changes: dict | None = None) -> torch.nn.Module:
    """The network that `save` wrote, in evaluation mode.

    Args:
        network: the name that the weights have to be of; None takes any.
        changes: of the network's configuration; parts that it gains have random weights, as `create` gives them.

    Raises:
        InputError: the file is absent, cut short, no safetensors file, not of this project or of another network.
    """
    path = Path(path)
    if not path.is_file():
        raise InputError(f'weights {path}: no such file')
    try:
        with safe_open(path, 'pt') as file:
            metadata = file.metadata() or {}
            tensors = {name: file.get_tensor(name).float() for name in file.keys()}
    except (SafetensorError, OSError) as error:
        raise InputError(f'weights {path}: not a whole safetensors file ({error}); fetch or train them again'
                         ) from None
    if metadata.get('format') != _FORMAT:
        raise InputError(f'weights {path}: not written by dfd_ros (no format "{_FORMAT}" in its metadata)')
    try:
        name, config = metadata['network'], json.loads(metadata['config'])
    except (KeyError, ValueError):
        raise InputError(f'weights {path}: its metadata does not say of which network it is; fetch or train it again'
                         ) from None
    if network is not None and name != network:
        raise InputError(f'weights {path}: of the network "{name}", not of "{network}"')
    try:
        module = create(name, **{**config, **(changes or {})})
    except (InputError, TypeError) as error:   # not even a mapping
        raise InputError(f'weights {path}: {error}') from None
    try:
        if changes:
            tensors = {**module.state_dict(), **tensors}
        module.load_state_dict(tensors)
    except RuntimeError as error:   # of another version of this network
        reason = str(error).splitlines()[-1].strip()
        raise InputError(f'weights {path}: do not fit the network "{name}" ({reason})') from None
    return module.to(device).eval()


def default_weights() -> Path:
    """The weights that ship with the package."""
    from dfd_ros.core.resources import resource
    return resource('weights/stream.safetensors')
