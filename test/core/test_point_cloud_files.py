"""Point clouds of a depth image, read back as the formats' specifications say."""

import json
import math
import struct

import numpy as np
import pytest

from dfd_ros.core import point_cloud_files
from dfd_ros.core.point_cloud_files import PointCloud, write_glb, write_ply

FOCAL = 100.0
HEIGHT, WIDTH = 24, 32
Y, X = np.mgrid[0:HEIGHT, 0:WIDTH]


@pytest.fixture
def plane():
    """A plane that recedes to the right, with a hole, an infinite point, and colours of its own."""
    depth = (1 + X / WIDTH).astype(np.float32)
    depth[0, 0], depth[0, 1] = np.nan, np.inf
    rgb = np.stack([X * 8, Y * 8, np.full_like(X, 128)], -1).astype(np.uint8)
    return depth, rgb, np.linspace(0, 1, depth.size).reshape(depth.shape)


def read_ply(path):
    header, _, body = path.read_bytes().partition(b'end_header\n')
    lines = header.decode().splitlines()
    assert lines[:2] == ['ply', 'format binary_little_endian 1.0']
    count = next(int(line.split()[-1]) for line in lines if line.startswith('element vertex'))
    types = {'float': '<f4', 'uchar': 'u1'}
    properties = [line.split()[1:] for line in lines if line.startswith('property')]
    points = np.frombuffer(body, [(name, types[kind]) for kind, name in properties])
    assert len(points) == count
    return points


def read_glb(path):
    """The description, the positions and the colours."""
    data = path.read_bytes()
    assert struct.unpack('<4sII', data[:12]) == (b'glTF', 2, len(data))
    length, kind = struct.unpack('<I4s', data[12:20])
    assert kind == b'JSON' and length % 4 == 0
    scene = json.loads(data[20 : 20 + length])
    if len(data) == 20 + length:
        return scene, None, None
    size, kind = struct.unpack('<I4s', data[20 + length : 28 + length])
    assert kind == b'BIN\0' and size % 4 == 0 and size == scene['buffers'][0]['byteLength']
    binary = data[28 + length :]
    types = {5126: '<f4', 5123: '<u2'}
    arrays = []
    for accessor in scene['accessors']:
        view = scene['bufferViews'][accessor['bufferView']]
        part = binary[view.get('byteOffset', 0) :][: view['byteLength']]
        columns = int(accessor['type'].removeprefix('VEC'))
        arrays.append(np.frombuffer(part, types[accessor['componentType']]).reshape(accessor['count'], columns))
    return scene, *arrays


def test_points_are_where_a_pinhole_camera_sees_them(plane):
    cloud = PointCloud.of_depth(*plane, FOCAL)
    depth = plane[0]
    assert len(cloud) == depth.size - 2
    seen = np.round(cloud.xyz[:, :2] / cloud.xyz[:, 2:] * FOCAL + [(WIDTH - 1) / 2, (HEIGHT - 1) / 2]).astype(int)
    np.testing.assert_array_equal(cloud.xyz[:, 2], depth[seen[:, 1], seen[:, 0]])
    np.testing.assert_array_equal(cloud.rgb, plane[1][seen[:, 1], seen[:, 0]])
    np.testing.assert_allclose(cloud.confidence, plane[2][seen[:, 1], seen[:, 0]])
    assert cloud.xyz[0, 1] < 0 < cloud.xyz[-1, 1], 'y points down'


def test_large_images_are_thinned_out(plane, monkeypatch):
    monkeypatch.setattr(point_cloud_files, 'MAX_POINTS', plane[0].size // 4)
    cloud = PointCloud.of_depth(*plane, FOCAL)
    assert len(cloud) == plane[0].size // 4 - 1  # without the hole, and without the column of the infinite point
    assert np.abs(cloud.xyz[:, 0]).max() > 0.9 * np.abs(PointCloud.of_depth(*plane, FOCAL).xyz[:, 0]).max()


def test_ply_there_and_back(plane, tmp_path):
    cloud = PointCloud.of_depth(*plane, FOCAL)
    write_ply(tmp_path / 'cloud.ply', cloud)
    points = read_ply(tmp_path / 'cloud.ply')
    np.testing.assert_array_equal(np.stack([points[n] for n in 'xyz'], -1), cloud.xyz)
    np.testing.assert_array_equal(np.stack([points[n] for n in ('red', 'green', 'blue')], -1), cloud.rgb)
    np.testing.assert_array_equal(points['confidence'], cloud.confidence)


def test_glb_there_and_back(plane, tmp_path):
    cloud = PointCloud.of_depth(*plane, FOCAL)
    write_glb(tmp_path / 'cloud.glb', cloud)
    scene, positions, colours = read_glb(tmp_path / 'cloud.glb')
    np.testing.assert_array_equal(positions, cloud.xyz * [1, -1, -1])
    accessor = scene['accessors'][0]
    assert accessor['min'] == positions.min(0).tolist() and accessor['max'] == positions.max(0).tolist()
    assert scene['meshes'][0]['primitives'][0]['mode'] == 0
    assert (colours[:, 3] == 65535).all()
    # Linear light of sRGB 128 is 0.2158.
    assert colours[0, 2] / 65535 == pytest.approx(0.2158, abs=1e-4)


def test_a_cloud_without_points_is_a_valid_file(tmp_path):
    nothing = np.full((HEIGHT, WIDTH), math.nan, np.float32)
    cloud = PointCloud.of_depth(nothing, np.zeros((HEIGHT, WIDTH, 3), np.uint8), nothing, FOCAL)
    write_ply(tmp_path / 'cloud.ply', cloud)
    write_glb(tmp_path / 'cloud.glb', cloud)
    assert len(read_ply(tmp_path / 'cloud.ply')) == 0
    scene, positions, _ = read_glb(tmp_path / 'cloud.glb')
    assert positions is None and 'accessors' not in scene and scene['asset']['version'] == '2.0'
