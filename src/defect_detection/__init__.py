"""Visual inspection: train, evaluate, promote and serve defect classifiers."""

__version__ = "1.0.0"
