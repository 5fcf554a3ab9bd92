"""Training and batch inspection on a Ray cluster (extra ``scale``). Only the command line imports this folder."""
