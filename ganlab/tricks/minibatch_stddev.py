import torch
from torch import Tensor, nn

from ganlab.core.errors import UNSET, require
from ganlab.core.turn import Capability, Networks, at_least_float32
from ganlab.core.validation import TwoOrMore
from ganlab.networks.base import add_inputs, replace_modules
from ganlab.tricks.base import Trick


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
        refuse_partial_groups("group_size", group_size, batch_size, "samples or packs")

    def networks(self, networks: Networks) -> None:
        body = networks.required_discriminator.body
        *_, last = [layer for layer in body.modules() if isinstance(layer, nn.Linear | nn.Conv2d)]

        def prepend(layer: nn.Module) -> nn.Module:
            stddev = MinibatchStandardDeviation(self.group_size)
            return nn.Sequential(stddev, layer) if layer is last else layer

        add_inputs(last, 1)
        replace_modules(body, type(last), prepend)


class MinibatchStandardDeviation(nn.Module):
    """Appends a channel with the standard deviation of a group of samples: [B, C, ...] -> [B, C + 1, ...].

    The (biased) deviation of each element over the group, averaged over all elements, fills the channel of
    all samples of the group. A group is `size` consecutive samples. In the code of StyleGAN2 it is samples
    B / size apart, which is equivalent for a batch in random order.

    Raises:
        ConfigError: the size of a batch is not a multiple of `size`.
    """

    def __init__(self, size: int):
        super().__init__()
        self.size = size

    def forward(self, x: Tensor) -> Tensor:
        refuse_partial_groups("group_size", self.size, len(x), "samples or packs")
        groups = at_least_float32(x).unflatten(0, (-1, self.size))  # [G, size, C, ...]
        variance = (groups - groups.mean(1, keepdim=True)).square().mean(1)  # [G, C, ...]
        # 1e-8 is added because the square root has no finite slope at 0, the variance of equal samples.
        deviation = (variance + 1e-8).sqrt().flatten(1).mean(1)  # [G]
        rows = deviation.repeat_interleave(self.size).to(x.dtype)  # [B]
        return torch.cat([x, rows.view(-1, *[1] * (x.ndim - 1)).expand(-1, 1, *x.shape[2:])], 1)


def refuse_partial_groups(setting: str, size: int, rows: int, things: str = "samples") -> None:
    """Refuses a batch whose number of rows is not a multiple of the value `size` of a setting.

    Args:
        things: what the rows are, for the message.
    """
    reason = f"gives each process {rows} {things}, which is not a multiple of {setting}={size}"
    require(rows % size == 0, "data.batch_size", UNSET, reason, "change one of them")
