"""Pictures say what the numbers say."""

import math

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from PIL import Image

from dfd_ros.core.focal_stack import FocalStack
from dfd_ros.core.lens_state import LensState
from dfd_ros.core.optics import VergenceRange
from dfd_ros.drawing import visualise
from dfd_ros.drawing.visualise import Bar, Panel

RANGE = VergenceRange(0.5, math.inf)


def test_near_is_red_far_is_blue_and_unknown_is_grey():
    depth = np.array([[0.5, math.inf, math.nan, 0.1]], np.float32)
    near, far, unknown, nearer = visualise.depth_picture(depth, RANGE)[0].astype(int)
    assert near[0] > near[2] + 80
    assert far[2] > far[0]
    assert tuple(unknown) == visualise.NO_VALUE
    np.testing.assert_array_equal(near, nearer)


def test_maps_of_one_kind_get_brighter():
    values = np.linspace(0, 1, 64)[None]
    for picture in (
        visualise.confidence_picture(values),
        visualise.coc_picture(values * 8, 8),
        visualise.error_picture(-values * 3, 3),
    ):
        brightness = picture[0].astype(float) @ [0.3, 0.6, 0.1]
        assert (np.diff(brightness) > -1.5).all() and brightness[-1] > brightness[0] + 100


@given(st.lists(st.floats(0, 1e6), min_size=1, max_size=20))
@example([5e-324])
def test_nice_limit_holds_its_share(values):
    limit = visualise.nice_limit(np.array(values), share=1.0)
    assert limit >= max(values) * (1 - 1e-9)
    assert limit <= max(max(values) * 2.5 * (1 + 1e-9), 1.0)


def test_nice_limit_without_values():
    assert visualise.nice_limit(np.full((3, 3), np.nan)) == 1.0
    assert visualise.nice_limit(np.array([3.0, math.inf, math.nan])) == 5.0


def test_bar_of_depth_has_even_steps_of_vergence():
    assert Bar.depth(RANGE).ticks == ((0.0, 'inf'), (0.25, '2.00'), (0.5, '1.00'), (0.75, '0.667'), (1.0, '0.500'))
    assert Bar.linear('magma', 20, 'px').ticks[-1] == (1.0, '20')


def test_a_title_of_two_lines_becomes_one():
    rows = [[Panel(np.zeros((20, 30, 3), np.uint8))]]
    two, one = (visualise.sheet(rows, title, 'subtitle', width=400) for title in ('my\ndesk', 'my desk'))
    np.testing.assert_array_equal(two, one)


def test_sheet_is_as_wide_as_asked_and_holds_its_pictures():
    red, green = np.zeros((30, 40, 3), np.uint8), np.zeros((30, 80, 3), np.uint8)
    red[..., 0] = green[..., 1] = 255
    sheet = visualise.sheet(
        [[Panel(red, 'a'), Panel(green, 'b')], [Panel(green, 'c', Bar.depth(RANGE))]], 'title', 'subtitle', width=800
    )
    assert sheet.dtype == np.uint8 and sheet.shape[1] == 800 and sheet.shape[2] == 3
    reds, greens = ((sheet == colour).all(2).sum() for colour in ((255, 0, 0), (0, 255, 0)))
    assert reds > 30_000 and greens > 2 * reds
    text = visualise.sheet([[Panel(red, 'a')]], width=800)
    assert (text != visualise.sheet([[Panel(red)]], width=800)).any()


def test_rows_and_columns_of_pictures():
    bright = np.full((30, 40, 3), 255, np.uint8)
    sheet = visualise.sheet(
        [[Panel(bright), Panel(bright, bar=Bar.depth(RANGE))], [Panel(bright, bar=Bar.depth(RANGE)), Panel(bright)]],
        width=800,
    )
    columns = (sheet == 255).all(2).sum(0) > 0.5 * sheet.shape[0]
    assert np.diff(columns.astype(int)).clip(0).sum() + columns[0] == 2


@pytest.mark.parametrize('frames', [1, 2, 10, 37])
@pytest.mark.parametrize('truth', [False, True])
def test_overview_of_any_stack(frames, truth):
    images = [np.full((48, 64, 3), i, np.uint8) for i in range(frames)]
    depth = np.full((48, 64), 1.0, np.float32)
    depth[:5] = np.nan
    stack = FocalStack(
        images, [LensState(math.inf if i == 0 else 1 / i) for i in range(frames)], depth if truth else None
    )
    coc = np.full((48, 64), np.nan)
    picture = visualise.overview(stack, [depth] * frames, np.zeros((48, 64)), coc, RANGE, 'name', width=700)
    assert picture.shape[1] == 700


def test_picture_is_written_whole_or_not_at_all(tmp_path):
    picture = visualise.colour(np.linspace(0, 1, 600).reshape(20, 30))
    visualise.write_picture(tmp_path / 'a.png', picture)
    np.testing.assert_array_equal(np.asarray(Image.open(tmp_path / 'a.png')), picture)
    with pytest.raises(TypeError):
        visualise.write_picture(tmp_path / 'b.png', picture.astype(np.complex64))
    assert [path.name for path in tmp_path.iterdir()] == ['a.png']
