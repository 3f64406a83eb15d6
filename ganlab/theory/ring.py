"""Figure 6: a ring of Gaussians, and how many of these modes the samples of several games cover."""

from collections.abc import Mapping

from PIL import Image

from ganlab.core.errors import require
from ganlab.core.validation import Count, TwoOrMore
from ganlab.theory.runs import Overrides, SteppedRun, Variants, frame_steps
from ganlab.theory.style import add_legend, tidy, titled_figure
from ganlab.visualize.images import render
from ganlab.visualize.sample_picture import describe_coverage, scatter

NUM_SAMPLES = 2500  # modes are counted in this many samples, as in published tables


def draw(
    players: Variants, settings: Overrides, reach: float, steps: Count, frames: TwoOrMore, seed: int
) -> list[Image.Image]:
    """A panel for each game: its samples, and the number of modes that they cover.

    Args:
        players: the games, one for each panel: the title of the panel, and the overrides of the game.
        settings: the overrides of all games.
        reach: the largest coordinate in the panels, which span [-reach, reach], in the units of the data.

    Raises:
        ConfigError: the data are not points in the plane, or their modes are unknown.
    """
    runs = {title: SteppedRun([*settings, *overrides], seed) for title, overrides in players.items()}
    for run in runs.values():
        has_modes = run.data.shape == (2,) and run.data.distribution is not None
        remedy = "choose data=ring, grid or spiral"
        require(has_modes, "this figure needs data with modes in the plane", remedy, ".settings", [*settings])
    return [_frame(runs, step, reach) for step in frame_steps(steps, frames)]


def _frame(runs: Mapping[str, SteppedRun], step: int, reach: float) -> Image.Image:
    figure = titled_figure(3.6 * len(runs), 4.9, f"a ring of Gaussians, step {step}")
    (panels,) = figure.subplots(1, len(runs), sharex=True, sharey=True, squeeze=False)
    for axes, (title, run) in zip(panels, runs.items(), strict=True):
        samples = run.game_after(step).sample(NUM_SAMPLES)
        scatter(axes, samples, run.data)
        tidy(axes)
        axes.set(xlim=(-reach, reach), ylim=(-reach, reach), xlabel="x₁, in the units of the data")
        axes.set_title(f"{title}\n{describe_coverage(samples, run.data.distribution)}", fontsize=10)
    panels[0].set_ylabel("x₂, in the units of the data")
    add_legend(figure, [panels[0]], ncols=3)
    return render(figure)
