"""The commands of `dfd`, one module each.

A command module has `HELP` (one line), `EXAMPLE` (a command line to copy), `add_arguments(parser)` and
`run(args) -> int`, the exit status. It imports what is heavy in `run`, so that `dfd --help` stays quick.
"""
