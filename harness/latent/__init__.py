"""What a trained generator does with its latents: samples, edits, walks between them."""

from __future__ import annotations

from harness.latent.edits import EDITS, EditTable, Effect, Effects, choose_dims, edit, effects
from harness.latent.findings import edit_figure, finding
from harness.latent.generation import Generated, check_images, draw_latents, generate, sample
from harness.latent.runs import Run, find_run, load_run
from harness.latent.walks import interpolate, walk_figure

__all__ = [
    "EDITS",
    "EditTable",
    "Effect",
    "Effects",
    "Generated",
    "Run",
    "check_images",
    "choose_dims",
    "draw_latents",
    "edit",
    "edit_figure",
    "effects",
    "find_run",
    "finding",
    "generate",
    "interpolate",
    "load_run",
    "sample",
    "walk_figure",
]
