"""What a run prints before its first step and after its last."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from omegaconf import DictConfig

from ganlab.config.overrides import shell_override
from ganlab.core.errors import printable
from ganlab.core.validation import format_number
from ganlab.metrics.protocols import baseline_note

if TYPE_CHECKING:
    from ganlab.training.session import Session


def print_header(session: Session) -> None:
    """Prints the networks, the data, the game, the hardware, and where the loggers write."""
    cfg, data, game = session.cfg, session.data, session.module.game
    networks = [
        f"{player} {target_name(cfg.model[player], player)} of "
        f"{sum(weight.numel() for weight in getattr(game, player).parameters()):,} weights"
        for player in game.players
    ]
    size = "x".join(map(str, data.shape))
    things = "samples" if data.value_range is None else "images"
    tricks = f"with {', '.join(cfg.trick)}" if cfg.trick else "without tricks"
    device, threads, processes = session.hardware.values()
    lines = {
        "networks": ", ".join(networks),
        "data": f"{len(data):,} {things} of {size} ({target_name(cfg.data)}), {data.batch_size} a step",
        "game": f"{target_name(cfg.objective)} {tricks}, steps {game.step + 1:,} to {session.times.total:,}",
        "device": f"{device}, threads: {threads}, processes: {processes}, precision: {cfg.trainer.precision}",
    }
    print_table(printable(str(session.directory.path)), lines | logger_locations(session))


def print_summary(session: Session, status: str, metrics: Mapping[str, float]) -> None:
    """Prints the speed and the metrics, where the results are, and the command to continue with."""
    path, data, evaluation, bar = session.directory.path, session.data, session.evaluation, session.bar
    speed = f"{bar.seconds:.1f} s, {bar.images_per_second:,.0f} images/s"
    lines = {"steps": f"{session.module.game.step:,}", "training": speed}
    things = "samples" if data.value_range is None else "images"
    run = shell_override("run_dir", path)
    for name, value in metrics.items():
        lines[name] = format_number(value) + baseline_note(evaluation.baselines.get(name, {}), things)
    if status == "finished" and not evaluation.metrics and data.value_range is not None:
        small = f" metric.kid.subset_size={len(data)}" if len(data) < 1000 else ""
        lines["measured"] = f"nothing: python -m ganlab.evaluate {run} 'metric=[kid]'{small}"
    if data.skipped:
        lines["skipped"] = f"{len(data.skipped)} files that are not images, {data.skipped[0]} first"
    if session.cfg.profile:
        lines["profile"] = f"{path / 'profile.txt'}, and profile.json for chrome://tracing or Perfetto"
    lines |= {"samples": str(path / "samples"), "everything": str(path)} | logger_locations(session)
    if status == "stopped":
        lines["resume"] = f"python -m ganlab.run {shell_override('resume', path)}"
    else:
        lines["more"] = f"python -m ganlab.sample {run}"
    print_table(f"\n{status}", lines)


def target_name(node: DictConfig, function: str = "") -> str:
    """The class that a node of the config builds; for a function called `function`, its module's name."""
    return str(node._target_).removesuffix(f".{function}").rpartition(".")[2]


def logger_locations(session: Session) -> dict[str, str]:
    """By logger, where it writes, or the command that shows it."""
    loggers = zip(session.cfg.logger, session.trainer.loggers, strict=True)
    return {str(name): text for name, logger in loggers if (text := getattr(logger, "location", None))}


def print_table(title: str, lines: Mapping[str, str]) -> None:
    """Prints a title, and below it the labels and texts in two columns."""
    width = max(map(len, lines)) + 2
    rows = (f"  {label:<{width}}{printable(text)}" for label, text in lines.items())
    print(title, *rows, sep="\n", flush=True)
