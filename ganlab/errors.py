"""The one error of ganlab's own: a setting or a sample that it will not work with."""

from __future__ import annotations


class Refused(ValueError):  # noqa: N818, a refusal is what was meant
    """Something cannot be done as asked. The message is one line: the value, and the remedy."""


class Diverged(ArithmeticError):  # noqa: N818, likewise
    """Training went to NaN or infinity: nothing that came after the last checkpoint is worth keeping."""

    def __init__(self, step: int, what: str):
        super().__init__(f"diverged at round {step}: {what}")
        self.step = step


class Lost(RuntimeError):  # noqa: N818, likewise
    """Another process of the run is gone."""


def one_line(error: BaseException) -> str:
    return " ".join(str(error).split()) or type(error).__name__
