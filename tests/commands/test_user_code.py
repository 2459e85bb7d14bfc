"""Initializers and layers of the user's own, through the whole command."""

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from factories import CommandResult

from pipeline.errors import ConfigError
from pipeline.experiment.plan import plan_job
from pipeline.experiment.validate import compose_jobs, validate

MINE = """
import keras
import numpy as np

package = keras.saving.register_keras_serializable(package="mine")


class Base(keras.initializers.Initializer):
    def get_config(self):
        return {}


@package
class Seeded(keras.initializers.Initializer):
    def __init__(self, value=0.1, seed=None):
        self.value, self.seed = value, seed

    def __call__(self, shape, dtype=None):
        return keras.random.uniform(shape, -self.value, self.value, dtype=dtype, seed=self.seed)

    def get_config(self):
        return {"value": self.value, "seed": self.seed}


@package
class Unseeded(Base):
    def __call__(self, shape, dtype=None):
        return np.random.normal(size=shape)


@package
class WrongShape(Base):
    def __call__(self, shape, dtype=None):
        return keras.ops.ones((1,))


@package
class NotANumber(Base):
    def __call__(self, shape, dtype=None):
        return keras.ops.full(shape, float("nan"))


@package
class Entropy(Base):
    def __call__(self, shape, dtype=None):
        return np.random.default_rng().normal(size=shape)


@package
class Raising(Base):
    def __call__(self, shape, dtype=None):
        raise RuntimeError("oh no")


@package
class Scaled(keras.layers.Dense):
    def __init__(self, units, factor=2.0, **kwargs):
        super().__init__(units, **kwargs)
        self.factor = factor

    def call(self, inputs):
        return super().call(inputs) * self.factor

    def get_config(self):
        return super().get_config() | {"factor": self.factor}
"""
QUICK = ("data=iris", "model=linear", "seeds=2", "training.epochs=1", "ablation=false")


@pytest.fixture
def mine(tmp_path: Path) -> str:
    path = tmp_path / "größe #1" / "mine.py"
    path.parent.mkdir()
    path.write_text(MINE)
    return str(path)


def runs(folder: Path) -> dict[str, dict]:
    """run.json by arm and seed."""
    return {f"{path.parent.parent.name}/{path.parent.name}": json.loads(path.read_text())
            for path in folder.rglob("run.json") if ".aside" not in path.parts}  # fmt: skip


def biases(folder: Path, arm: str, seed: int) -> np.ndarray:
    with np.load(folder / "iris-linear" / f"{arm},training.epochs=1" / f"seed={seed}" / "biases.npz") as arrays:
        return arrays["before/output/bias"]


@pytest.mark.slow
@pytest.mark.parametrize("where", ["runtime.isolate=false", "runtime.isolate=true", "hydra/launcher=joblib"])
def test_an_initializer_of_ones_own_is_an_arm(
    cli: Callable[..., CommandResult], tmp_path: Path, mine: str, where: str
) -> None:
    """It trains beside others wherever the job runs, is said and recorded, and retrains nothing but itself."""
    results = tmp_path / "results"
    assert cli("-m", *QUICK, "bias_initializer=zeros,ones").code == 0
    before = runs(results)
    sweep = ("-m", *QUICK, where, f"code=['{mine}']", "bias_initializer=zeros,mine>Seeded(value=0.2),mine>Unseeded")
    first = cli(*sweep)
    assert first.code == 0 and "registers mine>Seeded, mine>Unseeded, " in first.out, first.err
    after = runs(results)
    assert {name: after[name] for name in before} == before and len(after) == len(before) + 4
    recorded = after["mine.seeded(0.2),training.epochs=1/seed=0"]["config"]["code"]
    assert [(entry["file"], entry["used"]) for entry in recorded] == [("mine.py", ["mine>Seeded"])]
    for arm in ("mine.seeded(0.2)", "mine.unseeded"):
        assert not np.array_equal(biases(results, arm, 0), biases(results, arm, 1))
    digests = {meta["seed"]: meta["initial_kernels_digest"] for meta in before.values()}
    assert all(meta["initial_kernels_digest"] == digests[meta["seed"]] for meta in after.values())
    assert cli(*sweep).code == 0 and runs(results) == after
    Path(mine).write_text(f"{MINE}\n# another one\n")
    jobs = compose_jobs([*QUICK, f"results={results}", *sweep[-2:]])
    assert [len(plan_job(job).missing) for job in jobs] == [0, 2, 2]


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "line"),
    [
        ("WrongShape", "code: the initializer WrongShape returns shape (1,) for a bias of shape (3,); allowed: "),
        ("NotANumber", "code: the initializer NotANumber returns values that are nan or infinite; allowed: finite"),
        ("Entropy", "code: the initializer Entropy of output/bias draws other values when a model of the same seed"),
        ("Raising", "code: the initializer Raising raises RuntimeError: oh no; allowed: one that draws values"),
        ("Seeded(valu=1)", "bias_initializer.config.valu: mine>Seeded has no such argument; nearest: value"),
        ("Sedeed", "bias_initializer.class_name: mine>Sedeed is not an initializer for biases; nearest: mine>Seeded"),
    ],
)
def test_what_cannot_be_used_is_refused(tmp_path: Path, mine: str, name: str, line: str) -> None:
    """An initializer that draws what no model can start from is refused before anything is trained or written."""
    with pytest.raises(ConfigError) as refusal:
        validate([*QUICK, f"results={tmp_path / 'results'}", f"code=['{mine}']", f"bias_initializer='mine>{name}'"])
    assert str(refusal.value).startswith(line) and not (tmp_path / "results").exists()


@pytest.mark.slow
def test_code_that_no_job_uses_is_refused(tmp_path: Path, mine: str) -> None:
    """A file that registers nothing that the request names is refused, and so is a class without its file."""
    nothing = tmp_path / "nothing.py"
    nothing.write_text("import keras\n")
    with pytest.raises(ConfigError, match="but no job uses it; allowed: code=null"):
        validate([*QUICK, f"results={tmp_path}", f"code=['{mine}']"])
    with pytest.raises(ConfigError, match=r"which registers nothing; allowed: a file with @keras.saving"):
        validate([*QUICK, f"results={tmp_path}", f"code={nothing}"])


@pytest.mark.slow
def test_a_layer_and_a_kernel_of_ones_own(cli: Callable[..., CommandResult], tmp_path: Path, mine: str) -> None:
    """A layer of the user's own trains, with its bias found; its kernel may come from the user's initializer."""
    layers = "model.layers=[{class_name:'mine>Scaled',config:{units:4,factor:3}},{class_name:Dense}]"
    result = cli(
        *QUICK, layers, f"code=['{mine}']", "bias_initializer=ones", "kernel_initializer={class_name:'mine>Seeded'}"
    )
    assert result.code == 0, result.err
    (folder,) = {path.parent for path in (tmp_path / "results").rglob("seed=0/run.json")}
    with np.load(folder / "biases.npz") as arrays:
        assert np.array_equal(arrays["before/scaled/bias"], np.ones(4))
