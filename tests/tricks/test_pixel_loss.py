"""The answers to which a pixel loss leads, in closed form."""

from __future__ import annotations

import pytest
import torch
from support.small_games import game
from torch import Tensor, nn

from ganlab.core.batch import Batch, Sample
from ganlab.core.randomness import RandomStreams
from ganlab.networks.base import Conditioned


class Table(Conditioned):
    """One answer for a dark condition, and one for a bright one."""

    def __init__(self) -> None:
        super().__init__()
        self.answers = nn.Parameter(torch.zeros(2, 1, 8, 8))

    def forward(self, latent: Tensor, condition: Tensor) -> Tensor:
        return self.answers[(condition.mean((1, 2, 3)) > 0).long()]


@pytest.mark.parametrize(("norm", "expected"), [("L1", [1.0, -1.0]), ("L2", [0.4, -0.8])])
def test_it_leads_to_the_conditional_median_or_mean(norm: str, expected: list[float]) -> None:
    overrides = [f"trick.pixel_loss.norm={norm}", "trick.pixel_loss.weight=1"]
    built = game("non_saturating", ["pixel_loss"], "alternating", *overrides, model="pix2pix").game
    built.generator.body = table = Table()
    # Of the dark conditions, 7 of 10 have the answer +1; of the bright ones, 1 of 10. All others have -1.
    answers = torch.tensor([1.0] * 7 + [-1.0] * 3 + [1.0] + [-1.0] * 9)
    told = torch.tensor([-1.0] * 10 + [1.0] * 10)
    x, condition = (values.view(-1, 1, 1, 1).expand(-1, 1, 8, 8) for values in (answers, told))
    optimizer = torch.optim.SGD([table.answers], lr=10)
    for step in range(1000):
        optimizer.param_groups[0]["lr"] = 10 / (1 + step / 50)  # |x| has a gradient of one size
        turn = built.turn("generator", Batch(Sample(x, condition)), RandomStreams(step))
        optimizer.zero_grad()
        built.tricks["pixel_loss"].terms(turn)["pixel_loss"].mean().backward()
        optimizer.step()
    for found, value in zip(table.answers.detach(), expected, strict=True):
        assert found.sub(value).abs().max() < 0.02
