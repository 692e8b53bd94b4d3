"""Networks, one family a file. Importing this package registers them all."""

from models import cgan as cgan
from models import convolutional as convolutional
from models import dcgan as dcgan
from models import fully_connected as fully_connected
from models import points as points
from models import progan as progan
