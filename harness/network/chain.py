"""A chain of known layers: its forward pass, and its backward pass written out.

Shapes: K runs, B samples. Plain tensors are (B, ...); stacked ones (K, B, ...), with parameters (K, ...).

Small networks spend most of a step between operations: calling modules, mapping each operation over the
runs, walking autograd's graph. A module that is a chain of the layers below is therefore taken apart once. K
runs of a linear layer are one batched product, and gradients are written straight into one matrix. What is
not known here is left to the module, `vmap` and autograd, which are slower and can do everything.
"""

from __future__ import annotations

import copy
import math
from abc import ABC, abstractmethod
from collections.abc import Mapping
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, fx, nn

from harness.network.products import large_from, linear, product

__all__ = ["Chain", "chain_of"]

_aten = torch.ops.aten


class _Link(ABC):
    """One layer. `run` is `forward` without autograd, and may overwrite an input that nobody else needs."""

    names: tuple[str, ...] = ()
    """The layer's own parameters and buffers, by their names in the module."""

    def bind(self, tensors: Mapping[str, Tensor], gradients: Mapping[str, Tensor]) -> None:
        """Take the tensors to compute with, and those to write gradients to."""
        assert not self.names

    @abstractmethod
    def forward(self, inputs: Tensor) -> Tensor:
        """The layer, for autograd."""

    @abstractmethod
    def run(self, inputs: Tensor) -> tuple[Tensor, Any]:
        """Outputs, and what `backward` needs."""

    @abstractmethod
    def backward(self, saved: Any, gradient: Tensor, *, to_parameters: bool, to_inputs: bool) -> Tensor:
        """Write the parameters' gradients if asked for, and return the inputs', if that is."""


class _Linear(_Link):
    onednn_from: float = math.inf
    """Samples from which on oneDNN multiplies."""

    def __init__(self, name: str, layer: nn.Linear) -> None:
        self.names = (f"{name}.weight", *([f"{name}.bias"] if layer.bias is not None else []))

    def bind(self, tensors: Mapping[str, Tensor], gradients: Mapping[str, Tensor]) -> None:
        self.weight, *bias = [tensors[name] for name in self.names]
        self.to_weight, *to_bias = [gradients[name] for name in self.names]
        self.bias = bias[0] if bias else None
        self.transposed = self.weight.detach().mT
        self.to_bias = to_bias[0] if to_bias else None

    def forward(self, inputs: Tensor) -> Tensor:
        apply = F.linear if inputs.shape[0] < self.onednn_from else linear
        return apply(inputs, self.weight, self.bias)

    def run(self, inputs: Tensor) -> tuple[Tensor, Any]:
        if self.bias is None or inputs.ndim != 2:
            return F.linear(inputs, self.weight, self.bias), inputs
        if inputs.shape[0] < self.onednn_from:
            return torch.addmm(self.bias, inputs, self.transposed), inputs
        return product(inputs, self.weight.detach(), self.bias), inputs

    def backward(self, saved: Any, gradient: Tensor, *, to_parameters: bool, to_inputs: bool) -> Tensor:
        if gradient.ndim != 2:
            flat = self.backward(
                saved.flatten(0, -2),
                gradient.flatten(0, -2),
                to_parameters=to_parameters,
                to_inputs=to_inputs,
            )
            return flat.reshape(saved.shape) if to_inputs else gradient
        onednn = saved.shape[0] >= self.onednn_from
        if to_parameters:
            if onednn:
                self.to_weight.copy_(product(gradient.t(), saved.t()))
            else:
                torch.mm(gradient.t(), saved, out=self.to_weight)
            if self.to_bias is not None:
                torch.sum(gradient, 0, out=self.to_bias)
        if not to_inputs:
            return gradient
        return product(gradient, self.transposed) if onednn else torch.mm(gradient, self.weight)


class _StackedLinear(_Linear):
    def forward(self, inputs: Tensor) -> Tensor:
        return self._apply(inputs, self.weight.transpose(1, 2))

    def run(self, inputs: Tensor) -> tuple[Tensor, Any]:
        return self._apply(inputs, self.transposed), inputs

    def _apply(self, inputs: Tensor, transposed: Tensor) -> Tensor:
        if inputs.ndim != 3:
            return self._apply(inputs.flatten(1, -2), transposed).reshape(*inputs.shape[:-1], -1)
        if self.bias is None:
            return torch.bmm(inputs, transposed)
        return torch.baddbmm(self.bias.unsqueeze(1), inputs, transposed)

    def backward(self, saved: Any, gradient: Tensor, *, to_parameters: bool, to_inputs: bool) -> Tensor:
        if gradient.ndim != 3:
            flat = self.backward(
                saved.flatten(1, -2),
                gradient.flatten(1, -2),
                to_parameters=to_parameters,
                to_inputs=to_inputs,
            )
            return flat.reshape(saved.shape) if to_inputs else gradient
        if to_parameters:
            torch.bmm(gradient.transpose(1, 2), saved, out=self.to_weight)
            if self.to_bias is not None:
                torch.sum(gradient, 1, out=self.to_bias)
        return torch.bmm(gradient, self.weight) if to_inputs else gradient


class _BatchNorm(_Link):
    """K batch norms of C channels are one of K·C channels: (K, B, C, ...) → (B, K·C, ...) and back."""

    def __init__(self, name: str, layer: nn.BatchNorm1d | nn.BatchNorm2d, stacked: bool) -> None:
        keys = ("weight", "bias", "running_mean", "running_var", "num_batches_tracked")
        self.names = tuple(f"{name}.{key}" for key in keys)
        self.stacked = stacked
        assert layer.momentum is not None
        self.momentum, self.eps = layer.momentum, layer.eps

    def bind(self, tensors: Mapping[str, Tensor], gradients: Mapping[str, Tensor]) -> None:
        self.weight, self.bias, mean, variance, self.count = [tensors[name] for name in self.names]
        self.mean, self.variance = mean.view(-1), variance.view(-1)
        self.to_weight, self.to_bias = [gradients[name] for name in self.names[:2]]

    def forward(self, inputs: Tensor) -> Tensor:
        self.count.add_(1)
        weight, bias = self.weight.reshape(-1), self.bias.reshape(-1)
        joined = F.batch_norm(
            self._join(inputs), self.mean, self.variance, weight, bias, True, self.momentum, self.eps
        )
        return self._part(joined)

    def run(self, inputs: Tensor) -> tuple[Tensor, Any]:
        self.count.add_(1)
        joined, weight, bias = self._join(inputs), self.weight.reshape(-1), self.bias.reshape(-1)
        outputs, mean, scale = torch.native_batch_norm(
            joined, weight, bias, self.mean, self.variance, True, self.momentum, self.eps
        )
        return self._part(outputs), (joined, weight, mean, scale)

    def backward(self, saved: Any, gradient: Tensor, *, to_parameters: bool, to_inputs: bool) -> Tensor:
        joined, weight, mean, scale = saved
        wanted = [to_inputs, to_parameters, to_parameters]
        to_joined, to_weight, to_bias = _aten.native_batch_norm_backward.default(
            self._join(gradient).contiguous(),
            joined,
            weight,
            self.mean,
            self.variance,
            mean,
            scale,
            True,
            self.eps,
            wanted,
        )
        if to_parameters:
            self.to_weight.copy_(to_weight.view_as(self.to_weight))
            self.to_bias.copy_(to_bias.view_as(self.to_bias))
        return self._part(to_joined) if to_inputs else gradient

    def _join(self, tensor: Tensor) -> Tensor:
        return tensor.transpose(0, 1).flatten(1, 2) if self.stacked else tensor

    def _part(self, tensor: Tensor) -> Tensor:
        if not self.stacked:
            return tensor
        return tensor.reshape(tensor.shape[0], *self.weight.shape, *tensor.shape[2:]).transpose(0, 1)


class _Activation(_Link):
    """An activation whose derivative follows from its output, so that it may overwrite its input."""

    def __init__(self, layer: nn.Module, in_place: bool) -> None:
        self.kind = type(layer)
        self.slope = float(layer.negative_slope) if isinstance(layer, nn.LeakyReLU) else 0.0
        self.in_place = in_place

    def forward(self, inputs: Tensor) -> Tensor:
        if self.kind is nn.LeakyReLU:
            return F.leaky_relu(inputs, self.slope)
        return {nn.ReLU: torch.relu, nn.Sigmoid: torch.sigmoid, nn.Tanh: torch.tanh}[self.kind](inputs)

    def run(self, inputs: Tensor) -> tuple[Tensor, Any]:
        if not self.in_place:
            outputs = self.forward(inputs)
        elif self.kind is nn.LeakyReLU:
            outputs = F.leaky_relu_(inputs, self.slope)
        elif self.kind is nn.ReLU:
            outputs = inputs.relu_()
        else:
            outputs = inputs.sigmoid_() if self.kind is nn.Sigmoid else inputs.tanh_()
        return outputs, outputs

    def backward(self, saved: Any, gradient: Tensor, *, to_parameters: bool, to_inputs: bool) -> Tensor:
        if not to_inputs:
            return gradient
        result: Tensor
        if self.kind is nn.LeakyReLU:
            result = _aten.leaky_relu_backward.default(gradient, saved, self.slope, True)
        elif self.kind is nn.ReLU:
            result = _aten.threshold_backward.default(gradient, saved, 0)
        elif self.kind is nn.Sigmoid:
            result = _aten.sigmoid_backward.default(gradient, saved)
        else:
            result = _aten.tanh_backward.default(gradient, saved)
        return result


class _View(_Link):
    """The same numbers in another shape."""

    def run(self, inputs: Tensor) -> tuple[Tensor, Any]:
        return self.forward(inputs), inputs.shape

    def backward(self, saved: Any, gradient: Tensor, *, to_parameters: bool, to_inputs: bool) -> Tensor:
        return gradient.reshape(saved)


class _Flatten(_View):
    """All axes from `start` on as one."""

    def __init__(self, start: int) -> None:
        self.start = start

    def forward(self, inputs: Tensor) -> Tensor:
        return inputs.flatten(self.start)


class _Reshape(_View):
    """A sample's numbers in another shape. `kept` axes stay, what follows becomes `shape`."""

    def __init__(self, kept: int, shape: tuple[int, ...]) -> None:
        self.kept = kept
        self.shape = shape

    def forward(self, inputs: Tensor) -> Tensor:
        return inputs.reshape(*inputs.shape[: self.kept], *self.shape)


class _Squeeze(_View):
    """A last axis of one number taken away."""

    def forward(self, inputs: Tensor) -> Tensor:
        return inputs.squeeze(-1)


class Chain:
    """A module as a chain of links; made by `chain_of`.

    Args:
        links: the layers, in order.
    """

    def __init__(self, links: list[_Link]) -> None:
        self._links = links
        self._reversed = links[::-1]

    def bind(self, tensors: Mapping[str, Tensor], gradients: Mapping[str, Tensor]) -> None:
        """Take the tensors to compute with.

        Args:
            tensors: parameters and buffers by name, (K, ...) each, or (...) of a single run.
            gradients: where the gradient of each parameter is written, by name; of its shape.
        """
        for link in self._links:
            link.bind(tensors, gradients)

    def take_onednn(self, taken: bool) -> None:
        """Let oneDNN compute the large products of a single run's linear layers, or not."""
        for link in self._links:
            if isinstance(link, _Linear):
                link.onednn_from = large_from(link.weight) if taken else math.inf

    def forward(self, inputs: Tensor) -> Tensor:
        """The forward pass, for autograd."""
        for link in self._links:
            inputs = link.forward(inputs)
        return inputs

    def run(self, inputs: Tensor) -> tuple[Tensor, list[Any]]:
        """The forward pass without autograd: outputs, and what `backward` needs."""
        tape = []
        for link in self._links:
            inputs, saved = link.run(inputs)
            tape.append(saved)
        return inputs, tape

    def backward(self, tape: list[Any], gradient: Tensor, *, to_parameters: bool, to_inputs: bool) -> Tensor:
        """The backward pass of `run`.

        Args:
            tape: what `run` kept.
            gradient: of the loss by the outputs.
            to_parameters: whether to write the parameters' gradients.
            to_inputs: whether the inputs' gradient is wanted.

        Returns:
            The gradient by the inputs; meaningless where it was not asked for.
        """
        first = self._links[0]
        for link in self._reversed:
            wanted = to_inputs or link is not first
            gradient = link.backward(tape.pop(), gradient, to_parameters=to_parameters, to_inputs=wanted)
        return gradient


class _UnknownError(Exception):
    """The module holds something that has no link here."""


def chain_of(module: nn.Module, *, stacked: bool) -> Chain | None:
    """The module as a chain, or None where it is none, or holds something unknown.

    Args:
        module: in training mode; what its forward pass does may depend on that, and on nothing that changes.
        stacked: whether inputs, parameters and buffers will carry the K axis.
    """
    hooked = any(layer._forward_hooks or layer._forward_pre_hooks for layer in module.modules())
    if hooked or not module.training:
        return None
    shared = {id(parameter): parameter for parameter in module.parameters()}
    traced = copy.deepcopy(module, shared)  # a forward pass may change buffers, even while it is traced
    try:
        with torch.random.fork_rng(devices=[]):
            links = _links(module, fx.Tracer().trace(traced), stacked)
    except (_UnknownError, fx.proxy.TraceError, TypeError, RuntimeError):
        return None
    own = [name for link in links for name in link.names]
    everything = [name for name, _ in (*module.named_parameters(), *module.named_buffers())]
    return Chain(links) if links and sorted(own) == sorted(everything) else None


def _links(module: nn.Module, traced: fx.Graph, stacked: bool) -> list[_Link]:
    layers = dict(module.named_modules())
    links: list[_Link] = []
    previous: fx.Node | None = None
    for node in traced.nodes:
        if previous is not None and (node.args[:1] != (previous,) or node.kwargs):
            raise _UnknownError
        if node.op == "call_module" and len(node.args) == 1:
            links += _layer(str(node.target), layers[str(node.target)], links, stacked)
        elif node.op == "call_method":
            links.append(_method(str(node.target), node.args[1:], stacked))
        elif node.op != "output" and (node.op != "placeholder" or previous is not None):
            raise _UnknownError
        previous = node
    return links


def _layer(name: str, layer: nn.Module, before: list[_Link], stacked: bool) -> list[_Link]:
    kind = type(layer)
    if kind is nn.Identity:
        return []
    leaky = isinstance(layer, nn.LeakyReLU) and layer.negative_slope >= 0
    if leaky or kind in (nn.ReLU, nn.Sigmoid, nn.Tanh):
        return [_Activation(layer, in_place=bool(before) and isinstance(before[-1], (_Linear, _BatchNorm)))]
    if isinstance(layer, nn.Linear) and kind is nn.Linear:
        return [(_StackedLinear if stacked else _Linear)(name, layer)]
    if isinstance(layer, (nn.BatchNorm1d, nn.BatchNorm2d)) and kind in (nn.BatchNorm1d, nn.BatchNorm2d):
        if not layer.track_running_stats or layer.momentum is None or not layer.affine:
            raise _UnknownError
        return [_BatchNorm(name, layer, stacked)]
    if isinstance(layer, nn.Flatten):
        return [_method("flatten", (layer.start_dim, layer.end_dim), stacked)]
    if isinstance(layer, nn.Unflatten) and layer.dim == 1:
        return [_Reshape(1 + stacked, tuple(layer.unflattened_size))]
    raise _UnknownError


def _method(name: str, args: tuple[Any, ...], stacked: bool) -> _Link:
    if name == "flatten" and args in ((0,), (1,), (0, -1), (1, -1)):
        return _Flatten(args[0] + stacked)
    if name in ("view", "reshape") and args[:1] == (-1,) and all(type(size) is int for size in args):
        return _Reshape(int(stacked), args)
    if name == "squeeze" and args == (-1,):
        return _Squeeze()
    raise _UnknownError
