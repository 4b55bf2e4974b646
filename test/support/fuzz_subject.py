"""What is given odd input: the base of all kinds."""

import shutil
from pathlib import Path
from random import Random

from mutations import mutate_folder


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


class Collection(Files):
    """As `Files`, of which one file or folder is given at a time."""

    def one(self, rng: Random) -> None:
        source = rng.choice(sorted((self.folder / 'sound').iterdir()))
        shutil.rmtree(self.given, ignore_errors=True)
        mutate_folder(source, self.given / source.name, self.outside, rng)
        self.read(self.given)
