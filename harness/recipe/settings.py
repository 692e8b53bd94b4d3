"""What a recipe says of its loss, its schedule and its evaluations: the sections that choose no entry."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from typing import Annotated, Literal

from harness.recipe.registry import Bounds, Fraction, NonNegative, Positive, Value, losses

__all__ = ["EvaluateSettings", "LossSettings", "TrainSettings"]

_AtLeastOne = Bounds(low=1, high=1_000_000)


@dataclass(frozen=True, kw_only=True)
class LossSettings:
    """The adversarial loss and its regularisers.

    Attributes:
        name: an entry of the loss registry.
        discriminator_scale: factor on D's loss; 0.5 gives the halved sum (real + fake) / 2.
        generator_scale: factor on G's loss; 2 makes the least-squares one a plain mean squared error.
        clamp: bound of −log in the cross-entropies of minimax and non-saturating; with 100 they are computed
            as torch's BCELoss does. 0 is off: exact, however sure D is.
        early_generator: the loss whose part for G is used in the first `early_steps`; none where it is empty.
            Options of its own are at their defaults.
        early_steps: D steps before G goes over to the loss of `name`.
        weight_clip: bound c of D's weights, clipped to [-c, c] after each of its steps; 0 is off.
        gradient_penalty: weight λ of the penalty on D's gradient between real and fake samples.
        gradient_penalty_target: the norm the gradient is drawn to.
        r1: weight of the squared gradient norm at real samples.
        r2: weight of the squared gradient norm at fake samples.
        drift: weight of the mean squared score of real samples.
        options: the options of the loss of that name; a recipe fills in those that are not given. Their keys
            are `loss.<option>`, as if they were settings.
    """

    name: str = "non-saturating"
    discriminator_scale: Annotated[float, Positive] = 1.0
    generator_scale: Annotated[float, Positive] = 1.0
    clamp: Annotated[float, Bounds(low=0.0, high=100.0)] = 0.0
    early_generator: str = ""
    early_steps: Annotated[int, Bounds(low=0)] = 0
    weight_clip: Annotated[float, NonNegative] = 0.0
    gradient_penalty: Annotated[float, NonNegative] = 0.0
    gradient_penalty_target: Annotated[float, NonNegative] = 1.0
    r1: Annotated[float, NonNegative] = 0.0
    r2: Annotated[float, NonNegative] = 0.0
    drift: Annotated[float, NonNegative] = 0.0
    options: Mapping[str, Value] = field(default_factory=dict)

    def __hash__(self) -> int:
        settings = [getattr(self, own.name) for own in fields(self) if own.name != "options"]
        return hash((*settings, *sorted(self.options.items())))


losses.reserve((own.name for own in fields(LossSettings)), "a setting of every loss")


@dataclass(frozen=True, kw_only=True)
class TrainSettings:
    """The training schedule.

    A *step* is one batch of real data shown to D. An iteration is `discriminator_steps` steps of D, each on a
    fresh batch, and `generator_steps` of G.

    Attributes:
        batch_size: samples in a batch, of real data and of fakes.
        epochs: passes over the training set; batches that do not fill up are dropped.
        order: which network moves first within an iteration.
        discriminator_steps: D steps an iteration.
        generator_steps: G steps an iteration.
        reuse_fakes: the network that moves second takes the fakes of the first one's last step.
        ema: decay of the running average of G's weights, used for samples and scores; 0 is off.
        grow_images: real images of each phase of networks that grow: the smallest size is trained for as
            many, and then each doubling is faded in over as many and kept for as many, the last to the end.
            Samples and scores are those of the size reached, enlarged. 0 is full size from the start.
        precision: what is multiplied with what. float32 has TF32 off; tf32 rounds products of matrices and
            convolutions to TF32, on a GPU that can; bf16 computes forward passes by torch's autocast to
            bfloat16, and penalties, losses, updates and evaluations in float32. On a CPU that computes in
            bfloat16, nets whose layers are large are 1.2 to 1.4 times as fast by it, convolutional ones and
            the conditional GAN among the recipes, and those of small layers 0.7 to 1.0.
    """

    batch_size: Annotated[int, Bounds(low=2, high=1_000_000)] = 256
    epochs: Annotated[int, _AtLeastOne] = 320
    order: Literal["discriminator-first", "generator-first"] = "discriminator-first"
    discriminator_steps: Annotated[int, _AtLeastOne] = 1
    generator_steps: Annotated[int, _AtLeastOne] = 1
    reuse_fakes: bool = False
    ema: Annotated[float, Fraction] = 0.0
    grow_images: Annotated[int, Bounds(low=0)] = 0
    precision: Literal["float32", "tf32", "bf16"] = "float32"


@dataclass(frozen=True, kw_only=True)
class EvaluateSettings:
    """When a run is scored, and on how much.

    Attributes:
        every_epochs: epochs between evaluations; the untrained and the final networks are always scored.
        num_samples: generated samples an evaluation, from a fixed z.
        num_grids: steps, evenly spaced in their logarithm from the first to the last, at which samples are
            pictured, besides every evaluation; 0 is none.
    """

    every_epochs: Annotated[int, _AtLeastOne] = 10
    num_samples: Annotated[int, Bounds(low=100, high=1_000_000)] = 1200
    num_grids: Annotated[int, Bounds(low=0, high=1000)] = 0
