"""Benchmarks run too rarely to be noticed when something that they use is renamed or removed."""

import ast
import importlib
from pathlib import Path
from types import ModuleType

import pytest

FOLDER = Path(__file__).parents[1] / 'benchmarks'


def imported(node):
    """The names of dfd_ros that an import statement brings, with their values."""
    module = importlib.import_module(node.module)
    for alias in node.names:
        if not hasattr(module, alias.name):
            importlib.import_module(f'{node.module}.{alias.name}')
        yield alias.asname or alias.name, getattr(module, alias.name)


@pytest.mark.parametrize('name', sorted(path.name for path in FOLDER.glob('*.py')))
def test_what_benchmarks_use_is_there(name):
    tree = ast.parse((FOLDER / name).read_text())
    modules = {}
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom) and (node.module or '').partition('.')[0] == 'dfd_ros':
            try:
                modules |= {key: value for key, value in imported(node) if isinstance(value, ModuleType)}
            except ModuleNotFoundError as error:
                if (error.name or '').startswith('dfd_ros'):
                    raise
                pytest.skip(f'needs {error.name}')
    for node in ast.walk(tree):
        if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name) and node.value.id in modules:
            assert hasattr(modules[node.value.id], node.attr), f'{node.value.id}.{node.attr}, line {node.lineno}'
