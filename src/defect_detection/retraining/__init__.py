"""Retrain from people's labels: one retraining, from labels to a decision, and advice on the next step."""
