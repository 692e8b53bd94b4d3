"""The catalogue: every recipe, on one page.

A recipe is a function without arguments that returns a `Recipe`; the first line of its docstring is the
description people see. Where a setting is not known from the system it re-creates, the docstring says so.
"""

from __future__ import annotations

from dataclasses import replace

from harness.recipe import Choice, EvaluateSettings, LossSettings, Recipe, TrainSettings, choose
from harness.recipe.registry import datasets, discriminators, generators, optimizers, recipes

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


def _adam(lr: float, *, beta1: float, weight_decay: float = 0.0) -> Choice:
    return choose(optimizers, "adam", lr=lr, beta1=beta1, beta2=0.999, weight_decay=weight_decay)


def _images(
    name: str,
    description: str,
    *,
    data: Choice,
    generator: Choice,
    discriminator: Choice,
    optimizer: Choice,
    train: TrainSettings,
    every_epochs: int,
    loss: LossSettings | None = None,
) -> Recipe:
    return Recipe(
        name=name,
        description=description,
        data=data,
        generator=generator,
        discriminator=discriminator,
        loss=loss or LossSettings(name="non-saturating"),
        generator_optimizer=optimizer,
        discriminator_optimizer=optimizer,
        train=train,
        evaluate=EvaluateSettings(every_epochs=every_epochs, num_samples=1000, num_grids=16),
    )


@recipes.register("fashion-gan")
def fashion_gan() -> Recipe:
    """Fully connected GAN on Fashion-MNIST, one hidden layer of 128 in each network, SGD 0.03 on both.

    Inferred: the optimiser and its learning rate; Adam 2e-4 is the alternative.
    """
    return _images(
        "fashion-gan",
        _summary(fashion_gan),
        data=choose(datasets, "fashion-mnist"),
        generator=choose(generators, "fashion-mlp"),
        discriminator=choose(discriminators, "fashion-mlp"),
        optimizer=choose(optimizers, "sgd", lr=0.03),
        train=TrainSettings(batch_size=64, epochs=10),
        every_epochs=1,
    )


@recipes.register("fashion-dcgan")
def fashion_dcgan() -> Recipe:
    """Convolutional GAN of 28×28 on Fashion-MNIST, Adam 2e-4 (0.5, 0.999), D's loss halved.

    Inferred: D's slope of 0.2, the batch size, the weight decay, and that the G step draws fresh z.
    """
    return _images(
        "fashion-dcgan",
        _summary(fashion_dcgan),
        data=choose(datasets, "fashion-mnist"),
        generator=choose(generators, "dcgan-28"),
        discriminator=choose(discriminators, "dcgan-28"),
        optimizer=_adam(2e-4, beta1=0.5, weight_decay=2e-5),
        train=TrainSettings(batch_size=256, epochs=10),
        every_epochs=1,
        loss=LossSettings(name="non-saturating", discriminator_scale=0.5),
    )


@recipes.register("fashion-cgan")
def fashion_cgan() -> Recipe:
    """Class-conditional least-squares GAN on Fashion-MNIST: G moves first, on random labels.

    Adam 2e-4 (0.5, 0.999) on both; the squares are not halved in G's loss, and their sum is in D's. D takes
    the G step's fakes.
    """
    return _images(
        "fashion-cgan",
        _summary(fashion_cgan),
        data=choose(datasets, "fashion-mnist"),
        generator=choose(generators, "cgan"),
        discriminator=choose(discriminators, "cgan"),
        optimizer=_adam(2e-4, beta1=0.5),
        train=TrainSettings(batch_size=64, epochs=200, order="generator-first", reuse_fakes=True),
        every_epochs=10,
        loss=LossSettings(name="least-squares", generator_scale=2.0),
    )


@recipes.register("mnist-g1d1")
def mnist_g1d1() -> Recipe:
    """Fully connected GAN on MNIST, two hidden layers of 256 in each network, Adam 3e-4.

    Inferred: Adam's default betas, and that the G step draws fresh z.
    """
    return _mnist("mnist-g1d1", _summary(mnist_g1d1), "mnist-g1", "mnist-d1", epochs=100, every_epochs=5)


@recipes.register("mnist-g2d2")
def mnist_g2d2() -> Recipe:
    """A G that is affine before its tanh against a convolutional D of 38 million parameters, on MNIST.

    Inferred: as for mnist-g1d1. With `generator.activation` leaky, G is what was surely meant.
    """
    return _mnist("mnist-g2d2", _summary(mnist_g2d2), "mnist-g2", "mnist-d2", epochs=20, every_epochs=1)


@recipes.register("mnist-g3d2")
def mnist_g3d2() -> Recipe:
    """A small G of transposed convolutions, affine as printed, against that convolutional D, on MNIST.

    Inferred: as for mnist-g1d1. With `generator.activation` leaky, G is what was surely meant.
    """
    return _mnist("mnist-g3d2", _summary(mnist_g3d2), "mnist-g3", "mnist-d2", epochs=20, every_epochs=1)


def _mnist(
    name: str, description: str, generator: str, discriminator: str, *, epochs: int, every_epochs: int
) -> Recipe:
    return _images(
        name,
        description,
        data=choose(datasets, "mnist"),
        generator=choose(generators, generator),
        discriminator=choose(discriminators, discriminator),
        optimizer=_adam(3e-4, beta1=0.9),
        train=TrainSettings(batch_size=64, epochs=epochs),
        every_epochs=every_epochs,
        loss=LossSettings(name="non-saturating", clamp=100.0),
    )


@recipes.register("faces-dcgan64")
def faces_dcgan64() -> Recipe:
    """DCGAN of 64×64 on a folder of colour images, Adam 2e-4 (0.5, 0.999); name the folder by data.path.

    Inferred: the epochs, and that the G step takes the D step's fakes.
    """
    return _dcgan64("faces-dcgan64", _summary(faces_dcgan64), choose(datasets, "image-folder"), epochs=5)


@recipes.register("faces-dcgan64-deep")
def faces_dcgan64_deep() -> Recipe:
    """The DCGAN of 64×64 with one block more in each network: in G at 4×4, in D at 32×32.

    Inferred: as for faces-dcgan64.
    """
    folder = choose(datasets, "image-folder")
    return _dcgan64("faces-dcgan64-deep", _summary(faces_dcgan64_deep), folder, epochs=5, depth=1)


def _dcgan64(name: str, description: str, data: Choice, *, epochs: int, depth: int = 0) -> Recipe:
    return _images(
        name,
        description,
        data=data,
        generator=choose(generators, "dcgan-64", depth=depth),
        discriminator=choose(discriminators, "dcgan-64", depth=depth),
        optimizer=_adam(2e-4, beta1=0.5),
        train=TrainSettings(batch_size=128, epochs=epochs, reuse_fakes=True),
        every_epochs=max(1, epochs // 10),
        loss=LossSettings(name="non-saturating", clamp=100.0),
    )


@recipes.register("cifar10-dcgan28")
def cifar10_dcgan28() -> Recipe:
    """The convolutional pair of fashion-dcgan on CIFAR-10 at 28×28, in colour."""
    return _variant("cifar10-dcgan28", cifar10_dcgan28, fashion_dcgan(), "cifar10", size=28, epochs=50)


@recipes.register("cifar10-dcgan32")
def cifar10_dcgan32() -> Recipe:
    """The DCGAN of the faces on CIFAR-10 at its own 32×32: one doubling less."""
    return _variant("cifar10-dcgan32", cifar10_dcgan32, faces_dcgan64(), "cifar10", size=32, epochs=50)


@recipes.register("cifar10-dcgan64")
def cifar10_dcgan64() -> Recipe:
    """The DCGAN of the faces on CIFAR-10, enlarged to 64×64."""
    return _variant("cifar10-dcgan64", cifar10_dcgan64, faces_dcgan64(), "cifar10", size=64, epochs=50)


@recipes.register("progan-fashion32")
def progan_fashion32() -> Recipe:
    """Progressive growing from 4×4 to 32×32 on Fashion-MNIST: a critic with gradient penalty, λ = 10.

    As published: drift 0.001, Adam 1e-3 (0, 0.99), one critic step, G's average of 0.999, both kinds of
    phases equally long. Inferred, to suit a CPU: 64 channels up to 8×8 and 16 at 32×32, z of 64 numbers, the
    batch, a tenth of the published code's images a phase, and twelve epochs, half of them at full size.
    """
    data = choose(datasets, "fashion-mnist", size=32)
    train = TrainSettings(batch_size=64, epochs=12, ema=0.999, grow_images=60_000)
    summary = _summary(progan_fashion32)
    return _progan("progan-fashion32", summary, data, train, base_channels=512, max_channels=64)


@recipes.register("progan-faces64")
def progan_faces64() -> Recipe:
    """Progressive growing from 4×4 to 64×64 on a folder of colour images; name the folder by data.path.

    As published: as for progan-fashion32. Inferred: a quarter of the published widths, the batch, the epochs,
    and a third of the published code's images a phase; fewer than 107 thousand images need shorter phases.
    """
    data = choose(datasets, "image-folder")
    train = TrainSettings(batch_size=32, epochs=15, ema=0.999, grow_images=200_000)
    summary = _summary(progan_faces64)
    return _progan("progan-faces64", summary, data, train, base_channels=4096, max_channels=128)


@recipes.register("progan-digits16")
def progan_digits16() -> Recipe:
    """Progressive growing from 4×4 to 16×16 on digits, 16 channels wide: under a minute on a core."""
    data = choose(datasets, "digits", size=16)
    train = TrainSettings(batch_size=64, epochs=30, ema=0.99, grow_images=2_000)
    summary = _summary(progan_digits16)
    return _progan("progan-digits16", summary, data, train, base_channels=128, max_channels=16)


def _progan(
    name: str, description: str, data: Choice, train: TrainSettings, *, base_channels: int, max_channels: int
) -> Recipe:
    widths = {"base_channels": base_channels, "max_channels": max_channels}
    return _images(
        name,
        description,
        data=data,
        generator=choose(generators, "progan", latent_dim=max_channels, **widths),
        discriminator=choose(discriminators, "progan", **widths),
        optimizer=choose(optimizers, "adam", lr=1e-3, beta1=0.0, beta2=0.99),
        train=train,
        every_epochs=max(1, train.epochs // 10),
        loss=LossSettings(name="wasserstein", gradient_penalty=10.0, drift=0.001),
    )


@recipes.register("digits-gan")
def digits_gan() -> Recipe:
    """The fully connected pair of fashion-gan on digits of 8×8, with Adam 1e-3: seconds on any machine."""
    recipe = _variant("digits-gan", digits_gan, fashion_gan(), "digits", size=8, epochs=100)
    return recipe.override({"optimizer.name": "adam", "optimizer.lr": 1e-3, "optimizer.beta1": 0.5})


@recipes.register("digits-dcgan")
def digits_dcgan() -> Recipe:
    """The convolutional pair of fashion-dcgan on digits of 8×8, with Adam 1e-3."""
    recipe = _variant("digits-dcgan", digits_dcgan, fashion_dcgan(), "digits", size=8, epochs=100)
    return recipe.override({"optimizer.lr": 1e-3, "train.batch_size": 64})


@recipes.register("digits-cgan")
def digits_cgan() -> Recipe:
    """The class-conditional pair of fashion-cgan on digits of 8×8, a quarter as wide, with Adam 1e-3."""
    recipe = _variant("digits-cgan", digits_cgan, fashion_cgan(), "digits", size=8, epochs=100)
    return recipe.override({"generator.width": 0.25, "discriminator.width": 0.25, "optimizer.lr": 1e-3})


@recipes.register("digits-dcgan28")
def digits_dcgan28() -> Recipe:
    """The convolutional pair of fashion-dcgan on digits enlarged to 28×28."""
    return _variant("digits-dcgan28", digits_dcgan28, fashion_dcgan(), "digits", size=28, epochs=50)


@recipes.register("digits-dcgan32")
def digits_dcgan32() -> Recipe:
    """The DCGAN of the faces, a quarter as wide, on digits enlarged to 32×32."""
    recipe = _variant("digits-dcgan32", digits_dcgan32, faces_dcgan64(), "digits", size=32, epochs=20)
    return recipe.override({"generator.width": 0.25, "discriminator.width": 0.25})


@recipes.register("digits-dcgan64")
def digits_dcgan64() -> Recipe:
    """The DCGAN of the faces, a quarter as wide, on digits enlarged to 64×64."""
    recipe = _variant("digits-dcgan64", digits_dcgan64, faces_dcgan64(), "digits", size=64, epochs=20)
    return recipe.override({"generator.width": 0.25, "discriminator.width": 0.25})


def _variant(name: str, recipe: object, base: Recipe, data: str, *, size: int, epochs: int) -> Recipe:
    """A recipe on other data: with their name, its own, and a tenth of its epochs between evaluations."""
    changed = base.override(
        {"data.name": data, "data.size": size, "train.epochs": epochs, "evaluate.every_epochs": epochs // 10}
    )
    return replace(changed, name=name, description=_summary(recipe))


def _summary(recipe: object) -> str:
    return (recipe.__doc__ or "").strip().splitlines()[0]
