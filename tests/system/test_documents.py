"""What the Markdown documents say about files is true: files, links and modules they name exist."""

import ast
import importlib.util
import re
from pathlib import Path

import pytest

from pipeline.config.schema import PROJECT

DOCUMENTS = ["README.md", "conf/README.md", "pipeline/README.md", "tests/README.md", ".github/CONTRIBUTING.md"]
GENERATED = {"results", "reports", "outputs", "multirun"}  # folders in .gitignore that a document may speak of
PATH = re.compile(r"(?:[\w.-]+/)+[\w.-]*|[\w-]+\.(?:py|toml|cff)")


def missing_paths(document: Path) -> set[str]:
    """Paths in inline code that exist neither in the project nor beside the document.

    A path counts if it is a lone Python or configuration file, or if it begins with a name of the project's or the
    document's folder: MLflow's `biases/before.npz` is no path of the project.
    """
    folders = (PROJECT, document.parent)
    prose = re.sub(r"```.*?```", "", document.read_text(), flags=re.DOTALL)
    missing = set()
    for path in filter(PATH.fullmatch, re.findall(r"`([^`\n]+)`", prose)):
        first, *rest = path.rstrip("/").split("/")
        ours = first not in GENERATED and (not rest or any((folder / first).exists() for folder in folders))
        if ours and not any((folder / path).exists() for folder in folders):
            missing.add(path)
    return missing


@pytest.mark.parametrize("document", DOCUMENTS)
def test_files_that_a_document_names_exist(document: str) -> None:
    """Every path in `inline code` exists, seen from the project or from the document's folder."""
    assert missing_paths(PROJECT / document) == set()


def test_a_missing_file_is_noticed(tmp_path: Path) -> None:
    """A path that is gone is found; generated files, placeholders and MLflow's artifacts are passed over."""
    document = tmp_path / "README.md"
    document.write_text(
        "`pipeline/train.py` `pipeline/engine.py` `gone.py` `conf/gone/` `results/x/run.json` `bias/<layer>/std` "
        "`biases/before.npz`\n```\npipeline/tree.py\n```\n"
    )
    assert missing_paths(document) == {"pipeline/engine.py", "gone.py", "conf/gone/"}


@pytest.mark.parametrize("document", DOCUMENTS)
def test_links_lead_to_files_and_headings(document: str) -> None:
    """Every relative link and picture exists; a link to a heading names one that is there."""
    text = (PROJECT / document).read_text()
    for target in re.findall(r"\]\(([^)\s]+)\)", text):
        path, _, heading = target.partition("#")
        if "://" in target:
            continue
        linked = (PROJECT / document).parent / path if path else PROJECT / document
        assert linked.exists(), target
        if heading:
            titles = re.findall(r"^#+ (.*)$", linked.read_text(), re.MULTILINE)
            assert heading in {re.sub(r"[^\w -]", "", title.lower()).replace(" ", "-") for title in titles}, target


@pytest.mark.parametrize("document", DOCUMENTS)
def test_modules_that_a_document_runs_exist(document: str) -> None:
    """Every `python -m pipeline.<name>` or `python -m tests.<name>` is a command."""
    for module in re.findall(r"python -m ((?:pipeline|tests)(?:\.\w+)+)", (PROJECT / document).read_text()):
        spec = importlib.util.find_spec(module)
        assert spec is not None, module
        source = Path(spec.origin or "")
        source = source.with_name("__main__.py") if source.name == "__init__.py" else source
        functions = [node.name for node in ast.parse(source.read_text()).body if isinstance(node, ast.FunctionDef)]
        assert "main" in functions, module


def test_the_architecture_lists_every_package() -> None:
    """The tree in pipeline/README.md names the packages and commands of pipeline/, no more and no fewer."""
    tree = (PROJECT / "pipeline" / "README.md").read_text().split("```")[1]
    packages = {f"{path.parent.name}/" for path in (PROJECT / "pipeline").glob("*/__init__.py")}
    commands = {path.name for path in (PROJECT / "pipeline").glob("[!_]*.py")}
    assert set(re.findall(r"(?:^| )(\w+(?:/|\.py))", tree, re.MULTILINE)) == packages | commands


def test_the_readme_is_short_and_shows_the_answer() -> None:
    """README.md has fewer than 200 lines, and its pictures are PNGs of less than 150 KB, the answer first."""
    text = (PROJECT / "README.md").read_text()
    assert len(text.splitlines()) < 200
    pictures = re.findall(r"!\[[^\]]+\]\(([^)]+)\)", text)  # with a description for who cannot see it
    assert pictures[0] == ".github/answer.png"
    for picture in pictures:
        content = (PROJECT / picture).read_bytes()
        assert content.startswith(b"\x89PNG")
        assert len(content) < 150_000
