"""The launchers by the names under which Hydra finds them: it makes those of the package `hydra_plugins` alone."""

from pipeline.launchers import dask, joblib, slurm


class DaskLauncher(dask.DaskLauncher):
    """`hydra/launcher=dask`."""


class JoblibLauncher(joblib.JoblibLauncher):
    """`hydra/launcher=joblib`."""


class SlurmLauncher(slurm.SlurmLauncher):
    """`hydra/launcher=slurm`."""
