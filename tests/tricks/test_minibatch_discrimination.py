import math

import pytest
import torch
from support.small_games import game, real_batch
from torch import nn

from ganlab.tricks.minibatch_discrimination import Closeness, ClosenessScore


def test_the_closeness_is_the_sum_in_the_paper() -> None:
    layer = Closeness(4, 3, 2)
    features = torch.randn(5, 4)
    tensor = layer.projection.weight.detach().T.reshape(4, 3, 2)  # T, [features, kernels, dims]
    mapped = [
        [[sum(f[a] * tensor[a, b, c] for a in range(4)) for c in range(2)] for b in range(3)]
        for f in features
    ]
    made = layer(features)
    assert made.shape == (5, 3)
    for i in range(5):
        for b in range(3):
            expected = sum(
                math.exp(-sum(abs(float(mapped[i][b][c] - mapped[j][b][c])) for c in range(2)))
                for j in range(5)
            )
            assert float(made[i, b].detach()) == pytest.approx(expected, rel=1e-5)


def test_it_equals_a_linear_score_of_features_and_closeness() -> None:
    added, score, features = ClosenessScore(4, 3, 2), nn.Linear(4, 1), torch.randn(6, 4)
    whole = nn.Linear(4 + 3, 1)
    with torch.no_grad():
        whole.weight.copy_(torch.cat([score.weight, added.score.weight], 1))
        whole.bias.copy_(score.bias)
    beside = torch.cat([features, added.closeness(features)], 1)
    assert torch.allclose(
        whole(beside).squeeze(1), score(features).squeeze(1) + added(features, None), atol=1e-5
    )


def test_it_is_added_to_the_score() -> None:
    judge = game(tricks=["minibatch_discrimination"]).game.discriminator
    verdict, (added,) = judge(real_batch().real.x), judge.further_scores
    of_features, beside = judge.score(verdict.features).squeeze(1), added(verdict.features, None)
    assert beside.abs().min() > 0
    assert torch.allclose(verdict.logits, of_features + beside, atol=1e-6)


def test_logits_are_permutation_equivariant() -> None:
    discriminator = game(tricks=["minibatch_discrimination"]).game.discriminator
    x, order = real_batch().real.x, torch.randperm(16)
    logits = discriminator(x).logits
    assert torch.allclose(discriminator(x[order]).logits, logits[order], atol=1e-5)
    assert not torch.allclose(discriminator(x[:8]).logits, logits[:8], atol=1e-3)
    plain = game().game.discriminator
    assert torch.allclose(plain(x[:8]).logits, plain(x).logits[:8], atol=1e-5)


def test_a_collapsed_batch_has_the_largest_closeness() -> None:
    layer = Closeness(4, 3, 2)
    assert torch.allclose(layer(torch.ones(7, 4)), torch.full((7, 3), 7.0))
    assert torch.allclose(layer(1e4 * torch.randn(7, 4)), torch.ones(7, 3), atol=1e-3)
