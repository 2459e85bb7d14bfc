"""The machine: device, versions, hashes, and the noise of native libraries."""
