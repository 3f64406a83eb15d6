"""What a command prints around its work: a run's first and last lines."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from omegaconf import DictConfig

from ganlab.config.overrides import shell_override
from ganlab.core.errors import printable
from ganlab.core.validation import format_number

if TYPE_CHECKING:
    from ganlab.training.session import Session


def introduce(session: Session) -> None:
    """Networks, data, game and device, and where the loggers write."""
    cfg, data, game = session.cfg, session.data, session.module.game
    networks = [
        f"{player} {named(cfg.model[player], player)} of "
        f"{sum(weight.numel() for weight in getattr(game, player).parameters()):,} weights"
        for player in game.players
    ]
    size = "x".join(map(str, data.shape))
    things = "images" if data.value_range is not None else "samples"
    tricks = f"with {', '.join(cfg.trick)}" if cfg.trick else "without tricks"
    device, threads, processes = session.circumstances().values()
    lines = {
        "networks": ", ".join(networks),
        "data": f"{len(data):,} {things} of {size} ({named(cfg.data)}), {data.batch_size} a round",
        "game": f"{named(cfg.objective)} {tricks}, rounds {game.step + 1:,} to {session.times.total:,}",
        "device": f"{device}, threads: {threads}, processes: {processes}, precision: {cfg.trainer.precision}",
    }
    show(printable(str(session.directory.path)), lines | whereabouts(session))


def conclude(session: Session, status: str, metrics: Mapping[str, float]) -> None:
    """A short table, where to look, and what to do next."""
    path, data, evaluation, bar = session.directory.path, session.data, session.evaluation, session.bar
    speed = f"{bar.seconds:.1f} s, {bar.images_per_second:,.0f} images/s"
    lines = {"rounds": f"{session.module.game.step:,}", "training": speed}
    things = "samples" if data.value_range is None else "images"
    run = shell_override("run_dir", path)
    for name, value in metrics.items():
        split = {"train": "training"}.get(evaluation.baseline_split[name], evaluation.baseline_split[name])
        floor = evaluation.floor.get(name)
        real = f"   (real {split} {things}: {format_number(floor)})" if floor is not None else ""
        lines[name] = format_number(value) + real
    if status == "finished" and not evaluation.metrics and data.value_range is not None:
        lines["measured"] = f"nothing: python -m ganlab.evaluate {run} 'metric=[kid]'" + (
            f" metric.kid.subset_size={len(data)}" * (len(data) < 1000)
        )
    if data.skipped:
        lines["skipped"] = f"{len(data.skipped)} files that are no images, {data.skipped[0]} first"
    if session.profile is not None:
        lines["profile"] = f"{path / 'profile.txt'}, and profile.json for chrome://tracing or Perfetto"
    lines |= {"samples": str(path / "samples"), "everything": str(path)} | whereabouts(session)
    go_on = {"to go on": f"python -m ganlab.run {shell_override('resume', path)}"}
    show(
        f"\n{status}", lines | (go_on if status == "stopped" else {"more": f"python -m ganlab.sample {run}"})
    )


def named(node: DictConfig, maker: str = "") -> str:
    """What a node of the config builds: its class, or the module of a function called `maker`."""
    return str(node._target_).removesuffix(f".{maker}").rpartition(".")[2]


def whereabouts(session: Session) -> dict[str, str]:
    """Where the loggers write, by their names, and how to see it."""
    loggers = zip(session.cfg.logger, session.trainer.loggers, strict=True)
    return {str(name): where for name, logger in loggers if (where := getattr(logger, "whereabouts", None))}


def show(title: str, lines: Mapping[str, str]) -> None:
    """Lines below a title, each behind its label, set in two columns."""
    width = max(map(len, lines)) + 2
    rows = (f"  {label:<{width}}{printable(text)}" for label, text in lines.items())
    print(title, *rows, sep="\n", flush=True)
