"""Effective aperture and focus breathing, from a focus sweep over a flat target that faces the camera.

Breathing is the scale between each image and the sharpest one. Blur is the transfer function between the two: the
cross-spectrum over the power spectrum of the sharpest image, which noise does not bias, averaged over
directions. It is the ratio of two optical transfer functions; those of the point spread functions
exp(-(r / R)^n) (Gaussian to disc) are fitted with one blur scale, one target distance and one n for all images.
Blur that the lens has even in focus is in both spectra and cancels.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache

import numpy as np

from dfd_ros.calibration.board import opencv
from dfd_ros.core.colour import srgb_decode
from dfd_ros.core.errors import InputError
from dfd_ros.core.geometry import Similarity
from dfd_ros.core.optics import vergence
from dfd_ros.inference.registration import Registration

MIN_FRAMES = 4
MIN_BLUR = 3.0  # px, of the most blurred image; less has no measurable shape, nor a size to 5 %
MIN_CONTRAST = 0.03  # standard deviation over mean of the sharpest image
MAX_FREQUENCY = 0.25  # cycles/px; above it, interpolation of the registered image dominates
MARGIN = 0.1  # of the image on each side, where lenses are worst
MAX_BLUR = 94.0  # px
EXPONENTS = (2.0, 2.5, 3.0, 4.0, 6.0, 8.0, 12.0, 32.0)


class _FineRegistration(Registration):
    """Accurate to hundredths of a pixel at the edge of the image: nearly all pixels and many iterations."""

    WIDTH = 640
    LEVELS = 5
    ITERATIONS = (20, 15, 10, 10, 10)


@dataclass(frozen=True)
class ApertureResult:
    """Blur and image scale of a sweep."""

    focus_distances: np.ndarray
    """(T,) m, as given."""
    blur_per_dioptre: float
    """CoC (px) per dioptre of defocus in an image focused at infinity: f^2 / (N pixel pitch)."""
    target: float
    """m, the focus distance at which the target is sharp."""
    exponent: float
    """Of the point spread function: 2 Gaussian, 32 disc."""
    coc: np.ndarray
    """(T,) px, measured for each image separately."""
    magnification: np.ndarray
    """(T,) image scale relative to focus at infinity."""
    breathing: float
    """m; the image scale is 1 / (1 - breathing / F). Equals the focal length for a lens that moves as a whole."""
    breathing_residual: float
    """Root mean square of magnification against that law."""
    residual: float
    """Root mean square of the transfer functions against the fit."""


def measure_aperture(
    images: Sequence[np.ndarray], focus_distances: Sequence[float], name: str = 'sweep', *, is_linear: bool = False
) -> ApertureResult:
    """Blur scale and breathing of a sweep.

    Args:
        images: (H, W, 3) uint8, sRGB unless `is_linear`; of one flat, textured target that fills the view.
        focus_distances: m, of each image.

    Raises:
        InputError: too few images, no texture, no image in focus, or too little blur to measure.
    """
    at = np.array([vergence(float(d)) for d in focus_distances])
    if len(images) < MIN_FRAMES or len(np.unique(at)) < MIN_FRAMES:
        raise InputError(f'{name}: {len(np.unique(at))} focus distances, but at least {MIN_FRAMES} are needed')
    light = [_linear(image, is_linear) for image in images]
    sharp = _sharpest(light, at, name)
    views = [_registration(light[sharp], image, name) for image in light]
    scale = np.array([1 / view.scale for view in views])  # of the image, relative to the sharpest
    breathing, at_infinity, off = _breathing(at, scale)
    magnification = scale / at_infinity
    frequencies, transfer, weight = _transfer_functions(light[sharp], light, views, name)

    def model(parameters, exponent):
        blur, target = parameters
        coc = blur * magnification[sharp] * np.abs(target - at)  # in pixels of the sharpest image
        expected = _otf(np.outer(coc, frequencies), exponent)
        # The sharpest image is slightly blurred too.
        measured = transfer * expected[sharp]
        return expected, measured, coc

    def cost(parameters, exponent):
        expected, measured, _ = model(parameters, exponent)
        return float((weight * (_with_gain(measured, expected, weight) - expected) ** 2).sum())

    step = np.abs(at - at[sharp])
    widest = step.max()
    nearest = np.sort(step)[1]
    start = (math.log(8.0 / widest), at[sharp])
    spread = (math.log(10.0), nearest)
    best = min(
        (_minimum(lambda p: cost((math.exp(p[0]), p[1]), n), start, spread) + (n,) for n in EXPONENTS),
        key=lambda found: found[1],
    )
    (log_blur, target), lowest, exponent = best
    blur = math.exp(log_blur)
    if not at.min() < target < at.max():
        raise InputError(
            f'{name}: is never sharp within the sweep; move the target between the nearest and the '
            'farthest focus distance'
        )
    expected, measured, coc = model((blur, target), exponent)
    if coc.max() < MIN_BLUR:
        raise InputError(
            f'{name}: blurs the target by at most {coc.max():.1f} px, but {MIN_BLUR:g} px are needed; sweep further'
        )
    if coc.max() > MAX_BLUR:
        raise InputError(f'{name}: blurs the target by {coc.max():.0f} px, more than can be measured; sweep less far')
    measured = _with_gain(measured, expected, weight)
    in_image = magnification / magnification[sharp]
    alone = np.array([_coc_alone(m, frequencies, exponent, w) for m, w in zip(measured, weight)])
    return ApertureResult(
        np.asarray(focus_distances, float),
        blur,
        1 / target,
        exponent,
        alone * in_image,
        magnification,
        breathing,
        off,
        math.sqrt(lowest / weight.sum()),
    )


def _linear(image: np.ndarray, is_linear: bool) -> np.ndarray:
    """(H, W) float32 linear light, mean 1: defocus averages light, not sRGB values."""
    value = image.astype(np.float32) / 255
    if not is_linear:
        value = srgb_decode(value)
    grey = value @ np.array([0.2126, 0.7152, 0.0722], np.float32) if value.ndim == 3 else value
    return grey / max(float(grey.mean()), 1e-6)


def _middle(image: np.ndarray) -> np.ndarray:
    h, w = image.shape
    y, x = round(MARGIN * h), round(MARGIN * w)
    return image[y : h - y, x : w - x]


def _sharpest(light: Sequence[np.ndarray], at: np.ndarray, name: str) -> int:
    cv2 = opencv()
    smooth = [cv2.GaussianBlur(_middle(image), (0, 0), 1.0) for image in light]
    contrast = [
        float((cv2.Sobel(s, cv2.CV_32F, 1, 0) ** 2 + cv2.Sobel(s, cv2.CV_32F, 0, 1) ** 2).mean()) for s in smooth
    ]
    sharp = int(np.argmax(contrast))
    if smooth[sharp].std() < MIN_CONTRAST:
        raise InputError(
            f'{name}: the target has no texture to measure blur on; print one (dfd calibrate target --texture)'
        )
    if at[sharp] in (at.min(), at.max()):
        raise InputError(
            f'{name}: is never sharp within the sweep, and sharpest at its end; move the target '
            'between the nearest and the farthest focus distance'
        )
    return sharp


def _registration(reference: np.ndarray, image: np.ndarray, name: str) -> Similarity:
    registration = _FineRegistration()
    for view in (reference, image):
        found = registration.push(np.clip(view * 80, 0, 255).astype(np.float32))
    return found


def _breathing(at: np.ndarray, scale: np.ndarray) -> tuple[float, float, float]:
    """Breathing length (m), scale at infinity, residual: 1 / scale is linear in vergence."""
    slope, at_infinity = np.polyfit(at, 1 / scale, 1)
    fitted = slope * at + at_infinity
    return float(-slope / at_infinity), float(1 / at_infinity), float(np.sqrt(((scale * fitted - 1) ** 2).mean()))


def _transfer_functions(
    reference: np.ndarray, images: Sequence[np.ndarray], views: Sequence[Similarity], name: str
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Frequencies (K,) in cycles/px, real transfer functions (T, K) from the reference, weights (T, K)."""
    cv2 = opencv()
    height, width = reference.shape
    inside = np.ones((height, width), np.float32)
    warped = []
    for image, view in zip(images, views):
        matrix = view.matrix(height, width)
        warped.append(
            cv2.warpAffine(image, matrix, (width, height), flags=cv2.INTER_LANCZOS4, borderMode=cv2.BORDER_REFLECT)
        )
        inside *= cv2.warpAffine(np.ones_like(image), matrix, (width, height), flags=cv2.INTER_NEAREST)
    y, x = round(MARGIN * height), round(MARGIN * width)
    if not inside[y : height - y, x : width - x].all():
        raise InputError(
            f'{name}: the images differ in position or scale by more than {MARGIN:.0%} of '
            'their size; keep camera and target still'
        )
    window = np.outer(np.hanning(height - 2 * y), np.hanning(width - 2 * x)).astype(np.float32)

    def spectrum(image):
        middle = _middle(image)
        return np.fft.rfft2((middle - (middle * window).sum() / window.sum()) * window)

    ours = spectrum(reference)
    h, w = window.shape
    radius = np.hypot(np.fft.fftfreq(h)[:, None], np.fft.rfftfreq(w)[None])
    each = 1.5 / min(h, w)
    bins = (radius / each).astype(int)
    count = int(MAX_FREQUENCY / each)
    # The lowest frequencies belong to the window, not to the target.
    used = slice(2, count)

    def mean(values):
        return np.bincount(bins.ravel(), values.ravel(), minlength=count + 1)[used]

    power = mean(np.abs(ours) ** 2)
    number = mean(np.ones_like(radius))
    noise = float(np.median(np.abs(ours[radius > 0.45]) ** 2)) / math.log(2)  # power of noise is exponential
    signal = power / number / (power / number + noise)
    transfer = np.stack([mean((spectrum(image) * ours.conj()).real) / power for image in warped])
    frequencies = mean(radius) / number
    return frequencies, transfer, np.repeat(signal[None], len(images), 0)


def _with_gain(measured: np.ndarray, expected: np.ndarray, weight: np.ndarray) -> np.ndarray:
    """Each transfer function times its best-fitting gain, because exposures differ."""
    gain = (weight * measured * expected).sum(1) / np.maximum((weight * measured**2).sum(1), 1e-12)
    return measured * np.clip(gain, 0.8, 1.25)[:, None]


@cache
def _otf_table(exponent: float) -> tuple[np.ndarray, np.ndarray]:
    """Transfer function over frequency of a PSF with a CoC of 1 px, by its Hankel transform."""
    import torch

    from dfd_ros.synthesis.defocus import psf_radius

    radius = float(psf_radius(torch.ones(1, dtype=torch.float64), torch.tensor([exponent], dtype=torch.float64)))
    r = (torch.arange(1500, dtype=torch.float64) + 0.5) / 1500 * radius * (2.8 if exponent < 4 else 1.8)
    density = r * torch.exp(-((r / radius) ** exponent))
    q = torch.linspace(0, MAX_BLUR * MAX_FREQUENCY, 1200, dtype=torch.float64)
    transform = torch.special.bessel_j0(2 * math.pi * q[:, None] * r[None]) @ density / density.sum()
    return q.numpy(), transform.numpy()


def _otf(q: np.ndarray, exponent: float) -> np.ndarray:
    """Transfer function at CoC times frequency."""
    table, values = _otf_table(exponent)
    return np.interp(q, table, values)


def _minimum(cost, centre: tuple[float, float], spread: tuple[float, float]) -> tuple[tuple[float, float], float]:
    """Minimum of a cost of two parameters with many local minima, on a shrinking grid."""
    points = 15
    best, lowest = centre, math.inf
    for _ in range(8):
        grid = [
            (a, b)
            for a in np.linspace(best[0] - spread[0], best[0] + spread[0], points)
            for b in np.linspace(best[1] - spread[1], best[1] + spread[1], points)
        ]
        costs = [cost(point) for point in grid]
        best, lowest = grid[int(np.argmin(costs))], min(costs)
        spread = spread[0] * 0.35, spread[1] * 0.35
    return (float(best[0]), float(best[1])), lowest


def _coc_alone(measured: np.ndarray, frequencies: np.ndarray, exponent: float, weight: np.ndarray) -> float:
    candidates = np.concatenate([np.linspace(0, 10, 201), np.geomspace(10, MAX_BLUR, 200)[1:]])
    expected = _otf(np.outer(candidates, frequencies), exponent)
    return float(candidates[int(np.argmin((weight * (measured - expected) ** 2).sum(1)))])
