"""What can be asked for: every file in conf/, the names of arms, seeds, suggestions, and the keys of runs."""

import re
from pathlib import Path

import pytest
from factories import DROPOUT_GRU, compose_config

from pipeline.config.load import parse_seeds
from pipeline.config.schema import CONF, Config
from pipeline.errors import ConfigError
from pipeline.experiment.plan import Plan, plan_job
from pipeline.models.initializers.registry import initializer_names, is_custom_initializer

OPTIONS = sorted((path.parent.name, path.stem) for path in CONF.glob("*/*.yaml"))
COMMANDS = sorted({
    match[1].strip()
    for path in CONF.rglob("*.yaml")
    for match in re.finditer(r"python -m pipeline\.train((?: [^\s`]+)*)", path.read_text())
    if "--" not in match[1] and " -sc" not in match[1]
})  # fmt: skip
NEEDS_MATRIX = ("orthogonal", "identity")
PEOPLE = "height,weight,sex\n" + "".join(f"{150 + i},{50 + i},{'fm'[i % 2]}\n" for i in range(20))


@pytest.fixture
def people(tmp_path: Path) -> list[str]:
    """Overrides for a dataset of one's own."""
    path = tmp_path / "people.csv"
    path.write_text(PEOPLE)
    return ["data=file", f"data.path={path}", "data.target=sex"]


def plan(*overrides: str) -> Plan:
    return plan_job(compose_config(*overrides))


@pytest.mark.parametrize(("group", "option"), OPTIONS)
def test_every_option_can_be_asked_for(group: str, option: str, people: list[str]) -> None:
    """Each file in conf/ composes, passes every check, and asks for the ten default seeds."""
    overrides = people if (group, option) == ("data", "file") else [f"{group}={option}"]
    matrix_biases = (*DROPOUT_GRU, "bias_layers=hidden") if option in NEEDS_MATRIX else ()
    gates = ("model=lstm",) if option in ("chrono", "forget_gate") else ()
    planned = plan(*overrides, *matrix_biases, *gates)
    assert set(planned.keys) == set(range(10))
    assert len(set(planned.keys.values())) == 10


@pytest.mark.parametrize("option", NEEDS_MATRIX)
@pytest.mark.parametrize("model", ["mlp", "cnn", "lstm"])
def test_matrix_initializers_need_a_matrix(option: str, model: str) -> None:
    """Orthogonal and Identity are refused on a bias with one axis, which Keras cannot fill with them."""
    with pytest.raises(ConfigError, match=f"^bias_initializer: {option.title()} given"):
        plan(f"bias_initializer={option}", f"model={model}")


def test_matrix_initializers_are_free_where_they_have_no_say() -> None:
    """A refusal is about biases that are built: without a bias, Orthogonal does no harm."""
    assert plan("bias_initializer=orthogonal", "use_bias=false").arm == "no_bias"


@pytest.mark.parametrize("arguments", COMMANDS)
def test_every_command_in_conf_composes(arguments: str, people: list[str]) -> None:
    """No comment and no help text in conf/ shows a command that is refused."""
    words = [word for word in arguments.split() if not word.startswith("-")]
    if "data=file" in words:
        words = people
    compose_config(*(re.sub(r"=([^\[]*?),.*", r"=\1", word) for word in words))  # the first job of a sweep


def test_experiment_files_open_with_a_command() -> None:
    """Each experiment file says in its head how it is run, how long it takes and what to expect."""
    for path in (CONF / "experiment").glob("*.yaml"):
        head = [line for line in path.read_text().splitlines() if line.startswith("#")]
        swept = "" if "mode: MULTIRUN" in path.read_text() else "-m "
        assert f"# python -m pipeline.train {swept}experiment={path.stem}" in head, path.name
        assert "minute" in " ".join(head) and "accuracy" in head[-1], path.name


def test_every_keras_initializer_has_a_file() -> None:
    """An initializer that Keras ships can be chosen by a name of its own (but STFT, which makes filters)."""
    import keras

    base = keras.initializers.Initializer
    shipped = {c.__name__ for c in vars(keras.initializers).values() if isinstance(c, type) and issubclass(c, base)}
    shipped -= {"Initializer", "RandomInitializer", "STFT"}
    chosen = {
        compose_config(f"bias_initializer={name}").bias_initializer.class_name
        for group, name in OPTIONS
        if group == "bias_initializer"
    }
    assert shipped == {name for name in chosen if not is_custom_initializer(name)}
    assert chosen == set(initializer_names())


@pytest.mark.parametrize(
    ("overrides", "arm"),
    [
        ([], "zeros"),
        (["bias_initializer=zeros"], "zeros"),
        (["use_bias=false"], "no_bias"),
        (["use_bias=false", "bias_initializer=glorot"], "no_bias"),
        (["use_bias=false", "bias_initializer=constant", "bias_initializer.config.value=3"], "no_bias"),
        (["bias_initializer=glorot"], "glorot_uniform"),
        (["bias_initializer=he_normal"], "he_normal"),
        (["bias_initializer=constant"], "constant"),
        (["bias_initializer=constant", "bias_initializer.config.value=0.1"], "constant(value=0.1)"),
        (["bias_initializer=random_normal", "bias_initializer.config.stddev=0.2"], "random_normal(stddev=0.2)"),
        (["optimizer.learning_rate=0.01"], "zeros,optimizer.learning_rate=0.01"),
        (["use_bias=false", "optimizer=sgd"], "no_bias,optimizer=sgd"),
        (["+optimizer.config.beta_1=0.8"], "zeros,optimizer.config.beta_1=0.8"),
        (["training.epochs=3", "optimizer=sgd"], "zeros,optimizer=sgd,training.epochs=3"),
        (["optimizer=sgd", "training.epochs=3"], "zeros,optimizer=sgd,training.epochs=3"),
        (["bias_layers=hidden"], "zeros,bias_layers=hidden"),
        (["study=mine"], "zeros"),
        (["seeds=3"], "zeros"),
        (["seeds=[3,7]"], "zeros"),
        (["tracking=none", "runtime=cpu", "runtime.device=cpu"], "zeros"),
        (["experiment=lesson"], "zeros"),
        (["data=iris", "model=linear"], "zeros"),
        (["study=mine", "data=iris"], "zeros,data=iris"),
        (["study=mine", "model=linear"], "zeros,model=linear"),
    ],
    ids=lambda value: " ".join(value) or "default" if isinstance(value, list) else "",
)
def test_arm_names(overrides: list[str], arm: str) -> None:
    """An arm is named by its bias setting and by what else makes it differ within its study, whatever the order."""
    assert plan(*overrides).arm == arm


@pytest.mark.parametrize("model", ["mlp", "linear"])
def test_study_that_mentions_models_still_tells_them_apart(model: str) -> None:
    """Two models in one study make two arms, also where the study's name happens to hold the names of both."""
    assert plan("study=mlp-or-linear", f"model={model}").arm == f"zeros,model={model}"


def test_arm_names_fit_a_folder() -> None:
    """However many overrides join an arm's name, a file system takes it (255 bytes)."""
    layers = ",".join(["{class_name:Dense,config:{units:64,activation:relu}}"] * 4)
    names = ",".join(f"dense_{i}" for i in range(1, 4)) + ",dense"
    arm = plan(f"model.layers=[{layers}]", f"bias_layers=[{names}]", "+optimizer.config.beta_1=0.85",
               "+optimizer.config.beta_2=0.9995", "+optimizer.config.epsilon=0.0001", "training.batch_size=64",
               "training.epochs=30", "data.standardize=false", "data.validation_fraction=0.25").arm  # fmt: skip
    assert len(arm.encode()) <= 255


@pytest.mark.parametrize(
    ("given", "seeds"),
    [(1, (0,)), (3, (0, 1, 2)), ([3, 7], (3, 7)), ([7, 3], (3, 7)), ([0], (0,)), ([2**31 - 1], (2**31 - 1,))],
)
def test_seeds_are_a_count_or_a_list(given: object, seeds: tuple[int, ...]) -> None:
    """A count n means the seeds 0 to n - 1; a list means its own numbers, in ascending order."""
    assert parse_seeds(given) == seeds


@pytest.mark.parametrize(
    "given", [0, -1, 1.5, "3", "", None, True, [], [1, 1], [-1], [1.5], [True], [2**31], ["1"], 10**9], ids=repr
)
def test_other_seeds_are_refused(given: object) -> None:
    """Seeds that are no count and no list of different whole numbers are refused, with what was given."""
    shown = "null" if given is None else str(given).lower() if isinstance(given, bool) else given
    with pytest.raises(ConfigError, match=f"^{re.escape(f'seeds: {shown} given; allowed: ')}"):
        parse_seeds(given)


@pytest.mark.parametrize("option", [option for group, option in OPTIONS if group == "bias_initializer"])
def test_without_a_bias_the_initializer_does_not_matter(option: str) -> None:
    """`use_bias=false` is one arm with one key per seed, whatever the initializer."""
    assert plan("use_bias=false", f"bias_initializer={option}").keys == plan("use_bias=false").keys


@pytest.mark.parametrize(
    "override",
    ["study=mine", "results=elsewhere", "tracking=none", "runtime=cpu", "bias_initializer=zeros", "data.name=mine"],
)
def test_key_ignores_who_and_where(override: str) -> None:
    """What a run is called, where it is kept, shown or trained does not make it another run."""
    assert plan(override).keys == plan().keys


def test_key_belongs_to_the_seed_not_to_the_list() -> None:
    """Seed 7 has the same key in every list of seeds, so that more seeds train only the new ones."""
    assert plan("seeds=[3,7]").keys[7] == plan("seeds=8").keys[7]
    assert plan("seeds=[3,7]").keys[3] != plan("seeds=[3,7]").keys[7]


def test_arms_of_long_overrides_are_one_block() -> None:
    """Where the overrides are too long for a folder's name, no arm would have a baseline."""
    layers = ",".join(f"{{class_name: Dense, config: {{units: {units}, activation: relu}}}}" for units in range(20, 30))
    given = f"model.layers=[{layers},{{class_name: Dense}}]"
    zeros, ones = plan("bias_initializer=zeros", given), plan("bias_initializer=ones", given)
    assert zeros.settings["block"] == ones.settings["block"]
    assert zeros.arm == f"zeros,{zeros.settings['block']}" and len(zeros.arm) < 250
    assert plan("bias_initializer=zeros", given.replace("20", "19")).arm != zeros.arm


def test_glorot_is_short_for_glorot_uniform() -> None:
    """The two names are one arm, so that neither trains what the other has trained."""
    assert plan("bias_initializer=glorot").keys == plan("bias_initializer=glorot_uniform").keys


@pytest.mark.parametrize(
    "override",
    [
        "training.epochs=19",
        "training.batch_size=16",
        "optimizer.learning_rate=0.01",
        "optimizer=sgd",
        "+optimizer.config.beta_1=0.8",
        "bias_initializer=ones",
        "use_bias=false",
        "bias_layers=hidden",
        "model=linear",
        "model.layers=[{class_name:Flatten},{class_name:Dense,config:{units:64,activation:relu}},"
        "{class_name:Dense,config:{units:31,activation:relu}},{class_name:Dense,config:{name:output}}]",
        "data=iris",
        "data.test_fraction=0.3",
        "data.validation_fraction=0.3",
        "data.standardize=false",
    ],
)
def test_key_changes_with_what_decides_the_numbers(override: str) -> None:
    """A changed setting is another run, so that no stored result passes for it."""
    changed, default = (plan("bias_initializer=glorot", *more) for more in ([override], []))
    assert not set(changed.keys.values()) & set(default.keys.values())


def test_key_follows_the_rows_of_a_file(people: list[str], tmp_path: Path) -> None:
    """A moved file is the same data; one changed cell makes another run."""
    first = plan(*people)
    moved = (tmp_path / "people.csv").rename(tmp_path / "moved.csv")
    assert plan("data=file", f"data.path={moved}", "data.target=sex").keys == first.keys
    moved.write_text(PEOPLE.replace("150,", "151,"))
    assert plan("data=file", f"data.path={moved}", "data.target=sex").recipe != first.recipe


def test_bias_layers_choose_where_the_setting_applies() -> None:
    """`hidden` and `output` give the choice to those layers only; the others keep Keras' zeros."""

    def ones_in(config: Config) -> list[str]:
        layers = plan_job(config).settings["model"]["layers"]
        chosen = [layer["config"] for layer in layers if "bias_initializer" in layer["config"]]
        return [c["name"] for c in chosen if c["bias_initializer"]["class_name"] == "Ones"]

    ones = "bias_initializer=ones"
    assert ones_in(compose_config(ones)) == ["dense", "dense_1", "output"]
    assert ones_in(compose_config(ones, "bias_layers=hidden")) == ["dense", "dense_1"]
    assert ones_in(compose_config(ones, "bias_layers=output")) == ["output"]
    assert ones_in(compose_config(ones, "bias_layers=[dense_1]")) == ["dense_1"]


def test_a_layer_that_sets_its_own_bias_keeps_it() -> None:
    """`use_bias` and `bias_initializer` in a model file win over the study's."""
    layers = (
        "model.layers=[{class_name:Flatten},{class_name:Dense,config:{units:2,bias_initializer:ones}},"
        "{class_name:Dense,config:{units:2,use_bias:true}},{class_name:Dense,config:{units:2,use_bias:false}},"
        "{class_name:Dense}]"
    )
    config = {
        layer["config"]["name"]: layer["config"]
        for layer in plan(layers, "bias_initializer=he_normal").settings["model"]["layers"]
    }
    assert config["dense"]["bias_initializer"]["class_name"] == "Ones"
    assert config["dense_1"]["bias_initializer"]["class_name"] == "HeNormal"
    assert config["dense_2"]["use_bias"] is False
    assert "bias_initializer" not in config["dense_2"]
    without = [layer["config"].get("use_bias") for layer in plan(layers, "use_bias=false").settings["model"]["layers"]]
    assert without == [None, False, True, False, False]
