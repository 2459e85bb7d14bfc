"""The most that is read of a file from an unknown source. Every limit is checked before anything is read.

Use them as `limits.MAX_OBJECTS`, so that a test can lower one in one place.
"""

MAX_WEIGHTS_BYTES = 4 * 2**30  # of the weights file within an archive
MAX_JSON_BYTES = 64 * 2**20  # of a JSON text
MAX_ARRAY_BYTES = 2**28  # of one array
MAX_TOTAL_BYTES = 2**30  # of all arrays of a file together
MAX_OBJECTS = 100_000  # members of an archive, groups and datasets of an HDF5 file, layers of a model
MAX_GROUP_DEPTH = 500  # of groups nested in an HDF5 file
MAX_LAYER_DEPTH = 100  # of layers nested in a model
MAX_NAME_LENGTH = 500  # of the name of a layer or a class
# How much larger than its compressed form an archive member may be, once it is larger than the size below: Keras' rule.
MAX_EXPANSION = 100
EXPANSION_FREE_BYTES = 2**28
