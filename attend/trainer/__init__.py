"""Training of any task, with checkpoints, that can be stopped and resumed."""

from attend.trainer.checkpoints import CheckpointError
from attend.trainer.loop import Epoch, Report, Stopped, Training, train
from attend.trainer.task import Task, TrainConfig

__all__ = [
    "CheckpointError",
    "Epoch",
    "Report",
    "Stopped",
    "Task",
    "TrainConfig",
    "Training",
    "train",
]
