"""YAML with limits: extends PyYAML's safe loader, which creates no Python objects."""

from __future__ import annotations

import re
from typing import Any

import yaml

MAX_DEPTH = 50
"""Maximum depth of nested lists and mappings."""
MAX_NODES = 200_000
"""Maximum number of values, counted once per alias."""
MAX_DIGITS = 20
"""Maximum digits of an integer."""
_NUMBERS = {
    'int': r'([-+]?(0|[1-9][0-9_]*|0x[0-9a-fA-F_]+|0b[01_]+))$',
    'float': r'([-+]?([0-9][0-9_]*\.[0-9_]*|\.[0-9][0-9_]*)([eE][-+]?[0-9]+)?|[-+]?[0-9]+[eE][-+]?[0-9]+'
    r'|[-+]?\.(inf|Inf|INF)|\.(nan|NaN|NAN))$',
}
_OWN = {'timestamp', *_NUMBERS}


def load(text: str) -> Any:
    """The value of a YAML text.

    Raises:
        ValueError: the text is not YAML, or exceeds a limit.
    """
    try:
        return yaml.load(text, _Loader)
    except (yaml.YAMLError, ValueError, ArithmeticError, LookupError, AttributeError) as error:  # of explicit tags
        lines = str(error).replace('in "<unicode string>", ', '').splitlines()
        raise ValueError(', '.join(' '.join(line.split()) for line in lines)) from None


if yaml.__with_libyaml__:

    class _FastLoader(yaml.composer.Composer, yaml.CSafeLoader):
        """Parses in C, seven times as fast. Values are composed in Python, where they can be counted."""

        def __init__(self, stream: str):
            yaml.CSafeLoader.__init__(self, stream)
            yaml.composer.Composer.__init__(self)

else:
    _FastLoader = yaml.SafeLoader  # type: ignore[assignment, misc]


class _Loader(_FastLoader):
    """Reads numbers like YAML 1.2: 2e-3 is one, 010 (8 in YAML 1.1) and 1:30 (90) are text, as dates are."""

    yaml_implicit_resolvers = {
        first: [(tag, pattern) for tag, pattern in resolvers if tag.rpartition(':')[2] not in _OWN]
        for first, resolvers in yaml.SafeLoader.yaml_implicit_resolvers.items()
    }

    def __init__(self, stream: str):
        super().__init__(stream)
        self._depth = 0
        self._sizes: dict[int, int] = {}

    def compose_node(self, parent: Any, index: Any) -> Any:
        is_alias = self.check_event(yaml.AliasEvent)
        self._depth += 1
        if self._depth > MAX_DEPTH:
            raise yaml.YAMLError(f'more than {MAX_DEPTH} nested lists and mappings')
        node = super().compose_node(parent, index)
        self._depth -= 1
        if node is not None and not is_alias:
            self._sizes[id(node)] = self._size(node)
        elif id(node) not in self._sizes:
            raise yaml.YAMLError('an alias within the value that it stands for')
        return node

    def _size(self, node: yaml.Node) -> int:
        """The number of values in a node, including those behind aliases."""
        parts = [] if isinstance(node, yaml.ScalarNode) else node.value
        if isinstance(node, yaml.MappingNode):
            parts = [part for pair in parts for part in pair]
        size = 1 + sum(self._sizes[id(part)] for part in parts)
        if size > MAX_NODES:
            raise yaml.YAMLError(f'more than {MAX_NODES} values')
        return size

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict:
        seen = set()
        for key, _ in node.value:
            if isinstance(key, yaml.ScalarNode) and key.tag != 'tag:yaml.org,2002:merge':
                value = self.construct_object(key)
                if value in seen:
                    raise yaml.constructor.ConstructorError(
                        None, None, f'the key {str(value)[:40]!r} twice', key.start_mark
                    )
                seen.add(value)
        return super().construct_mapping(node, deep)

    def construct_yaml_int(self, node: yaml.ScalarNode) -> int:
        return super().construct_yaml_int(_limited(node, MAX_DIGITS))

    def construct_yaml_float(self, node: yaml.ScalarNode) -> float:
        return super().construct_yaml_float(_limited(node, 5 * MAX_DIGITS))


def _limited(node: yaml.ScalarNode, length: int) -> yaml.ScalarNode:
    if len(node.value) > length:
        raise yaml.constructor.ConstructorError(
            None, None, f'a number of {len(node.value)} characters', node.start_mark
        )
    return node


_Loader.add_constructor('tag:yaml.org,2002:int', _Loader.construct_yaml_int)
_Loader.add_constructor('tag:yaml.org,2002:float', _Loader.construct_yaml_float)
for _name, _pattern in _NUMBERS.items():
    _Loader.add_implicit_resolver(f'tag:yaml.org,2002:{_name}', re.compile(_pattern), list('-+.0123456789'))
