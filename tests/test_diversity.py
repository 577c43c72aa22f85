import numpy as np
import pytest

from sentidistill.construct.diversity import covered, distinct_n, named, read_counts, spread
from sentidistill.errors import SentiDistillError


def test_repetition_lowers_distinct_n_and_size_alone_does_not_count():
    varied = [f"word{3 * i} word{3 * i + 1} word{3 * i + 2}" for i in range(20)]
    assert distinct_n(varied, 1, 10, seed=0) == distinct_n(varied, 2, 10, seed=0) == 1.0
    assert distinct_n(["say it again"] * 20, 1, 10, seed=0) == pytest.approx(3 / 30)
    assert distinct_n(["say it again"] * 5 + varied, 1, 10, seed=1) == distinct_n(
        ["say it again"] * 5 + varied, 1, 10, seed=1
    )


def test_spread_is_the_mean_distance_of_pairs():
    points = np.array([[1, 0], [0, 1], [-1, 0]], dtype=np.float32)
    assert spread(points) == pytest.approx((1 + 2 + 1) / 3)
    assert spread(points[:1]) == 0.0


def test_an_attribute_is_covered_by_its_nearest_instruction():
    attributes, instructions = np.eye(3), np.array([[0.8, 0.6, 0.0]])
    assert covered(attributes, instructions, 0.7).tolist() == [True, False, False]
    assert covered(attributes, instructions, 0.5).tolist() == [True, True, False]


def test_an_attribute_is_named_by_its_whole_name_in_any_case():
    names = ["hope", "call to action", "art", "c++"]
    assert named(names, ["Hope or fear?", "Which call to action is it?", "the start"]).tolist() == [
        True,
        True,
        False,
        False,
    ]


def test_attributes_of_a_file_and_the_count_that_is_wrong(tmp_path):
    path = tmp_path / "attributes.tsv"
    path.write_text("attribute\tcount\ntone\t11702\nirony, dry\t3\n")
    assert [(one.name, one.count) for one in read_counts(path)] == [("tone", 11702), ("irony, dry", 3)]
    path.write_text("attribute\tcount\ntone\tmany\n")
    with pytest.raises(SentiDistillError, match=r"attributes\.tsv, line 2: the count of 'tone' is 'many'"):
        read_counts(path)
