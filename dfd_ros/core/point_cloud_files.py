"""Coloured point clouds of a depth image, as PLY and GLB files.

PLY (Turk, 1994) is what MeshLab, CloudCompare, Open3D and RViz tools read; GLB is binary glTF 2.0 (Khronos, sections
3.6 and 4.4), which browsers and 3D viewers show. Needs NumPy alone.
"""

from __future__ import annotations

import json
import math
import struct
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from dfd_ros.core.colour import srgb_decode
from dfd_ros.core.files import written_atomically

MAX_POINTS = 1_000_000
"""Larger images are thinned out evenly: viewers in a browser do not show more."""
_FLOAT, _UNSIGNED_SHORT, _ARRAY_BUFFER, _POINTS = 5126, 5123, 34962, 0  # of glTF


@dataclass
class PointCloud:
    """Points of a camera: x right, y down, z forward (REP 103, an optical frame)."""

    xyz: np.ndarray
    """(N, 3) float32, m."""
    rgb: np.ndarray
    """(N, 3) uint8."""
    confidence: np.ndarray
    """(N,) float32, 0..1."""

    def __len__(self) -> int:
        return len(self.xyz)

    @classmethod
    def of_depth(cls, depth: np.ndarray, rgb: np.ndarray, confidence: np.ndarray, focal_length_px: float) -> PointCloud:
        """The points of a pinhole camera with its principal point in the middle, where depth is finite.

        Args:
            depth: (H, W) float32 m along the optical axis, NaN = unknown.
            rgb: (H, W, 3) uint8.
            confidence: (H, W) float32.
            focal_length_px: in pixels.
        """
        height, width = depth.shape
        step = max(1, math.ceil(math.sqrt(depth.size / MAX_POINTS)))
        y, x = np.mgrid[0:height:step, 0:width:step]
        z, rgb, confidence = (values[::step, ::step] for values in (depth, rgb, confidence))
        known = np.isfinite(z)
        x, y, z = x[known] - (width - 1) / 2, y[known] - (height - 1) / 2, z[known]
        xyz = np.stack([x * z / focal_length_px, y * z / focal_length_px, z], -1).astype(np.float32)
        return cls(xyz, rgb[known], confidence[known].astype(np.float32))


def write_ply(path: str | Path, cloud: PointCloud) -> None:
    """Binary PLY in the camera's optical frame: x, y, z (m), red, green, blue, confidence."""
    fields = [('x', '<f4'), ('y', '<f4'), ('z', '<f4'), ('red', 'u1'), ('green', 'u1'), ('blue', 'u1')]
    points = np.empty(len(cloud), [*fields, ('confidence', '<f4')])
    for i, name in enumerate('xyz'):
        points[name] = cloud.xyz[:, i]
    for i, name in enumerate(('red', 'green', 'blue')):
        points[name] = cloud.rgb[:, i]
    points['confidence'] = cloud.confidence
    types = {'<f4': 'float', 'u1': 'uchar'}
    properties = ''.join(f'property {types[kind]} {name}\n' for name, kind in [*fields, ('confidence', '<f4')])
    header = (
        'ply\nformat binary_little_endian 1.0\n'
        'comment metres, x right, y down, z forward\n'
        f'element vertex {len(cloud)}\n{properties}end_header\n'
    )
    with written_atomically(path) as temporary:
        temporary.write_bytes(header.encode('ascii') + points.tobytes())


def write_glb(path: str | Path, cloud: PointCloud) -> None:
    """GLB with one point primitive, in the axes of glTF: x right, y up, z backward, m."""
    positions = (cloud.xyz * np.array([1, -1, -1], np.float32)).astype('<f4')
    colours = np.full((len(cloud), 4), 65535, '<u2')  # with alpha: glTF wants vertices aligned to four bytes
    colours[:, :3] = _linear(cloud.rgb)
    binary = positions.tobytes() + colours.tobytes()
    scene: dict = {'asset': {'version': '2.0', 'generator': 'dfd_ros'}, 'scene': 0, 'scenes': [{}]}
    if len(cloud):  # glTF has no empty accessors
        scene |= {
            'scenes': [{'nodes': [0]}],
            'nodes': [{'mesh': 0, 'name': 'point cloud'}],
            'meshes': [{'primitives': [{'mode': _POINTS, 'attributes': {'POSITION': 0, 'COLOR_0': 1}}]}],
            'accessors': [
                {
                    'bufferView': 0,
                    'componentType': _FLOAT,
                    'count': len(cloud),
                    'type': 'VEC3',
                    'min': positions.min(0).tolist(),
                    'max': positions.max(0).tolist(),
                },
                {
                    'bufferView': 1,
                    'componentType': _UNSIGNED_SHORT,
                    'normalized': True,
                    'count': len(cloud),
                    'type': 'VEC4',
                },
            ],
            'bufferViews': [
                {'buffer': 0, 'byteLength': positions.nbytes, 'target': _ARRAY_BUFFER},
                {'buffer': 0, 'byteOffset': positions.nbytes, 'byteLength': colours.nbytes, 'target': _ARRAY_BUFFER},
            ],
            'buffers': [{'byteLength': len(binary)}],
        }
    text = json.dumps(scene, separators=(',', ':')).encode()
    text += b' ' * (-len(text) % 4)
    chunks = struct.pack('<I4s', len(text), b'JSON') + text
    if binary:
        chunks += struct.pack('<I4s', len(binary), b'BIN\0') + binary
    with written_atomically(path) as temporary:
        temporary.write_bytes(struct.pack('<4sII', b'glTF', 2, 12 + len(chunks)) + chunks)


def _linear(rgb: np.ndarray) -> np.ndarray:
    """uint16: the colours of glTF's vertices are linear, those of images are sRGB."""
    return np.round(srgb_decode(np.arange(256) / 255) * 65535).astype('<u2')[rgb]
