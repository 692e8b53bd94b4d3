"""How near and how far samples are: balls around them, bins of them, and Gaussians through them."""
