"""Hydra launchers: who trains the jobs of a sweep. Each hands plain data (`jobs.WorkerJob`) to a well-kept engine.

`joblib`: processes of this machine; `slurm`: a cluster under Slurm, through submitit; `dask`: any other cluster. A job
is a config; what it did is in the store, and identity makes doing it twice harmless. So no launcher needs what a job
returns, and a sweep that is typed again after anything died trains what is missing.

Options of each: `conf/hydra/launcher/<name>.yaml`. Engines are imported when they launch.
"""

import sys
from importlib import import_module
from pathlib import Path

from hydra.core.config_store import ConfigStore
from hydra.core.plugins import Plugins

PLUGINS = Path(__file__).parent / "plugins"  # holds a part of the namespace package `hydra_plugins`


def register_launchers() -> None:
    """Have Hydra find the launchers, also where it has looked for plugins before."""
    if str(PLUGINS) not in sys.path:
        sys.path.append(str(PLUGINS))
    module = import_module("hydra_plugins.bias_initializers")
    for name in ("DaskLauncher", "JoblibLauncher", "SlurmLauncher"):
        Plugins.instance().register(getattr(module, name))
    # hydra-joblib-launcher, where it is installed, has a schema by the name of ours, which its file would have to fit.
    ConfigStore.instance().repo.get("hydra", {}).get("launcher", {}).pop("joblib.yaml", None)
