"""Scores of pixels: sliced Wasserstein distance of patches, sharpness, symmetry, distances, MS-SSIM."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from harness.metrics.images import pyramid
from harness.metrics.images.pixels import (
    mean_symmetry,
    ms_ssim_scales,
    pair_distance_of,
    pair_ms_ssim,
    sharpness_of,
)
from harness.metrics.images.pyramid import laplacian_pyramid, patch_reference, swd


def noise(count: int, channels: int = 1, side: int = 28, seed: int = 0) -> Tensor:
    return torch.randn(count, channels, side, side, generator=torch.Generator().manual_seed(seed)) / 3


def smooth(count: int, channels: int = 1, side: int = 28, seed: int = 0) -> Tensor:
    small = noise(count, channels, side // 4, seed)
    return F.interpolate(small, size=(side, side), mode="bilinear", align_corners=False)


# Laplacian pyramid and sliced Wasserstein distance


def test_levels_are_halved_while_sixteen_pixels_are_left() -> None:
    for sizes in ([8], [31], [32, 16], [64, 32, 16], [65, 33, 17]):
        levels = laplacian_pyramid(noise(2, 3, sizes[0]))
        assert [level.shape[2] for level in levels] == sizes


def test_the_levels_add_up_to_the_image() -> None:
    images = noise(3, 3, 64)
    *fine, rest = laplacian_pyramid(images)
    for level in reversed(fine):
        rest = level + pyramid._upsampled(rest, level.shape[2:])
    torch.testing.assert_close(rest, images)


def test_a_plain_image_has_no_detail_and_keeps_its_level() -> None:
    fine, rest = laplacian_pyramid(torch.full((1, 1, 32, 32), 0.7))
    assert float(fine[:, :, 4:-4, 4:-4].abs().max()) < 1e-6
    torch.testing.assert_close(rest, torch.full_like(rest, 0.7))


def test_swd_of_the_same_images_is_zero_and_of_others_of_one_law_a_small_floor() -> None:
    reference = patch_reference(smooth(256))
    assert swd(smooth(256), reference) == 0
    floor, blurred = swd(smooth(256, seed=1), reference), swd(0.5 * smooth(256, seed=1), reference)
    assert 0 < floor < 60
    assert blurred > 5 * floor


def test_swd_of_a_shift_is_the_mean_projection_of_the_shift() -> None:
    images = noise(64)
    reference = patch_reference(images)
    projected = pyramid._directions(49, 0).sum(dim=0).abs().mean() * 0.2 / reference.sd[0][0, 0]
    assert swd(images + 0.2, reference) == pytest.approx(1e3 * float(projected), rel=1e-4)


def test_swd_agrees_with_comparing_every_sorted_projection() -> None:
    real, fake = smooth(24, 3, 32), smooth(24, 3, 32, seed=1) * 0.9
    expected = []
    for number, (a, b) in enumerate(zip(laplacian_pyramid(fake), laplacian_pyramid(real), strict=True)):
        x, y = (pyramid._patches(level, number).double() for level in (a, b))
        mean, sd = y.mean(dim=(0, 2), keepdim=True), y.transpose(0, 1).flatten(1).std(dim=1)[None, :, None]
        directions = pyramid._directions(147, number).double()
        found = [(((z - mean) / sd).flatten(1) @ directions).sort(dim=0).values for z in (x, y)]
        expected.append(float((found[0] - found[1]).abs().mean()))
    assert swd(fake, patch_reference(real)) == pytest.approx(1e3 * np.mean(expected), rel=2e-3)


def test_swd_sees_noise_blur_and_collapse() -> None:
    real = smooth(256, 3, 32)
    reference = patch_reference(real)
    good = swd(smooth(256, 3, 32, seed=1), reference)
    for bad in (
        noise(256, 3, 32),
        F.avg_pool2d(smooth(256, 3, 32, seed=1), 5, 1, 2),
        real[:1].expand(256, -1, -1, -1),
    ):
        assert swd(bad, reference) > 2 * good


def test_swd_of_images_without_contrast_is_finite() -> None:
    assert math.isfinite(swd(torch.zeros(64, 1, 28, 28), patch_reference(smooth(64))))
    assert math.isfinite(swd(smooth(64), patch_reference(torch.zeros(64, 1, 28, 28))))


def test_swd_says_how_many_images_it_compares() -> None:
    with pytest.raises(ValueError, match="needs 64 generated images, but got 63"):
        swd(noise(63), patch_reference(noise(64)))


# Sharpness


def test_sharpness_of_white_noise_is_twenty_times_its_variance() -> None:
    assert sharpness_of(noise(400)) == pytest.approx(20 / 9, rel=0.02)


def test_sharpness_is_quadratic_in_contrast_and_blind_to_brightness() -> None:
    images = noise(20, 3)
    assert sharpness_of(0.5 * images + 0.3) == pytest.approx(sharpness_of(images) / 4, rel=1e-5)
    assert sharpness_of(torch.ones(5, 1, 8, 8)) == 0


def test_blurred_images_are_less_sharp() -> None:
    assert sharpness_of(F.avg_pool2d(noise(20), 3, 1, 1)) < 0.2 * sharpness_of(noise(20))


# Symmetry


def test_symmetry_is_one_for_mirror_images_minus_one_for_odd_ones_and_zero_for_noise() -> None:
    images = noise(300)
    assert mean_symmetry(images + images.flip(3)) == pytest.approx(1)
    assert mean_symmetry(images - images.flip(3)) == pytest.approx(-1)
    assert mean_symmetry(images) == pytest.approx(0, abs=0.01)
    assert mean_symmetry(torch.ones(3, 3, 8, 8)) == 1


# Distances


def test_pair_distance_is_the_scale_and_zero_for_one_image() -> None:
    images = noise(100)
    assert pair_distance_of(2.5 * images + 1) == pytest.approx(2.5 * pair_distance_of(images), rel=1e-5)
    assert pair_distance_of(images[:1].expand(50, -1, -1, -1)) == 0


def test_pair_distance_estimates_the_mean_over_all_pairs() -> None:
    images = smooth(600)
    exact = torch.nn.functional.pdist(images.flatten(1).double()).mean()
    assert pair_distance_of(images) == pytest.approx(float(exact), rel=0.01)
    few = noise(3)
    assert pair_distance_of(few) == pytest.approx(float(torch.nn.functional.pdist(few.flatten(1)).mean()))


# MS-SSIM


def test_the_last_scale_still_holds_two_kernels() -> None:
    expected = {13: 0, 14: 1, 27: 1, 28: 2, 64: 3, 256: 5}
    assert {side: ms_ssim_scales(side) for side in expected} == expected


def test_ms_ssim_of_one_image_is_one_and_of_noise_near_zero() -> None:
    assert pair_ms_ssim(noise(1, 3, 64).expand(40, -1, -1, -1)) == pytest.approx(1, abs=1e-5)
    assert pair_ms_ssim(noise(100, 3, 64)) < 0.12


def textbook_ssim(one: torch.Tensor, other: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Means of the whole map of a pair, and of its contrast and structure alone, by the formula."""
    taps = torch.exp(-torch.arange(-3, 4, dtype=torch.float64).square() / (2 * 1.5**2))
    kernel = (taps[:, None] * taps / taps.sum() ** 2)[None, None]
    mean, mean_ = F.conv2d(one, kernel), F.conv2d(other, kernel)
    variance = F.conv2d(one**2, kernel) - mean**2
    variance_ = F.conv2d(other**2, kernel) - mean_**2
    covariance = F.conv2d(one * other, kernel) - mean * mean_
    contrast = (2 * covariance + 9e-4) / (variance + variance_ + 9e-4)
    luminance = (2 * mean * mean_ + 1e-4) / (mean**2 + mean_**2 + 1e-4)
    return (luminance * contrast).mean(), contrast.mean()


def test_ms_ssim_of_one_scale_is_the_textbook_s_ssim() -> None:
    images = smooth(2, 1, 16)
    one, other = ((images[i : i + 1].double() + 1) / 2 for i in (0, 1))
    whole, _ = textbook_ssim(one, other)
    assert pair_ms_ssim(images) == pytest.approx(max(0.0, float(whole)), abs=1e-4)


def test_ms_ssim_of_64_pixels_is_the_textbook_s_with_three_scales() -> None:
    base = F.interpolate(smooth(1, 1, 16), size=64, mode="bilinear")
    images = torch.cat([base, (base + 0.3 * noise(1, 1, 64)).clamp(-1, 1)])
    pair = [(images[i : i + 1].double() + 1) / 2 for i in (0, 1)]
    weights = [weight / (0.0448 + 0.2856 + 0.3001) for weight in (0.0448, 0.2856, 0.3001)]
    expected = 1.0
    for scale, weight in enumerate(weights):
        whole, contrast = textbook_ssim(*pair)
        expected *= float(whole if scale == 2 else contrast) ** weight
        pair = [F.avg_pool2d(images, 2) for images in pair]
    assert 0.2 < expected < 0.95
    assert pair_ms_ssim(images) == pytest.approx(expected, abs=1e-5)


def test_ms_ssim_refuses_small_images() -> None:
    with pytest.raises(ValueError, match="at least 14 pixels a side, but these have 8"):
        pair_ms_ssim(noise(10, 1, 8))
