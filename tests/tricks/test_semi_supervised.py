import math

import pytest
import torch
from support.refusals import refuses
from support.small_games import game, play_step, real_batch

from ganlab.core.batch import Batch
from ganlab.core.players import Player
from ganlab.core.randomness import RandomStreams
from ganlab.core.turn import Turn
from ganlab.game import Game
from ganlab.tricks.semi_supervised import SemiSupervised

WEIGHT = 3.0


def turn(player: Player, *tricks: str) -> tuple[Game, Turn]:
    module = game("minimax", ["semi_supervised", *tricks], "alternating").game
    module.tricks["semi_supervised"].weight = lambda step: WEIGHT
    return module, module.turn(player, real_batch(), RandomStreams(0))


def probabilities(classes: torch.Tensor) -> list[list[float]]:
    """The probabilities of K + 1 classes, the last with the logit 0, for each row."""
    rows = []
    for row in classes.double().tolist():
        total = sum(map(math.exp, [*row, 0.0]))
        rows.append([math.exp(logit) / total for logit in [*row, 0.0]])
    return rows


def test_the_logit_is_that_of_not_being_the_last_class() -> None:
    module, seen = turn("discriminator")
    verdict = module.discriminator(3 * seen.real.x)
    assert verdict.class_logits.shape == (16, 10)
    expected = [1 - row[-1] for row in probabilities(verdict.class_logits)]
    assert verdict.logits.sigmoid().tolist() == pytest.approx(expected, rel=1e-5)


def test_the_terms_are_those_of_section_5() -> None:
    module, seen = turn("discriminator")
    terms = module.tricks.losses(seen, module.objective)
    assert list(terms) == ["adversarial", "supervised"]
    samples = {"real": seen.real, "fake": seen.fake, "labelled": seen.batch.labelled}
    on = {
        name: probabilities(module.discriminator(sample.x).class_logits) for name, sample in samples.items()
    }
    unsupervised = [
        -math.log(1 - x[-1]) - math.log(y[-1]) for x, y in zip(on["real"], on["fake"], strict=True)
    ]
    assert terms["adversarial"].tolist() == pytest.approx(unsupervised, rel=1e-4)
    classes = seen.batch.labelled.condition.tolist()
    supervised = [-math.log(p[c] / sum(p[:-1])) for p, c in zip(on["labelled"], classes, strict=True)]
    assert terms["supervised"].tolist() == pytest.approx([WEIGHT * s for s in supervised], rel=1e-4)


def test_the_generator_does_not_depend_on_labels() -> None:
    module, seen = turn("generator")
    assert list(module.tricks.losses(seen, module.objective)) == ["adversarial"]


def test_labels_of_the_batch_are_not_used() -> None:
    one, other = (game(tricks=["semi_supervised"]) for _ in range(2))
    for step in range(3):
        told = play_step(one)
        real, labelled, _ = real_batch(step)
        other.play_step(Batch(real._replace(condition=real.condition.flip(0)), labelled))
        assert {name: float(term) for name, term in other.scalars.items()} == told


def test_labelled_samples_pass_the_input_hooks() -> None:
    module, seen = turn("discriminator", "instance_noise")
    classes = seen.judge(seen.batch.labelled).class_logits
    assert not torch.equal(classes, module.discriminator(seen.batch.labelled.x).class_logits)


def test_the_discriminator_does_not_see_the_class() -> None:
    with refuses("trick", ["semi_supervised", "label_conditioning"], "claims labels"):
        game(tricks=["semi_supervised", "label_conditioning"])


def test_a_weight_of_zero_is_refused() -> None:
    with refuses(".weight", 0, "no effect"):
        SemiSupervised(0)
