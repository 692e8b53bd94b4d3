"""Results in, summary out: estimates, paired tests, rates, findings. Draws nothing."""
