"""The answer, and the store it is made from: numbers, words and figures of runs whose values are made up here."""

import json
import re
import signal
import subprocess
import sys
import time
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from pipeline import compare, store
from pipeline.config import PROJECT

T2 = 4.302652729911275  # Student's t, 97.5 %, 2 degrees of freedom (printed tables: 4.303)

ARRAYS = {
    "before/dense/bias": np.zeros(4, np.float32),
    "after/dense/bias": np.float32([-0.3, 0.1, 0.2, 0.5]),
    "trajectory/dense/bias": np.float32([[0, 0, 0, 0], [-0.1, 0, 0.1, 0.2], [-0.3, 0.1, 0.2, 0.5]]),
    "epoch": np.arange(3),
}


def put(
    results: Path, arm: str, seed: int, accuracy: float, *, study: str = "s", setting: str | None = None,
    status: str = "complete", kernels: str = "k", data: str = "d", key: str | None = None, biased: bool = True,
    device: str = "CPU",
) -> store.Run:  # fmt: skip
    """Store a run with this test accuracy; its test loss is 1 - accuracy."""
    curve = np.linspace(0.2, accuracy, 3)
    history = {"loss": 2 - curve, "accuracy": curve, "val_loss": 2.1 - curve, "val_accuracy": curve - 0.01}
    diverged = status == "diverged"
    meta = {
        "key": key or f"{study}-{arm}-{seed}".replace(",", "-"),
        "recipe": "r",
        "arm": arm,
        "seed": seed,
        "status": status,
        "metrics": {"test_accuracy": accuracy, "test_loss": None if diverged else 1 - accuracy},
        "initial_kernels_digest": f"{kernels}{seed}",
        "data_digest": data,
        "config": {"bias_setting": setting or arm.split(",")[0]},
        "environment": {"device": device},
    }
    arrays = ARRAYS if biased else {"epoch": np.arange(3)}
    if diverged:
        history = {name: np.array([2.0, np.nan, np.nan]) for name in history}
    return store.write(results, study, meta, arrays, history)


def put_all(results: Path, arm: str, accuracies: list[float], **more: Any) -> None:
    for seed, accuracy in enumerate(accuracies):
        put(results, arm, seed, accuracy, **more)


def summary(results: Path, arm: str, metric: str = "test_accuracy", study: str = "s") -> dict[str, Any]:
    """The row of one arm in the table."""
    table = compare.summarize(compare.load_arms(results, study), "zeros").set_index(["arm", "metric"])
    return table.loc[(arm, metric)].to_dict()


def words(results: Path) -> list[str]:
    arms = compare.load_arms(results, "s")
    return compare.describe(compare.summarize(arms, "zeros"), arms, "zeros")


class Answer(NamedTuple):
    folder: Path
    out: str
    imported: set[str]


@pytest.fixture(scope="module")
def answer(tmp_path_factory: pytest.TempPathFactory) -> Answer:
    """`compare` over three arms in an interpreter of its own."""
    tmp = tmp_path_factory.mktemp("answer")
    put_all(tmp / "results", "zeros", [0.8, 0.9, 0.7])
    put_all(tmp / "results", "ones", [0.9, 0.8, 0.9])
    put_all(tmp / "results", "no_bias", [0.8, 0.9, 0.7], biased=False)
    script = (
        "import json, sys; from pipeline import compare; code = compare.main(sys.argv[1:]);"
        "print(json.dumps([name.split('.')[0] for name in sys.modules]), file=sys.stderr); sys.exit(code)"
    )
    options = [f"results={tmp / 'results'}", f"reports={tmp / 'reports'}"]
    done = subprocess.run([sys.executable, "-c", script, *options], cwd=PROJECT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return Answer(tmp / "reports" / "s", done.stdout, set(json.loads(done.stderr.splitlines()[-1])))


@pytest.fixture
def comparing(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Callable[..., tuple[int, str, str]]:
    """`compare` in this process, on this test's own results: exit code, standard output, standard error."""

    def run(*options: str) -> tuple[int, str, str]:
        capsys.readouterr()
        code = compare.main([f"results={tmp_path / 'results'}", f"reports={tmp_path / 'reports'}", *options])
        return code, *capsys.readouterr()

    return run


def test_the_table_holds_the_numbers_worked_out_by_hand(answer: Answer) -> None:
    """Mean, sample standard deviation, t interval and paired difference of three seeds, by hand."""
    table = pd.read_csv(answer.folder / "summary.csv").set_index(["arm", "metric"])
    zeros = table.loc[("zeros", "test_accuracy")]
    assert zeros[["seeds", "diverged"]].tolist() == [3, 0]
    half = T2 * 0.1 / 3**0.5
    assert zeros[["mean", "std", "ci_low", "ci_high"]].tolist() == pytest.approx([0.8, 0.1, 0.8 - half, 0.8 + half])

    ones = table.loc[("ones", "test_accuracy")]  # differences +0.1 -0.1 +0.2: mean 1/15, variance 0.07/3
    half = T2 * (0.07 / 3) ** 0.5 / 3**0.5
    difference = ones[["difference", "difference_std", "difference_ci_low", "difference_ci_high"]].tolist()
    assert difference == pytest.approx([1 / 15, (0.07 / 3) ** 0.5, 1 / 15 - half, 1 / 15 + half])
    assert ones["pairs"] == 3
    assert table.loc[("ones", "test_loss"), "difference"] == pytest.approx(-1 / 15)


def test_the_metrics_for_dvc_say_what_the_table_says(answer: Answer) -> None:
    """metrics.json is arm -> metric -> statistic, strict JSON, and leaves out what is not known."""
    text = (answer.folder / "metrics.json").read_text()
    metrics = json.loads(text, parse_constant=lambda word: pytest.fail(f"{word} is not JSON"))
    assert set(metrics) == {"zeros", "ones", "no_bias"}
    assert metrics["ones"]["test_accuracy"]["mean"] == pytest.approx(2.6 / 3)
    assert metrics["ones"]["test_accuracy"]["difference"] == pytest.approx(1 / 15)
    assert "difference" not in metrics["zeros"]["test_accuracy"]


@pytest.mark.parametrize("figure", ["learning_curves", "biases"])
def test_each_figure_is_drawn_as_png_and_svg(answer: Answer, figure: str) -> None:
    """A figure is missing, cannot be decoded, or is blank."""
    with Image.open(answer.folder / "figures" / f"{figure}.png") as image:
        colours = {colour: pixels for pixels, colour in image.convert("RGB").getcolors(2**24)}
    assert len(colours) > 40
    assert 1 - colours[255, 255, 255] / sum(colours.values()) > 0.02
    svg = (answer.folder / "figures" / f"{figure}.svg").read_text()
    assert svg.startswith("<svg") and svg.count("<path") > 10
    assert "zeros" in svg and "ones" in svg


def test_the_answer_needs_neither_tensorflow_nor_mlflow(answer: Answer) -> None:
    """Comparing stored results waits for a library that it has no use for."""
    assert "altair" in answer.imported
    assert not {"tensorflow", "keras", "mlflow", "sklearn"} & answer.imported


def test_arms_that_agree_on_every_seed_are_called_identical(answer: Answer) -> None:
    """A difference of zero everywhere is said as `nan`, or as an effect."""
    said = (answer.folder / "answer.md").read_text()
    for text in (answer.out, said):
        assert re.search(r"no_bias minus zeros: .* identical on all 3 seeds", text)
        assert "nan" not in text.lower().split()
    assert re.search(r"ones minus zeros: \+0\.0667 test_accuracy, .* includes 0", said)


@pytest.mark.parametrize("other", [{"kernels": "other"}, {"data": "other"}])
def test_only_seeds_that_started_alike_are_paired(tmp_path: Path, other: dict[str, str]) -> None:
    """A run with other initial kernels, or on other data, enters a paired difference."""
    put_all(tmp_path, "zeros", [0.5, 0.5, 0.5])
    put_all(tmp_path, "ones", [0.6, 0.7])
    put(tmp_path, "ones", 2, 0.0, **other)
    row = summary(tmp_path, "ones")
    assert (row["pairs"], row["seeds"]) == (2, 3)
    assert row["difference"] == pytest.approx(0.15)
    assert any("ones: only 2 of its 3 seeds are paired with zeros" in sentence for sentence in words(tmp_path))


def test_seeds_are_paired_by_their_number_not_by_their_place(tmp_path: Path) -> None:
    """An arm that lacks a seed is compared with the baseline's wrong seeds."""
    put_all(tmp_path, "zeros", [0.1, 0.5, 0.9])
    for seed, accuracy in ((1, 0.6), (2, 0.9)):
        put(tmp_path, "ones", seed, accuracy)
    row = summary(tmp_path, "ones")
    assert (row["pairs"], row["difference"]) == (2, pytest.approx(0.05))


def test_a_diverged_run_is_named_and_in_no_mean(tmp_path: Path, comparing: Callable) -> None:
    """A diverged run moves a mean, a curve or a difference, or is not spoken of."""
    put_all(tmp_path / "results", "zeros", [0.5, 0.7, 0.9])
    put_all(tmp_path / "results", "ones", [0.6, 0.8])
    put(tmp_path / "results", "ones", 2, 0.1, status="diverged")
    code, out, _ = comparing()
    row = summary(tmp_path / "results", "ones")
    assert (code, row["seeds"], row["diverged"], row["mean"]) == (0, 2, 1, pytest.approx(0.7))
    assert (row["pairs"], row["difference"]) == (2, pytest.approx(0.1))
    assert "ones: seeds [2] diverged and are in no mean." in out
    assert "2 (1 diverged)" in out
    curves = compare.curves(compare.load_arms(tmp_path / "results", "s"))
    last = curves[(curves["arm"] == "ones") & (curves["metric"] == "accuracy") & (curves["epoch"] == 2)]
    assert last["mean"].item() == pytest.approx(0.7)


def test_an_arm_whose_every_seed_diverged_is_still_named(tmp_path: Path, comparing: Callable) -> None:
    """An arm without a complete run disappears from the answer, or breaks it."""
    put_all(tmp_path / "results", "zeros", [0.5, 0.7])
    put_all(tmp_path / "results", "ones", [0.1, 0.1], status="diverged")
    code, out, _ = comparing()
    assert code == 0
    assert "ones: seeds [0, 1] diverged and are in no mean." in out


def test_one_seed_gets_a_mean_and_no_interval(tmp_path: Path, comparing: Callable) -> None:
    """From one seed an uncertainty is claimed, or `nan` stands in the answer."""
    put(tmp_path / "results", "zeros", 0, 0.5)
    put(tmp_path / "results", "ones", 0, 0.6)
    code, out, _ = comparing()
    said = (tmp_path / "reports" / "s" / "answer.md").read_text()
    metrics = (tmp_path / "reports" / "s" / "metrics.json").read_text()
    assert code == 0
    assert "ones minus zeros: +0.1000 test_accuracy, from one seed: nothing can be said of its uncertainty." in said
    for text in (out, said, metrics):
        assert not re.search(r"\bnan\b", text, re.IGNORECASE)
    ones = json.loads(metrics)["ones"]["test_accuracy"]
    assert ones["mean"] == 0.6 and ones["difference"] == pytest.approx(0.1)
    assert not {"std", "ci_low", "ci_high", "difference_std", "difference_ci_low"} & set(ones)


def test_an_arm_is_compared_within_its_own_block(tmp_path: Path) -> None:
    """`ones,optimizer=sgd` is compared with the zeros of another optimizer."""
    put_all(tmp_path, "zeros", [0.9, 0.9])
    put_all(tmp_path, "ones", [0.8, 0.8])
    put_all(tmp_path, "zeros,optimizer=sgd", [0.5, 0.5])
    put_all(tmp_path, "ones,optimizer=sgd", [0.6, 0.6])
    put_all(tmp_path, "constant(value=0.1),optimizer=sgd", [0.8, 0.8], setting="constant(value=0.1)")
    assert summary(tmp_path, "ones")["difference"] == pytest.approx(-0.1)
    assert summary(tmp_path, "ones,optimizer=sgd")["difference"] == pytest.approx(0.1)
    assert summary(tmp_path, "constant(value=0.1),optimizer=sgd")["difference"] == pytest.approx(0.3)
    assert pd.isna(summary(tmp_path, "zeros,optimizer=sgd")["difference"])


@pytest.mark.parametrize(
    ("option", "key", "there"),
    [
        ("baseline=nosuch", "baseline", ["ones", "zeros"]),
        ("study=nosuch", "study", ["first", "second"]),
        ("", "study", ["first", "second"]),
        ("colour=red", "colour", ["study", "baseline", "results", "reports"]),
        ("results=nowhere", "results", ["pipeline.train"]),
    ],
)
def test_what_is_not_there_is_refused_with_what_is(
    tmp_path: Path, comparing: Callable, option: str, key: str, there: list[str]
) -> None:
    """A wrong request ends in a traceback, or is answered without saying what exists, or writes something."""
    for study in ("first", "second"):
        put_all(tmp_path / "results", "zeros", [0.5, 0.7], study=study)
        put_all(tmp_path / "results", "ones", [0.5, 0.7], study=study)
    options = [option] if option else []
    options += ["study=first"] if key == "baseline" else []
    options = [f"results={tmp_path / 'nowhere'}"] if key == "results" else options
    code, out, err = comparing(*options)
    assert (code, out) == (2, "")
    assert len(err.splitlines()) == 1 and err.startswith(key)
    assert all(name in err for name in there)
    assert not (tmp_path / "reports").exists()


def test_reports_that_cannot_be_written_are_refused_in_one_line(tmp_path: Path, comparing: Callable) -> None:
    """A folder for the reports that is a file ends in a traceback."""
    put_all(tmp_path / "results", "zeros", [0.5, 0.7])
    (tmp_path / "taken").write_text("a file")
    code, _, err = comparing(f"reports={tmp_path / 'taken'}")
    assert code == 2
    assert len(err.splitlines()) == 1 and err.startswith("reports")


def test_several_studies_are_answered_one_by_one(tmp_path: Path, comparing: Callable) -> None:
    """`study=a,b` leaves one of them out."""
    for study in ("first", "second"):
        put_all(tmp_path / "results", "zeros", [0.5, 0.7], study=study)
    assert comparing("study=first,second")[0] == 0
    assert sorted(path.name for path in (tmp_path / "reports").iterdir()) == ["first", "second"]


@pytest.mark.parametrize("biased", [True, False])
def test_every_picture_that_the_answer_shows_exists(tmp_path: Path, comparing: Callable, biased: bool) -> None:
    """answer.md points to a figure that was not drawn, as when no arm has a bias."""
    put_all(tmp_path / "results", "zeros" if biased else "no_bias", [0.5, 0.7], biased=biased)
    assert comparing(*([] if biased else ["baseline=no_bias"]))[0] == 0
    folder = tmp_path / "reports" / "s"
    links = re.findall(r"!\[[^]]*\]\(([^)]+)\)", (folder / "answer.md").read_text())
    assert links and all((folder / link).is_file() for link in links)


DAMAGE: dict[str, Callable[[Path], object]] = {
    "no run.json": lambda run: (run / "run.json").unlink(),
    "half a run.json": lambda run: (run / "run.json").write_text((run / "run.json").read_text()[:200]),
    "run.json of something else": lambda run: (run / "run.json").write_text("[1, 2]"),
    "run.json without a key": lambda run: (run / "run.json").write_text('{"arm": "zeros", "seed": 0}'),
    "no biases.npz": lambda run: (run / "biases.npz").unlink(),
    "no history.csv": lambda run: (run / "history.csv").unlink(),
    "half a biases.npz": lambda run: (run / "biases.npz").write_bytes((run / "biases.npz").read_bytes()[:200]),
    "an empty history.csv": lambda run: (run / "history.csv").write_text(""),
}


@pytest.mark.parametrize("damage", DAMAGE)
def test_a_damaged_run_is_left_out_and_written_anew(tmp_path: Path, damage: str) -> None:
    """A run that is not whole counts as finished, or stands in the way of the one that replaces it."""
    put_all(tmp_path, "zeros", [0.5, 0.7])
    DAMAGE[damage](tmp_path / "s" / "zeros" / "seed=0")
    assert [run.seed for run in store.runs(tmp_path, "s")] == [1]
    put(tmp_path, "zeros", 0, 0.6)
    assert [run.meta["metrics"]["test_accuracy"] for run in store.runs(tmp_path, "s")] == [0.6, 0.7]


def test_a_killed_writer_leaves_whole_runs_only(tmp_path: Path) -> None:
    """A run can be seen before all of it is on disk."""
    script = (
        "import sys; from pathlib import Path; import numpy as np; from pipeline import store\n"
        "for seed in range(10_000):\n"
        "    meta = dict(key=f'k{seed}', recipe='r', arm='zeros', seed=seed, status='complete')\n"
        "    arrays = {'epoch': np.arange(2), 'after/dense/bias': np.random.default_rng(seed).random(200_000)}\n"
        "    store.write(Path(sys.argv[1]), 's', meta, arrays, {'loss': np.ones(2)})\n"
    )
    writer = subprocess.Popen([sys.executable, "-c", script, str(tmp_path)], cwd=PROJECT)
    deadline = time.monotonic() + 60
    while len(list(tmp_path.glob("s/zeros/seed=*"))) < 5 and time.monotonic() < deadline:
        time.sleep(0.001)
    writer.send_signal(signal.SIGKILL)
    writer.wait()
    runs = store.runs(tmp_path, "s")
    assert len(runs) >= 5
    assert len(runs) == len(list(tmp_path.glob("s/zeros/*")))
    for run in runs:
        expected = np.random.default_rng(run.seed).random(200_000)
        assert np.array_equal(run.biases()["after/dense/bias"], expected)


def test_a_run_that_is_replaced_is_kept_and_comes_back(tmp_path: Path) -> None:
    """Asking for other settings throws the earlier result away, or it cannot be had again."""
    old = put(tmp_path, "zeros", 0, 0.5, key="old")
    content = {path.name: path.read_bytes() for path in old.path.iterdir()}
    put(tmp_path, "zeros", 0, 0.9, key="new")
    assert [run.key for run in store.runs(tmp_path, "s")] == ["new"]
    assert {p.name: p.read_bytes() for p in (tmp_path / ".replaced" / "old").iterdir()} == content

    assert store.adopt(tmp_path, "s", {0: "old", 1: "never trained"}, {"arm": "zeros"}) == {0}
    assert [run.key for run in store.runs(tmp_path, "s")] == ["old"]
    assert {p.name: p.read_bytes() for p in (tmp_path / "s" / "zeros" / "seed=0").iterdir()} == content


def test_nothing_in_a_stored_run_depends_on_when_and_where(tmp_path: Path) -> None:
    """The same run stored in two places gives other bytes, or its arrays carry the time of day."""
    first = put(tmp_path / "here", "zeros", 0, 0.5)
    second = put(tmp_path / "there" / "deeper", "zeros", 0, 0.5)
    with zipfile.ZipFile(first.path / "biases.npz") as arrays:
        assert {entry.date_time for entry in arrays.infolist()} == {(1980, 1, 1, 0, 0, 0)}
    for path in first.path.iterdir():
        assert path.read_bytes() == (second.path / path.name).read_bytes()
