"""Where loops of steps end: short at the start of a run, and a function of the step alone."""

import itertools

import hypothesis
from hypothesis import strategies as st

from efficientnet_advprop.training.loop import end_of_loop


def ends(iterations_per_loop: int, start: int, last: int, forced: int) -> list[int]:
    """Ends of all loops from a step on, with an evaluation every `forced` steps."""
    found, step = [], start
    while step < last:
        step = min(end_of_loop(step, iterations_per_loop), (step // forced + 1) * forced, last)
        found.append(step)
    return found


def test_imagenet_shows_its_first_steps():
    assert ends(64, 0, 300, 10_000) == [1, 2, 4, 8, 16, 32, 64, 128, 192, 256, 300]
    assert ends(15, 0, 90, 30) == [1, 2, 4, 8, 15, 30, 45, 60, 75, 90]
    assert ends(1, 0, 3, 3) == [1, 2, 3]


@hypothesis.given(length=st.integers(1, 100), last=st.integers(1, 400), forced=st.integers(1, 200), data=st.data())
@hypothesis.settings(max_examples=200, deadline=None)
def test_loops_are_short_at_first_and_the_same_after_a_resume(length, last, forced, data):
    whole = ends(length, 0, last, forced)
    for start, end in itertools.pairwise([0, *whole]):
        assert 1 <= end - start <= min(length, max(1, start))  # at most as many as are done
    assert set(range(forced, last + 1, forced)) | {last} <= set(whole)
    resumed_at = data.draw(st.sampled_from([0, *whole]))
    assert ends(length, resumed_at, last, forced) == [end for end in whole if end > resumed_at]


@hypothesis.given(length=st.integers(1, 100), loops=st.integers(1, 5), later=st.integers(0, 400))
@hypothesis.settings(max_examples=100, deadline=None)
def test_after_the_start_loops_end_at_multiples_of_their_length(length, loops, later):
    """As they all did before the first loops were shortened: lines of long runs are at the same steps."""
    last = length * loops + later
    after = [end for end in ends(length, 0, last, last) if end >= length]
    assert after == [*range(length, last, length), last]
