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
    """The swept range."""
    pattern: str
    """One of `Controls.patterns`."""
    steps: int
    """Focus distances from one end of the range to the other."""
    sweeping: bool
    """False: the focus rests."""
    focus: float
    """m; where the focus rests while it does not sweep."""


class Controls(Protocol):
    """What the sliders control: a playback, or the nodes. Threads of the page's server call it."""

    @property
    def settings(self) -> Settings | None:
        """The current values; None while they are unknown, which hides the sliders."""

    @property
    def can_focus(self) -> bool:
        """False for recorded streams and results, whose focus cannot be moved."""

    @property
    def is_metric(self) -> bool:
        """False: only the order of focus is known, see `ViewedFrame.is_metric`."""

    @property
    def patterns(self) -> tuple[str, ...]:
        """The available patterns."""

    @property
    def limits(self) -> VergenceRange | None:
        """The distances that the lens can focus."""

    def change(self, **changes: Any) -> None:
        """Sets fields of `Settings`. Raises InputError, one line, for impossible values."""
