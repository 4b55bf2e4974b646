"""The set-up: steps run when they have to, and on an unfit machine one line says what is missing."""

import importlib.util
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
BASE_PYTHON = os.path.realpath(sys._base_executable)


@pytest.fixture
def environment(tmp_path):
    """The set-up's own module, working on a checkout in `tmp_path`."""
    (tmp_path / 'setup').mkdir()
    shutil.copy(ROOT / 'setup' / 'environment.py', tmp_path / 'setup')
    spec = importlib.util.spec_from_file_location('environment', tmp_path / 'setup' / 'environment.py')
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    module.VENV.mkdir()
    return module


def set_up(checkout: Path, **variables: str) -> subprocess.CompletedProcess:
    """Runs the set-up of a checkout on a machine that has nothing but what `variables` name."""
    return subprocess.run(
        [BASE_PYTHON, checkout / 'setup' / 'environment.py'],
        capture_output=True,
        text=True,
        env={'PATH': str(checkout / 'bin'), 'PYTHON': BASE_PYTHON, **variables},
    )


@pytest.fixture
def checkout(tmp_path):
    shutil.copytree(ROOT / 'setup', tmp_path / 'setup')
    (tmp_path / 'bin').mkdir()
    return tmp_path


def compilers(checkout: Path) -> None:
    for name in ('cc', 'c++'):
        (checkout / 'bin' / name).symlink_to(BASE_PYTHON)


def test_steps_run_once_again_after_a_change_or_a_failure(environment):
    calls = []

    def fail():
        raise environment.Unfit('no')

    environment.Steps().run('step', 'step', 'a', lambda: calls.append('first'))
    environment.Steps().run('step', 'step', 'a', lambda: calls.append('unchanged'))
    environment.Steps().run('step', 'step', 'b', lambda: calls.append('changed'))
    with pytest.raises(environment.Unfit):
        environment.Steps().run('step', 'step', 'c', fail)
    environment.Steps().run('step', 'step', 'c', lambda: calls.append('after the failure'))
    assert calls == ['first', 'changed', 'after the failure']


def test_keys_follow_contents(environment, tmp_path):
    path = tmp_path / 'file'
    path.write_text('one')
    first = environment.key_of('venv', path)
    assert environment.key_of('venv', path) == first
    path.write_text('two')
    assert environment.key_of('venv', path) != first


def test_a_failing_command_is_told_in_one_line_with_its_log(environment):
    with pytest.raises(environment.Unfit, match=r'^\S+ failed: the reason \(all of it: .*/it.log\)$'):
        environment.call([sys.executable, '-c', 'print("noise"); print("the reason"); exit(3)'], 'it.log')
    assert (environment.LOGS / 'it.log').read_text() == 'noise\nthe reason\n'


def test_no_compiler(checkout):
    result = set_up(checkout)
    assert result.returncode == 1 and result.stdout == ''
    assert result.stderr == (
        'dfd_ros: this machine lacks a C and C++ compiler; on Debian or Ubuntu: sudo apt install build-essential\n'
    )


def test_no_python(checkout):
    compilers(checkout)
    result = set_up(checkout, PYTHON='/no/such/python')
    assert result.returncode == 1
    assert result.stderr.startswith('dfd_ros: this machine lacks Python 3.11 or 3.12 at PYTHON=/no/such/python; ')
    assert result.stderr.count('\n') == 1


def test_no_python_at_all():
    result = subprocess.run(['make', 'env', 'PYTHON3='], cwd=ROOT, capture_output=True, text=True)
    assert result.returncode != 0
    ours = [line for line in result.stderr.splitlines() if not line.startswith('make')]
    assert len(ours) == 1 and ours[0].startswith('dfd_ros: no Python found; install Python 3.11 or 3.12')


def test_old_ros_is_sourced(checkout):
    compilers(checkout)
    result = set_up(checkout, ROS_DISTRO='humble', ROS_VERSION='2', AMENT_PREFIX_PATH='/opt/ros/humble')
    assert result.returncode == 1
    assert result.stderr == (
        'dfd_ros: ROS humble is sourced, which is too old; source jazzy or later, or start '
        'from a shell with no ROS sourced\n'
    )


def test_an_environment_of_another_maker_is_left_alone(checkout):
    compilers(checkout)
    (checkout / '.venv').mkdir()
    (checkout / '.venv' / 'mine').write_text('precious')
    result = set_up(checkout)
    assert result.returncode == 1
    assert result.stderr == (f'dfd_ros: {checkout}/.venv is there but was not made by this set-up; move it away\n')
    assert (checkout / '.venv' / 'mine').read_text() == 'precious'


def test_the_environment_of_another_checkout_is_left_alone(checkout, tmp_path):
    compilers(checkout)
    (tmp_path / 'other').mkdir()
    (tmp_path / 'other' / 'setup.json').write_text('{"venv": "of another"}')
    (checkout / '.venv').symlink_to(tmp_path / 'other')
    result = set_up(checkout)
    assert result.returncode == 1
    assert result.stderr == (
        f'dfd_ros: {checkout}/.venv is a link to {tmp_path}/other, perhaps the environment of another checkout; '
        'remove it\n'
    )
    assert (tmp_path / 'other' / 'setup.json').read_text() == '{"venv": "of another"}'


def test_a_full_disk(environment, monkeypatch):
    monkeypatch.setattr(environment, 'DISK_NEEDED_GB', 1e9)
    with pytest.raises(environment.Unfit, match=r'^[\d.]+ GB of disk free at /.*, 1000000000.0 GB needed$'):
        environment.check_disk()
