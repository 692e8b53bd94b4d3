"""Where a run's numbers and images go: a history file, W&B, the terminal."""

from harness.tracking.console import ConsoleTracker, SweepDisplay
from harness.tracking.history import HistoryTracker, read_histograms, read_history, read_images, replay
from harness.tracking.mirror import WandbTracker, log_summary
from harness.tracking.mode import wandb_mode
from harness.tracking.pictures import log_pictures
from harness.tracking.status import ArmStanding, RunningUnit, SweepStatus
from harness.tracking.tracker import CompositeTracker, Histogram, Tracker

__all__ = [
    "ArmStanding",
    "CompositeTracker",
    "ConsoleTracker",
    "Histogram",
    "HistoryTracker",
    "RunningUnit",
    "SweepDisplay",
    "SweepStatus",
    "Tracker",
    "WandbTracker",
    "log_pictures",
    "log_summary",
    "read_histograms",
    "read_history",
    "read_images",
    "replay",
    "wandb_mode",
]
