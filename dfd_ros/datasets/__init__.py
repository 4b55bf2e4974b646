"""Stacks with truth on disk: shards of samples, the cache of procedural stacks, data sets that Blender renders."""
