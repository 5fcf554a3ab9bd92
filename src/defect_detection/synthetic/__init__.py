"""The image generator: surfaces and parts, defects with masks, light and optics. Downloads nothing.

For pre-training, `scene` draws as wide a variety as it can and `bank` keeps it on disk. For the sample data,
`lines` builds the parts of a few products, `flaws` damages them, `camera` takes the pictures and `sample_data`
writes them.
"""
