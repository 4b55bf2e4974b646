"""Converts many recordings into shards, in parallel. Each is converted completely or not at all; work that was
interrupted is resumed."""

from __future__ import annotations

import contextlib
import hashlib
import math
import os
import re
import shutil
import stat
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from dataclasses import asdict, dataclass, replace
from multiprocessing import active_children, get_context
from multiprocessing.queues import Queue
from os import replace as move
from pathlib import Path

from dfd_ros.bags.association import REPEATED, SEVERAL_CAMERAS, Counts
from dfd_ros.bags.bag_files import is_bag, recordings_in, stem_of
from dfd_ros.bags.bag_reader import Bag, add_to_fingerprint, fingerprint
from dfd_ros.bags.convert_recording import Converter, ConvertSettings
from dfd_ros.bags.frame_tree import Frames
from dfd_ros.bags.phone_recording import fingerprint as phone_fingerprint
from dfd_ros.bags.phone_recording import open_with
from dfd_ros.bags.recording_events import NO_STAMP, Recording, Topics, clock_offset, events, frame_of, image_bits
from dfd_ros.bags.recordings_card import write_card
from dfd_ros.calibration.calibration_file import Calibration
from dfd_ros.calibration.calibration_import import DEPTH, CalibrationSource, ImportedRig, read_rig
from dfd_ros.core import provenance
from dfd_ros.core.errors import InputError, describe, reason, shortened
from dfd_ros.core.files import Taken, first_difference, locked, output_folder, read_json, write_json
from dfd_ros.core.significant_bits import scaling
from dfd_ros.datasets.shards import ShardWriter

SAMPLES_PER_SHARD = 50
PROGRESS_EVERY = 0.2  # s
AUTO = 'auto'


@dataclass(frozen=True)
class Job:
    """How to convert recordings, and where to.

    Attributes:
        out: folder for the shards, NAME-000000.tar, a report on each recording, NAME.json, and their card, README.md.
        topics: their names.
        settings: of the samples.
        clock_offset: s to add to the stamps of the RGB-D sensor; 'auto' = estimated from the images.
        calibrations: files; none = camera_info and TF of the recordings.
        phone: a phone's recording, of the same scene as the single bag.
        image_format: of the samples' images, jpg or png.
    """

    out: Path
    topics: Topics = Topics()
    settings: ConvertSettings = ConvertSettings()
    clock_offset: float | str = 0.0
    calibrations: tuple[CalibrationSource, ...] = ()
    phone: Path | None = None
    image_format: str = 'jpg'

    def described(self, recording: Path) -> dict:
        """All that the samples of a recording depend on: contents, not paths. Raises InputError, OSError."""
        # A calibration is measured again into the same file; recordings of two days may have the same name.
        calibration, settings = hashlib.sha256(), asdict(self.settings)
        if not settings['image_bits']:  # which older reports lack
            del settings['image_bits']
        for source in self.calibrations:
            if source.camera or source.name:
                calibration.update(f'{source.camera}={source.name}'.encode())
            add_to_fingerprint(calibration, source.path)
        return {
            'recording': fingerprint(recording),
            'topics': asdict(self.topics),
            'settings': settings,
            'clock_offset': self.clock_offset,
            'calibration': calibration.hexdigest() if self.calibrations else None,
            'phone': phone_fingerprint(self.phone) if self.phone else None,
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
    is_taken: bool = False
    """Another process was converting it."""


def clock_offset_of(text: str) -> float | str:
    """Parses a clock offset: seconds, or 'auto'. Raises InputError."""
    if text == AUTO:
        return AUTO
    try:
        seconds = float(text)
    except ValueError:
        seconds = math.nan
    if not math.isfinite(seconds):
        raise InputError(f'clock offset {shortened(text)}: must be seconds or auto')
    return seconds


def find_recordings(paths: list[Path]) -> list[Path]:
    """The bags among the paths, and those inside the other folders. Raises InputError."""
    found: list[Path] = []
    for path in paths:
        if not path.exists():
            raise InputError(f'{path}: no such bag')
        if not path.is_dir():
            found.append(path)
            continue
        folders = [path] if is_bag(path) else sorted(f for f in path.rglob('*') if f.is_dir() and is_bag(f))
        if not folders:
            raise InputError(f'{path}: no bag in it (.mcap or .db3)')
        for folder in folders:
            found += recordings_in(folder)
    names: dict[str, Path] = {}
    for path in found:
        other = names.setdefault(name_of(path), path)
        if other.resolve() != path.resolve():
            raise InputError(f'{path} and {other} have the same name, and so would their shards; rename one')
    return list(dict.fromkeys(found))


def name_of(recording: Path) -> str:
    """The name of a recording's shards."""
    path = recording.resolve()
    return (path.name if path.is_dir() else stem_of(path)).replace('.', '_')


def convert_all(
    recordings: list[Path],
    job: Job,
    *,
    workers: int = 1,
    progress: Callable[[int, int], None] = lambda images, more: None,
) -> list[Result]:
    """Converts each recording. A failed one is in the results and leaves no files behind.

    One that another process is converting is left to it; in the end this one waits for it, and takes over if it fails.

    progress: called with the number of images converted, and of images found, since the last call. An exception from
        it stops the work; the next call resumes it.
    """
    output_folder(job.out)
    results = _convert_each(recordings, job, workers, progress, wait=False)
    taken = [result.recording for result in results if result.is_taken]
    again = iter(_convert_each(taken, job, workers, progress, wait=True))
    write_card(job.out)
    return [next(again) if result.is_taken else result for result in results]


def _convert_each(
    recordings: list[Path], job: Job, workers: int, progress: Callable[[int, int], None], *, wait: bool
) -> list[Result]:
    if workers <= 1 or len(recordings) <= 1:
        return [convert_one(recording, job, progress, wait=wait) for recording in recordings]
    return _convert_in_processes(recordings, job, min(workers, len(recordings)), progress, wait=wait)


def _convert_in_processes(
    recordings: list[Path], job: Job, workers: int, progress: Callable[[int, int], None], *, wait: bool
) -> list[Result]:
    context = get_context('spawn')
    queue, others = context.Queue(), active_children()
    with ProcessPoolExecutor(workers, context, _start, (queue,)) as pool:
        futures = [pool.submit(_work, recording, job, wait) for recording in recordings]
        try:
            while not all(future.done() for future in futures):
                progress(0, 0)
                while not queue.empty():
                    progress(*queue.get())
                time.sleep(0.05)
        except BaseException:
            for worker in active_children():
                if worker not in others:
                    worker.terminate()
            raise
        while not queue.empty():
            progress(*queue.get())
    results = []
    for recording, future in zip(recordings, futures):
        try:
            results.append(future.result())
        except BrokenProcessPool:
            # One process has died, and all that had not been converted then went with it: each gets its own.
            if len(recordings) > 1:
                results += _convert_in_processes([recording], job, 1, progress, wait=wait)
            else:
                results.append(
                    Result(recording, error=f'{recording}: its process was killed, perhaps for want of memory')
                )
    return results


_queue: Queue[tuple[int, int]] | None = None


def _start(queue: Queue[tuple[int, int]]) -> None:
    global _queue
    _queue = queue
    try:
        import cv2

        cv2.setNumThreads(1)  # the workers share the cores
    except ImportError:
        pass


def _work(recording: Path, job: Job, wait: bool) -> Result:
    queue = _queue
    assert queue is not None, 'the worker was not started by _start'
    return convert_one(recording, job, lambda images, more: queue.put((images, more)), wait=wait)


def convert_one(recording: Path, job: Job, progress: Callable[[int, int], None], *, wait: bool = True) -> Result:
    """Converts one recording: writes all its shards and its report, or nothing.

    wait: for another process that is converting it.
    """
    output = _Output(job.out, name_of(recording))
    try:
        described = job.described(recording)
        summary = output.converted(recording, described)
        if summary is not None:
            return Result(recording, summary, skipped=True)
        with output.locked(wait):
            # Another process may have converted it while this one waited.
            summary = output.converted(recording, described)
            if summary is not None:
                return Result(recording, summary, skipped=True)
            output.begin(described)
            try:
                if output.complete is None:
                    report = _convert(recording, job, described, output, progress)
                    output.finish(
                        {
                            'recording': str(recording.resolve()),
                            **report,
                            'job': described,
                            provenance.KEY: provenance.made_by(),
                        }
                    )
            except (InputError, OSError):
                output.remove()
                raise
            return Result(recording, output.publish())
    except Taken as error:
        return Result(recording, error=str(error), is_taken=True)
    except InputError as error:
        return Result(recording, error=str(error))
    except OSError as error:
        return Result(recording, error=f'{recording}: {error.filename or job.out}: {reason(error)}')
    except Exception as error:  # one recording must not cost the others
        return Result(recording, error=f'{recording}: cannot be converted: {describe(error)}')


class _Output:
    """The files of one recording in the folder of shards: NAME-000000.tar, ... and NAME.json, its report.

    They are made in a hidden folder, .NAME.partial, which holds what they are made of (job.json), the shards, and at
    the end the report; from then on they are published, and a process that is killed meanwhile is continued.
    """

    def __init__(self, out: Path, name: str) -> None:
        self.out, self.name = out, name
        self.report, self.partial = out / f'{name}.json', out / f'.{name}.partial'
        self.shards = self.partial / 'shards'
        self._job, self._ready = self.partial / 'job.json', self.partial / 'report.json'
        self._shard_name = re.compile(rf'{re.escape(name)}-\d{{6,}}\.tar')

    @property
    def complete(self) -> dict | None:
        """The report, if all shards are made."""
        return _read_report(self._ready) if self._ready.exists() else None

    def converted(self, recording: Path, described: dict) -> str | None:
        """The summary, if the recording was converted in just this way. Raises InputError if it was in another."""
        if not os.path.lexists(self.report):
            return None
        before = _read_report(self.report)
        job, source, summary = before.get('job'), before.get('recording'), before.get('summary')
        if not isinstance(job, dict) or not isinstance(summary, str):
            raise InputError(f'{self.report}: not a report of dfd convert; remove it, or give another --out')
        other = [key for key, value in described.items() if job.get(key) != value]
        if 'recording' in other:
            raise InputError(
                f'{recording}: {self.report} is of another recording of that name, or of this one before '
                f'it changed ({shortened(source)}); rename this one, or give another --out'
            )
        if other:
            raise InputError(
                f'{self.report}: converted before, with other settings '
                f'({", ".join(_difference(key, job.get(key), described[key]) for key in other)}); give another '
                f'--out, or remove it together with its shards, {self.name}-*.tar'
            )
        return summary

    @contextlib.contextmanager
    def locked(self, wait: bool) -> Iterator[None]:
        """Keeps other processes out. Raises `Taken` if one is at work and this one does not `wait`, and InputError if
        the place is taken."""
        while True:
            # The process that has the lock removes the folder at its end.
            with contextlib.suppress(FileNotFoundError):
                if not stat.S_ISDIR(os.lstat(self.partial).st_mode):
                    raise InputError(f'{self.partial}: is in the way; remove it, or give another --out')
            try:
                self.partial.mkdir(exist_ok=True)
                handle = locked(self.partial, wait=wait)
            except (FileNotFoundError, FileExistsError):
                if not self.out.is_dir():
                    raise
                continue
            if _is_at(handle, self.partial):
                break
            os.close(handle)
        try:
            self._check_partial()
            yield
        finally:
            # An empty folder says nothing: the work was not begun, or it is done.
            with contextlib.suppress(OSError):
                self.partial.rmdir()
            os.close(handle)

    def _check_partial(self) -> None:
        """Raises InputError if the hidden folder holds anything that this program has not written."""
        parts = f'.{self.name}.parts'
        shard = re.compile(rf'\.?{re.escape(self.name[:90])}.*\.tar')  # names of temporary files are cut
        for path in self.partial.rglob('*'):
            inside = path.relative_to(self.partial).parts
            is_own = (
                inside in {('job.json',), ('report.json',), ('shards',), ('shards', parts)}
                or (len(inside) == 1 and re.fullmatch(r'\.(job|report)\..*part\.json', inside[0]))
                or (inside[:-1] in {('shards',), ('shards', parts)} and shard.fullmatch(inside[-1]))
            )
            if not is_own or path.is_symlink():
                raise InputError(f'{path}: was not written by dfd convert; move it away, or give another --out')

    def begin(self, described: dict) -> None:
        """Takes up the work of an earlier process for the same job, and removes that for another one."""
        before = _read_if_valid(self._job)
        if before != described:
            self.remove(published=True)
        if self.complete is None:
            foreign = [path for path in self._published() if path.name not in self._own_shards()]
            if foreign:
                raise InputError(
                    f'{foreign[0]}: is there without its report, {self.report.name}; remove {self.name}-*.tar, or '
                    'give another --out'
                )
        self.partial.mkdir(parents=True, exist_ok=True)
        write_json(self._job, described, flush=False)  # an unreadable one costs no more than the work so far

    def _published(self) -> list[Path]:
        return sorted(path for path in self.out.iterdir() if self._shard_name.fullmatch(path.name))

    def _own_shards(self) -> list[str]:
        """Names of the shards that an earlier process has made, which it may have published."""
        report = _read_if_valid(self._ready) or {}
        return [str(name) for name in report.get('shards', ())]

    def remove(self, *, published: bool = False) -> None:
        """Removes what is in the hidden folder, and what was published from it without its report."""
        if published:
            for name in self._own_shards():
                if self._shard_name.fullmatch(name):
                    (self.out / name).unlink(missing_ok=True)
        for path in (self.shards, self._ready, self._job):
            if path.is_dir():
                shutil.rmtree(path)
            else:
                path.unlink(missing_ok=True)

    def finish(self, report: dict) -> None:
        """All shards are made. From here on, the work can only be published."""
        write_json(self._ready, {**report, 'shards': sorted(path.name for path in self.shards.glob('*.tar'))})

    def publish(self) -> str:
        """Moves the shards, then the report, to their places. Returns the summary."""
        report = self.complete or {}
        for name in self._own_shards():
            if (self.shards / name).exists():
                move(self.shards / name, self.out / name)
        shutil.rmtree(self.shards, ignore_errors=True)
        move(self._ready, self.report)
        self._job.unlink(missing_ok=True)
        return str(report.get('summary', ''))


def _is_at(handle: int, path: Path) -> bool:
    try:
        return os.path.samestat(os.fstat(handle), path.stat())
    except FileNotFoundError:
        return False


def _difference(key: str, there: object, now: object) -> str:
    """One setting of two jobs, with its values where these say more than that the contents differ."""
    found = (key, there, now)
    if isinstance(there, dict) and isinstance(now, dict):
        found = first_difference(there, now, f'{key}.') or found
    is_hash = key in ('calibration', 'phone') and there and now
    return key if is_hash else f'{found[0]}: {shortened(found[1], 60)}, not {shortened(found[2], 60)}'


def _read_report(path: Path) -> dict:
    """Raises InputError, one line that names the file."""
    try:
        value = read_json(path)
    except InputError as error:
        raise InputError(f'{error}; remove it, or give another --out') from None
    if not isinstance(value, dict):
        raise InputError(f'{path}: not a report of dfd convert; remove it, or give another --out')
    return value


def _read_if_valid(path: Path) -> dict | None:
    try:
        return _read_report(path)
    except InputError:
        return None


def _convert(recording: Path, job: Job, described: dict, output: _Output, progress: Callable[[int, int], None]) -> dict:
    """Makes the shards, of which some may be there already. described: by `Job.described`. Returns the report."""
    bag = Bag(recording)
    opened, topics = _open(bag, job)
    progress(0, opened.images)
    rig = read_rig(job.calibrations, topics.image)
    converter = Converter(
        job.settings,
        _with_frame(rig, bag, topics),
        opened.frames,
        str(recording),
        depth_camera=rig.depth_rectified if topics.depth_is_rectified else rig.depth,
        depth_is_rectified=topics.depth_is_rectified,
    )
    counts = converter.counts
    done, reported_at = 0, time.monotonic()
    # On a busy disk, flushing a sample takes as long as making it.
    writer = ShardWriter(output.shards, output.name, SAMPLES_PER_SHARD, job.image_format, flush=False)
    try:
        known = writer.done
        for number, sample in converter.samples(opened.events, lambda number: f'{output.name}-{number:06d}' in known):
            if sample is not None:
                sample.about |= {'job': described}
                writer.add(f'{output.name}-{number:06d}', sample)
            if time.monotonic() - reported_at > PROGRESS_EVERY:
                progress(counts.images - done, 0)
                done, reported_at = counts.images, time.monotonic()
    except BaseException:
        writer.release()  # the next process packs the same samples into the same shards
        raise
    writer.close()
    progress(counts.images - done, 0)
    if not counts.samples:
        reason = max(counts.left_out, key=lambda reason: counts.left_out[reason], default='')
        line = converter.lines.get(reason) or f'{recording}: {nothing(counts)}'
        raise InputError('; '.join(dict.fromkeys([line, *converter.notes(), *opened.notes()])))
    return {
        'summary': '; '.join([str(counts), *converter.notes(), *opened.notes()]),
        'clock_offset': opened.clock_offset,
        'images': counts.images,
        'frames': counts.frames,
        'samples': counts.samples,
        'left_out': dict(counts.left_out),
    }


def _with_frame(rig: ImportedRig, bag: Bag, topics: Topics) -> Calibration:
    """The calibration, its extrinsics to the frame of the images that they were measured with."""
    extrinsics = rig.calibration.extrinsics
    if extrinsics is None or extrinsics.child or rig.child == DEPTH:
        return rig.calibration
    child = frame_of(bag, topics.color)
    if not child:
        raise InputError(
            f"{bag.path}: no images on {topics.color}, so that the frame of the RGB-D sensor's colour camera is not "
            f'known; give --color-topic, or {DEPTH}=FILE:NAME if the depth images are in the view of that camera'
        )
    return replace(rig.calibration, extrinsics=replace(extrinsics, child=child))


def _open(bag: Bag, job: Job) -> tuple[Recording, Topics]:
    """The recording and the names of its topics."""
    frames = Frames()
    if job.phone is not None:
        topics = job.topics.of(bag, with_images=False)
        return open_with(bag, job.phone, topics, job.clock_offset, job.settings.image_bits), topics
    topics = job.topics.of(bag)
    offset = clock_offset(bag, topics) if job.clock_offset == AUTO else float(job.clock_offset)
    bits = job.settings.image_bits or image_bits(bag, topics.image)
    lines = [line] if (line := scaling(topics.image, bits)) and not job.settings.image_bits else []
    recording = Recording(
        events(bag, topics, frames, offset=offset, bits=bits),
        frames,
        lambda: lines + bag.notes(),
        offset,
        images=bag.counts[topics.image],
    )
    return recording, topics


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
        NO_STAMP: 'the camera driver does not set the stamps of its images; without them nothing can be matched',
        REPEATED: 'the stamps stand still, or the images were recorded twice',
        SEVERAL_CAMERAS: 'the frame_id of the images is in none of the lens states',
        'with no lens state': 'lens states carry the stamps of their images; was the lens state recorded?',
        'with a moving lens': 'the lens was never at rest; let it settle, or give --keep-moving',
        'with too little valid depth': 'do the two cameras see the same, and are the extrinsics right?',
        'with bad exposure': 'the images are black or white; correct the exposure',
        'in sweeps that are too short': 'was the focus sweeping? for shuffled orders give --frames',
    }.get(reason, '')
    return f'no samples from {counts.images} images, {count} {reason}' + (f': {hint}' if hint else '')
