"""Save the Keras graph of a bundle as a model of MLflow that takes pixels: save_mlflow_model.py BUNDLE SIZE FOLDER."""

import os
import sys
from pathlib import Path

os.environ["TF_CPP_MIN_LOG_LEVEL"] = "3"

import keras
import mlflow
import numpy as np
from mlflow.models import ModelSignature
from mlflow.types.schema import Schema, TensorSpec

bundle, size, folder = Path(sys.argv[1]), int(sys.argv[2]), sys.argv[3]
pixels = Schema([TensorSpec(np.dtype(np.uint8), (-1, size, size, 3))])
mlflow.keras.save_model(
    keras.models.load_model(bundle / "best_cnn_model.keras"),
    folder,
    signature=ModelSignature(pixels),
    pip_requirements=["keras"],  # finding them out would take long
)
