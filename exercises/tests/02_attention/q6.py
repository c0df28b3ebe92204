"""Alignment error rate over a whole batch: one link an output, no padding."""

import torch
import torch.nn.functional as F
from otter.test_files import test_case
from torch import tensor

from attend.grading import Question

OK_FORMAT = False
name = "q6"
points = None

QUESTION = Question("alignment_error", returns={"the rate": ""})


# --- Answers


@QUESTION.reference
def alignment_error(weights, sure, possible, real):
    best = F.one_hot(weights.argmax(dim=-1), weights.shape[-1]) == 1
    found = best & real[..., None]
    agreed = (found & sure).sum() + (found & possible).sum()
    return 1 - agreed.item() / (found.sum() + sure.sum()).item()


def links(weights, real):
    """The links found, A."""
    best = F.one_hot(weights.argmax(dim=-1), weights.shape[-1]) == 1
    return best & real[..., None]


def size(table):
    return table.sum().item()


def rate(found, sure, possible):
    agreed = size(found & sure) + size(found & possible)
    return 1 - agreed / (size(found) + size(sure))


def both(found, sure, possible):
    """|A ∩ S| + |A ∩ P|."""
    return size(found & sure) + size(found & possible)


# Which links are found

THRESHOLD = (
    "You link where a weight is at least one half. The largest "
    "weight of an output makes one link, however small it is, and the others "
    "none."
)


@QUESTION.mistake(THRESHOLD)
def alignment_error(weights, sure, possible, real):
    return rate((weights > 0.5) & real[..., None], sure, possible)


@QUESTION.mistake(THRESHOLD)
def alignment_error(weights, sure, possible, real):
    return rate((weights >= 0.5) & real[..., None], sure, possible)


@QUESTION.mistake(
    "You link wherever a weight is above the mean of its row. The largest "
    "weight of an output makes one link, the others none."
)
def alignment_error(weights, sure, possible, real):
    found = weights > weights.mean(dim=-1, keepdim=True)
    return rate(found & real[..., None], sure, possible)


@QUESTION.mistake(
    "An output whose largest weight comes twice gets two links. Each real "
    "output has one: `argmax` takes one of them."
)
def alignment_error(weights, sure, possible, real):
    found = weights == weights.amax(dim=-1, keepdim=True)
    return rate(found & real[..., None], sure, possible)


@QUESTION.mistake(
    "You take the largest weight of each input. It is each output that has one "
    "link, and an input may have many or none: the argmax goes over the last "
    "axis."
)
def alignment_error(weights, sure, possible, real):
    best = F.one_hot(weights.argmax(dim=1), weights.shape[1]) == 1
    return rate(best.transpose(1, 2) & real[..., None], sure, possible)


@QUESTION.mistake(
    "You add up the weights themselves. A link counts 1: that of the largest "
    "weight of each output."
)
def alignment_error(weights, sure, possible, real):
    weights = weights.double() * real[..., None]
    agreed = (weights * sure).sum() + (weights * possible).sum()
    return 1 - (agreed / (weights.sum() + sure.sum())).item()


@QUESTION.mistake(
    "Outputs that are padding get links, too, so that the longer the padding, "
    "the worse the rate. Leave out outputs that are not real."
)
def alignment_error(weights, sure, possible, real):
    return rate(links(weights, torch.ones_like(real)), sure, possible)


@QUESTION.mistake("You turn `real` round: only padding gets links.")
def alignment_error(weights, sure, possible, real):
    found = links(weights, ~real)
    total = size(found) + size(sure)
    return 1 - both(found, sure, possible) / total if total else 1.0


@QUESTION.mistake(
    "You count the real outputs of a sequence and take so many from its start. "
    "Padding may stand elsewhere: ask `real` for each output."
)
def alignment_error(weights, sure, possible, real):
    first = torch.arange(real.shape[1]) < real.sum(dim=1)[:, None]
    return rate(links(weights, first), sure, possible)


@QUESTION.mistake(
    "You leave out real outputs that have no sure link. They have a link in A "
    "all the same, right or wrong."
)
def alignment_error(weights, sure, possible, real):
    found = links(weights, real & sure.any(dim=-1))
    total = size(found) + size(sure)
    return 1 - both(found, sure, possible) / total if total else 0.0


@QUESTION.mistake(
    "You leave out real outputs that have no possible link. They have a link "
    "in A all the same, and it is wrong."
)
def alignment_error(weights, sure, possible, real):
    return rate(links(weights, real & possible.any(dim=-1)), sure, possible)


# The numerator


@QUESTION.mistake("You return the agreement. The error rate is 1 minus it.")
def alignment_error(weights, sure, possible, real):
    return 1 - rate(links(weights, real), sure, possible)


@QUESTION.mistake(
    "You compare with `sure` twice, so that a link that is possible but not "
    "sure counts as an error. The other half of the sum compares with "
    "`possible`."
)
def alignment_error(weights, sure, possible, real):
    return rate(links(weights, real), sure, sure)


@QUESTION.mistake(
    "You compare with `possible` twice. One half of the sum compares with "
    "`sure`."
)
def alignment_error(weights, sure, possible, real):
    found = links(weights, real)
    agreed = 2 * size(found & possible)
    return 1 - agreed / (size(found) + size(sure))


@QUESTION.mistake(
    "You count a sure link that was found once only. It is in S and in P, so "
    "it counts in both halves of the sum."
)
def alignment_error(weights, sure, possible, real):
    found = links(weights, real)
    return 1 - size(found & possible) / (size(found) + size(sure))


@QUESTION.mistake(
    "Your sum lacks |A ∩ P|: only sure links that were found count."
)
def alignment_error(weights, sure, possible, real):
    found = links(weights, real)
    return 1 - size(found & sure) / (size(found) + size(sure))


# The denominator


@QUESTION.mistake(
    "You ask only which share of the links found is possible. A sure link that "
    "nobody found is an error, too: the rate is 1 − (|A ∩ S| + |A ∩ P|) / (|A| "
    "+ |S|)."
)
def alignment_error(weights, sure, possible, real):
    found = links(weights, real)
    return 1 - size(found & possible) / size(found)


@QUESTION.mistake(
    "You divide by 2 |A|, so that a sure link that nobody found is no error. "
    "Divide by |A| + |S|."
)
def alignment_error(weights, sure, possible, real):
    found = links(weights, real)
    return 1 - both(found, sure, possible) / (2 * size(found))


@QUESTION.mistake(
    "You divide by |A| + |P|. A possible link need not be found: divide by "
    "|A| + |S|."
)
def alignment_error(weights, sure, possible, real):
    found = links(weights, real)
    total = size(found) + size(possible)
    return 1 - both(found, sure, possible) / total


@QUESTION.mistake(
    "You divide by |S| + |P|. The first is |A|, the number of links found: "
    "divide by |A| + |S|."
)
def alignment_error(weights, sure, possible, real):
    found = links(weights, real)
    total = size(sure) + size(possible)
    return 1 - both(found, sure, possible) / total if total else 1.0


@QUESTION.mistake(
    "You divide by |A ∪ S|, where a link in both counts once. Divide by |A| + "
    "|S|, where it counts twice."
)
def alignment_error(weights, sure, possible, real):
    found = links(weights, real)
    return 1 - both(found, sure, possible) / size(found | sure)


@QUESTION.mistake(
    "Your |S| is the number of outputs that have a sure link. An output may "
    "have several: count links."
)
def alignment_error(weights, sure, possible, real):
    found = links(weights, real)
    total = size(found) + size(sure.any(dim=-1))
    return 1 - both(found, sure, possible) / total


# What is returned


@QUESTION.mistake(
    "You take the mean of the sentences' rates, so that a short sentence "
    "weighs as much as a long one. Count the links of the whole batch first, "
    "then divide once."
)
def alignment_error(weights, sure, possible, real):
    found = links(weights, real)
    rates = [
        rate(*sentence)
        for sentence in zip(found, sure, possible, strict=True)
        if size(sentence[0]) + size(sentence[1])
    ]
    return sum(rates) / len(rates)


@QUESTION.mistake(
    "You take the mean of the sentences' rates, and a sentence without a real "
    "output divides by zero. Count the links of the whole batch first, then "
    "divide once."
)
def alignment_error(weights, sure, possible, real):
    found = links(weights, real)
    agreed = (found & sure).sum(dim=(1, 2)) + (found & possible).sum(dim=(1, 2))
    total = found.sum(dim=(1, 2)) + sure.sum(dim=(1, 2))
    return (1 - agreed / total).mean().item()


@QUESTION.mistake(
    "You take the mean of the sentences' rates, and a sentence without a real "
    "output counts as all wrong. Count the links of the whole batch first, "
    "then divide once."
)
def alignment_error(weights, sure, possible, real):
    found = links(weights, real)
    agreed = (found & sure).sum(dim=(1, 2)) + (found & possible).sum(dim=(1, 2))
    total = found.sum(dim=(1, 2)) + sure.sum(dim=(1, 2))
    return (1 - agreed / total.clamp(min=1)).mean().item()


@QUESTION.mistake(
    "You take the mean of the outputs' rates. Count the links of the whole "
    "batch first, then divide once."
)
def alignment_error(weights, sure, possible, real):
    found = links(weights, real)
    agreed = (found & sure).sum(dim=-1) + (found & possible).sum(dim=-1)
    rates = 1 - agreed / (1 + sure.sum(dim=-1))
    return rates[real].mean().item()


@QUESTION.mistake(
    "You return one rate for each sentence. Count the links of the whole "
    "batch, and return one number."
)
def alignment_error(weights, sure, possible, real):
    found = links(weights, real)
    agreed = (found & sure).sum(dim=(1, 2)) + (found & possible).sum(dim=(1, 2))
    return 1 - agreed / (found.sum(dim=(1, 2)) + sure.sum(dim=(1, 2)))


@QUESTION.mistake(
    "You return a tensor. The question asks for a plain number: `.item()` "
    "makes one of a tensor."
)
def alignment_error(weights, sure, possible, real):
    return tensor(rate(links(weights, real), sure, possible))


@QUESTION.mistake("Your rate is in percent. It lies between 0 and 1.")
def alignment_error(weights, sure, possible, real):
    return 100 * rate(links(weights, real), sure, possible)


ROUNDED = "Your rate is rounded to a few digits. Return it as it is."


@QUESTION.mistake(ROUNDED)
def alignment_error(weights, sure, possible, real):
    return round(rate(links(weights, real), sure, possible), 2)


@QUESTION.mistake(ROUNDED)
def alignment_error(weights, sure, possible, real):
    return round(rate(links(weights, real), sure, possible), 3)


@QUESTION.mistake(ROUNDED)
def alignment_error(weights, sure, possible, real):
    return round(rate(links(weights, real), sure, possible), 4)


@QUESTION.mistake(
    "Your division drops the fraction: `//` gives whole numbers. It is `/`."
)
def alignment_error(weights, sure, possible, real):
    found = links(weights, real)
    return 1 - both(found, sure, possible) // (size(found) + size(sure))


@QUESTION.mistake(
    "Your function writes into the weights that it was given. The caller may "
    "still need them: make a new tensor."
)
def alignment_error(weights, sure, possible, real):
    weights.masked_fill_(~real[..., None], 0.0)
    return rate(links(weights, real), sure, possible)


@QUESTION.mistake(
    "Your function writes into the links that it was given, as `&=` does. The "
    "caller may still need them: make a new tensor."
)
def alignment_error(weights, sure, possible, real):
    found = links(weights, real)
    total = size(found) + size(sure)
    sure &= found
    possible &= found
    return 1 - (size(sure) + size(possible)) / total


# --- Trials


def table(*rows):
    """One sequence of gold links, such as `"100"` for each output."""
    return tensor([[[place == "1" for place in row] for row in rows]])


def tried(part, weights, sure, possible, real, rule=""):
    """Register sequences that are written out."""
    QUESTION.call(
        part,
        tensor(weights),
        torch.cat([table(*rows.split()) for rows in sure]),
        torch.cat([table(*rows.split()) for rows in possible]),
        tensor([[place == "1" for place in row] for row in real]),
        rule=rule,
    )


tried(
    "idea",
    [[[0.7, 0.2, 0.1], [0.2, 0.5, 0.3]]],
    ["100 001"],
    ["100 011"],
    ["11"],
)
tried(
    "idea",
    [[[0.4, 0.35, 0.25], [0.25, 0.4, 0.35]]],
    ["100 010"],
    ["100 010"],
    ["11"],
    "The largest weight of an output is a link, however small it is.",
)
tried(
    "idea",
    [[[0.6, 0.4], [0.7, 0.3]]],
    ["10 10"],
    ["10 10"],
    ["11"],
    "Two outputs may belong to one input.",
)
tried(
    "idea",
    [[[0.9, 0.1], [0.8, 0.2]]],
    ["10 00"],
    ["10 00"],
    ["10"],
    "An output that is padding has no link.",
)
tried(
    "idea",
    [[[0.8, 0.2], [0.3, 0.7]]],
    ["10 00"],
    ["10 01"],
    ["11"],
    "A link that is possible and not sure is no error.",
)
tried(
    "idea",
    [[[0.2, 0.8], [0.3, 0.7]]],
    ["11 10"],
    ["11 10"],
    ["11"],
    "A sure link that was not found is an error.",
)
tried(
    "idea",
    [[[0.9, 0.1], [0.6, 0.4]], [[0.3, 0.7], [0.2, 0.8]]],
    ["10 00", "10 10"],
    ["10 00", "10 10"],
    ["10", "11"],
    "Count the links of every sentence, then divide once. Links of two "
    "sentences are never the same.",
)
tried(
    "edges",
    [[[0.8, 0.2], [0.3, 0.7]]],
    ["10 00"],
    ["10 00"],
    ["11"],
    "A real output without a gold link has a link in A.",
)
tried(
    "edges",
    [[[0.8, 0.2], [0.3, 0.7]]],
    ["00 00"],
    ["10 10"],
    ["11"],
    "There may be no sure link.",
)
tried(
    "edges",
    [[[0.1, 0.9], [0.3, 0.7]]],
    ["10 10"],
    ["10 10"],
    ["11"],
    "No link that was found may be right.",
)
tried(
    "edges",
    [[[0.9, 0.1], [0.8, 0.2], [0.3, 0.7]]],
    ["00 10 01"],
    ["00 10 01"],
    ["011"],
    "Padding may stand anywhere.",
)
tried(
    "edges",
    [[[0.9, 0.1], [0.8, 0.2]], [[0.4, 0.6], [0.3, 0.7]]],
    ["10 01", "00 00"],
    ["11 01", "00 00"],
    ["11", "00"],
    "A sentence may be padding only.",
)
tried(
    "edges",
    [[[0.375, 0.375, 0.25], [0.25, 0.25, 0.5]]],
    ["000 001"],
    ["000 001"],
    ["11"],
    "Each real output has one link, where two weights are largest, too.",
)


tried(
    "edges",
    [[[0.8, 0.2]] * 1500 + [[0.2, 0.8]]],
    ["10 " * 1501],
    ["10 " * 1501],
    ["1" * 1501],
    "There may be many links and few errors.",
)


def turned(tensor):
    """The same numbers, in another order in memory."""
    order = range(tensor.dim())[::-1]
    return tensor.permute(*order).contiguous().permute(*order)


@QUESTION.sizes
def general(batch=2, query=5, key=7):
    """All weights differ, in half precision, too; the first output is real."""
    total = batch * query * key
    number = torch.arange(total).view(batch, query, key)
    weights = 1 + (number * 37 % total).float()
    lengths = torch.arange(batch)[:, None] + 3
    real = torch.arange(query) < lengths
    sure = (number * 5 % 11 < 2) & real[..., None]
    possible = (sure | (number * 3 % 7 < 3)) & real[..., None]
    return (
        weights / weights.sum(dim=-1, keepdim=True),
        sure,
        possible,
        real,
    )


QUESTION.call(
    "edges",
    *map(turned, general()),
    rule="These tensors are transposed views, and not contiguous.",
)


@test_case(points=5)
def test_idea(alignment_error):
    QUESTION.check("idea", alignment_error)


@test_case(points=3)
def test_edges(alignment_error):
    QUESTION.check("idea edges", alignment_error)
