"""What a sweep tries next, and which of its runs are hopeless, as optuna has it."""

import json
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any, Literal

import numpy as np
import optuna
from optuna.distributions import BaseDistribution, CategoricalDistribution, FloatDistribution, IntDistribution
from optuna.pruners import MedianPruner, NopPruner
from optuna.samplers import TPESampler
from optuna.storages.journal import BaseJournalBackend
from optuna.trial import FrozenTrial, TrialState, create_trial

from ganlab.core.errors import ConfigError
from ganlab.suites.results import append_lines, read_lines
from ganlab.sweeps.parameters import Choice, Parameter
from ganlab.sweeps.sweep import Sweep, Tried


class Journal(BaseJournalBackend):
    """The format of optuna's own JournalFileBackend, whose files this reads and whose tools read this one's.

    That one does not survive every kill: behind a line that was half-written it writes the next, and neither
    can be read again; and its lock stays behind, so that the next process waits for half a minute.
    """

    def __init__(self, path: Path):
        self.path = path

    def read_logs(self, log_number_from: int) -> Iterator[dict[str, Any]]:
        whole, _ = read_lines(self.path)
        for line in whole.splitlines()[log_number_from:]:
            yield json.loads(line)

    def append_logs(self, logs: list[dict[str, Any]]) -> None:
        append_lines(self.path, "".join(f"{json.dumps(log, separators=(',', ':'))}\n" for log in logs))


class Search:
    """The trials of a sweep: asked for, followed and told of.

    Several processes may have one on the same journal, if they take turns at all but `report`.

    Args:
        sweep: as it was read.
        journal: the file in which the search is kept; another space has another one.
        more: whether more of the metric is better.
    """

    def __init__(self, sweep: Sweep, journal: Path, more: bool):
        optuna.logging.set_verbosity(optuna.logging.WARNING)
        self.sweep, self.journal = sweep, journal
        self.distributions = {name: distribution(one) for name, one in sweep.parameters.items()}
        self.storage = optuna.storages.JournalStorage(Journal(journal))
        way: Literal["minimize", "maximize"] = "maximize" if more else "minimize"
        pruner = NopPruner() if sweep.after is None else MedianPruner(n_warmup_steps=sweep.after)
        self.study = optuna.create_study(
            study_name=sweep.name, storage=self.storage, direction=way, pruner=pruner, load_if_exists=True
        )

    def catch_up(self, rows: Iterable[Tried]) -> None:
        """Tells of all rows that are not known to have ended: what is on file counts.

        Raises:
            ConfigError: trials have ended of which there is no row.
        """
        ended = {row.trial: row for row in rows}
        known = self.study.get_trials(deepcopy=False)
        for trial in known:
            if trial.state.is_finished() and trial.number not in ended:
                lost = f"{self.sweep.results} lacks trial {trial.number}, of which {self.journal} knows"
                raise ConfigError(f"{lost}: restore the results, or remove the journal too and start again")
            if trial.number in ended and not trial.state.is_finished():
                self.tell(ended[trial.number])
        for number in range(len(known), max(ended, default=-1) + 1):
            self.study.add_trial(self._restored(ended.get(number)))

    def running(self) -> list[int]:
        """The numbers of the trials that have begun and not ended."""
        return [trial.number for trial in self.study.get_trials(deepcopy=False, states=[TrialState.RUNNING])]

    def next(self) -> int | None:
        """The number of a new trial; None where there are as many as there are to be."""
        trials = self.study.get_trials(deepcopy=False)
        waiting = any(trial.state == TrialState.WAITING for trial in trials)
        return self.study.ask().number if waiting or len(trials) < self.sweep.trials else None

    def parameters(self, number: int) -> dict[str, Any]:
        """What a running trial tries. Where that is not yet drawn it is now, by the trial's own number.

        So no trial draws what the first one did, however often the search begins again.
        """
        seed = np.random.SeedSequence([self.sweep.seed, number]).generate_state(1)[0]
        self.study.sampler = TPESampler(seed=int(seed))
        trial = self._trial(number)
        return {name: suggested(trial, name, one) for name, one in self.sweep.parameters.items()}

    def report(self, number: int, course: Mapping[str, float]) -> None:
        """Notes the evaluations of a running trial, by their rounds."""
        trial = self._trial(number)
        known = self._frozen(number).intermediate_values
        for step, value in course.items():
            if int(step) not in known:
                trial.report(value, int(step))

    def hopeless(self, number: int) -> str | None:
        """Why a running trial is to be ended after what was reported last; None where it is not."""
        steps = self._frozen(number).intermediate_values
        if not steps or not self._trial(number).should_prune():
            return None
        last = max(steps)
        return f"{steps[last]:.4g} after {last:,} rounds is worse than the median"

    def tell(self, row: Tried) -> None:
        """How a trial has ended, if that is not known."""
        trial = self._frozen(row.trial)
        if trial.state == TrialState.WAITING:  # somebody else has played it
            number = self._id(row.trial)
            self.storage.set_trial_state_values(number, TrialState.RUNNING)
            for name, one in self.distributions.items():
                self.storage.set_trial_param(number, name, one.to_internal_repr(row.parameters[name]), one)
        self.report(row.trial, row.course)
        self.study.tell(row.trial, row.judged, state_of(row))

    def _trial(self, number: int) -> optuna.Trial:
        return optuna.Trial(self.study, self._id(number))

    def _frozen(self, number: int) -> FrozenTrial:
        return self.storage.get_trial(self._id(number))

    def _id(self, number: int) -> int:
        study = self.storage.get_study_id_from_name(self.sweep.name)
        return self.storage.get_trial_id_from_study_id_trial_number(study, number)

    def _restored(self, row: Tried | None) -> FrozenTrial:
        """A trial that another journal knew of; without a row one that is to be played."""
        if row is None:
            return create_trial(state=TrialState.WAITING)
        return create_trial(
            state=state_of(row),
            value=row.judged,
            params=row.parameters,
            distributions=self.distributions,
            intermediate_values={int(step): value for step, value in row.course.items()},
        )


def state_of(row: Tried) -> TrialState:
    """What has become of a trial. One that has diverged is to be learned from, as the pruned ones are."""
    if row.status == "failed":
        return TrialState.FAIL
    return TrialState.PRUNED if row.judged is None else TrialState.COMPLETE


def distribution(parameter: Parameter) -> BaseDistribution:
    if isinstance(parameter, Choice):
        return CategoricalDistribution(parameter.texts)
    low, high, step = parameter.low, parameter.high, parameter.step
    if parameter.whole:
        return IntDistribution(int(low), int(high), step=int(step or 1))
    return FloatDistribution(low, high, log=parameter.log, step=step)


def suggested(trial: optuna.Trial, name: str, parameter: Parameter) -> Any:
    """A value of a parameter, as an override has it."""
    if isinstance(parameter, Choice):
        return trial.suggest_categorical(name, parameter.texts)
    low, high, step = parameter.low, parameter.high, parameter.step
    if parameter.whole:
        return trial.suggest_int(name, int(low), int(high), step=int(step or 1))
    return trial.suggest_float(name, low, high, log=parameter.log, step=step)
