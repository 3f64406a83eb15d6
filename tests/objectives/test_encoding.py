"""VAE-GAN and ALI, compared with their formulas; codes in the views of a turn; what is refused."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator
from itertools import product

import pytest
import torch
from support.daily_sample import daily_cases, one_play_each
from support.modules import build
from support.refusals import refuses
from support.small_games import SMALL, WITH_ENCODER, game, options, play_step, play_steps, real_batch
from support.trick_effects import modules_differ
from torch import Tensor
from torch.nn.functional import softplus

from ganlab.config.build import build_game
from ganlab.config.compose import compose
from ganlab.core.batch import Batch, Sample
from ganlab.core.gradients import input_gradients, interpolate_samples
from ganlab.core.randomness import RandomStreams
from ganlab.core.turn import Turn
from ganlab.game import Game

NO_BATCH_NORM = "model.generator.batch_norm=false"


def turn_of(made: Game, player: str, seed: int = 0) -> Turn:
    return made.turn(player, real_batch(), RandomStreams(seed))


def calls(module: Game, names: tuple[str, ...]) -> dict[str, int]:
    """Counts the passes of networks from now on."""
    counts = dict.fromkeys(names, 0)
    for name in names:
        getattr(module, name).register_forward_hook(
            lambda *_, name=name: counts.update({name: counts[name] + 1})
        )
    return counts


def test_the_terms_of_a_vae_gan_are_those_of_its_formula() -> None:
    made = build_game(compose("model=vae_gan", *SMALL, NO_BATCH_NORM, "objective.gamma=0.3"))
    generator, discriminator = made.generator, made.discriminator
    x = real_batch().real.x
    mean, log_variance = made.encoder(x).chunk(2, 1)
    for player in made.players:
        turn = turn_of(made, player)
        code, latent = turn.code, turn.latent
        noise = RandomStreams(0).normal("posterior", *mean.shape)
        assert torch.allclose(code, mean + log_variance.exp().sqrt() * noise, atol=1e-6)
        real, fake, decoded = (discriminator(part) for part in (x, generator(latent), generator(code)))
        squares = (real.features - decoded.features).square().sum(1) / 2
        likelihood = squares + real.features.shape[1] / 2 * torch.log(torch.tensor(2 * torch.pi))
        expected = {
            "discriminator": {
                "adversarial": softplus(-real.logits) + softplus(fake.logits),
                "adversarial_reconstruction": softplus(-real.logits) + softplus(decoded.logits),
            },
            "generator": {
                "adversarial": softplus(-fake.logits),
                "adversarial_reconstruction": softplus(-decoded.logits),
                "reconstruction": 0.3 * likelihood,
            },
            "encoder": {
                "reconstruction": likelihood,
                "divergence": (mean.square() + log_variance.exp() - 1 - log_variance).sum(1) / 2,
            },
        }[player]
        terms = made.objective(turn)
        assert list(terms) == list(expected)
        for name, term in expected.items():
            assert torch.allclose(terms[name], term, rtol=1e-4), (player, name)


# For each loss: that of the generator and the encoder for the logits of real samples and of fakes.
MIRRORED: dict[str, tuple[Callable[[Tensor], Tensor], Callable[[Tensor], Tensor]]] = {
    "non_saturating": (softplus, lambda fake: softplus(-fake)),
    "minimax": (lambda real: -softplus(-real), lambda fake: -softplus(fake)),
    "hinge": (lambda real: real, lambda fake: -fake),
    "absolute_error": (lambda real: -torch.sigmoid(-real) / 2, lambda fake: -torch.sigmoid(fake) / 2),
}


@pytest.mark.parametrize("adversarial", MIRRORED)
@pytest.mark.parametrize("stochastic", ["true", "false"])
def test_the_terms_of_ali_are_those_of_its_formula(adversarial: str, stochastic: str) -> None:
    overrides = f"objective@objective.adversarial={adversarial}", f"objective.stochastic={stochastic}"
    made = build_game(compose("model=ali", *SMALL, NO_BATCH_NORM, *overrides))
    turn = turn_of(made, "generator")
    outputs = made.encoder(turn.batch.real.x)
    assert outputs.shape == (16, 12 if stochastic == "true" else 6)
    assert torch.equal(turn.code, outputs) == (stochastic == "false")
    real = made.discriminator(turn.batch.real.x, code=turn.code).logits
    fake = made.discriminator(made.generator(turn.latent), code=turn.latent).logits
    of_real, of_fake = MIRRORED[adversarial]
    terms = made.objective(turn)
    assert list(terms) == ["adversarial", "adversarial_code"]
    assert torch.allclose(terms["adversarial"], of_fake(fake), atol=1e-6)
    assert torch.allclose(terms["adversarial_code"], of_real(real), atol=1e-6)
    for term, networks in (("adversarial", ["generator"]), ("adversarial_code", ["encoder"])):
        weights = [*made.generator.parameters(), *made.encoder.parameters()]
        slopes = torch.autograd.grad(terms[term].sum(), weights, retain_graph=True, allow_unused=True)
        reached = [slope is not None and bool(slope.any()) for slope in slopes]
        num_generator = len(list(made.generator.parameters()))
        assert any(reached[:num_generator]) == ("generator" in networks)
        assert any(reached[num_generator:]) == ("encoder" in networks)


def test_a_joint_discriminator_judges_the_code() -> None:
    made = game("ali").game
    turn = turn_of(made, "discriminator")
    other = turn.fake._replace(code=turn.fake.code.flip(0))
    assert not torch.allclose(turn.on_fake.logits, turn.judge(other).logits)
    assert torch.equal(turn.fake.code, turn.latent)
    assert torch.equal(turn.real.code, turn.code)


PASSES = {  # of the generator, the discriminator and the encoder in one step
    ("vae_gan", "alternating"): (5, 8, 3),
    ("vae_gan", "shared"): (2, 6, 1),
    ("vae_gan", "simultaneous"): (2, 3, 1),
    ("vae_gan", "extragradient"): (4, 6, 2),
    ("ali", "alternating"): (2, 4, 2),
    ("ali", "shared"): (1, 4, 1),
    ("ali", "simultaneous"): (1, 3, 1),
    ("ali", "extragradient"): (2, 6, 2),
}


@pytest.mark.parametrize(("objective", "play"), PASSES)
def test_a_step_makes_the_expected_forward_passes(objective: str, play: str) -> None:
    module = game(objective, (), play)
    names = ("generator", "discriminator", "encoder")
    counts = calls(module.game, names)
    play_step(module)
    assert tuple(counts.values()) == PASSES[objective, play]


@pytest.mark.parametrize("objective", WITH_ENCODER)
@pytest.mark.parametrize("view_of", ["seen_by", "detached"])
def test_views_of_a_turn_have_one_code_and_one_reconstruction(objective: str, view_of: str) -> None:
    made = game(objective).game
    turn = turn_of(made, list(made.players)[-1])
    view = turn.seen_by("discriminator") if view_of == "seen_by" else turn.detached()
    reconstruction = view.decoded  # used by the view first
    assert torch.equal(view.code, turn.code)
    assert torch.equal(reconstruction.x, turn.decoded.x)
    assert turn.decoded.x.requires_grad
    assert (reconstruction is turn.decoded) == (view_of == "seen_by")
    assert reconstruction.x.requires_grad == (view_of == "seen_by")
    assert turn.seen_by("generator").decoded is turn.decoded


def test_only_the_discriminator_sees_constant_codes() -> None:
    turn = turn_of(game("ali").game, "generator")
    assert turn.real.code.requires_grad
    for view in (turn.seen_by("discriminator"), turn.detached()):
        assert not view.real.code.requires_grad
        assert torch.equal(view.real.code, turn.real.code)
        assert view.seen_by("generator").real.code.requires_grad


def test_the_slope_at_a_sample_is_that_with_its_code_held_constant() -> None:
    made = game("ali", ["r1"]).game
    turn = turn_of(made, "generator").seen_by("discriminator")
    x = turn.batch.real.x.clone().requires_grad_()
    expected = torch.autograd.grad(made.discriminator(x, code=turn.code.detach()).logits.sum(), x)[0]
    assert torch.allclose(input_gradients(turn.on_real.logits, turn.real.x), expected.flatten(1))
    term = made.losses(turn)["r1"]
    gamma = made.tricks["r1"].weight(0)
    assert torch.allclose(term, gamma * expected.flatten(1).square().sum(1).mean() / 2)


def test_points_between_pairs_lie_between_their_codes_too() -> None:
    turn = turn_of(game("ali").game, "discriminator")
    points = interpolate_samples(turn, "test", 16)
    position = RandomStreams(0).uniform("test", 16, 1, 1, 1)
    for point, real, fake in zip(points, turn.real, turn.fake, strict=True):
        if point is not None and point.is_floating_point():
            t = position.view(-1, *[1] * (point.ndim - 1))
            assert torch.allclose(point, t * real + (1 - t) * fake, atol=1e-6)
    assert torch.equal(points.condition, turn.real.condition)


@pytest.fixture
def in_float64() -> Iterator[None]:
    torch.set_default_dtype(torch.float64)
    yield
    torch.set_default_dtype(torch.float32)


@pytest.mark.usefixtures("in_float64")
@pytest.mark.parametrize("objective", WITH_ENCODER)
def test_the_gradient_through_unrolled_steps_is_that_of_differences(objective: str) -> None:
    made = game(objective, ["unrolled", "r1"], "alternating", NO_BATCH_NORM, "trick.unrolled.lr=0.1").game
    for network in (made.generator, made.discriminator, made.encoder):  # without kinks
        for parent in list(network.modules()):
            for name, child in parent.named_children():
                if isinstance(child, torch.nn.ReLU | torch.nn.LeakyReLU):
                    setattr(parent, name, torch.nn.SiLU())

    def loss() -> Tensor:
        return sum(made.losses(turn_of(made, "generator")).values())

    loss().backward()
    moved = [made.generator.body[0].weight, *([made.encoder.body[1].weight] if objective == "ali" else [])]
    for weight in moved:
        values = []
        for step in (1e-5, -2e-5, 1e-5):
            weight.data[0, 0] += step
            values.append(float(loss().detach()))
        assert float(weight.grad[0, 0]) == pytest.approx((values[0] - values[1]) / 2e-5, rel=1e-5, abs=1e-8)


@pytest.mark.parametrize("objective", WITH_ENCODER)
def test_inverted_labels_make_the_minimax_game_the_non_saturating_one(objective: str) -> None:
    found = []
    for adversarial, trick in (("minimax", "inverted_labels"), ("non_saturating", None)):
        overrides = [f"objective@objective.adversarial={adversarial}", *([f"trick={trick}"] if trick else [])]
        made = build_game(compose(f"model={objective}", *SMALL, *overrides))
        found.append({p: made.losses(turn_of(made, p)) for p in made.players})
    for player, terms in found[0].items():
        assert list(terms) == list(found[1][player])
        for name, term in terms.items():
            assert torch.allclose(term, found[1][player][name], rtol=1e-5), (player, name)


def test_top_k_weighs_samples_and_not_codes() -> None:
    plain, chosen = game("ali").game, game("ali", ["top_k"], "alternating", "trick.top_k.share=0.5").game
    one, other = (made.losses(turn_of(made, "generator")) for made in (plain, chosen))
    assert torch.equal(one["adversarial_code"], other["adversarial_code"])
    assert other["adversarial"] < one["adversarial"]


@pytest.mark.parametrize("trick", ["feature_matching", "top_k", "unrolled"])
def test_tricks_of_the_generator_leave_the_encoder_alone(trick: str) -> None:
    half = ["trick.top_k.share=0.5"] if trick == "top_k" else []
    plain, changed = game("vae_gan").game, game("vae_gan", [trick], "alternating", *half).game
    assert plain.losses(turn_of(plain, "encoder")) == changed.losses(turn_of(changed, "encoder"))
    assert plain.losses(turn_of(plain, "generator")) != changed.losses(turn_of(changed, "generator"))


def test_the_weights_of_every_player_are_averaged_over_their_history() -> None:
    rows = play_steps(game("vae_gan", ["historical_averaging"]), 3)
    for player in ("discriminator", "generator", "encoder"):
        assert rows[2][f"{player}/historical_averaging"] > 0


def test_labelled_samples_are_judged_and_classified_with_expected_codes() -> None:
    made = game("ali", ["semi_supervised"]).game
    turn = turn_of(made, "discriminator")
    x = turn.batch.labelled.x
    assert torch.equal(turn.labelled.code, made.encoder(x)[:, :6])
    assert not turn.labelled.code.requires_grad
    made.eval()
    assert torch.equal(made.classify(x), made.discriminator(x, code=made.encode(x)).class_logits)


CONTINUED = list(product(WITH_ENCODER, options("play")))


@pytest.mark.parametrize(("objective", "play"), daily_cases(one_play_each(CONTINUED), CONTINUED))
def test_a_game_with_an_encoder_continues_identically_from_its_state(objective: str, play: str) -> None:
    tricks = ["r1", "ema", "replay_buffer", "gradient_penalty", "unrolled", "historical_averaging"]
    module = game(objective, tricks, play)
    play_steps(module, 3)
    state = copy.deepcopy(module.game.state_dict())
    twin = game(objective, tricks, play, "seed=7")
    twin.phase.seed = module.phase.seed
    twin.game.load_state_dict(state)
    for one, other in zip(module.configure_optimizers(), twin.configure_optimizers(), strict=True):
        other.load_state_dict(copy.deepcopy(one.state_dict()))
    x = real_batch().real.x
    assert torch.equal(module.game.encode(x), twin.game.encode(x))
    assert play_steps(module, 3) == play_steps(twin, 3)
    assert not modules_differ(module, twin)


def test_the_encoder_of_a_vae_gan_learns_to_invert_its_generator() -> None:
    points = ["data=ring", "data.batch_size=64", "model.generator.latent_dim=2", NO_BATCH_NORM]
    rates = [f"optimizer.{player}.lr=0.005" for player in ("discriminator", "generator", "encoder")]
    learning = ["play=simultaneous", "objective.likelihood.std=0.1", "objective.gamma=0.01", *rates]
    module = build(compose("model=vae_gan", *SMALL, *points, *learning))

    def error(step: int) -> float:
        """The mean squared error of reconstructions of points, whose variance is 0.25."""
        x = torch.randn(64, 2, generator=torch.Generator().manual_seed(step)) * 0.5 + 2
        module.play_step(Batch(Sample(x)))
        return float((module.game.generate_in_eval_mode(module.game.encode(x)) - x).detach().square().mean())

    errors = [error(step) for step in range(300)]
    assert errors[0] > 1
    assert errors[-1] < 0.05


@pytest.mark.parametrize(
    ("overrides", "key", "reason"),
    [
        (["objective=ali"], "model.discriminator", "judges samples without their codes"),
        (["model=ali", "objective=hinge"], "model.discriminator.code_dim", "trains no encoder"),
        (
            ["model=ali", "model.discriminator.code_dim=3"],
            "model.discriminator.code_dim",
            "that of latents, 6",
        ),
        (["model=ali", "objective@objective.adversarial=wasserstein"], "objective.adversarial", "undecided"),
        (["model=vae_gan", "objective@objective.adversarial=mmd"], "objective.adversarial", "no adversarial"),
        (["model=vae_gan", "objective@objective.adversarial=ali"], "objective.adversarial", "no adversarial"),
        (["model=vae_gan", "objective.gamma=0"], "objective.gamma", "no effect"),
        (
            ["model=vae_gan", "model/prior@model.generator.prior=sphere"],
            "model.generator.prior",
            "must be normal",
        ),
        (["model=ali", "trick=packing"], "trick", "the objective or the discriminator"),
    ],
)
def test_what_does_not_go_together_is_refused(overrides: list[str], key: str, reason: str) -> None:
    with refuses(key, reason=reason):
        build_game(compose(*SMALL, *overrides))


def test_a_player_needs_an_optimizer_and_may_lack_a_clip() -> None:
    with refuses("optimizer.encoder", reason="is needed by the objective"):
        build(compose(*SMALL, "objective=vae_gan"))
    added = "+optimizer.encoder=${optimizer.generator}"
    module = build(compose(*SMALL, "objective=vae_gan", added, "clip.generator=0.1"))
    clips = {player: made.clip is None for player, made in module.phase.player_optimizers.items()}
    assert clips == {"discriminator": True, "generator": False, "encoder": True}
    play_step(module)


def test_patches_have_no_features_for_reconstructions() -> None:
    cfg = compose("model=vae_gan", *SMALL)
    target = "ganlab.networks.translation.patch"
    patch = {"_target_": target, "width": 4, "halvings": 1, "condition": None, "shape": [1, 8, 8]}
    cfg.model.discriminator = patch
    with refuses("model.discriminator", reason="judges patches"):
        build_game(cfg)
