from typing import Literal

from torch import nn

from ganlab.core.errors import ConfigError
from ganlab.core.turn import Capability, Networks
from ganlab.core.validation import Count
from ganlab.networks.base import replace_modules
from ganlab.networks.norms import BATCH_NORMS, remove_batch_norm
from ganlab.tricks.base import Order, Trick
from ganlab.tricks.players import SIDES, Side, needed

Kind = Literal["layer", "instance", "group", "none"]


class Normalisation(Trick):
    """Replaces every batch norm by another norm, so that no sample depends on the others of its batch.

    A slope per sample, as WGAN-GP bounds it, is only then one (Gulrajani et al. 2017, section 4).
    kind: `layer` (statistics over all numbers of a sample, Ba et al. 2016), `instance` (over each channel's
    places, Ulyanov et al. 2016), `group` (over the places of each of `groups` groups of channels, Wu & He
    2018) or `none`; gain and bias are those of the batch norm, by channel. With `none`, a layer that has no
    bias because a batch norm followed gets one.
    player: `discriminator`, `generator` or `both`, which is wherever there is batch norm.
    """

    order = Order.REPLACE

    def __init__(self, kind: Kind, groups: Count | None, player: Side):
        super().__init__()
        if (kind == "group") != (groups is not None):
            raise ConfigError(
                f"trick.normalisation.groups={groups} does not go with trick.normalisation.kind={kind}: give "
                "a number beside kind=group, and null beside any other"
            )
        self.kind, self.groups = kind, groups or 0
        self.players = SIDES[player]
        self.needs = needed(self.players)
        if "generator" in self.players:
            self.claims = frozenset({Capability.GENERATOR_NORM})

    def networks(self, networks: Networks) -> Networks:
        bodies = [getattr(networks, player).body for player in self.players]
        if not sum([self._replace(body) for body in bodies]):
            raise ConfigError(
                f"trick normalisation finds no batch norm in the {' or '.join(self.players)}: leave it out, "
                "or choose model=dcgan"
            )
        return networks

    def _replace(self, body: nn.Module) -> int:
        return (
            remove_batch_norm(body)
            if self.kind == "none"
            else replace_modules(body, BATCH_NORMS, self._other)
        )

    def _other(self, norm: nn.BatchNorm1d | nn.BatchNorm2d) -> nn.Module:
        channels = norm.num_features
        if self.kind == "instance" and isinstance(norm, nn.BatchNorm1d):
            raise ConfigError(
                "trick.normalisation.kind=instance has nothing to average over in a fully connected layer: "
                "choose layer"
            )
        groups = {"layer": 1, "instance": channels, "group": self.groups}[self.kind]
        if channels % groups:
            raise ConfigError(
                f"trick.normalisation.groups={groups} does not divide {channels} channels: change it"
            )
        if self.kind == "group" and isinstance(norm, nn.BatchNorm1d) and channels // groups < 3:
            raise ConfigError(
                f"trick.normalisation.groups={groups} leaves fewer than 3 of {channels} numbers in a group "
                "of a fully connected layer, of which no more than signs remain: choose fewer groups"
            )
        other = nn.GroupNorm(groups, channels, norm.eps)
        other.weight, other.bias = norm.weight, norm.bias
        return other
