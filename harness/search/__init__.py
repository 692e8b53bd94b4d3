"""Trials: ask, prune, tell."""
