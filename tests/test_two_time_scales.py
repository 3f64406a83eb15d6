import pytest
from support.small_games import game, options, play_step

from ganlab.config.compose import compose


@pytest.mark.parametrize(("player", "rate"), [("discriminator", 4e-4), ("generator", 1e-4)])
def test_each_player_has_its_own_learning_rate(player: str, rate: float) -> None:
    """The first step of Adam is as large as its learning rate, whatever the gradient."""
    module = game("hinge", [], "alternating", "optimizer=two_time_scales")
    group = module.phase.player_optimizers[player].optimizer.param_groups[0]
    assert (group["lr"], list(group["betas"])) == (rate, [0, 0.9])
    before = [w.detach().clone() for w in module.game.weights(player)]
    play_step(module)
    moved = zip(module.game.weights(player), before, strict=True)
    assert max(float((w.detach() - was).abs().max()) for w, was in moved) == pytest.approx(rate, rel=1e-2)


@pytest.mark.parametrize("model", options("model"))
def test_a_selected_optimizer_overrides_that_of_the_model(model: str) -> None:
    own = compose("logger=csv", f"model={model}").optimizer
    asked = compose("logger=csv", f"model={model}", "optimizer=two_time_scales").optimizer
    assert own.generator.lr != asked.generator.lr == 0.0001
    assert list(asked.generator.betas) == [0, 0.9]
    assert asked.discriminator.lr == 0.0004
