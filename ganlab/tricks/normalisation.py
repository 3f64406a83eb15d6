from typing import Literal

from torch import nn

from ganlab.core.errors import require
from ganlab.core.validation import Count
from ganlab.networks.base import replace_modules
from ganlab.networks.norms import BATCH_NORMS, remove_batch_norm
from ganlab.tricks.base import Capability, Networks, Order, PlayerChoice, PlayerTrick

NormKind = Literal["layer", "instance", "group", "none"]


class Normalisation(PlayerTrick):
    """Replaces every batch norm by a different norm, so that no sample depends on the others of its batch.

    With batch norm, the gradient at a single sample, which WGAN-GP penalises, is not well defined (Gulrajani
    et al. 2017, section 4). The new norm uses the gain and the bias of the batch norm.

    kind: the elements of a sample over which the new norm takes its statistics. `layer`: all elements (Ba et
        al. 2016); `instance`: the positions of each channel (Ulyanov et al. 2016); `group`: each of `groups`
        groups of channels (Wu & He 2018). With `none` there is no norm. A layer that has no bias, because a
        batch norm follows it, then gets a bias.
    groups: the number of groups, with kind `group` only.
    player: the player whose batch norms are replaced: `discriminator`, `generator` or `both`.
    """

    order = Order.REPLACE

    def __init__(self, kind: NormKind, groups: Count | None, player: PlayerChoice):
        super().__init__(player)
        remedy = "set a number with kind=group, and null with any other"
        valid = (kind == "group") == (groups is not None)
        require(valid, f"does not go with kind={kind}", remedy, key=".groups", value=groups)
        self.kind, self.groups = kind, groups or 0  # 0 is never used
        if "generator" in self.players:
            self.claims = frozenset({Capability.GENERATOR_NORM})

    def networks(self, networks: Networks) -> None:
        bodies = [networks[name].body for name in networks.updated_by(self.players)]
        if self.kind == "none":
            num_replaced = sum(remove_batch_norm(body) for body in bodies)
        else:
            num_replaced = sum(replace_modules(body, BATCH_NORMS, self._group_norm) for body in bodies)
        reason = f"has no effect on a {' and a '.join(self.players)} without batch norm"
        require(num_replaced, reason, "remove the trick, or choose model=dcgan")

    def _group_norm(self, norm: nn.BatchNorm1d | nn.BatchNorm2d) -> nn.Module:
        """A group norm with the gain and the bias of a batch norm."""
        channels = norm.num_features
        is_vector = isinstance(norm, nn.BatchNorm1d)
        groups = {"layer": 1, "instance": channels, "group": self.groups}[self.kind]
        reason = "has nothing to average over in a fully connected layer"
        require(not is_vector or self.kind != "instance", reason, "choose layer", ".kind", self.kind)
        require(channels % groups == 0, f"does not divide {channels} channels", key=".groups", value=groups)
        too_small = is_vector and self.kind == "group" and channels // groups < 3
        # A norm maps the two values of a group of two to 1 and -1, and the value of a group of one to 0.
        reason = f"leaves fewer than 3 of {channels} features in a group, so at most their order remains"
        require(not too_small, reason, "choose fewer groups", key=".groups", value=groups)
        replacement = nn.GroupNorm(groups, channels, norm.eps)
        replacement.weight, replacement.bias = norm.weight, norm.bias
        return replacement
