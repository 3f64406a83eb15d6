import pytest
import torch
from support.refusals import refuses
from support.small_games import game
from torch import nn

from ganlab.core.batch import ConditionSpec
from ganlab.core.players import Networks
from ganlab.networks.base import AppendCondition, ConditionalSequential, Generator
from ganlab.networks.norms import VirtualNorm
from ganlab.networks.priors import Normal
from ganlab.tricks.virtual_batch_norm import VirtualBatchNorm

SIZE = 5


@pytest.mark.parametrize("shape", [(4,), (4, 3, 2)])
def test_a_row_is_normalised_as_an_additional_row_of_the_reference(shape: tuple[int, ...]) -> None:
    norm = (nn.BatchNorm1d if len(shape) == 1 else nn.BatchNorm2d)(4)
    nn.init.normal_(norm.weight)
    nn.init.normal_(norm.bias)
    reference, batch = torch.randn(SIZE, *shape), 3 + 2 * torch.randn(6, *shape)
    out = VirtualNorm(norm, SIZE)(torch.cat([reference, batch]))
    assert torch.allclose(out[:SIZE], norm(reference), atol=1e-5)
    for b in range(len(batch)):
        expected = norm(torch.cat([reference, batch[b : b + 1]]))[-1]
        assert torch.allclose(out[SIZE + b], expected, atol=1e-5)


def test_a_sample_does_not_depend_on_the_others_of_its_batch() -> None:
    generator = game(tricks=["virtual_batch_norm"]).game.generator.train()
    latent = torch.randn(7, 6)
    together = generator(latent)
    assert len(together) == 7
    for b in range(7):
        assert torch.allclose(generator(latent[b : b + 1])[0], together[b], atol=1e-5)
    assert torch.allclose(generator.eval()(latent), together, atol=1e-5)


def test_a_batch_norm_would_fail_the_same_test() -> None:
    generator = game().game.generator.train()
    latent = torch.randn(7, 6)
    assert not torch.allclose(generator(latent[:3])[0], generator(latent)[0], atol=1e-3)


def test_the_reference_is_conditioned() -> None:
    for way in ("concat", "embedding", "norm"):
        override = f"trick.label_conditioning.generator={way}"
        generator = (
            game("non_saturating", ["virtual_batch_norm", "label_conditioning"]).game.generator
            if way == "concat"
            else conditioned(override)
        )
        latent, classes = torch.randn(4, 6), torch.tensor([1, 2, 1, 9])
        one = generator(latent[:1], classes[:1])
        assert torch.allclose(generator(latent, classes)[0], one[0], atol=1e-5)


def conditioned(override: str) -> nn.Module:
    from support.small_games import SMALL

    from ganlab.config.build import build_game
    from ganlab.config.compose import compose

    return build_game(compose(*SMALL, "trick=[virtual_batch_norm,label_conditioning]", override)).generator


def test_a_generator_without_batch_norm_is_refused() -> None:
    with refuses("trick", "virtual_batch_norm", "needs a generator with batch norm"):
        game("non_saturating", ["virtual_batch_norm"], "alternating", "model.generator.batch_norm=false")


def test_the_reference_comes_before_what_the_network_appends() -> None:
    body = ConditionalSequential(nn.Linear(5, 4), nn.BatchNorm1d(4), nn.Linear(4, 2))
    generator = Generator(body, 3, (2,), Normal())
    generator.latent_transforms.append(AppendCondition())
    generator.condition = ConditionSpec("vector", (2,))
    networks = Networks({"generator": generator}, generator.condition, lambda n: torch.ones(n, 2))
    VirtualBatchNorm(SIZE).networks(networks)
    assert generator(torch.randn(7, 3), torch.zeros(7, 2)).shape == (7, 2)
