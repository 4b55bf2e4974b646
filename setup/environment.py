"""Builds .venv in the checkout: Python packages, ROS 2, and the colcon overlay with this package's own messages.

`make env` runs it; `make docs` runs it with --docs, for the packages that build the site. Each step is done again only
when something that goes into it has changed. Needs nothing but the standard library, and runs on any Python 3.7, so
that it can say what is missing.
"""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import json
import os
import platform
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
SETUP = ROOT / 'setup'
VENV = ROOT / '.venv'
TOOLS = VENV / 'build-tools'
BUILD = VENV / 'build'
OVERLAY = VENV / 'overlay'
LOGS = VENV / 'log'
STAMPS = VENV / 'setup.json'

PYTHONS = ((3, 11), (3, 12))
OLDEST_DISTRO = 'jazzy'
DISK_NEEDED_GB = 4

# Modules by which a requirement is known, where its name does not say so.
MODULES = {'opencv-python-headless': 'cv2', 'PyYAML': 'yaml', 'pillow': 'PIL'}


class Unfit(Exception):
    """This machine cannot be set up. The message is one line: what is missing, and what to do."""


class Python:
    """An interpreter, and what it has of that which the environment needs."""

    PROBE = (
        'import importlib.util as u, json, os, sys, sysconfig\n'
        'base = getattr(sys, "_base_executable", sys.executable)\n'
        'rclpy = u.find_spec("rclpy")\n'
        'print(json.dumps(dict(path=os.path.realpath(base), version=sys.version_info[:3],\n'
        '    venv=bool(u.find_spec("venv") and u.find_spec("ensurepip")),\n'
        '    headers=os.path.exists(os.path.join(sysconfig.get_paths()["include"], "Python.h")),\n'
        '    rclpy=rclpy.origin if rclpy else None)))\n'
    )

    def __init__(self, command: str):
        output = subprocess.run(
            [command, '-c', self.PROBE], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, check=True
        ).stdout
        found = json.loads(output.decode())
        self.path: str = found['path']
        self.version: tuple = tuple(found['version'])
        self.has_venv: bool = found['venv']
        self.has_headers: bool = found['headers']
        self.rclpy: str | None = found['rclpy']

    @property
    def name(self) -> str:
        return 'Python {}.{}'.format(*self.version[:2])

    def lacks(self) -> dict:
        """What is missing, and the Debian package that has it."""
        debian = 'python{}.{}'.format(*self.version[:2])
        missing = {}
        if not self.has_venv:
            missing['the venv module of ' + self.name] = debian + '-venv'
        if not self.has_headers:
            missing['the C headers of ' + self.name] = debian + '-dev'
        return missing


def pythons() -> list:
    """Every interpreter on PATH that might do, best first. $PYTHON names the only one to take."""
    wanted = os.environ.get('PYTHON')
    commands = [wanted] if wanted else [sys.executable, 'python3', 'python3.12', 'python3.11']
    found: dict[str, Python] = {}
    for command in commands:
        with contextlib.suppress(OSError, subprocess.CalledProcessError, ValueError):
            python = Python(command)
            found.setdefault(python.path, python)
    return list(found.values())


def ros_name(distro: str | None) -> str:
    """Where ROS comes from: the distribution that is sourced, else wheels."""
    return f'ROS 2 {distro}, as sourced' if distro else 'ROS 2 Kilted, from wheels'


def choose() -> tuple:
    """The ROS distribution that is sourced, None for wheels, and the Python to build with.

    Raises:
        Unfit: with everything that is missing in one line.
    """
    candidates = pythons()
    distro = sourced_ros(candidates)
    fitting = [python for python in candidates if (python.rclpy if distro else python.version[:2] in PYTHONS)]
    python = min(fitting, key=lambda candidate: len(candidate.lacks()), default=None)
    wanted = ' at PYTHON=' + os.environ['PYTHON'] if os.environ.get('PYTHON') else ''
    missing = python.lacks() if python else {'Python 3.11 or 3.12' + wanted: 'python3 python3-venv python3-dev'}
    if not shutil.which(os.environ.get('CC', 'cc')) or not shutil.which(os.environ.get('CXX', 'c++')):
        missing['a C and C++ compiler'] = 'build-essential'
    if distro and not shutil.which('cmake'):
        missing['CMake'] = 'cmake'
    if missing:
        raise Unfit(
            'this machine lacks {}; on Debian or Ubuntu: sudo apt install {}'.format(
                ', '.join(missing), ' '.join(missing.values())
            )
        )
    if not distro and (platform.system(), platform.machine()) != ('Linux', 'x86_64'):
        raise Unfit(
            f'the ROS 2 wheels are for Linux on x86_64, this is {platform.system()} on {platform.machine()}; '
            f'source a ROS 2 installation ({OLDEST_DISTRO} or later) first'
        )
    return distro, python


def sourced_ros(candidates: list) -> str | None:
    """The distribution that this shell has sourced."""
    distro = os.environ.get('ROS_DISTRO')
    if not distro or not os.environ.get('AMENT_PREFIX_PATH', os.environ.get('ROS_PACKAGE_PATH')):
        return None
    if os.environ.get('ROS_VERSION', '2') != '2' or distro < OLDEST_DISTRO:
        raise Unfit(
            f'ROS {distro} is sourced, which is too old; source {OLDEST_DISTRO} or later, or start from a '
            'shell with no ROS sourced'
        )
    return distro if any(python.rclpy for python in candidates) else None


class Steps:
    """Steps of the set-up, each done again only when its key has changed. Written down as soon as it is done."""

    def __init__(self):
        self.done = json.loads(STAMPS.read_text()) if STAMPS.exists() else {}
        self.any = False

    def run(self, name: str, title: str, key: str, action) -> None:
        if self.done.get(name) == key:
            return
        self.any = True
        print(f'dfd_ros: {title} ...', flush=True)
        start = time.monotonic()
        # Written down as undone first: a step cut short has left something that fits no key.
        self.done.pop(name, None)
        if VENV.exists():
            self.write()
        action()
        self.done[name] = key
        self.write()
        print(f'dfd_ros: {title} done in {time.monotonic() - start:.0f} s', flush=True)

    def write(self) -> None:
        handle, name = tempfile.mkstemp(dir=str(VENV))
        with os.fdopen(handle, 'w') as file:
            json.dump(self.done, file, indent=2)
        os.replace(name, str(STAMPS))


def check_disk() -> None:
    free = shutil.disk_usage(str(ROOT)).free / 1e9
    if free < DISK_NEEDED_GB:
        raise Unfit(f'{free:.1f} GB of disk free at {ROOT}, {DISK_NEEDED_GB} GB needed')


def key_of(*parts) -> str:
    """A hash of texts and of files' contents."""
    digest = hashlib.sha256()
    for part in parts:
        digest.update(part.read_bytes() if isinstance(part, Path) else str(part).encode())
        digest.update(b'\0')
    return digest.hexdigest()


def call(command: list, log: str, environment: dict | None = None) -> None:
    """Runs a command, its output into a log file, and the last line of it on a terminal meanwhile.

    Raises:
        Unfit: where it fails, with the log's last words.
    """
    LOGS.mkdir(exist_ok=True)
    path = LOGS / log
    last = ''
    with (
        path.open('w', encoding='utf-8') as file,
        subprocess.Popen(
            command,
            cwd=ROOT,
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            encoding='utf-8',
            errors='replace',
        ) as process,
    ):
        assert process.stdout is not None
        for line in process.stdout:
            file.write(line)
            last = line.strip() or last
            if sys.stdout.isatty():
                print(f'\r\033[K  {line.strip()[: shutil.get_terminal_size().columns - 3]}', end='', flush=True)
    if sys.stdout.isatty():
        print('\r\033[K', end='', flush=True)
    if process.returncode:
        raise Unfit(f'{Path(str(command[0])).name} failed: {last} (all of it: {path})')


def make_venv(python: Python, distro: str | None) -> None:
    shutil.rmtree(VENV, ignore_errors=True)
    VENV.mkdir()
    # Marks the directory as this set-up's own from the first moment, so that a set-up cut short can be taken up.
    STAMPS.write_text('{}')
    call([python.path, '-m', 'venv', *(['--system-site-packages'] if distro else []), VENV], 'venv.log')


def install_packages(distro: str | None) -> None:
    pip = [VENV / 'bin' / 'python', '-m', 'pip', 'install', '--disable-pip-version-check']
    if not distro:
        call(
            [
                *pip,
                '-c',
                SETUP / 'constraints.txt',
                '-r',
                SETUP / 'requirements.txt',
                '-r',
                SETUP / 'requirements-ros.txt',
                '-r',
                SETUP / 'requirements-lint.txt',
            ],
            'packages.log',
        )
        return
    call([*pip, *requirements_beside_ros(), '-r', SETUP / 'requirements-lint.txt'], 'packages.log')


def install_docs_packages() -> None:
    pip = [VENV / 'bin' / 'python', '-m', 'pip', 'install', '--disable-pip-version-check']
    call([*pip, '-r', SETUP / 'requirements-docs.txt'], 'docs.log')


def requirements_beside_ros() -> list:
    """Requirements where ROS is installed. What the system has already is left to it, since cv_bridge and the
    generated messages are built against the system's NumPy; only torch is exact, and pydantic, since Ubuntu 24.04
    has version 1."""
    requirements = [line.strip() for line in (SETUP / 'requirements.txt').read_text().splitlines()]
    requirements = [line for line in requirements if line and not line.startswith('#')]
    names = {line: line.split('==')[0] for line in requirements}
    modules = {name: MODULES.get(name, name.replace('-', '_')) for name in names.values()}
    probe = (
        'import importlib.util as u, json, sys\n'
        'numpy = __import__("numpy").__version__ if u.find_spec("numpy") else None\n'
        'print(json.dumps([numpy, [m for m in sys.argv[1:] if u.find_spec(m)]]))'
    )
    output = subprocess.run(
        [str(VENV / 'bin' / 'python'), '-c', probe, *modules.values()], stdout=subprocess.PIPE, check=True
    ).stdout
    numpy, present = json.loads(output.decode())
    exact = 'torch', 'pydantic'
    wanted = [
        line if name in exact else name for line, name in names.items() if name in exact or modules[name] not in present
    ]
    return wanted + (['numpy==' + numpy] if numpy else [])


def install_tools(python: Python) -> None:
    shutil.rmtree(TOOLS, ignore_errors=True)
    call([python.path, '-m', 'venv', TOOLS], 'tools.log')
    # What a sourced ROS puts on PYTHONPATH is not to pass for what this environment has.
    environment = {name: value for name, value in os.environ.items() if name != 'PYTHONPATH'}
    call(
        [
            TOOLS / 'bin' / 'python',
            '-m',
            'pip',
            'install',
            '--disable-pip-version-check',
            '-c',
            SETUP / 'constraints.txt',
            '-r',
            SETUP / 'requirements-build.txt',
        ],
        'tools.log',
        environment,
    )


def site_packages(python: Python, prefix: Path) -> Path:
    return prefix / 'lib' / 'python{}.{}'.format(*python.version[:2]) / 'site-packages'


def sourced_paths(name: str, distro: str | None) -> list:
    """Paths that the sourced ROS has put into a variable of this shell."""
    paths = [path for path in os.environ.get(name, '').split(os.pathsep) if path]
    return [path for path in paths if not path.startswith(str(VENV))] if distro else []


def install_activation(python: Python, distro: str | None) -> None:
    """The checkout, the overlay and ROS, for whatever is started by the environment's Python; and the command."""
    site = site_packages(python, VENV)
    variables = (
        {'ROS_DISTRO': distro, 'ROS_VERSION': '2'}
        if distro
        else {
            # Keeps the wheels' own start-up hook from starting Python once more.
            '_ROS_WHEELS_BOOTSTRAP_COMPLETE': '1'
        }
    )
    own = [] if distro else [str(VENV)]
    libraries = [] if distro else [str(VENV / 'lib'), *sorted(map(str, site.glob('ros_*.libs')))]
    values = {
        'variables': variables,
        'paths': {
            'AMENT_PREFIX_PATH': [str(OVERLAY), *own, *sourced_paths('AMENT_PREFIX_PATH', distro)],
            'LD_LIBRARY_PATH': [str(OVERLAY / 'lib'), *libraries, *sourced_paths('LD_LIBRARY_PATH', distro)],
        },
    }
    (site / 'dfd_ros_activation.json').write_text(json.dumps(values, indent=2))
    shutil.copyfile(str(SETUP / 'activation.py'), str(site / 'dfd_ros_activation.py'))
    # The checkout comes before the overlay: Python files are taken from where they are edited.
    lines = [
        str(ROOT),
        str(site_packages(python, OVERLAY)),
        *sourced_paths('PYTHONPATH', distro),
        'import dfd_ros_activation',
    ]
    (site / 'dfd_ros_activation.pth').write_text('\n'.join(lines) + '\n')

    command, text = VENV / 'bin' / 'dfd', (SETUP / 'dfd.in').read_text()
    blocking = ['/usr/bin/env', '-S', '--block-signal=INT,TERM']  # as in CMakeLists.txt
    can_block = subprocess.run([*blocking, 'true'], capture_output=True).returncode == 0
    interpreter = ' '.join([*(blocking if can_block else []), str(VENV / 'bin' / 'python')])
    for name, value in (('INTERPRETER', interpreter), ('MODULE', 'dfd_ros.cli')):
        text = text.replace(f'@{name}@', value)
    command.write_text(text)
    command.chmod(0o755)


def clear_overlay() -> None:
    for directory in (BUILD, OVERLAY):
        shutil.rmtree(directory, ignore_errors=True)


def build_overlay(python: Python, distro: str | None) -> None:
    # colcon's own choice waits for the load to fall below the number of cores: on a busy machine, for ever.
    environment = dict(os.environ, MAKEFLAGS=f'-j{os.cpu_count() or 1}')
    path = [str(TOOLS / 'bin'), os.environ.get('PATH', '')]
    if not distro:
        environment.update(AMENT_PREFIX_PATH=str(VENV), CMAKE_PREFIX_PATH=str(VENV))
    else:
        path.reverse()
    environment['PATH'] = os.pathsep.join(path)
    call(
        [
            TOOLS / 'bin' / 'colcon',
            '--log-base',
            LOGS / 'colcon',
            'build',
            '--base-paths',
            ROOT,
            '--packages-select',
            'dfd_ros',
            '--build-base',
            BUILD,
            '--install-base',
            OVERLAY,
            '--merge-install',
            '--symlink-install',
            '--event-handlers',
            'console_direct+',
            '--cmake-args',
            '-DBUILD_TESTING=OFF',
            '-DPython3_EXECUTABLE={}'.format(VENV / 'bin' / 'python'),
        ],
        'overlay.log',
        environment,
    )
    call(
        [VENV / 'bin' / 'python', '-c', 'import rclpy, torch; from dfd_ros.msg import LensState; LensState()'],
        'check.log',
    )


def set_up(with_docs: bool) -> None:
    distro, python = choose()
    if VENV.is_symlink():
        raise Unfit(f'{VENV} is a link to {os.readlink(VENV)}, perhaps the environment of another checkout; remove it')
    if VENV.exists() and any(VENV.iterdir()) and not STAMPS.exists():
        raise Unfit(f'{VENV} is there but was not made by this set-up; move it away')

    requirements = [
        SETUP / name
        for name in ('requirements.txt', 'requirements-ros.txt', 'requirements-lint.txt', 'constraints.txt')
    ]
    venv = key_of(str(ROOT), ros_name(distro), python.path, python.version, python.rclpy if distro else '')
    packages = key_of(venv, *requirements)
    tools = key_of(venv, SETUP / 'requirements-build.txt', SETUP / 'constraints.txt')
    shell = [sourced_paths(name, distro) for name in ('AMENT_PREFIX_PATH', 'LD_LIBRARY_PATH', 'PYTHONPATH')]
    activation = key_of(packages, *shell, SETUP / 'activation.py', SETUP / 'dfd.in', Path(__file__))
    messages = sorted(ROOT.glob('msg/*.msg'))
    # The overlay links to these: a new one has to be linked, a changed one is seen through its link.
    linked = [
        path
        for pattern in ('dfd_ros/ros/nodes/*.py', 'launch/*', 'urdf/*', 'config/*', 'weights/*')
        for path in sorted(ROOT.glob(pattern))
    ]
    fresh = key_of(packages, tools, ROOT / 'package.xml', *map(str, messages))
    overlay = key_of(fresh, ROOT / 'CMakeLists.txt', SETUP / 'node.in', SETUP / 'dfd.in', *messages, *map(str, linked))

    steps = Steps()
    if steps.done.get('venv') != venv:
        steps.done = {}
    if steps.done.get('packages') != packages:
        check_disk()
    steps.run('venv', f'.venv with {python.name} and {ros_name(distro)}', venv, lambda: make_venv(python, distro))
    steps.run('packages', 'Python packages (takes minutes the first time)', packages, lambda: install_packages(distro))
    steps.run('activation', 'start-up of .venv', activation, lambda: install_activation(python, distro))
    steps.run('tools', 'build tools', tools, lambda: install_tools(python))
    steps.run('fresh', 'empty overlay', fresh, clear_overlay)
    steps.run('overlay', 'messages of dfd_ros', overlay, lambda: build_overlay(python, distro))
    if with_docs:
        docs = key_of(venv, SETUP / 'requirements-docs.txt')
        steps.run('docs', 'packages of the documentation', docs, install_docs_packages)
    if not steps.any:
        print(f'dfd_ros: .venv is up to date ({python.name}, {ros_name(distro)})')


def main() -> int:
    try:
        # Two set-ups at once would write into each other; the second waits, and finds everything done.
        with Path(__file__).open() as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            set_up('--docs' in sys.argv[1:])
    except (Unfit, OSError) as error:
        print(f'dfd_ros: {error}', file=sys.stderr)
        return 1
    return 0


if __name__ == '__main__':
    sys.exit(main())
