"""Update rules on (K, P) matrices."""
