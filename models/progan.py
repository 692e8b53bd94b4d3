"""A pair that grows: from 4×4 it doubles its images' size, level by level, and fades each new level in.

Shapes: z (B, latent_dim) → images (B, C, S, S); images (B, C, S, S) → scores (B,). L levels: level l works at
4·2^l pixels a side, and S = 4·2^(L − 1), a power of two.

Everything is allocated at the start, and images always have their full size: at an early level G repeats its
pixels, and D averages over as many. Where a network stands is a level, a number in Python, and how far that
level is faded in, α, which is held by the buffer `lod` = L − level − α. It is 0 for a network that is grown
up, which is how one is made: it trains at full size unless it is told otherwise. Within a level only α
changes, on the device, so that the program stays the same.

Names and shapes of G's parameters, its arithmetic and `lod` are those of the published checkpoints.

Source: Karras et al. (2018), Progressive growing of GANs for improved quality, stability, and variation.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Annotated, Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from harness.recipe.registry import NonNegative, discriminators, generators

from .layers import Size, image_shape

__all__ = ["Growing", "GrowingDiscriminator", "GrowingGenerator", "fade"]

_GAIN = math.sqrt(2)
_EPS = 1e-8


class Growing(nn.Module):
    """What both networks know of where they stand.

    Args:
        num_levels: L.
    """

    lod: Tensor

    def __init__(self, num_levels: int) -> None:
        super().__init__()
        self.num_levels = num_levels
        self.level = num_levels - 1
        self.fading = False
        self.register_buffer("lod", torch.zeros(()))
        self.register_load_state_dict_post_hook(_follow_lod)  # type: ignore[no-untyped-call]

    @torch.no_grad()
    def grow(self, level: int, alpha: float = 1.0) -> None:
        """Go to a level.

        Changing the level, or beginning or ending to fade, changes what is computed (`level` and `fading`);
        another α between 0 and 1 changes the number in `lod` alone, in place.

        Args:
            level: 0 is 4×4.
            alpha: α in [0, 1]: how much of the new level is seen. The lowest has nothing to be faded into.

        Raises:
            ValueError: there is no such level or no such α.
        """
        if not 0 <= level < self.num_levels:
            raise ValueError(f"`level` must be in 0…{self.num_levels - 1}, but got {level}.")
        if not 0 <= alpha <= 1:
            raise ValueError(f"`alpha` must be in [0, 1], but got {alpha}.")
        self.level = level
        self.fading = level > 0 and alpha < 1
        self.lod.fill_(self.num_levels - level - (alpha if self.fading else 1))

    def fade(self, images: Tensor) -> Tensor:
        """Real images as they are to be seen now; see `fade`.

        Args:
            images: (..., C, S, S), of any leading axes.
        """
        if not self.fading:
            return images
        return fade(images, num_levels=self.num_levels, level=self.level, alpha=self.alpha)

    @property
    def alpha(self) -> Tensor:
        """α as a tensor, ()."""
        return self.num_levels - self.level - self.lod

    def _layer(self, name: str, number: int) -> Any:
        return getattr(self, f"{name}{number}")


def _follow_lod(module: Growing, _: object) -> None:
    """Go to the level that loaded numbers stand at."""
    if not module.lod.is_meta:
        lod = float(module.lod)
        if 0 <= lod <= module.num_levels - 1:
            level = module.num_levels - 1 - math.floor(lod)
            module.grow(level, module.num_levels - level - lod)


def fade(images: Tensor, *, num_levels: int, level: int, alpha: Tensor | float) -> Tensor:
    """Real images as a new level is faded in: G's images go from coarse to fine, so real ones do the same.

    x ← α x + (1 − α) up(down(x)), at the level's own size.

    Args:
        images: (..., C, S, S), of any leading axes.
        num_levels: L.
        level: the level that is faded in, 1 or more.
        alpha: α, a number or ().

    Returns:
        (..., C, S, S). Detail finer than the level is gone; D would average over it in any case.

    Source: `process_reals` of the authors' code; the paper (appendix A) says the same in words.
    """
    flat = images.reshape(-1, *images.shape[-3:])
    fine = _pooled(flat, num_levels - 1 - level)
    coarse = _repeated(_pooled(fine, 1), 1)
    return _repeated(coarse + alpha * (fine - coarse), num_levels - 1 - level).reshape(images.shape)


class _Equalized(nn.Conv2d):
    """A convolution by w · gain/√fan_in, w from N(0, 1): the scale acts when the weight is used.

    So all weights are of one size, and an optimiser that divides by the gradient's size moves all of them
    at one pace. Without `equalized` the scale is multiplied into the first weights instead.

    Source: Karras et al. (2018), section 4.1.
    """

    def __init__(
        self, before: int, after: int, kernel: int, *, padding: int = 0, gain: float = _GAIN, equalized: bool
    ) -> None:
        super().__init__(before, after, kernel, padding=padding)
        self.scale = gain / math.sqrt(before * kernel * kernel)
        if not equalized:
            with torch.no_grad():
                self.weight.mul_(self.scale)
            self.scale = 1.0

    def reset_parameters(self) -> None:
        nn.init.normal_(self.weight)
        assert self.bias is not None
        nn.init.zeros_(self.bias)

    def forward(self, inputs: Tensor) -> Tensor:
        outputs: Tensor = self._conv_forward(inputs, self.weight * self.scale, self.bias)
        return outputs


class _FromLatent(_Equalized):
    """z (B, Z) → (B, C, 4, 4): a 4×4 convolution with padding 3 of a single pixel, as a product."""

    def __init__(self, latent_dim: int, channels: int, *, equalized: bool) -> None:
        super().__init__(latent_dim, channels, 4, padding=3, equalized=equalized)

    def forward(self, inputs: Tensor) -> Tensor:
        assert self.bias is not None
        weight = (self.weight * self.scale).flip(2, 3).permute(1, 0, 2, 3)
        made = (inputs @ weight.flatten(1)).view(-1, self.out_channels, 4, 4)
        outputs: Tensor = made + self.bias[:, None, None]
        return outputs


class _PixelNorm(nn.Module):
    """x / √(mean over channels of x² + 10⁻⁸), pixel by pixel; section 4.2."""

    def forward(self, inputs: Tensor) -> Tensor:
        return inputs * (inputs.square().mean(1, keepdim=True) + _EPS).rsqrt()


class _MinibatchStd(nn.Module):
    """One channel more: the standard deviation over the batch, averaged over all else.

    Source: Karras et al. (2018), section 3, of the whole batch as the paper has it. The authors' code takes
    it in groups of 4 samples (`minibatch_stddev_layer`), so that a sample is told only of its group's.
    """

    mixes_samples = True

    def forward(self, inputs: Tensor) -> Tensor:
        spread = (inputs.var(0, correction=0) + _EPS).sqrt().mean()
        return torch.cat([inputs, spread.expand_as(inputs[:, :1])], dim=1)


@generators.register("progan")
class GrowingGenerator(Growing):
    """Two convolutions a level of min(base_channels / size, max_channels) channels, pixel norm, no tanh.

    The published faces of 1024×1024 have `latent_dim` 512, `base_channels` 16384 and `max_channels` 512.
    `pixel_norm` normalises z, and the input of every convolution; without `equalized` the scale of a weight
    is part of its first value, not of its use. `tanh` bounds the images to (-1, 1).

    Args:
        channels: of the levels, from 4×4 up; as many as reach the images' size, for files of other widths.

    Raises:
        ValueError: the data are no square images with sides that are a power of two, 4 or more.
    """

    def __init__(
        self,
        channels: Sequence[int] = (),
        *,
        sample_shape: tuple[int, ...],
        num_classes: int,
        latent_dim: Size = 128,
        base_channels: Size = 2048,
        max_channels: Size = 128,
        slope: Annotated[float, NonNegative] = 0.2,
        pixel_norm: bool = True,
        equalized: bool = True,
        tanh: bool = False,
    ) -> None:
        image_channels, levels = _pyramid(
            "`generator.name` progan", sample_shape, base_channels, max_channels
        )
        channels = channels or levels
        super().__init__(len(channels))
        for level, count in enumerate(channels):
            first = (
                _Equalized(channels[level - 1], count, 3, padding=1, equalized=equalized)
                if level
                else _FromLatent(latent_dim, count, equalized=equalized)
            )
            self.add_module(f"layer{2 * level}", first)
            second = _Equalized(count, count, 3, padding=1, equalized=equalized)
            self.add_module(f"layer{2 * level + 1}", second)
            image = _Equalized(count, image_channels, 1, gain=1.0, equalized=equalized)
            self.add_module(f"output{level}", image)
        self.activation = nn.LeakyReLU(slope)
        self.norm = _PixelNorm() if pixel_norm else nn.Identity()
        self.squash = nn.Tanh() if tanh else nn.Identity()

    def forward(self, z: Tensor) -> Tensor:
        x = self.norm(z)
        coarse = x
        for level in range(self.level + 1):
            if level == self.level and self.fading:
                coarse = _repeated(self._layer("output", level - 1)(self.norm(x)), 1)
            x = self.norm(x)
            if level:
                x = _repeated(x, 1)
            x = self.activation(self._layer("layer", 2 * level)(x))
            x = self.activation(self._layer("layer", 2 * level + 1)(self.norm(x)))
        images: Tensor = self._layer("output", self.level)(self.norm(x))
        if self.fading:
            images = coarse + self.alpha * (images - coarse)
        squashed: Tensor = self.squash(images)
        return _repeated(squashed, self.num_levels - 1 - self.level)


@discriminators.register("progan")
class GrowingDiscriminator(Growing):
    """The mirror of the generator: averages over 2×2 between levels, the batch's spread at 4×4.

    `base_channels`, `max_channels` and `equalized` are as for the generator; `minibatch_std` gives the 4×4
    level the batch's spread as one channel more.

    Raises:
        ValueError: the data are no square images with sides that are a power of two, 4 or more.
    """

    def __init__(
        self,
        *,
        sample_shape: tuple[int, ...],
        num_classes: int,
        base_channels: Size = 2048,
        max_channels: Size = 128,
        slope: Annotated[float, NonNegative] = 0.2,
        minibatch_std: bool = True,
        equalized: bool = True,
    ) -> None:
        image_channels, channels = _pyramid(
            "`discriminator.name` progan", sample_shape, base_channels, max_channels
        )
        super().__init__(len(channels))
        self.spread = _MinibatchStd() if minibatch_std else nn.Identity()
        for level, count in enumerate(channels):
            image = _Equalized(image_channels, count, 1, equalized=equalized)
            self.add_module(f"input{level}", image)
            taken = count + (minibatch_std and not level)
            first = _Equalized(taken, count, 3, padding=1, equalized=equalized)
            self.add_module(f"layer{2 * level + 1}", first)
            second = (
                _Equalized(count, channels[level - 1], 3, padding=1, equalized=equalized)
                if level
                else _Equalized(count, count, 4, equalized=equalized)
            )
            self.add_module(f"layer{2 * level}", second)
        self.score = _Equalized(channels[0], 1, 1, gain=1.0, equalized=equalized)
        self.activation = nn.LeakyReLU(slope)

    def forward(self, images: Tensor) -> Tensor:
        images = _pooled(images, self.num_levels - 1 - self.level)
        x = self.activation(self._layer("input", self.level)(images))
        for level in range(self.level, 0, -1):
            x = self.activation(self._layer("layer", 2 * level + 1)(x))
            x = _pooled(self.activation(self._layer("layer", 2 * level)(x)), 1)
            if level == self.level and self.fading:
                coarse = self.activation(self._layer("input", level - 1)(_pooled(images, 1)))
                x = coarse + self.alpha * (x - coarse)
        x = self.activation(self._layer("layer", 1)(self.spread(x)))
        x = self.activation(self._layer("layer", 0)(x))
        scores: Tensor = self.score(x)
        return scores.flatten()


def _pyramid(
    entry: str, sample_shape: tuple[int, ...], base_channels: int, max_channels: int
) -> tuple[int, list[int]]:
    """Channels of the images, and of every level from 4×4 up."""
    channels, size, _ = image_shape(
        entry,
        sample_shape,
        takes="equal sides that are a power of two, 4 or more",
        fits=lambda height, width: height == width >= 4 and height & (height - 1) == 0,
    )
    sizes = [4 << level for level in range(size.bit_length() - 2)]
    return channels, [max(1, min(base_channels // side, max_channels)) for side in sizes]


def _repeated(images: Tensor, doublings: int) -> Tensor:
    """Each pixel as a square of 2^doublings a side."""
    return F.interpolate(images, scale_factor=2.0**doublings, mode="nearest") if doublings else images


def _pooled(images: Tensor, halvings: int) -> Tensor:
    """Means over squares of 2^halvings pixels a side."""
    return F.avg_pool2d(images, 2**halvings) if halvings else images
