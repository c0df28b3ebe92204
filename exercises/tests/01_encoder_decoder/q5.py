"""Greedy decoding: each sentence to its own end, and no step too many."""

import torch
from otter.test_files import test_case

from attend.grading import Question, Seen, expect_tensor, show

OK_FORMAT = False
name = "q5"
points = None

QUESTION = Question("greedy_decode")


# --- Models that follow a script


class Script:
    """A model that says what is written for each sentence, a token a step.

    How many steps a sentence has made is in the state, so a state that is not
    handed on begins again. After its script a sentence says `after`.
    """

    def __init__(self, *lines, vocab=11, after=7, sure=True, other="h"):
        self.lines, self.vocab, self.after = lines, vocab, after
        self.other = other
        self.odds = 1e9 if sure else 1.5
        self.fed, self.limit = [], 50

    def state(self):
        batch = len(self.lines)
        return {
            "steps": torch.zeros(batch, dtype=torch.int64),
            self.other: torch.zeros(batch, 2, 3),
        }

    def step(self, tokens, state):
        batch = len(self.lines)
        expect_tensor(
            tokens,
            (batch,),
            torch.int64,
            axes="batch",
            name="the `tokens` that you pass to `step`",
        )
        if len(self.fed) == self.limit:
            raise RuntimeError(f"step was called more than {self.limit} times")
        self.fed.append(tokens.tolist())
        odds = torch.ones(batch, self.vocab)
        for row, line in enumerate(self.lines):
            place = int(state["steps"][row])
            token = line[place] if place < len(line) else self.after
            odds[row, token] = self.odds
        log_probs = (odds / odds.sum(dim=1, keepdim=True)).log()
        return log_probs, {part: n + 1 for part, n in state.items()}


def decoded(greedy_decode, script, max_length, bos_id=1, eos_id=2):
    """What comes out, and what each sentence was fed until it ended."""
    state = script.state()
    got = greedy_decode(script.step, state, bos_id, eos_id, max_length)
    fed = []
    for row, line in enumerate(script.lines):
        end = line.index(eos_id) + 1 if eos_id in line else None
        fed.append([tokens[row] for tokens in script.fed][:end])
    return Seen(
        {
            "the result": got,
            "the tokens that step was fed": fed,
            "the number of calls of step": len(script.fed),
            "`state` afterwards": state,
        }
    )


def tried(part, lines, max_length, rule="", bos_id=1, eos_id=2, **how):
    """Register a script."""
    label = (
        f"a model that says {show(list(lines))}, BOS {bos_id}, EOS {eos_id}, "
        f"max_length {max_length}"
    )

    @QUESTION.trial(part, label, rule)
    def trial(greedy_decode):
        script = Script(*lines, **how)
        return decoded(greedy_decode, script, max_length, bos_id, eos_id)


# --- Answers


def start(state, bos_id):
    batch = next(iter(state.values())).shape[0]
    return torch.full((batch,), bos_id), [[] for _ in range(batch)]


def add(results, tokens, eos_id):
    """Put the tokens of sentences not yet ended; return whether all have."""
    for ids, token in zip(results, tokens.tolist(), strict=True):
        if ids[-1:] != [eos_id]:
            ids.append(token)
    return all(ids[-1:] == [eos_id] for ids in results)


@QUESTION.reference
def greedy_decode(step, state, bos_id, eos_id, max_length):
    tokens, results = start(state, bos_id)
    for _ in range(max_length):
        log_probs, state = step(tokens, state)
        tokens = log_probs.argmax(dim=-1)
        if add(results, tokens, eos_id):
            break
    return results


@QUESTION.mistake(
    "A finished sentence goes on after EOS. What the model says after EOS "
    "means nothing: cut it off, even while other sentences of the batch still "
    "go on."
)
def greedy_decode(step, state, bos_id, eos_id, max_length):
    tokens, results = start(state, bos_id)
    ended = torch.zeros(len(tokens), dtype=torch.bool)
    for _ in range(max_length):
        log_probs, state = step(tokens, state)
        tokens = log_probs.argmax(dim=-1)
        for ids, token in zip(results, tokens.tolist(), strict=True):
            ids.append(token)
        ended |= tokens == eos_id
        if ended.all():
            break
    return results


@QUESTION.mistake(
    "A long sentence is cut short: you stop as soon as one sentence of the "
    "batch ends. Remember which have ended, and go on until all of them have."
)
def greedy_decode(step, state, bos_id, eos_id, max_length):
    tokens, results = start(state, bos_id)
    for _ in range(max_length):
        log_probs, state = step(tokens, state)
        tokens = log_probs.argmax(dim=-1)
        add(results, tokens, eos_id)
        if (tokens == eos_id).any():
            break
    return results


@QUESTION.mistake(
    "You stop only when all sentences say EOS in the same step. They end at "
    "different times: remember which have ended."
)
def greedy_decode(step, state, bos_id, eos_id, max_length):
    tokens, results = start(state, bos_id)
    for _ in range(max_length):
        log_probs, state = step(tokens, state)
        tokens = log_probs.argmax(dim=-1)
        add(results, tokens, eos_id)
        if (tokens == eos_id).all():
            break
    return results


@QUESTION.mistake(
    "Your result begins with BOS. BOS starts the model off, but the model did "
    "not say it, and nobody wants to read it."
)
def greedy_decode(step, state, bos_id, eos_id, max_length):
    tokens, results = start(state, bos_id)
    for _ in range(max_length):
        log_probs, state = step(tokens, state)
        tokens = log_probs.argmax(dim=-1)
        if add(results, tokens, eos_id):
            break
    return [[bos_id, *ids] for ids in results]


@QUESTION.mistake(
    "Every step is fed BOS. Only the first one is: after that each step reads "
    "the token that the step before has chosen."
)
def greedy_decode(step, state, bos_id, eos_id, max_length):
    tokens, results = start(state, bos_id)
    for _ in range(max_length):
        log_probs, state = step(tokens, state)
        if add(results, log_probs.argmax(dim=-1), eos_id):
            break
    return results


@QUESTION.mistake(
    "Your model does not remember: every step gets the same old state. `step` "
    "returns a new one. Keep it and hand it to the next step."
)
def greedy_decode(step, state, bos_id, eos_id, max_length):
    tokens, results = start(state, bos_id)
    for _ in range(max_length):
        log_probs, _ = step(tokens, state)
        tokens = log_probs.argmax(dim=-1)
        if add(results, tokens, eos_id):
            break
    return results


@QUESTION.mistake(
    "Your decoding does not end after max_length tokens. A model that never "
    "says EOS keeps it in the loop for ever. Let a `for` count the steps."
)
def greedy_decode(step, state, bos_id, eos_id, max_length):
    tokens, results = start(state, bos_id)
    while True:
        log_probs, state = step(tokens, state)
        tokens = log_probs.argmax(dim=-1)
        if add(results, tokens, eos_id):
            return results


@QUESTION.mistake(
    "A sentence that does not end is one token short: max_length counts the "
    "tokens that the model says, and BOS is none of them."
)
def greedy_decode(step, state, bos_id, eos_id, max_length):
    tokens, results = start(state, bos_id)
    for _ in range(max_length - 1):
        log_probs, state = step(tokens, state)
        tokens = log_probs.argmax(dim=-1)
        if add(results, tokens, eos_id):
            break
    return results


@QUESTION.mistake(
    "Your sentences lack their EOS. Keep it as the last token: it tells a "
    "sentence that has ended from one that was cut off at max_length."
)
def greedy_decode(step, state, bos_id, eos_id, max_length):
    tokens, results = start(state, bos_id)
    for _ in range(max_length):
        log_probs, state = step(tokens, state)
        tokens = log_probs.argmax(dim=-1)
        if add(results, tokens, eos_id):
            break
    return [[token for token in ids if token != eos_id] for ids in results]


@QUESTION.mistake(
    "You add an EOS to a sentence that was cut off at max_length. It has not "
    "ended: leave it as it is."
)
def greedy_decode(step, state, bos_id, eos_id, max_length):
    tokens, results = start(state, bos_id)
    for _ in range(max_length):
        log_probs, state = step(tokens, state)
        tokens = log_probs.argmax(dim=-1)
        if add(results, tokens, eos_id):
            break
    return [ids if ids[-1:] == [eos_id] else [*ids, eos_id] for ids in results]


@QUESTION.mistake(
    "Your sentences are right but you do too much work: all have ended, and "
    "still you call step. Leave the loop then."
)
def greedy_decode(step, state, bos_id, eos_id, max_length):
    tokens, results = start(state, bos_id)
    for _ in range(max_length):
        log_probs, state = step(tokens, state)
        tokens = log_probs.argmax(dim=-1)
        add(results, tokens, eos_id)
    return results


@QUESTION.mistake(
    "You take BOS to be 1 and EOS to be 2. Another vocabulary has other "
    "numbers: use bos_id and eos_id."
)
def greedy_decode(step, state, bos_id, eos_id, max_length):
    return QUESTION.right["greedy_decode"](step, state, 1, 2, max_length)


@QUESTION.mistake(
    "You take EOS to be 2. Another vocabulary has another number: use eos_id."
)
def greedy_decode(step, state, bos_id, eos_id, max_length):
    return QUESTION.right["greedy_decode"](step, state, bos_id, 2, max_length)


@QUESTION.mistake(
    "You take BOS to be 1. Another vocabulary has another number: use bos_id."
)
def greedy_decode(step, state, bos_id, eos_id, max_length):
    return QUESTION.right["greedy_decode"](step, state, 1, eos_id, max_length)


@QUESTION.mistake(
    "BOS ends a sentence of yours, as if it were EOS. Whatever the model says, "
    "only eos_id ends it."
)
def greedy_decode(step, state, bos_id, eos_id, max_length):
    tokens, results = start(state, bos_id)
    for _ in range(max_length):
        log_probs, state = step(tokens, state)
        tokens = log_probs.argmax(dim=-1)
        for ids, token in zip(results, tokens.tolist(), strict=True):
            if not ids or ids[-1] not in (bos_id, eos_id):
                ids.append(token)
        if all(ids[-1] in (bos_id, eos_id) for ids in results):
            break
    return results


# --- Trials

tried("idea", [[3, 4, 2]], 10)
tried("idea", [[3, 4, 2]], 2)
tried(
    "idea",
    [[3, 5, 4, 6, 3]],
    5,
    "After max_length tokens decoding ends, without EOS, too.",
)
tried(
    "idea",
    [[3, 5, 3, 10, 0, 3, 3, 3, 3, 4, 2]],
    12,
    "Take the most likely token, however little it is ahead.",
    sure=False,
)
tried("idea", [[3, 2], [4, 5, 6, 2]], 7)
tried(
    "edges",
    [[3, 2], [4, 5, 6, 2], [2], [8, 9, 10, 3, 4, 5, 6]],
    6,
    "Sentences end at different times, some not at all.",
)
tried("edges", [[2]], 5, "A sentence may end with its first token.")
tried("edges", [[2], [2]], 5, "All sentences may end with the first token.")
tried("edges", [[3], [2], [4]], 1, "max_length may be 1.")
tried("edges", [[3, 4, 2]], 3, "EOS may come just at max_length.")
tried(
    "edges",
    [[3, 4, 6], [6, 1, 2, 6]],
    8,
    "Use bos_id and eos_id, whatever they are.",
    bos_id=5,
    eos_id=6,
)
tried(
    "edges",
    [[3, 4, 0], [0]],
    8,
    "Use bos_id and eos_id, whatever they are.",
    bos_id=9,
    eos_id=0,
)
tried(
    "edges",
    [[3, 1, 4, 2]],
    8,
    "The model may say BOS: it is a token like any other, and ends nothing.",
)
tried(
    "edges",
    [[3, 4, 2], [7, 7, 7, 7, 7, 7, 2]],
    20,
    "What a finished sentence says does not matter, EOS among it.",
    after=2,
)
tried(
    "edges",
    [[3, 2], [4, 5, 2]],
    8,
    "The tensors of the state may have any names.",
    other="memory",
)


@test_case(points=6)
def test_idea(greedy_decode):
    QUESTION.check("idea", greedy_decode)


@test_case(points=3)
def test_edges(greedy_decode):
    QUESTION.check("idea edges", greedy_decode)
