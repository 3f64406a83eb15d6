"""Which samples are in which split: chosen classes, validation samples, and what is kept of each class."""

from collections.abc import Mapping, Sequence
from typing import Any, Literal, TypedDict

import torch

from ganlab.core.errors import escape_unprintable, require
from ganlab.core.randomness import seeded_generator
from ganlab.core.validation import Count, NonEmpty, Whole, is_integer
from ganlab.data.sources import Source

HeldOut = Literal["last", "random"]  # which samples are held out for validation
Sources = Mapping[str, Source]  # by the name of the split


class Composition(TypedDict, total=False):
    """The settings that choose the samples of the splits, in the order in which they act.

    The seed of the run changes no choice. A class is given by its name or its number in the whole data set;
    what is both is a name.
    """

    # All splits keep only these classes. Class i is the i-th of the list: `num_classes`, `class_names` and
    # labels count so. The other samples of the test split, or of the training split if there is no test
    # split, are the split `held_out`, which has no labels.
    classes: NonEmpty[int | str] | None
    validation: Whole  # the number of training samples that become the split `validation`
    validation_choice: HeldOut  # the last training samples, or random ones
    per_class: Count | None  # the training split keeps so many random samples of each class
    # Of these classes, the training split keeps a share in (0, 1] of what it would have, at least one sample.
    share: Mapping[Any, float] | None
    labelled: Count | None  # the number of training samples whose labels a semi-supervised trick may see


def compose_splits(
    sources: Sources, class_names: Sequence[str] | None, settings: Composition
) -> tuple[Sources, tuple[str, ...] | None]:
    """The sources of all splits, and the names of their classes; None: the classes have no names.

    Args:
        sources: the source of each split of the whole data set.
        class_names: the names of all classes of the whole data set; None: they have none.

    Raises:
        ConfigError: the data have no labels, a class does not exist, or too few samples are left.
    """
    sources, labels = dict(sources), sources["train"].labels
    classes, per_class = settings.get("classes"), settings.get("per_class")
    share = settings.get("share") or {}
    for key, value in {"classes": classes, "per_class": per_class, "share": share}.items():
        require(labels is not None or not value, "needs data with labels", "remove it", f".{key}", value)
    if class_names is not None:  # the names are stored in the config, where "${" begins an interpolation
        class_names = [escape_unprintable(name).replace("${", "$ {") for name in class_names]
    names = class_names or [*map(str, range(0 if labels is None else int(labels.max()) + 1))]
    numbers = [*range(len(names))]
    if classes is not None:
        numbers = class_numbers(".classes", classes, names)
        sources, class_names = choose_classes(sources, numbers), [names[number] for number in numbers]
    if validation := settings.get("validation"):
        sources |= hold_out(sources["train"], validation, settings.get("validation_choice"))
    shares = dict(zip(class_numbers(".share", [*share], names), share.values(), strict=True))
    for number, kept in shares.items():
        reason, remedy = "is held out by data.classes", "add it there, or remove it"
        require(number in numbers, reason, remedy, ".share", names[number])
        require(0 < kept <= 1, "must be above 0 and at most 1", key=f".share.{names[number]}", value=kept)
    if per_class or share:
        sources["train"] = thin(sources["train"], per_class, [shares.get(number, 1) for number in numbers])
    return sources, None if class_names is None else tuple(class_names)


def class_numbers(key: str, classes: Sequence[Any], names: Sequence[str]) -> list[int]:
    """The numbers of classes that are given by their names or numbers; refuses unknown or repeated ones."""
    numbers = [names.index(str(given)) if str(given) in names else given for given in classes]
    remedy = f"choose a number from 0 to {len(names) - 1}, or one of {', '.join(names)}"
    for given, number in zip(classes, numbers, strict=True):
        exists = is_integer(number) and 0 <= number < len(names)
        require(exists, "is not a class of the data", remedy, key, given)
        require(numbers.count(number) == 1, "gives a class twice", "remove one of them", key, list(classes))
    return numbers


def choose_classes(sources: Sources, numbers: Sequence[int]) -> dict[str, Source]:
    """Numbers the samples of some classes 0, 1, ...; the others become the split `held_out`."""
    found = {}
    for split, source in sources.items():
        assert source.labels is not None
        matches = source.labels[:, None] == torch.tensor(numbers)  # [N, K]
        rows, others = matches.any(1), source.at((~matches.any(1)).nonzero()[:, 0])
        found[split] = source.at(rows.nonzero()[:, 0])
        found[split].labels = matches[rows].long().argmax(1)
        if split == "test" or "test" not in sources:
            found["held_out"], others.labels = others, None
    return {split: source for split, source in found.items() if len(source)}


def hold_out(train: Source, validation: int, choice: HeldOut | None) -> dict[str, Source]:
    """Divides training samples into the splits `train` and `validation`, which keep their order."""
    num_train = len(train) - validation
    require(num_train > 0, f"holds out all {len(train)} samples", "lower it", ".validation", validation)
    require(choice, "is needed by data.validation", "set it to last or random", ".validation_choice", choice)
    order = torch.arange(len(train))
    if choice == "random":
        order = torch.randperm(len(train), generator=seeded_generator("validation"))
    return {"train": train.at(order[:num_train].sort().values), "validation": train.at(order[num_train:])}


def thin(train: Source, per_class: int | None, shares: Sequence[float]) -> Source:
    """The training samples that are kept: `per_class` of each class (None: all), and of these its share."""
    labels = train.labels
    assert labels is not None
    counts = labels.bincount(minlength=len(shares)).tolist()
    reason = f"exceeds the smallest class, which has {min(counts)} training samples"
    require((per_class or 0) <= min(counts), reason, "lower it", ".per_class", per_class)
    order = torch.randperm(len(train), generator=seeded_generator("kept"))
    # Of each class, the first ones in this order are kept, so that fewer samples are a part of more samples.
    kept = [max(round(share * (per_class or n)), 1) for n, share in zip(counts, shares, strict=True)]
    rows = [order[labels[order] == label][:n] for label, n in enumerate(kept)]
    return train.at(torch.cat(rows).sort().values)
