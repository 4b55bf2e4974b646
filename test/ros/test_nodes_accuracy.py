"""The accuracy node over DDS: its figures for errors that are known, and what broken input makes it say."""

import math
import time

import numpy as np
import pytest

pytest.importorskip('rclpy')

from diagnostic_msgs.msg import DiagnosticArray
from ros_processes import wait_until
from sensor_msgs.msg import CameraInfo, Image
from std_msgs.msg import Float32, Header

from dfd_ros.calibration.calibration_file import Calibration, CameraModel, Extrinsics
from dfd_ros.core.lens_state import LensState
from dfd_ros.msg import LensState as LensStateMessage
from dfd_ros.ros import image_messages, messages, qos
from dfd_ros.ros.nodes.accuracy import compare

WIDTH, HEIGHT = 80, 60
VIEW = CameraModel(WIDTH, HEIGHT, 100.0, 100.0, 39.5, 29.5)
SENSOR = CameraModel(WIDTH // 2, HEIGHT // 2, 50.0, 50.0, 19.5, 14.5)
FIGURES = ('mse', 'rms', 'accuracy', 'abs_rel')


class Rig:
    """A depth node and an RGB-D sensor played by the test, in a namespace of its own."""

    def __init__(self, observer, start_node, namespace, **parameters):
        self.observer, self.name = observer, f'{namespace}/accuracy'
        self.process = start_node('accuracy', '-r', f'__ns:={namespace}', **parameters)
        self.heard = {figure: observer.listen(Float32, f'{self.name}/{figure}', qos.PUBLISHER) for figure in FIGURES}
        self.diagnostics = observer.listen(DiagnosticArray, '/diagnostics')

        def publisher(kind, topic):
            return observer.publisher(kind, f'{namespace}/{topic}', qos.PUBLISHER)

        self._state = publisher(LensStateMessage, 'lens_state')
        self._depth, self._truth = (publisher(Image, f'{topic}/image_rect') for topic in ('depth', 'rgbd/depth'))
        self._depth_info, self._truth_info = (
            publisher(CameraInfo, f'{topic}/camera_info') for topic in ('depth', 'rgbd/depth')
        )

    def play(self, depth, truth, *, late=0.0, truth_frame='lens', camera=VIEW, infos=True, state=None):
        """A pair: depth (H, W) float32 m, truth (H / 2, W / 2) uint16 mm or float32 m, or any message of an image."""
        now = self.observer.node.get_clock().now()
        header = Header(stamp=now.to_msg(), frame_id='lens')
        stamp = type(now)(nanoseconds=now.nanoseconds + round(late * 1e9)).to_msg()
        truth_header = Header(stamp=stamp, frame_id=truth_frame)
        if state is not None:
            self._state.publish(messages.to_message(state, header))
        if infos:
            self._truth_info.publish(messages.calibrated_camera_info(SENSOR, truth_header))
        message = image_messages.to_message(truth, truth_header) if isinstance(truth, np.ndarray) else truth
        message.header = truth_header
        self._truth.publish(message)
        self._depth_info.publish(messages.calibrated_camera_info(camera, header))
        self._depth.publish(image_messages.to_message(depth, header))
        time.sleep(0.05)

    def give(self, figures, *arguments, **options):
        """Plays pairs like this until `figures` are published for them; those of earlier pairs may come first."""

        def come():
            self.play(*arguments, **options)
            found = {name: values[-1].data for name, values in self.heard.items() if values}
            return {name: found.get(name) for name in figures} == pytest.approx(figures, rel=1e-4, abs=1e-6)

        wait_until(come, f'the figures {figures}')

    def status(self):
        name = self.name.lstrip('/')
        found = [status for array in list(self.diagnostics) for status in array.status if status.name == name]
        return found[-1] if found else None

    def warns(self, words, *arguments, **options):
        """Plays pairs until the node warns; diagnostics then say it too. Nothing is published for them."""

        def reported():
            self.play(*arguments, **options)
            assert self.process.process.poll() is None, self.process.output
            return words in self.process.output and self.status() and words in self.status().message

        wait_until(reported, words)
        assert not any(self.heard.values())
        lines = [line for line in self.process.output.splitlines() if words in line]
        assert len(lines) < 4


@pytest.fixture
def rig(observer, start_node, request):
    namespace = '/' + request.node.name.partition('[')[0]
    return Rig(observer, start_node, namespace, **getattr(request, 'param', {}))


def flat(value, kind=np.float32, scale=1):
    return np.full((HEIGHT // scale, WIDTH // scale), value, kind)


def test_errors_that_are_known(rig):
    # 16UC1 in mm, then 32FC1 in m; holes of either image do not count.
    holes = flat(2000, np.uint16, 2)
    holes[:10] = 0
    estimate = flat(2.2)
    estimate[40:] = math.nan
    known = {'mse': 0.04, 'rms': 0.2, 'accuracy': 100.0, 'abs_rel': 0.1}
    rig.give(known, estimate, holes)
    known = {'mse': 1.0, 'rms': 1.0, 'accuracy': 0.0, 'abs_rel': 0.5}
    rig.give(known, flat(3.0), flat(2.0, scale=2))
    wait_until(lambda: rig.status() and 'means of the last' in rig.status().message, 'diagnostics')
    values = {v.key: float(v.value) for v in rig.status().values}
    assert values['with depth to compare'] >= 2 and 0.04 <= values['mse'] <= 1.0 and 'accuracy (%)' in values
    assert ' %, RMS ' in rig.process.output


def test_depth_beyond_the_range_counts_as_far(rig):
    truth = flat(1.0, scale=2)
    truth[:, 20:] = 5.0
    state = LensState(1.0, near=0.5, far=3.0)
    rig.give({'abs_rel': 0.1}, flat(1.1), truth, state=state)
    known = {'mse': 4.0, 'rms': 2.0, 'accuracy': 0.0, 'abs_rel': 2.0}
    rig.give(known, flat(math.inf), truth, state=state)


def test_the_sensor_stands_where_the_calibration_says(observer, start_node, tmp_path):
    """A sensor 1 m behind the focus camera, and a lens that distorts: the same wall, other depths."""
    Calibration(extrinsics=Extrinsics('lens', 'rgbd', (0.0, 0.0, -1.0), (0.0, 0.0, 0.0))).write(tmp_path / 'rig.yaml')
    rig = Rig(observer, start_node, '/calibrated', calibration=tmp_path / 'rig.yaml', largest_depth=2.0)
    camera = CameraModel(WIDTH, HEIGHT, 100.0, 100.0, 39.5, 29.5, (-0.2, 0.0, 0.0, 0.0, 0.0))
    views = {'truth_frame': 'rgbd', 'camera': camera}
    known = {'mse': 0.0, 'rms': 0.0, 'accuracy': 100.0, 'abs_rel': 0.0}
    rig.give(known, flat(2.0), flat(3.0, scale=2), **views)
    rig.give({'rms': 0.5, 'abs_rel': 0.5}, flat(3.0), flat(3.0, scale=2), **views)


def test_no_transform(rig):
    rig.warns("no transform from 'elsewhere' to 'lens'", flat(1.0), flat(1.0, scale=2), truth_frame='elsewhere')


def test_no_overlap(observer, start_node, tmp_path):
    backwards = Extrinsics('lens', 'rgbd', (0.0, 0.0, 0.0), (0.0, math.pi, 0.0))
    Calibration(extrinsics=backwards).write(tmp_path / 'rig.yaml')
    rig = Rig(observer, start_node, '/backwards', calibration=tmp_path / 'rig.yaml')
    rig.warns('none of its depth falls into the view', flat(1.0), flat(1.0, scale=2), truth_frame='rgbd')


def test_stamps_far_apart(rig):
    rig.warns('the parameter slop asks for less than 0.02 s', flat(1.0), flat(1.0, scale=2), late=3600.0)


def test_wrong_encoding_of_either(rig):
    pixels = np.zeros((HEIGHT // 2, WIDTH // 2, 3), np.uint8)
    rig.warns(
        "rgbd/depth/image_rect: encoding 'rgb8' is no depth", flat(1.0), image_messages.to_message(pixels, Header())
    )
    rig.warns("depth/image_rect: encoding '16UC1', 32FC1 expected", flat(1, np.uint16), flat(1.0, scale=2))


def test_infos_that_are_missing_or_of_another_camera(rig):
    rig.warns('rgbd/depth/camera_info yet', flat(1.0), flat(1.0, scale=2), infos=False)
    rig.warns('camera_info: of 40x30 pixels, but the images have 80x60', flat(1.0), flat(1.0))


def test_nothing_to_compare_with(rig):
    wait_until(lambda: 'nothing on /test_nothing_to_compare_with/depth/image_rect, ' in rig.process.output, 'a warning')
    assert rig.process.stop() == 0 and 'Traceback' not in rig.process.output


def test_what_cannot_work_ends_with_one_line(start_node, tmp_path):
    for parameters, words in (
        ({'near': 1.0}, 'near and far: give both or neither'),
        ({'near': 2.0, 'far': 1.0}, 'near: 2.0 m is not nearer than far'),
        ({'calibration': tmp_path / 'none.yaml'}, 'none.yaml'),
    ):
        process = start_node('accuracy', **parameters)
        assert process.wait() == 2 and words in process.output and process.output.count('\n') == 1


def test_no_pixel_that_both_see_gives_no_figure():
    nothing = np.full((2, 2), np.nan, np.float32)
    assert compare(nothing, np.ones((2, 2), np.float32), (0.0, math.inf), 1.0) is None
    assert compare(np.full((2, 2), np.inf, np.float32), np.ones((2, 2), np.float32), (0.0, math.inf), 1.0) is None
