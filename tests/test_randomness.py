"""The two generators: Threefry against published answers and a second implementation, Philox against TensorFlow."""

import numpy as np
import pytest
import tensorflow as tf

from efficientnet_advprop import threefry
from efficientnet_advprop.randomness import (
    choice,
    dropout,
    fold,
    fold_each,
    normal,
    permutation,
    replica_seed,
    run_seed,
    split,
    uniform,
)

KEY = tf.constant([0x13198A2E, 0x03707344], tf.uint32)
SEED = tf.constant([3, 4], tf.int32)


def cipher(key: tuple[int, int], counter: tuple[int, int]) -> tuple[int, int]:
    """Threefry-2x32-20 in Python's integers, round by round from the paper."""
    keys = [*key, 0x1BD11BDA ^ key[0] ^ key[1]]
    left, right = ((word + extra) % 2**32 for word, extra in zip(counter, keys[:2], strict=True))
    rotations = [13, 15, 26, 6, 17, 29, 16, 24]
    for number in range(20):
        bits = rotations[number % 8]
        left = (left + right) % 2**32
        right = left ^ ((right << bits | right >> (32 - bits)) % 2**32)
        if number % 4 == 3:
            place = number // 4 + 1
            left = (left + keys[place % 3]) % 2**32
            right = (right + keys[(place + 1) % 3] + place) % 2**32
    return left, right


# Of Random123 (kat_vectors, threefry2x32 with 20 rounds).
@pytest.mark.parametrize(
    ("key", "counter", "answer"),
    [
        ((0, 0), (0, 0), (0x6B200159, 0x99BA4EFE)),
        ((2**32 - 1,) * 2, (2**32 - 1,) * 2, (0x1CB996FC, 0xBB002BE7)),
        ((0x13198A2E, 0x03707344), (0x243F6A88, 0x85A308D3), (0xC4923A9C, 0x483DF7A0)),
    ],
)
def test_known_answers_of_threefry(key, counter, answer):
    first, second = threefry.block(tf.constant(key, tf.uint32), *(tf.constant(word, tf.uint32) for word in counter))
    assert (int(first), int(second)) == answer == cipher(key, counter)


def test_seeds_of_many_places_are_those_of_each():
    seed, places = tf.constant([-3, 2**31 - 1]), [0, 1, 5, 2**31 - 1]
    expected = [fold(seed, place) for place in places]
    np.testing.assert_array_equal(fold_each(seed, tf.constant(places, tf.int64)), expected)


def test_folding_equals_that_of_jax():
    folded = fold(tf.constant([1, 2], tf.uint32), 7)
    np.testing.assert_array_equal(folded, [3427225942, 3095793599])  # of jax.random.fold_in of JAX 0.12.0


@pytest.mark.parametrize("shape", [(2, 3, 5, 3), (4, 1, 1, 1), (3, 7), (5,)])
def test_random_bits_count_rows_and_columns(shape):
    half = len(shape) // 2
    rows, columns = int(np.prod(shape[:half])), int(np.prod(shape[half:]))
    pairs = [[cipher((9, 8), (row, column)) for column in range((columns + 1) // 2)] for row in range(rows)]
    expected = np.concatenate([np.array(pairs)[..., word] for word in (0, 1)], axis=1)[:, :columns]
    bits = threefry.random_bits(shape, tf.constant([9, 8], tf.uint32))
    np.testing.assert_array_equal(bits, expected.reshape(shape))


def test_threefry_is_the_same_in_eager_graph_and_xla():
    def draw(key, batch):
        shape = tf.stack([batch, 6, 5, 3])
        return uniform(shape, key), dropout(tf.ones([batch, 7]), 0.3, key), choice(tf.ones([batch, 9]) > 0, key)

    expected = draw(KEY, 4)
    for compiled in (False, True):
        traced = tf.function(lambda key: draw(key, 4), jit_compile=compiled)(KEY)
        tf.nest.map_structure(np.testing.assert_array_equal, traced, expected)
    unknown_batch = tf.function(draw)(KEY, tf.constant(4))
    tf.nest.map_structure(np.testing.assert_array_equal, unknown_batch, expected)


@pytest.mark.parametrize("seed", [SEED, KEY], ids=["philox", "threefry"])
def test_distributions(seed):
    count = 40_000
    numbers = uniform([200, 200], seed, -3.0, 5.0).numpy().ravel()
    assert numbers.min() >= -3 and numbers.max() < 5
    # Kolmogorov and Smirnov: the largest distance from the distribution is below 1.95 / sqrt(n) with probability 0.999.
    limit = 1.95 / np.sqrt(count)
    ranks = np.arange(count) / count
    assert np.abs(np.sort((numbers + 3) / 8) - ranks).max() < limit
    normals = np.sort(normal([200, 200], seed).numpy().ravel())
    assert np.abs(0.5 * (1 + tf.math.erf(normals / np.sqrt(2))) - ranks).max() < limit
    assert np.isfinite(normals).all()
    kept = dropout(tf.ones([200, 200], tf.bfloat16), 0.3, seed)
    assert kept.dtype == tf.bfloat16
    assert np.mean(kept > 0) == pytest.approx(0.7, abs=0.01)
    assert np.mean(tf.cast(kept, tf.float32)) == pytest.approx(1, abs=0.02)
    chosen = choice(tf.tile([[True, False, True, True]], [count, 1]), seed).numpy()
    np.testing.assert_allclose(np.bincount(chosen, minlength=4) / count, [1 / 3, 0, 1 / 3, 1 / 3], atol=0.01)
    np.testing.assert_array_equal(np.sort(permutation(50, seed)), np.arange(50))
    assert not np.array_equal(permutation(50, seed), np.arange(50))


@pytest.mark.parametrize("seed", [SEED, KEY], ids=["philox", "threefry"])
def test_places_and_halves_of_a_seed_are_unrelated(seed):
    derived = [fold(seed, 0), fold(seed, 1), fold(seed, 0, 0), *split(fold(seed, 2))]
    assert all(one.dtype == seed.dtype and one.shape == [2] for one in derived)
    drawn = np.stack([uniform([1000], one) for one in derived])
    correlations = np.corrcoef(drawn) - np.eye(len(derived))
    assert np.abs(correlations).max() < 0.13  # 4 standard errors


def test_dropout_over_whole_examples_drops_infinite_values_too():
    values = tf.fill([64, 3, 5], np.inf)
    dropped = dropout(values, 0.5, KEY, [64, 1, 1]).numpy()
    assert set(np.unique(dropped)) == {0, np.inf}
    assert (dropped == dropped[:, :1, :1]).all()


def test_philox_is_tensorflows():
    """Runs that began with it go on with the same numbers."""
    run = run_seed(5, "philox")
    step = tf.constant(7, tf.int64)
    expected = tf.constant([5, 0])
    for place in (7, 0):
        expected = tf.random.experimental.stateless_fold_in(expected, place)
    seed = replica_seed(run, step)
    np.testing.assert_array_equal(seed, expected)
    np.testing.assert_array_equal(uniform([4, 5], seed, -1.0, 3.0), tf.random.stateless_uniform([4, 5], seed, -1, 3))
    np.testing.assert_array_equal(normal([4, 5], seed), tf.random.stateless_normal([4, 5], seed))
    ones = tf.ones([4, 5])
    np.testing.assert_array_equal(dropout(ones, 0.5, seed), tf.nn.experimental.stateless_dropout(ones, 0.5, seed))
    np.testing.assert_array_equal(permutation(9, seed), tf.random.experimental.stateless_shuffle(tf.range(9), seed))
    np.testing.assert_array_equal(
        choice(ones > 0, seed), tf.random.stateless_categorical(tf.zeros([4, 5]), 1, seed)[:, 0]
    )
