"""The depth node over DDS: what it publishes, what it passes over, and what broken input makes it say."""

import itertools
import math
import re
import time

import numpy as np
import pytest

pytest.importorskip('rclpy')

from depth_rig import HEIGHT, WIDTH, Rig, array, figures, is_well_again, status, warned, with_header
from hypothesis import given, settings
from hypothesis import strategies as st
from rclpy.duration import Duration
from ros_processes import NodeProcess, spinning, wait_until
from sensor_msgs.msg import CameraInfo, CompressedImage, Image, PointCloud2, RegionOfInterest
from std_msgs.msg import Float32, Header
from std_srvs.srv import Trigger

from dfd_ros.bags import image_decoding
from dfd_ros.core.image_encodings import COLOUR
from dfd_ros.core.optics import VergenceRange
from dfd_ros.ros import image_messages, qos
from dfd_ros.ros.nodes.depth import DepthNode

NAMESPACE = '/robot'


@pytest.fixture(scope='module')
def rig(observer, random_weights, tmp_path_factory):
    process = NodeProcess(
        'depth',
        tmp_path_factory.mktemp('depth') / 'log',
        '-r',
        f'__ns:={NAMESPACE}',
        weights=random_weights,
        confidence_threshold=0.0,
        reset_gap=600.0,
    )
    yield Rig(observer, process, NAMESPACE)
    process.end()


def test_results_carry_the_header_of_the_image(rig):
    rig.answer()
    depth = rig.answer()
    header = depth.header
    others = rig.coc, rig.confidence, rig.info
    wait_until(lambda: all(with_header(heard, header) for heard in others), 'the other results')
    assert header.frame_id == 'lens'
    coc, confidence, _ = (with_header(heard, header) for heard in others)
    for message in (depth, coc, confidence):
        assert (message.encoding, message.width, message.height) == ('32FC1', WIDTH, HEIGHT)
        assert message.step == 4 * WIDTH
    assert (array(depth)[~np.isnan(array(depth))] > 0).all()
    assert (array(coc) >= 0).all() and (array(confidence) >= 0).all() and (array(confidence) <= 1).all()


def test_rectified_cameras_keep_their_camera_info(rig):
    depth = rig.answer()
    derived = wait_until(lambda: with_header(rig.info, depth.header), 'camera info')
    assert derived.k[0] == pytest.approx(0.004 / 2e-6) and (derived.width, derived.height) == (WIDTH, HEIGHT)
    for _ in range(3):
        rig.send_info(
            CameraInfo(
                width=WIDTH,
                height=HEIGHT,
                distortion_model='plumb_bob',
                d=[0.1, 0, 0, 0, 0],
                k=[500.0, 0, 48, 0, 501, 32, 0, 0, 1],
            )
        )
        time.sleep(0.1)
    depth = rig.answer()
    info = wait_until(lambda: with_header(rig.info, depth.header), 'camera info')
    assert info.k[0] == 500 and not any(info.d) and info.header == depth.header


def test_points_lie_at_the_depth(rig):
    heard = rig.observer.listen(PointCloud2, f'{NAMESPACE}/points', qos.PUBLISHER)
    assert rig.observer.set_parameter(rig.name, 'points_decimation', 2).successful
    try:
        wait_until(lambda: rig.answer() and heard, 'points')
        depth = rig.answer()
        cloud = wait_until(lambda: with_header(heard, depth.header), 'points')
    finally:
        assert rig.observer.set_parameter(rig.name, 'points_decimation', 1).successful
        rig.observer.silence(f'{NAMESPACE}/points')
    assert (cloud.width, cloud.height, cloud.is_dense) == (WIDTH // 2, HEIGHT // 2, False)
    values = np.frombuffer(cloud.data, np.float32).reshape(HEIGHT // 2, WIDTH // 2, 4)
    np.testing.assert_array_equal(values[..., 2], array(depth)[::2, ::2])
    assert np.nanmax(np.abs(values[..., 0])) > 0 and np.isnan(values[..., 0])[np.isnan(values[..., 2])].all()


def test_the_distance_of_a_rectangle_is_published_to_focus_on_it(rig, observer):
    rectangle = observer.publisher(RegionOfInterest, f'{NAMESPACE}/focus_region')
    told = observer.listen(Float32, f'{NAMESPACE}/focus_on', qos.PUBLISHER)

    def distance_in(**region):
        """With the depth of the image that it is of."""

        def answer():
            rectangle.publish(RegionOfInterest(**region))
            depth = rig.answer()
            count = len(told)
            time.sleep(0.2)
            return len(told) == count > 0 and (told[-1].data, array(depth))  # nothing is under way

        return wait_until(answer, 'a distance to focus on')

    def known():
        distance, depth = distance_in(x_offset=10, y_offset=20, width=30, height=16)
        return not math.isnan(distance) and (distance, depth[20:36, 10:40])

    distance, seen = wait_until(known, 'depth in the rectangle')
    assert distance == pytest.approx(1 / np.nanmedian(1 / seen), rel=1e-4)
    distance, _ = distance_in(x_offset=500, y_offset=0, width=30, height=16)
    assert math.isnan(distance)
    wait_until(lambda: 'focus_region: the rectangle begins at (500, 0) px, outside' in rig.process.output, 'a warning')
    distance, _ = distance_in()  # ends it, with one more NaN
    count = len(told)
    rig.answer()
    time.sleep(0.2)
    assert math.isnan(distance) and len(told) == count


def test_depth_camera_info_matches_its_image_not_the_newest(rig):
    def info(header, fx):
        return CameraInfo(header=header, width=WIDTH, height=HEIGHT, k=[fx, 0, 48, 0, fx, 32, 0, 0, 1])

    rig.answer()
    image = rig.image()
    for _ in range(3):
        rig.send_info(info(image.header, 510.0))
        rig.send_info(info(rig.header(), 530.0))
        time.sleep(0.1)
    rig.send_until(lambda: with_header(rig.info, image.header), 'camera info', image)
    assert with_header(rig.info, image.header).k[0] == 510
    header = rig.answer().header
    assert wait_until(lambda: with_header(rig.info, header), 'camera info').k[0] == 530


def test_a_stamp_before_1970_is_dropped_with_a_warning(rig):
    image = rig.image()
    image.header.stamp.sec = -2
    words = f'{NAMESPACE}/image_raw: dropped, the stamp is -2 s'
    rig.send_until(lambda: words in rig.process.output, 'a warning', image)
    rig.answer()
    assert not with_header(rig.depth, image.header)


def test_unsure_depth_is_nan(rig):
    rig.answer()
    assert np.isfinite(array(rig.answer())).mean() > 0.5
    assert not rig.observer.set_parameter(rig.name, 'confidence_threshold', 1.5).successful
    assert rig.observer.set_parameter(rig.name, 'confidence_threshold', 1.0).successful
    assert np.isnan(array(rig.answer())).all()
    assert rig.observer.set_parameter(rig.name, 'confidence_threshold', 0.0).successful
    assert np.isfinite(array(rig.answer())).mean() > 0.5


@pytest.mark.parametrize('encoding', ['bgr8', 'mono8', 'bgra8'])
def test_other_encodings(rig, encoding):
    step = WIDTH * COLOUR[encoding].channels
    depth = rig.answer_to(lambda: rig.image(encoding=encoding, step=step, data=bytes(HEIGHT * step)))
    assert (depth.height, depth.width) == (HEIGHT, WIDTH)


@pytest.mark.parametrize(
    'changes, words',
    [
        (dict(encoding='rgb9'), "unknown encoding 'rgb9'"),
        (dict(step=5), 'step 5 is shorter than a row'),
        (dict(width=0), f'image of zero size (0x{HEIGHT})'),
        (dict(data=bytes(10)), '10 bytes of data, expected height x step'),
    ],
)
def test_broken_image_is_a_warning_that_names_the_topic(rig, changes, words):
    rig.answer()
    rig.send_until(
        lambda: f'{NAMESPACE}/image_raw: {words}' in rig.process.output, f'a warning: {words}', rig.image(**changes)
    )
    rig.answer()


@pytest.mark.parametrize('focus_distance', [math.nan, 0.0, -1.0, 5e-324])
def test_lens_state_without_a_focus_distance(rig, focus_distance):
    rig.answer()
    rig.send_until(
        lambda: f'{NAMESPACE}/lens_state: focus_distance is' in rig.process.output,
        'a warning',
        focus_distance=focus_distance,
    )
    rig.answer()


@pytest.mark.parametrize(
    'state',
    [
        dict(magnification=math.inf),
        dict(focal_length=1e160),
        dict(f_number=math.inf),
        dict(pixel_pitch=1e-320),
        dict(near_distance=math.inf, far_distance=math.inf),
    ],
)
def test_lens_state_of_absurd_values_ends_nothing(rig, state):
    for _ in range(3):
        rig.answer(**state)


def test_unsettled_images_are_passed_over_unless_asked_for(rig):
    rig.answer()
    header = rig.send(settled=False)
    last = rig.answer().header
    assert not any(m.header == header for m in rig.depth)
    assert rig.observer.set_parameter(rig.name, 'skip_unsettled', False).successful
    assert rig.answer(settled=False).header != last
    assert rig.observer.set_parameter(rig.name, 'skip_unsettled', True).successful


def test_newest_first_and_no_queue(rig):
    rig.answer()
    before = figures(rig)
    count = len(rig.depth)
    headers = []
    for _ in range(40):
        headers.append(rig.send())
        time.sleep(0.002)
    wait_until(lambda: any(m.header in headers[-10:] for m in rig.depth), 'one of the newest images')

    def are_accounted_for():
        after = figures(rig)
        received, dropped = (int(after[name]) - int(before[name]) for name in ('received', 'dropped'))
        return dropped > 0 and len(rig.depth) - count + dropped == received

    wait_until(are_accounted_for, 'an answer to each image that is not dropped')
    answers = [headers.index(m.header) for m in rig.depth[count:]]
    assert answers == sorted(answers) and answers[-1] >= 30  # in order


def test_reset_empties_the_memory(rig):
    for _ in range(3):
        rig.answer()
    assert int(figures(rig)['frames since reset']) >= 3
    response = rig.observer.call(Trigger, f'{rig.name}/reset', Trigger.Request())
    assert response.success and response.message
    rig.answer()
    assert int(figures(rig)['frames since reset']) <= 2  # 1, or 2 where best effort lost an answer


def test_old_images_are_dropped_where_asked_for(rig):
    assert rig.observer.set_parameter(rig.name, 'max_age', 5.0).successful
    image = rig.image()
    image.header.stamp.sec -= 10
    dropped = int(figures(rig)['dropped'])
    rig.send_until(lambda: int(figures(rig)['dropped']) > dropped, 'an image dropped for its age', image)
    assert rig.observer.set_parameter(rig.name, 'max_age', 0.0).successful
    rig.answer()


def test_other_weights_at_run_time(rig, random_weights, tmp_path):
    import torch

    from dfd_ros import networks

    rig.answer()
    refused = rig.observer.set_parameter(rig.name, 'weights', '/nowhere.safetensors')
    assert not refused.successful and '/nowhere.safetensors: no such file' in refused.reason
    rig.answer()  # and the node goes on with those that it has
    torch.manual_seed(1)
    networks.save(tmp_path / 'other.safetensors', networks.create('stream', hypotheses=8))
    assert rig.observer.set_parameter(rig.name, 'weights', str(tmp_path / 'other.safetensors')).successful
    rig.answer()
    assert f'weights: {tmp_path}/other.safetensors' in rig.process.output


def test_weights_of_the_same_name_are_loaded_again(rig, random_weights, tmp_path):
    path = tmp_path / 'replaced.safetensors'
    path.write_bytes(random_weights.read_bytes())
    assert rig.observer.set_parameter(rig.name, 'weights', str(path)).successful
    said = rig.process.output.count(f'weights: {path}')
    assert rig.observer.set_parameter(rig.name, 'weights', str(path)).successful
    wait_until(lambda: rig.process.output.count(f'weights: {path}') == said + 1, 'a line')
    path.write_bytes(path.read_bytes()[:1000])
    refused = rig.observer.set_parameter(rig.name, 'weights', str(path))
    assert not refused.successful and f'{path}: not a complete' in refused.reason
    refused = rig.observer.set_parameter(rig.name, 'weights', 'y' * 300)
    assert not refused.successful and refused.reason
    rig.answer()


def test_lens_state_that_never_comes(rig):
    def warned():
        rig.send_image(rig.image())
        time.sleep(0.1)
        return f'nothing on {NAMESPACE}/lens_state for 2 s' in rig.process.output

    wait_until(warned, 'a warning')
    rig.answer()


def test_lens_state_a_second_off(rig):
    first = rig.observer.node.get_clock().now()
    # Stamps of even steps of which a second is no multiple: else a state would fit the image of a second before.
    steps = (Duration(seconds=0.15 * k) for k in itertools.count())

    def warned():
        stamp = first + next(steps)
        rig.send_image(rig.image(Header(stamp=stamp.to_msg(), frame_id='lens')))
        rig.send_state(rig.state(Header(stamp=(stamp - Duration(seconds=1.0)).to_msg(), frame_id='lens')))
        time.sleep(0.15)
        return 'apart, the parameter sync_slop asks for less than 0.005 s' in rig.process.output

    wait_until(warned, 'a warning')
    topics = f'{NAMESPACE}/image_raw and {NAMESPACE}/lens_state'
    # An image and its lens state are stamped apart by a second; the newest of both may be from two frames.
    reported = re.search(rf'the newest stamps of {topics} are (\d+\.\d+) s apart', rig.process.output)
    assert float(reported[1]) == pytest.approx(1.0, abs=0.3)
    rig.answer()


def test_diagnostics_judge_by_what_comes_out(rig):
    """Each of these said OK once."""
    values = is_well_again(rig)
    assert float(values['rate out (Hz)']) > 0 and float(values['pixels with depth (%)']) > 50
    assert int(values['focus positions']) >= 3 and float(values['latency, median (ms)']) > 0
    assert float(values['latency, median (ms)']) <= float(values['latency, 99 % (ms)'])
    assert 0 < float(values['confidence of the depth']) <= 1 and int(values['focus positions in the last sweep']) >= 2
    assert values['device'] == 'cpu' and float(values['memory (MB)']) > 50
    assert rig.observer.set_parameter(rig.name, 'max_memory', 10.0).successful
    warned(rig, 'more than max_memory (10 MB)')
    assert rig.observer.set_parameter(rig.name, 'max_memory', 0.0).successful
    is_well_again(rig)
    warned(rig, 'focus_distance is nan', focus_distance=math.nan)
    is_well_again(rig)
    warned(rig, 'settled is false', settled=False)
    is_well_again(rig)
    values = warned(rig, 'depth for 0% of the pixels: the focus has not moved', focus_distance=0.5)
    assert values['pixels with depth (%)'] == '0'
    is_well_again(rig)


def test_a_focus_that_rests_gives_no_depth(rig):
    rig.answer()  # nothing from before waits any more
    rig.observer.call(Trigger, f'{rig.name}/reset', Trigger.Request())
    for _ in range(3):
        depth = rig.answer(focus_distance=0.5)
    assert np.isnan(array(depth)).all()
    rig.answer()
    assert np.isfinite(array(rig.answer())).mean() > 0.5


def test_another_frame_id_is_another_stream(rig):
    is_well_again(rig)
    resets = int(figures(rig)['resets'])
    for frame_id in ('lens', 'other', 'lens'):
        image = rig.image(Header(stamp=rig.header().stamp, frame_id=frame_id))
        rig.send_until(lambda: with_header(rig.depth, image.header), 'depth', image)
        assert np.isnan(array(with_header(rig.depth, image.header))).all() or frame_id == 'lens'
    values = figures(rig)
    assert int(values['resets']) >= resets + 2
    assert values['last reset because'] == "frame_id 'other', then 'lens'"


def test_broken_camera_info_is_left_out(rig):
    rig.answer()
    info = CameraInfo(width=WIDTH, height=HEIGHT, d=[0.1, 0.0, 0.0], k=[900.0, 0, 48, 0, 900, 32, 0, 0, 1])

    def said():
        rig.send_info(info)
        time.sleep(0.1)
        return f'{NAMESPACE}/camera_info: D has 3 coefficients' in rig.process.output

    wait_until(said, 'a warning')
    header = rig.answer().header
    assert wait_until(lambda: with_header(rig.info, header), 'camera info').k[0] != 900


def test_warnings_do_not_grow_with_the_text_of_the_sender(rig):
    before = len(rig.process.output)
    for i in range(60):
        rig.send(rig.image(encoding=f'{i}' + 'xyz'[i % 3] * 2000))
        time.sleep(0.01)
    rig.answer()
    new = rig.process.output[before:]
    assert new.count('unknown encoding') <= 3 and max(map(len, new.splitlines())) < 800


SHOTS = st.lists(
    st.tuples(
        st.sampled_from([3.0, 1.0, 0.5, 0.502, 0.3, math.nan, 0.0]),
        st.sampled_from([''] * 6 + ['frame_id', 'f_number', 'unsettled']),
    ),
    min_size=2,
    max_size=8,
)


@settings(max_examples=8, derandomize=True)
@given(SHOTS)
def test_known_depth_was_seen_at_two_foci(rig, shots):
    """Over DDS, whatever is published. Frames may get lost: then less is known."""
    range_, foci, sent = VergenceRange(0.3, 3.0), [], []
    for i, (focus, change) in enumerate(shots):
        if not i or change in ('frame_id', 'f_number'):
            foci = []
            rig.streams = getattr(rig, 'streams', 0) + 1  # no name and no lens comes twice
        header = Header(stamp=rig.observer.node.get_clock().now().to_msg(), frame_id=f'lens {rig.streams}')
        if focus > 0 and change != 'unsettled':
            foci.append(range_.normalise(focus))
        settled, f_number = change != 'unsettled', 1.8 + 0.1 * rig.streams
        rig.send(rig.image(header), focus_distance=focus, settled=settled, f_number=f_number)
        sent.append((header, bool(foci) and max(foci) - min(foci) >= 0.04))
        time.sleep(0.1)
    time.sleep(0.5)
    for header, seen_twice in sent:
        if depth := with_header(rig.depth, header):
            assert seen_twice or np.isnan(array(depth)).all(), (header, shots)


def test_lens_states_stamped_a_frame_late(rig):
    """Every one fits the stamp of the next image. There is no depth, until the delay is known or nobody doubts it."""
    clock, period = rig.observer.node.get_clock(), 0.4  # messages may come late by 0.3 of it, as on a busy machine
    stamp = clock.now()

    def send():
        nonlocal stamp
        time.sleep(max(0.0, (stamp - clock.now()).nanoseconds * 1e-9))
        following = clock.now() + Duration(seconds=period)
        rig.send_image(rig.image(Header(stamp=stamp.to_msg(), frame_id='lens')))
        rig.send_state(rig.state(Header(stamp=following.to_msg(), frame_id='lens')))
        stamp = following
        return bool(np.isfinite(array(rig.depth[-1])).any()) if rig.depth else None

    def sent_until(condition):
        end = time.monotonic() + 120
        while not condition(send()):
            assert time.monotonic() < end, rig.process.output[-1000:]

    def set_parameters(**values):
        for name, value in values.items():
            assert rig.observer.set_parameter(rig.name, name, value).successful

    sent_until(lambda known: 'pairs with the image 1 frame after the one it came with' in rig.process.output)
    assert re.search(r'set lens_state_delay to 0\.(3[5-9]|4[0-5]?)\d* s', rig.process.output)
    sent_until(lambda known: known is False)
    set_parameters(trust_stamps=True)
    sent_until(lambda known: known)
    set_parameters(trust_stamps=False)
    sent_until(lambda known: known is False)
    set_parameters(lens_state_delay=period)
    sent_until(lambda known: known)
    set_parameters(lens_state_delay=0.0)
    rig.answer()


def test_all_in_focus_is_there_for_those_who_listen(rig, observer):
    topic = f'{NAMESPACE}/all_in_focus/image'
    images = observer.listen(Image, topic, qos.PUBLISHER)
    sent = {}

    def answered():
        header = rig.send()
        sent[header.stamp.sec, header.stamp.nanosec] = header
        return len(images) >= 2

    wait_until(answered, 'all-in-focus images')
    message = images[-1]
    assert (message.header.stamp.sec, message.header.stamp.nanosec) in sent
    assert (message.encoding, message.height, message.width) == ('rgb8', HEIGHT, WIDTH)
    assert image_messages.to_rgb(message).std() > 10
    observer.silence(topic)


def test_twelve_bits_in_mono16_are_as_bright_as_eight(rig, observer):
    topic = f'{NAMESPACE}/all_in_focus/image'
    images = observer.listen(Image, topic, qos.PUBLISHER)
    levels = {}
    for encoding in ('mono8', 'mono16'):
        sent = []

        def answered(encoding=encoding, sent=sent):
            image = rig.image()
            grey = np.frombuffer(image.data, np.uint8).reshape(HEIGHT, WIDTH, 3)[..., 1].copy()
            if encoding == 'mono16':
                grey = grey.astype('<u2') << 4  # as a camera of 12 bits
            image.encoding, image.step, image.data = encoding, grey.strides[0], grey.tobytes()
            sent.append(rig.send(image))
            time.sleep(0.1)
            heard = [message for message in list(images) if message.header in sent]
            return len(heard) > 4 and heard[-1]

        images.clear()
        levels[encoding] = image_messages.to_rgb(wait_until(answered, f'all-in-focus images of {encoding}')).mean()
    assert 110 < levels['mono8'] < 145 and abs(levels['mono16'] - levels['mono8']) < 8
    assert f'{NAMESPACE}/image_raw: the 16-bit images use 12 bits, and are scaled accordingly' in rig.process.output
    observer.silence(topic)


def test_compressed_images_in_and_compressed_depth_out(observer, start_node, random_weights):
    heard = observer.listen(CompressedImage, '/packed/depth/image_rect/compressedDepth', qos.SENSOR_SUBSCRIBER)
    namespace = '-r', '__ns:=/packed'
    start_node('camera', *namespace, '-r', 'image_raw:=photo', image_width=WIDTH, image_height=HEIGHT)
    start_node('sweep', *namespace, steps=3)
    settings = {'weights': random_weights, 'compressed': True, 'confidence_threshold': 0.0}
    depth = start_node('depth', *namespace, '-r', 'image_raw:=photo', **settings)

    def known():
        assert depth.process.poll() is None, depth.output
        return heard and np.isfinite(image_decoding.to_depth(heard[-1], 'depth')).any()

    wait_until(known, 'compressed depth')
    assert image_decoding.to_depth(heard[-1], 'depth').shape == (HEIGHT, WIDTH)
    assert observer.node.count_subscribers('/packed/photo') == 0  # nothing takes the raw images


def test_large_images_are_reduced_where_asked_for(observer, random_weights):
    parameters = 'output_resolution:=48', f'weights:={random_weights}', 'confidence_threshold:=0.0'
    given = [word for parameter in parameters for word in ('-p', parameter)]
    node = DepthNode(cli_args=['--ros-args', '-r', '__ns:=/small', *given])
    try:
        node.start()
        with spinning(node):
            rig = Rig(observer, None, '/small')
            info = CameraInfo(width=WIDTH, height=HEIGHT, k=[500.0, 0, 47.5, 0, 500, 31.5, 0, 0, 1])
            for _ in range(3):
                rig.send_info(info)
                time.sleep(0.1)
            depth = wait_until(lambda: np.isfinite(array(rig.answer())).any() and rig.depth[-1], 'depth')
            assert (depth.width, depth.height) == (WIDTH // 2, HEIGHT // 2)
            found = wait_until(lambda: with_header(rig.info, depth.header), 'camera info')
            assert (found.width, found.height) == (WIDTH // 2, HEIGHT // 2)
            assert (found.k[0], found.k[2], found.k[5]) == (250, 23.5, 15.5)
            assert node._estimator._last[1].pixel_pitch == pytest.approx(4e-6)  # CoC is in pixels of the result
    finally:
        node.destroy_node()


def test_lazy_rests_while_nobody_listens(observer, start_node, random_weights):
    process = start_node('depth', '-r', '__ns:=/lazy', weights=random_weights, lazy=True, confidence_threshold=0.0)
    rig = Rig(observer, process, '/lazy')
    for heard in ('depth/image_rect', 'coc/image', 'confidence/image'):
        observer.silence(f'/lazy/{heard}')
    before = int(figures(rig)['received'])

    def rests():  # discovery takes its time to tell the node that nobody listens any more
        rig.send()
        now = figures(rig)
        return int(now['received']) >= before + 2 and now['frames since reset'] == '0'

    wait_until(rests, 'a node that receives pairs and rests')
    # A rectangle to focus on wants depth, and its end is still told.
    rectangle = observer.publisher(RegionOfInterest, '/lazy/focus_region')
    told = observer.listen(Float32, '/lazy/focus_on', qos.PUBLISHER)

    def tells(region):
        def told_more():
            rig.send()
            return told

        told.clear()
        rectangle.publish(region)
        wait_until(told_more, 'a distance to focus on')

    tells(RegionOfInterest(width=WIDTH, height=HEIGHT))
    tells(RegionOfInterest())
    wait_until(lambda: rig.send() and 'resting' in status(rig)[1], 'a node that rests again')
    wait_until(lambda: math.isnan(told[-1].data), 'no distance any more')
    rig.depth = observer.listen(Image, '/lazy/depth/image_rect', qos.PUBLISHER)
    rig.answer()


class TestWeights:
    def ends_with(self, start_node, path, words):
        process = start_node('depth', weights=path)
        assert process.wait() == 2
        assert process.output.count('\n') == 1 and words in process.output
        assert process.output.startswith(f'error: weights {path}: ')

    def test_absent(self, start_node, tmp_path):
        self.ends_with(start_node, tmp_path / 'none.safetensors', 'no such file')

    def test_cut_short(self, start_node, tmp_path, random_weights):
        path = tmp_path / 'cut.safetensors'
        path.write_bytes(random_weights.read_bytes()[:10_000])
        self.ends_with(start_node, path, 'not a complete safetensors file')

    def test_of_another_network(self, start_node, tmp_path, random_weights):
        from safetensors.torch import load_file, save_file

        path = tmp_path / 'other.safetensors'
        save_file(load_file(random_weights), path, {'format': 'dfd_ros-1', 'network': 'other', 'config': '{}'})
        process = start_node('depth', weights=path)
        assert process.wait() == 2
        assert process.output.count('\n') == 1 and 'no network "other"' in process.output
