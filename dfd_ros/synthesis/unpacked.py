"""The result of unpacking assets, which all sources add to."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field

Progress = Callable[[Iterable, str], Iterable]


@dataclass
class Unpacked:
    """Unpacked assets.

    Attributes:
        photographs, models, hdris: the number of each.
        licences: (title, licence text, file names with authors) of each source.
        left_out: one line for each skipped file, with the reason.
    """

    photographs: int = 0
    models: int = 0
    hdris: int = 0
    licences: list[tuple[str, str, list[str]]] = field(default_factory=list)
    left_out: list[str] = field(default_factory=list)

    def leave_out(self, path, reason: str) -> None:
        self.left_out.append(f'{path}: left out: {reason}')
