"""Data sets rendered by Blender: worker processes, shards, and data cards."""
