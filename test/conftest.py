"""For all tests: ROS keeps to itself, a busy machine fails nothing, and nodes run as real processes."""

import os
import signal
from pathlib import Path

import pytest
from hypothesis import settings
from tiny_training import TINY

import dfd_ros

# No robot nearby hears the tests, nor the tests a robot; nor does one worker of pytest-xdist hear another.
worker = os.environ.get('PYTEST_XDIST_WORKER', '').removeprefix('gw')
os.environ['ROS_AUTOMATIC_DISCOVERY_RANGE'] = 'LOCALHOST'
os.environ['ROS_DOMAIN_ID'] = str((os.getppid() + int(worker) if worker else os.getpid()) % 100 + 1)

# The processes that tests start import the same package as the tests.
package = str(Path(dfd_ros.__file__).parents[1])
os.environ['PYTHONPATH'] = os.pathsep.join(filter(None, [package, os.environ.get('PYTHONPATH')]))

# The tensors are too small to share among threads, which would wait for each other; a process takes one core.
os.environ['OMP_NUM_THREADS'] = os.environ['OPENCV_FOR_THREADS_NUM'] = '1'

# A shell lets what it starts in the background ignore Ctrl-C, and with it all that the tests start and interrupt.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)

# Time is what benchmarks measure.
settings.register_profile('dfd_ros', deadline=None)
settings.register_profile('fast', deadline=None, max_examples=20)  # of `make test-fast`
settings.load_profile('dfd_ros')

# Tests over half a second, and those of whole commands on files, are marked `slow`, each with its reason; `make
# test-fast` leaves them out. Some follow from a fixture.
SLOW_FIXTURES = {
    'start_node': 'nodes are processes that have to find each other over DDS',
    'observer': 'nodes are processes that have to find each other over DDS',
    'dfd': 'a command that starts nodes, which load torch and find each other over DDS',
    'painter': 'processes that stand in for Blender load torch',
    'study': 'the rows of a small study are trained',
}


@pytest.hookimpl(tryfirst=True)  # before pytest leaves out by marker
def pytest_collection_modifyitems(items):
    for item in items:
        for name in SLOW_FIXTURES.keys() & set(getattr(item, 'fixturenames', ())):
            item.add_marker(pytest.mark.slow(reason=SLOW_FIXTURES[name]))
        for mark in item.iter_markers('slow'):
            assert mark.kwargs.get('reason'), f'{item.nodeid}: slow, and no reason given'


@pytest.fixture(scope='session')
def random_weights(tmp_path_factory):
    """Weights file of a small network 'stream', untrained: for what does not depend on what it has learned."""
    import torch

    from dfd_ros import networks

    torch.manual_seed(0)
    path = tmp_path_factory.mktemp('weights') / 'stream.safetensors'
    networks.save(path, networks.create('stream', **TINY))
    return path


@pytest.fixture
def start_node(tmp_path):
    """Starts a node as a process of its own, and ends it with the test. See `ros_processes.NodeProcess`."""
    pytest.importorskip('rclpy')
    from ros_processes import NodeProcess

    processes = []

    def start(name, *arguments, **parameters):
        processes.append(NodeProcess(name, tmp_path / f'{name}-{len(processes)}.log', *arguments, **parameters))
        return processes[-1]

    yield start
    for process in processes:
        process.end()
        print(process.output)  # pytest shows it where the test has failed


@pytest.fixture(scope='module')
def observer():
    """A node of the test's own that publishes and listens. See `ros_processes.Observer`."""
    pytest.importorskip('rclpy')
    from ros_processes import Observer

    observer = Observer()
    yield observer
    observer.close()
