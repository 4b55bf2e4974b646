"""The one error that is the user's to mend."""


class InputError(ValueError):
    """Bad input. The message is one line: what is wrong, with which file, topic or parameter, and what to do."""
