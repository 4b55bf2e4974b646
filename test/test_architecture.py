"""The subpackages: imports go one way, only `ros` imports ROS, and a name means one thing."""

import ast
import functools
import sys
from collections import defaultdict
from pathlib import Path

import pytest

PACKAGE = Path(__file__).resolve().parents[1] / 'dfd_ros'
MODULES = sorted(path.relative_to(PACKAGE).with_suffix('') for path in PACKAGE.rglob('*.py'))

# What each subpackage may import: only subpackages above it in this table.
MAY_IMPORT = {
    'core': '',
    'drawing': 'core',
    'networks': 'core',
    'inference': 'core networks',
    'photographs': 'core inference',
    'synthesis': 'core',
    'calibration': 'core drawing inference synthesis',
    'cameras': 'core calibration synthesis',
    'datasets': 'core drawing synthesis',
    'bags': 'core calibration datasets',
    'training': 'core drawing networks inference synthesis datasets',
    'evaluation': 'core drawing networks inference synthesis datasets training',
    'viewing': 'core drawing networks inference photographs calibration datasets bags',
    'ros': 'core drawing networks inference synthesis calibration cameras datasets bags training evaluation viewing',
    'cli': 'core drawing networks inference photographs synthesis calibration cameras datasets bags training '
    'evaluation viewing ros',
}
ROS = {'rclpy', 'launch', 'launch_ros', 'message_filters', 'cv_bridge', 'tf2_ros', 'tf_transformations'}
# A node and a command have the name that users call them by.
NAMED_BY_USERS = ('ros/nodes', 'cli')


@functools.cache
def imports(module: Path) -> list[tuple[int, str]]:
    """(line, dotted name) of all that a module imports, inside functions too. Of a `from` import both the module and
    what is taken from it, which may be a module."""
    found = []
    for node in ast.walk(ast.parse((PACKAGE / module).with_suffix('.py').read_text())):
        if isinstance(node, ast.Import):
            found += [(node.lineno, alias.name) for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f'{module}:{node.lineno}: relative'
            found += [(node.lineno, f'{node.module}.{alias.name}') for alias in node.names]
    return found


def test_the_table_is_complete_and_acyclic():
    assert set(MAY_IMPORT) == {module.parts[0] for module in MODULES if len(module.parts) > 1}
    below = []
    for subpackage, allowed in MAY_IMPORT.items():
        assert set(allowed.split()) <= set(below), f'{subpackage} may import what stands above it'
        below.append(subpackage)


@pytest.mark.parametrize('subpackage', MAY_IMPORT)
def test_imports_go_one_way(subpackage):
    allowed = {subpackage, *MAY_IMPORT[subpackage].split()}
    wrong = [
        f'dfd_ros/{module}.py:{line}: {name}'
        for module in MODULES
        if module.parts[0] == subpackage
        for line, name in imports(module)
        if name.startswith('dfd_ros.') and name.split('.')[1] in MAY_IMPORT and name.split('.')[1] not in allowed
    ]
    assert not wrong, '\n'.join(wrong)


def test_only_ros_imports_ros():
    def is_ros(name):
        top, _, rest = name.partition('.')
        return top in ROS or rest.startswith('msg.') or rest == 'msg'

    wrong = [
        f'dfd_ros/{module}.py:{line}: {name}'
        for module in MODULES
        if module.parts[0] != 'ros'
        for line, name in imports(module)
        if is_ros(name)
    ]
    assert not wrong, '\n'.join(wrong)


def test_no_module_shadows_the_standard_library():
    assert not [str(module) for module in MODULES if module.name in sys.stdlib_module_names]


def test_a_name_of_a_module_is_there_once():
    places = defaultdict(list)
    for module in MODULES:
        if not module.name.startswith('__') and module.parent.as_posix() not in NAMED_BY_USERS:
            places[module.name].append(str(module))
    assert not [where for where in places.values() if len(where) > 1]
