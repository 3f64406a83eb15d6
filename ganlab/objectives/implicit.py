"""Implicit maximum likelihood: the generated sample that is nearest to a real one is drawn to it."""

from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from ganlab.core.batch import at_least_float32
from ganlab.core.distributed import all_gather_with_grad, make_in_parallel
from ganlab.core.errors import require
from ganlab.core.randomness import RandomStreams
from ganlab.core.validation import Count, NotNegative
from ganlab.networks.base import evaluating, uncompiled
from ganlab.objectives.base import Capability, LossWeights, Networks, Objective, Players, Turn

BLOCK = 1000  # candidates that are generated at once


class IMLE(Objective):
    """Implicit maximum likelihood estimation (Li & Malik 2018, algorithm 1), without a discriminator.

    Every `period` steps, latents z_j are drawn, and G makes the candidates G(z_j) of them, in evaluation
    mode. When a training sample x is first seen in a period, the latent z of its nearest candidate is
    selected for it, plus normal noise of the standard deviation `perturbation`. The selected latent stays
    the same until the period ends. The generator minimises |x - G(z)|^2, [B], the sum over all elements.
    So, unlike in a GAN, each sample is close to something generated, and no mode is dropped. The generator
    is told no condition, and each batch must say which samples it has.

    Args:
        candidates: the number of candidates. The paper has more of them than samples in a period.
        period: the number of steps for which candidates and selected latents are kept.
    """

    players: ClassVar[Players] = {"generator": ("generator",)}
    needs = frozenset({Capability.INDEX})

    def __init__(self, candidates: Count, period: Count, perturbation: NotNegative, weight: LossWeights):
        super().__init__(weight)
        self.num_candidates, self.period, self.perturbation = candidates, period, perturbation

    def check_networks(self, networks: Networks) -> None:
        reason, remedy = "needs a generator without conditions", "choose model=gan"
        require(networks.generator.condition is None, reason, remedy, "model.generator")
        blank = networks.blank(self.num_candidates)
        assert blank.code is not None
        self.pool, self.candidates = nn.Buffer(blank.code), nn.Buffer(blank.x)  # z_j and G(z_j)
        self.drawn_in = nn.Buffer(torch.tensor(-1))  # the period of the candidates; -1: there are none
        # By row of the training samples, as far as rows were seen: the selected latent, and its period.
        self.latents: Tensor = nn.Buffer(blank.code[:0].clone())
        self.selected_in: Tensor = nn.Buffer(torch.empty(0).long())

    def terms(self, turn: Turn) -> dict[str, Tensor]:
        made = turn.decode(self._selected_latents(turn)).x
        difference = at_least_float32(turn.real.x) - at_least_float32(made)
        return {"matching": difference.square().flatten(1).sum(1)}

    @torch.no_grad()
    def _selected_latents(self, turn: Turn) -> Tensor:
        """The latents [B, latent_dim] of the batch's samples. All processes select for the global batch."""
        indices = turn.batch.indices
        reason = "needs batches that say in which rows of the training samples theirs are"
        require(indices is not None, reason, "use a data set of ganlab", "objective", "IMLE")
        assert indices is not None
        period = turn.step // self.period
        if int(self.drawn_in) != period:
            self._draw_candidates(turn)
            self.drawn_in.fill_(period)
        rows = indices.to(self.latents.device)
        global_rows = all_gather_with_grad(rows)
        if (num_added := int(global_rows.max()) + 1 - len(self.latents)) > 0:
            self.latents = nn.functional.pad(self.latents, (0, 0, 0, num_added))
            self.selected_in = nn.functional.pad(self.selected_in, (0, num_added), value=-1)
        is_new = self.selected_in[global_rows] != period
        if is_new.any():
            noise = turn.random.normal("perturbation", len(rows), self.pool.shape[1])
            latents = self.pool[self._nearest(turn.real.x)] + self.perturbation * noise
            new_rows = global_rows[is_new]
            self.latents[new_rows] = all_gather_with_grad(latents.to(self.latents))[is_new]
            self.selected_in[new_rows] = period
        return self.latents[rows]

    def _draw_candidates(self, turn: Turn) -> None:
        # The same latents on all processes, each of which generates a part of the candidates.
        random = RandomStreams(*turn.random.key, "candidates", device=turn.random.device)
        self.pool.copy_(turn.generator.prior(random, *self.pool.shape))
        with uncompiled(), evaluating(turn.generator) as generator:

            def generate(rows: slice) -> Tensor:
                return torch.cat([generator(latents) for latents in self.pool[rows].split(BLOCK)])

            self.candidates.copy_(make_in_parallel(generate, 0, self.num_candidates))

    def _nearest(self, x: Tensor) -> Tensor:
        """The nearest candidate of each sample, [B]."""
        x, candidates = x.flatten(1).to(self.candidates), self.candidates.flatten(1)
        # Without the product of matrices, whose rounding errors exceed small distances.
        return torch.cdist(x, candidates, compute_mode="donot_use_mm_for_euclid_dist").argmin(1)

    def _load_from_state_dict(self, state_dict: dict[str, Any], prefix: str, *args: Any) -> None:
        for name in ("latents", "selected_in"):
            if (saved := state_dict.get(prefix + name)) is not None:
                self.get_buffer(name).resize_(saved.shape)
        super()._load_from_state_dict(state_dict, prefix, *args)
