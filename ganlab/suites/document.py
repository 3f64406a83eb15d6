"""The report of a suite: its README.md, and the pictures that it shows."""

from collections import Counter
from collections.abc import Iterable, Mapping
from pathlib import Path

from PIL import Image

from ganlab.core.errors import require
from ganlab.filesystem import config_error_if_unwritable, write_atomically
from ganlab.suites import answer, circumstances, tables
from ganlab.suites.findings import Findings, Found, find
from ganlab.suites.identity import configs
from ganlab.suites.page import Asked
from ganlab.suites.pictures import forest, grids
from ganlab.suites.results import Row
from ganlab.suites.statistics import ENOUGH
from ganlab.suites.suite import FILE, Suite
from ganlab.suites.words import bullets, counted, named
from ganlab.visualize.images import save_png

TORN = "The last row of results.csv is half-written and is left out."


def write(suite: Suite) -> tuple[Path, str]:
    """Writes the report into the suite's folder, and returns the README.md and the answer that it gives.

    Raises:
        ConfigError: numbers were made unlike, a README.md that is not a report's lies there already, or the
            folder cannot be written.
    """
    rows, torn = Row.read(suite.results)
    findings = find(suite, rows, configs(suite))
    said = answer.answer(findings)
    pictures = {"forest.png": forest(findings), "grids.png": grids(suite)}
    parts = [said, answer.held(findings), bullets(absent(findings, torn))]
    parts += [tables.main_table(findings), reading(findings)]
    if pictures["forest.png"]:
        shown = f"Each arm less `{suite.reference}`: seeds, mean and its 95 % interval"
        colours = "Colours are of the corrected test, the intervals are not corrected"
        parts.append(f"![forest plot](forest.png)\n\n*{shown}. {colours}.*")
    if further := tables.further_table(findings):
        parts += ["## Further metrics", further]
    if pictures["grids.png"]:
        caption = "One run of each arm, from latents of the same seed."
        parts += ["## Samples", f"![sample grids](grids.png)\n\n*{caption}*"]
    made = circumstances.protocol(findings) + circumstances.circumstances(findings)
    parts += ["## How the numbers were made", bullets(made)]
    parts += ["## To run it again", circumstances.commands(findings)]
    return put(suite, parts, pictures), said


def put(asked: Asked, parts: Iterable[str], pictures: Mapping[str, Image.Image | None]) -> Path:
    """Writes README.md and pictures, by their names; an earlier report's goes where there is none."""
    page, source, title = asked.folder / "README.md", asked.file.name, asked.name.replace("_", " ")
    origin = f"Written by python -m ganlab.report from {source} and results.csv: changes here are lost."
    mark = f"<!-- {origin} -->"
    foreign = f"{page} is not a report's: give it another name, what it says may go into {source}"
    require(not page.is_file() or mark in page.read_text(), foreign)
    parts = [mark, f"# {title[:1].upper()}{title[1:]}", f"**{asked.question}**", *parts]
    with config_error_if_unwritable(asked.folder):
        for name, image in pictures.items():
            if image is None:
                (asked.folder / name).unlink(missing_ok=True)
            else:
                save_png(image, asked.folder / name)
        write_atomically(page, "\n\n".join(part for part in parts if part) + "\n")
    return page


def absent(findings: Findings, torn: str | None) -> list[str]:
    """What is missing: runs that were not made, that did not finish, that do not count."""
    lines = []
    if missing := [missing_of(found) for found in findings.arms.values() if found.missing]:
        planned = len(findings.suite.arms) * len(findings.suite.seeds)
        lines.append(f"Not yet run: {planned - len(findings.rows)} of {planned}: {'; '.join(missing)}.")
    unfinished = [row for row in findings.rows if row.status != "finished"]
    lines += [f"`{row.arm}`, seed {row.seed}: {why(row)}." for row in unfinished]
    incomplete = dict.fromkeys(row.arm for row in unfinished)
    if arms := named(arm for arm in incomplete if findings.arms[arm].count("finished")):
        which = f"The numbers of {arms} are of the surviving seeds only, and so are comparisons with them"
        lines.append(f"{which}: they flatter arms that fail where they would have been bad.")
    for metric, name in findings.names.items():
        numbers = sum(len(found.values[metric]) for found in findings.arms.values())
        finished = sum(found.count("finished") for found in findings.arms.values())
        if numbers < finished:
            lines.append(f"{counted(finished - numbers, 'finished run')} without a finite `{name}`.")
    if torn:
        lines.append(TORN)
    lines += [
        f"`{arm}`: {counted(n, 'row')} of another config than {FILE} has now, so not counted."
        for arm, n in Counter(row.arm for row in findings.changed).items()
    ]
    if findings.ignored:
        cause = "a later run took its place, or the suite has not its arm or seed"
        lines.append(f"{counted(len(findings.ignored), 'row')} of results.csv not counted: {cause}.")
    return lines


def why(row: Row) -> str:
    """The status of a run that did not finish, and its reason, which may begin with the status."""
    return row.reason if row.reason.startswith(row.status) else f"{row.status}: {row.reason or 'no reason'}"


def missing_of(found: Found) -> str:
    seeds = ", ".join(map(str, found.missing))
    return f"`{found.arm.name}` {'seed' if len(found.missing) == 1 else 'seeds'} {seeds}"


def reading(findings: Findings) -> str:
    """How to read the table: which intervals, which test, which of them say nothing."""
    suite = findings.suite
    sizes = [len(found.values[findings.first]) for found in findings.arms.values()]
    if not any(sizes):
        return ""
    lines = []
    if min(size for size in sizes if size) < ENOUGH:
        lines.append(f"intervals are Student's t below {ENOUGH} seeds")
    if max(sizes) >= ENOUGH:
        lines.append(f"intervals of {ENOUGH} seeds or more are bootstrapped (BCa)")
    if max(sizes) < 2:
        lines = ["one seed has no spread, so there is no interval and no test"]
    elif findings.compared:
        correction = f"Holm's correction for {counted(suite.comparisons, 'comparison')}"
        lines.append(f"differences are taken seed by seed; p is of the paired t test, after {correction}")
        power = "sees with 80 % power at 5 %, from the spread that was found"
        lines.append(f"the smallest effect is the difference that one such test alone {power}")
    tests = [found.comparison for found in findings.compared]
    if any(test is not None and len(test.differences) > 1 and test.interval is None for test in tests):
        where = "where pairs do not differ in their difference"
        lines.append(f"{where} there is no interval, and p is that of their signs")
    text = "; ".join(lines)
    text = f"{text[:1].upper()}{text[1:]}."
    if suite.source:
        text += f" Published: {suite.source}; inside: whether it lies in the interval of the mean."
    return text + (f"\n\n{suite.note}" if suite.note else "")
