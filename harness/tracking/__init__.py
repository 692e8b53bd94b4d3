"""Where a run's numbers and images go: a history file, W&B, the terminal."""

from harness.tracking.console import ConsoleTracker
from harness.tracking.history import HistoryTracker, read_histograms, read_history, read_images, replay
from harness.tracking.mirror import WandbTracker
from harness.tracking.mode import wandb_mode
from harness.tracking.pictures import log_pictures, log_summary
from harness.tracking.tracker import CompositeTracker, Histogram, Tracker

__all__ = [
    "CompositeTracker",
    "ConsoleTracker",
    "Histogram",
    "HistoryTracker",
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
