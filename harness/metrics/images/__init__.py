"""Scores of images."""
