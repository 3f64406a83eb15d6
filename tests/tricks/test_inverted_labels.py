import pytest
import torch
from support.refusals import refuses
from support.small_games import game, play_steps, real_batch

from ganlab.core.randomness import RandomStreams


@pytest.mark.parametrize("play", ["alternating", "shared", "simultaneous", "extragradient"])
def test_the_generators_loss_becomes_non_saturating(play: str) -> None:
    inverted = play_steps(game("minimax", ["inverted_labels"], play), 5)
    expected = play_steps(game("non_saturating", [], play), 5)
    assert len(inverted) == len(expected) == 5
    for one, other in zip(inverted, expected, strict=True):
        assert one == pytest.approx(other, rel=1e-5)


def test_the_loss_of_the_inverted_label_keeps_its_weight() -> None:
    module = game("minimax", ["inverted_labels"]).game
    module.objective.weights["generator"] = lambda step: 0.5
    turn = module.turn("generator", real_batch(), RandomStreams(0))
    terms = module.tricks.losses(turn, module.objective)
    assert torch.allclose(terms["adversarial"], -0.5 * turn.on_fake.logits.sigmoid().log(), atol=1e-6)


def test_the_discriminators_labels_are_unchanged() -> None:
    module, plain = (game("minimax", tricks).game for tricks in (["inverted_labels"], []))
    one, other = (m.losses(m.turn("discriminator", real_batch(), RandomStreams(0))) for m in (module, plain))
    assert one == other


def test_an_objective_without_the_zero_sum_loss_is_refused() -> None:
    reason, remedy = r"objective with the generator loss log\(1 - D\), but NonSaturating", "such as minimax"
    with refuses("trick", "inverted_labels", reason, remedy):
        game("non_saturating", ["inverted_labels"])
