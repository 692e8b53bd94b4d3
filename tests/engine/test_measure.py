import pytest

from harness.data import load_dataset
from harness.engine.measure import measure
from harness.engine.schedule import count_steps
from harness.recipe import Recipe, find_recipe


def _multiply_adds(recipe: Recipe) -> float:
    """Of one step of one sample of its batch."""
    dataset = load_dataset(recipe.data)
    found = measure(recipe, dataset, budget_sec=0.01)
    _, steps = count_steps(recipe.train, len(dataset.train), dataset.name)
    assert found.total_steps == steps
    return found.multiply_adds / steps / recipe.train.batch_size


@pytest.mark.parametrize("steps", [1, 2])
def test_multiply_adds_are_those_of_forward_and_backward_passes(steps: int) -> None:
    recipe = find_recipe("ring-gan").override({"train.discriminator_steps": steps})
    first, generator, discriminator = 16 * 64, 16 * 64 + 64 * 64 + 64 * 2, 2 * 64 + 64 * 64 + 64
    of_generator = 3 * generator - first + 2 * discriminator  # nothing goes back to z, nor into D's weights
    alone = (steps - 1) * generator  # of the steps whose fakes G does not learn from
    expected = (of_generator + alone) / steps + 6 * discriminator
    assert _multiply_adds(recipe) == pytest.approx(expected)


def test_a_penalty_adds_to_the_multiply_adds_and_a_rate_does_not() -> None:
    recipe = find_recipe("ring-gan").override({"loss.name": "wasserstein"})
    plain = _multiply_adds(recipe)
    assert _multiply_adds(recipe.override({"optimizer.lr": 1e-5})) == plain
    assert _multiply_adds(recipe.override({"loss.gradient_penalty": 1.0})) > plain


def test_multiply_adds_of_networks_that_grow_are_fewer_than_of_the_same_at_full_size() -> None:
    recipe = find_recipe("progan-digits16")
    assert _multiply_adds(recipe) < _multiply_adds(recipe.override({"train.grow_images": 0}))
