"""Published claims about biases, each held against the runs of a study that replays it (`experiment=NAME`).

A module per claim: closed forms derived in docstrings, and a function that reads them off the stored runs. A study says
in its runs which claim it tests (the setting `claim`), so that any command line that keeps it is evidence.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from pipeline.analysis.comparison import Comparison
from pipeline.analysis.known import (
    before_batchnorm,
    born_dead,
    edge_of_chaos,
    framework_defaults,
    gates,
    highway,
    mean_target,
    need_a_bias,
    null_controls,
    prior_bias,
    zero_kernels,
)  # fmt: skip
from pipeline.analysis.known.claim import Claim, Evidence

MODULES = (
    mean_target, prior_bias, need_a_bias, null_controls, before_batchnorm, framework_defaults, zero_kernels, highway,
    born_dead, edge_of_chaos, gates,
)  # fmt: skip
KNOWN: dict[str, Claim] = {module.CLAIM.name: module.CLAIM for module in MODULES}


@dataclass(frozen=True)
class HeldClaim:
    """A claim, the studies whose runs test it, and what they show."""

    claim: Claim
    comparisons: Sequence[Comparison]
    evidence: Evidence

    @property
    def studies(self) -> list[str]:
        """The names of the studies."""
        return [comparison.study.name for comparison in self.comparisons]


def claim_of(comparison: Comparison) -> str | None:
    """The claim that the runs of a study test; None if they are about none, or about different ones."""
    named = {run.meta["config"].get("claim") for arm in comparison.study.arms for run in arm.runs}
    return named.pop() if len(named) == 1 else None


def hold_against_claims(comparisons: Sequence[Comparison]) -> list[HeldClaim]:
    """Hold the studies against the claims that they are about: one result per claim, of all its studies together."""
    by_claim: dict[str, list[Comparison]] = {}
    for comparison in comparisons:
        name = claim_of(comparison)
        if name in KNOWN:
            by_claim.setdefault(name, []).append(comparison)
    return [HeldClaim(KNOWN[name], of_claim, KNOWN[name].evaluate(of_claim)) for name, of_claim in by_claim.items()]
