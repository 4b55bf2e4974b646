"""The live page without a browser: what it sends, and that it does not grow."""

import math
from dataclasses import replace

import numpy as np
import pytest

pytest.importorskip('viser', reason='viser is not installed: pip install viser')
import viser
from websockets.sync.client import connect

from dfd_ros.core.machine import resident_memory
from dfd_ros.core.optics import VergenceRange
from dfd_ros.core.sweeps import PATTERNS
from dfd_ros.drawing.visualise import with_unit
from dfd_ros.viewing import page_pictures, page_server
from dfd_ros.viewing.controls import Settings
from dfd_ros.viewing.live_page import LivePage, Status
from dfd_ros.viewing.page_point import reading
from dfd_ros.viewing.viewed_frame import Pinhole, ViewedFrame

RANGE = VergenceRange(0.25, 2.0)
SIZE = 240, 320


class NoControls:
    settings, limits, can_focus = Settings(0.3, RANGE, 'ramp', 5, True, 1.0), RANGE, True
    is_metric, patterns = True, PATTERNS

    def change(self, **changes):
        raise AssertionError('nobody has touched a slider')


def frame(i=0, **changes):
    draw = np.random.default_rng(i)
    values = {
        'image': draw.integers(0, 256, (*SIZE, 3), dtype=np.uint8),
        'camera': Pinhole(300.0, 300.0, 159.5, 119.5),
        'focus_distance': (2.0, 1.0, 0.5, 0.25)[i % 4],
        'range': RANGE,
        'depth': draw.uniform(0.3, 1.5, SIZE).astype(np.float32),
        'coc': draw.uniform(0, 9, SIZE).astype(np.float32),
        'confidence': draw.uniform(0, 1, SIZE).astype(np.float32),
        'threshold': 0.3,
        'age': 0.1,
    }
    return ViewedFrame(**values | changes)


@pytest.fixture
def page():
    server = page_server.open_server('127.0.0.1', 0)
    made = LivePage(server, NoControls(), 'a test')
    yield made
    made.close()


def seen(page, monkeypatch):
    """As if somebody looked."""
    monkeypatch.setattr(LivePage, 'viewers', property(lambda self: 1))
    return page


def test_nothing_is_drawn_while_nobody_looks(page, monkeypatch):
    monkeypatch.setattr(page._pictures, 'show', lambda *args: pytest.fail('a picture was drawn'))
    for i in range(3):
        page.show(frame(i))
    page.show_again()
    assert page.viewers == 0 and not page.wait(0.01)


@pytest.mark.parametrize(
    'changes',
    [
        {'depth': None, 'coc': None, 'confidence': None, 'range': None},
        {'depth': np.full(SIZE, np.nan, np.float32)},
        {'depth': np.full(SIZE, np.inf, np.float32), 'range': VergenceRange(0.25, math.inf)},
        {'coc': np.full(SIZE, np.nan, np.float32), 'confidence': np.zeros(SIZE, np.float32)},
        {'focus_distance': math.nan},
        {'focus_distance': math.inf, 'camera': Pinhole.assumed(*SIZE)},
        {'range': VergenceRange(1.0, math.inf), 'depth': np.full(SIZE, np.inf, np.float32), 'is_metric': False},
        {'note': '<script>alert(1)</script>', 'all_in_focus': np.zeros((*SIZE, 3), np.uint8)},
    ],
)
def test_odd_frames_are_shown(page, monkeypatch, changes):
    seen(page, monkeypatch)
    page.show(frame())
    page._point.choose((10, 20))
    page.show(frame(1, **changes))
    page.show(frame(2))
    assert '<script>' not in page._summary.content


def test_a_relative_scene_is_a_relief_without_metres(page, monkeypatch):
    seen(page, monkeypatch)
    page.show(frame())
    assert '0.250 m to 2.00 m' in page._summary.content
    page._point.choose((10, 20))
    depth = np.full(SIZE, 2.0, np.float32)  # the middle between the farthest focus, infinity, and the nearest, 1 m
    depth[0] = np.inf
    whole, confidence = VergenceRange(1.0, math.inf), np.ones(SIZE, np.float32)
    page.show(frame(depth=depth, confidence=confidence, range=whole, focus_distance=2.0, is_metric=False))
    words = page._summary.content + page._point._reading.content + page._pictures._slots['image'].text
    for part in ('1.00 to 0.00', 'focus distances are unknown', '0.50 (0 far, 1 near)', 'focus at 0.50'):
        assert part in words, part
    assert ' m<' not in words and ' m ' not in words
    assert page._sweep._plot.axes[1]['label'] == 'focus (0 far, 1 near)'
    assert {round(float(z), 3) for z in page._scene.points[:, 2]} <= {1.333, 2.0}
    assert page._scene._mark.text == '0.50' and page._scene._mark.position[2] == pytest.approx(4 / 3)


def test_another_image_size_is_shown(page, monkeypatch):
    seen(page, monkeypatch)
    page.show(frame())
    page._point.choose((319, 239))
    small = {name: getattr(frame(), name)[:24, :32] for name in ('image', 'depth', 'coc', 'confidence')}
    page.show(frame(1, **small))
    assert page._point.chosen == (319, 239) and 'Click in' in page._point._reading.content


def test_texts_of_others_are_no_html(page):
    page.report([Status(2, '<b>name</b>', 'a & b <img src=x>')])
    assert '&lt;b&gt;name&lt;/b&gt;' in page._diagnostics.content and '<img' not in page._diagnostics.content


@pytest.mark.slow(reason='hundreds of frames')
def test_memory_stays_the_same_with_a_viewer_who_stands_still(page, monkeypatch):
    """It has connected, but does not read what comes."""
    seen(page, monkeypatch)
    port = page._server.get_port()
    with connect(f'ws://127.0.0.1:{port}', subprotocols=[f'viser-v{viser.__version__}'], max_size=None, max_queue=1):
        frames = [frame(i) for i in range(8)]
        for i in range(60):
            page.show(frames[i % 8])
        before = resident_memory()
        for i in range(400):
            page.show(replace(frames[i % 8], focus_distance=0.25 + 0.004 * i))
        assert resident_memory() < before + 30, 'a frame has 100 kB on the wire'


def test_pictures_keep_the_values_of_pixels():
    map_ = np.where(np.arange(1280) % 2, 1.0, 3.0).astype(np.float32)[None].repeat(960, 0)
    small = page_pictures.sized(map_)
    assert small.shape == (320, 426) and set(np.unique(small)) <= {1.0, 3.0}
    assert page_pictures.sized(map_[:60, :80]).shape == (240, 320)


def test_the_scale_of_blur_grows_at_once_and_shrinks_slowly():
    colours = page_pictures.Colours()
    scales = []
    for coc in (3.0, 30.0, *[3.0] * 200):
        colours.picture('coc', frame(coc=np.full(SIZE, coc, np.float32)))
        scales.append(colours.largest_coc)
    assert scales[0] == 5 and scales[1] == scales[5] == 50 and scales[-1] == 5


@pytest.mark.parametrize(
    'values, says',
    [
        ((0.5, 0.8, 2.0, True, 0.3), ('0.500 m', 'confidence 0.80', 'blur 2.0 px')),
        ((0.5, 0.2, 2.0, False, 0.3), ('0.500 m, not confident', 'below the threshold 0.30')),
        ((math.nan, 0.0, math.nan, False, 0.3), ('distance unknown', 'confidence 0.00')),
        ((math.inf, 0.9, 1.0, True, 0.3), ('infinity',)),
    ],
)
def test_a_reading_in_words(values, says):
    text = reading(values[0], with_unit(values[0]), *values[1:])
    assert all(part in text for part in says) and 'nan' not in text
