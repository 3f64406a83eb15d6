"""python -m ganlab.training.rank: one of the further processes of a run, as the first starts it.

The config comes from that one too, in the environment.
"""

import os
import sys

from omegaconf import DictConfig, OmegaConf

from ganlab.core.errors import one_line
from ganlab.training.processes import end_with_parent, has_parent
from ganlab.training.session import Session


def main() -> None:
    end_with_parent()
    cfg = OmegaConf.create(os.environ["GANLAB_CONFIG"])
    assert isinstance(cfg, DictConfig)
    try:
        Session(cfg).play()
    except BaseException as error:
        if has_parent():  # else it is the first process that has a story to tell
            print(f"process {os.environ['LOCAL_RANK']}: {one_line(error)}", file=sys.stderr)
        os._exit(1)


if __name__ == "__main__":
    main()
