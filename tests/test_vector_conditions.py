"""Games of images and points that are told vectors: what they learn, and what users do with their runs."""

from __future__ import annotations

from itertools import islice
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from support.commands import assert_same_run, play, resume, summary
from support.daily_sample import daily_cases, daily_choice, on_one_day_of
from support.modules import build
from support.refusals import refuses
from support.small_games import DCGAN, SMALL, game, home_data, play_steps
from support.vector_digits import DATA, ink_and_height
from torch import Tensor, nn

from ganlab.config.build import build_data, build_game
from ganlab.config.compose import compose
from ganlab.config.load import load
from ganlab.core.batch import ConditionSpec
from ganlab.evaluate import evaluate
from ganlab.networks.class_conditioning import (
    AppendPlanes,
    AppendVector,
    ConditionalNorm,
    MultiplyByVector,
    Projection,
)
from ganlab.sample import sample
from ganlab.visualize.images import grid
from ganlab.visualize.sample_picture import conditions_of_picture, sample_picture

SPEC = ConditionSpec("vector", (2,))
MODELS = {"gan": SMALL, "dcgan": DCGAN}
TOLD_MODELS = ["gan", "dcgan model.generator.width=16 model.discriminator.width=16"]
TOLD = (*DATA, "trick=label_conditioning")


@pytest.mark.parametrize("model", MODELS)
@pytest.mark.parametrize("generator", ["concat", "embedding", "norm"])
@pytest.mark.parametrize("discriminator", ["concat", "embedding", "projection"])
def test_both_players_depend_on_the_vector(model: str, generator: str, discriminator: str) -> None:
    ways = {"generator": generator, "discriminator": discriminator}
    overrides = [f"trick.label_conditioning.{player}={way}" for player, way in ways.items()]
    made = build_game(compose(*MODELS[model], *TOLD, *overrides))
    for weight in made.parameters():
        nn.init.normal_(weight, 0, 0.1)
    latent, (one, two) = torch.randn(4, 6), torch.randn(2, 1, 2).expand(-1, 4, -1)
    made.eval()  # in training, batch norm would remove what all rows have in common
    x = made.generator(latent, one)
    assert not torch.allclose(x, made.generator(latent, two), atol=1e-5)
    assert not torch.allclose(made.discriminator(x, one).logits, made.discriminator(x, two).logits, atol=1e-6)
    assert made.generator.condition == SPEC


def test_a_vector_enters_as_it_is_or_by_a_linear_map() -> None:
    x, vectors = torch.randn(3, 1, 4, 5), torch.randn(3, 2)
    planes, _ = AppendPlanes(SPEC)(x, vectors)
    assert torch.equal(planes, torch.cat([x, vectors[:, :, None, None].expand(-1, -1, 4, 5)], 1))
    assert torch.equal(AppendVector(SPEC)(x, vectors)[0], torch.cat([x.flatten(1), vectors], 1))
    layer, features = MultiplyByVector(SPEC, 6), torch.randn(3, 6)
    nn.init.normal_(layer.embedding.bias)
    linear = vectors @ layer.embedding.weight.T + layer.embedding.bias
    assert torch.allclose(layer(features, vectors)[0], features * linear, atol=1e-6)
    projection = Projection(SPEC, 6)
    expected = (features * (vectors @ projection.embedding.weight.T)).sum(1)
    assert torch.allclose(projection(features, vectors), expected, atol=1e-6)
    learned = AppendPlanes(SPEC, 20)
    plane = (vectors @ learned.embedding.weight.T + learned.embedding.bias).view(3, 1, 4, 5)
    assert torch.allclose(learned(x, vectors)[0], torch.cat([x, plane], 1), atol=1e-6)


def test_a_norm_that_is_told_vectors_starts_as_the_plain_one() -> None:
    norm, x, vectors = ConditionalNorm(nn.BatchNorm2d(2), SPEC), torch.randn(4, 2, 3, 3), torch.randn(4, 2)
    plain = nn.functional.batch_norm(x, None, None, training=True)
    assert torch.allclose(norm(x, vectors), plain, atol=1e-6)
    nn.init.normal_(norm.gain.weight)
    gain = (1 + vectors @ norm.gain.weight.T)[:, :, None, None]
    assert torch.allclose(norm(x, vectors), plain * gain, atol=1e-5)


def test_embedded_vectors_have_the_variance_of_embedded_classes() -> None:
    torch.manual_seed(0)
    vectors, told = torch.randn(500, 30), ConditionSpec("vector", (30,))
    assert 0.9 < MultiplyByVector(told, 200).embedding(vectors).std() < 1.1
    scores = Projection(told, 200)(torch.randn(500, 200), vectors)
    assert 0.7 < scores.std() < 1.3


def correlations(samples: Tensor, vectors: Tensor) -> list[float]:
    """The correlation of each element of the told vectors with that of the generated digits."""
    found = ink_and_height((samples + 1) * 127.5)
    return [float(torch.corrcoef(torch.stack(pair))[0, 1]) for pair in zip(found.T, vectors.T, strict=True)]


@on_one_day_of(3)
@pytest.mark.parametrize("model", daily_cases([daily_choice(TOLD_MODELS)], TOLD_MODELS))
def test_generated_digits_have_the_ink_and_the_height_that_they_are_told(model: str) -> None:
    rates = [f"optimizer.{player}.lr=0.001" for player in ("generator", "discriminator")]
    cfg = compose(
        "logger=csv", *TOLD, "data.batch_size=64", f"model={model.split()[0]}", *model.split()[1:], *rates
    )
    data = build_data(cfg)
    module = build(cfg, data)
    for batch in islice(data.stream(0, lambda: 0, "cpu"), 400):
        module.play_step(batch)
    vectors = data.conditions("test")(360)  # none of them was told in training
    told = correlations(module.game.sample(360, conditions=vectors), vectors)
    other = correlations(module.game.sample(360, conditions=vectors.roll(1, 0)), vectors)
    assert min(told) > 0.6 > 0.3 > max(map(abs, other)), (told, other)


@pytest.mark.parametrize("trick", ["diff_augment", "adaptive_augment", "consistency_regularisation"])
def test_an_augmented_image_keeps_its_vector(trick: str) -> None:
    module, seen = game(tricks=[trick], model="vector_digits"), []
    module.game.discriminator.register_forward_hook(lambda _, inputs, *__: seen.append(inputs[1]))
    play_steps(module, 3)
    batches = [module.batches(step) for step in range(3)]
    assert all(any(torch.equal(told, batch.real.condition) for batch in batches) for told in seen)
    assert len(seen) >= 9


def test_a_picture_has_a_column_for_each_vector_below_its_target() -> None:
    module, data = game(model="vector_digits"), home_data("vector_digits")
    made, source = module.game, data.conditions("test")
    given = conditions_of_picture(made, 10)
    assert torch.equal(given, source(4))
    samples = made.sample(10, conditions=given)
    assert torch.equal(made.asked(10, given)[4:8], source(4))
    picture = np.asarray(sample_picture(made, samples, data, value_range=(-1, 1), names=()))
    above, below = (np.asarray(grid(x, (-1, 1), columns=4)) for x in (source.answers(4), samples))
    assert np.array_equal(picture[-len(below) :], below)
    starts = range(len(picture) - len(below) - len(above))  # between the titles of the rows
    assert any(np.array_equal(picture[start : start + len(above)], above) for start in starts)
    made.conditions = lambda n: source(n)  # what a user gives has no answers
    made.conditions.answers = None
    picture = np.asarray(sample_picture(made, samples, None, value_range=(-1, 1), names=()))
    assert np.array_equal(picture, below)


RUN = (
    *TOLD,
    "data.flip=true",
    "metric=[pair_error,fid]",
    "extractor=digits",
    "log_every=3",
    "sample_every=3",
    "evaluate_every=3",
)


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    run_dir = tmp_path_factory.mktemp("runs") / "vectors"
    play(
        run_dir, *RUN, "trick=[label_conditioning,ema,replay_buffer]", "steps=6", "views=[{what: grid, n: 9}]"
    )
    return run_dir


def test_a_run_that_is_told_vectors_is_measured_and_resumes_exactly(trained: Path, tmp_path: Path) -> None:
    part = ["trick=[label_conditioning,ema,replay_buffer]", "views=[{what: grid, n: 9}]"]
    play(tmp_path / "part", *RUN, *part, "steps=3")
    resume(tmp_path / "part", "steps=6")
    assert_same_run(trained, tmp_path / "part")
    pictures = [run_dir / "samples" / "0000006.png" for run_dir in (trained, tmp_path / "part")]
    assert pictures[0].read_bytes() == pictures[1].read_bytes()
    assert {name.partition("/")[0] for name in summary(trained)["metrics"]} == {"pair_error", "fid"}


def pixels(run_dir: Path, *overrides: str) -> np.ndarray:
    given = [f"run_dir={run_dir}", "n=4", *overrides]
    return np.asarray(Image.open(sample(compose(*given, config_name="sample"), given)))


def test_a_user_gives_vectors_for_samples_and_metrics(trained: Path, tmp_path: Path) -> None:
    file, made = tmp_path / "vectors.npy", load(trained)
    np.save(file, np.array([[0.0, 2], [1, -1], [5, 5]]))
    shown = pixels(trained, f"condition={file}")
    samples = made.sample(4, conditions=torch.tensor([[0.0, 2], [1, -1]]))  # two columns
    assert np.array_equal(shown, np.asarray(grid(samples, (-1, 1), columns=2)))
    assert not np.array_equal(pixels(trained), pixels(trained, "condition=train"))
    for view in ("neighbours", "interpolate"):
        pixels(trained, f"condition={file}", f"what={view}")
    np.save(file, np.zeros((2, 3)))
    with refuses("condition", str(file), "has vectors of 3 elements, but the generator is told 2"):
        pixels(trained, f"condition={file}")
    with refuses("class", 3, "has no classes"):
        pixels(trained, "class=3")
    np.save(file, np.zeros((2, 2)))
    given = [f"run_dir={trained}", "metric=fid", "n=60", f"condition={file}"]
    record = evaluate(compose(*given, config_name="evaluate"), given)["fid/digits_train_60"]
    assert record["conditions"] == "2 vectors from a file"


def test_tricks_that_need_classes_are_refused_by_name() -> None:
    for trick in ("auxiliary_classifier", "semi_supervised"):
        with refuses("trick", trick, "needs classes, but the data have no labels"):
            game(tricks=[trick], model="vector_digits")
    with refuses("data.labelled", 10, "only choose samples|needs data with labels"):
        build_data(compose(*SMALL, *DATA, "data.labelled=10"))


def test_a_game_without_the_trick_is_told_nothing(tmp_path: Path) -> None:
    module = build(compose(*SMALL, *DATA), build_data(compose(*SMALL, *DATA)))
    assert module.game.generator.condition is None
    play_steps(module, 1)
    assert module.game.sample(3).shape == (3, 1, 8, 8)
