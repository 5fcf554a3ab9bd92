"""The main job, as functions that the command line, Python and HTTP all call: train, evaluate, inspect."""
