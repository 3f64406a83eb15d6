import copy

import pytest
import torch
from support.refusals import refuses
from support.small_games import SMALL, game, play_steps, real_batch

from ganlab.config.build import build_game
from ganlab.config.compose import compose
from ganlab.core.randomness import RandomStreams
from ganlab.core.turn import Turn


def test_the_terms_are_squared_errors_of_decoded_features() -> None:
    module = game("hinge", ["feature_autoencoder"]).game.eval()
    turn = module.turn("discriminator", real_batch(), RandomStreams(0))
    terms = module.tricks.losses(turn, module.objective)
    assert list(terms) == ["adversarial", "decoded_real", "decoded_fake"]
    for name, sample in (("decoded_real", turn.real), ("decoded_fake", turn.fake)):
        decoded = module.discriminator.decoder(module.discriminator(sample.x).features)
        assert decoded.shape == sample.x.shape
        gaps = zip(decoded.detach(), sample.x, strict=True)
        expected = [8 * float(((d - x) ** 2).sum()) / 64 for d, x in gaps]
        assert terms[name].tolist() == pytest.approx(expected, rel=1e-5)


def test_only_the_discriminator_learns_to_decode() -> None:
    module = game("mmd_gan", ["feature_autoencoder"])
    terms = play_steps(module, 60)
    assert terms[-1]["discriminator/decoded_real"] < 0.7 * terms[0]["discriminator/decoded_real"]
    assert not any("decoded" in name for name in terms[0] if name.startswith("generator"))
    decoder = set(module.game.discriminator.decoder.parameters())
    assert decoder <= set(module.game.weights("discriminator"))


def test_the_target_is_the_sample_before_other_tricks_changed_it() -> None:
    module = game("hinge", ["feature_autoencoder", "instance_noise"]).game.eval()
    turn = module.turn("discriminator", real_batch(), RandomStreams(0))
    terms = module.tricks.losses(turn, module.objective)
    seen = turn.on_real.features
    expected = (module.discriminator.decoder(seen) - turn.real.x).square().flatten(1).mean(1) * 8
    assert torch.allclose(terms["decoded_real"], expected)
    plain = module.discriminator(turn.real.x).features
    assert not torch.allclose(seen, plain)


def test_it_decodes_points_of_the_plane() -> None:
    module = build_game(compose(*SMALL, "data=ring", "metric=none", "trick=feature_autoencoder"))
    assert module.discriminator.decoder(torch.randn(3, 16)).shape == (3, 2)


def test_an_unrolled_discriminator_decodes_with_unrolled_weights() -> None:
    tricks = ["feature_autoencoder", "unrolled"]
    module = game("hinge", tricks, "alternating", "trick.unrolled.steps=2", "trick.unrolled.lr=0.1").game
    turn = module.turn("generator", real_batch(), RandomStreams(0))
    features, decoded = torch.randn(3, 16), []

    def compute(turn: Turn) -> dict[str, torch.Tensor]:
        decoded.append(turn.discriminator.decoder(features))
        return module.tricks["feature_autoencoder"].losses(turn, lambda _: {})

    module.tricks["unrolled"].losses(turn, compute)
    assert len(decoded) == 3
    by_hand = copy.deepcopy(module.discriminator)
    for _ in range(2):
        loss = sum(
            8 * (by_hand.decoder(by_hand(sample.x.detach()).features) - sample.x.detach()).square().mean()
            for sample in (turn.real, turn.fake)
        )
        by_hand.zero_grad()
        loss.backward()
        with torch.no_grad():
            for weight in by_hand.parameters():
                if weight.grad is not None:
                    weight -= 0.1 * weight.grad
    assert torch.allclose(decoded[-1], by_hand.decoder(features), atol=1e-5)
    assert not torch.allclose(decoded[-1], module.discriminator.decoder(features), atol=1e-3)


@pytest.mark.parametrize(
    ("line", "refusal"),
    [
        ("trick.feature_autoencoder.weight=0", ("trick.feature_autoencoder.weight", 0, "no effect")),
        ("objective=mmd", ("trick", "feature_autoencoder", "objective with a discriminator")),
    ],
)
def test_bad_values_are_refused(line: str, refusal: tuple) -> None:
    with refuses(*refusal):
        build_game(compose(*SMALL, "trick=feature_autoencoder", line))
