"""The health monitor: measures a run every few dozen steps, and reports what goes wrong and what to try."""

from collections.abc import Mapping, Sequence
from math import isfinite
from typing import Any

import torch
from pytorch_lightning import Callback, Trainer

from ganlab.config.prepare import PreparedRun
from ganlab.core.distributed import mean_over_processes
from ganlab.core.errors import Diverged, require
from ganlab.core.players import path
from ganlab.core.validation import Count
from ganlab.monitoring.findings import Findings, described
from ganlab.monitoring.probe import Probe
from ganlab.monitoring.remedies import first_remedy
from ganlab.monitoring.rules import NAMES, Rule
from ganlab.monitoring.updates import UpdateWatch
from ganlab.training.module import GameModule

GROWTH_STEPS = 1000  # weights may grow by their first norm once in this number of steps


class Health(Callback):
    """Measures the games of a run, and reports findings when they begin and when they end.

    The numbers are logged as `health/<name>`. The findings are printed, written to summary.json, and sent to
    loggers that have a method `log_alert`. Training is bit for bit the same without it. The stages before the
    main game are not measured.

    Args:
        every: the number of steps between two measurements, each at a row of metrics.csv.
        stop: the names of findings that end the run, as diverged.

    Raises:
        ConfigError: there is no such finding.
    """

    place = "show"

    state_key = "Health"  # the name of the callback in checkpoints

    def __init__(self, every: Count, stop: Sequence[str]):
        unknown = [name for name in stop if name not in NAMES]
        require(not unknown, "there is no such finding", f"choose from {', '.join(NAMES)}", ".stop", unknown)
        self.every, self.stop = every, stop
        self.findings, self.players = Findings(), list[str]()
        self.first_sizes: dict[str, float] = {}  # the norm of the weights of each player before the main game
        self.probe: Probe | None = None
        self.watch: UpdateWatch | None = None
        self.state: dict[str, Any] = {}  # that of the probe in the checkpoint, until there is a probe

    def on_prepared(self, run: PreparedRun) -> None:
        """Gets the run when it is built, before its first step."""
        self.run = run

    def is_due(self, step: int) -> bool:
        """Whether a step of the main game is measured: the first row of metrics.csv in each `every` steps."""
        log_every = self.run.settings.log_every
        is_first = step % log_every == 0 and step % self.every < log_every
        return is_first and step > self.run.timetable.main_start

    def on_train_start(self, trainer: Trainer, module: GameModule) -> None:  # type: ignore[override]
        self._write(trainer)

    def on_train_batch_start(self, trainer: Trainer, module: GameModule, *_: Any) -> None:  # type: ignore[override]
        if module.phase is not module.phases[-1]:
            return
        self.players = [*module.phase.game.players]
        if not self.first_sizes:
            self.first_sizes = UpdateWatch.sizes(module.phase)
        if self.is_due(module.game.run_step + 1):
            self.watch = UpdateWatch(module.phase)

    def on_train_batch_end(self, trainer: Trainer, module: GameModule, *_: Any) -> None:  # type: ignore[override]
        if self.watch is None:
            return
        step, updates, self.watch = module.game.run_step, self.watch.numbers(), None
        for part, numbers in self._measured(trainer, module, updates).items():
            for name, number in numbers.items():
                module.log(path("health", part, name), number)
            first_step = self.run.timetable.main_start
            for rule, player, found in self.findings.update(part, step, first_step, numbers):
                self._report(trainer, rule, player, found, step)

    def _measured(
        self, trainer: Trainer, module: GameModule, updates: Mapping[str, Any]
    ) -> dict[str, dict[str, float]]:
        """The finite numbers of each part of the main game, by name: the means over all processes."""
        phase = module.phases[-1]
        if self.probe is None:
            convert = trainer.precision_plugin.convert_input
            self.probe = Probe(phase.game, self.run.data, phase.seed, module.device, convert)
            self.probe.shares = self.state.get("shares", {})
        measured = self.probe.measure(phase.step).items()
        found = {part: {**updates.get(part, {}), **numbers} for part, numbers in measured}
        flat = [
            number.to(module.device, torch.float32) for part in found.values() for number in part.values()
        ]
        means = iter(mean_over_processes(torch.stack(flat)).tolist())
        values = {part: dict(zip(numbers, means, strict=False)) for part, numbers in found.items()}
        for part, numbers in values.items():
            sizes = {name: numbers.pop(name) for name in list(numbers) if name.startswith("size/")}
            for player, size in ((name.partition("/")[2], size) for name, size in sizes.items()):
                growth = size / max(self.first_sizes[path(part, player)], 1e-12)
                numbers[f"growth/{player}"] = growth / (1 + phase.step / GROWTH_STEPS)
            if sizes:
                numbers["growth"] = min(numbers[name.replace("size", "growth", 1)] for name in sizes)
        return {part: {k: v for k, v in numbers.items() if isfinite(v)} for part, numbers in values.items()}

    def _report(self, trainer: Trainer, rule: Rule, player: str, found: dict[str, Any], step: int) -> None:
        begins = found["ends"] is None
        if begins:
            found["remedy"] = first_remedy(self.run.record, rule.remedies, player, self.players)
        self._write(trainer)
        if trainer.is_global_zero:
            print(f"health: {(text := described(found))}", flush=True)
            for logger in trainer.loggers if begins else ():
                if log_alert := getattr(logger, "log_alert", None):
                    log_alert(found["name"], text, step)
        if begins and rule.name in self.stop:
            raise Diverged(step, f"{found['name']}: {found['evidence']}")

    def _write(self, trainer: Trainer) -> None:
        if trainer.is_global_zero:
            self.run.directory.write_summary(health=self.findings.summary())

    def on_exception(self, trainer: Trainer, module: GameModule, error: BaseException) -> None:  # type: ignore[override]
        if isinstance(error, Diverged) and not any(one["name"] in str(error) for one in self.findings.open()):
            self.findings.diverged(module.game.run_step, str(error))
            self._write(trainer)

    def state_dict(self) -> dict[str, Any]:
        shares = self.state.get("shares", {}) if self.probe is None else self.probe.shares
        own = {
            "windows": self.findings.windows,
            "found": self.findings.found,
            "first_sizes": self.first_sizes,
        }
        return {**own, "shares": shares}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self.findings.windows, self.findings.found = state["windows"], state["found"]
        self.first_sizes, self.state = state["first_sizes"], state
