"""Pictures: frames of a run, its GIF, and the figures of a report. matplotlib is imported nowhere else."""

from harness.figures.canvas import write_gif, write_images, write_png
from harness.figures.directions import (
    attribute_map,
    direction_films,
    direction_frames,
    direction_pages,
    strength_plot,
)
from harness.figures.films import filmstrip, filmstrip_gif, read_classes, read_frames
from harness.figures.grids import class_grid, grid, shown_classes, top_rows
from harness.figures.neighbours import neighbour_grid
from harness.figures.panels import Panel, panels, real_beside_fake
from harness.figures.plots import (
    Dots,
    Series,
    Trials,
    cost_scatter,
    dot_and_interval,
    final_panel,
    metric_curves,
    time_curves,
    trial_scatter,
)
from harness.figures.scene import Scene, gif, scatter_over_surface, scatter_window, surface_points
from harness.figures.video import find_ffmpeg, write_mp4

__all__ = [
    "Dots",
    "Panel",
    "Scene",
    "Series",
    "Trials",
    "attribute_map",
    "class_grid",
    "cost_scatter",
    "direction_films",
    "direction_frames",
    "direction_pages",
    "dot_and_interval",
    "filmstrip",
    "filmstrip_gif",
    "final_panel",
    "find_ffmpeg",
    "gif",
    "grid",
    "metric_curves",
    "neighbour_grid",
    "panels",
    "read_classes",
    "read_frames",
    "real_beside_fake",
    "scatter_over_surface",
    "scatter_window",
    "shown_classes",
    "strength_plot",
    "surface_points",
    "time_curves",
    "top_rows",
    "trial_scatter",
    "write_gif",
    "write_images",
    "write_mp4",
    "write_png",
]
