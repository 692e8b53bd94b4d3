"""Which samples lie near which: balls around them, and bins of them."""
