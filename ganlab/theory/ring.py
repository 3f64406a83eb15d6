"""Figure 6: a ring of Gaussians under several ways to train, and how many of its modes each covers."""

from collections.abc import Mapping, Sequence

from PIL import Image

from ganlab.core.errors import ConfigError
from ganlab.core.validation import Count, TwoOrMore
from ganlab.theory.runs import Run, schedule
from ganlab.theory.style import add_legend, tidy, titled_figure
from ganlab.visualize.grid import render
from ganlab.visualize.portraits import describe_coverage, scatter

JUDGED = 2500  # samples, as in the published tables


def draw(
    players: Mapping[str, Sequence[str]],
    settings: Sequence[str],
    reach: float,
    steps: Count,
    frames: TwoOrMore,
    seed: int,
) -> list[Image.Image]:
    """One panel per player: its name, and what it changes in the settings.

    Raises:
        ConfigError: the distribution of the data is not known, or not in the plane.
    """
    runs = {name: Run([*settings, *overrides], seed) for name, overrides in players.items()}
    for run in runs.values():
        if run.data.shape != (2,) or run.data.distribution is None:
            raise ConfigError("this figure shows toy data in the plane: choose data=ring, grid or spiral")
    return [_frame(runs, step, reach) for step in schedule(steps, frames)]


def _frame(runs: Mapping[str, Run], step: int, reach: float) -> Image.Image:
    figure = titled_figure(3.6 * len(runs), 4.9, f"a ring of Gaussians, round {step}")
    panels = figure.subplots(1, len(runs), sharex=True, sharey=True, squeeze=False)[0]
    for axes, (name, run) in zip(panels, runs.items(), strict=True):
        samples = run.play(step).sample(JUDGED)
        scatter(axes, samples, run.data)
        tidy(axes)
        axes.set(xlim=(-reach, reach), ylim=(-reach, reach), xlabel="x₁, in the units of the data")
        axes.set_title(f"{name}\n{describe_coverage(samples, run.data.distribution)}", fontsize=10)
    panels[0].set_ylabel("x₂, in the units of the data")
    add_legend(figure, [panels[0]], 3)
    return render(figure)
