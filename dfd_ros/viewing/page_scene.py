"""The 3D part of the page: the cloud, the camera, and the planes that were in focus."""

from __future__ import annotations

import math
from collections import deque
from typing import TYPE_CHECKING

import numpy as np

from dfd_ros.core.optics import VergenceRange
from dfd_ros.drawing import visualise
from dfd_ros.viewing import point_cloud_of_depth
from dfd_ros.viewing.viewed_frame import Pinhole, ViewedFrame

if TYPE_CHECKING:
    import viser

COLOURS = ('all in focus', 'image', 'depth', 'confidence')  # the image, where what is chosen is not known
PLANES = 12  # in focus before
FOCUS_COLOUR, PAST_COLOUR, CAMERA_COLOUR = (255, 170, 60), (96, 104, 120), (150, 156, 168)
MAX_REACH = 1.5  # planes in focus that are farther than so many times the points are not drawn
EYE = np.array([0.47, -0.38, -0.8])  # from what is looked at
FILLING = 4.0  # times the height of the view at the middle of the range
NO_POINTS = np.zeros((0, 3), np.float32)
RESIZED = 1.2  # smallest change of the size of points that is sent


class Scene:
    """The scene in the optical frame of the camera: x right, y down, z forward, m."""

    def __init__(self, server: viser.ViserServer) -> None:
        self._server = server
        scene = server.scene
        scene.set_up_direction('-y')
        server.initial_camera.position, server.initial_camera.look_at = (0.25, -0.2, -0.4), (0.0, 0.0, 0.6)
        server.initial_camera.near = 0.005
        self._cloud = scene.add_point_cloud(
            '/points',
            NO_POINTS,
            np.zeros((0, 3), np.uint8),
            point_size=0.002,
            point_shape='square',
            point_shading='flat',
        )
        # viser makes a new material for new colours. The browser would compile its shader again each time, which takes
        # longer than all the rest, unless somebody else uses the same shader.
        scene.add_point_cloud(
            '/shader',
            np.zeros((2, 3), np.float32),
            np.zeros((2, 3), np.uint8),
            point_size=0.0,
            point_shape='square',
            point_shading='flat',
        )
        segments = np.zeros((1, 2, 3), np.float32)
        self._past = scene.add_line_segments(
            '/focus/past', segments, PAST_COLOUR, thickness=1.0, thickness_units='screen'
        )
        self._focus = scene.add_line_segments(
            '/focus/now', segments, FOCUS_COLOUR, thickness=3.0, thickness_units='screen'
        )
        self._camera = scene.add_line_segments(
            '/camera', segments, CAMERA_COLOUR, thickness=1.5, thickness_units='screen'
        )
        self._mark = scene.add_label('/mark', '', visible=False)
        self._foci: deque[float] = deque(maxlen=PLANES)
        self._drawn: tuple[Pinhole, tuple[int, int], float] | None = None
        self._seen: VergenceRange | None = None
        self.points = NO_POINTS
        """(N, 3) m, as shown."""
        self._pixels = np.zeros((0, 2), int)
        self.colours, self.size, self.most = COLOURS[0], 1.0, point_cloud_of_depth.MAX_POINTS
        """What colours the points, a factor of their size, and their maximum number."""

    def show(self, frame: ViewedFrame) -> None:
        """Shows the points and the focus of a frame."""
        if frame.range is not None and frame.range != self._seen:
            self._look_at(frame.range, frame)
        self._show_points(frame)
        self._draw_focus(frame)

    def _show_points(self, frame: ViewedFrame) -> None:
        depth = frame.shown_depth
        if depth is None:
            return
        step = point_cloud_of_depth.step_of(depth.size, self.most)
        self.points, self._pixels = point_cloud_of_depth.points_of(depth, frame.camera, step)
        colours = self._colours_of(frame, depth)
        if len(self.points):
            # So that neighbours touch at the median distance.
            size = self.size * 1.1 * step / frame.camera.fx * float(np.median(self.points[:, 2]))
            if not 1 / RESIZED < size / self._cloud.point_size < RESIZED:
                self._cloud.point_size = size
        with self._server.atomic():
            self._cloud.points = self.points.astype(np.float16)
            self._cloud.colors = colours

    def pixel_met_by(self, origin: tuple[float, float, float], direction: tuple[float, float, float]) -> tuple | None:
        """The pixel (x, y) of the point that a ray meets."""
        pixels = self._pixels
        met = point_cloud_of_depth.met_by(np.array(origin), np.array(direction), self.points)
        return None if met is None or met >= len(pixels) else (int(pixels[met, 0]), int(pixels[met, 1]))

    def mark(self, position: np.ndarray | None, text: str) -> None:
        """Labels a point; None: nothing is labelled."""
        self._mark.visible = position is not None
        if position is not None:
            self._mark.position = position
            self._mark.text = text

    def forget(self) -> None:
        """Before the first frame of another scene."""
        self._foci.clear()
        self._seen = None

    def _colours_of(self, frame: ViewedFrame, depth: np.ndarray) -> np.ndarray:
        x, y = self._pixels.T
        if self.colours == 'depth' and frame.range is not None:
            return visualise.depth_picture(depth[y, x], frame.range)
        if self.colours == 'confidence' and frame.confidence is not None:
            return visualise.confidence_picture(frame.confidence[y, x])
        if self.colours == 'all in focus' and frame.all_in_focus is not None:
            return frame.all_in_focus[y, x]
        return frame.image[y, x]

    def _draw_focus(self, frame: ViewedFrame) -> None:
        focus = frame.focus_distance
        if math.isnan(focus):
            return
        shape = frame.image.shape[0], frame.image.shape[1]
        drawn = frame.camera, shape, focus
        if drawn == self._drawn:
            return
        self._drawn = drawn
        if focus in self._foci:
            self._foci.remove(focus)
        near = frame.range.near if frame.range is not None else focus
        farthest = MAX_REACH * float(np.quantile(self.points[:, 2], 0.95)) if len(self.points) else 2 * near
        with self._server.atomic():
            self._past.points = _rectangles(frame.camera, shape, [z for z in self._foci if z <= farthest])
            self._focus.points = _rectangles(frame.camera, shape, [focus] if focus <= farthest else [])
            corners = _rectangles(frame.camera, shape, [0.5 * near])
            self._camera.points = np.concatenate([corners, np.stack([np.zeros_like(corners[:, 0]), corners[:, 0]], 1)])
        self._foci.append(focus)

    def _look_at(self, range_: VergenceRange, frame: ViewedFrame) -> None:
        """Puts the eye beside the camera, so that the cloud has depth and fills the view."""
        self._seen = range_
        middle = 2 / (1 / range_.near + 1 / range_.far)
        half_height = middle * frame.image.shape[0] / 2 / frame.camera.fy
        away = max(0.3 * middle, FILLING * half_height)
        target = np.array([0.0, 0.0, middle])
        position = target + away * EYE
        self._server.initial_camera.position, self._server.initial_camera.look_at = position, target
        for client in self._server.get_clients().values():
            client.camera.position, client.camera.look_at = position, target


def _rectangles(camera: Pinhole, shape: tuple[int, int], distances: list[float]) -> np.ndarray:
    """(N, 2, 3) float32: the edges of the view at distances (m). Without distances, one line without length, since
    viser refuses an empty array."""
    height, width = shape
    x = (np.array([-0.5, width - 0.5, width - 0.5, -0.5]) - camera.cx) / camera.fx
    y = (np.array([-0.5, -0.5, height - 0.5, height - 0.5]) - camera.cy) / camera.fy
    corners = np.stack([x, y, np.ones(4)], 1)
    edges = [np.stack([z * corners, z * np.roll(corners, -1, 0)], 1) for z in distances]
    return np.concatenate(edges or [np.zeros((1, 2, 3))]).astype(np.float32)
