"""Keras Sequential models built from YAML, with every random draw seeded."""
