"""Train all seeds of an arm as one TensorFlow program."""
