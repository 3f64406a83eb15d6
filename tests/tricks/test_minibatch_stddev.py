import statistics
from itertools import product

import pytest
import torch
from support.refusals import refuses
from support.small_games import DCGAN, SMALL, game, real_batch
from torch import nn

from ganlab.config.build import build_game
from ganlab.config.compose import compose
from ganlab.networks.base import Branching, last_layer
from ganlab.tricks.minibatch_stddev import MinibatchStddevLayer


@pytest.mark.parametrize("shape", [(5,), (2, 3, 4)])
def test_the_channel_is_the_mean_deviation_of_the_group(shape: tuple[int, ...]) -> None:
    x = torch.randn(6, *shape)
    made = MinibatchStddevLayer(3)(x)
    assert made.shape == (6, shape[0] + 1, *shape[1:])
    assert torch.equal(made[:, :-1], x)
    for group in (range(3), range(3, 6)):
        places = product(*map(range, shape))
        expected = statistics.fmean(statistics.pstdev(float(x[i][place]) for i in group) for place in places)
        for i in group:
            assert made[i, -1].flatten().tolist() == pytest.approx([expected] * made[i, -1].numel(), rel=1e-5)


def test_equal_samples_have_a_finite_gradient() -> None:
    x = torch.ones(4, 3, requires_grad=True)
    made = MinibatchStddevLayer(4)(x)
    made.sum().backward()
    assert x.grad.isfinite().all()
    assert float(made[0, -1].detach()) == pytest.approx(0, abs=1e-3)


@pytest.mark.parametrize(
    "overrides", [(), ("model.discriminator.maxout=2",), ("model.discriminator.hidden=[16,8]",)]
)
def test_a_verdict_depends_on_its_group_only(overrides: tuple[str, ...]) -> None:
    discriminator = game("non_saturating", ["minibatch_stddev"], "alternating", *overrides).game.discriminator
    x = real_batch().real.x.requires_grad_()
    (slope,) = torch.autograd.grad(discriminator(x).logits[5], x)
    assert slope.flatten(1).abs().amax(1).nonzero().flatten().tolist() == [4, 5, 6, 7]


def test_it_precedes_the_last_layer_of_the_body() -> None:
    body = build_game(compose(*DCGAN, "trick=minibatch_stddev")).discriminator.body
    (place,) = [i for i, layer in enumerate(body) if isinstance(layer, nn.Sequential)]
    last = body[place][1]
    assert isinstance(last, nn.Conv2d)
    assert last.in_channels == 5
    assert not any(isinstance(layer, nn.Conv2d) for layer in body[place + 1 :])


def test_the_last_layer_is_on_the_path_and_not_on_a_shortcut_that_was_registered_after_it() -> None:
    class Late(Branching):
        def __init__(self) -> None:
            super().__init__()
            self.path, self.shortcut = nn.Sequential(nn.Linear(3, 4), nn.ReLU()), nn.Linear(3, 4)

        def branches(self) -> list[nn.Module]:
            return [self.path, self.shortcut]

    body = nn.Sequential(nn.Linear(2, 3), Late(), nn.ReLU())
    assert last_layer(body) is body[1].path[0]


def test_a_batch_that_is_not_a_multiple_of_the_group_size_is_refused() -> None:
    reason = "gives each process {} samples or packs, which is not a multiple of group_size=4"
    with refuses("data.batch_size", reason=reason.format(18)):
        build_game(compose(*SMALL, "data.batch_size=18", "trick=minibatch_stddev"))
    with refuses("data.batch_size", reason=reason.format(6)):
        game(tricks=["minibatch_stddev"]).game.discriminator(torch.randn(6, 1, 8, 8))


def test_packs_that_are_not_a_multiple_of_the_group_size_are_refused_when_the_game_is_built() -> None:
    settings = (*SMALL, "trick=[minibatch_stddev,packing]")
    with refuses("data.batch_size", reason="10 samples or packs, which is not a multiple of group_size=4"):
        build_game(compose(*settings, "data.batch_size=20"))
    build_game(compose(*settings, "data.batch_size=24"))
