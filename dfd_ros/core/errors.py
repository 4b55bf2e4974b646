"""The error for bad input, which users can correct, and quotations in messages."""

from __future__ import annotations

import reprlib
import sys

QUOTED = 80
"""Maximum characters of a quoted value in a message."""


class InputError(ValueError):
    """Bad input. The message is one line: what is wrong, with which file, topic or parameter, and what to do."""

    def __init__(self, message: str) -> None:
        """message: names in it, of files or networks, may have any characters."""
        super().__init__(' '.join(str(message).splitlines()))


class _Quotation(reprlib.Repr):
    def __init__(self) -> None:
        super().__init__()
        self.maxlevel, self.maxstring, self.maxother = 3, QUOTED, QUOTED
        self.maxlist = self.maxtuple = self.maxset = self.maxdict = 8

    def repr_int(self, x: int, level: int) -> str:
        return repr(x) if x.bit_length() < 200 else f'<a number of {x.bit_length()} bits>'


_quotation = _Quotation()


def quoted(value: object) -> str:
    """`repr` of a value for a message: one line of at most `QUOTED` characters, however large the value is."""
    return shortened(_quotation.repr(value), QUOTED)


def shortened(text: object, length: int = 200) -> str:
    """Foreign text for a message, such as that of an exception: one line of at most `length` characters."""
    line = ' '.join(str(text)[: 8 * length].split())
    return line if len(line) <= length else f'{line[: length - 3]}...'


def reason(error: BaseException) -> str:
    """The text of a library's exception on one line, or the name of its type if it has none."""
    if isinstance(error, OSError) and error.strerror:
        return error.strerror
    if error.args and isinstance(error.args[0], bytes):  # of LibRaw
        return shortened(error.args[0].decode(errors='replace'))
    return shortened(error) or type(error).__name__


def describe(error: BaseException, length: int = 200) -> str:
    """An exception on one line: the text of an `InputError`, the type and `length` characters of any other."""
    if isinstance(error, InputError):
        return str(error)
    text = shortened(error, length)
    return f'{type(error).__name__}: {text}' if text else type(error).__name__


def plural(count: int, noun: str) -> str:
    """A number with its noun, as in "1 frame" and "2 frames"."""
    return f'{count} {noun}{"s" * (count != 1)}'


def warn(text: str) -> None:
    """Print a warning on stderr about input that is accepted."""
    print(f'dfd: warning: {text}', file=sys.stderr)
