"""What the page's sliders set: the threshold of the confidence, the swept range, the sweep and the focus."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Protocol

from dfd_ros.core.optics import VergenceRange


@dataclass(frozen=True)
class Settings:
    """The values of the sliders."""

    confidence: float
    """Depth of less confidence (0..1) is not shown."""
    range: VergenceRange
    """What is swept."""
    pattern: str
    """One of `Controls.patterns`."""
    steps: int
    """Focus distances from one end of the range to the other."""
    sweeping: bool
    """False: the focus rests."""
    focus: float
    """m; where the focus rests while it does not sweep."""


class Controls(Protocol):
    """Who obeys the sliders: a playback, or the nodes. Called from threads of the page's server."""

    @property
    def settings(self) -> Settings | None:
        """The values that hold now; None while they are not known, and the sliders are not there."""

    @property
    def can_focus(self) -> bool:
        """False: what is shown was recorded as a stream, or is a result: there is no focus to move."""

    @property
    def patterns(self) -> tuple[str, ...]:
        """The patterns that there are to choose from."""

    @property
    def limits(self) -> VergenceRange | None:
        """The distances that the lens can focus."""

    def change(self, **changes: Any) -> None:
        """Sets fields of `Settings`. Raises InputError, one line, where that cannot be."""
