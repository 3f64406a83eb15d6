"""Figure 2: direct matching moves the generated density onto the true one, without a discriminator."""

from collections.abc import Mapping

from PIL import Image

from ganlab.core.validation import Count, TwoOrMore
from ganlab.theory.density import DensityRun, Ends
from ganlab.theory.runs import Overrides, Variants, frame_steps
from ganlab.theory.style import DATA, GENERATOR, add_legend, tidy, titled_figure
from ganlab.visualize.grid import render


def draw(
    objectives: Variants,
    data: Variants,
    settings: Overrides,
    reach: Ends,
    steps: Count,
    frames: TwoOrMore,
    seed: int,
) -> list[Image.Image]:
    """One column per objective and one row per data set, each with overrides of its own after `settings`."""
    runs = {
        f"{objective} on {source}": DensityRun(
            [f"data={source}", *settings, f"objective={objective}", *of_data, *of_objective], seed, reach
        )
        for source, of_data in data.items()
        for objective, of_objective in objectives.items()
    }
    return [_frame(runs, step, len(data), len(objectives)) for step in frame_steps(steps, frames)]


def _frame(runs: Mapping[str, DensityRun], step: int, rows: int, columns: int) -> Image.Image:
    figure = titled_figure(4.5 * columns, 1.1 + 2.6 * rows, f"direct matching, step {step}")
    panels = figure.subplots(rows, columns, sharex=True, sharey="row", squeeze=False)
    for axes, (title, run) in zip(panels.flat, runs.items(), strict=True):
        q = run.q(step)
        axes.fill_between(run.x, run.p, color=DATA, alpha=0.25, linewidth=0)
        axes.plot(run.x, run.p, color=DATA, linewidth=1.5, label="data")
        axes.plot(run.x, q, color=GENERATOR, linewidth=2, label="generator")
        axes.set_ylim(0, 1.5 * float(run.p.max()))
        note = f"total variation {run.total_variation(q):.2f}"
        axes.text(0.02, 0.95, note, va="top", transform=axes.transAxes)
        tidy(axes)
        axes.set_title(title, fontsize=10)
    for axes in panels[:, 0]:
        axes.set_ylabel("density")
    for axes in panels[-1]:
        axes.set_xlabel("x, in the units of the data")
    add_legend(figure, [panels[0, 0]], 2)
    return render(figure)
