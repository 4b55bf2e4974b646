"""Files are written atomically."""

import json

import pytest

from dfd_ros.core.files import write_json, write_text, written_atomically


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


def test_text_and_plain_values(tmp_path):
    write_text(tmp_path / 'a.md', 'text\n')
    write_json(str(tmp_path / 'b.json'), {'a': [1, None]})
    assert (tmp_path / 'a.md').read_text() == 'text\n'
    assert json.loads((tmp_path / 'b.json').read_text()) == {'a': [1, None]}
