"""Plain torch modules as players: what they are called with, and what tricks find in them."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from support.commands import QUICK
from support.modules import build
from support.refusals import refuses
from support.small_games import play_steps
from torch import Tensor, nn

from ganlab.config.checks import check_config
from ganlab.config.compose import compose
from ganlab.networks import plain
from ganlab.networks.priors import Normal

HERE, SHAPE = __name__, (1, 8, 8)


class Maker(nn.Module):
    def __init__(self, latent_dim: int) -> None:
        super().__init__()
        self.layer = nn.Linear(latent_dim, 64)

    def forward(self, latent: Tensor) -> Tensor:
        return self.layer(latent).tanh().view(-1, *SHAPE)


class Judge(nn.Module):
    """Returns logits [B, 1], or what `returns` says."""

    def __init__(self, returns: str = "column") -> None:
        super().__init__()
        self.hidden, self.score, self.returns = nn.Linear(64, 8), nn.Linear(8, 1), returns

    def forward(self, x: Tensor) -> Any:
        features = self.hidden(x.flatten(1)).relu()
        logits = self.score(features)
        return {
            "column": logits,
            "flat": logits[:, 0],
            "pair": (logits, features),
            "flat pair": (logits[:, 0], features),
            "features": features,
            "dict": {"logits": logits},
            "text pair": (logits, features[:, :, None]),
        }[self.returns]


class Layers(nn.Sequential):
    def __init__(self) -> None:
        super().__init__(nn.Flatten(), nn.Linear(64, 8), nn.ReLU(), nn.Linear(8, 1))


class Patches(nn.Sequential):
    def __init__(self) -> None:
        super().__init__(nn.Conv2d(1, 4, 3, 2, 1), nn.ReLU(), nn.Conv2d(4, 1, 3, 2, 1))


def overrides(judge: str = f"{{_target_:{HERE}.Judge}}", *others: str) -> list[str]:
    nodes = {
        "generator": f"network:{{_target_:{HERE}.Maker,latent_dim:6}},latent_dim:6,prior:${{prior}}",
        "discriminator": f"network:{judge}",
    }
    prior = "{_target_:ganlab.networks.priors.Normal}"
    added = [
        f"+model.{name}={{_target_:ganlab.networks.plain.{name},{node.replace('${prior}', prior)},"
        "shape:${data.shape}}"
        for name, node in nodes.items()
    ]
    quick = [text for text in QUICK if not text.startswith("model.")]
    return [*quick, "~model.generator", "~model.discriminator", *added, "metric=none", *others]


@pytest.mark.parametrize("returns", ["column", "flat", "pair", "flat pair"])
def test_logits_and_features_are_those_of_the_module(returns: str) -> None:
    judge = Judge(returns)
    made = plain.discriminator(judge, SHAPE)
    x = torch.randn(5, *SHAPE)
    hidden = judge.hidden(x.flatten(1)).relu()
    verdict = made(x)
    torch.testing.assert_close(verdict.logits, judge.score(hidden)[:, 0])
    assert made.has_features == ("pair" in returns)
    if made.has_features:
        torch.testing.assert_close(verdict.features, torch.cat([judge.score(hidden), hidden], 1))
    assert made.num_features == verdict.features.shape[1]
    assert {name.split(".")[0] for name, _ in made.named_parameters()} == {"body"}


def test_a_module_over_patches_judges_each() -> None:
    network = Patches()
    made = plain.discriminator(network, SHAPE)
    x = torch.randn(5, *SHAPE)
    torch.testing.assert_close(made(x).logits, network(x)[:, 0])
    assert made.judges_patches


@pytest.mark.parametrize(
    ("returns", "reason"),
    [("features", r"returns \[2, 8\]"), ("dict", "returns dict"), ("text pair", r"returns \[2, 8, 1\]")],
)
def test_other_outputs_are_refused(returns: str, reason: str) -> None:
    with refuses(".network", reason=reason):
        plain.discriminator(Judge(returns), SHAPE)


def test_modules_that_do_not_fit_the_data_are_refused() -> None:
    with refuses(".network", reason=r"returns \[2, 1, 8, 8\] for two samples, which must be \[2, 3, 8, 8\]"):
        plain.generator(Maker(6), 6, (3, 8, 8), Normal())
    with refuses(".network", reason=r"cannot be called with \[2, 7\]"):
        plain.generator(Maker(6), 7, SHAPE, Normal())
    with refuses(".network", reason=r"must be \[2, 12\]"):
        plain.encoder(Judge(), SHAPE, 12)
    batch_norm = nn.Sequential(nn.BatchNorm2d(1), nn.Flatten(), nn.Linear(64, 12))
    plain.encoder(batch_norm, SHAPE, 12)
    assert int(batch_norm[0].num_batches_tracked) == 0  # blank samples leave no trace


@pytest.mark.parametrize("trick", ["spectral_norm", "r1", "ema", "feature_matching", "label_smoothing"])
def test_tricks_that_need_no_structure_train(trick: str) -> None:
    losses = play_steps(build(compose(*overrides(), f"trick={trick}")), 3)
    assert all(torch.tensor([*loss.values()]).isfinite().all() for loss in losses)


@pytest.mark.parametrize(
    ("judge", "trick", "reason"),
    [
        ("Judge}", "minibatch_discrimination", "or has none"),
        ("Judge}", "packing", "Judge does not say which they are"),
        ("Judge,returns:pair}", "minibatch_discrimination", ""),
        ("Judge,returns:pair}", "semi_supervised", ""),
        ("Layers}", "packing", ""),
        ("Layers}", "minibatch_discrimination", "or has none"),
    ],
)
def test_tricks_that_need_structure_or_features_find_them_or_are_refused(
    judge: str, trick: str, reason: str
) -> None:
    cfg = compose(*overrides(f"{{_target_:{HERE}.{judge}"), f"trick={trick}", "data.labelled=10")
    if reason:
        with refuses("trick", trick, reason):
            build(cfg)
    else:
        play_steps(build(cfg), 2)


@pytest.mark.parametrize("place", ["generator", "discriminator", "data"])
def test_a_torch_class_in_the_place_of_ganlabs_is_refused_with_the_recipe(place: str) -> None:
    key = place if place == "data" else f"model.{place}"
    target = "torch.utils.data.TensorDataset" if place == "data" else f"{HERE}.Judge"
    cfg = compose(f"{key}._target_={target}")
    recipe = "data=dataset" if place == "data" else f"ganlab.networks.plain.{place}"
    with refuses(f"{key}._target_", target, "is not a ganlab", recipe):
        check_config(cfg)
