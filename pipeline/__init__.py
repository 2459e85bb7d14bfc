"""Does it matter how the biases of a Keras Sequential model are initialized, and which choice is better?

Start reading at `experiment/run.py`: the whole flow stands there on one screen.
"""
