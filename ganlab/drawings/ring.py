"""Figure 6: a ring of Gaussians under several ways to train, and how many of its modes each covers."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from matplotlib.axes import Axes
from PIL import Image

from ganlab.data.densities import Mixture
from ganlab.drawings.runs import Run, schedule
from ganlab.drawings.style import MADE, TRUE, frame, legend, sheet, tidy
from ganlab.errors import Refused
from ganlab.metrics.modes import HighQuality, ModesCovered

JUDGED = 2500  # samples, as in the published tables
SHOWN = 600


def draw(
    players: Mapping[str, Sequence[str]],
    settings: Sequence[str],
    reach: float,
    steps: int,
    frames: int,
    seed: int,
) -> list[Image.Image]:
    """One panel per player: its name, and what it changes in the settings."""
    runs = {name: Run([*settings, *overrides], seed) for name, overrides in players.items()}
    for run in runs.values():
        known(run)
    return [_frame(runs, step, reach) for step in schedule(steps, frames)]


def _frame(runs: Mapping[str, Run], step: int, reach: float) -> Image.Image:
    figure = sheet(3.6 * len(runs), 4.9, f"a ring of Gaussians, round {step}")
    panels = figure.subplots(1, len(runs), sharex=True, sharey=True, squeeze=False)[0]
    for axes, (name, run) in zip(panels, runs.items(), strict=True):
        _panel(axes, run, step)
        axes.set(xlim=(-reach, reach), ylim=(-reach, reach), xlabel="x₁, in the units of the data")
        axes.set_title(f"{name}\n{covered(run, step)}", fontsize=10)
    panels[0].set_ylabel("x₂, in the units of the data")
    legend(figure, [panels[0]], 2)
    return frame(figure)


def _panel(axes: Axes, run: Run, step: int) -> None:
    centres = known(run).centres
    samples = run.play(step).sample(SHOWN)
    axes.set_aspect("equal")
    axes.scatter(
        centres[:, 0], centres[:, 1], s=90, facecolors="none", edgecolors=TRUE, linewidths=1.5, label="modes"
    )
    axes.scatter(samples[:, 0], samples[:, 1], s=5, color=MADE, alpha=0.6, linewidths=0, label="samples")
    tidy(axes)


def covered(run: Run, step: int) -> str:
    """What the metrics say of the samples after a round."""
    samples = run.play(step).sample(JUDGED)
    numbers: dict[str, float] = {}
    for metric in (ModesCovered(), HighQuality()):
        metric.check(run.data, JUDGED, 0)
        metric.update(samples, real=False)
        numbers |= metric.compute()
    total = len(known(run).centres)
    return f"modes {numbers['modes']:.0f} of {total}, high quality {numbers['high_quality']:.0%}"


def known(run: Run) -> Mixture:
    """The distribution of a run's data.

    Raises:
        Refused: it is not known, or not in the plane.
    """
    if run.data.shape != (2,) or run.data.distribution is None:
        raise Refused("this figure shows toy data in the plane: choose data=ring, grid or spiral")
    return run.data.distribution
