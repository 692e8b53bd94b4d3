"""Training: losses, optimisers, populations and the loop. It knows no file formats, metrics or studies."""
