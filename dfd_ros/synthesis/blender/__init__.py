"""Focal stacks rendered by Blender's path tracer Cycles, with exact ground truth.

Blender is a Python module (`bpy`), one per process, and may crash: so `dfd_ros.datasets.rendering` starts worker
processes and writes the shards. Workers need only bpy, NumPy and Pillow, not torch; only they import bpy.
"""
