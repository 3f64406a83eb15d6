import pytest
import torch

from ganlab.core.batch import Batch, ConditionSpec, Sample
from ganlab.core.players import Networks
from ganlab.core.randomness import RandomStreams
from ganlab.core.turn import Turn
from ganlab.networks import priors
from ganlab.networks.mlp import generator
from ganlab.tricks.composition import Tricks
from ganlab.tricks.replay_buffer import ReplayBuffer


def buffer(size: int, share: float) -> ReplayBuffer:
    trick = ReplayBuffer(size, share)
    network = generator(
        2, [], batch_norm=False, slope=0.0, shape=[1], value_range=None, prior=priors.Normal()
    )
    trick.networks(Networks({"generator": network}, ConditionSpec("class", num_classes=10)))
    return trick


def judged_fakes(trick: ReplayBuffer, step: int, n: int, phase: str = "") -> Sample:
    """The fakes that are judged instead of n with the value `step` and the class step % 10.

    phase: the name of a pass without an update; empty: the discriminator is updated.
    """
    fake = Sample(torch.full((n, 1), float(step)), torch.full((n,), step % 10))
    turn = Turn("discriminator", step, Batch(fake), {}, Tricks({}), RandomStreams(0, step, phase))
    shown = trick.fakes(fake, turn)
    if not phase:
        after_update(trick, step)
    return shown


def after_update(trick: ReplayBuffer, step: int) -> None:
    trick.after_update("discriminator", Networks({}, ConditionSpec("class", num_classes=10)), step)


def test_fakes_are_unchanged_until_the_buffer_is_full_and_then_a_share_is_old() -> None:
    trick = buffer(size=400, share=0.3)
    for step in range(4):
        assert (judged_fakes(trick, step, 100).x == step).all()
    old = torch.stack([(judged_fakes(trick, step, 100).x < step).float().mean() for step in range(4, 104)])
    assert old.mean() == pytest.approx(0.3, abs=0.02)


def test_no_fake_is_lost_or_duplicated() -> None:
    trick = buffer(size=50, share=0.5)
    shown = [judged_fakes(trick, step, 10).x for step in range(40)]
    everything = torch.cat([*shown[5:], trick.x]).flatten()
    # The fakes of the first 5 steps filled the buffer, and were judged as well.
    assert sorted(everything.tolist()) == sorted(float(step) for step in range(40) for _ in range(10))


def test_an_unrolled_step_stores_nothing() -> None:
    trick, twin = buffer(size=25, share=0.5), buffer(size=25, share=0.5)
    for step in range(8):
        judged_fakes(twin, step + 100, 10, phase="ahead")
        assert torch.equal(judged_fakes(trick, step, 10).x, judged_fakes(twin, step, 10).x)
        assert torch.equal(trick.x, twin.x)
        assert torch.equal(trick.condition, twin.condition)


def test_a_fake_keeps_its_class() -> None:
    trick = buffer(size=50, share=0.5)
    for step in range(40):
        shown = judged_fakes(trick, step, 10)
        assert torch.equal(shown.condition, shown.x.flatten().long() % 10)


def test_fakes_without_classes_are_stored_without_their_latents() -> None:
    trick = buffer(size=10, share=1.0)
    for step in range(2):
        fake = Sample(torch.full((10, 1), float(step)), code=torch.randn(10, 2))
        turn = Turn("discriminator", step, Batch(fake), {}, Tricks({}), RandomStreams(0, step))
        shown = trick.fakes(fake, turn)
        after_update(trick, step)
    assert (shown.x == 0).all()
    assert shown.condition is None


def test_fakes_beyond_a_small_buffer_are_unchanged() -> None:
    trick = buffer(5, 1.0)
    judged_fakes(trick, 0, 10)
    assert judged_fakes(trick, 1, 10).x.flatten().tolist() == [0.0] * 5 + [1.0] * 5


def test_a_restored_buffer_continues_equally() -> None:
    trick, twin = buffer(size=50, share=0.5), buffer(size=50, share=0.5)
    for step in range(8):
        judged_fakes(trick, step, 10)
    twin.load_state_dict(trick.state_dict())
    assert torch.equal(judged_fakes(trick, 8, 10).x, judged_fakes(twin, 8, 10).x)


def test_the_buffer_keeps_no_graph() -> None:
    trick = buffer(size=10, share=0.5)
    for step in range(3):
        fake = Sample(torch.full((10, 1), float(step), requires_grad=True) * 1)
        turn = Turn("discriminator", step, Batch(fake), {}, Tricks({}), RandomStreams(0, step))
        assert not trick.fakes(fake, turn).x.requires_grad or step == 0
        after_update(trick, step)
        assert not trick.x.requires_grad
