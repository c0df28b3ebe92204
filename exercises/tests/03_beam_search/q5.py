"""Best-first search on a Markov table: what is popped first is best."""

import heapq
import math
from unittest import mock

import torch
from otter.test_files import test_case

from attend.grading import Question, UnusableAnswerError, numbers
from attend.grading.battery import results

OK_FORMAT = False
name = "q5"
points = None

QUESTION = Question(
    "best_first",
    returns={"the tokens": "", "the log-probability": ""},
    without=("float16",),  # other sums of rounded numbers win
)
MOST_POPS = 1000


# --- Answers


@QUESTION.reference
def best_first(table, bos_id, eos_id, max_length):
    heap = [(0.0, [bos_id])]
    while True:
        cost, ids = heapq.heappop(heap)
        if ids[-1] == eos_id:
            return ids[1:], -cost
        if len(ids) - 1 < max_length:
            for token, log_prob in enumerate(table[ids[-1]].tolist()):
                heapq.heappush(heap, (cost - log_prob, [*ids, token]))


def searched(given, entry=lambda cost, ids: (cost, ids), spare=0):
    """The search, with other entries in the heap, or another limit.

    An entry is made from minus the log-probability and the tokens, and ends
    with these two.
    """
    table, bos_id, eos_id, max_length = given
    heap = [entry(0.0, [bos_id])]
    while True:
        *_, cost, ids = heapq.heappop(heap)
        if ids[-1] == eos_id:
            return ids[1:], -cost
        if len(ids) - 1 < max_length + spare:
            for token, log_prob in enumerate(table[ids[-1]].tolist()):
                heapq.heappush(heap, entry(cost - log_prob, [*ids, token]))


class Uncomparable(list):
    """A list that cannot be compared with another."""

    def __lt__(self, other):
        raise TypeError("these cannot be compared")


TIES = (
    "Where two beginnings are equally likely your search breaks down. heapq "
    "then compares the second entries of the tuples: they must be things that "
    "can be compared, such as lists of integers. Tensors and dictionaries are "
    "not."
)


@QUESTION.mistake(TIES)
def best_first(*given):
    def entry(cost, ids):
        return cost, torch.tensor(ids), cost, ids

    return searched(given, entry)


@QUESTION.mistake(TIES)
def best_first(*given):
    return searched(given, lambda cost, ids: (cost, Uncomparable(ids)))


@QUESTION.mistake(
    "Where two beginnings are equally likely, one takes the place of the other "
    "in your search. Do you find the tokens by their log-probability? Put both "
    "into one entry of the heap."
)
def best_first(table, bos_id, eos_id, max_length):
    heap, ids_of = [0.0], {0.0: [bos_id]}
    while True:
        cost = heapq.heappop(heap)
        ids = ids_of[cost]
        if ids[-1] == eos_id:
            return ids[1:], -cost
        if len(ids) - 1 < max_length:
            for token, log_prob in enumerate(table[ids[-1]].tolist()):
                heapq.heappush(heap, cost - log_prob)
                ids_of[cost - log_prob] = [*ids, token]


@QUESTION.mistake(
    "You take the least likely beginning first. heapq pops the smallest "
    "entry: push minus the log-probability, so that the most likely is the "
    "smallest."
)
def best_first(*given):
    ids, cost = searched(given, lambda cost, ids: (-cost, cost, ids))
    return ids, cost


@QUESTION.mistake(
    "The tokens are right, but you return the entry of the heap, minus the "
    "log-probability. Turn the sign back."
)
def best_first(*given):
    ids, log_prob = QUESTION.right["best_first"](*given)
    return ids, -log_prob


@QUESTION.mistake(
    "The tokens are right, but you return their probability. Return its "
    "logarithm."
)
def best_first(*given):
    ids, log_prob = QUESTION.right["best_first"](*given)
    return ids, math.exp(log_prob)


def by_probability(table, bos_id, eos_id, max_length):
    heap = [(-1.0, [bos_id])]
    while True:
        minus, ids = heapq.heappop(heap)
        if ids[-1] == eos_id:
            return ids[1:], -minus
        if len(ids) - 1 < max_length:
            for token, prob in enumerate(table[ids[-1]].double().exp()):
                heapq.heappush(heap, (minus * prob.item(), [*ids, token]))


@QUESTION.mistake(
    "You multiply probabilities and return one. Add log-probabilities: they "
    "are asked for, and the probabilities of long sequences are too small for "
    "a number."
)
def best_first(*given):
    return by_probability(*given)


@QUESTION.mistake(
    "You multiply probabilities, and some are too small for a number: e⁻¹⁰⁰⁰ "
    "is 0, and has no logarithm. Add the log-probabilities."
)
def best_first(*given):
    ids, prob = by_probability(*given)
    return ids, math.log(prob)


@QUESTION.mistake(
    "You multiply probabilities, and some are too small for a number: e⁻¹⁰⁰⁰ "
    "is 0, and its logarithm −∞. Add the log-probabilities."
)
def best_first(*given):
    ids, prob = by_probability(*given)
    return ids, math.log(prob) if prob else -math.inf


@QUESTION.mistake(
    "Your answer is always EOS alone, the first ending that is pushed. It is "
    "only one candidate: something in the heap may still overtake it. An "
    "ending is the answer when it is popped as the most likely."
)
def best_first(table, bos_id, eos_id, max_length):
    heap = [(0.0, [bos_id])]
    while True:
        cost, ids = heapq.heappop(heap)
        for token, log_prob in enumerate(table[ids[-1]].tolist()):
            if token == eos_id and len(ids) <= max_length:
                return [*ids[1:], token], log_prob - cost
            heapq.heappush(heap, (cost - log_prob, [*ids, token]))


@QUESTION.mistake(
    "You push only the best continuation of what you pop. That is greedy "
    "search: push all continuations."
)
def best_first(table, bos_id, eos_id, max_length):
    heap = [(0.0, [bos_id])]
    while True:
        cost, ids = heapq.heappop(heap)
        if ids[-1] == eos_id:
            return ids[1:], -cost
        if len(ids) - 1 < max_length:
            log_prob, token = table[ids[-1]].max(dim=0)
            heapq.heappush(heap, (cost - log_prob.item(), [*ids, token.item()]))


@QUESTION.mistake(
    "Your search goes on with the best of the newest continuations, like "
    "greedy search, and forgets all others. All beginnings wait in the heap, "
    "however old."
)
def best_first(table, bos_id, eos_id, max_length):
    heap = [(0.0, [bos_id])]
    while heap:
        cost, ids = heapq.heappop(heap)
        if ids[-1] == eos_id:
            break
        heap = []
        if len(ids) - 1 < max_length:
            for token, log_prob in enumerate(table[ids[-1]].tolist()):
                heapq.heappush(heap, (cost - log_prob, [*ids, token]))
    return ids[1:], -cost


@QUESTION.mistake(
    "You push only the two best continuations of what you pop. Push all: the "
    "third may lead to the answer."
)
def best_first(table, bos_id, eos_id, max_length):
    heap = [(0.0, [bos_id])]
    while heap:
        cost, ids = heapq.heappop(heap)
        if ids[-1] == eos_id:
            return ids[1:], -cost
        if len(ids) - 1 < max_length:
            best, tokens = table[ids[-1]].topk(2)
            for pair in zip(best.tolist(), tokens.tolist(), strict=True):
                entry = cost - pair[0], [*ids, pair[1]]
                heapq.heappush(heap, entry)
    return [], -math.inf


@QUESTION.mistake(
    "You turn the sign at each step, of the whole sum. What is in the heap has "
    "its sign turned already: subtract the new log-probability from it."
)
def best_first(table, bos_id, eos_id, max_length):
    heap = [(0.0, [bos_id])]
    while True:
        cost, ids = heapq.heappop(heap)
        if ids[-1] == eos_id:
            return ids[1:], -cost
        if len(ids) - 1 < max_length:
            for token, log_prob in enumerate(table[ids[-1]].tolist()):
                heapq.heappush(heap, (-(cost + log_prob), [*ids, token]))


@QUESTION.mistake(
    "An entry of your heap has only the log-probability of its last token. A "
    "beginning is as likely as all of its tokens together: add them up."
)
def best_first(table, bos_id, eos_id, max_length):
    heap = [(0.0, [bos_id])]
    while True:
        cost, ids = heapq.heappop(heap)
        if ids[-1] == eos_id:
            return ids[1:], -cost
        if len(ids) - 1 < max_length:
            for token, log_prob in enumerate(table[ids[-1]].tolist()):
                heapq.heappush(heap, (-log_prob, [*ids, token]))


@QUESTION.mistake(
    "Your result may have more than max_length tokens. What is that long "
    "already is not continued."
)
def best_first(*given):
    return searched((*given[:-1], math.inf))


@QUESTION.mistake(
    "Your result may have one token more than max_length. EOS is counted, and "
    "what has max_length tokens already is not continued."
)
def best_first(*given):
    return searched(given, spare=1)


SHORT = (
    "Your sequences are one token too short: none has max_length tokens. BOS "
    "is not counted."
)


@QUESTION.mistake(SHORT)
def best_first(*given):
    return searched(given, spare=-1)


@QUESTION.mistake(SHORT)
def best_first(*given):
    try:
        return searched(given, spare=-1)
    except IndexError:  # the heap is empty
        return [], -math.inf


@QUESTION.mistake(
    "You return a beginning that was cut off at max_length. Only what ends "
    "with EOS is an answer: drop it, and go on."
)
def best_first(table, bos_id, eos_id, max_length):
    heap = [(0.0, [bos_id])]
    while True:
        cost, ids = heapq.heappop(heap)
        if ids[-1] == eos_id or len(ids) - 1 == max_length:
            return ids[1:], -cost
        for token, log_prob in enumerate(table[ids[-1]].tolist()):
            heapq.heappush(heap, (cost - log_prob, [*ids, token]))


def closed(given, cut_too, pushed=False):
    """A search that continues each token only once."""
    table, bos_id, eos_id, max_length = given
    heap, seen = [(0.0, [bos_id])], set()
    while heap:
        cost, ids = heapq.heappop(heap)
        last, fits = ids[-1], len(ids) - 1 < max_length
        if last == eos_id:
            return ids[1:], -cost
        if last in seen and not pushed:
            continue
        if cut_too or fits:
            seen.add(last)
        if fits:
            for token, log_prob in enumerate(table[last].tolist()):
                if pushed and token in seen and token != eos_id:
                    continue
                if pushed:
                    seen.add(token)
                heapq.heappush(heap, (cost - log_prob, [*ids, token]))
    return [], -math.inf


ONCE = (
    "You continue each token only once, like Dijkstra's algorithm. Here the "
    "number of tokens that are left counts, too: a beginning with the same "
    "last token that is less likely, but shorter, may be the only one to end "
    "in time."
)


@QUESTION.mistake(ONCE)
def best_first(*given):
    return closed(given, cut_too=False)


@QUESTION.mistake(ONCE)
def best_first(*given):
    return closed(given, cut_too=True)


@QUESTION.mistake(
    "You push each token only once, with the beginning that came first. "
    "Another beginning with the same last token may be more likely, or "
    "shorter: push all."
)
def best_first(*given):
    return closed(given, cut_too=True, pushed=True)


@QUESTION.mistake(
    "Your result is right, but you go on until the heap is empty. All that is "
    "left in it is less likely than the first ending that is popped, and can "
    "only become less likely still."
)
def best_first(table, bos_id, eos_id, max_length):
    heap, ends = [(0.0, [bos_id])], []
    while heap:
        cost, ids = heapq.heappop(heap)
        if ids[-1] == eos_id:
            ends.append((cost, ids))
        elif len(ids) - 1 < max_length:
            for token, log_prob in enumerate(table[ids[-1]].tolist()):
                heapq.heappush(heap, (cost - log_prob, [*ids, token]))
    cost, ids = min(ends)
    return ids[1:], -cost


@QUESTION.mistake(
    "You pop the beginning with the best log-probability *per token*. The most "
    "likely one comes next, however short."
)
def best_first(*given):
    def entry(cost, ids):
        return cost / max(len(ids) - 1, 1), cost, ids

    return searched(given, entry)


@QUESTION.mistake(
    "You pop the longest beginning first. The most likely one comes next, "
    "however short."
)
def best_first(*given):
    return searched(given, lambda cost, ids: (-len(ids), cost, ids))


@QUESTION.mistake(
    "Your heap is sorted by the tokens. Tuples are compared by their first "
    "entries: put minus the log-probability there."
)
def best_first(*given):
    return searched(given, lambda cost, ids: (ids, cost, ids))


def forgetful(given, size):
    table, bos_id, eos_id, max_length = given
    heap = [(0.0, [bos_id])]
    while heap:
        cost, ids = heapq.heappop(heap)
        if ids[-1] == eos_id:
            return ids[1:], -cost
        if len(ids) - 1 < max_length:
            for token, log_prob in enumerate(table[ids[-1]].tolist()):
                heapq.heappush(heap, (cost - log_prob, [*ids, token]))
            heap = heapq.nsmallest(size, heap)
    return [], -math.inf


@QUESTION.mistake(
    "Your heap keeps only as many beginnings as the vocabulary has tokens. "
    "Like a beam it forgets some that would win in the end: keep all."
)
def best_first(*given):
    return forgetful(given, len(given[0]))


@QUESTION.mistake(
    "You give up after a hundred beginnings, and return the one that was "
    "popped last. Go on until one with EOS is popped, however long it takes."
)
def best_first(table, bos_id, eos_id, max_length):
    heap = [(0.0, [bos_id])]
    for _ in range(100):
        cost, ids = heapq.heappop(heap)
        if ids[-1] == eos_id:
            break
        if len(ids) - 1 < max_length:
            for token, log_prob in enumerate(table[ids[-1]].tolist()):
                heapq.heappush(heap, (cost - log_prob, [*ids, token]))
    return ids[1:], -cost


@QUESTION.mistake(
    "Your heap keeps only two beginnings. Like a beam it forgets some that "
    "would win in the end: keep all."
)
def best_first(*given):
    return forgetful(given, 2)


def otherwise(change):
    """The right answer, with something done to it at the end."""

    def wrong(*given):
        return change(*QUESTION.right["best_first"](*given), given)

    return wrong


for message, change in [
    (
        "The tokens are right, but their log-probability is divided by their "
        "number. Return the sum.",
        lambda ids, log_prob, given: (ids, log_prob / len(ids)),
    ),
    (
        "Your tokens begin with BOS. It is where every sequence begins, but "
        "not one of its tokens.",
        lambda ids, log_prob, given: ([given[1], *ids], log_prob),
    ),
    (
        "Your sequences lack their EOS. Keep it as the last token.",
        lambda ids, log_prob, given: (ids[:-1], log_prob),
    ),
    (
        "Your log-probability is a tensor. A plain number is asked for: "
        "`item()` makes one.",
        lambda ids, log_prob, given: (ids, torch.tensor(log_prob)),
    ),
    (
        "Your tokens are a tensor. A list of plain ids is asked for: "
        "`tolist()` makes one.",
        lambda ids, log_prob, given: (torch.tensor(ids), log_prob),
    ),
    (
        "Your ids are tensors. A list of plain ids is asked for: `item()` or "
        "`tolist()` makes them.",
        lambda ids, log_prob, given: ([*torch.tensor(ids)], log_prob),
    ),
    (
        "Your tokens are a tuple. A list is asked for.",
        lambda ids, log_prob, given: (tuple(ids), log_prob),
    ),
    (
        "You return the log-probability first. The tokens come first.",
        lambda ids, log_prob, given: (log_prob, ids),
    ),
]:
    wrong = otherwise(change)
    wrong.__name__ = "best_first"
    QUESTION.mistake(message)(wrong)


@QUESTION.mistake(
    "You take BOS to be 0 and EOS to be 1. Another vocabulary has other "
    "numbers: use bos_id and eos_id."
)
def best_first(table, bos_id, eos_id, max_length):
    return searched((table, 0, 1, max_length))


@QUESTION.mistake(
    "You take EOS to be 1. Another vocabulary has another number: use eos_id."
)
def best_first(table, bos_id, eos_id, max_length):
    return searched((table, bos_id, 1, max_length))


@QUESTION.mistake(
    "You take BOS to be 0. Another vocabulary has another number: use bos_id."
)
def best_first(table, bos_id, eos_id, max_length):
    return searched((table, 0, eos_id, max_length))


@QUESTION.mistake(
    "You read the table by its columns. Row i belongs to the last token i: "
    "`table[i, j]` is about token j after it."
)
def best_first(table, bos_id, eos_id, max_length):
    return searched((table.T, bos_id, eos_id, max_length))


# --- Trials


def tried(part, *rows, max_length, rule="", bos_id=0, eos_id=1):
    """Register a search on a small table.

    The rows have the probabilities after BOS, a, b … of EOS, a, b …
    """
    vocab = len(rows) + 1
    letters = [token for token in range(vocab) if token not in (bos_id, eos_id)]
    others = len(letters) - 1
    # nobody should ask what comes after EOS
    after_eos = [0.1, 0.9 - 0.1 * (others > 0), *[0.1 / (others or 1)] * others]
    probs = torch.zeros(vocab, vocab)
    for last, row in zip(
        [bos_id, eos_id, *letters], [rows[0], after_eos, *rows[1:]], strict=True
    ):
        probs[last, [eos_id, *letters]] = torch.tensor(row)
    names = ["EOS", *"abcdef"[: len(letters)]]
    label = "; ".join(
        f"after {last}: "
        + ", ".join(f"{n} {p:g}" for n, p in zip(names, row, strict=True))
        for last, row in zip(["BOS", *names[1:]], rows, strict=True)
    )
    ids = zip(["BOS", *names], [bos_id, eos_id, *letters], strict=True)
    label += f". The ids are {', '.join(f'{n} {i}' for n, i in ids)}. "
    label += f"max_length {max_length}"

    @QUESTION.trial(part, label, rule)
    def trial(best_first):
        table = probs.log()
        pop, pops = heapq.heappop, []

        def counted(heap):
            pops.append(1)
            if len(pops) > MOST_POPS:
                raise UnusableAnswerError(
                    f"heappop is called more than {MOST_POPS} times, and few "
                    "calls are enough"
                )
            return pop(heap)

        with mock.patch.object(heapq, "heappop", counted):
            got = best_first(table, bos_id, eos_id, max_length)
        return results(got, QUESTION.returns)


EVEN = [0.9, 0.06, 0.04]  # whatever it was, EOS is likely now
CHAIN = [
    [0.05, 0.9, 0.02, 0.01, 0.01, 0.01],
    [0.025, 0.015, 0.93, 0.01, 0.01, 0.01],
    [0.025, 0.015, 0.01, 0.93, 0.01, 0.01],
    [0.025, 0.015, 0.01, 0.01, 0.93, 0.01],
    [0.025, 0.015, 0.01, 0.01, 0.01, 0.93],
    [0.93, 0.025, 0.015, 0.01, 0.01, 0.01],
]  # a b c d e EOS
OVERTAKE = "What is longer may overtake what has ended sooner."
CUT = "Only a sequence that ends with EOS is an answer."

tried("idea", [0.6, 0.3, 0.1], EVEN, EVEN, max_length=3)
tried("idea", [0.3, 0.65, 0.05], EVEN, EVEN, max_length=5, rule=OVERTAKE)
tried(
    "idea",
    [0.2, 0.7, 0.1],
    [0.3, 0.1, 0.6],
    [0.9, 0.06, 0.04],
    max_length=10,
    rule=OVERTAKE,
)
tried(
    "idea",
    [0.05, 0.5, 0.45],
    [0.4, 0.32, 0.28],
    EVEN,
    max_length=4,
    rule="Not only the best continuation is worth going on with.",
)
tried(
    "idea",
    [0.1, 0.85, 0.05],
    [0.04, 0.9, 0.06],
    [0.04, 0.07, 0.89],
    max_length=3,
    rule=CUT,
)
tried(
    "idea",
    [0.2, 0.7, 0.1],
    [0.25, 0.1, 0.65],
    [0.9, 0.06, 0.04],
    max_length=2,
    rule="Of all that end with EOS and have at most max_length tokens, return "
    "the most likely.",
)
tried(
    "idea",
    [0.2, 0.7, 0.1],
    [0.25, 0.1, 0.65],
    [0.9, 0.06, 0.04],
    max_length=3,
    rule="An answer may have just max_length tokens, EOS counted.",
)
tried(
    "idea",
    [0.02, 0.6, 0.3, 0.08],
    [0.02, 0.04, 0.9, 0.04],
    [0.05, 0.04, 0.03, 0.88],
    [0.92, 0.03, 0.03, 0.02],
    max_length=3,
    rule="A less likely beginning that is shorter may end in time.",
)
tried(
    "idea",
    [0.2, 0.5, 0.3],
    [0.3, 0.38, 0.32],
    [0.45, 0.3, 0.25],
    max_length=30,
    rule="The search ends with the first ending that is popped.",
)
for letters in ([0.9, 0.06, 0.04], [0.3, 0.4, 0.3]):
    others = [0.9, 0.06, 0.04] if letters[0] == 0.3 else [0.3, 0.4, 0.3]
    tried(
        "idea",
        [0.2, 0.4, 0.4],
        letters,
        others,
        max_length=4,
        rule="Two beginnings may be equally likely.",
    )
tried("edges", [0.3, 0.6, 0.1], EVEN, EVEN, max_length=1, rule=CUT)
tried(
    "edges",
    [0.02, 0.58, 0.4],
    [0.03, 0.9, 0.07],
    [0.94, 0.04, 0.02],
    max_length=2,
    rule="A less likely beginning that is shorter may end in time.",
)
for bos_id, eos_id in [(3, 0), (1, 2), (0, 3), (2, 1)]:
    tried(
        "edges",
        [0.2, 0.7, 0.1],
        [0.3, 0.1, 0.6],
        [0.9, 0.06, 0.04],
        max_length=6,
        rule="Use bos_id and eos_id, whatever they are.",
        bos_id=bos_id,
        eos_id=eos_id,
    )
tried(
    "edges",
    *CHAIN,
    max_length=6,
    rule="The most likely may have many tokens.",
)
tried(
    "edges",
    [0.25, 0.75],
    [0.8, 0.2],
    max_length=7,
    rule="There may be one letter only.",
)


def larger(vocab, spread, bias, which, bos_id, eos_id):
    """A table with many tokens; none goes back to BOS."""
    table = spread * numbers(which, vocab, vocab)[-1]
    table[:, eos_id] -= bias
    table[:, bos_id] = -torch.inf
    return table.log_softmax(dim=-1)


for vocab, spread, bias, which, bos_id, eos_id, max_length in [
    (4, 1.5, 3, 1, 2, 3, 7),
    (7, 1.5, 1, 2, 4, 2, 4),
    (7, 1.5, 3, 1, 4, 2, 4),
    (13, 1.5, 2, 4, 12, 5, 3),
    (13, 1.5, 3, 1, 12, 5, 3),
]:
    table = larger(vocab, spread, bias, which, bos_id, eos_id)
    QUESTION.call("edges", table, bos_id, eos_id, max_length)
TINY = [
    [-torch.inf, -1000.0, 0.0, -2000.0],
    [-torch.inf, 0.0, -2000.0, -2000.0],
    [-torch.inf, -800.0, -2000.0, 0.0],
    [-torch.inf, 0.0, -2000.0, -2000.0],
]
for max_length in (1, 2):
    QUESTION.call(
        "edges",
        torch.tensor(TINY),
        0,
        1,
        max_length,
        rule="A probability may be too small for a number; its log is not.",
    )


@test_case(points=7)
def test_idea(best_first):
    QUESTION.check("idea", best_first)


@test_case(points=4)
def test_edges(best_first):
    QUESTION.check("idea edges", best_first)
