"""Finds the folders of the training split and the test split by their names."""

import re
from pathlib import Path

from ganlab.core.errors import ConfigError, require
from ganlab.data.listing import existing_folder, list_folder

# The name of a split consists of a prefix, a word for the split and a suffix, as in "mnist_train_images".
SPLIT_NAME = re.compile(
    r"(?P<prefix>.+[_ .-])?(?P<word>train(?:ing|val)?|test(?:ing)?|val(?:id(?:ation)?)?"
    r"|dev(?:elopment)?|eval(?:uation)?|hold[_ -]?out)"
    r"(?P<suffix>[_ .-]?(?:\d+(?:px)?|[ab]|set|split|data|images?|imgs?)?)",
    re.IGNORECASE,
)


def find_splits(root: str, test_root: str | None) -> dict[str, Path]:
    """The folder of the split `train` and, if there is a test folder, that of the split `test`.

    Args:
        root: either the training folder, which contains classes or images, or the folder that contains the
            training folder and the test folder.
        test_root: the test folder, if it is not in `root`.

    Raises:
        ConfigError: a folder is missing, or has sub-folders that are splits instead of classes.
    """
    parent = existing_folder(".root", root)
    folders, _, _ = list_folder(parent)
    splits = {folder.name: match for folder in folders if (match := SPLIT_NAME.fullmatch(folder.name))}
    name_of_role = {split_role(match): name for name, match in splits.items()}
    suffixes = {match["suffix"] for match in splits.values()}  # such as "A" of "trainA"
    if len(folders) == 2 and name_of_role.keys() == {"train", "test"} and len(suffixes) == 1:
        reason = f"root={root} also has a test split, {name_of_role['test']}/"
        require(test_root is None, reason, "set it to null", ".test_root", test_root)
        return {split: parent / name_of_role[split] for split in ("train", "test")}
    # The folder is the training split, so its sub-folders are classes.
    refuse_splits_as_classes(root, folders, splits)
    test = {} if test_root is None else {"test": existing_folder(".test_root", test_root)}
    return {"train": parent, **test}


def refuse_splits_as_classes(root: str, folders: list[Path], splits: dict[str, re.Match[str]]) -> None:
    """Refuses sub-folders that are or contain splits, because they would be used as classes.

    A model would then learn to distinguish, for example, training images from validation images. Sub-folders
    are refused in three cases:
    (1) All of them have names of splits. If all these names have prefixes and the same role, such as
        blood_test and urine_test, they are classes nevertheless, and are not refused.
    (2) A training split and a split of a different role are among them.
    (3) One of them contains splits of different roles.

    Args:
        root: the folder that contains the sub-folders.
        folders: the sub-folders.
        splits: the names of those sub-folders that have names of splits, with their matches of `SPLIT_NAME`.

    Raises:
        ConfigError: the sub-folders are refused.
    """
    roles = {split_role(match) for match in splits.values()}
    only_splits = len(folders) > 0 and len(splits) == len(folders)
    are_classes = len(roles) == 1 and all(match["prefix"] for match in splits.values())
    if (only_splits and not are_classes) or ("train" in roles and len(roles) > 1):
        reason = f"contains {'only the' if only_splits else 'the'} splits {', '.join(sorted(splits))}"
        raise ConfigError(reason, "set it to one of them, and test_root to another or to null", ".root", root)
    for folder in folders:
        matches = [SPLIT_NAME.fullmatch(path.name) for path in folder.iterdir() if path.is_dir()]
        inner_roles = {split_role(match) for match in matches if match}
        reason = f"{folder} contains splits, not images of a class"
        require(len(inner_roles) < 2, reason, "set data.root to it, or to one of the splits")


def split_role(match: re.Match[str]) -> str:
    """The role of a split, from the match of its name: `train`, `test`, or a few letters of another word.

    The first four letters are kept, so that "test" and "testing" have one role. "val" and "validation" have
    two, which is harmless: roles other than `train` and `test` only help to tell splits from classes.
    """
    word = match["word"].lower()
    return "train" if word.startswith("train") else word[:4]
