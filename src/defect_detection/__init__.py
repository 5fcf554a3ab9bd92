"""Visual inspection: train, evaluate, promote and serve defect classifiers."""

__version__ = "0.1.0"
