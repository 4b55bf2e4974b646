"""Blender's blur against the thin lens: a light at ten distances and focus settings of each preset.

    python benchmarks/blender_lens.py --blender-python PATH

Agreement: within 5 % or half a pixel.
"""

from __future__ import annotations

import argparse
import os
import sys
from dataclasses import asdict
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

from _common import exit_with  # noqa: E402

from dfd_ros.core.optics import Lens  # noqa: E402
from dfd_ros.synthesis.blender.blender_process import query  # noqa: E402
from dfd_ros.synthesis.blender.render_settings import PRESETS, RenderSettings  # noqa: E402


def cases(preset: str, breathing: bool) -> list[dict]:
    """Five focus settings, and an object nearer and one farther than each."""
    settings = RenderSettings(preset=preset)
    found = []
    for focus in settings.focus_distances():
        v = settings.range.normalise(focus)
        for u in ((v + 0.3) % 1.0, (v + 0.75) % 1.0):
            found.append(
                {
                    **asdict(settings.lens),
                    'distance': min(settings.range.denormalise(u), 6.0),
                    'focus_distance': focus,
                    'breathing': breathing,
                }
            )
    return found


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('--blender-python', default=os.environ.get('DFD_BLENDER_PYTHON', sys.executable))
    parser.add_argument('--presets', nargs='+', choices=tuple(PRESETS), default=tuple(PRESETS))
    args = parser.parse_args()
    worst = True
    print('preset           breathing   focus m   light m   thin lens px   Blender px   difference')
    for preset in args.presets:
        for breathing in (False, True):
            table = cases(preset, breathing)
            for case, found in zip(table, query('lens_check', table, args.blender_python)):
                lens = Lens(case['focal_length'], case['f_number'], case['pixel_pitch'])
                expected = lens.coc_px(case['distance'], case['focus_distance'])
                agrees = abs(found - expected) <= max(0.5, 0.05 * expected)
                worst &= agrees
                print(
                    f'{preset:16} {"yes" if breathing else "no":9} {case["focus_distance"]:9.3f} '
                    f'{case["distance"]:9.3f} {expected:14.2f} {found:12.2f} {found - expected:+9.2f} px'
                    f'{"" if agrees else "  no"}'
                )
    print('all agree within 5 % or 0.5 px' if worst else 'NOT all agree within 5 % or 0.5 px')
    return 0 if worst else 1


if __name__ == '__main__':
    exit_with(main)
