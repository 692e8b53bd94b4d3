"""Scores and training statistics in, one word with its rule out."""
