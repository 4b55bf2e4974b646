"""Files are written atomically, and read within limits."""

import errno
import json
import math
import os
import subprocess

import pytest

from dfd_ros.core.errors import InputError, quoted, shortened
from dfd_ros.core.files import (
    changed_value,
    folder_written_atomically,
    output_folder,
    read_bytes,
    read_json,
    read_yaml,
    require_writable,
    temporary_path,
    write_json,
    write_text,
    written_atomically,
)


def names(folder):
    return sorted(path.name for path in folder.iterdir())


def test_what_is_written_takes_the_place_of_what_was_there(tmp_path):
    path = tmp_path / 'a.txt'
    path.write_text('old')
    with written_atomically(path) as temporary:
        temporary.write_text('new')
        assert temporary.suffix == '.txt' and temporary.parent == tmp_path
        assert path.read_text() == 'old'
    assert path.read_text() == 'new'
    assert names(tmp_path) == ['a.txt']


def test_a_failure_leaves_what_was_there_and_nothing_else(tmp_path):
    path = tmp_path / 'a.txt'
    path.write_text('old')
    with pytest.raises(RuntimeError), written_atomically(path) as temporary:
        temporary.write_text('half')
        raise RuntimeError
    assert path.read_text() == 'old'
    assert names(tmp_path) == ['a.txt']


def test_a_folder_is_whole_or_not_there_and_replaces_no_link_or_file(tmp_path):
    (tmp_path / 'there').mkdir()
    (tmp_path / 'link').symlink_to('there')
    with folder_written_atomically(tmp_path / 'link') as temporary:
        (temporary / 'a').write_text('new')
    assert (tmp_path / 'link').is_symlink() and names(tmp_path / 'there') == ['a']
    with pytest.raises(RuntimeError), folder_written_atomically(tmp_path / 'there') as temporary:
        (temporary / 'a').write_text('half')
        raise RuntimeError
    assert (tmp_path / 'there' / 'a').read_text() == 'new'
    os.mkfifo(tmp_path / 'pipe')
    (tmp_path / 'dangling').symlink_to('nowhere')
    for name in ('pipe', 'dangling'):
        with pytest.raises(InputError, match='is not a folder'), folder_written_atomically(tmp_path / name):
            pass
    assert names(tmp_path) == ['dangling', 'link', 'pipe', 'there']


def test_text_and_plain_values(tmp_path):
    write_text(tmp_path / 'a.md', 'text\n')
    write_json(str(tmp_path / 'b.json'), {'a': [1, None]})
    assert (tmp_path / 'a.md').read_text() == 'text\n'
    assert json.loads((tmp_path / 'b.json').read_text()) == {'a': [1, None]}


def other_kinds(folder):
    """Things that are no regular file, by name."""
    os.mkfifo(folder / 'pipe')
    (folder / 'file').write_text('precious')
    (folder / 'link').symlink_to('file')
    (folder / 'dangling').symlink_to('nowhere')
    (folder / 'folder').mkdir()
    return ['pipe', 'link', 'dangling', 'folder']


def test_only_a_regular_file_is_replaced(tmp_path):
    for name in other_kinds(tmp_path):
        before = os.lstat(tmp_path / name)
        with pytest.raises(InputError, match=f'{name}: is a.*, only a regular file is replaced'):
            write_text(tmp_path / name, 'new')
        assert os.lstat(tmp_path / name).st_mode == before.st_mode
    assert (tmp_path / 'file').read_text() == 'precious'
    for path in ('', '.', tmp_path / 'nowhere' / 'a.txt', tmp_path / 'file' / 'a.txt', '/dev/null'):
        with pytest.raises(InputError):
            require_writable(path)
    with pytest.raises(InputError, match='file: is not a folder'):
        output_folder(tmp_path / 'file')
    with pytest.raises(InputError, match='pipe: is a FIFO'):
        output_folder(tmp_path, 'new', 'pipe')


def test_only_a_regular_file_is_read(tmp_path):
    other_kinds(tmp_path)
    assert read_bytes(tmp_path / 'link') == b'precious'
    for name, says in (('pipe', 'is a FIFO'), ('folder', 'is a folder'), ('dangling', 'no such file'), ('\0', 'null')):
        with pytest.raises(InputError, match=says):
            read_bytes(tmp_path / name)
    with pytest.raises(InputError, match='/dev/zero: is a device, expected a regular file'):
        read_yaml('/dev/zero')
    with pytest.raises(InputError, match='file: 0 MB, larger than'):
        read_bytes(tmp_path / 'file', largest=3)


def test_what_killed_processes_left_is_removed(tmp_path):
    path, other = tmp_path / 'a.txt', tmp_path / '.a.b.1-0.part.txt'
    other.write_text('of another host')
    process = subprocess.Popen(['true'])
    process.wait()
    left = [temporary_path(tmp_path / name).name.replace(str(os.getpid()), str(process.pid)) for name in ('a.txt', 'b')]
    for name in left:
        (tmp_path / name).write_text('half')
    running = temporary_path(path)
    running.write_text('at work')
    assert temporary_path(path) == running
    assert names(tmp_path) == sorted([running.name, other.name, left[1]])


def test_errors_name_the_file_and_not_the_temporary_one(tmp_path):
    for error in (OSError(errno.ENOSPC, 'No space left on device'), OSError('4096 requested and 2016 written')):
        with pytest.raises(OSError, match='space left|requested') as caught, written_atomically(tmp_path / 'a'):
            raise error
        assert caught.value.filename == str(tmp_path / 'a')
    with pytest.raises(InputError, match=r'/a: No space left on device$'), written_atomically(tmp_path / 'a'):
        raise RuntimeError('SafetensorError: I/O error: No space left on device (os error 28)')
    assert names(tmp_path) == []


@pytest.mark.parametrize(
    'text, says',
    [
        ('a: 1\na: 2', "the key 'a' twice"),
        ('[' * 600, 'more than 50 nested'),
        ('a: ' + '1' * 5000, 'a number of 5000 characters'),
        ('a: 0x' + 'f' * 300, 'a number of 302 characters'),
        ('&a [*a]', 'an alias within'),
        (
            'a: &a [1, 2, 3, 4, 5, 6, 7, 8]\n'
            + ''.join(f'{b}: &{b} [{(f"*{a}, " * 8)[:-2]}]\n' for a, b in zip('abcdef', 'bcdefg')),
            'more than 200000',
        ),
        ('!!timestamp abc', 'groupdict'),
        ('!!timestamp 2001-13-45', 'month'),
        ('!!python/object/apply:os.system [true]', 'could not determine a constructor'),
    ],
)
def test_yaml_within_limits(tmp_path, text, says):
    (tmp_path / 'a.yaml').write_text(text)
    with pytest.raises(InputError, match=says) as caught:
        read_yaml(tmp_path / 'a.yaml')
    assert str(caught.value).startswith(f'{tmp_path / "a.yaml"}: not YAML: ')
    assert '\n' not in str(caught.value) and len(str(caught.value)) < 400


@pytest.mark.parametrize(
    'text, value',
    [('010', '010'), ('1:30', '1:30'), ('1:30.5', '1:30.5'), ('0', 0), ('-3', -3), ('1_000', 1000), ('2e-3', 0.002)]
    + [('5.e-3', 0.005), ('-1E+2', -100.0), ('.5', 0.5), ('1.', 1.0), ('00.5', 0.5), ('-.inf', -math.inf)],
)
def test_numbers_are_what_people_read(tmp_path, text, value):
    (tmp_path / 'a.yaml').write_text(f'a: {text}\n')
    assert read_yaml(tmp_path / 'a.yaml') == {'a': value}


def test_yaml_that_is_fine(tmp_path):
    (tmp_path / 'a.yaml').write_text('a: &a {x: 1e-3}\nb: {<<: *a, x: .inf}\nc: 2001-13-45\nd: 0x10\n')
    assert read_yaml(tmp_path / 'a.yaml') == {'a': {'x': 0.001}, 'b': {'x': math.inf}, 'c': '2001-13-45', 'd': 16}


@pytest.mark.parametrize('text', ['', '{', '[' * 100_000, '1' * 5000, '{"a": ' + '9' * 400 + '}'])
def test_json_that_is_none(tmp_path, text):
    (tmp_path / 'a.json').write_text(text)
    for read in (read_json, lambda path: changed_value(path, {'a': 1})):
        with pytest.raises(InputError, match='a.json: not JSON: '):
            read(tmp_path / 'a.json')


def test_quotations_are_short(capsys):
    bomb = [1] * 10
    for _ in range(9):
        bomb = [bomb] * 10
    for value in (bomb, 'x' * 10**6, 10**5000, {str(i): bomb for i in range(1000)}, object()):
        assert len(quoted(value)) <= 80
    assert [quoted(value) for value in ('a', 1, 1.5, None, [1, 'b'])] == ["'a'", '1', '1.5', 'None', "[1, 'b']"]
    assert shortened('a \n b' + 'c' * 1000, 10) == 'a bcccc...'


def test_a_name_of_any_length_makes_a_short_message(tmp_path):
    for name in ('x' * 5000, 'x/' * 1000):
        with pytest.raises(InputError) as refused:
            read_bytes(tmp_path / name)
        assert len(str(refused.value)) < 1200
