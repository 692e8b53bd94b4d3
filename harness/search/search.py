"""One arm's search: trials asked, judged and told, by any number of workers at once.

A search keeps one Optuna study an arm, so that arms neither see nor crowd out each other's trials; an
ablation's arms are recorded, once all their seeds are in, as finished trials of a study of their own, for
the dashboards that read journals.

Optuna stores no sampler and no pruner. Both are rebuilt for every question from the sweep file, the sampler
with a seed of (study, arm, number of the trial): what a trial tries depends on the trials before it, and for
`random` on nothing at all, never on which worker happened to ask.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import math
import warnings
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import optuna
from optuna.storages import BaseStorage
from optuna.trial import FrozenTrial, TrialState

from harness.leases import locked
from harness.search.pruners import make_pruner
from harness.search.samplers import make_sampler
from harness.search.space import suggest
from harness.search.trial import Trial, best_trial
from harness.study.folder import StudyFolder
from harness.study.study import Arm, Study

__all__ = ["Search", "record_arms"]

_INDEX = "index"
"""User attribute of a trial whose parameters have all been drawn: its number within the budget."""
_PRUNED_AT = "pruned_at"
"""User attribute of a trial that is to be given up: the number of the evaluation that decided it."""


class Search:
    """One arm's search: asks for trials within a budget, prunes them, and is told what they are worth.

    Any number of processes may hold the same search; each question is answered under a lock.

    Args:
        storage: The study's open storage.
        study: What is searched for, and how.
        arm: The arm.
        directory: ``runs/<study>``, where the locks are.
    """

    def __init__(self, storage: BaseStorage, study: Study, arm: Arm, directory: Path) -> None:
        self._study = study
        self._arm = arm
        self._space = study.space(arm)
        self._lock = StudyFolder(directory).lock("trials")
        with _without_optuna_warnings():
            self._search = optuna.create_study(
                storage=storage,
                study_name=f"{_journal_name(study)}/{arm.name}",
                direction=study.target.goal,
                load_if_exists=True,
                pruner=make_pruner(study),
            )

    def ask(self, cap: int) -> Trial | None:
        """The next trial, every parameter drawn; None once the budget is spent.

        A trial whose asker was killed between its parameters is put aside and does not count.

        Args:
            cap: The arm's budget of trials, failed and pruned ones included.
        """
        with locked(self._lock), _without_optuna_warnings():
            trials = self._search.get_trials(deepcopy=False)
            index = sum(_INDEX in trial.user_attrs for trial in trials)
            if index >= cap:
                return None
            for trial in trials:
                if trial.state == TrialState.RUNNING and _INDEX not in trial.user_attrs:
                    self._search.tell(trial.number, state=TrialState.FAIL)
            self._search.sampler = make_sampler(self._study, self._arm.name, index)
            if self._study.method == "grid":
                self._search.enqueue_trial(self._study.grid_point(self._arm, index))
            asked = self._search.ask()
            for key, distribution in self._space.items():
                suggest(distribution, asked, key)
            asked.set_user_attr(_INDEX, index)
            return Trial(number=index, parameters=dict(asked.params), state="running", value=None)

    def trials(self) -> list[Trial]:
        """Every trial asked so far, by index."""
        found = [
            Trial(
                number=trial.user_attrs[_INDEX],
                parameters=dict(trial.params),
                state=trial.state.name.lower(),
                value=trial.value if trial.state.is_finished() else None,
            )
            for trial in self._search.get_trials(deepcopy=False)
            if _INDEX in trial.user_attrs
        ]
        return sorted(found, key=lambda trial: trial.number)

    def should_prune(self, index: int, evaluation: int, value: float) -> bool:
        """Report a trial's value at an evaluation, and ask whether it is to be given up.

        Args:
            index: The trial.
            evaluation: Number of the evaluation, from 1; the untrained networks are not reported.
            value: Mean over the trial's seeds; it must be finite.
        """
        assert math.isfinite(value)
        frozen = self._find(index)
        with locked(self._lock), _without_optuna_warnings():
            if _PRUNED_AT in frozen.user_attrs:
                return evaluation >= int(frozen.user_attrs[_PRUNED_AT])
            trial = optuna.trial.Trial(self._search, frozen._trial_id)
            if evaluation not in frozen.intermediate_values:
                trial.report(value, evaluation)
            pruned = trial.should_prune()
            if pruned:
                trial.set_user_attr(_PRUNED_AT, evaluation)
            return pruned

    def tell(self, index: int, value: float, *, pruned: bool = False) -> None:
        """Finish a trial; a trial already finished stays as it is.

        Args:
            index: The trial.
            value: Mean of the metric over the seeds; where it is not finite the trial is recorded as failed.
            pruned: Whether it was given up early; its last report then stands for its value.
        """
        with locked(self._lock), _without_optuna_warnings():
            number = self._find(index).number
            if pruned:
                self._search.tell(number, state=TrialState.PRUNED, skip_if_finished=True)
            elif math.isfinite(value):
                self._search.tell(number, value, skip_if_finished=True)
            else:
                self._search.tell(number, state=TrialState.FAIL, skip_if_finished=True)

    def best(self) -> Trial | None:
        """See `best_trial`."""
        return best_trial(self.trials(), self._study.target)

    def _find(self, index: int) -> FrozenTrial:
        for trial in self._search.get_trials(deepcopy=False):
            if trial.user_attrs.get(_INDEX) == index:
                return trial
        raise AssertionError(f"trial {index} of {self._arm.name} was never asked")


def record_arms(
    storage: BaseStorage, study: Study, values: Mapping[str, float], directory: Path
) -> list[str]:
    """Record arms of an ablation as finished trials, each once for each set of seeds.

    Args:
        storage: The study's open storage.
        study: The ablation.
        values: Name of each arm whose seeds are all in → mean of the study's metric over them.
        directory: ``runs/<study>``, where the lock is.

    Returns:
        The arms that were not there before.
    """
    choices: dict[str, list[Any]] = {}
    for arm in study.arms:
        for key, value in arm.overrides.items():
            if value not in choices.setdefault(key, []):
                choices[key].append(value)
    recorded = []
    with locked(StudyFolder(directory).lock("trials")), _without_optuna_warnings():
        arms = optuna.create_study(
            storage=storage, study_name=_journal_name(study), direction=study.target.goal, load_if_exists=True
        )
        known = [trial.user_attrs for trial in arms.get_trials(deepcopy=False)]
        for arm in study.arms:
            attributes = {"arm": arm.name, "seeds": list(study.seeds)}
            if arm.name not in values or attributes in known:
                continue
            mean = values[arm.name]
            finite = math.isfinite(mean)
            arms.add_trial(
                optuna.trial.create_trial(
                    state=TrialState.COMPLETE if finite else TrialState.FAIL,
                    value=mean if finite else None,
                    params=dict(arm.overrides),
                    distributions={
                        key: optuna.distributions.CategoricalDistribution(choices[key])
                        for key in arm.overrides
                    },
                    user_attrs=attributes,
                )
            )
            recorded.append(arm.name)
    return recorded


@contextlib.contextmanager
def _without_optuna_warnings() -> Iterator[None]:
    """Silence Optuna where it warns of what is meant here, such as a step reported again after a resume."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", module=r"optuna\..*")
        yield


def _journal_name(study: Study) -> str:
    """A study's name in the journal. Changed code of one's own changes it: the search begins anew."""
    if not study.code:
        return study.name
    code = json.dumps(study.code, sort_keys=True)
    return f"{study.name}@{hashlib.sha256(code.encode()).hexdigest()[:8]}"
