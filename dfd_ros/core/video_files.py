"""Video files, by OpenCV and FFmpeg."""

from __future__ import annotations

import os
from pathlib import Path

import cv2

from dfd_ros.core.errors import InputError
from dfd_ros.core.files import require_file
from dfd_ros.core.image_io import MAX_PIXELS

# Others are lists of further files, or patterns of their names, which FFmpeg would open whatever they are.
_FORMATS = 'mov,mp4,matroska,webm,avi,3gp,mpegts,mpeg,ogg,flv,asf'
os.environ.setdefault('OPENCV_FFMPEG_CAPTURE_OPTIONS', f'format_whitelist;{_FORMATS}')


def open_video(path: Path) -> cv2.VideoCapture:
    """A video file, at its first frame. Raises `InputError` if it is none, or its images are too large."""
    require_file(path)
    # Absolute, as FFmpeg takes what is before a colon for a protocol.
    level = cv2.utils.logging.setLogLevel(cv2.utils.logging.LOG_LEVEL_ERROR)  # or it warns of its own sources
    try:
        video = cv2.VideoCapture(str(path.absolute()), cv2.CAP_FFMPEG)
    finally:
        cv2.utils.logging.setLogLevel(level)
    if not video.isOpened():
        raise InputError(f'{path}: cannot be read as a video; convert it to MP4 with H.264')
    width, height = (int(video.get(key)) for key in (cv2.CAP_PROP_FRAME_WIDTH, cv2.CAP_PROP_FRAME_HEIGHT))
    if width * height > MAX_PIXELS:
        video.release()
        raise InputError(f'{path}: a video of {width}x{height} pixels, more than {MAX_PIXELS // 10**6} million')
    return video
