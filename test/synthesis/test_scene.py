"""Layered scenes: what hides what, through a lens, and where things lie when the camera moves."""

import math

import pytest
import torch

from dfd_ros.synthesis.draws import Random
from dfd_ros.synthesis.scene import Layer, Pose, Scene, SceneSettings
from dfd_ros.synthesis.shapes import FAMILIES as SHAPES
from dfd_ros.synthesis.shapes import coverage
from dfd_ros.synthesis.textures import FAMILIES as TEXTURES
from dfd_ros.synthesis.textures import texture

SIZE, CANVAS = 64, 128
BLACK, WHITE = 0.0, 1.0


def layer(shade: float, u: float, covers=None, parallax: float = 1.0) -> Layer:
    """A plain surface; `covers` is a (S, S) mask, None = everything."""
    alpha = torch.ones(1, CANVAS, CANVAS) if covers is None else covers.float()[None]
    return Layer(torch.cat([shade * alpha.expand(3, -1, -1), alpha]), torch.full((1, CANVAS, CANVAS), u), parallax)


def left_half() -> torch.Tensor:
    mask = torch.zeros(CANVAS, CANVAS)
    mask[:, : CANVAS // 2] = 1
    return mask


def still(frames: int) -> Pose:
    return Pose(torch.ones(frames), torch.zeros(frames), torch.zeros(frames, 2))


def photograph(layers: list[Layer], focus: list[float], k: float = 10.0, poses=None):
    scene = Scene(layers, SIZE, SIZE)
    n = len(focus)
    return scene.photograph(
        poses or [still(n)] * len(layers), torch.full((n,), k), torch.tensor(focus), torch.full((n,), 32.0)
    )


def across_the_edge(image: torch.Tensor) -> torch.Tensor:
    return image[0, SIZE // 2]


def width_of_edge(profile: torch.Tensor) -> int:
    """Pixels that are neither of the two sides."""
    return int(((profile > 0.02) & (profile < 0.98)).sum())


def test_a_sharp_foreground_edge_survives_a_blurred_background():
    stripes = (torch.arange(CANVAS) // 2 % 2).float().expand(CANVAS, CANVAS)
    background = Layer(
        torch.cat([stripes.expand(3, -1, -1), torch.ones(1, CANVAS, CANVAS)]), torch.zeros(1, CANVAS, CANVAS), 0.0
    )
    foreground = layer(0.25, 1.0, left_half())
    images, _, _ = photograph([background, foreground], [1.0])
    profile = across_the_edge(images[0])
    torch.testing.assert_close(profile[: SIZE // 2], torch.full((SIZE // 2,), 0.25))
    # Right up to the edge the stripes are blurred away, and nothing of the foreground has got into them.
    assert (profile[SIZE // 2 :] - 0.5).abs().max() < 0.1


def test_a_blurred_foreground_spreads_over_a_sharp_background():
    images, _, _ = photograph([layer(BLACK, 0.0), layer(WHITE, 1.0, left_half())], [0.0])
    profile = across_the_edge(images[0])
    assert width_of_edge(profile) == pytest.approx(10, abs=2)  # a CoC of 10 px
    assert profile[SIZE // 2 - 1 : SIZE // 2 + 1].mean() == pytest.approx(0.5, abs=0.02)
    assert (profile.diff() <= 1e-4).all()


def test_a_foreground_hides_a_widely_blurred_background():
    """A bright far light may not leak through a near, sharp, opaque surface."""
    images, _, _ = photograph([layer(50.0, 0.0), layer(BLACK, 1.0, left_half())], [1.0], k=40.0)
    assert across_the_edge(images[0])[: SIZE // 2].max() < 1e-4


@pytest.mark.parametrize('k, v', [(8.0, 0.0), (16.0, 0.5), (24.0, 0.0)])
def test_the_edge_of_a_surface_is_as_wide_as_its_coc(k, v):
    images, _, _ = photograph([layer(BLACK, 1.0), layer(WHITE, 1.0, left_half())], [v], k=k)
    assert width_of_edge(across_the_edge(images[0])) == pytest.approx(k * (1 - v), rel=0.2, abs=1.5)


def test_truth_is_what_is_seen():
    _, vergence, foreground = photograph([layer(BLACK, 0.1), layer(WHITE, 0.8, left_half())], [0.0, 1.0])
    assert vergence.shape == foreground.shape == (2, 1, SIZE, SIZE)
    for t in range(2):  # blur does not move it
        assert (vergence[t, 0, :, : SIZE // 2] == 0.8).all() and (vergence[t, 0, :, SIZE // 2 :] == 0.1).all()
        assert foreground[t, 0, :, : SIZE // 2].all() and not foreground[t, 0, :, SIZE // 2 :].any()


def test_near_layers_move_more_than_far_ones():
    near, far = layer(WHITE, 1.0, left_half(), parallax=1.0), layer(BLACK, 0.0, parallax=0.25)
    scene = Scene([far, near], SIZE, SIZE)
    camera = torch.tensor([[0.0, 0.0], [8.0, -4.0]])
    poses = scene.poses(torch.zeros(2), camera, torch.zeros(2, 2), torch.ones(2))
    torch.testing.assert_close(poses[0].shift, camera * 0.25)
    torch.testing.assert_close(poses[1].shift, camera)
    images, vergence, _ = photograph([far, near], [1.0, 1.0], poses=poses)
    edge = [int((v[0, SIZE // 2] > 0.5).sum()) for v in vergence]
    assert edge == [SIZE // 2, SIZE // 2 + 8]
    assert int((across_the_edge(images[1]) > 0.5).sum()) == SIZE // 2 + 8


def test_breathing_grows_the_image_about_its_centre():
    mask = torch.zeros(CANVAS, CANVAS)
    mask[CANVAS // 2 - 20 : CANVAS // 2 + 20, CANVAS // 2 - 20 : CANVAS // 2 + 20] = 1
    scene = Scene([layer(BLACK, 0.0), layer(WHITE, 0.0, mask)], SIZE, SIZE)
    poses = scene.poses(torch.zeros(2), torch.zeros(2, 2), torch.zeros(2, 2), torch.tensor([1.0, 1.2]))
    images, _, _ = photograph(scene.layers, [0.0, 0.0], poses=poses)
    sides = images[:, 0, SIZE // 2].sum(1)
    assert float(sides[1] / sides[0]) == pytest.approx(1.2, rel=0.01)
    torch.testing.assert_close(images[1], images[1].flip(-1), atol=1e-3, rtol=0)


def test_random_scenes_lie_in_order_of_depth():
    """Where a layer covers another it is nearer: so the order of painting is right."""
    for seed in range(8):
        scene = Scene.random(Random(seed), SIZE, SIZE, SceneSettings(), margin=16)
        behind = scene.layers[0].vergence
        for nearer in scene.layers[1:]:
            covered = nearer.rgba[3:] > 0.5
            assert (nearer.vergence[covered] > behind[covered]).all()
            behind = torch.where(covered, nearer.vergence, behind)


def test_training_and_test_share_neither_shapes_nor_textures():
    for families in (SHAPES, TEXTURES):
        assert set(families) == {'train', 'test'}
        assert not set(families['train']) & set(families['test'])


@pytest.mark.parametrize('split', ['train', 'test'])
def test_shapes_cover_what_they_say(split):
    x = torch.arange(96.0) - 47.5
    y, x = x[:, None].expand(96, 96), x[None].expand(96, 96)
    for seed in range(30):
        alpha = coverage(Random(seed), x, y, 20.0, split)
        assert alpha.shape == (96, 96)
        assert alpha.min() >= 0 and alpha.max() <= 1 and torch.isfinite(alpha).all()


@pytest.mark.parametrize('split', ['train', 'test'])
def test_textures_run_from_sharp_to_none(split):
    contrast = []
    for seed in range(30):
        image = texture(Random(seed), 64, split, untextured=0.0)
        assert image.shape == (3, 64, 64) and image.min() >= 0 and image.max() <= 1.5
        contrast.append((image - image.mean((1, 2), keepdim=True)).abs().mean().item())
    assert max(contrast) > 10 * min(contrast) and min(contrast) > 0
    plain = texture(Random(0), 64, split, untextured=1.0)
    assert (plain.diff(dim=-1).abs().max() < 0.05) and math.isfinite(plain.sum())
