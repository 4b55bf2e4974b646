"""The boundary of the command: whatever ends it early becomes one line on stderr and an exit status."""

from __future__ import annotations

import contextlib
import os
import signal
import sys
import threading
from collections.abc import Iterator
from types import FrameType

from dfd_ros.core.errors import InputError, describe, reason, shortened

TRACEBACK = 'DFD_TRACEBACK'
"""Environment variable: with it, the traceback of an error is printed."""
_LENGTH = 1000  # characters of the line


class Terminated(BaseException):
    """SIGTERM or SIGHUP: what is being written is removed on the way out."""


def exit_status(error: BaseException) -> int:
    """Print one line about what ended the command, and return its exit status."""
    if isinstance(error, BrokenPipeError):  # whoever read the output has gone
        with contextlib.suppress(OSError, ValueError):
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 128 + signal.SIGPIPE
    if isinstance(error, KeyboardInterrupt):
        _say('dfd: interrupted')
        return 128 + signal.SIGINT
    if isinstance(error, Terminated):
        _say('dfd: terminated')
        return 128 + signal.SIGTERM
    if os.environ.get(TRACEBACK):
        raise error
    _say(f'dfd: error: {_line(error)}')
    return 2 if _is_of_input(error) else 1


def _is_of_input(error: BaseException) -> bool:
    """Whether bad input may have raised it, here or in a library; the rest are mistakes of the program."""
    kinds = (OSError, ValueError, ArithmeticError, LookupError, EOFError, MemoryError, RecursionError)
    return isinstance(error, kinds) or type(error).__module__.partition('.')[0] not in ('builtins', 'dfd_ros')


def _line(error: BaseException) -> str:
    if isinstance(error, InputError):
        return shortened(error, _LENGTH)
    if isinstance(error, OSError) and error.filename is not None:
        return shortened(f'{error.filename}: {reason(error)}', _LENGTH)
    if isinstance(error, MemoryError):
        return 'out of memory: give smaller images, sizes or counts'
    return f'{describe(error)} ({TRACEBACK}=1 in the environment shows where)'


def _say(line: str) -> None:
    with contextlib.suppress(OSError, ValueError):
        print(line, file=sys.stderr, flush=True)


@contextlib.contextmanager
def signals(is_usual_end: bool = False) -> Iterator[None]:
    """Ctrl-C ends the command at any time with one line; SIGTERM and SIGHUP let it clean up as well.

    `is_usual_end`: of a command that runs until then. It ends quietly with status 0, also while it is still starting.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)}
    process = os.getpid()

    def handle(number: int, frame: FrameType | None) -> None:
        if os.getpid() != process:  # a worker, which inherits this
            os._exit(128 + number)
        for other in before:
            signal.signal(other, lambda *_: os._exit(128 + number))  # a second one does not wait for the cleaning up
        if _imports(frame):  # libraries do not survive an exception in the midst of their import
            if is_usual_end:
                os._exit(0)
            _say('dfd: interrupted' if number == signal.SIGINT else 'dfd: terminated')
            os._exit(128 + number)
        raise KeyboardInterrupt if number == signal.SIGINT else Terminated

    defaults = (signal.SIG_DFL, signal.default_int_handler)
    ours = [number for number, handler in before.items() if handler in defaults]
    for number in ours:
        signal.signal(number, handle)
    try:
        signal.pthread_sigmask(signal.SIG_UNBLOCK, before)  # the executable may start with them blocked
        yield
    finally:
        for number in ours:
            signal.signal(number, before[number])


def _imports(frame: FrameType | None) -> bool:
    while frame is not None:
        if frame.f_code.co_filename == '<frozen importlib._bootstrap>':
            return True
        frame = frame.f_back
    return False


def tolerant_output() -> None:
    """Names that the terminal's encoding lacks are printed escaped, instead of an exception after all the work. Where
    output is closed (``>&-``), it goes nowhere."""
    sys.stdout = sys.stdout or open(os.devnull, 'w')
    sys.stderr = sys.stderr or open(os.devnull, 'w')
    for stream in (sys.stdout, sys.stderr):
        if hasattr(stream, 'reconfigure'):
            stream.reconfigure(errors='backslashreplace')
