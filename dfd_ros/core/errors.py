"""The error for bad input, which the user can correct."""


class InputError(ValueError):
    """Bad input. The message is one line: what is wrong, with which file, topic or parameter, and what to do."""
