"""Code that experiments of conf/ run by `code`, as a user's own would be."""
