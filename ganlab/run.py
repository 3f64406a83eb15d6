"""`python -m ganlab.run`: trains a game, then evaluates it."""

from ganlab.cli import launch
from ganlab.training.train import train as run

__all__ = ["main", "run"]


def main() -> None:
    launch("run", run)


if __name__ == "__main__":
    main()
