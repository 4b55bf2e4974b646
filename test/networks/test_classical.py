"""Classical depth from focus: stacks whose depth is known, in any order, for any lens; and networks without weights."""

import math

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st

from dfd_ros import cli, networks
from dfd_ros.core.colour import srgb_encode
from dfd_ros.core.errors import InputError
from dfd_ros.core.focal_stack import FocalStack
from dfd_ros.core.lens_state import LensState
from dfd_ros.core.optics import VergenceRange
from dfd_ros.inference.estimator import DepthEstimator
from dfd_ros.networks.baselines.classical import BestFocus, Variational
from dfd_ros.networks.baselines.focus_volume import BINS, FocusVolume, half_size_grey, sharpness
from dfd_ros.synthesis.defocus import defocus
from dfd_ros.synthesis.procedural import StackSettings, render_stack

NAMES = ['best_focus', 'variational']
HEIGHT, WIDTH = 64, 96
K = 24.0
RAMP = torch.linspace(0, 1, 7)
RANGE = VergenceRange(0.5, 4.0)
INNER = (..., slice(12, -12), slice(12, -12))


def photographs(u, focus, noise=0.003, textured=None, k=K, seed=0):
    """(T, 3, H, W): a texture on a surface of vergence u, seen through a lens at each focus.

    u: a number or (1, 1, H, W). textured: (H, W), where there is texture at all.
    """
    generator = torch.Generator().manual_seed(seed)
    frames = len(focus)
    texture = torch.rand(1, 3, HEIGHT, WIDTH, generator=generator)
    texture = 0.6 * texture + 0.4 * F.avg_pool2d(texture, 3, 1, 1)
    if textured is not None:
        texture = torch.where(textured, texture, 0.5)
    surface = torch.cat([texture, torch.ones(1, 1, HEIGHT, WIDTH)], 1).expand(frames, -1, -1, -1)
    coc = k * (torch.as_tensor(u) - focus[:, None, None, None]).expand(-1, 1, HEIGHT, WIDTH)
    seen = defocus(surface, coc, torch.full((frames,), 8.0))
    image = srgb_encode(seen[:, :3] / seen[:, 3:]) + noise * torch.randn(frames, 3, HEIGHT, WIDTH, generator=generator)
    return (image.clamp(0, 1) * 255).round() / 255


@torch.inference_mode()
def run(name, images, focus, k=K, sweeps=1):
    """The last prediction for (T, 3, H, W), and the state."""
    network, state = networks.create(name), []
    for _ in range(sweeps):
        for image, v in zip(images, focus):
            prediction, *state = network(image[None], v[None], torch.tensor([k]), *state)
    return prediction, state


def error(prediction, u):
    return (prediction.vergence - u).abs()[INNER].mean().item()


@pytest.mark.parametrize('name', NAMES)
@pytest.mark.parametrize('u', [0.0, 0.21, 0.5, 0.64, 1.0])
def test_a_textured_plane(name, u):
    prediction, _ = run(name, photographs(u, RAMP), RAMP)
    assert error(prediction, u) < 0.025
    torch.testing.assert_close(prediction.coc, K * (prediction.vergence - RAMP[-1]))


@pytest.mark.parametrize('name', NAMES)
def test_metres_come_out_of_the_estimator_also_in_bf16(name):
    depth = 1.2
    images = photographs(RANGE.normalise(depth), RAMP)
    lens = dict(focal_length=0.02, f_number=2.0, pixel_pitch=1e-5)
    for precision in ('fp32', 'bf16'):
        estimator = DepthEstimator(network=name, range_=RANGE, precision=precision)
        for image, v in zip(images, RAMP):
            estimate = estimator.push(
                (image.permute(1, 2, 0) * 255).round().byte().numpy(), LensState(RANGE.denormalise(float(v)), **lens)
            )
        assert np.median(estimate.depth) == pytest.approx(depth, rel=0.03)
        assert np.median(estimate.confidence) > 0.4 and np.isfinite(estimate.coc).all()


def test_interpolation_is_better_than_the_sharpest_frame():
    for focus in (RAMP, torch.tensor([0.0, 0.15, 0.5, 0.6, 0.8, 1.0])):  # even and uneven
        at_frames, between = [], []
        for u in (0.24, 0.37, 0.55, 0.72):
            volume = FocusVolume.empty(1, HEIGHT, WIDTH)
            for image, v in zip(photographs(u, focus), focus):
                volume = volume.add(sharpness(half_size_grey(image[None])), v[None], 0.0)
            peak = volume.peak()
            at_frames.append((peak.focus - u).abs()[INNER].mean())
            between.append((peak.vergence - u).abs()[INNER].mean())
        assert sum(between) < 0.6 * sum(at_frames)


def test_the_vertex_of_a_parabola_is_found_for_any_spacing():
    focus, top = torch.tensor([0.1, 0.4, 0.55, 0.9]), 0.47
    volume = FocusVolume.empty(1, 16, 16)
    for v in focus:
        volume = volume.add((10 - 20 * (v - top) ** 2).expand(1, 1, 8, 8), v[None], 0.0)
    peak = volume.peak()
    # The sharpest frame is that at 0.4: the vertex at 0.47 lies within half the way to 0.55.
    torch.testing.assert_close(peak.vergence, torch.full((1, 1, 8, 8), top), rtol=0, atol=1e-4)
    torch.testing.assert_close(peak.focus, torch.full((1, 1, 8, 8), 0.4))
    torch.testing.assert_close(peak.gap, torch.full((1, 1, 8, 8), 0.45))


@pytest.mark.parametrize('name', NAMES)
@pytest.mark.parametrize('order', [[6, 5, 4, 3, 2, 1, 0], [3, 0, 6, 2, 5, 1, 4]], ids=['falling', 'shuffled'])
def test_the_order_of_the_focus_does_not_matter(name, order):
    u = torch.linspace(0.2, 0.8, WIDTH).expand(1, 1, HEIGHT, WIDTH)
    images = photographs(u, RAMP)
    rising, _ = run(name, images, RAMP, sweeps=2)
    other, _ = run(name, images[order], RAMP[order], sweeps=2)
    assert (rising.vergence - other.vergence)[INNER].abs().mean() < 0.012
    assert error(other, u) < 0.03


@pytest.mark.slow(reason='many sweeps')
@pytest.mark.parametrize('name', NAMES)
def test_many_sweeps_change_nothing_where_nothing_changes(name):
    images = photographs(0.4, RAMP)
    few, state = run(name, images, RAMP, sweeps=3)
    many, later = run(name, images, RAMP, sweeps=8)
    assert [s.shape for s in state] == [s.shape for s in later]
    assert (few.vergence - many.vergence).abs().mean() < 0.003
    assert (few.log_scale - many.log_scale).abs().mean() < 0.05


@pytest.mark.slow(reason='hundreds of frames')
@pytest.mark.parametrize('name', NAMES)
def test_more_frames_than_bins(name):
    focus = torch.linspace(0, 1, 3 * BINS)
    prediction, _ = run(name, photographs(0.43, focus), focus)
    assert error(prediction, 0.43) < 0.025


@pytest.mark.parametrize('name', NAMES)
def test_what_has_moved_away_is_forgotten(name):
    _, state = run(name, photographs(0.2, RAMP), RAMP)
    network = networks.create(name)
    with torch.inference_mode():
        for image, v in zip(photographs(0.8, RAMP, seed=1), RAMP):
            prediction, *state = network(image[None], v[None], torch.tensor([K]), *state)
    assert error(prediction, 0.8) < 0.03


@pytest.mark.parametrize('name', NAMES)
def test_without_texture_there_is_little_confidence(name):
    textured = torch.arange(WIDTH).expand(HEIGHT, WIDTH) < WIDTH // 2
    prediction, _ = run(name, photographs(0.4, RAMP, textured=textured), RAMP)
    b = prediction.log_scale.exp()
    there, not_there = b[..., 8:-8, 8 : WIDTH // 2 - 20].mean(), b[..., 8:-8, WIDTH // 2 + 20 : -8].mean()
    assert not_there > 2 * there and not_there > 0.12 and there < 0.1


@pytest.mark.parametrize('name', NAMES)
def test_the_first_frame_alone_is_not_trusted(name):
    first, _ = run(name, photographs(0.4, RAMP)[:1], RAMP[:1])
    last, _ = run(name, photographs(0.4, RAMP), RAMP)
    assert all(torch.isfinite(map_).all() for map_ in first)
    assert first.log_scale.min() > last.log_scale.mean() + 1


@pytest.mark.slow(reason='scenes are rendered and solved')
@torch.inference_mode()
def test_variational_is_smoother_and_better_on_scenes():
    scenes = [
        render_stack(seed, StackSettings(height=128, width=128, frames=7, ramp=(7, 7), static=1.0)) for seed in range(3)
    ]
    figures = []
    for name in NAMES:
        network = networks.create(name)
        u = torch.cat(
            [network.sequence(s.images.float() / 255, s.focus, s.blur_scale, decode=[6])[0].vergence for s in scenes]
        )
        variation = u.diff(dim=-1).abs().mean() + u.diff(dim=-2).abs().mean()
        figures.append(((u - torch.cat([s.vergence[:, -1:] for s in scenes])).abs().mean(), variation))
    (best, best_variation), (variational, variation) = figures
    assert variational < 0.95 * best
    assert variation < 0.7 * best_variation


@pytest.mark.parametrize('name', NAMES)
@torch.inference_mode()
def test_batched_stacks_match_single_ones(name):
    order = [4, 1, 6, 0, 2, 5, 3]
    images = torch.stack([photographs(0.3, RAMP), photographs(0.7, RAMP[order], seed=1)])
    focus, k = torch.stack([RAMP, RAMP[order]]), torch.tensor([math.nan, K])
    network = networks.create(name)
    together, logits, _ = network.sequence(images, focus, k, decode=[2, 6])
    assert together.vergence.shape == (2, 2, 1, HEIGHT, WIDTH) and logits == []
    for i in range(2):
        alone, _ = run(name, images[i], focus[i], k[i])
        for a, b in zip(alone, (m[i : i + 1, 1] for m in together)):
            torch.testing.assert_close(a, b, rtol=1e-3, atol=1e-3, equal_nan=True)
    assert together.coc[0].isnan().all() and together.coc[1].isfinite().all()


@given(st.integers(16, 70), st.integers(16, 70), st.sampled_from(NAMES))
@settings(max_examples=10, deadline=None)
@torch.inference_mode()
def test_any_image_size_and_the_state_is_maps_in_its_view(height, width, name):
    network = networks.create(name)
    image, focus, k = torch.rand(1, 3, height, width), torch.tensor([0.3]), torch.tensor([9.0])
    prediction, *state = network(image, focus, k)
    assert all(map_.shape == (1, 1, height, width) and torch.isfinite(map_).all() for map_ in prediction)
    zeros = network.initial_state(1, height, width)
    assert [z.shape for z in zeros] == [s.shape for s in state] and not any(z.any() for z in zeros)
    again, *_ = network(image, focus, k, *zeros)
    torch.testing.assert_close(again.vergence, prediction.vergence, rtol=0, atol=0)


@pytest.mark.parametrize('name', NAMES)
def test_focus_breathing_is_followed(name):
    """The state is warped: what comes into view has never been seen at the other focuses, and nothing breaks."""
    images = (photographs(0.4, RAMP).permute(0, 2, 3, 1) * 255).round().byte().numpy()
    estimator = DepthEstimator(network=name, range_=RANGE, registration=False)
    for _ in range(2):
        for image, v in zip(images, RAMP.tolist()):
            estimate = estimator.push(image, LensState(RANGE.denormalise(v), magnification=1 + 0.2 * v))
    assert np.isfinite(estimate.vergence).all() and np.isfinite(estimate.log_scale).all()


@torch.inference_mode()
def test_black_and_white_frames_break_nothing():
    for name in NAMES:
        state = []
        for level, v in ((0.0, 0.1), (1.0, 0.7), (0.0, 1.5), (0.5, -0.5)):
            prediction, *state = networks.create(name)(
                torch.full((1, 3, 32, 32), level), torch.tensor([v]), torch.tensor([5.0]), *state
            )
            assert all(torch.isfinite(map_).all() for map_ in (*prediction, *state))
        bright = torch.full((1, 3, 96, 128), 30 / 255)
        bright[..., 8:24, 8:24] = 1.0  # a window in a dark room: the sharpest edge that there is
        prediction, *state = networks.create(name)(bright, torch.tensor([0.0]), torch.tensor([5.0]))
        assert all(torch.isfinite(map_).all() for map_ in (*prediction, *state))


# By name, without weights.


def test_names_and_the_alias():
    assert isinstance(networks.create('best_focus'), BestFocus)
    assert isinstance(networks.create('variational'), Variational)
    assert isinstance(networks.create('classical'), Variational)
    assert [networks.needs_weights(n) for n in ('best_focus', 'variational', 'classical', 'stream')] == [False] * 3 + [
        True
    ]
    assert not list(networks.create('variational').parameters()) and not networks.create('variational').state_dict()


@pytest.fixture
def stack(tmp_path):
    images = (photographs(0.4, RAMP).permute(0, 2, 3, 1) * 255).round().byte().numpy()
    depth = np.full((HEIGHT, WIDTH), RANGE.denormalise(0.4), np.float32)
    folder = tmp_path / 'plane'
    FocalStack(list(images), [LensState(RANGE.denormalise(v)) for v in RAMP.tolist()], depth=depth).write(folder)
    return folder


@pytest.mark.slow(reason='two commands for every network')
@pytest.mark.parametrize('name', [*NAMES, 'classical'])
def test_dfd_estimate_and_evaluate_take_the_name_alone(name, stack, tmp_path, capsys):
    assert cli.main(['estimate', str(stack), '--network', name, '--out', str(tmp_path / 'out')]) == 0
    depth = np.load(tmp_path / 'out' / 'depth.npy')
    assert np.median(depth) == pytest.approx(RANGE.denormalise(0.4), rel=0.03)
    assert np.isnan(np.load(tmp_path / 'out' / 'coc.npy')).all()  # the aperture is not known, so neither is blur
    assert cli.main(['evaluate', '--data', str(stack.parent), '--network', name]) == 0
    assert 'last' in capsys.readouterr().out


@pytest.mark.parametrize(
    'options, says',
    [
        (dict(weights='some.safetensors', network='best_focus'), 'some.safetensors: the network "best_focus" has none'),
        (dict(backend='onnx', network='classical'), 'the network "classical" runs by torch alone'),
        (dict(network='best_fokus'), 'no network "best_fokus": choose one of'),
    ],
)
def test_bad_input(options, says):
    with pytest.raises(InputError, match=says) as caught:
        DepthEstimator(**options)
    assert '\n' not in str(caught.value)
