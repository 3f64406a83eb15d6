from collections.abc import Iterator
from typing import Annotated, Any

import torch
from torch import Tensor, nn
from torch.func import functional_call

from ganlab.core.distributed import mean_over_ranks
from ganlab.core.schedules import Schedule, nonzero_schedule
from ganlab.core.turn import Capability, Networks, Sample, Turn, at_least_float32
from ganlab.networks.base import replace_modules
from ganlab.networks.norms import BATCH_NORMS, ElementaryNorm
from ganlab.tricks.base import Compute, Order, Terms, Trick


class Unrolled(Trick):
    """The generator moves against a discriminator that is `steps` ahead (Metz et al. 2017, section 2.2).

    w_(k+1) = w_k - lr grad L_D(w_k), from its own weights w_0 on, L_D the sum of the means of its terms; the
    generator minimises L_G(w_steps), and its gradient flows through the steps. The discriminator itself is
    untouched and moves as without the trick; what happens to its weights after a move, such as a clipping,
    does not happen to those ahead.
    """

    order = Order.OBSERVE  # the steps ahead feel the penalties of other tricks
    needs = frozenset({Capability.DISCRIMINATOR, Capability.SECOND_DERIVATIVES})

    def __init__(self, steps: Annotated[int, 1, 10], lr: float | Schedule):
        super().__init__()
        self.steps = steps
        self.lr = nonzero_schedule(".lr", lr)

    def networks(self, networks: Networks) -> Networks:
        # The slope of a penalty is differentiated through the steps ahead, a third time in all.
        replace_modules(networks.required_discriminator, BATCH_NORMS, ElementaryNorm)
        return networks

    def losses(self, turn: Turn, compute: Compute) -> Terms:
        if turn.player == "discriminator":
            return compute(turn)
        return compute(turn.replace(discriminator=self._ahead(turn, compute), is_ahead=True))

    def _ahead(self, turn: Turn, compute: Compute) -> "Functional":
        ahead = Functional.of(turn.discriminator)  # type: ignore[arg-type]
        for _ in range(self.steps):
            # The fake is named, or a replay buffer would be asked for one and cut the gradient.
            inner = turn.replace(
                player="discriminator",
                discriminator=ahead,
                is_ahead=True,
                real=anew(turn.real),
                fake=anew(turn.fake),
            )
            loss = torch.stack([at_least_float32(term).mean() for term in compute(inner).values()]).sum()
            ahead = ahead.descend(loss, self.lr(turn.step))
        return ahead


def anew(sample: Sample) -> Sample:
    """The same samples as another node of the graph.

    The weights ahead depend on the samples themselves: a penalty's slope at those would run through the
    weights too.
    """
    return sample._replace(x=sample.x.view_as(sample.x))


class Functional:
    """A network at other weights; its buffers are copies, so the network itself stays as it is."""

    def __init__(self, network: nn.Module, weights: dict[str, Tensor], buffers: dict[str, Tensor]):
        self.network = network
        self.weights = weights
        self.buffers = buffers

    @classmethod
    def of(cls, network: nn.Module) -> "Functional":
        weights = {name: w.detach().requires_grad_() for name, w in network.named_parameters()}
        return cls(network, weights, {name: b.clone() for name, b in network.named_buffers()})

    def __getattr__(self, name: str) -> "Functional":
        """A part of the network, at these weights; one may stand in it under more than one name."""
        part = self.network.get_submodule(name)
        weights = {id(w): self.weights[key] for key, w in self.network.named_parameters()}
        buffers = {id(b): self.buffers[key] for key, b in self.network.named_buffers()}
        return Functional(
            part,
            {key: weights[id(w)] for key, w in part.named_parameters()},
            {key: buffers[id(b)] for key, b in part.named_buffers()},
        )

    def __call__(self, *inputs: Any) -> Any:
        # With tie_weights a layer that stands under two names would keep the weights it was called with.
        tensors = (self.weights, self.buffers)
        return functional_call(self.network, tensors, inputs, tie_weights=False)

    def parameters(self) -> Iterator[Tensor]:
        return iter(self.weights.values())

    def descend(self, loss: Tensor, lr: float) -> "Functional":
        """The network one gradient step ahead; gradients flow through the step."""
        slopes = torch.autograd.grad(loss, list(self.weights.values()), create_graph=True, allow_unused=True)
        moved = {
            name: w if slope is None else w - lr * mean_over_ranks(slope)
            for (name, w), slope in zip(self.weights.items(), slopes, strict=True)
        }
        return Functional(self.network, moved, self.buffers)
