"""Digests and derived seeds."""

import hashlib
import json
from typing import Any

# Raise this by hand when the code gives other numbers for the same settings. A test guards it: it holds a hash of the
# files that decide numbers.
NUMERICS_VERSION = 1


def digest(content: Any) -> str:
    """SHA-256 (hex, 16 digits) of bytes, or of anything JSON can hold."""
    data = content if isinstance(content, bytes) else json.dumps(content, sort_keys=True).encode()
    return hashlib.sha256(data).hexdigest()[:16]


def derive_seed(*parts: int | str) -> int:
    """A seed (0 to 2^31 - 1) for one role, e.g. `derive_seed(3, "dense_1", "kernel_initializer")`.

    Roles get independent seeds, so the draws of one cannot shift those of another.
    """
    text = "/".join(map(str, parts)).encode()
    return int.from_bytes(hashlib.sha256(text).digest()[:4], "big") >> 1
