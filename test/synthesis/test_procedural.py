"""Procedural focal stacks: reproducible, true to the optics, drawn as their settings say."""

import itertools
import math
from dataclasses import replace

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from dfd_ros.core import optics
from dfd_ros.core.colour import srgb_decode, srgb_encode
from dfd_ros.synthesis.compression import jpeg
from dfd_ros.synthesis.draws import Random
from dfd_ros.synthesis.procedural import StackBatch, StackSettings, focus_positions, render_batch, render_stack
from dfd_ros.synthesis.sensor import expose, sharpen

SMALL = StackSettings(height=48, width=64, frames=3, ramp=(3, 3))


def same(a: StackBatch, b: StackBatch) -> bool:
    return all(
        torch.equal(
            getattr(a, name).nan_to_num(-1.0) if getattr(a, name).is_floating_point() else getattr(a, name),
            getattr(b, name).nan_to_num(-1.0) if getattr(b, name).is_floating_point() else getattr(b, name),
        )
        for name in a.__dataclass_fields__
    )


@pytest.mark.parametrize('preset', [StackSettings, StackSettings.study, StackSettings.field])
def test_the_seed_determines_the_stack(preset):
    drawn_from = preset(height=48, width=64, frames=2)
    stack = render_stack(7, drawn_from)
    assert same(stack, render_stack(7, drawn_from))
    assert not torch.equal(stack.images, render_stack(8, drawn_from).images)


def test_a_batch_is_its_stacks():
    batch = render_batch([3, 4], SMALL)
    assert same(batch, StackBatch.stack([render_stack(3, SMALL), render_stack(4, SMALL)]))
    assert batch.images.shape == (2, 3, 3, 48, 64) and batch.images.dtype == torch.uint8
    assert batch.vergence.shape == batch.coc.shape == batch.foreground.shape == (2, 3, 1, 48, 64)
    for name in ('focus', 'blur', 'magnification'):
        assert getattr(batch, name).shape == (2, 3)
    assert all(torch.isfinite(getattr(batch, name)).all() for name in ('vergence', 'coc', 'focus', 'blur'))


@pytest.mark.slow(reason='a dozen stacks are rendered')
@given(st.integers(0, 2**40))
@settings(max_examples=12, deadline=None)
def test_true_coc_is_the_thin_lens_formula(seed):
    """The signed circle of confusion of dfd_ros.core.optics, from metres, for every pixel that lies at a distance."""
    batch = render_stack(seed, replace(SMALL, height=32, width=32))
    range_ = batch.ranges()[0]
    u = batch.vergence[0, :, 0].double()
    at_a_distance = u * range_.width + 1 / range_.far > 0.01 * range_.width
    depth = range_.denormalise(u)
    for t, v in enumerate(batch.focus[0].double().tolist()):
        coc = (
            optics.coc_signed(
                depth[t], range_.denormalise(v), batch.focal_length[0].double(), batch.f_number[0].double()
            )
            / batch.pixel_pitch[0].double()
        )
        torch.testing.assert_close(
            batch.coc[0, t, 0].double()[at_a_distance[t]], coc[at_a_distance[t]], rtol=1e-3, atol=1e-3
        )
    known = batch.blur_scale[0]
    assert torch.isnan(known) or known.item() == pytest.approx(
        optics.Lens(batch.focal_length.item(), batch.f_number.item(), batch.pixel_pitch.item()).blur_scale(range_),
        rel=1e-4,
    )


def positions(seed: int = 0, **changes) -> list[float]:
    return focus_positions(Random(seed), replace(SMALL, **changes)).tolist()


@given(st.integers(0, 10**6), st.integers(3, 10), st.floats(0, 1))
@settings(deadline=None)
def test_every_sweep_covers_the_whole_range(seed, frames, uneven):
    for order in ('rising', 'falling', 'shuffled', 'ping_pong'):
        v = positions(seed, frames=2 * frames, ramp=(frames, frames), orders=(order,), uneven=uneven)
        assert len(v) == 2 * frames
        for sweep in (v[:frames], v[frames:]):
            assert min(sweep) == 0 and max(sweep) == pytest.approx(1) and len(set(sweep)) == frames


def test_orders_of_the_focus():
    even = {'frames': 10, 'ramp': (5, 5), 'uneven': 0.0}
    rising = [0, 0.25, 0.5, 0.75, 1]
    assert positions(orders=('rising',), **even) == rising * 2
    assert positions(orders=('falling',), **even) == rising[::-1] * 2
    assert positions(orders=('ping_pong',), **even) == rising + rising[::-1]
    shuffled = [positions(seed, orders=('shuffled',), **even)[:5] for seed in range(10)]
    assert all(sorted(v) == rising for v in shuffled) and len({tuple(v) for v in shuffled}) > 5


def test_uneven_steps_rise_too_and_are_uneven():
    v = positions(orders=('rising',), uneven=1.0, frames=6, ramp=(6, 6))
    steps = [b - a for a, b in itertools.pairwise(v)]
    assert min(steps) > 0 and max(steps) > 1.2 * min(steps)


def test_long_streams_go_on_sweeping():
    assert len(positions(frames=17, ramp=(5, 5))) == 17


def test_static_stacks_stand_still_and_moving_ones_move():
    still = render_stack(1, StackSettings.study(height=48, width=48, frames=3))
    assert torch.equal(still.vergence[:, :1].expand_as(still.vergence), still.vergence)
    moved = render_stack(1, StackSettings.field(height=48, width=48, frames=3))
    assert not torch.equal(moved.vergence[:, 0], moved.vergence[:, 2])


def test_breathing_is_in_the_images_as_the_magnification_says():
    """The same scene with and without: the truth of the frame in near focus is a zoom of the other."""
    drawn_from = replace(
        SMALL, height=96, width=96, static=1.0, breathing=0.2, breathing_residual=None, orders=('rising',), uneven=0.0
    )
    batch = render_stack(5, drawn_from)
    magnification = batch.magnification[0]
    assert magnification[0] == 1 and magnification[-1] > 1.02
    zoom = magnification[-1].item()
    grid = torch.nn.functional.affine_grid(
        torch.tensor([[[1 / zoom, 0, 0], [0, 1 / zoom, 0]]]), [1, 1, 96, 96], align_corners=False
    )
    zoomed = torch.nn.functional.grid_sample(batch.vergence[:, 0], grid, align_corners=False)
    error = (zoomed - batch.vergence[:, -1]).abs()
    unmoved = (batch.vergence[:, 0] - batch.vergence[:, -1]).abs()
    assert error.mean() < 0.5 * unmoved.mean()


def test_presets_are_the_conditions_of_the_issue():
    study, field = StackSettings.study(split='test'), StackSettings.field(split='test')
    assert study.static == 1 and study.unknown_aperture == 0 and study.blur_scale[0] >= 15
    assert study.scene.wall and study.scene.untextured == 0 and study.scene.split == 'test'
    assert field.static == 0 and field.unknown_aperture == 0.5 and field.blur_scale[0] == 6
    assert {'falling', 'shuffled'} <= set(field.orders) and field.uneven > 0 and field.breathing > 0
    assert field.scene.untextured > 0 and field.scene.moving > 0 and field.scene.split == 'test'


def test_unknown_aperture_is_unknown_to_the_network_only():
    unknown = render_stack(0, replace(SMALL, unknown_aperture=1.0))
    known = render_stack(0, replace(SMALL, unknown_aperture=0.0))
    assert torch.isnan(unknown.blur_scale).all() and torch.isfinite(known.blur_scale).all()
    assert torch.equal(unknown.images, known.images) and torch.equal(unknown.coc, known.coc)


@given(st.floats(0, 1))
def test_tone_curve_there_and_back(value):
    assert srgb_decode(srgb_encode(torch.tensor(value))).item() == pytest.approx(value, abs=1e-5)


def test_noise_has_the_variance_of_the_model():
    linear = torch.full((1, 3, 200, 200), 0.4)
    noise = torch.randn(linear.shape, generator=torch.Generator().manual_seed(0))
    image = expose(linear, torch.tensor([1.25]), 2e-3, 1e-2, noise)
    assert image.mean().item() == pytest.approx(0.5, rel=1e-3)
    assert image.var().item() == pytest.approx(2e-3 * 0.5 + 1e-4, rel=0.03)
    assert expose(linear, torch.tensor([9.0]), 0, 0, noise).max() == 1  # clipped as a sensor clips


def test_jpeg_loss_grows_at_lower_quality():
    x = torch.linspace(0, 1, 50)
    smooth = (0.3 + 0.4 * x[:, None] * x[None]).expand(1, 3, -1, -1)
    assert jpeg(smooth, 90).shape == smooth.shape
    assert (jpeg(smooth, 90) - smooth).abs().max() < 0.03
    noise = torch.rand(1, 3, 50, 50, generator=torch.Generator().manual_seed(0))
    loss = [(jpeg(noise, quality) - noise).abs().mean().item() for quality in (95, 75, 40)]
    assert loss == sorted(loss) and loss[0] > 0


def test_sharpening_raises_contrast_at_edges_only():
    image = torch.full((1, 3, 16, 16), 0.4)
    image[..., 8:] = 0.6
    sharper = sharpen(image, 1.0)
    assert sharper[0, 0, 8, 8] > 0.6 and sharper[0, 0, 8, 7] < 0.4
    torch.testing.assert_close(sharper[..., :6], image[..., :6])


def test_the_far_end_may_be_infinity():
    batch = render_stack(2, replace(SMALL, infinity=1.0))
    assert math.isinf(batch.far.item()) and math.isinf(batch.ranges()[0].far)
    assert torch.isfinite(batch.coc).all()


def test_foci_may_be_given():
    """The same scene, seen at one focus: a motor that is stuck."""
    settings = StackSettings.field(height=48, width=48, frames=3, static=1.0, exposure=0.0)
    stuck = render_stack(5, settings, foci=[0.5] * 3)
    assert stuck.focus.tolist() == [[0.5] * 3]
    first, last = stuck.images[0, 0].float(), stuck.images[0, 2].float()
    drawn = render_stack(5, settings)
    assert (first - last).abs().mean() < (drawn.images[0, 0].float() - drawn.images[0, 2].float()).abs().mean()
