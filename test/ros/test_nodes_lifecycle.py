"""Camera, sweep, depth and recorder under a lifecycle manager, over DDS."""

import re
import time
import weakref
from pathlib import Path

import numpy as np
import pytest
import yaml

pytest.importorskip('rclpy')

from builtin_interfaces.msg import Time
from depth_rig import Rig
from ros_processes import Manager, wait_until
from sensor_msgs.msg import Image
from std_msgs.msg import Header

from dfd_ros.bags.bag_reader import Bag
from dfd_ros.core.focal_stack import FocalStack
from dfd_ros.core.lens_state import LensState
from dfd_ros.ros import qos
from dfd_ros.ros.node_parameters import NODES
from dfd_ros.ros.nodes.depth import DepthNode
from dfd_ros.ros.parameters import ManagedParameters


@pytest.fixture
def stack_folder(tmp_path):
    noise = np.random.default_rng(0).integers(0, 256, (60, 80, 3), np.uint8)
    lenses = [LensState(d, focal_length=0.004, f_number=1.8, pixel_pitch=2e-6) for d in (2.0, 1.0, 0.5)]
    FocalStack([noise] * 3, lenses).write(tmp_path / 'stack')
    return tmp_path / 'stack'


@pytest.mark.parametrize('events', [False, True])
def test_a_manager_brings_all_nodes_up_and_down_again(
    start_node, observer, stack_folder, random_weights, tmp_path, events
):
    if events:
        pytest.importorskip('rclpy.experimental')
    parameters = {
        'recorder': {'folder': tmp_path / 'bags', 'disk_reserve': 0},
        'camera': {'source': 'stack', 'stack': stack_folder, 'rate': 20.0},
        'sweep': {'steps': 3},
        'depth': {'weights': random_weights, 'confidence_threshold': 0.0},
    }
    depth = observer.listen(Image, '/managed/depth/image_rect', qos.SENSOR_SUBSCRIBER)
    processes = {
        name: start_node(name, '-r', '__ns:=/managed', autostart=False, events_executor=events, **given)
        for name, given in parameters.items()
    }
    managers = {name: Manager(observer, f'/managed/{name}') for name in parameters}
    for manager in managers.values():
        assert manager.state() == 'unconfigured'
        assert manager.change('configure')
    assert not depth and observer.node.count_publishers('/managed/image_raw')
    for _ in range(2):
        for manager in managers.values():
            assert manager.change('activate')
        count = len(depth)
        wait_until(lambda: len(depth) > count + 5, 'depth images')
        for name in ('depth', 'sweep', 'camera', 'recorder'):
            assert managers[name].change('deactivate')
        count = len(depth)
        time.sleep(0.5)
        assert len(depth) <= count + 1  # one may have been on its way
    first, second = sorted((tmp_path / 'bags').iterdir())
    assert all(Bag(bag).counts['/managed/image_raw'] > 5 for bag in (first, second))
    for name, manager in managers.items():
        assert manager.change('cleanup') and manager.state() == 'unconfigured'
        assert manager.change('shutdown') and manager.state() == 'finalized'
        assert processes[name].stop() == 0 and 'Traceback' not in processes[name].output


def test_what_cannot_be_loaded_is_a_line_and_can_be_mended(start_node, observer, random_weights, tmp_path):
    process = start_node('depth', autostart=False, weights=tmp_path / 'none')
    manager = Manager(observer, '/depth')
    assert not manager.change('configure') and manager.state() == 'unconfigured'
    line = f'cannot configure: weights {tmp_path / "none"}: no such file'
    wait_until(lambda: line in process.output, 'the reason')
    assert observer.set_parameter('/depth', 'weights', str(random_weights)).successful
    assert manager.change('configure') and manager.change('activate') and manager.state() == 'active'


def test_transitions_in_any_order_while_images_arrive_and_parameters_change(start_node, observer, random_weights):
    process = start_node('depth', '-r', '__ns:=/any', weights=random_weights)
    rig, manager = Rig(observer, process, '/any'), Manager(observer, '/any/depth')
    choose = np.random.default_rng(0)
    states = set()
    for i in range(40):
        for encoding in ('rgb8', 'bayer_rggb8', 'no encoding'):
            rig.send(rig.image(encoding=encoding))  # most have too many bytes for their encoding, or none
            rig.send()
        rig.send(rig.image(Header(stamp=Time(sec=i % 3), frame_id='lens')))
        manager.change(
            str(choose.choice(['configure', 'activate', 'deactivate', 'cleanup', 'activate', 'no transition']))
        )
        observer.set_parameter('/any/depth', 'output_resolution', int(choose.choice([0, 16, 40])))
        observer.set_parameter('/any/depth', 'sync_slop', float(choose.choice([0.0, 0.01])))
        states.add(manager.state())
    assert states == {'unconfigured', 'inactive', 'active'}
    while (state := manager.state()) != 'active':
        assert manager.change({'unconfigured': 'configure', 'inactive': 'activate'}[state])
    rig.answer()
    assert process.stop() == 0 and 'Traceback' not in process.output


def test_the_documented_lifecycle_manager_is_of_managed_nodes_and_waits_for_no_bond():
    text = (Path(__file__).parents[2] / 'docs' / 'ros.md').read_text()
    (snippet,) = re.findall(r'```yaml\n(lifecycle_manager_depth:.*?)```', text, re.DOTALL)
    parameters = yaml.safe_load(snippet)['lifecycle_manager_depth']['ros__parameters']
    assert parameters['bond_timeout'] == 0.0
    assert all(issubclass(NODES[name], ManagedParameters) for name in parameters['node_names'])


def test_the_network_is_gone_after_the_clean_up(observer, random_weights):
    node = DepthNode(cli_args=['--ros-args', '-p', f'weights:={random_weights}'])
    try:
        node.start()
        network = weakref.ref(node._estimator)
        assert network() is not None
        node.trigger_deactivate()
        node.trigger_cleanup()
        assert network() is None
    finally:
        node.destroy_node()
