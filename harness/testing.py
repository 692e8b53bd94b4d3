"""The contract: what every registered entry must keep to, as functions that its author calls.

No test framework is needed; each function returns where all is well, and else raises a `ContractError` that
says in a sentence which promise is broken. An entry takes a second or two.

    import my_gan.nets
    from harness.testing import check_discriminator, check_generator

    check_generator("my-resnet", sample_shape=(3, 32, 32), options={"width": 0.25})
    check_discriminator("my-resnet", sample_shape=(3, 32, 32))

Shapes: K = 3 runs, B = 6 samples a batch.
"""

from __future__ import annotations

import dataclasses
import importlib
import json
import math
import tempfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from numbers import Real
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from harness.data import Dataset, load_dataset, scaled
from harness.data.dataset import known_outline
from harness.engine import checkpoint
from harness.engine.events import EvaluationDue
from harness.engine.population import Population
from harness.engine.trainer import Trainer
from harness.metrics.catalogue import Metric
from harness.network.stacked import Network, mixes_samples
from harness.objective.penalties import squared_gradient_norm
from harness.optim.population import PopulationOptimizer
from harness.optim.rules import Optimizer
from harness.recipe import Choice, Loss, Recipe, choose, find_recipe
from harness.recipe.networks import check_networks
from harness.recipe.registry import (
    Registry,
    Value,
    datasets,
    discriminators,
    generators,
    losses,
    metrics,
    optimizers,
    recipes,
)

__all__ = [
    "ContractError",
    "check_all",
    "check_dataset",
    "check_discriminator",
    "check_generator",
    "check_loss",
    "check_metric",
    "check_optimizer",
    "check_recipe",
]

_CPU = torch.device("cpu")
_K = 3
_BATCH = 6
_TOLERANCE = 1e-3
"""How far a run in a population may be from the run alone, over its size: float32 sums in another order."""
_MAX_SAMPLES = 160
"""Training samples of a recipe's data that are trained on: five batches an epoch."""

Options = Mapping[str, Value]


class ContractError(AssertionError):
    """An entry breaks a promise that training, saving or comparing runs rests on."""


def check_generator(
    name: str, *, sample_shape: tuple[int, ...], num_classes: int = 0, options: Options | None = None
) -> None:
    """Check a registered generator.

    It maps latents to finite samples of the data's shape; it is decided by its seed; gradients reach every
    parameter; options that are given change it; evaluation changes nothing; a network that mixes the samples
    of a batch says so; saved and read back it goes on bit for bit; and three runs trained together are three
    runs alone.

    Args:
        name: the registered name.
        sample_shape: shape of one sample of the data it is for.
        num_classes: number of classes of the data, 0 where there are no labels.
        options: its options, where they are not the defaults; a narrow network is checked faster.

    Raises:
        ContractError: it breaks a promise.
        ValueError: there is no such generator or option, or it does not take such data.

    Example:
        from harness.testing import check_generator

        check_generator("points-mlp", sample_shape=(2,), options={"width": 0.5})
    """
    latent_dim = int(choose(generators, name, **dict(options or {})).options["latent_dim"])
    subject = _Subject(
        registry=generators,
        name=name,
        sample_shape=sample_shape,
        num_classes=num_classes,
        options=options or {},
        input_shape=(latent_dim,),
        output_shape=sample_shape,
    )
    _check_network(subject)


def check_discriminator(
    name: str, *, sample_shape: tuple[int, ...], num_classes: int = 0, options: Options | None = None
) -> None:
    """Check a registered discriminator: as `check_generator`, and that gradient penalties can be computed.

    Args:
        name: the registered name.
        sample_shape: shape of one sample of the data it is for.
        num_classes: number of classes of the data, 0 where there are no labels.
        options: its options, where they are not the defaults.

    Raises:
        ContractError: it breaks a promise.
        ValueError: there is no such discriminator or option, or it does not take such data.

    Example:
        from harness.testing import check_discriminator

        check_discriminator("points-mlp", sample_shape=(2,), options={"width": 0.5})
    """
    subject = _Subject(
        registry=discriminators,
        name=name,
        sample_shape=sample_shape,
        num_classes=num_classes,
        options=options or {},
        input_shape=sample_shape,
        output_shape=(),
    )
    _check_network(subject)


def check_loss(name: str, *, options: Options | None = None) -> None:
    """Check a registered loss.

    It gives each run one finite loss of its own scores; D's is lower where D is right, and G's where fakes
    are taken for real; both have gradients; what it says of chance and of comparing is so; options that are
    given change it.

    Args:
        name: the registered name.
        options: its options, where they are not the defaults.

    Raises:
        ContractError: it breaks a promise.
        ValueError: there is no such loss or option.

    Example:
        from harness.testing import check_loss

        check_loss("hinge")
    """
    who = f"loss `{name}`"
    loss = losses[name](**choose(losses, name, **dict(options or {})).options)
    _hold(isinstance(loss, Loss), f"{who} must make a `harness.Loss`, but made a {type(loss).__name__}.")
    draw = torch.Generator().manual_seed(0)
    real, fake = torch.randn(2, _K, 16, generator=draw)
    for side, function in (("D", loss.discriminator), ("G", lambda a, b: loss.generator(b, a))):
        found = function(real, fake)
        _hold(
            found.shape == (_K,) and function(real[0], fake[0]).shape == (),
            f"{who}: of scores ({_K}, 16) and (16,) the loss of {side} must be ({_K},) and (), but is "
            f"{tuple(found.shape)} and {tuple(function(real[0], fake[0]).shape)}; reduce the last axis.",
        )
        _hold(bool(found.isfinite().all()), f"{who}: the loss of {side} is not finite: {found.tolist()}.")
        _hold(
            torch.equal(found, function(real, fake)), f"{who}: the loss of {side} differs from call to call."
        )
        for row in range(_K):
            _close(found[row], function(real[row], fake[row]), f"{who}: the loss of {side} in a population")
        broken = fake.index_fill(0, torch.tensor([0]), math.nan)
        _hold(
            torch.equal(function(real, broken)[1:], found[1:]),
            f"{who}: the loss of {side} of one run depends on the scores of another.",
        )
        right, wrong = (function(*pair) for pair in ((real + 9, fake - 9), (real - 9, fake + 9)))
        lower, higher = (right, wrong) if side == "D" else (wrong, right)
        _hold(
            bool((lower < higher).all()),
            f"{who}: the loss of {side} must be lower where it wins, but is {lower[0]:g} there and "
            f"{higher[0]:g} where it loses.",
        )
        scores = fake.clone().requires_grad_()
        (slope,) = torch.autograd.grad(function(real, scores).sum(), scores, materialize_grads=True)
        _hold(
            bool(slope.isfinite().all() and slope.any()),
            f"{who}: the loss of {side} has no gradient by the scores of fakes.",
        )
    other = loss.generator(fake, real + 1)
    compares = not torch.equal(other, loss.generator(fake, real))
    depends = "depends" if compares else "does not depend"
    _hold(
        compares == loss.compares,
        f"{who} says compares={loss.compares}, but G's loss {depends} on the scores of real samples.",
    )
    if loss.chance is not None:
        same = torch.linspace(-10, 10, 2001, dtype=torch.float64).unsqueeze(1)
        least = float(loss.discriminator(same, same).min())
        _hold(
            abs(least - loss.chance) <= 1e-3 * max(1.0, abs(least)),
            f"{who} says chance={loss.chance:g}, but where D cannot tell its loss is {least:g} at the least.",
        )

    def play(**changed: Value) -> list[Tensor]:
        again = losses[name](**choose(losses, name, **changed).options)
        return [again.discriminator(real, fake), again.generator(fake, real)]

    _check_options(who, losses, name, options or {}, play)


def check_optimizer(name: str, *, options: Options | None = None) -> None:
    """Check a registered optimiser.

    It goes downhill; each number is updated by its own gradient alone, so that runs and columns can be
    computed together or apart; saved and read back it goes on bit for bit; options that are given change it.

    Args:
        name: the registered name.
        options: its options, where they are not the defaults.

    Raises:
        ContractError: it breaks a promise.
        ValueError: there is no such optimiser or option.

    Example:
        from harness.testing import check_optimizer

        check_optimizer("adam", options={"beta1": 0.5})
    """
    who = f"optimizer `{name}`"
    choice = choose(optimizers, name, **dict(options or {}))
    rule = optimizers[name](**choice.options)
    _hold(isinstance(rule, Optimizer), f"{who} must be a `harness.optim.rules.Optimizer`, but is {rule!r}.")
    draw = torch.Generator().manual_seed(0)
    start = torch.randn(_K, 8, generator=draw)
    gradients = torch.randn(12, _K, 8, generator=draw)

    def run(given: list[Choice], begin: Tensor, slopes: Tensor) -> tuple[Tensor, PopulationOptimizer]:
        parameters = begin.clone()
        optimizer = PopulationOptimizer(given, parameters)
        for slope in slopes:
            optimizer.update(parameters, slope.clone())
        return parameters, optimizer

    lr = float(choice.options["lr"])
    rates = [Choice(name=name, options={**choice.options, "lr": lr * factor}) for factor in (1.0, 0.5, 2.0)]
    together, optimizer = run(rates, start, gradients)
    _hold(bool(together.isfinite().all()), f"{who}: parameters are not finite after 12 updates.")
    _hold(torch.equal(together, run(rates, start, gradients)[0]), f"{who}: two equal runs differ.")
    for row in range(_K):
        alone, _ = run(rates[row : row + 1], start[row : row + 1], gradients[:, row : row + 1])
        _close(together[row] - start[row], alone[0] - start[row], f"{who}: a run among others, at its own lr")
    same, _ = run([choice] * _K, start, gradients)
    half, _ = run([choice] * _K, start[:, :4], gradients[:, :, :4])
    _hold(
        torch.equal(same[:, :4], half),
        f"{who}: half of the columns by themselves are updated otherwise than all together; a rule must look "
        "at each number alone.",
    )
    broken, _ = run([choice] * _K, start, gradients.index_fill(1, torch.tensor([0]), math.nan))
    _hold(torch.equal(broken[1:], same[1:]), f"{who}: a NaN in one run's gradients reaches another run.")
    state, resumed = optimizer.state_dict(), PopulationOptimizer(rates, together)
    resumed.load_state_dict(state)
    first, again = together.clone(), together.clone()
    optimizer.update(first, gradients[0].clone())
    resumed.update(again, gradients[0].clone())
    _hold(
        torch.equal(first, again),
        f"{who}: read back from its state it does not go on as before; keep all it remembers in `buffers()`.",
    )
    point = start.clone()
    optimizer = PopulationOptimizer([choice] * _K, point)
    for _ in range(100):
        optimizer.update(point, point.clone())
    _hold(
        bool((point.norm(dim=1) < start.norm(dim=1)).all()),
        f"{who}: 100 steps of lr {lr:g} down ½‖θ‖² lead from ‖θ‖ = {start.norm():.3g} to {point.norm():.3g}.",
    )

    def play(**changed: Value) -> list[Tensor]:
        return [run([choose(optimizers, name, **changed)] * _K, start, gradients)[0]]

    _check_options(who, optimizers, name, options or {}, play)


def check_dataset(name: str, *, options: Options | None = None) -> None:
    """Check a registered data set.

    Made twice it is the same, bit for bit; its samples are finite, not all alike, and where they are images
    in [-1, 1] as networks see them; what it holds out is not what it trains on; labels are classes.

    Args:
        name: the registered name.
        options: its options, where they are not the defaults.

    Raises:
        ContractError: it breaks a promise.
        ValueError: there is no such data set or option, or its files cannot be read.

    Example:
        from harness.testing import check_dataset

        check_dataset("ring", options={"modes": 5})
    """
    who = f"data set `{name}`"
    choice = choose(datasets, name, **dict(options or {}))
    first, again = (datasets[name](**choice.options) for _ in range(2))
    _hold(isinstance(first, Dataset), f"{who} must make a `Dataset`, but made a {type(first).__name__}.")
    _hold(
        first.fingerprint == again.fingerprint,
        f"{who}: made twice it has the fingerprints {first.fingerprint} and {again.fingerprint}; seed what "
        "it draws.",
    )
    for part, labels in (("train", first.train_labels), ("test", first.test_labels)):
        samples = scaled(getattr(first, part)[:10_000])
        _hold(bool(samples.isfinite().all()), f"{who}: `{part}` holds numbers that are not finite.")
        _hold(bool(samples.std() > 0), f"{who}: all numbers in `{part}` are the same.")
        if first.kind == "images":
            _hold(
                bool(samples.abs().max() <= 1),
                f"{who}: images of `{part}` reach {samples.abs().max():g}, but networks make [-1, 1].",
            )
        if labels is not None:
            _hold(
                bool(labels.min() >= 0 and labels.max() < first.num_classes),
                f"{who}: labels of `{part}` run from {labels.min()} to {labels.max()}, but there are "
                f"{first.num_classes} classes.",
            )
    count = min(len(first.train), len(first.test))
    _hold(
        not torch.equal(first.train[:count], first.test[:count]),
        f"{who}: `test` holds the samples of `train`; scores need samples that no network has seen.",
    )
    told, loaded = known_outline(choice), load_dataset(choice)
    _hold(loaded.fingerprint == first.fingerprint, f"{who}: loaded it is not what its builder makes.")
    _hold(
        told is None or (told.sample_shape, told.num_classes) == (first.sample_shape, first.num_classes),
        f"{who}: its options tell {told}, but it has samples of {first.sample_shape} and {first.num_classes} "
        "classes.",
    )


def check_metric(name: str, *, data: str = "") -> None:
    """Check a registered metric.

    It gives one finite number, the same at every call, of samples with and without labels; real samples in
    place of generated ones come closer to its ideal, where it has one, than noise.

    Args:
        name: the registered name.
        data: a data set of its kind, whose reals are scored; by default `ring` or `digits`.

    Raises:
        ContractError: it breaks a promise.
        ValueError: there is no such metric or data set.

    Example:
        from harness.testing import check_metric

        check_metric("sliced_w2")
    """
    metric, who = metrics[name], f"metric `{name}`"
    _hold(isinstance(metric, Metric), f"{who} must be a `Metric`, but is {metric!r}.")
    _hold(metric.name == name, f"{who} calls itself `{metric.name}`.")
    if metric.compute is None:
        return
    dataset = load_dataset(choose(datasets, data or ("digits" if metric.kind == "images" else "ring")))
    wide = torch.float64 if dataset.kind == "points" else torch.float32
    real, held_out = (scaled(part[:400]).to(wide) for part in (dataset.train, dataset.test))
    noise = torch.randn(real.shape, generator=torch.Generator().manual_seed(0), dtype=wide)
    if dataset.kind == "images":
        noise = noise.clamp(-1, 1)
    labels = None if dataset.train_labels is None else dataset.train_labels[: len(real)].numpy()

    def score(samples: Tensor, given: Any) -> float:
        value = metric.compute(samples.numpy().copy(), held_out.numpy().copy(), given)
        is_number = isinstance(value, Real) and not isinstance(value, bool) and math.isfinite(value)
        _hold(
            is_number,
            f"{who} must give a finite number, but gave {value!r} of {len(samples)} samples"
            f"{'' if given is None else ' with labels'}.",
        )
        return float(value)

    of_real, of_noise = score(real, None), score(noise, None)
    _hold(score(real, None) == of_real, f"{who}: the same samples get another score; seed what it draws.")
    if labels is not None:
        score(real, labels)
    if metric.ideal is not None:
        _hold(
            abs(of_real - metric.ideal) < abs(of_noise - metric.ideal),
            f"{who} says ideal={metric.ideal:g}, but gives real samples {of_real:g} and noise {of_noise:g}.",
        )


def check_recipe(name: str, *, changes: Mapping[str, object] | None = None) -> None:
    """Check a registered recipe, by training two runs of it for a few steps on little of its data.

    It is what its JSON says; its networks fit its data; two runs of one seed are the same, bit for bit, and
    of two seeds are not; a run that goes on from a file is the run that was not interrupted.

    Args:
        name: the registered name.
        changes: settings to be changed, as `Recipe.override` takes them: smaller networks, say.

    Raises:
        ContractError: it breaks a promise.
        ValueError: there is no such recipe or setting, its data cannot be read, or its networks do not fit.

    Example:
        from harness.testing import check_recipe

        check_recipe("ring-gan", changes={"discriminator.units": 16})
    """
    who = f"recipe `{name}`"
    recipe = find_recipe(name).override(changes or {})
    copy = Recipe.from_json(json.loads(json.dumps(recipe.to_json())))
    _hold(copy == recipe and copy.fingerprint == recipe.fingerprint, f"{who} is not what its JSON says.")
    whole = load_dataset(recipe.data)
    check_networks(recipe, whole.sample_shape, whole.num_classes)
    labels = None if whole.train_labels is None else whole.train_labels[:_MAX_SAMPLES]
    dataset = dataclasses.replace(whole, train=whole.train[:_MAX_SAMPLES], train_labels=labels)
    short: dict[str, Any] = {"train.epochs": 3, "evaluate.every_epochs": 1, "train.batch_size": 32}
    if recipe.train.grow_images:
        short["train.grow_images"] = 200  # of 480: the first two evaluations come as a level is faded in
    recipe = recipe.override(short)

    def trainer() -> Trainer:
        return Trainer(Population([recipe, recipe], [0, 5], dataset=dataset), dataset)

    with _temporary("population.pt") as path:
        first = trainer()
        for event in first.run():
            if isinstance(event, EvaluationDue) and event.step > 0 and not event.final:
                checkpoint.save(path, first.state_dict())
        resumed = trainer()
        resumed.load_state_dict(checkpoint.load(path))
    saved = resumed.step
    for _ in resumed.run():
        pass
    again = trainer()
    again.advance(first.step // recipe.train.discriminator_steps)
    for side in ("generator", "discriminator"):
        ended, twice, continued = (getattr(each.population, side).matrix for each in (first, again, resumed))
        _hold(bool(ended.isfinite().all()), f"{who}: the {side} is not finite after {first.step} steps.")
        _hold(torch.equal(ended, twice), f"{who}: two runs of one seed end with different {side}s.")
        _hold(not torch.equal(ended[0], ended[1]), f"{who}: runs of two seeds have the same {side}.")
        _hold(
            torch.equal(ended, continued),
            f"{who}: a run that goes on from its file at step {saved} ends with another {side}.",
        )


def check_all(module: str, *, sample_shape: tuple[int, ...] | None = None, num_classes: int = 0) -> list[str]:
    """Check every entry that a module registers, by its defaults.

    Args:
        module: its dotted name; of a package, also what its modules register.
        sample_shape: shape of one sample of the data that its networks are for.
        num_classes: number of classes of that data.

    Returns:
        What was checked: ``generator my-resnet`` and so on.

    Raises:
        ContractError: an entry breaks a promise.
        ValueError: it registers nothing, or networks and no `sample_shape` is given.

    Example:
        from harness.testing import check_all

        print(check_all("my_gan.nets", sample_shape=(3, 32, 32)))
    """
    importlib.import_module(module)
    data: dict[str, Any] = {"sample_shape": sample_shape, "num_classes": num_classes}
    kinds: tuple[tuple[Registry[Any], Callable[..., None], Mapping[str, Any]], ...] = (
        (datasets, check_dataset, {}),
        (generators, check_generator, data),
        (discriminators, check_discriminator, data),
        (losses, check_loss, {}),
        (optimizers, check_optimizer, {}),
        (metrics, check_metric, {}),
        (recipes, check_recipe, {}),
    )
    checked = []
    for registry, check, given in kinds:
        for name in registry.names():
            source = registry.source(name)
            if source is None or not f"{source.module}.".startswith(f"{module}."):
                continue
            if given and sample_shape is None:
                raise ValueError(f"`sample_shape` is needed to check the {registry.noun} `{name}`; give it.")
            check(name, **given)
            checked.append(f"{registry.noun} {name}")
    if not checked:
        raise ValueError(f"`module` {module} registers no entries; name one that does.")
    return checked


@dataclass(frozen=True, kw_only=True)
class _Subject:
    """A network to be checked, and the data it is for.

    Attributes:
        registry: the registry it is in.
        name: its name there.
        sample_shape: shape of one sample of the data.
        num_classes: number of classes of the data.
        options: the options that are given.
        input_shape: shape of one of its inputs.
        output_shape: shape of one of its outputs.
    """

    registry: Registry[Callable[..., Any]]
    name: str
    sample_shape: tuple[int, ...]
    num_classes: int
    options: Options
    input_shape: tuple[int, ...]
    output_shape: tuple[int, ...]

    def __str__(self) -> str:
        return f"{self.registry.noun} `{self.name}`"

    def build(self, seed: int, **changed: Value) -> nn.Module:
        """The network from its own seed; torch's random state stays as it is."""
        options = choose(self.registry, self.name, **{**self.options, **changed}).options
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            network = self.registry[self.name](
                sample_shape=self.sample_shape, num_classes=self.num_classes, **options
            )
        _hold(isinstance(network, nn.Module), f"{self} must make an `nn.Module`, but made {network!r}.")
        assert isinstance(network, nn.Module)
        return network

    def batch(self, network: nn.Module, *leading: int, seed: int = 1) -> tuple[Tensor, ...]:
        """Random inputs, of any leading shape; classes too where the network takes them."""
        draw = torch.Generator().manual_seed(seed)
        inputs = torch.randn(*leading, *self.input_shape, generator=draw)
        if not getattr(network, "takes_labels", False):
            return (inputs,)
        _hold(self.num_classes > 0, f"{self} takes labels; give `num_classes`.")
        return inputs, torch.randint(self.num_classes, leading, generator=draw)


def _check_network(subject: _Subject) -> None:
    _check_outputs(subject)
    _check_draws(subject)
    _check_seed(subject)
    _check_gradients(subject)
    _check_evaluation(subject)
    _check_mixing(subject)

    def play(**changed: Value) -> list[Tensor]:
        network = dataclasses.replace(subject, options={}).build(0, **changed)
        text = torch.tensor(list(repr(network).encode()))
        return [text, *network.state_dict().values(), _trained_output(network, subject)]

    _check_options(str(subject), subject.registry, subject.name, subject.options, play)
    _check_saved(subject)
    _check_population(subject)


def _trained_output(network: nn.Module, subject: _Subject) -> Tensor:
    given = subject.batch(network, _BATCH)
    with torch.random.fork_rng(devices=[]), torch.no_grad():
        torch.manual_seed(2)
        try:
            output: Tensor = network.train()(*given)
        except RuntimeError:  # of another latent size than the options that are given
            return torch.zeros(0)
    return output


def _check_outputs(subject: _Subject) -> None:
    network = subject.build(0)
    for mode in (True, False):
        output = network.train(mode)(*subject.batch(network, _BATCH))
        _hold(
            isinstance(output, Tensor),
            f"{subject} must return a tensor, but returns a {type(output).__name__}.",
        )
        _hold(
            output.shape == (_BATCH, *subject.output_shape),
            f"{subject} must map {_BATCH} inputs of shape {subject.input_shape} to "
            f"{(_BATCH, *subject.output_shape)}, but maps them to {tuple(output.shape)}.",
        )
        _hold(output.dtype == torch.float32, f"{subject} must return float32, but returns {output.dtype}.")
        _hold(bool(output.isfinite().all()), f"{subject} returns numbers that are not finite.")
        _hold(bool(output.std() > 0), f"{subject} returns the same number {output.numel()} times.")
    for name, parameter in network.named_parameters():
        _hold(
            parameter.dtype == torch.float32 and parameter.requires_grad,
            f"{subject}: the parameter {name} must be trained, in float32; register others as buffers.",
        )


@torch.no_grad()
def _check_draws(subject: _Subject) -> None:
    network = subject.build(0)
    given = subject.batch(network, _BATCH)
    for mode in (True, False):
        with torch.random.fork_rng(devices=[]):
            before = torch.get_rng_state()
            network.train(mode)(*given)
            _hold(
                torch.equal(before, torch.get_rng_state()),
                f"{subject} draws from torch's random state in its forward pass, so that studies train one "
                "run of it at a time; take `gan_sweep_models.layers.Dropout` for dropout, and noise from z.",
            )


def _check_seed(subject: _Subject) -> None:
    first, again, other = (subject.build(seed).eval() for seed in (0, 0, 1))
    given = subject.batch(first, _BATCH)
    _hold(torch.equal(first(*given), again(*given)), f"{subject}: two networks of one seed differ.")
    _hold(not torch.equal(first(*given), other(*given)), f"{subject}: networks of two seeds are the same.")


def _check_gradients(subject: _Subject) -> None:
    """Beside the weights as they are drawn: a scale that begins at 0 keeps gradients from what it scales."""
    network = subject.build(0).eval()  # batch norm takes a bias before it out while it trains
    draw = torch.Generator().manual_seed(3)
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.add_(torch.randn(parameter.shape, generator=draw), alpha=0.05)
    untouched = {name for name, _ in network.named_parameters()}
    growing: Any = network
    for level in range(getattr(network, "num_levels", 1)):
        if hasattr(network, "grow"):
            growing.grow(level)
        network.zero_grad()
        output = network(*subject.batch(network, _BATCH))
        output.backward(torch.linspace(0, 1, output.numel()).view_as(output))
        untouched -= {name for name, p in network.named_parameters() if p.grad is not None and p.grad.any()}
    _hold(not untouched, f"{subject}: no gradient reaches {', '.join(sorted(untouched)[:5])}.")


@torch.no_grad()
def _check_evaluation(subject: _Subject) -> None:
    network = subject.build(0)
    network.train()(*subject.batch(network, _BATCH))
    network.eval()
    given = subject.batch(network, _BATCH)
    before = {name: buffer.clone() for name, buffer in network.named_buffers()}
    whole = network(*given)
    _hold(torch.equal(whole, network(*given)), f"{subject}: in evaluation mode two equal calls differ.")
    for name, buffer in network.named_buffers():
        _hold(
            torch.equal(before[name], buffer),
            f"{subject}: evaluation changes the buffer {name}; change it where `self.training` alone.",
        )
    if not mixes_samples(network) or not any(getattr(m, "mixes_samples", False) for m in network.modules()):
        part = network(*(each[:2] for each in given))
        _close(whole[:2], part, f"{subject}: in evaluation mode a sample among others")


@torch.no_grad()
def _check_mixing(subject: _Subject) -> None:
    network, twin = subject.build(0), subject.build(0)
    if mixes_samples(network):
        return
    given = subject.batch(network, _BATCH)
    others = (torch.cat([given[0][:1], given[0][1:].flip(0) + 1]), *given[1:])
    outputs = []
    for module, inputs in ((network, given), (twin, others)):
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(0)
            outputs.append(module.train()(*inputs)[0])
    apart = _distance(outputs[0], outputs[1])
    _hold(
        apart <= _TOLERANCE,
        f"{subject} mixes the samples of a batch while it trains ({apart:.2g} apart), but does not say so; "
        "give the layer that does an attribute mixes_samples = True.",
    )


def _check_saved(subject: _Subject) -> None:
    first, again = (_network(subject, [0]) for _ in range(2))
    _pass(subject, first, 0)
    with _temporary("network.pt") as path:
        checkpoint.save(path, first.state_dict())
        again.load_state_dict(checkpoint.load(path))
        for mine, theirs in zip(_pass(subject, first, 1), _pass(subject, again, 1), strict=True):
            _hold(
                torch.equal(mine, theirs),
                f"{subject}: read back from a file it does not go on as before; keep what a forward pass "
                "changes in buffers.",
            )
        plain, fresh = first.extract(0), subject.build(7).eval()
        checkpoint.save(path, dict(plain.state_dict()))
        fresh.load_state_dict(checkpoint.load(path))
    given = subject.batch(plain, _BATCH)
    _hold(
        torch.equal(plain(*given), fresh(*given)),
        f"{subject}: its `state_dict` is not all of it; make its buffers persistent.",
    )


def _check_population(subject: _Subject) -> None:
    together = _network(subject, range(_K))
    singles = [_network(subject, [seed]) for seed in range(_K)]
    what = (
        "outputs",
        "gradients by its parameters",
        "gradients by its inputs",
        "a gradient penalty's gradients",
    )
    for step in range(2):
        try:
            found = _pass(subject, together, step)
        except (RuntimeError, ValueError) as error:
            text = " ".join(str(error).split())
            raise ContractError(
                f"{subject}: torch cannot compute {_K} runs of it together, so that studies train one at a "
                f"time: {text}"
            ) from error
        for row, single in enumerate(singles):
            for name, joint, own in zip(what, found, _pass(subject, single, step, row), strict=False):
                _close(joint[row].reshape(-1), own.reshape(-1), f"{subject}: {name} of a run among {_K}")
            for name, buffer in single.buffers.items():
                _close(
                    together.buffers[name][row].double(),
                    buffer[0].double(),
                    f"{subject}: the buffer {name} of a run among {_K}",
                )


def _network(subject: _Subject, seeds: range | list[int]) -> Network:
    return Network([subject.build(seed) for seed in seeds], _CPU)


def _pass(subject: _Subject, network: Network, step: int, row: int = 0) -> list[Tensor]:
    """One step as training takes it: outputs and all gradients, each with its own random numbers."""
    given = subject.batch(network.module, _K, _BATCH, seed=10 + step)
    inputs, labels = given if len(given) == 2 else (given[0], None)
    if not network.stacked:
        inputs, labels = inputs[row], None if labels is None else labels[row]
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(step)
        with torch.no_grad():
            outputs, tape = network.record(inputs, labels)
            found = [outputs, network.backward(tape, outputs.clone()).clone()]
            outputs, tape = network.record(inputs, labels, to_inputs=True)
            found.append(network.backward(tape, outputs.clone()))
        if subject.registry is discriminators and not network.mixes_samples:
            source = inputs.clone().requires_grad_()
            try:
                penalty = squared_gradient_norm(network(source, labels), source)
                found.append(network.gradients(penalty))
            except RuntimeError as error:
                if network.stacked:
                    raise
                text = " ".join(str(error).split())
                raise ContractError(f"{subject}: gradient penalties cannot be computed: {text}") from error
    return found


def _check_options(
    who: str, registry: Registry[Any], name: str, options: Options, play: Callable[..., list[Tensor]]
) -> None:
    """Whether each option that is given, and is not the default, changes anything that `play` shows."""
    for key, value in options.items():
        default = registry.options(name)[key].default
        if value == default:
            continue
        with_it, without = play(**options), play(**{**options, key: default})
        same = len(with_it) == len(without) and all(map(torch.equal, with_it, without))
        _hold(not same, f"{who}: its option `{key}` does nothing: {value} is as {default}.")


@contextmanager
def _temporary(name: str) -> Iterator[Path]:
    with tempfile.TemporaryDirectory() as folder:
        yield Path(folder) / name


def _distance(found: Tensor, expected: Tensor) -> float:
    """How far two results are apart, over their size."""
    return float((found - expected).norm() / expected.norm().clamp_min(1e-6))


def _close(found: Tensor, expected: Tensor, what: str) -> None:
    apart = _distance(found, expected)
    _hold(apart <= _TOLERANCE, f"{what} is not what it is alone: {apart:.2g} apart.")


def _hold(kept: bool, broken: str) -> None:
    if not kept:
        raise ContractError(broken)
