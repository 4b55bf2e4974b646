"""Plays a focal stack, a sample, a bag, results or the stacks of a training run in the live page."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from dfd_ros.core.errors import InputError
from dfd_ros.core.lens_state import LensState
from dfd_ros.core.optics import VergenceRange
from dfd_ros.core.sweeps import PATTERNS
from dfd_ros.viewing import virtual_sweep
from dfd_ros.viewing.controls import Settings
from dfd_ros.viewing.live_page import LivePage, Status
from dfd_ros.viewing.page_run import RunPanel
from dfd_ros.viewing.recorded_scenes import FocalScene, Recorded, ResultScene, Scene, Shot
from dfd_ros.viewing.viewed_frame import ViewedFrame

if TYPE_CHECKING:
    from dfd_ros.inference.depth_estimate import Estimate
    from dfd_ros.inference.estimator import DepthEstimator

RATE, MAX_RATE = 10.0, 30.0  # frames a second
IDLE = 0.5  # s between two looks while there is nothing to do


class Playback:
    """Plays scenes, controlled by the sliders of the page. One thread calls `run`, those of the page all else."""

    def __init__(
        self, recording: Recorded, estimator: DepthEstimator, settings: dict[str, Any], rate: float = RATE
    ) -> None:
        """settings: `confidence`, `near` and `far` (m, None = as recorded). Raises InputError where the first scene
        cannot be read."""
        self._recording, self._estimator, self._given = recording, estimator, settings
        self._lock = threading.Lock()
        self._wanted = 0  # the scene
        self._restart = False
        self._rate, self._plays = rate, True
        self.settings: Settings | None = None
        self.limits: VergenceRange | None = None
        self.can_focus, self.is_metric, self.patterns = False, True, PATTERNS
        self._enter(self._open(0))
        self._opened = 0
        self._run_panel: RunPanel | None = None

    def change(self, **changes: Any) -> None:
        """Sets fields of the settings."""
        with self._lock:
            if self.settings is not None:
                self.settings = replace(self.settings, **changes)

    def add_to(self, page: LivePage) -> None:
        """Adds the elements of the playback to the page."""
        if self._recording.run is not None:
            with page.add_column('training') as gui:
                self._run_panel = RunPanel(gui, self._recording.run)
        with page.add_folder('playback') as gui:
            if len(self._recording.scenes) > 1:
                scenes = gui.add_dropdown('scene', tuple(self._recording.scenes))

                def choose(_: Any) -> None:
                    self._wanted = self._recording.scenes.index(scenes.value)
                    page.notify()

                scenes.on_update(choose)
            if isinstance(self._scene, ResultScene):
                return
            plays = gui.add_checkbox('play', True)
            rate = gui.add_slider('frames/s', 0.5, MAX_RATE, 0.5, self._rate)
            forget = gui.add_button('start again', hint='Empties the memory of the network.')

        def change(_: Any) -> None:
            self._plays, self._rate = plays.value, rate.value
            page.notify()

        def start_again(_: Any) -> None:
            self._restart = True
            page.notify()

        plays.on_update(change)
        rate.on_update(change)
        forget.on_click(start_again)

    def run(self, page: LivePage) -> None:
        """Plays without end. Nothing is computed while nobody looks."""
        while True:
            if not page.viewers:
                page.wait(IDLE)
                continue
            page.show_controls()
            if self._run_panel is not None:
                self._run_panel.refresh()
            if self._wanted != self._opened:
                self._switch(page)
            if self._restart:
                self._restart = False
                self._estimator.reset()
                self._begin()
            if isinstance(self._scene, ResultScene):
                self._show_result(page, self._scene)
                continue
            if not self._plays:
                self._show_paused(page)
                continue
            began = time.monotonic()
            frame = self._next_frame()
            page.show(frame)
            page.report(self._status(time.monotonic() - began, frame))
            while (left := began + 1 / self._rate - time.monotonic()) > 0 and self._plays:
                if page.wait(left) and (self._wanted != self._opened or self._restart):
                    break

    def _switch(self, page: LivePage) -> None:
        self._opened = self._wanted
        try:
            scene = self._open(self._opened)
        except InputError as error:
            page.report([Status(2, self._recording.scenes[self._opened], str(error))])
            return
        page.forget()
        self._estimator.reset()
        self._enter(scene)

    def _open(self, index: int) -> Scene:
        scene = self._recording.open(index)
        if not scene.is_metric and (self._given['near'], self._given['far']) != (None, None):
            raise InputError(
                f'--near, --far: {self._recording.scenes[index]} has no focus distances, and without them no depth in '
                'metres; give them in a stack.yaml (dfd stack init)'
            )
        return scene

    def _enter(self, scene: Scene) -> None:
        self._scene: Scene = scene
        self.is_metric = scene.is_metric
        self._last: tuple[Shot, Estimate] | None = None
        self._shown: object = None
        confidence = self.settings.confidence if self.settings is not None else self._given['confidence']
        with self._lock:
            self.can_focus = isinstance(scene, FocalScene)
            if isinstance(scene, FocalScene):
                range_ = self._given_range(scene.range)
                self.limits = VergenceRange(min(range_.near, scene.range.near), max(range_.far, scene.range.far))
                self.settings = Settings(confidence, range_, 'ramp', len(scene.shots), True, scene.range.near)
            elif isinstance(scene, ResultScene):
                assert scene.frame.range is not None
                self.limits = range_ = scene.frame.range
                self.settings = Settings(confidence, range_, 'ramp', 2, False, range_.near)
            else:
                self.settings = self.limits = None  # until the range is known
                self._confidence = confidence
        self._begin()

    def _given_range(self, otherwise: VergenceRange) -> VergenceRange:
        near, far = self._given['near'], self._given['far']
        return VergenceRange(otherwise.near if near is None else near, otherwise.far if far is None else far)

    def _begin(self) -> None:
        self._frames = self._shots()

    def _shots(self) -> Iterator[Shot]:
        """The frames to come, as the sliders are when each is taken."""
        scene = self._scene
        if isinstance(scene, FocalScene):
            while True:
                settings = self.settings
                assert settings is not None
                for shot in virtual_sweep.order(scene.shots, settings):
                    yield shot
                    if _sweep_of(self.settings) != _sweep_of(settings):
                        break
        elif not isinstance(scene, ResultScene):
            while True:
                yield from scene.shots()

    def _next_frame(self) -> ViewedFrame:
        shot = next(self._frames)
        settings = self.settings
        estimate = self._estimator.push(shot.image, self._in_range(shot.lens_state, settings))
        self._last = shot, estimate
        if estimate.range is not None and not self.can_focus:
            self._learn(estimate.range)
        return self._frame(shot, estimate)

    def _in_range(self, state: LensState, settings: Settings | None) -> LensState:
        if settings is not None and (self.can_focus or settings.range != self.limits):
            return replace(state, near=settings.range.near, far=settings.range.far)
        if self._given['near'] is not None and self._given['far'] is not None:
            return replace(state, near=self._given['near'], far=self._given['far'])
        return state

    def _learn(self, range_: VergenceRange) -> None:
        """The range of a stream, which is known once the estimator knows it."""
        with self._lock:
            if self.settings is None:
                self.limits = range_
                self.settings = Settings(self._confidence, range_, 'ramp', 2, False, range_.near)
            elif self.settings.range == self.limits and range_ != self.limits:
                self.limits = range_
                self.settings = replace(self.settings, range=range_)

    def _frame(self, shot: Shot, estimate: Estimate) -> ViewedFrame:
        threshold = self._confidence_threshold()
        return ViewedFrame(
            shot.image,
            shot.camera,
            shot.lens_state.focus_distance,
            estimate.range,
            estimate.depth if estimate.range is not None else None,
            estimate.coc,
            estimate.confidence,
            estimate.all_in_focus,
            threshold,
            note=estimate.unknown_because,
            is_metric=self.is_metric,
        )

    def _confidence_threshold(self) -> float:
        return self.settings.confidence if self.settings is not None else self._confidence

    def _show_paused(self, page: LivePage) -> None:
        if self._last is not None and self._shown != (shown := (self._confidence_threshold(), page.viewers)):
            self._shown = shown
            page.show(self._frame(*self._last))
        page.wait(IDLE)

    def _show_result(self, page: LivePage, scene: ResultScene) -> None:
        settings = self.settings
        assert settings is not None
        shown = settings, page.viewers
        if shown != self._shown:
            self._shown = shown
            page.show(replace(scene.frame, threshold=settings.confidence, range=settings.range))
            if not scene.frame.note:
                page.report([Status(0, 'results', 'as dfd estimate has written them')])
        page.wait(IDLE / 5)

    def _status(self, took: float, frame: ViewedFrame) -> list[Status]:
        estimate = f'{1000 * took:.0f} ms a frame on {self._estimator.device}'
        return [Status(1 if frame.note else 0, 'depth', frame.note or estimate)]


def _sweep_of(settings: Settings | None) -> tuple | None:
    """The settings that determine the order of the foci."""
    if settings is None:
        return None
    return settings.range, settings.pattern, settings.steps, settings.sweeping, settings.focus
