"""One step of the beam: the best continuations, each with parent and token."""

import torch
from otter.test_files import test_case
from torch import Tensor, tensor

from attend.grading import Question, Seen, numbers
from attend.grading.battery import KINDS, copied, describe, results

OK_FORMAT = False
name = "q1"
points = None

QUESTION = Question(
    "beam_step",
    returns={
        "the log-probabilities": "beam",
        "the parents": "beam",
        "the tokens": "beam",
    },
    # float64 will do for float16, too: see the trials below
    without=("float16",),
    wider=True,
)


# --- Answers


@QUESTION.reference
def beam_step(live, log_probs):
    beam, vocab = log_probs.shape
    totals = live[:, None] + log_probs
    best, flat = totals.flatten().topk(beam)
    return best, flat // vocab, flat % vocab


def largest(totals):
    """The largest numbers of a table, as many as it has rows."""
    beam, vocab = totals.shape
    best, flat = totals.flatten().topk(beam)
    return best, flat // vocab, flat % vocab


@QUESTION.mistake(
    "You add `live` along the wrong axis: the first beginning is added to the "
    "first token, and not to the first row. Each beginning has a row, so make "
    "it a column first: `live[:, None]`."
)
def beam_step(live, log_probs):
    return largest(live + log_probs)


@QUESTION.mistake(
    "Each beginning has just one continuation in your beam, its best. All "
    "continuations compete: a strong beginning may have several children, a "
    "weak one none."
)
def beam_step(live, log_probs):
    best, tokens = (live[:, None] + log_probs).max(dim=1)
    best, parents = best.sort(descending=True)
    return best, parents, tokens[parents]


@QUESTION.mistake(
    "Each beginning has just one continuation in your beam, its best, and they "
    "stand in the order of their parents. All continuations compete, and the "
    "best comes first."
)
def beam_step(live, log_probs):
    best, tokens = (live[:, None] + log_probs).max(dim=1)
    return best, torch.arange(len(live)), tokens


@QUESTION.mistake(
    "You take the best continuations of each beginning, so the beam grows. "
    "Only as many stay as there were beginnings, the best of all rows together."
)
def beam_step(live, log_probs):
    best, tokens = (live[:, None] + log_probs).topk(len(live))
    return best, torch.arange(len(live))[:, None].expand_as(tokens), tokens


@QUESTION.mistake(
    "You take the best continuations of each beginning, one row after the "
    "other, so the beam grows. Only as many stay as there were beginnings, the "
    "best of all together."
)
def beam_step(live, log_probs):
    beam = len(live)
    best, tokens = (live[:, None] + log_probs).topk(beam)
    parents = torch.arange(beam).repeat_interleave(beam)
    return best.flatten(), parents, tokens.flatten()


@QUESTION.mistake(
    "Each token is only once in your beam, with its best parent. Two "
    "beginnings may well go on with the same token: those are two "
    "continuations, and both may stay."
)
def beam_step(live, log_probs):
    totals, parents = (live[:, None] + log_probs).max(dim=0)
    best, tokens = totals.topk(len(live))
    return best, parents[tokens], tokens


@QUESTION.mistake(
    "Only the most likely beginning is continued in your beam. The best "
    "continuations may have other parents: let all rows compete."
)
def beam_step(live, log_probs):
    best, tokens = (live.max() + log_probs[live.argmax()]).topk(len(live))
    return best, live.argmax().expand(len(live)), tokens


@QUESTION.mistake(
    "The log-probability of the beginning does not count in your step. A token "
    "that is almost certain then wins, however unlikely the beginning that it "
    "follows: add the parent's."
)
def beam_step(live, log_probs):
    return largest(log_probs)


@QUESTION.mistake(
    "Your parents and tokens are right, but the log-probabilities are those of "
    "the new tokens alone. Return those of the whole continuations: add the "
    "parents'."
)
def beam_step(live, log_probs):
    _, parents, tokens = largest(live[:, None] + log_probs)
    return log_probs[parents, tokens], parents, tokens


@QUESTION.mistake(
    "Your parents and tokens are right, but the log-probabilities are still "
    "those of the parents. Add those of the new tokens."
)
def beam_step(live, log_probs):
    _, parents, tokens = largest(live[:, None] + log_probs)
    return live[parents], parents, tokens


@QUESTION.mistake(
    "You multiply log-probabilities. Probabilities are multiplied; their logs "
    "are added."
)
def beam_step(live, log_probs):
    return largest(live[:, None] * log_probs)


@QUESTION.mistake(
    "You subtract the beginning's log-probability, so an unlikely beginning is "
    "an advantage. Add it."
)
def beam_step(live, log_probs):
    return largest(log_probs - live[:, None])


@QUESTION.mistake(
    "You halve the log-probabilities: they are the mean of beginning and "
    "token. Their sum is asked for."
)
def beam_step(live, log_probs):
    return largest((live[:, None] + log_probs) / 2)


@QUESTION.mistake(
    "You return probabilities. Return their logs: log-probabilities come in, "
    "and log-probabilities go out."
)
def beam_step(live, log_probs):
    return largest((live[:, None] + log_probs).exp())


@QUESTION.mistake(
    "You go by way of the probabilities, and those of a long sequence are too "
    "small for a number: e⁻²⁰⁰ is 0 in `float32`, and the log of that is −∞. "
    "Stay with the logs, and add them."
)
def beam_step(live, log_probs):
    best, *rest = largest((live[:, None] + log_probs).exp())
    return best.log(), *rest


@QUESTION.mistake(
    "You go by way of the probabilities, and those of a long sequence are too "
    "small for a number: e⁻¹⁰⁰⁰ is 0 in `float64`, too, and the log of that is "
    "−∞. Stay with the logs, and add them."
)
def beam_step(live, log_probs):
    best, *rest = largest((live[:, None] + log_probs).double().exp())
    return best.log().to(live.dtype), *rest


@QUESTION.mistake(
    "You add the probability of the beginning and that of the token. "
    "Probabilities are multiplied, so their logs are added."
)
def beam_step(live, log_probs):
    return largest((live.exp()[:, None] + log_probs.exp()).log())


@QUESTION.mistake(
    "You scale the new beam so that its probabilities sum to one. Return the "
    "log-probabilities as they are: what fell out of the beam is lost."
)
def beam_step(live, log_probs):
    best, *rest = largest(live[:, None] + log_probs)
    return best.log_softmax(dim=0), *rest


@QUESTION.mistake(
    "You scale the table so that the probabilities of all continuations sum to "
    "one. Return the log-probabilities as they are: a softmax over the table "
    "is not asked for."
)
def beam_step(live, log_probs):
    totals = live[:, None] + log_probs
    return largest(totals.flatten().log_softmax(dim=0).view_as(totals))


@QUESTION.mistake(
    "You kept the least likely continuations. Logs are negative, and the most "
    "likely is the one nearest to zero: the largest."
)
def beam_step(live, log_probs):
    best, *rest = largest(-(live[:, None] + log_probs))
    return -best, *rest


@QUESTION.mistake(
    "Parents and tokens have changed places. The parent is the row, the token "
    "the column; return the parents first."
)
def beam_step(live, log_probs):
    best, parents, tokens = largest(live[:, None] + log_probs)
    return best, tokens, parents


@QUESTION.mistake(
    "You divide the flat place by the number of beginnings. It counts along "
    "the rows, and a row has as many numbers as there are tokens: divide by "
    "the size of the vocabulary."
)
def beam_step(live, log_probs):
    best, flat = (live[:, None] + log_probs).flatten().topk(len(live))
    return best, flat // len(live), flat % len(live)


@QUESTION.mistake(
    "Your parents are right, but for the tokens you take what is left over "
    "when the flat place is divided by the number of beginnings. A row has as "
    "many numbers as there are tokens: divide by that."
)
def beam_step(live, log_probs):
    best, flat = (live[:, None] + log_probs).flatten().topk(len(live))
    return best, flat // log_probs.shape[1], flat % len(live)


@QUESTION.mistake(
    "Your tokens are right, but for the parents you divide the flat place by "
    "the number of beginnings. A row has as many numbers as there are tokens: "
    "divide by that."
)
def beam_step(live, log_probs):
    best, flat = (live[:, None] + log_probs).flatten().topk(len(live))
    return best, flat // len(live), flat % log_probs.shape[1]


@QUESTION.mistake(
    "You take the flat place apart as if the vocabulary had three tokens, as "
    "in the example. Use its size: `log_probs.shape[1]`."
)
def beam_step(live, log_probs):
    best, flat = (live[:, None] + log_probs).flatten().topk(len(live))
    return best, flat // 3, flat % 3


@QUESTION.mistake(
    "You always keep two continuations, as in the example. Keep as many as "
    "there were beginnings: `len(live)`."
)
def beam_step(live, log_probs):
    vocab = log_probs.shape[1]
    best, flat = (live[:, None] + log_probs).flatten().topk(2)
    return best, flat // vocab, flat % vocab


@QUESTION.mistake(
    "You keep as many continuations as the vocabulary has tokens. Keep as many "
    "as there were beginnings: `len(live)`."
)
def beam_step(live, log_probs):
    vocab = log_probs.shape[1]
    best, flat = (live[:, None] + log_probs).flatten().topk(vocab)
    return best, flat // vocab, flat % vocab


@QUESTION.mistake(
    "You keep only the best continuation. Keep as many as there were "
    "beginnings: `len(live)`."
)
def beam_step(live, log_probs):
    vocab = log_probs.shape[1]
    best, flat = (live[:, None] + log_probs).flatten().topk(1)
    return best, flat // vocab, flat % vocab


@QUESTION.mistake(
    "Your table lies on its side: you flatten it column by column, and take "
    "the places apart as if they counted along the rows."
)
def beam_step(live, log_probs):
    vocab = log_probs.shape[1]
    best, flat = (live[:, None] + log_probs).T.flatten().topk(len(live))
    return best, flat // vocab, flat % vocab


@QUESTION.mistake(
    "Your parents are no whole numbers: `/` keeps what is left over. The row "
    "is the whole part, `flat // vocab`."
)
def beam_step(live, log_probs):
    vocab = log_probs.shape[1]
    best, flat = (live[:, None] + log_probs).flatten().topk(len(live))
    return best, flat / vocab, flat % vocab


@QUESTION.mistake(
    "Your parents and tokens are no `int64`. They will be used as indices: "
    "keep the dtype that `topk` gives its places."
)
def beam_step(live, log_probs):
    best, *rest = largest(live[:, None] + log_probs)
    return best, *(r.int() for r in rest)


@QUESTION.mistake("You return lists of numbers. Tensors are asked for.")
def beam_step(live, log_probs):
    return tuple(r.tolist() for r in largest(live[:, None] + log_probs))


@QUESTION.mistake(
    "Your three results are those of the right continuations, but in the order "
    "of the table. The best comes first."
)
def beam_step(live, log_probs):
    best, parents, tokens = largest(live[:, None] + log_probs)
    order = (parents * log_probs.shape[1] + tokens).argsort()
    return best[order], parents[order], tokens[order]


@QUESTION.mistake(
    "Your three results are those of the right continuations, but the worst "
    "comes first. The best comes first."
)
def beam_step(live, log_probs):
    return tuple(r.flip(0) for r in largest(live[:, None] + log_probs))


@QUESTION.mistake(
    "Your log-probabilities are sorted, and the parents and tokens are not: "
    "number k of each must belong to the same continuation."
)
def beam_step(live, log_probs):
    best, parents, tokens = largest(live[:, None] + log_probs)
    order = (parents * log_probs.shape[1] + tokens).argsort()
    return best, parents[order], tokens[order]


@QUESTION.mistake(
    "Your results are right, but the call changes log_probs. Leave it as it "
    "is: `a + b` makes a new tensor, `a += b` and `add_` do not."
)
def beam_step(live, log_probs):
    log_probs += live[:, None]
    return largest(log_probs)


@QUESTION.mistake(
    "Your results are right, but the call changes live. Leave it as it is, and "
    "return a new tensor."
)
def beam_step(live, log_probs):
    best, *rest = largest(live[:, None] + log_probs)
    return live.copy_(best), *rest


@QUESTION.mistake(
    "You compute in `float16`. It has about three digits, and continuations "
    "that are almost as likely fall together: compute in the dtype of the "
    "arguments."
)
def beam_step(live, log_probs):
    best, *rest = largest(live.half()[:, None] + log_probs.half())
    return best.to(live.dtype), *rest


@QUESTION.mistake(
    "Your log-probabilities are `float32`, whatever came in. For `float64` "
    "arguments the result is `float64`, too."
)
def beam_step(live, log_probs):
    best, *rest = largest(live[:, None] + log_probs)
    return best.float(), *rest


@QUESTION.mistake(
    "With a beam of one you return numbers instead of tensors of shape (1,). "
    "Is there a `squeeze()`?"
)
def beam_step(live, log_probs):
    return tuple(r.squeeze() for r in largest(live[:, None] + log_probs))


# --- Trials


def logs(*probs):
    return tensor(probs).log()


QUESTION.call("idea", logs(0.4, 0.5), logs([0.3, 0.6, 0.1], [0.3, 0.3, 0.4]))
QUESTION.call(
    "idea",
    logs(0.8, 0.2),
    logs([0.5, 0.4, 0.1], [0.39, 0.31, 0.3]),
    rule="A beginning may have several children in the new beam.",
)
QUESTION.call(
    "idea",
    logs(0.5, 0.45),
    logs([0.8, 0.05, 0.15], [0.7, 0.2, 0.1]),
    rule="Two beginnings may go on with the same token.",
)
QUESTION.call(
    "idea",
    logs(0.6, 0.3, 0.1),
    logs([0.2, 0.3, 0.5], [0.5, 0.3, 0.2], [0.15, 0.2, 0.65]),
    rule="There may be as many beginnings as tokens.",
)
QUESTION.call(
    "idea",
    logs(0.03, 0.07),
    logs([0.3, 0.25, 0.2, 0.15, 0.1], [0.36, 0.21, 0.19, 0.17, 0.07]),
    rule="Beginnings may be unlikely, and the vocabulary has any size.",
)


@QUESTION.sizes
def make(beam=3, vocab=5):
    live = numbers(beam, low=-4, high=-1)
    return live, (2 * numbers(beam, vocab)).log_softmax(dim=-1)


QUESTION.call(
    "edges", logs(0.2), logs([0.3, 0.45, 0.25]), rule="A beam may hold one."
)
QUESTION.call(
    "edges",
    logs(0.12, 0.02, 0.3, 0.05, 0.2),
    logs([0.71, 0.29], [0.3, 0.7], [0.43, 0.57], [0.08, 0.92], [0.64, 0.36]),
    rule="A beam may be wider than the vocabulary.",
)
QUESTION.call(
    "edges", numbers(5, low=-9, high=-5), numbers(5, 11).log_softmax(dim=-1)
)
QUESTION.call(
    "edges",
    logs(0.4, 0.0, 0.5),
    logs([0.3, 0.0, 0.7], [0.2, 0.7, 0.1], [0.0, 0.36, 0.64]),
    rule="Something may be impossible: its log-probability is −∞.",
)
QUESTION.call(
    "edges",
    tensor([-80.02, -80.0, -80.03]),
    logs([0.5, 0.3, 0.2], [0.515, 0.285, 0.2], [0.53, 0.27, 0.2]),
    rule="Beginnings may be unlikely, and continuations almost equal.",
)
QUESTION.call(
    "edges",
    tensor([-80.75, -torch.inf, -80.5]),
    logs([0.3, 0.0, 0.7], [0.2, 0.7, 0.1], [0.0, 0.36, 0.64]),
    rule="Something may be impossible, and all else unlikely.",
)
FEW = (
    logs(0.4, 0.0, 0.0),
    logs([0.3, 0.0, 0.7], [0.2, 0.7, 0.1], [0.0, 0.36, 0.64]),
)


@QUESTION.trial(
    "edges",
    describe(["live", "log_probs"], FEW),
    "If fewer are possible than the beam holds, the other places get −∞.",
)
def trial(beam_step):
    seen = results(beam_step(*copied(FEW)), QUESTION.returns)
    # which of the impossible ones is kept does not matter
    return Seen(dict([*seen.items()][:1]))


for live in (-200.0, -1000.0):
    QUESTION.call(
        "edges",
        tensor([live]),
        tensor([[0.0]]),
        rule="A long beginning is very unlikely.",
    )

for given in [
    (logs(0.4, 0.5), logs([0.3, 0.6, 0.1], [0.34, 0.26, 0.4])),
    make(),
]:

    @QUESTION.trial(
        "edges",
        f"{describe(['live', 'log_probs'], given)}, torch.float16",
        KINDS["float16"],
    )
    def trial(beam_step, given=given):
        live, log_probs = copied(given)
        got = beam_step(live.half(), log_probs.half())
        seen = results(got, QUESTION.returns)
        best = seen.get("the log-probabilities")
        if isinstance(best, Tensor) and best.dtype == torch.float64:
            seen["the log-probabilities"] = best.half()
        return seen


@test_case(points=6)
def test_idea(beam_step):
    QUESTION.check("idea", beam_step)


@test_case(points=3)
def test_edges(beam_step):
    QUESTION.check("idea edges", beam_step)
