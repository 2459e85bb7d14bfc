"""An arm is shown by what differs within its study."""

import pytest

from pipeline.config.short_names import short_names, without

CASES = [
    (["zeros,data.target=y,training.epochs=3", "ones,data.target=y,training.epochs=3"], ["zeros", "ones"]),
    (["zeros,data.target=y", "zeros,data.target=y,training.epochs=9"], ["zeros", "zeros,training.epochs=9"]),
    (["zeros,training.epochs=3", "ones,training.epochs=4"], ["zeros,training.epochs=3", "ones,training.epochs=4"]),
    (["zeros,optimizer=sgd"], ["zeros"]),
    (["zeros", "ones,optimizer=sgd"], ["zeros", "ones,optimizer=sgd"]),
    (["random_normal(mean=1,stddev=2),data.target=y", "zeros,data.target=y"],
     ["random_normal(mean=1,stddev=2)", "zeros"]),
    (["hidden=zeros,output=ones,data.target=y", "zeros,data.target=y"], ["hidden=zeros,output=ones", "zeros"]),
    (["zeros,bias_layers=_a,b_,data.target=y", "zeros,bias_layers=_a,c_,data.target=y"],
     ["zeros,bias_layers=_a,b_", "zeros,bias_layers=_a,c_"]),
    (["zeros,optimizer_schedule=cosine", "ones,optimizer_schedule=cosine"], ["zeros", "ones"]),
    (["zeros,_optimizer.schedule=", "ones,_optimizer.schedule="], ["zeros", "ones"]),
    (["truncated_normal(mean=0.12~0a1b,data.target=y", "zeros,data.target=y"],
     ["truncated_normal(mean=0.12~0a1b,data.target=y", "zeros,data.target=y"]),
    (["zeros,training.epochs=3~0a1b2c3d", "zeros,training.epochs=3~1a1b2c3d"],
     ["zeros,training.epochs=3~0a1b2c3d", "zeros,training.epochs=3~1a1b2c3d"]),
]  # fmt: skip


@pytest.mark.parametrize(("names", "shown"), CASES)
def test_a_shown_name_has_what_differs_alone(names: list[str], shown: list[str]) -> None:
    """What all arms share is left out; values with commas, calls and names that were cut stay whole."""
    assert [*short_names(names).values()] == shown
    assert len(set(shown)) == len(names)


def test_a_block_is_shortened_like_a_name() -> None:
    """A block is a name without its bias setting."""
    shared = frozenset(["data.target=y"])
    assert without("data.target=y,training.epochs=3", shared) == "training.epochs=3"
    assert without("data.target=y", shared) == ""
    assert without("", shared) == ""
