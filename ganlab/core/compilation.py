"""What is never compiled, although it calls networks that are."""

import sys
from contextlib import AbstractContextManager, nullcontext

import torch


def uncompiled() -> AbstractContextManager[object]:
    """A context in which compiled networks run as they are written.

    `torch.compiler.set_stance` does this, but imports torch's compiler, which takes a second.
    """
    has_compiled = "torch._dynamo" in sys.modules
    return torch.compiler.set_stance("force_eager") if has_compiled else nullcontext()
