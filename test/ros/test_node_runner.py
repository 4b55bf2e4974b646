"""`dfd_ros.ros.node_runner`: a node as a process, from its first import to its end."""

import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

pytestmark = pytest.mark.slow(reason='processes that load torch or rclpy')

pytest.importorskip('rclpy', reason='no ROS here')

ROOT = Path(__file__).resolve().parents[2]
BLOCKING = '/usr/bin/env', '-S', '--block-signal=INT,TERM'  # as in CMakeLists.txt
NODE = '''
import atexit
import sys
import threading
import time

from rclpy.node import Node

from dfd_ros.ros.node_runner import run

atexit.register(time.sleep, 60)  # as slow to take down as torch on a busy machine


class TestNode(Node):
    """Nothing wakes it: it has neither timers nor subscriptions."""

    def __init__(self):
        super().__init__('test', start_parameter_services=False)
        {start}
        print('started', flush=True)

    def destroy_node(self):
        print('closing', flush=True)
        time.sleep(0.3)
        print('closed', flush=True)
        super().destroy_node()


sys.exit(run(TestNode))
'''


def started(start='pass', *arguments):
    """The process of `NODE`, which does `start` at its start."""
    command = [sys.executable, '-c', NODE.format(start=start), *arguments]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def ended(process, seconds=30):
    """(status, stdout, stderr) at its end."""
    out, err = process.communicate(timeout=seconds)
    return process.returncode, out, err


def test_a_node_that_nothing_wakes_ends_when_ros_shuts_down():
    process = started('threading.Timer(1.0, self.context.handle.shutdown).start()')
    assert ended(process) == (0, 'started\nclosing\nclosed\n', '')


def executable(folder):
    """The executable of the sweep node, as CMakeLists.txt makes it."""
    script = folder / 'sweep'
    text = (ROOT / 'setup' / 'node.in').read_text().replace('@MODULE@', 'dfd_ros.ros.nodes.sweep')
    script.write_text(text.replace('@INTERPRETER@', f'{" ".join(BLOCKING)} {sys.executable}'))
    script.chmod(0o755)
    return script


@pytest.mark.skipif(subprocess.run([*BLOCKING, 'true']).returncode != 0, reason='an env that cannot block signals')
@pytest.mark.parametrize('after', [0.03, 0.1, 0.2])  # s
@pytest.mark.parametrize('number', [signal.SIGINT, signal.SIGTERM])
def test_a_signal_before_python_can_handle_it_is_a_quiet_end(number, after, tmp_path):
    process = subprocess.Popen([executable(tmp_path)], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    time.sleep(after)
    process.send_signal(number)
    assert ended(process) == (0, '', '')


# A signal between Python's check and a single sleep would wait for its end.
LONG = '[time.sleep(0.01) for _ in range(6000)]'


@pytest.mark.parametrize('number', [signal.SIGINT, signal.SIGTERM])
def test_a_signal_amid_the_imports_is_a_quiet_end(number, tmp_path):
    (tmp_path / 'rclpy').mkdir()
    (tmp_path / 'rclpy' / '__init__.py').write_text(f"print('importing', flush=True)\nimport time\n{LONG}\n")
    script = executable(tmp_path)
    for command in (['-m', 'dfd_ros.ros.nodes.sweep'], [str(script)]):
        start = f'import sys, runpy; sys.path[:0] = [{str(tmp_path)!r}, {str(ROOT)!r}]; sys.argv = {command!r}; '
        if command[0] == '-m':
            start += "runpy.run_module('dfd_ros.ros.nodes.sweep', run_name='__main__')"
        else:
            start += f"runpy.run_path({str(script)!r}, run_name='__main__')"
        process = subprocess.Popen(
            [sys.executable, '-c', start], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
        )
        assert process.stdout.readline() == 'importing\n'
        process.send_signal(number)
        assert ended(process) == (0, '', '')


@pytest.mark.parametrize('number', [signal.SIGINT, signal.SIGTERM])
def test_a_signal_amid_the_start_is_a_quiet_end(number):
    process = started(f"print('starting', flush=True); {LONG}")
    assert process.stdout.readline() == 'starting\n'
    process.send_signal(number)
    assert ended(process) == (0, '', '')


WORK = f"""
        try:
            print('starting', flush=True)
            {LONG}
        except KeyboardInterrupt:
            raise ValueError('could not determine the shape')
"""


def test_a_signal_raised_as_a_library_error_is_a_quiet_exit():
    process = started(WORK)
    assert process.stdout.readline() == 'starting\n'
    process.send_signal(signal.SIGINT)
    assert ended(process) == (0, '', '')


def test_a_signal_in_a_destructor_is_a_quiet_end():
    """Python ignores what is raised there, with a traceback."""
    process = started(f"type('D', (), {{'__del__': lambda _: (print('starting', flush=True), {LONG})}})()")
    assert process.stdout.readline() == 'starting\n'
    process.send_signal(signal.SIGINT)
    assert ended(process) == (0, 'started\nclosing\nclosed\n', '')


def test_a_fault_at_the_start_shows_itself_and_ends_at_once():
    status, _, err = ended(started("raise ValueError('a fault')"))
    assert status == 1 and err.endswith('ValueError: a fault\n')


@pytest.mark.parametrize('number', [signal.SIGINT, signal.SIGTERM])
def test_a_second_signal_does_not_disturb_the_end(number):
    process = started("timer = self.create_timer(0.05, lambda: (print('spinning', flush=True), timer.cancel()))")
    assert [process.stdout.readline() for _ in range(2)] == ['started\n', 'spinning\n']
    began = time.monotonic()
    process.send_signal(number)
    assert process.stdout.readline() == 'closing\n'
    process.send_signal(signal.SIGINT)
    process.send_signal(signal.SIGTERM)
    assert ended(process) == (0, 'closed\n', '')
    assert time.monotonic() - began < 20  # and it does not take the interpreter down


def test_its_worker_processes_end_with_it():
    process = started(
        "import multiprocessing; worker = multiprocessing.get_context('spawn').Process(target=time.sleep, args=(60,), "
        'daemon=True); worker.start(); print(worker.pid, flush=True)'
    )
    worker = Path('/proc', process.stdout.readline().strip())
    assert process.stdout.readline() == 'started\n' and worker.exists()
    time.sleep(0.2)  # until the constructor, which says so, has returned
    process.send_signal(signal.SIGTERM)
    assert ended(process) == (0, 'closing\nclosed\n', '')
    end = time.monotonic() + 20
    while worker.exists() and time.monotonic() < end:
        time.sleep(0.05)
    assert not worker.exists()


@pytest.mark.parametrize(
    'start, line',
    [
        ("raise __import__('dfd_ros.core.errors').core.errors.InputError('parameter near: no')", 'parameter near: no'),
        (r"raise RuntimeError('Failed to create\nsubscription')", 'test node: Failed to create subscription'),
    ],
)
def test_what_cannot_work_at_the_start_is_one_line(start, line):
    assert ended(started(start)) == (2, '', f'error: {line}\n')


def test_arguments_that_are_not_of_ros_are_refused():
    status, out, err = ended(started('pass', '--bogus'))
    assert (status, out) == (2, '') and err.startswith("error: test: unknown argument '--bogus'; parameters are given")


@pytest.mark.parametrize(
    'given, line',
    [(['-p'], "Couldn't parse trailing -p flag"), (['--params-file', '/nowhere.yaml'], 'Error opening YAML file')],
)
def test_arguments_of_ros_that_cannot_be_read_are_one_line(given, line):
    status, out, err = ended(started('pass', '--ros-args', *given))
    assert (status, out) == (2, '') and err.startswith('error: test node: Failed to parse ROS arguments: ')
    assert line in err and err.count('\n') == 1


def test_help_lists_the_parameters():
    result = subprocess.run(
        [sys.executable, '-m', 'dfd_ros.ros.nodes.sweep', '--help'], capture_output=True, text=True, timeout=60
    )
    assert (result.returncode, result.stderr) == (0, '')
    assert result.stdout.startswith('usage: sweep [--ros-args') and '  steps:=5 (2 to 1000)\n' in result.stdout


def test_a_slip_in_the_name_of_a_parameter_is_a_warning(start_node):
    process = start_node('sweep', stpes=7)
    while 'did you mean' not in process.output:
        assert process.process.poll() is None, process.output
        time.sleep(0.05)
    assert 'parameter stpes: there is no such parameter, so it has no effect; did you mean steps?' in process.output
    assert process.output.count('no such parameter') == 1


def test_a_quality_of_service_that_is_none_is_one_line(start_node):
    process = start_node('sweep', **{'qos_overrides./lens_state.subscription.reliability': 'nonsense'})
    assert process.wait() == 2
    assert process.output == 'error: sweep node: Unexpected QoS override for policy `reliability`: `nonsense`\n'
