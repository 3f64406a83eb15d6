"""When findings begin and end, what they say, and the remedies that fit a run."""

from __future__ import annotations

from types import SimpleNamespace

import pytest
from omegaconf import OmegaConf

from ganlab.config.compose import compose
from ganlab.monitoring.findings import NAMES, RULES, Findings, described
from ganlab.monitoring.remedies import first_remedy
from ganlab.tricks.base import Networks, Trick

HEALTHY = {
    "growth": 1.0,
    "growth/generator": 1.0,
    "growth/discriminator": 1.0,
    "change/generator": 0.01,
    "change/discriminator": 0.01,
    "gradient/generator": 1.0,
    "gradient/discriminator": 1.0,
    "foreign/generator": 0.0,
    "foreign/discriminator": 0.0,
    "overfit": 0.5,
    "distance": 1.0,
    "fit": 0.02,
    "latents": 1.0,
    "range": 1.0,
    "rarest_class": 0.6,
    "ranking": 0.9,
    "copies": 0.0,
    "saturated": 0.0,
    "slope": 0.5,
    "batch_norm": 0.1,
    "average": 1.0,
    "noise": 0.5,
    "condition": 0.5,
    "checkerboard": 0.0,
}


def played(findings: Findings, first: int, last: int, **numbers: float) -> list[str]:
    """What begins or ends at steps from `first` to `last`, measured every 50 steps."""
    given = HEALTHY | {name.replace("__", "/"): value for name, value in numbers.items()}
    events = []
    for step in range(first, last + 1, 50):
        events += [f"{found['name']}@{step}" for _, found in findings.update("", step, step, given)]
    return events


def test_a_healthy_run_has_no_findings() -> None:
    findings = Findings()
    assert played(findings, 50, 1000) == []
    assert findings.summary() == []


def test_a_finding_begins_after_its_window_and_ends_behind_its_second_threshold() -> None:
    findings = Findings()
    assert played(findings, 50, 500, distance=0.3, fit=0.5) == ["collapse@300"]  # 150 to 300
    assert played(findings, 550, 700, distance=0.4, fit=0.5) == []  # between the thresholds
    assert played(findings, 750, 1000, distance=0.9, fit=0.5) == ["collapse@800"]  # the median of four
    (found,) = findings.summary()
    assert found.keys() == {"name", "begins", "ends", "evidence", "cause", "remedy"}
    assert (found["begins"], found["ends"]) == (300, 800)
    assert found["evidence"] == "samples are 0.30 as far apart as real ones"


def test_what_follows_from_wrong_plumbing_is_no_finding() -> None:
    findings = Findings()
    frozen = {"change__generator": 0.0, "distance": 0.1, "fit": 0.9}
    assert played(findings, 50, 500, **frozen) == ["frozen@150"]
    (found,) = findings.open()
    assert "the weights of the generator" in found["evidence"]


def test_steps_of_rules_are_counted_from_the_main_game() -> None:
    findings = Findings()
    given = HEALTHY | {"batch_norm": 0.9}
    begun = [
        step
        for step in range(50, 1001, 50)
        for _ in findings.update("", step, step - 500, given)
        if step > 500
    ]
    assert begun == [800]


def test_each_rule_finds_what_is_beyond_its_thresholds() -> None:
    for rule in RULES:
        findings, player = Findings(), "generator"
        numbers = {}
        for name, (begins, ends) in rule.signature.items():
            numbers[name.replace("{player}", player)] = begins + (begins - ends) / 2 if begins else begins
        given = HEALTHY | numbers
        names = [
            found["name"]
            for step in range(50, 1001, 50)
            for _, found in findings.update("", step, step, given)
        ]
        assert rule.name in names
        (found, *_) = [one for one in findings.found if one["name"] == rule.name]
        assert "{" not in found["evidence"] + found["cause"]


def test_names_are_unique_and_every_rule_has_remedies() -> None:
    assert len({*NAMES}) == len(NAMES) == 20
    assert all(rule.remedies and rule.cause and rule.evidence for rule in RULES)


def test_a_diverged_run_has_the_finding_once() -> None:
    findings = Findings()
    message = "diverged at step 7: generator/adversarial is nan"
    ((rule, found),) = findings.diverged(7, message)
    assert [*findings.diverged(7, "again")] == []
    assert (rule.name, found["cause"]) == ("diverging", rule.cause)
    assert [one["evidence"] for one in findings.summary()] == [message]


def by_rule(name: str) -> list[str]:
    return RULES[NAMES.index(name)].remedies


class Broken(Trick):
    """Fails whenever it is built."""

    def networks(self, networks: Networks) -> None:
        raise RuntimeError("mine")


def remedy(line: str, *remedies: str, player: str = "discriminator", classes: int = 10) -> str | None:
    cfg = compose(*line.split(), "logger=csv")
    unchanged = OmegaConf.to_yaml(cfg)
    data = SimpleNamespace(num_classes_of_all=classes)
    found = first_remedy(cfg, data, remedies, player, ["discriminator", "generator"])  # type: ignore[arg-type]
    assert OmegaConf.to_yaml(cfg) == unchanged
    return found


@pytest.mark.parametrize(
    ("line", "remedies", "expected"),
    [
        ("data=digits", ["trick=r1"], "trick=r1"),
        ("trick=[ema,r1]", ["trick=r1", "trick=lecam"], "'trick=[ema,r1,lecam]'"),
        ("objective=mmd", ["trick=r1", "trick=ema"], "trick=ema"),  # r1 needs a discriminator
        ("data=ring", ["trick=diff_augment", "trick=r1"], "trick=r1"),  # augmentation needs images
        ("optimizer.discriminator.lr=0.2", ["optimizer.{player}.lr=<optimizer.{player}.lr/100>"],
         "optimizer.discriminator.lr=0.002"),
        ("optimizer=adam", ["optimizer.{players}.lr=<optimizer.{players}.lr/100>"],
         "optimizer.discriminator.lr=2e-06 optimizer.generator.lr=2e-06"),
        ("optimizer.discriminator.lr=0", ["optimizer.{player}.lr=<optimizer.generator.lr>"],
         "optimizer.discriminator.lr=0.002"),
        # A schedule has no hundredth.
        ("optimizer.generator.lr={_target_:ganlab.core.schedules.Constant,value:0.1}",
         ["optimizer.generator.lr=<optimizer.generator.lr/100>", "trick=r1"], "trick=r1"),
        ("data=digits", ["trick.ema.decay=0.99", "data.share=null"], None),
        ("data.share={3:0.1}", ["data.share=null"], "data.share=null"),
        ("play._target_=test.Mine", ["~own", "play._target_=ganlab.training.play.Alternating"],
         "play._target_=ganlab.training.play.Alternating"),
        ("+trick.mine._target_=test_findings.Broken", ["trick=r1", "~own"], "'~trick.mine'"),
        ("data=digits", ["~own", "data.range=[-1,1]", "data.range=[0,1]"], "'data.range=[0,1]'"),
        # Of these, only the data know the number of classes.
        ("data=folder trick=label_conditioning", ["trick=r1"], "'trick=[label_conditioning,r1]'"),
        ("data=dataset trick=label_conditioning", ["trick=r1"], "'trick=[label_conditioning,r1]'"),
        ("data=dataset data.values=[0,255]", by_rule("data_range"), "'data.values=[0,1]'"),
        ("data=folder", by_rule("data_range"), "data.white=4095"),
        ("model=dcgan", by_rule("batch_norm"), "trick=virtual_batch_norm"),
    ],
)  # fmt: skip
def test_the_first_remedy_that_fits_is_named(line: str, remedies: list[str], expected: str | None) -> None:
    assert remedy(line, *remedies) == expected


def test_a_finding_is_one_line() -> None:
    found = {"name": "collapse", "begins": 1200, "ends": None, "evidence": "evidence", "remedy": "trick=r1"}
    assert described(found) == "collapse since step 1,200: evidence; try trick=r1"
    assert described(found | {"ends": 2000}) == "collapse since step 1,200 ended at step 2,000"
