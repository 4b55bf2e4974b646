"""The observer of a training."""

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
    """Called by a training, in its thread. This one does nothing."""

    def on_step(self, progress: Progress) -> bool:
        """Called after each step. It may block, as a pause. Returning False stops the training with a checkpoint."""
        return True

    def on_wait(self, rendered: int, wanted: int) -> bool:
        """Called several times a second while the training waits for stacks. Returning False stops it."""
        return True

    def on_validation(self, step: int, figures: dict[str, float], weights: Path | None, picture: Path | None) -> None:
        """Called after each validation.

        Args:
            figures: by name.
            weights: the file of the averaged weights, if they are the best so far.
            picture: samples with their truth and estimate, if there is such a picture.
        """
