"""A sweep file or a dictionary in, a checked `Study` out; pure."""
