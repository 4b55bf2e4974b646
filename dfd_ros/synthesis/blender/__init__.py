"""Focal stacks rendered by Blender's path tracer Cycles, with exact ground truth.

Blender is a Python module (`bpy`), has one scene per process, and may crash. `dfd_ros.datasets.rendering` therefore
starts worker processes and writes the shards. Only workers import bpy; they need NumPy and Pillow too, but not torch.
"""
