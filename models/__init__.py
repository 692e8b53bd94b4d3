"""Networks, one family a file. Importing this package registers them all."""

from models import points as points
