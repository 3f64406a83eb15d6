"""The report of a study: README.md, page.html with its pictures inside, and the pictures."""

import re
from base64 import b64encode
from collections import Counter
from collections.abc import Mapping, Sequence
from io import BytesIO
from math import inf
from pathlib import Path
from statistics import fmean
from typing import Any

from jinja2 import Environment, FileSystemLoader
from markdown_it import MarkdownIt
from PIL import Image

from ganlab.core.errors import require
from ganlab.filesystem import config_error_if_unwritable, write_atomically
from ganlab.metrics.protocols import is_metric_value, require_same_protocol
from ganlab.studies import conclusion, formatting, plots, provenance, table
from ganlab.studies.analysis import Analysis, ArmResult, analyse
from ganlab.studies.formatting import (
    centre,
    chance,
    code,
    counted,
    duration,
    escape,
    listed,
    named,
    number,
    published_value,
)  # fmt: skip
from ganlab.studies.spec import Search, Study, Suite
from ganlab.studies.statistics import ENOUGH, Sample
from ganlab.studies.table import Row
from ganlab.visualize.images import save_png

TEMPLATES = Environment(loader=FileSystemLoader(Path(__file__).parent), trim_blocks=True, lstrip_blocks=True)
PICTURES = (
    "forest.png",
    "curves.png",
    "grids.png",
    "slice.png",
    "importance.png",
    "history.png",
    "panels.png",
)
TOP = 5  # trials of a search that are listed
SEEDS = 3  # with which the best trial is to be run again


def write(study: Study) -> tuple[Path, str]:
    """Writes the report into the folder of a study, and returns the README.md and the answer.

    Raises:
        ConfigError: values have different protocols, a file cannot be read or written, or there is a
            README.md that is no report.
    """
    rows = table.read(study.results)
    parts = suite_parts(analyse(study, rows)) if isinstance(study, Suite) else search_parts(study, rows)
    save(study, **parts)
    return study.folder / "README.md", parts["answer"]


def save(study: Study, pictures: Mapping[str, Image.Image | None], **parts: Any) -> None:
    """Writes README.md, page.html and the pictures; removes the pictures that only an earlier report had."""
    page, title = study.folder / "README.md", study.name.replace("_", " ")
    mark = (
        f"Written by python -m ganlab.report from {study.file.name} and results.csv: changes here are lost."
    )
    foreign, remedy = f"{page} is not a report's", f"rename it; what it says may go into {study.file.name}"
    require(not page.is_file() or f"<!-- {mark} -->" in page.read_text(), foreign, remedy)
    shown = {name: image for name, image in pictures.items() if image is not None}
    folder, here = study.folder, Path.cwd()
    if folder.is_absolute():
        is_here = folder.is_relative_to(here)
        folder = folder.relative_to(here) if is_here else Path(folder.parent.name, folder.name)
    parts |= {"study": study, "folder": folder, "pictures": shown, "title": title[:1].upper() + title[1:]}
    text = TEMPLATES.get_template("page.md.j2").render(parts, code=code)
    text = re.sub(r"\n{3,}", "\n\n", text).strip() + "\n"
    html = MarkdownIt("commonmark", {"html": False}).enable("table").render(text)
    with config_error_if_unwritable(study.folder):
        for name in PICTURES:
            if name not in shown:
                (study.folder / name).unlink(missing_ok=True)
                continue
            save_png(shown[name], study.folder / name)
            shown[name].save(content := BytesIO(), format="PNG")
            data = b64encode(content.getvalue()).decode()
            html = html.replace(f'<img src="{name}"', f'<img src="data:image/png;base64,{data}"')
        write_atomically(page, f"<!-- {mark} -->\n\n{text}")
        html = TEMPLATES.get_template("page.html.j2").render(title=title, body=html)
        write_atomically(study.folder / "page.html", html)


def suite_parts(analysis: Analysis) -> dict[str, Any]:
    """What the template needs for a suite."""
    return {
        "answer": conclusion.answer(analysis), "held": conclusion.held(analysis), "notes": absent(analysis),
        "main": main_table(analysis), "reading": reading(analysis), "further": further_table(analysis),
        "made": provenance.protocols(analysis) + provenance.origins(analysis.rows, analysis.suite.budget),
        "commands": provenance.block([provenance.arm_command(analysis, arm) for arm in analysis.arms.values()]),
        "pictures": {
            "forest.png": plots.forest(analysis), "curves.png": plots.curves(analysis),
            "grids.png": plots.grids(analysis.suite),
        },
    }  # fmt: skip


def absent(analysis: Analysis) -> list[str]:
    """What is missing: runs that were not made, that did not finish, or that do not count."""
    suite, rows, lines = analysis.suite, analysis.rows, provenance.allowed_differences(analysis)
    missing = {
        name: [seed for seed in suite.seeds if seed not in arm.rows] for name, arm in analysis.arms.items()
    }
    parts = [
        f"{code(name)} seed{'s' * (len(seeds) > 1)} {', '.join(map(str, seeds))}"
        for name, seeds in missing.items() if seeds
    ]  # fmt: skip
    planned = len(suite.arms) * len(suite.seeds)
    lines += [f"Not yet run: {planned - len(rows)} of {planned}: {'; '.join(parts)}."] if parts else []
    unfinished = [row for row in rows if row.status != "finished"]
    for row in (*analysis.interrupted, *unfinished):  # a reason may begin with the status
        why = (
            row.reason if row.reason.startswith(row.status) else f"{row.status}: {row.reason or 'no reason'}"
        )
        lines.append(f"{code(row.arm)}, seed {row.seed}: {escape(why)}.")
    if arms := [
        arm for arm in dict.fromkeys(row.arm for row in unfinished) if analysis.arms[arm].count("finished")
    ]:
        which = (
            f"The numbers of {named(arms)} are of the surviving seeds only, and so are comparisons with them"
        )
        lines.append(f"{which}: they flatter arms that fail where they would have been bad.")
    for metric, name in analysis.names.items():
        lost = sum(arm.count("finished") - len(arm.samples[metric].values) for arm in analysis.arms.values())
        lines += [f"{counted(lost, 'finished run')} without a finite {code(name)}."] if lost else []
    for arm, n in Counter(row.arm for row in analysis.changed).items():
        lines.append(
            f"{code(arm)}: {counted(n, 'row')} of another config than suite.yaml has now, so not counted."
        )
    cause = "a later run took its place, or the suite has not its arm or seed"
    n = len(analysis.ignored)
    return lines + ([f"{counted(n, 'row')} of results.csv not counted: {cause}."] if n else [])


def reading(analysis: Analysis) -> str:
    """How to read the table: the kind of intervals, the test, and what was cut."""
    suite, compared = analysis.suite, [arm.difference for arm in analysis.compared]
    sizes = [len(arm.first.values) for arm in analysis.arms.values() if arm.first.values] or [0]
    correction = f"Holm's correction for {counted(suite.comparisons, 'comparison')}"
    phrases = {
        "one seed has no spread, so there is no interval and no test": max(sizes) == 1,
        f"intervals are Student's t below {ENOUGH} seeds": max(sizes) > 1 and min(sizes) < ENOUGH,
        f"intervals of {ENOUGH} seeds or more are bootstrapped (BCa)": max(sizes) >= ENOUGH,
        f"differences are taken seed by seed; p is of the paired t test, after {correction}; the smallest effect is the "
        "difference that one such test alone sees with 80 % power at 5 %, from the spread that was found":
            bool(compared) and max(sizes) > 1,
        "where pairs do not differ in their difference there is no interval, and p is that of their signs":
            any(len(sample.values) > 1 and not sample.sd for sample in compared),
        f"intervals of {listed(cut(analysis))} end at these bounds, beyond which no mean can be": bool(cut(analysis)),
    }  # fmt: skip
    text = "; ".join(phrase for phrase, holds in phrases.items() if holds)
    source = f" Published: {suite.source}; inside: whether it lies in the interval of the mean."
    return f"{text[:1].upper()}{text[1:]}.{source if suite.source else ''}" if text else ""


def main_table(analysis: Analysis) -> str:
    """The first metric: each arm's numbers, and how it compares."""
    suite, metric, places = analysis.suite, analysis.suite.metrics[0], conclusion.places(analysis)
    head = ["arm", f"mean of {code(analysis.name)} [95 %]", "sd", "n", "failed", "diverged"]
    head += [f"less {code(suite.reference)} [95 %]", "pairs", "p (Holm)", "smallest effect"]
    head += ["published", "inside", "training"]
    rows = []
    for name, arm in analysis.arms.items():
        seconds = [row.seconds for row in arm.rows.values() if row.status == "finished"]
        pairs, counts = arm.difference, (len(arm.first.values), arm.count("failed"), arm.count("diverged"))
        rows.append([
            code(name) + (" (not compared)" if arm.unlike else ""),
            centre(arm.first, places), number(arm.first.sd, places), *map(str, counts),
            centre(pairs, places, sign=True), str(len(pairs.values) or ""), chance(arm.p),
            number(pairs.smallest_effect(), places), *published(arm, metric),
            duration(fmean(seconds)) if seconds else "",
        ])  # fmt: skip
    real = floor(analysis, metric)
    return formatting.table(head, [*rows, ["(real data)", real, *[""] * (len(head) - 2)]] if real else rows)


def further_table(analysis: Analysis) -> str:
    """The metrics after the first: means, and published values; empty if there are none."""
    head, real, rows = ["arm"], ["(real data)"], [[code(name)] for name in analysis.arms]
    for metric in analysis.suite.metrics[1:]:
        head += [f"{code(analysis.names[metric])} [95 %]", "published", "inside"]
        real += [floor(analysis, metric), "", ""]
        for row, arm in zip(rows, analysis.arms.values(), strict=True):
            row += [centre(arm.samples[metric], conclusion.places(analysis, metric)), *published(arm, metric)]
    return formatting.table(head, [*rows, real] if any(real[1:]) else rows) if len(head) > 1 else ""


def published(arm: ArmResult, metric: str) -> list[str]:
    """The published value of an arm, and whether it lies in the interval of the mean."""
    known = arm.arm.published.get(metric)
    return [published_value(known) if known else "", arm.inside(metric)]


def floor(analysis: Analysis, metric: str) -> str:
    """The value of real data; the smallest and the largest one if runs differ."""
    found = [record.get("floor") for record in analysis.records[metric].values()]
    known = [value for value in found if is_metric_value(value)]
    finest = max(
        conclusion.places(analysis, metric), formatting.decimals([Sample({0: max(known, default=0.0)})])
    )
    return " to ".join(dict.fromkeys(number(end(known), finest) for end in (min, max) if known))


def cut(analysis: Analysis) -> list[str]:
    """The metrics with intervals that were cut at their bounds, with these bounds."""
    found = []
    for metric, name in analysis.names.items():
        samples = [arm.samples[metric] for arm in analysis.arms.values()]
        differences = [arm.difference for arm in analysis.compared] if name == analysis.name else []
        if any(sample.interval and sample.interval.is_cut for sample in samples + differences):
            low, high = samples[0].bounds
            found.append(
                f"{code(name)} ({f'from {low:g} on' if high == inf else f'from {low:g} to {high:g}'})"
            )
    return found


def search_parts(search: Search, rows: Sequence[Row]) -> dict[str, Any]:
    """What the template needs for a search."""
    from ganlab.studies.search import best, number_of, study_of  # imports optuna

    rows = sorted((row for row in rows if row.status != "interrupted"), key=number_of)
    for row in rows:
        reason = f"{search.results}: {row.arm} has other parameters than {search.at('parameters')}"
        remedy = "give what was changed a folder of its own, or move results.csv away"
        require(row.parameters.keys() == search.parameters.keys(), reason, remedy)
    name = next((name for row in rows for name in row.metrics), search.metric)
    records = {row.arm: row.metrics[name] for row in rows if name in row.metrics}
    if records:
        require_same_protocol(name, records)
    record = next(iter(records.values()), {})
    higher = record.get("better") == "higher"
    ranked = best(rows, higher)
    places = formatting.decimals(
        [Sample({0: max((abs(row.value or 0.0) for row in ranked[:TOP]), default=0.0)})]
    )
    top = [
        [str(number_of(row)), number(row.value, places), *map(short, row.parameters.values()), duration(row.seconds)]
        for row in ranked[:TOP]
    ]  # fmt: skip
    if top and is_metric_value(record.get("floor")):
        top.append(["(real data)", number(record["floor"], places), *[""] * (len(search.parameters) + 1)])
    seeds = [seed for seed in range(1, SEEDS + 2) if rows and seed != rows[0].seed][:SEEDS]
    again = provenance.block([trial_command(search, row, seeds) for row in ranked[:1]])
    flattery = f"The best of {counted(len(ranked), 'number')} flatters its parameters: it was chosen for its luck too."
    commands = [f"# {row.arm}\n{trial_command(search, row, [row.seed])}" for row in ranked[:TOP]]
    return {
        "answer": search_answer(search, rows, top, ranked, name), "notes": ended(rows, ranked, name),
        "main": formatting.table(["trial", code(name), *map(code, search.parameters), "training"], top) if top else "",
        "reading": f"{flattery} What they are worth, other seeds say:\n\n{again}" if ranked else "",
        "made": [provenance.protocol(name, record), *provenance.origins(rows, None)] if ranked else [],
        "commands": provenance.block(commands),
        "pictures": plots.search_plots(study_of(search, rows, higher), name, search.name),
    }  # fmt: skip


def ended(rows: Sequence[Row], ranked: Sequence[Row], name: str) -> list[str]:
    """How the trials have ended."""
    count = Counter(row.status for row in rows)
    kinds = [f"{count[kind]} {kind}" for kind in table.STATUSES if count[kind]]
    lines = [f"{counted(len(rows), 'trial')}: {listed(kinds)}."] if kinds else []
    lines += ["A pruned one was ended when it was worse than the median of those before it."] * bool(
        count["pruned"]
    )
    groups: dict[str, list[str]] = {}
    for row in rows:  # each that diverged did so at a step of its own
        if row.status in ("failed", "diverged"):
            reason = f" ({escape(row.reason)})" if row.status == "failed" and row.reason else ""
            groups.setdefault(f"{row.status.capitalize()}: trial {{}}{reason}.", []).append(row.arm[5:])
    lines += [line.replace("{}", listed(trials)) for line, trials in groups.items()]
    lost = count["finished"] - len(ranked)
    return lines + ([f"{counted(lost, 'finished trial')} without a finite {code(name)}."] if lost else [])


def short(value: object) -> str:
    """The value of a parameter."""
    return escape(f"{value:.4g}" if isinstance(value, float) else value)


def trial_command(search: Search, row: Row, seeds: Sequence[int]) -> str:
    """The command that runs the parameters of a trial with some seeds."""
    overrides = [one for one in search.overrides(row.parameters) if not one.startswith("seed=")]
    return provenance.run_command(overrides, seeds)


def search_answer(
    search: Search, rows: Sequence[Row], top: Sequence[Sequence[str]], ranked: Sequence[Row], name: str
) -> str:
    """The best trial, in a sentence."""
    count = counted(len(rows), "trial")
    if not ranked:
        none = f"No answer: none of {count} has finished with a number."
        return none if rows else "No answer yet: nothing has been run."
    chosen = listed([code(f"{key}={short(value)}") for key, value in ranked[0].parameters.items()])
    said = f"In {code(name)} the best of {count} is trial {top[0][0]}, with {top[0][1]}: {chosen}."
    is_done = len(rows) >= search.trials
    return said if is_done else f"After {len(rows)} of {search.trials} trials: {said[0].lower()}{said[1:]}"
