"""Each job of a sweep is composed once, to what Hydra alone makes of it."""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest
from hydra import initialize_config_dir
from hydra._internal.config_repository import ConfigRepository
from hydra.core.global_hydra import GlobalHydra
from hydra.core.override_parser.types import Quote, QuotedString
from hydra.types import RunMode
from omegaconf import DictConfig, ListConfig, OmegaConf

from pipeline.config.load import register_schema
from pipeline.config.made_options import make_option
from pipeline.config.schema import CONF
from pipeline.experiment import compositions
from pipeline.experiment.compositions import remember_compositions

JOBS = (
    ["data=iris", "model=linear"],
    ["bias_initializer=zeros", "seeds=3"],
    ["data=iris", "bias_initializer=glorot"],
)
MORE_JOBS = (
    ["seeds=3", "bias_initializer=zeros", "optimizer.learning_rate=0.1", "++training.xla=false"],
    ["bias_initializer=zeros", "optimizer.learning_rate=0.1"],
    ["bias_initializer={class_name:Zeros}", "seeds=[3,7]"],
    ["bias_initializer=random_normal", "bias_initializer.config.stddev=0.1", "+bias_initializer.config.new=x"],
    [
        "bias_initializer=random_normal",
        "~bias_initializer.config.stddev",
        "study=of_${data.name}",
        "++optimizer.learning_rate=3",
        "optimizer=sgd",
    ],
    ["hydra.job.name=other", "seeds=4"],
)
MADE = (  # initializers that are no file
    "constant(0.1)",
    "constant(-1e-30)",
    "constant(nan)",
    "xavier",
    "random_uniform(-0.1,0.1)",
    "mine>Odd",
    "mine>Odd(value=null,name=a b,on=true)",
    "{class_name:mine>Odd,config:{name:'a=b, (c)',defaults:[1,{x:2}],layers:{},class_name:null,none:'???'}}",
    "{class_name:Constant,config:{value:0.1}}",
    "{hidden:zeros,output:constant(0.1)}",
    "{class_name:Ones,layers:{output:mine>Odd(value=-0.0)}}",
)
CONSTANT, OF_LAYERS = "bias_initializer='constant(0.1)'", 'bias_initializer="{hidden:zeros,output:constant(0.1)}"'
MADE_JOBS = (
    *([f"bias_initializer={QuotedString(option, Quote.single).with_quotes()}", "seeds=3"] for option in MADE),
    [CONSTANT, "bias_initializer.config.value=0.3", "data=iris"],
    ["bias_initializer.config.value=0.3", CONSTANT, "+bias_initializer.config.new=x"],
    [CONSTANT, "~bias_initializer.config.value", "study=of_${bias_initializer.class_name}"],
    [CONSTANT, "bias_initializer={class_name:Ones,config:{gain:2}}"],
    [OF_LAYERS, "bias_initializer.layers.output.config.value=3", "++bias_initializer.layers.new=ones"],
    [CONSTANT, "bias_initializer.config.new=1"],
    [CONSTANT, "bias_initializer=zeros"],
    [CONSTANT, "optimizer=sgd", OF_LAYERS],
    [OF_LAYERS, "bias_initializer.layers=null", "bias_initializer.class_name=Ones"],
)
# Files of a user's own that set keys of the initializer after its option, or depend on the option's name.
EXPERIMENTS = {
    "value": "bias_initializer: {config: {value: 0.7}}",
    "new": "bias_initializer: {config: {new: 0.7}}",
    "class": "bias_initializer: {class_name: Ones}",
    "without": "bias_initializer: {layers: null}",
    "layers": "bias_initializer: {layers: {output: zeros}}",
    "other": "seeds: 2\noptimizer: {learning_rate: 0.5}",
    "overrides": "defaults: [{override /bias_initializer: ones}, {override /data: iris}]",
}
REFUSED = (
    ["nothing=1"],
    ["optimizer.nothing=1"],
    ["training.epochs=x"],
    ["optimizer=nothing"],
    ["+seeds=3"],
    ["model@x=mlp"],
    [CONSTANT, "bias_initializer.nothing=1"],
    ["+" + CONSTANT],
    [CONSTANT, "++bias_initializer.config=null"],
    [CONSTANT, "optimizer=nothing"],
)


@pytest.fixture
def loader() -> Iterator:
    """Hydra's loader of the settings."""
    register_schema()
    for option in MADE:
        make_option(option, [CONF])
    GlobalHydra.instance().clear()
    with initialize_config_dir(version_base="1.3", config_dir=str(CONF)):
        yield GlobalHydra.instance().config_loader()


@pytest.mark.parametrize(
    "jobs",
    [JOBS, pytest.param(MORE_JOBS, marks=pytest.mark.slow), pytest.param(MADE_JOBS, marks=pytest.mark.slow)],
    ids=["some", "more", "made"],
)
def test_jobs_are_composed_as_by_hydra_alone(loader, jobs: Sequence[list[str]]) -> None:
    """Also the second time, and though a job is changed afterwards, as launchers do."""
    _assert_composed_as_by_hydra(loader, loader.load_configuration("config", [], run_mode=RunMode.MULTIRUN), jobs)


@pytest.mark.slow
def test_made_initializers_beside_files_of_the_users_own_are_composed_as_by_hydra(loader, tmp_path: Path) -> None:
    """Files that set keys of the initializer too, before its option or after it, or look at its name."""
    contents = {f"experiment/{name}": text for name, text in EXPERIMENTS.items()}
    contents |= {
        "notes/constant(0.1)": "seeds: 77",
        "model/named": "defaults: [/model/mlp@_global_.model, {optional /notes: '${bias_initializer}'}]",
        "model/before": "defaults: [/model/mlp@_global_.model]\n"
        "bias_initializer: {config: {before: 1}, layers: {output: zeros}}",
    }
    for path, text in contents.items():
        (tmp_path / path).parent.mkdir(exist_ok=True)
        (tmp_path / f"{path}.yaml").write_text(f"# @package _global_\n{text}\n")
    jobs = [[f"experiment={name}", option] for name in EXPERIMENTS for option in (CONSTANT, OF_LAYERS)]
    jobs += [[f"model={name}", option] for name in ("before", "named") for option in (CONSTANT, OF_LAYERS)]
    master = loader.load_configuration("config", [f"hydra.searchpath=[{tmp_path}]"], run_mode=RunMode.MULTIRUN)
    named = _assert_composed_as_by_hydra(loader, master, jobs)["model=named", CONSTANT]
    assert named.seeds == 77


def _assert_composed_as_by_hydra(loader, master: DictConfig, jobs: Sequence[list[str]]) -> dict[tuple, DictConfig]:
    """Check all jobs twice; return what each is composed to."""
    alone = [loader.load_sweep_config(master, list(job)) for job in jobs]
    remember_compositions(loader)
    for _ in range(2):
        for job, expected in zip(jobs, alone, strict=True):
            composed = loader.load_sweep_config(master, list(job))
            assert _described(composed) == _described(expected)
            assert OmegaConf.to_container(composed.optimizer, resolve=True) == OmegaConf.to_container(
                expected.optimizer, resolve=True
            )
            composed.seeds = 7
    return {tuple(job): expected for job, expected in zip(jobs, alone, strict=True)}


def _described(node: Any) -> Any:
    """All that a config is: its keys in their order, the types and flags of each node."""
    kind, flags = type(node), node._metadata.flags
    described = (kind, flags, node._metadata.ref_type, node._metadata.object_type, node._metadata.optional)
    if not isinstance(node, DictConfig | ListConfig) or node._content is None or isinstance(node._content, str):
        return (*described, str(node._value()))
    if isinstance(node, DictConfig):
        return (*described, [(key, _described(node._get_node(key))) for key in node])
    return (*described, [_described(item) for item in node._content])


@pytest.mark.slow
@pytest.mark.parametrize("job", REFUSED)
def test_jobs_are_refused_as_by_hydra_alone(loader, job: list[str]) -> None:
    """The words are Hydra's own, which the refusal of the command is made from."""
    master = loader.load_configuration("config", [], run_mode=RunMode.MULTIRUN)
    with pytest.raises(Exception) as alone:
        loader.load_sweep_config(master, list(job))
    remember_compositions(loader)
    with pytest.raises(type(alone.value)) as raised:
        loader.load_sweep_config(master, list(job))
    assert str(raised.value) == str(alone.value)


def test_jobs_with_the_same_options_are_composed_once(loader, monkeypatch: pytest.MonkeyPatch) -> None:
    """Hydra composes once for 30 jobs of three initializers that differ in values; so its loader is the one known."""
    composed = list[object]()
    compose = loader._compose_config_from_defaults_list
    monkeypatch.setattr(
        loader, "_compose_config_from_defaults_list", lambda **given: [composed.append(given), compose(**given)][1]
    )
    master = loader.load_configuration("config", [], run_mode=RunMode.MULTIRUN)
    remember_compositions(loader)
    composed.clear()
    for name in ("zeros", "ones", "glorot"):
        for i in range(10):
            job = ["seeds=3", f"bias_initializer={name}", f"optimizer.learning_rate={0.1 * (i + 1)}"]
            assert loader.load_sweep_config(master, job).hydra.overrides.task == job
    assert len(composed) == 3


def test_initializers_that_are_no_file_are_composed_once(loader, monkeypatch: pytest.MonkeyPatch) -> None:
    """Hydra composes two stand-ins for the 30 jobs of 30 initializers, and none again for another value."""
    composed = list[object]()
    compose = loader._compose_config_from_defaults_list
    monkeypatch.setattr(
        loader, "_compose_config_from_defaults_list", lambda **given: [composed.append(given), compose(**given)][1]
    )
    forms = ("constant(value={})", "{{hidden:constant(value={}),output:zeros}}", "mine>Odd(value={})")
    options = [form.format(i) for i in range(10) for form in forms]
    for option in options:
        make_option(option, [CONF])
    master = loader.load_configuration("config", [], run_mode=RunMode.MULTIRUN)
    remember_compositions(loader)
    composed.clear()
    for i, option in enumerate(options):
        job = loader.load_sweep_config(master, [f"seeds={i + 1}", f"bias_initializer='{option}'"])
        assert job.hydra.runtime.choices.bias_initializer == option
    assert len(composed) == 2


def test_files_of_settings_are_read_once(loader, monkeypatch: pytest.MonkeyPatch) -> None:
    """Hydra's loader has the repository that is wrapped; were it another, every job would read all files again."""
    read = list[str]()
    original = ConfigRepository.load_config
    monkeypatch.setattr(
        compositions.ConfigRepository, "load_config", lambda self, path: [read.append(path), original(self, path)][1]
    )
    assert type(loader.repository) is ConfigRepository
    remember_compositions(loader)
    master = loader.load_configuration("config", [], run_mode=RunMode.MULTIRUN)
    for job in JOBS:
        loader.load_sweep_config(master, list(job))
    assert len(read) == len(set(read)) > 10
