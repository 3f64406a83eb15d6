from typing import Annotated

import torch
from torch.nn.utils.stateless import _reparametrize_module

from ganlab.core.batch import Sample, at_least_float32
from ganlab.core.capability import Capability
from ganlab.core.distributed import mean_over_processes
from ganlab.core.players import Networks
from ganlab.core.schedules import ScheduleLike, nonzero_schedule
from ganlab.core.turn import Turn
from ganlab.networks.base import replace_modules
from ganlab.networks.norms import BATCH_NORMS, DifferentiableBatchNorm
from ganlab.tricks.base import Compute, Order, Terms, Trick


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
        network = turn.discriminator
        weights = {name: weight.detach().requires_grad_() for name, weight in network.named_parameters()}
        buffers = {name: buffer.clone() for name, buffer in network.named_buffers()}
        for _ in range(self.steps):
            # A turn with given fakes does not call the hook `fakes`. With trick replay_buffer, this hook
            # would return fakes that have no gradient to the generator.
            real, fake = new_node(turn.real), new_node(turn.fake)
            view = turn.seen_by("discriminator")  # reconstructions keep their gradient to the generator
            inner = view.replace(verdicts=[], real=real, fake=fake, is_unrolled=True)
            # In a block with `_reparametrize_module`, the network has the given weights and buffers.
            with _reparametrize_module(network, weights | buffers):
                terms = compute(inner)
            loss = torch.stack([at_least_float32(term).mean() for term in terms.values()]).sum()
            inputs = list(weights.values())
            gradients = torch.autograd.grad(loss, inputs, create_graph=True, materialize_grads=True)
            for (name, weight), gradient in zip(weights.items(), gradients, strict=True):
                weights[name] = weight - self.lr(turn.step) * mean_over_processes(gradient)
        # The verdicts in `turn` are those of the current weights. They are dropped, so that the samples are
        # judged again, with the unrolled weights.
        with _reparametrize_module(network, weights | buffers):
            return compute(turn.replace(verdicts=[], is_unrolled=True))


def new_node(sample: Sample) -> Sample:
    """The same samples as a new node of the autograd graph.

    Without a new node, gradient penalties would be wrong. A penalty differentiates the logits with respect to
    the samples, for fixed weights of the discriminator. But the unrolled weights were computed from the same
    samples in earlier unrolled steps, and the graph of these steps is kept for the generator's gradient. So
    the derivative would also go through the weights. It does not reach them from the new node of a step,
    because the weights were computed before this node existed.
    """
    return sample._replace(x=sample.x.view_as(sample.x))
