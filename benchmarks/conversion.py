"""How fast `dfd convert` turns bags of 640x480 into samples, and that its memory does not grow with the bag.

python benchmarks/conversion.py --frames 300
python benchmarks/conversion.py --frames 300 --codec h264
python benchmarks/conversion.py --frames 450 --codec jpg --late 5
"""

from __future__ import annotations

import argparse
import heapq
import json
import math
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import _common  # noqa: F401
import cv2
import numpy as np
import recorded_rig
import recorded_video
from processes import cpu_time_of_children
from recorded_rig import DEPTH_FRAME, IMAGE_FRAME

from dfd_ros.bags.bag_writer import BagWriter, Topic
from dfd_ros.bags.depth_reprojection import Intrinsics

SIZE = 480, 640
SWEEP = (math.inf, 2.0, 1.0, 2 / 3, 0.5)
RATE = 30.0
CODECS = 'jpg', 'h264', 'hevc', 'av1', 'vp9'
TYPES = {
    '/image_raw': 'sensor_msgs/msg/Image',
    '/lens_state': 'dfd_ros/msg/LensState',
    '/camera_info': 'sensor_msgs/msg/CameraInfo',
    '/rgbd/depth/image_rect': 'sensor_msgs/msg/Image',
    '/rgbd/depth/camera_info': 'sensor_msgs/msg/CameraInfo',
    '/tf_static': 'tf2_msgs/msg/TFMessage',
}


def write_bag(folder: Path, frames: int, size: tuple[int, int] = SIZE, codec: str = '', late: float = 0.0) -> None:
    """A breathing focus camera and a depth camera beside it, images with noise as cameras have.

    size: (height, width), of the same view. codec: of `CODECS`; raw images if empty. late: s by which lens states and
    depth reach the recorder after the images of the same time.
    """
    draw, scale = np.random.default_rng(0), size[1] / SIZE[1]
    topics = dict(TYPES)
    if codec:
        topics['/image_raw/compressed'] = 'sensor_msgs/msg/CompressedImage'
        del topics['/image_raw']
    numbers = {topic: i for i, topic in enumerate(topics)}
    bag = BagWriter(folder, [Topic(*item, latched=item[0] == '/tf_static') for item in topics.items()])
    y, x = np.mgrid[: size[0], : size[1]] / scale
    scene = 120 + 50 * np.sin(x / 9)[..., None] * np.sin(y / 13)[..., None] * np.array([1, 0.8, 0.6])
    scenes = [np.clip(scene + draw.normal(0, 3, scene.shape), 0, 255).astype(np.uint8) for _ in range(4)]
    room = np.where((abs(x - 300) < 100) & (abs(y - 200) < 90), 900, 1500 + x + y // 2)
    rooms = [(room + draw.integers(-3, 4, room.shape)).astype(np.uint16) for _ in range(4)]
    on_the_way: list[tuple[int, int, bytes]] = []  # time of arrival, ns; number of the topic; message

    def write(topic: str, stamp: float, message) -> None:
        arrival = stamp + (late if topic in ('/lens_state', '/rgbd/depth/image_rect') else 0.0)
        data = bytes(recorded_rig.STORE.serialize_cdr(message, topics[topic]))
        heapq.heappush(on_the_way, (round(arrival * 1e9), numbers[topic], data))

    def record(until: float) -> None:
        while on_the_way and on_the_way[0][0] <= until * 1e9:
            time_ns, number, data = heapq.heappop(on_the_way)
            bag.write(number, time_ns, data)

    def info(focal_length: float, stamp: float, frame: str):
        f = focal_length * scale
        camera = Intrinsics(f, f, (size[1] - 1) / 2, (size[0] - 1) / 2)
        return recorded_rig.info_message(camera, stamp, frame, size)

    write('/tf_static', 999.9, recorded_rig.tf_message())
    compressed = _encoded(codec, [scenes[i % 4] for i in range(frames)]) if codec else []
    for i in range(frames):
        stamp, focus = 1000 + i / RATE, SWEEP[i % len(SWEEP)]
        write('/lens_state', stamp, recorded_rig.lens_message(focus, stamp))
        write('/camera_info', stamp, info(600 * recorded_rig.magnification(focus), stamp, IMAGE_FRAME))
        if codec:
            kind = recorded_rig.STORE.types['sensor_msgs/msg/CompressedImage']
            data = np.frombuffer(compressed[i], np.uint8)
            write('/image_raw/compressed', stamp, kind(recorded_rig.header(stamp, IMAGE_FRAME), codec, data))
        else:
            write('/image_raw', stamp, recorded_rig.image_message(scenes[i % 4], 'rgb8', stamp, IMAGE_FRAME))
        write('/rgbd/depth/camera_info', stamp, info(525, stamp, DEPTH_FRAME))
        depth = recorded_rig.image_message(rooms[i % 4], '16UC1', stamp, DEPTH_FRAME)
        write('/rgbd/depth/image_rect', stamp, depth)
        record(stamp)
    record(math.inf)
    bag.close()


def _encoded(codec: str, images: list[np.ndarray]) -> list[bytes]:
    """Of each image: as JPEG, or as a frame of a video with a keyframe each second."""
    if codec == 'jpg':
        return [cv2.imencode('.jpg', image[..., ::-1])[1].tobytes() for image in images]
    return [data for _, data in recorded_video.encoded(images, codec, every=round(RATE))]


def convert(bags: Path, out: Path, workers: int, *options: str) -> tuple[float, float]:
    """(s, MB of the largest process) of `dfd convert` in a process of its own."""
    # Not the ru_maxrss of the process itself: that begins with the memory of the process that started it.
    script = (
        'import re, resource, sys\nfrom dfd_ros import cli\nstatus = cli.main(sys.argv[1:])\n'
        'own = int(re.search(r"VmHWM:\\s+(\\d+)", open("/proc/self/status").read())[1])\n'
        'print(max(own, resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss))\n'
        'sys.exit(status)'
    )
    began = time.monotonic()
    said = subprocess.run(
        [sys.executable, '-c', script, 'convert', str(bags), '--out', str(out), '--workers', str(workers), *options],
        check=True,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    ).stdout
    return time.monotonic() - began, int(said.split()[-1]) / 1024


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('--frames', type=int, default=300, help='of each of the two bags, by 5 (300: 0.5 GB each)')
    parser.add_argument('--codec', choices=CODECS, default='', help='of the recorded images (default: raw)')
    parser.add_argument('--late', type=float, default=0.0, help='s by which lens states and depth are recorded late')
    parser.add_argument('--folder', type=Path, help='for the bags, which are removed; default: the temporary one')
    args = parser.parse_args()
    print('| bags | frames | options | s | frames/s | CPU s/frame | largest process, MB | lost |\n|' + ' --- |' * 8)
    short = args.frames // 4 // len(SWEEP) * len(SWEEP)  # whole sweeps
    with tempfile.TemporaryDirectory(dir=args.folder) as name:
        folder = Path(name)
        for bag, frames in (('a', args.frames), ('b', args.frames), ('c', short)):
            write_bag(folder / ('short' if bag == 'c' else 'long') / bag, frames, codec=args.codec, late=args.late)
        for bags, frames, workers, options in (
            ('long', 2 * args.frames, 2, ()),
            ('long', 2 * args.frames, 2, ('--width', '320')),
            ('long', 2 * args.frames, 2, ('--image-format', 'png')),
            ('short', short, 1, ()),
        ):
            before = cpu_time_of_children()
            out = folder / f'out-{bags}-{"".join(options)}'
            seconds, memory = convert(folder / bags, out, workers, *options)
            cpu = cpu_time_of_children() - before
            converted = sum(json.loads(report.read_text())['frames'] for report in out.glob('*.json'))
            print(
                f'| {workers} | {frames} | {" ".join(options)} | {seconds:.1f} | {frames / seconds:.0f} | '
                f'{cpu / frames:.3f} | {memory:.0f} | {frames - converted} |',
                flush=True,
            )


if __name__ == '__main__':
    main()
