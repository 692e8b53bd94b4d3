"""Importing this imports the plug-ins of installed packages; the front door names it to every registry."""

from __future__ import annotations

from harness.recipe.plugins import load_entry_points

__all__: list[str] = []

load_entry_points()
