"""Odd input for what reads messages, frames and files, each kind in a process with limits of time and memory.

What may come of an input: it is read, or refused by an `InputError` of one line or an `OSError` that names its file.
All else is a fault: another exception, a hang, too much memory, or a change outside the input's own folder.
"""

import math
import multiprocessing
import os
import resource
import time
import traceback
import warnings
from collections import Counter
from dataclasses import dataclass, field
from multiprocessing.connection import Connection
from pathlib import Path
from random import Random

import fuzzed_files
import torch
from fuzz_subject import Subject
from fuzzed_streams import Frames, Messages, Nodes, Videos
from processes import cpu_time

from dfd_ros.core.errors import InputError

HANG_CPU, HANG = 10.0, 60.0  # s of an input: of the processor, and of the clock
MEMORY = 2 * 2**30  # bytes
MAX_LINE = 1500  # characters

SUBJECTS: dict[str, type[Subject]] = {
    'messages': Messages,
    'nodes': Nodes,
    'frames': Frames,
    'videos': Videos,
    'bags': fuzzed_files.Bags,
    'conversions': fuzzed_files.Conversions,
    'phones': fuzzed_files.Phones,
    'stacks': fuzzed_files.Stacks,
    'photographs': fuzzed_files.Photographs,
    'viewed': fuzzed_files.Viewed,
    'calibrations': fuzzed_files.Calibrations,
    'foreign_calibrations': fuzzed_files.ForeignCalibrations,
    'focus_tables': fuzzed_files.FocusTables,
    'commands': fuzzed_files.Commands,
    'sweeps': fuzzed_files.Sweeps,
    'shards': fuzzed_files.Shards,
    'weights': fuzzed_files.Weights,
    'onnx': fuzzed_files.OnnxFiles,
    'checkpoints': fuzzed_files.Checkpoints,
    'trainings': fuzzed_files.Trainings,
    'steps': fuzzed_files.OneStepTrainings,
    'rows': fuzzed_files.Rows,
    'studies': fuzzed_files.Studies,
    'worlds': fuzzed_files.Worlds,
    'views': fuzzed_files.Views,
    'public': fuzzed_files.PublicSets,
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
                if time.monotonic() - began > HANG or cpu_time(process.pid) - used > HANG_CPU:
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
            at, began, used = index, time.monotonic(), cpu_time(process.pid)
            continue
        outcome.add(index, result)
        outcome.peak = max(outcome.peak, peak)
        if peak > MEMORY:
            outcome.add(index, f'takes over {MEMORY / 2**30:g} GiB')
            return index + 1


def _data_in_use() -> int:
    """Bytes that count for RLIMIT_DATA."""
    (line,) = (line for line in Path('/proc/self/status').read_text().splitlines() if line.startswith('VmData:'))
    return int(line.split()[1]) * 1024


def _work(name: str, seed: int, first: int, end: int, folder: Path, pipe: Connection) -> None:
    torch.set_num_threads(1)
    warnings.simplefilter('ignore')
    limit = _data_in_use() + 4 * MEMORY  # what the process that it was forked from holds is not its own
    resource.setrlimit(resource.RLIMIT_DATA, (limit, limit))  # the machine survives
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
        if '\n' in text or len(text) > MAX_LINE:
            return f'a message of {text.count(chr(10)) + 1} lines, {len(text)} characters: {text[:60]!r}'
        return 'refused'
    except Exception as error:
        if isinstance(error, OSError) and error.filename is not None:
            return 'refused'
        frames = [frame for frame in traceback.extract_tb(error.__traceback__) if '/dfd_ros/' in frame.filename]
        where = f'{frames[-1].filename.rpartition("/dfd_ros/")[2]}:{frames[-1].lineno}' if frames else 'the fuzzing'
        return f'{type(error).__name__} at {where}: {" ".join(str(error).split())[:60]}'
