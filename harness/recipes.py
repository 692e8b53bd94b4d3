"""The catalogue: every recipe, on one page.

A recipe is a function without arguments that returns a `Recipe`; the first line of its docstring is the
description people see. Where a setting is not known from the system it re-creates, the docstring says so.
"""

from __future__ import annotations

from harness.recipe import Choice, EvaluateSettings, LossSettings, Recipe, TrainSettings, choose
from harness.registry import datasets, discriminators, generators, optimizers, recipes

__all__: list[str] = []


def _rmsprop() -> Choice:
    return choose(optimizers, "rmsprop", lr=5e-5, alpha=0.99)


def _points(name: str, description: str, loss: LossSettings, train: TrainSettings) -> Recipe:
    return Recipe(
        name=name,
        description=description,
        data=choose(datasets, "points"),
        generator=choose(generators, "points-mlp"),
        discriminator=choose(discriminators, "points-mlp"),
        loss=loss,
        generator_optimizer=_rmsprop(),
        discriminator_optimizer=_rmsprop(),
        train=train,
        evaluate=EvaluateSettings(every_epochs=10, num_samples=1200),
    )


@recipes.register("points-gan")
def points_gan() -> Recipe:
    """GAN with the minimax loss on a zigzag of four Gaussians, RMSProp 5e-5 on both networks.

    Inferred: the saturating generator loss, and that the G step takes the D step's fakes.
    """
    loss = LossSettings(name="minimax")
    return _points("points-gan", _summary(points_gan), loss, TrainSettings(reuse_fakes=True))


@recipes.register("points-wgan")
def points_wgan() -> Recipe:
    """Wasserstein GAN on the zigzag: G moves first, then one step of a critic clipped to ±0.1.

    Inferred: the bound of the clip, one critic step, and that the critic takes the G step's fakes.
    """
    loss = LossSettings(name="wasserstein", weight_clip=0.1)
    train = TrainSettings(order="generator-first", reuse_fakes=True)
    return _points("points-wgan", _summary(points_wgan), loss, train)


@recipes.register("points-wgan-gp")
def points_wgan_gp() -> Recipe:
    """Wasserstein GAN with a weak gradient penalty on the zigzag: λ = 0.001, one critic step."""
    return _points_wgan_gp("points-wgan-gp", _summary(points_wgan_gp), penalty=0.001, critic_steps=1)


@recipes.register("points-wgan-gp-0.1")
def points_wgan_gp_medium() -> Recipe:
    """Wasserstein GAN with gradient penalty on the zigzag: λ = 0.1, five critic steps."""
    return _points_wgan_gp("points-wgan-gp-0.1", _summary(points_wgan_gp_medium), penalty=0.1, critic_steps=5)


@recipes.register("points-wgan-gp-10")
def points_wgan_gp_strong() -> Recipe:
    """Wasserstein GAN with gradient penalty on the zigzag: λ = 10, five critic steps."""
    return _points_wgan_gp("points-wgan-gp-10", _summary(points_wgan_gp_strong), penalty=10.0, critic_steps=5)


def _points_wgan_gp(name: str, description: str, *, penalty: float, critic_steps: int) -> Recipe:
    loss = LossSettings(name="wasserstein", gradient_penalty=penalty)
    return _points(name, description, loss, TrainSettings(discriminator_steps=critic_steps))


def _tiny(name: str, description: str, data: str, *, epochs: int) -> Recipe:
    adam = choose(optimizers, "adam", lr=1e-3, beta1=0.5)
    return Recipe(
        name=name,
        description=description,
        data=choose(datasets, data),
        generator=choose(generators, "tiny-mlp", latent_dim=16),
        discriminator=choose(discriminators, "tiny-mlp"),
        loss=LossSettings(name="non-saturating"),
        generator_optimizer=adam,
        discriminator_optimizer=adam,
        train=TrainSettings(batch_size=64, epochs=epochs, reuse_fakes=True, ema=0.995),
        evaluate=EvaluateSettings(every_epochs=epochs // 20, num_samples=2500),
    )


@recipes.register("ring-gan")
def ring_gan() -> Recipe:
    """A tiny non-saturating GAN on a ring of eight Gaussians: it finds most modes, not always all."""
    return _tiny("ring-gan", _summary(ring_gan), "ring", epochs=60)


@recipes.register("grid-gan")
def grid_gan() -> Recipe:
    """A tiny non-saturating GAN on a 5×5 grid of Gaussians: too small for it, so most modes are dropped."""
    return _tiny("grid-gan", _summary(grid_gan), "grid", epochs=100)


def _summary(recipe: object) -> str:
    return (recipe.__doc__ or "").strip().splitlines()[0]
