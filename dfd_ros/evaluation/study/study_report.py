"""Tables of the study."""

from __future__ import annotations

from dfd_ros.core.markdown_table import table

TITLES = {
    'small': 'small objects',
    'large': 'small and large objects',
    'moving': 'moving scenes',
    'seen': 'small and large objects, textures and shapes of the training',
    'blender': 'Blender',
    'real': 'real stack',
}
_NONE = '–'


def report(results: dict) -> str:
    """The report as Markdown: method and tables.

    Args:
        results: content of results.json: `settings`, `machine`, `timed_in_bf16`, and `rows` with `name`, `title`,
            `network`, `parameters`, `ms`, `sets` (figures by set) and, for trained rows, `steps`, `hours`, `device`.
    """
    settings, rows = results['settings'], results['rows']
    sets = [name for name in TITLES if any('rms' in row['sets'].get(name, {}) for row in rows)]
    trained = [row for row in rows if 'steps' in row]
    parts = [
        '# Networks for depth from focus, compared',
        _training(settings) if trained else 'Nothing was trained for this table.',
        _measuring(settings, results['machine'], results.get('timed_in_bf16')),
    ]
    static = [name for name in sets if name in ('small', 'large')]
    parts += ['## Accuracy and cost', _accuracy(rows, static, cost=True)]
    others = [name for name in sets if name not in static]
    if others:
        parts += ['## Other scenes', _accuracy(rows, others)]
    if trained:
        parts += [
            '## Training',
            table(
                ['network', 'steps', 'time in steps', 'on'],
                [[row['title'], f'{row["steps"]:,}', _duration(row['hours']), row['device']] for row in trained],
            ),
        ]
    notes = [
        f'* {row["title"]}, {TITLES[name]}: figures of the {figures["known"]:.1%} of the pixels that have a depth'
        for row in rows
        for name, figures in row['sets'].items()
        if figures.get('known', 1) < 0.9995
    ]
    notes += [
        f'* {row["title"]}: its weights were trained before, on other scenes, beyond the budget, so no other row can '
        'be compared with it'
        for row in rows
        if row.get('trained_before')
    ]
    parts += ['## Notes', '\n'.join(notes)] if notes else []
    return '\n\n'.join(parts) + '\n'


def _training(settings: dict) -> str:
    data = ', '.join(settings['data']) or f'{settings["scenes"]} procedural scenes'
    unit = 'steps' if settings['budget'].isdigit() else 'spent in steps'
    return (
        f'Budget of each network: {settings["budget"]} {unit}, {settings["batch"]} crops of '
        f'{settings["crop"]}x{settings["crop"]} a step, out of {data}; the same scenes in the same order for all.'
    )


def _measuring(settings: dict, machine: str, bf16: bool | None) -> str:
    size = f'{settings["crop"]}x{settings["crop"]}'
    # Older studies did not record this.
    precision = {None: '', True: ', in bf16 (errors are those of fp32)', False: ', in fp32'}[bf16]
    frames = settings.get('frames', 4)  # older studies could not choose it
    return (
        f'Stacks of {frames} frames of {size} with rising focus; the wall is masked out. Test sets of '
        f'{settings["tests"]} scenes, with textures and shapes that training never saw. '
        'MSE and RMS are of depth divided by the largest depth of the set; Accuracy is the share of pixels with '
        f'max(d/d*, d*/d) < 1.25. Figures and times measured on: {machine}; ms are of one depth map of {size}'
        f'{precision}: of all {frames} frames for a network that reads stacks, of one for a network that gives a '
        'depth map with every frame.'
    )


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
            line += _cells_of(figures) if 'rms' in figures else [_NONE] * 4
        if cost:
            figures = row['sets'].get('large', {})
            line += [
                f'{row["parameters"] / 1e6:.2f} M' if row['parameters'] else '0',
                f'{row["ms"]:.1f}' if row.get('ms') is not None else _NONE,
                str(figures.get('first_map', _NONE)),
                f'{figures["first_rms"]:.4f}' if 'first_rms' in figures else _NONE,
            ]
        cells.append(line)
    return table(header, cells)


def _cells_of(figures: dict) -> list[str]:
    """MSE, RMS, Accuracy and AbsRel of a set, as table cells."""
    return [
        f'{figures["mse"]:.2e}',
        f'{figures["rms"]:.4f}',
        f'{figures["accuracy"]:.2f} %',
        f'{figures["abs_rel"]:.4f}',
    ]


def _duration(hours: float) -> str:
    """A duration as text, in a suitable unit."""
    if hours < 1 / 60:
        return f'{3600 * hours:.1f} s'
    return f'{60 * hours:.1f} min' if hours < 1 else f'{hours:.2f} h'
