"""`dfd index`: the index by which the samples of a folder are read from a server."""

from __future__ import annotations

import argparse
from pathlib import Path

HELP = 'write the index of a folder of samples, to train on them from a web server or object store'
EXAMPLE = 'dfd index data/kitchen'


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument('folder', type=Path, metavar='FOLDER', help='with shards in it or below it')


def run(args: argparse.Namespace) -> int:
    from tqdm import tqdm

    from dfd_ros.core.errors import InputError
    from dfd_ros.datasets.sample_index import write_index
    from dfd_ros.datasets.shards import shards

    if args.folder.is_file():
        raise InputError(f'{args.folder}: is a file, give the folder of the set')
    found = shards(args.folder)
    print(f'index    {write_index(args.folder, tqdm(found, unit="shard", leave=False))}, of {len(found)} shards')
    return 0
