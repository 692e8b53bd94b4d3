"""K copies of one module, with all their parameters in one matrix.

Shapes: K runs, B samples, P parameters. Labels, where the module takes any, are (K, B) beside inputs of
(K, B, ...). With K = 1 inputs and outputs have no K axis, and the module itself is called: its parameters are
views of the matrix's only row. With K > 1 the module is mapped over the rows, forward only: autograd stays
outside, so that running statistics are updated and double backward works. Which of the two a network does is
settled when it is made. Buffers are kept for every run, whether a forward pass changes them in place or
assigns others.
"""

from __future__ import annotations

import copy
import math
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from itertools import accumulate, pairwise
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.backends import cuda, mha
from torch.func import functional_call, vmap
from torch.nn.utils import parametrizations

from harness.network.chain import chain_of
from harness.network.products import Linear
from harness.seeding import random_states

__all__ = ["DRAWS", "Network", "Tape", "mixes_samples"]

DRAWS = "it draws from torch's random state, which several runs would share"
"""Why runs of what is random by itself are trained one at a time."""


def mixes_samples(module: nn.Module) -> bool:
    """Whether a sample's output depends on the others of its batch while training.

    That of batch norm does; another layer that mixes samples says so by an attribute `mixes_samples = True`.
    """
    batch_norm = nn.modules.batchnorm._BatchNorm
    return any(
        isinstance(layer, batch_norm) or getattr(layer, "mixes_samples", False) for layer in module.modules()
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class Tape:
    """What one backward pass needs of a forward pass; from `Network.record`.

    Attributes:
        to_inputs: whether the gradient is wanted by the inputs, instead of by the parameters.
        saved: what a chain kept, layer by layer.
        graph: inputs and outputs of a module that is no chain, in autograd's graph.
    """

    to_inputs: bool
    saved: list[Any] | None = None
    graph: tuple[Tensor, Tensor] | None = None

    def tensors(self) -> Iterator[Tensor]:
        """The tensors kept, apart from those in autograd's hands."""
        for part in (*(self.saved or ()), *(self.graph or ())):
            for item in part if isinstance(part, tuple) else (part,):
                if isinstance(item, Tensor):
                    yield item


class _SpectralNorm(parametrizations._SpectralNorm):
    """Torch's spectral norm, bit for bit, without writing its vectors by `out=`, which `vmap` refuses."""

    _u: Tensor
    _v: Tensor

    @torch.no_grad()
    def _power_method(self, weight_mat: Tensor, n_power_iterations: int) -> None:
        for _ in range(n_power_iterations):
            self._u.copy_(F.normalize(torch.mv(weight_mat, self._v), dim=0, eps=self.eps))
            self._v.copy_(F.normalize(torch.mv(weight_mat.mT, self._u), dim=0, eps=self.eps))


class _WeightNorm(parametrizations._WeightNorm):
    """Torch's weight norm, w = g·v/‖v‖, in operations that `vmap` maps at once."""

    def forward(self, weight_g: Tensor, weight_v: Tensor) -> Tensor:
        axes = [axis for axis in range(weight_v.ndim) if axis != self.dim or self.dim == -1]
        weight: Tensor = weight_v * (weight_g / torch.linalg.vector_norm(weight_v, dim=axes, keepdim=True))
        return weight


_MAPPABLE: dict[type[nn.Module], type[nn.Module]] = {
    parametrizations._SpectralNorm: _SpectralNorm,
    parametrizations._WeightNorm: _WeightNorm,
}


@contextmanager
def _plain_attention() -> Iterator[None]:
    """Attention by matrix products: the fused kernels cannot be mapped, nor differentiated twice."""
    enabled: Any = (cuda.flash_sdp_enabled, cuda.mem_efficient_sdp_enabled, cuda.cudnn_sdp_enabled)
    kernels = [is_enabled() for is_enabled in enabled]
    shortcut = mha.get_fastpath_enabled()
    _enable_kernels(False, False, False)
    mha.set_fastpath_enabled(False)
    try:
        yield
    finally:
        _enable_kernels(*kernels)
        mha.set_fastpath_enabled(shortcut)


def _enable_kernels(flash: bool, efficient: bool, cudnn: bool) -> None:
    cuda.enable_flash_sdp(flash)
    cuda.enable_mem_efficient_sdp(efficient)
    cuda.enable_cudnn_sdp(cudnn)


class Network:
    """K copies of one module.

    Args:
        modules: the copies, alike in everything but their numbers.
        device: where they will live.
        bf16: whether the forward pass of training is computed by autocast to bfloat16; parameters, gradients
            and outputs are float32 in any case.
    """

    def __init__(self, modules: Sequence[nn.Module], device: torch.device, *, bf16: bool = False) -> None:
        self.matrix = torch.stack(
            [torch.cat([p.detach().reshape(-1) for p in module.parameters()]) for module in modules]
        ).to(device)
        self.buffers = {
            name: torch.stack([module.get_buffer(name).detach() for module in modules]).to(device)
            for name, _ in modules[0].named_buffers()
        }
        self.module = modules[0].to(device).train()
        for layer in self.module.modules():
            if type(layer) in _MAPPABLE:
                layer.__class__ = _MAPPABLE[type(layer)]
        named = dict(self.module.named_parameters())
        assert all(p.dtype == torch.float32 and p.requires_grad for p in named.values())
        self.stacked = len(modules) > 1
        self.mixes_samples = mixes_samples(self.module)
        self.takes_labels = bool(getattr(self.module, "takes_labels", False))
        self.num_levels = int(getattr(self.module, "num_levels", 1))
        self._shapes = {name: p.shape for name, p in named.items()}
        ends = accumulate((math.prod(shape) for shape in self._shapes.values()), initial=0)
        self._spans = list(pairwise(ends))
        self._bf16 = bf16
        self._chain = None if bf16 else chain_of(self.module, stacked=self.stacked)
        self._map = vmap(partial(_called, self.module), randomness="different")
        self._bind()

    @property
    def num_runs(self) -> int:
        """K."""
        return self.matrix.shape[0]

    def __call__(self, inputs: Tensor, labels: Tensor | None = None) -> Tensor:
        """The forward pass, in training mode.

        Args:
            inputs: (K, B, ...), or (B, ...) where the network is not stacked.
            labels: classes, (K, B) or (B,); a network that takes none leaves them.
        """
        if not self._bf16:
            return self.exact(inputs, labels)
        with torch.autocast(inputs.device.type, torch.bfloat16, cache_enabled=False):
            return self.exact(inputs, labels).float()

    def exact(self, inputs: Tensor, labels: Tensor | None = None) -> Tensor:
        """The forward pass in training mode, in float32 whatever the others are in.

        Args:
            inputs: (K, B, ...), or (B, ...) where the network is not stacked.
            labels: classes, (K, B) or (B,); a network that takes none leaves them.
        """
        if self._chain is not None:
            return self._chain.forward(inputs)
        given = self._given(inputs, labels)
        outputs: Tensor
        with _plain_attention():
            if self.stacked:
                outputs, assigned = self._map(self._views, self.buffers, *given)
                self.buffers |= {name: buffer.contiguous() for name, buffer in assigned.items()}
            else:
                outputs = self.module(*given)
                self._take_assigned()
        return outputs

    @torch.no_grad()
    def obstacle(self, inputs: Tensor, labels: Tensor | None = None) -> str:
        """Why several rows of this network cannot be computed together.

        Torch cannot map every operation, and what a layer draws from torch's random state would depend on how
        many rows there are.

        Args:
            inputs: a batch for one run, (B, ...); the network is not stacked.
            labels: classes, (B,); a network that takes none leaves them.

        Returns:
            The reason, in one line; empty where there is none.
        """
        assert not self.stacked
        if self._chain is not None:
            return ""
        views = {name: view.expand(2, *view.shape[1:]) for name, view in self._split(self.matrix).items()}
        buffers = {name: torch.cat([buffer, buffer]) for name, buffer in self.buffers.items()}
        given = [part.expand(2, *part.shape) for part in self._given(inputs, labels)]
        devices = [] if inputs.device.type == "cpu" else [inputs.device]
        try:
            with torch.random.fork_rng(devices), _plain_attention():
                before = random_states(inputs.device)
                self._map(views, buffers, *given)
                after = random_states(inputs.device)
                draws = not all(map(torch.equal, before, after))
        except torch.OutOfMemoryError:
            raise
        except (RuntimeError, ValueError) as error:
            return " ".join(str(error).split())
        return DRAWS if draws else ""

    def take_onednn(self, taken: bool) -> None:
        """Let oneDNN compute the large products of linear layers in training mode, or not.

        Args:
            taken: whether it is to; a network that is stacked, or computes in bfloat16, leaves it.
        """
        if self.stacked or self._bf16:
            return
        if self._chain is not None:
            self._chain.take_onednn(taken)
        for layer in self.module.modules():
            if type(layer) in (nn.Linear, Linear):
                layer.__class__ = Linear if taken else nn.Linear

    def grow(self, level: int, alpha: float) -> None:
        """Go to a level, all rows at once.

        A module that grows has `num_levels`, `grow(level, alpha)`, `fade(images)`, and holds what α changes
        in the buffer `lod`.

        Args:
            level: 0 is the smallest size.
            alpha: how much of it is seen, in [0, 1].
        """
        module: Any = self.module
        module.grow(level, alpha)
        if self.stacked:  # or else it is the module's own
            self.buffers["lod"].copy_(module.lod)

    def fade(self, images: Tensor) -> Tensor:
        """Real images, (K, B, C, S, S) or (B, C, S, S), as a critic that grows is to see them now."""
        module: Any = self.module
        faded: Tensor = module.fade(images)
        return faded

    def record(
        self, inputs: Tensor, labels: Tensor | None = None, *, to_inputs: bool = False
    ) -> tuple[Tensor, Tape]:
        """The forward pass, in training mode, for one backward pass; both are to be called under `no_grad`.

        Args:
            inputs: (K, B, ...), or (B, ...) where the network is not stacked.
            labels: classes, (K, B) or (B,); a network that takes none leaves them.
            to_inputs: whether the gradient is wanted by the inputs, instead of by the parameters.

        Returns:
            The outputs, which carry no graph, and what `backward` takes.
        """
        if self._chain is not None:
            outputs, saved = self._chain.run(inputs)
            return outputs, Tape(to_inputs=to_inputs, saved=saved)
        with torch.enable_grad():
            source = inputs.detach().requires_grad_(to_inputs)
            outputs = self(source, labels)
        return outputs.detach(), Tape(to_inputs=to_inputs, graph=(source, outputs))

    def backward(self, tape: Tape, gradient: Tensor) -> Tensor:
        """The backward pass of one forward pass.

        Args:
            tape: what `record` gave; it is used up.
            gradient: of the loss by the outputs.

        Returns:
            The gradient by the inputs, or that by the parameters, (K, P), as the tape says. The latter is
            valid until the next call, and may be overwritten.
        """
        if self._chain is not None:
            assert tape.saved is not None
            to_parameters = not tape.to_inputs
            to_inputs = self._chain.backward(
                tape.saved, gradient, to_parameters=to_parameters, to_inputs=tape.to_inputs
            )
            return to_inputs if tape.to_inputs else self.gradient
        assert tape.graph is not None
        source, outputs = tape.graph
        if tape.to_inputs:
            (found,) = torch.autograd.grad(outputs, source, gradient)
            return found
        return self._joined(self._by_parameters(tape, gradient), out=self.gradient)

    def backward_both(self, first: tuple[Tape, Tensor], second: tuple[Tape, Tensor]) -> Tensor:
        """The sum of the gradients by the parameters of two forward passes.

        Args:
            first: what `record` gave, and the gradient of the loss by the outputs.
            second: the same.

        Returns:
            (K, P); valid until the next backward pass, and may be overwritten.
        """
        if self._chain is not None:
            found = self.backward(*first).clone()
        else:
            found = self._joined(self._by_parameters(*first))
        return self.backward(*second).add_(found)

    def gradients(self, losses: Tensor) -> Tensor:
        """The gradient of each run's loss by its own parameters, and nothing else's.

        Args:
            losses: (K,), or () where the network is not stacked.

        Returns:
            (K, P). A non-finite loss leaves the other rows alone.
        """
        parts = torch.autograd.grad(losses, self._leaves, torch.ones_like(losses), materialize_grads=True)
        return self._joined(parts)

    def _by_parameters(self, tape: Tape, gradient: Tensor) -> tuple[Tensor, ...]:
        assert tape.graph is not None
        return torch.autograd.grad(tape.graph[1], self._leaves, gradient, materialize_grads=True)

    def _joined(self, parts: Sequence[Tensor], out: Tensor | None = None) -> Tensor:
        return torch.cat([part.reshape(self.num_runs, -1) for part in parts], dim=1, out=out)

    @torch.no_grad()
    def evaluate(
        self, inputs: Tensor, labels: Tensor | None = None, *, matrix: Tensor | None = None
    ) -> Tensor:
        """The forward pass in evaluation mode, without gradients.

        Args:
            inputs: (K, N, ...), with the K axis in every case.
            labels: classes, (K, N); a network that takes none leaves them.
            matrix: other parameters than its own, (K, P).

        Returns:
            (K, N, ...).
        """
        views = self._views if matrix is None else self._split(matrix)
        given = self._given(inputs, labels)
        self.module.eval()
        try:
            with _plain_attention():
                if self.stacked:
                    outputs: Tensor = self._map(views, self.buffers, *given)[0]
                    return outputs
                only = {name: view[0] for name, view in (views | self.buffers).items()}
                outputs = functional_call(self.module, only, tuple(part[0] for part in given))
                return outputs.unsqueeze(0)
        finally:
            self.module.train()

    @torch.no_grad()
    def extract(self, position: int, matrix: Tensor | None = None) -> nn.Module:
        """A plain module of one row, in evaluation mode, that shares nothing with the population.

        Args:
            position: the row.
            matrix: parameters to take, (K, P); by default the network's own. Buffers are its own in any case.
        """
        module = copy.deepcopy(self.module)
        values = self._split(self.matrix if matrix is None else matrix)
        for name, parameter in module.named_parameters():
            parameter.data = values[name][position].detach().clone()
        for name, buffer in module.named_buffers():
            buffer.data = self.buffers[name][position].clone()
        return module.eval()

    @torch.no_grad()
    def row_state(self, position: int, matrix: Tensor | None = None) -> dict[str, Any]:
        """The state dictionary of `extract`'s module, each tensor copied once.

        Args:
            position: the row.
            matrix: as for `extract`.
        """
        values = self._split(self.matrix if matrix is None else matrix) | self.buffers
        own = {id(tensor): name for name, tensor in self.module.named_parameters()}
        own |= {id(tensor): name for name, tensor in self.module.named_buffers()}
        kept = self.module.state_dict(keep_vars=True)
        if any(id(tensor) not in own for tensor in kept.values()):  # what its hooks have made of the tensors
            return dict(self.extract(position, matrix).state_dict())
        return {key: values[own[id(tensor)]][position].clone() for key, tensor in kept.items()}

    def weights(self) -> dict[str, Tensor]:
        """The parameters of two dimensions or more, name → (K, *shape); views of the matrix."""
        return {name: view for name, view in self._split(self.matrix).items() if view.ndim > 2}

    def finite(self) -> Tensor:
        """Whether all numbers of each row are finite, (K,)."""
        fine = self.matrix.isfinite().all(1)
        for buffer in self.buffers.values():
            if buffer.is_floating_point():
                fine = fine & buffer.reshape(self.num_runs, -1).isfinite().all(1)
        return fine

    def keep(self, positions: Tensor) -> None:
        """Keep these rows only."""
        self.matrix = self.matrix[positions]
        self.buffers = {name: buffer[positions] for name, buffer in self.buffers.items()}
        self._bind()

    def state_dict(self) -> dict[str, Any]:
        """Parameters and buffers, copied."""
        return {
            "parameters": self.matrix.clone(),
            "buffers": {name: buffer.clone() for name, buffer in self.buffers.items()},
        }

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Take the numbers that `state_dict` gave."""
        self.matrix.copy_(state["parameters"])
        for name, buffer in self.buffers.items():
            buffer.copy_(state["buffers"][name])

    def _bind(self) -> None:
        """Make the parameters that autograd sees views of the matrix."""
        views = self._split(self.matrix)
        self._views = {name: view.detach().requires_grad_() for name, view in views.items()}
        tensors: dict[str, Tensor] = {**self._views, **self.buffers}
        self._homes = []
        if not self.stacked:
            for name, parameter in self.module.named_parameters():
                parameter.data = views[name][0]
            for name, buffer in self.module.named_buffers():
                buffer.data = self.buffers[name][0]
                path, _, key = name.rpartition(".")
                self._homes.append((name, self.module.get_submodule(path)._buffers, key, buffer))
            tensors = {**dict(self.module.named_parameters()), **dict(self.module.named_buffers())}
        self._leaves = [tensors[name] for name in self._shapes]
        self.gradient = torch.zeros_like(self.matrix)
        if self._chain is not None:
            parts = self._split(self.gradient)
            self._chain.bind(tensors, parts if self.stacked else {name: p[0] for name, p in parts.items()})

    def _split(self, matrix: Tensor) -> dict[str, Tensor]:
        """Views of the matrix, name → (K, *shape of the parameter)."""
        return {
            name: matrix[:, start:end].view(-1, *shape)
            for (name, shape), (start, end) in zip(self._shapes.items(), self._spans, strict=True)
        }

    def _given(self, inputs: Tensor, labels: Tensor | None) -> tuple[Tensor, ...]:
        """What the module is called with."""
        if not self.takes_labels:
            return (inputs,)
        assert labels is not None, "this network takes labels"
        return inputs, labels

    def _take_assigned(self) -> None:
        """Take the buffers that the only module has assigned anew for the run's own."""
        for index, (name, home, key, held) in enumerate(self._homes):
            buffer = home[key]
            if buffer is not held:
                if buffer is None:
                    raise ValueError(f"a network sets its buffer `{name}` to None as it runs; keep a tensor.")
                home[key] = own = buffer.detach()
                self.buffers[name] = own.unsqueeze(0)
                self._homes[index] = (name, home, key, own)


def _called(
    module: nn.Module, parameters: dict[str, Tensor], buffers: dict[str, Tensor], *given: Tensor
) -> tuple[Any, dict[str, Tensor]]:
    """Outputs, and the buffers that the module has assigned anew.

    It knows no network: one that held it would be freed by the garbage collector alone, some time.
    """
    tensors = {**parameters, **buffers}
    outputs = functional_call(module, tensors, given)
    assigned = {name: tensors[name].detach() for name in buffers if tensors[name] is not buffers[name]}
    return outputs, assigned
