"""The pictures of a report: how far each arm lies from the reference, and the sample grids of all arms."""

from math import ceil

from matplotlib.axes import Axes
from PIL import Image

from ganlab.suites.answer import digits, direction
from ganlab.suites.findings import Findings, Found
from ganlab.suites.suite import Suite
from ganlab.suites.tables import compared
from ganlab.theory.style import BLACK, BLUE, ORANGE, PURPLE, SKY, VERMILION, tidy, titled_figure
from ganlab.visualize.images import render

COLUMNS = 4  # of grids
SIDE = 2.6  # inches of a grid
LIFT = 0.22  # of a seed's dot above its arm's line, in rows


def forest(findings: Findings) -> Image.Image | None:
    """Differences to the reference over pairs of seeds, each arm a row; None where there is none to draw."""
    arms = findings.compared
    if not arms:
        return None
    height = 1.9 + 0.45 * len(arms)
    figure = titled_figure(9, height, f"{findings.suite.name}: difference to {findings.suite.reference}")
    axes = figure.add_subplot()
    tidy(axes)
    axes.axvline(0, color=BLACK, linewidth=1)
    for row, found in enumerate(arms):
        draw(axes, findings, found, row)
    record = findings.record(findings.first)
    unit = f", {record['unit']}" if "unit" in record else ""
    way = f" ({record['better']} is better)" if "better" in record else ""
    axes.set_xlabel(f"difference in {findings.names[findings.first]}{unit}{way}")
    axes.margins(x=0.04)
    rows = range(len(arms))
    axes.set_yticks(rows, [found.arm.name for found in arms])
    axes.set_ylim(len(arms) - 0.5, -0.5)
    axes.grid(visible=False, axis="y")
    numbers = axes.secondary_yaxis("right")
    numbers.set_yticks(rows, [compared(found, digits(findings))[0] for found in arms])
    for part in (axes, numbers):
        part.tick_params(axis="y", length=0)
        part.spines["right"].set_visible(False)
    handles = dict(zip(*reversed(axes.get_legend_handles_labels()), strict=True))  # each once
    figure.legend(handles.values(), handles.keys(), loc="outside lower center", ncols=4, frameon=False)
    return render(figure)


def draw(axes: Axes, findings: Findings, found: Found, row: int) -> None:
    comparison = found.comparison
    assert comparison is not None
    differences = comparison.differences
    above = [row - LIFT] * len(differences)
    axes.plot(differences, above, "o", color=SKY, markersize=4, alpha=0.8, label="one seed")
    colour, label = verdict(findings, found)
    if comparison.interval is not None:
        ends = [comparison.interval.low, comparison.interval.high]
        axes.plot(ends, [row, row], color=colour, linewidth=2, solid_capstyle="butt")
    axes.plot([comparison.mean], [row], "D", color=colour, markersize=6, label=label)


def verdict(findings: Findings, found: Found) -> tuple[str, str]:
    """The colour of an arm, and what it means."""
    if found.p is None:
        return PURPLE, "not tested"
    if not found.differs:
        return BLACK, "no difference shown"
    better = findings.record(findings.first).get("better")
    if better is None:
        return ORANGE, "different (Holm, 5 %)"
    if direction(found) == better:
        return BLUE, "better (Holm, 5 %)"
    return VERMILION, "worse (Holm, 5 %)"


def grids(suite: Suite) -> Image.Image | None:
    """The grids that lie in the suite's samples/, each below its arm's name; None where there are none."""
    places = {arm: suite.folder / "samples" / f"{arm}.png" for arm in suite.arms}
    files = {arm: path for arm, path in places.items() if path.is_file()}
    if not files:
        return None
    columns = min(len(files), COLUMNS)
    rows = ceil(len(files) / columns)
    figure = titled_figure(SIDE * columns, (SIDE + 0.3) * rows + 0.3, f"{suite.name}: samples")
    for place, (arm, path) in enumerate(files.items(), 1):
        axes = figure.add_subplot(rows, columns, place)
        with Image.open(path) as image:
            axes.imshow(image.convert("RGB"), interpolation="antialiased")
        axes.set_title(arm, fontsize=10)
        axes.set_axis_off()
    return render(figure)
