"""Figures and run time of a network on test scenes."""

from __future__ import annotations

import time
from collections.abc import Iterable, Mapping
from dataclasses import asdict
from statistics import median

import torch

from dfd_ros.core.optics import VergenceRange
from dfd_ros.inference.backends import Backend
from dfd_ros.synthesis.procedural import StackBatch
from dfd_ros.training import metrics


@torch.inference_mode()
def depth_maps(backend: Backend, scene: StackBatch) -> list[torch.Tensor]:
    """u (H, W) after each frame of a scene, NaN before the first depth map. Frames are not registered."""
    state: list[torch.Tensor] = []
    result = []
    for index in range(scene.images.shape[1]):
        prediction, *state = backend(*_frame(scene, index, backend.device), *state)
        result.append(prediction.vergence[0, 0].cpu())
    return result


def evaluate(backend: Backend, scenes: Iterable[StackBatch]) -> dict[str, float]:
    """Figures over the counted pixels of all scenes; see `dfd_ros.training.metrics`.

    Returns:
        `mse`, `rms`, `accuracy`, `abs_rel` of depth (divided by the largest of the set) and `mae_u` after the last
        frame; `known`, the share of pixels with a depth; `first_map`, the number of frames until the first depth map;
        `first_rms`, its error.
    """
    last: list[torch.Tensor] = []
    first: list[torch.Tensor] = []
    first_map = 0  # unknown
    for scene in scenes:
        truth, counted = scene.vergence[0, -1, 0], scene.foreground[0, -1, 0]
        maps = depth_maps(backend, scene)
        first_map = first_map or next((i + 1 for i, u in enumerate(maps) if not u.isnan().all()), len(maps))
        # An earlier map is compared with the ground truth of the last frame too, which is fair only without motion.
        for pixels, u in ((last, maps[-1]), (first, maps[first_map - 1])):
            depth, estimate = (_depth(x[counted], scene.ranges()[0]) for x in (truth, u))
            pixels.append(torch.stack([truth[counted], u[counted], depth, estimate]))
    true_u, u, depth, estimate = torch.cat(last, 1)
    if not len(depth):
        return {'first_map': first_map}
    largest = depth.max().item()
    _, _, first_depth, first_estimate = torch.cat(first, 1)
    return {
        **asdict(metrics.depth_errors(estimate, depth, largest)),
        'mae_u': metrics.mae(u, true_u),
        'known': torch.isfinite(estimate).double().mean().item(),
        'first_map': first_map,
        'first_rms': metrics.rms(first_estimate, first_depth, largest),
    }


def _frame(scene: StackBatch, index: int, device: torch.device) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """(image (1, 3, H, W) in 0..1, focus (1,), blur scale (1,)), the input of networks."""
    return (
        scene.images[:, index].to(device).float() / 255,
        scene.focus[:, index].to(device),
        scene.blur_scale.to(device),
    )


def _depth(u: torch.Tensor, range_: VergenceRange) -> torch.Tensor:
    return metrics.counted_depth(u.double(), range_).float()


def milliseconds(backends: Mapping[str, tuple[Backend, int]], scene: StackBatch, rounds: int = 5) -> dict[str, float]:
    """Median time of one depth map. Networks take turns, so that load on the machine slows all of them alike.

    Args:
        backends: each with the number of frames per depth map: all frames of a stack for a network that reads stacks,
            1 for a network that returns a depth map with every frame.
        scene: input, whose size determines the size of the depth maps.
    """
    times: dict[str, list[float]] = {name: [] for name in backends}
    for turn in range(rounds + 1):
        for name, (backend, frames) in backends.items():
            inputs = [_frame(scene, index % scene.images.shape[1], backend.device) for index in range(frames)]
            state: list[torch.Tensor] = []
            if frames == 1:  # time a stream that has started
                _, *state = backend(*inputs[0])
            _wait_for(backend.device)
            start = time.perf_counter()
            for frame in inputs:
                prediction, *state = backend(*frame, *state)
            prediction.vergence.cpu()
            if turn:  # the first warms up
                times[name].append(1e3 * (time.perf_counter() - start))
    return {name: median(values) for name, values in times.items()}


def _wait_for(device: torch.device) -> None:
    if device.type == 'cuda':
        torch.cuda.synchronize(device)
