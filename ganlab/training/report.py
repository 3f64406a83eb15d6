"""What a run reports: what it prints before its first step and after its last one, and its summary.json."""

import sys
from collections.abc import Mapping

import torch

from ganlab.config.overrides import shell_command, shell_override
from ganlab.core.errors import escape_unprintable, final_status
from ganlab.core.players import path
from ganlab.core.validation import format_number
from ganlab.metrics.protocols import floor_note
from ganlab.monitoring.findings import described
from ganlab.training.provenance import git_commit, versions
from ganlab.training.run import Run
from ganlab.training.train import Result


def print_header(run: Run) -> None:
    """Prints what the run consists of, before its first step."""
    data, settings, game = run.prepared.data, run.prepared.settings, run.module.game
    networks, games = [], []
    for part_name, part in run.module.parts.items():
        for name, network in part.networks.items():
            key, size = path(part_name, name), sum(map(torch.numel, network.parameters()))
            networks.append(f"{key} {settings.networks[key]} of {size:,} weights")
        tricks = f"with {', '.join(part.tricks)}" if part.tricks else "without tricks"
        games.append(f"{part_name} {type(part.objective).__name__} {tricks}".lstrip())
    shape = "x".join(map(str, data.shape))
    samples = "samples" if data.value_range is None else "images"
    steps = f"steps {game.run_step + 1:,} to {run.prepared.timetable.total:,}"
    lines = {
        "networks": ", ".join(networks),
        "data": f"{len(data):,} {samples} of {shape} ({type(data).__name__}), {data.batch_size} a step",
        "game": ", ".join([*games, steps]),
        "device": "{device}, threads: {threads}, processes: {processes}".format(**run.hardware)
        + f", precision: {settings.precision}",
    }
    print_table(escape_unprintable(str(run.prepared.directory.path)), lines | view_command(run))


def print_summary(run: Run, result: Result) -> None:
    """Prints what the run has led to."""
    path, data, bar = result.run_dir, run.prepared.data, run.bar
    speed = f"{bar.seconds:.1f} s, {bar.images_per_second:,.0f} images/s"
    lines = {"steps": f"{run.module.game.run_step:,}", "training": speed}
    run_dir = shell_override("run_dir", path)
    for name, value in result.metrics.items():
        lines[name] = format_number(value) + floor_note(result.records.get(name, {}))
    if result.status == "finished" and not result.metrics and data.value_range is not None:
        # KID draws subsets of 1000 images by default.
        subset_size = f" metric.kid.subset_size={len(data)}" if len(data) < 1000 else ""
        lines["measured"] = f"nothing: {shell_command('evaluate')} {run_dir} 'metric=[kid]'{subset_size}"
    if data.skipped:
        lines["skipped"] = f"{len(data.skipped)} files that are not images, {data.skipped[0]} first"
    if run.prepared.settings.profile:
        lines["profile"] = f"{path / 'profile.txt'}, and profile.json for chrome://tracing or Perfetto"
    lines |= {"samples": str(path / "samples"), "everything": str(path)} | view_command(run)
    if result.status == "stopped":
        lines["resume"] = f"{shell_command('run')} {shell_override('resume', path)}"
    else:
        lines["more"] = f"{shell_command('sample')} {run_dir}"
    print_table(f"\n{result.status}", lines)
    for finding in run.prepared.directory.summary().get("health", []):
        print(f"health: {described(finding)}", flush=True)


def view_command(run: Run) -> dict[str, str]:
    """The address of what each logger wrote, or the command that shows it; by the name of the logger."""
    loggers = zip(run.prepared.make_loggers, run.trainer.loggers, strict=True)
    return {name: text for name, logger in loggers if (text := getattr(logger, "view_command", None))}


def write_summary(run: Run, status: str, reason: str | None) -> None:
    """Writes the status of the run and everything else that is known now to summary.json."""
    prepared, step, metrics = run.prepared, run.module.game.run_step, run.evaluate.latest_records
    if run.is_main:
        prepared.directory.write_summary(
            status=status,
            reason=reason,
            steps=step,
            images=prepared.timetable.images_seen(step),
            seconds=round(run.bar.seconds, 3),
            images_per_second=round(run.bar.images_per_second, 1),
            skipped=len(prepared.data.skipped),
            training_samples=len(prepared.data),
            seed=prepared.settings.seed,
            data_sha256=run.data_sha256,
            **run.hardware,
            commit=git_commit(),
            versions=versions(),
            command=run.command,
            before=run.hardware_history,
            **({"metrics": metrics} if metrics else {}),
        )


def write_failure(run: Run, error: BaseException, silent: bool = False) -> None:
    """Writes the summary of a run that an error ended; if that fails, reports it unless `silent`."""
    try:
        write_summary(run, *final_status(error))  # a status and a reason
    except OSError as writing_error:  # a full disk must not hide why the run ended
        if not silent:
            print(f"summary.json could not be written: {writing_error.strerror}", file=sys.stderr)


def print_table(title: str, lines: Mapping[str, str]) -> None:
    """Prints a title, and below it the labels and texts in two columns."""
    width = max(map(len, lines)) + 2
    rows = (f"  {label:<{width}}{escape_unprintable(text)}" for label, text in lines.items())
    print(title, *rows, sep="\n", flush=True)
