"""An update rule at work on the runs of a population.

Shapes: K runs of P parameters.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from harness.optim.rules import Number, Optimizer, Rows, per_run, pick
from harness.recipe import Choice
from harness.recipe.plugins import reason_of
from harness.recipe.registry import optimizers

__all__ = ["PopulationOptimizer", "check_rule"]

_TRIED = 16
_LARGE = 2**23  # numbers; 32 MiB
_BLOCK = 2**20
_Part = tuple[Rows, Rows, Mapping[str, Rows], Mapping[str, float]]


class PopulationOptimizer:
    """One update rule at work on K runs, each with its own hyper-parameters.

    Args:
        choices: the optimiser of each run; names, switches and which numbers are 0 agree.
        parameters: the (K, P) matrix it will update.

    Raises:
        ValueError: the optimiser's builder makes none of these options.
    """

    def __init__(self, choices: Sequence[Choice], parameters: Tensor) -> None:
        self.rule = _built(choices[0])
        self._kernel = self.rule.kernel()
        self.options: dict[str, Number] = {}
        self._own: list[dict[str, float]] = [{} for _ in choices]
        for key, value in choices[0].options.items():
            if isinstance(value, int) and not isinstance(value, bool):
                self.options[key] = value
            elif isinstance(value, float):
                values = [float(choice.options[key]) for choice in choices]
                shared = per_run(values, parameters)
                self.options[key] = shared.unsqueeze(1) if isinstance(shared, Tensor) else shared
                for own, number in zip(self._own, values, strict=True):
                    own[key] = number
        self.buffers = {name: torch.zeros_like(parameters) for name in self.rule.buffers()}
        # On an accelerator the count lives there too, so that a whole step needs nothing from the host.
        on_host = parameters.device.type == "cpu"
        self.step: int | Tensor = (
            0 if on_host else torch.zeros((), dtype=torch.float64, device=parameters.device)
        )
        self._count = torch.zeros((), device=parameters.device)
        self._alike = self._grouped()
        self._cut: tuple[Tensor, Tensor, list[_Part]] | None = None

    def update(
        self, parameters: Tensor, gradients: Tensor, *, bound: Number | None = None, with_ratio: bool = False
    ) -> Tensor | None:
        """One update of the (K, P) parameters in place; the gradients may be overwritten.

        On a CPU very large matrices are updated some columns at a time: what a rule computes in between then
        fits in memory that the C library keeps, where fresh pages would take longer than the arithmetic.

        Args:
            parameters: θ, (K, P).
            gradients: g, (K, P).
            bound: the parameters are clipped to ± this afterwards, where given; a number or (K, 1).
            with_ratio: whether to measure how far the parameters move, the clip included.

        Returns:
            ‖Δθ‖/‖θ‖ of each run, (K,), where asked for; θ from before the update.
        """
        self.step += 1
        if self._alike:
            self._count.copy_(self.step) if isinstance(self.step, Tensor) else self._count.fill_(self.step)
        if parameters.numel() <= _LARGE or parameters.device.type != "cpu":
            lengths = self._update(parameters, gradients, self.buffers, bound, with_ratio)
            return None if lengths is None else lengths[0] / lengths[1]
        columns = max(1, _BLOCK // parameters.shape[0])
        measured = []
        for start in range(0, parameters.shape[1], columns):
            some = slice(start, start + columns)
            buffers = {name: buffer[:, some] for name, buffer in self.buffers.items()}
            lengths = self._update(parameters[:, some], gradients[:, some], buffers, bound, with_ratio)
            if lengths is not None:
                measured.append(torch.stack(lengths))
        if not measured:
            return None
        moved, size = torch.linalg.vector_norm(torch.stack(measured), dim=0)
        ratio: Tensor = moved / size
        return ratio

    def _update(
        self,
        parameters: Tensor,
        gradients: Tensor,
        buffers: Mapping[str, Tensor],
        bound: Any,
        measured: bool,
    ) -> tuple[Tensor, Tensor] | None:
        """Update some columns; their ‖Δθ‖ and ‖θ‖, (K,) each, where asked for."""
        before = parameters.clone() if measured else None
        if self._kernel is not None and self._alike:
            for of_alike in self._parts(parameters, gradients, buffers):
                self._kernel(*of_alike, self._count)
        else:
            self.rule.update(parameters, gradients, buffers, self.options, self.step)
        if bound is not None:
            parameters.clamp_(-bound, bound)
        if before is None:
            return None
        size = torch.linalg.vector_norm(before, dim=1)
        return torch.linalg.vector_norm(before.sub_(parameters), dim=1), size

    def _parts(self, parameters: Tensor, gradients: Tensor, buffers: Mapping[str, Tensor]) -> list[_Part]:
        """What a fused update is given of each group of rows; kept, as cutting costs as much as an update."""
        if self._cut is None or self._cut[0] is not parameters or self._cut[1] is not gradients:
            rows, slopes = parameters.unbind(), gradients.unbind()
            memory = {name: buffer.unbind() for name, buffer in buffers.items()}
            parts: list[_Part] = [
                (
                    [rows[row] for row in alike],
                    [slopes[row] for row in alike],
                    {name: [of_rows[row] for row in alike] for name, of_rows in memory.items()},
                    self._own[alike[0]],
                )
                for alike in self._alike
            ]
            self._cut = parameters, gradients, parts
        return self._cut[2]

    def _grouped(self) -> list[list[int]]:
        """The rows that share all options, group by group, where the rule's fused update is to be taken.

        An accelerator takes it where one group is all there is: a launch costs more than a pass over memory.
        """
        groups: dict[tuple[float, ...], list[int]] = {}
        for row, own in enumerate(self._own):
            groups.setdefault(tuple(own.values()), []).append(row)
        taken = self._kernel is not None and (self._count.device.type == "cpu" or len(groups) == 1)
        return list(groups.values()) if taken else []

    def reset(self) -> None:
        """Forget everything, as if no update had been."""
        self.step = self.step.zero_() if isinstance(self.step, Tensor) else 0
        for buffer in self.buffers.values():
            buffer.zero_()

    def keep(self, positions: Sequence[int]) -> None:
        """Keep these rows only."""
        index = torch.tensor(positions, dtype=torch.long, device=self._count.device)
        self.options = {key: pick(value, index) for key, value in self.options.items()}
        self.buffers = {name: buffer[index] for name, buffer in self.buffers.items()}
        self._own = [self._own[position] for position in positions]
        self._alike = self._grouped()
        self._cut = None

    def state_dict(self) -> dict[str, Any]:
        """The number of updates and the buffers, copied."""
        return {"step": int(self.step), "buffers": {name: b.clone() for name, b in self.buffers.items()}}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Go on from what `state_dict` gave."""
        if isinstance(self.step, Tensor):
            self.step.fill_(state["step"])
        else:
            self.step = int(state["step"])
        for name, buffer in self.buffers.items():
            buffer.copy_(state["buffers"][name])


def check_rule(choice: Choice, setting: str) -> None:
    """Refuse an update rule that fails, or that leaves the parameters what they were.

    Args:
        choice: the optimiser.
        setting: its section of the recipe, for messages.

    Raises:
        ValueError: it cannot be made, its update raises, or parameters of 0 with gradients of 1 stay 0.
    """
    parameters = torch.zeros(2, 3, device="cpu")
    optimizer = PopulationOptimizer([choice, choice], parameters)
    where = f"`{setting}.name` {choice.name}: its `update`"
    with torch.random.fork_rng(devices=[]):
        for _ in range(_TRIED):
            try:
                optimizer.update(parameters, torch.ones_like(parameters))
            except Exception as error:
                raise ValueError(f"{where} fails: {reason_of(error)}.") from error
            if parameters.any():
                return
    raise ValueError(
        f"{where} changes no parameter in {_TRIED} updates; change them in place, by .sub_() say."
    )


def _built(choice: Choice) -> Optimizer:
    try:
        rule = optimizers[choice.name](**choice.options)
    except Exception as error:
        raise ValueError(
            f"optimizer `{choice.name}` cannot be made with these options: {reason_of(error)}."
        ) from error
    if not isinstance(rule, Optimizer):
        raise ValueError(
            f"optimizer `{choice.name}` must make a `harness.optim.rules.Optimizer`, but made {rule!r}."
        )
    return rule
