"""The test errors of a classifier, counted by hand."""

from __future__ import annotations

import pytest
import torch
from support.commands import play, summary
from support.refusals import refuses
from support.small_games import SMALL

from ganlab.config.build import build_data, build_game
from ganlab.config.compose import compose
from ganlab.core.batch import ConditionSpec
from ganlab.metrics.downstream import Errors
from ganlab.metrics.evaluation import Evaluation

SEMI = (*SMALL, "trick=[semi_supervised,ema]", "data.labelled=100", "metric=errors", "trick.ema.decay=0.9")


def count_one_by_one(network: torch.nn.Module) -> int:
    """The number of test digits that a network gets wrong, which it receives one at a time."""
    data = build_data(compose(*SMALL))
    network.eval()
    return sum(
        int(network(x[i : i + 1]).class_logits.argmax() != labels[i])
        for x, labels in data.split("test", "cpu", 500)
        for i in range(len(x))
    )


@pytest.mark.parametrize("players", [["generator"], ["generator", "discriminator"], ["discriminator"]])
def test_the_errors_are_those_of_the_network_that_classifies(players: list[str]) -> None:
    cfg = compose(*SEMI, f"trick.ema.players=[{','.join(players)}]")
    game = build_game(cfg)
    torch.nn.init.normal_(game.discriminator.class_head.weight)
    averaged = "discriminator" in players
    classifier = game.tricks["ema"].averages["discriminator"] if averaged else game.discriminator
    evaluation = Evaluation({"errors": Errors()}, build_data(cfg), n=10, n_real=10, seed=0)
    values = evaluation(game)
    assert values == {"errors/test": count_one_by_one(classifier)}
    record = evaluation.records(values, game)["errors/test"]
    assert record["n_test"] == 360
    assert record["classifier"] == ("ema" if averaged else "discriminator")
    assert record["split"] == "test"
    assert "floor" not in record
    assert evaluation(game) == values


def test_unlabelled_data_and_a_discriminator_without_classes_are_refused() -> None:
    cfg = compose(*SMALL, "metric=errors")
    data = build_data(cfg)
    evaluation = Evaluation({"errors": Errors()}, data, n=10, n_real=10, seed=0)
    with refuses("metric", "errors", "no discriminator"):
        evaluation.check_game(build_game(cfg))
    for data.condition in (None, ConditionSpec("class", num_classes=1)):
        with refuses(reason="do not have two classes or more"):
            Errors().setup(data, n_fake=10, n_real=10)


def test_a_discriminator_of_batches_is_refused() -> None:
    cfg = compose(*SMALL, "trick=[semi_supervised,minibatch_stddev]", "data.labelled=100", "metric=errors")
    evaluation = Evaluation({"errors": Errors()}, build_data(cfg), n=10, n_real=10, seed=0)
    with refuses("metric", "errors", "needs a discriminator of single images", "minibatch_stddev"):
        evaluation.check_game(build_game(cfg))


def test_training_lowers_the_recorded_errors(tmp_path) -> None:
    play(tmp_path / "run", *SEMI, "steps=300", "model.discriminator.hidden=[64]", "data.batch_size=64")
    assert summary(tmp_path / "run")["metrics"]["errors/test"]["value"] < 120


def test_errors_of_a_game_in_double_precision_are_counted(tmp_path) -> None:
    play(tmp_path / "run", *SEMI, "steps=1", "trainer.precision=64-true")
    assert summary(tmp_path / "run")["metrics"]["errors/test"]["value"] > 0
