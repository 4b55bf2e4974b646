"""How far the confidence can be believed, as a plot: reliability diagram and sparsification. Needs matplotlib."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from dfd_ros.core.laplace import CONFIDENT_ERROR
from dfd_ros.drawing.plots import plot
from dfd_ros.evaluation.frame_figures import FrameFigures


def write_confidence_plot(path: Path, figures: FrameFigures, title: str) -> None:
    """Write the reliability diagram and the sparsification curves of these figures as a picture."""
    with plot(path, title=title, figsize=(11, 4.6), layout='constrained') as figure:
        reliability, sparsification = figure.subplots(1, 2)

        reliability.plot([0, 1], [0, 1], ':', color='grey', label='as stated')
        reliability.plot(figures.stated, figures.right, 'o-', label='measured')
        reliability.set(
            xlabel='confidence',
            ylabel=f'share of pixels whose u is off by less than {CONFIDENT_ERROR:g}',
            xlim=(0, 1),
            ylim=(0, 1),
            title=f'expected calibration error {figures.calibration_error:.3f}',
        )
        reliability.legend(loc='upper left')

        for curve, style, label in (
            (figures.sparsified_by_confidence, '-', 'least confident first'),
            (figures.sparsified_by_error, ':', 'largest error first'),
        ):
            sparsification.plot(np.arange(len(curve)) / len(curve), curve, style, label=label)
        sparsification.set(
            xlabel='share of pixels removed',
            ylabel='mean error of u of the others, of all = 1',
            xlim=(0, 1),
            ylim=(0, None),
            title=f'AUSE {figures.ause:.3f}',
        )
        sparsification.legend(loc='lower left')
