from collections.abc import Iterator
from itertools import chain
from typing import Annotated, Any

import torch
from torch import Tensor, nn
from torch.func import functional_call

from ganlab.core.distributed import mean_over_ranks
from ganlab.core.schedules import ScheduleLike, nonzero_schedule
from ganlab.core.turn import Capability, Networks, Sample, Turn, at_least_float32
from ganlab.networks.base import replace_modules
from ganlab.networks.norms import BATCH_NORMS, ElementaryNorm
from ganlab.tricks.base import Compute, Order, Terms, Trick


class Unrolled(Trick):
    """The generator is trained against a discriminator that is `steps` updates ahead (Metz et al. 2017).

    Section 2.2: w_(k+1) = w_k - lr grad L_D(w_k), where w_0 are the current weights and L_D is the sum of
    the means of the discriminator's terms. The generator minimises L_G(w_steps), and its gradient flows
    through the steps. The discriminator is updated as it is without the trick. What other tricks do after an
    update, such as clipping, is not done to the unrolled weights.
    """

    order = Order.OBSERVE  # after tricks with penalties, which unrolled steps include
    needs = frozenset({Capability.DISCRIMINATOR, Capability.SECOND_DERIVATIVES})

    def __init__(self, steps: Annotated[int, "[1, 10]"], lr: ScheduleLike):
        super().__init__()
        self.steps = steps
        self.lr = nonzero_schedule(".lr", lr)

    def networks(self, networks: Networks) -> None:
        # The gradient of a gradient penalty through unrolled steps is a third derivative.
        replace_modules(networks.required_discriminator, BATCH_NORMS, ElementaryNorm)

    def losses(self, turn: Turn, compute: Compute) -> Terms:
        if turn.player == "discriminator":
            return compute(turn)
        return compute(turn.replace(discriminator=self._unroll(turn, compute), is_unrolled=True))

    def _unroll(self, turn: Turn, compute: Compute) -> "FunctionalNetwork":
        unrolled = FunctionalNetwork.of(turn.discriminator)  # type: ignore[arg-type]
        for _ in range(self.steps):
            inner = turn.replace(
                player="discriminator",
                discriminator=unrolled,
                is_unrolled=True,
                real=new_node(turn.real),
                # Otherwise a replay buffer would exchange fakes, and cut their gradient to the generator.
                fake=new_node(turn.fake),
            )
            loss = torch.stack([at_least_float32(term).mean() for term in compute(inner).values()]).sum()
            unrolled = unrolled.descend(loss, self.lr(turn.step))
        return unrolled


def new_node(sample: Sample) -> Sample:
    """The same samples as a new node of the autograd graph.

    The unrolled weights depend on the original node, so a gradient penalty at that node would include its
    gradient through the weights.
    """
    return sample._replace(x=sample.x.view_as(sample.x))


class FunctionalNetwork:
    """A module that is called with other parameters and buffers, `tensors`, and is itself unchanged."""

    def __init__(self, network: nn.Module, tensors: dict[str, Tensor]):
        self.network, self.tensors = network, tensors

    @classmethod
    def of(cls, network: nn.Module) -> "FunctionalNetwork":
        """A network with differentiable copies of its parameters, and copies of its buffers."""
        weights = {name: w.detach().requires_grad_() for name, w in network.named_parameters()}
        return cls(network, weights | {name: b.clone() for name, b in network.named_buffers()})

    def __getattr__(self, name: str) -> "FunctionalNetwork":
        """A submodule, with its part of the tensors."""
        part = self.network.get_submodule(name)
        # By identity, because a parameter may be registered under several names.
        replaced = {id(tensor): self.tensors[key] for key, tensor in named_tensors(self.network)}
        return FunctionalNetwork(part, {key: replaced[id(tensor)] for key, tensor in named_tensors(part)})

    def __call__(self, *inputs: Any) -> Any:
        # tie_weights=True would leave the weights of this call in a layer that is registered under two names.
        return functional_call(self.network, self.tensors, inputs, tie_weights=False)

    def parameters(self) -> Iterator[Tensor]:
        return (self.tensors[name] for name, _ in self.network.named_parameters())

    def descend(self, loss: Tensor, lr: float) -> "FunctionalNetwork":
        """The network after one step of gradient descent, through which gradients flow."""
        gradients = torch.autograd.grad(loss, list(self.parameters()), create_graph=True, allow_unused=True)
        updated = {
            name: self.tensors[name] - lr * mean_over_ranks(gradient)
            for (name, _), gradient in zip(self.network.named_parameters(), gradients, strict=True)
            if gradient is not None
        }
        return FunctionalNetwork(self.network, self.tensors | updated)


def named_tensors(network: nn.Module) -> Iterator[tuple[str, Tensor]]:
    """The parameters and the buffers of a network, with their names."""
    return chain(network.named_parameters(), network.named_buffers())
