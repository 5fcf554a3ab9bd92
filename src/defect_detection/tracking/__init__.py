"""Runs, models, versions and aliases in MLflow. Only this folder imports mlflow."""
