"""Focal-stack folders without ground truth, for training."""

from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import torch
from tqdm import tqdm

from dfd_ros.core.errors import InputError, warn
from dfd_ros.core.focal_stack import FocalStack
from dfd_ros.core.geometry import Similarity
from dfd_ros.core.lens_state import LensState
from dfd_ros.core.sample import Sample
from dfd_ros.datasets.stack_batch import to_stack_batch
from dfd_ros.inference.estimator_arguments import network_size
from dfd_ros.inference.registration import Registration
from dfd_ros.synthesis.procedural import StackBatch
from dfd_ros.training.config import TrainingConfig

_STILL = 0.3  # px; smaller displacements are not corrected, because resampling blurs


class UnlabelledStacks:
    """The focal stacks below a folder, each registered to its last frame and reduced to the maximum size of network
    inputs. True depth in them is not read. All are kept in memory.

    Stacks with unknown blur or a single focus distance are left out with a warning.

    Raises:
        InputError: there are no usable stacks, or one cannot be read.
    """

    def __init__(self, config: TrainingConfig):
        self.folder = folder = Path(config.stacks)
        paths = sorted(path.parent for path in folder.glob('**/stack.yaml'))
        if not paths:
            raise InputError(f'{folder}: no focal stack (a folder with a stack.yaml) in it')
        crop = max(stage.crop for stage in config.stages)
        stacks, unusable = [], []
        for path in tqdm(paths, desc='focal stacks', leave=False, mininterval=2, disable=None):
            stack = FocalStack.read(path)
            if why := _unusable(stack, crop):
                unusable.append(f'{path}: {why}')
            else:
                stacks.append(aligned(stack))
        if unusable:
            left_out = f'{folder}: {len(unusable)} of {len(paths)} focal stacks cannot be trained on ({unusable[0]})'
            if not stacks:
                raise InputError(left_out)
            warn(f'{left_out}, they are left out')
        count = math.ceil(config.held_out * len(stacks))
        if not 0 < count < len(stacks):
            raise InputError(
                f'{folder}: {len(stacks)} focal stacks, of which {count} are held out for validation '
                f'(held_out: {config.held_out:g}); hold out at least one, and leave at least one for training'
            )
        self.trained, self.held_out = stacks[:-count], stacks[-count:]

    def draw(self, rng: torch.Generator) -> StackBatch:
        """A random one of them (B = 1)."""
        return self.trained[int(torch.randint(len(self.trained), (), generator=rng))]


def _unusable(stack: FocalStack, crop: int) -> str:
    """Why a stack is unusable for crops of this size (px); empty if it is usable."""
    if len({state.focus_distance for state in stack.lens_states}) == 1:
        return 'one focus distance, needs two or more'
    if math.isnan(stack.lens_states[0].lens.blur_scale(stack.range)):
        return 'focal_length_mm, f_number and sensor_width_mm of the lens must be known'
    height, width = network_size(*stack.images[0].shape[:2])
    if min(height, width) < crop:
        return f'{width}x{height} px for the network, smaller than the crops of {crop} (stages, crop)'
    return ''


def aligned(stack: FocalStack) -> StackBatch:
    """A stack (B = 1) registered to its last frame, at the size of network inputs, without ground truth."""
    width = stack.images[0].shape[1]
    size = network_size(*stack.images[0].shape[:2])[::-1]
    images = [cv2.resize(i, size, interpolation=cv2.INTER_AREA) if size[0] < width else i for i in stack.images]
    images = _in_view_of_the_last(images, stack.lens_states)
    states = [
        replace(state, pixel_pitch=state.pixel_pitch * width / size[0], magnification=math.nan)
        for state in stack.lens_states
    ]
    return to_stack_batch(Sample.from_focal_stack(FocalStack(images, states, name=stack.name)))


def _in_view_of_the_last(images: list[np.ndarray], states: list[LensState]) -> list[np.ndarray]:
    registration, previous, motions = Registration(), math.nan, []
    for image, state in zip(images, states):
        motions.append(registration.push(image, previous / state.magnification))
        previous = state.magnification
    height, width = images[0].shape[:2]
    result, view = [images[-1]], Similarity()
    for image, motion in zip(images[-2::-1], motions[:0:-1]):
        view = motion @ view
        if view.displacement(height, width) > _STILL:
            flags = cv2.INTER_CUBIC | cv2.WARP_INVERSE_MAP
            matrix = view.matrix(height, width)
            image = cv2.warpAffine(image, matrix, (width, height), flags=flags, borderMode=cv2.BORDER_REPLICATE)
        result.append(image)
    return result[::-1]
