"""Arms at their best, from stored runs: what is chosen and said, what is left out, what is refused."""

import json
from html import unescape
from itertools import product
from pathlib import Path
from typing import Any

import jsonschema
import numpy as np
import pytest
from factories import put

from pipeline.analysis.comparison import Comparison, compare_study
from pipeline.config.schema import PROJECT
from pipeline.errors import ConfigError
from pipeline.report.document import comparison_document
from pipeline.report.write import write_report
from pipeline.runtime.wrapping import split_command, wrapped
from pipeline.store.answers import record_answer
from pipeline.store.runs import RunStore

RATE = "optimizer.learning_rate"
SEEDS = 12
RNG = np.random.default_rng(0)
LUCK = RNG.normal(0, 0.002, SEEDS)


def put_arm(results: Path, setting: str, means: dict[float, float], seeds: int = SEEDS, **more: Any) -> None:
    """Store runs of a bias setting at several learning rates, with the given mean accuracies."""
    for rate, mean in means.items():
        for seed in range(seeds):
            accuracy = mean + LUCK[seed] + np.random.default_rng([seed, len(setting), int(1e5 * rate)]).normal(0, 0.001)
            put(results, f"{setting},{RATE}={rate}", seed, accuracy, optimizer={"learning_rate": rate}, **more)


def compared(results: Path, tune: dict[str, tuple[float, ...]] | None = None, **question: Any) -> Comparison:
    return compare_study(RunStore(results, "s"), "zeros", tune=tune or {RATE: ()}, **question)


def shifted(results: Path) -> None:
    """Three arms with the same best accuracy, at different rates: at the shared 0.01 they differ."""
    put_arm(results, "zeros", {0.001: 0.70, 0.01: 0.90, 0.1: 0.80, 1.0: 0.6})
    put_arm(results, "ones", {0.001: 0.70, 0.01: 0.80, 0.1: 0.90, 1.0: 0.7})
    put_arm(results, "glorot", {0.001: 0.70, 0.01: 0.95, 0.1: 0.80, 1.0: 0.6})


@pytest.mark.slow
def test_the_answer_says_both(tmp_path: Path) -> None:
    """What holds for each arm at its best comes first, then the shared value, whether it matters, and the choices."""
    shifted(tmp_path)
    comparison = compared(tmp_path)
    best, shared, depends, chosen = comparison.answer[:4]
    assert best.startswith(f"With each arm at its best {RATE}, take glorot: it is better than zeros in test_accuracy")
    assert shared.startswith(f"At the shared {RATE}=0.01, take glorot: it is better than zeros")
    assert "worse: ones" in shared
    assert "the verdict on ones (worse at the shared value" in depends and "the order" in depends
    assert f"Chosen {RATE}, by val_accuracy on half of the 12 seeds" in chosen
    assert "zeros 0.01 twice (0.0000)" in chosen and "ones 0.1 twice (+0.1" in chosen
    (answer,) = comparison.tunings
    assert answer.shared == (0.01,) and answer.chosen_by == "val_accuracy" and answer.changed == ("ones",)
    by_setting = {verdict.setting: verdict for verdict in comparison.verdicts if verdict.tuned}
    assert by_setting["ones"].verdict not in ("better", "worse") and by_setting["glorot"].verdict == "better"
    assert not any(warning.kind == "edge of the grid" for warning in comparison.warnings)


@pytest.mark.slow
def test_the_document_fulfils_its_schema(tmp_path: Path) -> None:
    """`tunings` holds the points, the choices and the sentences."""
    shifted(tmp_path)
    document = json.loads(json.dumps(comparison_document(compared(tmp_path)), allow_nan=False))
    schema = json.loads((PROJECT / "pipeline" / "report" / "comparison.schema.json").read_text())
    jsonschema.validate(document, schema, jsonschema.Draft202012Validator)
    assert document["tunings"][0]["points"] == [[0.001], [0.01], [0.1], [1.0]]
    assert document["tunings"][0]["sentences"][0] in document["sentences"]
    assert document["headlines"][0]["block"] == document["tunings"][0]["block"]


@pytest.mark.slow
def test_the_chart_has_the_curve_and_the_choices(tmp_path: Path) -> None:
    """A row per setting and value, with the number of halves that chose it."""
    shifted(tmp_path)
    curve = compared(tmp_path).tuning_curve
    assert len(curve) == 12 and curve["chosen"].sum() == 6
    assert curve.loc[curve["chosen"] == 2, "points"].tolist() == [(0.01,), (0.1,), (0.01,)]


@pytest.mark.slow
def test_the_page_begins_with_few_paragraphs(tmp_path: Path) -> None:
    """A phone shows the chart soon; the rest of the answer can be unfolded below it."""
    shifted(tmp_path)
    comparison = compared(tmp_path)
    write_report(comparison, tmp_path / "report", figures=False)
    page = unescape((tmp_path / "report" / "report.html").read_text()).replace("<wbr>", "")
    head, _, rest = page.partition("</header>")
    folded = rest.partition("<summary>More of the answer</summary>")[2].partition("</details>")[0]
    assert head.count('class="lead"') == 3 and len(comparison.answer) > 4
    assert "Tuning changes the verdict on ones" in head and folded.count("<p>") == len(comparison.answer) - 3
    assert f"Chosen {RATE}, by" in folded and "The answer for ones depends on" in folded


@pytest.mark.slow
def test_an_end_of_the_grid_is_a_warning_with_the_command_that_widens_it(tmp_path: Path) -> None:
    """The command names all values, the shared one first, and one more."""
    put_arm(tmp_path, "zeros", {0.001: 0.70, 0.01: 0.80, 0.1: 0.90})
    put_arm(tmp_path, "ones", {0.001: 0.70, 0.01: 0.90, 0.1: 0.80})
    (warning,) = [warning for warning in compared(tmp_path).warnings if warning.kind == "edge of the grid"]
    assert warning.serious and warning.sentence.startswith(f"zeros chose the largest {RATE}, 0.1;")
    assert wrapped(warning.text, 60).splitlines()[-1] == split_command(warning.text)[1]
    assert split_command(warning.text)[1].startswith("uv run python -m pipeline.train -m study=s ")
    assert f"'tune={{{RATE}:[0.01,0.001,0.1,0.3]}}'" in warning.sentence and "-m study=s" in warning.sentence
    assert "bias_initializer=zeros,ones" in warning.sentence and "seeds=12" in warning.sentence


@pytest.mark.slow
def test_runs_at_other_values_are_not_left_unsaid(tmp_path: Path) -> None:
    """Without `tune`, a comparison of arms that were trained with it names the command that compares them at best."""
    for arm, rate in product(("zeros", "ones"), (0.001, 0.01)):
        for seed in range(4):
            run = put(tmp_path, f"{arm},{RATE}={rate}", seed, 0.5 + seed / 10, optimizer={"learning_rate": rate})
            words = [f"{RATE}={rate}", f"bias_initializer={arm}", f"tune={{{RATE}:[0.001,0.01]}}"]
            (run.path / "machine.json").write_text(json.dumps({"overrides": words}))
    store = RunStore(tmp_path, "s")
    (said,) = [one.sentence for one in compare_study(store, "zeros").warnings if one.kind == "not at their best"]
    command = f"uv run python -m pipeline.compare study=s tune={RATE} results={tmp_path}"
    assert split_command(said) == (said.removesuffix(command), command)
    assert not [one for one in compared(tmp_path).warnings if one.kind == "not at their best"]


@pytest.mark.slow
def test_values_can_be_chosen_from_a_list(tmp_path: Path) -> None:
    """Only these are tried; a value that no run has is refused."""
    shifted(tmp_path)
    (answer,) = compared(tmp_path, {RATE: (0.001, 0.01)}).tunings
    assert answer.points == ((0.001,), (0.01,))
    with pytest.raises(ConfigError, match="was trained at one value only"):
        compared(tmp_path, {RATE: (0.001, 7.0)})


@pytest.mark.slow
def test_arms_and_values_that_cannot_be_tuned_are_named(tmp_path: Path) -> None:
    """An arm that lacks a value is left out; a value at which a seed diverged is not chosen."""
    shifted(tmp_path)
    put_arm(tmp_path, "he", {0.001: 0.7, 0.01: 0.8})
    put(tmp_path, f"ones,{RATE}=0.1", SEEDS, 0.5, status="diverged", optimizer={"learning_rate": 0.1})
    for arm, rate in (("zeros", r) for r in (0.001, 0.01, 0.1, 1.0)):
        put(tmp_path, f"{arm},{RATE}={rate}", SEEDS, 0.5, optimizer={"learning_rate": rate})
    for arm, rate in ((a, r) for a in ("ones", "glorot") for r in (0.001, 0.01, 0.1, 1.0) if (a, r) != ("ones", 0.1)):
        put(tmp_path, f"{arm},{RATE}={rate}", SEEDS, 0.5, optimizer={"learning_rate": rate})
    comparison = compared(tmp_path)
    sentences = {warning.kind: warning.sentence for warning in comparison.warnings}
    assert sentences["not tuned"] == f"he is not compared at its best: it was not trained at {RATE}=0.1 or {RATE}=1."
    assert sentences["diverged where tuned"] == f"ones was not tuned to {RATE}=0.1, where some seed diverged."
    assert comparison.tunings[0].seeds == tuple(range(SEEDS + 1))
    ones = next(choice for choice in comparison.tunings[0].choices if choice.setting == "ones")
    assert (0.1,) not in ones.chosen


@pytest.mark.slow
def test_seeds_that_not_every_arm_has_take_no_part(tmp_path: Path) -> None:
    """The halves are the same for every arm; a seed that began with other kernels at one value is no pair either."""
    put_arm(tmp_path, "zeros", {0.01: 0.9, 0.1: 0.8})
    put_arm(tmp_path, "ones", {0.01: 0.9, 0.1: 0.8}, seeds=9)
    put(tmp_path, f"ones,{RATE}=0.1", 8, 0.8, kernels="other", optimizer={"learning_rate": 0.1})
    comparison = compared(tmp_path)
    assert comparison.tunings[0].seeds == tuple(range(8))
    assert "seeds 8 to 11 neither choose nor judge" in " ".join(w.sentence for w in comparison.warnings)


@pytest.mark.parametrize(
    ("means", "seeds", "message"),
    [
        ({0.01: 0.9}, 4, "zeros was trained at one value only, optimizer.learning_rate=0.01"),
        ({0.01: 0.9, 0.1: 0.8}, 3, "3 seeds in common at all values, and choosing takes 4"),
    ],
)
def test_what_cannot_be_tuned_is_refused(tmp_path: Path, means: dict[float, float], seeds: int, message: str) -> None:
    """One line, with the command that trains what is missing."""
    put_arm(tmp_path, "zeros", means, seeds)
    put_arm(tmp_path, "ones", means, seeds)
    with pytest.raises(ConfigError, match=f"tune: .*{message}; allowed: after .* -m tune={RATE}"):
        compared(tmp_path)


@pytest.mark.slow
def test_two_keys_are_a_grid_of_pairs(tmp_path: Path) -> None:
    """Each half chooses a pair of values."""
    for setting, best in (("zeros", (0.1, 2)), ("ones", (0.01, 4))):
        for rate in (0.01, 0.1):
            for epochs in (2, 4):
                for seed in range(6):
                    accuracy = 0.8 + 0.1 * ((rate, epochs) == best) + LUCK[seed]
                    name = f"{setting},{RATE}={rate},training.epochs={epochs}"
                    more: Any = {"optimizer": {"learning_rate": rate}, "training": {"epochs": epochs}}
                    put(tmp_path, name, seed, accuracy, **more)
    (answer,) = compared(tmp_path, {RATE: (), "training.epochs": ()}).tunings
    assert {choice.setting: choice.chosen for choice in answer.choices} == {
        "zeros": ((0.1, 2), (0.1, 2)), "ones": ((0.01, 4), (0.01, 4))
    }  # fmt: skip


@pytest.mark.slow
def test_answers_before_seeds_were_added_make_p_larger(tmp_path: Path) -> None:
    """Two looks share the level."""
    shifted(tmp_path)
    before = {verdict.arm: verdict for verdict in compared(tmp_path).verdicts if verdict.tuned}
    store = RunStore(tmp_path, "s")
    record_answer(store, {arm: list(range(8)) for arm in store.arm_names()})
    after = {verdict.arm: verdict for verdict in compared(tmp_path).verdicts if verdict.tuned}
    glorot = "glorot at its best"
    assert after[glorot].p == pytest.approx(2 * (before[glorot].p or 0)) and after[glorot].looks == "8, 12"
    assert (after[glorot].difference_ci_low or 0) < (before[glorot].difference_ci_low or 0)
