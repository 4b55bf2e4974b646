"""Networks for depth from focus: one interface, one registry, one weights format.

    prediction, *state = network(image, focus, blur_scale, *state)

reads one frame: `image` (B, 3, H, W) sRGB in 0..1; `focus` (B,) v, the focus scaled to 0..1 over the swept range;
`blur_scale` (B,) k, px, NaN = unknown. The first call takes no state or a state of zeros. A state is a list of maps
(B, C, h, w) aligned with the image, so that it can be warped when the view moves; H / h and W / w are powers of two.
See `dfd_ros.networks.network.Network` for the rest of the contract.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

import torch
from safetensors.torch import save_file

from dfd_ros.core import provenance
from dfd_ros.core.errors import InputError, quoted, reason
from dfd_ros.core.files import written_atomically
from dfd_ros.core.own_class import MODULE_CLASS, find_class
from dfd_ros.networks.network import Network, Prediction, signed_coc
from dfd_ros.networks.weights_file import FORMAT, MAX_PARAMETERS, limited_parameters, opened

__all__ = [
    'Network',
    'Prediction',
    'create',
    'default_weights',
    'find',
    'is_same',
    'load',
    'name_of',
    'names',
    'needs_weights',
    'save',
    'signed_coc',
]

_NETWORKS = {
    'stream': 'dfd_ros.networks.stream:StreamNetwork',
    'ddffnet': 'dfd_ros.networks.baselines.ddffnet:DDFFNet',
    'lstm_ddff': 'dfd_ros.networks.baselines.lstm_ddff:LSTMDDFF',
    'recurrent_autoencoder': 'dfd_ros.networks.baselines.recurrent_autoencoder:RecurrentAutoencoder',
    'poolnet': 'dfd_ros.networks.baselines.poolnet:PoolNet',
    'best_focus': 'dfd_ros.networks.baselines.classical:BestFocus',
    'variational': 'dfd_ros.networks.baselines.classical:Variational',
}
_ALIASES = {'classical': 'variational'}


def names() -> list[str]:
    """The networks of this package."""
    return sorted(_NETWORKS)


def find(name: str) -> type[Network]:
    """The class of a network: one of `names`, or your own as `module:Class`.

    Raises:
        InputError: there is no such network.
    """
    name = _ALIASES.get(name, name)
    if name not in _NETWORKS and ':' not in name:
        raise InputError(f'no network "{name}": choose one of {", ".join(names())}, or give your own as {MODULE_CLASS}')
    return find_class(_NETWORKS.get(name, name), Network)


def name_of(network: type[Network]) -> str:
    """The name by which `find` finds this class."""
    own = f'{network.__module__}:{network.__qualname__}'
    return next((name for name, cls in _NETWORKS.items() if cls == own), own)


def is_same(name: str, other: str) -> bool:
    """Whether two names mean the same network; `name` is from `name_of`."""
    return name == other or (':' in other and name == name_of(find(other)))


def needs_weights(name: str) -> bool:
    """False for a network without learning, which is created instead of loaded; True for unknown names."""
    is_known = ':' in name or _ALIASES.get(name, name) in _NETWORKS
    return not is_known or find(name).needs_weights


def create(name: str, /, **config) -> Network:
    """A network with random weights, or one without weights.

    Args:
        config: arguments of its constructor.

    Raises:
        InputError: there is no such network, or its configuration is invalid.
    """
    network = find(name)
    try:
        with limited_parameters():
            return network(**config)
    except InputError as error:
        raise InputError(f'network "{name}": {error}') from None
    except Exception as error:  # layers raise many types
        raise InputError(f'network "{name}" with {quoted(config)}: {reason(error)}') from error


def save(path: str | Path, network: Network, metadata: dict[str, str] | None = None) -> None:
    """Write the weights of a network, atomically."""
    tensors = {name: tensor.detach().cpu().contiguous() for name, tensor in network.state_dict().items()}
    with written_atomically(path) as temporary:
        save_file(
            tensors,
            temporary,
            {
                provenance.KEY: json.dumps(provenance.made_by()),
                **(metadata or {}),
                'format': FORMAT,
                'network': name_of(type(network)),
                'config': json.dumps(network.config),
            },
        )
        temporary.chmod(0o644)  # safetensors makes it readable by the owner only


def save_half(path: str | Path, weights: str | Path) -> None:
    """Write a weights file again in half precision, at half the size. `load` returns single precision.

    Raises:
        InputError: as `load`.
    """
    network = load(weights)
    with opened(weights) as file:
        metadata = file.metadata
    halved = {
        name: tensor.half() if tensor.is_floating_point() else tensor for name, tensor in network.state_dict().items()
    }
    with written_atomically(path) as temporary:
        save_file(halved, temporary, metadata)
        temporary.chmod(0o644)


def load(
    path: str | Path, device: str | torch.device = 'cpu', network: str | None = None, changes: dict | None = None
) -> Network:
    """The network that `save` wrote, in evaluation mode.

    Args:
        network: name of the expected network; None allows all networks of this package, and others that are already
            imported, so that a file alone cannot decide which code runs.
        changes: to the network's configuration; new parts have random weights, as from `create`.

    Raises:
        InputError: the file does not exist, is truncated, not safetensors, not of this project, of another network, or
            has non-finite values.
    """
    with opened(path) as file:
        if network is not None and not is_same(file.network, network):
            raise InputError(f'weights {path}: of the network "{file.network}", not of "{network}"')
        module_name, is_own, _ = file.network.partition(':')
        if network is None and is_own and (module_name not in sys.modules or module_name.startswith('dfd_ros.')):
            raise InputError(
                f'weights {path}: of {quoted(file.network)}, which is not a network of dfd_ros; give that name as the '
                'network to run its code'
            )
        try:
            with limited_parameters(MAX_PARAMETERS if changes else file.max_parameters):
                module = create(file.network, **{**file.config, **(changes or {})})
        except InputError as error:
            raise InputError(f'weights {path}: {error}') from None
        file.fill(module, partly=bool(changes))
    return module.to(device).eval()


def default_weights() -> Path:
    """The weights that ship with the package."""
    from dfd_ros.core.resources import resource

    return resource('weights/stream.safetensors')
