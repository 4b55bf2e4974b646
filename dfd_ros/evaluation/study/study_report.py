"""The study in words and figures: tables, and what becomes of its findings."""

from __future__ import annotations

from collections.abc import Sequence

from dfd_ros.core.markdown_table import table

TITLES = {'small': 'small objects', 'large': 'small and large objects', 'moving': 'moving scenes',
          'seen': 'small and large objects, textures and shapes of the training', 'blender': 'Blender',
          'real': 'real stack'}
_NONE = '–'
# LSTM-DDFF on the study's own Blender test set.
_STUDYS_BEST = {'mse': 1.1e-3, 'rms': 0.033, 'accuracy': 94.98}


def report(results: dict) -> str:
    """Markdown: how it was made, the tables, and what becomes of the study's three findings.

    Args:
        results: as `dfd study` writes them in results.json: `settings`, `machine`, `timed_in_bf16`, and `rows` with
            `name`, `title`, `network`, `parameters`, `ms`, `sets` (figures by set) and, where it was trained, `steps`,
            `hours`, `device`.
    """
    settings, rows = results['settings'], results['rows']
    sets = [name for name in TITLES if any('rms' in row['sets'].get(name, {}) for row in rows)]
    trained = [row for row in rows if 'steps' in row]
    parts = ['# Networks for depth from focus, compared',
             _training(settings) if trained else 'Nothing was trained for this table.',
             _measuring(settings, results['machine'], results.get('timed_in_bf16'))]
    static = [name for name in sets if name in ('small', 'large')]
    parts += ['## Accuracy and cost', _accuracy(rows, static, cost=True)]
    others = [name for name in sets if name not in static]
    if others:
        parts += ['## Other scenes', _accuracy(rows, others)]
    if trained:
        parts += ['## Training', table(
            ['network', 'steps', 'time in steps', 'on'],
            [[row['title'], f'{row["steps"]:,}', duration(row['hours']), row['device']] for row in trained])]
    notes = [f'* {row["title"]}, {TITLES[name]}: figures of the {figures["known"]:.1%} of the pixels that have a depth'
             for row in rows for name, figures in row['sets'].items() if figures.get('known', 1) < 0.9995]
    notes += [f'* {row["title"]}: its weights were trained before, on other scenes; the budget is not all that they '
              'had, and no other row is to be measured by it' for row in rows if row.get('trained_before')]
    parts += ['## Notes', '\n'.join(notes)] if notes else []
    parts += ['## What the study found', '\n'.join(f'* {sentence}' for sentence in findings(rows))]
    parts += ['## And the streaming network', '\n'.join(f'* {sentence}' for sentence in (_ours(rows), _reached(rows)))]
    return '\n\n'.join(parts) + '\n'


def _training(settings: dict) -> str:
    data = ', '.join(settings['data']) or f'{settings["scenes"]} procedural scenes'
    unit = 'steps' if settings['budget'].isdigit() else 'spent in steps'
    return (f'Budget of each network: {settings["budget"]} {unit}, {settings["batch"]} crops of '
            f'{settings["crop"]}x{settings["crop"]} a step, out of {data}; the same scenes in the same order for all.')


def _measuring(settings: dict, machine: str, bf16: bool | None) -> str:
    size = f'{settings["crop"]}x{settings["crop"]}'
    # Studies of before this was kept do not know.
    precision = {None: '', True: ', in bf16 (errors are those of fp32)', False: ', in fp32'}[bf16]
    frames = settings.get('frames', 4)   # studies of before it could be chosen
    return (f'Stacks of {frames} frames of {size} with rising focus; the wall is masked out. Test sets of '
            f'{settings["tests"]} scenes, with textures and shapes that training never saw. '
            'MSE and RMS are of depth divided by the largest of the set; Accuracy is the share of pixels with '
            f'max(d/d*, d*/d) < 1.25. Figures and times measured on: {machine}; ms are of one depth map of {size}'
            f'{precision}: of all {frames} frames for a network that reads stacks, of one for a network that gives a '
            'depth map with every frame.')


def _accuracy(rows: list[dict], sets: list[str], cost: bool = False) -> str:
    header = ['network']
    for name in sets:
        header += [f'{TITLES[name]}: MSE', 'RMS', 'Accuracy', 'AbsRel']
    if cost:
        header += ['parameters', 'ms per depth map', 'frames before the first depth map', 'RMS of the first']
    cells = []
    for row in rows:
        line = [row['title']]
        for name in sets:
            figures = row['sets'].get(name, {})
            line += cells_of(figures) if 'rms' in figures else [_NONE] * 4
        if cost:
            figures = row['sets'].get('large', {})
            line += [f'{row["parameters"] / 1e6:.2f} M' if row['parameters'] else '0',
                     f'{row["ms"]:.1f}' if row.get('ms') is not None else _NONE,
                     str(figures.get('first_map', _NONE)),
                     f'{figures["first_rms"]:.4f}' if 'first_rms' in figures else _NONE]
        cells.append(line)
    return table(header, cells)


def cells_of(figures: dict) -> list[str]:
    """MSE, RMS, Accuracy and AbsRel of a set, as tables show them."""
    return [f'{figures["mse"]:.2e}', f'{figures["rms"]:.4f}', f'{figures["accuracy"]:.2f} %',
            f'{figures["abs_rel"]:.4f}']


def duration(hours: float) -> str:
    """In the unit that suits it."""
    if hours < 1 / 60:
        return f'{3600 * hours:.1f} s'
    return f'{60 * hours:.1f} min' if hours < 1 else f'{hours:.2f} h'


def findings(rows: list[dict]) -> list[str]:
    """The study's findings, each confirmed or contradicted by the figures; only the study's own networks compete."""
    rows = [row for row in rows if row['network'] in ('ddffnet', 'lstm_ddff', 'recurrent_autoencoder', 'poolnet')]
    return [_best(rows, 'lstm_ddff', 'LSTM-DDFF is best on synthetic data', ('small', 'large', 'blender')),
            _best(rows, 'recurrent_autoencoder', 'The recurrent autoencoder is best on moving and real scenes',
                  ('moving', 'real')),
            _generalises(rows)]


def _rms(row: dict, name: str) -> float | None:
    return row['sets'].get(name, {}).get('rms')


def _best(rows: list[dict], network: str, claim: str, sets: Sequence[str]) -> str:
    verdicts, told = [], []
    for name in sets:
        known = [(_rms(row, name), row) for row in rows if _rms(row, name) is not None]
        own = [pair for pair in known if pair[1]['network'] == network]
        others = [pair for pair in known if pair[1]['network'] != network]
        if own and others:
            (a, mine), (b, other) = (min(pairs, key=lambda pair: pair[0]) for pairs in (own, others))
            verdicts.append(a < b)
            told.append(f'{TITLES[name]}: RMS {a:.4f} ({mine["title"]}) against {b:.4f} ({other["title"]}), '
                        'the best of the others')
        elif name == 'real':
            told.append('real stack: no true depth to measure by, see grid.jpg')
    return _sentence(claim, verdicts, told)


def _generalises(rows: list[dict]) -> str:
    """How much the error grows from textures and shapes of the training to others, and from static scenes to moving
    ones: DDFFNet does not generalise if it does worst of all in that."""
    verdicts, told = [], []
    for name, base, what in (('large', 'seen', 'from seen to unseen textures and shapes'),
                             ('moving', 'large', 'from static to moving scenes')):
        growth = [(_rms(row, name) / _rms(row, base), row) for row in rows if _rms(row, name) and _rms(row, base)]
        own = [pair for pair in growth if pair[1]['network'] == 'ddffnet']
        others = [pair for pair in growth if pair[1]['network'] != 'ddffnet']
        if own and others:
            a, mine = min(own, key=lambda pair: pair[0])
            b, other = max(others, key=lambda pair: pair[0])
            verdicts.append(a > b)
            told.append(f'{what} its RMS grows {a:.2f} times ({mine["title"]}), that of the others at most '
                        f'{b:.2f} times ({other["title"]})')
    return _sentence('DDFFNet does not generalise', verdicts, told)


def _ours(rows: list[dict]) -> str:
    """Whether the streaming network has the least RMS of all that had the same budget."""
    return _best([row for row in rows if not row.get('trained_before')], 'stream',
                 'On the same data and budget the streaming network has the least RMS', ('small', 'large', 'moving'))


def _reached(rows: list[dict]) -> str:
    """The row that comes nearest to the study's best figures, by RMS: on Blender scenes, which theirs are of, or
    where there are none on procedural ones."""
    sets = ('blender',) if any(_rms(row, 'blender') is not None for row in rows) else ('small', 'large')
    known = [(_rms(row, name), name, row) for row in rows for name in sets if _rms(row, name) is not None]
    if not known:
        return _sentence('The study\'s best figures', [], [])
    rms, name, row = min(known, key=lambda entry: entry[0])
    figures = row['sets'][name]
    reached = (figures['mse'] <= _STUDYS_BEST['mse'] and rms <= _STUDYS_BEST['rms']
               and figures['accuracy'] >= _STUDYS_BEST['accuracy'])
    return (f'The study\'s best figures (MSE {_STUDYS_BEST["mse"]:.1e}, RMS {_STUDYS_BEST["rms"]}, Accuracy '
            f'{_STUDYS_BEST["accuracy"]} %, on its Blender scenes) are {"" if reached else "not "}reached: '
            f'{row["title"]} has {figures["mse"]:.1e}, {rms:.3f}, {figures["accuracy"]:.2f} % on {TITLES[name]}.')


def _sentence(claim: str, verdicts: list[bool], told: list[str]) -> str:
    if not verdicts:
        return f'{claim}: not tested, this table lacks the networks or the scenes for it.'
    verdict = 'confirmed' if all(verdicts) else 'contradicted' if not any(verdicts) else 'partly confirmed'
    return f'{claim}: {verdict}. ' + _upper('; '.join(told)) + '.'


def _upper(text: str) -> str:
    return text[:1].upper() + text[1:]
