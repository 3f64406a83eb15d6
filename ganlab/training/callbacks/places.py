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
# A run is one epoch without validation: a callback that acts at the ends of those would never act.
IDLE_HOOKS = ("on_validation_end", "on_validation_epoch_end", "on_train_epoch_end")
STEP_HOOKS = ("on_train_batch_start", "on_train_batch_end")


def in_order(own: Iterable[Callback], given: Mapping[str, Callback]) -> list[Callback]:
    """Those of ganlab and those of the config, by name, in the order of their places; first ganlab's in each.

    Raises:
        ConfigError: there is no such place, or the callback would never act.
    """
    for name, callback in given.items():
        key, kind = f"callback.{name}", type(callback)
        require(
            place_of(callback) in PLACES,
            "is no place",
            f"choose from {', '.join(PLACES)}",
            key,
            place_of(callback),
        )
        idle, active = (
            [hook for hook in hooks if getattr(kind, hook) is not getattr(Callback, hook)]
            for hooks in (IDLE_HOOKS, STEP_HOOKS)
        )
        reason = f"acts in {', '.join(idle)}, which a run of one epoch without validation never reaches"
        require(active or not idle, reason, "use on_train_batch_end", key, kind.__name__)
    return sorted([*own, *given.values()], key=lambda callback: PLACES.index(place_of(callback)))


def place_of(callback: Callback) -> str:
    """The place that a callback declares; those of Lightning declare none."""
    return getattr(callback, "place", DEFAULT)
