"""The ChArUco board for camera calibration: its picture to print, and its detection in an image.

Boards as OpenCV draws them: chessboard squares with ArUco markers in the white ones (Garrido-Jurado et al.,
"Automatic generation and detection of highly reliable fiducial markers under occlusion", 2014).
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np

from dfd_ros.core.errors import InputError

MIN_CORNERS = 8
"""Corners that a view needs: four define the plane, the rest check it."""
MAX_MISFIT = 0.02
"""Share of the board's width in the image, which lens distortion may reach. More means another order of markers."""


def opencv():
    """OpenCV with its ArUco module. Raises `InputError` if that is missing or too old."""
    try:
        import cv2
    except ImportError:
        raise InputError('calibration needs OpenCV: pip install opencv-python-headless') from None
    if not hasattr(getattr(cv2, 'aruco', None), 'CharucoDetector'):
        raise InputError(
            f'calibration needs OpenCV 4.7 or newer, this is {cv2.__version__}: pip install opencv-python-headless'
        )
    return cv2


@dataclass(frozen=True)
class View:
    """A board in one image."""

    name: str
    """Of the image, without its suffix."""
    ids: np.ndarray
    """(N,) numbers of the corners found."""
    corners: np.ndarray
    """(N, 2) float32 px, pixel centres at whole numbers."""
    points: np.ndarray
    """(N, 3) float32 m on the board: x right, y down, z = 0."""


@dataclass(frozen=True)
class Board:
    """A ChArUco board. The default fits A4."""

    columns: int = 10
    """Squares in a row."""
    rows: int = 7
    square: float = 0.025
    """Side of a square (m)."""
    marker: float = 0.018
    """Side of a marker (m)."""
    dictionary: str = '5X5_100'

    def __post_init__(self):
        if self.columns < 3 or self.rows < 3:
            raise InputError(f'board of {self.columns}x{self.rows} squares: must have at least 3x3')
        if not 1e-3 <= self.square <= 1:
            raise InputError(f'board: squares of {self.square * 1e3:g} mm: must have 1 to 1000 mm')
        if self.marker < self.square / 5:
            raise InputError(
                f'board: markers of {self.marker * 1e3:g} mm are too small for squares of {self.square * 1e3:g} mm'
            )
        if not self.marker < self.square:
            raise InputError(
                f'board: markers of {self.marker * 1e3:g} mm must be smaller than the squares '
                f'({self.square * 1e3:g} mm)'
            )
        if not hasattr(opencv().aruco, f'DICT_{self.dictionary}'):
            raise InputError(
                f'board: no marker dictionary {self.dictionary!r}; it is named as in OpenCV without '
                'DICT_, for example 5X5_100'
            )
        markers, needed = len(self._dictionary.bytesList), self.columns * self.rows // 2
        if markers < needed:
            raise InputError(
                f'board of {self.columns}x{self.rows} squares: needs {needed} markers, dictionary '
                f'{self.dictionary} has {markers}'
            )

    @property
    def size(self) -> tuple[float, float]:
        """Width and height (m)."""
        return self.columns * self.square, self.rows * self.square

    @cached_property
    def _dictionary(self):
        aruco = opencv().aruco
        return aruco.getPredefinedDictionary(getattr(aruco, f'DICT_{self.dictionary}'))

    @cached_property
    def _board(self):
        return opencv().aruco.CharucoBoard((self.columns, self.rows), self.square, self.marker, self._dictionary)

    @cached_property
    def _patterns(self) -> list[tuple]:
        """(board, detector) of each way to print this board.

        With an even number of rows, OpenCV before 4.6 and calib.io start with a marker, not with a square.
        """
        cv2 = opencv()
        boards = [self._board]
        if self.rows % 2 == 0:
            old = cv2.aruco.CharucoBoard((self.columns, self.rows), self.square, self.marker, self._dictionary)
            old.setLegacyPattern(True)
            boards.append(old)
        return [(board, cv2.aruco.CharucoDetector(board)) for board in boards]

    def picture(self, pixels_per_square: int = 120, margin: int = 0) -> np.ndarray:
        """(H, W) uint8, with `margin` white pixels around. The board's origin is the corner of its first square."""
        size = (self.columns * pixels_per_square, self.rows * pixels_per_square)
        return np.pad(self._board.generateImage(size), margin, constant_values=255)

    def find(self, image: np.ndarray, name: str = '') -> View | None:
        """The board in an image (H, W, 3) or (H, W) uint8; None if too little of it is visible.

        Raises `InputError` if its markers are visible but arranged differently from this board.
        """
        cv2 = opencv()
        grey = cv2.cvtColor(image, cv2.COLOR_RGB2GRAY) if image.ndim == 3 else image
        misfits: list[InputError] = []
        for board, detector in self._patterns:
            try:
                view = self._find_pattern(board, detector, grey, name)
            except InputError as error:
                misfits.append(error)
                continue
            if view is not None:
                return view
        if len(misfits) == len(self._patterns):
            raise misfits[0]
        return None

    def _find_pattern(self, board, detector, grey: np.ndarray, name: str) -> View | None:
        corners, ids, marker_corners, marker_ids = detector.detectBoard(grey)
        if ids is None or len(ids) < MIN_CORNERS:
            if marker_ids is not None and len(marker_ids) >= MIN_CORNERS:
                self._check_order(board, marker_corners, marker_ids.reshape(-1), name)
            return None
        ids, corners = ids.reshape(-1), corners.reshape(-1, 2)
        points = board.getChessboardCorners()[ids]
        if np.linalg.matrix_rank(points[:, :2] - points[:, :2].mean(0)) < 2:  # corners on one line define no plane
            return None
        self._check_order(board, marker_corners, marker_ids.reshape(-1), name)
        return View(name, ids, corners.astype(np.float32), points.astype(np.float32))

    def _check_order(self, board, corners, ids: np.ndarray, name: str) -> None:
        known = ids < len(board.getIds())
        misfit = np.inf
        if known.sum() >= 2:
            where = np.concatenate([c.reshape(4, 2) for c, k in zip(corners, known) if k])
            points = np.concatenate([np.asarray(board.getObjPoints())[i][:, :2] for i in ids[known]])
            homography, _ = opencv().findHomography(points, where)
            if homography is not None:
                mapped = np.c_[points, np.ones(len(points))] @ homography.T
                error = np.linalg.norm(mapped[:, :2] / mapped[:, 2:] - where, axis=1)
                misfit = float(np.median(error) / np.ptp(where, axis=0).max())
        if misfit > MAX_MISFIT or known.mean() < 0.9:
            raise InputError(
                f'{name}: the markers of dictionary {self.dictionary} are visible, but not as on a board '
                f'of {self.columns}x{self.rows} squares; check --squares'
            )
