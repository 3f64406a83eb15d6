"""What a command prints around its work: a run's first and last lines, and a table of a sweep's jobs."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from omegaconf import DictConfig
from rich.console import Console
from rich.table import Table
from rich.text import Text

from ganlab.errors import Refused, ending, printable
from ganlab.provenance import override
from ganlab.values import digits

if TYPE_CHECKING:
    from ganlab.session import Session

LONGEST = 200  # characters of a name; that of a directory or a file beside it has 255 at most


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
    run = override("run_dir", path)
    for name, value in metrics.items():
        split = {"train": "training"}.get(evaluation.anchor[name], evaluation.anchor[name])
        floor = evaluation.floor.get(name)
        real = f"   (real {split} {things}: {digits(floor)})" if floor is not None else ""
        lines[name] = digits(value) + real
    if status == "finished" and not evaluation.metrics and data.value_range is not None:
        lines["measured"] = f"nothing: python -m ganlab.evaluate {run} 'metric=[kid]'" + (
            f" metric.kid.subset_size={len(data)}" * (len(data) < 1000)
        )
    if data.skipped:
        lines["skipped"] = f"{len(data.skipped)} files that are no images, {data.skipped[0]} first"
    if session.profile is not None:
        lines["profile"] = f"{path / 'profile.txt'}, and profile.json for chrome://tracing or Perfetto"
    lines |= {"samples": str(path / "samples"), "everything": str(path)} | whereabouts(session)
    go_on = {"to go on": f"python -m ganlab.run {override('resume', path)}"}
    show(
        f"\n{status}", lines | (go_on if status == "stopped" else {"more": f"python -m ganlab.sample {run}"})
    )


def named(node: DictConfig, maker: str = "") -> str:
    """What a node of the config builds: its class, or the module of a function called `maker`."""
    return str(node._target_).removesuffix(f".{maker}").rpartition(".")[2]


def whereabouts(session: Session) -> dict[str, str]:
    """Where the loggers write, by their names, and how to see it."""
    told = zip(session.cfg.logger, session.trainer.loggers, strict=True)
    return {str(name): where for name, logger in told if (where := getattr(logger, "whereabouts", None))}


def show(title: str, lines: Mapping[str, str]) -> None:
    """Lines below a title, each behind its label, set in two columns."""
    width = max(map(len, lines)) + 2
    rows = (f"  {label:<{width}}{printable(text)}" for label, text in lines.items())
    print(title, *rows, sep="\n", flush=True)


class Jobs:
    """The jobs of a command line, whose words are `line`, as far as this process plays them."""

    def __init__(self, line: Sequence[str]):
        self.line = line
        self.swept = {word.split("=")[0] for word in line if set(word) & set(",(")}  # and some that are not
        self.rows: list[list[str]] = []

    def begin(self, number: int, overrides: Sequence[str]) -> str:
        """A name for a job, unlike that of any other, which a shell and Hydra read without quotes."""
        own = [word for word in overrides if word not in self.line and word.split("=")[0] in self.swept]
        words = (re.sub(r"[^A-Za-z0-9_.+-]+", "-", word).strip("-") for word in (str(number), *own))
        print(f"\njob {number}: {' '.join(overrides) or 'no overrides'}", flush=True)
        self.rows.append([str(number), " ".join(own), "stopped", ""])
        return "_".join(words)[:LONGEST]

    def end(self, result: Any) -> Any:
        """Notes what the last job returned, or the error that it ended with, and gives it back."""
        error = isinstance(result, BaseException)
        status = "refused" if isinstance(result, Refused) else ending(result)[0] if error else "finished"
        found = result.items() if isinstance(result, dict) else ()
        for row in self.rows[-1:]:
            row[2:] = status, ", ".join(f"{name} {digits(value)}" for name, value in found)
        return result

    def show(self) -> None:
        """Prints the table; nothing where this was no sweep."""
        table = Table("job", "overrides", "status", "metrics", box=None, pad_edge=False)
        for row in self.rows:
            table.add_row(*map(Text, row))
        if self.rows:
            Console(width=1000).print("", table)
