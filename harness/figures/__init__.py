"""Pictures: frames of a run, its GIF, and the figures of a report. matplotlib is imported nowhere else."""

from harness.figures.plots import (
    Dots,
    Series,
    Trials,
    dot_and_interval,
    final_panel,
    metric_curves,
    time_curves,
    trial_scatter,
)
from harness.figures.scene import (
    Scene,
    Window,
    draw_scene,
    gif,
    scatter_over_surface,
    scatter_window,
    surface_points,
)

__all__ = [
    "Dots",
    "Scene",
    "Series",
    "Trials",
    "Window",
    "dot_and_interval",
    "draw_scene",
    "final_panel",
    "gif",
    "metric_curves",
    "scatter_over_surface",
    "scatter_window",
    "surface_points",
    "time_curves",
    "trial_scatter",
]
