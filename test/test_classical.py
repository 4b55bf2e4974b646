"""Classical depth from focus: stacks whose depth is known, in any order, for any lens."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from test_networks import assert_same, stream

from dfd_ros import cli, networks
from dfd_ros.errors import InputError
from dfd_ros.estimator import DepthEstimator
from dfd_ros.focal_stack import FocalStack
from dfd_ros.lens_state import LensState
from dfd_ros.networks.focus_volume import BINS, FocusVolume, sharpness
from dfd_ros.optics import VergenceRange, blur_scale
from dfd_ros.synthesis.procedural import StackSettings, render_stack
