"""Observers, which follow a training."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Progress:
    """Progress of a training.

    Attributes:
        step: completed optimiser steps; steps: of the run.
        share: used share of the budget (steps or time), 0..1.
        loss: of this step.
        seconds_left: estimated from the pace of this process.
    """

    step: int
    steps: int
    share: float
    loss: float
    seconds_left: float


class Observer:
    """Called by a training in its thread. The base class does nothing."""

    def on_step(self, progress: Progress) -> bool:
        """Called after each step. May block to pause. Returning False stops the training with a checkpoint."""
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
