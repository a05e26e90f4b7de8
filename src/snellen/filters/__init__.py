"""Linear filters, borders and pooling of signals and images, as pure functions."""
