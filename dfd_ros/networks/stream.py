"""The streaming network: a recurrent autoencoder that reads a focus sweep frame by frame.

Based on the recurrent autoencoder of Chaitanya et al., "Interactive Reconstruction of Monte Carlo Image Sequences
using a Recurrent Denoising Autoencoder" (SIGGRAPH 2017), as "Deep Learning for Video Depth Estimation from Defocus"
modified it: convolutional encoder, recurrent blocks at several scales, skip connections, one decoder for depth and one
for the circle of confusion. Differences:

* `BestFocus` stores, without learning, the maximum sharpness of each pixel, the focus at which it occurred, and the
  colour there. Focus measures are the basis of depth from focus, and the all-in-focus image is needed for sharp depth
  edges when the current frame is blurred.
* `VergenceMemory` accumulates evidence for a set of vergence hypotheses. The features of a frame describe its blur;
  their meaning for a hypothesis depends only on its defocus k (u - v) in this frame. The map from features to evidence
  is therefore computed for every frame from its focus and blur scale. Evidence is averaged over frames, so the order
  and spacing of the focus, the number of frames and the lens are arbitrary, and the state has a fixed size.
* There is no normalisation of activations: the statistics of a few crops of one scene do not fit others (with batch
  normalisation the error in evaluation was 1.4 times that in training), and it takes less computation.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import nn

from dfd_ros.core.errors import InputError
from dfd_ros.networks import Network, Prediction, signed_coc

_BANDS = 4
_ENERGY_FLOOR = 2e-6  # below the resolution of 8-bit images


def conv_block(inputs: int, outputs: int, kernel: int = 3, stride: int = 1) -> nn.Sequential:
    return nn.Sequential(_he(nn.Conv2d(inputs, outputs, kernel, stride, (kernel - 1) // 2)), nn.ReLU(inplace=True))


def _he(conv: nn.Conv2d) -> nn.Conv2d:
    """He initialisation (2015), which keeps the scale of activations over layers without normalisation."""
    nn.init.kaiming_normal_(conv.weight, nonlinearity='relu')
    _fill(conv.bias, 0.0)
    return conv


def _fill(parameter: torch.Tensor | None, value: float) -> None:
    if parameter is not None:
        nn.init.constant_(parameter, value)


class Residual(nn.Module):
    """Two convolutions with a skip connection, initially the identity (Zhang et al., "Fixup Initialization", 2019)."""

    def __init__(self, channels: int):
        super().__init__()
        self.first = conv_block(channels, channels)
        self.second = nn.Conv2d(channels, channels, 3, padding=1)
        _fill(self.second.weight, 0.0)
        _fill(self.second.bias, 0.0)

    def forward(self, x):
        return F.relu(x + self.second(self.first(x)))


def residuals(count: int, channels: int) -> list[Residual]:
    return [Residual(channels) for _ in range(count)]


class Fuse(nn.Module):
    """Mixes an upsampled coarser map and skip connections by a 1x1 convolution, followed by `blocks`.

    The coarser map is convolved before upsampling, which gives the same result for a quarter of the work.
    """

    def __init__(self, coarse: int, skip: int, outputs: int, blocks: nn.Module):
        super().__init__()
        self.coarse = _he(nn.Conv2d(coarse, outputs, 1, bias=False))
        self.skip = _he(nn.Conv2d(skip, outputs, 1))
        self.blocks = blocks

    def forward(self, coarse, *skips):
        skip = self.skip(_join([s.to(coarse.dtype) for s in skips]))
        return self.blocks(F.relu(_double(self.coarse(coarse)) + skip))


def focus_measures(image: torch.Tensor) -> list[torch.Tensor]:
    """Log energy of octave bands, >= 0: the finest at 1/2 (B, 1, H/2, W/2), and all of them at 1/4 and 1/8."""
    level = image.mean(1, keepdim=True)
    energies = []
    for _ in range(_BANDS):
        band = level - F.avg_pool2d(F.pad(level, (1, 1, 1, 1), mode='replicate'), 3, 1)
        energies.append(band * band)
        level = F.avg_pool2d(level, 2)

    def log(energy):
        return torch.log1p(energy / _ENERGY_FLOOR) / 4

    def at(scale):  # all bands at 1/scale, with windows not smaller than the wavelength
        result = []
        for octave, energy in enumerate(energies):
            factor = scale >> octave
            energy = F.avg_pool2d(energy, factor) if factor > 1 else energy
            energy = F.avg_pool2d(F.pad(energy, (1, 1, 1, 1), mode='replicate'), 3, 1)
            if octave and scale < (1 << octave):
                energy = F.interpolate(energy, scale_factor=float((1 << octave) // scale), mode='bilinear')
            result.append(energy)
        return result

    fine = F.avg_pool2d(energies[0], 2)
    fine = F.avg_pool2d(F.pad(fine, (1, 1, 1, 1), mode='replicate'), 3, 1)
    return [log(fine), log(torch.cat(at(4), 1)), log(torch.cat(at(8), 1))]


class BestFocus(nn.Module):
    """For each pixel and band: the largest focus measure so far, its focus, and the payload of that frame.

    The stored maximum decreases with every frame, so that things that have moved away are forgotten. State:
    (B, bands + bands + payload, h, w), zero at the start.
    """

    def __init__(self, bands: int, leak: float = 0.02):
        super().__init__()
        self.bands, self.leak = bands, leak

    def forward(
        self, measure: torch.Tensor, focus: torch.Tensor, payload: torch.Tensor | None, state: torch.Tensor
    ) -> torch.Tensor:
        n = self.bands
        best, at = (state[:, :n] - self.leak).clamp_min(0), state[:, n : 2 * n]
        better = measure >= best
        parts = [torch.where(better, measure, best), torch.where(better, focus[:, None, None, None], at)]
        if payload is not None:
            parts.append(torch.where(better[:, :1], payload, state[:, 2 * n :]))
        return _join(parts)

    def rescaled(self, state: torch.Tensor, scale: float, offset: float) -> torch.Tensor:
        """See `Network.rescaled_state`; what follows the state of this module stays."""
        n = self.bands
        best, at = state[:, :n], state[:, n : 2 * n]
        return _join([best, torch.where(best > 0, scale * at + offset, at), state[:, 2 * n :]])


class FilledFocus(nn.Module):
    """Spreads the best focus from where it is clear to where it is not: classical evidence for plain surfaces.

    The difference between the largest and smallest focus measure of a band is the clarity of its best focus. A
    push-pull pyramid with these weights (Gortler et al., "The Lumigraph", SIGGRAPH 1996) fills plain regions from their
    surroundings. Energies are relative to the local brightness, so that exposure does not pass for sharpness. Coarse
    bands are left out: they take the blur of strong edges for texture.

    State: (B, 3 BANDS, h, w), zero at the start: the largest measure of each band, its focus, and `HIGHEST` minus the
    smallest measure so far.
    """

    centres: torch.Tensor

    BANDS = 2
    HIGHEST = 4.0  # above all relative focus measures
    UNCLEAR = 0.05
    STRONG = 1000.0  # energy of a clear edge, in units of `_ENERGY_FLOOR`
    BRIGHTNESS = 0.4  # to which energies are scaled
    LEVELS = 5
    REACHES = (0.003, 0.1)  # regions with smaller weights are filled from farther away

    def __init__(self, centres: torch.Tensor, leak: float = 0.02):
        super().__init__()
        self.leak = leak
        self.register_buffer('centres', centres, persistent=False)
        self.best = BestFocus(self.BANDS, leak)
        self.channels = len(self.REACHES) * (1 + len(centres)) + 2
        self.state_channels = 3 * self.BANDS

    def measure(self, image: torch.Tensor, measure: torch.Tensor) -> torch.Tensor:
        """Relative focus measures (N, BANDS, h, w) from images (N, 3, H, W) and their `focus_measures` at 1/4."""
        brightness = F.avg_pool2d(image.mean(1, keepdim=True), 8)
        brightness = F.avg_pool2d(F.pad(brightness, (1, 1, 1, 1), mode='replicate'), 3, 1)
        gain = self.BRIGHTNESS / (_double(brightness) + 0.05)
        return torch.log1p((torch.exp(4 * measure[:, : self.BANDS]) - 1) * gain * gain) / 4

    def rescaled(self, state: torch.Tensor, scale: float, offset: float) -> torch.Tensor:
        return self.best.rescaled(state, scale, offset)

    def remember(self, measure: torch.Tensor, focus: torch.Tensor, state: torch.Tensor) -> torch.Tensor:
        best, lowest = state.split([2 * self.BANDS, self.BANDS], 1)
        lowest = torch.maximum(lowest - self.leak, self.HIGHEST - measure)
        return _join([self.best(measure, focus, None, best), lowest])

    def forward(self, state: torch.Tensor, focus: torch.Tensor) -> torch.Tensor:
        """Filled maps (N, channels, h, w) from the state and the focus (N, 1, 1, 1).

        For each reach the filled focus as shares of the hypotheses, and minus the focus; then the clarity at each
        place and around it.
        """
        best, at, lowest = state.split(self.BANDS, 1)
        low = self.HIGHEST - lowest
        # Counts only energy that varies, so the blur of a strong edge beside a plain surface has little weight.
        clear = (torch.exp(4 * best) - torch.exp(4 * low)).clamp_min(0) * (best - low - self.UNCLEAR).clamp_min(0)
        clear = clear / self.STRONG
        height, width = best.shape[-2:]
        # Padding has no weight.
        total = F.pad(
            torch.cat([(clear * at).sum(1, keepdim=True), clear.sum(1, keepdim=True)], 1),
            (0, -width % (1 << self.LEVELS), 0, -height % (1 << self.LEVELS)),
        )
        pyramid = [total]
        for _ in range(self.LEVELS):
            pyramid.append(F.avg_pool2d(pyramid[-1], 2))
        spacing = self.centres[1] - self.centres[0]
        filled = []
        for reach in self.REACHES:
            value = (pyramid[-1][:, :1] + 0.5e-6) / (pyramid[-1][:, 1:] + 1e-6)
            for level in pyramid[-2::-1]:
                value = (level[:, :1] + reach * _double(value)) / (level[:, 1:] + reach)
            shares = (1 - (value - self.centres[:, None, None]).abs() / spacing).clamp_min(0)
            filled += [shares, value - focus]
        weights = [pyramid[0][:, 1:], F.interpolate(pyramid[2][:, 1:], scale_factor=4.0, mode='bilinear')]
        return torch.cat([*filled, *(torch.log1p(w / 0.01) / 4 for w in weights)], 1)[..., :height, :width]


class VergenceMemory(nn.Module):
    """Evidence for vergence hypotheses, averaged over frames.

    State: (B, hypotheses * kinds + kinds, h, w), zero at the start: the evidence, and the weight of the past, which a
    gate lowers where the current frame contradicts it.
    """

    FEATURES = 32
    MAX_FRAMES = 12.0  # maximum weight of the past, in frames
    RESCALED_FRAMES = 2.0  # the same where another range is swept: its evidence is coarse
    VOTE = 10.0
    hypotheses: torch.Tensor

    def __init__(self, inputs: int, hypotheses: torch.Tensor, kinds: int):
        super().__init__()
        self.register_buffer('hypotheses', hypotheses, persistent=False)
        self.kinds = kinds
        self.features = conv_block(inputs, self.FEATURES, 1)
        self.filter = nn.Sequential(
            nn.Linear(11, 64), nn.SiLU(), nn.Linear(64, 64), nn.SiLU(), nn.Linear(64, kinds * (self.FEATURES + 1))
        )
        self.gate = nn.Conv2d(self.FEATURES + len(hypotheses) * kinds, kinds, 1)
        _fill(self.gate.weight, 0.0)
        _fill(self.gate.bias, 3.0)
        # Weights of the kinds of evidence, the same for all hypotheses. The factor `VOTE` lets them grow as fast as
        # other weights.
        self.votes = nn.Parameter(torch.tensor([0.4] + [0.0] * (kinds - 1)))
        self.channels = len(hypotheses) * kinds + kinds

    def logits(self, state: torch.Tensor) -> torch.Tensor:
        """Logits (N, hypotheses, h, w) of the evidence alone."""
        evidence = state[:, : len(self.hypotheses) * self.kinds].unflatten(1, (len(self.hypotheses), self.kinds))
        return (evidence * (self.VOTE * self.votes)[:, None, None]).sum(2)

    def evidence(self, x: torch.Tensor, focus: torch.Tensor, blur_scale: torch.Tensor):
        """Features (N, 32, h, w) and evidence (N, hypotheses * kinds, h, w) of single frames."""
        features = self.features(x)
        known = torch.isfinite(blur_scale).float()[:, None].expand(-1, len(self.hypotheses))
        k = torch.where(torch.isfinite(blur_scale), blur_scale, 1.0)[:, None]
        u, v = self.hypotheses[None].expand_as(known), focus[:, None].expand_as(known)
        d = u - v
        c = known * torch.asinh(k * d / 4)
        described = torch.stack(
            [
                d,
                d.abs(),
                d * d,
                u,
                v,
                torch.exp(-((d / 0.12) ** 2)),
                known,
                known * torch.log(k / 16),
                c,
                c.abs(),
                known * torch.exp(-c * c),
            ],
            -1,
        )
        n, _, height, width = features.shape
        weights = self.filter(described.float()).reshape(n, len(self.hypotheses) * self.kinds, self.FEATURES + 1)
        weights = (weights / self.FEATURES**0.5).to(features.dtype)
        flat = features.permute(0, 2, 3, 1).reshape(n, height * width, self.FEATURES)
        evidence = torch.baddbmm(weights[:, None, :, -1], flat, weights[..., :-1].transpose(1, 2))
        return features, torch.tanh(evidence).reshape(n, height, width, -1).permute(0, 3, 1, 2)

    def forward(self, features: torch.Tensor, evidence: torch.Tensor, state: torch.Tensor) -> torch.Tensor:
        old, weight = state[:, : -self.kinds], state[:, -self.kinds :]
        gate = torch.sigmoid(self.gate(_join([features, old.to(features.dtype)])).float())
        weight = (gate * weight).clamp_max(self.MAX_FRAMES - 1) + 1
        # Channels are hypothesis-major: the weights repeat for every hypothesis.
        share = (1 / weight).repeat(1, len(self.hypotheses), 1, 1)
        return _join([old + (evidence.float() - old) * share, weight])

    def rescaled(self, state: torch.Tensor, scale: float, offset: float) -> torch.Tensor:
        """See `Network.rescaled_state`. The evidence for a hypothesis is that for the old ones around its vergence."""
        count, first = len(self.hypotheses), self.hypotheses[0]
        old = (self.hypotheses - offset) / scale
        place = ((old - first) / (self.hypotheses[1] - first)).clamp(0, count - 1)
        below = place.floor().long().clamp_max(count - 2)
        evidence = state[:, : -self.kinds].unflatten(1, (count, self.kinds))
        evidence = evidence[:, below].lerp(evidence[:, below + 1], (place - below)[:, None, None, None])
        return _join([evidence.flatten(1, 2), state[:, -self.kinds :].clamp_max(self.RESCALED_FRAMES)])


class ConvGRU(nn.Module):
    """A GRU (Cho et al. 2014) with convolutions (Ballas et al. 2016). State: (B, channels, h, w), zero at the start."""

    def __init__(self, inputs: int, channels: int):
        super().__init__()
        self.channels = channels
        self.from_input = nn.Conv2d(inputs, 3 * channels, 3, padding=1)
        self.from_state = nn.Conv2d(channels, 2 * channels, 3, padding=1, bias=False)
        self.candidate = nn.Conv2d(channels, channels, 3, padding=1, bias=False)

    def forward(self, projected: torch.Tensor, state: torch.Tensor) -> torch.Tensor:
        """`projected`: result of `from_input` for this frame, computed for all frames at once."""
        reset, update, new = projected.float().chunk(3, 1)
        r, z = torch.sigmoid(torch.cat([reset, update], 1) + self.from_state(state).float()).chunk(2, 1)
        candidate = torch.tanh(new + self.candidate(r * state).float())
        return (1 - z) * state + z * candidate


class Context(nn.Module):
    """Context beyond the reach of a map at 1/16: two coarser levels, 1/32 and 1/64, and the global mean.

    A plain surface has no depth cues itself; its outline, or print on it, may be hundreds of pixels away. The result is
    added to the map, and is initially zero.
    """

    def __init__(self, inputs: int, channels: int):
        super().__init__()
        self.down32 = nn.Sequential(conv_block(inputs, channels, 4, stride=2), *residuals(2, channels))
        self.down64 = nn.Sequential(conv_block(channels, channels, 4, stride=2), *residuals(2, channels))
        self.mean = nn.Linear(channels, channels)
        self.up32 = Fuse(channels, channels, channels, nn.Sequential(*residuals(2, channels)))
        self.out = nn.Conv2d(channels, inputs, 1)
        for layer in (self.mean, self.out):
            _fill(layer.weight, 0.0)
            _fill(layer.bias, 0.0)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        height, width = x.shape[-2:]
        # Images are only padded to multiples of 16.
        padded = F.pad(x, (0, -width % 4, 0, -height % 4), mode='replicate')
        x32 = self.down32(padded)
        x64 = self.down64(x32)
        x64 = F.relu(x64 + self.mean(x64.mean((2, 3)))[:, :, None, None])
        return x + _double(self.out(self.up32(x64, x32)))[..., :height, :width]


class StreamNetwork(Network):
    """See the module's docstring; the interface is that of `dfd_ros.networks`.

    Args:
        channels: features at 1/2, 1/4, 1/8 and 1/16 of the resolution.
        hypotheses: number of vergence hypotheses, evenly spaced slightly beyond 0..1.
        kinds: kinds of evidence per hypothesis at 1/4, 1/8 and 1/16.
        hidden: channels of the GRUs at 1/8 and 1/16.
        blocks: residual blocks of the decoder at 1/2, 1/4, 1/8 and 1/16.
        context: features at 1/32 and 1/64; 0 = neither these nor `FilledFocus`.
    """

    STRIDE = 16
    reads_blur_scale = decodes_coc = coc_is_optional = learns_log_scale = True
    centres: torch.Tensor

    def __init__(
        self,
        channels: tuple[int, ...] = (24, 48, 64, 96),
        hypotheses: int = 16,
        kinds: tuple[int, ...] = (2, 3, 3),
        hidden: tuple[int, ...] = (32, 48),
        blocks: tuple[int, ...] = (3, 2, 3, 3),
        context: int = 0,
    ):
        super().__init__()
        if hypotheses < 2:
            raise InputError(f'hypotheses: {hypotheses} should be at least 2')
        c2, c4, c8, c16 = channels
        centres = torch.linspace(-0.06, 1.06, hypotheses)
        self.register_buffer('centres', centres, persistent=False)

        self.condition = nn.Sequential(nn.Linear(4, 64), nn.SiLU(), nn.Linear(64, c4 + c8 + c16))
        self.encoder2 = nn.Sequential(conv_block(13, c2), conv_block(c2, c2))
        # Even kernels halve the resolution without shifting the coarse maps against the fine ones.
        self.encoder4 = conv_block(c2, c4, 4, stride=2)
        self.mix4 = nn.Sequential(conv_block(c4 + _BANDS, c4, 1), Residual(c4))
        self.encoder8 = conv_block(c4, c8, 4, stride=2)
        self.mix8 = nn.Sequential(conv_block(c8 + _BANDS, c8, 1), Residual(c8))
        self.encoder16 = nn.Sequential(conv_block(c8, c16, 4, stride=2), Residual(c16))

        self.best2, self.best4 = BestFocus(1), BestFocus(_BANDS)
        self.memory4, self.memory8, self.memory16 = (VergenceMemory(c, centres, k) for c, k in zip(channels[1:], kinds))
        self.gru8, self.gru16 = (ConvGRU(c, h) for c, h in zip(channels[2:], hidden))
        m4, m8, m16 = (m.channels for m in (self.memory4, self.memory8, self.memory16))

        b2, b4, b8, b16 = blocks
        self.decoder16 = nn.Sequential(conv_block(c16 + m16 + hidden[1], c16, 1), *residuals(b16, c16))
        self.context = Context(c16, context) if context else None
        self.filled = FilledFocus(centres) if context else None
        if self.filled:
            self.filled4, self.filled16 = (nn.Conv2d(self.filled.channels, c, 1) for c in (c4, c16))
            for layer in (self.filled4, self.filled16):
                _fill(layer.weight, 0.0)
                _fill(layer.bias, 0.0)
        self.decoder8 = Fuse(c16, c8 + m8 + hidden[0], c8, nn.Sequential(*residuals(b8, c8)))
        self.decoder4 = Fuse(c8, 2 * c4 + m4 + 3 * _BANDS + hypotheses + 1, c4, nn.Sequential(*residuals(b4, c4)))
        self.coarse = nn.Conv2d(c4, hypotheses, 1)
        # Encodes the all-in-focus image, which shows outlines when the current frame is blurred.
        self.sharp2 = nn.Sequential(conv_block(14, c2), Residual(c2))
        self.sharp4 = conv_block(c2, c4, 4, stride=2)
        self.decoder2 = Fuse(c4, 2 * c2 + 1, c2, nn.Sequential(*residuals(b2, c2)))
        self.fine = nn.Conv2d(c2, 8, 3, padding=1)

        self.coc8 = conv_block(2 * c8 + hidden[0], c8, 1)
        self.coc4 = Fuse(c8, 2 * c4, 32, Residual(32))
        self.coc2 = Fuse(32, 2 * c2, 16, conv_block(16, 16))
        self.coc = nn.Conv2d(16, 4, 3, padding=1)
        for head in (self.fine, self.coc, self.coarse):
            nn.init.normal_(head.weight, std=0.01)
            _fill(head.bias, 0.0)
        assert self.fine.bias is not None
        _fill(self.fine.bias[4:], -2.0)

    @property
    def multiple(self) -> int:
        return 4 << FilledFocus.LEVELS if self.filled else self.STRIDE

    @torch.no_grad()
    def correct_log_scale(self, slope: float, offset: float) -> None:
        assert self.fine.bias is not None
        self.fine.weight[4:] *= slope
        self.fine.bias[4:] = slope * self.fine.bias[4:] + offset

    def initial_state(self, batch: int, height: int, width: int, device='cpu') -> list[torch.Tensor]:
        height, width = (-(-n // self.STRIDE) * self.STRIDE for n in (height, width))
        channels = {
            2: 14,
            4: 2 * _BANDS + self.memory4.channels + (self.filled.state_channels if self.filled else 0),
            8: self.memory8.channels + self.gru8.channels,
            16: self.memory16.channels + self.gru16.channels,
        }
        return [torch.zeros(batch, c, height // s, width // s, device=device) for s, c in channels.items()]

    @torch.inference_mode()
    def rescaled_state(self, state: list[torch.Tensor], scale: float, offset: float) -> list[torch.Tensor]:
        s2, s4, s8, s16 = state
        best4, memory4, filled4 = self._parts4(s4)
        parts4 = [
            self.best4.rescaled(best4, scale, offset),
            self.memory4.rescaled(memory4, scale, offset),
            *([self.filled.rescaled(filled4, scale, offset)] if self.filled else []),
        ]
        # What the GRUs remember has no vergence of its own.
        coarse = [
            _join([memory.rescaled(s[:, : memory.channels], scale, offset), s[:, memory.channels :]])
            for memory, s in ((self.memory8, s8), (self.memory16, s16))
        ]
        return [self.best2.rescaled(s2, scale, offset), _join(parts4), *coarse]

    def _parts4(self, state: torch.Tensor) -> tuple[torch.Tensor, ...]:
        """The state at 1/4: of `best4`, `memory4` and `filled`."""
        return state.tensor_split([2 * _BANDS, 2 * _BANDS + self.memory4.channels], 1)

    def forward(
        self,
        image: torch.Tensor,
        focus: torch.Tensor,
        blur_scale: torch.Tensor,
        *state: torch.Tensor,
        decode_coc: bool = True,
    ):
        """One frame, see `dfd_ros.networks`. Returns (Prediction, *state).

        Args:
            decode_coc: False = skip the CoC decoder and return k (u - v).
        """
        predictions, _, state = self.sequence(image[:, None], focus[:, None], blur_scale, *state, decode_coc=decode_coc)
        return Prediction(*(p[:, 0] for p in predictions)), *state

    def sequence(
        self,
        images: torch.Tensor,
        focus: torch.Tensor,
        blur_scale: torch.Tensor,
        *state: torch.Tensor,
        decode: list[int] | None = None,
        decode_coc: bool = True,
    ):
        """As `Network.sequence`, with everything except the memories batched over time, and logits of the hypotheses
        from the memories alone and from the decoder. decode_coc: as in `forward`.
        """
        batch, frames, _, height, width = images.shape
        x = images.flatten(0, 1)
        pad = (0, -width % self.STRIDE, 0, -height % self.STRIDE)
        if any(pad):
            x = F.pad(x, pad, mode='replicate')
        x = x.contiguous(memory_format=torch.channels_last)
        maps = list(state) or self.initial_state(batch, x.shape[-2], x.shape[-1], x.device)
        flat_focus = focus.flatten()
        flat_scale = blur_scale[:, None].expand(-1, frames).flatten()

        with torch.no_grad(), torch.autocast(x.device.type, enabled=False):
            measure2, measure4, measure8 = focus_measures(x.float())
            pixels = F.pixel_unshuffle(x, 2)
            relative4 = self.filled.measure(x.float(), measure4) if self.filled else measure4[:, :0]
        known = torch.isfinite(flat_scale)
        log_scale = torch.where(known, torch.log(torch.where(known, flat_scale, 16.0) / 16), 0.0)
        described = torch.stack([flat_focus, known.float(), log_scale, flat_focus * log_scale], -1)
        bias4, bias8, bias16 = (
            b[:, :, None, None]
            for b in self.condition(described).split(
                [
                    self.memory4.features[0].in_channels,
                    self.memory8.features[0].in_channels,
                    self.memory16.features[0].in_channels,
                ],
                1,
            )
        )

        x2 = self.encoder2(_join([pixels * 2 - 1, measure2]))
        x4 = self.mix4(_join([self.encoder4(x2) + bias4, measure4.to(x2.dtype)]))
        x8 = self.mix8(_join([self.encoder8(x4) + bias8, measure8.to(x2.dtype)]))
        x16 = self.encoder16(x8) + bias16

        evidences = [
            memory.evidence(x, flat_focus, flat_scale)
            for memory, x in ((self.memory4, x4), (self.memory8, x8), (self.memory16, x16))
        ]
        projected = [self.gru8.from_input(x8), self.gru16.from_input(x16)]
        per_frame = [
            a.unflatten(0, (batch, frames)).unbind(1)
            for a in (measure2, pixels, measure4, relative4, *evidences[0], *evidences[1], *evidences[2], *projected)
        ]
        states = []
        for t in range(frames):
            maps = self._remember(focus[:, t], [a[t] for a in per_frame], maps)
            states.append(maps)
        if decode is not None:
            states = [states[t] for t in decode]
            x2, x4, x8, x16, measure4 = (
                a.unflatten(0, (batch, frames))[:, decode].flatten(0, 1).contiguous(memory_format=torch.channels_last)
                for a in (x2, x4, x8, x16, measure4)
            )
            focus = focus[:, decode]
            flat_scale = blur_scale[:, None].expand(-1, len(decode)).flatten()
            frames = len(decode)
        remembered = [torch.stack(s, 1).flatten(0, 1) for s in zip(*states)] if frames > 1 else states[-1]
        prediction, logits = self._decode(
            x2, x4, x8, x16, measure4, focus.flatten(), remembered, None if decode_coc else flat_scale
        )
        prediction = Prediction(*(p[..., :height, :width].unflatten(0, (batch, frames)) for p in prediction))
        return prediction, [a.unflatten(0, (batch, frames)) for a in logits], maps

    def _decode(self, x2, x4, x8, x16, measure4, focus, state, blur_scale):
        s2, s4, s8, s16 = state
        best4, memory4, filled4 = self._parts4(s4)
        v = focus[:, None, None, None]
        # The scales are experts whose votes add up; the decoder corrects them.
        votes = (
            self.memory4.logits(memory4) + _double(self.memory8.logits(s8) + _double(self.memory16.logits(s16)))
        ).float()
        shares = votes.softmax(1)
        voted = (shares * self.centres[:, None, None]).sum(1, keepdim=True)
        # s2 is (measure, focus, all-in-focus pixels); the pixels are centred like those of the encoder.
        sharp2 = self.sharp2(_join([s2[:, :2], s2[:, 2:] * 2 - 1]))
        d16 = self.decoder16(_join([x16, s16.to(x16.dtype)]))
        x4_filled = x4
        if self.context is not None and self.filled is not None:
            filled = self.filled(filled4, v)
            x4_filled = x4 + self.filled4(filled).to(x4.dtype)
            d16 = self.context(d16 + self.filled16(F.avg_pool2d(filled, 4)).to(d16.dtype))
        d8 = self.decoder8(d16, x8, s8)
        d4 = self.decoder4(
            d8,
            x4_filled,
            memory4,
            best4[:, :_BANDS] - measure4,
            best4[:, _BANDS:] - v,
            best4[:, _BANDS:],
            shares,
            voted,
            self.sharp4(sharp2),
        )
        logits = votes + self.coarse(d4).float()
        u2 = _double((logits.softmax(1) * self.centres[:, None, None]).sum(1, keepdim=True))
        d2 = self.decoder2(d4, x2, sharp2, u2)
        fine = self.fine(d2).float()
        u = F.pixel_shuffle(fine[:, :4], 2) + _double(u2)
        log_b = F.pixel_shuffle(fine[:, 4:], 2).clamp(-6, 1)

        if blur_scale is not None:
            return Prediction(u, log_b, signed_coc(u, focus, blur_scale)), [votes, logits]
        c8 = self.coc8(_join([x8, d8, s8[:, -self.gru8.channels :].to(x8.dtype)]))
        c2 = self.coc2(self.coc4(c8, x4, d4), x2, d2)
        coc = 4 * torch.sinh(F.pixel_shuffle(self.coc(c2).float(), 2).clamp(-5, 5))
        return Prediction(u, log_b, coc), [votes, logits]

    def _remember(self, focus, frame, state):
        measure2, pixels, measure4, relative4, f4, e4, f8, e8, f16, e16, g8, g16 = frame
        s2, s4, s8, s16 = state
        best4, memory4, filled4 = self._parts4(s4)
        memory8, hidden8 = s8.split([self.memory8.channels, self.gru8.channels], 1)
        memory16, hidden16 = s16.split([self.memory16.channels, self.gru16.channels], 1)
        return [
            self.best2(measure2, focus, pixels, s2),
            _join(
                [
                    self.best4(measure4, focus, None, best4),
                    self.memory4(f4, e4, memory4),
                    *([self.filled.remember(relative4, focus, filled4)] if self.filled else []),
                ]
            ),
            _join([self.memory8(f8, e8, memory8), self.gru8(g8, hidden8)]),
            _join([self.memory16(f16, e16, memory16), self.gru16(g16, hidden16)]),
        ]


def _join(parts: list[torch.Tensor]) -> torch.Tensor:
    """Concatenate channels in the channels-last memory format. `torch.cat` falls back to the default format if one part
    has it, and then every convolution would copy its input."""
    return torch.cat([part.permute(0, 2, 3, 1) for part in parts], 3).permute(0, 3, 1, 2)


def _double(x: torch.Tensor) -> torch.Tensor:
    return F.interpolate(x, scale_factor=2.0, mode='bilinear', align_corners=False)
