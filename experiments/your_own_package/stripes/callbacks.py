"""A callback of Lightning."""

from pathlib import Path
from typing import Any

from pytorch_lightning import Callback, Trainer

from ganlab.training.module import GameModule


class LowestLoss(Callback):
    """Writes the lowest loss of the generator so far, and its step, to lowest.txt in the run directory."""

    place = "record"  # after the metrics, before the checkpoint: its state there is that of the same step

    def __init__(self) -> None:
        self.lowest, self.step = float("inf"), 0

    def on_train_batch_end(self, trainer: Trainer, module: GameModule, *_: Any) -> None:  # type: ignore[override]
        loss = float(module.scalars["generator/adversarial"])
        if loss < self.lowest:
            self.lowest, self.step = loss, module.game.run_step

    def on_train_end(self, trainer: Trainer, module: GameModule) -> None:  # type: ignore[override]
        if trainer.is_global_zero:
            Path(trainer.default_root_dir, "lowest.txt").write_text(
                f"{self.lowest:.4f} at step {self.step}\n"
            )

    def state_dict(self) -> dict[str, Any]:
        return {"lowest": self.lowest, "step": self.step}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self.lowest, self.step = state["lowest"], state["step"]
