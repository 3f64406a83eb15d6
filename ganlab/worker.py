"""python -m ganlab.worker <config.yaml>: one of the further processes of a run; started by the first."""

from __future__ import annotations

import sys

from omegaconf import DictConfig, OmegaConf

from ganlab.session import Session
from ganlab.training.processes import end_with_parent


def main() -> None:
    end_with_parent()
    cfg = OmegaConf.load(sys.argv[1])
    assert isinstance(cfg, DictConfig)
    Session(cfg).play()


if __name__ == "__main__":
    main()
