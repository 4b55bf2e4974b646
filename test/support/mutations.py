"""Odd values, damaged bytes and strange files, drawn from a random generator."""

import copy
import json
import math
import os
import shutil
import xml.etree.ElementTree as ET
from collections.abc import Iterator
from pathlib import Path
from random import Random
from typing import Any

import numpy as np
import yaml

FLOATS = (0.0, -0.0, 1.0, -1.0, math.nan, math.inf, -math.inf, 1e300, -1e300, 5e-324, 1e-30, 1e30, 65535.0)
INTEGERS = (0, 1, -1, 2, 255, 65535, 2**31 - 1, 2**31, 2**32 - 1, 2**63, 10**30)
TEXTS = (
    '',
    'x',
    'x' * 5000,
    '\x00',
    'ÿ\u2028',
    '../../etc',
    'a\nb',
    '%s',
    '2001-13-45',
    'NaN',
    '1e400',
    '0x' + 'f' * 300,
)
# Files that are not plain: what reads them must not wait for ever, nor write through them.
SPECIAL = ('fifo', 'folder', 'zero', 'dangling', 'loop', 'outside', 'empty', 'absent')


def number(rng: Random) -> float:
    return rng.choice((rng.choice(FLOATS), rng.uniform(-10, 10), 10 ** rng.uniform(-12, 12)))


def whole_number(rng: Random, largest: int = 2**32 - 1) -> int:
    return min(max(rng.choice((rng.choice(INTEGERS), rng.randrange(300))), 0), largest)


def value(rng: Random) -> Any:
    return rng.choice(
        (
            number(rng),
            rng.choice(INTEGERS),
            rng.choice(TEXTS),
            None,
            True,
            [],
            {},
            [number(rng)] * rng.randrange(4),
            {rng.choice(TEXTS): 1},
        )
    )


def mutate_value(tree: Any, rng: Random) -> Any:
    """Plain values with one of them replaced, left out or doubled."""
    if isinstance(tree, dict) and tree and rng.random() < 0.9:
        key = rng.choice(list(tree))
        if rng.random() < 0.1:
            return {name: part for name, part in tree.items() if name != key}
        if rng.random() < 0.05:
            return {**tree, rng.choice(TEXTS): tree[key]}
        return {**tree, key: mutate_value(tree[key], rng)}
    if isinstance(tree, list) and tree and rng.random() < 0.9:
        index = rng.randrange(len(tree))
        if rng.random() < 0.1:
            return tree[:index] + tree[index + 1 :] if rng.random() < 0.5 else [*tree, tree[index]]
        return [*tree[:index], mutate_value(tree[index], rng), *tree[index + 1 :]]
    return value(rng)


def mutate_number(tree: Any, rng: Random) -> Any:
    """Plain values with one of their numbers, or switches, somewhat different."""
    result = copy.deepcopy(tree)
    parent, key = rng.choice(list(_leaves(result)))
    old = parent[key]
    if isinstance(old, bool):
        parent[key] = not old
    elif isinstance(old, int):
        parent[key] = rng.choice((0, 1, 2, 3, old + 1, 2 * old, -old))
    else:
        parent[key] = rng.choice((0.0, 1.0, 0.5 * old, 3 * old, -old, 1e-6, 1e6))
    return result


def _leaves(tree: Any) -> Iterator[tuple[Any, Any]]:
    for key, part in tree.items() if isinstance(tree, dict) else enumerate(tree):
        if isinstance(part, dict | list):
            yield from _leaves(part)
        elif isinstance(part, int | float):
            yield tree, key


def mutate_bytes(content: bytes, rng: Random) -> bytes:
    """A file's bytes, damaged at one to four places."""
    result = bytearray(content)
    for _ in range(rng.randrange(1, 5)):
        size = len(result)
        at, length = rng.randrange(size + 1), rng.choice((1, 1, 2, 4, 8, 100, 5000))
        kind = rng.randrange(6)
        if kind == 0 and size:
            result[at % size] ^= 1 << rng.randrange(8)
        elif kind == 1:
            result[at : at + length] = bytes(rng.choice((b'\x00', b'\xff', b'\x7f')) * min(length, size - at))
        elif kind == 2:
            del result[at : at + length]
        elif kind == 3:
            result[at:at] = rng.randbytes(length)
        elif kind == 4:
            result[at:at] = result[at : at + length]
        else:
            del result[at:]
    return bytes(result)


def mutate_text(text: str, rng: Random) -> str:
    """YAML or JSON, with an odd value or an odd construction."""
    kind = rng.randrange(8)
    if kind < 5:
        changed = mutate_value(yaml.safe_load(text), rng)
        return json.dumps(changed) if text.startswith(('{', '[')) else yaml.safe_dump(changed, sort_keys=False)
    if kind == 5:  # aliases that double
        return 'a0: &a0 [1]\n' + ''.join(f'a{i}: &a{i} [*a{i - 1}, *a{i - 1}]\n' for i in range(1, 30)) + text
    if kind == 6:
        return text + rng.choice(
            ('[' * 2000, '? ' * 200, 'a: 2001-13-45\n', f'a: {"9" * 5000}\n', 'a: 1:' + '1:' * 3000)
        )
    lines = text.splitlines(keepends=True)
    return ''.join(rng.sample(lines, len(lines)))


def mutate_xml(text: str, rng: Random) -> str:
    """XML, with an odd text or attribute, or an element that is left out, doubled or within itself."""
    root = ET.fromstring(text)
    parent = rng.choice([element for element in root.iter() if len(element)] or [root])
    if not len(parent):
        return text
    child, kind = rng.choice(list(parent)), rng.randrange(6)
    odd = ''.join(c for c in str(value(rng)) if c.isprintable())
    if kind < 2:
        child.text = odd
    elif kind == 2:
        child.set(rng.choice(list(child.attrib) or ['name']), odd)
    elif kind == 3:
        parent.remove(child)
    else:
        copies = [copy.deepcopy(parent if kind == 5 else child) for _ in range(rng.choice((1, 20)))]
        parent.extend(copies)
    return ET.tostring(root, 'unicode')


def mutate_table(text: str, rng: Random) -> str:
    """CSV, with an odd cell, or a row that is left out, doubled or at another place."""
    rows = [line.split(',') for line in text.splitlines()]
    index, kind = rng.randrange(len(rows)), rng.randrange(5)
    if kind < 2:
        rows[index][rng.randrange(len(rows[index]))] = str(value(rng))
    elif kind == 2:
        del rows[index]
    elif kind == 3:
        rows.insert(index, rows[rng.randrange(len(rows))])
    else:
        del rows[index][rng.randrange(len(rows[index]))]
    return '\n'.join(','.join(row) for row in rows)


def mutate_arrays(arrays: dict[str, np.ndarray], rng: Random) -> dict[str, np.ndarray]:
    """An archive's arrays, one of which is left out, or has odd values, another type or another shape."""
    name, kind = rng.choice(list(arrays)), rng.randrange(6)
    array = np.array(arrays[name])
    if kind == 0:
        return {key: other for key, other in arrays.items() if key != name}
    if kind == 1:
        array = (
            array.astype(rng.choice(('U', 'u1', 'i8', 'f8', 'c8', '?')), copy=False)
            if array.dtype.kind != 'U'
            else array
        )
    elif kind == 2 and array.ndim:
        array = array[: rng.randrange(2)] if rng.random() < 0.5 else array[..., None]
    elif array.dtype.kind == 'f':
        where = np.random.default_rng(rng.randrange(2**32)).random(array.shape) < rng.choice((0.01, 0.5, 1.1))
        array = np.where(where, number(rng), array).astype(array.dtype)
    else:
        array = np.array(str(value(rng)))
    return {**arrays, name: array}


MUTATIONS = {
    **{suffix: mutate_text for suffix in ('.yaml', '.json')},
    **{suffix: mutate_xml for suffix in ('.world', '.sdf', '.config', '.dae')},
    '.csv': mutate_table,
}


def make_special(path: Path, outside: Path, rng: Random) -> None:
    """Something else than a file at `path`."""
    kind = rng.choice(SPECIAL)
    path.unlink(missing_ok=True)
    if kind == 'fifo':
        os.mkfifo(path)
    elif kind == 'folder':
        path.mkdir()
    elif kind == 'empty':
        path.touch()
    elif kind != 'absent':
        targets = {'zero': Path('/dev/zero'), 'dangling': path.with_name('nothing'), 'loop': path, 'outside': outside}
        path.symlink_to(targets[kind])


def mutate_folder(source: Path, to: Path, outside: Path, rng: Random) -> None:
    """A copy of a folder with one or two of its files changed."""
    shutil.rmtree(to, ignore_errors=True)
    shutil.copytree(source, to)
    for path in rng.sample(
        files := sorted(p for p in to.rglob('*') if p.is_file()), min(len(files), rng.choice((1, 1, 2)))
    ):
        draw = rng.random()
        if draw < 0.08:
            make_special(path, outside, rng)
        elif path.suffix in MUTATIONS and draw < 0.8:
            path.write_text(MUTATIONS[path.suffix](path.read_text(), rng))
        else:
            path.write_bytes(mutate_bytes(path.read_bytes(), rng))
