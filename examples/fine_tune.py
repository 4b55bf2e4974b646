"""Fine-tunes the included weights on focal stacks of your own that have true depth.

    dfd render --preset field --stacks 20 --out data/stacks      # to try it; yours: folders with stack.yaml, depth.npy
    python examples/fine_tune.py data/stacks --steps 200

Writes runs/NAME/best.safetensors: the weights that are best on the stacks that were held out. docs/training.md has all
settings; `dfd train config/training/fine_tune.yaml --data DIR` does the same from samples in shards.
"""

import argparse
from pathlib import Path

from dfd_ros.core.focal_stack import FocalStack, stacks_with_depth
from dfd_ros.core.sample import Sample
from dfd_ros.datasets.shards import ShardWriter
from dfd_ros.training.config import load_config
from dfd_ros.training.loop import train

CONFIG = Path(__file__).parents[1] / 'config' / 'training' / 'fine_tune.yaml'


def main() -> None:
    parser = argparse.ArgumentParser(description='Fine-tune the included weights on focal stacks with true depth.')
    parser.add_argument('stacks', type=Path, help='folder of focal stacks, each with depth.npy')
    parser.add_argument('--steps', type=int, default=200)
    parser.add_argument('--weights', default='default', help='weights to start from (default: the ones included)')
    parser.add_argument('--out', type=Path, default=Path('runs/my_rig'), help='folder of the run')
    args = parser.parse_args()

    # Training reads samples in shards: tar files, which are fast to read in any order.
    shards = args.out / 'samples'
    folders = stacks_with_depth(args.stacks)
    with ShardWriter(shards, 'stacks') as writer:
        for folder in folders:
            key = folder.name.replace('.', '_')
            if key not in writer.done:
                writer.add(key, Sample.from_focal_stack(FocalStack.read(folder)))
    print(f'{len(folders)} stacks')

    config = load_config(CONFIG, shards=str(shards), steps=args.steps, initial_weights=args.weights)
    trained = train(config, args.out)
    print(f'weights: {trained.best}; try them: dfd estimate STACK --weights {trained.best} --out DIR')


if __name__ == '__main__':
    main()
