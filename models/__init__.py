"""Networks, one family a file. Importing this package registers them all.

What their builders take, where a builder does not say otherwise:

- `sample_shape` is the shape of one sample of the data, and `num_classes` the number of its classes or 0;
- `latent_dim` is how many numbers z has;
- `width` is a factor of the units or channels of all hidden layers, and `depth` how many more there are;
- `activation` follows every hidden layer: a ReLU, a LeakyReLU of the negative `slope`, or nothing;
- `batch_norm` says whether hidden layers have it, `batch_norm_eps` is its ε, and `dropout` the chance of an
  output of theirs to be dropped;
- `sigmoid` squashes D's scores into (0, 1);
- `init` is how first weights are drawn: torch's way, or that of the DCGAN.
"""

from . import cgan as cgan
from . import convolutional as convolutional
from . import dcgan as dcgan
from . import fully_connected as fully_connected
from . import points as points
from . import progan as progan
