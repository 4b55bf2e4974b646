"""The share of one job of many in a list of work."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import TypeVar

from dfd_ros.core.errors import InputError, shortened

T = TypeVar('T')


def share_of(items: Sequence[T], job: str) -> Sequence[T]:
    """Every N-th of the items, for job I/N (1..N).

    Raises:
        InputError: `job` is not I/N.
    """
    number, _, of = job.partition('/')
    if not re.fullmatch(r'\d{1,6}/\d{1,6}', job) or not 1 <= int(number) <= int(of):
        raise InputError(f'--shard {shortened(job)}: must be I/N with I from 1 to N, such as 2/4')
    return items[int(number) - 1 :: int(of)]
