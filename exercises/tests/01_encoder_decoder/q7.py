"""A training step with six bugs: a test for each, and one for the whole."""

from itertools import combinations

import torch
import torch.nn.functional as F
from otter.test_files import test_case
from torch import nn, tensor

from attend.data import Batch
from attend.grading import Question, Seen, UnusableAnswerError, numbers
from attend.grading.compare import kind

OK_FORMAT = False
name = "q7"
points = None

QUESTION = Question("train_step")
NO_BOUND = 1e9
VOCAB = 7


# --- A small model


class Watched(nn.Module):
    """In the place of dropout: notes whether it was on, and drops nothing."""

    on = None

    def forward(self, x):
        self.on = self.training
        return x


class Model(nn.Module):
    """Looks the next token up in a table, and adds a little of the source.

    It can be used like the book's `Seq2Seq`: as a whole, or by `encode` and
    `decode`.
    """

    def __init__(self):
        super().__init__()
        self.table = nn.Parameter(2 * numbers(VOCAB, VOCAB))
        self.source = nn.Parameter(numbers(VOCAB))
        self.dropout = Watched()
        self.eval()

    def encode(self, src, src_lengths):
        return {"first": src[:, 0]}

    def decode(self, tgt_in, state):
        logits = self.dropout(self.table[tgt_in])
        from_source = self.source[state["first"]]  # (batch,)
        return logits + from_source[:, None, None] * logits.sin(), state

    def forward(self, src, src_lengths, tgt_in):
        return self.decode(tgt_in, self.encode(src, src_lengths))[0]


def full():
    """Two sentences of the same length: no padding. BOS is 1, EOS is 2."""
    src, lengths = tensor([[3, 4, 5], [5, 4, 3]]), tensor([3, 3])
    tgt = tensor([[1, 5, 4, 3, 2], [1, 3, 4, 5, 2]])
    return Batch(src, lengths, tgt, tensor([5, 5]))


def padded(pad_id=0):
    """The second sentence is shorter."""
    tgt = tensor([[1, 5, 4, 3, 2], [1, 3, 2, pad_id, pad_id]])
    return full()._replace(tgt=tgt, tgt_lengths=tensor([5, 3]))


def run(train_step, model, batch, pad_id=0, max_norm=NO_BOUND, make=None):
    """Take a step with learning rate 1; return the loss and the change."""
    optimizer = make or torch.optim.SGD(model.parameters(), lr=1.0)
    before = [p.detach().clone() for p in model.parameters()]
    loss = train_step(model, optimizer, batch, pad_id, max_norm)
    if loss is None:
        raise UnusableAnswerError(
            "expected the loss, got None. Is a `return` missing?"
        )
    after = [p.detach().clone() for p in model.parameters()]
    change = [new - old for new, old in zip(after, before, strict=True)]
    return loss, torch.cat([part.flatten() for part in change])


def as_number(loss):
    """The loss, tensor or not: what it should be is another bug's matter."""
    return loss.item() if isinstance(loss, torch.Tensor) else loss


# --- Answers

BUGS = {
    "shift": (
        "The loss is not that of predicting the next token. For the target "
        "`BOS c b a EOS` the decoder reads `BOS c b a`, and its logits are "
        "compared with `c b a EOS`."
    ),
    "padding": (
        "Padding counts in your loss. The model would be praised for writing "
        "PAD after PAD, and the short sentences of a batch would teach it "
        "little else."
    ),
    "dropout": (
        "The model trains in evaluation mode, so its dropout is off. It may be "
        "left so by the evaluation before: switch it to training mode in each "
        "step."
    ),
    "clipping": (
        "The step is longer than max_norm allows. The gradients exist only "
        "after backward, and step uses them at once: clip between the two."
    ),
    "old": (
        "Gradients that were there before the call are added in: backward adds "
        "to what it finds. Set them to zero in each step, before backward."
    ),
    "graph": (
        "You return a tensor. Return a plain number, as `item()` gives: a "
        "tensor with its graph would keep every activation of the batch in "
        "memory, for whoever collects losses."
    ),
}


@QUESTION.reference
def train_step(model, optimizer, batch, pad_id, max_norm):
    model.train()
    logits = model(batch.src, batch.src_lengths, batch.tgt[:, :-1])
    loss = F.cross_entropy(
        logits.flatten(0, 1), batch.tgt[:, 1:].flatten(), ignore_index=pad_id
    )
    optimizer.zero_grad()
    loss.backward()
    nn.utils.clip_grad_norm_(model.parameters(), max_norm)
    optimizer.step()
    return loss.item()


def with_bugs(left, model, optimizer, batch, pad_id, max_norm):
    """The step with some of its bugs left."""
    model.train("dropout" not in left)
    tgt_in, tgt = batch.tgt[:, :-1], batch.tgt[:, 1:]
    if "shift" in left:
        tgt_in, tgt = batch.tgt, batch.tgt
    loss = F.cross_entropy(
        model(batch.src, batch.src_lengths, tgt_in).flatten(0, 1),
        tgt.flatten(),
        ignore_index=-100 if "padding" in left else pad_id,
    )
    if "old" not in left:
        optimizer.zero_grad()
    if "clipping" not in left:
        loss.backward()
    nn.utils.clip_grad_norm_(model.parameters(), max_norm)
    if "clipping" in left:
        loss.backward()
    optimizer.step()
    return loss if "graph" in left else loss.item()


def register(left):
    more = len(left) - 1
    more = f" {more} more of the bugs {'is' if more == 1 else 'are'} left."

    @QUESTION.mistake(BUGS[left[0]] + more * (len(left) > 1))
    def train_step(model, optimizer, batch, pad_id, max_norm):
        return with_bugs(left, model, optimizer, batch, pad_id, max_norm)


# one bug left, or two, or all of them
for number in (1, 2, len(BUGS)):
    for left in combinations(BUGS, number):
        register(left)


def changed(tgt_in=slice(None, -1), tgt=slice(1, None), **how):
    """A step with one thing done otherwise."""

    def step(model, optimizer, batch, pad_id, max_norm):
        model.train()
        logits = model(batch.src, batch.src_lengths, batch.tgt[:, tgt_in])
        loss = F.cross_entropy(
            logits.flatten(0, 1),
            batch.tgt[:, tgt].flatten(),
            ignore_index=how.get("pad_id", pad_id),
            reduction=how.get("reduction", "mean"),
        )
        if "read" in how:
            real = batch.tgt[:, :-1] != pad_id
            loss = F.cross_entropy(logits[real], batch.tgt[:, 1:][real])
        if "all" in how:
            target = batch.tgt[:, tgt]
            loss = loss * (target != pad_id).sum() / target.numel()
        optimizer.zero_grad()
        loss.backward()
        parameters = list(model.parameters())
        if "each" in how:
            for parameter in parameters:
                nn.utils.clip_grad_norm_([parameter], max_norm)
        elif "value" in how:
            nn.utils.clip_grad_value_(parameters, max_norm)
        else:
            nn.utils.clip_grad_norm_(parameters, how.get("norm", max_norm))
        if "late" in how:
            optimizer.zero_grad()
        optimizer.step()
        return loss.item()

    return step


for message, step in [
    (
        "The decoder reads the tokens that it must predict: it is fed `c b a "
        "EOS` and compared with the same. Feed it all target tokens but the "
        "last.",
        changed(tgt_in=slice(1, None)),
    ),
    (
        "The logits are compared with what the decoder has read: `BOS c b a`. "
        "Compare them with all target tokens but the first.",
        changed(tgt=slice(None, -1)),
    ),
    (
        "The shift is the wrong way round: the decoder reads `c b a EOS` and "
        "must predict `BOS c b a`.",
        changed(tgt_in=slice(1, None), tgt=slice(None, -1)),
    ),
    (
        "You take padding to be 0. Another vocabulary pads with another "
        "number: use pad_id.",
        changed(pad_id=0),
    ),
    (
        "Your loss is the sum over the tokens and not their mean.",
        changed(reduction="sum"),
    ),
    (
        "The loss is divided by all positions, padding included. Take the mean "
        "over the real tokens.",
        changed(all=True),
    ),
    (
        "The first padding after EOS counts in your loss. The mask must fit "
        "what is predicted, `tgt[:, 1:] != pad_id`, not what is read.",
        changed(read=True),
    ),
    (
        "The last target is never predicted: the targets are cut at both ends, "
        "so the longest sentences do not learn to write EOS.",
        changed(tgt_in=slice(None, -2), tgt=slice(1, -1)),
    ),
    (
        "You clip each parameter by its own norm, so the step points somewhere "
        "else. Clip all of them together.",
        changed(each=True),
    ),
    (
        "You clip each number of the gradients on its own. Clip by the norm of "
        "all of them together: `clip_grad_norm_`.",
        changed(value=True),
    ),
    (
        "You clip to 1, whatever max_norm is.",
        changed(norm=1.0),
    ),
    (
        "The step changes no weight: `zero_grad` stands between backward and "
        "step, and wipes out the gradients. Or `optimizer.step()` is missing.",
        changed(late=True),
    ),
]:
    step.__name__ = "train_step"
    QUESTION.mistake(message)(step)


# --- Trials: one for each bug, whatever the others do


@QUESTION.trial(
    "shift",
    "targets [1, 5, 4, 3, 2] and [1, 3, 4, 5, 2], BOS 1, EOS 2, no padding",
    "The loss of a batch without padding is wrong.",
)
def trial(train_step):
    loss, change = run(train_step, Model(), full(), pad_id=0)
    return Seen(
        {"the loss": as_number(loss), "weights change": bool(change.any())}
    )


@QUESTION.trial(
    "padding",
    "the targets [1, 5, 4, 3, 2] and [1, 3, 2, 0, 0] with padding 0, and a "
    "model that says something else after PAD",
    BUGS["padding"],
)
def trial(train_step):
    losses, changes = [], []
    for more in (0.0, 3.0):
        model = Model()
        with torch.no_grad():
            model.table[0, 4:] += more
        loss, change = run(train_step, model, padded())
        losses.append(as_number(loss))
        changes.append(change)
    return Seen(
        {
            "the same loss whatever it says after PAD": (
                abs(losses[0] - losses[1]) < 1e-5
            ),
            "weights change": bool(changes[0].any()),
        }
    )


@QUESTION.trial("dropout", "a model in evaluation mode", BUGS["dropout"])
def trial(train_step):
    model = Model()
    _, change = run(train_step, model, full())
    return Seen(
        {
            "training mode in the forward pass": model.dropout.on,
            "weights change": bool(change.any()),
        }
    )


@QUESTION.trial(
    "clipping",
    "max_norm 0.125, learning rate 1, no gradients from before",
    "Clipped to max_norm, a step with learning rate 1 is just as long.",
)
def trial(train_step):
    _, change = run(train_step, Model(), full(), max_norm=0.125)
    return Seen({"the length of the step": change.norm().item()})


@QUESTION.trial(
    "old",
    "the same step twice, the second with gradients of 1 from before",
    BUGS["old"],
)
def trial(train_step):
    changes = []
    for old in (None, 1.0):
        model = Model()
        if old:
            for parameter in model.parameters():
                parameter.grad = torch.full_like(parameter, old)
        changes.append(run(train_step, model, full())[1])
    return Seen(
        {
            "the same change with and without old gradients": (
                torch.allclose(*changes, atol=1e-5)
            ),
            "weights change": bool(changes[0].any()),
        }
    )


@QUESTION.trial("graph", "a batch of two sentences", BUGS["graph"])
def trial(train_step):
    loss, change = run(train_step, Model(), full())
    got = "a plain number" if type(loss) in (int, float) else kind(loss)
    return Seen({"what you return": got, "weights change": bool(change.any())})


# --- The whole


def whole(label, batch, *, pad_id=0, max_norm=NO_BOUND, steps=1, lr=None):
    @QUESTION.trial("whole", label)
    def trial(train_step):
        model, data = Model(), batch()
        for parameter in model.parameters():
            parameter.grad = torch.full_like(parameter, 0.5)
        optimizer = lr and torch.optim.Adam(model.parameters(), lr=lr)
        losses = []
        for _ in range(steps):
            loss, change = run(
                train_step, model, data, pad_id, max_norm, optimizer
            )
            losses.append(loss)
        return Seen(
            {
                "the losses": losses,
                "the change of the weights": change,
                "the batch afterwards": tuple(data),
            }
        )


whole("a batch without padding", full)
whole("a batch with padding, pad_id 0", padded)
whole("pad_id 6, and 0 is a token like any other", lambda: padded(6), pad_id=6)
whole("max_norm 0.25", padded, max_norm=0.25)
whole("max_norm 2", padded, max_norm=2.0)
whole("three steps of Adam", padded, max_norm=0.5, steps=3, lr=0.1)
whole(
    "a batch of one sentence of one token",
    lambda: Batch(tensor([[3]]), tensor([1]), tensor([[1, 4]]), tensor([2])),
)


@test_case(points=1)
def test_shift(train_step):
    QUESTION.check("shift", train_step)


@test_case(points=1)
def test_padding(train_step):
    QUESTION.check("padding", train_step)


@test_case(points=1)
def test_dropout(train_step):
    QUESTION.check("dropout", train_step)


@test_case(points=1)
def test_clipping(train_step):
    QUESTION.check("clipping", train_step)


@test_case(points=1)
def test_old_gradients(train_step):
    QUESTION.check("old", train_step)


@test_case(points=1)
def test_graph(train_step):
    QUESTION.check("graph", train_step)


@test_case(points=2)
def test_whole(train_step):
    QUESTION.check("shift padding dropout clipping old graph whole", train_step)
