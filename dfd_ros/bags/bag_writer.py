"""Writes a rosbag2 folder of MCAP files, split by size and time, that is complete after every flush."""

from __future__ import annotations

import os
import shutil
import time
from collections import Counter
from dataclasses import dataclass
from pathlib import Path

import yaml

from dfd_ros.bags.mcap_file import Flushed, McapFile
from dfd_ros.bags.message_types import typestore
from dfd_ros.core import provenance
from dfd_ros.core.files import write_text

CHUNK = 8 << 20  # bytes after which a chunk is written before the next regular flush
LATCHED_QOS = """\
- history: 1
  depth: 1
  reliability: 1
  durability: 1
  deadline: {sec: 9223372036, nsec: 854775807}
  lifespan: {sec: 9223372036, nsec: 854775807}
  liveliness: 1
  liveliness_lease_duration: {sec: 9223372036, nsec: 854775807}
  avoid_ros_namespace_conventions: false"""


@dataclass(frozen=True)
class Topic:
    """A topic of a bag."""

    name: str
    type: str
    """Such as ``sensor_msgs/msg/Image``."""
    latched: bool = False
    """Late subscribers get the last message too (transient local), as on /tf_static."""


class Latched:
    """The messages of a latched topic that late subscribers need: on /tf_static the last one for each frame, on other
    topics the last one.
    """

    def __init__(self, topic: Topic) -> None:
        self._store, self._type = typestore(), topic.type
        self._last: dict[str, bytes] = {}

    def add(self, data: bytes) -> None:
        """Adds a serialised message (CDR)."""
        names = ['']
        if self._type == 'tf2_msgs/msg/TFMessage':
            message = self._store.deserialize_cdr(data, self._type)
            names = [transform.child_frame_id for transform in message.transforms]
        for name in names:
            self._last.pop(name, None)  # so that it moves to the end
            self._last[name] = data

    def messages(self) -> list[bytes]:
        """Each once, in the order of arrival."""
        return list(dict.fromkeys(self._last.values()))


class BagWriter:
    """Writes a bag: NAME/NAME_0.mcap, NAME_1.mcap, ... and metadata.yaml, which are complete after each flush.

    Every file of the bag has all topics. Messages of latched topics are repeated at the start of each file, so that
    each file can be used alone.
    """

    def __init__(
        self,
        folder: Path,
        topics: list[Topic],
        *,
        split_size: int = 0,
        split_time: float = 0.0,
        flush_every: float = 0.5,
    ) -> None:
        """
        Args:
            folder: of the bag; it must not exist yet.
            split_size, split_time: bytes and seconds after which a new file is started; 0: never.
            flush_every: s; a kill loses at most the messages of this time.

        Raises:
            OSError: the bag cannot be written.
        """
        self.folder, self.topics = folder, topics
        self._split_size, self._split_time, self._flush_every = split_size, split_time, flush_every
        self._store = typestore()
        self._definitions = {topic.type: self._store.generate_msgdef(topic.type, ros_version=2)[0] for topic in topics}
        self._hashes = {topic.type: self._store.hash_rihs01(topic.type) for topic in topics}
        self._finished: list[tuple[str, Flushed]] = []
        self._latched = {i: Latched(topic) for i, topic in enumerate(topics) if topic.latched}
        folder.mkdir(parents=True)
        try:
            self._file = self._open_file(0)
            self.flushed_at = self._opened_at
            self._write_metadata()
        except OSError:
            shutil.rmtree(folder, ignore_errors=True)  # nothing can be recorded into it
            raise

    @property
    def messages(self) -> int:
        """Messages that are in the files of the bag; others wait for the next flush."""
        return sum(sum(written.counts.values()) for _, written in self._written())

    @property
    def size(self) -> int:
        """Bytes of the messages that are in the files of the bag."""
        return sum(written.bytes for _, written in self._written())

    def _written(self) -> list[tuple[str, Flushed]]:
        """Name and content of each file of the bag."""
        return [*self._finished, (self._file.path.name, self._file.flushed)]

    def _open_file(self, number: int) -> McapFile:
        self._opened_at = time.monotonic()
        file = McapFile(self.folder / f'{self.folder.name}_{number}.mcap')
        for topic in self.topics:
            file.add_channel(
                topic.name,
                topic.type,
                self._definitions[topic.type],
                {
                    'offered_qos_profiles': LATCHED_QOS if topic.latched else '',
                    'topic_type_hash': self._hashes[topic.type],
                },
            )
        return file

    def write(self, topic: int, log_time: int, data: bytes, publish_time: int | None = None) -> None:
        """Adds a serialised message (CDR) of the topic with this index. Times in ns. Raises OSError."""
        if self._is_full():
            self._split(log_time)
        self._append(topic, log_time, log_time if publish_time is None else publish_time, data)
        if topic in self._latched:
            self._latched[topic].add(data)
        if self._file.pending >= CHUNK or time.monotonic() - self.flushed_at > self._flush_every:
            self.flush()

    def _append(self, topic: int, log_time: int, publish_time: int, data: bytes) -> None:
        self._file.write(topic + 1, log_time, publish_time, data)

    def _is_full(self) -> bool:
        return bool(self._file.end) and bool(
            (self._split_size and self._file.size >= self._split_size)
            or (self._split_time and time.monotonic() - self._opened_at >= self._split_time)
        )

    def _split(self, log_time: int) -> None:
        self._file.close()
        # Open the next file first: if that fails, the finished file is still the last one.
        file = self._open_file(len(self._finished) + 1)
        self._finished.append((self._file.path.name, self._file.flushed))
        self._file = file
        for topic, latched in self._latched.items():
            for data in latched.messages():
                self._append(topic, log_time, log_time, data)

    def flush(self) -> None:
        """Writes the pending messages. Raises OSError; what was flushed before stays readable."""
        self.flushed_at = time.monotonic()
        self._file.flush()
        self._write_metadata()

    def close(self) -> None:
        """Writes the pending messages and closes the bag. Raises OSError; what was flushed before stays readable."""
        try:
            self._file.close()
        finally:
            self._write_metadata()

    def _write_metadata(self) -> None:
        """As rosbag2 writes it: version 8, which every distribution since Iron reads."""
        written = self._written()
        files = [
            {
                'path': name,
                'starting_time': {'nanoseconds_since_epoch': part.start},
                'duration': {'nanoseconds': part.end - part.start},
                'message_count': sum(part.counts.values()),
            }
            for name, part in written
        ]
        counts: Counter[int] = Counter()
        for _, part in written:
            counts.update(part.counts)
        start = min((part.start for _, part in written if part.counts), default=0)
        end = max((part.end for _, part in written if part.counts), default=0)
        described = [
            {
                'topic_metadata': {
                    'name': topic.name,
                    'type': topic.type,
                    'serialization_format': 'cdr',
                    'offered_qos_profiles': LATCHED_QOS if topic.latched else '',
                    'type_description_hash': self._hashes[topic.type],
                },
                'message_count': counts[channel],
            }
            for channel, topic in enumerate(self.topics, 1)
        ]
        metadata = {
            'rosbag2_bagfile_information': {
                'version': 8,
                'storage_identifier': 'mcap',
                'duration': {'nanoseconds': end - start},
                'starting_time': {'nanoseconds_since_epoch': start},
                'message_count': counts.total(),
                'topics_with_message_count': described,
                'compression_format': '',
                'compression_mode': '',
                'relative_file_paths': [file['path'] for file in files],
                'files': files,
                'custom_data': {provenance.KEY: provenance.described()},
                'ros_distro': os.environ.get('ROS_DISTRO', ''),
            }
        }
        write_text(self.folder / 'metadata.yaml', yaml.safe_dump(metadata, sort_keys=False))
