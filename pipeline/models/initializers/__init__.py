"""Bias initializers: which there are, those that Keras does not ship, and what each of them draws."""
