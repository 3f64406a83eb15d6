import pytest
import torch
from support.refusals import refuses
from support.small_games import game, real_batch
from torch.nn.functional import binary_cross_entropy_with_logits

from ganlab.core.batch import Targets
from ganlab.core.errors import ConfigError
from ganlab.core.randomness import RandomStreams
from ganlab.tricks.label_smoothing import LabelSmoothing


def test_the_optimal_discriminator_is_target_times_p_over_p_plus_q() -> None:
    p, q = (
        torch.tensor([0.1, 0.2, 0.7], dtype=torch.float64),
        torch.tensor([0.5, 0.3, 0.2], dtype=torch.float64),
    )
    logits = torch.zeros(3, dtype=torch.float64, requires_grad=True)
    targets = LabelSmoothing(0.9).targets(
        Targets(torch.ones_like(p), torch.zeros_like(p)),
        game().game.turn("discriminator", real_batch(), RandomStreams(0)),
    )
    optimizer = torch.optim.LBFGS([logits], max_iter=200, tolerance_grad=1e-12, tolerance_change=1e-15)

    def loss() -> torch.Tensor:
        optimizer.zero_grad()
        real = binary_cross_entropy_with_logits(logits, targets.real, weight=p, reduction="sum")
        value = real + binary_cross_entropy_with_logits(logits, targets.fake, weight=q, reduction="sum")
        value.backward()
        return value

    optimizer.step(loss)
    assert torch.allclose(logits.sigmoid(), 0.9 * p / (p + q), atol=1e-6)


@pytest.mark.parametrize("target", [2, 1, 0.5, -0.1])
def test_a_target_out_of_range_is_refused(target: float) -> None:
    with refuses(".real", target, "strictly between 0.5 and 1"):
        LabelSmoothing(target)


def test_only_objectives_with_targets_have_label_smoothing() -> None:
    message = (
        "trick=label_smoothing: needs an objective with targets, but Hinge has none. "
        "Remove the trick, or choose an objective such as non_saturating."
    )
    with pytest.raises(ConfigError, match=f"^{message}$"):
        game("hinge", ["label_smoothing"])


def test_a_target_keeps_its_precision_under_autocast() -> None:
    module = game(
        "non_saturating", ["label_smoothing"], "alternating", "trick.label_smoothing.real=0.999"
    ).game
    with torch.autocast("cpu", torch.bfloat16):
        turn = module.turn("discriminator", real_batch(), RandomStreams(0))
        assert turn.on_real.logits.dtype == torch.bfloat16
        assert torch.equal(turn.targets.real, torch.full((16,), 0.999))
