"""Samples with their conditions and codes, the batch of a step, and verdicts on samples."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any, Literal, NamedTuple

import torch
from torch import Tensor

from ganlab.core.errors import ConfigError, require

ConditionKind = Literal["class", "image", "vector"]


@dataclass(frozen=True)
class ConditionSpec:
    """What a condition is. The data declare it, and networks are built for it.

    A condition is one tensor: several images are concatenated to the channels of one image, and several
    vectors to one vector.

    Args:
        kind: `class`: int64 [B]; `image`: float32 [B, *shape], in the range of the samples; it is moved and
            mirrored together with its sample. `vector`: float32 [B, *shape].
        shape: the shape of one condition, (C, H, W) or (E,); () for classes.
        num_classes: the number of classes; None for images and vectors.
        paired: whether the real sample is the right output for its condition, as in paired image translation.
            Only then may a loss compare a generated sample with the real one.
        names: the names of the classes, or of the channels, such as ("known", "mask").
    """

    kind: ConditionKind
    shape: tuple[int, ...] = ()
    num_classes: int | None = None
    paired: bool = True
    names: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        object.__setattr__(self, "shape", tuple(self.shape))  # in a config, shapes and names are lists
        object.__setattr__(self, "names", tuple(self.names))
        num_dims = {"class": 0, "vector": 1, "image": 3}[self.kind]
        reason = f"needs {num_dims} numbers for a condition of the kind {self.kind}"
        require(len(self.shape) == num_dims, reason, key=".shape", value=list(self.shape))
        reason = "is needed for classes, and for nothing else"
        fits = (self.num_classes is not None) == (self.kind == "class")
        require(fits, reason, key=".num_classes", value=self.num_classes)

    def batch(self, given: Any) -> Tensor:
        """Given conditions as a tensor [N, ...], one as [1, ...], before they enter a space.

        Raises:
            ConfigError: they are of another kind, or not finite.
        """
        try:
            conditions = torch.as_tensor(given)
        except (TypeError, ValueError, RuntimeError) as error:
            raise ConfigError("is not numbers", key="condition", value=type(given).__name__) from error
        is_whole = not conditions.is_floating_point() and conditions.dtype != torch.bool
        is_of_kind = is_whole if self.kind == "class" else conditions.is_floating_point()
        reason = f"is not of the kind {self.kind}: classes are whole numbers, all else is floating-point"
        require(is_of_kind, reason, key="condition", value=conditions.dtype)
        conditions = conditions[None] if conditions.ndim == len(self.shape) else conditions
        reason = f"must have the shape {list(self.shape)}, each of them"
        require(conditions.ndim == len(self.shape) + 1, reason, key="condition", value=list(conditions.shape))
        require(bool(conditions.isfinite().all()), "has values that are not finite", key="condition")
        return conditions.long() if self.kind == "class" else conditions

    def validated(self, given: Any) -> Tensor:
        """The same as `batch`, if they also have the right shape, and are classes that exist."""
        conditions = self.batch(given)
        reason = f"must have the shape {list(self.shape)}, each of them"
        require(conditions.shape[1:] == self.shape, reason, key="condition", value=list(conditions.shape))
        if self.num_classes is not None:
            unknown = conditions[(conditions < 0) | (conditions >= self.num_classes)].tolist()
            reason = f"must lie between 0 and {self.num_classes - 1}"
            require(not unknown, reason, key="class", value=(unknown or [None])[0])
        return conditions

    def blank(self, n: int) -> Tensor:
        """Zeros of the shape and the type of n conditions."""
        return torch.zeros(n, dtype=torch.long) if self.kind == "class" else torch.zeros(n, *self.shape)


@dataclass(frozen=True)
class ConditionSource:
    """A source of conditions for generated samples: called with n, it returns the conditions [n, ...].

    Args:
        name: what the protocols of metrics call it, such as "test split".
        answers: a function from n to the real samples that answer them; None: nobody knows the answers.
    """

    name: str
    conditions: Callable[[int], Tensor]
    answers: Callable[[int], Tensor] | None = None

    def __call__(self, n: int) -> Tensor:
        return self.conditions(n)


class Sample(NamedTuple):
    """A batch of B samples, and what goes with each. In statistics, the whole batch is called a sample."""

    x: Tensor  # [B, ...]
    condition: Tensor | None = None  # classes [B], images [B, C, H, W] or vectors [B, E]
    code: Tensor | None = None  # [B, latent_dim]: the latent of a generated sample, or an encoder's code

    def detach(self) -> Sample:
        return Sample(self.x.detach(), self.condition, None if self.code is None else self.code.detach())


class Batch(NamedTuple):
    """The data of one step."""

    real: Sample
    labelled: Sample | None = None  # a second batch, if only a part of the data has labels
    indices: Tensor | None = None  # [B] int64 on the CPU: the rows of `real` among the training samples


class Verdict(NamedTuple):
    """The discriminator's output on samples."""

    logits: Tensor  # [B], or [B, h, w] over patches
    features: Tensor  # [B, F]
    class_logits: Tensor | None = None  # [B, K], if the discriminator has a classifier head


class Targets(NamedTuple):
    """Target probabilities of being real, in the shapes of the logits."""

    real: Tensor
    fake: Tensor


def at_least_float32(x: Tensor) -> Tensor:
    """Converts half precision to float32; float64 stays."""
    return x.float() if x.dtype in (torch.bfloat16, torch.float16) else x


def as_scalar(name: str, value: Any) -> Tensor:
    """A logged number as a tensor [] without gradients; raises `ConfigError` if it is not one number."""
    try:
        return torch.as_tensor(value).detach().reshape(())
    except (TypeError, ValueError, RuntimeError) as error:
        found = list(value.shape) if isinstance(value, Tensor) else type(value).__name__
        raise ConfigError("must be one number, such as a tensor []", key=name, value=found) from error


def refuse_taken_name(name: str, players: Iterable[str]) -> None:
    """Refuses a name for a number of one's own that a run uses itself, or that is of a loss term."""
    is_taken = name in ("", "step", "images", "weight") or {*name.split("/")[-2:-1]} & {*players}
    reason = "is not free: step, images, weight and names such as generator/x are those of a run itself"
    require(not is_taken, reason, "choose another name, such as mine/x", name)
