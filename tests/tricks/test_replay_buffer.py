import pytest
import torch

from ganlab.core.randomness import RandomStreams
from ganlab.core.turn import Batch, Networks, Sample, Turn
from ganlab.networks.mlp import generator
from ganlab.networks.priors import Normal
from ganlab.tricks.base import Tricks
from ganlab.tricks.replay_buffer import ReplayBuffer


def buffer(size: int, share: float) -> ReplayBuffer:
    trick = ReplayBuffer(size, share)
    network = generator(2, [], batch_norm=False, slope=0.0, shape=[1], value_range=None, prior=Normal())
    trick.networks(Networks(network, None, 10))
    return trick


def show(trick: ReplayBuffer, step: int, n: int, look: str = "") -> Sample:
    """Round `step` makes n fakes that say their round, of the class round % 10; a look is no move."""
    fake = Sample(torch.full((n, 1), float(step)), torch.full((n,), step % 10))
    turn = Turn("discriminator", step, Batch(fake), None, None, Tricks({}), RandomStreams(0, step, look))
    shown = trick.fakes(fake, turn)
    if not look:
        moved(trick, step)
    return shown


def moved(trick: ReplayBuffer, step: int) -> None:
    trick.after("discriminator", Networks(None, None, 10), step)


def test_fakes_pass_until_it_is_full_and_then_a_share_is_old() -> None:
    trick = buffer(size=400, share=0.3)
    for step in range(4):
        assert (show(trick, step, 100).x == step).all()
    old = torch.stack([(show(trick, step, 100).x < step).float().mean() for step in range(4, 104)])
    assert old.mean() == pytest.approx(0.3, abs=0.02)


def test_nothing_is_lost_and_nothing_doubled() -> None:
    trick = buffer(size=50, share=0.5)
    shown = [show(trick, step, 10).x for step in range(40)]
    everything = torch.cat([*shown[5:], trick.samples]).flatten()
    # The first 5 rounds filled it, and were shown as well.
    assert sorted(everything.tolist()) == sorted(float(step) for step in range(40) for _ in range(10))


def test_a_look_ahead_stores_nothing() -> None:
    trick, twin = buffer(size=25, share=0.5), buffer(size=25, share=0.5)
    for step in range(8):
        show(twin, step + 100, 10, look="ahead")
        assert torch.equal(show(trick, step, 10).x, show(twin, step, 10).x)
        assert torch.equal(trick.samples, twin.samples)
        assert torch.equal(trick.classes, twin.classes)


def test_the_class_stays_with_its_fake() -> None:
    trick = buffer(size=50, share=0.5)
    for step in range(40):
        shown = show(trick, step, 10)
        assert torch.equal(shown.condition, shown.x.flatten().long() % 10)


def test_what_goes_beyond_a_small_buffer_is_shown_as_it_is() -> None:
    trick = buffer(5, 1.0)
    show(trick, 0, 10)
    assert show(trick, 1, 10).x.flatten().tolist() == [0.0] * 5 + [1.0] * 5


def test_a_restored_buffer_goes_on_alike() -> None:
    trick, twin = buffer(size=50, share=0.5), buffer(size=50, share=0.5)
    for step in range(8):
        show(trick, step, 10)
    twin.load_state_dict(trick.state_dict())
    assert torch.equal(show(trick, 8, 10).x, show(twin, 8, 10).x)


def test_no_graph_is_kept() -> None:
    trick = buffer(size=10, share=0.5)
    for step in range(3):
        fake = Sample(torch.full((10, 1), float(step), requires_grad=True) * 1)
        turn = Turn("discriminator", step, Batch(fake), None, None, Tricks({}), RandomStreams(0, step))
        assert not trick.fakes(fake, turn).x.requires_grad or step == 0
        moved(trick, step)
        assert not trick.samples.requires_grad
