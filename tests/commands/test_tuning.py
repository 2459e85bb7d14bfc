"""`tune=` from the command line: trained, compared, and refused."""

import json
from pathlib import Path

import pytest

from pipeline import compare

RATE = "optimizer.learning_rate"
IRIS = ("data=iris", "model=linear", "training.epochs=3", "training.xla=false", "seeds=4", "ablation=false")


@pytest.mark.slow
def test_each_arm_is_trained_at_each_value_and_compared_at_its_best(cli, tmp_path: Path, capfd) -> None:
    """A sweep trains them as ordinary arms, once; `compare` says both answers, writes the figure and the command."""
    words = ("-m", *IRIS, f"tune={{{RATE}:[0.001,0.01,0.1]}}", "bias_initializer=zeros,ones,constant(3)")
    planned = cli(*words, "--plan")
    assert planned.code == 0 and "36 runs to train" in planned.out
    trained = cli(*words)
    assert trained.code == 0 and f"tune={RATE}" in trained.out.splitlines()[-1]
    study = tmp_path / "results" / "iris-linear"
    folders = {path.name for path in study.iterdir() if (path / "seed=0").is_dir()}
    assert len(folders) == 9 and all(f"{RATE}=" in name and "tune" not in name for name in folders)
    stored = {path: path.stat().st_mtime_ns for path in study.rglob("run.json")}
    assert len(stored) == 36 and cli(*words).code == 0
    assert {path: path.stat().st_mtime_ns for path in study.rglob("run.json")} == stored  # nothing is trained twice
    capfd.readouterr()
    places = (f"results={tmp_path / 'results'}", f"reports={tmp_path / 'reports'}", "mlflow=false")
    assert compare.main(["iris-linear", f"tune={RATE}", *places]) == 0
    out = capfd.readouterr().out
    assert f"ith each arm at its best {RATE}" in out and f"At the shared {RATE}=0.001" in out
    report = tmp_path / "reports" / "iris-linear"
    document = json.loads((report / "comparison.json").read_text())
    assert document["tunings"][0]["points"] == [[0.001], [0.01], [0.1]]
    assert (report / "figures" / "tuning.png").is_file()
    page = (report / "report.html").read_text()
    assert (
        "At the other values that were tried" in page
        and "Each arm at its best" in page
        and 'data-figure="tuning"' in page
    )
    (trained_with,) = [line for line in page.splitlines() if "pipeline.train -m" in line and "trained with" in line]
    assert trained_with.count("pipeline.train") == 1  # not one command per value
    for sentence in document["tunings"][0]["sentences"]:
        assert sentence in (report / "answer.md").read_text()


@pytest.mark.parametrize("tune", ["training.loss", "model.layers", "data.test_fraction", f"{{{RATE}:[0.1]}}", "a,b,c"])
def test_compare_refuses_what_cannot_be_tuned(tune: str, capsys) -> None:
    """One line and exit code 2, before anything is read."""
    assert compare.main([f"tune={tune}"]) == 2
    err = capsys.readouterr().err
    assert err.startswith("tune") and err.count("\n") == 1 and "allowed: " in err
    assert (", but " in err) == tune.startswith(("model.", "data."))


def test_train_refuses_before_anything_is_trained(cli) -> None:
    """One line and exit code 2."""
    refused = cli("-m", *IRIS, "tune=training.loss")
    assert refused.code == 2 and refused.err.count("\n") == 1
    assert refused.err.startswith("tune: training.loss given; allowed: one or two numbers of optimizer or training")


@pytest.mark.slow
@pytest.mark.parametrize("design", ["design.looks=[2,3]", "design.margin=2", "design.metric=test_foo"])
def test_a_design_is_refused_before_anything_is_said(cli, design: str) -> None:
    """No line about runs to train or TensorFlow comes first."""
    given = [word for word in IRIS if not word.startswith("seeds=")]
    refused = cli("-m", *given, "until=decided", "bias_initializer=zeros,ones", design)
    assert refused.code == 2 and refused.err.count("\n") == 1 and refused.err.startswith(design.partition("=")[0])
    assert not refused.out
