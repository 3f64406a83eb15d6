"""Which samples are in which split: chosen classes, validation samples, and what is kept of each class."""

from collections.abc import Mapping, Sequence
from typing import Annotated, Any, Literal, TypedDict

import torch
from torch import Tensor

from ganlab.core.errors import require
from ganlab.core.randomness import seeded_generator
from ganlab.core.validation import Count, NonEmpty, Whole, is_integer
from ganlab.data.sources import Source, labels_at

HeldOut = Literal["last", "random"]  # which samples are held out for validation
Sources = Mapping[str, Source]  # by the name of the split


class Composition(TypedDict, total=False):
    """The settings that choose the samples of the splits, in the order in which they act.

    The seed of the run changes none of the choices. Classes are given by their names or numbers in the whole
    data set; what is both a name and a number is the name.
    """

    # Every split keeps the samples of these classes only. Class i of the run is the i-th of the list, so the
    # number of classes, their names and all labels are those of the list. The split `held_out` has the other
    # test samples, or the other training samples if there is no test split; it has no labels.
    classes: NonEmpty[int | str] | None
    validation: Whole  # the number of training samples that become the split `validation`
    validation_choice: HeldOut  # the last training samples, or the same random ones in every run
    per_class: Count | None  # the training split keeps so many random samples of each class
    # The training split keeps this share of a class, at least one sample. A smaller share is a part of a
    # larger one.
    share: Mapping[Any, Annotated[float, "(0, 1]"]] | None


def compose_splits(
    sources: Sources, class_names: Sequence[str] | None, settings: Composition
) -> tuple[dict[str, Source], tuple[str, ...] | None]:
    """The sources of all splits, and the names of their classes; None: the classes have no names.

    Args:
        sources: the source of each split of the whole data set; `train` is required.
        class_names: the names of all classes of the whole data set; None: they have none.

    Raises:
        ConfigError: the data have no labels, a class does not exist, or too few samples are left.
    """
    sources, labels = dict(sources), sources["train"].labels
    classes, per_class, share = (
        settings.get("classes"),
        settings.get("per_class"),
        settings.get("share") or {},
    )
    for key, value in {"classes": classes, "per_class": per_class, "share": share or None}.items():
        require(value is None or labels is not None, "needs data with labels", "remove it", f".{key}", value)
    num_classes = 0 if labels is None else int(labels.max()) + 1
    names = class_names or [*map(str, range(num_classes))]
    numbers = [*range(len(names))]
    if classes is not None:
        numbers = class_numbers(".classes", classes, names)
        sources, class_names = choose_classes(sources, numbers), [names[number] for number in numbers]
    if validation := settings.get("validation"):
        sources |= hold_out(sources["train"], validation, settings.get("validation_choice"))
    if per_class or share:
        shares = dict(zip(class_numbers(".share", [*share], names), share.values(), strict=True))
        for number in shares:
            reason = "is held out by data.classes"
            require(number in numbers, reason, "add it there, or remove it", ".share", names[number])
        sources["train"] = thin(sources["train"], per_class, [shares.get(number) for number in numbers])
    return sources, None if class_names is None else tuple(class_names)


def class_numbers(key: str, classes: Sequence[Any], names: Sequence[str]) -> list[int]:
    """The numbers of classes that are given by their names or numbers.

    Raises:
        ConfigError: there is no such class, or one is given twice.
    """
    numbers = [names.index(str(given)) if str(given) in names else given for given in classes]
    for given, number in zip(classes, numbers, strict=True):
        exists = is_integer(number) and 0 <= number < len(names)
        remedy = f"choose a number from 0 to {len(names) - 1}, or one of {', '.join(names)}"
        require(exists, "is not a class of the data", remedy, key, given)
        require(numbers.count(number) == 1, "gives a class twice", "remove one of them", key, list(classes))
    return numbers


def choose_classes(sources: Sources, numbers: Sequence[int]) -> dict[str, Source]:
    """The samples of some classes, which get the numbers 0, 1, ...; the others are the split `held_out`."""

    def part(source: Source, is_chosen: bool) -> Source:
        assert source.labels is not None
        matches = source.labels[:, None] == torch.tensor(numbers)  # [N, K]
        rows = (matches.any(1) if is_chosen else ~matches.any(1)).nonzero()[:, 0]
        return source.at(rows, matches[rows].long().argmax(1) if is_chosen else None)

    others = part(sources.get("test", sources["train"]), is_chosen=False)
    chosen = {split: part(source, is_chosen=True) for split, source in sources.items()}
    return {split: source for split, source in {**chosen, "held_out": others}.items() if len(source)}


def hold_out(train: Source, validation: int, choice: HeldOut | None) -> dict[str, Source]:
    """Divides training samples into the splits `train` and `validation`.

    Raises:
        ConfigError: no sample would be left for training, or `choice` is None.
    """
    num_train = len(train) - validation
    require(num_train > 0, f"holds out all {len(train)} samples", "lower it", ".validation", validation)
    require(choice, "is needed by data.validation", "set it to last or random", ".validation_choice", choice)
    order = torch.arange(len(train))
    if choice == "random":
        order = torch.randperm(len(train), generator=seeded_generator("validation"))
    rows = {"train": order[:num_train].sort().values, "validation": order[num_train:]}
    return {split: train.at(part, labels_at(train.labels, part)) for split, part in rows.items()}


def thin(train: Source, per_class: int | None, shares: Sequence[float | None]) -> Source:
    """The training samples that are kept, in their order.

    Args:
        per_class: the number of samples of each class, of which `shares` keeps a part; None: all.
        shares: for each class, the share that is kept; None: all.

    Raises:
        ConfigError: a class has fewer than `per_class` samples.
    """
    labels = train.labels
    assert labels is not None
    smallest = int(labels.bincount(minlength=len(shares)).min())
    reason = f"exceeds the smallest class, which has {smallest} training samples"
    require((per_class or 0) <= smallest, reason, f"set it to {smallest} or less", ".per_class", per_class)

    def kept(label: int) -> Tensor:
        rows = (labels == label).nonzero()[:, 0]
        order = torch.randperm(len(rows), generator=seeded_generator("kept"))[:per_class]
        return rows[order[: max(round((shares[label] or 1) * len(order)), 1)]]

    rows = torch.cat([kept(label) for label in range(len(shares))]).sort().values
    return train.at(rows, labels[rows])
