"""Cameras like real ones: apertures, focus positions, and what becomes of the image."""

from dataclasses import fields, replace

import pytest
import torch

from dfd_ros.core.errors import InputError
from dfd_ros.synthesis.apertures import Aperture, Shape
from dfd_ros.synthesis.compression import jpeg_420, video
from dfd_ros.synthesis.defocus import defocus, second_moment
from dfd_ros.synthesis.draws import Random
from dfd_ros.synthesis.procedural import StackSettings, render_stack
from dfd_ros.synthesis.processing import CameraSettings, Look, denoise, respaced, sharpen, tied, tone
from dfd_ros.training.config import make_config

PROBABILITIES = [f.name for f in fields(CameraSettings) if f.name not in ('share', 'quality')]
NONE = CameraSettings(**dict.fromkeys(PROBABILITIES, 0.0))


def noise(*shape) -> torch.Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(0))


def stack(**camera):
    settings = StackSettings(height=48, width=64, frames=3, ramp=(3, 3), static=0.0, camera=CameraSettings(**camera))
    return render_stack(2, settings)


def edge() -> torch.Tensor:
    image = torch.full((1, 3, 32, 32), 0.3)
    image[..., 16:] = 0.7
    return image


def test_without_a_share_nothing_changes():
    assert torch.equal(stack().images, stack(jpeg=1.0, tone=1.0).images)


def test_a_seed_gives_the_same_stack_again():
    assert torch.equal(stack(share=1.0).images, stack(share=1.0).images)


@pytest.mark.slow(reason='stacks are rendered for each setting')
@pytest.mark.parametrize('name', PROBABILITIES)
def test_each_setting_has_an_effect_and_the_truth_fits(name):
    plain = stack(**{**vars_of(NONE), 'share': 1.0})
    other = stack(**{**vars_of(NONE), 'share': 1.0, name: 1.0, **({'aperture': 1.0} if name == 'sides_differ' else {})})
    assert not torch.equal(plain.images, other.images)
    assert torch.isfinite(other.vergence).all() and other.images.float().std() > 1
    assert torch.equal(plain.focus, other.focus) == (not name.startswith('focus'))


def vars_of(settings: CameraSettings) -> dict:
    return {f.name: getattr(settings, f.name) for f in fields(settings)}


@pytest.mark.parametrize(
    'shape',
    [
        Shape(8.0),
        Shape(16.0, blades=6),
        Shape(16.0, blades=5, angle=1.0),
        Shape(8.0, cats_eye=0.8),
        Shape(16.0, ring=0.7),
        Shape(4.0, ring=-0.4),
    ],
)
def test_shapes_have_the_second_moment_of_the_coc(shape):
    """Whatever the shape, within a twentieth: of the image that a point makes."""
    for coc in (3.0, 9.0, 20.0):
        size = 40 + 4 * (int(coc) // 2)
        point = torch.zeros(1, 4, size + 1, size + 1)
        point[..., size // 2, size // 2] = 1
        seen = Aperture(shape, shape).spread(point, torch.full((1, 1, size + 1, size + 1), coc), torch.tensor(0.0))
        assert seen[0, 3].sum().item() == pytest.approx(1, abs=1e-3)
        assert second_moment(seen[0, :1]).sqrt().item() == pytest.approx(coc, rel=0.05)


def test_a_round_shape_is_what_the_exponent_says():
    image = noise(2, 4, 48, 48).abs()
    image[:, 3] = 1
    coc = torch.full((2, 1, 48, 48), 6.0)
    torch.testing.assert_close(
        Aperture(Shape(8.0), Shape(8.0)).spread(image, coc, torch.tensor(0.0)),
        defocus(image, coc, torch.full((2,), 8.0)),
        rtol=1e-4,
        atol=1e-5,
    )


def test_front_and_back_blur_differ_if_set():
    aperture = Aperture(Shape(32.0, ring=0.7), Shape(2.0))
    point = torch.zeros(1, 4, 65, 65)
    point[..., 32, 32] = 1
    before, behind = (aperture.spread(point, torch.full((1, 1, 65, 65), c), torch.tensor(0.0)) for c in (16.0, -16.0))
    assert behind[0, 0, 32, 32] > 1.5 * before[0, 0, 32, 32]


def test_focus_between_even_in_vergence_and_in_log_distance():
    v, offset = torch.linspace(0, 1, 6), 0.2
    torch.testing.assert_close(respaced(v, offset, 0.0), v)
    log = torch.log(1 / (respaced(v, offset, 1.0) + offset))
    torch.testing.assert_close(log.diff(), log.diff()[:1].expand(5), rtol=1e-4, atol=0)
    assert respaced(v, 0.0, 1.0)[0] == 0 and respaced(v, 0.0, 1.0)[-1].item() == pytest.approx(1)


def test_focus_that_is_tied_goes_where_the_scene_is():
    scene = torch.full((100, 100), 0.8)
    v = torch.linspace(0, 1, 5)
    moved = tied(v, scene, 0.5)
    assert (moved.diff() > 0).all() and ((moved - 0.8).abs() <= (v - 0.8).abs() + 1e-6).all()


def test_denoising_takes_noise_and_leaves_edges():
    noisy = edge() + 0.01 * noise(1, 3, 32, 32)
    clean = denoise(noisy, 2, 0.03)
    assert clean[..., 4:28, 4:12].std() < 0.5 * noisy[..., 4:28, 4:12].std()
    assert (clean[..., 16] - clean[..., 15]).mean() > 0.3


def test_sharpening_is_as_wide_as_its_radius():
    for radius in (1, 3):
        changed = ((sharpen(edge(), radius, 1.0) - edge()).abs() > 1e-4)[0, 0, 16]
        assert changed.sum() == 2 * radius


def test_tone_curves_keep_order_and_ends():
    ramp = torch.linspace(0, 1, 50).expand(1, 3, 1, 50)
    curved = tone(ramp, 1.3, 0.6, 1.0, 0.0)
    assert (curved.diff() >= 0).all() and curved[..., 0].max() < 1e-3 and curved[..., -1].min() > 0.999
    assert (curved - ramp).abs().max() > 0.03


def test_compression_loses_more_where_it_is_told_to():
    image = torch.sigmoid(noise(3, 3, 50, 42))
    for coder, levels in ((jpeg_420, (95, 60, 30)), (video, (3.0, 8.0, 16.0))):
        loss = [(coder(image, level) - image).abs().mean().item() for level in levels]
        assert loss == sorted(loss) and loss[0] > 0 and coder(image, levels[0]).shape == image.shape
        plain = torch.full((2, 3, 20, 30), 0.4)
        assert (coder(plain, levels[1]) - plain).abs().max() < 0.02


def test_video_shows_small_changes_late():
    frames = torch.full((2, 3, 32, 32), 0.5)
    frames[1] += 0.003
    shown = video(frames, 16.0)
    assert torch.equal(shown[0], shown[1])
    frames[1] += 0.3
    assert (video(frames, 16.0)[1] - frames[1]).abs().max() < 0.05


def test_a_rolling_shutter_moves_rows_and_the_truth_with_them():
    look = Look(Random(1), replace(NONE, rolling_shutter=1.0), 2, 33, 40)
    image = torch.arange(40.0).expand(2, 1, 33, 40) / 40
    rolled, truth, flags = look.roll(20.0, image, image, image > 0.5)
    assert flags.dtype == torch.bool
    middle = (rolled - image)[:, 0, 16, 8:-8].abs().max()
    assert middle < 0.01 < (rolled - image)[:, 0, 0, 8:-8].abs().max()
    assert (rolled - truth)[..., 8:-8].abs().max() < 0.03
    assert look.roll(0.0, image)[0] is image


def test_training_configurations_tell_what_cannot_be():
    make_config({'data': {'camera': {'share': 1, 'quality': [20, 90]}}}, 'x')
    for values, message in (
        ({'video': -0.1}, 'camera, video'),
        ({'quality': [0, 90]}, 'quality'),
        ({'quality': [50, 101]}, r'quality\[1\]: 101'),
        ({'flash': 1}, 'no setting "flash"'),
    ):
        with pytest.raises(InputError, match=message):
            make_config({'data': {'camera': values}}, 'x')
