"""The command line of `python -m pipeline.train`."""

import pytest

from pipeline import train


@pytest.mark.parametrize(
    "arguments",
    [["--cfg", "job", "data=iris", "seeds=[3,7]"], ["data=iris", "--cfg", "job", "seeds=[3,7]"],
     ["data=iris", "seeds=[3,7]", "--cfg=job"]],
    ids=" ".join,
)  # fmt: skip
def test_options_may_stand_anywhere(
    arguments: list[str], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Options are taken before, between and after overrides."""
    monkeypatch.setattr("sys.argv", ["pipeline.train", *arguments])
    assert train.main() == 0
    printed = capsys.readouterr().out
    assert "name: iris" in printed and "- 7" in printed


def test_a_plan_trains_and_writes_nothing(cli, tmp_path) -> None:
    """`--plan` prints the missing runs, wherever it stands, and leaves no file."""
    result = cli("data=iris", "--plan", "model=linear", "seeds=2")
    assert (result.code, result.err) == (0, "")
    assert "2 runs to train" in result.out
    assert [path for path in tmp_path.rglob("*") if path.is_file()] == []


def test_ctrl_c_while_a_sweep_is_reported(cli, monkeypatch) -> None:
    """Ctrl-C after the last job, during ablation or upload, ends with exit code 130 and one line."""

    def interrupt(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("pipeline.experiment.summary.ablate_studies", interrupt)
    result = cli("data=iris", "model=linear", "seeds=1", "training.epochs=1")
    assert result.code == 130
    assert result.err == "interrupted (SIGINT): finished runs are kept, and the same command goes on from there\n"
