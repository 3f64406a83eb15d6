"""GAIN: its losses and its optimum, compared with formulas, and samples that keep what is known."""

from __future__ import annotations

import pytest
import torch
from support.refusals import refuses
from support.small_games import SMALL, game, next_batch, play_steps
from torch import Tensor, nn
from torch.nn.functional import binary_cross_entropy, mse_loss

from ganlab.config.build import build_data, build_game
from ganlab.config.compose import compose
from ganlab.core.batch import Batch, Sample, Verdict
from ganlab.core.capability import Capability
from ganlab.core.errors import ConfigError
from ganlab.core.randomness import RandomStreams
from ganlab.core.turn import Turn
from ganlab.metrics.evaluation import Evaluation
from ganlab.metrics.paired import ImputationError, PairError
from ganlab.objectives.adversarial import Hinge, NonSaturating
from ganlab.objectives.imputation import GAIN
from ganlab.tricks.composition import Tricks

ONES = {"discriminator": 1.0, "generator": 1.0}
DATA = ("logger=csv", "experiment=gain_digits", "model.generator.width=4", "model.discriminator.hidden=[16]")


class Noise(nn.Module):
    """A generator of samples that are its latents."""

    latent_dim = 64

    def prior(self, random: RandomStreams, n: int, latent_dim: int) -> Tensor:
        return random.normal("latent", n, latent_dim)

    def forward(self, latent: Tensor, condition: Tensor) -> Tensor:
        return latent.view(-1, 1, 8, 8).requires_grad_()


class HintTable(nn.Module):
    """A discriminator whose logit of a pixel depends on nothing but its hint."""

    def __init__(self) -> None:
        super().__init__()
        self.logits = nn.Parameter(torch.zeros(2))

    def forward(self, x: Tensor, hint: Tensor) -> Verdict:
        return Verdict(self.logits[hint.squeeze(1).long()], x.flatten(1))


def gain_turn(
    objective: GAIN, player: str, n: int, known_share: float = 0.8, discriminator: nn.Module | None = None
) -> Turn:
    """A turn with n random images, of which a share of the pixels is known."""
    x = torch.randn(n, 1, 8, 8, generator=torch.Generator().manual_seed(1))
    mask = (torch.rand(n, 1, 8, 8, generator=torch.Generator().manual_seed(2)) < known_share) * 2.0 - 1
    condition = torch.cat([torch.where(mask > 0, x, -1), mask], 1)
    networks = {"generator": Noise(), "discriminator": discriminator or HintTable()}
    batch = Batch(Sample(x, condition))
    return Turn(player, 0, batch, networks, Tricks({}), RandomStreams(3), objective)


def gain(hint_rate: float = 0.9, alpha: float = 10.0) -> GAIN:
    return GAIN(NonSaturating(ONES), hint_rate, alpha, ONES)


def test_the_best_guess_without_a_hint_is_that_of_bayes_rule() -> None:
    """Of pixels with the hint 0, known ones have the share .8 * .1 / (.8 * .1 + .2) = .2857."""
    table = HintTable()
    descent = torch.optim.LBFGS(table.parameters(), max_iter=40)
    turn = gain_turn(gain(), "discriminator", 4000, discriminator=table)

    def loss() -> Tensor:
        descent.zero_grad()
        mean = gain()(turn.replace(discriminator=table))["adversarial"].mean()  # judges again
        mean.backward()
        return mean

    descent.step(loss)
    without_hint, with_hint = table.logits.sigmoid().tolist()
    assert without_hint == pytest.approx(0.08 / 0.28, abs=0.005)
    assert with_hint > 0.999


class Linear(nn.Module):
    """A discriminator whose logits are sums of pixels and hints."""

    def forward(self, x: Tensor, hint: Tensor) -> Verdict:
        return Verdict((x + hint).squeeze(1), x.flatten(1))


def test_the_losses_are_those_of_the_authors_code() -> None:
    discriminator_turn, turn = (gain_turn(gain(), player, 5, 0.6, Linear()) for player in ONES)
    x, condition = turn.batch.real.x, turn.asked
    m = (condition[:, 1] > 0).float()  # [B, 8, 8]
    shown = discriminator_turn.fake
    assert torch.equal(shown.x[:, 0], torch.where(m > 0, x[:, 0], discriminator_turn.latent.view(-1, 8, 8)))
    d = (shown.x + shown.condition).squeeze(1).sigmoid()
    expected = binary_cross_entropy(d, m, reduction="none")
    assert torch.allclose(gain()(discriminator_turn)["adversarial"], expected, atol=1e-5)
    terms = gain()(turn)
    made = turn.latent.view(-1, 1, 8, 8)
    d = (turn.fake.x + turn.fake.condition).squeeze(1).sigmoid()
    assert torch.allclose(terms["adversarial"], -(1 - m) * d.log(), atol=1e-5)
    error = 10 * mse_loss(m * x[:, 0], m * made[:, 0]) / m.mean()
    assert torch.allclose(terms["reconstruction"].mean(), error)


def test_known_pixels_get_no_gradient_of_the_discriminator() -> None:
    turn = gain_turn(gain(), "generator", 5, 0.6, Linear())
    made = turn.generated.x
    (slope,) = torch.autograd.grad(gain()(turn)["adversarial"].sum(), made)
    assert torch.equal(slope != 0, turn.asked[:, 1:] < 0)


@pytest.mark.parametrize("rate", [0.3, 0.9])
def test_a_hint_tells_of_known_pixels_only(rate: float) -> None:
    turn = gain_turn(gain(rate), "discriminator", 400)
    known = turn.asked[:, 1:] > 0
    assert (turn.fake.condition[~known] == 0).all()
    assert turn.fake.condition[known].mean() == pytest.approx(rate, abs=0.01)
    assert turn.on_real is turn.on_fake  # what is known and what is not is judged in one pass


def test_samples_keep_the_known_pixels_and_no_others() -> None:
    cfg = compose(*DATA)
    data = build_data(cfg)
    built = build_game(cfg, data)
    x, condition = next(data.split("test", "cpu", 360))
    known = condition[:, 1:] > 0
    samples = built.sample(360)
    assert torch.equal(samples[known], x[known])
    assert (samples[~known] != x[~known]).float().mean() > 0.9
    assert known.float().mean() == pytest.approx(0.6, abs=0.01)
    assert torch.equal(condition[:, :1], torch.where(known, x, -1))
    again = build_data(compose(*DATA, "data.validation=100", "data.validation_choice=random", "seed=3"))
    assert torch.equal(next(again.split("test", "cpu", 360))[1], condition)
    metrics = {"error": ImputationError(), "pairs": PairError()}
    values = Evaluation(metrics, data, n=10, n_real=10, seed=0)(built)
    assert values == {
        "imputation_error/test": pytest.approx(float((samples - x)[~known].square().mean().sqrt())),
        "pair_error/test": pytest.approx(float((samples - x).abs().mean())),
    }
    with refuses("metric", "pairs", "each condition has its right sample"):
        Evaluation({"pairs": PairError()}, build_data(compose()), n=10, n_real=10, seed=0)


def test_what_is_real_and_fake_as_a_whole_is_refused_by_name() -> None:
    for trick in ("gradient_penalty", "feature_matching", "replay_buffer", "diff_augment"):
        with pytest.raises(ConfigError, match=Capability.APART):
            game("gain", [trick])
    with pytest.raises(ConfigError, match=Capability.APART):
        game("gain", ["adaptive_balance"], "alternating", "trick.adaptive_balance.by=ranking")


def test_games_without_a_mask_targets_or_verdicts_on_pixels_are_refused() -> None:
    with refuses("data.condition", reason="name mask"):
        game("gain", model="dcgan")
    with refuses(".adversarial", reason="needs targets"):
        GAIN(Hinge(ONES), 0.9, 100.0, ONES)
    for hint in (0, 3):
        with refuses("model.discriminator", reason="a hint of one channel"):
            build_game(compose(*DATA, f"model.discriminator.hint={hint}"))
    with refuses("", reason="needs data with missing values"):
        ImputationError().setup(build_data(compose(*SMALL)), 10, 10)
    cfg = compose(*DATA)
    cfg.model.discriminator = compose(*SMALL).model.discriminator
    with refuses("model.discriminator", reason="verdict on each pixel"):
        built = build_game(cfg)
        built.losses(built.turn("discriminator", next_batch(game("gain")), RandomStreams(0)))


@pytest.mark.parametrize("play", ["shared", "simultaneous", "extragradient"])
def test_the_losses_are_finite_under_every_play(play: str) -> None:
    for row in play_steps(game("gain", ["r1", "label_smoothing"], play), 2):
        assert all(map(torch.isfinite, map(torch.tensor, row.values())))


@pytest.mark.parametrize(
    ("play", "judgements"),
    [
        ("shared", 2),  # on the discriminator's turn, and on the generator's
        ("simultaneous", 1),  # for both players
    ],
)
def test_the_players_that_share_samples_judge_one_hint(play: str, judgements: int) -> None:
    module = game("gain", [], play)
    hints: list[torch.Tensor] = []
    module.game.discriminator.register_forward_hook(lambda network, inputs, verdict: hints.append(inputs[1]))
    play_steps(module, 1)
    assert len(hints) == judgements
    assert all(torch.equal(hint, hints[0]) for hint in hints)
