"""Focal stacks from what people have: a folder of photographs, a video of a focus pull, a TIFF file with pages.

`read_focal_stack` takes any of them, and folders with a stack.yaml. Where no focus distances are known, the order of
focus is found from the sharpness of the images, and the stack is relative: `FocalStack.is_metric` is False.
"""

from dfd_ros.photographs.stack_input import read_focal_stack

__all__ = ['read_focal_stack']
