"""Stored losses and metrics, which a refactoring must not change.

A change of these values must raise NUMERICS, which marks recorded results as outdated. The values of a new
trick or objective change nothing: `python tests/test_golden.py` adds them.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from hashlib import sha256
from pathlib import Path

import pytest
import torch
from support.small_games import compatible_objective, game, options, play_step, play_steps
from support.trick_effects import STEPS_UNTIL_EFFECT

from ganlab.config.build import build_data, build_evaluation
from ganlab.config.compose import compose
from ganlab.core.numerics import NUMERICS

HERE = Path(__file__).parent
GOLDEN, PINNED, HASHES = (HERE / f"{name}.json" for name in ("golden", "pinned", "numerics"))
CASES = {
    "gan": ("non_saturating", [], "alternating"),
    "hinge": ("hinge", ["r1"], "alternating"),
    "minimax": ("minimax", ["label_smoothing"], "simultaneous"),
    "shared": ("non_saturating", ["instance_noise", "label_conditioning", "ema"], "shared"),
    "unrolled": ("non_saturating", ["unrolled"], "alternating"),
    "virtual": ("non_saturating", ["virtual_batch_norm", "replay_buffer"], "alternating"),
    "mmd": ("mmd", [], "alternating"),
}
EXACT = [f"{group}/{option}" for group in ("objective", "trick") for option in options(group)]


@pytest.mark.parametrize("case", CASES)
def test_five_steps_have_the_stored_losses(case: str) -> None:
    expected = json.loads(GOLDEN.read_text())[case]
    found = play_steps(game(*CASES[case]), 5)
    assert [set(row) for row in found] == [set(row) for row in expected]
    for row, stored in zip(found, expected, strict=True):
        assert row == pytest.approx(stored, rel=1e-5, abs=1e-6)


@pytest.mark.parametrize("case", EXACT)
def test_steps_in_float64_have_the_stored_losses(case: str) -> None:
    stored = json.loads(GOLDEN.read_text())
    assert case in stored, "to store the losses of a new trick or objective, run: python tests/test_golden.py"
    found, expected = losses_in_float64(case), stored[case]
    assert [set(row) for row in found] == [set(row) for row in expected]
    for row, expected_row in zip(found, expected, strict=True):
        assert row == pytest.approx(expected_row, rel=1e-8, abs=1e-10)


def losses_in_float64(case: str) -> list[dict[str, float]]:
    """The terms and the mean square of samples after each of three steps, or more if a trick acts later."""
    group, _, name = case.partition("/")
    objective, tricks = (name, ()) if group == "objective" else (compatible_objective(name), (name,))
    torch.set_default_dtype(torch.float64)
    try:
        module, found = game(objective, tricks), []
        for _ in range(max([3, *(STEPS_UNTIL_EFFECT.get(trick, 0) for trick in tricks)])):
            terms = play_step(module)
            found.append(terms | {"samples": float(module.game.sample(8).square().mean())})
    finally:
        torch.set_default_dtype(torch.float32)
    return found


MEASURED = {
    "images": (
        "data=digits",
        "metric=[fid,is,kid,prdc,neighbours]",
        "extractor=digits",
        "metric.kid.subset_size=50",
    ),
    "points": ("data=ring", "metric=[modes]"),
    "line": ("data=gaussian_1d", "metric=[wasserstein,line]"),
}


@pytest.mark.parametrize("case", MEASURED)
def test_metrics_of_fixed_samples_have_the_stored_values(case: str) -> None:
    assert metrics_of_noisy_samples(case) == pytest.approx(json.loads(PINNED.read_text())[case], rel=1e-5)


def metrics_of_noisy_samples(case: str) -> dict[str, float]:
    """Metrics of 200 training samples with added noise."""
    cfg = compose("logger=csv", "evaluation.n=200", *MEASURED[case])
    data = build_data(cfg)
    evaluation = build_evaluation(cfg, data)
    samples = next(iter(data.split("train", "cpu", 200)))[0]
    noise = torch.randn(samples.shape, generator=torch.Generator().manual_seed(0))
    return evaluation.measure(
        [(samples + 0.1 * noise).clamp(*data.value_range or (-9, 9))], torch.device("cpu")
    )


def test_the_stored_values_belong_to_the_present_numerics() -> None:
    """Both change in one commit. Otherwise, reports would mix results that are not comparable."""
    assert current_hashes() == json.loads(HASHES.read_text())


def current_hashes() -> dict[str, object]:
    """NUMERICS, and the hash of each stored case."""
    cases = json.loads(GOLDEN.read_text()) | json.loads(PINNED.read_text())
    hashes = {case: sha256(json.dumps(values).encode()).hexdigest()[:16] for case, values in cases.items()}
    return {"numerics": NUMERICS, **hashes}


def store(path: Path, cases: dict[str, Callable[[str], object]], keep_old: bool) -> None:
    old = json.loads(path.read_text()) if keep_old else {}
    values = {case: old[case] if case in old else compute(case) for case, compute in cases.items()}
    path.write_text(json.dumps(values, indent=1) + "\n")


# Adds the values of new cases. To change the values of old cases, raise NUMERICS before: then all are stored.
if __name__ == "__main__":
    is_same_version = json.loads(HASHES.read_text())["numerics"] == NUMERICS
    in_float32 = dict.fromkeys(CASES, lambda case: play_steps(game(*CASES[case]), 5))
    store(GOLDEN, in_float32 | dict.fromkeys(EXACT, losses_in_float64), keep_old=is_same_version)
    store(PINNED, dict.fromkeys(MEASURED, metrics_of_noisy_samples), keep_old=is_same_version)
    HASHES.write_text(json.dumps(current_hashes(), indent=1) + "\n")
