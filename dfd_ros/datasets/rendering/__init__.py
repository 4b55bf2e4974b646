"""Rendered data sets: procedural, by Blender, and views of worlds; worker processes, shards, and data cards."""
