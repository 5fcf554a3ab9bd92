"""Inspect images with a model: the OpenVINO runtime, verdicts, evidence maps and tiles. Loads no TensorFlow."""
