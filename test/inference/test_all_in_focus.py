"""The all-in-focus image of scenes that are simple enough to know what must come out."""

import cv2
import numpy as np
import pytest
from sharpest_focus import SharpestFocus

from dfd_ros.core.geometry import Similarity
from dfd_ros.core.lens_state import LensState
from dfd_ros.core.optics import VergenceRange
from dfd_ros.inference import all_in_focus
from dfd_ros.inference.all_in_focus import AllInFocus
from dfd_ros.inference.estimator import DepthEstimator

HEIGHT, WIDTH = 96, 128
FOCI = (0.0, 0.25, 0.5, 0.75, 1.0)
LEFT, RIGHT = 0.25, 0.75
RANGE = VergenceRange(0.5, 4.0)
UNKNOWN = np.full((HEIGHT, WIDTH), np.nan, np.float32), np.zeros((HEIGHT, WIDTH), np.float32)


def scene(margin=0, seed=0):
    noise = np.random.default_rng(seed).normal(size=(HEIGHT, WIDTH + margin, 3)).astype(np.float32)
    return np.clip(128 + 160 * cv2.GaussianBlur(noise, (0, 0), 1.2), 0, 255).astype(np.uint8)


def seen(sharp, focus, edge=WIDTH // 2):
    """The part left of the edge lies at u = 0.25, that to its right at u = 0.75."""
    left, right = (cv2.GaussianBlur(sharp, (0, 0), 0.1 + 8 * abs(u - focus)) for u in (LEFT, RIGHT))
    return np.concatenate([left[:, :edge], right[:, edge:]], 1)


def psnr(image, truth, margin=8):
    inner = (slice(margin, -margin),) * 2
    return -10 * np.log10(np.mean((image[inner].astype(float) - truth[inner]) ** 2) / 255**2)


def push_all(fusion, frames):
    for image, focus in frames:
        fused = fusion.push(image, focus, Similarity(), *UNKNOWN)
    return fused


def test_each_part_comes_from_where_it_was_sharpest():
    sharp = scene()
    fused = push_all(AllInFocus(), [(seen(sharp, focus), focus) for focus in FOCI])
    assert fused.shape == sharp.shape and fused.dtype == np.uint8
    assert psnr(fused, sharp) > 30 > 22 > psnr(seen(sharp, FOCI[-1]), sharp)


def test_a_first_frame_is_all_there_is():
    image = seen(scene(), 0.5)
    np.testing.assert_allclose(AllInFocus().push(image, 0.5, Similarity(), *UNKNOWN), image, atol=1)


def test_noise_falls_where_nothing_is_sharper():
    draw = np.random.default_rng(0)
    frames = [(draw.normal(128, 2, (HEIGHT, WIDTH, 3)).round().astype(np.uint8), focus) for focus in FOCI]
    assert push_all(AllInFocus(), frames).std() < 0.7 * frames[0][0].std()


def test_the_exposure_is_that_of_the_frame():
    sharp = scene() // 2 + 40
    frames = [(np.uint8(seen(sharp, v) * gain), v) for v, gain in zip(FOCI, (1, 0.8, 1.2, 1.3, 0.7))]
    assert psnr(push_all(AllInFocus(), frames), np.uint8(sharp * 0.7)) > 30


@pytest.mark.parametrize('shift', [0.7, 3.0])
def test_what_is_remembered_moves_with_the_view(shift):
    world, fusion = scene(margin=120), AllInFocus()
    for i in range(20):
        focus = FOCI[i % 5]
        matrix = np.float64([[1, 0, -shift * i], [0, 1, 0]])
        view = cv2.warpAffine(world, matrix, (WIDTH, HEIGHT), flags=cv2.INTER_CUBIC, borderMode=cv2.BORDER_REFLECT)
        # The depth moves with the view.
        edge = round(WIDTH - shift * i)
        image = seen(view, focus, edge)
        fused = fusion.push(image, focus, Similarity(dx=shift if i else 0), *UNKNOWN)
    assert psnr(fused, view, 12) > psnr(image, view, 12) + 3
    assert psnr(fused, view, 12) > 26


def test_what_has_gone_leaves_no_ghost():
    wall, fusion = scene() // 4 + 150, AllInFocus()
    with_box = wall.copy()
    with_box[30:60, 40:80] = 20
    push_all(fusion, [(seen(with_box, focus), focus) for focus in FOCI])
    gone = push_all(fusion, [(seen(wall, focus), focus) for focus in FOCI[:2]])
    assert np.abs(gone[30:60, 40:80].astype(float).mean() - wall[30:60, 40:80].mean()) < 3


def test_a_focus_that_rests_does_not_forget():
    sharp, fusion = scene(), AllInFocus()
    push_all(fusion, [(seen(sharp, focus), focus) for focus in FOCI])
    assert psnr(push_all(fusion, [(seen(sharp, 1.0), 1.0)] * 40), sharp) > 27


def test_depth_says_which_frame_is_sharp_where_images_do_not():
    """A bright edge, blurred, has more energy than the faint texture beside it."""
    frames = [np.full((HEIGHT, WIDTH, 3), value, np.uint8) for value in (100, 110)]
    coc = np.zeros((HEIGHT, WIDTH), np.float32)
    fusion = AllInFocus()
    fusion.push(frames[0], 0.0, Similarity(), coc + 40, coc + 1)
    # Exposure would take the difference for one of light: it only sees what is exposed well enough.
    fusion._last = fusion._last[0] * 0, 0.0
    fused = fusion.push(frames[1], 0.2, Similarity(), coc, coc + 1)
    assert abs(fused.mean() - 110) < 0.5


@pytest.mark.parametrize('shape', [(16, 16), (16, 200), (33, 17), (131, 67)])
def test_any_size(shape):
    draw, fusion = np.random.default_rng(0), AllInFocus()
    maps = np.full(shape, np.nan, np.float32), np.zeros(shape, np.float32)
    for i in range(8):
        image = draw.integers(0, 256, (*shape, 3), dtype=np.uint8)
        motion = Similarity(scale=1.02, angle=0.01, dx=1.5, dy=-0.5)
        fused = fusion.push(image, i / 8, motion, *maps)
        assert fused.shape == image.shape and fused.dtype == np.uint8


@pytest.mark.slow(reason='hundreds of frames')
def test_memory_does_not_grow():
    draw, fusion = np.random.default_rng(0), AllInFocus()
    for i in range(300):
        image = draw.integers(100, 156, (32, 32, 3), dtype=np.uint8)
        fusion.push(image, i % 2, Similarity(), UNKNOWN[0][:32, :32], UNKNOWN[1][:32, :32])
    assert len(fusion._sums) == len(fusion._weights) <= all_in_focus.MAX_PYRAMID + 1
    assert all(np.isfinite(level).all() for level in fusion._sums + fusion._weights)


def test_the_estimator_gives_it_only_if_wanted():
    sharp, estimator = scene(), DepthEstimator(network=SharpestFocus(), range_=RANGE)

    def sweep():
        return [estimator.push(seen(sharp, v), LensState(RANGE.denormalise(v))) for v in FOCI][-1].all_in_focus

    assert sweep() is None
    estimator.all_in_focus = True
    assert psnr(sweep(), sharp) > 30
    estimator.all_in_focus = False
    assert sweep() is None


def test_the_estimator_gives_none_while_the_range_is_unknown():
    estimator = DepthEstimator(network=SharpestFocus(), all_in_focus=True)
    sharp = scene()
    states = [(seen(sharp, v), LensState(RANGE.denormalise(v))) for v in (*FOCI, *FOCI[-2::-1])]
    images = [estimator.push(*frame).all_in_focus for frame in states]
    assert images[0] is None
    assert psnr(images[-1], sharp) > 30  # with the frames that were read before the range was known
