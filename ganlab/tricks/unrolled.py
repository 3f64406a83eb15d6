from typing import Annotated, cast

import torch
from torch import nn
from torch.func import functional_call

from ganlab.core.batch import Sample, at_least_float32
from ganlab.core.distributed import mean_over_processes
from ganlab.core.schedules import ScheduleLike, nonzero_schedule
from ganlab.networks.base import replace_modules
from ganlab.networks.norms import BATCH_NORMS, DifferentiableBatchNorm
from ganlab.tricks.base import Capability, Compute, Networks, Order, Terms, Trick, Turn


class Unrolled(Trick):
    """The generator is trained against a discriminator that is `steps` updates ahead (Metz et al. 2017).

    Section 2.2: w_(k+1) = w_k - `lr` * grad L_D(w_k), where w_0 are the current weights and L_D is the sum of
    the means of the discriminator's terms. The generator minimises L_G(w_k) for k = `steps`, and its gradient
    flows through the steps. The discriminator is updated as it is without the trick. What other tricks do
    after an update, such as clipping, is not done to the unrolled weights.
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
        replace_modules(networks.discriminator, BATCH_NORMS, DifferentiableBatchNorm)

    def losses(self, turn: Turn, compute: Compute) -> Terms:
        if turn.player != "generator":
            return compute(turn)
        ahead = Ahead(turn.discriminator, compute)
        weights = {name: weight.detach().requires_grad_() for name, weight in ahead.named_parameters()}
        buffers = {name: buffer.clone() for name, buffer in ahead.named_buffers()}
        for _ in range(self.steps):
            # A turn with given fakes does not call the hook `fakes`. With trick replay_buffer, this hook
            # would return fakes that have no gradient to the generator.
            real, fake = new_node(turn.real), new_node(turn.fake)
            view = turn.seen_by("discriminator")  # reconstructions keep their gradient to the generator
            inner = view.replace(verdicts=[], real=real, fake=fake, is_unrolled=True)
            # With `tie_weights`, torch would not restore the weights of a submodule with two names.
            terms = functional_call(ahead, weights | buffers, inner, tie_weights=False)
            loss = torch.stack([at_least_float32(term).mean() for term in terms.values()]).sum()
            inputs = list(weights.values())
            gradients = torch.autograd.grad(loss, inputs, create_graph=True, materialize_grads=True)
            for (name, weight), gradient in zip(weights.items(), gradients, strict=True):
                weights[name] = weight - self.lr(turn.step) * mean_over_processes(gradient)
        # The verdicts in `turn` are those of the current weights. They are dropped, so that the samples are
        # judged again, with the unrolled weights.
        judged_again = turn.replace(verdicts=[], is_unrolled=True)
        return cast(Terms, functional_call(ahead, weights | buffers, judged_again, tie_weights=False))


class Ahead(nn.Module):
    """Computes loss terms; `functional_call` calls it with other weights and buffers of the discriminator."""

    def __init__(self, discriminator: nn.Module, compute: Compute):
        super().__init__()
        self.discriminator, self.compute = discriminator, compute

    def forward(self, turn: Turn) -> Terms:
        return self.compute(turn)


def new_node(sample: Sample) -> Sample:
    """The same samples as a new node of the autograd graph, which gradient penalties need.

    A penalty differentiates the logits with respect to the samples, for fixed weights. But the weights were
    computed from the same samples in earlier unrolled steps, whose graph is kept. From a node that is newer
    than the weights, the derivative does not go through them.
    """
    return sample._replace(x=sample.x.view_as(sample.x))
