"""Batches by length: every index once, and similar lengths together.

Chance has a say in who meets whom.
"""

import random

import torch
from otter.test_files import test_case

from attend.grading.expect import UnusableAnswerError

OK_FORMAT = False
name = "q1"
points = None


def seeded(seed: int = 0) -> torch.Generator:
    """A source of random numbers that starts anew."""
    return torch.Generator().manual_seed(seed)


def mixed(count: int) -> list[int]:
    """The lengths 1 to `count`, each once, in a fixed order.

    The order is neither up nor down.
    """
    return [17 * i % count + 1 for i in range(count)]


def run(
    bucketed, lengths, batch_size, bucket, generator=None
) -> list[list[int]]:
    """Make batches, and return them if they are lists of whole numbers."""
    got = bucketed(list(lengths), batch_size, bucket, generator or seeded())
    if got is None:
        raise UnusableAnswerError(
            "expected a list of batches, got None: is a `return` missing?"
        )
    if not isinstance(got, list) or not all(
        isinstance(batch, list) for batch in got
    ):
        inner = (
            f" of {type(got[0]).__name__}"
            if isinstance(got, list) and got
            else ""
        )
        raise UnusableAnswerError(
            "expected a list with one list of indices for each batch, got a "
            f"{type(got).__name__}{inner}; `.tolist()` turns a tensor into "
            "lists"
        )
    if strange := [
        index for batch in got for index in batch if not isinstance(index, int)
    ]:
        raise UnusableAnswerError(
            "expected plain integers as indices, got a "
            f"{type(strange[0]).__name__}: `.tolist()` makes them"
        )
    return got


def spread(lengths: list[int], batch: list[int]) -> int:
    """How much longer the longest of a batch is than the shortest."""
    ours = [lengths[index] for index in batch]
    return max(ours) - min(ours)


@test_case(
    points=1,
    failure_message=(
        "Your batches hold numbers that are no index. Did you return the "
        "lengths themselves? The caller wants to know *which* sequences go "
        "together: indices from 0 to len(lengths) − 1."
    ),
)
def test_batches_hold_indices(bucketed):
    got = run(bucketed, [50, 20, 40, 30], 2, 2)
    strange = [index for batch in got for index in batch if not 0 <= index < 4]
    assert not strange, (
        f"lengths [50, 20, 40, 30]: expected indices from 0 to 3, got {got}"
    )


@test_case(
    points=1,
    failure_message=(
        "An index comes twice. Did you draw with replacement, as "
        "`torch.randint` does? `torch.randperm` deals out every index once, "
        "like cards. Or do your slices overlap?"
    ),
)
def test_no_index_comes_twice(bucketed):
    flat = sum(run(bucketed, mixed(23), 4, 2), [])
    twice = sorted({index for index in flat if flat.count(index) > 1})
    assert not twice, (
        f"23 lengths, batch_size 4, bucket 2: twice or more often came {twice}"
    )


@test_case(
    points=1,
    failure_message=(
        "Some indices are in no batch. Did you drop the last batch, or the "
        "last chunk, because it is smaller? Those sequences would be missing "
        "from this epoch."
    ),
)
def test_no_index_is_left_out(bucketed):
    flat = sum(run(bucketed, mixed(23), 4, 2), [])
    missing = sorted(set(range(23)) - set(flat))
    assert not missing, (
        f"23 lengths, batch_size 4, bucket 2: in no batch are {missing}"
    )


@test_case(
    points=1,
    failure_message=(
        "Your batches have the wrong sizes. All must have `batch_size` "
        "indices but one, which may be smaller. Is your chunk `bucket` "
        "indices long? It holds `bucket` *batches*, that is `bucket * "
        "batch_size` indices."
    ),
)
def test_sizes_of_the_batches(bucketed):
    sizes = sorted(len(batch) for batch in run(bucketed, mixed(29), 4, 3))
    assert sizes == [1, 4, 4, 4, 4, 4, 4, 4], (
        "29 lengths, batch_size 4, bucket 3: expected 7 batches of 4 and one "
        f"of 1, got sizes {sizes}"
    )


@test_case(
    points=1,
    failure_message=(
        "A larger `bucket` puts lengths further apart. Did you cut into "
        "`bucket` chunks? It says how many batches one chunk holds: with "
        "`bucket` 1 every chunk is a single batch, and sorting it changes "
        "nothing. Or did you sort everything, and shuffle within the chunks?"
    ),
)
def test_bucket_is_the_size_of_a_chunk(bucketed):
    lengths = mixed(120)
    means = []
    for bucket in (1, 40):
        got = run(bucketed, lengths, 3, bucket)
        means.append(sum(spread(lengths, batch) for batch in got) / len(got))
    assert not (means[0] < 10 and means[1] > 30), (
        "120 different lengths, batch_size 3, mean of longest − shortest: "
        "expected about 60 for bucket 1 and 2 for bucket 40, got "
        f"{means[0]:.1f} and {means[1]:.1f}"
    )


@test_case(
    points=1,
    failure_message=(
        "Lengths within a batch are far apart. Is a chunk sorted, and by its "
        "lengths? `sort()` alone sorts the indices; it needs a `key`. And "
        "nothing may mix the indices afterwards."
    ),
)
def test_similar_lengths_together(bucketed):
    lengths = mixed(20)
    widest = max(
        spread(lengths, batch) for batch in run(bucketed, lengths, 4, 5)
    )
    assert widest == 3, (
        "the lengths 1 to 20 in one chunk of 5 batches of 4: expected "
        f"neighbours in each batch, longest − shortest = 3, got up to {widest}"
    )


@test_case(
    points=1,
    failure_message=(
        "The batches of a chunk come in order of length, so the model sees "
        "all short sequences first. Shuffle the batches after sorting: their "
        "order, not what is in them."
    ),
)
def test_batches_in_random_order(bucketed):
    lengths = mixed(60)
    longest = [
        max(lengths[i] for i in batch)
        for batch in run(bucketed, lengths, 3, 20)
    ]
    in_order = longest in (sorted(longest), sorted(longest, reverse=True))
    assert not in_order, (
        "60 lengths in one chunk of 20 batches: the longest of each batch is "
        f"{str(longest[:6])[:-1]}, …]"
    )


@test_case(
    points=1,
    failure_message=(
        "Two epochs from one generator are the same, batch by batch. Did you "
        "seed it again inside the function, or seed another one? Use it as "
        "it comes: it goes on by itself."
    ),
)
def test_generator_goes_on(bucketed):
    generator = seeded()
    first, second = (
        run(bucketed, mixed(60), 3, 4, generator) for _ in range(2)
    )
    assert first != second, f"both epochs begin with the batch {first[0]}"


@test_case(
    points=1,
    failure_message=(
        "Every epoch has the same batches, only in another order. Did you "
        "sort all lengths at once? Shuffle the indices first, then sort each "
        "chunk by itself."
    ),
)
def test_new_neighbours_every_epoch(bucketed):
    lengths = mixed(120)
    first, second = (
        {
            frozenset(batch)
            for batch in run(bucketed, lengths, 3, 4, seeded(seed))
        }
        for seed in (1, 2)
    )
    same = len(first & second)
    assert same <= 10, (
        f"120 lengths, two epochs: expected new batches, {same} of 40 are the "
        "same"
    )


@test_case(
    points=1,
    failure_message=(
        "Twice the same generator, and two different results. Did you pass "
        "`generator` on to every function that draws? `random.shuffle` does "
        "not know it, and neither does a plain `torch.randperm(n)`."
    ),
)
def test_uses_the_generator(bucketed):
    epochs = []
    for seed in (1, 2):
        random.seed(seed)
        torch.manual_seed(seed)
        epochs.append(run(bucketed, mixed(60), 3, 4))
    assert epochs[0] == epochs[1], (
        f"the same seed twice: the first batch is {epochs[0][0]} once and "
        f"{epochs[1][0]} once"
    )
