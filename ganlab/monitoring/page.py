"""The page of a run's health: its findings, its curves with findings as bands, and samples beside them."""

import io
from base64 import b64encode
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pandas as pd
from jinja2 import Template
from PIL import Image

from ganlab.config.build import as_config_errors
from ganlab.config.run_directory import RunDirectory
from ganlab.core.errors import prefixing_all_keys, require
from ganlab.monitoring.findings import ENTRIES, Found, described
from ganlab.visualize.images import new_figure, render

TEMPLATE = Path(__file__).with_name("page.html.j2")


def health_page(run: RunDirectory) -> str:
    """The page as HTML, with its pictures in it.

    Raises:
        ConfigError: nothing was measured, or a file of the run cannot be read.
    """
    with prefixing_all_keys(str(run.metrics)), as_config_errors():
        table = pd.read_csv(run.metrics, index_col="step").filter(regex="^health/").dropna(how="all")
        table = table.astype(float).set_index(table.index.astype(int))
    remedy = "train with callback=health and more steps than its `every`"
    require(table.size, "nothing was measured in this run", remedy, "run_dir", run.path)
    with prefixing_all_keys(str(run.path / "summary.json")), as_config_errors():
        findings = [{name: one[name] for name in ENTRIES} for one in run.summary().get("health", [])]
        texts, picture = [*map(described, findings)], encoded(curves(table, findings))
    found = [*zip(findings, texts, [samples(run, one) for one in findings], strict=True)]
    template = Template(TEMPLATE.read_text(), autoescape=True, trim_blocks=True)
    return template.render(run=run.path, entries=ENTRIES, findings=found, curves=picture)


def curves(table: pd.DataFrame, findings: list[Found]) -> Image.Image:
    """A plot of each number over the steps, of all players in one; findings are coloured bands."""
    titles = table.columns.str.replace(r"(gradient|change|growth|foreign)/\w+$", r"\1", regex=True)
    figure = new_figure(10, 1.5 * titles.nunique())
    axes = figure.subplots(titles.nunique(), 1, sharex=True, squeeze=False)[:, 0]
    for axis, (title, own) in zip(axes, table.T.groupby(titles, sort=False), strict=True):
        axis.plot(table.index, own.T, ".-", linewidth=1, label=[*own.index])
        axis.legend(fontsize=7)
        axis.set_title(title, loc="left", fontsize=9)
        ends = [(one["begins"], one["ends"] or table.index[-1]) for one in findings]
        spans = [axis.axvspan(*end, color=f"C{i + 2}", alpha=0.2) for i, end in enumerate(ends)]
    figure.legend(spans, [one["name"] for one in findings], loc="outside upper right", fontsize=8)
    return render(figure)


def samples(run: RunDirectory, found: Mapping[str, Any]) -> list[tuple[int, str]]:
    """The steps and pictures of the samples that are nearest to the beginning and the end of a finding."""
    files = {int(path.stem[-7:]): path for path in run.samples.glob("*.png") if path.stem[-7:].isdigit()}
    ends = [step for step in (found["begins"], found["ends"]) if files and step is not None]
    nearest = [min(sorted(files), key=lambda step: abs(step - end)) for end in ends]
    with prefixing_all_keys(str(run.samples)), as_config_errors():
        return [(step, encoded(Image.open(files[step]))) for step in nearest]


def encoded(picture: Image.Image) -> str:
    """A picture as PNG in base64."""
    picture.save(content := io.BytesIO(), format="PNG")
    return b64encode(content.getvalue()).decode()
