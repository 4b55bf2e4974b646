"""The package as a whole: what it says of itself, what it installs, and that its messages go over the wire."""

import ast
import importlib.util
import math
import os
import re
import subprocess
import sys
import time
import xml.etree.ElementTree as xml
import zipfile
from pathlib import Path

import pytest

import dfd_ros
from dfd_ros.core.errors import InputError
from dfd_ros.core.resources import resource

ROOT = Path(__file__).resolve().parent.parent
NODES = sorted(path.stem for path in (ROOT / 'dfd_ros' / 'ros' / 'nodes').glob('[a-z]*.py'))
FIELD = re.compile(r'^(?P<type>[\w/]+) (?P<name>\w+) *(?P<comment>#.*)?$')


def tracked_files() -> list[str]:
    """Files of the checkout that git knows of or would add."""
    listing = subprocess.run(
        ['git', 'ls-files', '--cached', '--others', '--exclude-standard'],
        cwd=ROOT,
        check=True,
        capture_output=True,
        text=True,
    ).stdout
    return [name for name in listing.splitlines() if (ROOT / name).is_file()]


@pytest.mark.parametrize('name', ['LensState', 'FocusCommand'])
def test_message_fields_document_units_and_special_values(name):
    lines = (ROOT / 'msg' / f'{name}.msg').read_text().splitlines()
    fields = [FIELD.match(line) for line in lines if line and not line.startswith('#')]
    assert lines[0].startswith('# ') and all(fields)
    for field in fields:
        comment = field['comment'] or ''
        assert len(comment) > 20, f'{field["name"]} is not documented'
        if field['type'] == 'float64':
            assert re.match(r'# (m|s|rad|Hz|K|1), ', comment), f'{field["name"]}: no SI unit (1: a ratio)'
            assert 'NaN' in comment and '0' in comment, f'{field["name"]}: NaN and 0 are not explained'


def test_versions_agree():
    version = xml.parse(ROOT / 'package.xml').getroot().findtext('version')
    printed = subprocess.run(
        [sys.executable, 'setup.py', '--version'], cwd=ROOT, check=True, capture_output=True, text=True
    ).stdout
    assert printed.splitlines()[-1] == version == dfd_ros.__version__


def test_cmake_generates_every_message():
    cmake = (ROOT / 'CMakeLists.txt').read_text()
    for path in (ROOT / 'msg').iterdir():
        assert f'msg/{path.name}' in cmake


# The import name of what a manifest calls otherwise.
ROSDEP = {
    'cv2': 'python3-opencv',
    'numpy': 'python3-numpy',
    'yaml': 'python3-yaml',
    'PIL': 'python3-pil',
    'tqdm': 'python3-tqdm',
    'tf2_ros': 'tf2_ros_py',
}
BY_PIP = {
    'cv2': 'opencv-python-headless',
    'yaml': 'PyYAML',
    'PIL': 'pillow',
    'pydantic_core': 'pydantic',
    'mathutils': 'bpy',
    'OpenImageIO': 'bpy',  # these two come with it
    'rich': 'viser',  # so does this
}
# Where ROS has no cv_bridge, the set-up of wheels brings this.
ONLY_WITH_WHEELS = {'rosbags'}


def imported_modules(folders: list[Path]) -> set[str]:
    names = set()
    for path in folders:
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Import):
                names.update(alias.name.split('.')[0] for alias in node.names)
            elif isinstance(node, ast.ImportFrom) and not node.level:
                names.add(node.module.split('.')[0])
    return names - set(sys.stdlib_module_names) - {'dfd_ros'}


def is_ros(path: Path) -> bool:
    return path.relative_to(ROOT / 'dfd_ros').parts[0] == 'ros'


@pytest.mark.slow(reason='all modules are parsed')
def test_library_imports_are_pip_dependencies():
    library = [path for path in (ROOT / 'dfd_ros').rglob('*.py') if not is_ros(path)]
    declared = (ROOT / 'setup.py').read_text()
    for module in imported_modules(library):
        assert re.search(rf"'{BY_PIP.get(module, module)}\b", declared), f'{module} is not named in setup.py'


def test_node_imports_are_ros_dependencies():
    nodes = [path for path in (ROOT / 'dfd_ros').rglob('*.py') if is_ros(path)]
    launch = list((ROOT / 'launch').glob('*.py'))
    declared = {element.text for element in xml.parse(ROOT / 'package.xml').getroot() if 'depend' in element.tag}
    for module in imported_modules(nodes + launch) - ONLY_WITH_WHEELS - {'torch', 'safetensors'}:
        assert ROSDEP.get(module, module) in declared, f'{module} is not named in package.xml'


def test_resources_are_found_in_a_checkout():
    assert resource('config') == ROOT / 'config'
    with pytest.raises(InputError, match='^weights/none.safetensors: no such file'):
        resource('weights/none.safetensors')


def dfd(site: Path, *arguments: str) -> subprocess.CompletedProcess:
    """Runs the package that lies in `site`, with no sight of the checkout."""
    environment = {**os.environ, 'PYTHONPATH': str(site)}
    return subprocess.run([sys.executable, *arguments], cwd=site, env=environment, capture_output=True, text=True)


FIND_CONFIG = 'from dfd_ros.core.resources import PACKAGE, resource; print(PACKAGE); print(resource("config"))'


@pytest.mark.slow(reason='a wheel is built of all of it, weights included')
def test_pip_installs_the_library_its_resources_and_the_command(tmp_path):
    source, site = tmp_path / 'source', tmp_path / 'site'
    for name in tracked_files():
        (source / name).parent.mkdir(parents=True, exist_ok=True)
        (source / name).write_bytes((ROOT / name).read_bytes())
    subprocess.run(
        [sys.executable, '-m', 'pip', 'wheel', '--quiet', '--no-deps', '--no-build-isolation', '-w', tmp_path, source],
        check=True,
    )
    (wheel,) = tmp_path.glob('*.whl')
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(site)
        (entry_points,) = (name for name in archive.namelist() if name.endswith('entry_points.txt'))
        assert 'dfd = dfd_ros.cli:main' in archive.read(entry_points).decode()

    package, config = dfd(site, '-c', FIND_CONFIG).stdout.splitlines()
    assert Path(package) == site / 'dfd_ros' and Path(config).is_relative_to(site)
    for name in tracked_files():
        if name.startswith(('config/', 'weights/')):
            assert (Path(config).parent / name).read_bytes() == (ROOT / name).read_bytes()
        if name.startswith('dfd_ros/') and name.endswith('.py'):
            assert (site / name).is_file(), f'{name} is not installed; its folder needs an __init__.py'
    assert 'estimate' in dfd(site, '-m', 'dfd_ros.cli', '--help').stdout


def overlay() -> Path:
    """The ROS installation of this package."""
    pytest.importorskip('rclpy', reason='no ROS here')
    spec = importlib.util.find_spec('dfd_ros.msg')
    assert spec, 'rclpy is here, but dfd_ros.msg is not built'
    return next(parent for parent in Path(spec.origin).parents if (parent / 'share' / 'dfd_ros').is_dir())


def test_the_ros_installation_has_nodes_and_resources():
    prefix = overlay()
    assert {'camera', 'sweep', 'depth'} <= set(NODES)
    for node in NODES:
        assert os.access(prefix / 'lib' / 'dfd_ros' / node, os.X_OK)
    command = prefix / 'bin' / 'dfd'
    assert 'convert' in subprocess.run([command, '--help'], capture_output=True, text=True, check=True).stdout
    assert '$AMENT_CURRENT_PREFIX/bin' in (prefix / 'share' / 'dfd_ros' / 'environment' / 'path.sh').read_text()
    spec = importlib.util.find_spec('dfd_ros.msg')
    package, config = dfd(Path(spec.origin).parents[2], '-c', FIND_CONFIG).stdout.splitlines()
    assert Path(package).is_relative_to(prefix)
    assert Path(config) == prefix / 'share' / 'dfd_ros' / 'config'
    for folder in ('config', 'launch', 'urdf', 'weights'):
        assert (prefix / 'share' / 'dfd_ros' / folder).is_dir()


TRAINING = """
network_config: {channels: [8, 8, 8, 8], hypotheses: 6, kinds: [1, 2, 1], hidden: [4, 4]}
steps: 1
stages: [{crop: 32, batch: 1, frames: 3, decode: 1}]
pool: {start: 1, workers: 1}
data: {height: 32, width: 32, frames: 3, ramp: [3, 3]}
validation: data
validate_stacks: 1
"""


@pytest.mark.slow(reason='two commands train, and each starts processes that load torch')
def test_the_commands_start_processes_of_their_own(tmp_path):
    """Those import the command's file anew, which must not run the command again."""
    (tmp_path / 'run.yaml').write_text(TRAINING)
    commands = overlay() / 'bin' / 'dfd', Path(sys.executable).with_name('dfd')
    for number, command in enumerate(command for command in commands if command.exists()):
        result = subprocess.run(
            [command, 'train', tmp_path / 'run.yaml', '--out', tmp_path / str(number)], capture_output=True, text=True
        )
        assert result.returncode == 0, result.stderr
        assert list(tmp_path.glob(f'{number}/**/best.safetensors'))


ECHO = """
import rclpy
from dfd_ros.msg import FocusCommand, LensState

rclpy.init()
node = rclpy.create_node('echo')
for message_type, name in ((LensState, 'lens_state'), (FocusCommand, 'focus_command')):
    publisher = node.create_publisher(message_type, f'{name}_back', 10)
    node.create_subscription(message_type, name, publisher.publish, 10)
rclpy.spin(node)
"""


def fields_of(message) -> dict:
    """Fields of a flat message with its header; NaN, which equals nothing, as text."""
    values = {name: getattr(message, name) for name in message.get_fields_and_field_types() if name != 'header'}
    values = {
        name: 'nan' if isinstance(value, float) and math.isnan(value) else value for name, value in values.items()
    }
    return {
        **values,
        'stamp': (message.header.stamp.sec, message.header.stamp.nanosec),
        'frame_id': message.header.frame_id,
    }


@pytest.mark.slow(reason='processes have to find each other over DDS')
def test_messages_come_back_unchanged_from_another_process():
    rclpy = pytest.importorskip('rclpy', reason='no ROS here')
    from builtin_interfaces.msg import Time
    from rclpy.executors import SingleThreadedExecutor
    from std_msgs.msg import Header

    from dfd_ros.msg import FocusCommand, LensState

    header = Header(stamp=Time(sec=12, nanosec=345), frame_id='camera_optical_frame')
    sent = {
        'lens_state': LensState(
            header=header,
            focus_distance=math.inf,
            focal_length=4.3e-3,
            f_number=math.nan,
            pixel_pitch=1e-6,
            magnification=1.06,
            near_distance=0.1,
            far_distance=math.inf,
            settled=True,
            command_id=2**32 - 1,
        ),
        'focus_command': FocusCommand(header=header, focus_distance=0.25, command_id=7),
    }
    received = {}
    context = rclpy.Context()
    rclpy.init(context=context)
    executor = SingleThreadedExecutor(context=context)
    node = rclpy.create_node('test_messages', context=context)
    executor.add_node(node)
    publishers = {name: node.create_publisher(type(message), name, 10) for name, message in sent.items()}
    for name, message in sent.items():
        node.create_subscription(
            type(message), f'{name}_back', lambda back, name=name: received.setdefault(name, back), 10
        )
    with subprocess.Popen([sys.executable, '-c', ECHO]) as echo:
        try:
            deadline = time.monotonic() + 60
            while len(received) < len(sent) and time.monotonic() < deadline and echo.poll() is None:
                for name, message in sent.items():
                    publishers[name].publish(message)
                executor.spin_once(timeout_sec=0.1)
        finally:
            echo.kill()
            node.destroy_node()
            rclpy.shutdown(context=context)
    assert {name: fields_of(message) for name, message in received.items()} == {
        name: fields_of(message) for name, message in sent.items()
    }
