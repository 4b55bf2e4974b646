"""dfd refocus: a scene through another lens, and what it cannot work with."""

import cv2
import numpy as np
import pytest
from command_line import dfd
from PIL import Image

from dfd_ros.core.focal_stack import FocalStack
from dfd_ros.core.lens_state import LensState
from dfd_ros.core.optics import Lens
from dfd_ros.synthesis.rgbd_scene import Photographer

HEIGHT, WIDTH = 48, 64
LENS = Lens(0.02, 2.0, 4e-5)


@pytest.fixture
def sharp():
    noise = np.random.default_rng(0).normal(size=(HEIGHT, WIDTH, 3)).astype(np.float32)
    return np.clip(128 + 160 * cv2.GaussianBlur(noise, (0, 0), 1.2), 0, 255).astype(np.uint8)


def stack_with(folder, sharp, **lens):
    foci = 0.3, 0.6, 2.0
    states = [LensState(focus, **lens) for focus in foci]
    FocalStack([cv2.GaussianBlur(sharp, (0, 0), 0.3 + i) for i in range(3)], states).write(folder)
    return folder


def detail(image, columns):
    return cv2.Laplacian(cv2.cvtColor(image, cv2.COLOR_RGB2GRAY).astype(np.float32), cv2.CV_32F)[:, columns].std()


def test_what_is_in_focus_stays_sharp_and_the_rest_blurs(sharp):
    depth = np.where(np.arange(WIDTH) < WIDTH // 2, 0.4, np.inf).astype(np.float32) * np.ones((HEIGHT, 1), np.float32)
    near, far = slice(0, WIDTH // 2 - 8), slice(WIDTH // 2 + 8, None)
    photographer = Photographer(sharp, depth, LENS)
    image = photographer.photograph(0.4)
    assert image.shape == sharp.shape and image.dtype == np.uint8
    np.testing.assert_allclose(image[:, near], sharp[:, near], atol=6)
    assert detail(image, far) < 0.5 * detail(sharp, far)
    image = photographer.photograph(np.inf)
    assert detail(image, near) < 0.5 * detail(sharp, near) and detail(image, far) > 0.9 * detail(sharp, far)


def test_a_closed_aperture_shows_everything(sharp):
    image = Photographer(sharp, np.full((HEIGHT, WIDTH), 0.4, np.float32), Lens(0.02, 64.0, 4e-5)).photograph(1.0)
    np.testing.assert_allclose(image, sharp, atol=6)


def test_photographs_may_be_smaller(sharp):
    assert Photographer(sharp, np.full((HEIGHT, WIDTH), 0.4, np.float32), LENS, 32).photograph(1.0).shape == (24, 32, 3)


@pytest.mark.slow(reason='the shipped network sees a whole stack')
def test_the_command_writes_what_it_says(sharp, tmp_path, random_weights, capsys):
    stack = stack_with(tmp_path / 'stack', sharp, focal_length=0.02, pixel_pitch=4e-5)
    options = '--weights', random_weights, '--sweeps', 1, '--device', 'cpu'
    assert dfd('refocus', stack, '--focus', 0.5, '--f-number', 4, '--pull', 'inf', '--out', tmp_path, *options) == 0
    written = {path.name for path in tmp_path.iterdir()} - {'stack'}
    assert written == {'refocused.png', 'all_in_focus.png', 'pull.mp4', 'pull.gif'}
    assert Image.open(tmp_path / 'refocused.png').size == (WIDTH, HEIGHT)
    assert Image.open(tmp_path / 'pull.gif').n_frames > 10
    said = capsys.readouterr().out
    assert '20 mm, f/4, focus at 0.500 m' in said and 'pull.gif' in said


def refused(capsys, *arguments):
    assert dfd('refocus', *arguments) == 2
    error = capsys.readouterr().err
    assert error.count('\n') == 1
    return error


def test_an_unknown_lens_is_refused(sharp, tmp_path, capsys):
    stack = stack_with(tmp_path / 'stack', sharp)
    assert 'stack.yaml: lens.focal_length_mm: unknown' in refused(capsys, stack, '--focus', 1, '--out', tmp_path / 'o')
    stack = stack_with(tmp_path / 'other', sharp, focal_length=0.02, pixel_pitch=4e-5)
    assert 'lens.f_number: unknown' in refused(capsys, stack, '--focus', 1, '--out', tmp_path / 'o')
    options = '--f-number', 2, '--out', tmp_path / 'o'
    assert '--focus 0.01: must be more than the focal length' in refused(capsys, stack, '--focus', 0.01, *options)
    assert not (tmp_path / 'o').exists()
