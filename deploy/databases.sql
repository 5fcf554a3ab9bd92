-- Runs once, when the database server is made: the database of MLflow beside that of inspections
CREATE DATABASE mlflow;
