"""Depth of one camera in the view of another, against scenes whose truth is known in both."""

import math
from types import SimpleNamespace

import numpy as np
import pytest

from dfd_ros.bags.depth_reprojection import DepthRegistration, Intrinsics
from dfd_ros.core.errors import InputError
from dfd_ros.core.geometry import matrix_from_quaternion, rigid_transform

DEPTH = Intrinsics(210.0, 212.0, 158.0, 121.0)
VIEW = Intrinsics(300.0, 301.0, 161.5, 118.0)
SIZE = 240, 320
ANGLE = np.radians(4) / 2
POSE = rigid_transform(
    matrix_from_quaternion(0.2 * np.sin(ANGLE), np.sin(ANGLE), 0.0, np.cos(ANGLE)), (-0.05, 0.01, 0.015)
)
"""From the depth camera to the view: 5 cm beside each other, turned by 4 degrees."""


def slanted_room(camera, pose, size=SIZE):
    """Depth of a slanted wall and of a board before it, by intersecting the pixels' rays with both."""
    rays = camera.rays(*size).astype(float)
    directions = np.concatenate([rays, np.ones((*size, 1))], -1) @ pose[:3, :3]  # in the depth camera's frame
    origin = -pose[:3, :3].T @ pose[:3, 3]
    normal = np.array([0.3, 0.1, 1.0])
    wall = (2.5 - origin @ normal) / (directions @ normal)
    board = (1.2 - origin[2]) / directions[..., 2]
    hit = origin + board[..., None] * directions
    on_board = (abs(hit[..., 0]) < 0.25) & (abs(hit[..., 1]) < 0.2)
    return np.where(on_board, board, wall).astype(np.float32), on_board


@pytest.mark.parametrize('view', [VIEW, VIEW.resized(0.5)])
def test_registered_depth_is_the_depth_of_the_view(view):
    size = SIZE if view is VIEW else (120, 160)
    depth, _ = slanted_room(DEPTH, np.eye(4))
    truth, on_board = slanted_room(view, POSE, size)
    found = DepthRegistration(DEPTH, view, size, POSE)(depth)
    valid = np.isfinite(found)
    # What the board hides from the depth camera, and what its image does not show, is not there.
    assert valid.mean() > 0.85
    # Within one pixel and 1 %: some pixel of the 3x3 neighbourhood has that depth.
    near = np.stack([np.roll(truth, (dy, dx), (0, 1)) for dy in (-1, 0, 1) for dx in (-1, 0, 1)])
    error = np.abs(near / found - 1).min(0)
    assert (error[valid] < 0.01).all()
    assert np.median(np.abs(found / truth - 1)[valid]) < 0.002
    # The board's outline is where it should be, to a pixel.
    board = valid & (found < 1.4)
    assert (board & ~on_board).sum() < 0.06 * on_board.sum()
    assert (on_board & ~board & valid).sum() < 0.01 * on_board.sum()


def test_no_cracks_in_a_surface():
    depth, _ = slanted_room(DEPTH, np.eye(4))
    found = DepthRegistration(DEPTH, VIEW, SIZE, POSE)(depth)
    _, on_board = slanted_room(VIEW, POSE)
    assert np.isfinite(found[on_board]).all()


def test_the_nearer_is_seen_and_the_hidden_is_not():
    """A far point that would be projected onto a near one gives way to it, whatever their order."""
    depth = np.full((1, 40), np.nan, np.float32)
    pose = rigid_transform(np.eye(3), (-0.1, 0, 0))
    camera = Intrinsics(100.0, 100.0, 0.0, 0.0)
    depth[0, 20], depth[0, 15] = 1.0, 2.0  # both come to x = 10
    found = DepthRegistration(camera, camera, (1, 40), pose)(depth)
    assert found[0, 10] == 1.0 and np.isfinite(found).sum() <= 2


def test_holes_stay_holes():
    depth, _ = slanted_room(DEPTH, np.eye(4))
    depth[100:120, 100:130] = np.nan
    found = DepthRegistration(DEPTH, DEPTH, SIZE, np.eye(4))(depth)
    np.testing.assert_array_equal(np.isnan(found[101:119, 101:129]), True)
    same = np.isfinite(depth)
    np.testing.assert_allclose(found[same], depth[same], rtol=1e-5)


def test_cameras_with_nothing_in_common_give_nothing():
    depth, _ = slanted_room(DEPTH, np.eye(4))
    behind = rigid_transform(matrix_from_quaternion(0, 1, 0, 0), (0, 0, 0))
    assert np.isnan(DepthRegistration(DEPTH, VIEW, SIZE, behind)(depth)).all()


@pytest.mark.parametrize(
    'model, distortion', [('plumb_bob', (0.1, -0.05, 0.001, 0.0, 0.0)), ('equidistant', (0.05, -0.01, 0.0, 0.0))]
)
def test_distortion_of_the_depth_camera_is_taken_out(model, distortion):
    """The depth of a slanted room by a camera with distortion gives the same view as that by one without."""
    distorted = Intrinsics(210.0, 212.0, 158.0, 121.0, distortion, model)
    depth, _ = slanted_room(distorted, np.eye(4))
    truth, _ = slanted_room(VIEW, np.eye(4))
    found = DepthRegistration(distorted, VIEW, SIZE, np.eye(4))(depth)
    error = np.abs(found / truth - 1)
    assert np.nanmedian(error) < 0.002 and np.isfinite(found).mean() > 0.9
    ignored = DepthRegistration(DEPTH, VIEW, SIZE, np.eye(4))(depth)
    assert np.nanmedian(np.abs(ignored / truth - 1)) > 1.5 * np.nanmedian(error)
    edge = np.abs(np.nan_to_num(found, nan=9) - truth)[60:180, 80:240] > 0.1
    assert edge.mean() < 0.02 < (np.abs(np.nan_to_num(ignored, nan=9) - truth)[60:180, 80:240] > 0.1).mean() + 0.02


def info(**fields):
    return SimpleNamespace(
        **{
            'k': [200, 0, 99.5, 0, 200, 49.5, 0, 0, 1],
            'd': [],
            'distortion_model': 'plumb_bob',
            'p': [0] * 12,
            'width': 200,
            'height': 100,
            **fields,
        }
    )


def test_intrinsics_of_camera_info():
    assert Intrinsics.from_message(info(d=[0.0] * 5), 'x') == Intrinsics(200, 200, 99.5, 49.5)
    assert Intrinsics.from_message(info(d=[0.1] + [0.0] * 4), 'x').distortion == (0.1, 0, 0, 0, 0)
    p = [190, 0, 98, 0, 0, 191, 48, 0, 0, 0, 1, 0]
    assert Intrinsics.from_message(info(d=[0.1], p=p), 'x', rectified=True) == Intrinsics(190, 191, 98, 48)
    with pytest.raises(InputError, match='^/c/info: K is zero'):
        Intrinsics.from_message(info(k=[0] * 9), '/c/info')
    with pytest.raises(InputError, match="^/c/info: distortion model 'division' is not known; .*; rectify the image"):
        Intrinsics.from_message(info(d=[0.1], distortion_model='division'), '/c/info')


@pytest.mark.parametrize('name', ['equidistant', 'fisheye'])
def test_a_fisheye_is_taken(name):
    found = Intrinsics.from_message(info(d=[0.1, 0.0, 0.0, 0.0], distortion_model=name), 'x')
    assert found == Intrinsics(200, 200, 99.5, 49.5, (0.1, 0, 0, 0), 'equidistant')
    assert found.resized(0.5).distortion_model == 'equidistant'
    # r = f (t + 0.1 t^3) for a ray at the angle t.
    angle = np.arctan(found.rays(100, 200)[49:51, 199, 0].mean())
    assert 200 * (angle + 0.1 * angle**3) == pytest.approx(99.5, abs=0.01)


IDENTITY = [1, 0, 0, 0, 1, 0, 0, 0, 1]
P = [190, 0, 98, 0, 0, 191, 48, 0, 0, 0, 1, 0]


@pytest.mark.parametrize('rectified', [False, True])
def test_p_is_used_where_k_is_invalid(rectified):
    found = Intrinsics.from_message(info(k=IDENTITY, p=P), 'x', rectified=rectified)
    assert found == Intrinsics(190, 191, 98, 48)


@pytest.mark.parametrize(
    'fields, said',
    [
        ({'d': [math.nan] * 5}, 'D is not finite'),
        ({'d': [0, 0, 0, 0, math.inf]}, 'D is not finite'),
        *(({'d': [value, 0, 0, 0, 0]}, 'D is of no camera') for value in (1e9, 900.0, 50.0, -1000.0)),
        *(({'d': [0.01] * n}, f'D has {n} coefficients') for n in (1, 2, 3, 6, 7, 9, 13, 100)),
        ({'k': [math.nan] * 9}, 'K is of no camera'),
        ({'k': [1e30, 0, 99.5, 0, 1e30, 49.5, 0, 0, 1]}, 'K is of no camera'),
        ({'k': [200, 0, 1e9, 0, 200, 49.5, 0, 0, 1]}, 'K is of no camera'),
        ({'k': IDENTITY}, 'K is of no camera'),
        ({'k': [200] * 4}, 'K and P have 4 and 12 elements'),
    ],
)
def test_values_of_no_camera_are_refused(fields, said):
    with pytest.raises(InputError, match=f'^/c/info: {said}'):
        Intrinsics.from_message(info(**fields), '/c/info')


def test_strong_distortion_of_real_cameras_is_taken():
    for d in ([-0.45, 0.2, 0, 0, 0], [0.3, -0.1, 0, 0, 0], [0.5, -2.6, 1e-4, 0, 1.5, 0.38, -2.4, 1.4]):
        model = 'plumb_bob' if len(d) == 5 else 'rational_polynomial'
        k = [130, 0, 99.5, 0, 130, 49.5, 0, 0, 1]
        assert Intrinsics.from_message(info(d=d, k=k, distortion_model=model), 'x').distortion == tuple(d)


def test_resized_keeps_the_rays():
    half = VIEW.resized(0.5)
    np.testing.assert_allclose(half.rays(120, 160)[0, 0], VIEW.rays(*SIZE)[:2, :2].mean((0, 1)), rtol=1e-5)
