"""Video on an image topic, such as H.264, decoded by PyAV.

Each message holds one frame, which the decoder can only understand after all frames since the last keyframe.
"""

from __future__ import annotations

import functools
import re
from collections.abc import Callable
from typing import Any

import numpy as np

from dfd_ros.core.errors import InputError, quoted, reason
from dfd_ros.core.image_io import MAX_PIXELS

COMPRESSED_VIDEO, FFMPEG_PACKET = 'foxglove_msgs/msg/CompressedVideo', 'ffmpeg_image_transport_msgs/msg/FFMPEGPacket'
VIDEO_TYPES = (COMPRESSED_VIDEO, FFMPEG_PACKET)
BEFORE_KEYFRAME = 'before the first keyframe of their video'

# FFmpeg's decoder, and parts of the names of the codec and of its encoders, as in "hevc", "libx264" and "av1_nvenc".
_CODECS = {
    'H.264': ('h264', '264|avc'),
    'H.265': ('hevc', '265|hevc'),
    'AV1': ('libdav1d', 'av1|aom|rav1e'),
    'VP9': ('vp9', 'vp9'),
}
_NAL_UNIT = re.compile(b'\0\0\1')
_OBU_SEQUENCE_HEADER, _OBU_FRAME_HEADERS = 1, (3, 6)


def codec_of(message: Any, topic: str) -> str:
    """The codec of an image message, such as "H.264"; empty if it is no video.

    Raises InputError for video in another codec.
    """
    is_packet = message.__msgtype__ == FFMPEG_PACKET
    name = str(getattr(message, 'encoding' if is_packet else 'format', ''))
    codec = named_codec(name)
    if not codec and message.__msgtype__ in VIDEO_TYPES:
        raise InputError(f'{topic}: video in {quoted(name)}, must be H.264, H.265, AV1 or VP9')
    return codec


def named_codec(name: str) -> str:
    """The codec of which a message has this format or encoding; empty if it is none."""
    return next((codec for codec, (_, part) in _CODECS.items() if re.search(part, name, re.IGNORECASE)), '')


def require_pyav(topic: str) -> Any:
    """PyAV. Raises InputError if it is not installed."""
    try:
        import av
        import av.logging
    except ImportError:
        raise InputError(f'{topic}: video needs PyAV, which is not installed: pip install av') from None
    return av


class BeforeKeyframe(InputError):
    """A frame that no decoder can understand, as its keyframe was not recorded."""


class VideoStream:
    """The frames of one topic, decoded on demand: in any order, fast in that of the recording.

    Only where the messages are is kept, and only as long as a frame between the same two keyframes is referred to.
    """

    def __init__(self, topic: str) -> None:
        self._topic = topic
        self._group: _Group | None = None
        self._parameters: dict[int, bytes] = {}
        self._decoder: _Decoder | None = None

    def add(self, codec: str, data: bytes, reload: Callable[[], Any]) -> Callable[[], np.ndarray]:
        """Takes the next message. Returns a function that decodes its frame, (H, W, 3) uint8 RGB, or raises InputError.

        codec: by `codec_of`. reload: reads the message again.

        Raises BeforeKeyframe.
        """
        if _is_keyframe(codec, data, self._parameters):
            self._group = _Group(codec, b''.join(self._parameters.values()))
        group = self._group
        if group is None or group.codec != codec:
            raise BeforeKeyframe(f'{self._topic}: image {BEFORE_KEYFRAME}')
        group.messages.append(reload)
        return functools.partial(self._image, group, len(group.messages) - 1)

    def _image(self, group: _Group, number: int) -> np.ndarray:
        if self._decoder is None or not self._decoder.can_give(group, number):
            self._decoder = _Decoder(group, self._topic)
        return self._decoder.image(number)


class _Group:
    """A keyframe and the frames up to the next one."""

    def __init__(self, codec: str, parameters: bytes) -> None:
        self.codec = codec
        self.parameters = parameters
        """NAL units that the decoder needs before the keyframe, which often, but not always, repeats them."""
        self.messages: list[Callable[[], Any]] = []


class _Decoder:
    """Decodes a group from its start."""

    def __init__(self, group: _Group, topic: str) -> None:
        self._av = require_pyav(topic)
        # Lost messages are in the log alone, see `_decoded`.
        self._av.logging.set_level(self._av.logging.DEBUG)
        self._group, self._topic = group, topic
        self._context = self._av.CodecContext.create(_CODECS[group.codec][0], 'r')
        self._context.thread_count = 1  # more delay the frames, and recordings are converted in parallel
        self._context.options = {'err_detect': 'explode+careful', 'max_pixels': str(MAX_PIXELS)}
        self._fed = 0
        self._is_drained = False
        self._wanted = 0
        self._frames: dict[int, Any] = {}
        self._error = ''

    def can_give(self, group: _Group, number: int) -> bool:
        """Whether this frame is still to come."""
        return group is self._group and (number in self._frames or (number > self._wanted and not self._is_drained))

    def image(self, number: int) -> np.ndarray:
        """A frame by its number in the group, (H, W, 3) uint8 RGB. Raises InputError."""
        self._wanted = number
        while number not in self._frames and not self._error and not self._is_drained:
            if self._fed < len(self._group.messages):
                data = bytes(self._group.messages[self._fed]().data)
                self._take(self._packet(data))
                self._fed += 1
            else:  # what the decoder holds back
                self._take(None)
                self._is_drained = True
        frame = self._frames.pop(number, None)
        if frame is None:
            raise InputError(f'{self._topic}: {self._error or "the decoder gives no image for the message"}')
        return frame.to_ndarray(format='rgb24')

    def _packet(self, data: bytes) -> Any:
        packet = self._av.Packet(data if self._fed else self._group.parameters + data)
        packet.pts = self._fed  # which the decoder gives to the frame
        return packet

    def _take(self, packet: Any) -> None:
        try:
            with self._av.logging.Capture() as log:
                frames = self._context.decode(packet)
        except Exception as error:  # FFmpeg's are of many types
            self._error = f'{self._group.codec} video is damaged, up to its next keyframe: {reason(error)}'
            return
        # FFmpeg makes up the frames of H.264 that were lost, and goes on.
        if any('Frame num gap' in line for _, _, line in log):
            self._error = 'messages of the H.264 video were lost, up to its next keyframe'
            return
        self._frames |= {frame.pts: frame for frame in frames}
        self._frames = {number: frame for number, frame in self._frames.items() if number >= self._wanted}


def _is_keyframe(codec: str, data: bytes, parameters: dict[int, bytes]) -> bool:
    """Whether a decoder can start with this message. Parameter sets of H.264 and H.265 in it go to `parameters`, by
    their type."""
    if codec == 'VP9':
        return len(data) > 0 and data[0] >> 6 == 0b10 and not data[0] & 0b1100
    if codec == 'AV1':
        return _is_av1_keyframe(data)
    is_keyframe = False
    starts = [match.end() for match in _NAL_UNIT.finditer(data)]
    for start, end in zip(starts, [*(start - 3 for start in starts[1:]), len(data)]):
        if start == len(data):
            break
        kind = data[start] & 0x1F if codec == 'H.264' else data[start] >> 1 & 0x3F
        if kind in ((7, 8) if codec == 'H.264' else (32, 33, 34)):
            parameters[kind] = b'\0\0\0\1' + data[start:end]
        is_keyframe |= kind == 5 if codec == 'H.264' else 16 <= kind <= 23
    return is_keyframe


def _is_av1_keyframe(data: bytes) -> bool:
    """Of a temporal unit in the low-overhead bitstream format: AV1 Bitstream & Decoding Process Specification, 5.3."""
    at, has_sequence = 0, False
    while at < len(data):
        head, at = data[at], at + 1 + (data[at] >> 2 & 1)
        kind, size = head >> 3 & 15, len(data) - at
        if head & 2:
            size = 0
            for byte in range(8):
                if at >= len(data):
                    return False
                size |= (data[at] & 0x7F) << 7 * byte
                at += 1
                if not data[at - 1] & 0x80:
                    break
        has_sequence |= kind == _OBU_SEQUENCE_HEADER
        if kind in _OBU_FRAME_HEADERS:
            return has_sequence and at < len(data) and data[at] >> 5 == 0
        at += size
    return False
