"""What proposes a search's next trial; seeded by study, arm and number, so that all workers propose alike."""

from __future__ import annotations

import hashlib

import optuna

from harness.files import encodable
from harness.study.study import Study

__all__ = ["make_sampler"]


def make_sampler(study: Study, arm: str, index: int) -> optuna.samplers.BaseSampler:
    """The sampler of a study's `method` for one trial.

    Args:
        study: the study.
        arm: name of the arm that is searched.
        index: the trial's number within the arm's budget.
    """
    name = encodable(f"{study.name}/{arm}/{index}").encode()
    seed = int.from_bytes(hashlib.sha256(name).digest()[:4], "big")
    if study.method == "bayes":
        return optuna.samplers.TPESampler(seed=seed)
    return optuna.samplers.RandomSampler(seed=seed)
