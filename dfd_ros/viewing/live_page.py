"""The live page: pictures at the left, points in space in the middle, controls and readings at the right."""

from __future__ import annotations

import contextlib
import html
import math
import threading
import time
from collections import deque
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

from dfd_ros.viewing.controls import Controls
from dfd_ros.viewing.page_controls import ControlPanel
from dfd_ros.viewing.page_pictures import Pictures
from dfd_ros.viewing.page_plots import SweepPlot
from dfd_ros.viewing.page_point import Point
from dfd_ros.viewing.page_scene import COLOURS, Scene
from dfd_ros.viewing.point_cloud_of_depth import MAX_POINTS
from dfd_ros.viewing.viewed_frame import ViewedFrame

if TYPE_CHECKING:
    import viser

COLUMNS = {'depth': ('depth', 'confidence'), 'camera': ('image', 'all_in_focus', 'coc')}  # from the middle outwards
WIDTH, WIDE, PANEL = 300, 420, 320  # px
RATE_OVER = 20  # frames
BRAND = (255, 170, 60)
LEVELS = ('#51c878', '#ffaa3c', '#ff5c5c')
COUNTS_OF_POINTS = {'5 thousand': 5_000, '20 thousand': MAX_POINTS, '80 thousand': 80_000}
ASSUMED = 'the camera is not calibrated: widths of the cloud are a guess'
RELATIVE = (
    'the focus distances are unknown: 0 is the farthest focus, 1 the nearest; the cloud is a relief, without scale'
)


class Status(NamedTuple):
    """A line of the diagnostics. Level: 0 fine, 1 a warning, 2 an error."""

    level: int
    name: str
    message: str


class LivePage:
    """Shows frames to all viewers. One thread calls `show` and `report`; viewers come and go in others."""

    def __init__(self, server: viser.ViserServer, controls: Controls, title: str) -> None:
        self._server = server
        self._lock = threading.Lock()
        self._changed = threading.Event()
        self._arrivals: deque[float] = deque(maxlen=RATE_OVER)
        self._ages: deque[float] = deque(maxlen=RATE_OVER)
        self._last: ViewedFrame | None = None
        self._texts: dict[int, str] = {}
        self._status: list[Status] = []
        self._build(controls, title)
        server.on_client_connect(lambda _: self.notify())
        server.on_client_disconnect(lambda _: self.notify())

    @property
    def viewers(self) -> int:
        """Browsers that have the page open."""
        return len(self._server.get_clients())

    def wait(self, timeout: float | None = None) -> bool:
        """Waits until a viewer comes or goes, or something was changed in the page. Returns whether one did."""
        happened = self._changed.wait(timeout)
        self._changed.clear()
        return happened

    def notify(self) -> None:
        """Wakes `wait`."""
        self._changed.set()

    def show(self, frame: ViewedFrame) -> None:
        """Shows a new frame, at once if a browser has the page open."""
        now = time.monotonic()
        self._arrivals.append(now)
        self._ages.append(frame.age)
        self._last = frame
        self._point.push(frame)
        if not self.viewers:
            return
        with self._lock:
            self._pictures.show(frame, self._point.chosen, lambda name: _note(name, frame))
            self._scene.show(frame.in_space)
            self._scene.mark(*self._point.show(frame))
            self._sweep.push(frame)
            self._show_summary(frame)
            self._controls.show()
        self._server.flush()

    def show_again(self) -> None:
        """Shows the last frame again, with the changes made in the page."""
        frame = self._last
        if frame is None or not self.viewers:
            return
        with self._lock:
            self._pictures.show(frame, self._point.chosen, lambda name: _note(name, frame))
            self._scene.show(frame.in_space)
            self._scene.mark(*self._point.show(frame, at_once=True))
            self._controls.show()
        self._server.flush()

    def show_controls(self) -> None:
        """Moves the sliders to the current settings, without a frame."""
        with self._lock:
            self._controls.show()

    def report(self, status: Sequence[Status]) -> None:
        """Shows the diagnostics."""
        rows = ''.join(
            '<div style="display:flex;gap:0.45rem;padding:0.1rem 0"><span style="color:'
            f'{LEVELS[min(max(line.level, 0), 2)]}">&#9679;</span><span><b>{html.escape(line.name)}</b> '
            f'<span style="opacity:0.75">{html.escape(line.message)}</span></span></div>'
            for line in status
        )
        self._say(self._diagnostics, f'<div style="padding:0.2rem 0.6rem;font-size:0.8rem">{rows}</div>')

    def forget(self) -> None:
        """Forgets the scene. Call this before the first frame of another one."""
        self._point.history.clear()
        self._scene.forget()

    @contextlib.contextmanager
    def add_folder(self, label: str) -> Iterator[viser.GuiApi]:
        """A folder at the top of the controls, for what the context adds to the GUI."""
        with self._server.gui.add_folder(label, order=0.5):
            yield self._server.gui

    @contextlib.contextmanager
    def add_column(self, label: str) -> Iterator[viser.GuiApi]:
        """Another column at the left, for what the context adds to the GUI."""
        panel = self._server.gui.add_panel()
        with panel.add_tab(label):
            yield self._server.gui
        panel.dock_left()
        panel.set_width(WIDE)

    def close(self) -> None:
        """Ends the server."""
        from dfd_ros.viewing.page_server import close_server

        close_server(self._server)

    def _build(self, controls: Controls, title: str) -> None:
        server, gui = self._server, self._server.gui
        gui.configure_theme(dark_mode=True, show_logo=False, show_share_button=False, brand_color=BRAND)
        gui.set_panel_label('dfd_ros')
        gui.main_panel.dock_right()
        gui.main_panel.set_width(PANEL)
        self._pictures = Pictures()
        for label, names in COLUMNS.items():
            panel = gui.add_panel()
            with panel.add_tab(label):
                for name in names:
                    self._pictures.add(gui, name)
                if label == 'depth':
                    gui.add_html('<div style="font-size:0.8rem;padding:0.35rem 0.6rem 0;font-weight:600">sweep</div>')
                    self._sweep = SweepPlot(gui)
            panel.dock_left()
            panel.set_width(WIDTH)
        self._scene = Scene(server)
        self._summary = gui.add_html(f'<div style="padding:0.2rem 0.6rem">{html.escape(title)}</div>', order=0.1)
        self._title = title
        with gui.add_folder('point'):
            self._point = Point(gui, self._on_page_change)
        self._controls = ControlPanel(server, controls)
        with gui.add_folder('cloud', expand_by_default=False):
            colours = gui.add_dropdown('colour', COLOURS, initial_value=COLOURS[0])
            counts = gui.add_dropdown('points', tuple(COUNTS_OF_POINTS), initial_value='20 thousand')
            size = gui.add_slider('size', 0.2, 3.0, 0.1, 1.0)
            reset = gui.add_button('look from the camera')
        with gui.add_folder('diagnostics'):
            self._diagnostics = gui.add_html('')

        def on_cloud(_: Any) -> None:
            self._scene.colours, self._scene.size = colours.value, size.value
            self._scene.most = COUNTS_OF_POINTS[counts.value]
            self._on_page_change()

        for part in (colours, counts, size):
            part.on_update(on_cloud)

        @reset.on_click
        def _(event: Any) -> None:
            if event.client is not None and self._last is not None:
                look_from_camera(event.client, self._last.in_space)

        @server.scene.on_click()
        def _(event: Any) -> None:
            pixel = self._scene.pixel_met_by(event.ray_origin, event.ray_direction)
            if pixel is not None:
                self._point.choose(pixel)

    def _on_page_change(self) -> None:
        self.show_again()
        self._changed.set()

    def _show_summary(self, frame: ViewedFrame) -> None:
        height, width = frame.image.shape[:2]
        parts = [f'{width}x{height}']
        span = self._arrivals[-1] - self._arrivals[0]
        if span > 0:
            parts.append(f'{(len(self._arrivals) - 1) / span:.1f} Hz')
        ages = [age for age in self._ages if not math.isnan(age)]
        if ages:
            parts.append(f'{1000 * sorted(ages)[len(ages) // 2]:.0f} ms')
        if frame.range is not None:
            parts.append(f'{frame.place(frame.range.near)} to {frame.place(frame.range.far)}')
        guessed = RELATIVE if not frame.is_metric else '' if frame.camera.is_known else ASSUMED
        notes = [note for note in (frame.note, guessed) if note]
        text = (
            f'<div style="padding:0.2rem 0.6rem"><b>{html.escape(self._title)}</b>'
            f'<div style="font-size:0.8rem;opacity:0.75">{" &middot; ".join(parts)}</div>'
            + ''.join(
                f'<div style="font-size:0.8rem;color:{LEVELS[1]};padding-top:0.15rem">{html.escape(note)}</div>'
                for note in notes
            )
            + '</div>'
        )
        self._say(self._summary, text)

    def _say(self, element: Any, text: str) -> None:
        """Sends only what has changed."""
        if self._texts.get(id(element)) != text:
            self._texts[id(element)] = text
            element.content = text


def look_from_camera(client: Any, frame: ViewedFrame) -> None:
    """Puts a viewer's eye where the camera is, with its field of view."""
    import numpy as np

    height = frame.image.shape[0]
    distance = 1.0 if frame.range is None else 2 / (1 / frame.range.near + 1 / frame.range.far)
    with client.atomic():
        client.camera.up_direction = np.array([0.0, -1.0, 0.0])
        client.camera.position = np.array([0.0, 0.0, 0.0])
        client.camera.look_at = np.array([0.0, 0.0, distance])
        client.camera.fov = 2 * math.atan(height / 2 / frame.camera.fy)


def _note(name: str, frame: ViewedFrame) -> str:
    if name == 'image' and not math.isnan(frame.focus_distance):
        return f'focus at {frame.place(frame.focus_distance)}'
    if name == 'depth' and (depth := frame.shown_depth) is not None and depth.size:
        return f'{100 * float((depth == depth).mean()):.0f} % known'
    return ''
