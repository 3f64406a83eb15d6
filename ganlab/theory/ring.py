"""Figure 6: a ring of Gaussians, and the modes that games of several kinds cover."""

from collections.abc import Mapping

from PIL import Image

from ganlab.core.errors import require
from ganlab.core.validation import Count, TwoOrMore
from ganlab.theory.runs import Overrides, SteppedRun, Variants, frame_steps
from ganlab.theory.style import add_legend, tidy, titled_figure
from ganlab.visualize.grid import render
from ganlab.visualize.sample_picture import describe_coverage, scatter

SAMPLES = 2500  # samples over which modes are counted, as in published tables


def draw(
    players: Variants, settings: Overrides, reach: float, steps: Count, frames: TwoOrMore, seed: int
) -> list[Image.Image]:
    """The samples of several games, a panel each, with the numbers of modes that they cover.

    Args:
        players: the games by the titles of their panels, as overrides that follow `settings`.
        reach: the axes span [-reach, reach], in units of the data.

    Raises:
        ConfigError: the data are not in the plane, or have no known modes.
    """
    runs = {name: SteppedRun([*settings, *overrides], seed) for name, overrides in players.items()}
    for run in runs.values():
        has_modes = run.data.shape == (2,) and run.data.distribution is not None
        remedy = "choose data=ring, grid or spiral"
        require(has_modes, ".settings", [*settings], "this figure shows data with modes in the plane", remedy)
    return [_frame(runs, step, reach) for step in frame_steps(steps, frames)]


def _frame(runs: Mapping[str, SteppedRun], step: int, reach: float) -> Image.Image:
    figure = titled_figure(3.6 * len(runs), 4.9, f"a ring of Gaussians, step {step}")
    panels = figure.subplots(1, len(runs), sharex=True, sharey=True, squeeze=False)[0]
    for axes, (name, run) in zip(panels, runs.items(), strict=True):
        samples = run.game_after(step).sample(SAMPLES)
        scatter(axes, samples, run.data)
        tidy(axes)
        axes.set(xlim=(-reach, reach), ylim=(-reach, reach), xlabel="x₁, in the units of the data")
        axes.set_title(f"{name}\n{describe_coverage(samples, run.data.distribution)}", fontsize=10)
    panels[0].set_ylabel("x₂, in the units of the data")
    add_legend(figure, [panels[0]], 3)
    return render(figure)
