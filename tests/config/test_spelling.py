"""What users type first is read as they mean it, or refused with the words to type."""

import shlex
from pathlib import Path

import pytest
from factories import compose_config
from hydra.core.override_parser.overrides_parser import OverridesParser
from hypothesis import assume, given
from hypothesis import strategies as st

from pipeline.config.load import file_stem
from pipeline.config.schema import PATHS, expand_home
from pipeline.config.spelling import spell_overrides, typed
from pipeline.errors import ConfigError

NAMES = [
    "my file.csv", "größe.csv", "größe, neu.csv", "a=b.csv", "it's.csv", 'the "x".csv', "[1].csv", "x [1] {2} (3).csv",
    "100%.csv", "$HOME.csv", "#1.csv", "~tmp.csv", " lead.csv", "数据;&!.csv", "1e3", "1.10", "1_000", "true", "(1)",
]  # fmt: skip


def value_of(word: str) -> object:
    return OverridesParser.create().parse_override(word).value()


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("key", PATHS)
def test_a_path_may_have_any_characters(key: str, name: str) -> None:
    """Quoted once, for the shell, a path is what it says, in each key that holds one; quoted twice too."""
    for word in (f"{key}={name}", *shlex.split(typed(key, name))):
        (spelled,) = spell_overrides([word], is_sweep=False)
        assert value_of(spelled) == name


@given(st.text(st.characters(exclude_characters="\\\0", codec="utf-8"), min_size=1))
def test_every_text_of_a_path_is_kept(text: str) -> None:
    """Whatever text is no interpolation, null, list, sweep function or quoted text already is the path."""
    assume("${" not in text and "\n" not in text and text.lower().strip() != "null")
    assume(text.strip(" \t")[:1] not in ("'", '"', "[", "{") and not text.rstrip().endswith(")"))
    assume("'" not in text.replace("'", "", 1) and '"' not in text)
    (spelled,) = spell_overrides([f"results={text}"], is_sweep=False)
    assert value_of(spelled) == text


def test_the_settings_have_the_path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The path reaches the settings, and the study gets a name that a folder can have."""
    monkeypatch.chdir(tmp_path)
    name = "größe, [1] #2 (it's).csv"
    (tmp_path / name).touch()
    config = compose_config("data=file", f"data.path={name}", f"data.test_path={name}", "results=~ü=1")
    assert (config.data.path, config.data.test_path, config.results) == (name, name, "~ü=1")
    assert config.study == "größe, _1_ _2 _it_s_-mlp"


@pytest.mark.parametrize(
    ("path", "stem"),
    [
        ("a/mine.csv", "mine"),
        ("a, b=1.csv", "a, b=1"),
        ("Data (1).csv", "Data _1_"),
        ("gro\u0308\u00dfe.csv", "gr\u00f6\u00dfe"),
        (".hidden.csv", "_hidden"),
        (" .x.csv", ".x"),
        ("~$x.csv", "__x"),
    ],
)
def test_study_names_of_files(path: str, stem: str) -> None:
    """A file's name makes a study's name, whatever its characters; the two forms of an accent make one."""
    assert file_stem(path) == stem


def test_long_file_names_make_study_names_that_fit() -> None:
    """A file's name of 255 bytes makes the name of a folder, and another one the name of another."""
    one, other = (file_stem(f"{240 * letter}{n}.csv") for letter, n in (("x", 1), ("x", 2)))
    assert (
        one != other and len(f"{one}-mean_field".encode()) < 255 and len(file_stem(f"{70 * '数'}.csv").encode()) <= 210
    )


def test_a_home_that_is_nobodys_is_a_name() -> None:
    """`~` alone is the home folder, `~tmp.csv` a file."""
    assert expand_home("~tmp.csv") == Path("~tmp.csv")
    assert expand_home("~/x") == Path.home() / "x"


@pytest.mark.parametrize(
    ("word", "spelled"),
    [
        ("data.target=größe", "data.target='größe'"),
        ("data.target=a=b", "data.target='a=b'"),
        ("data.features=[größe (cm),alter]", "data.features=['größe (cm)',alter]"),
        ("data.separator=;", "data.separator=';'"),
        ("data.separator=,", "data.separator=','"),
        ("data.decimal=,", "data.decimal=','"),
        ("study=1.10", "study='1.10'"),
        ("study=${data.name}_ü", "study='${data.name}_ü'"),
        ("data.path=null", "data.path=null"),
        ("data.path=${oc.env:DATA}/a.csv", "data.path=${oc.env:DATA}/a.csv"),
        ("results=${oc.env:DATA}/ü", "results='${oc.env:DATA}/ü'"),
        ("data.path=a\\,b.csv", "data.path=a\\,b.csv"),
        ("data.path=choice(größe.csv,b.csv)", "data.path=choice('größe.csv',b.csv)"),
        ("optimizer.config={name:ü}", "optimizer.config={name:'ü'}"),
        ("bias_initializer=zeros,constant( 0.1 )", "bias_initializer=zeros,'constant(0.1)'"),
        ("bias_initializer=choice(zeros,constant(0.1))", "bias_initializer=choice(zeros,'constant(0.1)')"),
    ],
)
def test_words_are_put_into_quotes(word: str, spelled: str) -> None:
    """Only what Hydra's grammar would not take, or would take for something else, is put into quotes."""
    assert spell_overrides([word], is_sweep=True) == [spelled]


@pytest.fixture
def files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    for name in ("a, b.csv", "ü 1.csv", "ü 2.csv", "x,y", "x", "y"):
        (tmp_path / name).touch()
    return tmp_path


@pytest.mark.parametrize(
    ("value", "spelled"),
    [
        ("a, b.csv", "'a, b.csv'"),
        ("ü 1.csv,ü 2.csv", "'ü 1.csv','ü 2.csv'"),
        ('"ü 1.csv","ü 2.csv"', '"ü 1.csv","ü 2.csv"'),
        ("choice(x,y)", "choice(x,y)"),
    ],
)
def test_commas_in_a_sweep_are_read_by_the_files_there_are(value: str, spelled: str, files: Path) -> None:
    """With -m, a text with commas is the one file of that name, or a sweep over files that all exist."""
    assert spell_overrides([f"data.path={value}"], is_sweep=True) == [f"data.path={spelled}"]


@pytest.mark.parametrize(
    ("word", "line"),
    [
        ("data.path=x,y", "data.path: x,y given, a file and a sweep over files; allowed: 'data.path=\"x,y\"', or"),
        ("data.path=x, z", "data.path: there is no z; allowed: files a,b to sweep over, or one: 'data.path=\"x, z\"'"),
        ("results=a, b", "results: a, b given, which -m would take for 2 places; allowed: 'results=\"a, b\"'"),
        ("results=[a]", "results: [a] given, a list; allowed: results=a,b with -m, or one path: 'results=\"[a]\"'"),
    ],
)
def test_an_unclear_path_is_refused(word: str, line: str, files: Path) -> None:
    """What has two readings is refused with the word to type, which then works."""
    with pytest.raises(ConfigError) as refusal:
        spell_overrides([word], is_sweep=True)
    assert str(refusal.value).startswith(line)
    key, _, text = word.partition("=")
    assert value_of(spell_overrides(shlex.split(typed(key, text)), is_sweep=True)[0]) == text


@pytest.mark.parametrize(
    ("words", "right"),
    [
        ("bias_initializer=zeros, ones", "bias_initializer=zeros,ones"),
        ("bias_initializer=zeros ,ones", "bias_initializer=zeros,ones"),
        ("seeds=2 bias_initializer=zeros, ones, glorot data=iris", "bias_initializer=zeros,ones,glorot"),
        ("seeds=[3, 7]", "'seeds=[3,7]'"),
        ("seeds = 3", "seeds=3"),
        ("data=iris seeds =3", "seeds=3"),
        ("seeds= 3", "seeds=3"),
        ("data=file data.path=my file.csv seeds=3", "'data.path=my file.csv'"),
    ],
)
def test_words_that_a_space_parts_are_named(words: str, right: str) -> None:
    """A space within an override is named, with the word to type."""
    with pytest.raises(ConfigError) as refusal:
        spell_overrides(words.split(), is_sweep=True)
    assert str(refusal.value).endswith(f"words; allowed: {right}")
