"""From a request to stored runs: plan, check, train, store, upload; `run_arm` is the whole of it."""
