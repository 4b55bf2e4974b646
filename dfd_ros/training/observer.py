"""Who looks on while a network is trained."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Progress:
    """How far a training is.

    Attributes:
        step: optimiser steps done; steps: of the whole run.
        share: of the run's budget (steps or time) that is used, 0..1.
        loss: of this step.
        seconds_left: by the pace since the start of this process.
    """

    step: int
    steps: int
    share: float
    loss: float
    seconds_left: float


class Observer:
    """Is told how a training goes, in the training's own thread. This one lets it go on and does nothing."""

    def on_step(self, progress: Progress) -> bool:
        """After each step. It may wait (a pause). False: stop, with a checkpoint."""
        return True

    def on_validation(self, step: int, figures: dict[str, float], weights: Path | None, picture: Path | None) -> None:
        """After each validation.

        Args:
            figures: by name.
            weights: the file of the averaged weights, if they are the best so far.
            picture: samples with their truth and estimate, if there is such a picture.
        """
