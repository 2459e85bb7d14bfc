"""Device, recorded environment, hashes and derived seeds, and the output of native libraries."""
