"""One step of Luong's decoder: a part for each bug, blind to the others.

Where a sentence's neighbours have the same scores, only turned round, a softmax
over the batch is the same as one over the source; and where h is the tanh of c
already, an LSTM whose gates keep c does not move. So a part can look at one bug
whether the others are mended or not.
"""

import itertools

import torch
from otter.test_files import test_case
from torch import nn, tensor

from attend.grading import (
    Question,
    Seen,
    UnusableAnswerError,
    expect_tensor,
    numbers,
)
from attend.grading.compare import Absent, kind

OK_FORMAT = False
name = "q7"
points = None

QUESTION = Question("luong_step")


# --- Answers


@QUESTION.reference
def luong_step(x, state, memory, mask, cell, w_a, w_c):
    h, c, feed = state
    new_h, new_c = cell(torch.cat([x, feed], dim=-1), (h, c))
    keys = memory @ w_a.T
    scores = (keys @ new_h[:, :, None]).squeeze(-1)
    weights = scores.masked_fill(~mask, float("-inf")).softmax(dim=-1)
    context = (weights[:, None] @ memory).squeeze(1)
    both = torch.cat([context, new_h], dim=-1)
    feature = torch.tanh(both @ w_c.T)
    return feature, (new_h, new_c, feature), weights


# The bugs, in the order of the lines

BUGS = {
    "query": (
        "The old state h asks, so the weights do not change with the new "
        "token. Luong moves first and then looks: the query is h'. (With "
        "Bahdanau the old one would be right.)"
    ),
    "axis": (
        "The softmax goes over the sentences of the batch, so they compete "
        "with each other. The weights of each sentence sum to one over its "
        "tokens."
    ),
    "mask": (
        "The mask comes after the softmax, so padding has already taken its "
        "share of the sum. Mask the scores before, with −∞."
    ),
    "context": (
        "The context is a mean of the keys, W_a m. They are there to compare: "
        "what is summed up is the memory itself."
    ),
    "feed": (
        "The new state hands on the feed that came in, not the feature of this "
        "step, so nothing is ever fed to the next one."
    ),
}
LEFT = {
    1: "This is the last of the five bugs.",
    2: "Two bugs are left, this one included.",
    3: "Three bugs are left, this one included.",
    4: "Four bugs are left, this one included.",
    5: "This is the first bug, and all five are there.",
}


def register(bugs):
    """The step with some of its bugs left, as a mistake."""

    @QUESTION.mistake(f"{BUGS[bugs[0]]} {LEFT[len(bugs)]}")
    def luong_step(x, state, memory, mask, cell, w_a, w_c):
        h, c, feed = state
        new_h, new_c = cell(torch.cat([x, feed], dim=-1), (h, c))
        keys = memory @ w_a.T
        query = h if "query" in bugs else new_h
        scores = (keys @ query[:, :, None]).squeeze(-1)
        if "mask" not in bugs:
            scores = scores.masked_fill(~mask, float("-inf"))
        weights = scores.softmax(dim=0 if "axis" in bugs else -1)
        if "mask" in bugs:
            weights = weights * mask
        values = keys if "context" in bugs else memory
        context = (weights[:, None] @ values).squeeze(1)
        feature = torch.tanh(torch.cat([context, new_h], dim=-1) @ w_c.T)
        new_feed = feed if "feed" in bugs else feature
        return feature, (new_h, new_c, new_feed), weights


for count in range(1, len(BUGS) + 1):
    for bugs in itertools.combinations(BUGS, count):
        register(bugs)


# Others, where the five are mended


def attended(query, memory, mask, w_a):
    """The scores, masked."""
    scores = (memory @ w_a.T @ query[:, :, None]).squeeze(-1)
    return scores.masked_fill(~mask, float("-inf"))


def finished(weights, memory, new_h, new_c, w_c):
    """What comes after the weights."""
    context = (weights[:, None] @ memory).squeeze(1)
    feature = torch.tanh(torch.cat([context, new_h], dim=-1) @ w_c.T)
    return feature, (new_h, new_c, feature), weights


def moved(x, state, cell):
    h, c, feed = state
    return cell(torch.cat([x, feed], dim=-1), (h, c))


@QUESTION.mistake(
    "Padding gets weight: your step does not use the mask. The softmax goes "
    "over the real source tokens."
)
def luong_step(x, state, memory, mask, cell, w_a, w_c):
    new_h, new_c = moved(x, state, cell)
    weights = attended(new_h, memory, mask | True, w_a).softmax(dim=-1)
    return finished(weights, memory, new_h, new_c, w_c)


@QUESTION.mistake(
    "You mask after the softmax and divide by the sum. Where padding scores "
    "far higher than the tokens nothing is left of them: 0/0 is NaN. Mask the "
    "scores before, with −∞."
)
def luong_step(x, state, memory, mask, cell, w_a, w_c):
    new_h, new_c = moved(x, state, cell)
    weights = attended(new_h, memory, mask | True, w_a).softmax(dim=-1) * mask
    weights = weights / weights.sum(dim=-1, keepdim=True)
    return finished(weights, memory, new_h, new_c, w_c)


@QUESTION.mistake(
    "Padding takes part in the softmax with a score of 0. The exponential of 0 "
    "is 1: only the score −∞ gives weight 0."
)
def luong_step(x, state, memory, mask, cell, w_a, w_c):
    new_h, new_c = moved(x, state, cell)
    scores = attended(new_h, memory, mask, w_a).masked_fill(~mask, 0.0)
    return finished(scores.softmax(dim=-1), memory, new_h, new_c, w_c)


@QUESTION.mistake(
    "You have turned the mask round: it leaves out the tokens, and a sentence "
    "without padding gets NaN. True means: a real token."
)
def luong_step(x, state, memory, mask, cell, w_a, w_c):
    new_h, new_c = moved(x, state, cell)
    weights = attended(new_h, memory, ~mask, w_a).softmax(dim=-1)
    return finished(weights, memory, new_h, new_c, w_c)


@QUESTION.mistake(
    "You put −1e9 in place of the scores of padding. That does not fit into "
    "half precision, where no number is above 65,504. Fill with −∞, which "
    "every float type has."
)
def luong_step(x, state, memory, mask, cell, w_a, w_c):
    new_h, new_c = moved(x, state, cell)
    scores = attended(new_h, memory, mask | True, w_a)
    weights = scores.masked_fill(~mask, -1e9).softmax(dim=-1)
    return finished(weights, memory, new_h, new_c, w_c)


@QUESTION.mistake(
    "W_a is the wrong way round. In h'ᵀ W_a m it stands left of the memory, "
    "and for rows of memory that is `memory @ w_a.T`, as it was."
)
def luong_step(x, state, memory, mask, cell, w_a, w_c):
    return QUESTION.right["luong_step"](
        x, state, memory, mask, cell, w_a.T, w_c
    )


@QUESTION.mistake(
    "You divide the scores by √d. The equation does not scale them: W_a can "
    "learn that."
)
def luong_step(x, state, memory, mask, cell, w_a, w_c):
    w_a = w_a / w_a.shape[0] ** 0.5
    return QUESTION.right["luong_step"](x, state, memory, mask, cell, w_a, w_c)


@QUESTION.mistake(
    "Your query is c', the cell. It is h', the other half of what `cell` "
    "returns."
)
def luong_step(x, state, memory, mask, cell, w_a, w_c):
    new_h, new_c = moved(x, state, cell)
    weights = attended(new_c, memory, mask, w_a).softmax(dim=-1)
    return finished(weights, memory, new_h, new_c, w_c)


@QUESTION.mistake(
    "The new state hands on the context. What is fed to the next step is the "
    "feature."
)
def luong_step(x, state, memory, mask, cell, w_a, w_c):
    feature, (new_h, new_c, _), weights = QUESTION.right["luong_step"](
        x, state, memory, mask, cell, w_a, w_c
    )
    context = (weights[:, None] @ memory).squeeze(1)
    return feature, (new_h, new_c, context), weights


@QUESTION.mistake(
    "The new state hands on h' in place of the feed. What is fed to the next "
    "step is the feature."
)
def luong_step(x, state, memory, mask, cell, w_a, w_c):
    feature, (new_h, new_c, _), weights = QUESTION.right["luong_step"](
        x, state, memory, mask, cell, w_a, w_c
    )
    return feature, (new_h, new_c, new_h), weights


@QUESTION.mistake(
    "The feature that you hand on is cut from its gradient. The next step is "
    "trained through it: hand it on as it is."
)
def luong_step(x, state, memory, mask, cell, w_a, w_c):
    feature, (new_h, new_c, _), weights = QUESTION.right["luong_step"](
        x, state, memory, mask, cell, w_a, w_c
    )
    return feature, (new_h, new_c, feature.detach()), weights


@QUESTION.mistake("Your new state has the old h. `cell` returns a new one, h'.")
def luong_step(x, state, memory, mask, cell, w_a, w_c):
    feature, (_, new_c, feed), weights = QUESTION.right["luong_step"](
        x, state, memory, mask, cell, w_a, w_c
    )
    return feature, (state[0], new_c, feed), weights


@QUESTION.mistake("Your new state has the old c. `cell` returns a new one, c'.")
def luong_step(x, state, memory, mask, cell, w_a, w_c):
    feature, (new_h, _, feed), weights = QUESTION.right["luong_step"](
        x, state, memory, mask, cell, w_a, w_c
    )
    return feature, (new_h, state[1], feed), weights


@QUESTION.mistake("Your new state has h' and c' in the wrong order.")
def luong_step(x, state, memory, mask, cell, w_a, w_c):
    feature, (new_h, new_c, feed), weights = QUESTION.right["luong_step"](
        x, state, memory, mask, cell, w_a, w_c
    )
    return feature, (new_c, new_h, feed), weights


@QUESTION.mistake(
    "Your feature is made of the state and the context in the wrong order: it "
    "is [context; h']."
)
def luong_step(x, state, memory, mask, cell, w_a, w_c):
    d = w_c.shape[0]
    w_c = torch.cat([w_c[:, d:], w_c[:, :d]], dim=1)
    return QUESTION.right["luong_step"](x, state, memory, mask, cell, w_a, w_c)


@QUESTION.mistake(
    "Your feature is made of the context and the old h. It is [context; h']."
)
def luong_step(x, state, memory, mask, cell, w_a, w_c):
    new_h, new_c = moved(x, state, cell)
    weights = attended(new_h, memory, mask, w_a).softmax(dim=-1)
    feature, *_ = finished(weights, memory, state[0], new_c, w_c)
    return feature, (new_h, new_c, feature), weights


@QUESTION.mistake("Your feature lacks its tanh.")
def luong_step(x, state, memory, mask, cell, w_a, w_c):
    new_h, new_c = moved(x, state, cell)
    weights = attended(new_h, memory, mask, w_a).softmax(dim=-1)
    context = (weights[:, None] @ memory).squeeze(1)
    feature = torch.cat([context, new_h], dim=-1) @ w_c.T
    return feature, (new_h, new_c, feature), weights


@QUESTION.mistake("Your cell gets the feed before the token. It is [x; feed].")
def luong_step(x, state, memory, mask, cell, w_a, w_c):
    h, c, feed = state
    new_h, new_c = cell(torch.cat([feed, x], dim=-1), (h, c))
    weights = attended(new_h, memory, mask, w_a).softmax(dim=-1)
    return finished(weights, memory, new_h, new_c, w_c)


@QUESTION.mistake(
    "In place of the weights you return the scores, before the softmax."
)
def luong_step(x, state, memory, mask, cell, w_a, w_c):
    new_h, new_c = moved(x, state, cell)
    scores = attended(new_h, memory, mask, w_a)
    feature, new_state, _ = finished(
        scores.softmax(dim=-1), memory, new_h, new_c, w_c
    )
    return feature, new_state, scores


SQUEEZED = (
    "You lose an axis where its size is 1. `squeeze()` removes every such "
    "axis, that of a single sentence or source token, too: say which one, "
    "`squeeze(-1)` or `squeeze(1)`."
)


def squeezing(of_scores, of_context):
    @QUESTION.mistake(SQUEEZED)
    def luong_step(x, state, memory, mask, cell, w_a, w_c):
        new_h, new_c = moved(x, state, cell)
        scores = memory @ w_a.T @ new_h[:, :, None]
        scores = scores.squeeze() if of_scores else scores.squeeze(-1)
        scores = scores.masked_fill(~mask, float("-inf"))
        weights = scores.softmax(dim=-1)
        context = weights[:, None] @ memory
        context = context.squeeze() if of_context else context.squeeze(1)
        feature = torch.tanh(torch.cat([context, new_h], dim=-1) @ w_c.T)
        return feature, (new_h, new_c, feature), weights


squeezing(True, False)
squeezing(False, True)
squeezing(True, True)


# --- Trials: a part for each bug


def results(got):
    """The three results; says so if there are others."""
    if not isinstance(got, tuple | list) or len(got) != 3:
        raise UnusableAnswerError(
            "expected three results, the feature, the new state (h, c, feed) "
            f"and the weights, got {kind(got)}"
        )
    feature, state, weights = got
    if not isinstance(state, tuple | list) or len(state) != 3:
        raise UnusableAnswerError(
            f"the new state: expected (h, c, feed), got {kind(state)}"
        )
    return feature, state, weights


def keeping(d_embed, d):
    """An LSTM whose gates keep c, so that h' is tanh(c)."""
    cell = nn.LSTMCell(d_embed + d, d)
    gates = tensor([-50.0, 50.0, 0.0, 50.0])  # input, forget, cell, output
    with torch.no_grad():
        for parameter in cell.parameters():
            parameter.zero_()
        cell.bias_ih.copy_(gates.repeat_interleave(d))
    return cell


def step(luong_step, scores, old=None, mask=None, w_c=None):
    """A step in which the new state scores as said, and the old one, too.

    Each place of the memory has two numbers: the query h' = [0.5, 0] scores by
    the first, and the old state by the second, unless there is none.
    """
    scores = tensor(scores)
    batch, src = scores.shape
    new = tensor([0.5, 0.0]).repeat(batch, 1)
    other = torch.ones(batch, src) if old is None else tensor(old)
    return results(
        luong_step(
            numbers(batch, 3),
            (
                new.clone() if old is None else new.flip(1),
                new.atanh(),
                numbers(batch, 2),
            ),
            torch.stack([scores, other], dim=-1),
            torch.ones(batch, src, dtype=torch.bool)
            if mask is None
            else tensor(mask),
            keeping(3, 2),
            2 * torch.eye(2),
            torch.zeros(2, 4) if w_c is None else w_c,
        )
    )


def weights_of(got, batch, src):
    return Seen(
        {
            "the weights": expect_tensor(
                got[2], (batch, src), axes="batch, src", name="the weights"
            )
        }
    )


@QUESTION.trial(
    "query",
    "2 sentences, whose scores are [[2, 0], [0, 2]] if h' asks, and [[0, 1], "
    "[1, 0]] if h does",
    "The weights are the softmax of e = h'ᵀ W_a m: the new state asks.",
)
def trial(luong_step):
    got = step(
        luong_step, [[2.0, 0.0], [0.0, 2.0]], old=[[0.0, 1.0], [1.0, 0.0]]
    )
    return weights_of(got, 2, 2)


@QUESTION.trial(
    "axis",
    "2 sentences without padding, whose scores are [[0, 1, 2], [3, 0, 0]]",
    "The weights of a sentence are the softmax over its own tokens.",
)
def trial(luong_step):
    got = step(luong_step, [[0.0, 1.0, 2.0], [3.0, 0.0, 0.0]])
    return weights_of(got, 2, 3)


@QUESTION.trial(
    "mask",
    "3 sentences, whose scores are [[1, 0, 2], [2, 1, 0], [0, 2, 1]], where "
    "the tokens with the score 2 are padding",
    "Padding has no weight, and the others share all of it.",
)
def trial(luong_step):
    scores = [[1.0, 0.0, 2.0], [2.0, 1.0, 0.0], [0.0, 2.0, 1.0]]
    mask = [[score < 2 for score in row] for row in scores]
    return weights_of(step(luong_step, scores, mask=mask), 3, 3)


@QUESTION.trial(
    "context",
    "2 sentences without padding, whose scores are [[2, 0], [0, 2]], W_a = 2 I "
    "and W_c = [I / 2, I / 2]",
    "The feature is tanh(W_c [Σ α m; h']): a mean of the memory, and h'.",
)
def trial(luong_step):
    got = step(
        luong_step,
        [[2.0, 0.0], [0.0, 2.0]],
        w_c=torch.eye(2).repeat(1, 2) / 2,
    )
    feature = expect_tensor(got[0], (2, 2), axes="batch, d", name="the feature")
    return Seen({"the feature": feature})


@QUESTION.trial(
    "feed",
    "2 sentences without padding",
    "What is fed to the next step is the feature.",
)
def trial(luong_step):
    w_c = numbers(2, 4, low=0.1, high=0.5)
    got = step(luong_step, [[2.0, 0.0], [0.0, 2.0]], w_c=w_c)
    feature, feed = (
        expect_tensor(tensor, (2, 2), axes="batch, d", name=name)
        for tensor, name in [
            (got[0], "the feature"),
            (got[1][2], "the vector that is fed on"),
        ]
    )
    return Seen(
        {"the vector that is fed on, minus the feature": feed - feature}
    )


# --- The whole step


def arguments(batch=2, src=5, d_embed=3, d=7, mask=None, large=1.0):
    """Arguments, and a mask with full and padded rows."""
    cell = nn.LSTMCell(d_embed + d, d)
    with torch.no_grad():
        for parameter in cell.parameters():
            parameter.copy_(numbers(*parameter.shape, low=-0.7, high=0.9))
    if mask is None:
        lengths = src - 2 * torch.arange(batch)[:, None] % src
        mask = torch.arange(src) < lengths
    h = numbers(d, batch, low=-1, high=1).T.contiguous()
    return {
        "x": numbers(batch, d_embed),
        "state": (h, numbers(batch, d), numbers(batch, d, low=0, high=1)),
        "memory": large * numbers(batch, src, d, low=-1, high=1.5),
        "mask": mask,
        "cell": cell,
        "w_a": numbers(d, d, low=-0.5, high=0.7),
        "w_c": numbers(d, 2 * d, low=-0.4, high=0.5),
    }


def converted(given, change):
    """Change all floating-point tensors of some arguments."""
    return {
        key: tuple(map(change, value))
        if key == "state"
        else value
        if key in ("mask", "cell")
        else change(value)
        for key, value in given.items()
    }


def whole(got):
    feature, (h, c, feed), weights = results(got)
    return Seen(
        {
            "the feature": feature,
            "the new h": h,
            "the new c": c,
            "the vector that is fed on": feed,
            "the weights": weights,
        }
    )


USUAL = "2 sentences of 5 tokens, one of them padded"
for rule, label, how in [
    ("", USUAL, {}),
    ("A batch may be one sentence.", "1 sentence of 5 tokens", {"batch": 1}),
    ("A source may be one token.", "2 sentences of 1 token", {"src": 1}),
    ("d_embed may be 1.", f"{USUAL}, d_embed 1", {"d_embed": 1}),
    ("d may be 1.", f"{USUAL}, d 1", {"d": 1}),
    (
        "All sizes may be 1.",
        "1 sentence of 1 token, d_embed 1, d 1",
        {"batch": 1, "src": 1, "d_embed": 1, "d": 1},
    ),
    (
        "Padding may stand anywhere.",
        "mask [[True, False, True, True], [False, True, True, False]]",
        {
            "src": 4,
            "mask": tensor(
                [[True, False, True, True], [False, True, True, False]]
            ),
        },
    ),
    (
        "Scores may be large, and those of padding larger than all others.",
        f"{USUAL}, memory with large numbers",
        {"large": 300.0},
    ),
    (
        "Scores may be large, and those of padding larger than all others.",
        "memory with large numbers, mask [[True, False, False, False, False], "
        "[False, False, False, True, False]]",
        {
            "large": 300.0,
            "mask": torch.eye(5, dtype=torch.bool)[[0, 3]],
        },
    ),
]:

    @QUESTION.trial("all", label, rule)
    def trial(luong_step, how=how):
        return whole(luong_step(**arguments(**how)))


@QUESTION.trial(
    "all",
    f"{USUAL}, two steps in a row",
    "The second step goes on where the first has ended, with memory and mask "
    "as they were.",
)
def trial(luong_step):
    given = arguments()
    _, given["state"], _ = results(luong_step(**given))
    return whole(luong_step(**given))


@QUESTION.trial(
    "all",
    USUAL,
    "Your code changes what it was given. Leave arguments as they are.",
)
def trial(luong_step):
    given = arguments()
    luong_step(**given)
    h, c, feed = given.pop("state")
    del given["cell"]
    return Seen(
        {
            f"`{name}` afterwards": value
            for name, value in {**given, "h": h, "c": c, "feed": feed}.items()
        }
    )


@QUESTION.trial(
    "all",
    f"{USUAL}, the same call twice",
    "A second call gives another result than the first, with the same "
    "arguments.",
)
def trial(luong_step):
    given = arguments()
    luong_step(**given)
    return whole(luong_step(**given))


@QUESTION.trial(
    "all",
    f"{USUAL}, tensors that are not contiguous",
    "The same numbers in another memory layout give another result.",
)
def trial(luong_step):
    def turned(value):
        order = range(value.dim())[::-1]
        return value.permute(*order).contiguous().permute(*order)

    given = converted(arguments(), turned)
    return whole(luong_step(**given))


for dtype in (torch.float64, torch.float16):

    @QUESTION.trial(
        "all",
        f"{USUAL}, {dtype}",
        f"With arguments of {dtype} your result is wrong.",
    )
    def trial(luong_step, dtype=dtype):
        given = converted(arguments(), lambda value: value.to(dtype))
        given["cell"].to(dtype)
        return whole(luong_step(**given))


@QUESTION.trial(
    "all",
    f"{USUAL}, two steps in a row",
    "The results do not have the gradients that they should have.",
)
def trial(luong_step):
    given = arguments()
    inputs = {name: given[name] for name in ("x", "memory", "w_a", "w_c")}
    for value in inputs.values():
        value.requires_grad_()
    _, given["state"], _ = results(luong_step(**given))
    feature, _, weights = results(luong_step(**given))
    total = sum(
        (value * numbers(*value.shape)).sum() for value in (feature, weights)
    )
    if total.requires_grad:
        total.backward()
    return Seen(
        {
            f"the gradient of `{name}`": Absent("none: it is cut")
            if value.grad is None
            else value.grad
            for name, value in inputs.items()
        }
    )


@test_case(points=1)
def test_query(luong_step):
    QUESTION.check("query", luong_step)


@test_case(points=1)
def test_axis(luong_step):
    QUESTION.check("axis", luong_step)


@test_case(points=1)
def test_mask(luong_step):
    QUESTION.check("mask", luong_step)


@test_case(points=1)
def test_context(luong_step):
    QUESTION.check("context", luong_step)


@test_case(points=1)
def test_feed(luong_step):
    QUESTION.check("feed", luong_step)


@test_case(points=2)
def test_all(luong_step):
    QUESTION.check("query axis mask context feed all", luong_step)
