"""Odd frames and messages, for the estimator, the readers of messages and real nodes."""

import functools
import math
import time
from dataclasses import replace
from random import Random
from types import SimpleNamespace
from typing import Any

import numpy as np
import torch
from fuzz_subject import Fault, Subject
from mutations import mutate_bytes, number, whole_number
from tiny_training import TINY

from dfd_ros import networks
from dfd_ros.core.errors import InputError
from dfd_ros.core.lens_state import LensState
from dfd_ros.inference.estimator import DepthEstimator

START = 60.0  # s that nodes may take to start


class Frames(Subject):
    """Images and lens states for an estimator, which is used on and on."""

    def prepare(self):
        torch.manual_seed(0)
        self.estimator = DepthEstimator(network=networks.create('stream', **TINY), device='cpu', resolution=48)
        self.images = np.random.default_rng(0).integers(0, 255, (8, 96, 96, 3), dtype=np.uint8)
        self.stamp, self.size = 0.0, (24, 32)

    def one(self, rng):
        self.stamp = number(rng) if rng.random() < 0.02 else self.stamp + 0.03
        if rng.random() < 0.02:
            self.size = rng.choice(((24, 32), (16, 16), (17, 95), (96, 40), (15, 32), (1, 1), (0, 5)))
        image: Any = self.images[rng.randrange(8), : self.size[0], : self.size[1]]
        if rng.random() < 0.03:
            image = rng.choice((image[..., 0], image.astype(np.float32), image[..., :2], None, image * 0, image[::-1]))
        state = LensState(rng.choice((math.inf, 2.0, 1.0, 0.5)), 0.0043, 1.8, 2e-6, near=0.3, stamp=self.stamp)
        if rng.random() < 0.05:
            name = rng.choice([name for name in state.__dataclass_fields__ if name != 'settled'])
            state = replace(state, **{name: number(rng)})
        estimate = self.estimator.push(image, state)
        known = np.isfinite(estimate.confidence)
        if not known.all() or estimate.confidence.min() < 0 or estimate.confidence.max() > 1:
            raise Fault('confidence outside 0..1')
        if estimate.depth.shape != image.shape[:2] or (estimate.depth <= 0).any():
            raise Fault('depth that is not positive')


class Videos(Subject):
    """Packets of video on an image topic."""

    def prepare(self):
        from recorded_video import ENCODERS, encoded

        images = np.random.default_rng(0).integers(0, 255, (12, 48, 64, 3), dtype=np.uint8)
        self.packets = {codec: [data for _, data in encoded(images, codec)] for codec in ENCODERS}

    def one(self, rng):
        from dfd_ros.bags.video_stream import VideoStream

        codec = rng.choice(sorted(self.packets))
        packets = [mutate_bytes(data, rng) if rng.random() < 0.1 else data for data in self.packets[codec]]
        packets = [data for data in packets if rng.random() < 0.95]
        name = {'h264': 'H.264', 'hevc': 'H.265', 'av1': 'AV1', 'vp9': 'VP9'}[codec]
        stream, refused = VideoStream('/image'), None
        for data in packets:
            try:
                image = stream.add(name, data, functools.partial(SimpleNamespace, data=data))()
                if image.ndim != 3 or image.shape[2] != 3 or image.dtype != np.uint8:
                    raise Fault(f'an image of shape {image.shape}')
            except InputError as error:
                refused = error
        if refused is not None:
            raise refused


class Messages(Subject):
    """Image, LensState and CameraInfo messages. Needs ROS's messages."""

    ENCODINGS = (
        *(
            'rgb8',
            'bgr8',
            'rgba8',
            'bgra8',
            'mono8',
            'mono16',
            'rgb16',
            'yuv422',
            'yuv422_yuy2',
            'uyvy',
            'yuyv',
            'nv12',
        ),
        *(
            'nv21',
            'bayer_rggb8',
            'bayer_grbg16',
            '8UC1',
            '8UC3',
            '16UC1',
            '32FC1',
            '64FC1',
            '',
            'x' * 3000,
            'rgb8; jpeg',
        ),
    )

    def one(self, rng):
        from sensor_msgs.msg import Image

        from dfd_ros.bags.depth_reprojection import Intrinsics
        from dfd_ros.msg import LensState
        from dfd_ros.ros import image_messages, messages

        message = rng.choice((self.image, self.image, self.lens_state, self.camera_info))(rng)
        if isinstance(message, Image):
            image = rng.choice((image_messages.to_rgb, image_messages.to_map))(message, 'image')
            if image.shape[:2] != (message.height, message.width):
                raise Fault(f'an image of {image.shape} from one of {message.height}x{message.width}')
        elif isinstance(message, LensState):
            state = messages.from_message(message)
            if not state.focus_distance > 0 or (state.range is not None and not state.range.near < state.range.far):
                raise Fault(f'{state}')
        else:
            Intrinsics.from_message(message, 'camera_info')

    def image(self, rng):
        from sensor_msgs.msg import Image

        height, width, step = (rng.choice((rng.randrange(20), whole_number(rng))) for _ in range(3))
        message = Image(height=height, width=width, encoding=rng.choice(self.ENCODINGS), is_bigendian=rng.randrange(3))
        message.step = step if rng.random() < 0.5 else min(width * rng.choice((1, 2, 3, 4)), 2**32 - 1)
        message.data = rng.randbytes(min(rng.choice((0, 1, height * message.step, rng.randrange(2000))), 10_000))
        return message

    def lens_state(self, rng):
        from dfd_ros.msg import LensState

        message = LensState(settled=rng.random() < 0.9, command_id=whole_number(rng, 2**32 - 1))
        for name in message.get_fields_and_field_types():
            if isinstance(getattr(message, name), float):
                setattr(message, name, rng.choice((number(rng), 1.0)))
        return message

    def camera_info(self, rng):
        from sensor_msgs.msg import CameraInfo

        message = CameraInfo(height=whole_number(rng), width=whole_number(rng))
        message.distortion_model = rng.choice(('plumb_bob', 'rational_polynomial', 'equidistant', '', 'x' * 3000))
        message.d = [number(rng) if rng.random() < 0.3 else 0.0 for _ in range(rng.randrange(16))]
        k = (100.0, 0.0, 50.0, 0.0, 100.0, 50.0, 0.0, 0.0, 1.0)
        message.k = [number(rng) if rng.random() < 0.2 else v for v in k]
        return message


class Nodes(Messages):
    """The same, published to real nodes, which have to live on without a traceback."""

    TOPICS = {
        'image_raw': 'image',
        'lens_state': 'lens_state',
        'camera_info': 'camera_info',
        'depth/image_rect': 'image',
        'depth/camera_info': 'camera_info',
        'rgbd/depth/image_rect': 'image',
        'rgbd/depth/camera_info': 'camera_info',
    }

    def prepare(self):
        import rclpy
        from ros_processes import NodeProcess

        from dfd_ros import networks
        from dfd_ros.ros import qos

        networks.save(weights := self.folder / 'tiny.safetensors', networks.create('stream', **TINY))
        namespace = '__ns:=/fuzz'
        self.nodes = {
            name: NodeProcess(name, self.folder / f'{name}.log', '-r', namespace, **parameters)
            for name, parameters in (('depth', {'weights': weights, 'device': 'cpu'}), ('sweep', {}), ('accuracy', {}))
        }
        rclpy.init()
        self.node = rclpy.create_node('odd', namespace='/fuzz')
        self.publishers = {
            topic: self.node.create_publisher(type(getattr(self, kind)(Random(0))), topic, qos.PUBLISHER)
            for topic, kind in self.TOPICS.items()
        }
        end = time.monotonic() + START
        while time.monotonic() < end and not all(p.get_subscription_count() for p in self.publishers.values()):
            time.sleep(0.1)
        self.sent = 0

    def one(self, rng):
        topic = rng.choice(list(self.TOPICS))
        message = getattr(self, self.TOPICS[topic])(rng)
        message.header.stamp.sec = rng.choice((self.sent, self.sent, 0, 1, -1, 2**31 - 1, -(2**31)))
        message.header.frame_id = rng.choice(('camera', 'camera', '', 'x' * 3000))
        self.publishers[topic].publish(message)
        self.sent += 1
        time.sleep(0.002)
        for name, process in self.nodes.items() if self.sent % 50 == 0 else ():
            if process.process.poll() is not None or 'Traceback' in process.output:
                raise Fault(f'the node {name} has a fault: {process.output[-100:]}')

    def close(self):
        time.sleep(2.0)
        ended = {name: process.stop() for name, process in self.nodes.items()}
        for name, status in ended.items():
            output = self.nodes[name].output
            if status or 'Traceback' in output:
                raise Fault(f'the node {name} ended with {status}: {output[-100:]}')
