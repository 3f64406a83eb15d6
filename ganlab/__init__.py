"""Generative adversarial and matching networks: composed by config, exact to the bit.

`compose` makes a config, `build` its untrained game and `train` a run of it; `load` reads the game of a
finished run. They are imported when they are first used, since the import of torch takes more than a second.
"""

import os
import sys
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from ganlab.config.compose import compose
    from ganlab.config.load import build, load
    from ganlab.core.errors import ConfigError
    from ganlab.game import Game
    from ganlab.training.train import Result, train

__version__ = "0.1.0"

# `python -m ganlab.run` searches the working directory first. Files in it, perhaps in the run of another
# user, could be imported as optional modules of libraries. `import_object` searches it later, and last.
if sys.argv[:1] == ["-m"] and sys.path[:1] == [os.getcwd()]:
    del sys.path[0]

# In a checkout, conf/ lies beside this folder. So `pkg://ganlab.conf` finds it there, as it does in a wheel.
if not (Path(__file__).parent / "conf").is_dir():
    __path__.append(str(Path(__file__).parent.parent))

__all__ = ["ConfigError", "Game", "Result", "__version__", "build", "compose", "load", "train"]
HOMES = {
    "ganlab.config.compose": "compose",
    "ganlab.config.load": "build load",
    "ganlab.core.errors": "ConfigError",
    "ganlab.game": "Game",
    "ganlab.training.train": "Result train",
}


def __getattr__(name: str) -> Any:
    for module, names in HOMES.items():
        if name in names.split():
            return getattr(import_module(module), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
