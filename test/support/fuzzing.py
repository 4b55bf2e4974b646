"""Odd input for what reads messages, frames and files, each kind in a process with limits of time and memory.

What may come of an input: it is read, or refused by an `InputError` of one line or an `OSError` that names its file.
All else is a fault: another exception, a hang, too much memory, or a change outside the input's own folder.
"""

from __future__ import annotations

import contextlib
import math
import multiprocessing
import os
import resource
import shutil
import time
import traceback
import warnings
from collections import Counter
from dataclasses import dataclass, field, replace
from multiprocessing.connection import Connection
from pathlib import Path
from random import Random
from typing import Any

import numpy as np
import torch
import yaml
from mutations import mutate_folder, number, whole_number

from dfd_ros.core.errors import InputError

HANG_CPU, HANG = 10.0, 60.0  # s of an input: of the processor, and of the clock
MEMORY = 2 * 2**30  # bytes
LONGEST_LINE = 1500  # characters
TINY = {'channels': [8, 8, 8, 8], 'hypotheses': 6, 'kinds': [1, 2, 1], 'hidden': [4, 4]}


class Fault(Exception):
    """A result that is wrong, without an exception."""


class Subject:
    """What is given odd input. A subclass overrides `prepare`, in the process of its own, and `one`."""

    def __init__(self, folder: Path):
        """folder: for its files."""
        self.folder, self.outside = folder, folder / 'outside' / 'mine'
        self.given = folder / 'given'

    def prepare(self) -> None:
        """Make what is needed for every input."""

    def one(self, rng: Random) -> None:
        """Give one input. Raises what the reader raises."""
        raise NotImplementedError

    def close(self) -> None:
        """Called after the last input, and counted as a part of it."""


class Files(Subject):
    """A folder of files, some of which are damaged, and what reads it."""

    def write(self, folder: Path) -> None:
        """Sound files."""
        raise NotImplementedError

    def read(self, folder: Path) -> None:
        raise NotImplementedError

    def prepare(self) -> None:
        if not (self.folder / 'sound').exists():
            (self.folder / 'sound').mkdir(parents=True)
            self.write(self.folder / 'sound')
            self.read(self.folder / 'sound')  # sound files have to be read

    def one(self, rng: Random) -> None:
        mutate_folder(self.folder / 'sound', self.given, self.outside, rng)
        self.read(self.given)


class Stacks(Files):
    def write(self, folder):
        from PIL import Image

        from dfd_ros.core.focal_stack import FocalStack
        from dfd_ros.core.lens_state import LensState

        draw = np.random.default_rng(0)
        images = [draw.integers(0, 255, (24, 32, 3), dtype=np.uint8) for _ in range(3)]
        states = [LensState(d, 0.0043, 1.8, 2e-4) for d in (math.inf, 2.0, 0.5)]
        FocalStack(images, states, draw.uniform(0.5, 2, (24, 32)).astype(np.float32)).write(folder, overwrite=True)
        content = yaml.safe_load((folder / 'stack.yaml').read_text())
        for frame, suffix in zip(content['frames'], ('.jpg', '.tif', '.png')):
            image = Image.open(folder / frame['file'])
            image.save(folder / f'odd{suffix}')
            (folder / frame['file']).unlink()
            os.rename(folder / f'odd{suffix}', folder / (frame['file'] + suffix))
            frame['file'] += suffix
        (folder / 'stack.yaml').write_text(yaml.safe_dump(content))

    def read(self, folder):
        from dfd_ros.core.focal_stack import FocalStack

        stack = FocalStack.read(folder)
        with contextlib.suppress(InputError):
            assert 0 < stack.range.near < stack.range.far


class Calibrations(Files):
    def write(self, folder):
        from recorded_rig import calibration_file

        from dfd_ros.calibration.calibration_file import FocusMap

        focus = FocusMap((0.0, 100.0, 200.0), (math.inf, 1.0, 0.5), 0.01, 3)
        calibration_file(folder / 'calibration.yaml', focus=focus)

    def read(self, folder):
        from dfd_ros.calibration.calibration_file import Calibration, read_focus_table

        calibration = Calibration.read(folder / 'calibration.yaml')
        calibration.camera_at(1.0, 128, 96)
        if calibration.focus is not None:
            read_focus_table(folder / 'calibration.yaml').focus_distance(50.0)


class Sweeps(Files):
    def write(self, folder):
        from dfd_ros.calibration.recorded_sweep import Sweep

        images = [np.full((16, 16, 3), i, np.uint8) for i in range(3)]
        Sweep('sweep', np.arange(3.0), images, 0.5).write(folder)

    def read(self, folder):
        from dfd_ros.calibration.recorded_sweep import Sweep

        Sweep.read(folder)


class Shards(Files):
    def write(self, folder):
        from dfd_ros.core.lens_state import LensState
        from dfd_ros.core.sample import Sample
        from dfd_ros.datasets.shards import write_sample

        draw = np.random.default_rng(0)
        images = draw.integers(0, 255, (3, 24, 32, 3), dtype=np.uint8)
        states = [LensState(d, 0.0043, 1.8, 2e-4) for d in (math.inf, 2.0, 0.5)]
        depth = draw.uniform(0.5, 2, (3, 24, 32)).astype(np.float32)
        write_sample(folder / 'a.tar', 'sample', Sample(images, states, depth, background=depth > 1))

    def read(self, folder):
        from dfd_ros.datasets.shards import Samples
        from dfd_ros.datasets.stack_batch import to_stack_batch

        for sample in Samples(folder):
            to_stack_batch(sample)


class Weights(Files):
    def write(self, folder):
        from dfd_ros import networks

        networks.save(folder / 'tiny.safetensors', networks.create('stream', **TINY))

    def read(self, folder):
        from dfd_ros import networks

        network = networks.load(folder / 'tiny.safetensors')
        if not all(parameter.isfinite().all() for parameter in network.parameters()):
            raise Fault('weights that are not finite were loaded')


class Checkpoints(Files):
    def _training(self):
        from dfd_ros import networks

        network = networks.create('stream', **TINY)
        average = torch.optim.swa_utils.AveragedModel(network, use_buffers=True)
        return network, average, torch.optim.AdamW(network.parameters(), 1e-3)

    def write(self, folder):
        from dfd_ros.training.checkpoint import Position, save

        network, average, optimiser = self._training()
        for parameter in network.parameters():
            parameter.grad = torch.ones_like(parameter)
        optimiser.step()
        average.update_parameters(network)
        save(folder / 'checkpoint.pt', network, average, optimiser, Position(1), {'seed': '0'})

    def read(self, folder):
        from dfd_ros.training.checkpoint import resume

        network, average, optimiser = self._training()
        resume(folder / 'checkpoint.pt', network, average, optimiser, {'seed': '0'}, torch.device('cpu'))
        for parameter in network.parameters():
            parameter.grad = torch.ones_like(parameter)
        optimiser.step()


class Trainings(Files):
    def write(self, folder):
        from dataclasses import asdict

        from dfd_ros.training.config import TrainingConfig

        (folder / 'run.yaml').write_text(yaml.safe_dump(_plain(asdict(TrainingConfig())), sort_keys=False))

    def read(self, folder):
        from dfd_ros import networks
        from dfd_ros.training.config import load_config

        config = load_config(folder / 'run.yaml')
        if config.network == 'stream':
            networks.create(config.network, **config.network_config)


def _plain(tree: Any) -> Any:
    if isinstance(tree, dict):
        return {name: _plain(part) for name, part in tree.items()}
    return [_plain(part) for part in tree] if isinstance(tree, list | tuple) else tree


class Rows(Files):
    def write(self, folder):
        from dfd_ros.core.resources import resource

        shutil.copy(resource('config/study.yaml'), folder / 'rows.yaml')

    def read(self, folder):
        from dfd_ros.evaluation.study.study_rows import read_rows

        read_rows(folder / 'rows.yaml')


class Bags(Files):
    """Bags of all storages, and conversion into a folder that exists already."""

    STORAGES = (('mcap', ''), ('mcap', 'storage'), ('sqlite3', ''), ('mcap', 'file'), ('sqlite3', 'message'))

    def write(self, folder):
        from recorded_rig import Options, write_bag

        for index, (storage, compression) in enumerate(self.STORAGES):
            write_bag(
                folder / f'bag{index}', Options(compressed=index % 2 == 0), storage=storage, compression=compression
            )

    def one(self, rng):
        mutate_folder(rng.choice(sorted((self.folder / 'sound').iterdir())), self.given / 'bag', self.outside, rng)
        self.read(self.given)

    def read(self, folder):
        from dfd_ros.bags.convert_recordings import ConvertSettings, Job, convert_one
        from dfd_ros.datasets.shards import Samples

        for bag in sorted(folder.iterdir()):
            shutil.rmtree(out := self.folder / 'out', ignore_errors=True)
            out.mkdir()
            result = convert_one(bag, Job(out, settings=ConvertSettings()), lambda images, more: None)
            if result.error:
                raise InputError(result.error)
            if any(not sample.images.any(axis=(1, 2, 3)).all() for sample in Samples(out)):
                raise Fault('a black image was converted')


class Frames(Subject):
    """Images and lens states for an estimator, which is used on and on."""

    def prepare(self):
        from dfd_ros import networks
        from dfd_ros.inference.estimator import DepthEstimator

        torch.manual_seed(0)
        self.estimator = DepthEstimator(network=networks.create('stream', **TINY), device='cpu', resolution=48)
        self.images = np.random.default_rng(0).integers(0, 255, (8, 96, 96, 3), dtype=np.uint8)
        self.stamp, self.size = 0.0, (24, 32)

    def one(self, rng):
        from dfd_ros.core.lens_state import LensState

        self.stamp = number(rng) if rng.random() < 0.02 else self.stamp + 0.03
        if rng.random() < 0.02:
            self.size = rng.choice(((24, 32), (16, 16), (17, 95), (96, 40), (15, 32), (1, 1), (0, 5)))
        image: Any = self.images[rng.randrange(8), : self.size[0], : self.size[1]]
        if rng.random() < 0.03:
            image = rng.choice((image[..., 0], image.astype(np.float32), image[..., :2], None, image * 0, image[::-1]))
        state = LensState(rng.choice((math.inf, 2.0, 1.0, 0.5)), 0.0043, 1.8, 2e-6, near=0.3, stamp=self.stamp)
        if rng.random() < 0.05:
            name = rng.choice([name for name in state.__dataclass_fields__ if name != 'settled'])
            state = replace(state, **{name: number(rng)})
        estimate = self.estimator.push(image, state)
        known = np.isfinite(estimate.confidence)
        if not known.all() or estimate.confidence.min() < 0 or estimate.confidence.max() > 1:
            raise Fault('confidence outside 0..1')
        if estimate.depth.shape != image.shape[:2] or (estimate.depth <= 0).any():
            raise Fault('depth that is not positive')


class Messages(Subject):
    """Image, LensState and CameraInfo messages. Needs ROS's messages."""

    ENCODINGS = (
        *(
            'rgb8',
            'bgr8',
            'rgba8',
            'bgra8',
            'mono8',
            'mono16',
            'rgb16',
            'yuv422',
            'yuv422_yuy2',
            'uyvy',
            'yuyv',
            'nv12',
        ),
        *(
            'nv21',
            'bayer_rggb8',
            'bayer_grbg16',
            '8UC1',
            '8UC3',
            '16UC1',
            '32FC1',
            '64FC1',
            '',
            'x' * 3000,
            'rgb8; jpeg',
        ),
    )

    def one(self, rng):
        from sensor_msgs.msg import Image

        from dfd_ros.bags.depth_reprojection import Intrinsics
        from dfd_ros.msg import LensState
        from dfd_ros.ros import image_messages, messages

        message = rng.choice((self.image, self.image, self.lens_state, self.camera_info))(rng)
        if isinstance(message, Image):
            image = rng.choice((image_messages.to_rgb, image_messages.to_map))(message, 'image')
            if image.shape[:2] != (message.height, message.width):
                raise Fault(f'an image of {image.shape} from one of {message.height}x{message.width}')
        elif isinstance(message, LensState):
            state = messages.from_message(message)
            if not state.focus_distance > 0 or (state.range is not None and not state.range.near < state.range.far):
                raise Fault(f'{state}')
        else:
            Intrinsics.from_message(message, 'camera_info')

    def image(self, rng):
        from sensor_msgs.msg import Image

        height, width, step = (rng.choice((rng.randrange(20), whole_number(rng))) for _ in range(3))
        message = Image(height=height, width=width, encoding=rng.choice(self.ENCODINGS), is_bigendian=rng.randrange(3))
        message.step = step if rng.random() < 0.5 else min(width * rng.choice((1, 2, 3, 4)), 2**32 - 1)
        message.data = rng.randbytes(min(rng.choice((0, 1, height * message.step, rng.randrange(2000))), 10_000))
        return message

    def lens_state(self, rng):
        from dfd_ros.msg import LensState

        message = LensState(settled=rng.random() < 0.9, command_id=whole_number(rng, 2**32 - 1))
        for name in message.get_fields_and_field_types():
            if isinstance(getattr(message, name), float):
                setattr(message, name, rng.choice((number(rng), 1.0)))
        return message

    def camera_info(self, rng):
        from sensor_msgs.msg import CameraInfo

        message = CameraInfo(height=whole_number(rng), width=whole_number(rng))
        message.distortion_model = rng.choice(('plumb_bob', 'rational_polynomial', 'equidistant', '', 'x' * 3000))
        message.d = [number(rng) if rng.random() < 0.3 else 0.0 for _ in range(rng.randrange(16))]
        k = (100.0, 0.0, 50.0, 0.0, 100.0, 50.0, 0.0, 0.0, 1.0)
        message.k = [number(rng) if rng.random() < 0.2 else v for v in k]
        return message


class Nodes(Messages):
    """The same, published to real nodes, which have to live on without a traceback."""

    TOPICS = {
        'image_raw': 'image',
        'lens_state': 'lens_state',
        'camera_info': 'camera_info',
        'depth/image_rect': 'image',
        'depth/camera_info': 'camera_info',
        'rgbd/depth/image_rect': 'image',
        'rgbd/depth/camera_info': 'camera_info',
    }

    def prepare(self):
        import rclpy
        from ros_processes import NodeProcess

        from dfd_ros import networks
        from dfd_ros.ros import qos

        networks.save(weights := self.folder / 'tiny.safetensors', networks.create('stream', **TINY))
        namespace = '__ns:=/fuzz'
        self.nodes = {
            name: NodeProcess(name, self.folder / f'{name}.log', '-r', namespace, **parameters)
            for name, parameters in (('depth', {'weights': weights, 'device': 'cpu'}), ('sweep', {}), ('accuracy', {}))
        }
        rclpy.init()
        self.node = rclpy.create_node('odd', namespace='/fuzz')
        self.publishers = {
            topic: self.node.create_publisher(type(getattr(self, kind)(Random(0))), topic, qos.PUBLISHER)
            for topic, kind in self.TOPICS.items()
        }
        end = time.monotonic() + HANG
        while time.monotonic() < end and not all(p.get_subscription_count() for p in self.publishers.values()):
            time.sleep(0.1)
        self.sent = 0

    def one(self, rng):
        topic = rng.choice(list(self.TOPICS))
        message = getattr(self, self.TOPICS[topic])(rng)
        message.header.stamp.sec = rng.choice((self.sent, self.sent, 0, 1, -1, 2**31 - 1, -(2**31)))
        message.header.frame_id = rng.choice(('camera', 'camera', '', 'x' * 3000))
        self.publishers[topic].publish(message)
        self.sent += 1
        time.sleep(0.002)
        for name, process in self.nodes.items() if self.sent % 50 == 0 else ():
            if process.process.poll() is not None or 'Traceback' in process.output:
                raise Fault(f'the node {name} has a fault: {process.output[-100:]}')

    def close(self):
        time.sleep(2.0)
        ended = {name: process.stop() for name, process in self.nodes.items()}
        for name, status in ended.items():
            output = self.nodes[name].output
            if status or 'Traceback' in output:
                raise Fault(f'the node {name} ended with {status}: {output[-100:]}')


SUBJECTS: dict[str, type[Subject]] = {
    'messages': Messages,
    'nodes': Nodes,
    'frames': Frames,
    'bags': Bags,
    'stacks': Stacks,
    'calibrations': Calibrations,
    'sweeps': Sweeps,
    'shards': Shards,
    'weights': Weights,
    'checkpoints': Checkpoints,
    'trainings': Trainings,
    'rows': Rows,
}


@dataclass
class Outcome:
    """What came of the inputs of a subject."""

    read: int = 0
    refused: int = 0
    faults: Counter = field(default_factory=Counter)
    first: dict[str, int] = field(default_factory=dict)
    """Number of the first input of each fault."""
    peak: int = 0
    """Bytes."""

    def add(self, index: int, result: str) -> None:
        if result in ('read', 'refused'):
            setattr(self, result, getattr(self, result) + 1)
        else:
            self.faults[result] += 1
            self.first.setdefault(result, index)


def fuzz(name: str, count: int, seed: int, folder: Path, first: int = 0) -> Outcome:
    """Give a subject `count` inputs, from the one with number `first` on. The same seed and number give the same
    input; of `frames`, which are a stream, the same from the same first one."""
    outcome, end = Outcome(), first + count
    while first < end:
        here, there = multiprocessing.Pipe()
        # Nodes make threads: a fork of a process that has some may wait for them for ever.
        process = multiprocessing.get_context('spawn' if name == 'nodes' else 'fork').Process(
            target=_work, args=(name, seed, first, end, folder / name, there)
        )
        process.start()
        there.close()
        first = _follow(process, here, outcome, first)
        process.kill()
        process.join()
    return outcome


def _follow(process, here: Connection, outcome: Outcome, at: int) -> int:
    """Take the results of a process until it ends or has to be ended. Returns the next input."""
    began, used = math.inf, 0.0
    while True:
        try:
            if not here.poll(0.5):
                if time.monotonic() - began > HANG or _processor_time(process.pid) - used > HANG_CPU:
                    outcome.add(at, 'hangs')
                    return at + 1
                continue
            index, result, peak = here.recv()
        except EOFError:
            outcome.add(at, f'the process ended (status {process.exitcode})')
            return at + 1
        if result == 'done':
            return index
        if result == 'begun':
            at, began, used = index, time.monotonic(), _processor_time(process.pid)
            continue
        outcome.add(index, result)
        outcome.peak = max(outcome.peak, peak)
        if peak > MEMORY:
            outcome.add(index, f'takes over {MEMORY / 2**30:g} GiB')
            return index + 1


def _processor_time(process: int) -> float:
    with contextlib.suppress(OSError):
        fields = Path(f'/proc/{process}/stat').read_text().rpartition(')')[2].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf('SC_CLK_TCK')
    return 0.0


def _work(name: str, seed: int, first: int, end: int, folder: Path, pipe: Connection) -> None:
    torch.set_num_threads(1)
    warnings.simplefilter('ignore')
    resource.setrlimit(resource.RLIMIT_DATA, (4 * MEMORY, 4 * MEMORY))  # the machine survives
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, 1)
    os.dup2(nowhere, 2)
    subject = SUBJECTS[name](folder)
    subject.outside.parent.mkdir(parents=True, exist_ok=True)
    subject.outside.write_text('mine')
    subject.prepare()
    for index in range(first, end):
        pipe.send((index, 'begun', 0))
        result = _result(subject, Random(f'{seed} {name} {index}'), index == end - 1)
        if sorted(subject.outside.parent.iterdir()) != [subject.outside] or subject.outside.read_text() != 'mine':
            result = 'changes a file that is not its own'
        pipe.send((index, result, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024))
    pipe.send((end, 'done', 0))
    pipe.close()
    os._exit(0)


def _result(subject: Subject, rng: Random, is_last: bool) -> str:
    try:
        try:
            subject.one(rng)
        finally:
            if is_last:
                subject.close()
        return 'read'
    except InputError as error:
        text = str(error)
        if '\n' in text or len(text) > LONGEST_LINE:
            return f'a message of {text.count(chr(10)) + 1} lines, {len(text)} characters: {text[:60]!r}'
        return 'refused'
    except Exception as error:
        if isinstance(error, OSError) and error.filename is not None:
            return 'refused'
        frames = [frame for frame in traceback.extract_tb(error.__traceback__) if '/dfd_ros/' in frame.filename]
        where = f'{frames[-1].filename.rpartition("/dfd_ros/")[2]}:{frames[-1].lineno}' if frames else 'the fuzzing'
        return f'{type(error).__name__} at {where}: {" ".join(str(error).split())[:60]}'
