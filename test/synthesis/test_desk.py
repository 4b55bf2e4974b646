"""The desk of the demo: a whole scene, lit, at distances that a sweep covers."""

import numpy as np
import pytest
import torch

from dfd_ros.core.optics import VergenceRange
from dfd_ros.synthesis.desk import desk_scene

RANGE, TAN = VergenceRange(0.15, 1.5), 2.8 / 11


def seen(scene, travel=(0.0, 0.0), blur=1e-3):
    """Linear light (H, W, 3) and u (H, W), sharp all over."""
    zero = torch.zeros(1)
    poses = scene.poses(zero, torch.tensor([travel]), torch.zeros(1, 2), torch.ones(1))
    image, vergence, _ = scene.photograph(poses, zero + blur, zero, zero + 8)
    return image[0].permute(1, 2, 0).numpy(), vergence[0, 0].numpy()


@pytest.fixture(scope='module')
def desk():
    return desk_scene(10, 96, 128, RANGE, TAN, margin=16)


def test_the_whole_image_is_lit_and_within_the_range(desk):
    image, u = seen(desk)
    assert image.shape == (96, 128, 3) and np.isfinite(image).all() and image.max() < 1
    assert (image.max(2) < 0.01).mean() < 0.02, 'a hole in it'
    assert 0 < u.min() < 0.05 and 0.7 < u.max() < 1 and np.subtract(*np.quantile(u, (0.9, 0.1))) > 0.4


def test_it_is_a_rigid_scene(desk):
    image, u = seen(desk)
    moved, u_moved = seen(desk, travel=(8.0, 0.0))
    np.testing.assert_allclose(u_moved[:, 8:], u[:, :-8], atol=1e-4)
    np.testing.assert_allclose(moved[:, 8:], image[:, :-8], atol=1e-2)


def test_things_throw_shadows_on_the_table(desk):
    """The darkest table is beside the things, not in a shade of its wood."""
    bare = desk.layers[0].rgba[:3].mean(0)
    size = bare.shape[0]
    table = bare[size // 2 + 16 : size // 2 + 48, 16:-16]
    assert np.quantile(table, 0.02) < 0.4 * np.quantile(table, 0.9)


def test_a_seed_gives_the_same_desk_again():
    one, again, other = (seen(desk_scene(seed, 24, 32, RANGE, TAN, margin=8))[0] for seed in (1, 1, 2))
    np.testing.assert_array_equal(one, again)
    assert not np.array_equal(one, other)


@pytest.mark.parametrize('height, width', [(16, 16), (16, 48), (48, 16)])
def test_any_shape(height, width):
    image, u = seen(desk_scene(3, height, width, RANGE, TAN, margin=4))
    assert image.shape == (height, width, 3) and np.isfinite(u).all()
