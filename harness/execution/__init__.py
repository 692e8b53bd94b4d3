"""A plan is carried out: workers and how far they are."""
