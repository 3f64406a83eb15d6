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
        # The gradient of a gradient penalty through unrolled steps is a third derivative, which torch's batch
        # norm does not have.
        replace_modules(networks.required_discriminator, BATCH_NORMS, ElementaryNorm)

    def losses(self, turn: Turn, compute: Compute) -> Terms:
        if turn.player == "discriminator":
            return compute(turn)
        return compute(turn.replace(discriminator=self._unroll(turn, compute), is_unrolled=True))

    def _unroll(self, turn: Turn, compute: Compute) -> "FunctionalNetwork":
        unrolled = FunctionalNetwork.with_copied_weights(turn.discriminator)  # type: ignore[arg-type]
        inner = turn.replace(player="discriminator", is_unrolled=True)
        for _ in range(self.steps):
            # The fakes are set here, so that no hook exchanges them: fakes that a replay buffer has stored
            # would have no gradient to the generator.
            real, fake = new_node(turn.real), new_node(turn.fake)
            inner = inner.replace(discriminator=unrolled, real=real, fake=fake)
            loss = torch.stack([at_least_float32(term).mean() for term in compute(inner).values()]).sum()
            unrolled = unrolled.after_gradient_step(loss, self.lr(turn.step))
        return unrolled


def new_node(sample: Sample) -> Sample:
    """The same samples as a new node of the autograd graph.

    The unrolled weights depend on the original node. A gradient penalty, which differentiates with respect to
    the new node, leaves out the gradient through these weights.
    """
    return sample._replace(x=sample.x.view_as(sample.x))


class FunctionalNetwork:
    """A network with other parameters and buffers in place of those of a module, which stays unchanged.

    Args:
        network: the module.
        tensors: the parameters and buffers by their names in the module.
    """

    def __init__(self, network: nn.Module, tensors: dict[str, Tensor]):
        self.network, self.tensors = network, tensors

    @classmethod
    def with_copied_weights(cls, network: nn.Module) -> "FunctionalNetwork":
        """The network with differentiable copies of its parameters, and with copies of its buffers."""
        weights = {name: w.detach().requires_grad_() for name, w in network.named_parameters()}
        return cls(network, weights | {name: b.clone() for name, b in network.named_buffers()})

    def __getattr__(self, name: str) -> "FunctionalNetwork":
        """The submodule of this name, with those of the tensors that belong to it."""
        submodule = self.network.get_submodule(name)
        # The tensors are found by identity, because `named_parameters` lists a parameter that is registered
        # under several names only once.
        replacements = {id(tensor): self.tensors[key] for key, tensor in named_tensors(self.network)}
        tensors = {key: replacements[id(tensor)] for key, tensor in named_tensors(submodule)}
        return FunctionalNetwork(submodule, tensors)

    def __call__(self, *inputs: Any) -> Any:
        # With tie_weights=True, a layer that is registered under two names, as with trick semi_supervised,
        # would keep the tensors after the call.
        return functional_call(self.network, self.tensors, inputs, tie_weights=False)

    def parameters(self) -> Iterator[Tensor]:
        return (self.tensors[name] for name, _ in self.network.named_parameters())

    def after_gradient_step(self, loss: Tensor, lr: float) -> "FunctionalNetwork":
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
