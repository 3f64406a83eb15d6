"""`python -m ganlab.report`: its text and figures for invented results with known statistics."""

from __future__ import annotations

import re
import shlex
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from markdown_it import MarkdownIt
from matplotlib.figure import Figure
from PIL import Image
from scipy import stats
from support.commands import environment
from support.refusals import refuses
from support.small_games import ROOT

from ganlab.config.compose import compose
from ganlab.core.errors import ConfigError
from ganlab.core.numerics import NUMERICS
from ganlab.report import report
from ganlab.studies import plots
from ganlab.studies.analysis import config_hashes, frame
from ganlab.studies.spec import read_suite
from ganlab.studies.statistics import smallest_effect
from ganlab.studies.table import Row, read, text_of
from ganlab.theory.style import BLACK, BLUE, VERMILION

NAME = "fid/digits_train_1k"
CONFIG_HASH = "c" * 12  # stands for the hash of the arm's config
PLAIN = [20.0, 22.0, 21.0, 25.0]
LESS = [15.0, 16.8, 15.9, 20.3]  # about 5 less than PLAIN with every seed
MORE = [23.1, 24.9, 24.0, 28.1]
NOISY = [25.0, 16.0, 24.0, 22.0]
SUITE = """\
question: Does it help?
base: [model=gan, data=digits, 'metric=[fid,is]', logger=csv]
seeds: 4
metrics: [fid, is]
budget: an afternoon
note: Short runs.
"""


def metric_record(value: float, **provenance: Any) -> dict[str, Any]:
    common = {"split": "train", "extractor": "digits", "n_real": 1437, "n_fake": 1000, "sampler": "generator"}
    real = {"floor": 7.081, "floor_n": 360, "floor_split": "test"}
    return {"value": value, "better": "lower", "step": 9, **common, **provenance, **real}


def result_row(arm: str, seed: int, value: float | None, **changed: Any) -> Row:
    """The row of a finished run; of a failed one if the value is None. `changed` replaces other fields."""
    provenance = changed.pop("provenance", {})
    metrics = (
        {}
        if value is None
        else {
            NAME: metric_record(value, **provenance),
            "is/digits_1k": metric_record(value / 4, **provenance),
        }
    )
    facts = {
        "status": "finished" if value is not None else "failed",
        "reason": "" if value is not None else "the disk was full",
        "config": CONFIG_HASH,
        "data": "d" * 12,
        "code": "a" * 12,
        "numerics": NUMERICS,
        "commit": "b" * 12,
        "steps": 300,
        "images": 19200,
        "seconds": 60.0 + seed,
        "device": "cpu",
        "finished": "2026-11-21T21:00:00",
    }
    return Row(arm=arm, seed=seed, value=value, metrics=metrics, **(facts | changed))


def append(path: Path, *rows: Row) -> None:
    path.write_text(text_of([*read(path), *rows]))


def write_results(
    folder: Path, values: Mapping[str, Sequence[float | None]], arms: str = "", suite: str = SUITE
) -> Path:
    """Writes a suite and its results, the values of each arm by seed, and returns the folder."""
    folder = folder / "experiments" / "does_it_help"
    folder.mkdir(parents=True)
    arms = arms or "".join(
        f"  {arm}: {{overrides: ['model.generator.hidden=[{8 + i}]']}}\n" for i, arm in enumerate(values)
    )
    (folder / "suite.yaml").write_text(f"{suite}arms:\n{arms}")
    for arm, numbers in values.items():
        append(folder / "results.csv", *(result_row(arm, seed, value) for seed, value in enumerate(numbers)))
    return folder


def insert_config_hashes(folder: Path) -> Path:
    """Replaces CONFIG_HASH in results.csv by the hashes of the arms' configs."""
    results = folder / "results.csv"
    if results.is_file():
        hashes = config_hashes(read_suite(folder))
        with results.open(newline="") as file:
            lines = file.readlines()
        text = "".join(
            line.replace(CONFIG_HASH, hashes.get(line.split(",")[0], CONFIG_HASH), 1) for line in lines
        )
        with results.open("w", newline="") as file:
            file.write(text)
    return folder


def report_text(folder: Path) -> str:
    return report(compose(f"suite={insert_config_hashes(folder)}", config_name="report")).read_text()


def answer_of(folder: Path) -> str:
    return report_text(folder).split("\n\n")[3]


def table_row(text: str, arm: str, table: int = 0) -> dict[str, str]:
    """The row of an arm, by the names of the columns; `table` is the index of the table."""
    lines = [block for block in text.split("\n\n") if block.startswith("| arm")][table].splitlines()
    split = [[cell.strip() for cell in line.strip("|").split("|")] for line in lines]
    return next(dict(zip(split[0], line, strict=True)) for line in split if line[0].strip("`") == arm)


def test_the_table_has_the_statistics_of_the_results(tmp_path: Path) -> None:
    text = report_text(write_results(tmp_path, {"plain": PLAIN, "wide": LESS}))
    plain, wide = table_row(text, "plain"), table_row(text, "wide")
    low, high = stats.t.interval(0.95, 3, np.mean(PLAIN), stats.sem(PLAIN))
    assert plain[f"mean of `{NAME}` [95 %]"] == f"22.0 [{low:.1f}, {high:.1f}]"
    assert (plain["sd"], plain["n"], plain["failed"], plain["diverged"]) == ("2.2", "4", "0", "0")
    assert (plain["training"], plain["less `plain` [95 %]"], plain["p (Holm)"]) == ("1 min 02 s", "", "")
    test = stats.ttest_rel(LESS, PLAIN)
    low, high = test.confidence_interval()
    assert wide["less `plain` [95 %]"] == f"{np.mean(LESS) - np.mean(PLAIN):.1f} [{low:.1f}, {high:.1f}]"
    assert test.pvalue < 0.001
    assert (wide["p (Holm)"], wide["pairs"]) == ("< 0.001", "4")
    assert wide["smallest effect"] == f"{smallest_effect(np.std(np.subtract(LESS, PLAIN), ddof=1), 4):.1f}"
    assert table_row(text, "(real data)")[f"mean of `{NAME}` [95 %]"] == "7.081"
    assert table_row(text, "wide", 1)["`is/digits_1k` [95 %]"].startswith(f"{np.mean(LESS) / 4:.2f} [")
    assert "Planned: an afternoon. Spent: 8 min 12 s of training in 8 runs." in text
    assert "1,000 samples, against 1,437 real ones, split train, extractor digits" in text
    assert "Student's t below 10" in text


def test_the_answer_names_the_one_better_arm(tmp_path: Path) -> None:
    found = answer_of(write_results(tmp_path, {"plain": PLAIN, "wide": LESS, "noisy": NOISY}))
    assert found == (
        f"In `{NAME}`, better than `plain` is `wide` (lower by 5.0, p < 0.001); of the other arm no "
        "difference is shown."
    )


def test_the_answer_names_several_better_and_worse_arms(tmp_path: Path) -> None:
    values = {"plain": PLAIN, "wide": LESS, "wider": [x - 3 for x in LESS], "narrow": MORE}
    found = answer_of(write_results(tmp_path, values))
    assert "better than `plain` are `wide` (lower by 5.0, p < 0.001) and `wider` (lower by 8.0" in found
    assert "; worse than `plain` is `narrow` (higher by 3.0" in found
    assert "no difference" not in found


def test_an_undecided_answer_states_the_smallest_detectable_effect(tmp_path: Path) -> None:
    found = answer_of(write_results(tmp_path, {"plain": PLAIN, "noisy": NOISY}))
    # With four pairs, the smallest detectable effect is 2.128 deviations of the differences.
    smallest = 2.128 * np.std(np.subtract(NOISY, PLAIN), ddof=1)
    assert found == (
        f"Undecided: in `{NAME}` no difference of `noisy` to `plain` is shown; with 80 % power the smallest "
        f"effect that could have been seen is {smallest:.1f} (paired t test, two-sided 5 %)."
    )


def test_holms_correction_can_make_a_difference_undecided(tmp_path: Path) -> None:
    near = [x + d for x, d in zip(PLAIN, [1.0, 1.4, 0.3, 0.9], strict=True)]
    assert 0.025 < stats.ttest_rel(near, PLAIN).pvalue * 1.2 < 0.05
    assert "worse than `plain` is `near`" in answer_of(
        write_results(tmp_path / "one", {"plain": PLAIN, "near": near})
    )
    found = answer_of(
        write_results(tmp_path / "three", {"plain": PLAIN, "near": near, "noisy": NOISY, "odd": NOISY[::-1]})
    )
    assert found.startswith("Undecided")
    others = [np.std(np.subtract(values, PLAIN), ddof=1) for values in (near, NOISY, NOISY[::-1])]
    low, high = (smallest_effect(spread, 4, 0.05 / 3) for spread in (min(others), max(others)))
    assert f"{low:.1f} to {high:.1f}, by arm at the first step of Holm's correction for 3" in found


def test_failed_and_diverged_runs_are_counted_and_excluded_from_pairs(tmp_path: Path) -> None:
    folder = write_results(tmp_path, {"plain": PLAIN, "wide": [*LESS[:2], None], "narrow": [*MORE[:3], None]})
    append(
        folder / "results.csv",
        result_row("wide", 3, None, status="diverged", reason="diverged at step 7: nan"),
    )
    text = report_text(folder)
    columns = ("n", "failed", "diverged", "pairs")
    assert [table_row(text, "wide")[name] for name in columns] == ["2", "1", "1", "2"]
    assert [table_row(text, "narrow")[name] for name in columns] == ["3", "1", "0", "3"]
    assert table_row(text, "wide")["less `plain` [95 %]"].startswith("-5.1 [")
    assert "`wide`, seed 2: failed: the disk was full." in text
    assert "`wide`, seed 3: diverged at step 7: nan." in text
    assert "The numbers of `wide` and `narrow` are of the surviving seeds only" in text


def test_missing_runs_and_ignored_rows_are_reported(tmp_path: Path) -> None:
    folder = write_results(tmp_path, {"plain": PLAIN, "wide": [99.0, *LESS[1:3]]})
    append(folder / "results.csv", result_row("wide", 0, LESS[0]))  # the last row of a run counts
    append(folder / "results.csv", result_row("gone", 0, 1.0))
    reason = "signal: out of memory"
    append(folder / "results.csv", result_row("wide", 3, None, status="interrupted", reason=reason))
    text = report_text(folder)
    assert text.split("\n\n")[3].startswith("After 7 of 8 runs: in `fid")
    assert "Not yet run: 1 of 8: `wide` seed 3." in text
    assert "2 rows of results.csv not counted" in text
    assert "- `wide`, seed 3: interrupted: signal: out of memory." in text
    assert table_row(text, "wide")["less `plain` [95 %]"].startswith("-5.1 [")


def test_without_results_there_is_no_answer(tmp_path: Path) -> None:
    folder = write_results(tmp_path, {"plain": [], "wide": []})
    text = report_text(folder)
    assert "No answer yet: nothing has been run." in text
    assert "Not yet run: 8 of 8: `plain` seeds 0, 1, 2, 3; `wide` seeds 0, 1, 2, 3." in text
    assert not (folder / "forest.png").exists()


def test_a_report_of_one_seed_explains_the_missing_interval(tmp_path: Path) -> None:
    suite = SUITE.replace("seeds: 4", "seeds: 1")
    text = report_text(write_results(tmp_path, {"plain": [20.0], "wide": [15.0]}, suite=suite))
    assert table_row(text, "wide")["less `plain` [95 %]"] == "-5.00"
    assert "One seed has no spread, so there is no interval and no test." in text
    assert "Undecided: in" in text
    assert "it cannot be said how large one would be seen" in text


def test_equal_values_cause_no_division_by_zero(tmp_path: Path) -> None:
    text = report_text(write_results(tmp_path, {"plain": [7.0] * 4, "wide": [8.0] * 4, "same": [7.0] * 4}))
    assert table_row(text, "wide")["p (Holm)"] == "0.25"  # twice 2^(1 - 4)
    assert table_row(text, "same")["p (Holm)"] == "1.00"
    assert "there is no interval, and p is that of their signs" in text


def test_published_values_lie_inside_or_outside(tmp_path: Path) -> None:
    arms = (
        "  plain: {published: {fid: [21.5, 0.3], is: 5.4}}\n"
        "  wide: {overrides: ['model.generator.hidden=[9]'], published: {fid: 3}}\n"
    )
    suite = SUITE + "source: An invented table\n"
    text = report_text(write_results(tmp_path, {"plain": PLAIN, "wide": LESS}, arms, suite))
    plain, wide = table_row(text, "plain"), table_row(text, "wide")
    assert [plain["published"], plain["inside"], wide["published"], wide["inside"]] == [
        "21.5 ± 0.3",
        "yes",
        "3",
        "no",
    ]
    assert "inside for `plain`; outside for `wide`." in text
    assert table_row(text, "plain", 1)["published"] == "5.4"
    assert "Published: An invented table" in text


def test_values_measured_differently_are_refused_but_samplers_may_differ(tmp_path: Path) -> None:
    folder = write_results(tmp_path, {"plain": PLAIN, "wide": LESS[:3]})
    append(
        folder / "results.csv", result_row("wide", 3, LESS[3], provenance={"sampler": "ema", "n_fake": 500})
    )
    reason = r"plain \(seed 0\) and wide \(seed 3\) are not comparable: n_fake is 1000 and 500"
    with refuses(NAME, reason=reason, remedy="the same protocol"):
        report_text(folder)
    assert not (folder / "README.md").exists()
    append(
        folder / "results.csv",
        result_row("wide", 3, LESS[3], provenance={"sampler": "ema"}, code="f" * 12, finished="2027"),
    )
    text = report_text(folder)
    assert "Sampler: ema in 1 run of `wide`, otherwise generator; arms may differ in this." in text
    assert f"Code: {'f' * 12} (commit {'b' * 12}) in 1 run of `wide`, otherwise {'a' * 12}" in text
    assert "More than one code within `wide`." in text


def test_rows_of_older_numerics_are_stale_and_give_way_to_newer_ones(tmp_path: Path) -> None:
    folder = write_results(tmp_path, {"plain": PLAIN, "wide": LESS[:3]})
    append(folder / "results.csv", result_row("wide", 3, LESS[3], code="f" * 12, numerics=0))
    assert f"Stale: 1 of 8 runs, of other numerics than {NUMERICS}" in report_text(folder)
    append(folder / "results.csv", result_row("wide", 3, LESS[3], finished="2020-01-01T00:00:00Z"))
    append(folder / "results.csv", result_row("wide", 3, 99.0, finished="2029-01-01T00:00:00Z", numerics=0))
    append(folder / "results.csv", result_row("plain", 0, 99.0, finished="2019-01-01T00:00:00Z"))
    text = report_text(folder)
    assert table_row(text, "plain")[f"mean of `{NAME}` [95 %]"].startswith("22.0 ")
    assert table_row(text, "wide")[f"mean of `{NAME}` [95 %]"].startswith("17.0 ")
    assert "Stale" not in text
    assert "3 rows of results.csv not counted" in text
    rows = read(folder / "results.csv")
    (folder / "results.csv").write_text(text_of(Row(**(vars(row) | {"numerics": 0})) for row in rows))
    assert "Stale: all runs" in report_text(folder)


def test_an_interrupted_run_counts_as_not_yet_run(tmp_path: Path) -> None:
    folder = write_results(tmp_path, {"plain": PLAIN, "wide": LESS[:3]})
    row = result_row("wide", 3, None, status="interrupted", reason="a signal")
    append(folder / "results.csv", row)
    text = report_text(folder)
    assert "Not yet run: 1 of 8: `wide` seed 3." in text
    assert "- `wide`, seed 3: interrupted: a signal." in text
    append(folder / "results.csv", result_row("wide", 3, LESS[3], numerics=0))
    assert "interrupted" not in report_text(folder)  # the older result counts until there is a newer one


GPU = {"device": "NVIDIA H100", "provenance": {"torch": "2.11.0"}}


def write_unlike(folder: Path, suite: str = SUITE) -> Path:
    """A suite whose arm `wide` was run on a GPU, and half of `mixed`."""
    values = {"plain": PLAIN, "near": MORE, "wide": [], "mixed": NOISY[:2]}
    folder = write_results(folder, values, suite=suite)
    for seed, value in enumerate(LESS):
        append(folder / "results.csv", result_row("wide", seed, value, **GPU))
    for seed in (2, 3):
        append(folder / "results.csv", result_row("mixed", seed, NOISY[seed], **GPU))
    append(folder / "results.csv", result_row("near", 0, MORE[0], device="cpu, 2 threads", finished="2027"))
    return folder


def test_arms_that_were_run_on_another_device_are_not_compared(tmp_path: Path) -> None:
    folder = write_unlike(tmp_path)
    text = report_text(folder)
    assert (
        "Left out of the comparison: `wide` (NVIDIA H100, not cpu; torch 2.11.0, not torch unknown) and "
        "`mixed` (NVIDIA H100 and cpu, not cpu; torch 2.11.0 and torch unknown, not torch unknown)."
    ) in answer_of(folder)
    wide = table_row(text, "wide` (not compared)")
    assert wide[f"mean of `{NAME}` [95 %]"].startswith("17.0 [")
    assert (wide["less `plain` [95 %]"], wide["pairs"], wide["p (Holm)"], wide["smallest effect"]) == (
        "",
    ) * 4
    assert table_row(text, "near")["pairs"] == "4"  # threads do not matter
    assert "Holm's correction for 3 comparisons" in text


@pytest.mark.parametrize(("ignored", "reason"), [("device", "torch 2.11.0"), ("torch", "NVIDIA H100")])
def test_the_other_circumstance_still_counts(ignored: str, reason: str, tmp_path: Path) -> None:
    folder = write_unlike(tmp_path, f"{SUITE}ignore: [{ignored}]\n")
    assert f"Left out of the comparison: `wide` ({reason}, not " in answer_of(folder)


def test_arms_may_differ_in_circumstances_that_the_suite_ignores(tmp_path: Path) -> None:
    folder = write_unlike(tmp_path, f"{SUITE}ignore: [device, torch]\n")
    text = report_text(folder)
    assert "Left out" not in text
    assert table_row(text, "wide")["pairs"] == table_row(text, "mixed")["pairs"] == "4"
    assert (
        "`wide` ran on NVIDIA H100 with torch 2.11.0, `mixed` ran on NVIDIA H100 with torch 2.11.0 and on cpu"
        in text
    )
    assert "and the other 2 arms on cpu with torch unknown; `ignore` in suite.yaml allows it." in text


def test_without_a_comparable_arm_the_answer_is_undecided(tmp_path: Path) -> None:
    folder = write_results(tmp_path, {"plain": PLAIN, "wide": []})
    append(folder / "results.csv", *(result_row("wide", i, x, device="gpu") for i, x in enumerate(LESS)))
    assert answer_of(folder) == (
        "Undecided: no arm was run as the reference, `plain`. Left out of the comparison: `wide` (gpu, not "
        "cpu)."
    )
    folder = write_results(tmp_path / "order", {"best": LESS, "middle": NOISY, "worst": []}, suite=ORDER)
    append(folder / "results.csv", *(result_row("worst", i, x, device="gpu") for i, x in enumerate(PLAIN)))
    assert "1 of 1 pairs of arms" in answer_of(folder)


ODD = "<script>alert(1)</script> ![x](http://x) | # `a` *b* <!-- c"


def test_texts_from_the_table_are_shown_as_text(tmp_path: Path) -> None:
    folder = write_results(tmp_path, {"plain": PLAIN, "wide": [*LESS[:3]]})
    append(folder / "results.csv", result_row("wide", 3, None, reason=ODD, device=ODD))
    record = {"extractor": ODD, "n_fake": "x", "floor": "y", ODD: ODD}
    rows = [Row(**(vars(row) | {"metrics": {NAME: row.metrics[NAME] | record} if row.metrics else {}}))
            for row in read(folder / "results.csv")]  # fmt: skip
    (folder / "results.csv").write_text(text_of(rows))
    page = report_text(folder)
    html = (folder / "page.html").read_text()
    for text in (html, MarkdownIt("commonmark").enable("table").render(page)):
        assert re.search('<(script|em>b|!-- c)|http[^)]*"', text) is None
    assert "failed: &lt;script&gt;alert(1)&lt;/script&gt; ![x](http://x) | # `a` *b* &lt;!-- c." in html


def test_an_override_cannot_end_the_block_of_commands(tmp_path: Path) -> None:
    override = "\"name='a\\n```\\n# heading\\n````'\""
    folder = write_results(tmp_path, {"plain": PLAIN}, f"  plain: {{overrides: [{override}]}}\n")
    report_text(folder)
    assert "<h1>heading" not in (folder / "page.html").read_text()


def test_the_html_page_needs_no_other_file(tmp_path: Path) -> None:
    folder = write_results(tmp_path, {"plain": PLAIN, "wide": LESS})
    report_text(folder)
    html = (folder / "page.html").read_text()
    assert re.findall(r'src="(.{22})', html) == ["data:image/png;base64,"]
    assert "<td>0.001" in html.replace("&lt; ", "")
    assert "Written by" not in html


@pytest.mark.parametrize("content", [b"no image", b"\x89PNG\r\n\x1a\n", "huge", "large"])
def test_a_sample_grid_that_is_no_picture_is_refused(content: bytes | str, tmp_path: Path) -> None:
    folder = write_results(tmp_path, {"plain": PLAIN, "wide": LESS})
    (folder / "samples").mkdir()
    path = folder / "samples" / "wide.png"
    if isinstance(content, bytes):
        path.write_bytes(content)
    else:
        side = 20_000 if content == "huge" else 6_000
        Image.new("1", (side, side)).save(path)
    with refuses(reason="wide.png", remedy="remove it"):
        report_text(folder)


def test_intervals_end_at_the_bounds_of_the_metric(tmp_path: Path) -> None:
    suite = SUITE.replace("metrics: [fid, is]", "metrics: [modes]")
    folder = write_results(tmp_path, {"plain": [], "wide": []}, suite=suite)
    for arm, values in {"plain": [0, 0, 1, 7], "wide": [8, 8, 8, 7]}.items():
        for seed, value in enumerate(values):
            record = {"value": value, "better": "higher", "num_modes": 8}
            row = vars(result_row(arm, seed, value)) | {"metrics": {"modes": record}}
            append(folder / "results.csv", Row(**row))
    text = report_text(folder)
    assert table_row(text, "plain")["mean of `modes` [95 %]"].startswith("2.0 [0.0, ")
    assert table_row(text, "wide")["mean of `modes` [95 %]"].endswith(", 8.0]")
    assert table_row(text, "wide")["less `plain` [95 %]"].endswith(", +8.0]")
    assert "intervals of `modes` (from 0 to 8) end at these bounds" in text


def test_learning_curves_have_a_panel_for_each_arm(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    figures: list[Figure] = []
    render = plots.render
    monkeypatch.setattr(plots, "render", lambda figure: figures.append(figure) or render(figure))
    folder = write_results(tmp_path, {"plain": PLAIN, "wide": LESS})
    assert "curves.png" not in report_text(folder)
    rows = read(folder / "results.csv")
    courses = [{"10": 200.0 + row.seed, "5": 400.0, "100": row.value} for row in rows]
    given = zip(rows, courses, strict=True)
    new = [Row(**(vars(row) | {"course": course})) for row, course in given]
    (folder / "results.csv").write_text(text_of(new))
    figures.clear()
    assert "![learning curves](curves.png)" in report_text(folder)
    plain, wide = figures[1].axes
    assert [axes.get_title() for axes in (plain, wide)] == ["plain", "wide"]
    assert (len(plain.lines), len(wide.lines)) == (5, 6)  # seeds, their mean, and that of the reference
    assert [list(axis) for axis in wide.lines[0].get_data()] == [[5, 10, 100], [400, 200, LESS[0]]]
    assert list(wide.lines[4].get_ydata()) == pytest.approx([400, 201.5, np.mean(LESS)])
    low = stats.t.interval(0.95, 3, np.mean(LESS), stats.sem(LESS))[0]
    band = wide.collections[0].get_paths()[0].vertices
    assert np.abs(band - [100, low]).sum(axis=1).min() < 1e-6
    assert plain.get_yscale() == "log"


def test_rows_of_another_config_do_not_count(tmp_path: Path) -> None:
    folder = write_results(tmp_path, {"plain": PLAIN, "wide": LESS})
    report_text(folder)
    suite = folder / "suite.yaml"
    suite.write_text(suite.read_text().replace("hidden=[9]", "hidden=[10]"))
    text = report_text(folder)
    assert "Not yet run: 4 of 8: `wide` seeds 0, 1, 2, 3." in text
    assert "`wide`: 4 rows of another config than suite.yaml has now, so not counted." in text
    assert "no arm has finished with a seed of the reference" in text


def test_p_is_corrected_for_all_planned_arms_even_if_runs_are_missing(tmp_path: Path) -> None:
    values = {"plain": PLAIN, "near": [17.0, 21.5, 19.0, 22.0], "one": [16.0], "none": []}
    text = report_text(write_results(tmp_path, values))
    p = stats.ttest_rel(values["near"], PLAIN).pvalue
    assert 0.01 < p < 0.33
    assert table_row(text, "near")["p (Holm)"] == (f"{3 * p:.3f}" if 3 * p < 0.1 else f"{3 * p:.2f}")
    assert "Holm's correction for 3 comparisons" in text


ORDER = SUITE + "order: [best, middle, worst]\n"


@pytest.mark.parametrize(
    ("values", "pattern"),
    [
        ([LESS, PLAIN, MORE], "Yes: .* 3 of 3 pairs .*tau .1.00.*, 3 are in it and 0 are not"),
        ([MORE, PLAIN, LESS], "No: .* 0 of 3 pairs .*tau -1.00.*, 0 are in it and 3 are not"),
        ([LESS, NOISY, PLAIN], "Undecided: .* 3 of 3 pairs .*, 1 are in it and 0 are not"),
        ([PLAIN], "Undecided: fewer than two of the arms have finished"),
    ],
)
def test_the_answer_compares_the_arms_with_the_published_order(
    tmp_path: Path, values: Sequence[Sequence[float]], pattern: str
) -> None:
    names = ("best", "middle", "worst")
    by_arm = {name: values[i] if i < len(values) else [] for i, name in enumerate(names)}
    found = answer_of(write_results(tmp_path, by_arm, suite=ORDER))
    assert re.search(pattern, found, re.IGNORECASE), found
    if len(values) > 2:
        best = min(by_arm, key=lambda name: np.mean(by_arm[name]))  # FID: lower is better
        assert f"Best first: `{best}`" in found


def test_one_seed_is_compared_with_the_published_values(tmp_path: Path) -> None:
    arms = (
        "  plain: {published: {fid: [5.4, 0.2]}}\n"
        "  wide: {overrides: ['model.generator.hidden=[9]'], published: {fid: 7}}\n"
    )
    suite = SUITE.replace("seeds: 4", "seeds: 1\nsource: An invented table")
    found = answer_of(write_results(tmp_path, {"plain": [20.0], "wide": [15.0]}, arms, suite))
    assert found == (
        f"In `{NAME}`: `plain` 20.00 (published 5.4 ± 0.2) and `wide` 15.00 (published 7); each has one "
        "seed, so there is no interval and no test."
    )


def test_the_answer_names_arms_that_did_not_finish(tmp_path: Path) -> None:
    folder = write_results(
        tmp_path, {"plain": PLAIN, "wide": LESS, "gone": [None] * 4, "mixed": [20.1, 22.2, None]}
    )
    append(folder / "results.csv", result_row("mixed", 3, None, status="diverged"))
    found = answer_of(folder)
    assert found.endswith("`gone` failed in every seed and `mixed` failed or diverged in 2 of 4 seeds.")
    assert "The numbers of `mixed` are of the surviving seeds only" in (folder / "README.md").read_text()


def test_commands_contain_the_threads_and_the_commit(tmp_path: Path) -> None:
    folder = write_results(tmp_path, {"plain": PLAIN, "wide": []})
    for seed, number in enumerate(LESS):
        append(
            folder / "results.csv", result_row("wide", seed, number, device="cpu, 2 threads", commit="e" * 12)
        )
    text = report_text(folder)
    assert f"# wide, played at commit {'e' * 12}\nOMP_NUM_THREADS=2 python -m ganlab.run -m " in text
    assert f"# plain, played at commit {'b' * 12}\npython -m ganlab.run -m " in text


def test_two_metrics_with_the_same_prefix_are_refused(tmp_path: Path) -> None:
    folder = write_results(tmp_path, {"plain": PLAIN, "wide": LESS[:3]})
    other = result_row("wide", 3, 1.0)
    append(
        folder / "results.csv",
        Row(**(vars(other) | {"metrics": {"fid/digits_train_60": metric_record(1.0)}})),
    )
    with pytest.raises(
        ConfigError, match=r"fid is fid/digits_train_1k in plain \(seed 0\), fid/digits_train_60 in"
    ):
        report_text(folder)


def test_every_arm_has_the_command_that_reproduces_it(tmp_path: Path) -> None:
    text = report_text(write_results(tmp_path, {"plain": PLAIN, "wide": LESS}))
    first, second = (
        shlex.split(line) for line in text.splitlines() if line.startswith("python -m ganlab.run")
    )
    assert first[-1] == "seed=0,1,2,3"
    assert compose(*second[4:-1]).model.generator.hidden == [9]
    assert "python -m ganlab.report suite=experiments/does_it_help" in text


def test_the_forest_plot_shows_seeds_means_and_intervals(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    figures: list[Figure] = []
    render = plots.render
    monkeypatch.setattr(plots, "render", lambda figure: figures.append(figure) or render(figure))
    folder = write_results(tmp_path, {"plain": PLAIN, "wide": LESS, "narrow": MORE, "noisy": NOISY})
    report_text(folder)
    axes = figures[0].axes[0]
    assert [label.get_text() for label in axes.get_yticklabels()] == ["wide", "narrow", "noisy"]
    assert axes.get_xlabel() == f"difference in {NAME} (lower is better)"
    lines = [line for line in axes.lines if line.get_ydata()[0] == 0 and line.get_color() == BLUE]
    ends, centre = (line.get_xdata() for line in lines)
    assert tuple(ends) == pytest.approx(tuple(stats.ttest_rel(LESS, PLAIN).confidence_interval()))
    assert centre[0] == pytest.approx(np.mean(LESS) - np.mean(PLAIN))
    seeds = next(line for line in axes.lines if line.get_label() == "one seed")
    assert sorted(seeds.get_xdata()) == pytest.approx(sorted(np.subtract(LESS, PLAIN)))
    colours = [line.get_color() for line in axes.lines if line.get_marker() == "D"]
    assert colours == [BLUE, VERMILION, BLACK]
    with Image.open(folder / "forest.png") as image:
        assert image.size[0] == 900


def test_sample_grids_are_combined_into_one_picture(tmp_path: Path) -> None:
    folder = write_results(tmp_path, {"plain": PLAIN, "wide": LESS})
    assert "grids.png" not in report_text(folder)
    (folder / "samples").mkdir()
    for arm in ("plain", "wide"):
        Image.new("L", (80, 80), 200).save(folder / "samples" / f"{arm}.png")
    assert "![sample grids](grids.png)" in report_text(folder)
    with Image.open(folder / "grids.png") as image:
        assert image.size[0] > image.size[1]


def test_a_page_written_by_hand_is_kept(tmp_path: Path) -> None:
    folder = write_results(tmp_path, {"plain": PLAIN, "wide": LESS})
    report_text(folder)
    report_text(folder)  # over its own
    (folder / "README.md").write_text("# By hand\n")
    with pytest.raises(ConfigError, match=r"README.md is not a report's. Rename it"):
        report_text(folder)
    assert (folder / "README.md").read_text() == "# By hand\n"


def test_a_report_needs_a_suite_and_no_torch(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="suite is missing: give the folder of one"):
        report(compose(config_name="report"))
    folder = insert_config_hashes(write_results(tmp_path, {"plain": PLAIN, "wide": LESS}))
    code = (
        "import sys; from ganlab.cli import launch; from ganlab.report import report; "
        "sys.argv[0] = 'report'; launch('report', report); "
        "assert not {'torch', 'pytorch_lightning'} & set(sys.modules)"
    )
    command = [sys.executable, "-c", code, f"suite={folder}"]
    done = subprocess.run(command, capture_output=True, text=True, env=environment(), cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert "better than `plain` is `wide`" in done.stdout
    assert (folder / "forest.png").is_file()


def test_the_data_frame_of_the_guide_has_the_means_of_the_page(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(ROOT)
    (code,) = re.findall(r"```python\n(.*?)```", (ROOT / "experiments/README.md").read_text(), re.DOTALL)
    found: dict[str, Any] = {}
    exec(code, found)  # noqa: S102
    text = (ROOT / "experiments/ring_modes/README.md").read_text()
    for arm, mean in found["means"]["modes"].items():
        assert table_row(text, arm)["mean of `modes` [95 %]"].startswith(f"{mean:.2f}")
    assert len(found["runs"]) == 60


def test_a_failed_run_has_a_line_in_the_data_frame() -> None:
    found = frame([result_row("plain", 0, 3.0), result_row("plain", 1, None)])
    assert [*found["status"]] == ["finished", "finished", "failed"]
    assert found["value"].mean() == pytest.approx((3 + 3 / 4) / 2)


@pytest.mark.parametrize(
    ("old", "new", "cell"),
    [
        ('""value"": 20.0', '""value"": 1e309', "metrics"),
        ('""value"": 20.0', '""value"": null', "metrics"),
        ('""value"": 20.0', '""value"": ""abc""', "metrics"),
        ('""value"": 20.0', '""valeu"": 20.0', "metrics"),
        ("cpu,", "cp\x07u,", "device"),
        (f",{'b' * 12},", ',"bbb\npython -m evil",', "commit"),
        (",60.0,", ",-inf,", "seconds"),
        ("{},{},\n", '"{""ten"": 1.0}",{},\n', "course"),
        ("0,finished,", "0,won,", "status"),
    ],
)
def test_a_cell_that_is_no_value_is_refused_with_its_line(
    old: str, new: str, cell: str, tmp_path: Path
) -> None:
    folder = insert_config_hashes(write_results(tmp_path, {"plain": PLAIN, "wide": LESS}))
    table = folder / "results.csv"
    with table.open(newline="") as file:
        text = file.read()
    assert old in text
    with table.open("w", newline="") as file:
        file.write(text.replace(old, new, 1))
    with refuses(reason=f"results.csv, line 2: {cell}=", remedy="repair or remove the line"):
        report_text(folder)
    assert not (folder / "README.md").exists()
