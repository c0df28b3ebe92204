"""A beam search with three bugs: a test for each, and one for the whole."""

import math
from itertools import combinations

import torch
from otter.test_files import test_case
from torch import tensor

from attend.grading import (
    Question,
    Seen,
    UnusableAnswerError,
    expect_tensor,
    numbers,
)
from attend.grading.battery import results

OK_FORMAT = False
name = "q7"
points = None

QUESTION = Question(
    "search_one", returns={"the tokens": "", "the log-probability": ""}
)
MOST_CALLS = 200


# --- Answers

BUGS = {
    "start": (
        "A wider beam finds only what a narrow one finds: it holds the same "
        "hypothesis several times over. To begin with there is one beginning, "
        "so only one place has log-probability 0; the others are empty, −∞."
    ),
    "state": (
        "The state does not follow its hypothesis. After the step row k "
        "belongs to the old hypothesis k: the new one needs the row of its "
        "parent."
    ),
    "lists": (
        "There are tokens of another hypothesis among yours. Two children of "
        "one parent share its list, and `append` changes it for both: make a "
        "new list for each child."
    ),
}


@QUESTION.reference
def search_one(step, state, bos_id, eos_id, beam_size, max_length):
    state = {
        name: tensor.repeat_interleave(beam_size, dim=0)
        for name, tensor in state.items()
    }
    live = torch.full((beam_size,), -math.inf)
    live[0] = 0.0
    tokens = torch.full((beam_size,), bos_id)
    written = [[] for _ in range(beam_size)]
    best, best_log_prob = [], -math.inf
    for _ in range(max_length):
        log_probs, state = step(tokens, state)
        vocab = log_probs.shape[1]
        live, flat = (live[:, None] + log_probs).flatten().topk(beam_size)
        parents, tokens = flat // vocab, flat % vocab
        state = {name: tensor[parents] for name, tensor in state.items()}
        written = [list(written[parent]) for parent in parents.tolist()]
        for place, token in enumerate(tokens.tolist()):
            written[place].append(token)
            if token == eos_id:
                if live[place] > best_log_prob:
                    best, best_log_prob = written[place], live[place].item()
                live[place] = -math.inf
        if live.max() <= best_log_prob:
            break
    return best, best_log_prob


def first_filled(beam_size):
    return tensor([0.0] + [-math.inf] * (beam_size - 1))


def by_parents(before, after, parents):
    return {name: tensor[parents] for name, tensor in after.items()}


def copies(written, parents):
    return [list(written[parent]) for parent in parents]


def searched(
    given,
    live=first_filled,
    follow=by_parents,
    write=copies,
    snapshot=False,
    shrink=False,
    latest=False,
    divide=False,
    longest=False,
    most=math.inf,
):
    """The search, with something done otherwise."""
    follow = Late() if follow == "late" else follow
    step, state, bos_id, eos_id, beam_size, max_length = given
    state = {
        name: tensor.repeat_interleave(beam_size, dim=0)
        for name, tensor in state.items()
    }
    live, tokens = live(beam_size), torch.full((beam_size,), bos_id)
    written = [[] for _ in range(beam_size)]
    best, best_score, best_log_prob = [], -math.inf, -math.inf
    for _ in range(max_length):
        before = state
        log_probs, after = step(tokens, state)
        vocab = log_probs.shape[1]
        live, flat = (live[:, None] + log_probs).flatten().topk(len(live))
        parents, tokens = flat // vocab, flat % vocab
        state = follow(before, after, parents)
        written = write(written, parents.tolist())
        for place, token in enumerate(tokens.tolist()):
            written[place].append(token)
            if token == eos_id:
                log_prob = live[place].item()
                score = log_prob / (len(written[place]) if divide else 1)
                score = len(written[place]) if longest else score
                most -= 1
                if latest or score > best_score:
                    best, best_score = written[place], score
                    best_log_prob = log_prob
                    if snapshot:
                        best = list(best)
                live[place] = -math.inf
        if shrink:
            keep = tokens != eos_id
            live, tokens = live[keep], tokens[keep]
            state = {name: tensor[keep] for name, tensor in state.items()}
            written = [ids for ids in written if ids[-1] != eos_id]
        if most <= 0 or not len(live) or live.max() <= best_log_prob:
            break
    return best, best_log_prob


def unmoved(before, after, parents):
    return after


def shared(written, parents):
    return [written[parent] for parent in parents]


def register(left):
    more = len(left) - 1
    more = f" {more} more of the bugs {'is' if more == 1 else 'are'} left."

    @QUESTION.mistake(BUGS[left[0]] + more * (len(left) > 1))
    def search_one(*given):
        return searched(
            given,
            torch.zeros if "start" in left else first_filled,
            unmoved if "state" in left else by_parents,
            shared if "lists" in left else copies,
        )


for number in range(1, len(BUGS) + 1):
    for left in combinations(BUGS, number):
        register(left)


class Late:
    """Reorders the state by the parents of the step before."""

    parents = None

    def __call__(self, before, after, parents):
        old, self.parents = self.parents, parents
        return after if old is None else by_parents(before, after, old)


def first_only(before, after, parents):
    name = next(iter(after))
    return {**after, name: after[name][parents]}


def floating_only(before, after, parents):
    return {
        name: t[parents] if t.is_floating_point() else t
        for name, t in after.items()
    }


for message, how in [
    (
        "Only one of your places begins with 0, but the others are not empty: "
        "with a number such as -1 or -2, copies of one hypothesis still fill "
        "the beam where its tokens are likely enough. Give them −∞.",
        {"live": lambda beam: -torch.arange(beam).float()},
    ),
    (
        "Your places begin with log 1/beam each, so they are one hypothesis "
        "many times over. Only one place has a beginning, with 0; the others "
        "are empty, −∞.",
        {"live": lambda beam: torch.full((beam,), -math.log(beam))},
    ),
    (
        "All of your places are empty to begin with, so nothing is ever found. "
        "One place has the beginning, with 0.",
        {"live": lambda beam: torch.full((beam,), -math.inf)},
    ),
    (
        "Your state is from before the step: what the step has made of it is "
        "lost. Take the parents' rows of the state that step returns.",
        {"follow": lambda before, after, p: by_parents(before, before, p)},
    ),
    (
        "Your state follows one step late: it is reordered by the parents of "
        "the step before. Take the parents of this step.",
        {"follow": "late"},
    ),
    (
        "Your state comes from the first place only: all hypotheses go on with "
        "its row. Each needs the row of its own parent.",
        {"follow": lambda before, after, p: by_parents(before, after, 0 * p)},
    ),
    (
        "Only the first tensor of your state follows its hypothesis. Every one "
        "does.",
        {"follow": first_only},
    ),
    (
        "Only the tensors of floating-point numbers follow their hypotheses. "
        "Every tensor of the state does.",
        {"follow": floating_only},
    ),
    (
        "Your code fails where a tensor of the state has more than one "
        "dimension. Is there a `gather`? Take whole rows: `tensor[parents]`.",
        {
            "follow": lambda before, after, parents: {
                name: t.gather(0, parents) for name, t in after.items()
            }
        },
    ),
    (
        "The tokens are not those whose log-probability you return. A new "
        "hypothesis has the tokens of its *parent*, and yours has those that "
        "stood in the same place.",
        {"write": lambda written, parents: [list(ids) for ids in written]},
    ),
    (
        "You copy the tokens of what has ended, but two children of one parent "
        "still share its list, and `append` changes it for both. Make a new "
        "list for each child.",
        {"write": shared, "snapshot": True},
    ),
    (
        "Once a hypothesis has finished, your beam is narrower: its place is "
        "not filled again. Every step keeps beam_size hypotheses.",
        {"shrink": True},
    ),
    (
        "You keep the hypothesis that finishes last, even if it is less likely "
        "than one before. Keep the most likely.",
        {"latest": True},
    ),
    (
        "You choose among the finished hypotheses by the log-probability per "
        "token. The most likely one is asked for.",
        {"divide": True},
    ),
]:

    def search_one(*given, how=how):
        return searched(given, **how)

    QUESTION.mistake(message)(search_one)


@QUESTION.mistake(
    "You keep the longest of the finished hypotheses. Keep the most likely."
)
def search_one(*given):
    return searched(given, longest=True)


@QUESTION.mistake(
    "Only the hypotheses that finish first count, as many as beam_size. One "
    "that is still live may become a more likely finished one: go on while it "
    "can."
)
def search_one(*given):
    return searched(given, most=given[4])


@QUESTION.mistake(
    "You return the first hypothesis that finishes. One that is still live may "
    "become a more likely finished one: go on while it can."
)
def search_one(step, state, bos_id, eos_id, beam_size, max_length):
    given = step, state, bos_id, eos_id, beam_size
    for steps in range(1, max_length + 1):
        ids, log_prob = searched((*given, steps))
        if ids:
            return ids, log_prob
    return [], -math.inf


@QUESTION.mistake(
    "An EOS in the first step is not noticed: that hypothesis goes on. Look "
    "for EOS after every step."
)
def search_one(step, state, bos_id, eos_id, beam_size, max_length):
    log_probs, state = step(tensor([bos_id]), state)
    beam = min(beam_size, log_probs.shape[1])
    live, tokens = log_probs[0].topk(beam)
    state = {name: t.repeat_interleave(beam, 0) for name, t in state.items()}
    written = [[token] for token in tokens.tolist()]
    best, best_log_prob = [], -math.inf
    for _ in range(max_length - 1):
        log_probs, state = step(tokens, state)
        vocab = log_probs.shape[1]
        live, flat = (live[:, None] + log_probs).flatten().topk(beam_size)
        parents, tokens = flat // vocab, flat % vocab
        state = by_parents(None, state, parents)
        written = copies(written, parents.tolist())
        for place, token in enumerate(tokens.tolist()):
            written[place].append(token)
            if token == eos_id:
                if live[place] > best_log_prob:
                    best, best_log_prob = written[place], live[place].item()
                live[place] = -math.inf
        if live.max() <= best_log_prob:
            break
    return best, best_log_prob


def otherwise(change):
    """The right answer, with its arguments or its results changed."""

    def wrong(*given):
        def right(*given):
            return QUESTION.right["search_one"](*given)

        return change(right, *given)

    return wrong


for message, change in [
    (
        "Your search is greedy, whatever beam_size is.",
        lambda right, *given: right(*given[:4], 1, given[5]),
    ),
    (
        "You make one step less than max_length allows. It counts the tokens "
        "of a hypothesis, EOS included and BOS not.",
        lambda right, *given: right(*given[:5], given[5] - 1),
    ),
    (
        "You take BOS to be 0 and EOS to be 1. Another vocabulary has other "
        "numbers: use bos_id and eos_id.",
        lambda right, step, state, bos, eos, *rest: right(
            step, state, 0, 1, *rest
        ),
    ),
    (
        "Your tokens begin with BOS. It is where every hypothesis begins, but "
        "not one of its tokens.",
        lambda right, *given: (
            [given[2], *right(*given)[0]],
            right(*given)[1],
        ),
    ),
    (
        "Your tokens lack their EOS. Keep it as the last one.",
        lambda right, *given: (right(*given)[0][:-1], right(*given)[1]),
    ),
    (
        "Your log-probability is a tensor. Keep the `item()`: a plain number "
        "is asked for.",
        lambda right, *given: (
            right(*given)[0],
            tensor(right(*given)[1]),
        ),
    ),
    (
        "You return the log-probability first. The tokens come first.",
        lambda right, *given: right(*given)[::-1],
    ),
]:
    wrong = otherwise(change)
    wrong.__name__ = "search_one"
    QUESTION.mistake(message)(wrong)


# --- Models


class Model:
    """What is fed to it must be tokens, a row each, and not without end."""

    calls = 0
    unlikely_copies = False

    def step(self, tokens, state):
        expect_tensor(
            tokens, dtype=torch.int64, name="tokens, as you call step"
        )
        count = len(next(iter(state.values())))
        expect_tensor(tokens, (count,), name="tokens, as you call step")
        self.calls += 1
        if self.calls > MOST_CALLS:
            raise UnusableAnswerError(
                f"step is called more than {MOST_CALLS} times"
            )
        log_probs, state = self.said(tokens, state)
        if self.unlikely_copies and self.calls == 1:
            # To begin with all rows are equal, and only one of them counts.
            # If several do, the first wins: that is another bug's matter.
            log_probs = log_probs - 50 * torch.arange(count)[:, None]
        return log_probs, state


class Markov(Model):
    """The next token depends on the last one only.

    The rows have the probabilities after BOS, a, b … of EOS, a, b …
    """

    def __init__(self, *rows, bos_id=0, eos_id=1):
        vocab = len(rows) + 1
        letters = [t for t in range(vocab) if t not in (bos_id, eos_id)]
        after_eos = [0.1, 0.8, *[0.1 / (len(letters) - 1)] * (len(letters) - 1)]
        self.probs = torch.zeros(vocab, vocab)
        for last, row in zip(
            [bos_id, eos_id, *letters],
            [rows[0], after_eos, *rows[1:]],
            strict=True,
        ):
            self.probs[last, [eos_id, *letters]] = tensor(row)
        names = ["EOS", *"abcdef"[: len(letters)]]
        self.label = "; ".join(
            f"after {last}: "
            + ", ".join(f"{n} {p:g}" for n, p in zip(names, row, strict=True))
            for last, row in zip(["BOS", *names[1:]], rows, strict=True)
        )
        ids = zip(["BOS", *names], [bos_id, eos_id, *letters], strict=True)
        self.label += f". The ids are {', '.join(f'{n} {i}' for n, i in ids)}"

    def said(self, tokens, state):
        return self.probs.log()[tokens], state

    def state(self):
        return {"none": torch.zeros(1)}


class Forking(Model):
    """After a comes c or d, after b comes e or f: a token tells its parent."""

    def __init__(self):
        self.fed = []

    def said(self, tokens, state):
        probs = torch.full((9, 9), 1e-6)
        for last, row in {
            0: {2: 0.5, 3: 0.45, 8: 0.05},  # BOS: a, b, g
            2: {4: 0.4, 5: 0.3, 8: 0.2, 1: 0.1},  # a: c, d, g, EOS
            3: {6: 0.9, 7: 0.06, 8: 0.04},  # b: e, f, g
        }.items():
            for token, prob in row.items():
                probs[last, token] = prob
        for last in (1, 4, 5, 6, 7, 8):
            probs[last, 1], probs[last, 8] = 0.6, 0.4
        self.fed += zip(tokens.tolist(), state["last"].tolist(), strict=True)
        return probs.log()[tokens], {"last": tokens.clone()}

    def state(self):
        return {"last": tensor([0])}


class Remembering(Model):
    """What it says depends on all of its state, and EOS comes late.

    The state has a name that the first one lacks.
    """

    def __init__(self, vocab, bos_id, eos_id, which):
        self.vocab, self.eos_id = vocab, eos_id
        parts = {
            "token": vocab,
            "h": 5,
            "last": vocab,
            "seen": vocab,
            "deep": 6,
        }
        self.weights = {
            part: 2 * numbers(which, rows, 5)[-1]
            for part, rows in parts.items()
        }
        self.out = 1.5 * numbers(which, 5, vocab)[-1]
        self.out[:, bos_id] = 0
        self.bias = torch.zeros(vocab)
        self.bias[bos_id] = -99.0
        self.label = f"a model with a state, of {vocab} tokens"

    def said(self, tokens, state):
        w, steps = self.weights, state["steps"] + 1
        before = state.get("hidden", state.get("start"))
        h = (
            w["token"][tokens]
            + before @ w["h"]
            + w["last"][state["last"]]
            + state["seen"].float() @ w["seen"]
            + state["deep"].flatten(1).float() @ w["deep"]
        ).sin()
        seen = state["seen"].clone()
        seen[torch.arange(len(tokens)), tokens] = True
        logits = h @ self.out + self.bias
        logits[:, self.eos_id] += 1.5 * steps - 6
        return logits.log_softmax(dim=-1), {
            "hidden": h,
            "steps": steps,
            "last": tokens.clone(),
            "seen": seen,
            "deep": (state["deep"] + h[:, :2, None].double()).cos(),
        }

    def state(self):
        return {
            "start": numbers(1, 5),
            "steps": tensor([0]),
            "last": tensor([2]),
            "seen": torch.zeros(1, self.vocab, dtype=torch.bool),
            "deep": numbers(1, 2, 3).double(),
        }


# --- Trials: one for each bug, whatever the others do

TRAP = [0.05, 0.6, 0.35], [0.4, 0.32, 0.28], [0.9, 0.06, 0.04]
SURE = [0.02, 0.9, 0.08], [0.01, 0.975, 0.015], [0.94, 0.04, 0.02]

for rows in (TRAP, SURE):

    @QUESTION.trial(
        "start",
        f"{Markov(*rows).label}. beam_size 2, max_length 3",
        "A beam of two hypotheses finds what greedy search misses.",
    )
    def trial(search_one, rows=rows):
        model = Markov(*rows)
        got = search_one(model.step, model.state(), 0, 1, 2, 3)
        if isinstance(got, tuple | list) and len(got) == 2:
            return Seen({"the log-probability": got[1]})
        return Seen({"what you return": got})


@QUESTION.trial(
    "state",
    "a model that says c or d after a, e or f after b, and whose state is the "
    "token before. beam_size 2, max_length 5",
    "Each row of the state must be that of its own hypothesis.",
)
def trial(search_one):
    model = Forking()
    model.unlikely_copies = True
    search_one(model.step, model.state(), 0, 1, 2, 5)
    names = ["BOS", "EOS", *"abcdefg"]
    parents = {"a": "BOS", "b": "BOS", "c": "a", "d": "a", "e": "b", "f": "b"}
    fed = [(names[token], names[last]) for token, last in model.fed]
    return Seen(
        {
            "c and e are fed to step": {"c", "e"} <= {name for name, _ in fed},
            "tokens fed with the state of another hypothesis": [
                f"{token} after {last}"
                for token, last in fed
                if parents.get(token, last) != last
            ],
        }
    )


@QUESTION.trial(
    "lists",
    f"{Markov(*TRAP).label}. beam_size 2, max_length 4",
    "These are not the tokens of the most likely finished hypothesis.",
)
def trial(search_one):
    model = Markov(*TRAP)
    model.unlikely_copies = True
    got = search_one(model.step, model.state(), 0, 1, 2, 4)
    if isinstance(got, tuple | list) and len(got) == 2:
        return Seen({"the tokens": got[0]})
    return Seen({"what you return": got})


# --- The whole


def whole(make, beam_size, max_length, rule="", bos_id=0, eos_id=1):
    label = f"{make().label}. beam_size {beam_size}, max_length {max_length}"

    @QUESTION.trial("whole", label, rule)
    def trial(search_one):
        state = make().state()
        given = bos_id, eos_id, beam_size, max_length
        first = search_one(make().step, state, *given)
        again = search_one(make().step, make().state(), *given)
        return Seen(
            {
                **results(first, QUESTION.returns),
                **{
                    f"{name} of a second call": value
                    for name, value in results(again, QUESTION.returns).items()
                },
                "`state` afterwards": state,
            }
        )


def markov(*rows, **ids):
    return lambda: Markov(*rows, **ids)


CHAIN = [
    [0.05, 0.9, 0.02, 0.01, 0.01, 0.01],
    [0.025, 0.015, 0.93, 0.01, 0.01, 0.01],
    [0.025, 0.015, 0.01, 0.93, 0.01, 0.01],
    [0.025, 0.015, 0.01, 0.01, 0.93, 0.01],
    [0.025, 0.015, 0.01, 0.01, 0.01, 0.93],
    [0.93, 0.025, 0.015, 0.01, 0.01, 0.01],
]  # a b c d e EOS
EVEN = [0.9, 0.06, 0.04]  # whatever it was, EOS is likely now
whole(markov(*TRAP), 1, 4)
whole(markov(*TRAP), 2, 4)
whole(markov(*SURE), 2, 3)
whole(
    markov([0.05, 0.6, 0.35], [0.2, 0.3, 0.5], EVEN),
    2,
    4,
    "A new hypothesis has the tokens of its parent, and then its own.",
)
whole(
    markov([0.3, 0.65, 0.05], EVEN, EVEN),
    2,
    5,
    "A live hypothesis can overtake one that has finished.",
)
whole(
    markov([0.4, 0.55, 0.05], [0.6, 0.25, 0.15], [0.6, 0.3, 0.1]),
    2,
    5,
    "What finished in an earlier step may be the most likely.",
)
whole(
    markov(
        [0.15, 0.8, 0.03, 0.02],
        [0.05, 0.06, 0.5, 0.39],
        [0.3, 0.5, 0.11, 0.09],
        [0.9, 0.05, 0.03, 0.02],
    ),
    2,
    6,
    "Each step keeps beam_size hypotheses.",
)
whole(markov([0.7, 0.2, 0.1], EVEN, EVEN), 2, 1, "max_length may be 1.")
whole(markov([0.04, 0.9, 0.06], [0.4, 0.5, 0.1], EVEN), 2, 2)
whole(
    markov([0.2, 0.75, 0.05], [0.3, 0.05, 0.65], EVEN),
    2,
    5,
    "A live hypothesis can overtake all that have finished.",
)
whole(
    markov(
        [0.3, 0.6, 0.06, 0.04],
        [0.14, 0.07, 0.7, 0.09],
        [0.02, 0.5, 0.44, 0.04],
        [0.02, 0.47, 0.38, 0.13],
    ),
    2,
    6,
    "What finished in an earlier step may be the most likely.",
)
whole(
    markov(
        [0.03, 0.4, 0.3, 0.25, 0.02],
        [0.5, 0.1, 0.15, 0.11, 0.14],
        [0.6, 0.11, 0.1, 0.1, 0.09],
        [0.03, 0.02, 0.03, 0.02, 0.9],
        [0.96, 0.01, 0.01, 0.01, 0.01],
    ),
    3,
    5,
    "A live hypothesis can overtake all that have finished.",
)
whole(markov(*CHAIN), 2, 9, "The most likely may have many tokens.")
whole(markov(*TRAP), 7, 3, "A beam may be wider than the vocabulary.")
for bos_id, eos_id in [(3, 0), (1, 2)]:
    whole(
        markov(*TRAP, bos_id=bos_id, eos_id=eos_id),
        2,
        4,
        "Use bos_id and eos_id, whatever they are.",
        bos_id,
        eos_id,
    )
for vocab, bos_id, eos_id, beam_size, which in [
    (7, 0, 1, 3, 23),
    (11, 4, 2, 2, 13),
    (13, 1, 0, 5, 28),
    (17, 2, 3, 3, 15),
]:
    whole(
        lambda ids=(vocab, bos_id, eos_id, which): Remembering(*ids),
        beam_size,
        9,
        "All of the state, under whatever name, moves with its hypothesis. Two "
        "hypotheses may end with the same token, and both be kept.",
        bos_id,
        eos_id,
    )


@test_case(points=1)
def test_start(search_one):
    QUESTION.check("start", search_one)


@test_case(points=1)
def test_state(search_one):
    QUESTION.check("state", search_one)


@test_case(points=1)
def test_lists(search_one):
    QUESTION.check("lists", search_one)


@test_case(points=2)
def test_whole(search_one):
    QUESTION.check("start state lists whole", search_one)
