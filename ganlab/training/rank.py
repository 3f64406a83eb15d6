"""`python -m ganlab.training.rank`: one of the further processes of a run, started by `LocalRanks`."""

import os
import sys

from omegaconf import DictConfig, OmegaConf

from ganlab.core.errors import one_line
from ganlab.training.lifecycle import play
from ganlab.training.processes import end_with_parent, has_parent
from ganlab.training.session import Session


def main() -> None:
    end_with_parent()
    cfg = OmegaConf.create(os.environ["GANLAB_CONFIG"])
    assert isinstance(cfg, DictConfig)
    try:
        play(Session(cfg))
    except BaseException as error:
        if has_parent():  # otherwise the first process has died, and its error is the one to report
            print(f"process {os.environ['LOCAL_RANK']}: {one_line(error)}", file=sys.stderr)
        os._exit(1)


if __name__ == "__main__":
    main()
