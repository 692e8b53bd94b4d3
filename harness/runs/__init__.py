"""One run: trained, written down, read back, sampled from. The only room that knows a run's files."""
