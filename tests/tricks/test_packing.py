from __future__ import annotations

import pytest
import torch
from support.modules import build
from support.refusals import refuses
from support.small_games import DCGAN, SMALL, game, real_batch, resolved_config
from torch import Tensor, nn

from ganlab.config.build import build_game
from ganlab.config.compose import compose
from ganlab.core.batch import Batch, Sample, Verdict
from ganlab.core.randomness import RandomStreams
from ganlab.core.turn import Turn
from ganlab.game import Game
from ganlab.tricks.composition import Tricks
from ganlab.tricks.packing import Packing
from ganlab.tricks.r1 import R1


def build_packed(base: tuple[str, ...], size: int, *overrides: str) -> Game:
    size_ = f"trick.packing.size={size}"
    return (
        build_game(compose(*base, "trick=packing", size_, "data.batch_size=24", *overrides)).double().eval()
    )


def logits(game: Game, x: Tensor) -> Tensor:
    return game.turn("discriminator", Batch(Sample(x)), RandomStreams(0)).on_real.logits


@pytest.mark.parametrize("size", [2, 3, 4])
@pytest.mark.parametrize("base", [SMALL, DCGAN, (*SMALL, "data=ring")], ids=["gan", "dcgan", "ring"])
def test_packs_are_judged_as_one_sample(base: tuple[str, ...], size: int) -> None:
    game = build_packed(base, size)
    x = torch.randn(24, *game.shape).double().requires_grad_()
    verdicts = logits(game, x)
    assert verdicts.shape == (24 // size,)
    for i in range(24 // size):
        (slope,) = torch.autograd.grad(verdicts[i], x, retain_graph=True)
        felt = slope.flatten(1).abs().amax(1).nonzero().flatten().tolist()
        assert felt == list(range(i * size, (i + 1) * size))
    order = torch.randperm(24 // size)
    moved = x.detach().unflatten(0, (-1, size))[order].flatten(0, 1)
    assert torch.allclose(logits(game, moved), verdicts[order])


def test_the_samples_of_a_pack_are_concatenated_along_the_channels() -> None:
    x = torch.randn(6, 2, 3, 3)
    turn = build_packed(SMALL, 3).turn("discriminator", real_batch(), RandomStreams(0))
    shown = Packing(3, 6).inputs(Sample(x, torch.arange(6)), turn)
    assert shown.condition is None
    assert shown.x.shape == (2, 6, 3, 3)
    assert torch.equal(shown.x[1], torch.cat([x[3], x[4], x[5]]))


def test_the_first_layer_has_the_width_of_a_pack() -> None:
    assert build_packed(SMALL, 3).discriminator.body[1].in_features == 3 * 64
    assert build_packed(DCGAN, 4).discriminator.body[0].in_channels == 4
    free = build_game(compose(*SMALL)).discriminator.body[1].weight
    assert torch.equal(build_packed(SMALL, 2).discriminator.body[1].weight[:, :64].float(), free)


def test_there_is_one_target_and_one_term_per_pack() -> None:
    module = game("non_saturating", ["packing", "label_smoothing"])
    turn = module.game.turn("discriminator", real_batch(), RandomStreams(0))
    assert turn.targets.real.tolist() == pytest.approx([0.9] * 8)
    assert turn.targets.fake.tolist() == [0.0] * 8
    assert len(turn.fake.x) == 16
    assert module.game.objective(turn)["adversarial"].shape == (8,)


class Quadratic(nn.Module):
    """A pack [B / m, ...] -> sum of a x^2."""

    def forward(self, x: Tensor, condition: Tensor | None = None) -> Verdict:
        return Verdict(1.5 * x.square().flatten(1).sum(1), x.flatten(1))


def test_a_gradient_penalty_is_computed_over_all_elements_of_a_pack() -> None:
    x = torch.randn(8, 1, 2, 3)
    tricks = Tricks({"packing": Packing(4, 8), "r1": R1(2.0, 1)})
    turn = Turn(
        "discriminator",
        0,
        Batch(Sample(x)),
        {"discriminator": Quadratic()},
        tricks,
        RandomStreams(0),
        differentiates_inputs=True,
    )
    penalty = tricks.losses(turn, lambda _: {})["r1"]
    assert torch.allclose(penalty, (3 * x).square().reshape(2, -1).sum(1), rtol=1e-5)


def test_the_witness_of_a_learned_mmd_is_penalised_per_pack() -> None:
    """The gradient of the witness at points of packs, computed manually for each pack."""
    cfg = resolved_config(*SMALL, "objective=learned_mmd", "trick=packing").copy()
    table = build(cfg).game.double()
    sample = real_batch().real
    turn = table.turn("discriminator", Batch(Sample(sample.x.double())), RandomStreams(0))
    turn = turn.replace(latent=torch.randn(16, 6).double())
    seen = turn.judge(turn.real).features, turn.judge(turn.fake).features
    slopes = table.objective._witness_slope(turn, *seen)
    points = next(s for s, _ in turn.verdicts if s is not turn.real and s is not turn.fake)
    assert slopes.shape == (8,)
    share = (points.x - turn.fake.x) / (turn.real.x - turn.fake.x)  # one for a pack
    share = share.detach().flatten(1).median(1).values.view(8, 2)
    assert torch.allclose(share[:, 0], share[:, 1])
    assert share[:, 0].unique().numel() == 8
    for i in range(8):
        pack = points.x[2 * i : 2 * i + 2].detach().requires_grad_()
        feature = table.discriminator(pack.reshape(1, 2, 8, 8)).features
        kernel = table.objective.kernel
        witness = kernel(feature, seen[0]).mean() - kernel(feature, seen[1]).mean()
        (slope,) = torch.autograd.grad(witness, pack, retain_graph=True)
        assert float(slope.norm()) == pytest.approx(float(slopes[i].detach()), rel=1e-9)


def test_a_batch_that_is_not_a_multiple_of_the_pack_size_is_refused() -> None:
    reason = "gives each process 16 samples, which is not a multiple of size=3"
    with refuses("data.batch_size", reason=reason):
        build_packed(SMALL, 3, "data.batch_size=16")
    turn = build_packed(SMALL, 3).turn("discriminator", real_batch(), RandomStreams(0))
    with refuses("data.batch_size", reason=reason):
        assert turn.on_real


@pytest.mark.parametrize("trick", ["label_conditioning", "feature_autoencoder"])
def test_tricks_that_judge_or_decode_single_samples_are_refused(trick: str) -> None:
    with refuses(
        "trick", ["packing", trick], f"claims verdicts on single samples, which {trick} needs as well"
    ):
        game("non_saturating", ["packing", trick])
