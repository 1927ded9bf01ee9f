"""Labelled images in memory, and the batches that train on them.

`load` reads scikit-learn's digits, a folder of Parquet files in the layout of the Hugging Face hub,
a data set of the hub, a folder of images, or an `.npz` file, and returns a `Dataset` with train,
validation and test splits; `from_arrays` makes one of tensors of one's own. `Batches` cuts a split
into normalised, augmented batches on the device that trains.

Axes: images are (n, c, h, w) = (example, channel, row, column), labels are (n,). Grey images have
c = 1, colour images c = 3 in the order red, green, blue.

Each file has one subject. `sources` chooses the reader; `digits`, `npz`, `image_folder`, `parquet`
and `hub` read, the last two through `tables`; `arrays` takes what is in memory; `decode` turns
files into pixels, `cache` remembers them, `labels` checks classes, `splits` cuts what is missing,
`batches` feeds the training.
"""

from dualview.datasets.arrays import from_arrays
from dualview.datasets.batches import Batches
from dualview.datasets.dataset import Dataset, Split
from dualview.datasets.sources import load

__all__ = ["Batches", "Dataset", "Split", "from_arrays", "load"]
