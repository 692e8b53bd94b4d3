"""K networks of one structure as one: their parameters in a matrix, their passes forward and backward."""
