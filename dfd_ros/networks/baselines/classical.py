"""Depth from focus without learning: for any lens, number of frames and order of focus.

`BestFocus` picks for each pixel the focus at which it was sharpest; `Variational` finds a smooth surface that is sharp
nearly everywhere. Both read frame by frame (`dfd_ros.networks.baselines.focus_volume` describes their state), work at
half the resolution of the image, and have no weights.
"""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F

from dfd_ros.networks import Network, Prediction, signed_coc
from dfd_ros.networks.baselines.focus_volume import BINS, STRIDE, FocusVolume, half_size_grey, pad, sharpness


def log_error(constants, contrast: torch.Tensor, gap: torch.Tensor) -> torch.Tensor:
    """log b of the Laplace distribution of u: log(floor + (flat + share gap) exp(-sqrt(contrast) / scale)).

    The uncertainty is higher for lower peaks and wider gaps between frames. The form follows the mean error over
    contrast; `benchmarks/_fit_classical.py` fits the constants (floor, flat, share, scale).
    """
    floor, flat, share, scale = constants
    return torch.log(floor + (flat + share * gap) * torch.exp(-contrast.sqrt() / scale))


class ClassicalNetwork(Network):
    """The interface of `dfd_ros.networks` around `update`, which subclasses implement.

    State: the volume and the table of `FocusVolume`, and maps at half the resolution that a subclass adds.
    """

    needs_weights = False
    LEAK = 0.02  # of log energy per frame; 0.1 costs accuracy in static scenes
    own_channels = 0
    error: tuple[float, float, float, float]  # floor, flat, share, scale, see `log_error`

    def initial_state(self, batch: int, height: int, width: int, device='cpu') -> list[torch.Tensor]:
        """The state before the first frame of (height, width): zeros."""
        height, width = (-(-n // STRIDE) * STRIDE for n in (height, width))
        volume = FocusVolume.empty(batch, height, width, device)
        own = torch.zeros(batch, self.own_channels, height // 2, width // 2, device=device)
        return [volume.volume, volume.table, *([own] if self.own_channels else [])]

    def update(self, volume: FocusVolume, grey: torch.Tensor, sharp: torch.Tensor, own: list[torch.Tensor]):
        """u, contrast and gap, as in `focus_volume.Peak`, and the new `own` state, all at half the resolution."""
        raise NotImplementedError

    def forward(self, image: torch.Tensor, focus: torch.Tensor, blur_scale: torch.Tensor, *state: torch.Tensor):
        """One frame, see `dfd_ros.networks`. Returns (Prediction, *state). The CoC is k (u - v), NaN if k is NaN."""
        with torch.autocast(image.device.type, enabled=False):
            height, width = image.shape[-2:]
            volume, table, *own = state or self.initial_state(len(image), height, width, image.device)
            grey = half_size_grey(pad(image.float()))
            sharp = sharpness(grey)
            seen = FocusVolume(volume, table).add(sharp, focus, self.LEAK)
            u, contrast, gap, own = self.update(seen, grey, sharp, own)
            maps = torch.cat([u, log_error(self.error, contrast, gap)], 1)
            u, log_b = F.interpolate(maps, scale_factor=2.0, mode='bilinear', align_corners=False)[
                ..., :height, :width
            ].split(1, 1)
            return Prediction(u, log_b, signed_coc(u, focus, blur_scale)), seen.volume, seen.table, *own


class BestFocus(ClassicalNetwork):
    """Traditional depth from focus: sharpness of every frame, its peak, and interpolation between frames.

    After Nayar and Nakagawa, "Shape from Focus" (PAMI 1994): their modified Laplacian and Gaussian interpolation, here
    for uneven focus and frame by frame.
    """

    error = (0.007, 0.273, 0.360, 1.291)  # fitted on 14 stacks

    def update(self, volume, grey, sharp, own):
        peak = volume.peak()
        return peak.vergence, peak.contrast, peak.gap, own


class Variational(ClassicalNetwork):
    """The surface u that minimises  -contrast(u) + smoothness(u),  starting from the last solution.

    From Moeller, Benning, Schoenlieb and Cremers, "Variational Depth from Focus Reconstruction" (IEEE TIP 2015): the
    energy, whose data term is the contrast as a smooth, non-convex function of depth, and the total variation of u.
    From Suwajanakorn, Hernandez and Seitz, "Depth from Focus with Your Mobile Phone" (CVPR 2015): less smoothness at
    edges of the all-in-focus image, and registered images (which the estimator provides). Differences:

    * The contrast is the log energy of `focus_volume`. Second differences instead of a polynomial make it smooth in
      depth, which works for any number and spacing of frames.
    * The data term is searched at all depths, by the quadratic decoupling of Newcombe, Lovegrove and Davison, "DTAM"
      (ICCV 2011), instead of linearised ADMM, which finds only a local minimum. The primal-dual steps of Chambolle
      and Pock (2011) minimise the total variation.
    * Each frame takes a few iterations from the solution of the previous frame.

    State, third map: all-in-focus grey image, its sharpness, u, and the dual variable (2): (B, 5, H/2, W/2).
    """

    own_channels = 5
    depths: torch.Tensor
    error = (0.007, 0.192, 0.263, 1.568)  # fitted on 14 stacks
    # Chosen by the error of u on eight stacks of the training family after 3, 5 and 10 frames.
    BENDING, SLOPE = 3e-5, 1e-3  # weights of the integrals of the squared second and first derivative by depth
    BEYOND = 2.0  # loss of contrast per unit of depth beyond the focus range seen so far
    DATA = 0.06  # weight of the contrast against the total variation
    EDGE = 40.0  # how fast the weight of smoothness falls with the gradient of the image
    COUPLING = (5.0, 1.0, 0.2)  # weakest first
    ITERATIONS = 12  # for each of them

    def __init__(self):
        super().__init__()
        self.register_buffer('depths', torch.linspace(0, 1, BINS), persistent=False)

    def update(self, volume, grey, sharp, own):
        all_in_focus, best, u, dual = own[0].split([1, 1, 1, 2], 1)
        best = (best - self.LEAK).clamp_min(0)
        better = sharp >= best
        all_in_focus, best = torch.where(better, grey, all_in_focus), torch.where(better, sharp, best)
        contrast = self.contrast(volume)
        weight = torch.exp(-self.EDGE * _gradient(all_in_focus).square().sum(1, keepdim=True).sqrt())
        weight = weight.clamp_min(1e-12)  # it underflows at a bright edge in a dark image, which leads to 0 / 0
        for coupling in self.COUPLING:
            found = self._search(contrast, u, coupling)
            u, dual = _total_variation(found, coupling, weight, u, dual, self.ITERATIONS)
        peak = volume.peak()
        here = _at(contrast, u) - contrast.mean(1, keepdim=True)
        return u, here.clamp_min(0), peak.gap, [torch.cat([all_in_focus, best, u, dual], 1)]

    def contrast(self, volume: FocusVolume) -> torch.Tensor:
        """(B, BINS, h, w): log energy as a smooth function of depth, at `depths`."""
        v, seen = volume.focus()
        position = v.clamp(0, 1).double() * (BINS - 1)
        order = torch.arange(BINS, device=v.device, dtype=torch.double)
        sample = (1 - (position[..., None] - order).abs()).clamp_min(0) * seen[..., None]
        first, second = (_differences(n, v.device) * BINS ** (n - 0.5) for n in (1, 2))
        normal = sample.transpose(1, 2) @ sample + self.BENDING * (second.T @ second) + self.SLOPE * (first.T @ first)
        fit = torch.linalg.solve_ex(normal, sample.transpose(1, 2)).result.float()
        # Beyond the focus range seen so far the fit would diverge: keep its last value, slightly reduced.
        first_seen = torch.where(seen, position, BINS - 1.0).amin(1, keepdim=True).floor()
        last_seen = torch.where(seen, position, 0.0).amax(1, keepdim=True).ceil()
        covered = order.expand_as(v).clamp(first_seen, last_seen)
        fit = fit.gather(1, covered.long()[..., None].expand_as(fit))
        beyond = self.BEYOND / BINS * (order - covered).abs().float()
        return (fit @ volume.volume.flatten(2)).view_as(volume.volume) - beyond[..., None, None]

    def _search(self, contrast: torch.Tensor, u: torch.Tensor, coupling: float) -> torch.Tensor:
        pull = (self.depths[:, None, None] - u).square() * (0.5 / (coupling * self.DATA))
        energy = pull - contrast
        low, index = energy.min(1, keepdim=True)
        before, behind = (energy.gather(1, (index + d).clamp(0, BINS - 1)) - low for d in (-1, 1))
        step = 0.5 * (before - behind) / (before + behind).clamp_min(1e-6)
        inside = (index > 0) & (index < BINS - 1)
        return (index + torch.where(inside, step, 0.0)) / (BINS - 1)


def _differences(order: int, device) -> torch.Tensor:
    matrix = torch.eye(BINS, dtype=torch.double, device=device)
    for _ in range(order):
        matrix = matrix[1:] - matrix[:-1]
    return matrix


def _at(contrast: torch.Tensor, u: torch.Tensor) -> torch.Tensor:
    """The contrast at u, (B, 1, h, w)."""
    position = u.clamp(0, 1) * (BINS - 1)
    low = position.floor().clamp_max(BINS - 2)
    a, b = (contrast.gather(1, low.long() + d) for d in (0, 1))
    return a + (position - low) * (b - a)


def _gradient(x: torch.Tensor) -> torch.Tensor:
    """Forward differences (B, 2, h, w), zero at the last row and column."""
    return torch.cat([F.pad(x[..., 1:] - x[..., :-1], (0, 1)), F.pad(x[..., 1:, :] - x[..., :-1, :], (0, 0, 0, 1))], 1)


def _divergence(p: torch.Tensor) -> torch.Tensor:
    """Minus the adjoint of `_gradient`, (B, 1, h, w) of (B, 2, h, w)."""
    x, y = p.split(1, 1)
    return torch.cat([x[..., :1], x[..., 1:-1] - x[..., :-2], -x[..., -2:-1]], 3) + torch.cat(
        [y[..., :1, :], y[..., 1:-1, :] - y[..., :-2, :], -y[..., -2:-1, :]], 2
    )


def _total_variation(target, coupling: float, weight, u, dual, iterations: int):
    """Steps towards argmin of  sum of weight |grad u| + |u - target|^2 / (2 coupling).  Chambolle and Pock 2011."""
    sigma = tau = 1 / math.sqrt(8)
    ahead = u
    for _ in range(iterations):
        dual = dual + sigma * _gradient(ahead)
        dual = dual / (dual.square().sum(1, keepdim=True).sqrt() / weight).clamp_min(1)
        before = u
        u = (u + tau * _divergence(dual) + tau / coupling * target) / (1 + tau / coupling)
        ahead = 2 * u - before
    return u, dual
