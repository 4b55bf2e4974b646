"""The live page in a real browser: what a viewer sees and does."""

import math
import threading
import time
from dataclasses import replace

import numpy as np
import pytest

pytest.importorskip('viser', reason='viser is not installed: pip install viser')
import chromium
from chromium import PICTURES, RIGHT

from dfd_ros.core.errors import InputError
from dfd_ros.core.optics import VergenceRange
from dfd_ros.core.sweeps import PATTERNS
from dfd_ros.viewing import page_server
from dfd_ros.viewing.controls import Settings
from dfd_ros.viewing.live_page import LivePage, Status
from dfd_ros.viewing.viewed_frame import Pinhole, ViewedFrame

pytestmark = [
    pytest.mark.slow(reason='a browser draws without a GPU'),
    pytest.mark.skipif(chromium.browser() is None, reason='no Chromium on this machine'),
]

RANGE = VergenceRange(0.25, 2.0)
CAMERA = Pinhole(300.0, 300.0, 159.5, 119.5)
NEAR, FAR = 0.5, 1.0  # m, of the left and of the right half
RED, BLUE = (220, 30, 30), (30, 30, 220)
NUMBER_OF_PICTURES = 5
PIXEL = """(image) => {{
  const canvas = document.createElement('canvas');
  canvas.width = image.naturalWidth; canvas.height = image.naturalHeight;
  const context = canvas.getContext('2d');
  context.drawImage(image, 0, 0);
  return [...context.getImageData({x} * canvas.width, {y} * canvas.height, 1, 1).data].slice(0, 3);
}}"""


class FakeControls:
    """Obeys, but for a range nearer than 0.3 m."""

    def __init__(self):
        self.settings = Settings(0.3, RANGE, 'ramp', 5, True, 1.0)
        self.limits, self.can_focus, self.is_metric, self.patterns = RANGE, True, True, PATTERNS
        self.changes = []

    def change(self, **changes):
        self.changes.append(changes)
        if 'range' in changes and changes['range'].far < 2:
            raise InputError('parameter far: not here')
        self.settings = replace(self.settings, **changes)


class Show:
    """A page that is fed from a thread of its own, as a playback or a node does it."""

    def __init__(self):
        self.controls = FakeControls()
        self.server = page_server.open_server('127.0.0.1', 0)
        self.page = LivePage(self.server, self.controls, 'a test')
        self.url = page_server.address(self.server, '127.0.0.1')
        self.shown = 0
        self.frame = frame()
        self._ends = threading.Event()
        self._thread = threading.Thread(target=self._feed, daemon=True)
        self._thread.start()

    def _feed(self):
        while not self._ends.wait(0.4):
            if self.page.viewers:
                self.shown += 1
                self.page.show(self.frame)
                self.page.report([Status(1, 'depth', 'a warning <b>in bold</b>')])

    def close(self):
        self._ends.set()
        self._thread.join(30)
        self.page.close()


def frame(**changes):
    image = np.zeros((240, 320, 3), np.uint8)
    image[:, :160], image[:, 160:] = RED, BLUE
    depth = np.full((240, 320), NEAR, np.float32)
    depth[:, 160:] = FAR
    values = {
        'image': image,
        'camera': CAMERA,
        'focus_distance': 0.5,
        'range': RANGE,
        'depth': depth,
        'coc': np.full((240, 320), 3.0, np.float32),
        'confidence': np.full((240, 320), 0.8, np.float32),
        'all_in_focus': image,
        'threshold': 0.3,
    }
    return ViewedFrame(**values | changes)


@pytest.fixture(scope='module')
def browser(tmp_path_factory):
    with chromium.chromium(tmp_path_factory.mktemp('profile')) as running:
        yield running


@pytest.fixture(scope='module')
def show():
    running = Show()
    yield running
    running.close()


@pytest.fixture(scope='module')
def tab(browser, show):
    tab = browser.new_tab()
    tab.open(show.url)
    tab.wait_for(f'{PICTURES}.length >= {NUMBER_OF_PICTURES}', 120)
    yield tab
    problems = [e['params']['exceptionDetails'] for e in tab.events if e.get('method') == 'Runtime.exceptionThrown']
    assert not problems
    tab.close()


def colour(tab, index, x=0.25, y=0.5):
    return tab.run(chromium.of_picture(index, PIXEL.format(x=x, y=y)))


def wait_until(condition, what, timeout=60.0):
    end = time.monotonic() + timeout
    while time.monotonic() < end:
        if condition():
            return
        time.sleep(0.1)
    raise AssertionError(f'not within {timeout:g} s: {what}')


def text_of(tab):
    return tab.run('document.body.innerText')


def test_pictures_show_the_frame_and_change_with_it(tab, show):
    np.testing.assert_allclose(colour(tab, 0), RED, atol=12)
    np.testing.assert_allclose(colour(tab, 0, x=0.75), BLUE, atol=12)
    near, far = colour(tab, 3), colour(tab, 3, x=0.75)
    assert near[0] + near[1] > far[0] + far[1] or near != far, 'depth has colours'
    show.frame = frame(image=np.full((240, 320, 3), (20, 200, 20), np.uint8))
    wait_until(lambda: np.allclose(colour(tab, 0), (20, 200, 20), atol=12), 'another image')
    show.frame = frame()
    wait_until(lambda: np.allclose(colour(tab, 0), RED, atol=12), 'the first image again')


def test_the_page_says_what_it_shows(tab):
    tab.wait_for("document.body.innerText.includes('a warning <b>in bold</b>')")
    said = text_of(tab)
    for part in ('a test', '320x240', '0.250 m to 2.00 m', 'focus at 0.500 m', '100 % known', 'circle of confusion'):
        assert part in said, part


def rendered_column(client, wanted, z):
    """The column (px) where points of a colour are seen from the side, and that where points at z belong."""
    height, width, fov = 240, 320, math.radians(60)
    # To the side of the points at x = 0: right in this view is forward of the camera.
    position, wxyz = (2.0, 0.0, 0.75), (math.sqrt(0.5), 0.0, -math.sqrt(0.5), 0.0)
    picture = client.get_render(height, width, wxyz=wxyz, position=position, fov=fov)[..., :3].astype(int)
    others = [c for c in range(3) if c != wanted]
    seen = (picture[..., wanted] > 120) & (picture[..., others].max(-1) < 90)
    assert seen.sum() > 20, 'no such points are seen'
    focal_length = height / 2 / math.tan(fov / 2)
    return np.nonzero(seen)[1].mean(), width / 2 + focal_length * (z - position[2]) / position[0]


def test_points_of_the_cloud_stand_at_the_right_distance(tab, show):
    depth = np.full((240, 320), np.nan, np.float32)
    depth[:120, 156:164], depth[120:, 156:164] = NEAR, FAR
    image = np.zeros((240, 320, 3), np.uint8)
    image[:120], image[120:] = RED, BLUE
    show.frame = frame(depth=depth, image=255 - image, all_in_focus=image, focus_distance=math.nan)
    count = show.shown
    wait_until(lambda: show.shown > count + 2, 'more frames')
    (client,) = show.server.get_clients().values()
    for wanted, z in ((0, NEAR), (2, FAR)):
        found, expected = rendered_column(client, wanted, z)
        assert abs(found - expected) < 2, f'the points at {z} m are seen at column {found:.1f}, not {expected:.1f}'
    show.frame = frame()


def click_in_picture(tab, index, x, y):
    box = tab.run(
        f'(() => {{ const b = {PICTURES}[{index}].getBoundingClientRect();'
        ' return [b.left, b.top, b.width, b.height] })()'
    )
    tab.click(box[0] + x * box[2], box[1] + y * box[3])


def test_a_click_in_a_picture_tells_the_distance(tab, show):
    for x, distance in ((0.25, '0.500 m'), (0.75, '1.00 m')):
        click_in_picture(tab, 0, x, 0.5)
        wait_until(lambda x=x: show.page._point.chosen == pytest.approx((320 * x, 120), abs=2), 'the pixel')
        tab.wait_for(f"document.body.innerText.includes('{distance}\\nconfidence 0.80')")
    show.frame = frame(threshold=0.9)
    tab.wait_for("document.body.innerText.includes('not confident')")
    show.frame = frame(depth=np.full((240, 320), np.nan, np.float32))
    tab.wait_for("document.body.innerText.includes('distance unknown')")
    show.frame = frame()


def test_a_click_on_a_point_of_the_cloud(tab, show):
    (client,) = show.server.get_clients().values()
    count = show.shown
    wait_until(lambda: show.shown > count + 2, 'points of both halves')
    client.camera.position, client.camera.look_at = np.array([0.0, 0.0, -0.3]), np.array([0.0, 0.0, 1.0])
    time.sleep(1.0)
    canvas = tab.run(
        "(() => { const b = [...document.querySelectorAll('canvas')].map((c) => c.getBoundingClientRect())"
        '.sort((a, b) => b.width * b.height - a.width * a.height)[0]; return [b.left, b.top, b.width, b.height] })()'
    )
    focal_length = canvas[3] / 2 / math.tan(client.camera.fov / 2)
    for x, z in ((-0.06, NEAR), (0.06, FAR)):
        tab.click(canvas[0] + canvas[2] / 2 + focal_length * x / (z + 0.3), canvas[1] + canvas[3] / 2)
        expected = CAMERA.cx + CAMERA.fx * x / z
        wait_until(
            lambda expected=expected: show.page._point.chosen == pytest.approx((expected, CAMERA.cy), abs=6),
            f'pixel {expected:.0f}',
        )


def test_sliders_reach_whoever_obeys_them(tab, show):
    controls = show.controls
    for label, changed in (
        ('confidence', lambda s: s.confidence == pytest.approx(0.31)),
        ('steps', lambda s: s.steps == 6),
        ('focus (1/m)', lambda s: not s.sweeping and s.focus < 1.0),
    ):
        tab.step_slider(label, RIGHT)
        wait_until(lambda changed=changed: changed(controls.settings), f'{label}: {controls.changes}')


def drag_end_of_range(tab, index, by):
    box = tab.run(
        f"(() => {{ const b = document.querySelectorAll('.multi-slider-thumb')[{index}].getBoundingClientRect();"
        ' return [b.left + b.width / 2, b.top + b.height / 2] })()'
    )
    tab.drag((box[0], box[1]), (box[0] + by, box[1]))


def test_a_range_that_is_taken_and_one_that_is_refused(tab, show):
    drag_end_of_range(tab, 1, -60)
    wait_until(lambda: show.controls.settings.range.near > 0.28, 'the near end')
    assert show.controls.settings.range.far == RANGE.far
    drag_end_of_range(tab, 0, 60)
    tab.wait_for("document.body.innerText.includes('parameter far: not here')")
    assert show.controls.settings.range.far == RANGE.far
    tab.wait_for("document.querySelectorAll('.multi-slider-thumb')[0].style.left === '0%'")


def test_what_others_change_is_shown(tab, show):
    show.controls.settings = replace(show.controls.settings, confidence=0.77, sweeping=True)
    tab.wait_for("[...document.querySelectorAll('input')].some((i) => i.value === '0.77')")
    count = len(show.controls.changes)
    time.sleep(0.5)
    assert len(show.controls.changes) == count, 'it is no change of the viewer'


def test_two_viewers_and_one_that_leaves_and_returns(browser, tab, show):
    for _ in range(2):
        second = browser.new_tab()
        second.open(show.url)
        second.wait_for(f'{PICTURES}.length >= {NUMBER_OF_PICTURES}', 120)
        assert show.page.viewers == 2
        np.testing.assert_allclose(colour(second, 0), RED, atol=12)
        assert 'a test' in text_of(tab)
        second.call('Page.close')
        second.close()
        wait_until(lambda: show.page.viewers == 1, 'one has left')


def test_nothing_is_shown_while_nobody_looks(browser, tab, show):
    """The last of the file: it leaves the page for a while."""
    tab.call('Page.navigate', url='about:blank')
    wait_until(lambda: not show.page.viewers, 'the last has left')
    count = show.shown
    time.sleep(2)
    assert show.shown == count
    tab.call('Page.navigate', url=show.url)
    tab.wait_for(f'{PICTURES}.length >= {NUMBER_OF_PICTURES}', 120)
    wait_until(lambda: show.shown > count, 'a frame')
