"""Published checkpoints: the layout key by key, the arithmetic against a second implementation, bad files."""

from __future__ import annotations

import math
import pickle
import warnings
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from gan_sweep_models.progan import GrowingGenerator
from harness.latent import published_subject
from harness.latent.factors import factorize
from harness.latent.published import load_published
from harness.latent.sefa import VARIANTS

State = dict[str, Tensor]


def shapes(size: int, *, base: int = 16384, most: int = 512, latent: int = 512) -> dict[str, tuple[int, ...]]:
    """The layout as it is published, written out once more."""
    found: dict[str, tuple[int, ...]] = {"lod": ()}
    before = latent
    for number in range(2 * (size.bit_length() - 2)):
        channels = max(1, min(base // (4 << (number // 2)), most))
        kernel = 4 if number == 0 else 3
        found[f"layer{number}.weight"] = (channels, before, kernel, kernel)
        found[f"layer{number}.bias"] = (channels,)
        if number % 2:
            found[f"output{number // 2}.weight"] = (3, channels, 1, 1)
            found[f"output{number // 2}.bias"] = (3,)
        before = channels
    return found


def state_of(size: int, *, seed: int = 0, dtype: torch.dtype = torch.float64, **widths: int) -> State:
    generator = torch.Generator().manual_seed(seed)
    state = {
        name: torch.randn(shape, generator=generator, dtype=torch.float32).to(dtype)
        for name, shape in shapes(size, **widths).items()
    }
    return {**state, "lod": torch.zeros((), dtype=dtype)}


def small(size: int = 16, **options: Any) -> State:
    return state_of(size, base=64, most=16, latent=12, **options)


def write(path: Path, state: Any, key: str = "generator_smooth") -> Path:
    torch.save({key: state}, path)
    return path


def straight(state: State, z: Tensor) -> Tensor:
    """The published arithmetic of a grown generator, line by line."""

    def normed(x: Tensor) -> Tensor:
        return x / torch.sqrt(torch.mean(x**2, dim=1, keepdim=True) + 1e-8)

    x = normed(z)[:, :, None, None]
    number = 0
    while f"layer{number}.weight" in state:
        weight, bias = state[f"layer{number}.weight"], state[f"layer{number}.bias"]
        x = normed(x)
        if number >= 2 and number % 2 == 0:
            x = x.repeat_interleave(2, dim=2).repeat_interleave(2, dim=3)
        fan_in = weight.shape[1] * weight.shape[2] * weight.shape[3]
        x = F.conv2d(x, weight * (math.sqrt(2) / math.sqrt(fan_in)), bias, padding=3 if number == 0 else 1)
        x = torch.where(x > 0, x, 0.2 * x)
        number += 1
    weight, bias = state[f"output{number // 2 - 1}.weight"], state[f"output{number // 2 - 1}.bias"]
    return F.conv2d(normed(x), weight / math.sqrt(weight.shape[1]), bias)


def test_the_layout_of_1024_pixels_has_23_079_115_parameters() -> None:
    channels = [min(4096 >> level, 512) for level in range(9)]
    with torch.random.fork_rng(devices=[]):
        generator = GrowingGenerator(channels, sample_shape=(3, 1024, 1024), num_classes=0, latent_dim=512)
    ours = {name: tuple(value.shape) for name, value in generator.state_dict().items()}
    assert ours == shapes(1024)
    assert sum(math.prod(shape) for name, shape in ours.items() if name != "lod") == 23_079_115
    assert ours["layer0.weight"] == (512, 512, 4, 4)
    assert [ours[f"layer{i}.weight"][:2] for i in (8, 10, 12, 14, 16)] == [
        (256, 512),
        (128, 256),
        (64, 128),
        (32, 64),
        (16, 32),
    ]


@pytest.mark.parametrize("size", [8, 64])
def test_a_file_of_the_published_widths_computes_what_is_published(tmp_path: Path, size: int) -> None:
    state = state_of(size)
    found = load_published(write(tmp_path / "file.pth", state))
    z = torch.randn(1, 512, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    assert found.generator is not None
    made = found.generator(z)
    assert made.shape == (1, 3, size, size)
    assert made.dtype == torch.float64
    torch.testing.assert_close(made, straight(state, z), rtol=0, atol=1e-6)
    assert (found.layout, len(found.weights[0]), found.sample_shape) == ("pggan", 512, (3, size, size))


@pytest.mark.parametrize("size", [8, 16, 32, 128, 256, 512, 1024])
def test_narrower_generators_of_any_size_compute_the_same(tmp_path: Path, size: int) -> None:
    state = small(size)
    found = load_published(write(tmp_path / "file.pth", state, "generator"))
    z = torch.randn(
        3 if size < 512 else 1, 12, generator=torch.Generator().manual_seed(1), dtype=torch.float64
    )
    assert found.generator is not None
    torch.testing.assert_close(found.generator(z), straight(state, z), rtol=0, atol=1e-6)
    assert found.key == "generator"


def test_a_file_of_1024_pixels_loads(tmp_path: Path) -> None:
    state = state_of(1024, base=2048, most=16, latent=8, dtype=torch.float32)
    found = load_published(write(tmp_path / "file.pth", state))
    assert found.generator is not None
    assert found.generator.num_levels == 9
    z = torch.randn(1, 8, generator=torch.Generator().manual_seed(1))
    torch.testing.assert_close(found.generator(z), straight(state, z), rtol=1e-3, atol=1e-3)


@pytest.mark.parametrize("variant", ["lab", "original"])
def test_directions_planted_in_a_file_of_the_published_layout_are_recovered(
    tmp_path: Path, variant: str
) -> None:
    state = state_of(8, dtype=torch.float32)
    directions, strengths, weight = planted(variant)
    state["layer0.weight"] = weight.view(512, 512, 4, 4).transpose(0, 1).float().contiguous()
    subject = published_subject(write(tmp_path / "file.pth", state))
    assert subject.weights[0].shape == (512, 8192)
    found = factorize(subject.weights[0], normalize_columns=VARIANTS[variant].normalize_columns)
    cosines = (found.directions[: len(directions)] * directions).sum(1).abs()
    assert (cosines > 0.999).all(), cosines
    torch.testing.assert_close(found.values[: len(directions)], strengths, rtol=1e-4, atol=0)


def planted(variant: str) -> tuple[Tensor, Tensor, Tensor]:
    """Five directions (5, 512), their eigenvalues (5,), and a W (512, 8192) that has them in this variant.

    Columns of length 1 keep the directions where W's columns are each one of an orthonormal set, of the
    first as many as of the eigenvalue; only the counts matter then, so the lengths are drawn at random.
    """
    generator = torch.Generator().manual_seed(5)
    basis = torch.linalg.qr(torch.randn(512, 512, generator=generator, dtype=torch.float64)).Q.T
    if variant == "lab":
        singular = torch.cat([torch.tensor([9.0, 8, 7, 6, 5]), torch.linspace(2, 0.1, 507)]).double()
        frame = torch.linalg.qr(torch.randn(8192, 512, generator=generator, dtype=torch.float64)).Q.T
        return basis[:5], singular[:5] ** 2, basis.T @ (singular[:, None] * frame)
    counts = torch.tensor([100, 90, 80, 70, 60, *[15] * 507])
    counts[5 : 5 + 8192 - int(counts.sum())] += 1
    columns = basis.repeat_interleave(counts, dim=0).T
    lengths = torch.rand(8192, generator=generator, dtype=torch.float64) + 0.5
    order = torch.randperm(8192, generator=generator)
    return basis[:5], counts[:5].double(), (columns * lengths)[:, order]


def test_the_smooth_generator_is_preferred(tmp_path: Path) -> None:
    smooth, plain = small(seed=1), small(seed=2)
    torch.save({"generator": plain, "generator_smooth": smooth, "other": 3}, tmp_path / "file.pth")
    found = load_published(tmp_path / "file.pth")
    assert found.key == "generator_smooth"
    assert torch.equal(found.weights[0], smooth["layer0.weight"].transpose(0, 1).flatten(1))
    assert found.weights[0].shape == (12, 16 * 16)


def test_a_smooth_generator_of_none_is_passed_over(tmp_path: Path) -> None:
    torch.save({"generator_smooth": None, "generator": small()}, tmp_path / "file.pth")
    assert load_published(tmp_path / "file.pth").key == "generator"


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_weights_of_half_precision_are_taken_as_single(tmp_path: Path, dtype: torch.dtype) -> None:
    state = small(dtype=dtype)
    found = load_published(write(tmp_path / "file.pth", state))
    assert found.generator is not None
    loaded = found.generator.state_dict()
    assert all(torch.equal(loaded[name], value.float()) for name, value in state.items())


@pytest.mark.parametrize("lod", [0.0, 1.0, 0.25, 1.75, 2.0])
def test_a_generator_that_was_still_growing_is_loaded_where_it_stood(tmp_path: Path, lod: float) -> None:
    state = {**small(16), "lod": torch.tensor(lod, dtype=torch.float64)}
    found = load_published(write(tmp_path / "file.pth", state))
    z = torch.randn(3, 12, generator=torch.Generator().manual_seed(1), dtype=torch.float64)

    def at(size: int) -> Tensor:
        own = {name: state[name] for name in shapes(size, base=64, most=16, latent=12)}
        factor = 16 // size
        return straight(own, z).repeat_interleave(factor, 2).repeat_interleave(factor, 3)

    below, share = math.floor(lod), lod - math.floor(lod)
    expected = (1 - share) * at(16 >> below) + (share * at(16 >> (below + 1)) if share else 0)
    assert found.generator is not None
    torch.testing.assert_close(found.generator(z), expected, rtol=0, atol=1e-6)


def style_state(layout: str, levels: int, *, width: int = 10) -> State:
    """The style weights of a generator in these layouts, and some of the keys beside them."""
    generator = torch.Generator().manual_seed(3)
    state = {"mapping.dense0.weight": torch.randn(width, width), "truncation.w_avg": torch.zeros(width)}
    layers = 2 * levels - (layout == "stylegan2")
    for number in range(layers):
        rows = 2 * (12 - number // 2)
        state[f"synthesis.layer{number}.style.weight"] = torch.randn(rows, width, generator=generator)
        state[f"synthesis.layer{number}.style.bias"] = torch.zeros(rows)
    if layout == "stylegan2":
        for number in range(levels):
            state[f"synthesis.output{number}.style.weight"] = torch.randn(6, width, generator=generator)
    return state


@pytest.mark.parametrize(("layout", "last"), [("stylegan", "layer9"), ("stylegan2", "output4")])
def test_of_the_style_generators_the_weights_of_every_layer_are_read(
    tmp_path: Path, layout: str, last: str
) -> None:
    state = style_state(layout, 5)
    found = load_published(write(tmp_path / "file.pth", state))
    assert (found.layout, found.generator, found.sample_shape) == (layout, None, None)
    assert len(found.weights[0]) == 10
    names = [f"synthesis.layer{i}.style.weight" for i in range(9)] + [f"synthesis.{last}.style.weight"]
    assert len(found.weights) == len(names)
    for weight, name in zip(found.weights, names, strict=True):
        assert torch.equal(weight, state[name].double().T)
    chosen = torch.cat([found.weights[0], found.weights[3]], dim=1)
    both = torch.cat([state[names[0]], state[names[3]]]).double()
    assert torch.allclose(factorize(chosen).gram, both.T @ both)


def changed(**changes: Tensor | None) -> State:
    state = {**small(), **{name: value for name, value in changes.items() if value is not None}}
    return {name: value for name, value in state.items() if changes.get(name, value) is not None}


def quantised(tensor: Tensor) -> Tensor:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # it is deprecated, but there are such files
        return torch.quantize_per_tensor(tensor, 0.1, 0, torch.qint8)


class Bomb:
    """A pickle of this would run code when read."""

    def __reduce__(self) -> Any:
        return print, ("this code ran",)


BAD: dict[str, tuple[Any, str]] = {
    "missing": (changed(**{"layer3.bias": None}), r"lacks layer3\.bias: a generator of 16 pixels a side has"),
    "two missing": (
        changed(**{"layer3.bias": None, "lod": None}),
        r"lacks layer3\.bias, lod: a generator of 16 pixels",
    ),
    "extra": (changed(**{"layer3.scale": torch.zeros(1)}), r"has layer3\.scale beyond it: a generator of 16"),
    "one layer too many": (
        changed(**{"layer6.weight": torch.zeros(1)}),
        r"has layer6\.weight beyond it: a generator of 16",
    ),
    "wrong shape": (
        changed(**{"layer4.weight": torch.zeros(4, 8, 5, 5)}),
        r"has other shapes than its layout: layer4\.weight is \(4, 8, 5, 5\), not \(4, 8, 3, 3\)",
    ),
    "a vector for a weight": (
        changed(**{"layer0.weight": torch.zeros(16)}),
        r"layer0\.weight is \(16,\), not \(16, \d+, 4, 4\)",
    ),
    "NaN": (
        changed(**{"layer2.weight": torch.full((8, 16, 3, 3), math.nan)}),
        r"holds numbers that are not finite, in layer2\.weight",
    ),
    "infinity": (changed(**{"output1.bias": torch.full((3,), math.inf)}), r"not finite, in output1\.bias"),
    "complex": (
        changed(**{"layer2.weight": torch.zeros(8, 16, 3, 3, dtype=torch.complex64)}),
        r"must hold dense floating-point tensors alone, but layer2\.weight is complex64\.",
    ),
    "truth values": (
        changed(**{"layer2.bias": torch.zeros(8, dtype=torch.bool)}),
        r"but layer2\.bias is bool\.",
    ),
    "whole numbers": (changed(**{"layer2.bias": torch.zeros(8).long()}), r"but layer2\.bias is int64\."),
    "no data": (changed(**{"layer2.bias": torch.zeros(8, device="meta")}), r"layer2\.bias is without data\."),
    "sparse": (changed(**{"layer2.bias": torch.zeros(8).to_sparse()}), r"layer2\.bias is sparse or nested\."),
    "quantised": (
        changed(**{"layer2.bias": quantised(torch.zeros(8))}),
        r"layer2\.bias is quantised\.",
    ),
    "two channels": (
        {name: value[:2] if "output" in name else value for name, value in small().items()},
        r"makes images of 2 channels \(output0\.bias\), which must be 1 or 3\.",
    ),
    "no generator": (None, r"`generator_smooth` must be a state_dict, but it is a NoneType"),
    "lod": (changed(lod=torch.tensor(7.0)), r"has a `lod` of 7, which must be in 0…2"),
    "another architecture": (
        {"main.0.weight": torch.zeros(3), "main.1.weight": torch.zeros(3), "main.1.bias": torch.zeros(3)},
        r"is of another architecture \(its keys are main\.0\.weight, main\.1\.weight, main\.1\.bias\)",
    ),
    "no tensors": ({"layer0.weight": 3}, r"holds more than tensors: layer0\.weight"),
    "a list": ([1, 2], r"`generator_smooth` must be a state_dict, but it is a list"),
    "a style is missing": (
        {k: v for k, v in style_state("stylegan", 3).items() if "layer2.style.weight" not in k},
        r"lacks synthesis\.layer2\.style\.weight: a stylegan generator has a style for every layer",
    ),
    "an output's style is missing": (
        {k: v for k, v in style_state("stylegan2", 3).items() if "output2.style" not in k},
        r"lacks synthesis\.output2\.style\.weight: a stylegan2 generator",
    ),
    "too few styles": (
        style_state("stylegan", 1),
        r"has styles for 2 layers, which is no stylegan generator",
    ),
    "styles of two widths": (
        {**style_state("stylegan", 3), "synthesis.layer1.style.weight": torch.zeros(24, 7)},
        r"has style weights of other shapes than \(M, 10\): synthesis\.layer1\.style\.weight is \(24, 7\)",
    ),
    "a style that is not finite": (
        {**style_state("stylegan", 3), "synthesis.layer1.style.weight": torch.full((24, 10), math.nan)},
        r"not finite, in synthesis\.layer1\.style\.weight",
    ),
}


def test_a_file_that_does_not_fit_is_refused_on_one_line_that_names_what(
    tmp_path: Path, subtests: pytest.Subtests
) -> None:
    for name in BAD:
        with subtests.test(name=name):
            state, message = BAD[name]
            path = write(tmp_path / "file.pth", state)
            with pytest.raises(ValueError, match=message) as error:
                load_published(path)
            assert "\n" not in str(error.value)
            assert str(error.value).startswith(f"{path}: `generator_smooth` ")


def test_a_pickle_with_code_in_it_is_refused_and_not_run(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "file.pth"
    content: dict[str, Any] = {"generator_smooth": small(), "extra": Bomb()}
    writers: list[Callable[[], object]] = [
        lambda: torch.save(content, path),
        lambda: torch.save({"generator_smooth": Bomb()}, path),
        lambda: torch.save(content, path, _use_new_zipfile_serialization=False),
        *(
            partial(lambda protocol: path.write_bytes(pickle.dumps({"generator": Bomb()}, protocol)), number)
            for number in range(pickle.HIGHEST_PROTOCOL + 1)
        ),
    ]
    for make in writers:
        make()
        with pytest.raises(ValueError, match="can run code, so it is refused") as error:
            load_published(path)
        assert "\n" not in str(error.value)
    assert "ran" not in capsys.readouterr().out


def test_other_files_are_refused_for_what_they_are(tmp_path: Path) -> None:
    path = tmp_path / "file.pth"
    with pytest.raises(ValueError, match="must be a file, but there is none at"):
        load_published(path)
    for content in (b"", b"nonsense", b"PK\x03\x04 and so on", pickle.dumps([1.5], 0)):
        path.write_bytes(content)
        with pytest.raises(ValueError, match=r"is damaged, or no file that torch\.save wrote"):
            load_published(path)
    write(path, small())
    path.write_bytes(path.read_bytes()[:-2000])
    with pytest.raises(ValueError, match=r"is damaged, or no file that torch\.save wrote"):
        load_published(path)
    torch.save(torch.zeros(3), path)
    with pytest.raises(ValueError, match="must hold a dictionary, but it holds a Tensor"):
        load_published(path)
    torch.save({"discriminator": {}, "lod": 0}, path)
    with pytest.raises(ValueError, match="no entry `generator_smooth` or `generator`; its entries are discr"):
        load_published(path)
    torch.save({"format": "gan-sweep-harness/checkpoint/1", "state": {}}, path)
    with pytest.raises(ValueError, match="is a checkpoint of a run; give the run's folder or id"):
        load_published(path)


def test_loading_leaves_torchs_random_state_alone(tmp_path: Path) -> None:
    path = write(tmp_path / "file.pth", small())
    before = torch.random.get_rng_state()
    load_published(path)
    assert torch.equal(torch.random.get_rng_state(), before)
