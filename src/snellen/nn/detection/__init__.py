"""Object detection networks: two-stage detectors with region proposals, and one-stage detectors."""
