"""The contract of all networks: the base class `Network`, and their output `Prediction`."""

from __future__ import annotations

import functools
import inspect
from typing import NamedTuple

import torch
from torch import nn


class Prediction(NamedTuple):
    """The prediction of a network for one frame, all (B, 1, H, W).

    Attributes:
        vergence: u, the vergence scaled to 0..1 over the swept range.
        log_scale: log of the scale b of the Laplace distribution of u.
        coc: signed circle of confusion (px) in this frame, positive for points nearer than the focus.
    """

    vergence: torch.Tensor
    log_scale: torch.Tensor
    coc: torch.Tensor


def signed_coc(vergence: torch.Tensor, focus: torch.Tensor, blur_scale: torch.Tensor) -> torch.Tensor:
    """The CoC k (u - v) of a vergence (B, 1, H, W), for networks that do not predict it. NaN if k is unknown."""
    return blur_scale[:, None, None, None] * (vergence - focus[:, None, None, None])


class Network(nn.Module):
    """Base of all networks. A subclass must implement `forward`; everything else has defaults.

    The arguments of the constructor are recorded as `config`, which is saved with the weights as JSON.

    Attributes:
        config: arguments of the constructor.
        needs_weights: False for a network that learns nothing.
        reads_stacks: True for a network that reads stacks of `frames` frames.
        frames: frames of these stacks; None for a network that reads frame by frame.
        reads_blur_scale: True if the prediction depends on the blur scale. The estimator then finds an unknown one.
        decodes_coc: True if a decoder predicts the CoC, which the loss `coc` can train.
        learns_log_scale: True if `correct_log_scale` can change the `log_scale` of the network.
        coc_is_optional: True if `forward` takes `decode_coc=False`, which skips the CoC decoder.
        centres: u of the hypotheses of the logits of `sequence`, for the loss `coarse`; None = no hypotheses.
    """

    config: dict
    needs_weights = True
    reads_stacks = False
    frames: int | None = None
    reads_blur_scale = False
    decodes_coc = False
    learns_log_scale = False
    coc_is_optional = False
    centres: torch.Tensor | None

    def __init__(self):
        super().__init__()
        self.__dict__.setdefault('config', {})
        self.register_buffer('centres', None, persistent=False)

    def __init_subclass__(cls, **options):
        super().__init_subclass__(**options)
        if '__init__' in cls.__dict__:
            cls.__init__ = _recording(cls.__init__)  # type: ignore[method-assign]

    @property
    def name(self) -> str:
        """The name by which `dfd_ros.networks.find` finds its class."""
        from dfd_ros.networks import name_of

        return name_of(type(self))

    def forward(self, image: torch.Tensor, focus: torch.Tensor, blur_scale: torch.Tensor, *state: torch.Tensor):
        """One frame, see `dfd_ros.networks`. Returns (Prediction, *state)."""
        raise NotImplementedError

    @torch.no_grad()
    def initial_state(self, batch: int, height: int, width: int, device='cpu') -> list[torch.Tensor]:
        """The state before the first frame of (height, width): zeros. By default, `forward` without a state determines
        its shapes."""
        was_training = self.training
        zero = torch.zeros(batch, device=device)
        _, *state = self.eval()(torch.zeros(batch, 3, height, width, device=device), zero, zero + 1)
        self.train(was_training)
        return [torch.zeros_like(map_) for map_ in state]

    def sequence(
        self,
        images: torch.Tensor,
        focus: torch.Tensor,
        blur_scale: torch.Tensor,
        *state: torch.Tensor,
        decode: list[int] | None = None,
    ):
        """T consecutive frames, as in training. By default runs `forward` frame by frame.

        Args:
            images: (B, T, 3, H, W); focus: (B, T); blur_scale: (B,).
            decode: indices of the frames to predict for, ascending; None = all T.

        Returns:
            Prediction of (B, T, 1, H, W) tensors, where T is the number of decoded frames; logits of hypotheses, a list
            of (B, T, J, H/4, W/4), empty without hypotheses; the state.
        """
        predictions, maps = [], list(state)
        for t in range(images.shape[1]):
            prediction, *maps = self(images[:, t], focus[:, t], blur_scale, *maps)
            if decode is None or t in decode:
                predictions.append(prediction)
        return Prediction(*(torch.stack(parts, 1) for parts in zip(*predictions))), [], maps

    def rescaled_state(self, state: list[torch.Tensor], scale: float, offset: float) -> list[torch.Tensor] | None:
        """The state where another range is swept, in which u is scale * u + offset of before; None: there is none, and
        the memory starts anew."""
        return None

    def record_error(self, vergence: torch.Tensor, truth: torch.Tensor) -> None:
        """Record the error of a training step, for networks that do not learn their uncertainty. Both are u, of one
        shape; NaN does not count."""

    def correct_log_scale(self, slope: float, offset: float) -> None:
        """Change log b to slope * log b + offset, as part of the weights; see `dfd_ros.training.confidence`."""
        raise NotImplementedError

    @property
    def multiple(self) -> int:
        """The number of which height and width are multiples in images that no layer has to pad."""
        return 16

    def check_size(self, height: int, width: int) -> None:
        """Raises `InputError` if the network cannot take images of this size."""

    def check_frames(self, total: int) -> None:
        """Raises `InputError` if the network cannot take sequences of this length."""


def _recording(init):
    """Let a constructor record its arguments as `config`, unless that of a subclass has done so."""
    signature = inspect.signature(init)

    @functools.wraps(init)
    def recording(self, *args, **kwargs):
        if 'config' not in self.__dict__:
            bound = signature.bind(self, *args, **kwargs)
            bound.apply_defaults()
            config = dict(list(bound.arguments.items())[1:])
            for parameter in signature.parameters.values():
                if parameter.kind is parameter.VAR_KEYWORD:
                    config.update(config.pop(parameter.name))
            self.__dict__['config'] = {
                name: list(value) if isinstance(value, tuple) else value for name, value in config.items()
            }
        init(self, *args, **kwargs)

    return recording
