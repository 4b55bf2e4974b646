"""Tests keep to this machine and to a ROS domain of their own, so that no robot nearby hears them."""

import os

import pytest

os.environ['ROS_AUTOMATIC_DISCOVERY_RANGE'] = 'LOCALHOST'
os.environ['ROS_DOMAIN_ID'] = str(os.getpid() % 100 + 1)


@pytest.fixture(scope='session')
def random_weights(tmp_path_factory):
    """Weights file of the network 'stream', untrained: for what does not depend on what it has learned."""
    import torch
    from dfd_ros import networks
    torch.manual_seed(0)
    path = tmp_path_factory.mktemp('weights') / 'stream.safetensors'
    networks.save(path, networks.create('stream'), {})
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
        process.kill()


@pytest.fixture(scope='module')
def observer():
    """A node of the test's own that publishes and listens. See `ros_processes.Observer`."""
    pytest.importorskip('rclpy')
    from ros_processes import Observer
    observer = Observer()
    yield observer
    observer.close()
