"""Generates config/depth_from_focus.yaml and the tables of docs/parameters.md from the nodes' parameters.

``python -m dfd_ros.ros.parameter_reference`` in a checkout. With ``--check`` it writes nothing, and exits with 1 if a
file is out of date.
"""

from __future__ import annotations

import argparse
import sys
import textwrap
from pathlib import Path

from dfd_ros.core.files import write_text
from dfd_ros.ros.node_parameters import NODES
from dfd_ros.ros.parameters import ROS_TYPE_NAMES, Declaration, Parameters, yaml_scalar

ROOT = Path(__file__).resolve().parents[2]
CONFIG = Path('config/depth_from_focus.yaml')
DOCUMENT = Path('docs/parameters.md')
HEAD = """\
# Every parameter of the nodes with its default. Written by `python -m dfd_ros.ros.parameter_reference`: change a copy.
# The key /**/NODE means the node of that name in every namespace.
"""


def configuration() -> str:
    """The parameter file of all nodes, as ``--params-file`` reads it."""
    parts = [HEAD]
    for node, cls in NODES.items():
        lines = [f'/**/{node}:', '  ros__parameters:']
        for declaration in cls.declarations():
            lines += textwrap.wrap(_comment(declaration), 110, initial_indent='    # ', subsequent_indent='    # ')
            lines.append(f'    {declaration.name}: {yaml_scalar(declaration.default)}')
        parts.append('\n'.join(lines) + '\n')
    return '\n'.join(parts)


def _comment(declaration: Declaration) -> str:
    facts = [
        fact
        for fact in (
            declaration.unit,
            declaration.limits if not declaration.choices else '',
            'one of ' + ' | '.join(declaration.choices) if declaration.choices else '',
            'can change at run time' if declaration.run_time else '',
        )
        if fact
    ]
    return declaration.description + (f' [{", ".join(facts)}]' if facts else '')


def table(cls: type[Parameters]) -> str:
    """The parameters as a Markdown table."""
    lines = ['| parameter | type | default | unit | allowed | at run time | |', '|' + ' --- |' * 7]
    for d in cls.declarations():
        cells = [
            f'`{d.name}`',
            ROS_TYPE_NAMES[d.type],
            f'`{yaml_scalar(d.default)}`',
            d.unit,
            d.limits,
            'yes' if d.run_time else '',
            d.description,
        ]
        lines.append('| ' + ' | '.join(cell.replace('|', '\\|') for cell in cells) + ' |')
    return '\n'.join(lines)


def document(text: str) -> str:
    """`text` with the table of each node between its two marks."""
    for node, cls in NODES.items():
        begin, end = f'<!-- parameters of {node} -->\n', f'<!-- end of parameters of {node} -->\n'
        before, begin, rest = text.partition(begin)
        _, end, after = rest.partition(end)
        if not begin or not end:
            raise ValueError(f'{DOCUMENT}: the marks around the parameters of {node} are missing')
        text = f'{before}{begin}{table(cls)}\n{end}{after}'
    return text


def stale(root: Path) -> dict[Path, str]:
    """The files that are out of date, with their new text."""
    wanted = {root / CONFIG: configuration(), root / DOCUMENT: document((root / DOCUMENT).read_text())}
    return {path: text for path, text in wanted.items() if not path.exists() or path.read_text() != text}


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(
        prog='python -m dfd_ros.ros.parameter_reference', description=__doc__.splitlines()[0]
    )
    parser.add_argument('--check', action='store_true', help='write nothing; exit 1 where a file is out of date')
    check = parser.parse_args(arguments).check
    files = stale(ROOT)
    for path, text in files.items():
        print(f'{path.relative_to(ROOT)}: {"out of date" if check else "written"}')
        if not check:
            write_text(path, text)
    return 1 if check and files else 0


if __name__ == '__main__':
    sys.exit(main())
