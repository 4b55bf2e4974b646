"""Records focus steps of a camera source, to measure its latency."""

from __future__ import annotations

import threading
import time

from dfd_ros.calibration.focus_steps import WARM_UP, FocusSteps, FocusStepsBuilder, default_pause, take_steps
from dfd_ros.cameras import CameraLost, CameraSource
from dfd_ros.core.errors import InputError
from dfd_ros.core.optics import VergenceRange


def record_focus_steps(
    source: CameraSource, range_: VergenceRange, name: str, count: int, pause: float = 0.0
) -> FocusSteps:
    """Steps the focus of a camera source and records its frames.

    Args:
        name: of the camera, for messages.
        pause: s between two steps; 0 = derived from the frame rate.

    Raises:
        InputError: the camera gives no images.
    """
    builder = FocusStepsBuilder(name)
    problem: list[Exception] = []
    stop = threading.Event()

    def capture() -> None:
        try:
            while not stop.is_set():
                frame = source.capture(time.monotonic())
                builder.add_frame(frame.time_s, frame.image)
        except (CameraLost, InputError) as error:
            problem.append(error)

    def wait(seconds: float) -> None:
        thread.join(seconds)
        if problem:
            raise InputError(str(problem[0]))

    def send(distance: float) -> float:
        at = time.monotonic()
        source.focus(distance, at)
        return at

    thread = threading.Thread(target=capture, daemon=True)
    thread.start()
    try:
        began = time.monotonic()
        while builder.frames < WARM_UP:
            wait(0.01)
        period = (time.monotonic() - began) / WARM_UP
        take_steps(builder, send, wait, range_, count, pause or default_pause(period), period)
    finally:
        stop.set()
        thread.join(10.0)
    return builder.steps()
