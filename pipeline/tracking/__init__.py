"""The MLflow mirror of the results. Only this package imports MLflow."""
