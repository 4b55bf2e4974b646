"""Converts many recordings into shards, in parallel. Each is converted completely or not at all; work that was
interrupted is resumed."""

from __future__ import annotations

import hashlib
import json
import math
import os
import shutil
import time
from collections.abc import Callable, Iterable
from concurrent.futures import ProcessPoolExecutor
from dataclasses import asdict, dataclass
from multiprocessing import active_children, get_context
from multiprocessing.queues import Queue
from pathlib import Path

from dfd_ros.bags.association import Counts, Event
from dfd_ros.bags.bag_reader import SUFFIXES, Bag, fingerprint
from dfd_ros.bags.convert_recording import Converter, ConvertSettings
from dfd_ros.bags.frame_tree import Frames
from dfd_ros.bags.recording_events import Recording, Topics, clock_offset, events
from dfd_ros.calibration.calibration_file import Calibration
from dfd_ros.core.errors import InputError
from dfd_ros.core.files import write_json
from dfd_ros.datasets.shards import ShardWriter, locked

SAMPLES_PER_SHARD = 50
PROGRESS_EVERY = 0.2  # s
AUTO = 'auto'


@dataclass(frozen=True)
class Job:
    """How to convert recordings, and where to.

    Attributes:
        out: folder for the shards, NAME-000000.tar, and for a report on each recording, NAME.json.
        topics: their names.
        settings: of the samples.
        clock_offset: s to add to the stamps of the RGB-D sensor; 'auto' = estimated from the images.
        calibration: file of `dfd calibrate`; None = camera_info and TF of the recordings.
        phone: a phone's recording, of the same scene as the single bag.
        image_format: of the samples' images, jpg or png.
    """

    out: Path
    topics: Topics = Topics()
    settings: ConvertSettings = ConvertSettings()
    clock_offset: float | str = 0.0
    calibration: Path | None = None
    phone: Path | None = None
    image_format: str = 'jpg'

    def described(self, recording: Path) -> dict:
        """All that the samples of a recording depend on: contents, not paths. Raises InputError, OSError."""
        # A calibration is measured again into the same file; recordings of two days may have the same name.
        calibration = hashlib.sha256(self.calibration.read_bytes()).hexdigest() if self.calibration else None
        return {
            'recording': fingerprint(recording),
            'topics': asdict(self.topics),
            'settings': asdict(self.settings),
            'clock_offset': self.clock_offset,
            'calibration': calibration,
            'phone': str(self.phone) if self.phone else None,
            'image_format': self.image_format,
        }


@dataclass(frozen=True)
class Result:
    """The result for one recording."""

    recording: Path
    summary: str = ''
    error: str = ''
    skipped: bool = False
    """It was already converted."""


def clock_offset_of(text: str) -> float | str:
    """Parses a clock offset: seconds, or 'auto'. Raises InputError."""
    if text == AUTO:
        return AUTO
    try:
        seconds = float(text)
    except ValueError:
        seconds = math.nan
    if not math.isfinite(seconds):
        raise InputError(f'clock offset {text}: must be seconds or auto')
    return seconds


def find_recordings(paths: list[Path]) -> list[Path]:
    """The bags among the paths, and those inside the other folders. Raises InputError."""
    found: list[Path] = []
    for path in paths:
        if not path.exists():
            raise InputError(f'{path}: no such bag')
        if path.is_dir() and not _is_bag(path):
            inside = sorted(folder for folder in path.rglob('*') if folder.is_dir() and _is_bag(folder))
            if not inside:
                raise InputError(f'{path}: no bag in it (.mcap or .db3)')
            found += inside
        else:
            found.append(path)
    names: dict[str, Path] = {}
    for path in found:
        other = names.setdefault(name_of(path), path)
        if other.resolve() != path.resolve():
            raise InputError(f'{path} and {other} have the same name, and so would their shards; rename one')
    return list(dict.fromkeys(found))


def _is_bag(folder: Path) -> bool:
    return (folder / 'metadata.yaml').exists() or any(file.name.endswith(SUFFIXES) for file in folder.iterdir())


def name_of(recording: Path) -> str:
    """The name of a recording's shards."""
    name = recording.resolve().name
    return name.partition('.')[0] if recording.is_file() else name.replace('.', '_')


def convert_all(
    recordings: list[Path],
    job: Job,
    *,
    workers: int = 1,
    progress: Callable[[int, int], None] = lambda images, more: None,
) -> list[Result]:
    """Converts each recording. A failed one is in the results and leaves no files behind.

    progress: called with the number of images converted, and of images found, since the last call. An exception from
        it stops the work; the next call resumes it.
    """
    job.out.mkdir(parents=True, exist_ok=True)
    if workers <= 1 or len(recordings) <= 1:
        return [convert_one(recording, job, progress) for recording in recordings]
    context = get_context('spawn')
    queue = context.Queue()
    with ProcessPoolExecutor(min(workers, len(recordings)), context, _start, (queue,)) as pool:
        futures = [pool.submit(_work, recording, job) for recording in recordings]
        try:
            while not all(future.done() for future in futures):
                progress(0, 0)
                while not queue.empty():
                    progress(*queue.get())
                time.sleep(0.05)
        except BaseException:
            for worker in active_children():
                worker.terminate()
            raise
        while not queue.empty():
            progress(*queue.get())
        return [future.result() for future in futures]


_queue: Queue[tuple[int, int]] | None = None


def _start(queue: Queue[tuple[int, int]]) -> None:
    global _queue
    _queue = queue
    try:
        import cv2

        cv2.setNumThreads(1)  # the workers share the cores
    except ImportError:
        pass


def _work(recording: Path, job: Job) -> Result:
    queue = _queue
    assert queue is not None, 'the worker was not started by _start'
    return convert_one(recording, job, lambda images, more: queue.put((images, more)))


def convert_one(recording: Path, job: Job, progress: Callable[[int, int], None]) -> Result:
    """Converts one recording: writes all its shards and its report, or nothing."""
    name = name_of(recording)
    report, partial = job.out / f'{name}.json', job.out / f'.{name}.partial'
    try:
        described = job.described(recording)
        if report.exists():
            before = json.loads(report.read_text())
            other = [key for key, value in described.items() if before['job'].get(key) != value]
            if 'recording' in other:
                raise InputError(
                    f'{recording}: {report} is of another recording of that name, or of this one before '
                    f'it changed ({before["recording"]}); rename this one, or give another --out'
                )
            if other:
                raise InputError(
                    f'{report}: converted before, with other settings ({", ".join(other)}); give another '
                    '--out, or remove it'
                )
            return Result(recording, before['summary'], skipped=True)
        summary, details = _convert(recording, job, described, partial, progress)
        write_json(report, {'recording': str(recording.resolve()), 'summary': summary, **details, 'job': described})
        return Result(recording, summary)
    except InputError as error:
        return Result(recording, error=str(error))
    except OSError as error:
        return Result(recording, error=f'{recording}: {error.filename or job.out}: {error.strerror or error}')


def _convert(
    recording: Path, job: Job, described: dict, partial: Path, progress: Callable[[int, int], None]
) -> tuple[str, dict]:
    opened = _open(recording, job)
    progress(0, opened.images)
    calibration = Calibration.read(job.calibration) if job.calibration else Calibration()
    converter = Converter(job.settings, calibration, opened.frames, str(recording))
    if partial.exists():
        os.close(locked(partial))  # do not remove the files of another process that is at work
    try:
        _write(recording, converter, opened.events, job, described, partial, progress)
    except (InputError, OSError):
        shutil.rmtree(partial, ignore_errors=True)
        raise
    counts = converter.counts
    summary = '; '.join([str(counts), *opened.notes])
    return summary, {
        'clock_offset': opened.clock_offset,
        'images': counts.images,
        'frames': counts.frames,
        'samples': counts.samples,
        'left_out': dict(counts.left_out),
    }


def _write(
    recording: Path,
    converter: Converter,
    events: Iterable[Event],
    job: Job,
    described: dict,
    partial: Path,
    progress: Callable[[int, int], None],
) -> None:
    """Writes the shards into `partial`, which may hold samples of an interrupted run, and then moves them."""
    done, reported_at = 0, time.monotonic()
    mark = partial / 'job.json'
    if partial.exists() and (not mark.exists() or json.loads(mark.read_text()) != described):
        shutil.rmtree(partial)
    partial.mkdir(parents=True, exist_ok=True)
    mark.write_text(json.dumps(described))
    name = name_of(recording)
    with ShardWriter(partial, name, SAMPLES_PER_SHARD, job.image_format) as writer:
        known = writer.done
        for number, sample in converter.samples(events, lambda number: f'{name}-{number:06d}' in known):
            if sample is not None:
                writer.add(f'{name}-{number:06d}', sample)
            if time.monotonic() - reported_at > PROGRESS_EVERY:
                progress(converter.counts.images - done, 0)
                done, reported_at = converter.counts.images, time.monotonic()
    mark.unlink()
    progress(converter.counts.images - done, 0)
    if not converter.counts.samples:
        raise InputError(f'{recording}: {nothing(converter.counts)}')
    for shard in sorted(partial.glob('*.tar')):
        os.replace(shard, job.out / shard.name)
    shutil.rmtree(partial)


def _open(recording: Path, job: Job) -> Recording:
    bag, frames = Bag(recording), Frames()
    if job.phone is not None:
        from dfd_ros.bags import phone_recording

        return phone_recording.open_with(bag, job.phone, job.topics, job.clock_offset)
    topics = job.topics.of(bag)
    offset = clock_offset(bag, topics) if job.clock_offset == AUTO else float(job.clock_offset)
    return Recording(
        events(bag, topics, frames, offset=offset), frames, bag.cuts, offset, images=bag.counts[topics.image]
    )


def nothing(counts: Counts) -> str:
    """Why a recording gives no sample, and what to do, in one line."""
    if not counts.images:
        return 'no images in it'
    reason, count = counts.left_out.most_common(1)[0] if counts.left_out else ('', 0)
    hint = {
        'with no depth at that time': f'their stamps are {counts.gap:.3g} s apart; '
        'give --clock-offset auto, or a larger --tolerance'
        if counts.gap == counts.gap
        else 'there is none',
        'with no lens state': 'lens states carry the stamps of their images; was the lens state recorded?',
        'with a moving lens': 'the lens was never at rest; let it settle, or give --keep-moving',
        'with too little valid depth': 'do the two cameras see the same, and are the extrinsics right?',
        'with bad exposure': 'the images are black or white; correct the exposure',
        'in sweeps that are too short': 'was the focus sweeping? for shuffled orders give --frames',
    }.get(reason, '')
    return f'no sample in {counts.images} images, {count} {reason}' + (f': {hint}' if hint else '')
