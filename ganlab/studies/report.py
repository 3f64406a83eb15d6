"""The report of a study: README.md, page.html with its pictures inside, and the pictures."""

import re
from base64 import b64encode
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader
from markdown_it import MarkdownIt

from ganlab.core.errors import require
from ganlab.core.numerics import NUMERICS
from ganlab.filesystem import config_error_if_unwritable, write_atomically
from ganlab.studies import formatting, plots, table
from ganlab.studies.analysis import analyse, circumstances, measured, order
from ganlab.studies.spec import Arm, Search, Suite
from ganlab.studies.statistics import ALPHA, ENOUGH
from ganlab.studies.table import Row
from ganlab.visualize.images import render, save_png

TEMPLATES = Environment(loader=FileSystemLoader(Path(__file__).parent), trim_blocks=True, lstrip_blocks=True)
TEMPLATES.filters |= {"code": formatting.code, "short": formatting.short}
TEMPLATES.globals |= vars(formatting) | {"alpha": ALPHA, "enough": ENOUGH, "numerics": NUMERICS}
PICTURES = ("forest", "curves", "grids", "slice", "importance", "history")
RUN = ("steps", "images", "device", "code", "commit", "data", "numerics")  # what is told of finished runs
TOP = 5  # trials of a search that are listed
MARK = "<!-- Written by python -m ganlab.report from {} and results.csv: changes here are lost. -->"


def write(study: Suite | Search) -> tuple[Path, str]:
    """Writes the report into the folder of a study, and returns the README.md and the answer.

    Raises `ConfigError` if values have different protocols, if a file cannot be read or written, or if there
    is a README.md that is no report.
    """
    facts, page, mark = known(study), study.folder / "README.md", MARK.format(study.file.name)
    remedy = f"rename it; what it says may go into {study.file.name}"
    require(not page.is_file() or mark in page.read_text(), f"{page} is not a report's", remedy)
    figures = facts["figures"]()
    text = markdown(facts, figures)
    html = MarkdownIt("commonmark", {"html": False}).enable("table").render(text)
    with config_error_if_unwritable(study.folder):
        for name in PICTURES:
            file = study.folder / f"{name}.png"
            if name not in figures:
                file.unlink(missing_ok=True)  # an earlier report's
                continue
            save_png(render(figures[name]), file)
            data = b64encode(file.read_bytes()).decode()
            html = html.replace(f'<img src="{file.name}"', f'<img src="data:image/png;base64,{data}"')
        write_atomically(page, f"{mark}\n\n{text}")
        html = TEMPLATES.get_template("page.html.j2").render(title=study.name, body=html)
        write_atomically(study.folder / "page.html", html)
    return page, facts["answer"]


def known(study: Suite | Search) -> dict[str, Any]:
    """What the templates need, and the answer. Raises the errors of `write` that concern results.csv."""
    rows = table.read(study.results)
    facts = suite_facts(study, rows) if isinstance(study, Suite) else search_facts(study, rows)
    finished = [row for row in facts["rows"] if row.status == "finished"]
    runs = [(row.arm, {key: getattr(row, key) for key in RUN}) for row in finished]
    facts |= {"study": study, "runs": runs, "stale": sum(row.numerics != NUMERICS for row in facts["rows"])}
    answer = TEMPLATES.get_template("answer.md.j2").render(facts)
    return facts | {"answer": " ".join(answer.split())}


def markdown(facts: Mapping[str, Any], pictures: Collection[str] = ()) -> str:
    """The page, with those pictures that there are."""
    text = TEMPLATES.get_template("page.md.j2").render(facts, pictures=pictures)
    return re.sub(r"\n{3,}", "\n\n", text).strip() + "\n"


def suite_facts(suite: Suite, found: Sequence[Row]) -> dict[str, Any]:
    """What the templates need for a suite."""
    analysis = analyse(suite, found)
    rows = analysis.rows
    return vars(analysis) | {
        "is_suite": True,
        "planned": len(suite.arms) * len(suite.seeds),
        "order": order(suite, analysis),
        "circumstances": [(row.arm, circumstances(row)) for row in rows if row.status == "finished"],
        "plays": [(name, suite.base + arm.overrides, suite.seeds, [row for row in rows if row.arm == name])
                  for name, arm in suite.arms.items()],
        "figures": lambda: plots.of_suite(suite, analysis),
    }  # fmt: skip


def search_facts(search: Search, found: Sequence[Row]) -> dict[str, Any]:
    """What the templates need for a search, of which each trial is an arm."""
    from ganlab.studies.search import MOVE_AWAY, best, number_of, study_of  # imports optuna

    rows = sorted((row for row in found if row.status != "interrupted"), key=number_of)
    for row in rows:
        reason = f"{search.results}: {row.arm} has other parameters than {search.at('parameters')}"
        require(row.parameters.keys() == search.parameters.keys(), reason, MOVE_AWAY)
    metric = measured(search.metric, rows, {row.arm: Arm() for row in rows}, free=())
    higher, seeds = metric.better == "higher", {row.seed for row in rows}
    ranked, others = best(rows, higher), [seed for seed in range(1, 5) if seed not in seeds][:3]
    plays = [(row.arm, search.overrides(row.parameters), [row.seed], [row]) for row in ranked[:TOP]]
    plays += [(f"{name} with other seeds", overrides, others, []) for name, overrides, *_ in plays[:1]]
    return {
        "is_suite": False, "planned": search.trials, "rows": rows, "metrics": [metric], "ranked": ranked,
        "top": ranked[:TOP], "plays": plays,
        "figures": lambda: plots.of_search(study_of(search, rows, higher), metric.name),
    }  # fmt: skip
