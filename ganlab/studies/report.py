"""The report of a study: README.md, page.html with its pictures inside, and the pictures."""

import re
from base64 import b64encode
from collections import Counter
from collections.abc import Mapping, Sequence
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
from ganlab.studies.formatting import centre, chance, code, decimals, escape, listed, number
from ganlab.studies.spec import Search, Study, Suite
from ganlab.studies.statistics import ENOUGH, Sample
from ganlab.studies.table import Row
from ganlab.visualize.images import save_png

TEMPLATES = Environment(loader=FileSystemLoader(Path(__file__).parent), trim_blocks=True, lstrip_blocks=True)
PICTURES = ("forest", "curves", "grids", "slice", "importance", "history", "panels")
TOP = 5  # trials of a search that are listed
SEEDS = 3  # with which the best trial is to be run again


def write(study: Suite | Search) -> tuple[Path, str]:
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
    source = study.file.name
    mark = f"Written by python -m ganlab.report from {source} and results.csv: changes here are lost."
    foreign, remedy = f"{page} is not a report's", f"rename it; what it says may go into {source}"
    require(not page.is_file() or f"<!-- {mark} -->" in page.read_text(), foreign, remedy)
    shown = {name: image for name, image in pictures.items() if image is not None}
    folder, here = study.folder, Path.cwd()
    if folder.is_absolute():
        is_here = folder.is_relative_to(here)
        folder = folder.relative_to(here) if is_here else Path(folder.parent.name, folder.name)
    parts |= {"study": study, "folder": folder, "pictures": shown, "title": title[:1].upper() + title[1:]}
    text = TEMPLATES.get_template("page.md.j2").render(vars(formatting) | parts)
    text = re.sub(r"\n{3,}", "\n\n", text).strip() + "\n"
    html = MarkdownIt("commonmark", {"html": False}).enable("table").render(text)
    with config_error_if_unwritable(study.folder):
        for name in PICTURES:
            file = study.folder / f"{name}.png"
            if name not in shown:
                file.unlink(missing_ok=True)
                continue
            save_png(shown[name], file)
            data = b64encode(file.read_bytes()).decode()
            html = html.replace(f'<img src="{file.name}"', f'<img src="data:image/png;base64,{data}"')
        write_atomically(page, f"<!-- {mark} -->\n\n{text}")
        html = TEMPLATES.get_template("page.html.j2").render(title=title, body=html)
        write_atomically(study.folder / "page.html", html)


def suite_parts(analysis: Analysis) -> dict[str, Any]:
    """What the template needs for a suite."""
    suite, arms, rows = analysis.suite, analysis.arms, analysis.rows
    unfinished = [row for row in rows if row.status != "finished"]
    seeds = {name: [seed for seed in suite.seeds if seed not in arm.rows] for name, arm in arms.items()}
    finite = {key: sum(len(arm.samples[key].values) for arm in arms.values()) for key in suite.metrics}
    finished = len(rows) - len(unfinished)
    return {
        "answer": conclusion.answer(analysis), "held": conclusion.held(analysis), "analysis": analysis,
        "allowed": provenance.allowed_differences(analysis), "cut": cut(analysis), "enough": ENOUGH,
        "main": main_table(analysis), "further": further_table(analysis),
        "planned": len(arms) * len(suite.seeds),
        "missing": {name: missing for name, missing in seeds.items() if missing},
        "unfinished": [*analysis.interrupted, *unfinished],
        "survivors": [arm for arm in {row.arm: 0 for row in unfinished} if arms[arm].count("finished")],
        "undefined": {analysis.names[metric]: finished - n for metric, n in finite.items() if n < finished},
        "changed": Counter(row.arm for row in analysis.changed),
        "sizes": [len(arm.first.values) for arm in arms.values() if arm.first.values],
        "has_equal_pairs": any(arm.difference.sd == 0 for arm in arms.values()),
        "made": provenance.protocols(analysis) + provenance.origins(rows, suite.budget),
        "commands": provenance.block([provenance.arm_command(analysis, arm) for arm in arms.values()]),
        "pictures": {kind: getattr(plots, kind)(analysis) for kind in ("forest", "curves", "grids")},
    }  # fmt: skip


def main_table(analysis: Analysis) -> str:
    """The first metric: each arm's numbers, and how it compares."""
    suite, metric, places = analysis.suite, analysis.suite.metrics[0], analysis.places()
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
            formatting.duration(fmean(seconds)) if seconds else "",
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
            row += [centre(arm.samples[metric], analysis.places(metric)), *published(arm, metric)]
    return formatting.table(head, [*rows, real] if any(real[1:]) else rows) if len(head) > 1 else ""


def published(arm: ArmResult, metric: str) -> list[str]:
    """The published value of an arm, and whether it lies in the interval of the mean."""
    known = arm.arm.published.get(metric)
    return [formatting.published_value(known) if known else "", arm.inside(metric)]


def floor(analysis: Analysis, metric: str) -> str:
    """The value of real data; the smallest and the largest one if runs differ."""
    found: list[Any] = [record.get("floor") for record in analysis.records[metric].values()]
    ends = [end(values) for end in (min, max) if (values := [*filter(is_metric_value, found)])]
    finest = max([analysis.places(metric), *(decimals([Sample({0: end})]) for end in ends)])
    return " to ".join(dict.fromkeys(number(end, finest) for end in ends))


def cut(analysis: Analysis) -> list[str]:
    """The metrics with intervals that were cut at their bounds, with these bounds."""
    found = []
    for metric, name in analysis.names.items():
        samples = [arm.samples[metric] for arm in analysis.arms.values()]
        differences = [arm.difference for arm in analysis.compared] if name == analysis.name else []
        if any(sample.interval and sample.interval.is_cut for sample in samples + differences):
            low, high = samples[0].bounds
            found.append(f"{code(name)} (from {low:g} {'on' if high == inf else f'to {high:g}'})")
    return found


def search_parts(search: Search, given: Sequence[Row]) -> dict[str, Any]:
    """What the template needs for a search."""
    from ganlab.studies.search import MOVE_AWAY, best, number_of, study_of  # imports optuna

    rows = sorted((row for row in given if row.status != "interrupted"), key=number_of)
    for row in rows:
        reason = f"{search.results}: {row.arm} has other parameters than {search.at('parameters')}"
        require(row.parameters.keys() == search.parameters.keys(), reason, MOVE_AWAY)
    name = next((name for row in rows for name in row.metrics), search.metric)
    records = {row.arm: row.metrics[name] for row in rows if name in row.metrics}
    if records:
        require_same_protocol(name, records)
    record: Mapping[str, Any] = next(iter(records.values()), {})
    higher = record.get("better") == "higher"
    ranked, count = best(rows, higher), Counter(row.status for row in rows)
    broken: dict[tuple[str, str], list[str]] = {}
    for row in rows:  # each that diverged did so at a step of its own
        if row.status in ("failed", "diverged"):
            reason = row.reason if row.status == "failed" else ""
            broken.setdefault((row.status, reason), []).append(str(number_of(row)))
    seeds = [seed for seed in range(1, SEEDS + 2) if rows and seed != rows[0].seed][:SEEDS]
    return {
        **top_trials(search, rows, ranked[:TOP], name, record),
        "rows": rows, "ranked": ranked, "broken": broken,
        "kinds": [f"{count[kind]} {kind}" for kind in table.STATUSES if count[kind]], "count": count,
        "name": name, "again": provenance.block([trial_command(search, row, seeds) for row in ranked[:1]]),
        "made": [provenance.protocol(name, record), *provenance.origins(rows, None)] if ranked else [],
        "pictures": plots.search_plots(study_of(search, rows, higher), name, search.name),
    }  # fmt: skip


def top_trials(
    search: Search, rows: Sequence[Row], top: Sequence[Row], name: str, record: Mapping[str, Any]
) -> dict[str, str]:
    """The best trials of a search: a sentence on the first one, a table, and their commands."""
    places = decimals([Sample({0: max((abs(row.value or 0.0) for row in top), default=0.0)})])
    shown = {row.arm: {key: short(row.parameters[key]) for key in search.parameters} for row in top}
    lines = [
        [row.arm.removeprefix("trial"), number(row.value, places), *map(escape, shown[row.arm].values()),
         formatting.duration(row.seconds)]
        for row in top
    ]  # fmt: skip
    count = formatting.counted(len(rows), "trial")
    answer = f"No answer: none of {count} has finished with a number."
    if top:
        chosen = listed([code(f"{key}={value}") for key, value in shown[top[0].arm].items()])
        best = f"the best of {count} is trial {lines[0][0]}, with {lines[0][1]}: {chosen}."
        begun = f"After {len(rows)} of {search.trials} trials: in" if len(rows) < search.trials else "In"
        answer = f"{begun} {code(name)} {best}"
    if is_metric_value(record.get("floor")):
        lines.append(["(real data)", number(record["floor"], places), *[""] * (len(search.parameters) + 1)])
    head = ["trial", code(name), *map(code, search.parameters), "training"]
    commands = [f"# {row.arm}\n{trial_command(search, row, [row.seed])}" for row in top]
    return {
        "answer": answer if rows else "No answer yet: nothing has been run.",
        "main": formatting.table(head, lines) if top else "", "commands": provenance.block(commands),
    }  # fmt: skip


def short(value: object) -> str:
    """The value of a parameter."""
    return f"{value:.4g}" if isinstance(value, float) else str(value)


def trial_command(search: Search, row: Row, seeds: Sequence[int]) -> str:
    """The command that runs the parameters of a trial with some seeds."""
    overrides = [one for one in search.overrides(row.parameters) if not one.startswith("seed=")]
    return provenance.run_command(overrides, seeds)
