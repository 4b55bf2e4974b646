"""Recordings whose images are video, encoded by PyAV."""

import os
from fractions import Fraction

import numpy as np
from recorded_rig import STORE

from dfd_ros.bags.video_stream import COMPRESSED_VIDEO, FFMPEG_PACKET

os.environ['SVT_LOG'] = '1'  # errors alone

IMAGE = 'sensor_msgs/msg/CompressedImage'
ENCODERS = {
    'h264': ('libx264', {'preset': 'ultrafast', 'tune': 'zerolatency', 'crf': '8'}),
    'hevc': ('libx265', {'preset': 'ultrafast', 'x265-params': 'log-level=none:bframes=0:pools=none:crf=8'}),
    'av1': ('libsvtav1', {'preset': '11', 'crf': '8', 'svtav1-params': 'pred-struct=1:lookahead=0:lp=1'}),
    'vp9': ('libvpx-vp9', {'deadline': 'realtime', 'cpu-used': '8', 'lag-in-frames': '0', 'crf': '8', 'b': '0'}),
}


def encoded(images, codec, every=4, b_frames=0, **options):
    """(number of the image, data) of each packet, as they leave the encoder. every: n-th image is a keyframe."""
    import av

    name, usual = ENCODERS[codec]
    encoder = av.CodecContext.create(name, 'w')
    encoder.height, encoder.width = images[0].shape[:2]
    encoder.pix_fmt, encoder.framerate, encoder.time_base = 'yuv420p', Fraction(30), Fraction(1, 30)
    encoder.gop_size, encoder.max_b_frames, encoder.thread_count = every, b_frames, 1
    encoder.options = {**usual, **options}
    packets = []
    for number, image in enumerate(images):
        frame = av.VideoFrame.from_ndarray(image, format='rgb24')
        frame.pts = number
        packets += encoder.encode(frame)
    return [(packet.pts, bytes(packet)) for packet in (*packets, *encoder.encode(None))]


def video_message(kind, header, codec, data):
    data = np.frombuffer(data, np.uint8)
    if kind == COMPRESSED_VIDEO:
        return STORE.types[kind](header.stamp, header.frame_id, data, codec)
    if kind == FFMPEG_PACKET:
        return STORE.types[kind](header, 0, 0, f'{codec};yuv420p;bgr8;bgr8', 0, 0, False, data)
    return STORE.types[IMAGE](header, codec, data)


def as_video(recorded, kind, codec, topic='/image_raw', suffix='', damaged=lambda packets: packets, **options):
    """Recorded messages with the images of a topic as video.

    damaged: is given the packets, and returns those that are recorded; None = a message that was lost.
    """
    recorded = list(recorded)
    images = [message.data.reshape(message.height, -1, 3) for name, _, message in recorded if name == topic]
    packets = iter(damaged([data for _, data in encoded(images, codec, **options)]))
    for name, time, message in recorded:
        if name != topic:
            yield name, time, message
        elif (data := next(packets)) is not None:
            yield topic + suffix, time, video_message(kind, message.header, codec, data)
