import pytest
import torch
from scipy.stats import kstest, truncnorm
from support.small_games import SMALL, game, play_steps

from ganlab.config.build import build_game
from ganlab.config.compose import compose
from ganlab.core.errors import ConfigError
from ganlab.core.randomness import RandomStreams
from ganlab.networks import priors


@pytest.mark.parametrize("threshold", [0.02, 0.5, 2.0, 10.0])
def test_latents_are_truncated_normal(threshold: float) -> None:
    latent = priors.TruncatedNormal(threshold)(RandomStreams(0), 4000, 5)
    assert latent.abs().max() <= threshold
    assert kstest(latent.flatten().numpy(), truncnorm(-threshold, threshold).cdf).pvalue > 0.01


def test_training_is_unchanged_and_samples_have_truncated_latents() -> None:
    module, plain = game(tricks=["truncation"]), game()
    assert play_steps(module, 3) == play_steps(plain, 3)
    latent = priors.TruncatedNormal(1.0)(RandomStreams(5, "sample"), 4, 6)
    assert torch.equal(module.game.sample(4, seed=5), module.game.eval().generator(latent))
    assert not torch.equal(module.game.sample(4), plain.game.sample(4))


def test_sampling_keeps_the_mode_of_the_network() -> None:
    module = game(tricks=["truncation"])
    play_steps(module, 1)
    module.game.sample(3)
    assert all(part.training for part in module.game.generator.modules())


def test_an_average_is_sampled_with_truncation() -> None:
    module = game(tricks=["truncation", "ema"])
    play_steps(module, 2)
    latent = priors.TruncatedNormal(1.0)(RandomStreams(0, "sample"), 4, 6)
    average = module.game.tricks["ema"].presented("generator", module.game.generator).eval()
    assert torch.equal(module.game.sample(4), average(latent))
    assert module.game.tricks.tricks_that_replace("generator", module.game.generator) == [
        "ema",
        "truncation",
    ]


@pytest.mark.parametrize("prior", ["sphere", "uniform"])
def test_other_latents_are_refused_and_the_remedy_helps(prior: str) -> None:
    base = (*SMALL, "trick=truncation", f"model/prior@model.generator.prior={prior}")
    with pytest.raises(ConfigError, match="trick=truncation: needs normal latents") as refusal:
        build_game(compose(*base))
    build_game(compose(*base[:-1], refusal.value.remedy.split()[-1]))
