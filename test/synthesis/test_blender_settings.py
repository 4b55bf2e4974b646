"""The Blender data set's parts that need no Blender: settings, pools, shapes, motion, lens and flow."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from dfd_ros.core import optics
from dfd_ros.core.errors import InputError
from dfd_ros.core.geometry import rigid_transform
from dfd_ros.core.optics import Lens
from dfd_ros.synthesis.blender import meshes, motion, split_pools, truth
from dfd_ros.synthesis.blender.blender_lens import SENSOR, blender_lens
from dfd_ros.synthesis.blender.render_settings import PRESETS, SPLITS, RenderSettings


def test_focus_rises_in_ramps_and_jumps_back():
    settings = RenderSettings(preset='machine_vision', frames=25, ramp=5)
    v = np.array([settings.range.normalise(distance) for distance in settings.focus_distances()]).reshape(5, 5)
    np.testing.assert_allclose(v, np.tile([0, 0.25, 0.5, 0.75, 1], (5, 1)), atol=1e-9)


def test_presets_have_the_lens_data_of_the_public_sets():
    defocusnet = RenderSettings(preset='defocusnet')
    assert defocusnet.focus_distances() == [1.5, 0.7, 0.3, 0.15, 0.1]
    assert (defocusnet.lens.focal_length, defocusnet.lens.f_number) == (2.9e-3, 1.0)
    assert RenderSettings(preset='phone').focus_distances()[0] == math.inf
    machine_vision = RenderSettings(preset='machine_vision')
    assert (machine_vision.lens.focal_length, machine_vision.lens.f_number) == (25e-3, 2.0)
    for name, preset in PRESETS.items():
        lens = RenderSettings(preset=name).lens
        assert 5 < lens.blur_scale(RenderSettings(preset=name).range) < 60
        assert preset.near < preset.depth


def test_magnification_is_that_of_a_thin_lens_or_none():
    assert RenderSettings(preset='machine_vision').magnifications() == [1.0] * 5
    with_breathing = RenderSettings(preset='machine_vision', breathing=True)
    assert with_breathing.magnifications() == [
        optics.magnification(focus, 25e-3) for focus in with_breathing.focus_distances()
    ]


@pytest.mark.parametrize(
    'changes, says',
    [
        ({'preset': 'moon'}, "preset 'moon': choose one of defocusnet"),
        ({'split': 'all'}, "split 'all'"),
        ({'objects': 'huge'}, "objects 'huge'"),
        ({'motion': 'wild'}, "motion 'wild'"),
        ({'frames': 1}, 'frames 1: must be at least 2'),
        ({'ramp': 4}, 'preset defocusnet has 5 focus distances'),
        ({'samples': 0}, 'samples 0'),
        ({'width': 8}, 'width 8'),
        ({'hdris': '/absent/folder'}, 'hdris /absent/folder'),
    ],
)
def test_settings_that_cannot_be(changes, says):
    with pytest.raises(InputError, match=says):
        RenderSettings(**changes)


@given(st.floats(1e-3, 0.1), st.floats(0.8, 16), st.floats(1.2, 500), st.floats(1.2, 500), st.booleans())
def test_the_blur_of_cycles_is_that_of_the_thin_lens(focal_length, f_number, focus, distance, breathing):
    """With Cycles' geometry as lens.py states it; that Cycles keeps to it is test_blender's to measure."""
    focus, distance = focus * focal_length, distance * focal_length
    lens = Lens(focal_length, f_number, 5e-6)
    camera = blender_lens(lens, focus, side=200, breathing=breathing)
    pixels = camera.lens / SENSOR * 200
    blur = camera.lens * 1e-3 / camera.fstop * pixels * abs(1 / distance - 1 / focus)
    assert blur == pytest.approx(lens.coc_px(distance, focus), rel=1e-6, abs=1e-6)
    growth = pixels * 5e-6 / focal_length
    assert growth == pytest.approx(optics.magnification(focus, focal_length) if breathing else 1)


def test_focus_at_infinity_is_finite_for_blender():
    camera = blender_lens(Lens(6.8e-3, 1.8, 28e-6), math.inf, 256)
    assert math.isfinite(camera.focus_distance)
    assert camera.lens * 1e-3 / camera.fstop == pytest.approx(6.8e-3 / 1.8)


def test_a_file_belongs_to_one_split_whatever_else_is_there(tmp_path):
    names = [f'{i}.png' for i in range(60)]
    for name in (*names, 'notes.txt'):
        (tmp_path / name).touch()
    found = {split: {path.name for path in split_pools.files(str(tmp_path), ('.png',), split)} for split in SPLITS}
    assert set.union(*found.values()) == set(names) and sum(map(len, found.values())) == len(names)
    assert len(found['train']) > len(found['test']) > 0
    (tmp_path / 'more').mkdir()
    (tmp_path / 'more' / 'new.PNG').touch()
    again = {path.name for path in split_pools.files(str(tmp_path), ('.png',), split_pools.split_of('new.PNG'))}
    assert again == found[split_pools.split_of('new.PNG')] | {'new.PNG'}
    assert split_pools.files('', ('.png',), 'train') == []
    with pytest.raises(InputError, match='none of its 0 files'):
        split_pools.files(str(tmp_path), ('.glb',), 'test')


def test_suffix_and_case_do_not_change_the_split():
    for i in range(40):
        assert len({split_pools.split_of(name) for name in (f'o{i}.obj', f'o{i}.glb', f'O{i}.PLY')}) == 1
    names = [split_pools.split_of(f'{i}.png') for i in range(2000)]
    for split, share in split_pools.SHARES.items():
        assert names.count(split) == pytest.approx(200 * share, rel=0.2)


def test_no_family_of_meshes_is_in_two_splits():
    families = [set(meshes.FAMILIES[split]) for split in SPLITS]
    assert all(families) and len(set.union(*families)) == sum(map(len, families))


def test_a_seed_gives_other_scenes_in_another_split():
    a, b, c = (split_pools.generator(7, split).random(4) for split in ('train', 'train', 'test'))
    assert (a == b).all() and (a != c).all()


@pytest.mark.parametrize(
    'family', [family for split in SPLITS for family in meshes.FAMILIES[split]], ids=lambda family: family.__name__
)
def test_meshes_fill_the_unit_sphere_and_are_closed(family):
    sizes = set()
    for seed in range(5):
        mesh = meshes._unit(family(np.random.default_rng(seed)))
        assert np.linalg.norm(mesh.vertices, axis=1).max() == pytest.approx(1)
        assert np.abs(mesh.vertices.max(0) + mesh.vertices.min(0)).max() < 1e-9
        assert mesh.faces.min() == 0 and mesh.faces.max() < len(mesh.vertices)
        assert mesh.uv.shape == (*mesh.faces.shape, 2) and mesh.uv.min() >= 0 and mesh.uv.max() <= 1
        # The signed area of a closed surface is zero along each axis.
        a, b, c, d = mesh.vertices[mesh.faces].transpose(1, 0, 2)
        area = np.cross(c - a, d - b) / 2
        assert np.abs(area.sum(0)).max() < 1e-6 * np.linalg.norm(area, axis=1).sum()
        sizes.add(round(float(np.linalg.norm(area, axis=1).sum()), 9))
    assert len(sizes) == 5  # no two are alike


def test_objects_move_rigidly_and_steadily():
    rng = np.random.default_rng(3)
    start = rigid_transform(motion.random_rotation(rng), (0.1, 0.5, -0.2))
    path = motion.object_path(rng, 4, start, distance=0.5, pixels=900)
    np.testing.assert_allclose(path[0], start)
    np.testing.assert_allclose(
        path[:, :3, :3] @ path[:, :3, :3].transpose(0, 2, 1), np.tile(np.eye(3), (4, 1, 1)), atol=1e-12
    )
    np.testing.assert_allclose(np.linalg.det(path[:, :3, :3]), 1)
    steps = np.diff(path[:, :3, 3], axis=0)
    np.testing.assert_allclose(steps, np.tile(steps[0], (3, 1)), atol=1e-12)
    assert 0 < np.linalg.norm(steps[0]) * 900 / 0.5 <= motion.MAX_SPEED


def test_the_camera_moves_by_pixels():
    moved = []
    for seed in range(50):
        path = motion.camera_path(np.random.default_rng(seed), 5, near=0.25, pixels=900)
        np.testing.assert_array_equal(path[0], np.eye(4))
        steps = np.diff(path[:, :3, 3], axis=0)
        moved.append(np.abs(steps).max() * 900 / 0.25)
    assert 0.5 < max(moved) <= motion.MAX_TRAVEL and min(moved) < 0.5


def test_flow_of_a_wall_before_a_moving_camera():
    """A camera that goes 1 cm to the right sees a wall at 0.5 m go to the left, by f / D times that."""
    camera = truth.intrinsics(10e-3, 20e-6, 6, 8)
    assert camera == pytest.approx((500, 500, 3.5, 2.5))
    depth = np.full((6, 8), 0.5)
    still, moved = np.eye(4), rigid_transform(np.eye(3), (0.01, 0, 0))
    flow = truth.flow(
        depth, np.ones((6, 8), int), np.stack([still, still]), np.stack([still, still]), still, moved, camera
    )
    np.testing.assert_allclose(flow, np.broadcast_to([-10, 0], (6, 8, 2)), atol=1e-2)


def test_flow_of_an_object_that_moves_and_of_a_zoom():
    camera = truth.intrinsics(10e-3, 20e-6, 6, 8)
    depth = np.full((6, 8), 0.5)
    depth[0, 0] = np.inf
    index = np.zeros((6, 8), int)
    index[2:, 4:] = 1
    still = np.eye(4)
    moved = np.stack([still, rigid_transform(np.eye(3), (0, 0.002, 0))])
    flow = truth.flow(depth, index, np.stack([still, still]), moved, still, still, camera).astype(float)
    np.testing.assert_allclose(flow[index == 1], np.tile([0, 2], (16, 1)), atol=1e-2)
    assert np.isnan(flow[0, 0]).all()
    rest = (index == 0) & np.isfinite(depth)
    np.testing.assert_allclose(flow[rest], 0, atol=1e-6)

    zoomed = truth.flow(depth, index, moved, moved, still, still, camera, 1.0, 1.1).astype(float)
    assert zoomed[5, 7] == pytest.approx([0.1 * (7 - 3.5), 0.1 * (5 - 2.5)], abs=1e-3)
