"""What gives trials up that others beat."""

from __future__ import annotations

import optuna

from harness.study.study import Study

__all__ = ["make_pruner"]


def make_pruner(study: Study) -> optuna.pruners.BasePruner:
    """The pruner of a study's `early_terminate`; where that is None, one that gives no trial up."""
    early = study.early_terminate
    if early is None:
        return optuna.pruners.NopPruner()
    if early.max_iter is not None:
        return optuna.pruners.HyperbandPruner(
            min_resource=max(1, round(early.max_iter / early.eta ** (early.s or 1))),
            max_resource=early.max_iter,
            reduction_factor=early.eta,
        )
    return optuna.pruners.SuccessiveHalvingPruner(
        min_resource=early.min_iter or 1, reduction_factor=early.eta
    )
