import pytest
import torch
from support.refusals import refuses
from support.small_games import game, play_steps, real_batch
from torch import Tensor, nn

from ganlab.core.batch import Batch, Sample, Verdict
from ganlab.core.errors import UNSET
from ganlab.core.randomness import RandomStreams
from ganlab.core.schedules import Linear
from ganlab.core.turn import Turn
from ganlab.tricks.composition import Tricks
from ganlab.tricks.top_k import TopK

LOGITS = torch.tensor([0.1, 3.0, -2.0, 1.5, 0.7, -0.3], dtype=torch.float64)


class Given(nn.Module):
    """A discriminator whose logits and features are its inputs."""

    def forward(self, x: Tensor, condition: Tensor | None = None) -> Verdict:
        return Verdict(x, x)


def turn(logits: Tensor = LOGITS, player: str = "generator", step: int = 0) -> Turn:
    view = Turn(player, step, Batch(Sample(logits)), {"discriminator": Given()}, Tricks({}), RandomStreams(0))
    return view.replace(generated=Sample(logits.clone().requires_grad_()))


def compute(turn: Turn) -> dict[str, Tensor]:
    return {"adversarial": turn.on_fake.logits.exp(), "other": turn.on_fake.logits}


def slope(view: Turn, trick: TopK) -> tuple[Tensor, Tensor]:
    cost = trick.losses(view, compute)["adversarial"].mean()
    return cost.detach(), torch.autograd.grad(cost, view.fake.x)[0]


@pytest.mark.parametrize(("share", "best"), [(0.5, [1, 3, 4]), (0.34, [1, 3]), (0.01, [1])])
def test_the_loss_and_its_gradient_are_those_of_the_best_fakes(share: float, best: list[int]) -> None:
    cost, slopes = slope(turn(), TopK(share))
    assert float(cost) == pytest.approx(sum(float(LOGITS[i].exp()) for i in best) / len(best))
    expected = torch.zeros(6, dtype=torch.float64)
    expected[best] = LOGITS[best].exp() / len(best)
    assert torch.allclose(slopes, expected)


def test_the_scheduled_share_is_rounded_down() -> None:
    trick = TopK(Linear(1, 0.5, 30))
    counts = [int((slope(turn(step=step), trick)[1] != 0).sum()) for step in (0, 1, 10, 11, 20, 30, 99)]
    assert counts == [6, 5, 5, 4, 4, 3, 3]
    assert int((slope(turn(torch.arange(100.0)), TopK(0.29))[1] != 0).sum()) == 29


def test_ties_do_not_exceed_k() -> None:
    assert int((slope(turn(torch.zeros(6)), TopK(0.5))[1] != 0).sum()) == 3


def test_the_mean_over_patches_ranks_a_sample() -> None:
    patches = torch.tensor([[9.0, -9.0], [1.0, 2.0], [0.0, 1.0], [-9.0, -9.0]]).view(4, 1, 2)
    _, slopes = slope(turn(patches), TopK(0.5))
    assert (slopes.flatten(1) != 0).tolist() == [[False] * 2, [True] * 2, [True] * 2, [False] * 2]


def test_other_terms_and_the_discriminators_loss_are_unchanged() -> None:
    view = turn()
    assert torch.equal(TopK(0.5).losses(view, compute)["other"], view.on_fake.logits)
    view = turn(player="discriminator")
    assert torch.equal(TopK(0.5).losses(view, compute)["adversarial"], view.on_fake.logits.exp())


def test_whole_packs_are_selected() -> None:
    module = game("hinge", ["packing", "top_k"], "alternating", "trick.top_k.share=0.5").game
    view = module.turn("generator", real_batch(), RandomStreams(0))
    term = module.losses(view)["adversarial"]
    best = view.on_fake.logits.detach().double().sort(descending=True).values[:4]
    assert view.on_fake.logits.shape == (8,)
    assert float(term.detach()) == pytest.approx(-float(best.mean()))
    (slopes,) = torch.autograd.grad(term, view.fake.x)
    assert [int(pack.ne(0).any()) for pack in slopes.view(8, -1)].count(1) == 4


@pytest.mark.parametrize("objective", ["relativistic", "f_jensen_shannon", "wasserstein", "least_squares"])
def test_it_selects_from_any_loss_of_each_fake(objective: str) -> None:
    module = game(objective, ["top_k"], "alternating", "trick.top_k.share=0.5").game
    view = module.turn("generator", real_batch(), RandomStreams(0))
    found = float(module.losses(view)["adversarial"].detach())
    costs = module.objective(view)["adversarial"].detach()
    best = view.on_fake.logits.detach().argsort(descending=True)[:8]
    assert found == pytest.approx(float(costs[best].mean()))


def test_half_precision_is_converted_to_float32() -> None:
    module = game("hinge", ["top_k"], "alternating", "trick.top_k.share=0.5").game
    with torch.autocast("cpu", torch.bfloat16):
        terms = module.tricks.losses(
            module.turn("generator", real_batch(), RandomStreams(0)), module.objective
        )
    assert terms["adversarial"].dtype == torch.float32


def test_feature_matching_uses_all_fakes() -> None:
    tricks = ["feature_matching", "top_k"]
    beside = "trick.feature_matching.replace=false"
    module = game("hinge", tricks, "alternating", beside, "trick.top_k.share=0.5")
    alone = game("hinge", tricks[:1], "alternating", beside)
    found, expected = (play_steps(m, 1)[0]["generator/feature_matching"] for m in (module, alone))
    assert found == expected


@pytest.mark.parametrize(
    ("make", "refusal"),
    [
        (lambda: TopK(1.0), (".share", 1, "no effect")),
        (lambda: TopK(Linear(1, 0, 5)), (".share", 0, r"in \(0, 1\]")),
        (lambda: TopK(1.5), (".share", 1.5, r"in \(0, 1\]")),
        (lambda: slope(turn(torch.zeros(1)), TopK(0.5)), ("data.batch_size", UNSET, "leaves top_k one fake")),
        (
            lambda: game("hinge", ["top_k", "feature_matching"]),
            ("trick", ["feature_matching", "top_k"], "claims the generator's adversarial term"),
        ),
        (lambda: game("mmd", ["top_k"]), ("trick", "top_k", "objective with a discriminator")),
        (
            lambda: game("relativistic_average", ["top_k"]),
            ("trick", "top_k", "objective with a generator loss for each fake"),
        ),
    ],
)
def test_a_trick_without_effect_is_refused(make, refusal: tuple) -> None:
    with refuses(*refusal):
        make()
