"""Scenes of surfaces like real ones: planes that are planes, boxes, and things that lie on a surface."""

import math
from dataclasses import replace

import cv2
import numpy as np
import pytest
import torch
from odd_images import png_header

from dfd_ros.core.errors import InputError
from dfd_ros.synthesis.draws import Random
from dfd_ros.synthesis.pictures import Library, library
from dfd_ros.synthesis.planes import Box, Plane, View, coordinates, lay, sample, texture_plane
from dfd_ros.synthesis.procedural import StackSettings, render_stack
from dfd_ros.synthesis.scene import SceneSettings
from dfd_ros.synthesis.surface_materials import MATERIALS, SurfaceSettings, material, paint, shading
from dfd_ros.synthesis.surroundings import real_scene
from dfd_ros.training.config import make_config

REAL = SurfaceSettings(share=1.0)


def view(size: int = 65, offset: float = 0.1) -> View:
    x = torch.arange(size) - (size - 1) / 2
    return View(x[None].expand(size, size), x[:, None].expand(size, size), size / 2, 0.5, offset)


def scene(seed: int, settings: SurfaceSettings = REAL, split: str = 'train', side: int = 64):
    return real_scene(Random(seed), side, side, SceneSettings(split=split), settings, 0.1, seed, margin=16)


def test_a_seed_gives_the_same_stack_regardless_of_earlier_draws():
    drawn_from = StackSettings(height=48, width=64, frames=2, surfaces=REAL)
    first = render_stack(7, drawn_from)
    library.cache_clear()
    render_stack(8, drawn_from)
    again = render_stack(7, drawn_from)
    assert torch.equal(first.images, again.images) and torch.equal(first.vergence, again.vergence)


def test_without_realistic_cameras_nothing_changes():
    plain = StackSettings(height=48, width=64, frames=2)
    other = replace(plain, surfaces=SurfaceSettings(prints=1.0, photos=0.0, plain=0.0, materials=0.0))
    assert torch.equal(render_stack(3, plain).images, render_stack(3, other).images)
    real = render_stack(3, replace(plain, surfaces=REAL))
    assert not torch.equal(render_stack(3, plain).images, real.images)
    assert torch.equal(render_stack(3, plain).focus, real.focus) and render_stack(3, plain).near == real.near


@pytest.mark.slow(reason='many scenes are rendered')
@pytest.mark.parametrize('split', ['train', 'test'])
def test_scenes_lie_in_order_of_depth_within_the_range(split):
    for seed in range(8):
        made = scene(seed, split=split)
        behind = made.layers[0].vergence
        assert torch.isfinite(made.layers[0].rgba).all() and (made.layers[0].rgba[3] == 1).all()
        for nearer in made.layers[1:]:
            covered = nearer.rgba[3:] > 0.5
            assert (nearer.vergence[covered] > behind[covered]).all()
            behind = torch.where(covered, nearer.vergence, behind)
            assert torch.isfinite(nearer.rgba).all() and nearer.rgba.min() >= 0
        assert behind.min() >= -0.06 and behind.max() <= 1.2


@pytest.mark.slow(reason='many rooms are rendered')
def test_what_lies_on_a_plane_has_no_edge_in_depth():
    """All that is seen is one wall with sheets on it: texture of all kinds, and u without any edge."""
    settings = replace(REAL, large_planes=1.0, objects=(0, 0), lying=6, grain=0.0)
    smooth = edged = 0
    for seed in range(12):
        made = scene(seed, settings)
        (layer,) = made.layers
        smooth += (
            layer.vergence[0].diff(n=2).abs().max() < 1e-4 and layer.vergence[0].diff(n=2, dim=0).abs().max() < 1e-4
        )
        edged += layer.rgba[:3].diff(dim=-1).abs().max() > 0.1
    assert smooth >= 3 and edged >= 9


def test_bare_scenes_are_plain_planes_alone():
    bare = scene(3, replace(REAL, bare=1.0, grain=0.0))
    (layer,) = bare.layers
    steps = layer.rgba[:3].diff(dim=-1).abs()
    assert steps.quantile(0.9) < 0.01  # few edges, no texture
    assert len({len(scene(seed, replace(REAL, bare=0.5, objects=(8, 8))).layers) == 1 for seed in range(8)}) == 2


@pytest.mark.slow(reason='many rooms are rendered')
def test_grain_is_on_some_surfaces_only():
    """Without it, most pixels of print and paint are as their neighbours."""
    settings = replace(REAL, prints=0.5, photos=0.0, plain=0.5, materials=0.0, large_planes=1.0, objects=(0, 0))

    def fine(grain):
        steps = [scene(seed, replace(settings, grain=grain)).layers[0].rgba[:3].diff(n=2).abs() for seed in range(8)]
        return np.median([step.median() for step in steps])

    assert fine(1.0) > 4 * fine(0.0)


def test_plane_depth_has_linear_inverse_and_points_on_the_plane():
    here, plane = view(), Plane.through(5.0, -3.0, 0.6, 0.004, -0.002)
    assert plane.w(5.0, -3.0) == pytest.approx(0.6)
    axes = plane.axes(here, 0.4)
    torch.testing.assert_close(axes @ axes.T, torch.eye(2), atol=1e-6, rtol=0)
    w = plane.w(here.x, here.y)
    points = torch.stack([here.x * here.scale, here.y * here.scale, torch.ones_like(here.x)], -1) / w[..., None]
    torch.testing.assert_close(points @ plane.normal(here), torch.ones_like(w))
    u, v = coordinates(here, plane, axes, here.x, here.y)
    torch.testing.assert_close(u, points @ axes[0])
    # Distances in the plane are those of the points.
    assert math.hypot((u[0, 0] - u[9, 30]).item(), (v[0, 0] - v[9, 30]).item()) == pytest.approx(
        (points[0, 0] - points[9, 30]).norm().item(), rel=1e-4
    )


def test_a_sheet_shows_its_image_edge_to_edge():
    image = torch.zeros(3, 40, 40)
    image[0, :, :20], image[1, :, 20:] = 1, 1
    colour, alpha, window = lay(view(), Plane(0.5, 0.0, 0.0), image, 0.0, 0.0, 20.0, 0.0, 1.0)
    assert window == (slice(11, 54), slice(11, 54)) or window[0].stop - window[0].start in (41, 42, 43)
    assert alpha.sum() == pytest.approx(40 * 40, rel=0.03)
    middle = colour[:, colour.shape[1] // 2]
    assert middle[0, 5] > 0.9 and middle[1, -5] > 0.9 and middle[1, 5] < 0.1


def test_only_minified_images_are_averaged():
    stripes = (torch.arange(256) % 2).float().expand(3, 256, 256)
    x = torch.linspace(-0.9, 0.9, 16)
    seen = sample(stripes, x[None].expand(16, 16), x[:, None].expand(16, 16))
    assert (seen - 0.5).abs().max() < 0.05
    near = torch.linspace(-0.1, 0.1, 64)
    seen = sample(stripes, near[None].expand(64, 64), near[:, None].expand(64, 64))
    assert seen.max() - seen.min() > 0.9


def test_a_box_is_convex_and_covers_what_it_covers():
    here = view(129)
    box = Box(torch.tensor([0.0, 0.0, 2.0]), torch.tensor([0.25, 0.25, 0.25]), torch.eye(3))
    w, alpha, which, faces, _ = box.seen(here)
    assert faces == [2] and w.unique().numel() == 1 and w[0, 0].item() == pytest.approx(1 / 1.75)
    side = 2 * 0.25 / 1.75 / here.scale
    assert alpha.sum().item() == pytest.approx(side**2, rel=0.02)

    turned, _ = torch.linalg.qr(torch.tensor([[1.0, 0.3, 0.5], [-0.4, 1.0, 0.3], [0.2, -0.5, 1.0]]))
    w, alpha, which, faces, _ = Box(torch.tensor([0.1, 0.0, 2.0]), torch.tensor([0.3, 0.2, 0.4]), turned).seen(here)
    assert 2 <= len(faces) <= 3 and len(which[alpha > 0.5].unique()) == len(faces)
    assert w.diff().abs().max() < 0.05  # faces meet: no step between them


def test_a_box_that_the_camera_is_in_is_not_seen():
    assert Box(torch.zeros(3), torch.ones(3), torch.eye(3)).seen(view()) is None


@pytest.mark.parametrize('middle', [(0.0, 0.0, 2.0), (9.0, 0.0, 2.0)], ids=['tiny', 'beside the image'])
def test_a_box_that_covers_hardly_a_pixel_is_not_seen(middle):
    half = 0.25 if middle[0] else 0.001
    assert Box(torch.tensor(middle), torch.full((3,), half), torch.eye(3)).seen(view(129)) is None


def test_planes_that_are_textured_are_filled():
    plane = Plane(0.5, 0.003, 0.004)
    seen = texture_plane(
        view(), plane, torch.rand(3, 50, 70, generator=torch.Generator().manual_seed(0)), 1.5, Random(0)
    )
    assert seen.shape == (3, 65, 65) and seen.std() > 0.05


@pytest.mark.parametrize('split', ['train', 'test'])
def test_materials_are_linear_light(split):
    for make in MATERIALS[split]:
        for seed in range(3):
            image = make(Random(seed), 96)
            assert image.shape == (3, 96, 96) and torch.isfinite(image).all() and image.min() >= 0
    assert not set(MATERIALS['train']) & set(MATERIALS['test'])
    pictures = Library('', split)
    for seed in range(20):
        assert material(Random(seed), REAL, pictures, 0, split).shape[0] == 3


def test_paint_and_light_change_slowly_only():
    for seed in range(10):
        for image in (paint(Random(seed)), shading(Random(seed), 64, 64)):
            assert image.diff(dim=-1).abs().max() < 0.12


def write(path, size=(40, 60), value=90):
    path.parent.mkdir(parents=True, exist_ok=True)
    cv2.imwrite(str(path), np.full((*size, 3), value, np.uint8))


def test_photographs_come_from_the_folder(tmp_path):
    for i in range(20):
        write(tmp_path / 'deep' / f'{i}.png', value=10 + i)
    train, test = Library(str(tmp_path), 'train'), Library(str(tmp_path), 'test')
    assert not set(train.paths) & set(test.paths) and len(train.paths) + len(test.paths) == 20
    assert np.array_equal(train.photograph(0, 0.5), train.photograph(0, 0.5))
    assert len({train.photograph(0, choice)[0, 0, 0] for choice in np.linspace(0, 0.99, 20)}) > 5
    assert Library('', 'train').photograph(0, 0.5) is None


def test_bad_images_are_left_out_by_name(tmp_path, capsys):
    write(tmp_path / 'good.png')
    (tmp_path / 'broken.jpg').write_bytes(b'no image')
    (tmp_path / 'huge.png').write_bytes(png_header(30000, 30000))
    assert [path.name for path in Library(str(tmp_path), 'train').paths] == ['good.png']
    lines = capsys.readouterr().err.strip().splitlines()
    assert len(lines) == 2 and 'broken.jpg' in lines[0] and 'huge.png' in lines[1] and '200 million' in lines[1]


def test_a_folder_without_images_is_an_error(tmp_path):
    with pytest.raises(InputError, match='no usable image in it'):
        Library(str(tmp_path), 'train')
    with pytest.raises(InputError, match='no such folder'):
        Library(str(tmp_path / 'none'), 'train')


def test_training_configurations_tell_what_cannot_be(tmp_path):
    make_config({'data': {'surfaces': {'share': 1, 'photographs': str(tmp_path)}}}, 'x')
    for values, message in (
        ({'share': 1.5}, 'surfaces, share: 1.5'),
        ({'prints': 0.9}, 'together'),
        ({'share': 1, 'photographs': '/none'}, 'photographs: /none: no such folder'),
        ({'radius': [0, 1]}, 'radius'),
        ({'stone': 1}, 'no setting "stone"'),
    ):
        with pytest.raises(InputError, match=message):
            make_config({'data': {'surfaces': values}}, 'x')
