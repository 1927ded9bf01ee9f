"""What a page shows of a network's predictions: numbers and pictures as arrays, no HTML.

- `records`: frozen dataclasses, without torch: what a page is made from;
- `budget`: how much of each example is kept, so that a page of many examples stays small;
- `inputs`: examples as the network meets them;
- `gates`: gates by layer, what each layer adds, and which channels matter most;
- `paths`: the strongest paths, from the input alone and from biases too;
- `filters`: the primal filters of the channels that are shown; `distances`: to gates' hyperplanes;
- `rates`: how often those channels are on, for each class;
- `network_records`, `network_view`: what the network does over many examples: units, classes,
  confusions, a map; `unit_parts`: what units add to classes; `filter_readings`: how far filters can
  be read;
- `programs`: small networks as steps that the page computes itself;
- `training_examples`: a kernel machine, and the training examples that it goes by;
- `explain`: all of it, for some examples of a data set.

Everything but the kernel machine and what is said of many examples is computed in float64 from the
network's parameters, with the gates that it has in evaluation mode.
"""
