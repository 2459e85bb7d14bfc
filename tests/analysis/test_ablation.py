"""Which stored rows of the ablation's tables count."""

from pathlib import Path

import pytest

from pipeline.analysis.ablation import VERSION, stored_rows
from pipeline.store.runs import RunStore
from pipeline.store.tables import ABLATION


@pytest.mark.parametrize(
    ("column", "value", "counts"),
    [("version", VERSION, True), ("version", "0", False), ("code", "28a141e01396df51", True),
     ("code", "441eb67fb6c13451", True), ("code", "other", False)],
)  # fmt: skip
def test_rows_of_todays_numbers_count(tmp_path: Path, column: str, value: str, counts: bool) -> None:
    """Rows of the current version count, and those written before there was one by code that gave the same numbers."""
    store = RunStore(tmp_path, "s")
    store.folder.mkdir()
    header = f"arm,seed,biases,test_loss,key,from_key,{column}"
    (store.folder / ABLATION).write_text(f"{header}\nzeros,0,own,0.5,k,,{value}\n")
    assert len(stored_rows(store, ABLATION)) == 1
    assert len(stored_rows(store, ABLATION, VERSION)) == counts
