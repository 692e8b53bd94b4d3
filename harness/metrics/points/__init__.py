"""Scores of two-dimensional points."""
