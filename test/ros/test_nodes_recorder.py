"""The recorder node over DDS: what it writes, its services, its diagnostics, a kill, a disk that is full."""

import contextlib
import shutil
import signal
import time

import numpy as np
import pytest

pytest.importorskip('rclpy')
pytest.importorskip('rosbags')

from diagnostic_msgs.msg import DiagnosticArray
from ros_processes import Manager, wait_until
from rosbags.rosbag2 import Reader
from sensor_msgs.msg import CameraInfo, Image
from std_msgs.msg import Header
from std_srvs.srv import Trigger

from dfd_ros.bags.bag_reader import Bag
from dfd_ros.core.errors import InputError
from dfd_ros.core.lens_state import LensState
from dfd_ros.msg import LensState as LensStateMessage
from dfd_ros.ros import image_messages, messages, qos


class Rig:
    """A focus camera and an RGB-D sensor played by the test."""

    def __init__(self, observer, namespace):
        self._observer, self.sent = observer, 0
        self.diagnostics = observer.listen(DiagnosticArray, '/diagnostics')
        self._name = f'{namespace}/recorder'.lstrip('/')

        def publisher(kind, topic):
            return observer.publisher(kind, f'{namespace}/{topic}', qos.PUBLISHER)

        self._lens, self._image = publisher(LensStateMessage, 'lens_state'), publisher(Image, 'image_raw')
        self._info, self._depth = publisher(CameraInfo, 'camera_info'), publisher(Image, 'rgbd/depth/image_rect')

    def play(self, count, *, depth=True, rate=50.0):
        for _ in range(count):
            self.sent += 1
            header = Header(stamp=self._observer.node.get_clock().now().to_msg(), frame_id='camera')
            state = LensState(1.0 + self.sent, focal_length=0.004, pixel_pitch=2e-6)
            self._lens.publish(messages.to_message(state, header))
            self._info.publish(messages.camera_info(state, 32, 24, header))
            self._image.publish(image_messages.to_message(np.full((24, 32, 3), self.sent % 256, np.uint8), header))
            if depth:
                self._depth.publish(image_messages.to_message(np.full((24, 32), 1000, np.uint16), header))
            time.sleep(1 / rate)

    def status(self):
        found = [status for array in list(self.diagnostics) for status in array.status if status.name == self._name]
        return found[-1] if found else None

    def figures(self):
        """Of the last diagnostics, by name."""
        status = self.status()
        return {} if status is None else {v.key: v.value for v in status.values}


@pytest.fixture
def recorder(start_node, observer, request, tmp_path):
    """The recorder in a namespace of the test's own, and a rig for it to hear."""
    namespace = '/' + request.node.name.partition('[')[0]
    parameters = {'folder': tmp_path / 'bags', 'disk_reserve': 0, **getattr(request, 'param', {})}
    process = start_node('recorder', '-r', f'__ns:={namespace}', **parameters)
    rig = Rig(observer, namespace)
    rig.process, rig.name, rig.folder = process, f'{namespace}/recorder', tmp_path / 'bags'
    manager = Manager(observer, rig.name)
    wait_until(lambda: manager.state() == 'active', 'the recorder active')  # what comes before is not recorded
    return rig


def the_bag(rig):
    (metadata,) = wait_until(lambda: list(rig.folder.glob('*/metadata.yaml')), 'a bag')
    return metadata.parent


LINKED = 50  # messages at most, also on a busy machine


def is_without_gap(found, first):
    """All messages from the one of this focus distance on, but for those before DDS had linked the two."""
    return found[0] < first + LINKED and found == [found[0] + i for i in range(len(found))]


def focus_distances(path, rig):
    topic = rig.name.replace('recorder', 'lens_state')
    return [m.focus_distance for _, _, m in Bag(path).messages([topic])]


def test_messages_are_recorded_and_a_signal_completes_the_bag(recorder):
    recorder.play(60)

    def is_on_disk():
        with contextlib.suppress(InputError):  # of a bag that has no message yet
            return focus_distances(the_bag(recorder), recorder)[-1:] == [61.0]

    wait_until(is_on_disk, 'the last message on disk')
    assert recorder.process.stop() == 0 and 'Traceback' not in recorder.process.output
    bag = the_bag(recorder)
    assert is_without_gap(focus_distances(bag, recorder), 2.0)
    with Reader(bag) as reader:  # by others too
        counts = {topic.rpartition('/')[2]: info.msgcount for topic, info in reader.topics.items()}
        connection = next(c for c in reader.connections if c.topic.endswith('image_raw') and c.msgcount)
        raw = next(data for _, _, data in reader.messages([connection]))
    assert 30 < counts['image_rect'] <= 60 and reader.path == bag
    from dfd_ros.bags.message_types import typestore

    assert typestore().deserialize_cdr(raw, 'sensor_msgs/msg/Image').width == 32


def test_a_kill_loses_at_most_the_last_second(recorder):

    def is_on_disk():
        recorder.play(10, rate=100.0)
        with contextlib.suppress(InputError):  # of a bag that has no message yet
            return focus_distances(the_bag(recorder), recorder)

    wait_until(is_on_disk, 'messages on disk')
    recorder.play(150, rate=100.0)
    recorder.process.process.send_signal(signal.SIGKILL)
    sent = recorder.sent
    recorder.process.wait()
    bag = the_bag(recorder)
    found = focus_distances(bag, recorder)
    assert is_without_gap(found, found[0])  # from when DDS had linked the two on
    assert sent - 100 <= found[-1] - 1 <= sent  # 100 a second
    with Reader(bag) as reader:
        assert reader.message_count >= 3 * len(found)


@pytest.mark.parametrize('recorder', [{'enabled': False}], indirect=True)
def test_start_and_stop_by_service(recorder, observer):
    def rate():
        return recorder.figures().get('lens_state (Hz)', 'nan')

    wait_until(lambda: recorder.play(5) or float(rate()) > 0, 'a link to the recorder')
    wait_until(lambda: rate() == '0', 'the end of the messages')
    response = observer.call(Trigger, f'{recorder.name}/stop', Trigger.Request())
    assert not response.success and response.message == 'nothing is being recorded'
    response = observer.call(Trigger, f'{recorder.name}/start', Trigger.Request())
    assert response.success and str(recorder.folder) in response.message
    again = observer.call(Trigger, f'{recorder.name}/start', Trigger.Request())
    assert not again.success and 'already being recorded' in again.message
    sent = recorder.sent
    recorder.play(20)
    wait_until(lambda: recorder.figures().get('messages') == '80', 'all messages in the bag')
    stopped = observer.call(Trigger, f'{recorder.name}/stop', Trigger.Request())
    assert stopped.success and 'messages' in stopped.message
    recorder.play(5)
    assert focus_distances(response.message, recorder) == [sent + 2.0 + i for i in range(20)]
    second = observer.call(Trigger, f'{recorder.name}/start', Trigger.Request())
    assert second.success and second.message != response.message


def test_diagnostics_tell_rate_drops_and_what_is_missing(recorder):
    def reported(key, least):
        recorder.play(10)
        return float(recorder.figures().get(key, 'nan')) >= least

    wait_until(lambda: reported('images with lens state and depth', 20), 'complete sets')
    values = recorder.figures()
    assert float(values['image_raw (Hz)']) > 5 and float(values['disk left (GB)']) > 0
    assert values['dropped'] == '0' and recorder.status().message == 'recording'

    def missing():
        recorder.play(10, depth=False)
        return 'nothing on /' in recorder.status().message and recorder.status().message.endswith('depth/image_rect')

    wait_until(missing, 'a warning that depth is missing')


@pytest.mark.parametrize('recorder', [{'split_time': 0.5}], indirect=True)
def test_split_by_time(recorder):
    recorder.play(100)
    assert recorder.process.stop() == 0
    assert len(list(the_bag(recorder).glob('*.mcap'))) >= 3
    found = focus_distances(the_bag(recorder), recorder)
    assert is_without_gap(found, 2.0) and len(found) >= 100 - LINKED


def test_a_disk_that_is_nearly_full_is_refused_at_the_start(start_node, tmp_path):
    process = start_node('recorder', folder=tmp_path / 'bags', disk_reserve=1000000000)
    assert process.wait() == 2
    lines = [line for line in process.output.splitlines() if line.startswith('error: ')]
    assert len(lines) == 1 and str(tmp_path / 'bags') in lines[0] and 'free some space' in lines[0]


def test_a_folder_that_cannot_be_written(start_node, tmp_path):
    (tmp_path / 'file').write_text('')
    process = start_node('recorder', folder=tmp_path / 'file')
    assert process.wait() == 2 and str(tmp_path / 'file') in process.output and 'Traceback' not in process.output


def test_mode_convert_turns_bags_into_samples_and_ends(start_node, tmp_path):
    pytest.importorskip('cv2')
    from recorded_rig import Options, write_bag

    from dfd_ros.datasets.shards import count

    write_bag(tmp_path / 'bags' / 'a', Options(image_topic='/robot/image'))
    remapping = '-r', 'image_raw:=/robot/image'  # named as while recording
    process = start_node('recorder', *remapping, mode='convert', bags=tmp_path / 'bags', output=tmp_path / 'out')
    assert process.wait() == 0 and '12 images, 12 in 3 samples' in process.output
    assert count(tmp_path / 'out') == 3


def test_a_signal_ends_mode_convert(start_node, tmp_path):
    pytest.importorskip('cv2')
    from recorded_rig import write_bag

    write_bag(tmp_path / 'bags' / '000')
    for number in range(1, 300):
        shutil.copytree(tmp_path / 'bags' / '000', tmp_path / 'bags' / f'{number:03d}')
    process = start_node('recorder', mode='convert', bags=tmp_path / 'bags', output=tmp_path / 'out', workers=2)
    wait_until(lambda: list((tmp_path / 'out').glob('*.json')) or process.process.poll() is not None, 'the first bag')
    assert process.stop(signal.SIGTERM) == 0, process.output
    assert len(list((tmp_path / 'out').glob('*.json'))) < 300 and 'Traceback' not in process.output


def test_a_clock_offset_that_is_none_is_one_line(start_node, tmp_path):
    (tmp_path / 'a.mcap').write_bytes(b'')
    process = start_node(
        'recorder', mode='convert', bags=tmp_path / 'a.mcap', output=tmp_path / 'out', clock_offset='abc'
    )
    assert process.wait() == 2
    assert process.output == 'error: clock offset abc: must be seconds or auto\n'


def test_mode_convert_of_a_broken_bag(start_node, tmp_path):
    (tmp_path / 'a.mcap').write_bytes(b'no bag')
    process = start_node('recorder', mode='convert', bags=tmp_path / 'a.mcap', output=tmp_path / 'out')
    assert process.wait() == 1 and 'a.mcap: cannot be read: not an MCAP file' in process.output
    assert '[recorder]: 1 of 1 bags were left out' in process.output and 'Traceback' not in process.output
