"""A beam on a Markov table: what happens to the hypotheses that have ended."""

import math

import torch
from otter.test_files import test_case

from attend.grading import Question, numbers
from attend.grading.battery import results

OK_FORMAT = False
name = "q3"
points = None

QUESTION = Question(
    "beam_decode",
    returns={"the tokens": "", "the log-probability": ""},
    without=("float16",),  # other sums of rounded numbers win
)


# --- Answers


@QUESTION.reference
def beam_decode(table, bos_id, eos_id, beam_size, max_length):
    live = [(0.0, [bos_id])]
    finished = []
    for _ in range(max_length):
        pairs = [
            (log_prob + table[ids[-1], token].item(), [*ids, token])
            for log_prob, ids in live
            for token in range(len(table))
        ]
        kept = sorted(pairs, reverse=True)[:beam_size]
        finished += [pair for pair in kept if pair[1][-1] == eos_id]
        live = [pair for pair in kept if pair[1][-1] != eos_id]
        if not live or (finished and max(finished) >= max(live)):
            break
    log_prob, ids = max(finished or live)
    return ids[1:], log_prob


def continued(table, live):
    """All continuations, the most likely first."""
    pairs = [
        (log_prob + more, [*ids, token])
        for log_prob, ids in live
        for token, more in enumerate(table[ids[-1]].tolist())
    ]
    return sorted(pairs, reverse=True)


def split(kept, eos_id):
    """Those that have ended, and those that have not."""
    ended = [pair for pair in kept if pair[1][-1] == eos_id]
    return ended, [pair for pair in kept if pair[1][-1] != eos_id]


def overtaken(live, finished, ended):
    """Whether no live one can overtake the best finished one."""
    return not live or (bool(finished) and max(finished) >= max(live))


def best(live, finished, ended):
    log_prob, ids = max(finished or live)
    return ids[1:], log_prob


def searched(given, stop=overtaken, choose=best, expand=continued, steps=0):
    """The search, with something done otherwise."""
    table, bos_id, eos_id, beam_size, max_length = given
    live, finished, ended = [(0.0, [bos_id])], [], []
    for _ in range(max_length + steps):
        kept = expand(table, live)[:beam_size]
        ended, live = split(kept, eos_id)
        finished += ended
        if stop(live, finished, ended):
            break
    return choose(live, finished, ended)


@QUESTION.mistake(
    "There is something after EOS in your beam. A hypothesis that has ended is "
    "finished: put it aside, and do not continue it."
)
def beam_decode(table, bos_id, eos_id, beam_size, max_length):
    live = [(0.0, [bos_id])]
    for _ in range(max_length):
        live = continued(table, live)[:beam_size]
    return best(live, [], [])


@QUESTION.mistake(
    "Finished hypotheses stay in your beam and compete for its places, so a "
    "good one can fall out. Put them aside: they take no place, and none is "
    "forgotten."
)
def beam_decode(table, bos_id, eos_id, beam_size, max_length):
    beam = [(0.0, [bos_id])]
    for _ in range(max_length):
        ended, live = split(beam, eos_id)
        pairs = sorted(ended + continued(table, live), reverse=True)
        beam = pairs[:beam_size]
        if beam[0][1][-1] == eos_id:
            break
    ended, live = split(beam, eos_id)
    return best(live, ended, [])


@QUESTION.mistake(
    "Once a hypothesis has finished, your beam is narrower. The next step "
    "again keeps beam_size continuations, however few are left to be continued."
)
def beam_decode(table, bos_id, eos_id, beam_size, max_length):
    live, finished = [(0.0, [bos_id])], []
    for _ in range(max_length):
        kept = continued(table, live)[: beam_size - len(finished)]
        ended, live = split(kept, eos_id)
        finished += ended
        if overtaken(live, finished, ended):
            break
    return best(live, finished, ended)


@QUESTION.mistake(
    "You put aside every continuation with EOS, even one that is too unlikely "
    "for the beam. Choose the beam_size most likely first; only those of them "
    "that end with EOS are finished."
)
def beam_decode(table, bos_id, eos_id, beam_size, max_length):
    live, finished = [(0.0, [bos_id])], []
    for _ in range(max_length):
        ended, live = split(continued(table, live), eos_id)
        live, finished = live[:beam_size], finished + ended
        if overtaken(live, finished, ended):
            break
    return best(live, finished, ended)


@QUESTION.mistake(
    "You keep every continuation. After each step only the beam_size most "
    "likely stay, of all together: with a beam of 1 that is greedy search."
)
def beam_decode(table, bos_id, eos_id, beam_size, max_length):
    given = table, bos_id, eos_id, None, max_length
    return searched(given)


@QUESTION.mistake(
    "Each hypothesis keeps beam_size continuations in your search, so the beam "
    "grows. Only beam_size stay, of all together."
)
def beam_decode(table, bos_id, eos_id, beam_size, max_length):
    def expand(table, live):
        return [
            pair
            for parent in live
            for pair in continued(table, [parent])[:beam_size]
        ]

    return searched((table, bos_id, eos_id, None, max_length), expand=expand)


@QUESTION.mistake(
    "After the first step each hypothesis of yours keeps only its best "
    "continuation: these are greedy searches side by side. The continuations "
    "of all hypotheses compete for the places."
)
def beam_decode(table, bos_id, eos_id, beam_size, max_length):
    def expand(table, live):
        if len(live[0][1]) == 1:
            return continued(table, live)
        return [continued(table, [parent])[0] for parent in live]

    return searched(
        (table, bos_id, eos_id, beam_size, max_length), expand=expand
    )


@QUESTION.mistake(
    "Of the hypotheses with the same last token only the best stays in your "
    "beam. They are different hypotheses: several may be among the beam_size "
    "most likely."
)
def beam_decode(table, bos_id, eos_id, beam_size, max_length):
    def expand(table, live):
        best = {}
        for pair in continued(table, live):
            best.setdefault(pair[1][-1], pair)
        return list(best.values())

    return searched(
        (table, bos_id, eos_id, beam_size, max_length), expand=expand
    )


@QUESTION.mistake(
    "No token comes twice in your hypotheses. It may: continue every live one "
    "with every token."
)
def beam_decode(table, bos_id, eos_id, beam_size, max_length):
    def expand(table, live):
        pairs = continued(table, live)
        return [(total, ids) for total, ids in pairs if ids[-1] not in ids[:-1]]

    return searched(
        (table, bos_id, eos_id, beam_size, max_length), expand=expand
    )


@QUESTION.mistake("Your beam has one place more than beam_size.")
def beam_decode(table, bos_id, eos_id, beam_size, max_length):
    return searched((table, bos_id, eos_id, beam_size + 1, max_length))


@QUESTION.mistake(
    "Your search is greedy, whatever beam_size is: it keeps only the most "
    "likely continuation."
)
def beam_decode(table, bos_id, eos_id, beam_size, max_length):
    return searched((table, bos_id, eos_id, 1, max_length))


@QUESTION.mistake(
    "Your beam always has two places, as in the example. Use beam_size."
)
def beam_decode(table, bos_id, eos_id, beam_size, max_length):
    return searched((table, bos_id, eos_id, 2, max_length))


@QUESTION.mistake(
    "Your beam keeps the least likely continuations. The most likely are those "
    "with the largest log-probabilities."
)
def beam_decode(table, bos_id, eos_id, beam_size, max_length):
    def expand(table, live):
        pairs = continued(table, live)[::-1]
        return [pair for pair in pairs if pair[0] > -math.inf]

    return searched(
        (table, bos_id, eos_id, beam_size, max_length), expand=expand
    )


@QUESTION.mistake(
    "You make one step more than max_length allows. It counts the tokens of a "
    "hypothesis, EOS included and BOS not."
)
def beam_decode(*given):
    return searched(given, steps=1)


@QUESTION.mistake(
    "You make one step less than max_length allows. It counts the tokens of a "
    "hypothesis, EOS included and BOS not."
)
def beam_decode(*given):
    return searched(given, steps=-1)


@QUESTION.mistake(
    "What ends in the last step, at max_length, is not among your finished "
    "ones: it competes with those that were cut off. Look for EOS after the "
    "last step, too."
)
def beam_decode(table, bos_id, eos_id, beam_size, max_length):
    live, finished = [(0.0, [bos_id])], []
    for _ in range(max_length):
        ended, live = split(live, eos_id)
        finished += ended
        if overtaken(live, finished, ended):
            break
        live = continued(table, live)[:beam_size]
    return best(live, finished, ended)


@QUESTION.mistake(
    "When all hypotheses of the beam have ended, none is live, and your code "
    "does not expect that. Is there a maximum over nothing? Stop before you "
    "look for the best live one."
)
def beam_decode(*given):
    def stop(live, finished, ended):
        return bool(finished) and max(finished) >= max(live)

    return searched(given, stop=stop)


@QUESTION.mistake(
    "The first hypothesis that ends is your answer. One that is still live may "
    "be more likely: go on while it can overtake the best finished one, and "
    "return the most likely of all that have finished."
)
def beam_decode(*given):
    return searched(given, stop=lambda live, finished, ended: bool(finished))


@QUESTION.mistake(
    "Only the hypotheses that end first count, as many as the beam has places. "
    "One that is still live may be more likely than all of them: go on while "
    "it can overtake the best finished one."
)
def beam_decode(*given):
    def stop(live, finished, ended):
        return not live or len(finished) >= given[3]

    return searched(given, stop=stop)


@QUESTION.mistake(
    "You stop when more hypotheses have ended than are live. One that is still "
    "live may be more likely than all of them: go on while it can overtake the "
    "best finished one."
)
def beam_decode(*given):
    return searched(given, lambda live, done, _: len(done) > len(live))


@QUESTION.mistake(
    "You stop when the best finished hypothesis is more likely than the worst "
    "live one. The best live one can still overtake it: compare with that."
)
def beam_decode(*given):
    def stop(live, finished, ended):
        return not live or (bool(finished) and max(finished) >= min(live))

    return searched(given, stop=stop)


@QUESTION.mistake(
    "Your search is right, but you return the least likely of the hypotheses "
    "that finished. Return the most likely."
)
def beam_decode(*given):
    def choose(live, finished, ended):
        return best(live, finished and [min(finished)], ended)

    return searched(given, choose=choose)


@QUESTION.mistake(
    "Your search is right, but you return the hypothesis that finished last. "
    "Return the most likely of all that did, from whichever step."
)
def beam_decode(*given):
    def choose(live, finished, ended):
        return best(live, finished[-1:], ended)

    return searched(given, choose=choose)


@QUESTION.mistake(
    "Those that ended before the last step are forgotten. Collect what "
    "finishes in all steps, and return the most likely of all."
)
def beam_decode(*given):
    def choose(live, finished, ended):
        return best(live, ended, ended)

    return searched(given, lambda live, *_: not live, choose)


@QUESTION.mistake(
    "You return what has finished last, once it is more likely than all live "
    "ones. One that finished earlier may be still more likely: compare with "
    "all of them."
)
def beam_decode(table, bos_id, eos_id, beam_size, max_length):
    live, finished = [(0.0, [bos_id])], []
    for _ in range(max_length):
        ended, live = split(continued(table, live)[:beam_size], eos_id)
        if ended and (not live or max(ended) > max(live)):
            return best(live, ended, ended)
        finished += ended
    return best(live, finished, [])


@QUESTION.mistake(
    "What ends with EOS is put aside only if it is the most likely of your "
    "beam. Each of the beam_size most likely that ends with EOS is."
)
def beam_decode(table, bos_id, eos_id, beam_size, max_length):
    live, finished = [(0.0, [bos_id])], []
    for _ in range(max_length):
        kept = continued(table, live)[:beam_size]
        finished += split(kept[:1], eos_id)[0]
        live = split(kept, eos_id)[1]
        if overtaken(live, finished, []):
            break
    return best(live, finished, [])


@QUESTION.mistake(
    "A hypothesis that finishes later takes the place of one that finished "
    "earlier, even if it is less likely. Keep the most likely of all steps."
)
def beam_decode(table, bos_id, eos_id, beam_size, max_length):
    live, newest = [(0.0, [bos_id])], []
    for _ in range(max_length):
        ended, live = split(continued(table, live)[:beam_size], eos_id)
        newest = ended or newest
        if overtaken(live, newest, ended):
            break
    return best(live, newest, ended)


@QUESTION.mistake(
    "You return a hypothesis that was cut off at max_length, though others "
    "have finished. It is more likely only because it never paid for its end: "
    "what has finished comes first."
)
def beam_decode(*given):
    def choose(live, finished, ended):
        return best(live + finished, [], ended)

    return searched(given, choose=choose)


@QUESTION.mistake(
    "Where nothing has finished by max_length, your code has no answer. Is "
    "there a maximum over nothing? Return the most likely hypothesis that was "
    "cut off."
)
def beam_decode(*given):
    return searched(
        given, choose=lambda live, finished, ended: best([], finished, ended)
    )


@QUESTION.mistake(
    "Where nothing has finished by max_length, you return no tokens. Return "
    "the most likely hypothesis that was cut off."
)
def beam_decode(*given):
    def choose(live, finished, ended):
        return best([(-math.inf, [])], finished, ended)

    return searched(given, choose=choose)


@QUESTION.mistake(
    "Where nothing has finished by max_length, you return the least likely "
    "hypothesis of the beam. Return the most likely one."
)
def beam_decode(*given):
    def choose(live, finished, ended):
        return best(live[-1:], finished, ended)

    return searched(given, choose=choose)


@QUESTION.mistake(
    "You put an EOS at the end of a hypothesis that was cut off. It has not "
    "ended: leave it as it is."
)
def beam_decode(*given):
    def choose(live, finished, ended):
        ids, log_prob = best(live, finished, ended)
        return (ids if finished else [*ids, given[2]]), log_prob

    return searched(given, choose=choose)


@QUESTION.mistake(
    "You choose among the finished hypotheses by the log-probability per "
    "token. There is no length penalty here: the most likely one wins."
)
def beam_decode(*given):
    def choose(live, finished, ended):
        def mean(pair):
            return pair[0] / (len(pair[1]) - 1)

        return best(live, finished and [max(finished, key=mean)], ended)

    return searched(given, choose=choose)


def otherwise(change):
    """The right answer, with something done to it at the end."""

    def wrong(*given):
        return change(*QUESTION.right["beam_decode"](*given), given)

    return wrong


for message, change in [
    (
        "The tokens are right, but their log-probability is divided by their "
        "number. Return the sum.",
        lambda ids, log_prob, given: (ids, log_prob / len(ids)),
    ),
    (
        "Your tokens begin with BOS. It is where every hypothesis begins, but "
        "not one of its tokens.",
        lambda ids, log_prob, given: ([given[1], *ids], log_prob),
    ),
    (
        "Your finished hypotheses lack their EOS. Keep it as the last token: "
        "it tells what has finished from what was cut off.",
        lambda ids, log_prob, given: (
            [token for token in ids if token != given[2]],
            log_prob,
        ),
    ),
    (
        "The tokens are right, but you return their probability. Return its "
        "logarithm.",
        lambda ids, log_prob, given: (ids, math.exp(log_prob)),
    ),
    (
        "The tokens are right, but their log-probability has lost its sign. It "
        "is negative.",
        lambda ids, log_prob, given: (ids, -log_prob),
    ),
    (
        "The tokens are right, but you return only the log-probability of the "
        "last one. Return the sum over all of them.",
        lambda ids, log_prob, given: (
            ids,
            given[0][[given[1], *ids][-2], ids[-1]].item(),
        ),
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
        "Your ids and your log-probability are tensors. Plain numbers are "
        "asked for: `item()` or `tolist()` makes them.",
        lambda ids, log_prob, given: (
            [*torch.tensor(ids)],
            torch.tensor(log_prob),
        ),
    ),
    (
        "You return the log-probability first. The tokens come first.",
        lambda ids, log_prob, given: (log_prob, ids),
    ),
]:
    wrong = otherwise(change)
    wrong.__name__ = "beam_decode"
    QUESTION.mistake(message)(wrong)


@QUESTION.mistake(
    "You take BOS to be 0 and EOS to be 1. Another vocabulary has other "
    "numbers: use bos_id and eos_id."
)
def beam_decode(table, bos_id, eos_id, beam_size, max_length):
    return searched((table, 0, 1, beam_size, max_length))


@QUESTION.mistake(
    "You take EOS to be 1. Another vocabulary has another number: use eos_id."
)
def beam_decode(table, bos_id, eos_id, beam_size, max_length):
    return searched((table, bos_id, 1, beam_size, max_length))


@QUESTION.mistake(
    "You take BOS to be 0. Another vocabulary has another number: use bos_id."
)
def beam_decode(table, bos_id, eos_id, beam_size, max_length):
    return searched((table, 0, eos_id, beam_size, max_length))


@QUESTION.mistake(
    "You read the table by its columns. Row i belongs to the last token i: "
    "`table[i, j]` is about token j after it."
)
def beam_decode(table, bos_id, eos_id, beam_size, max_length):
    return searched((table.T, bos_id, eos_id, beam_size, max_length))


@QUESTION.mistake(
    "You multiply probabilities, and some are too small for a number: e⁻¹⁰⁰⁰ "
    "is 0, and its logarithm −∞. Add the log-probabilities."
)
def beam_decode(table, *given):
    probs = table.double().exp()
    ids, log_prob = searched((probs.log(), *given))
    return ids, log_prob


# --- Trials


def tried(part, *rows, beam_size, max_length, rule="", bos_id=0, eos_id=1):
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
    label += f"beam_size {beam_size}, max_length {max_length}"

    @QUESTION.trial(part, label, rule)
    def trial(beam_decode):
        table = probs.log()
        got = beam_decode(table, bos_id, eos_id, beam_size, max_length)
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
OVERTAKE = "A live hypothesis can overtake one that has finished."
WIDTH = "Each step keeps beam_size continuations, and no more."

tried(
    "idea", [0.1, 0.7, 0.2], [0.8, 0.15, 0.05], EVEN, beam_size=1, max_length=5
)
tried(
    "idea",
    [0.2, 0.7, 0.1],
    [0.3, 0.1, 0.6],
    [0.9, 0.06, 0.04],
    beam_size=2,
    max_length=10,
    rule=OVERTAKE,
)
tried(
    "idea",
    [0.05, 0.6, 0.35],
    [0.4, 0.32, 0.28],
    EVEN,
    beam_size=2,
    max_length=4,
    rule="The beam holds beam_size hypotheses, and greedy search only one.",
)
tried(
    "idea",
    [0.05, 0.6, 0.35],
    [0.4, 0.32, 0.28],
    EVEN,
    beam_size=1,
    max_length=4,
    rule=WIDTH,
)
tried(
    "idea",
    [0.3, 0.65, 0.05],
    EVEN,
    EVEN,
    beam_size=2,
    max_length=5,
    rule=OVERTAKE,
)
tried(
    "idea",
    [0.4, 0.55, 0.05],
    [0.6, 0.25, 0.15],
    [0.6, 0.3, 0.1],
    beam_size=2,
    max_length=5,
    rule="What finished in an earlier step may be the most likely.",
)
tried(
    "idea",
    [0.2, 0.75, 0.05],
    [0.3, 0.05, 0.65],
    EVEN,
    beam_size=2,
    max_length=5,
    rule=OVERTAKE,
)
tried(
    "idea",
    [0.1, 0.85, 0.05],
    [0.04, 0.9, 0.06],
    [0.04, 0.07, 0.89],
    beam_size=2,
    max_length=3,
    rule="What has finished comes before what was cut off.",
)
tried(
    "idea",
    [0.1, 0.85, 0.05],
    [0.04, 0.9, 0.06],
    [0.04, 0.07, 0.89],
    beam_size=2,
    max_length=1,
    rule="At the latest the search stops at max_length.",
)
tried(
    "idea",
    [0.1, 0.85, 0.05],
    [0.04, 0.9, 0.06],
    [0.04, 0.07, 0.89],
    beam_size=1,
    max_length=2,
    rule="Where nothing has finished, the best that was cut off is returned.",
)
tried(
    "idea",
    [0.15, 0.8, 0.03, 0.02],
    [0.05, 0.06, 0.5, 0.39],
    [0.3, 0.5, 0.11, 0.09],
    [0.9, 0.05, 0.03, 0.02],
    beam_size=2,
    max_length=6,
    rule=WIDTH,
)
tried(
    "idea",
    [0.9, 0.06, 0.04],
    EVEN,
    EVEN,
    beam_size=1,
    max_length=3,
    rule="All hypotheses of the beam may have finished.",
)
tried(
    "edges",
    [0.3, 0.6, 0.06, 0.04],
    [0.14, 0.07, 0.7, 0.09],
    [0.02, 0.5, 0.44, 0.04],
    [0.02, 0.47, 0.38, 0.13],
    beam_size=2,
    max_length=6,
    rule="What finished in an earlier step may be the most likely.",
)
tried(
    "edges",
    [0.25, 0.6, 0.15],
    EVEN,
    [0.5, 0.3, 0.2],
    beam_size=3,
    max_length=5,
    rule=OVERTAKE,
)
tried(
    "edges",
    [0.28, 0.7, 0.02],
    [0.03, 0.5, 0.47],
    [0.1, 0.54, 0.36],
    beam_size=2,
    max_length=5,
    rule="What has finished is put aside, and cannot fall out.",
)
tried(
    "edges",
    [0.45, 0.5, 0.05],
    [0.7, 0.2, 0.1],
    EVEN,
    beam_size=1,
    max_length=5,
    rule="What is not among the beam_size most likely is lost, EOS too.",
)
tried(
    "edges",
    [0.04, 0.9, 0.06],
    [0.4, 0.5, 0.1],
    EVEN,
    beam_size=2,
    max_length=2,
    rule="A hypothesis may end just at max_length.",
)
tried(
    "edges",
    [0.02, 0.9, 0.08],
    [0.04, 0.56, 0.4],
    [0.04, 0.07, 0.89],
    beam_size=2,
    max_length=4,
    rule="Where nothing has finished, the best that was cut off is returned.",
)
for bos_id, eos_id in [(3, 0), (1, 2), (0, 3), (2, 1)]:
    tried(
        "edges",
        [0.2, 0.7, 0.1],
        [0.3, 0.1, 0.6],
        [0.9, 0.06, 0.04],
        beam_size=2,
        max_length=6,
        rule="Use bos_id and eos_id, whatever they are.",
        bos_id=bos_id,
        eos_id=eos_id,
    )
tried(
    "edges",
    [0.44, 0.52, 0.04],
    [0.95, 0.03, 0.02],
    EVEN,
    beam_size=2,
    max_length=5,
    rule=OVERTAKE,
)
tried(
    "edges",
    [0.03, 0.4, 0.3, 0.25, 0.02],
    [0.5, 0.1, 0.15, 0.11, 0.14],
    [0.6, 0.11, 0.1, 0.1, 0.09],
    [0.03, 0.02, 0.03, 0.02, 0.9],
    [0.96, 0.01, 0.01, 0.01, 0.01],
    beam_size=3,
    max_length=5,
    rule=OVERTAKE,
)
tried(
    "edges",
    *CHAIN,
    beam_size=2,
    max_length=6,
    rule="The most likely may have many tokens.",
)
tried(
    "edges",
    [0.25, 0.75],
    [0.8, 0.2],
    beam_size=2,
    max_length=7,
    rule="There may be one letter only.",
)
tried(
    "edges",
    [0.25, 0.75],
    [0.2, 0.8],
    beam_size=1,
    max_length=1,
    rule="There may be one letter and one step.",
)


def larger(vocab, spread, bias, which, bos_id, eos_id):
    """A table with many tokens; none goes back to BOS."""
    table = spread * numbers(which, vocab, vocab)[-1]
    table[:, eos_id] -= bias
    table[:, bos_id] = -torch.inf
    return table.log_softmax(dim=-1)


SEVEN = larger(7, 1, 0.5, 2, 0, 1)
QUESTION.call("edges", SEVEN, 0, 1, 5, 3)
QUESTION.call("edges", SEVEN, 0, 1, 1, 3, rule="beam_size may be 1.")
QUESTION.call("edges", SEVEN, 0, 1, 5, 1, rule="max_length may be 1.")
for vocab, spread, bias, which, bos_id, eos_id, beam_size, max_length in [
    (4, 1.5, 0, 5, 2, 3, 2, 6),
    (9, 1.5, 0.5, 6, 3, 8, 4, 4),
    (13, 1.5, 0.5, 1, 12, 5, 7, 3),
    (13, 1, 1, 5, 12, 5, 7, 3),
    (17, 0.5, 0.5, 4, 2, 3, 4, 3),
]:
    table = larger(vocab, spread, bias, which, bos_id, eos_id)
    QUESTION.call("edges", table, bos_id, eos_id, beam_size, max_length)
QUESTION.call(
    "edges",
    torch.tensor(
        [[-torch.inf, -1000.0, 0.0], [-torch.inf, 0.0, -9], [-torch.inf, -9, 0]]
    ),
    0,
    1,
    2,
    1,
    rule="A probability may be too small for a number; its log is not.",
)


@test_case(points=8)
def test_idea(beam_decode):
    QUESTION.check("idea", beam_decode)


@test_case(points=4)
def test_edges(beam_decode):
    QUESTION.check("idea edges", beam_decode)
