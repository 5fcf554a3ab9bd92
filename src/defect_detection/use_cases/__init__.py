"""The use cases, as functions that the command line, Python and HTTP all call: train, evaluate, inspect, promote, roll back."""
