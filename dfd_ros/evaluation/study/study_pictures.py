"""Pictures of the study: validation curves, bars of figures, depth maps of test scenes and of the real stack."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from dfd_ros.drawing.plots import plot
from dfd_ros.drawing.visualise import BACKGROUND, Panel, colour, sheet, with_unit, write_picture
from dfd_ros.evaluation.study.scene_figures import depth_maps
from dfd_ros.evaluation.study.study_report import TITLES
from dfd_ros.inference.backends import Backend
from dfd_ros.synthesis.procedural import StackBatch

_PANEL = 240  # px, width of a column


def write_curves(path: Path, curves: dict[str, Sequence[dict]]) -> None:
    """Plot validation loss over steps and over time in steps.

    Args:
        curves: figures of each validation (`step`, `hours`, `mse`), by title of the network.

    Raises:
        InputError: matplotlib is not installed.
    """
    with plot(path, figsize=(13, 5)) as figure:
        longest = max((points[-1]['hours'] for points in curves.values()), default=0)
        unit, scale = ('h', 1) if longest >= 1 else ('min', 60)
        for axes, key, label, factor in zip(
            figure.subplots(1, 2, sharey=True), ('step', 'hours'), ('step', f'time in steps ({unit})'), (1, scale)
        ):
            for i, (title, points) in enumerate(curves.items()):
                axes.plot(
                    [p[key] * factor for p in points],
                    [p['mse'] for p in points],
                    label=title,
                    color=_colour(i),
                    linestyle=('-', '--')[i // 10 % 2],
                    marker='.',
                    linewidth=1.2,
                )
            axes.set(xlabel=label, ylabel='validation loss: MSE of u', yscale='log')
            axes.grid(which='both')
        axes.legend(loc='center left', bbox_to_anchor=(1, 0.5), fontsize=8)


def write_bars(path: Path, rows: Sequence[dict]) -> None:
    """Plot MSE, RMS, Accuracy and AbsRel of all rows on each set, time and size. rows: as in results.json.

    Raises:
        InputError: matplotlib is not installed.
    """
    names = [name for name in TITLES if any('rms' in row['sets'].get(name, {}) for row in rows)]
    with plot(path, figsize=(18, 1.5 + 0.45 * len(rows)), layout='constrained') as figure:
        plots = figure.subplots(1, 6, sharey=True)
        places = np.arange(len(rows))[::-1]
        for axes, key, label in zip(
            plots, ('mse', 'rms', 'accuracy', 'abs_rel'), ('MSE', 'RMS', 'Accuracy (%)', 'AbsRel')
        ):
            for i, name in enumerate(names):
                axes.barh(
                    places + 0.4 - 0.8 * (i + 0.5) / len(names),
                    [row['sets'].get(name, {}).get(key, math.nan) for row in rows],
                    0.8 / len(names),
                    label=TITLES[name],
                    color=_colour(i),
                )
            axes.set_xlabel(label)
        for axes, key, label, factor in zip(
            plots[4:], ('ms', 'parameters'), ('ms per depth map', 'parameters (million)'), (1, 1e-6)
        ):
            axes.barh(places, [row[key] * factor for row in rows], 0.7, color='C7')
            axes.set_xlabel(label)
        plots[0].set_yticks(places, [row['title'] for row in rows])
        for axes in plots:
            axes.grid(visible=False, axis='y')
        for axes in (plots[0], plots[4]):
            axes.set_xscale('log')
            axes.tick_params(axis='x', which='minor', labelbottom=False)
        figure.legend(*plots[0].get_legend_handles_labels(), loc='outside upper center', fontsize=9, ncols=len(names))


def _colour(i: int) -> str:
    return f'C{i % 10}'


def write_grid(path: Path, networks: Mapping[str, Backend], scenes: Sequence[tuple[str, StackBatch]]) -> None:
    """Draw a column for each scene: first and last frame, true vergence, and each network's estimate after the last.

    Pixels that do not count (the wall, on which no network is trained) are dark grey if the ground truth is known.

    Args:
        networks: by title; scenes: with titles.
    """
    counted = [scene.foreground[0, -1, 0].numpy() for _, scene in scenes]
    keeps = [pixels | (not pixels.any()) for pixels in counted]  # all pixels without ground truth

    def row(title: str, maps: Sequence[np.ndarray]) -> list[Panel]:
        return [
            Panel(colour(np.where(keep, u, np.nan)), title if i == 0 else '')
            for i, (keep, u) in enumerate(zip(keeps, maps))
        ]

    rows = [
        [Panel(scene.images[0, 0].permute(1, 2, 0).numpy(), name) for name, scene in scenes],
        [Panel(scene.images[0, -1].permute(1, 2, 0).numpy()) for _, scene in scenes],
        row('truth', [scene.vergence[0, -1, 0].numpy() for _, scene in scenes]),
    ]
    for title, backend in networks.items():
        rows.append(row(title, [depth_maps(backend, scene)[-1].numpy() for _, scene in scenes]))
    write_picture(
        path,
        sheet(
            rows,
            f'depth from {scenes[0][1].images.shape[1]} frames',
            'focused far, near; vergence: blue far, red near; dark grey: none, or not counted',
            _PANEL * len(scenes),
        ),
    )


def write_stack(path: Path, networks: Mapping[str, Backend], scene: StackBatch) -> None:
    """Draw the frames of a stack, and below them each network's estimate after the last."""
    frames = [
        Panel(image.permute(1, 2, 0).numpy(), with_unit(scene.ranges()[0].denormalise(v.item())))
        for image, v in zip(scene.images[0], scene.focus[0])
    ]
    maps = [Panel(colour(depth_maps(backend, scene)[-1].numpy()), title) for title, backend in networks.items()]
    maps += [Panel(np.full_like(frames[0].picture, BACKGROUND))] * (-len(maps) % len(frames))
    write_picture(path, sheet([frames] + [maps[i : i + len(frames)] for i in range(0, len(maps), len(frames))]))
