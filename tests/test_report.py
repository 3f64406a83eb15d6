"""`python -m ganlab.report suite=...`: its answers, tables and figures for invented results."""

from __future__ import annotations

import re
import shlex
import subprocess
import sys
from collections.abc import Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from markdown_it import MarkdownIt
from matplotlib.colors import to_rgba
from matplotlib.figure import Figure
from PIL import Image
from scipy import stats
from support.commands import environment
from support.daily_sample import on_one_day_of
from support.refusals import refuses
from support.small_games import ROOT

from ganlab.config.compose import compose
from ganlab.core.errors import ConfigError
from ganlab.core.numerics import NUMERICS
from ganlab.report import report
from ganlab.studies.analysis import analyse, config_hashes, frame
from ganlab.studies.plots import of_suite
from ganlab.studies.report import known, markdown, write
from ganlab.studies.spec import read_suite
from ganlab.studies.statistics import smallest_effect
from ganlab.studies.table import Row, read, text_of
from ganlab.theory.style import BLACK, BLUE, VERMILION

NAME = "fid/digits_train_1k"
MEAN = f"`{NAME}` [95 %]"
PLAIN = [20.0, 22.0, 21.0, 25.0]
LESS = [15.0, 16.8, 15.9, 20.3]  # about 5 less than PLAIN with every seed
MORE = [23.1, 24.9, 24.0, 28.1]
NOISY = [25.0, 16.0, 24.0, 22.0]
NEAR = [21.0, 23.4, 21.3, 25.9]
SUITE = """\
question: Does it help?
base: [model=gan, data=digits, 'metric=[fid,is]', logger=csv]
seeds: 4
metrics: [fid, is]
budget: an afternoon
note: Short runs.
"""
ONE_SEED = SUITE.replace("seeds: 4", "seeds: 1")
PUBLISHED = """\
source: An invented table
arms:
  plain: {published: {fid: [21.5, 0.3], is: 5.4}}
  wide: {overrides: ['model.generator.hidden=[9]'], published: {fid: 3}}
"""
ORDER = SUITE + "order: [best, middle, worst]\n"
GPU = {"device": "NVIDIA H100", "provenance": {"torch": "2.11.0"}}
ODD = "<script>alert(1)</script> ![x](http://x) | # `a` *b* <!-- c"


compose_once = cache(compose)


@pytest.fixture(autouse=True)
def each_config_is_composed_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("ganlab.studies.analysis.compose", compose_once)


def result_row(arm: str, seed: int, value: float | None, **changed: Any) -> Row:
    """The row of a finished run; of a failed one if the value is None. `changed` replaces other fields."""
    record = {"better": "lower", "step": 9, "split": "train", "extractor": "digits", "n_real": 1437,
              "n_fake": 1000, "sampler": "generator", "floor": 7.081, "floor_n": 360, "floor_split": "test",
              **changed.pop("provenance", {})}  # fmt: skip
    metrics = {NAME: {"value": value, **record}, "is/digits_1k": {"value": (value or 0) / 4, **record}}
    status, reason = ("failed", "the disk was full") if value is None else ("finished", "")
    facts = {
        "status": status, "reason": reason, "config": "", "data": "d" * 12,
        "code": "a" * 12, "commit": "b" * 12, "numerics": NUMERICS,
        "steps": 300, "images": 19200, "seconds": 60.0 + seed, "device": "cpu",
        "finished": "2026-11-21T21:00:00Z", "metrics": {} if value is None else metrics,
    }  # fmt: skip
    return Row(arm=arm, seed=seed, value=value, **(facts | changed))


def write_results(
    folder: Path, values: Mapping[str, Sequence[float | None]], *others: Row, suite: str = SUITE
) -> Path:
    """Writes a suite, and its results: the values of each arm by seed, and other rows. Returns the folder."""
    folder = folder / "experiments" / "does_it_help"
    folder.mkdir(parents=True, exist_ok=True)
    arms = "".join(
        f"  {arm}: {{overrides: ['model.generator.hidden=[{8 + i}]']}}\n" for i, arm in enumerate(values)
    )
    (folder / "suite.yaml").write_text(suite if "arms:" in suite else f"{suite}arms:\n{arms}")
    hashes = config_hashes(read_suite(folder))
    rows = [result_row(arm, i, value) for arm, own in values.items() for i, value in enumerate(own)]
    rows = [
        Row(**(vars(row) | {"config": row.config or hashes.get(row.arm, "")})) for row in [*rows, *others]
    ]
    (folder / "results.csv").write_text(text_of(rows))
    return folder


def page(*given: Any, **options: Any) -> str:
    """The text of the page of results, which are given as to `write_results`, or as its folder."""
    return markdown(known(read_suite(given[0] if len(given) == 1 else write_results(*given, **options))))


def answer(*given: Any, **options: Any) -> str:
    return str(known(read_suite(write_results(*given, **options)))["answer"])


def table_row(text: str, arm: str, table: int = 0) -> dict[str, str]:
    """The row of an arm, by the names of the columns; `table` is the index of the table."""
    lines = [block for block in text.split("\n\n") if block.startswith("| arm")][table].splitlines()
    split = [[cell.strip() for cell in line.strip("|").split("|")] for line in lines]
    return next(dict(zip(split[0], line, strict=True)) for line in split if line[0].strip("`") == arm)


def test_what_a_table_cannot_show_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = write_results(tmp_path, {"plain": [1.0, float("nan"), 3.0, 2.0]})
    assert f"- Finished runs without a finite `{NAME}`: 1." in page(folder)
    monkeypatch.chdir(tmp_path)
    assert "suite=experiments/does_it_help`" in page(folder)  # an absolute path
    large = page(tmp_path / "large", {"plain": [12345.6]}, suite=ONE_SEED)
    assert table_row(large, "plain")[MEAN] == "12,346"
    assert large.startswith("# Does it help\n")
    capitals = folder.rename(folder.with_name("DCGAN_on_MNIST"))
    assert page(capitals).startswith("# DCGAN on MNIST\n")


def test_the_table_has_the_statistics_of_the_results(tmp_path: Path) -> None:
    text = page(tmp_path, {"plain": PLAIN, "wide": LESS})
    plain, wide = table_row(text, "plain"), table_row(text, "wide")
    low, high = stats.t.interval(0.95, 3, np.mean(PLAIN), stats.sem(PLAIN))
    assert plain[MEAN] == f"22.0 [{low:.1f}, {high:.1f}]"
    assert [plain[name] for name in ("sd", "n", "failed", "diverged")] == ["2.2", "4", "0", "0"]
    assert [plain[name] for name in ("training", "pairs", "p (Holm)")] == ["1 min 02 s", "", ""]
    test = stats.ttest_rel(LESS, PLAIN)
    low, high = test.confidence_interval()
    assert wide["less `plain` [95 %]"] == f"{np.mean(LESS) - np.mean(PLAIN):.1f} [{low:.1f}, {high:.1f}]"
    assert (wide["p (Holm)"], wide["pairs"]) == (f"{test.pvalue:.2g}", "4")
    assert wide["smallest effect"] == f"{smallest_effect(np.std(np.subtract(LESS, PLAIN), ddof=1), 4):.1f}"
    assert table_row(text, "(real data)")[MEAN] == "7.081"
    assert table_row(text, "wide", 1)["mean [95 %]"].startswith(f"{np.mean(LESS) / 4:.2f} [")
    assert "Planned: an afternoon. Spent: 8 min 12 s of training in 8 runs." in text
    assert "`split=train`; `extractor=digits`; `n_real=1437`; `n_fake=1000`; `sampler=generator`" in text
    assert "Student's t below 10" in text


SMALLEST = 2.128 * np.std(np.subtract(NOISY, PLAIN), ddof=1)  # with four pairs


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        ({"plain": [], "wide": []}, "After 0 of 8 runs: No answer yet: no run has finished with a number."),
        (
            {"plain": PLAIN, "wide": LESS, "noisy": NOISY},
            f"In `{NAME}`, better than `plain`: `wide` (-5.0, p = 4.4e-05); no difference shown for 1 arm.",
        ),
        (
            {"plain": PLAIN, "wide": LESS, "wider": [x - 3 for x in LESS], "narrow": MORE},
            f"In `{NAME}`, worse than `plain`: `narrow` (+3.0, p = 1.7e-05); better than `plain`: "
            "`wide` (-5.0, p = 2.2e-05), `wider` (-8.0, p = 1.6e-05).",
        ),
        (
            {"plain": PLAIN, "noisy": NOISY},
            f"Undecided: in `{NAME}` no difference of `noisy` to `plain` is shown; with 80 % power the "
            f"smallest effect that could have been seen is {SMALLEST:.1f} (paired t test, two-sided 5 %).",
        ),
        ({"plain": PLAIN, "wide": []}, "After 4 of 8 runs: Undecided: there are no two arms to compare."),
        ({"plain": PLAIN}, "Undecided: there are no two arms to compare."),
        (
            {"plain": PLAIN, "same": PLAIN},
            f"Undecided: in `{NAME}` no difference of `same` to `plain` is shown; without a spread over "
            "seeds it cannot be said how large one would be seen.",
        ),
        (
            {"plain": PLAIN, "wide": LESS, "gone": [None] * 4, "mixed": [20.1, 22.2, None, None]},
            f"In `{NAME}`, better than `plain`: `wide` (-5.0, p = 6.7e-05); no "
            "difference shown for 1 arm. `gone` failed or diverged in 4 of 4 runs. `mixed` failed or "
            "diverged in 2 of 4 runs.",
        ),
    ],
)
def test_the_answer(values: Mapping[str, Sequence[float]], expected: str, tmp_path: Path) -> None:
    assert answer(tmp_path, values) == expected


def test_holms_correction_can_make_a_difference_undecided(tmp_path: Path) -> None:
    assert 0.025 < 1.2 * stats.ttest_rel(NEAR, PLAIN).pvalue < 0.05
    assert "worse than `plain`: `near` (" in answer(tmp_path / "one", {"plain": PLAIN, "near": NEAR})
    arms = {"near": NEAR, "noisy": NOISY, "odd": NOISY[::-1]}
    found = answer(tmp_path / "three", {"plain": PLAIN, **arms})
    spreads = [np.std(np.subtract(values, PLAIN), ddof=1) for values in arms.values()]
    low, high = (smallest_effect(end(spreads), 4, 0.05 / 3) for end in (min, max))
    assert found.startswith("Undecided")
    assert f"{low:.1f} to {high:.1f} at the first step of Holm's correction for 3" in found


def test_p_is_corrected_for_all_planned_arms_even_if_runs_are_missing(tmp_path: Path) -> None:
    values = {"plain": PLAIN, "near": [17.0, 21.5, 19.0, 22.0], "one": [16.0], "none": []}
    text, p = page(tmp_path, values), stats.ttest_rel(values["near"], PLAIN).pvalue
    assert 0.01 < p < 0.33
    assert table_row(text, "near")["p (Holm)"] == f"{3 * p:.2g}"
    assert "Holm's correction for 3 comparisons" in text


@on_one_day_of(2)
@pytest.mark.parametrize(
    ("values", "pattern"),
    [
        ([LESS, PLAIN, MORE], "Yes: .* order is 1.00; of 3 of 3 pairs .*: 3 are in .* and 0 are not"),
        ([MORE, PLAIN, LESS], "No: .* order is -1.00; .*: 0 are .* and 3 are not.*: `worst`, `middle`"),
        ([LESS, NOISY, PLAIN], "Undecided: .* order is 1.00; of 1 of 3 pairs .*: 1 are in"),
        ([PLAIN, NEAR, []], "Undecided: .*; of 0 of 1 pairs"),  # p = 0.03, of three planned tests
        ([PLAIN, [], []], "Undecided: there are no two arms to compare"),
    ],
)
def test_the_answer_compares_the_arms_with_the_published_order(
    values: Sequence[Sequence[float]], pattern: str, tmp_path: Path
) -> None:
    found = answer(tmp_path, dict(zip(("best", "middle", "worst"), values, strict=True)), suite=ORDER)
    assert re.search(pattern, found), found


def test_one_seed_and_equal_values_cause_no_division_by_zero(tmp_path: Path) -> None:
    text = page(tmp_path / "one", {"plain": [20.0], "wide": [15.0]}, suite=ONE_SEED + PUBLISHED)
    assert table_row(text, "wide")["less `plain` [95 %]"] == "-5.00"
    assert (
        f"With one seed there is no interval and no test. In `{NAME}`: `plain` 20.00 (published 21.5 ± 0.3), "
        "`wide` 15.00 (published 3)."
    ) in text
    assert table_row(text, "wide", 1)["which is"] == "no interval"
    text = page(tmp_path / "equal", {"plain": [7.0] * 4, "wide": [8.0] * 4, "same": [7.0] * 4})
    assert table_row(text, "wide")["p (Holm)"] == "0.25"  # twice 2^(1 - 4)
    assert table_row(text, "same")["p (Holm)"] == "1"
    assert "equal differences have no interval, and the p of their signs" in text


def test_published_values_lie_inside_or_outside(tmp_path: Path) -> None:
    text = page(tmp_path, {"plain": PLAIN, "wide": LESS}, suite=SUITE + PUBLISHED)
    found = [table_row(text, arm, 1) for arm in ("plain", "wide")]
    assert [(one["published"], one["which is"]) for one in found] == [
        ("21.5 ± 0.3", "inside"),
        ("3", "outside"),
    ]
    assert table_row(text, "plain", 2)["published"] == "5.4"
    assert "Published: An invented table" in text


def test_runs_that_did_not_finish_are_told_and_excluded_from_pairs(tmp_path: Path) -> None:
    diverged = result_row("wide", 3, None, status="diverged", reason="diverged at step 7: nan")
    text = page(tmp_path, {"plain": PLAIN, "wide": [*LESS[:2], None], "narrow": [*MORE[:3], None]}, diverged)
    columns = ("n", "failed", "diverged", "pairs")
    assert [table_row(text, "wide")[name] for name in columns] == ["2", "1", "1", "2"]
    assert [table_row(text, "narrow")[name] for name in columns] == ["3", "1", "0", "3"]
    assert table_row(text, "wide")["less `plain` [95 %]"].startswith("-5.1 [")
    assert "- Failed: `wide` seed 2 (`the disk was full`); `narrow` seed 3 (`the disk was full`)." in text
    assert "- Diverged: `wide` seed 3 (`diverged at step 7: nan`)." in text
    assert "The numbers of `wide`, `narrow` are of the surviving seeds only" in text


def test_rows_that_do_not_count_and_runs_without_one_are_told(tmp_path: Path) -> None:
    others = [
        result_row("wide", 0, LESS[0]),  # the last row of a run counts
        result_row("gone", 0, 1.0),
        result_row("wide", 3, None, status="interrupted", reason="signal: out of memory"),
        result_row("wide", 3, LESS[3], config="e" * 12),
    ]
    text = page(tmp_path, {"plain": PLAIN, "wide": [99.0, *LESS[1:3]]}, *others)
    assert text.split("\n\n")[2].startswith("After 7 of 8 runs: In `fid")
    assert "- Not yet run: `wide` seed 3." in text
    assert "the suite has not their arm or seed: 2." in text
    assert "- Rows of another config than suite.yaml has now, which do not count: 1." in text
    assert "- Interrupted: `wide` seed 3 (`signal: out of memory`)." in text
    assert table_row(text, "wide")["less `plain` [95 %]"].startswith("-5.1 [")


def test_rows_of_older_numerics_are_stale_and_give_way_to_newer_ones(tmp_path: Path) -> None:
    stale, values = f"- Stale rows, of other numerics than {NUMERICS}", {"plain": PLAIN, "wide": LESS[:3]}
    old = [result_row("wide", 3, LESS[3], numerics=0), result_row("wide", 3, None, status="interrupted")]
    assert "interrupted" not in page(
        tmp_path, values, *old
    )  # the older result counts until there is a newer one
    assert f"{stale} (`rerun=stale` repeats their runs): 1." in page(tmp_path, values, *old)
    newer = [
        result_row("wide", 3, LESS[3], finished="2020-01-01T00:00:00Z"),
        result_row("wide", 3, 99.0, finished="2029-01-01T00:00:00Z", numerics=0),
        result_row("plain", 0, 99.0, finished="2019-01-01T00:00:00Z"),
    ]
    text = page(tmp_path, values, *newer)
    assert table_row(text, "plain")[MEAN].startswith("22.0 ")
    assert table_row(text, "wide")[MEAN].startswith("17.0 ")
    assert stale not in text


def test_values_measured_differently_are_refused_but_samplers_may_differ(tmp_path: Path) -> None:
    values, other = {"plain": PLAIN, "wide": LESS[:3]}, {"sampler": "ema", "n_fake": 500}
    reason = r"plain \(seed 0\) and wide \(seed 3\) are not comparable: n_fake is 1000 and 500"
    with refuses(NAME, reason=reason, remedy="the same protocol"):
        page(tmp_path, values, result_row("wide", 3, LESS[3], provenance=other))
    allowed = result_row("wide", 3, LESS[3], provenance={"sampler": "ema"}, code="f" * 12)
    text = page(tmp_path, values, allowed)
    assert "`sampler=ema` in 1 run of `wide`, otherwise `sampler=generator`" in text
    assert f"`code={'f' * 12}` in 1 run of `wide`, otherwise `code={'a' * 12}`" in text
    named = {"fid/digits_train_60": allowed.metrics[NAME]}
    with pytest.raises(
        ConfigError, match=r"fid is fid/digits_train_1k in .*, fid/digits_train_60 in wide \(seed 3"
    ):
        page(tmp_path, values, result_row("wide", 3, 1.0, metrics=named))


def write_unlike(folder: Path, ignored: str) -> Path:
    """A suite whose arm `wide` was run on a GPU, and half of `mixed`."""
    rows = [result_row("wide", seed, value, **GPU) for seed, value in enumerate(LESS)]
    rows += [result_row("mixed", seed, NOISY[seed], **GPU) for seed in (2, 3)]
    rows.append(result_row("near", 0, MORE[0], device="cpu, 2 threads", finished="2027"))
    values = {"plain": PLAIN, "near": MORE, "wide": [], "mixed": NOISY[:2]}
    return write_results(folder, values, *rows, suite=f"{SUITE}ignore: [{ignored}]\n")


@pytest.mark.parametrize("ignored", ["", "device", "torch"])
def test_runs_on_another_device_or_torch_are_not_compared(ignored: str, tmp_path: Path) -> None:
    text = page(write_unlike(tmp_path, ignored))
    assert (
        "Left out of the comparison: 4 runs of `wide`, on another device or torch than the reference. Left "
        "out of the comparison: 2 runs of `mixed`,"
    ) in text
    wide = table_row(text, "wide")
    assert wide[MEAN].startswith("17.0 [")
    assert [wide[name] for name in ("less `plain` [95 %]", "pairs", "p (Holm)", "smallest effect")] == [
        ""
    ] * 4
    assert table_row(text, "near")["pairs"] == "4"  # threads do not matter
    assert table_row(text, "mixed")["pairs"] == "2"
    assert "Holm's correction for 3 comparisons" in text


def test_arms_may_differ_in_circumstances_that_the_suite_ignores(tmp_path: Path) -> None:
    text = page(write_unlike(tmp_path, "device, torch"))
    assert "Left out" not in text
    assert table_row(text, "wide")["pairs"] == table_row(text, "mixed")["pairs"] == "4"
    assert (
        "- Runs differ in their circumstances: `NVIDIA H100 with torch 2.11.0` in 4 runs of `wide` and 2 "
        "runs of `mixed`, otherwise `cpu with torch unknown`. `ignore` in suite.yaml allows this."
    ) in text


def test_arms_on_another_device_have_no_place_in_an_order(tmp_path: Path) -> None:
    rows = [result_row("worst", seed, value, device="gpu") for seed, value in enumerate(PLAIN)]
    found = answer(tmp_path, {"best": LESS, "middle": NOISY, "worst": []}, *rows, suite=ORDER)
    assert "of 0 of 1 pairs of arms" in found


def test_texts_from_the_table_are_shown_as_text(tmp_path: Path) -> None:
    record = {"extractor": ODD, "better": ODD, "torch": ODD, "n_fake": "x", "floor": "y", ODD: ODD}
    rows = [
        result_row("wide", seed, value, device=ODD, provenance=record) for seed, value in enumerate(LESS[:3])
    ]
    folder = write_results(
        tmp_path, {"plain": [None] * 4, "wide": []}, *rows, result_row("wide", 3, None, reason=ODD)
    )
    text = page(folder)
    write(read_suite(folder))
    html = (folder / "page.html").read_text()
    for shown in (html, MarkdownIt("commonmark").enable("table").render(text)):
        assert re.search('<(script|em>b|!-- c)|http[^)]*"', shown) is None
    assert "(<code>&lt;script&gt;alert(1)&lt;/script&gt; ![x](http://x) | # 'a' *b* &lt;!-- c</code>)" in html


def test_commands_repeat_the_runs(tmp_path: Path) -> None:
    rows = [
        result_row("wide", seed, value, device="cpu, 2 threads", commit="e" * 12)
        for seed, value in enumerate(LESS)
    ]
    text = page(tmp_path, {"plain": PLAIN, "wide": []}, *rows)
    assert f"# wide, played at commit {'e' * 12}\nOMP_NUM_THREADS=2 python -m ganlab.run -m " in text
    assert f"# plain, played at commit {'b' * 12}\npython -m ganlab.run -m " in text
    (command,) = [shlex.split(line) for line in text.splitlines() if line.startswith("OMP_NUM_THREADS")]
    assert command[-1] == "seed=0,1,2,3"
    assert compose(*command[5:-1]).model.generator.hidden == [9]
    assert "does_it_help` writes this page" in text
    odd = "arms: {plain: {overrides: [\"name='a\\n```\\n# heading\\n````'\"]}}\n"
    assert "<h1>heading" not in MarkdownIt().render(page(tmp_path, {"plain": PLAIN}, suite=SUITE + odd))


def test_intervals_end_at_the_bounds_of_the_metric(tmp_path: Path) -> None:
    rows = [
        result_row(arm, seed, value, metrics={"modes": {"value": value, "better": "higher", "num_modes": 8}})
        for arm, values in {"plain": [0, 0, 1, 7], "wide": [8, 8, 8, 7]}.items()
        for seed, value in enumerate(values)
    ]
    suite = SUITE.replace("metrics: [fid, is]", "metrics: [modes]")
    text = page(tmp_path, {"plain": [], "wide": []}, *rows, suite=suite)
    assert table_row(text, "plain")["`modes` [95 %]"].startswith("2.0 [0.0, ")
    assert table_row(text, "wide")["`modes` [95 %]"].endswith(", 8.0]")
    assert table_row(text, "wide")["less `plain` [95 %]"].endswith(", +8.0]")
    assert "`bounds=0 to 8`" in text
    text = page(tmp_path, {"plain": [], "wide": []}, *rows, suite=f"{suite}reference: wide\n")
    assert "[-8.0, " in table_row(text, "plain")["less `wide` [95 %]"]


def figures_of(folder: Path) -> dict[str, Figure]:
    suite = read_suite(folder)
    return of_suite(suite, analyse(suite, read(suite.results)))


def test_the_forest_plot_shows_seeds_means_and_intervals(tmp_path: Path) -> None:
    values = {"plain": PLAIN, "wide": LESS, "narrow": MORE, "noisy": NOISY}
    axes = figures_of(write_results(tmp_path, values))["forest"].axes[0]
    assert [label.get_text() for label in axes.get_yticklabels()] == ["wide", "narrow", "noisy"]
    assert axes.get_xlabel() == f"{NAME} less that of plain (lower is better)"
    segments = {tuple(part.get_color()[0]): part.get_segments()[0] for part in axes.collections}
    expected = stats.ttest_rel(LESS, PLAIN).confidence_interval()
    assert segments[to_rgba(BLUE)][:, 0] == pytest.approx(tuple(expected))
    means = {line.get_color(): line.get_xdata()[0] for line in axes.lines if line.get_marker() == "D"}
    assert set(means) == {BLUE, BLACK, VERMILION}
    assert means[BLUE] == pytest.approx(np.mean(LESS) - np.mean(PLAIN))
    seeds = next(line for line in axes.lines if line.get_label() == "one seed")
    assert list(seeds.get_xdata())[:4] == pytest.approx(np.subtract(LESS, PLAIN))


def test_learning_curves_have_a_panel_for_each_arm(tmp_path: Path) -> None:
    values = {"plain": PLAIN, "wide": LESS}
    assert "curves" not in figures_of(write_results(tmp_path, values))
    rows = [
        result_row(arm, seed, value, course={"10": 200.0 + seed, "5": 400.0, "100": value})
        for arm, own in values.items() for seed, value in enumerate(own)
    ]  # fmt: skip
    plain, wide = figures_of(write_results(tmp_path, {"plain": [], "wide": []}, *rows))["curves"].axes
    assert [axes.get_title() for axes in (plain, wide)] == ["plain", "wide"]
    assert (len(plain.lines), len(wide.lines)) == (5, 6)  # seeds, their mean, and that of the reference
    assert [list(axis) for axis in wide.lines[0].get_data()] == [[5, 10, 100], [400, 200, LESS[0]]]
    assert list(wide.lines[4].get_ydata()) == pytest.approx([400, 201.5, np.mean(LESS)])
    low = stats.t.interval(0.95, 3, np.mean(LESS), stats.sem(LESS))[0]
    assert np.abs(wide.collections[0].get_paths()[0].vertices - [100, low]).sum(axis=1).min() < 1e-6
    assert plain.get_yscale() == "log"


def test_sample_grids_have_one_size(tmp_path: Path) -> None:
    folder = write_results(tmp_path, {"plain": PLAIN, "wide": LESS})
    (folder / "samples").mkdir()
    for arm, shape in {"plain": (80, 80), "wide": (160, 120)}.items():
        Image.new("L", shape, 200).save(folder / "samples" / f"{arm}.png")
    figure = figures_of(folder)["grids"]
    figure.draw_without_rendering()
    widths = [axes.images[0].get_window_extent().width for axes in figure.axes]
    assert widths[0] == pytest.approx(widths[1])


@on_one_day_of(2)
@pytest.mark.parametrize("content", [b"no image", b"\x89PNG\r\n\x1a\n", "huge"])
def test_a_sample_grid_that_is_no_picture_is_refused(content: bytes | str, tmp_path: Path) -> None:
    folder = write_results(tmp_path, {"plain": PLAIN, "wide": LESS})
    (folder / "samples").mkdir()
    if isinstance(content, bytes):
        (folder / "samples" / "wide.png").write_bytes(content)
    else:
        Image.new("1", (20_000, 20_000)).save(folder / "samples" / "wide.png")
    with refuses(reason="wide.png", remedy="remove it"):
        figures_of(folder)


def test_the_command_writes_the_page_without_torch(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="suite is missing: give the folder of one"):
        report(compose(config_name="report"))
    folder = write_results(tmp_path, {"plain": PLAIN, "wide": LESS})
    (folder / "grids.png").write_bytes(b"an earlier report's")
    code = (
        "import sys; from ganlab.cli import launch; from ganlab.report import report; "
        "sys.argv[0] = 'report'; launch('report', report); "
        "assert not {'torch', 'pytorch_lightning'} & set(sys.modules)"
    )
    command = [sys.executable, "-c", code, f"suite={folder}"]
    done = subprocess.run(command, capture_output=True, text=True, env=environment(), cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert "better than `plain`: `wide`" in done.stdout
    assert {path.name for path in folder.glob("*.png")} == {"forest.png"}
    html = (folder / "page.html").read_text()
    assert re.findall(r'src="(.{22})', html) == ["data:image/png;base64,"]
    assert "<td>2.2e-05" in html
    assert "Written by" not in html
    write(read_suite(folder))  # over its own
    (folder / "README.md").write_text("# By hand\n")
    with pytest.raises(ConfigError, match=r"README.md is not a report's. Rename it"):
        write(read_suite(folder))
    assert (folder / "README.md").read_text() == "# By hand\n"


def test_the_data_frame_of_the_guide_has_the_means_of_the_page(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(ROOT)
    (code,) = re.findall(r"```python\n(.*?)```", (ROOT / "experiments/README.md").read_text(), re.DOTALL)
    found: dict[str, Any] = {}
    exec(code, found)  # noqa: S102
    text = (ROOT / "experiments/ring_modes/README.md").read_text()
    for arm, mean in found["means"]["modes"].items():
        assert table_row(text, arm)["`modes` [95 %]"].startswith(f"{mean:.2f}")
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
    table, text = tmp_path / "results.csv", text_of([result_row("plain", 0, 20.0)])
    assert old in text
    table.write_bytes(text.replace(old, new, 1).encode())
    with refuses(reason=f"results.csv, line 2: {cell}=", remedy="repair or remove the line"):
        read(table)
