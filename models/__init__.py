"""Networks, one family a file. Importing this package registers them all."""

from . import cgan as cgan
from . import convolutional as convolutional
from . import dcgan as dcgan
from . import fully_connected as fully_connected
from . import points as points
from . import progan as progan
