import copy
import itertools
import math

import pytest
import torch
from support.refusals import refuses
from support.small_games import game, play_step, play_steps

from ganlab.config.load import load_players
from ganlab.core.batch import ConditionSpec
from ganlab.core.schedules import Constant, HalfLife, Linear, Schedule, WarmUp, as_schedule
from ganlab.networks.norms import set_standing_statistics
from ganlab.tricks.ema import EMA, latent_batches

DECAY = 0.999


def test_the_average_is_the_closed_form() -> None:
    module = game(tricks=["ema"])
    ema = module.game.tricks["ema"]
    ema.decay = Constant(DECAY)
    history = []
    for _ in range(5):
        play_step(module)
        history.append([w.detach().double().clone() for w in module.game.weights("generator")])
    for i, average in enumerate(ema.averages["generator"].parameters()):
        first = DECAY**4 * history[0][i]
        later = sum((1 - DECAY) * DECAY ** (4 - t) * history[t][i] for t in range(1, 5))
        assert torch.allclose(average.double(), first + later, atol=1e-6)


def test_buffers_are_copied_and_only_the_generator_counts() -> None:
    module = game(tricks=["ema"])
    play_steps(module, 2)
    average = module.game.tricks["ema"].averages["generator"]
    for mine, theirs in zip(average.buffers(), module.game.generator.buffers(), strict=True):
        assert torch.equal(mine, theirs)
    assert module.game.tricks["ema"].num_updates == {"generator": 2}


def test_the_average_is_sampled_with_batch_norm_statistics_of_its_own() -> None:
    module = game(tricks=["ema"])
    play_steps(module, 5)
    average = module.game.presented("generator")
    linear, norm = average.body[0], average.body[1]
    z = torch.cat([latent for latent, _ in latent_batches(average, None)])
    seen = linear(z).detach()
    assert torch.allclose(norm.running_mean, seen.mean(0), atol=1e-6)
    assert torch.allclose(norm.running_var, seen.var(0), rtol=0.01)
    others = module.game.generator.body[1]
    assert not torch.allclose(norm.running_var, others.running_var, rtol=0.1)
    play_steps(module, 3)
    assert torch.allclose(
        module.game.presented("generator").body[1].running_mean, linear(z).detach().mean(0), atol=1e-6
    )


def test_standing_statistics_equal_the_cumulative_statistics_of_training() -> None:
    module = game(tricks=["ema", "label_conditioning"], model="dcgan")
    play_steps(module, 3)
    average = module.game.presented("generator")
    twin = copy.deepcopy(average).train()
    norms = [layer for layer in twin.modules() if isinstance(layer, torch.nn.BatchNorm2d)]
    for norm in norms:
        norm.reset_running_stats()
        norm.momentum = None  # torch's cumulative average
    with torch.no_grad():
        for latent, classes in latent_batches(average, None):
            twin(latent, classes)
    ours = [layer for layer in average.modules() if isinstance(layer, torch.nn.BatchNorm2d)]
    assert len(ours) >= 2
    for mine, theirs in zip(ours, norms, strict=True):
        assert torch.allclose(mine.running_mean, theirs.running_mean, atol=1e-6)
        assert torch.allclose(mine.running_var, theirs.running_var, rtol=0.03)
    # With one batch there is no deviation between the means of batches.
    set_standing_statistics(average, itertools.islice(latent_batches(average, None), 1))
    for norm in norms:
        norm.reset_running_stats()
    with torch.no_grad():
        twin(*next(latent_batches(average, None)))
    for mine, theirs in zip(ours, norms, strict=True):
        assert torch.allclose(mine.running_var, theirs.running_var, rtol=1e-4)


def test_statistics_of_different_batches_are_pooled() -> None:
    norm = torch.nn.BatchNorm1d(3)
    batches = torch.randn(50, 3), 2 * torch.randn(50, 3) + 5
    set_standing_statistics(norm, [(batch,) for batch in batches])
    assert torch.allclose(norm.running_mean, torch.cat(batches).mean(0))
    assert torch.allclose(norm.running_var, torch.cat(batches).var(0), rtol=0.02)


def test_sampling_does_not_change_the_game() -> None:
    seen, unseen = (game(tricks=["ema"]) for _ in range(2))
    for _ in range(4):
        play_step(seen)
        play_step(unseen)
        seen.game.sample(3)
    mine, theirs = seen.game.state_dict(), unseen.game.state_dict()
    assert all(torch.equal(v, theirs[k]) for k, v in mine.items() if isinstance(v, torch.Tensor))
    assert torch.equal(seen.game.sample(5), unseen.game.sample(5))


@pytest.mark.parametrize("ramp", [WarmUp(0.9), HalfLife(20, 0.5)])
def test_a_schedule_of_decays_weights_the_steps(ramp: Schedule) -> None:
    module = game(tricks=["ema"])
    ema = module.game.tricks["ema"]
    ema.decay = as_schedule("trick.ema.decay", ramp, "(0, 1)")
    history = []
    for _ in range(4):
        play_step(module)
        history.append([w.detach().double().clone() for w in module.game.weights("generator")])
    shares = [math.prod(ramp(s) for s in range(t + 1, 4)) * (1 - ramp(t) if t else 1) for t in range(4)]
    assert sum(shares) == pytest.approx(1)
    for i, average in enumerate(ema.averages["generator"].parameters()):
        expected = sum(share * weights[i] for share, weights in zip(shares, history, strict=True))
        assert torch.allclose(average.double(), expected, atol=1e-6)


def test_the_discriminators_average_classifies() -> None:
    module = game(
        "non_saturating", ["ema", "semi_supervised"], "alternating", "trick.ema.players=[discriminator]"
    )
    play_steps(module, 2)
    ema = module.game.tricks["ema"]
    assert ema.num_updates == {"discriminator": 2}
    average = ema.averages["discriminator"]
    assert all(m is t for m, t in zip(module.game.classifier.parameters(), average.parameters(), strict=True))
    assert module.game.presented("generator") is module.game.generator
    x = torch.rand(5, 1, 8, 8)
    assert torch.equal(module.game.classify(x), ema.averages["discriminator"].eval()(x).class_logits)


def test_the_average_is_sampled() -> None:
    module = game(tricks=["ema"])
    average = module.game.tricks["ema"].averages["generator"]
    for mine, theirs in zip(
        module.game.presented("generator").parameters(), average.parameters(), strict=True
    ):
        assert mine is theirs


@pytest.mark.parametrize("decay", [2, 1, 0, -0.1, Linear(0.9, 1.5, 10)])
def test_a_decay_out_of_range_is_refused(decay: float) -> None:
    with refuses(".decay", reason="strictly between 0 and 1"):
        EMA(decay, ["generator"])


def test_loaded_weights_are_sampled_before_the_first_update() -> None:
    old, module = (game("hinge", ["ema"], "alternating", f"seed={seed}") for seed in (1, 2))
    module.game.sample(2)
    load_players(module, {"state_dict": old.state_dict()})
    assert torch.equal(module.game.sample(3), old.game.sample(3))


def test_a_discriminator_with_batch_norm_is_refused() -> None:
    tricks, both = ["ema", "semi_supervised"], "trick.ema.players=[generator,discriminator]"
    with refuses("trick.ema.players", ["generator", "discriminator"], "batch norm statistics"):
        game("hinge", tricks, "shared", both, model="dcgan")
    game("hinge", [*tricks, "normalisation"], "shared", both, model="dcgan")


def test_a_number_is_warmed_up_and_a_schedule_is_not() -> None:
    ema = game(tricks=["ema"]).game.tricks["ema"]
    assert [ema.decay(step) for step in (0, 8, 10**6)] == [0.1, 0.5, DECAY]
    assert EMA(Constant(0.999), ["generator"]).decay(0) == 0.999


def test_classes_of_the_statistics_are_as_frequent_as_in_the_data() -> None:
    module = game(tricks=["label_conditioning", "ema"])
    module.game.generator.class_counts = [900, 50, *[0] * 7, 50]
    seen = [classes for _, classes in latent_batches(module.game.generator, None)]
    assert torch.bincount(torch.cat(seen)).tolist() == [900, 50, *[0] * 7, 50]
    assert all(torch.bincount(part)[1] in (12, 13) for part in seen)
    again = game(tricks=["label_conditioning", "ema"])
    again.load_state_dict(module.state_dict())
    assert again.game.presented("generator").class_counts == module.game.generator.class_counts


def test_classes_of_the_statistics_are_uniform_without_counts() -> None:
    for many in (3, 10, 1000):
        generator = game(tricks=["label_conditioning"]).game.generator
        generator.condition, generator.class_counts = many and ConditionSpec("class", num_classes=many), None
        seen = torch.cat([classes for _, classes in latent_batches(generator, None)])
        counts = torch.bincount(seen, minlength=many)
        assert len(counts) == many
        assert counts.max() - counts.min() <= 1
