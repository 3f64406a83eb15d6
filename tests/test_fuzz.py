"""Odd values of any setting run, or are refused and leave no directory. GANLAB_FUZZ=500 tries more."""

from __future__ import annotations

import os
import random
from collections.abc import Iterator
from pathlib import Path

import pytest
from omegaconf import DictConfig
from support.small_games import SMALL

from ganlab.cli import ONE_LINE_ERRORS
from ganlab.config.compose import compose, user_message
from ganlab.run import run

TRIALS = int(os.environ.get("GANLAB_FUZZ", "40"))
SEED = int(os.environ.get("GANLAB_FUZZ_SEED", "0"))
CONFIGS = (
    "metric=none",
    "trick=[r1,ema,label_conditioning] metric=none",
    "trick=[spectral_norm,packing,label_smoothing] play=simultaneous metric=none",
    "trick=[semi_supervised,feature_matching] data.labelled=100 metric=none",
    "model=dcgan objective=hinge trick=[normalisation,diff_augment] metric=none",
    "model=gmn objective=mmd metric=none",
    "model=vae metric=none",
    "data=ring metric=modes objective=wasserstein trick=[gradient_penalty,critic_steps]",
    "data=mixture_1d play=extragradient",
    "metric=[fid,prdc,kid] evaluation.n=60 evaluation.n_real=60",
)
SMALLER = {
    "dcgan": ["model.generator.width=4", "model.discriminator.width=4"],
    "model=g": ["model.generator.hidden=[8]"],
    "model=v": ["model.generator.hidden=[8]", "model.encoder.hidden=[8,8]"],
    "data=": ["data.size=600", "evaluation.n=50", *SMALL[2:]],
}
VALUES = (
    *("-1", "0", "1", "2.5", "-0.5", "1e309", "nan", "1e-320", "99999999999", "1_1_1", "007", "10"),
    *("abc", "true", "no", "null", "''", "'\"x\"'", "ä", "~", "a=b", "50%", "(x)", "a,b", "/", "#"),
    *("[]", "[1]", "[1,[2]]", "[null]", "{}", "{a: 1}", "{_target_: 5}", "${seed}", "${nothing}", "[1"),
)
# These have tests of their own.
UNTRIED = ("run_dir", "resume", "init_from", "job", "logger", "trainer.devices")


def dotted_keys(node: DictConfig, name: str = "") -> Iterator[str]:
    for key in map(str, node):
        if not f"{name}{key}".startswith(UNTRIED):
            yield f"{name}{key}"
            if isinstance(node._get_node(key), DictConfig):
                yield from dotted_keys(node[key], f"{name}{key}.")


def odd_override(draw: random.Random, keys: list[str]) -> str:
    """An override with a value of any kind, in most cases of an existing key."""
    key = draw.choice(keys)
    form = draw.choices(
        ("{0}={1}", "+{0}={1}", "++{0}={1}", "~{0}", "{0}x={1}", "+{0}.x={1}"), (14, 1, 2, 1, 1, 1)
    )
    return form[0].format(key, draw.choice(VALUES))


@pytest.mark.parametrize("part", range(10))
def test_odd_values_run_or_are_refused_in_one_line(part: int, tmp_path: Path, monkeypatch, capfd) -> None:
    monkeypatch.chdir(tmp_path)
    line = CONFIGS[part]
    small = next((more for name, more in SMALLER.items() if name in line), SMALL)
    base = ["logger=csv", "steps=1", "data.batch_size=40", *small, *line.split()]
    keys = sorted(dotted_keys(compose(*base)))
    draw = random.Random(f"{SEED} {part}")
    failures = []
    for trial in range(TRIALS // 10):
        given = [*base, f"run_dir=r{trial}", odd_override(draw, keys)]
        try:
            cfg = compose(*given)
            if cfg.steps == 1:
                run(cfg, given)
        except ONE_LINE_ERRORS as error:
            if len(user_message(error)) > 1000 or "\n" in user_message(error):
                failures.append(f"{given[-1]}: {user_message(error)}")
            if (tmp_path / f"r{trial}").exists() and "diverged" not in user_message(error):
                failures.append(f"{given[-1]} left a directory: {user_message(error)}")
        except Exception as error:
            failures.append(f"{given[-1]}: {type(error).__name__} {error}")
        if os.environ.get("GANLAB_FUZZ_TELL"):
            with capfd.disabled():
                print(part, given[-1], failures[-1:], flush=True)
    assert not failures, "\n".join([line, *failures])
