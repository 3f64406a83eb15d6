"""The file of a checkpoint: how it is checked and read."""

import os
import zipfile
from pathlib import Path
from typing import Any

from ganlab.core.errors import ConfigError, require

# The entries of every checkpoint that Lightning writes.
CHECKPOINT_ENTRIES = {
    "callbacks": dict, "epoch": int, "global_step": int, "loops": dict, "lr_schedulers": list,
    "optimizer_states": list, "pytorch-lightning_version": str, "state_dict": dict,
}  # fmt: skip


def read_checkpoint(path: Path) -> dict[str, Any]:
    """The content of a checkpoint of a run.

    Raises:
        ConfigError: the file is missing, damaged, or no checkpoint.
    """
    if not os.path.isfile(path):
        raise ConfigError(f"{path} does not exist")
    import torch  # here, because it takes seconds and most commands read no checkpoint

    try:
        damaged = is_damaged(path)
        content: Any = None if damaged else torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # torch raises many kinds on a truncated file
        raise ConfigError(f"{path} is truncated or not a checkpoint") from error
    require(not damaged, f"{path} is damaged: a checksum does not match")
    entries = content if isinstance(content, dict) else {}
    is_complete = all(isinstance(entries.get(name), cls) for name, cls in CHECKPOINT_ENTRIES.items())
    is_checkpoint = is_complete and all(isinstance(key, str) for key in entries["state_dict"])
    require(is_checkpoint, f"{path} is not the checkpoint of a run")
    return content


def is_damaged(path: Path) -> bool:
    """Whether a zip file is not as torch wrote it; torch itself does not check this when it reads a file."""
    with zipfile.ZipFile(path) as file:
        members = file.infolist()
        is_compressed = any(member.compress_type for member in members)  # torch does not compress
        # In a hostile file, members may share bytes, so that a small file expands to a huge content.
        members_overlap = sum(member.file_size for member in members) > path.stat().st_size
        return members_overlap or is_compressed or file.testzip() is not None
