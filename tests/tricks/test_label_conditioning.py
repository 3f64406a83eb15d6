import pytest
import torch
from support.refusals import refuses
from support.small_games import SMALL
from torch import nn

from ganlab.config.build import build_game
from ganlab.config.compose import compose
from ganlab.core.batch import ConditionSpec
from ganlab.core.errors import ConfigError
from ganlab.core.players import Networks
from ganlab.game import Game
from ganlab.networks.base import ConditionalSequential, Generator
from ganlab.networks.class_conditioning import (
    AppendPlanes,
    AppendVector,
    ConditionalNorm,
    MultiplyByVector,
    Projection,
    condition_generator,
)
from ganlab.networks.norms import Norm
from ganlab.networks.priors import Normal

CLASSES = ConditionSpec("class", num_classes=3)


def conditional(*overrides: str) -> Game:
    return build_game(compose(*SMALL, "trick=label_conditioning", *overrides))


WAYS = [(g, d) for g in ("concat", "embedding", "norm") for d in ("concat", "embedding", "projection")]


@pytest.mark.parametrize("model", ["gan", "dcgan"])
@pytest.mark.parametrize(("generator", "discriminator"), WAYS)
def test_both_players_depend_on_the_class(model: str, generator: str, discriminator: str) -> None:
    small = (
        SMALL
        if model == "gan"
        else ("logger=csv", "model=dcgan", "model.generator.width=4", "model.discriminator.width=4")
    )
    game = build_game(
        compose(
            *small,
            "trick=label_conditioning",
            f"trick.label_conditioning.generator={generator}",
            f"trick.label_conditioning.discriminator={discriminator}",
        )
    )
    # A conditional norm starts as the plain one; its classes differ after training.
    for weight in game.parameters():
        nn.init.normal_(weight, 0, 0.1)
    latent, one, two = torch.randn(4, game.generator.latent_dim), torch.full((4,), 1), torch.full((4,), 2)
    game.eval()  # in training, batch norm would remove what all rows have in common
    made = game.generator(latent, one)
    assert not torch.allclose(made, game.generator(latent, two), atol=1e-5)
    assert not torch.allclose(
        game.discriminator(made, one).logits, game.discriminator(made, two).logits, atol=1e-6
    )


def test_projection_adds_the_product_of_embedding_and_features() -> None:
    projection = Projection(CLASSES, 4)
    features, classes = torch.randn(2, 4), torch.tensor([2, 0])
    by_hand = [sum(projection.embedding.weight[c] * f) for c, f in zip(classes, features, strict=True)]
    assert torch.allclose(projection(features, classes), torch.stack(by_hand))


def test_the_projection_is_added_to_the_score() -> None:
    game = conditional("trick.label_conditioning.discriminator=projection")
    judge, x, classes = game.discriminator, torch.randn(3, 1, 8, 8), torch.tensor([2, 0, 2])
    verdict = judge(x, classes)
    (embedding,) = (m for m in judge.modules() if isinstance(m, nn.Embedding))
    product = (embedding.weight[classes] * verdict.features).sum(1)
    assert product.abs().min() > 0
    assert torch.allclose(verdict.logits, judge.score(verdict.features).squeeze(1) + product, atol=1e-6)


def test_concatenated_planes_are_one_hot() -> None:
    x, _ = AppendPlanes(CLASSES)(torch.randn(2, 1, 4, 5), torch.tensor([2, 0]))
    assert x.shape == (2, 4, 4, 5)
    assert x[0, 1:].mean((1, 2)).tolist() == [0, 0, 1]
    assert x[1, 1:].mean((1, 2)).tolist() == [1, 0, 0]


def test_concatenated_columns_are_one_hot() -> None:
    classes = torch.tensor([2, 0])
    for layer, x in (
        (AppendVector(CLASSES), torch.randn(2, 4)),
        (AppendVector(CLASSES), torch.randn(2, 1, 2, 2)),
    ):
        seen, _ = layer(x, classes)
        assert torch.equal(seen[:, :4], x.flatten(1))
        assert seen[:, 4:].tolist() == [[0, 0, 1], [1, 0, 0]]


def test_an_embedded_class_multiplies_the_latent() -> None:
    layer, x, classes = MultiplyByVector(CLASSES, 4), torch.randn(2, 4), torch.tensor([2, 0])
    seen, _ = layer(x, classes)
    for i, c in enumerate(classes):
        for j in range(4):
            assert seen[i, j] == x[i, j] * layer.embedding.weight[c, j]


def test_a_class_embedding_is_appended_as_a_channel() -> None:
    layer, x, classes = AppendPlanes(CLASSES, 20), torch.randn(2, 1, 4, 5), torch.tensor([2, 0])
    seen, _ = layer(x, classes)
    assert torch.equal(seen[:, :1], x)
    for row, c in enumerate(classes):
        for i in range(4):
            for j in range(5):
                assert seen[row, 1, i, j] == layer.embedding.weight[c, 5 * i + j]


@pytest.mark.parametrize(
    ("data", "columns"),
    [("digits", 8 * 8), ("digits data.shape=[3,8,8]", 8 * 8), ("ring", 2), ("mixture_1d", 1)],
)
def test_the_embedding_has_the_size_of_one_channel(data: str, columns: int) -> None:
    """The first layer has as many new columns, and the class changes a verdict only by them."""
    small = (*SMALL, *f"data={data}".split(), "data.num_classes=3")
    plain = build_game(compose(*small)).discriminator
    given = build_game(
        compose(*small, "trick=label_conditioning", "trick.label_conditioning.discriminator=embedding")
    ).discriminator
    first, old = (next(m for m in d.modules() if isinstance(m, nn.Linear)) for d in (given, plain))
    assert first.weight.shape[1] - old.weight.shape[1] == columns
    x, classes, hidden = torch.randn(2, old.weight.shape[1]), torch.tensor([1, 2]), []
    first.register_forward_hook(lambda *call: hidden.append(call[2]))
    given(x, classes)
    table = given.input_transforms[0].embedding.weight[classes]
    expected = old(x) + table @ first.weight[:, -columns:].T
    assert torch.allclose(hidden[0], expected, atol=1e-5)
    (slope,) = torch.autograd.grad(hidden[0].sum(), given.input_transforms[0].embedding.weight)
    assert slope[0].abs().max() == 0
    assert slope[1].abs().max() > 0


def test_a_conditional_norm_scales_and_shifts_by_class() -> None:
    norm = ConditionalNorm(nn.BatchNorm2d(2), CLASSES)
    nn.init.normal_(norm.gain.weight)
    nn.init.normal_(norm.bias.weight)
    x, classes = torch.randn(4, 2, 3, 3), torch.tensor([0, 2, 2, 1])
    plain = nn.functional.batch_norm(x, None, None, training=True)
    for b, c in enumerate(classes):
        expected = plain[b] * norm.gain.weight[c].view(2, 1, 1) + norm.bias.weight[c].view(2, 1, 1)
        assert torch.allclose(norm(x, classes)[b], expected, atol=1e-6)


class PixelNorm(Norm):
    """The normalisation of Karras et al. (2018), which torch.nn lacks."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x / (x.square().mean(1, keepdim=True) + 1e-8).sqrt()


@pytest.mark.parametrize("norm", [PixelNorm(4), nn.InstanceNorm2d(4), nn.GroupNorm(2, 4)])
def test_each_class_has_a_gain_and_a_bias_after_a_norm_that_is_declared(norm: nn.Module) -> None:
    x, classes = torch.randn(3, 4, 2, 2), torch.tensor([0, 1, 2])
    plain = norm(x)
    body = ConditionalSequential(norm)
    generator = Generator(body, latent_dim=4, shape=(4, 2, 2), prior=Normal())
    condition_generator(Networks({"generator": generator}, CLASSES), "norm")
    nn.init.constant_(body[0].gain.weight, 2)
    assert torch.allclose(generator.body(x, classes), 2 * plain, atol=1e-6)


@pytest.mark.parametrize("player", ["generator", "discriminator"])
def test_an_unknown_mode_is_refused(player: str) -> None:
    with pytest.raises(ConfigError, match=f"{player}=mystery:? must be one of concat"):
        conditional(f"trick.label_conditioning.{player}=mystery")


def test_unlabelled_data_are_refused() -> None:
    with refuses("trick", "label_conditioning", "needs labels, but the data have no labels", "labelled data"):
        conditional("data.num_classes=null")


def test_norm_conditioning_without_batch_norm_is_refused() -> None:
    with refuses("trick.label_conditioning.generator", "norm", "needs a generator with batch norm"):
        conditional("trick.label_conditioning.generator=norm", "model.generator.batch_norm=false")


def test_samples_have_the_requested_class() -> None:
    game = conditional()
    assert game.asked(12).tolist() == [*range(10), 0, 1]
    assert game.asked(3, 7).tolist() == [7, 7, 7]
    with refuses("class", 10, "must lie between 0 and 9"):
        game.sample(1, conditions=10)
    with refuses("condition", reason="the generator is told nothing"):
        build_game(compose(*SMALL)).sample(1, conditions=3)
