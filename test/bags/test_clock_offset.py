"""The offset between two clocks, from streams of images with a known one."""

import functools

import numpy as np
import pytest

pytest.importorskip('cv2')

import cv2

from dfd_ros.bags.clock_offset import ChangeSignal, estimate
from dfd_ros.core.errors import InputError

pytestmark = pytest.mark.slow(reason='recordings of many frames are simulated')


class World:
    """A wide texture that a rig looks at while it turns irregularly under a flickering light."""

    def __init__(self, seed=0, *, motion=1.0, light=1.0):
        draw = np.random.default_rng(seed)
        self._texture = cv2.GaussianBlur(draw.random((300, 500), np.float32) * 255, (0, 0), 3)
        self._texture = cv2.normalize(self._texture, None, 20, 200, cv2.NORM_MINMAX)
        self._terms = draw.uniform(0.2, 2.0, (6, 2)), draw.uniform(0, 6.28, (6, 2)), draw.uniform(0.3, 1.0, (6, 2))
        self._steps = np.sort(draw.uniform(0, 20, 6))
        self._motion, self._light = motion, light

    def see(self, time, *, scale=1.0, blur=0.0, noise=2.0, draw=None):
        frequency, phase, size = self._terms
        x, y = (size * np.sin(6.28 * frequency * time + phase)).sum(0) * 12 * self._motion
        brightness = 1 + self._light * 0.3 * (np.searchsorted(self._steps, time) % 2)
        matrix = np.array([[scale, 0, 120 + x], [0, scale, 80 + y]], np.float32)
        image = cv2.warpAffine(self._texture, matrix, (160, 120), flags=cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP)
        if blur:
            image = cv2.GaussianBlur(image, (0, 0), blur)
        return np.clip(image * brightness + draw.normal(0, noise, image.shape), 0, 255).astype(np.uint8)


@functools.cache
def images(seed, motion=1.0, light=1.0, seconds=12.0, jitter=0.002):
    """(time, image) of two cameras: the first sweeps its focus, the second has another rate and field of view."""
    world, draw = World(seed, motion=motion, light=light), np.random.default_rng(seed)
    times = [
        [start + i / rate + draw.uniform(-jitter, jitter) for i in range(int(length * rate))]
        for start, length, rate in ((3.0, seconds, 30.0), (4.0, seconds - 2, 25.0))
    ]
    return (
        [(time, world.see(time, blur=0.1 + 3.0 * (i % 5) / 4, draw=draw)) for i, time in enumerate(times[0])],
        [(time, world.see(time, scale=1.3, draw=draw)) for time in times[1]],
    )


def signals(offset, seed=0, **world):
    """Of two cameras, the clock of the second behind by `offset`."""
    first, second = ChangeSignal(), ChangeSignal()
    for signal, seen, shift in zip((first, second), images(seed, **world), (0.0, offset)):
        for time, image in seen:
            signal.push(time - shift, image)
    return first, second


@pytest.mark.parametrize('offset', [0.0, 0.0873, -0.4321, 86400.1234])
def test_offset_within_5_ms_by_motion_and_light(offset):
    found = estimate(*signals(offset))
    assert found.seconds == pytest.approx(offset, abs=0.005) and found.correlation > 0.5


def test_offset_by_light_alone():
    assert estimate(*signals(0.25, 3, motion=0.0)).seconds == pytest.approx(0.25, abs=0.02)


def test_offset_by_motion_alone():
    assert estimate(*signals(-1.75, 4, light=0.0)).seconds == pytest.approx(-1.75, abs=0.005)


@pytest.mark.parametrize('seed', range(2))
def test_offset_of_other_scenes(seed):
    assert estimate(*signals(0.031, 10 + seed)).seconds == pytest.approx(0.031, abs=0.005)


def test_nothing_in_common_is_not_an_offset():
    first, _ = signals(0.0, 10)
    _, other = signals(0.0, 11)
    with pytest.raises(InputError, match='^clock offset: .*give the offset in seconds'):
        estimate(first, other)


def test_a_rig_that_stands_still_is_not_an_offset():
    with pytest.raises(InputError, match='^clock offset: '):
        estimate(*signals(0.0, 7, motion=0.0, light=0.0))


def test_too_few_images_is_not_an_offset():
    first, _ = signals(0.0)
    with pytest.raises(InputError, match='^clock offset: 1 images of the RGB-D sensor'):
        estimate(first, ChangeSignal())
