"""From an experiment to weights: start weights, and the fit by Lightning."""
