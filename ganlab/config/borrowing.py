"""Networks of earlier stages and of finished runs, which the config of a game borrows by their names."""

from collections.abc import Mapping
from typing import Any, NamedTuple

from omegaconf import DictConfig

from ganlab.core.batch import ConditionSpec
from ganlab.core.errors import require
from ganlab.core.players import network_names
from ganlab.game import Game
from ganlab.networks.borrowed import Borrowed
from ganlab.objectives.base import Objective


class Borrowing(NamedTuple):
    """Makes the network that a node {borrowed: <name>, network: <role>} of a config names.

    Args:
        role: the role of the network whose config has the node; `network` is needed for another one only.
        lenders: the games of earlier stages and of borrowed runs by name.
        told: what goes with a sample of the data.
    """

    role: str
    lenders: Mapping[str, Game]
    told: ConditionSpec | None

    def __call__(self, node: DictConfig, key: str) -> Borrowed:
        """The network. The key of the node is for errors.

        Raises:
            ConfigError: there is no such network, or it is told what the data do not have.
        """
        lender, name = node.borrowed, node.get("network", self.role)
        others = ", ".join(sorted(set(map(str, node)) - {"borrowed", "network"}))
        require(not others, f"is borrowed, and also has {others}", "remove them", key)
        known = ", ".join(self.lenders)
        remedy = f"choose from {known}" if known else "add a stage, or borrows.<name>=<run_dir>"
        key = f"{key}.borrowed"
        require(lender in self.lenders, "is no earlier stage and no borrowed run", remedy, key, lender)
        networks = self.lenders[lender].networks
        reason = f"has no {name} to borrow"
        require(name in networks, reason, f"choose from {', '.join(networks)}", key, lender)
        needed = getattr(networks[name], "condition", None)  # an encoder needs none
        agrees = needed is None or kind_of(needed) == kind_of(self.told)
        require(agrees, "is told a condition that these data lack", "choose other data", key, lender)
        return Borrowed(self.lenders[lender], name)


def kind_of(spec: ConditionSpec | None) -> object:
    """What two conditions must share so that a network for one can be told the other."""
    return None if spec is None else (spec.kind, spec.shape, spec.num_classes)


def check_borrowed(networks: Mapping[str, Any], objective: Objective, shape: tuple[int, ...]) -> None:
    """Raises `ConfigError` unless the networks that no player updates, and no others, are borrowed.

    Args:
        shape: the shape of a sample, which a borrowed generator must make.
    """
    updated = network_names(objective.players)
    for name, network in networks.items():
        is_borrowed = isinstance(network, Borrowed)
        reason = "is borrowed, but the objective trains it"
        require(not (is_borrowed and name in updated), reason, "give a network of its own", f"model.{name}")
        reason = "is trained by no player of the objective"
        remedy = f"borrow it from a finished run, model.{name}={{borrowed: <a key of borrows>}}"
        require(is_borrowed or name in updated, reason, remedy, f"model.{name}")
        fits = not is_borrowed or name != "generator" or network.shape == shape
        require(fits, f"makes samples of another shape than {list(shape)}", "choose another", f"model.{name}")
