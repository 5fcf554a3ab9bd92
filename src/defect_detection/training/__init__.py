"""Train a model: features, the branches of the head, calibration, the threshold and pre-training."""
