"""Registration of consecutive frames: zoom, rotation and shift of the image.

A change of focus also changes the image scale (focus breathing), and a hand-held or driving camera moves. The state of
a recurrent network is aligned with an earlier image and must be warped to the current one.

Method: Gauss-Newton on small, low-passed images (because blur differs between frames of a focus sweep), inverse
compositional and robustly weighted: Baker and Matthews, "Lucas-Kanade 20 Years On: A Unifying Framework", IJCV 2004.
"""

from __future__ import annotations

import math

import cv2
import numpy as np

from dfd_ros.core.geometry import Similarity


class Registration:
    """Finds the similarity between consecutive images of a camera. Takes less than 2 ms per frame at 640x480."""

    WIDTH = 128
    """Images are reduced to about this many pixels on their longer side."""
    LEVELS = 3
    ITERATIONS: tuple[int, ...] = (8, 6, 4)
    """Maximum for each level, from the coarsest to the finest."""
    REFINEMENTS = 4
    MAX_REFINEMENT = 3.0  # px
    MIN_CORRELATION = 0.6
    """Alignments with a lower correlation are rejected."""
    MAX_ZOOM = 1.2
    MAX_ANGLE = math.radians(10)
    MAX_SHIFT = 0.2
    """As a share of the longer side."""

    def __init__(self):
        self._template: list[np.ndarray] | None = None
        self._size: tuple[int, int] | None = None
        self.correlation = math.nan
        """Of the last two images after alignment, up to 1; 0 if no plausible similarity was found."""

    def push(self, image: np.ndarray, zoom: float = math.nan) -> Similarity:
        """The similarity that maps pixels of this image to their positions in the previous image.

        image: (H, W, 3) or (H, W) uint8. zoom: the scale if it is known; then only rotation and shift are estimated.
        For the first image, and if no plausible similarity is found, returns the identity (or only that zoom).
        """
        pyramid, previous, size = self._pyramid(image), self._template, self._size
        self._template, self._size = pyramid, image.shape[:2]
        prior = Similarity() if math.isnan(zoom) else Similarity(scale=zoom)
        if previous is None or size != image.shape[:2]:
            return prior
        found, self.correlation = self._align(pyramid, previous, prior, fixed_zoom=not math.isnan(zoom))
        found = found.resized(max(size) / max(pyramid[0].shape))
        credible = (
            max(found.scale, 1 / found.scale) <= self.MAX_ZOOM
            and abs(found.angle) <= self.MAX_ANGLE
            and math.hypot(found.dx, found.dy) <= self.MAX_SHIFT * max(size)
        )
        if not credible:
            self.correlation = 0.0
        return found if credible else prior

    @classmethod
    def refined(cls, image: np.ndarray, other: np.ndarray, start: Similarity) -> Similarity:
        """The similarity that maps pixels of an image to those of another one, from one that is nearly right.

        image, other: (H, W) float32, grey, low-passed. `start` where nothing credible is found.
        """
        found, correlation = cls._gauss_newton(image, other, start, cls.REFINEMENTS, fixed_zoom=False)
        change = (start.inverse() @ found).displacement(*image.shape)
        return found if correlation >= cls.MIN_CORRELATION and change <= cls.MAX_REFINEMENT else start

    def _pyramid(self, image: np.ndarray) -> list[np.ndarray]:
        """Low-passed grey images, finest first."""
        height, width = image.shape[:2]
        scale = min(1.0, self.WIDTH / max(height, width))
        size = max(8, round(width * scale)), max(8, round(height * scale))
        small = cv2.resize(image, size, interpolation=cv2.INTER_AREA)
        grey = cv2.cvtColor(small, cv2.COLOR_RGB2GRAY) if small.ndim == 3 else small
        level = cv2.GaussianBlur(grey.astype(np.float32), (0, 0), 1.5)
        levels = []
        for _ in range(self.LEVELS):
            levels.append(level)
            if min(level.shape) < 32:
                break
            level = cv2.pyrDown(level)
        return levels

    def _align(
        self, current: list[np.ndarray], previous: list[np.ndarray], start: Similarity, *, fixed_zoom: bool
    ) -> tuple[Similarity, float]:
        """Similarity from `current` to `previous`, in pixels of the finest level, and their correlation with it."""
        found, finest = start, max(current[0].shape)
        for level in reversed(range(len(current))):
            image, template = previous[level], current[level]
            scale = max(template.shape) / finest
            at_level, correlation = self._gauss_newton(
                template, image, found.resized(scale), self.ITERATIONS[-1 - level], fixed_zoom
            )
            found = at_level.resized(1 / scale)
        return found if correlation >= self.MIN_CORRELATION else start, correlation

    @staticmethod
    def _gauss_newton(
        template: np.ndarray, image: np.ndarray, warp: Similarity, iterations: int, fixed_zoom: bool
    ) -> tuple[Similarity, float]:
        """Refine `warp` so that image(warp(x)) = gain template(x) + offset; returns it with the final correlation."""
        height, width = template.shape
        x = np.arange(width, dtype=np.float32) - (width - 1) / 2
        y = (np.arange(height, dtype=np.float32) - (height - 1) / 2)[:, None]
        mean, deviation = (float(value[0, 0]) for value in cv2.meanStdDev(template))
        if deviation < 1e-3:
            return warp, 0.0
        template = (template - mean) / deviation
        gx = cv2.Sobel(template, cv2.CV_32F, 1, 0, scale=1 / 8)
        gy = cv2.Sobel(template, cv2.CV_32F, 0, 1, scale=1 / 8)
        # Derivatives with respect to log zoom, angle and shift, then to gain and offset, which exposure changes.
        derivatives = [gx * x + gy * y, gy * x - gx * y, gx, gy, template, np.ones_like(template)]
        jacobian = np.stack(derivatives[1:] if fixed_zoom else derivatives).reshape(-1, height * width)
        inside = np.zeros_like(template)
        inside[2:-2, 2:-2] = 1
        correlation = 0.0
        for _ in range(iterations):
            matrix = warp.matrix(height, width)
            flags = cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP
            warped = cv2.warpAffine(image, matrix, (width, height), flags=flags, borderMode=cv2.BORDER_REPLICATE)
            weight = cv2.warpAffine(inside, matrix, (width, height), flags=flags) * inside
            total = float(weight.sum())
            if total < 0.3 * weight.size:
                return warp, 0.0
            mean = float((weight * warped).sum()) / total
            centred = warped - mean
            variance = float((weight * centred * centred).sum()) / total
            if variance < 1e-6:
                return warp, 0.0
            centred /= math.sqrt(variance)
            residual = centred - template
            correlation = float((weight * centred * template).sum()) / total
            # Geman-McClure weights suppress moving objects and occlusions.
            spread = 1.4826 * float(np.median(np.abs(residual[::2, ::2]))) + 1e-3
            weight *= 1 / (1 + (residual / (2 * spread)) ** 2) ** 2
            weighted = jacobian * weight.reshape(1, -1)
            hessian = weighted @ jacobian.T
            hessian[np.diag_indices_from(hessian)] *= 1 + 1e-4
            step = np.linalg.solve(
                hessian + 1e-6 * np.eye(len(hessian), dtype=np.float32), weighted @ residual.reshape(-1)
            )
            zoom, (angle, dx, dy) = (0.0, step[:3]) if fixed_zoom else (float(step[0]), step[1:4])
            change = Similarity(math.exp(zoom), float(angle), float(dx), float(dy))
            warp = warp @ change.inverse()
            if change.displacement(height, width) < 0.02:
                break
        return warp, correlation
