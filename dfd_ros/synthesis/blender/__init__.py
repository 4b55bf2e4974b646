"""Focal stacks rendered by Blender's path tracer Cycles, with perfect truth.

Blender is a Python module (`bpy`) of which a process has one, and which may crash: `worker` is the process that
renders, `dataset` starts as many as asked for and writes the shards. What runs in the worker needs bpy, NumPy and
Pillow alone, no torch; bpy itself is imported only there.
"""
