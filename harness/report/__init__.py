"""Summary in, page, tables and figures out."""
