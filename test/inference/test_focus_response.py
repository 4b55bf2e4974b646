"""Whether the images follow the focus of their lens states, judged by sharpness, even with a moving camera."""

import math

import cv2
import numpy as np
import pytest
import torch

from dfd_ros.core.geometry import Similarity
from dfd_ros.inference.evidence import NO_RESPONSE, Evidence, shown_by
from dfd_ros.inference.focus_response import MAX_LAG, TILES, WINDOW, FocusResponse, sharpness

SIZE = 96
RAMP = [0.0, 0.25, 0.5, 0.75, 1.0]
PING_PONG = [0.0, 0.25, 0.5, 0.75, 1.0, 0.75, 0.5, 0.25]


def jumps(frames: int) -> list[float]:
    draw = np.random.default_rng(1)
    return [float(v) for _ in range(-(-frames // 5)) for v in draw.permutation(RAMP)][:frames]


@pytest.fixture(scope='module')
def scene():
    """The photographs of a wall at each focus: its upper half is at u = 0.2, its lower half at 0.8."""
    draw = np.random.default_rng(0)
    wall = sum(
        cv2.resize(draw.normal(size=(400 // cell, 400 // cell)).astype(np.float32), (400, 400)) for cell in (1, 2, 8)
    )
    wall = 0.5 + 0.1 * wall

    def at(focus):
        halves = [cv2.GaussianBlur(wall, (0, 0), 0.3 + 4 * abs(focus - u)) for u in (0.2, 0.8)]
        return np.concatenate([halves[0][:200], halves[1][200:]])

    return {focus: at(focus) for focus in RAMP}


def photograph(scene, focus: float, shift: int, draw) -> torch.Tensor:
    seen = scene[focus][200 - SIZE // 2 : 200 + SIZE // 2, 20 + shift : 20 + shift + SIZE]
    noisy = seen * draw.uniform(0.8, 1.2) + draw.normal(0, 0.01, seen.shape)
    return torch.from_numpy(noisy.astype(np.float32)).expand(1, 3, -1, -1)


def watch(evidence, scene, stated: list[float], shown: list[float], speed: int = 2) -> list[str]:
    draw = np.random.default_rng(2)
    return [
        evidence.push(photograph(scene, shows, speed * i, draw), states, math.nan, Similarity(dx=speed))
        for i, (states, shows) in enumerate(zip(stated, shown))
    ]


@pytest.mark.parametrize('speed', [0, 2, 4])
@pytest.mark.parametrize('pattern', [RAMP * 10, (PING_PONG * 7)[:50], jumps(50)], ids=['ramp', 'ping_pong', 'jumps'])
def test_a_stuck_motor_is_noticed_also_before_a_moving_camera(scene, speed, pattern):
    good, stuck = Evidence(), Evidence()
    assert not any(watch(good, scene, pattern, pattern, speed)[1:])
    assert watch(stuck, scene, pattern, [0.25] * 50, speed)[-10:] == [NO_RESPONSE] * 10
    assert good.response > 0.6 and stuck.response < 0.2


def test_a_plain_wall_tells_nothing():
    """It looks the same at every focus, whatever the motor does."""
    evidence, draw = Evidence(), np.random.default_rng(0)
    for focus in RAMP * 8:
        image = torch.from_numpy(0.5 + draw.normal(0, 0.01, (1, 3, SIZE, SIZE)).astype(np.float32))
        reason = evidence.push(image, focus, math.nan)
    assert reason == '' and math.isnan(evidence.response)


@pytest.mark.parametrize('lag', [-2, -1, 1, 2])
def test_lens_states_of_other_frames_are_noticed(scene, lag):
    evidence, foci = Evidence(), jumps(48)
    shown = np.roll(foci, lag).tolist()  # an image shows the focus that was stated `lag` frames before
    assert watch(evidence, scene, foci, shown)[-1] == shown_by(lag) and evidence.lag == lag


def test_a_ramp_cannot_reveal_a_lens_state_offset(scene):
    """Stated a frame late, each focus still belongs to one sharpness. Other patterns confirm their lens states."""
    late, repeated, confirmed = Evidence(), Evidence(), Evidence()
    assert not any(watch(late, scene, RAMP * 9, np.roll(RAMP * 9, 1).tolist())[1:]) and late.lag is None
    watch(repeated, scene, RAMP * 9, RAMP * 9)
    watch(confirmed, scene, jumps(45), jumps(45))
    assert repeated.lag is None and confirmed.lag == 0


def test_the_last_frames_alone_count(scene):
    """What was added and removed again leaves nothing behind."""
    long, short = Evidence(), Evidence()
    foci = jumps(3 * WINDOW)
    watch(long, scene, jumps(WINDOW) + foci, jumps(WINDOW) + foci, speed=0)
    last = foci[-(WINDOW + 2 * MAX_LAG + 1) :]
    draw = np.random.default_rng(2)
    for _ in range(4 * WINDOW - len(last)):
        photograph(scene, 0.5, 0, draw)  # the same noise for the last ones
    for focus in last:
        short.push(photograph(scene, focus, 0, draw), focus, math.nan, Similarity())
    for evidence in (long, short):
        evidence._response._fit()
    np.testing.assert_allclose(long._response.shares, short._response.shares, rtol=1e-6)


def test_the_fit_is_that_of_least_squares(scene):
    response, draw, foci = FocusResponse(), np.random.default_rng(3), jumps(40)
    changes, states = [], []
    for i, focus in enumerate(foci):
        before = response._sharpness
        response.push(photograph(scene, focus, 0, draw), focus, Similarity())
        if before is not None and 3 <= i < len(foci) - MAX_LAG:
            changes.append((response._sharpness - before).ravel())
            states.append([RAMP.index(foci[i]), RAMP.index(foci[i - 1])])
    design = np.zeros((len(states), 5))
    for row, (after, before) in zip(design, states):
        row[after] += 1
        row[before] -= 1
    changes = np.array(changes)
    left = ((changes - design @ np.linalg.pinv(design) @ changes) ** 2).sum()
    noise, total = left / (len(states) - 4), (changes**2).sum()
    response._fit()
    assert response.share == pytest.approx((total - left - 4 * noise) / (total + noise), abs=1e-4)


@pytest.mark.filterwarnings('error')
def test_nothing_is_concluded_from_tiny_images():
    tiles, texture = sharpness(torch.rand(1, 3, 16, 17))
    assert tiles.shape == (TILES, TILES) and texture == 0
