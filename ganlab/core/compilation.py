"""What is never compiled, although it calls networks that are."""

import sys
from collections.abc import Callable
from functools import wraps
from typing import ParamSpec, TypeVar

import torch

Arguments = ParamSpec("Arguments")
Returned = TypeVar("Returned")


def uncompiled(method: Callable[Arguments, Returned]) -> Callable[Arguments, Returned]:
    """A method that runs its compiled networks as they are written.

    `torch.compiler.set_stance` does this, but imports torch's compiler, which takes a second.
    """

    @wraps(method)
    def run(*args: Arguments.args, **settings: Arguments.kwargs) -> Returned:
        if "torch._dynamo" not in sys.modules:  # nothing has been compiled
            return method(*args, **settings)
        with torch.compiler.set_stance("force_eager"):
            return method(*args, **settings)

    return run
