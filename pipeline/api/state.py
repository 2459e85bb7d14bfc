"""Leave the user's process as it was: random state, log levels, warning filters, environment, working directory."""

import os
import random
import signal
import sys
import threading
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np

from pipeline.biases.introspection import keras_seed_state, restore_keras_seed
from pipeline.runtime.early import SIGNALS
from pipeline.runtime.logs import kept_logging
from pipeline.training.pfor import random_state, restore_random_state


@contextmanager
def kept_state() -> Iterator[None]:
    """Within the context, the process may be changed; at its end, however that comes, it is as before.

    TensorFlow and Keras train in a process beside, so only what a model function, or an import, does is undone here.
    """
    draws = random.getstate(), np.random.get_state()
    keras_seed, tensorflow_seed = keras_seed_state(), random_state()
    environment, folder = dict(os.environ), _folder()
    in_main = threading.current_thread() is threading.main_thread()
    handlers = {number: signal.getsignal(number) for number in SIGNALS} if in_main else {}
    hook = sys.unraisablehook
    with warnings.catch_warnings(), kept_logging():
        try:
            yield
        finally:
            random.setstate(draws[0])
            np.random.set_state(draws[1])
            restore_keras_seed(keras_seed)
            restore_random_state(tensorflow_seed)
            _restore_environment(environment)
            if folder is not None and folder != _folder():
                os.chdir(folder)
            for number, handler in handlers.items():
                if handler is not None and signal.getsignal(number) is not handler:
                    signal.signal(number, handler)
            sys.unraisablehook = hook


def _folder() -> str | None:
    try:
        return str(Path.cwd())
    except OSError:  # removed
        return None


def _restore_environment(environment: dict[str, str]) -> None:
    for name in [name for name in os.environ if name not in environment]:
        del os.environ[name]
    for name, value in environment.items():
        if os.environ.get(name) != value:
            os.environ[name] = value
