"""Exceptions and numbers in messages."""

import pytest

from dfd_ros.core.errors import InputError, describe, plural, reason


@pytest.mark.parametrize(
    'error, with_type, without',
    [
        (InputError('a.yaml: empty'), 'a.yaml: empty', 'a.yaml: empty'),
        (InputError('no network "a\nb\u2028c"'), 'no network "a b c"', 'no network "a b c"'),
        (ValueError('two\nlines'), 'ValueError: two lines', 'two lines'),
        (MemoryError(), 'MemoryError', 'MemoryError'),
        (FileNotFoundError(2, 'No such file', 'a'), "FileNotFoundError: [Errno 2] No such file: 'a'", 'No such file'),
    ],
)
def test_exceptions_are_one_line(error, with_type, without):
    assert describe(error) == with_type and reason(error) == without


def test_long_exceptions_are_shortened():
    assert len(describe(ValueError('x' * 5000), 100)) == len('ValueError: ') + 100


@pytest.mark.parametrize('count, text', [(0, '0 frames'), (1, '1 frame'), (2, '2 frames')])
def test_nouns_agree_with_their_number(count, text):
    assert plural(count, 'frame') == text
