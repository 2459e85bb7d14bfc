"""Datasets: load their rows, and split them by seed."""
