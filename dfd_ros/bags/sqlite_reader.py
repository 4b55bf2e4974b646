"""Reads SQLite files of rosbag2, also damaged ones."""

from __future__ import annotations

import sqlite3
from array import array
from collections import Counter
from collections.abc import Collection, Iterator
from pathlib import Path

from dfd_ros.bags.bag_storage import Channel, Damage, StoredMessage
from dfd_ros.bags.decompression import MAX_SIZE


class SqliteReader:
    """A `Storage` of a .db3 file."""

    def __init__(self, file: Path, path: Path) -> None:
        """`file`: name for messages. `path`: where to read it. Raises ValueError if nothing of it can be read."""
        self.file = file
        self.channels: dict[int, Channel] = {}
        self.counts: Counter[int] = Counter()
        self.start = 0
        self._damage = Damage(file)
        if not path.stat().st_size:
            raise ValueError('the file is empty')
        # Read-only, without locks and journals: nothing is written beside the file.
        self._database = sqlite3.connect(f'{path.absolute().as_uri()}?mode=ro&immutable=1', uri=True)
        self._database.text_factory = lambda data: data.decode(errors='replace')
        try:
            self._database.execute('PRAGMA trusted_schema=OFF')
            self._read_topics()
        except sqlite3.DatabaseError as error:
            raise ValueError(str(error)) from None
        if any(path.with_name(path.name + end).exists() for end in ('-wal', '-journal')):
            self._damage.add(
                'journal',
                'its recorder did not close it; open it once with sqlite3, which merges the journal beside it',
            )
        try:
            self.counts.update(
                dict(self._database.execute('SELECT topic_id, count(*) FROM messages GROUP BY topic_id'))
            )
            (first,) = self._database.execute('SELECT min(timestamp) FROM messages').fetchone()
            self.start = first or 0
        except sqlite3.DatabaseError:
            for key, _ in self._keys():
                self.counts.update(topic for (topic,) in self._select('topic_id', key))

    @property
    def cuts(self) -> list[str]:
        return self._damage.lines

    def _read_topics(self) -> None:
        tables = {name for (name,) in self._database.execute("SELECT name FROM sqlite_master WHERE type='table'")}
        if not {'topics', 'messages'} <= tables:
            raise ValueError('it has no tables topics and messages; not a bag')
        definitions: dict[str, tuple[str, str]] = {}
        if 'message_definitions' in tables:
            for kind, encoding, text in self._database.execute(
                'SELECT topic_type, encoding, encoded_message_definition FROM message_definitions'
            ):
                definitions[kind] = str(encoding), str(text)
        for key, topic, kind, serialisation in self._database.execute(
            'SELECT id, name, type, serialization_format FROM topics'
        ):
            self.channels[key] = Channel(topic, kind, serialisation, *definitions.get(kind, ('', '')))

    def _keys(self) -> Iterator[tuple[int, int]]:
        """(key, time) of the messages, in order of time."""
        keys, times, seen = array('q'), array('q'), set()
        # Both columns are in the index, which may be readable where the messages are not, and the other way round.
        for query in ('messages ORDER BY timestamp', 'messages NOT INDEXED'):
            try:
                for key, time in self._database.execute(f'SELECT id, timestamp FROM {query}'):
                    if key not in seen:
                        keys.append(key)
                        times.append(time)
                        seen.add(key)
                break
            except (sqlite3.DatabaseError, TypeError, OverflowError) as error:
                self._damage.add('keys', str(error))
        return zip(keys, times)

    def _select(self, columns: str, key: int) -> list[tuple]:
        try:
            rows = self._database.execute(
                f'SELECT {columns} FROM messages WHERE id = ? AND length(data) <= {MAX_SIZE}', (key,)
            ).fetchall()
        except sqlite3.DatabaseError as error:
            self._damage.add(key, f'message {key}: {error}')
            return []
        if not rows:
            self._damage.add(key, f'message {key} has more than {MAX_SIZE >> 20} MiB')
        return rows

    def messages(self, channels: Collection[int], *, by_index: bool = False) -> Iterator[StoredMessage]:
        wanted = ', '.join(str(int(channel)) for channel in channels)
        columns = f'topic_id, CASE WHEN topic_id IN ({wanted}) THEN data END'
        for key, time in self._keys():
            for channel, data in self._select(columns, key):
                if isinstance(data, bytes):
                    yield StoredMessage(channel, time, data, key)

    def read(self, place: int) -> bytes:
        for (data,) in self._select('data', place):
            return data
        raise ValueError(f'message {place} cannot be read')
