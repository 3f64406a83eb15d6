import math

import pytest
import torch
from support.refusals import refuses
from support.small_games import SMALL, game, play_steps, real_batch

from ganlab.config.build import build_game
from ganlab.config.compose import compose
from ganlab.core.players import Player
from ganlab.core.randomness import RandomStreams
from ganlab.core.turn import Turn
from ganlab.game import Game
from ganlab.tricks.auxiliary_classifier import AuxiliaryClassifier

WEIGHT = 3.0


def turn(player: Player) -> tuple[Game, Turn]:
    module = game(tricks=["auxiliary_classifier"]).game
    module.tricks["auxiliary_classifier"].weight = lambda step: WEIGHT
    return module, module.turn(player, real_batch(), RandomStreams(0))


def surprise(logits: torch.Tensor, classes: torch.Tensor) -> list[float]:
    """-log softmax of the class, for each row."""
    rows = zip(logits.double().tolist(), classes.tolist(), strict=True)
    return [-math.log(math.exp(row[c]) / sum(map(math.exp, row))) for row, c in rows]


@pytest.mark.parametrize("player", ["discriminator", "generator"])
def test_the_terms_are_the_cross_entropies_of_the_classes(player: Player) -> None:
    module, seen = turn(player)
    terms = module.tricks.losses(seen, module.objective)
    samples = {"class_of_fake": seen.fake, "class_of_real": seen.real}
    if player == "generator":
        del samples["class_of_real"]
    assert list(terms) == ["adversarial", *samples]
    for name, sample in samples.items():
        classes = module.discriminator(sample.x).class_logits
        expected = [WEIGHT * s for s in surprise(classes, real_batch().real.condition)]
        assert terms[name].tolist() == pytest.approx(expected, rel=1e-4)


def test_the_generators_gradient_flows_through_the_class_head() -> None:
    module, seen = turn("generator")
    term = module.tricks.losses(seen, module.objective)["class_of_fake"]
    slopes = torch.autograd.grad(term.sum(), module.weights("generator"))
    assert any(slope.abs().max() > 0 for slope in slopes)


def test_the_class_head_belongs_to_the_discriminator_and_does_not_change_the_score() -> None:
    module = game(tricks=["auxiliary_classifier"]).game
    assert set(module.discriminator.class_head.parameters()) <= set(module.weights("discriminator"))
    x = real_batch().real.x
    before = module.discriminator(x).logits
    torch.nn.init.zeros_(module.discriminator.class_head.weight)
    assert torch.equal(module.discriminator(x).logits, before)


def test_the_class_head_learns_to_classify() -> None:
    module = game(tricks=["auxiliary_classifier"])
    told = play_steps(module, 150)
    assert told[-1]["generator/class_of_fake"] < told[0]["generator/class_of_fake"] / 2


@pytest.mark.parametrize("other", ["label_conditioning", "semi_supervised"])
def test_other_tricks_that_use_labels_are_refused(other: str) -> None:
    with refuses("trick", reason="claims labels, which .* needs as well"):
        game(tricks=["auxiliary_classifier", other])


def test_a_weight_of_zero_is_refused() -> None:
    with refuses(".weight", 0, "no effect"):
        AuxiliaryClassifier("concat", 0)


def test_norm_conditioning_without_batch_norm_is_refused() -> None:
    lines = ["trick.auxiliary_classifier.generator=norm", "model.generator.batch_norm=false"]
    with refuses("trick.auxiliary_classifier.generator", "norm", "needs a generator with batch norm"):
        build_game(compose(*SMALL, "trick=auxiliary_classifier", *lines))
