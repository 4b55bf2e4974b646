"""Bags of a focus camera and an RGB-D sensor that look at a known scene, written by rosbags as anybody's are."""

import math
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from dfd_ros.bags.depth_reprojection import Intrinsics
from dfd_ros.bags.message_types import typestore
from dfd_ros.calibration.calibration_file import Aperture, Calibration, CameraModel, Extrinsics
from dfd_ros.core.geometry import matrix_from_quaternion, rigid_transform
from dfd_ros.core.optics import Lens

STORE = typestore()
SIZE = 96, 128  # height, width of both cameras
VIEW = Intrinsics(130.0, 130.0, 63.5, 47.5)  # the focus camera, focused at infinity
DEPTH = Intrinsics(110.0, 110.0, 64.0, 47.0)
ANGLE = math.radians(3) / 2
QUATERNION = (0.0, math.sin(ANGLE), 0.0, math.cos(ANGLE))
TRANSLATION = (-0.04, 0.01, 0.01)
POSE = rigid_transform(matrix_from_quaternion(*QUATERNION), TRANSLATION)  # depth camera to focus camera
FOCUS = (math.inf, 2.0, 1.0, 0.5)
RATE = 30.0
START = 200000.0  # s
IMAGE_FRAME, DEPTH_FRAME = 'focus_camera_optical_frame', 'rgbd_camera_depth_optical_frame'


def magnification(focus_distance):
    return 1 + 0.03 / focus_distance


def view_at(focus_distance):
    """The focus camera at a focus distance (m): its image has grown about its centre."""
    return replace(VIEW, fx=VIEW.fx * magnification(focus_distance), fy=VIEW.fy * magnification(focus_distance))


def calibration_file(path, **changes):
    """Of both cameras, but for `changes`."""
    calibration = Calibration(
        focus_camera=CameraModel(SIZE[1], SIZE[0], VIEW.fx, VIEW.fy, VIEW.cx, VIEW.cy, focus_distance=math.inf),
        aperture=Aperture(SIZE[1], Lens(0.0043, 1.8, 3e-5), (math.inf, 0.5), (1.0, magnification(0.5))),
        extrinsics=Extrinsics.from_matrix(POSE, IMAGE_FRAME, DEPTH_FRAME),
    )
    replace(calibration, **changes).write(path)
    return path


def room(camera, pose=None):
    """(depth, texture coordinates) of a slanted wall in a camera; `pose`: depth camera to that camera."""
    pose = np.eye(4) if pose is None else pose
    rays = camera.rays(*SIZE).astype(float)
    directions = np.concatenate([rays, np.ones((*SIZE, 1))], -1) @ pose[:3, :3]
    origin = -pose[:3, :3].T @ pose[:3, 3]
    normal = np.array([0.3, 0.1, 1.0])
    depth = (1.5 - origin @ normal) / (directions @ normal)
    return depth.astype(np.float32), origin + depth[..., None] * directions


def picture(points):
    """(H, W, 3) uint8 of what a camera sees, by where its rays end."""
    pattern = np.stack([np.sin(23 * points[..., 0] + k) + np.sin(31 * points[..., 1] + 2 * k) for k in range(3)], -1)
    return (120 + 40 * pattern).astype(np.uint8)


@dataclass
class Options:
    """What is odd about a recording."""

    sweeps: int = 3
    focus: tuple[float, ...] = FOCUS
    depth_encoding: str = '16UC1'
    compressed: bool = False
    offset: float = 0.0  # s by which the RGB-D sensor's clock is behind
    tf: bool = True
    infos: bool = True
    info_follows_focus: bool = True
    unsettled: int = 0  # frames at the start of each sweep
    black: int = 0  # frames
    no_depth: int = 0  # depth images without a reading
    resized_after: int = 10**9  # frames
    image_topic: str = '/image_raw'
    depth_topic: str = '/rgbd/depth/image_rect'
    pose: np.ndarray | None = None
    distortion: tuple[float, ...] = ()  # of the focus camera
    distortion_model: str = 'plumb_bob'
    depth_camera: Intrinsics = DEPTH
    color_frame: str = ''  # of colour images, of which there are none without it


def header(stamp, frame):
    types = STORE.types
    time = types['builtin_interfaces/msg/Time'](int(stamp), round(stamp % 1 * 1e9))
    return types['std_msgs/msg/Header'](time, frame)


def image_message(image, encoding, stamp, frame):
    data = np.ascontiguousarray(image)
    return STORE.types['sensor_msgs/msg/Image'](
        header(stamp, frame),
        image.shape[0],
        image.shape[1],
        encoding,
        0,
        data.strides[0],
        data.reshape(-1).view(np.uint8),
    )


def compressed_message(image, suffix, stamp, frame, prefix=b''):
    import cv2

    data = np.frombuffer(prefix + cv2.imencode(suffix, image)[1].tobytes(), np.uint8)
    kind = '16UC1; compressedDepth png' if prefix else 'jpeg'
    return STORE.types['sensor_msgs/msg/CompressedImage'](header(stamp, frame), kind, data)


def info_message(camera, stamp, frame, size=SIZE):
    types = STORE.types
    k = np.array([camera.fx, 0, camera.cx, 0, camera.fy, camera.cy, 0, 0, 1.0])
    p = np.array([camera.fx, 0, camera.cx, 0, 0, camera.fy, camera.cy, 0, 0, 0, 1, 0.0])
    roi = types['sensor_msgs/msg/RegionOfInterest'](0, 0, 0, 0, False)
    return types['sensor_msgs/msg/CameraInfo'](
        header(stamp, frame),
        *size,
        camera.distortion_model,
        np.array(camera.distortion or [0.0] * 5),
        k,
        np.eye(3).reshape(-1),
        p,
        0,
        0,
        roi,
    )


def lens_message(focus_distance, stamp, settled=True):
    kind = STORE.types['dfd_ros/msg/LensState']
    known = {
        'header': header(stamp, IMAGE_FRAME),
        'focus_distance': focus_distance,
        'focal_length': 0.0043,
        'f_number': 1.8,
        'pixel_pitch': 3e-5,
        'magnification': magnification(focus_distance),
        'near_distance': 0.1,
        'far_distance': math.inf,
        'settled': settled,
        'command_id': 0,
    }
    return kind(**{name: known.get(name, math.nan) for name, _ in STORE.fielddefs[kind.__msgtype__][1]})


def tf_message():
    types = STORE.types
    transform = types['geometry_msgs/msg/Transform'](
        types['geometry_msgs/msg/Vector3'](*TRANSLATION), types['geometry_msgs/msg/Quaternion'](*QUATERNION)
    )
    return types['tf2_msgs/msg/TFMessage'](
        [types['geometry_msgs/msg/TransformStamped'](header(0.0, IMAGE_FRAME), DEPTH_FRAME, transform)]
    )


def messages(options: Options):
    """(topic, time of recording in s, message), in order."""
    depth_image, _depth_points = room(options.depth_camera, options.pose)
    if options.tf:
        yield '/tf_static', START - 0.1, tf_message()
    count = 0
    for _ in range(options.sweeps):
        for step, focus in enumerate(options.focus):
            stamp = START + count / RATE
            grown = replace(view_at(focus), distortion=options.distortion, distortion_model=options.distortion_model)
            image = picture(room(grown, POSE)[1])
            if count < options.black:
                image = np.zeros_like(image)
            if count >= options.resized_after:
                image = np.ascontiguousarray(image[:-8])
            frame = IMAGE_FRAME
            yield '/lens_state', stamp + 0.001, lens_message(focus, stamp, step >= options.unsettled)
            if options.infos:
                info = grown if options.info_follows_focus else replace(grown, fx=VIEW.fx, fy=VIEW.fy)
                yield '/camera_info', stamp + 0.002, info_message(info, stamp, frame)
            message = (
                compressed_message(image[..., ::-1], '.png', stamp, frame)
                if options.compressed
                else image_message(image, 'rgb8', stamp, frame)
            )
            yield options.image_topic + ('/compressed' if options.compressed else ''), stamp + 0.003, message
            seen = stamp + 0.004
            depth = np.where(np.isfinite(depth_image), depth_image, 0)
            if count < options.no_depth:
                depth = np.zeros_like(depth)
            depth = (
                depth.astype(np.float32)
                if options.depth_encoding == '32FC1'
                else (np.round(depth * 1000).astype(np.uint16))
            )
            info = info_message(options.depth_camera, seen - options.offset, DEPTH_FRAME)
            yield '/rgbd/depth/camera_info', seen + 0.001, info
            if options.color_frame:
                color = image_message(image, 'rgb8', seen - options.offset, options.color_frame)
                yield '/rgbd/color/image_raw', seen + 0.0015, color
            if options.compressed and options.depth_encoding == '16UC1':
                yield (
                    options.depth_topic + '/compressedDepth',
                    seen + 0.002,
                    compressed_message(depth, '.png', seen - options.offset, DEPTH_FRAME, prefix=bytes(12)),
                )
            else:
                yield (
                    options.depth_topic,
                    seen + 0.002,
                    image_message(depth, options.depth_encoding, seen - options.offset, DEPTH_FRAME),
                )
            count += 1


def write_bag(
    path: Path, options: Options | None = None, *, storage: str = 'mcap', compression: str = '', recorded=None
) -> Path:
    """A bag as rosbags writes it. compression: '', 'file', 'message', or 'storage' (chunks of MCAP). recorded: other
    messages than those of the options."""
    from rosbags.rosbag2 import CompressionFormat, CompressionMode, StoragePlugin, Writer

    writer = Writer(path, version=9, storage_plugin=StoragePlugin[storage.upper()])
    if compression:
        writer.set_compression(CompressionMode[compression.upper()], CompressionFormat.ZSTD)
    with writer:
        connections = {}
        for topic, time, message in messages(options or Options()) if recorded is None else recorded:
            if topic not in connections:
                connections[topic] = writer.add_connection(topic, message.__msgtype__, typestore=STORE)
            writer.write(connections[topic], round(time * 1e9), STORE.serialize_cdr(message, message.__msgtype__))
    return path
