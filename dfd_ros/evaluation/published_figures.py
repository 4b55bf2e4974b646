"""Published figures of other methods on public test sets, with their sources.

They are from the authors' repositories, or from a listing that names the paper. A missing figure means only that we did
not find it. Units are those of `public_measures`.
"""

from __future__ import annotations

from dataclasses import dataclass

from dfd_ros.core.markdown_table import table
from dfd_ros.evaluation.public_measures import NAMES
from dfd_ros.evaluation.public_sets import PUBLIC_SETS, printed


@dataclass(frozen=True)
class Published:
    """Attributes:
    data: name of the public set.
    method: name of the method.
    figures: by name of the measure.
    source: of the figures. note: differences to our measurement.
    """

    data: str
    method: str
    figures: dict[str, float]
    source: str
    note: str = ''


_FOSSA = 'README of github.com/princeton-vl/FOSSA (arXiv 2603.26658)'
_DFV = 'listing of the paper (CVPR 2022) at www.wizwand.com/paper/68fa6c111e209131cea31e49'
_FIVE = 'five slices'


def _published(data: str, method: str, figures: str, source: str, note: str = '') -> Published:
    """figures: measures and values, as in "mse 0.0003, rms 0.0148"."""
    pairs = (figure.split() for figure in figures.split(', '))
    return Published(data, method, {measure: float(value) for measure, value in pairs}, source, note)


PUBLISHED = (
    _published(
        'ddff12',
        'FOSSA ViT-B, fine-tuned',
        'mse 0.0003, rms 0.0148, abs_rel 0.1088, sq_rel 0.0025, d1.25 93.22, d1.25^2 98.66, d1.25^3 99.39',
        _FOSSA,
        _FIVE,
    ),
    _published(
        'ddff12',
        'FOSSA ViT-B, zero-shot',
        'mse 0.0013, rms 0.0324, abs_rel 0.2105, sq_rel 0.0107, d1.25 60.75, d1.25^2 92.06, d1.25^3 96.79',
        _FOSSA,
        _FIVE,
    ),
    _published(
        'ddff12',
        'FOSSA ViT-S, zero-shot',
        'mse 0.0015, rms 0.0352, abs_rel 0.2676, sq_rel 0.0119, d1.25 34.62, d1.25^2 81.19, d1.25^3 95.44',
        _FOSSA,
        _FIVE,
    ),
    _published(
        'ddff12',
        'HybridDepth',
        'mse 5.08e-4, rms .02, log_rms 0.2032, abs_rel 0.1699, sq_rel 0.006, d1.25 78.74, d1.25^2 94.78, d1.25^3 98.06',
        'mean of results/csv/metrics.csv in github.com/cake-lab/HybridDepth (WACV 2025)',
        _FIVE,
    ),
    _published('ddff12', 'DFV', 'mse 5.7e-4', _DFV, _FIVE),
    _published(
        'ddff12',
        'AiFDepthNet',
        'mse 8.6e-4, log_rms 0.29, abs_rel 0.25, sq_rel 0.01, bumpiness 0.63, d1.25 68.33, d1.25^2 87.4, d1.25^3 93.96',
        'table 4 in github.com/albert100121/AiFDepthNet (ICCV 2021)',
        "the benchmark's test stacks, whose truth is not public",
    ),
    _published('fod500', 'DFV', 'mse 0.0188', _DFV),
    _published(
        'fod500',
        'AiFDepthNet',
        'mae 0.0549, mse 0.0127, rms 0.1043',
        'table 5 in github.com/albert100121/AiFDepthNet (ICCV 2021)',
        'truth not cut at 1.5 m',
    ),
    _published('zedd', 'FOSSA ViT-B', 'd1.05 43.17, d1.15 81.01, d1.25 91.94, abs_rel 0.0957', _FOSSA),
    _published('zedd', 'FOSSA ViT-S', 'd1.05 44.5, d1.15 78.66, d1.25 88.58, abs_rel 0.0985', _FOSSA),
)


def comparison(data: str, figures: dict[str, float], name: str) -> str:
    """A Markdown table of our figures and the published ones for a set, with sources."""
    measures = PUBLIC_SETS[data].measures
    others = [one for one in PUBLISHED if one.data == data]
    rows = [[name, *(printed(m, figures[m]) for m in measures)]]
    rows += [[one.method, *(printed(m, one.figures.get(m)) for m in measures)] for one in others]
    sources = [f'{one.method}: {one.source}' + (f'; {one.note}' if one.note else '') for one in others]
    return '\n'.join(
        [
            table(['method', *(NAMES[m] for m in measures)], rows),
            '',
            *(sources or ['published figures: none that could be looked up']),
        ]
    )
