"""Update rules on a population's parameter matrix, whatever the number of layers.

Shapes: K runs of P parameters. Parameters, gradients and buffers are (K, P). A hyper-parameter is a number
where all runs share it, and (K, 1) where they differ. θ are parameters, g gradients, η the learning rate, t
the number of updates, this one included.
"""

from __future__ import annotations

import functools
import math
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated

import torch
from torch import Tensor

from harness.recipe.registry import Fraction, NonNegative, Positive, optimizers

__all__ = [
    "SGD",
    "Adam",
    "AdamW",
    "Number",
    "OptimisticAdam",
    "Optimizer",
    "RMSProp",
    "Rows",
    "per_run",
    "pick",
]

Number = float | Tensor
Buffers = Mapping[str, Tensor]
"""The matrices that a rule remembers, (K, P) each, by their names."""
Rows = list[Tensor] | tuple[Tensor, ...]
"""Some rows of a matrix, (P,) each."""
Options = Mapping[str, Number]
"""The numeric options by their names, a number or (K, 1) each."""
Kernel = Callable[[Rows, Rows, Mapping[str, Rows], Mapping[str, float], Tensor], None]
"""Updates rows of θ in place, by as many of g, which may be overwritten, and of each buffer, by options that
all share, and by t: a float32 scalar on their device, which may be overwritten for all rows alike."""


@dataclass(frozen=True, kw_only=True)
class Optimizer(ABC):
    """An update rule. Its fields are its options; switches, and which numbers are 0, hold for all runs.

    Attributes:
        lr: η.
    """

    lr: Annotated[float, Positive] = 1e-3

    @abstractmethod
    def buffers(self) -> tuple[str, ...]:
        """Names of the (K, P) matrices it remembers; they start as zeros."""

    @abstractmethod
    def update(
        self, parameters: Tensor, gradients: Tensor, buffers: Buffers, options: Options, step: Number
    ) -> None:
        """Update the parameters and the buffers in place.

        Args:
            parameters: θ, (K, P).
            gradients: g, (K, P); may be overwritten.
            buffers: a (K, P) matrix for each name in `buffers()`.
            options: the numeric options, each a number or (K, 1).
            step: t, from 1; a tensor where it lives on the device.
        """

    def kernel(self) -> Kernel | None:
        """The same update in one pass over memory, of rows that share all options; None where torch has none.

        What a row becomes depends on its own numbers alone, to the last bit.
        """
        return None


@optimizers.register("sgd")
@dataclass(frozen=True, kw_only=True)
class SGD(Optimizer):
    """Stochastic gradient descent, with momentum if asked for.

    b ← momentum·b + g;  θ ← θ − η·b, or with Nesterov's momentum θ ← θ − η·(g + momentum·b).

    Attributes:
        lr: η.
        momentum: how much of the last step is kept; 0 keeps no b.
        nesterov: whether to look ahead along b.
        weight_decay: multiple of θ that is added to g.

    Raises:
        ValueError: Nesterov's momentum is asked for, but there is no momentum.

    Source: Sutskever et al. (2013), as in torch.optim.SGD. Departure: none.
    """

    lr: Annotated[float, Positive] = 1e-2
    momentum: Annotated[float, Fraction] = 0.0
    nesterov: bool = False
    weight_decay: Annotated[float, NonNegative] = 0.0

    def __post_init__(self) -> None:
        if self.nesterov and not self.momentum:
            raise ValueError("`nesterov` needs `momentum` above 0, but got 0; set momentum, 0.9 say.")

    def buffers(self) -> tuple[str, ...]:
        return ("momentum",) if self.momentum else ()

    def update(
        self, parameters: Tensor, gradients: Tensor, buffers: Buffers, options: Options, step: Number
    ) -> None:
        if self.weight_decay:
            _add_scaled(gradients, parameters, options["weight_decay"])
        direction = gradients
        if self.momentum:
            velocity = buffers["momentum"].mul_(options["momentum"]).add_(gradients)
            direction = _add_scaled(gradients, velocity, options["momentum"]) if self.nesterov else velocity
        _add_scaled(parameters, direction, -options["lr"])


@optimizers.register("rmsprop")
@dataclass(frozen=True, kw_only=True)
class RMSProp(Optimizer):
    """Gradients over a running root mean square of themselves.

    v ← α·v + (1 − α)·g²;  θ ← θ − η·g / (√v + ε). Centred: √(v − m²) with m a running mean of g. With
    momentum the quotient feeds a velocity.

    Attributes:
        alpha: α, how much of v, and of m, is kept.
        eps: ε, added to the root.
        momentum: how much of the velocity is kept; 0 has none.
        centered: whether m² is taken off v.
        weight_decay: multiple of θ that is added to g.

    Source: Hinton (2012), lecture 6e; Graves (2013), Eq. 38 to 45 (centred); as in torch.optim.RMSprop.
    Departure: none.
    """

    alpha: Annotated[float, Fraction] = 0.99
    eps: Annotated[float, Positive] = 1e-8
    momentum: Annotated[float, Fraction] = 0.0
    centered: bool = False
    weight_decay: Annotated[float, NonNegative] = 0.0

    def buffers(self) -> tuple[str, ...]:
        wanted = {"square": True, "mean": self.centered, "momentum": bool(self.momentum)}
        return tuple(name for name, used in wanted.items() if used)

    def update(
        self, parameters: Tensor, gradients: Tensor, buffers: Buffers, options: Options, step: Number
    ) -> None:
        if self.weight_decay:
            _add_scaled(gradients, parameters, options["weight_decay"])
        square = _average_square(buffers["square"], gradients, options["alpha"])
        if self.centered:
            mean = _average(buffers["mean"], gradients, options["alpha"])
            scale = square.addcmul(mean, mean, value=-1).sqrt_()
        else:
            scale = square.sqrt()
        scale.add_(options["eps"])
        if self.momentum:
            velocity = buffers["momentum"].mul_(options["momentum"]).addcdiv_(gradients, scale)
            _add_scaled(parameters, velocity, -options["lr"])
        else:
            _add_quotient(parameters, gradients, scale, -options["lr"])

    def kernel(self) -> Kernel | None:
        plain = type(self) is RMSProp and not self.centered and not self.momentum
        return _fused_rmsprop if plain else None


@optimizers.register("adam")
@dataclass(frozen=True, kw_only=True)
class Adam(Optimizer):
    """Running means of the gradient over its running root mean square, both freed of their bias towards 0.

    m ← β₁·m + (1 − β₁)·g;  v ← β₂·v + (1 − β₂)·g²;  θ ← θ − η·m̂ / (√v̂ + ε), m̂ = m/(1 − β₁ᵗ), v̂ = v/(1 − β₂ᵗ).

    Attributes:
        beta1: β₁, how much of m is kept.
        beta2: β₂, how much of v is kept.
        eps: ε, added to the root.
        weight_decay: multiple of θ that is added to g.

    Source: Kingma and Ba (2015), Algorithm 1. Departure: none.
    """

    beta1: Annotated[float, Fraction] = 0.9
    beta2: Annotated[float, Fraction] = 0.999
    eps: Annotated[float, Positive] = 1e-8
    weight_decay: Annotated[float, NonNegative] = 0.0

    def buffers(self) -> tuple[str, ...]:
        return ("mean", "square") if self.beta1 else ("square",)

    def update(
        self, parameters: Tensor, gradients: Tensor, buffers: Buffers, options: Options, step: Number
    ) -> None:
        self._decay(parameters, gradients, options)
        mean, scale, rate = self._moments(gradients, buffers, options, step)
        _add_quotient(parameters, mean, scale, -rate)

    def kernel(self) -> Kernel | None:
        return _fused_adam if type(self) is Adam else None

    def _decay(self, parameters: Tensor, gradients: Tensor, options: Options) -> None:
        if self.weight_decay:
            _add_scaled(gradients, parameters, options["weight_decay"])

    def _moments(
        self, gradients: Tensor, buffers: Buffers, options: Options, step: Number
    ) -> tuple[Tensor, Tensor, Number]:
        """m, √v + ε·c and η·c/(1 − β₁ᵗ), with c = √(1 − β₂ᵗ): η·m̂/(√v̂ + ε) in fewer operations."""
        beta1, beta2 = options["beta1"], options["beta2"]
        mean = _average(buffers["mean"], gradients, beta1) if self.beta1 else gradients
        square = _average_square(buffers["square"], gradients, beta2)
        correction = _bias(beta2, step) ** 0.5
        scale = square.sqrt().add_(options["eps"] * correction)
        rate = options["lr"] * correction
        return mean, scale, rate / _bias(beta1, step) if self.beta1 else rate


@optimizers.register("adamw")
@dataclass(frozen=True, kw_only=True)
class AdamW(Adam):
    """Adam with weight decay apart from the gradient: θ ← θ − η·λ·θ before the update.

    Attributes:
        weight_decay: λ.

    Source: Loshchilov and Hutter (2019), Algorithm 2. Departure: the decay is scaled by η, as in
    torch.optim.AdamW.
    """

    weight_decay: Annotated[float, NonNegative] = 1e-2

    def kernel(self) -> Kernel | None:
        return functools.partial(_fused_adam, decoupled=True) if type(self) is AdamW else None

    def _decay(self, parameters: Tensor, gradients: Tensor, options: Options) -> None:
        if self.weight_decay:
            parameters.mul_(1 - options["lr"] * options["weight_decay"])


@optimizers.register("optimistic-adam")
@dataclass(frozen=True, kw_only=True)
class OptimisticAdam(Adam):
    """Adam that predicts the next gradient by this one, so that simultaneous play does not circle.

    With u the direction m̂ / (√v̂ + ε):  θ ← θ − 2η·uₜ + η·uₜ₋₁, where u₀ = 0.

    Source: Daskalakis et al. (2018), Algorithm 1. Departure: none.
    """

    def buffers(self) -> tuple[str, ...]:
        return (*super().buffers(), "previous")

    def update(
        self, parameters: Tensor, gradients: Tensor, buffers: Buffers, options: Options, step: Number
    ) -> None:
        self._decay(parameters, gradients, options)
        mean, scale, rate = self._moments(gradients, buffers, options, step)
        direction = (mean / scale).mul_(rate)
        parameters.add_(direction, alpha=-2).add_(buffers["previous"])
        buffers["previous"].copy_(direction)


def per_run(values: Sequence[float], like: Tensor) -> Number:
    """A number where all K `values` are equal, which is faster, else (K,), device and type as of `like`."""
    if all(value == values[0] for value in values):
        return float(values[0])
    return torch.tensor(values, dtype=like.dtype, device=like.device)


def pick(value: Number, positions: Tensor) -> Number:
    """A per-run `value` for the rows at these `positions` only; a number that all share stays as it is."""
    return value[positions] if isinstance(value, Tensor) else value


def _bias(beta: Number, step: Number) -> Number:
    """1 − βᵗ, in float64: in float32 the first steps would lose four digits."""
    if isinstance(beta, Tensor):
        return (1 - beta.double() ** step).to(beta.dtype)
    bias: Number = 1 - beta**step
    return bias


def _fused_adam(
    parameters: Rows,
    gradients: Rows,
    buffers: Mapping[str, Rows],
    options: Mapping[str, float],
    step: Tensor,
    *,
    decoupled: bool = False,
) -> None:
    """torch.optim's Adam with `fused=True`, or AdamW where the decay is `decoupled`."""
    kernel = torch._fused_adamw_ if decoupled else torch._fused_adam_
    kernel(
        parameters,
        gradients,
        buffers.get("mean", gradients),  # with a β₁ of 0 the gradient is its own mean
        buffers["square"],
        [],
        [step] * len(parameters),
        lr=options["lr"],
        beta1=options["beta1"],
        beta2=options["beta2"],
        weight_decay=options["weight_decay"],
        eps=options["eps"],
        amsgrad=False,
        maximize=False,
    )


def _fused_rmsprop(
    parameters: Rows,
    gradients: Rows,
    buffers: Mapping[str, Rows],
    options: Mapping[str, float],
    step: Tensor,
) -> None:
    """Plain RMSProp: Adam without a mean, after so many updates that nothing is left of the bias."""
    adam = {**options, "beta1": 0.0, "beta2": options["alpha"]}
    _fused_adam(parameters, gradients, buffers, adam, step.fill_(math.inf))


def _average(average: Tensor, values: Tensor, decay: Number) -> Tensor:
    """average ← decay·average + (1 − decay)·values."""
    return average.lerp_(values, 1 - decay)


def _average_square(average: Tensor, values: Tensor, decay: Number) -> Tensor:
    """average ← decay·average + (1 − decay)·values²."""
    average.mul_(decay)
    if isinstance(decay, Tensor):
        return average.add_(values.square().mul_(1 - decay))
    return average.addcmul_(values, values, value=1 - decay)


def _add_scaled(target: Tensor, values: Tensor, factor: Number) -> Tensor:
    """target ← target + factor·values."""
    if isinstance(factor, Tensor):
        return target.addcmul_(values, factor)
    return target.add_(values, alpha=factor)


def _add_quotient(target: Tensor, values: Tensor, scale: Tensor, factor: Number) -> Tensor:
    """target ← target + factor·values/scale; the scale is overwritten where runs differ."""
    if isinstance(factor, Tensor):
        return target.addcmul_(torch.div(values, scale, out=scale), factor)
    return target.addcdiv_(values, scale, value=factor)
