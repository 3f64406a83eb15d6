"""The health monitor: measures a run every few dozen steps, and reports what goes wrong and what to try."""

from collections.abc import Sequence
from math import isfinite
from typing import Any

import torch
from pytorch_lightning import Callback, Trainer
from torch.nn.utils import get_total_norm

from ganlab.config.prepare import PreparedRun
from ganlab.core.distributed import mean_over_processes
from ganlab.core.errors import Diverged, error_message, require
from ganlab.core.players import path
from ganlab.core.validation import Count
from ganlab.monitoring.findings import NAMES, RULES, Findings, described
from ganlab.monitoring.measures import Numbers, Weights, update_numbers, weights_of
from ganlab.monitoring.probe import Probe
from ganlab.monitoring.remedies import first_remedy
from ganlab.training.module import GameModule


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
        self.every, self.stop, self.findings = every, stop, Findings()
        self.first_norms: dict[str, float] = {}  # of the weights of each player before the main game
        self.before: Weights = {}  # copies of the weights before a step that is measured
        self.probe: Probe | None = None
        self.is_blind = False  # whether the probe has failed

    def on_prepared(self, run: PreparedRun) -> None:
        """Gets the run when it is built, before its first step."""
        self.run = run

    def is_due(self, step: int) -> bool:
        """Whether a step of the main game is measured: the first row of metrics.csv in each `every` steps."""
        log_every = self.run.settings.log_every
        is_first = step % log_every == 0 and step % self.every < log_every
        return is_first and step > self.run.timetable.main_start

    def on_train_start(self, trainer: Trainer, module: GameModule) -> None:  # type: ignore[override]
        remedy = "remove it, or train with ganlab.train"
        require(module.is_run, "measures runs of ganlab alone", remedy, "callback", "health")
        measured = self._measured(trainer, module).values() if self.stop else ()
        known = {"growth"}.union(*measured)
        for rule in (rule for rule in RULES if rule.name in self.stop):
            missing = ", ".join(key for key in rule.signature if "/" not in key and key not in known)
            reason = f"{rule.name} cannot be found in this run, of which {missing} is not measured"
            require(not missing, reason, "remove it", "callback.health.stop", [*self.stop])
        self._write(trainer)

    def on_train_batch_start(self, trainer: Trainer, module: GameModule, *_: Any) -> None:  # type: ignore[override]
        phase = module.phases[-1]
        if not self.first_norms and phase is module.phase:
            if phase.initialise is not None:  # copies weights of earlier stages, as the step will do again
                phase.initialise()
            self.first_norms = {key: float(get_total_norm(own)) for key, own in weights_of(phase).items()}
        if self.is_due(module.game.run_step + 1):
            weights = weights_of(phase).items()
            self.before = {key: [w.detach().clone() for w in own] for key, own in weights}

    def on_train_batch_end(self, trainer: Trainer, module: GameModule, *_: Any) -> None:  # type: ignore[override]
        if not self.before:
            return
        step, phase = module.game.run_step, module.phases[-1]
        updates, self.before = update_numbers(phase, self.before, self.first_norms), {}
        for part, own in self._measured(trainer, module).items():
            numbers = updates[part] | own
            of_process = torch.stack([number.to(module.device, torch.float32) for number in numbers.values()])
            named = zip(numbers, mean_over_processes(of_process).tolist(), strict=True)
            values = {name: value for name, value in named if isfinite(value)}
            for name, value in values.items():
                module.log(path("health", part, name), value)
            for rule, found in self.findings.update(part, step, phase.step, values):
                self._report(trainer, module, rule, found)
                if found["ends"] is None and rule.name in self.stop:
                    raise Diverged(step, f"{found['name']}: {found['evidence']}")

    def _measured(self, trainer: Trainer, module: GameModule) -> dict[str, Numbers]:
        """What the probe measures by part; nothing of a game that cannot be judged outside of a step."""
        phase, plugin = module.phases[-1], trainer.precision_plugin
        try:
            with plugin.forward_context():
                convert, device = plugin.convert_input, module.device
                self.probe = self.probe or Probe(phase, self.run.data, device, convert)
                return self.probe.measure(phase.step)
        except Exception as error:  # of a trick or a network of one's own, whose run goes on
            if not self.is_blind and trainer.is_global_zero:
                print(f"health: samples are not measured: {type(error).__name__}: {error_message(error)}")
            self.is_blind = True
            return {part: {} for part in phase.game.parts}

    def _report(self, trainer: Trainer, module: GameModule, rule: Any, found: dict[str, Any]) -> None:
        players, begins = [*module.phases[-1].game.players], found["ends"] is None
        if begins:
            run, player = self.run, found["player"]
            found["remedy"] = first_remedy(run.record, run.data, rule.remedies, player, players)
        self._write(trainer)
        if trainer.is_global_zero:
            print(f"health: {(text := described(found))}", flush=True)
            for logger in trainer.loggers if begins else ():
                if log_alert := getattr(logger, "log_alert", None):
                    log_alert(found["name"], text, module.game.run_step)

    def _write(self, trainer: Trainer) -> None:
        if trainer.is_global_zero:
            self.run.directory.write_summary(health=self.findings.summary())

    def on_exception(self, trainer: Trainer, module: GameModule, error: BaseException) -> None:  # type: ignore[override]
        if isinstance(error, Diverged):
            for rule, found in self.findings.diverged(module.game.run_step, str(error)):
                self._report(trainer, module, rule, found)

    def state_dict(self) -> dict[str, Any]:
        return vars(self.findings) | {"first_norms": self.first_norms}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self.first_norms = state["first_norms"]
        vars(self.findings).update(windows=state["windows"], found=state["found"])
