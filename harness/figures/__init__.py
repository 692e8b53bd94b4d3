"""Pictures: frames of a run, its GIF, and the figures of a report. matplotlib is imported nowhere else."""

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
    "Scene",
    "Window",
    "draw_scene",
    "gif",
    "scatter_over_surface",
    "scatter_window",
    "surface_points",
]
