"""Run in a forked child: show what Keras was set to when the fork server imported it."""

import tensorflow

from defect_detection.model.backend import keras


def show() -> None:
    layer = keras.layers.Conv2D(2, 1)
    layer.build((None, 8, 8, 3))
    print(keras.config.backend(), keras.config.image_data_format(), layer.kernel.dtype, layer.data_format)
    same = tensorflow.keras.__version__ == keras.__version__
    print(keras.config.epsilon(), keras.config.max_epochs(), same)
