"""The default biases of three libraries, and other usual ones, against zeros."""

from collections.abc import Sequence

from pipeline.analysis.comparison import Comparison
from pipeline.analysis.known.claim import OURS, UNDECIDED, Claim, Evidence, Finding, prose
from pipeline.analysis.known.measures import difference

NAMES = {"fan_in_uniform": "PyTorch's", "sklearn_uniform": "scikit-learn's", "zeros": "Keras'"}
NOTHING = "no published head-to-head"


def evaluate(comparisons: Sequence[Comparison]) -> Evidence:
    """The difference of every arm from zeros on every dataset, with the verdict."""
    findings = []
    for comparison in comparisons:
        data = comparison.study.arms[0].runs[0].meta["config"]["data"]["name"]
        for verdict in comparison.compared:
            name = f"{NAMES[verdict.setting]}, {verdict.setting}" if verdict.setting in NAMES else verdict.setting
            word = UNDECIDED if verdict.verdict == "undecided" else OURS
            expected = f"decided against a margin of {verdict.margin:g}"
            findings.append(Finding(f"{data}: {name}", NOTHING, expected, difference(verdict), word))
    return Evidence(findings)


CLAIM = Claim(
    name="framework-defaults",
    statement=prose("""
        Keras starts biases at zeros, PyTorch at U(+-1/sqrt(fan_in)), scikit-learn at U(+-sqrt(6/(fan_in + fan_out))):
        which one does not matter, is what everybody assumes and nobody has published.
    """),
    sources=(
        "Keras 3, documentation of keras.layers.Dense: bias_initializer='zeros'.",
        prose("""
            PyTorch 2, documentation of torch.nn.Linear: bias from U(-sqrt(k), sqrt(k)), k = 1/in_features.
        """),
        prose("""
            scikit-learn 1, MLPClassifier._init_coef: both from U(+-sqrt(6/(fan_in + fan_out))), after Glorot and Bengio
            2010, AISTATS.
        """),
    ),
    derivation=prose("""
        Kernels, splits and orders of rows are the same in every arm, those of Keras: only the biases are another
        library's.
    """),
    falsified_by=prose("""
        an interval of a difference from zeros that excludes 0 and a verdict of better or worse would show that the
        choice matters on that dataset; equivalent, that it does not.
    """),
    evaluate=evaluate,
)
