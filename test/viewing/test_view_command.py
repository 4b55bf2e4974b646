"""The command `dfd view`: what it says, how it fails, and how it ends."""

import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from command_line import dfd

from dfd_ros.core.errors import InputError
from dfd_ros.core.focal_stack import FocalStack
from dfd_ros.core.lens_state import LensState
from dfd_ros.viewing import page_server
from dfd_ros.viewing.page_point import pixel_of


@pytest.fixture(scope='module')
def stack(tmp_path_factory):
    folder = tmp_path_factory.mktemp('stacks') / 'desk'
    draw = np.random.default_rng(0)
    FocalStack(
        [draw.integers(0, 256, (48, 64, 3), dtype=np.uint8) for _ in range(3)],
        [LensState(focus) for focus in (2.0, 1.0, 0.5)],
    ).write(folder)
    return folder


@pytest.fixture
def taken_port():
    with socket.socket() as server:
        server.bind(('127.0.0.1', 0))
        server.listen()
        yield server.getsockname()[1]


def test_bad_input_is_one_line_and_status_2(stack, capsys):
    for arguments, says in (
        (['nowhere'], 'nowhere: no such file or folder; give a focal stack'),
        ([stack, '--port', '70000'], '--port 70000: must be at most 65535'),
        ([stack, '--rate', '0'], '--rate 0.0: must be at least 0.5'),
        ([stack, '--near', '2', '--far', '1'], 'near 2.0 m'),
        ([stack, '--image-topic', '/image'], 'is no bag (.mcap, .db3), and only bags have topics'),
    ):
        assert dfd('view', *arguments) == 2
        said = capsys.readouterr()
        assert said.out == '' and said.err.count('\n') == 1 and says in said.err, said.err


def test_a_taken_port_is_one_line(stack, taken_port, capsys):
    pytest.importorskip('viser')
    assert dfd('view', stack, '--port', taken_port) == 2
    said = capsys.readouterr()
    assert said.out == '' and said.err == (
        f'dfd: error: port {taken_port}: taken by another program; choose another, such as {taken_port + 1}\n'
    )


def test_a_host_of_another_machine(stack, capsys):
    pytest.importorskip('viser')
    assert dfd('view', stack, '--host', '192.0.2.1') == 2
    assert 'host 192.0.2.1: cannot listen there' in capsys.readouterr().err


def test_without_viser_it_says_what_to_install(monkeypatch):
    monkeypatch.setitem(sys.modules, 'viser', None)
    with pytest.raises(InputError, match=r'needs viser, and viser is not installed: pip install viser'):
        page_server.open_server('127.0.0.1', 0)


def test_it_listens_on_this_machine_alone_unless_told_otherwise():
    pytest.importorskip('viser')
    server = page_server.open_server('127.0.0.1', 0)
    try:
        port = server.get_port()
        assert page_server.address(server, '127.0.0.1') == f'http://127.0.0.1:{port}'
        listening = [line.split() for line in Path('/proc/net/tcp').read_text().splitlines()[1:]]
        bound = [fields[1] for fields in listening if fields[3] == '0A' and fields[1].endswith(f':{port:04X}')]
        assert bound == [f'0100007F:{port:04X}']
        with pytest.raises(InputError, match=f'port {port}: taken'):
            page_server.open_server('127.0.0.1', port)
    finally:
        page_server.close_server(server)


def test_nothing_of_viser_is_imported_for_help():
    code = (
        'import sys\nfrom dfd_ros import cli\n'
        "try: cli.main(['view', '--help'])\nexcept SystemExit: pass\n"
        "print([m for m in ('torch', 'cv2', 'numpy', 'viser') if m in sys.modules], file=sys.stderr)"
    )
    done = subprocess.run([sys.executable, '-c', code], capture_output=True, text=True, check=True)
    assert done.stderr.strip() == '[]' and 'dfd view output/stacks' in done.stdout


@pytest.mark.slow(reason='the command loads torch')
def test_it_ends_well_with_a_signal(stack):
    pytest.importorskip('viser')
    command = [sys.executable, '-m', 'dfd_ros.cli', 'view', stack, '--port', '0', '--network', 'variational']
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as view:
        assert view.stdout.readline().startswith('page     http://127.0.0.1:')
        time.sleep(0.5)
        view.send_signal(signal.SIGTERM)
        out, err = view.communicate(timeout=60)
    assert (view.returncode, out, err) == (0, '', '')


@pytest.mark.parametrize(
    'text, pixel',
    [
        ('10, 20', (10, 20)),
        ('10 20', (10, 20)),
        ('50%, 25%', (32, 12)),
        ('100.000%, 100.000%', (63, 47)),
        ('0%, 0%', (0, 0)),
        ('64, 0', None),
        ('-1, 2', None),
        ('101%, 0%', None),
        ('ten', None),
        ('1, 2, 3', None),
        ('', None),
        ('9' * 400 + ', 1', None),
    ],
)
def test_pixels_as_text(text, pixel):
    assert pixel_of(text, 48, 64) == pixel
