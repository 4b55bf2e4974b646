"""Focal stacks with ground truth on disk: shards of samples, cached procedural stacks, rendered data sets."""
