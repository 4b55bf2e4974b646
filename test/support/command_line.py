"""`dfd` in this process."""

from dfd_ros import cli


def dfd(*arguments) -> int:
    """Exit status, as the shell sees it."""
    try:
        return cli.main([str(argument) for argument in arguments])
    except SystemExit as stop:
        return stop.code
