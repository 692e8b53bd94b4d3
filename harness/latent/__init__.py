"""What a trained generator does with its latents: samples, edits, walks between them, directions."""

from __future__ import annotations

from harness.latent.attributes import Attributes, attribute_table, run_classifier
from harness.latent.edits import Effects, choose_dims, edit, edit_figure, effects, finding
from harness.latent.exploration import Explored, explore
from harness.latent.generation import check_images, generate
from harness.latent.sefa import published_subject, run_subject
from harness.latent.walks import interpolate, walk_figure

__all__ = [
    "Attributes",
    "Effects",
    "Explored",
    "attribute_table",
    "check_images",
    "choose_dims",
    "edit",
    "edit_figure",
    "effects",
    "explore",
    "finding",
    "generate",
    "interpolate",
    "published_subject",
    "run_classifier",
    "run_subject",
    "walk_figure",
]
