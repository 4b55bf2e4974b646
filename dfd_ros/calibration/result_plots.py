"""The result of each calibration step as a plot. Needs matplotlib."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from dfd_ros.calibration.aperture import ApertureResult
from dfd_ros.calibration.calibration_file import FocusMap
from dfd_ros.calibration.extrinsics import ExtrinsicsResult
from dfd_ros.calibration.focus import SweepPeak
from dfd_ros.calibration.intrinsics import IntrinsicsResult
from dfd_ros.calibration.latency import LatencyResult
from dfd_ros.core.optics import vergence
from dfd_ros.drawing.plots import plot


@contextlib.contextmanager
def _two_plots(path: Path, title: str) -> Iterator:
    """The figure and its two axes."""
    with plot(path, title=title, figsize=(12.4, 4.6), layout='constrained') as figure:
        yield figure, figure.subplots(1, 2)


def write_intrinsics(path: Path, result: IntrinsicsResult) -> None:
    """The detected corners with their errors, and the residual of each view."""
    camera = result.camera
    with _two_plots(
        path,
        f'{camera.width}x{camera.height}: f = {camera.fx:.1f}, {camera.fy:.1f} px, '
        f'residual {camera.residual_px:.3f} px',
    ) as (figure, (image, views)):
        corners, off = np.concatenate([v.corners for v in result.views]), np.concatenate(result.residuals)
        arrows = image.quiver(
            *corners.T,
            *off.T,
            np.linalg.norm(off, axis=1),
            angles='xy',
            scale_units='xy',
            cmap='cool',  # none of its colours is dark
            scale=max(camera.residual_px, 1e-3) / (0.03 * camera.width),
        )
        image.plot(camera.cx, camera.cy, 'C3+', markersize=14)
        image.set(
            xlim=(0, camera.width),
            ylim=(camera.height, 0),
            aspect='equal',
            xlabel='px',
            title='corners and their errors',
        )
        figure.colorbar(arrows, ax=image, label='px', shrink=0.7)
        views.bar(range(len(result.views)), [np.sqrt((r**2).sum(1).mean()) for r in result.residuals])
        views.set(xlabel='view', ylabel='residual (px)', title='by view')


def write_extrinsics(path: Path, result: ExtrinsicsResult) -> None:
    """The two cameras from above, and the residual of each pair."""
    extrinsics = result.extrinsics
    matrix = extrinsics.matrix
    with _two_plots(
        path, f'{np.linalg.norm(matrix[:3, 3]) * 1e3:.1f} mm apart, residual {extrinsics.residual_px:.3f} px'
    ) as (_, (above, pairs)):
        length = max(0.6e3 * float(np.linalg.norm(matrix[:3, 3])), 10.0)
        for pose, label, colour in ((np.eye(4), extrinsics.parent, 'C0'), (matrix, extrinsics.child, 'C1')):
            place, right, forward = (1e3 * pose[[0, 2], 3], length * pose[[0, 2], 0], length * pose[[0, 2], 2])
            above.plot(*place, 'o', color=colour, label=label)
            above.plot(*np.array([place, place + forward]).T, '-', color=colour, linewidth=2.5)
            # A field of view of 60 degrees, as a visual aid.
            for side in (-0.577, 0.577):
                above.plot(*np.array([place, place + forward + side * right]).T, ':', color=colour)
        above.set(xlabel='x, right (mm)', ylabel='z, forward (mm)', aspect='equal', title='from above')
        above.margins(y=0.25)
        above.legend(fontsize=8, loc='lower right')
        places = np.arange(len(result.names))
        for i, label in enumerate(('focus camera', 'RGB-D camera')):
            pairs.bar(places + 0.4 * i - 0.2, result.residuals[:, i], 0.4, label=label)
        pairs.set_xticks(places, result.names, rotation=60, fontsize=7)
        pairs.set(ylabel='residual (px)', title='by pair')
        pairs.legend(fontsize=8)


def write_focus(path: Path, peaks: list[SweepPeak], map_: FocusMap) -> None:
    """Sharpness over control value for each sweep, and the map through their peaks."""
    with _two_plots(path, f'{map_.sweeps} sweeps, residual {map_.residual:.3g} dioptres') as (_, (curves, line)):
        for i, peak in enumerate(sorted(peaks, key=lambda peak: peak.distance)):
            curves.plot(peak.values, peak.sharpness, '.-', color=f'C{i % 10}', label=f'{peak.distance:.3g} m')
            curves.axvline(peak.value, color=f'C{i % 10}', linewidth=0.8, linestyle='--')
        curves.set(xlabel='control value', ylabel='sharpness, relative', title='sharpness of each sweep')
        curves.legend(fontsize=8)
        line.plot([vergence(d) for d in map_.focus_distances], map_.values, '-', label='focus table')
        line.plot([vergence(peak.distance) for peak in peaks], [peak.value for peak in peaks], 'o', label='sweeps')
        line.set(xlabel='vergence (1/m)', ylabel='control value', title='focus map')
        line.legend(fontsize=8)


def write_aperture(path: Path, result: ApertureResult, f_number: float) -> None:
    """Circle of confusion and image scale over the focus, measured and by the lens model."""
    at = np.array([vergence(float(d)) for d in result.focus_distances])
    order = np.argsort(at)
    with _two_plots(
        path, f'f/{f_number:.2f}, target in focus at {result.target:.3g} m, residual {result.residual:.3g}'
    ) as (_, (blur, scale)):
        grid = np.linspace(at.min(), at.max(), 300)
        coc = result.blur_per_dioptre * np.abs(grid - 1 / result.target) / (1 - result.breathing * grid)
        blur.plot(grid, coc, '-', label='thin lens')
        blur.plot(at, result.coc, 'o', label='measured, each image alone')
        blur.set(xlabel='focus (1/m)', ylabel='circle of confusion (px)', title='blur of the target')
        scale.plot(grid, 1 / (1 - result.breathing * grid), '-', label=f'1 / (1 - {result.breathing * 1e3:.2f} mm / F)')
        scale.plot(at[order], result.magnification[order], 'o', label='measured')
        scale.set(xlabel='focus (1/m)', ylabel='image scale, 1 at infinity', title='focus breathing')
        for axes in (blur, scale):
            axes.legend(fontsize=8)


def write_latency(path: Path, result: LatencyResult) -> None:
    """The change of the picture after each command, and when each step begins and ends."""
    motion, period = result.motion, result.period
    latency = motion.latency_s + motion.latency_frames * period
    with _two_plots(
        path, f'{result.frames} frames ({1e3 * latency:.0f} ms), {result.agreeing} of {len(result.steps)} steps agree'
    ) as (_, (curves, ends)):
        for step in result.steps:
            change = step.from_start / max(float(step.from_start.max()), 1e-9)
            curves.plot(1e3 * step.times, change, '.-', linewidth=0.8, markersize=4)
        curves.axvline(1e3 * latency, color='C7', linewidth=1, linestyle='--', label='latency')
        last = max(step.rests[1] for step in result.steps) + 5 * period
        curves.set(xlim=(-4e3 * period, 1e3 * last), xlabel='ms after the command', ylabel='difference, relative')
        curves.set(title='difference of the picture to that before')
        curves.legend(fontsize=8)
        ways = np.array([abs(step.goal - step.start) for step in result.steps])
        for name, key, colour in (('changes', 'changes', 'C0'), ('rests', 'rests', 'C1')):
            spans = 1e3 * np.array([getattr(step, key) for step in result.steps])
            ends.errorbar(ways, spans.mean(axis=1), np.ptp(spans, axis=1) / 2, fmt='.', color=colour, label=name)
        line = np.linspace(0, ways.max(), 2)
        ends.plot(
            line, [1e3 * motion.until_rest(way, period) for way in line], '-', color='C1', label='rests, as written'
        )
        ends.set(
            xlabel='travel (dioptres)',
            ylabel='ms after the command',
            title='start and end of each step',
            ylim=(0, None),
        )
        ends.legend(fontsize=8)
