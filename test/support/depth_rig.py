"""A camera played by the test, and a depth node that listens to it."""

import time

import cv2
import numpy as np
import pytest
from diagnostic_msgs.msg import DiagnosticArray, DiagnosticStatus
from ros_processes import PATIENCE, wait_until
from sensor_msgs.msg import CameraInfo, Image
from std_msgs.msg import Header

from dfd_ros.core.lens_state import LensState
from dfd_ros.msg import LensState as LensStateMessage
from dfd_ros.ros import image_messages, messages, qos
from dfd_ros.ros.synchronisation import nanoseconds

WIDTH, HEIGHT = 96, 64
FOCUS = [3.0, 1.0, 0.6, 0.4, 0.3]


class Rig:
    """A camera played by the test, and a depth node that listens to it."""

    def __init__(self, observer, process, namespace):
        self.process, self.observer, self.name = process, observer, f'{namespace}/depth'
        self.depth, self.coc, self.confidence = (
            observer.listen(Image, f'{namespace}/{topic}', qos.PUBLISHER)
            for topic in ('depth/image_rect', 'coc/image', 'confidence/image')
        )
        self.info = observer.listen(CameraInfo, f'{namespace}/depth/camera_info', qos.PUBLISHER)
        self.diagnostics = observer.listen(DiagnosticArray, '/diagnostics')
        self._images = observer.publisher(Image, f'{namespace}/image_raw', qos.PUBLISHER)
        self._states = observer.publisher(LensStateMessage, f'{namespace}/lens_state', qos.PUBLISHER)
        self._infos = observer.publisher(CameraInfo, f'{namespace}/camera_info', qos.PUBLISHER)
        noise = np.random.default_rng(0).normal(size=(HEIGHT, WIDTH, 3)).astype(np.float32)
        blurred = [cv2.GaussianBlur(noise, (0, 0), 0.5 + 0.5 * i) for i in range(len(FOCUS))]
        self._pixels = [np.clip(128 + 100 * image, 0, 255).astype(np.uint8) for image in blurred]
        self._count = 0

    @property
    def focus_distance(self):
        """Of the next image."""
        return FOCUS[self._count % len(FOCUS)]

    def header(self):
        return Header(stamp=self.observer.node.get_clock().now().to_msg(), frame_id='lens')

    def image(self, header=None, **changes):
        message = image_messages.to_message(self._pixels[self._count % len(FOCUS)], header or self.header())
        for name, value in changes.items():
            setattr(message, name, value)
        return message

    def state(self, header, **changes):
        state = LensState(self.focus_distance, 0.004, 1.8, 2e-6, near=0.3, far=3.0)
        self._count += 1
        message = messages.to_message(state, header)
        for name, value in changes.items():
            setattr(message, name, value)
        return message

    def send(self, image=None, **state_changes):
        """An image with its lens state; gives the header of both."""
        image = image or self.image()
        self._states.publish(self.state(image.header, **state_changes))
        self._images.publish(image)
        return image.header

    def send_image(self, image):
        self._images.publish(image)

    def send_state(self, state):
        self._states.publish(state)

    def send_info(self, info):
        self._infos.publish(info)

    def send_until(self, condition, what, image=None, **state_changes):
        """Sends one and the same image until `condition` holds: best effort may lose one."""
        image = image or self.image()

        def holds():
            self.send(image, **state_changes)
            time.sleep(0.1)
            return condition()

        wait_until(holds, what)

    def answer_to(self, make_image):
        """Sends images until one is answered; gives the depth. Each has its own stamp: a busy node drops some, and
        takes no stamp twice."""
        sent = []

        def answered():
            sent.append(self.send(make_image()))
            time.sleep(0.1)
            return next((depth for depth in list(self.depth) if depth.header in sent), None)

        return wait_until(answered, 'depth')

    def answer(self, **state_changes):
        """Sends a good pair until a depth image answers it; gives that. Best effort may lose one."""
        for _ in range(20):
            header = self.send(**state_changes)
            try:
                return wait_until(lambda: with_header(self.depth, header), 'depth', 10.0)
            except AssertionError:
                assert self.process.process.poll() is None, self.process.output
        pytest.fail(f'no depth: {self.process.output}')


def with_header(heard, header):
    """The message of this header among those heard, or None."""
    return next((m for m in list(heard) if m.header == header), None)


def array(message):
    return np.frombuffer(message.data, np.float32).reshape(message.height, message.width)


def status(rig):
    """The node's next diagnostics: level, message, figures."""
    asked, name = nanoseconds(rig.header().stamp), rig.name.lstrip('/')

    def answered():
        arrays = [array for array in list(rig.diagnostics) if nanoseconds(array.header.stamp) >= asked]
        return [status for array in arrays for status in array.status if status.name == name]

    status = wait_until(answered, 'diagnostics')[0]
    return status.level, status.message, {v.key: v.value for v in status.values}


def figures(rig):
    return status(rig)[2]


def warned(rig, words, **changes):
    """Sends good images, but for `changes` of their lens states, until diagnostics warn with `words`."""
    end, said = time.monotonic() + PATIENCE, ''
    while time.monotonic() < end:
        for _ in range(8):
            rig.send(**changes)
            time.sleep(0.05)
        level, said, values = status(rig)
        if level == DiagnosticStatus.WARN and words in said:
            return values
    pytest.fail(f'{words!r} not said, but {said!r}')


def is_well_again(rig):
    rig.answer()
    end = time.monotonic() + PATIENCE
    while time.monotonic() < end:
        for _ in range(8):
            rig.send()
            time.sleep(0.05)
        level, said, values = status(rig)
        # A node that has only begun is OK as well.
        if level == DiagnosticStatus.OK and int(values['focus positions']) >= 3:
            return values
    pytest.fail(f'still {said!r}, {values}')
