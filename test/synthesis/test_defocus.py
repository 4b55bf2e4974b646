"""The lens of the procedural scenes: what defocus does to light."""

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from dfd_ros.synthesis.defocus import KERNEL_COCS, BlurLevels, defocus, psf_kernel, psf_radius, second_moment

exponents = st.floats(2, 32)


def point(size: int) -> torch.Tensor:
    """A white, opaque point in the middle of nothing."""
    image = torch.zeros(1, 4, size, size)
    image[..., size // 2, size // 2] = 1
    return image


def seen_through(coc: float, exponent: float, size: int) -> torch.Tensor:
    return defocus(point(size), torch.full((1, 1, size, size), coc), torch.tensor([exponent]))


def spread(coc: float, exponent: float, size: int) -> float:
    """Diameter (px) of the uniform disc that has the second moment of the light of a point seen through a lens.

    The mean over points in 8 x 8 places: the largest blurs are made at 1/8 of the resolution.
    """
    image = torch.zeros(64, 4, size, size)
    y = size // 2 + torch.arange(8).repeat_interleave(8)
    x = size // 2 + torch.arange(8).repeat(8)
    image[torch.arange(64), :, y, x] = 1
    light = defocus(image, torch.full((64, 1, size, size), coc), torch.full((64,), exponent))[:, 0]
    place = torch.arange(size)
    squared = (place[:, None] - y[:, None, None]) ** 2 + (place - x[:, None, None]) ** 2
    return math.sqrt(8 * (light * squared).sum() / light.sum())  # <r^2> = (d / 2)^2 / 2


@given(st.floats(0, 60), exponents)
@settings(max_examples=30, deadline=None)
def test_light_is_neither_made_nor_lost(coc, exponent):
    seen = seen_through(coc, exponent, 128)
    torch.testing.assert_close(seen.sum((2, 3)), torch.ones(1, 4), rtol=2e-3, atol=0)
    assert seen.min() >= -1e-6


@pytest.mark.slow(reason='a dozen large blurs are rendered')
@given(st.floats(0.1, 50), exponents)
@settings(max_examples=12)
def test_second_moment_is_that_of_a_disc_of_the_coc(coc, exponent):
    """Whatever the shape of the PSF and the size of the blur, less than a pixel included."""
    assert spread(coc, exponent, 40 + int(2.5 * coc)) == pytest.approx(coc, rel=0.01)


def test_second_moment_of_a_kernel_that_is_known():
    """All the light at the four neighbours: <r^2> = 1."""
    kernel = torch.zeros(1, 3, 3)
    kernel[0, 0, 1] = kernel[0, 2, 1] = kernel[0, 1, 0] = kernel[0, 1, 2] = 0.25
    torch.testing.assert_close(second_moment(kernel), torch.tensor([8.0]))


@given(exponents)
def test_psf_radius_gives_the_second_moment(exponent):
    """Numerical integral of exp(-(r / R)^n), against a disc of diameter 10."""
    r = torch.linspace(0, 40, 40_001, dtype=torch.float64)
    radius = psf_radius(torch.tensor(10.0, dtype=torch.float64), torch.tensor(exponent, dtype=torch.float64))
    density = torch.exp(-((r / radius) ** exponent)) * r
    assert float((density * r**2).sum() / density.sum()) == pytest.approx(10**2 / 8, rel=1e-3)


def test_kernels_run_from_gaussian_like_to_disc():
    coc = 6.0
    size = 2 * math.ceil(0.72 * coc) + 1
    kernels = psf_kernel(coc, torch.tensor([2.0, 32.0]), size)
    torch.testing.assert_close(kernels.sum((1, 2)), torch.ones(2))
    torch.testing.assert_close(kernels, kernels.flip(1).transpose(1, 2))
    gaussian, disc = kernels[:, size // 2]
    assert gaussian.max() > 1.5 * disc.max()
    middle = slice(size // 2 - 1, size // 2 + 2)
    assert disc[middle].max() < 1.05 * disc[middle].min() < 1.05 * gaussian[middle].min()


@given(exponents)
@settings(max_examples=10, deadline=None)
def test_in_focus_nothing_changes(exponent):
    image = torch.rand(2, 4, 24, 31, generator=torch.Generator().manual_seed(0))
    seen = defocus(image, torch.zeros(2, 1, 24, 31), torch.full((2,), exponent))
    torch.testing.assert_close(seen, image)


def test_coc_sign_does_not_matter_and_plain_areas_stay_plain():
    image = torch.full((1, 4, 64, 64), 0.5)
    coc = torch.full((1, 1, 64, 64), 7.0)
    exponent = torch.tensor([6.0])
    torch.testing.assert_close(defocus(image, coc, exponent), defocus(image, -coc, exponent))
    inside = defocus(image, coc, exponent)[..., 8:-8, 8:-8]
    torch.testing.assert_close(inside, torch.full_like(inside, 0.5), rtol=1e-3, atol=0)


def test_each_image_of_a_batch_has_its_own_blur():
    exponents = torch.tensor([2.0, 10.0, 32.0])
    cocs = torch.tensor([0.0, 3.0, 20.0])[:, None, None, None].expand(3, 1, 96, 96)
    together = defocus(point(96).expand(3, -1, -1, -1), cocs, exponents)
    for i in range(3):
        alone = defocus(point(96), cocs[i : i + 1], exponents[i : i + 1])
        torch.testing.assert_close(together[i : i + 1], alone)


def test_beyond_the_largest_level_the_blur_stays_the_largest():
    largest = 1.1 * KERNEL_COCS[-1]
    torch.testing.assert_close(seen_through(1000.0, 8.0, 160), seen_through(largest, 8.0, 160))
    assert not torch.allclose(seen_through(0.8 * largest, 8.0, 160), seen_through(largest, 8.0, 160))


@given(st.floats(0, 30), exponents)
@settings(max_examples=20, deadline=None)
def test_even_blur_is_that_of_a_surface_of_one_depth(coc, exponent):
    image = torch.rand(1, 3, 96, 96, generator=torch.Generator().manual_seed(0))
    surface = torch.cat([image, torch.ones(1, 1, 96, 96)], 1)
    seen = defocus(surface, torch.full((1, 1, 96, 96), coc), torch.tensor([exponent]))[:, :3]
    middle = (..., slice(36, 60), slice(36, 60))
    torch.testing.assert_close(BlurLevels(image, exponent, 30.0).at(coc**2)[middle], seen[middle], atol=1e-4, rtol=0)


def test_more_blur_than_asked_for_is_the_largest():
    image = torch.rand(2, 1, 40, 40)
    levels = BlurLevels(image, 8.0, 5.0)
    assert torch.equal(levels.at(1e6), levels.at(1e9)) and torch.equal(levels.at(0.0), image)
    assert torch.equal(BlurLevels(image, 8.0, 0.0).at(9.0), image)
