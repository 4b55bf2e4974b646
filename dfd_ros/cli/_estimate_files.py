"""The files that `dfd estimate` writes."""

from __future__ import annotations

import contextlib
import math
import os
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from dfd_ros.core.errors import InputError
from dfd_ros.core.files import read_json, write_json, written_atomically
from dfd_ros.core.focal_stack import FocalStack
from dfd_ros.core.optics import VergenceRange
from dfd_ros.core.point_cloud_files import PointCloud, write_glb, write_ply
from dfd_ros.drawing import visualise
from dfd_ros.inference.depth_estimate import Estimate
from dfd_ros.inference.estimator import DepthEstimator

FILES = (
    'depth.npy',
    'depth_mm.png',
    'relative_depth.npy',
    'coc.npy',
    'confidence.npy',
    'cloud.ply',
    'cloud.glb',
    'depth.png',
    'all_in_focus.png',
    'overview.png',
    'summary.json',
)
"""All that it may write."""
MAX_MM = 65534
"""65535 means "none" to some readers of 16-bit depth."""


def masked_depth(estimate: Estimate, min_confidence: float, range_: VergenceRange) -> np.ndarray:
    """(H, W) depth with NaN where the confidence is below `min_confidence`. In m, and where only the order of focus is
    known, in those of the stand-in range, for pictures alone."""
    if not estimate.is_metric:
        estimate = replace(estimate, depth=range_.denormalise(estimate.vergence))
    return estimate.masked_depth(min_confidence)


def write_results(
    folder: Path,
    stack: FocalStack,
    range_: VergenceRange,
    estimate: Estimate,
    depths: Sequence[np.ndarray],
    cocs: Sequence[np.ndarray],
    focal_length_px: float,
) -> list[str]:
    """Write all files and return their names. A file of an earlier run that this one has no values for is removed.

    Args:
        estimate: after the last frame.
        depths: `masked_depth` after each frame. cocs: (H, W) px of each frame.
        focal_length_px: of the last frame; NaN: unknown, and there is no point cloud.
    """
    depth = depths[-1]
    assert estimate.all_in_focus is not None
    files = file_names(stack.is_metric, focal_length_px)
    in_the_way = files_in_the_way(folder, files)
    if stack.is_metric:
        _save(folder / 'depth.npy', depth)
        write_millimetres(folder / 'depth_mm.png', depth)
    else:
        _save(folder / 'relative_depth.npy', np.where(np.isnan(depth), np.float32(np.nan), estimate.vergence))
    _save(folder / 'coc.npy', np.stack(cocs))
    _save(folder / 'confidence.npy', estimate.confidence)
    if 'cloud.ply' in files:
        cloud = PointCloud.of_depth(depth, estimate.all_in_focus, estimate.confidence, focal_length_px)
        write_ply(folder / 'cloud.ply', cloud)
        write_glb(folder / 'cloud.glb', cloud)
    visualise.write_picture(folder / 'depth.png', visualise.depth_picture(depth, range_))
    visualise.write_picture(folder / 'all_in_focus.png', estimate.all_in_focus)
    sheet = visualise.overview(
        stack,
        depths,
        estimate.confidence,
        cocs[-1],
        range_,
        Path(stack.name).resolve().name,
        all_in_focus=estimate.all_in_focus,
    )
    visualise.write_picture(folder / 'overview.png', sheet)
    for name in in_the_way:
        (folder / name).unlink(missing_ok=True)
    return files


def file_names(is_metric: bool, focal_length_px: float) -> list[str]:
    """The files of a result. There is a point cloud where depth is in metres and the focal length known (not NaN)."""
    left_out = {'relative_depth.npy'} if is_metric else {'depth.npy', 'depth_mm.png'}
    if not is_metric or math.isnan(focal_length_px):
        left_out |= {'cloud.ply', 'cloud.glb'}
    return [name for name in FILES if name not in left_out]


def files_in_the_way(folder: Path, names: Sequence[str]) -> list[str]:
    """Files in a folder that would be taken for results beside these: those of an earlier run, which `write_results`
    removes.

    Raises:
        InputError: there is one that may be anybody's, as no summary.json names it.
    """
    listed: object = ()
    with contextlib.suppress(InputError):
        summary = read_json(folder / 'summary.json')
        listed = summary.get('files') if isinstance(summary, dict) else ()
    found = [name for name in FILES if name not in names and os.path.lexists(folder / name)]
    for name in found:
        if not isinstance(listed, list) or name not in listed:
            raise InputError(
                f'{folder / name}: would be taken for a result, and no summary.json says that dfd estimate wrote it; '
                'remove it, or give another --out'
            )
    return found


def write_millimetres(path: Path, depth: np.ndarray) -> None:
    """Depth (m) as a 16-bit PNG in mm. 0 = unknown, infinite, or over 65.5 m."""
    with np.errstate(invalid='ignore'):
        millimetres = np.round(depth * 1000)
        writable = (millimetres >= 1) & (millimetres <= MAX_MM)
    pixels = np.where(writable, millimetres, 0).astype(np.uint16)
    with written_atomically(path) as temporary:
        Image.fromarray(pixels).save(temporary)


def write_summary(
    path: Path,
    stack: FocalStack,
    range_: VergenceRange,
    estimator: DepthEstimator,
    estimate: Estimate,
    depth: np.ndarray,
    seconds: float,
    files: list[str],
) -> dict[str, Any]:
    """Write how the result came about, and return it. Unknown values are null, infinite ones the text "inf".

    depth: `masked_depth` after the last frame. seconds: for all frames, without reading and writing files.
    """
    known, is_metric = ~np.isnan(depth), stack.is_metric
    lens = stack.lens_states[-1].lens
    summary = {
        'stack': stack.name,
        'metric': stack.is_metric,
        'focus_source': stack.focus_source,
        'frames': len(stack),
        'width': depth.shape[1],
        'height': depth.shape[0],
        'focus_distances_m': [_number(state.focus_distance) for state in stack.lens_states] if is_metric else None,
        'range_m': {'near': _number(range_.near), 'far': _number(range_.far)} if is_metric else None,
        'lens': {
            'known': not math.isnan(lens.blur_scale(range_)),
            'focal_length_mm': _number(lens.focal_length * 1e3),
            'f_number': _number(lens.f_number),
            'pixel_pitch_um': _number(lens.pixel_pitch * 1e6),
            'blur_scale_found_px': _number(estimator.found_blur_scale),
        },
        'network': estimator.network_name,
        'device': str(estimator.device),
        'precision': estimator.precision,
        'seconds': round(seconds, 3),
        'depth': {
            'known_share': round(float(known.mean()), 4),
            'median_m': _number(float(np.median(depth[known]))) if is_metric and known.any() else None,
            'unknown_because': estimate.unknown_because or None,
        },
        'mean_confidence': round(float(estimate.confidence.mean()), 4),
        'files': files,
    }
    write_json(path, summary)
    return summary


def _number(value: float) -> float | str | None:
    """As JSON has it: null for NaN, and the text `inf`, which `float` reads, for infinity."""
    if math.isnan(value):
        return None
    return 'inf' if math.isinf(value) else float(f'{value:.6g}')


def _save(path: Path, array: np.ndarray) -> None:
    with written_atomically(path) as temporary:
        np.save(temporary, array)
