"""All scores of samples beside held-out reals."""
