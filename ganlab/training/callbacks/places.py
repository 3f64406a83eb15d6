"""The order in which the callbacks of a run are called: by the place that each declares."""

from collections.abc import Iterable, Mapping

from pytorch_lightning import Callback

from ganlab.core.errors import require

# The places, in the order of the calls. A callback declares its own as the class attribute `place`:
#   clock    before all others, whose time does not count as training
#   measure  where the metrics of a step are computed
#   show     where pictures are drawn: the step has its metrics, and is neither recorded nor saved
#   record   where the scalars and metrics are written
#   stop     where the run decides to end
#   save     where checkpoints are written, with the state of all callbacks
#   after    after all of this
PLACES = ("clock", "measure", "show", "record", "stop", "save", "after")
DEFAULT = "show"


def in_order(own: Iterable[Callback], given: Mapping[str, Callback]) -> list[Callback]:
    """Those of ganlab and those of the config, by name, in the order of their places; first ganlab's in each.

    Raises:
        ConfigError: there is no such place.
    """
    for name, callback in given.items():
        remedy = f"choose from {', '.join(PLACES)}"
        require(place_of(callback) in PLACES, "is no place", remedy, f"callback.{name}", place_of(callback))
    return sorted([*own, *given.values()], key=lambda callback: PLACES.index(place_of(callback)))


def place_of(callback: Callback) -> str:
    """The place that a callback declares; those of Lightning declare none."""
    return getattr(callback, "place", DEFAULT)
