"""Batches by length: every index once, and similar lengths together.

Chance has a say in who meets whom. In one chunk nothing is left to it but the
order of the batches. Of several chunks one thing is known: the two shortest
sequences are in one batch just if they are in one chunk.
"""

import math
import random

import numpy as np
import torch
from otter.test_files import test_case

from attend.grading import Question, Seen, Share, UnusableAnswerError

OK_FORMAT = False
name = "q1"
points = None

QUESTION = Question("bucketed")


# --- Helpers of the answers


def cut(items, size):
    return [items[start : start + size] for start in range(0, len(items), size)]


def shuffled(items, generator):
    order = torch.randperm(len(items), generator=generator).tolist()
    return [items[place] for place in order]


def by_length(lengths, indices):
    return sorted(indices, key=lambda index: lengths[index])


def indices(lengths, generator):
    return shuffled(range(len(lengths)), generator)


def sorted_chunks(order, lengths, batch_size, size):
    """The batches of each chunk, short ones first."""
    return [
        cut(by_length(lengths, chunk), batch_size) for chunk in cut(order, size)
    ]


def usual(order, lengths, batch_size, size):
    """All batches in a row, chunk by chunk."""
    return sum(sorted_chunks(order, lengths, batch_size, size), [])


def python_shuffled(items):
    return random.sample(list(items), len(items))


def numpy_shuffled(items):
    return [items[place] for place in np.random.permutation(len(items))]


# --- Answers


@QUESTION.reference
def bucketed(lengths, batch_size, bucket, generator):
    order = torch.randperm(len(lengths), generator=generator).tolist()
    size = bucket * batch_size
    made = []
    for start in range(0, len(order), size):
        chunk = order[start : start + size]
        chunk.sort(key=lambda index: lengths[index])
        for first in range(0, len(chunk), batch_size):
            made.append(chunk[first : first + batch_size])
    places = torch.randperm(len(made), generator=generator).tolist()
    return [made[place] for place in places]


@QUESTION.mistake(
    "Your batches hold lengths. The caller wants to know *which* sequences go "
    "together: return indices, from 0 to len(lengths) − 1."
)
def bucketed(lengths, batch_size, bucket, generator):
    made = []
    for chunk in cut(shuffled(lengths, generator), bucket * batch_size):
        made += cut(sorted(chunk), batch_size)
    return shuffled(made, generator)


@QUESTION.mistake("Your indices count from 1. The first sequence is number 0.")
def bucketed(lengths, batch_size, bucket, generator):
    made = QUESTION.right["bucketed"](lengths, batch_size, bucket, generator)
    return [[index + 1 for index in batch] for batch in made]


@QUESTION.mistake(
    "Your batches are tensors. Return a list of lists of plain numbers: "
    "`.tolist()` turns a tensor into a list."
)
def bucketed(lengths, batch_size, bucket, generator):
    made = QUESTION.right["bucketed"](lengths, batch_size, bucket, generator)
    return [torch.tensor(batch) for batch in made]


@QUESTION.mistake(
    "Your indices are tensors, each of one number. Return plain numbers: "
    "`.tolist()` turns a whole tensor into a list of them."
)
def bucketed(lengths, batch_size, bucket, generator):
    made = QUESTION.right["bucketed"](lengths, batch_size, bucket, generator)
    return [list(torch.tensor(batch)) for batch in made]


@QUESTION.mistake(
    "You return one flat list of indices. Return a list of batches, each a "
    "list of its own."
)
def bucketed(lengths, batch_size, bucket, generator):
    made = QUESTION.right["bucketed"](lengths, batch_size, bucket, generator)
    return sum(made, [])


@QUESTION.mistake(
    "Some indices come twice, and others never, as if they were drawn with "
    "replacement. `torch.randperm` deals out every index once, like cards; "
    "`torch.randint` does not."
)
def bucketed(lengths, batch_size, bucket, generator):
    size = len(lengths)
    order = torch.randint(size, (size,), generator=generator).tolist()
    made = usual(order, lengths, batch_size, bucket * batch_size)
    return shuffled(made, generator)


@QUESTION.mistake(
    "Of equal lengths some indices come twice, and others never. "
    "`lengths.index(…)` always finds the first of them. Sort the indices, with "
    "a `key`, and not the lengths."
)
def bucketed(lengths, batch_size, bucket, generator):
    made = QUESTION.right["bucketed"](lengths, batch_size, bucket, generator)
    return [[lengths.index(lengths[i]) for i in batch] for batch in made]


@QUESTION.mistake(
    "A batch that is smaller than batch_size is dropped. Its sequences would "
    "be missing from this epoch: keep it, smaller as it is."
)
def bucketed(lengths, batch_size, bucket, generator):
    made = QUESTION.right["bucketed"](lengths, batch_size, bucket, generator)
    return [batch for batch in made if len(batch) == batch_size]


@QUESTION.mistake(
    "A batch that is smaller than batch_size is filled up with indices that it "
    "has already. Each index comes once: leave the batch as small as it is."
)
def bucketed(lengths, batch_size, bucket, generator):
    made = QUESTION.right["bucketed"](lengths, batch_size, bucket, generator)
    return [[*batch, *batch[-1:] * (batch_size - len(batch))] for batch in made]


@QUESTION.mistake(
    "What is left over at the end makes another batch larger than batch_size. "
    "Let it be a batch of its own, smaller than the others."
)
def bucketed(lengths, batch_size, bucket, generator):
    order = indices(lengths, generator)
    made = usual(order, lengths, batch_size, bucket * batch_size)
    if len(made) > 1 and len(made[-1]) < batch_size:
        made[-2:] = [made[-2] + made[-1]]
    return shuffled(made, generator)


@QUESTION.mistake(
    "The last chunk is dropped where it is smaller than the others. Its "
    "sequences would be missing from this epoch: keep it, smaller as it is."
)
def bucketed(lengths, batch_size, bucket, generator):
    size, order = bucket * batch_size, indices(lengths, generator)
    order = order[: len(order) // size * size]
    return shuffled(usual(order, lengths, batch_size, size), generator)


@QUESTION.mistake(
    "A single index that is left over is dropped. `range(0, n, size)` stops "
    "before n, and that is right: not before n − 1."
)
def bucketed(lengths, batch_size, bucket, generator):
    size, order = bucket * batch_size, indices(lengths, generator)
    if len(order) % size == 1:
        order = order[:-1]
    return shuffled(usual(order, lengths, batch_size, size), generator)


@QUESTION.mistake(
    "Your chunk is `bucket` indices long. It holds `bucket` *batches*: that is "
    "`bucket * batch_size` indices."
)
def bucketed(lengths, batch_size, bucket, generator):
    order = indices(lengths, generator)
    return shuffled(usual(order, lengths, batch_size, bucket), generator)


@QUESTION.mistake(
    "Your chunk holds 8 batches, whatever `bucket` is. It must hold `bucket` "
    "of them."
)
def bucketed(lengths, batch_size, bucket, generator):
    order = indices(lengths, generator)
    return shuffled(
        usual(order, lengths, batch_size, 8 * batch_size), generator
    )


@QUESTION.mistake(
    "You cut into `bucket` chunks. It is the other way round: `bucket` says "
    "how many batches one chunk holds. With 1, every chunk is a single batch."
)
def bucketed(lengths, batch_size, bucket, generator):
    size = math.ceil(len(lengths) / batch_size / bucket) * batch_size
    order = indices(lengths, generator)
    return shuffled(usual(order, lengths, batch_size, size), generator)


@QUESTION.mistake(
    "batch_size and bucket have changed places: your batches hold `bucket` "
    "indices."
)
def bucketed(lengths, batch_size, bucket, generator):
    return QUESTION.right["bucketed"](lengths, bucket, batch_size, generator)


@QUESTION.mistake(
    "Your batches are mixed as if no chunk were sorted by length. Sort each "
    "chunk, and mix nothing afterwards but the order of the batches."
)
def bucketed(lengths, batch_size, bucket, generator):
    return cut(indices(lengths, generator), batch_size)


@QUESTION.mistake(
    "Your chunks are sorted by the indices themselves. Sort by the lengths: "
    "`chunk.sort(key=…)`, with a function from an index to its length."
)
def bucketed(lengths, batch_size, bucket, generator):
    made = []
    for chunk in cut(indices(lengths, generator), bucket * batch_size):
        made += cut(sorted(chunk), batch_size)
    return shuffled(made, generator)


@QUESTION.mistake(
    "Your chunks are sorted by lengths that belong to other indices: those at "
    "the same places of `lengths`. The length of an index is "
    "`lengths[index]`."
)
def bucketed(lengths, batch_size, bucket, generator):
    order, size = indices(lengths, generator), bucket * batch_size
    made = []
    for chunk, theirs in zip(cut(order, size), cut(lengths, size), strict=True):
        pairs = sorted(zip(theirs, chunk, strict=True))
        made += cut([index for _, index in pairs], batch_size)
    return shuffled(made, generator)


@QUESTION.mistake(
    "Your chunks are sorted from long to short. The question wants the "
    "shortest first."
)
def bucketed(lengths, batch_size, bucket, generator):
    made = []
    for chunk in cut(indices(lengths, generator), bucket * batch_size):
        made += cut(by_length(lengths, chunk)[::-1], batch_size)
    return shuffled(made, generator)


@QUESTION.mistake(
    "You deal a sorted chunk out among its batches, so each has short and long "
    "sequences. Cut it into pieces of neighbours."
)
def bucketed(lengths, batch_size, bucket, generator):
    made = []
    for chunk in cut(indices(lengths, generator), bucket * batch_size):
        chunk = by_length(lengths, chunk)
        count = math.ceil(len(chunk) / batch_size)
        made += [chunk[place::count] for place in range(count)]
    return shuffled(made, generator)


@QUESTION.mistake(
    "The batches of a chunk come in order of length, one chunk after the "
    "other, so the model sees all short sequences of a chunk first. Shuffle "
    "all batches at the end: their order, not what is in them."
)
def bucketed(lengths, batch_size, bucket, generator):
    order = indices(lengths, generator)
    return usual(order, lengths, batch_size, bucket * batch_size)


@QUESTION.mistake(
    "You shuffle the chunks, and the batches of each stay in order of length. "
    "Shuffle all batches."
)
def bucketed(lengths, batch_size, bucket, generator):
    order = indices(lengths, generator)
    chunks = sorted_chunks(order, lengths, batch_size, bucket * batch_size)
    return sum(shuffled(chunks, generator), [])


@QUESTION.mistake(
    "Batches of one chunk stay together, one chunk after the other: you "
    "shuffle within each chunk. Shuffle all batches at once."
)
def bucketed(lengths, batch_size, bucket, generator):
    order = indices(lengths, generator)
    chunks = sorted_chunks(order, lengths, batch_size, bucket * batch_size)
    return sum((shuffled(chunk, generator) for chunk in chunks), [])


@QUESTION.mistake(
    "Batches of one chunk stay together: you shuffle within each chunk, and "
    "then the chunks. Shuffle all batches at once."
)
def bucketed(lengths, batch_size, bucket, generator):
    order = indices(lengths, generator)
    chunks = sorted_chunks(order, lengths, batch_size, bucket * batch_size)
    chunks = [shuffled(chunk, generator) for chunk in chunks]
    return sum(shuffled(chunks, generator), [])


@QUESTION.mistake(
    "A batch that is smaller than the others always comes last. It may come at "
    "any place, like all others."
)
def bucketed(lengths, batch_size, bucket, generator):
    made = QUESTION.right["bucketed"](lengths, batch_size, bucket, generator)
    return sorted(made, key=lambda batch: len(batch) < batch_size)


@QUESTION.mistake(
    "Every epoch has the same batches in the same order, from the shortest to "
    "the longest of all. Shuffle the indices first, sort each chunk by itself, "
    "and shuffle the batches."
)
def bucketed(lengths, batch_size, bucket, generator):
    return cut(by_length(lengths, range(len(lengths))), batch_size)


@QUESTION.mistake(
    "Every epoch has the same batches, only in another order: you sort all "
    "lengths at once. Shuffle the indices first, then sort each chunk by "
    "itself."
)
def bucketed(lengths, batch_size, bucket, generator):
    order = by_length(lengths, range(len(lengths)))
    return shuffled(cut(order, batch_size), generator)


@QUESTION.mistake(
    "Every epoch has the same batches, only in another order: you cut the "
    "indices into chunks as they come. Shuffle them first."
)
def bucketed(lengths, batch_size, bucket, generator):
    order = range(len(lengths))
    made = usual(order, lengths, batch_size, bucket * batch_size)
    return shuffled(made, generator)


@QUESTION.mistake(
    "You sort everything, and shuffle within the chunks. It is the other way "
    "round: shuffle everything, and sort within the chunks."
)
def bucketed(lengths, batch_size, bucket, generator):
    order = by_length(lengths, range(len(lengths)))
    made = []
    for chunk in cut(order, bucket * batch_size):
        made += cut(shuffled(chunk, generator), batch_size)
    return shuffled(made, generator)


@QUESTION.mistake(
    "You sort everything, and shuffle only within the chunks; nothing shuffles "
    "the batches. It is the other way round: shuffle everything, sort within "
    "the chunks, and shuffle the batches."
)
def bucketed(lengths, batch_size, bucket, generator):
    order = by_length(lengths, range(len(lengths)))
    made = []
    for chunk in cut(order, bucket * batch_size):
        made += cut(shuffled(chunk, generator), batch_size)
    return made


@QUESTION.mistake(
    "Every call makes the same batches, whatever generator it is given. Do you "
    "set a seed inside, or draw from a generator of your own? Use the one you "
    "are given as it comes: it goes on by itself."
)
def bucketed(lengths, batch_size, bucket, generator):
    generator = torch.Generator().manual_seed(0)
    return QUESTION.right["bucketed"](lengths, batch_size, bucket, generator)


@QUESTION.mistake(
    "Two epochs from one generator are the same. Do you begin again with its "
    "seed, or draw from a copy of it? Draw from `generator`: it goes on by "
    "itself."
)
def bucketed(lengths, batch_size, bucket, generator):
    own = random.Random(generator.initial_seed())
    order = own.sample(range(len(lengths)), len(lengths))
    made = usual(order, lengths, batch_size, bucket * batch_size)
    return own.sample(made, len(made))


@QUESTION.mistake(
    "No number comes from `generator`: you shuffle with PyTorch's global "
    "random numbers. Pass it on to both, `torch.randperm(…, "
    "generator=generator)`."
)
def bucketed(lengths, batch_size, bucket, generator):
    return QUESTION.right["bucketed"](lengths, batch_size, bucket, None)


@QUESTION.mistake(
    "You shuffle the indices with PyTorch's global random numbers, and only "
    "the batches with `generator`. Pass it on to both."
)
def bucketed(lengths, batch_size, bucket, generator):
    order = indices(lengths, None)
    made = usual(order, lengths, batch_size, bucket * batch_size)
    return shuffled(made, generator)


@QUESTION.mistake(
    "You shuffle the batches with PyTorch's global random numbers, and only "
    "the indices with `generator`. Pass it on to both."
)
def bucketed(lengths, batch_size, bucket, generator):
    order = indices(lengths, generator)
    made = usual(order, lengths, batch_size, bucket * batch_size)
    return shuffled(made, None)


@QUESTION.mistake(
    "No number comes from `generator`: Python's `random`, with which you "
    "shuffle, does not know it. Shuffle with `torch.randperm`."
)
def bucketed(lengths, batch_size, bucket, generator):
    order = python_shuffled(range(len(lengths)))
    made = usual(order, lengths, batch_size, bucket * batch_size)
    return python_shuffled(made)


@QUESTION.mistake(
    "You shuffle the indices with Python's `random`, which does not know "
    "`generator`. Shuffle them with `torch.randperm`, too."
)
def bucketed(lengths, batch_size, bucket, generator):
    order = python_shuffled(range(len(lengths)))
    made = usual(order, lengths, batch_size, bucket * batch_size)
    return shuffled(made, generator)


@QUESTION.mistake(
    "You shuffle the batches with Python's `random`, which does not know "
    "`generator`. Shuffle them with `torch.randperm`, too."
)
def bucketed(lengths, batch_size, bucket, generator):
    order = indices(lengths, generator)
    made = usual(order, lengths, batch_size, bucket * batch_size)
    return python_shuffled(made)


@QUESTION.mistake(
    "No number comes from `generator`: NumPy's random numbers, with which you "
    "shuffle, do not know it. Shuffle with `torch.randperm`."
)
def bucketed(lengths, batch_size, bucket, generator):
    order = numpy_shuffled(range(len(lengths)))
    made = usual(order, lengths, batch_size, bucket * batch_size)
    return numpy_shuffled(made)


@QUESTION.mistake(
    "You shuffle the indices with NumPy, which does not know `generator`. "
    "Shuffle them with `torch.randperm`, too."
)
def bucketed(lengths, batch_size, bucket, generator):
    order = numpy_shuffled(range(len(lengths)))
    made = usual(order, lengths, batch_size, bucket * batch_size)
    return shuffled(made, generator)


@QUESTION.mistake(
    "You shuffle the batches with NumPy, which does not know `generator`. "
    "Shuffle them with `torch.randperm`, too."
)
def bucketed(lengths, batch_size, bucket, generator):
    order = indices(lengths, generator)
    made = usual(order, lengths, batch_size, bucket * batch_size)
    return numpy_shuffled(made)


# --- Trials


def seeded(seed=0):
    """A source of random numbers that starts anew."""
    return torch.Generator().manual_seed(seed)


def mixed(count):
    """The lengths 1 to `count`, each once, neither up nor down."""
    return [17 * place % count + 1 for place in range(count)]


def made_by(bucketed, lengths, batch_size, bucket, generator):
    return usable(bucketed(list(lengths), batch_size, bucket, generator))


def usable(got):
    """The batches, if they are lists of plain whole numbers."""
    wanted = "expected a list with one list of plain indices for each batch"
    if not isinstance(got, list):
        end = ". Is a `return` missing?" if got is None else ""
        raise UnusableAnswerError(f"{wanted}, got a {type(got).__name__}{end}")
    for batch in got:
        if not isinstance(batch, list):
            raise UnusableAnswerError(
                f"{wanted}, got a list of {type(batch).__name__}"
            )
        for index in batch:
            if type(index) is not int:
                raise UnusableAnswerError(
                    f"{wanted}, got a list of lists of {type(index).__name__}"
                )
    return got


def some_epochs(bucketed, lengths, batch_size, bucket):
    """A few epochs in a row, from one generator."""
    generator = seeded()
    return [
        usable(bucketed(lengths, batch_size, bucket, generator))
        for _ in range(16)
    ]


def always(values):
    """What is the same in all epochs, or a word for what is not."""
    first, *others = values
    same = all(value == first for value in others)
    return first if same else ["others in each epoch"]


def one_chunk(part, lengths, batch_size, bucket, rule=""):
    """Register lengths that make one chunk: the batches are known."""
    label = f"lengths {lengths}, batch_size {batch_size}, bucket {bucket}"

    @QUESTION.trial(part, label, rule)
    def trial(bucketed):
        given = list(lengths)
        found = some_epochs(bucketed, given, batch_size, bucket)
        return Seen(
            {
                "the batches, whatever their order": always(map(sorted, found)),
                "lengths afterwards": given,
            }
        )


def whole(part, count, batch_size, bucket, rule=""):
    """Register lengths of which each must come once."""
    label = f"{count} lengths, batch_size {batch_size}, bucket {bucket}"

    @QUESTION.trial(part, label, rule)
    def trial(bucketed):
        found = some_epochs(bucketed, mixed(count), batch_size, bucket)
        flat, right = [sum(made, []) for made in found], range(count)
        return Seen(
            {
                "in no batch": always([*{*right} - {*row}] for row in flat),
                "more than once": always(
                    sorted({index for index in row if row.count(index) > 1})
                    for row in flat
                ),
                "no index at all": always([*{*row} - {*right}] for row in flat),
                "the sizes of the batches": always(
                    sorted(map(len, made)) for made in found
                ),
            }
        )


EPOCHS = 500


def epochs(bucketed, lengths, batch_size, bucket):
    """Many epochs in a row, from one generator, unless all are the same."""
    generator = seeded(3)
    found = []
    for _ in range(EPOCHS):
        found.append(made_by(bucketed, lengths, batch_size, bucket, generator))
        if len(found) == 9 and all(made == found[0] for made in found):
            raise UnusableAnswerError("all epochs from one generator are equal")
    return found


def meeting(part, order, lengths, batch_size, bucket, rule):
    """Register how often the two shortest are in one batch.

    They are if they are in one chunk. All chunks must be full.
    """
    size, count = bucket * batch_size, len(lengths)
    assert size >= count or count % size == 0
    first, second = by_length(lengths, range(count))[:2]
    label = (
        f"the lengths 1 to {count} in {order} order, batch_size {batch_size}, "
        f"bucket {bucket}, in {EPOCHS} epochs from one generator"
    )

    @QUESTION.trial(part, label, rule)
    def trial(bucketed):
        found = sum(
            first in batch and second in batch
            for made in epochs(bucketed, lengths, batch_size, bucket)
            for batch in made
        )
        p = min(size - 1, count - 1) / (count - 1)
        return Seen({"the two shortest in one batch": Share(found, EPOCHS, p)})


def places(part, count, batch_size, bucket, which, rule):
    """Register where a batch comes: the shortest one, or the smallest."""
    lengths = mixed(count)
    batches = math.ceil(count / batch_size)
    shortest = lengths.index(1)
    label = (
        f"the lengths 1 to {count} in mixed order, batch_size {batch_size}, "
        f"bucket {bucket}, in {EPOCHS} epochs from one generator"
    )

    @QUESTION.trial(part, label, rule)
    def trial(bucketed):
        found = [0] * batches
        for made in epochs(bucketed, lengths, batch_size, bucket):
            for place, batch in enumerate(made[:batches]):
                found[place] += (
                    shortest in batch
                    if which == "the shortest sequence"
                    else len(batch) < batch_size
                )
        return Seen(
            {
                f"{which} in batch {place}": Share(number, EPOCHS, 1 / batches)
                for place, number in enumerate(found)
            }
        )


one_chunk("idea", [2, 9, 3, 8], 2, 2)
one_chunk("idea", [50, 20, 40, 30, 10, 60], 2, 3)
whole("idea", 24, 4, 3)


@QUESTION.trial(
    "idea",
    "the lengths 1 to 60 in mixed order, batch_size 3, bucket 4 or 20",
    "Every random number must come from the generator, as it comes.",
)
def trial(bucketed):
    def run(generator):
        return made_by(bucketed, mixed(60), 3, 4, generator)

    def one_chunk_only(generator):  # so that only the order is random
        return made_by(bucketed, mixed(60), 3, 20, generator)

    generator = seeded(1)
    first, second = run(generator), run(generator)
    order = one_chunk_only(seeded(1))
    other = run(seeded(2))
    longest = [max(17 * i % 60 for i in [0, *batch]) for batch in first]
    for source in (random.seed, np.random.seed, torch.manual_seed):
        source(7)
    before = torch.get_rng_state(), random.getstate()
    numpy_before = np.random.get_state()[1:3]
    again = run(seeded(1))
    torch_kept = torch.equal(before[0], torch.get_rng_state())
    numpy_after = np.random.get_state()[1:3]
    numpy_kept = bool(
        (numpy_before[0] == numpy_after[0]).all()
        and numpy_before[1] == numpy_after[1]
    )
    return Seen(
        {
            "a second epoch from one generator is another": first != second,
            "another seed gives another epoch": first != other,
            "the batches come in order of length": (longest == sorted(longest)),
            "the same seed gives the same batches": (
                sorted(first) == sorted(again)
            ),
            "the same seed gives the same order": (
                one_chunk_only(seeded(1)) == order
            ),
            "PyTorch's global random numbers are untouched": torch_kept,
            "Python's random numbers are untouched": (
                before[1] == random.getstate()
            ),
            "NumPy's random numbers are untouched": numpy_kept,
        }
    )


meeting(
    "idea",
    "mixed",
    mixed(30),
    3,
    2,
    "How often two sequences meet is wrong. Is a chunk `bucket * batch_size` "
    "of the shuffled indices, sorted by length?",
)
places(
    "idea",
    12,
    3,
    4,
    "the shortest sequence",
    "The batches must come in random order.",
)
one_chunk(
    "edges", [5, 9, 4, 7, 6], 2, 3, "The last batch of a chunk may be smaller."
)
one_chunk("edges", [7, 3, 5], 1, 3, "A batch may hold one sequence.")
one_chunk("edges", [7], 3, 2, "There may be one sequence.")
one_chunk("edges", [7, 5, 6], 5, 11, "A batch may be larger than all data.")
whole("edges", 23, 4, 2, "The last chunk and its last batch may be smaller.")
whole("edges", 29, 4, 3, "The last chunk and its last batch may be smaller.")
whole("edges", 25, 2, 6, "The last chunk may be a single sequence.")
whole("edges", 21, 5, 2, "The last chunk may be a single sequence.")
whole("edges", 11, 3, 1, "bucket may be 1.")
whole("edges", 13, 1, 1, "batch_size and bucket may be 1.")


@QUESTION.trial(
    "edges",
    "lengths [5, 3, 5, 3, 5, 3, 5, 3], batch_size 2, bucket 4",
    "Lengths may be equal.",
)
def trial(bucketed):
    lengths = [5, 3] * 4
    found = some_epochs(bucketed, lengths, 2, 4)
    return Seen(
        {
            "the indices": always(sorted(sum(made, [])) for made in found),
            "the lengths in each batch": always(
                sorted([lengths[i % 8] for i in batch] for batch in made)
                for made in found
            ),
        }
    )


meeting(
    "edges",
    "rising",
    [*range(1, 61)],
    2,
    2,
    "Every two sequences must meet as often, neighbours in the list as well.",
)
meeting(
    "edges",
    "mixed",
    mixed(30),
    3,
    1,
    "With bucket 1 a chunk is one batch, so sorting it changes nothing.",
)
meeting("edges", "mixed", mixed(60), 2, 10, "A chunk holds `bucket` batches.")
meeting(
    "edges",
    "mixed",
    mixed(20),
    2,
    37,
    "A chunk may be larger than all data.",
)
places(
    "edges",
    13,
    3,
    2,
    "the smaller batch",
    "All batches are shuffled together, the smaller one as well.",
)
places(
    "edges",
    17,
    3,
    3,
    "the smaller batch",
    "All batches are shuffled together, the smaller one as well.",
)
places(
    "edges",
    7,
    2,
    1,
    "the smaller batch",
    "All batches are shuffled together, the smaller one as well.",
)


@test_case(points=6)
def test_idea(bucketed):
    QUESTION.check("idea", bucketed)


@test_case(points=4)
def test_edges(bucketed):
    QUESTION.check("idea edges", bucketed)
