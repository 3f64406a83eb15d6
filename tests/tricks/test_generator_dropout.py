import pytest
import torch
from support.refusals import refuses
from support.small_games import DCGAN, SMALL, game, play_steps
from torch import Tensor, nn

from ganlab.config.build import build_game
from ganlab.config.compose import compose
from ganlab.core.errors import ConfigError
from ganlab.game import Game
from ganlab.networks.keyed_dropout import KeyedDropout, LatentKeys, splitmix64

PLAIN = "model.generator.batch_norm=false"


def built(*overrides: str, base: tuple[str, ...] = SMALL, tricks: str = "generator_dropout") -> Game:
    return build_game(compose(*base, f"trick=[{tricks}]", *overrides))


def masks(latent: Tensor, layer: int, rate: float, width: int) -> Tensor:
    keys = LatentKeys()
    keys(latent, None)
    return KeyedDropout(keys, layer, rate, at_test=False)(torch.ones(len(latent), width))


def test_the_hash_is_splitmix64() -> None:
    def by_hand(x: int) -> int:
        x = (x + 0x9E3779B97F4A7C15) % 2**64
        x = (x ^ (x >> 30)) * 0xBF58476D1CE4E5B9 % 2**64
        x = (x ^ (x >> 27)) * 0x94D049BB133111EB % 2**64
        return x ^ (x >> 31)

    numbers = [0, 1, -1, 12345, -(2**63), 2**63 - 1]
    assert [x % 2**64 for x in splitmix64(torch.tensor(numbers)).tolist()] == [
        by_hand(x % 2**64) for x in numbers
    ]
    assert by_hand(0) == 0xE220A8397B1DCDAF  # the first output of the authors' generator at seed 0


@pytest.mark.parametrize("rate", [0.1, 0.5, 0.8])
def test_elements_are_dropped_independently_at_the_rate(rate: float) -> None:
    torch.manual_seed(0)
    latent = torch.randn(400, 6)
    one, other = (masks(latent, layer, rate, 500) for layer in (0, 1))
    assert one.unique().tolist() == pytest.approx([0, 1 / (1 - rate)])
    deviation = (rate * (1 - rate)) ** 0.5
    assert float((one == 0).float().mean()) == pytest.approx(rate, abs=5 * deviation / 200_000**0.5)
    for axis, n in ((0, 400), (1, 500)):  # the shares of each position and of each sample
        shares = (one == 0).float().mean(axis)
        assert float((shares - rate).abs().max()) < 5 * deviation / n**0.5
    dropped = (torch.stack([one, other]) == 0).double() - rate
    for a, b in (
        (dropped[0], dropped[1]),
        (dropped[0, 1:], dropped[0, :-1]),
        (dropped[0, :, 1:], dropped[0, :, :-1]),
    ):
        assert abs(float((a * b).mean())) < 5 * deviation**2 / a.numel() ** 0.5


@pytest.mark.parametrize("base", [(*SMALL, PLAIN), DCGAN], ids=["gan", "dcgan"])
def test_an_empty_batch_is_accepted(base: tuple[str, ...]) -> None:
    generator = built("trick.generator_dropout.at_test=true", base=base).generator.eval()
    assert generator(torch.randn(0, 6)).shape == (0, 1, 8, 8)


@pytest.mark.parametrize("base", [(*SMALL, PLAIN), DCGAN], ids=["gan", "dcgan"])
def test_a_mask_depends_on_its_latent_only(base: tuple[str, ...]) -> None:
    generator = built("trick.generator_dropout.at_test=true", base=base).generator.eval()
    latent = torch.randn(7, 6)
    together = generator(latent)
    for b in range(7):
        assert torch.allclose(generator(latent[b : b + 1])[0], together[b], atol=1e-6)
    torch.manual_seed(1)
    assert torch.equal(generator(latent), together)
    assert not torch.allclose(generator(latent + 1e-6), together, atol=1e-5)


def test_at_test_enables_dropout_in_evaluation() -> None:
    plain, latent = build_game(compose(*SMALL, PLAIN)).generator, torch.randn(5, 6)
    for at_test in (False, True):
        generator = built(PLAIN, f"trick.generator_dropout.at_test={str(at_test).lower()}").generator
        assert not torch.equal(generator.train()(latent), plain(latent))
        assert torch.equal(generator.eval()(latent), plain(latent)) != at_test
        assert torch.equal(generator.eval()(latent), generator.train()(latent)) == at_test


def test_every_hidden_layer_has_dropout_and_no_other() -> None:
    for base, hidden in ((DCGAN, 2), ((*SMALL, "model.generator.hidden=[8,8,8]"), 3)):
        body = built(base=base).generator.body
        pairs = [m for m in body.modules() if type(m) is nn.Sequential]
        assert len(pairs) == hidden
        assert all(isinstance(pair[0], KeyedDropout) for pair in pairs)
        assert len({pair[0].salt for pair in pairs}) == hidden


@pytest.mark.parametrize(
    "tricks", ["generator_dropout", "generator_dropout,ema,virtual_batch_norm,label_conditioning"]
)
def test_samples_depend_on_the_seed_but_not_on_the_batch_size(tricks: str) -> None:
    game = built("trick.generator_dropout.at_test=true", tricks=tricks)
    made = game.sample(20, seed=3)
    assert torch.equal(made, game.sample(20, seed=3))
    assert torch.allclose(made, game.sample(20, seed=3, batch_size=7), atol=1e-6)
    assert torch.allclose(made[4:9], game.sample(20, seed=3, rows=slice(4, 9)), atol=1e-6)
    assert not torch.allclose(made, game.sample(20, seed=4), atol=1e-3)


def test_an_averaged_generator_has_masks_of_its_own() -> None:
    module = game(
        "hinge", ["ema", "generator_dropout"], "alternating", "trick.generator_dropout.at_test=true"
    )
    play_steps(module, 2)
    key = module.game.generator.latent_transforms[0].keys
    module.game.sample(3)
    assert module.game.generator.latent_transforms[0].keys is key
    assert len(module.game.presented("generator").latent_transforms[0].keys) == 3


def test_a_generator_without_a_hidden_layer_is_refused() -> None:
    with refuses("trick", "generator_dropout", "needs a generator with a hidden layer"):
        built("model.generator.hidden=[]")


def test_at_test_is_true_or_false() -> None:
    with pytest.raises(ConfigError, match="trick.generator_dropout.at_test=2:? must be true or false"):
        built("trick.generator_dropout.at_test=2")
