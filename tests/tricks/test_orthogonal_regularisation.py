import pytest
import torch
from support.refusals import refuses
from support.small_games import game, play_steps, real_batch
from torch import nn

from ganlab.core.randomness import RandomStreams
from ganlab.core.schedules import Linear
from ganlab.core.turn import Turn
from ganlab.tricks.orthogonal_regularisation import OrthogonalRegularisation, squared_products

NAME = "orthogonal_regularisation"


def term(module, player: str = "generator", **changes) -> torch.Tensor:
    turn = module.game.turn(player, real_batch(), RandomStreams(0), module.game.run_step).replace(**changes)
    return module.game.tricks[NAME].losses(turn, lambda _: {})[NAME]


def by_hand(rows: torch.Tensor) -> float:
    """The sum of squared products over all ordered pairs of filters [outputs, inputs]."""
    rows = rows.detach().double()
    n = len(rows)
    return sum(float(rows[i] @ rows[j]) ** 2 for i in range(n) for j in range(n) if i != j)


def rows_of(layer: nn.Module) -> torch.Tensor:
    """The filter of each output, read off its response to unit inputs."""
    if isinstance(layer, nn.ConvTranspose2d):
        return torch.stack([layer.weight[:, i].flatten() for i in range(layer.out_channels)])
    return layer.weight.flatten(1)


@pytest.mark.parametrize("model", ["mlp", "dcgan"])
@pytest.mark.parametrize("player", ["generator", "discriminator"])
def test_the_term_is_the_sum_over_all_pairs_of_filters(model: str, player: str) -> None:
    settings = (f"trick.{NAME}.weight=3", f"trick.{NAME}.player={player}")
    module = game("hinge", [NAME], "alternating", *settings, model=model)
    kinds = (nn.Linear, nn.Conv2d, nn.ConvTranspose2d)
    layers = [m for m in getattr(module.game, player).modules() if isinstance(m, kinds)]
    assert len(layers) >= 2
    expected = 3 * sum(by_hand(rows_of(layer)) for layer in layers)
    assert float(term(module, player).detach()) == pytest.approx(expected, rel=1e-4)


def test_orthogonal_filters_of_any_norm_have_no_penalty_and_no_gradient() -> None:
    rows = torch.linalg.qr(torch.randn(6, 4, dtype=torch.float64)).Q.T  # four of length one
    rows = (torch.tensor([[0.1], [1.0], [2.0], [5.0]]) * rows).requires_grad_()
    cost = squared_products(rows, 0)
    (slope,) = torch.autograd.grad(cost, rows)
    assert float(cost.detach()) == pytest.approx(0, abs=1e-20)
    assert torch.allclose(slope, torch.zeros_like(slope), atol=1e-9)


@pytest.mark.parametrize("shape", [(3, 5), (5, 3)])  # fewer, or more, filters than dimensions
def test_the_gradient_is_the_closed_form(shape: tuple[int, int]) -> None:
    weight = torch.randn(shape, dtype=torch.float64, requires_grad=True)
    (slope,) = torch.autograd.grad(squared_products(weight, 0), weight)
    gram = weight.detach() @ weight.detach().T
    expected = 4 * (gram - torch.diag(torch.diag(gram))) @ weight.detach()
    assert torch.allclose(slope, expected)


def test_only_the_selected_player_has_the_term() -> None:
    for player, has in (("generator", [False, True]), ("both", [True, True])):
        module = game("hinge", [NAME], "alternating", f"trick.{NAME}.player={player}")
        names = play_steps(module, 1)[0]
        assert [f"{p}/{NAME}" in names for p in ("discriminator", "generator")] == has


def test_filters_become_orthogonal() -> None:
    settings = (f"trick.{NAME}.weight=10", "optimizer.generator.lr=0.01")
    module = game("hinge", [NAME], "alternating", *settings)
    before = float(term(module).detach())
    play_steps(module, 60)
    assert float(term(module).detach()) < before / 10


def test_layers_that_other_tricks_add_are_included() -> None:
    setting = f"trick.{NAME}.player=discriminator"
    alone = game("hinge", [NAME], "alternating", setting)
    beside = game("non_saturating", [NAME, "semi_supervised"], "alternating", setting)
    count = [len(module.game.tricks[NAME].layers["discriminator"]) for module in (alone, beside)]
    assert count == [1, 2]  # the hidden layer, and the class head in addition


@pytest.mark.parametrize(("trick", "original"), [("spectral_norm", "original"), ("weight_norm", "original1")])
def test_with_a_parametrisation_it_applies_to_the_optimised_weights(trick: str, original: str) -> None:
    settings = (f"trick.{NAME}.player=discriminator", f"trick.{NAME}.weight=1")
    module = game("hinge", [NAME, trick], "alternating", *settings)
    state = {name: buffer.clone() for name, buffer in module.game.discriminator.named_buffers()}
    found = float(term(module, "discriminator").detach())
    rows = module.game.discriminator.get_parameter(f"body.1.parametrizations.weight.{original}")
    assert found == pytest.approx(by_hand(rows), rel=1e-4)
    for name, buffer in module.game.discriminator.named_buffers():
        assert torch.equal(buffer, state[name])


def test_unrolled_steps_include_the_term_at_unrolled_weights() -> None:
    settings = (f"trick.{NAME}.player=discriminator", f"trick.{NAME}.weight=1")
    module = game("hinge", [NAME, "unrolled"], "alternating", *settings)
    found, expected = [], []

    def compute(turn: Turn) -> dict[str, torch.Tensor]:
        terms = module.game.tricks[NAME].losses(turn, module.game.objective)
        if turn.player == "discriminator":
            found.append(float(terms[NAME].detach()))
            expected.append(by_hand(turn.discriminator.body[1].weight))
        return terms

    turn = module.game.turn("generator", real_batch(), RandomStreams(0))
    module.game.tricks["unrolled"].losses(turn, compute)
    assert found == pytest.approx(expected, rel=1e-4)
    assert found[0] == pytest.approx(float(term(module, "discriminator").detach()))
    assert found[1] != pytest.approx(found[0], rel=1e-3)


def test_products_are_computed_in_full_precision() -> None:
    module = game("hinge", [NAME])
    exact = term(module)
    with torch.autocast("cpu", torch.bfloat16):
        assert torch.equal(term(module), exact)
    assert squared_products(torch.randn(3, 4, dtype=torch.bfloat16), 0).dtype == torch.float32


def test_the_weight_may_be_a_schedule() -> None:
    module = game("hinge", [NAME])
    module.game.tricks[NAME].weight = Linear(2, 0, 10)
    first = term(module)
    module.game.run_step = 5
    assert torch.allclose(first, 2 * term(module))


@pytest.mark.parametrize(
    ("make", "refusal"),
    [
        (lambda: OrthogonalRegularisation(0, "both"), (".weight", 0, "no effect")),
        (
            lambda: game("mmd", [NAME], "alternating", f"trick.{NAME}.player=discriminator"),
            ("trick", NAME, "objective with a discriminator", f"set trick.{NAME}.player"),
        ),
        (
            lambda: game(
                "hinge",
                [NAME],
                "alternating",
                f"trick.{NAME}.player=discriminator",
                "model.discriminator.hidden=[1]",
            ),
            ("trick", NAME, "needs a discriminator that has a layer with two outputs or more"),
        ),
    ],
)
def test_a_trick_without_effect_is_refused(make, refusal: tuple) -> None:
    with refuses(*refusal):
        make()
