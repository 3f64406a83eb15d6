import pytest
from support.refusals import refuses
from support.small_games import batch, game, play_step

from ganlab.tricks.steps import Burst, CriticSteps


def movers(module, n: int) -> list[str]:
    """The initials of the players that move in each of n steps."""
    found = []
    for _ in range(n):
        players = {name.split("/")[0] for name in play_step(module)}
        found.append("".join(sorted(player[0] for player in players)))
    return found


@pytest.mark.parametrize("play", ["alternating", "shared", "simultaneous", "extragradient"])
def test_the_generator_moves_after_n_moves_of_the_discriminator(play: str) -> None:
    module = game("wasserstein", ["critic_steps"], play, "trick.critic_steps.n=3")
    assert movers(module, 7) == ["d", "d", "dg", "d", "d", "dg", "d"]


@pytest.mark.parametrize("play", ["alternating", "shared", "simultaneous", "extragradient"])
def test_the_discriminator_moves_before_k_moves_of_the_generator(play: str) -> None:
    module = game("wasserstein", ["generator_steps"], play, "trick.generator_steps.k=3")
    assert movers(module, 7) == ["dg", "g", "g", "dg", "g", "g", "dg"]


def test_bursts_precede_the_first_updates_and_every_nth() -> None:
    trick = CriticSteps(2, Burst(5, first=2, every=4))
    waits = [5, 5, 2, 2, 5, 2, 2, 2, 5]  # updates 0 and 1 are the first two; 0, 4 and 8 are every fourth
    moves = [step for step in range(sum(waits)) if trick.may_move("generator", step)]
    assert moves == [sum(waits[: i + 1]) - 1 for i in range(len(waits))]
    assert all(trick.may_move("discriminator", step) for step in range(sum(waits)))
    resumed = CriticSteps(2, Burst(5, first=2, every=4))
    assert [step for step in reversed(range(sum(waits))) if resumed.may_move("generator", step)] == moves[
        ::-1
    ]


def test_a_burst_of_the_same_n_is_refused() -> None:
    with refuses(".burst.n", 2, "no effect together with n=2"):
        CriticSteps(2, Burst(n=2, first=2, every=4))


def test_a_waiting_player_keeps_its_weights_and_each_update_has_its_own_batch_and_latents() -> None:
    module = game("wasserstein", ["critic_steps"], "alternating", "trick.critic_steps.n=2")
    before = [w.detach().clone() for w in module.game.weights("generator")]
    turns = []
    module.phase.losses = lambda turn, losses=module.phase.losses: (turns.append(turn), losses(turn))[1]
    play_step(module)
    for weight, was in zip(module.game.weights("generator"), before, strict=True):
        assert weight.equal(was)
    play_step(module)
    assert [turn.player for turn in turns] == ["discriminator", "discriminator", "generator"]
    for turn, step in zip(turns, (0, 1, 1), strict=True):
        assert turn.real.x.equal(batch(step)[0])
    assert not any(turns[i].latent.equal(turns[j].latent) for i, j in ((0, 1), (0, 2), (1, 2)))


def test_two_tricks_that_control_the_moves_are_refused() -> None:
    pair = ["generator_steps", "critic_steps"]
    with refuses("trick", pair, "claims control over which player moves, which critic_steps needs as well"):
        game("wasserstein", ["critic_steps", "generator_steps"])
