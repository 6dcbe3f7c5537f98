"""The search for settings: every variant gets the same number of trials, judged on development rows.

Trials are fitted on a few training rows. The first has the settings the study gives; the others draw every
setting that the study leaves open and whose class gives a range for it. After each scored epoch the worse
half is stopped (successive halving). The best trial's settings are then fitted on all rows with every seed.
No test row is read.

A search that is interrupted goes on with the trial it was in; one that was finished is read.

Source: Jamieson & Talwalkar 2016, "Non-stochastic Best Arm Identification and Hyperparameter Optimization",
arXiv:1502.07943, algorithm 1; in the asynchronous form of Li et al. 2020, arXiv:1810.05934, algorithm 2.
"""

from __future__ import annotations

import json
import shutil
import time
import warnings
from dataclasses import asdict, dataclass, replace
from typing import TYPE_CHECKING, Any, Literal, TypeAlias

from filelock import FileLock

from tunewise.artifacts import is_whole, new_folder, read_folder, sha256_of_json
from tunewise.contracts import no_progress
from tunewise.errors import FitError
from tunewise.evaluation.costs import FitMonitor
from tunewise.evaluation.metrics import gain, higher_is_better
from tunewise.rng import Rng

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from optuna import Study, Trial

    from tunewise.contracts import Progress, Settings
    from tunewise.home import Home
    from tunewise.outcome import Scored
    from tunewise.request import Request

    FitTrial: TypeAlias = Callable[[Request, FitMonitor, Path], Scored]
    """Fits a request under a monitor, with a folder of its own, and returns the answers to the development rows."""

KIND = "search"
RECORD, JOURNAL = "search.json", "trials.journal"
RULE = "best development {metric} of the trials that ran to their end; of equal ones the first"
KEPT_SHARE = 2
"""One trial in so many goes on after each scored epoch. Source: Jamieson & Talwalkar 2016 halve."""


@dataclass(frozen=True)
class Tried:
    """One trial of a search."""

    settings: dict[str, Any]
    """The searched settings by name."""
    state: Literal["finished", "stopped", "failed"]
    """``stopped`` was among the worse half; ``failed`` diverged."""
    value: float | None
    """The metric on development rows, at the end or where it was stopped."""
    seconds: float


@dataclass(frozen=True)
class Found:
    """What a search came to."""

    settings: Settings
    """The best trial's; the given ones where nothing was searched."""
    trials: tuple[Tried, ...]
    rule: str
    n_train_rows: int
    """Rows that each trial was fitted on."""

    @property
    def seconds(self) -> float:
        """Return the seconds of all trials."""
        return sum(trial.seconds for trial in self.trials)

    @property
    def finished_values(self) -> list[float]:
        """Return the development metric of the trials that ran to their end."""
        return [trial.value for trial in self.trials if trial.state == "finished" and trial.value is not None]


@dataclass(frozen=True)
class Plan:
    """How much a search may try."""

    n_trials: int
    """At least 1; with 1 the settings stay as they are."""
    max_train_rows: int | None
    """Training rows of a trial; the study's own unless given."""


def search(request: Request, plan: Plan, fit: FitTrial, *, home: Home, progress: Progress = no_progress) -> Found:
    """Return the best of ``plan.n_trials`` settings for ``request``, reading a search that was made before.

    Settings that were given are kept; of the others those are searched that have a range.

    Args:
        request: The fit whose settings are to be found; its seed is that of every trial.
        plan: How much may be tried.
        fit: Fits a trial.
        home: Where searches are kept.
        progress: Told how many trials are done.

    Raises:
        FitError: If no trial ran to its end.
    """
    ranges = open_ranges(request.settings)
    if plan.n_trials <= 1 or not ranges or not len(request.split.development):
        return Found(request.settings, (), "", 0)
    folder = folder_of(request, plan, home)
    work = home.root / "work" / folder.name
    work.mkdir(parents=True, exist_ok=True)
    with FileLock(work.with_name(f"{folder.name}.lock")):
        if not is_whole(folder):
            trials = _Trials(request, plan, fit, work, progress).run()
            with new_folder(folder, KIND) as staging:
                record = {"trials": [asdict(trial) for trial in trials], "key": folder.name, "request": request.determinants}
                (staging / RECORD).write_text(json.dumps(record, indent=1))
        shutil.rmtree(work, ignore_errors=True)
    return read_found(request, plan, home)


def folder_of(request: Request, plan: Plan, home: Home) -> Path:
    """Return where the search is kept: under the hash of all that determines it."""
    trial = _shortened(request, plan)
    ranges = {name: repr(one) for name, one in open_ranges(request.settings).items()}
    return home.artifacts / "searches" / sha256_of_json([trial.determinants, ranges, plan.n_trials, KEPT_SHARE])


def read_found(request: Request, plan: Plan, home: Home) -> Found:
    """Return a search that was made before.

    Raises:
        ArtifactError: If it was not, or its folder is not whole.
    """
    folder = folder_of(request, plan, home)
    read_folder(folder)
    trials = tuple(Tried(**one) for one in json.loads((folder / RECORD).read_text())["trials"])
    metric = request.effort.metric
    best = _best(trials, metric)
    rows = _shortened(request, plan).n_train_rows
    return Found(_with(request.settings, best.settings), trials, RULE.format(metric=metric), rows)


def open_ranges(settings: Settings) -> dict[str, Any]:
    """Return the ranges of the settings that nobody gave, by name."""
    return {name: one for name, one in type(settings).ranges.items() if name not in settings.model_fields_set}


@dataclass(eq=False)
class TrialMonitor(FitMonitor):
    """Watches a trial and stops it where it is among the worse half."""

    trial: Trial | None = None
    metric: str = "accuracy"
    _n_scores: int = 0

    def record(self, step: int, **values: float) -> None:
        """Keep the values of one step; a development score decides whether the trial goes on.

        Raises:
            optuna.TrialPruned: If it does not.
        """
        super().record(step, **values)
        value = values.get(f"development_{self.metric}")
        if value is None or self.trial is None:
            return
        from optuna import TrialPruned

        self._n_scores += 1
        self.trial.report(value, self._n_scores)
        if self.trial.should_prune():
            raise TrialPruned


class _Trials:
    """Runs the trials of one search, keeping each in a journal as it ends."""

    def __init__(self, request: Request, plan: Plan, fit: FitTrial, work: Path, progress: Progress) -> None:
        self._request, self._plan, self._fit = _shortened(request, plan), plan, fit
        self._work, self._progress = work, progress
        self._ranges = open_ranges(request.settings)

    def run(self) -> tuple[Tried, ...]:
        study = self._study()
        stage = f"{self._request.method.name}: trials"
        while (n_done := len(_ended(study))) < self._plan.n_trials:
            self._progress(stage, n_done, self._plan.n_trials)
            self._one(study, n_done)
        self._progress(stage, self._plan.n_trials, self._plan.n_trials)
        trials = tuple(_tried(one) for one in _ended(study))
        if not any(trial.state == "finished" for trial in trials):
            n_failed = sum(trial.state == "failed" for trial in trials)
            raise FitError(
                f"None of {len(trials)} trials of {self._request.method.name} ran to its end ({n_failed} diverged), so no "
                "settings can be told to be good. Give a smaller learning_rate, or use float32."
            )
        return trials

    def _one(self, study: Study, number: int) -> None:
        """Run trial ``number``. What it draws depends on the trials that ended, so an interrupted one is drawn again."""
        import optuna

        study.sampler = optuna.samplers.TPESampler(seed=Rng(self._request.effective_seed).child(f"trial {number}").seed)
        if number == 0:
            study.enqueue_trial({name: getattr(self._request.settings, name) for name in self._ranges})
        trial = study.ask()
        drawn = {name: one.draw(name, trial) for name, one in self._ranges.items()}
        asked = replace(self._request, settings=_with(self._request.settings, drawn))
        monitor = TrialMonitor(self._progress, trial=trial, metric=asked.effort.metric)
        work = self._work / f"trial_{number}"
        work.mkdir(exist_ok=True)
        start = time.perf_counter()
        value, state = self._value(asked, monitor, work)
        trial.set_user_attr("seconds", time.perf_counter() - start)
        trial.set_user_attr("ended", state)
        is_finished = state == "finished"
        study.tell(trial, value if is_finished else None, None if is_finished else optuna.trial.TrialState.PRUNED)
        shutil.rmtree(work, ignore_errors=True)

    def _value(self, asked: Request, monitor: TrialMonitor, work: Path) -> tuple[float | None, str]:
        from optuna import TrialPruned

        metric = asked.effort.metric
        try:
            scored = self._fit(asked, monitor, work)
        except TrialPruned:
            return None, "stopped"
        except FitError:
            # Divergence is what such settings come to, and no failure of the search.
            return None, "failed"
        value = gain(metric, scored.answers)
        return value if higher_is_better(metric) else -value, "finished"

    def _study(self) -> Study:
        import optuna
        from optuna.storages import JournalStorage
        from optuna.storages.journal import JournalFileBackend

        optuna.logging.set_verbosity(optuna.logging.WARNING)
        direction = "maximize" if higher_is_better(self._request.effort.metric) else "minimize"
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
            study = optuna.create_study(
                storage=JournalStorage(JournalFileBackend(str(self._work / JOURNAL))),
                study_name="search",
                load_if_exists=True,
                direction=direction,
                pruner=optuna.pruners.SuccessiveHalvingPruner(min_resource=1, reduction_factor=KEPT_SHARE),
            )
        for trial in study.get_trials(deepcopy=False, states=(optuna.trial.TrialState.RUNNING, optuna.trial.TrialState.WAITING)):
            # Its process is gone: the lock of this search is held here.
            study.tell(trial.number, state=optuna.trial.TrialState.FAIL)
        return study


def _ended(study: Study) -> list[Any]:
    from optuna.trial import TrialState

    return study.get_trials(deepcopy=False, states=(TrialState.COMPLETE, TrialState.PRUNED))


def _tried(trial: Any) -> Tried:
    ended = trial.user_attrs["ended"]
    last = max(trial.intermediate_values, default=None)
    value = trial.value if ended == "finished" else None if last is None else trial.intermediate_values[last]
    return Tried(dict(trial.params), ended, value, trial.user_attrs["seconds"])


def _best(trials: tuple[Tried, ...], metric: str) -> Tried:
    sign = 1 if higher_is_better(metric) else -1
    finished = [trial for trial in trials if trial.state == "finished" and trial.value is not None]
    return max(finished, key=lambda trial: sign * float(trial.value or 0))


def _shortened(request: Request, plan: Plan) -> Request:
    limits = [limit for limit in (plan.max_train_rows, request.effort.max_train_rows) if limit is not None]
    return replace(request, effort=replace(request.effort, max_train_rows=min(limits, default=None)))


def _with(settings: Settings, drawn: dict[str, Any]) -> Settings:
    """Return ``settings`` with what was drawn, checked as if it had been given."""
    return type(settings).model_validate(settings.model_dump(mode="json", exclude_unset=True) | drawn)
