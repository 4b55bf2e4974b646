"""`dfd index`: the index by which the samples of a folder are read from a server."""

from __future__ import annotations

import argparse
from pathlib import Path

HELP = 'write the index of a folder of samples, to train on them from a web server or object store'
EXAMPLE = 'dfd index data/kitchen'


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument('folder', metavar='FOLDER', help='with shards in it or below it')


def run(args: argparse.Namespace) -> int:
    from tqdm import tqdm

    from dfd_ros.core.errors import InputError
    from dfd_ros.core.remote_files import is_remote
    from dfd_ros.datasets.sample_index import write_index
    from dfd_ros.datasets.shards import shards

    if is_remote(args.folder):
        raise InputError(f'{args.folder}: is a URL, give the folder of the set on this machine, and then upload it')
    folder = Path(args.folder)
    if folder.is_file():
        raise InputError(f'{folder}: is a file, give the folder of the set')
    found = shards(folder)
    print(f'index    {write_index(folder, tqdm(found, unit="shard", leave=False))}, of {len(found)} shards')
    return 0
