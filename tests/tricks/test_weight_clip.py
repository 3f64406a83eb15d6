import pytest
from support.refusals import refuses
from support.small_games import game, play_step

from ganlab.config.load import load_players
from ganlab.core.schedules import Linear
from ganlab.tricks.weight_clip import WeightClip


def largest(module) -> float:
    weights = dict(module.game.discriminator.named_parameters())
    return max(
        float(w.detach().abs().max()) for name, w in weights.items() if not name.startswith("decoder.")
    )


@pytest.mark.parametrize("play", ["alternating", "shared", "simultaneous", "extragradient"])
def test_no_weight_of_the_discriminator_exceeds_the_bound(play: str) -> None:
    module, free = game("hinge", ["weight_clip"], play), game("hinge", [], play)
    assert largest(free) > 0.05
    assert largest(module) == pytest.approx(0.01)
    for _ in range(3):
        play_step(module)
        assert largest(module) == pytest.approx(0.01)
        inside = [w for w in module.game.weights("discriminator") if (w.detach().abs() < 0.00999).any()]
        assert inside, "everything stands at the bound"
    assert max(float(w.detach().abs().max()) for w in module.game.weights("generator")) > 0.05


def test_a_decoder_is_not_constrained() -> None:
    module = game("mmd_gan", ["weight_clip", "feature_autoencoder"])
    play_step(module)
    assert largest(module) == pytest.approx(0.01)
    assert max(float(w.detach().abs().max()) for w in module.game.discriminator.decoder.parameters()) > 0.05


def test_the_bound_may_be_a_schedule_and_generator_updates_do_not_clip() -> None:
    module = game("hinge")
    trick = WeightClip(Linear(0.02, 0.01, 10))
    trick.after_update("generator", module.game.networks, 0)
    assert largest(module) > 0.05
    for step, bound in ((0, 0.02), (5, 0.015), (20, 0.01)):
        trick.after_update("discriminator", module.game.networks, step)
        assert largest(module) == pytest.approx(bound)


def test_a_bound_of_zero_is_refused() -> None:
    with refuses(".bound", 0, "no effect"):
        WeightClip(0)


def test_loaded_weights_are_clipped_before_the_first_update() -> None:
    module = game("hinge", ["weight_clip"])
    load_players(module, {"state_dict": game("hinge").state_dict()})
    assert largest(module) == pytest.approx(0.01)
