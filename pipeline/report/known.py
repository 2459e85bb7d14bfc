"""Report published claims beside what our runs show: a table on the terminal, and a page per claim."""

from collections.abc import Sequence
from pathlib import Path

from pipeline.analysis.known import HeldClaim
from pipeline.analysis.known.claim import Finding, Table
from pipeline.report.console import print_table, short_path
from pipeline.store.places import check_file

FOLDER = "known"
HEADINGS = ("", "published", "expected", "ours [interval]", "holds?")


def print_claim(tested: HeldClaim, path: Path) -> None:
    """Print a claim, its table, and where its page is."""
    print()
    print_table(tested.claim.statement, HEADINGS, [_cells(finding) for finding in tested.evidence.findings], width=160)
    print(f"Report: {short_path(path)}")


def claim_file(reports: Path, name: str) -> Path:
    """The page of a claim."""
    return reports / FOLDER / f"{name}.md"


def check_claim_files(reports: Path, names: Sequence[str], key: str) -> None:
    """Raise ConfigError, naming the setting `key`, where something is in the way of a claim's page."""
    for name in names:
        check_file(claim_file(reports, name), key)


def write_claim(tested: HeldClaim, reports: Path) -> Path:
    """Write a claim's page; returns its path."""
    path = claim_file(reports, tested.claim.name)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(render_claim(tested), encoding="utf-8")
    return path


def render_claim(tested: HeldClaim) -> str:
    """The page of a claim, in Markdown."""
    claim, studies = tested.claim, ",".join(tested.studies)
    seeds = {len(arm.complete) for comparison in tested.comparisons for arm in comparison.study.arms}
    remarks = {
        remark
        for comparison in tested.comparisons
        for arm in comparison.study.arms
        for run in arm.runs
        for remark in run.meta.get("data_remarks", ())
    }
    told = [f"{_span(seeds)} seeds per arm.", *(f"{text[0].upper()}{text[1:]}." for text in sorted(remarks))]
    lines = [
        f"# {claim.name}", "", claim.statement, "",
        "```console", f"python -m pipeline.train experiment={claim.name}",
        f"python -m pipeline.compare study={studies}", "```", "",
        " ".join(told), "",
        *_table(Table("", HEADINGS, [_cells(finding) for finding in tested.evidence.findings])), "",
        f"**Why this is expected.** {claim.derivation}", "",
        f"**What would have falsified it:** {claim.falsified_by}", "",
        "**Sources**", "", *(f"- {source}" for source in claim.sources),
    ]  # fmt: skip
    for table in tested.evidence.tables:
        lines += ["", f"## {table.title}", "", *_table(table)]
    return "\n".join(lines) + "\n"


def _cells(finding: Finding) -> list[str]:
    return [finding.what, finding.published, finding.expected, finding.ours, finding.holds]


def _span(numbers: set[int]) -> str:
    return str(min(numbers)) if len(numbers) == 1 else f"{min(numbers)} to {max(numbers)}"


def _table(table: Table) -> list[str]:
    escaped = [[cell.replace("|", "\\|") for cell in row] for row in (table.headings, *table.rows)]
    head, *rows = [f"| {' | '.join(row)} |" for row in escaped]
    return [head, "|" + "---|" * len(table.headings), *rows]
