"""The use cases as functions for the command line, Python and HTTP: train, evaluate, inspect, promote, roll back."""
