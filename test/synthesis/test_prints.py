"""Printed matter: seeded, flat colours between sharp edges, layouts that tests do not share with training."""

import numpy as np
import pytest

from dfd_ros.synthesis.print_sheet import Sheet, crop, illustration
from dfd_ros.synthesis.prints import LAYOUTS, draw_print


def draw(seed: int, *arguments, **keywords) -> np.ndarray:
    return draw_print(np.random.default_rng(seed), *arguments, **keywords)


def test_the_seed_determines_the_print():
    assert np.array_equal(draw(3, 96, 64), draw(3, 96, 64))
    assert not np.array_equal(draw(3, 96, 64), draw(4, 96, 64))


@pytest.mark.parametrize('layout', sorted({f for s in LAYOUTS.values() for f in s}, key=lambda f: f.__name__))
@pytest.mark.parametrize('size', [(16, 16), (200, 20), (20, 200), (90, 120)])
def test_every_layout_fills_every_size(layout, size):
    photograph = np.full((30, 40, 3), 77, np.uint8)
    for seed in range(6):
        image = layout(np.random.default_rng(seed), *size, [photograph] if seed % 2 else ())
        assert image.shape == (*size, 3) and image.dtype == np.uint8


def test_bar_codes_may_be_one_pixel_wide_and_anywhere():
    sheet = Sheet(np.random.default_rng(0), 60, 200, ())
    for start in np.linspace(10, 90, 200):
        sheet.bars(start, 10, start + 40, 34)


def test_training_and_test_share_no_layout():
    assert not set(LAYOUTS['train']) & set(LAYOUTS['test'])


def test_prints_are_mostly_plain_and_have_sharp_edges():
    """Unlike noise: half of all neighbouring pixels are equal, and some differ by half of white."""
    steps = [np.abs(np.diff(draw(seed, 240, 180).astype(int), axis=1)).max(-1) for seed in range(20)]
    assert np.median([(step == 0).mean() for step in steps]) > 0.5
    assert np.mean([step.max() > 60 for step in steps]) > 0.8


def test_photographs_are_in_them():
    red = np.zeros((50, 50, 3), np.uint8)
    red[..., 0] = 201
    assert any((draw(seed, 200, 150, [red]) == (201, 0, 0)).all(-1).any() for seed in range(20))


@pytest.mark.parametrize('size', [(10, 10), (300, 20), (20, 300)])
def test_crops_and_illustrations_have_the_size_that_is_asked(size):
    image = np.zeros((40, 60, 3), np.uint8)
    assert crop(np.random.default_rng(0), image, *size).shape == (*size, 3)
    assert illustration(np.random.default_rng(0), *size).shape == (*size, 3)
