"""What a trained generator does with its latents: samples, edits, walks between them, directions."""

from __future__ import annotations

from harness.latent.attributes import (
    PIXEL_ATTRIBUTES,
    Attributes,
    Meaning,
    affordable_latents,
    attribute_table,
    attribute_words,
    measure_attributes,
    pixel_attributes,
    run_classifier,
    write_attributes,
)
from harness.latent.edits import (
    EDITS,
    EditTable,
    Effect,
    Effects,
    change_per_unit,
    choose_dims,
    edit,
    edit_figure,
    effects,
    finding,
)
from harness.latent.exploration import Explored, explore
from harness.latent.factors import Factors, choose_layers, factorize, latent_weight
from harness.latent.generation import Generated, check_images, generate
from harness.latent.published import Published, load_published
from harness.latent.sefa import (
    VARIANTS,
    Strengths,
    Subject,
    Variant,
    measure,
    published_subject,
    run_subject,
    start_codes,
    traverse,
)
from harness.latent.walks import interpolate, walk_figure

__all__ = [
    "EDITS",
    "PIXEL_ATTRIBUTES",
    "VARIANTS",
    "Attributes",
    "EditTable",
    "Effect",
    "Effects",
    "Explored",
    "Factors",
    "Generated",
    "Meaning",
    "Published",
    "Strengths",
    "Subject",
    "Variant",
    "affordable_latents",
    "attribute_table",
    "attribute_words",
    "change_per_unit",
    "check_images",
    "choose_dims",
    "choose_layers",
    "edit",
    "edit_figure",
    "effects",
    "explore",
    "factorize",
    "finding",
    "generate",
    "interpolate",
    "latent_weight",
    "load_published",
    "measure",
    "measure_attributes",
    "pixel_attributes",
    "published_subject",
    "run_classifier",
    "run_subject",
    "start_codes",
    "traverse",
    "walk_figure",
    "write_attributes",
]
