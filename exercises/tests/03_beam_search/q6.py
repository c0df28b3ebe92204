"""The decoder's state in a batch of beams: each row follows its hypothesis."""

import torch
from otter.test_files import test_case
from torch import tensor

from attend.grading import Question, Seen, expect_tensor, numbers, show

OK_FORMAT = False
name = "q6"
points = None

QUESTION = Question("repeat_state", "advance", returns={"the state": ""})


# --- Answers


@QUESTION.reference
def repeat_state(state, beam):
    return {
        name: tensor.repeat_interleave(beam, dim=0)
        for name, tensor in state.items()
    }


@QUESTION.reference
def advance(step, choose, tokens, state):
    log_probs, state = step(tokens, state)
    parents, tokens = choose(log_probs)
    batch, beam = parents.shape
    first = torch.arange(batch)[:, None] * beam
    rows = (first + parents).flatten()
    state = {name: tensor[rows] for name, tensor in state.items()}
    return tokens.flatten(), state


# --- Mistakes of repeat_state


def each(function):
    """A `repeat_state` that does this with every tensor."""

    def repeat_state(state, beam):
        return {name: function(tensor, beam) for name, tensor in state.items()}

    return repeat_state


def whole(tensor, beam):
    return tensor.repeat(beam, *[1] * (tensor.dim() - 1))


for message, function in [
    (
        "Your copies lie one batch after the other: 1, 2, 1, 2. The copies of "
        "a row lie side by side: 1, 1, 2, 2. That is `repeat_interleave`.",
        whole,
    ),
    (
        "Your tensors are laid out flat: `repeat_interleave` does so if it is "
        "not told the dimension. Repeat rows, `dim=0`, and keep the others.",
        lambda tensor, beam: tensor.repeat_interleave(beam),
    ),
    (
        "You repeat the numbers within a row, so the rows become longer. "
        "Repeat the rows, `dim=0`.",
        lambda tensor, beam: tensor.repeat_interleave(beam, dim=-1),
    ),
    (
        "Your code takes every tensor for a table of two dimensions. A tensor "
        "of the state may have one, or more: repeat its rows, `dim=0`.",
        lambda tensor, beam: tensor.repeat(1, beam).view(-1, tensor.shape[1]),
    ),
    (
        "Each row of yours is one long row with all of its copies. The copies "
        "are rows of their own: repeat along `dim=0`.",
        lambda tensor, beam: torch.cat([tensor] * beam, dim=-1),
    ),
    (
        "Your state has a dimension more, of size beam. The copies are rows: "
        "flatten the first two dimensions.",
        lambda tensor, beam: torch.stack([tensor] * beam, dim=1),
    ),
    (
        "Your state has a dimension more, of size beam, in front. The copies "
        "are rows, those of a sentence side by side.",
        lambda tensor, beam: torch.stack([tensor] * beam),
    ),
    (
        "Your state has three copies of each row, as in the example. Make as "
        "many as beam says.",
        lambda tensor, beam: tensor.repeat_interleave(3, dim=0),
    ),
    (
        "Your state has beam copies and the row itself. It has beam rows for "
        "each sentence, all together.",
        lambda tensor, beam: tensor.repeat_interleave(beam + 1, dim=0),
    ),
    (
        "Your state is as it was: no row is repeated.",
        lambda tensor, beam: tensor.clone(),
    ),
    (
        "Only the first row is repeated in your state: all sentences begin "
        "with the state of the first one.",
        lambda tensor, beam: tensor[:1].repeat_interleave(
            beam * len(tensor), dim=0
        ),
    ),
    (
        "Your tensors become `float32`. A state may hold lengths and masks, "
        "too: keep the dtype of each.",
        lambda tensor, beam: tensor.repeat_interleave(beam, dim=0).float(),
    ),
    (
        "Only the tensors of floating-point numbers are repeated. A state may "
        "hold lengths and masks, too: every tensor needs as many rows.",
        lambda tensor, beam: (
            tensor.repeat_interleave(beam, dim=0)
            if tensor.is_floating_point()
            else tensor
        ),
    ),
    (
        "Your tensors lose dimensions of size 1. Is there a `squeeze()`?",
        lambda tensor, beam: tensor.repeat_interleave(beam, dim=0).squeeze(),
    ),
    (
        "Your rows have one dimension, whatever they had: a row of shape "
        "(2, 3) becomes one of 6 numbers. Rows of any shape are to be "
        "repeated as they are.",
        lambda tensor, beam: (
            tensor.flatten(1).repeat_interleave(beam, dim=0)
            if tensor.dim() > 1
            else tensor.repeat_interleave(beam)
        ),
    ),
]:
    QUESTION.mistake(message)(each(function))


@QUESTION.mistake(
    "Your state has the entry `h` only. Repeat every tensor of the dictionary."
)
def repeat_state(state, beam):
    return {"h": state["h"].repeat_interleave(beam, dim=0)}


@QUESTION.mistake(
    "Your state has only the first tensor of the dictionary. Repeat every one."
)
def repeat_state(state, beam):
    name, tensor = next(iter(state.items()))
    return {name: tensor.repeat_interleave(beam, dim=0)}


@QUESTION.mistake(
    "Only the first tensor of your state is repeated. Repeat every one."
)
def repeat_state(state, beam):
    name, tensor = next(iter(state.items()))
    return {**state, name: tensor.repeat_interleave(beam, dim=0)}


@QUESTION.mistake(
    "You return a list of tensors. Return a dictionary, with the same names."
)
def repeat_state(state, beam):
    return [t.repeat_interleave(beam, dim=0) for t in state.values()]


@QUESTION.mistake(
    "Your result is right, but the call changes the dictionary that it was "
    "given. Leave it as it is, and return a new one."
)
def repeat_state(state, beam):
    state.update(QUESTION.right["repeat_state"](state, beam))
    return state


# --- Mistakes of advance


def advanced(
    given,
    rows_of=lambda parents: (
        torch.arange(len(parents))[:, None] * parents.shape[1] + parents
    ),
    tokens_of=lambda tokens: tokens.flatten(),
    take=lambda tensor, rows: tensor[rows],
    old=False,
):
    """A step, with something done otherwise."""
    step, choose, tokens, before = given
    log_probs, after = step(tokens, before)
    parents, tokens = choose(log_probs)
    rows = rows_of(parents).flatten()
    state = before if old else after
    return tokens_of(tokens), {
        name: take(tensor, rows) for name, tensor in state.items()
    }


def with_gather(tensor, rows):
    index = rows.view(-1, *[1] * (tensor.dim() - 1))
    return tensor.gather(0, index)


def in_place(tensor, rows):
    for place, row in enumerate(rows.tolist()):
        tensor[place] = tensor[row]
    return tensor


for message, how in [
    (
        "Your state is from before the step. Each row must hold what the step "
        "has made of its parent: take the rows from the state that step "
        "returns.",
        {"old": True},
    ),
    (
        "The state stays where it was: row k is that of the old hypothesis k, "
        "whichever parent the new one has. Take the parents' rows.",
        {"take": lambda tensor, rows: tensor},
    ),
    (
        "You use the parents as row numbers as they are, so every sentence "
        "gets rows of the first. `parents[b, k]` counts within sentence b, "
        "whose rows begin at b · beam.",
        {"rows_of": lambda parents: parents},
    ),
    (
        "Your sentence b begins at row b · batch. It begins at row b · beam: "
        "each sentence has beam rows.",
        {
            "rows_of": lambda parents: (
                torch.arange(len(parents))[:, None] * len(parents) + parents
            )
        },
    ),
    (
        "Your sentence b begins at row b. It begins at row b · beam: each "
        "sentence has beam rows.",
        {
            "rows_of": lambda parents: (
                torch.arange(len(parents))[:, None] + parents
            )
        },
    ),
    (
        "Your sentence b begins at row 3 b, as in the example. It begins at "
        "row b · beam, and the beam may have another width.",
        {
            "rows_of": lambda parents: (
                torch.arange(len(parents))[:, None] * 3 + parents
            )
        },
    ),
    (
        "Your sentence b begins at row 3 b, as in the example. It begins at "
        "row b · beam, and the beam may have another width.",
        {
            "rows_of": lambda parents: (
                torch.arange(0, parents.numel(), 3)[: len(parents), None]
                + parents
            )
        },
    ),
    (
        "Your rows are those of hypothesis k of all sentences, one k after the "
        "other. They go sentence by sentence: hypothesis k of sentence b is "
        "row b · beam + k.",
        {
            "rows_of": lambda parents: (
                parents * len(parents) + torch.arange(len(parents))[:, None]
            )
        },
    ),
    (
        "The new state has its rows in the order of the columns of parents. "
        "They go sentence by sentence: do not transpose.",
        {
            "rows_of": lambda parents: (
                (
                    torch.arange(len(parents))[:, None] * parents.shape[1]
                    + parents
                ).T
            )
        },
    ),
    (
        "Your row k goes to where its parent stands, and not the parent's row "
        "to where k stands. The new row is `tensor[rows]`.",
        {"take": lambda tensor, rows: tensor.index_copy(0, rows, tensor)},
    ),
    (
        "Your tokens are in another order than the state: they come column by "
        "column. Row b · beam + k belongs to hypothesis k of sentence b.",
        {"tokens_of": lambda tokens: tokens.T.flatten()},
    ),
    (
        "Your tokens still have the shape (batch, beam). The next step needs "
        "one a row: flatten them.",
        {"tokens_of": lambda tokens: tokens},
    ),
    (
        "Your tokens are a column. The next step needs the shape "
        "(batch · beam,): flatten them.",
        {"tokens_of": lambda tokens: tokens.reshape(-1, 1)},
    ),
    (
        "Your rows have one dimension, whatever they had. Rows of any shape "
        "follow their hypothesis as they are.",
        {
            "take": lambda tensor, rows: (
                tensor[rows].flatten(1) if tensor.dim() > 1 else tensor[rows]
            )
        },
    ),
    (
        "Only tensors of one or two dimensions follow their hypotheses. Every "
        "tensor of the state does.",
        {
            "take": lambda tensor, rows: (
                tensor[rows] if tensor.dim() < 3 else tensor
            )
        },
    ),
    (
        "Only the tensors of floating-point numbers follow their hypotheses. A "
        "state may hold lengths and masks, too: every tensor follows.",
        {
            "take": lambda tensor, rows: (
                tensor[rows] if tensor.is_floating_point() else tensor
            )
        },
    ),
    (
        "Your tensors become `float32`. A state may hold lengths and masks, "
        "too: keep the dtype of each.",
        {"take": lambda tensor, rows: tensor[rows].float()},
    ),
    (
        "Your rows have only their first number. Is there a `gather`, whose "
        "index has one column? Take whole rows: `tensor[rows]`.",
        {"take": with_gather},
    ),
    (
        "You copy row after row within one tensor, so a row may be overwritten "
        "before it is read. Make a new tensor: `tensor[rows]`.",
        {"take": in_place},
    ),
    (
        "Your rows are right, but you write them into the tensors that step "
        "returned. Some may be those of the old state: make new ones.",
        {"take": lambda tensor, rows: tensor.copy_(tensor[rows])},
    ),
    (
        "Your tensors lose dimensions of size 1. Is there a `squeeze()`?",
        {"take": lambda tensor, rows: tensor[rows].squeeze()},
    ),
]:

    def advance(step, choose, tokens, state, how=how):
        return advanced((step, choose, tokens, state), **how)

    QUESTION.mistake(message)(advance)


@QUESTION.mistake(
    "Your state has the entry `h` only. Every tensor that step returns follows "
    "its hypothesis."
)
def advance(step, choose, tokens, state):
    tokens, state = advanced((step, choose, tokens, state))
    return tokens, {"h": state["h"]}


@QUESTION.mistake(
    "Only the entry `h` of your state follows its hypothesis. Every tensor "
    "does."
)
def advance(step, choose, tokens, state):
    kept = {}

    def seen(tokens, state):
        log_probs, state = step(tokens, state)
        kept.update(state)
        return log_probs, state

    tokens, state = advanced((seen, choose, tokens, state))
    return tokens, {**kept, "h": state["h"]}


@QUESTION.mistake(
    "Only the first tensor of your state follows its hypothesis. Every one "
    "does."
)
def advance(step, choose, tokens, state):
    kept = {}

    def seen(tokens, state):
        log_probs, state = step(tokens, state)
        kept.update(state)
        return log_probs, state

    tokens, state = advanced((seen, choose, tokens, state))
    name = next(iter(state))
    return tokens, {**kept, name: state[name]}


@QUESTION.mistake(
    "You ask for the names that the old state has. Step may return another "
    "dictionary, with more tensors or other ones: take what it returns."
)
def advance(step, choose, tokens, state):
    names = list(state)
    tokens, state = advanced((step, choose, tokens, state))
    return tokens, {name: state[name] for name in names}


@QUESTION.mistake(
    "New names that step puts into the state are lost. Take all tensors that "
    "it returns."
)
def advance(step, choose, tokens, state):
    names = list(state)
    tokens, state = advanced((step, choose, tokens, state))
    return tokens, {name: state[name] for name in names if name in state}


@QUESTION.mistake(
    "Names that only the old state has are still in your new one. What step "
    "returns is the whole state."
)
def advance(step, choose, tokens, state):
    new, after = advanced((step, choose, tokens, state))
    return new, {**state, **after}


@QUESTION.mistake(
    "You reorder the state before the step: the hypotheses are fed the state "
    "of others. `choose` needs what the step says, so the step comes first."
)
def advance(step, choose, tokens, state):
    log_probs, _ = step(tokens, state)
    parents, new = choose(log_probs)
    first = torch.arange(len(parents))[:, None] * parents.shape[1]
    rows = (first + parents).flatten()
    state = {name: tensor[rows] for name, tensor in state.items()}
    _, state = step(tokens, state)
    return new.flatten(), state


@QUESTION.mistake(
    "You call step twice. One call gives both, log-probabilities and state."
)
def advance(step, choose, tokens, state):
    step(tokens, state)
    return advanced((step, choose, tokens, state))


@QUESTION.mistake(
    "You return the tokens that step was fed. Return those that choose has "
    "chosen."
)
def advance(step, choose, tokens, state):
    _, state = advanced((step, choose, tokens, state))
    return tokens, state


@QUESTION.mistake(
    "You return the parents in place of the tokens. `choose` returns the "
    "parents first, then the tokens."
)
def advance(step, choose, tokens, state):
    kept = []

    def seen(log_probs):
        kept.extend(choose(log_probs))
        return kept

    _, state = advanced((step, seen, tokens, state))
    return kept[0].flatten(), state


@QUESTION.mistake(
    "You take the tokens for the parents, and the parents for the tokens. "
    "`choose` returns the parents first."
)
def advance(step, choose, tokens, state):
    return advanced((step, lambda said: choose(said)[::-1], tokens, state))


@QUESTION.mistake(
    "You return the state first. The tokens come first, then the state."
)
def advance(step, choose, tokens, state):
    return advanced((step, choose, tokens, state))[::-1]


@QUESTION.mistake(
    "Your results are right, but the call changes the dictionary that it was "
    "given. Leave it as it is, and return a new one."
)
def advance(step, choose, tokens, state):
    new, after = advanced((step, choose, tokens, state))
    state.clear()
    state.update(after)
    return new, state


@QUESTION.mistake(
    "Your results are right, but the call writes the new tokens into the "
    "tensor of the old ones. Leave it as it is, and return a new one."
)
def advance(step, choose, tokens, state):
    new, after = advanced((step, choose, tokens, state))
    return tokens.copy_(new), after


# --- Trials of repeat_state


def states(batch):
    """A state of many kinds of tensors, a row for each sentence."""
    return {
        "h": numbers(batch, 5),
        "lengths": 3 + torch.arange(batch),
        "mask": torch.arange(7) < 2 + torch.arange(batch)[:, None],
        "keys": numbers(batch, 2, 7, 3),
        "halves": numbers(batch, 1, 2).half(),
        "doubles": numbers(batch, 3, 1).double(),
        "infinite": numbers(batch, 3).masked_fill(
            torch.arange(3) == torch.arange(batch)[:, None] % 3, -torch.inf
        ),
    }


QUESTION.call("repeat", {"h": tensor([1.0, 2.0])}, 3)
QUESTION.call(
    "repeat",
    {"c": tensor([[1.0, 2.0], [3.0, 4.0], [5.0, 6.0]])},
    2,
    rule="Rows may have any shape.",
)
QUESTION.call(
    "repeat",
    {
        "c": tensor([[[1.0, 2.0, 3.0], [4.0, 5.0, 6.0]]] * 2)
        + tensor([[[10.0]], [[20.0]]]),
        "h": tensor([7.0, 8.0]),
    },
    2,
    rule="Every tensor of the dictionary is repeated, whatever its shape.",
)


for batch, beam in [(3, 5), (1, 3), (5, 1), (1, 1)]:

    @QUESTION.trial(
        "repeat" if (batch, beam) == (3, 5) else "edges",
        f"{batch} sentences, beam {beam}, tensors of many shapes and dtypes",
        "A state holds tensors of any shape and dtype, any size may be 1.",
    )
    def trial(repeat_state, batch=batch, beam=beam):
        state = states(batch)
        got = repeat_state(state, beam)
        return Seen({"the state": got, "`state` afterwards": state})


# --- Trials of advance


def tried(
    part,
    parents,
    state,
    rule="",
    label="",
    after=lambda state: {name: t + 100 for name, t in state.items()},
    turned=False,
):
    """Register a step; `after` makes the new state of the old one."""
    parents = tensor(parents)
    batch, beam = parents.shape
    label = label or f"the state {show(state())}"
    label += f", the parents {show(parents)}"

    @QUESTION.trial(part, label, rule)
    def trial(advance):
        before, given, calls = state(), {}, []
        tokens = 3 + 2 * torch.arange(batch * beam)
        spoken = numbers(batch * beam, 11).log_softmax(dim=-1)

        def step(tokens, state):
            rows = (batch * beam,)
            expect_tensor(
                tokens,
                rows,
                torch.int64,
                axes="batch · beam",
                name="tokens, as you call step",
            )
            calls.append("step")
            given["step"] = {"tokens": tokens.clone(), **state}
            return spoken.clone(), after(state)

        def choose(log_probs):
            calls.append("choose")
            given["choose"] = log_probs
            new = (torch.arange(batch * beam) * 7 + 4) % 11
            new = new.view(batch, beam)
            if turned:  # the same numbers, not contiguous
                return parents.T.contiguous().T, new.T.contiguous().T
            return parents.clone(), new

        got = advance(step, choose, tokens, before)
        seen = {"what you return": got}
        if isinstance(got, tuple | list) and len(got) == 2:
            seen = {"the tokens": got[0], "the state": got[1]}
        return Seen(
            {
                **seen,
                "the calls": calls,
                "what step is given": given.get("step"),
                "the log-probabilities that choose is given": given.get(
                    "choose"
                ),
                "`tokens` afterwards": tokens,
                "`state` afterwards": before,
            }
        )


def rows(*numbers):
    return lambda: {"h": tensor([float(number) for number in numbers])}


def many(count):
    return lambda: states(count)


def moved(state):
    """The new state: numbers are larger, masks are turned round."""
    return {
        name: ~t if t.dtype == torch.bool else t + 100
        for name, t in state.items()
    }


SENTENCE = "Parents count within their own sentence."
WHOLE = "Every tensor of the state follows, whatever its shape and dtype."

tried("advance", [[2, 0, 0]], rows(1, 2, 3))
tried("advance", [[1, 0]], rows(1, 2), "Hypotheses may change places.")
tried("advance", [[2, 0, 0], [1, 1, 2]], rows(1, 2, 3, 4, 5, 6), SENTENCE)
tried(
    "advance",
    [[1, 0], [0, 0], [1, 1]],
    rows(1, 2, 3, 4, 5, 6),
    SENTENCE,
)
tried(
    "advance",
    [[1, 0, 1], [2, 0, 0]],
    lambda: {
        "c": 20 + torch.arange(12.0).view(6, 2),
        "h": 10 + torch.arange(6.0)[:, None],
    },
    WHOLE,
)
tried(
    "advance",
    [[4, 0, 1, 4, 2], [0, 3, 3, 1, 0], [2, 1, 0, 3, 4]],
    many(15),
    WHOLE,
    label="15 rows of tensors of many shapes and dtypes",
    after=moved,
)
tried(
    "edges",
    [[2, 0, 0], [1, 1, 2]],
    rows(1, 2, 3, 4, 5, 6),
    "Step returns the whole new state, with whatever names.",
    label="the old state has `h` alone, step returns `h` and `new`",
    after=lambda state: {
        "h": state["h"] + 100,
        "new": numbers(6, 3),
    },
)
tried(
    "edges",
    [[0, 0], [1, 0], [0, 1]],
    lambda: {"h": torch.arange(6.0), "old": torch.arange(6)},
    "Step returns the whole new state, with whatever names.",
    label="step returns `h` only, the old state has `h` and `old`",
    after=lambda state: {"h": state["h"] + 100},
)
tried(
    "edges",
    [[1, 0], [0, 0], [1, 0]],
    lambda: {"h": torch.arange(6.0), "memory": numbers(6, 3)},
    "Step may hand on a tensor of the old state: its rows are moved, too, in a "
    "copy.",
    label="step returns a new `h`, and `memory` as it was",
    after=lambda state: {**state, "h": state["h"] + 100},
)
for parents in ([[0, 1, 1], [2, 2, 0]], [[1, 0], [1, 1], [0, 0]]):
    tried(
        "edges",
        parents,
        rows(1, 2, 3, 4, 5, 6),
        "What choose returns need not be contiguous.",
        label="choose returns tensors that are not contiguous",
        turned=True,
    )
for parents in (
    [[0]],
    [[0], [0], [0]],
    [[1, 0, 0, 2, 4]],
    [[1, 1], [0, 1], [0, 0], [1, 0], [0, 0]],
):
    count = len(parents) * len(parents[0])
    tried(
        "edges",
        parents,
        many(count),
        "Batch and beam may have any size.",
        label=f"{count} rows of tensors of many shapes and dtypes",
        after=moved,
    )


@test_case(points=2)
def test_repeat_state(repeat_state):
    QUESTION.check("repeat", repeat_state, QUESTION.right["advance"])


@test_case(points=3)
def test_advance(advance):
    QUESTION.check("advance", QUESTION.right["repeat_state"], advance)


@test_case(points=3)
def test_edges(repeat_state, advance):
    QUESTION.check("repeat advance edges", repeat_state, advance)
