"""Data sets rendered by Blender: processes that render, shards, a card that describes them."""
