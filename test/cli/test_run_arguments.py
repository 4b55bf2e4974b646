"""`dfd run` takes what the launch file takes, and hands it to the nodes."""

import argparse
import re
from pathlib import Path

import pytest
from command_line import dfd

from dfd_ros.cli import run
from dfd_ros.ros import launch_arguments, node_processes

ROOT = Path(__file__).parents[2]


def test_every_argument_of_the_launch_file_is_here():
    """launch is in no wheel: what it declares is read from the source."""
    source = '\n'.join(
        (ROOT / name).read_text() for name in ('launch/depth_from_focus.launch.py', 'dfd_ros/ros/launch_files.py')
    )
    declared = set(re.findall(r"DeclareLaunchArgument\(\s*'(\w+)'", source))
    assert {'frame_prefix', 'params_file', 'respawn'} <= declared
    parser = argparse.ArgumentParser()
    run.add_arguments(parser)
    options = {action.dest for action in parser._actions}
    assert declared - options == set(launch_arguments.ONLY_LAUNCH)


@pytest.fixture
def started(monkeypatch):
    """The parameters of the nodes that are started, by name."""
    nodes = {}

    class Processes:
        def __enter__(self):
            return self

        def __exit__(self, *_):
            pass

        def start(self, name, parameters, *_, **__):
            nodes[name] = parameters

        def wait(self, until):
            pass

    monkeypatch.setattr(node_processes, 'NodeProcesses', Processes)
    return nodes


def test_frames_have_the_prefix(started):
    assert dfd('run', '--frame-prefix', 'left/') == 0
    assert started['camera']['frame_id'] == 'left/focus_camera_optical_frame'
    assert 'frame_id' not in started['depth']


def test_simulated_time_reaches_every_node(started, tmp_path):
    assert dfd('run', '--use-sim-time', 'true', '--view', '--record', tmp_path / 'run') == 0
    assert set(started) == {'camera', 'sweep', 'depth', 'viewer', 'monitor'}
    assert all(parameters['use_sim_time'] is True for parameters in started.values())
    started.clear()
    assert dfd('run') == 0
    assert not any('use_sim_time' in parameters for parameters in started.values())
