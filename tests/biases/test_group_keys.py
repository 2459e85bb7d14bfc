"""Groups named by class and count are matched with layers by the one reading that explains all of them, or not."""

import pytest

from pipeline.biases.group_keys import Listed, match_keys

OWN, PERHAPS = "own", "perhaps"  # a layer that no other is like, and one like a layer before it


def _match(layers, keys, steps=1):
    listed = [Listed(("dense", "dense"), steps, layer == PERHAPS, True) for layer in layers]
    return match_keys(listed, set(keys.split()))


# Layers, groups -> the groups by layer, the layers that the groups do not tell apart.
CASES = {
    "like another, and stored": ([PERHAPS, OWN], "dense dense_1", {0: "dense", 1: "dense_1"}, set()),
    "stored elsewhere, not counted": ([PERHAPS, OWN, OWN], "dense dense_1", {1: "dense", 2: "dense_1"}, set()),
    "stored elsewhere, counted": ([PERHAPS, OWN, OWN], "dense_1 dense_2", {1: "dense_1", 2: "dense_2"}, set()),
    "the last stored elsewhere": ([OWN, PERHAPS], "dense", {0: "dense"}, set()),
    "either of two elsewhere": ([OWN, PERHAPS, PERHAPS], "dense dense_1", {0: "dense"}, {1, 2}),
    "both ways of counting": ([PERHAPS, OWN, PERHAPS], "dense dense_1", {}, {0, 1, 2}),
    "more groups than layers": ([OWN, OWN], "dense dense_1 dense_2", {}, {0, 1}),
    "groups with other counts": ([OWN, OWN], "dense dense_5", {}, {0, 1}),
    "a group too few": ([OWN, OWN], "dense", {}, set()),
}


@pytest.mark.parametrize("case", CASES)
def test_groups_are_matched_where_one_reading_explains_them(case):
    """A layer has a group if all readings agree; where they differ, or none fits, it is not told apart."""
    layers, keys, found, ambiguous = CASES[case]
    assert _match(layers, keys) == (found, ambiguous)


def test_a_layer_listed_twice_counts_twice():
    """Keras 2.13 lists a layer with variables twice; a layer stored elsewhere leaves its two counts free."""
    assert _match([OWN, PERHAPS, OWN], "dense dense_4", steps=2) == ({0: "dense", 2: "dense_4"}, set())


def test_other_classes_do_not_count():
    """A class whose name begins like another one has groups of its own."""
    layers = [Listed((name, name), 1, False, True) for name in ("dense", "dense_flipout", "dense")]
    expected = {0: "dense", 1: "dense_flipout", 2: "dense_1"}
    assert match_keys(layers, {"dense", "dense_1", "dense_flipout"}) == (expected, set())


def test_endless_readings_are_not_tried():
    """Of very many layers that may be elsewhere, none is told apart."""
    assert _match([PERHAPS] * 400, " ".join(["dense", *(f"dense_{n}" for n in range(1, 200))])) == ({}, set(range(400)))
