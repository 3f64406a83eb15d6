import torch
from torch import Tensor, nn

from ganlab.core.batch import at_least_float32
from ganlab.core.validation import TwoOrMore, require_whole_groups
from ganlab.networks.base import add_network_inputs, last_layer
from ganlab.tricks.base import Capability, Networks, Trick


class MinibatchStddev(Trick):
    """Appends the minibatch standard deviation as a feature map (Karras et al. 2018, section 3).

    The map is an additional channel, or feature, in the input of the last layer of the discriminator's body.
    It holds the standard deviation within groups of `group_size` consecutive samples of the batch, averaged
    over channels and positions.
    """

    needs = frozenset({Capability.DISCRIMINATOR})

    def __init__(self, group_size: TwoOrMore, batch_size: int):
        super().__init__()
        self.group_size = group_size
        require_whole_groups("group_size", group_size, batch_size, "samples or packs")

    def networks(self, networks: Networks) -> None:
        body = networks.discriminator.body
        last = last_layer(body)
        add_network_inputs(last, num_inputs=1)
        name = next(name for name, layer in body.named_modules() if layer is last)
        body.set_submodule(name, nn.Sequential(MinibatchStddevLayer(self.group_size), last))


class MinibatchStddevLayer(nn.Module):
    """Appends a channel with the standard deviation of a group of samples: [B, C, ...] -> [B, C + 1, ...].

    A group is `size` consecutive samples. For each element of a sample, the (biased) standard deviation over
    the group is computed. The mean of these deviations fills the channel of all samples of the group. The
    groups of the StyleGAN2 code are samples B / size apart, which is equivalent for a batch in random order.
    A batch that is not a multiple of `size` raises `ConfigError`.
    """

    def __init__(self, size: int):
        super().__init__()
        self.size = size

    def forward(self, x: Tensor) -> Tensor:
        require_whole_groups("group_size", self.size, len(x), "samples or packs")
        groups = at_least_float32(x).unflatten(0, (-1, self.size))  # [G, size, C, ...]
        variance = (groups - groups.mean(1, keepdim=True)).square().mean(1)  # [G, C, ...]
        # 1e-8 is added because equal samples have the variance 0, where the square root has no finite slope.
        deviation = (variance + 1e-8).sqrt().flatten(1).mean(1)  # [G]
        column = deviation.repeat_interleave(self.size).view(-1, *[1] * (x.ndim - 1))  # [B, 1, ...]
        return torch.cat([x, column.to(x.dtype).expand_as(x[:, :1])], 1)
