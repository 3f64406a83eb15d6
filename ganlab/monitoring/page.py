"""The page of a run's health: its findings, its curves with findings as bands, and samples beside them."""

import io
import re
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
from ganlab.monitoring.findings import ENTRIES, described

TEMPLATE = Path(__file__).with_name("page.html.j2")  # which draws the curves


def health_page(run: RunDirectory) -> str:
    """The page as HTML, with its pictures in it.

    Raises:
        ConfigError: nothing was measured, or a file of the run cannot be read.
    """
    with prefixing_all_keys(str(run.metrics)), as_config_errors():
        table = pd.read_csv(run.metrics, index_col="step").filter(regex="^health/").dropna(how="all")
        steps, plots = table.index.astype(int), dict[str, dict[str, Any]]()
        for name, values in table.astype(float).items():  # of all players in one plot
            title = re.sub(r"(gradient|change|growth|foreign)/\w+$", r"\1", str(name))
            plots.setdefault(title, {})[str(name)] = [*values.set_axis(steps).dropna().items()]
    remedy = "train with callback=health and more steps than its `every`"
    require(table.size, "nothing was measured in this run", remedy, "run_dir", run.path)
    with prefixing_all_keys(str(run.path / "summary.json")), as_config_errors():
        texts = [(one, described(one)) for one in run.summary().get("health", [])]
    found = [(one, text, samples(run, one)) for one, text in texts]
    given = {"run": run.path, "first": steps[0], "last": steps[-1], "plots": plots, "entries": ENTRIES}
    return Template(TEMPLATE.read_text(), autoescape=True, trim_blocks=True).render(given, findings=found)


def samples(run: RunDirectory, found: Mapping[str, Any]) -> list[tuple[int, str]]:
    """The steps of samples that are nearest to the beginning and the end of a finding, and PNGs in base64."""
    files = {int(path.stem[-7:]): path for path in run.samples.glob("*.png") if path.stem[-7:].isdigit()}
    ends = [step for step in (found["begins"], found["ends"]) if files and step is not None]
    pictures = []
    for step in (min(sorted(files), key=lambda step: abs(step - end)) for end in ends):
        with prefixing_all_keys(str(files[step])), as_config_errors():
            Image.open(files[step]).save(content := io.BytesIO(), format="PNG")
        pictures.append((step, b64encode(content.getvalue()).decode()))
    return pictures
