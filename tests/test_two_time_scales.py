import pytest
from table import game, one_round


def test_each_player_moves_at_a_rate_of_its_own() -> None:
    """The first step of Adam is as large as its rate, whatever the slope."""
    module = game("hinge", [], "alternating", "optimizer=two_time_scales")
    for player, rate in (("discriminator", 4e-4), ("generator", 1e-4)):
        group = module.mover[player].optimizer.param_groups[0]
        assert (group["lr"], list(group["betas"])) == (rate, [0, 0.9])
        before = [w.detach().clone() for w in module.game.weights(player)]
        one_round(module)
        steps = [
            float((w.detach() - was).abs().max())
            for w, was in zip(module.game.weights(player), before, strict=True)
        ]
        assert max(steps) == pytest.approx(rate, rel=1e-2)
        module = game("hinge", [], "alternating", "optimizer=two_time_scales")
