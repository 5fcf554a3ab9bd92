"""What MLflow keeps: runs, models, versions and aliases. Only this folder imports mlflow."""
