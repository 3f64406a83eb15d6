"""The page of a run's health: its findings, its curves with findings as bands, and samples beside them."""

import base64
import csv
import io
import re
from collections.abc import Iterator, Mapping, Sequence
from html import escape
from typing import Any

from PIL import Image

from ganlab.config.run_directory import RunDirectory
from ganlab.core.errors import require
from ganlab.monitoring.findings import described
from ganlab.visualize.images import new_figure, render

HEAD = """<!doctype html><html lang=en><meta charset=utf-8><title>{title}</title><style>
body {{ max-width: 60rem; margin: 2rem auto; padding: 0 1rem; font: 1rem/1.5 system-ui, sans-serif }}
td, th {{ padding: .3rem .6rem; text-align: left; vertical-align: top }} img {{ max-width: 100% }}
</style><h1>{title}</h1>"""
COLUMNS = ("name", "begins", "ends", "evidence", "cause", "remedy")
PREFIX = "health/"


def health_page(run: RunDirectory) -> str:
    """The page as HTML, with its pictures in it; raises `ConfigError` if nothing was measured."""
    rows = [*csv.DictReader(io.StringIO(run.metrics.read_text()))] if run.metrics.is_file() else []
    measured = [row for row in rows if any(row[name] for name in row if name.startswith(PREFIX))]
    remedy = "train with callback=health and more steps than its `every`"
    require(measured, "nothing was measured in this run", remedy, "run_dir", run.path)
    findings = run.summary().get("health", [])
    cells = [["" if one.get(name) is None else str(one[name]) for name in COLUMNS] for one in findings]
    table = ("<tr>" + "".join(f"<td>{escape(text)}" for text in row) for row in [COLUMNS, *cells])
    parts = [f"<table>{''.join(table)}</table>" if findings else "<p>No findings.</p>"]
    parts.append(image(curves(measured, findings)))
    parts += [text for one in findings for text in samples(run, one)]
    return "\n".join([HEAD.format(title=f"Health of {escape(str(run.path))}"), *parts, ""])


def curves(rows: Sequence[Mapping[str, str]], findings: Sequence[Mapping[str, Any]]) -> Image.Image:
    """A plot of each number over the steps, of all players in one; findings are coloured bands."""
    steps, plots = [int(row["step"]) for row in rows], dict[str, list[str]]()
    for name in (name for name in rows[0] if name.startswith(PREFIX)):
        plots.setdefault(re.sub(r"(gradient|change|growth|foreign)/\w+$", r"\1", name), []).append(name)
    figure = new_figure(10, 1.5 * len(plots))
    axes = figure.subplots(len(plots), 1, sharex=True, squeeze=False)[:, 0]
    for axis, (title, names) in zip(axes, plots.items(), strict=True):
        values = [[float(row[name] or "nan") for name in names] for row in rows]
        lines = axis.plot(steps, values, ".-", linewidth=1)
        axis.legend(lines, [name.removeprefix(title).strip("/") for name in names], fontsize=7)
        axis.set_title(title.removeprefix(PREFIX), loc="left", fontsize=9)
        ends = [(one["begins"], one["ends"] or steps[-1]) for one in findings]
        spans = [axis.axvspan(*end, color=f"C{i + 2}", alpha=0.2) for i, end in enumerate(ends)]
    figure.legend(spans, [one["name"] for one in findings], loc="outside upper right", fontsize=8)
    return render(figure)


def samples(run: RunDirectory, found: Mapping[str, Any]) -> Iterator[str]:
    """A finding, and the pictures of samples that are nearest to its beginning and its end."""
    files = [path for path in sorted(run.samples.glob("*.png")) if path.stem[-7:].isdigit()]
    yield f"<h2>{escape(described(found))}</h2>"
    for step in (found["begins"], found["ends"]) if files else ():
        if step is not None:
            nearest = min(files, key=lambda file: abs(int(file.stem[-7:]) - step))
            yield f"<p>Samples at step {int(nearest.stem[-7:]):,}:</p>{image(Image.open(nearest))}"


def image(picture: Image.Image) -> str:
    """A picture as an element of a page that contains it."""
    picture.save(content := io.BytesIO(), format="PNG")
    return f'<img alt="" src="data:image/png;base64,{base64.b64encode(content.getvalue()).decode()}">'
