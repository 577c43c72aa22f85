import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sentidistill.sources.apportionment import apportion


@pytest.mark.parametrize(
    ("total", "weights", "caps", "parts"),
    [
        (24, [1] * 40, [99] * 40, [1] * 24 + [0] * 16),
        (10, [3, 1], [99, 99], [8, 2]),
        (10, [3, 1], [5, 99], [5, 5]),
        (10, [3, 1], [5, 2], [5, 2]),
        (10, [3, 2, 1], [2, 99, 99], [2, 5, 3]),
        (5, [1, 0, 0], [99, 99, 99], [5, 0, 0]),
        (5, [1, 0, 0], [1, 99, 99], [1, 2, 2]),
        (3, [0, 0], [99, 99], [2, 1]),
        (0, [1, 1], [9, 9], [0, 0]),
        (7, [], [], []),
    ],
)
def test_a_number_is_shared_out_by_largest_remainders(total, weights, caps, parts):
    assert apportion(total, weights, caps) == parts


@settings(max_examples=100, deadline=None)
@given(
    st.integers(0, 500),
    st.lists(st.tuples(st.floats(0, 1e6) | st.integers(0, 3), st.integers(0, 60)), max_size=30),
)
def test_the_sum_is_exact_no_cap_is_passed_and_more_weight_never_gets_less(total, parts):
    weights, caps = [weight for weight, _ in parts], [cap for _, cap in parts]
    got = apportion(total, weights, caps)
    assert sum(got) == min(total, sum(caps))
    assert all(0 <= number <= cap for number, cap in zip(got, caps))
    for heavy, more, room in zip(weights, got, caps):
        for light, less in zip(weights, got):
            # One for the remainders, which go to the earlier ones.
            assert not (heavy > light and more < less - 1 and more < room)


@given(st.integers(0, 300), st.lists(st.integers(0, 9), min_size=1).filter(any))
def test_no_part_is_one_or_more_away_from_its_exact_share(total, weights):
    for part, weight in zip(apportion(total, weights, [10**6] * len(weights)), weights):
        assert abs(part - total * weight / sum(weights)) < 1
