"""Evaluate scores: metrics with intervals, the operating point, the gate. `report` shows the results.

Positive = defective = 1, a score is P(defective), an image is called defective when ``score >= threshold``.
Nothing here knows a model, a file format of images or a tracking server.
"""
