"""Which slices of a published stack to read."""

from __future__ import annotations

import numpy as np

from dfd_ros.core.errors import InputError


def chosen(slices: int | None, available: int, name: str) -> list[int]:
    """Indices of `slices` slices spread over the stack as in DFV and FOSSA: 0, 2, 4, 6 and 9 for 5 of 10.

    Args:
        slices: None = all.
        name: of the set, for messages.

    Raises:
        InputError: the stack has fewer.
    """
    if slices is None:
        return list(range(available))
    if slices > available:
        raise InputError(f'{name}: its stacks have {available} slices, not {slices}')
    return np.linspace(0, available - 1, slices).astype(int).tolist()
