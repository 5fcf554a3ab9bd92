"""The image generator: flawless surfaces and parts, defects with masks, light and optics; nothing is downloaded.

It makes the sample data (`samples.py`) and the images that the `compact` trunk is pre-trained on (`bank.py`).
"""
