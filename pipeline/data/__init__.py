"""Datasets: where their rows come from, and how a seed splits them."""
