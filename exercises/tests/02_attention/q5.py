"""Hard attention: each draw takes one value, many come near the soft mean."""

import random

import torch
import torch.nn.functional as F
from otter.test_files import test_case
from torch import tensor

from attend.grading import Question, Seen, Share, expect_tensor, numbers

OK_FORMAT = False
name = "q5"
points = None

QUESTION = Question(
    "hard_attention", returns={"the result": "batch, query, d_v"}
)


# --- Answers


@QUESTION.reference
def hard_attention(weights, v, draws, generator):
    rows = weights.flatten(0, 1)
    choice = torch.multinomial(
        rows, draws, replacement=True, generator=generator
    )
    taken = F.one_hot(choice, weights.shape[-1]).to(v.dtype)
    return taken.mean(dim=1).view(weights.shape) @ v


def drawn(weights, draws, generator=None):
    """The numbers of the keys: (batch, query, draws)."""
    rows = weights.flatten(0, 1)
    choice = torch.multinomial(
        rows, draws, replacement=True, generator=generator
    )
    return choice.view(*weights.shape[:2], draws)


def counted(choice, v):
    """How often each key was drawn: (batch, query, key)."""
    return F.one_hot(choice, v.shape[1]).sum(dim=2).to(v.dtype)


def mean_of(choice, v):
    return counted(choice, v) / choice.shape[-1] @ v


def looked_up(chance, weights):
    """The keys that numbers between 0 and 1 stand for."""
    steps = weights.cumsum(dim=-1)[:, :, None, :-1]
    return (chance[..., None] >= steps).sum(dim=-1)


@QUESTION.mistake(
    "You return the soft mean, `weights @ v`. Nothing is drawn: one draw must "
    "give one of the values, not something between them."
)
def hard_attention(weights, v, draws, generator):
    return weights @ v


@QUESTION.mistake(
    "You take the key with the largest weight each time. That is hard "
    "attention too, but not by chance: draw by the weights."
)
def hard_attention(weights, v, draws, generator):
    return mean_of(weights.argmax(dim=-1, keepdim=True), v)


@QUESTION.mistake(
    "All your queries take values of the first sequence. Do you flatten the "
    "batch and then index with the number of the key alone? Each sequence has "
    "values of its own."
)
def hard_attention(weights, v, draws, generator):
    choice = drawn(weights, draws, generator)
    return v.flatten(0, 1)[choice].mean(dim=2)


@QUESTION.mistake(
    "Your draws use up the keys: `torch.multinomial` draws without replacement "
    "unless you say `replacement=True`, and raises where there are more draws "
    "than keys. Each draw starts from the full row of weights."
)
def hard_attention(weights, v, draws, generator):
    rows = weights.flatten(0, 1)
    choice = torch.multinomial(rows, draws, generator=generator)
    return mean_of(choice.view(*weights.shape[:2], draws), v)


@QUESTION.mistake(
    "With no more draws than keys your draws use up the keys: no query draws a "
    "key twice. Each draw starts from the full row of weights, however many "
    "there are."
)
def hard_attention(weights, v, draws, generator):
    rows = weights.flatten(0, 1)
    more = draws > weights.shape[-1]
    choice = torch.multinomial(rows, draws, more, generator=generator)
    return mean_of(choice.view(*weights.shape[:2], draws), v)


@QUESTION.mistake(
    "Your draws are uniform: each key comes as often as any other, with weight "
    "0, too. Draw by the weights."
)
def hard_attention(weights, v, draws, generator):
    shape = (*weights.shape[:2], draws)
    choice = torch.randint(weights.shape[-1], shape, generator=generator)
    return mean_of(choice, v)


@QUESTION.mistake(
    "There is another softmax between the weights and your draws, so that they "
    "come out too even, and a key with weight 0 is drawn. The weights already "
    "are a distribution."
)
def hard_attention(weights, v, draws, generator):
    return mean_of(drawn(weights.softmax(dim=-1), draws, generator), v)


@QUESTION.mistake(
    "Your draws are left to no chance: each key comes as often as its weight "
    "says, rounded."
)
def hard_attention(weights, v, draws, generator):
    return (weights * draws).round() / draws @ v


@QUESTION.mistake(
    "Your result is the value of a single key, whatever `draws` says. Draw so "
    "many keys, each by itself, and take the mean of their values."
)
def hard_attention(weights, v, draws, generator):
    return mean_of(drawn(weights, 1, generator), v)


@QUESTION.mistake("You make one draw too few, and divide by as many.")
def hard_attention(weights, v, draws, generator):
    return mean_of(drawn(weights, max(draws - 1, 1), generator), v)


@QUESTION.mistake(
    "One of the draws is missing from your sum, and you divide by all: the "
    "result is too small."
)
def hard_attention(weights, v, draws, generator):
    choice = drawn(weights, draws, generator)[:, :, 1:]
    return counted(choice, v) / draws @ v


@QUESTION.mistake("You make one draw too many, and divide by as many.")
def hard_attention(weights, v, draws, generator):
    return mean_of(drawn(weights, draws + 1, generator), v)


@QUESTION.mistake(
    "You add up the values of the draws without dividing by their number."
)
def hard_attention(weights, v, draws, generator):
    return counted(drawn(weights, draws, generator), v) @ v


@QUESTION.mistake(
    "You divide by 1000, the draws of the cell below the question. Divide by "
    "`draws`."
)
def hard_attention(weights, v, draws, generator):
    return counted(drawn(weights, draws, generator), v) / 1000 @ v


@QUESTION.mistake(
    "You divide by the number of keys. Divide by that of the draws."
)
def hard_attention(weights, v, draws, generator):
    choice = drawn(weights, draws, generator)
    return counted(choice, v) / weights.shape[-1] @ v


@QUESTION.mistake(
    "You return how often each key was drawn. Return the mean of the values "
    "that were drawn."
)
def hard_attention(weights, v, draws, generator):
    return counted(drawn(weights, draws, generator), v) / draws


@QUESTION.mistake(
    "You return the values of all draws. Return their mean, (batch, query, "
    "d_v)."
)
def hard_attention(weights, v, draws, generator):
    choice = drawn(weights, draws, generator)
    return F.one_hot(choice, v.shape[1]).to(v.dtype) @ v[:, None]


@QUESTION.mistake(
    "All queries of a sequence draw by the weights of its first query, the "
    "same keys. Each query draws for itself, from its own row."
)
def hard_attention(weights, v, draws, generator):
    choice = drawn(weights[:, :1], draws, generator)
    return mean_of(choice.expand(*weights.shape[:2], draws), v)


@QUESTION.mistake(
    "All queries of a sequence draw by the weights of its first query. Each "
    "has a row of its own."
)
def hard_attention(weights, v, draws, generator):
    return mean_of(
        drawn(weights[:, :1].expand(weights.shape), draws, generator), v
    )


@QUESTION.mistake(
    "All sequences draw by the weights of the first. Each has its own."
)
def hard_attention(weights, v, draws, generator):
    return mean_of(
        drawn(weights[:1].expand(weights.shape), draws, generator), v
    )


@QUESTION.mistake(
    "All queries of all sequences share their random numbers: with the same "
    "weights they draw the same keys. Each draws for itself: give the random "
    "numbers the shape (batch, query, draws)."
)
def hard_attention(weights, v, draws, generator):
    chance = torch.rand(draws, generator=generator)
    chance = chance.expand(*weights.shape[:2], draws)
    return mean_of(looked_up(chance, weights), v)


@QUESTION.mistake(
    "All queries of a sequence share their random numbers: with the same "
    "weights they draw the same keys. Each draws for itself: give the random "
    "numbers the shape (batch, query, draws)."
)
def hard_attention(weights, v, draws, generator):
    chance = torch.rand(len(weights), 1, draws, generator=generator)
    chance = chance.expand(*weights.shape[:2], draws)
    return mean_of(looked_up(chance, weights), v)


@QUESTION.mistake(
    "All sequences share their random numbers: with the same weights they draw "
    "the same keys. Each draws for itself: give the random numbers the shape "
    "(batch, query, draws)."
)
def hard_attention(weights, v, draws, generator):
    chance = torch.rand(weights.shape[1], draws, generator=generator)
    chance = chance.expand(*weights.shape[:2], draws)
    return mean_of(looked_up(chance, weights), v)


@QUESTION.mistake(
    "Your draws end up with other queries. `torch.multinomial` returns (batch "
    "* query, draws): take the first axis apart and leave the draws last, "
    "`view(batch, query, draws)`."
)
def hard_attention(weights, v, draws, generator):
    choice = drawn(weights, draws, generator)
    choice = choice.flatten().view(draws, *weights.shape[:2])
    return mean_of(choice.permute(1, 2, 0), v)


UNUSED = (
    "Twice the same seed gives two different results: your random numbers come "
    "from elsewhere. Pass `generator` on to the function that draws. Without "
    "it nobody can repeat your run."
)


@QUESTION.mistake(UNUSED)
def hard_attention(weights, v, draws, generator):
    return mean_of(drawn(weights, draws), v)


@QUESTION.mistake(UNUSED)
def hard_attention(weights, v, draws, generator):
    keys = range(weights.shape[-1])
    choice = [
        [random.choices(keys, row, k=draws) for row in rows]
        for rows in weights.tolist()
    ]
    return mean_of(tensor(choice), v)


@QUESTION.mistake(
    "Every call draws the same keys, whatever the generator is, and sets the "
    "seed of all of PyTorch. Do you call `torch.manual_seed`? Pass `generator` "
    "on to the function that draws."
)
def hard_attention(weights, v, draws, generator):
    torch.manual_seed(0)
    return mean_of(drawn(weights, draws), v)


@QUESTION.mistake(
    "Every call draws the same keys, whatever the state of the generator is. "
    "Do you set a seed inside? Use the generator as it comes."
)
def hard_attention(weights, v, draws, generator):
    generator = torch.Generator().manual_seed(0)
    return mean_of(drawn(weights, draws, generator), v)


@QUESTION.mistake(
    "A second call with the same generator repeats the first. Draw with the "
    "generator itself, as it comes, and not with a copy or from its seed, so "
    "that it goes on."
)
def hard_attention(weights, v, draws, generator):
    generator = torch.Generator().manual_seed(generator.initial_seed())
    return mean_of(drawn(weights, draws, generator), v)


@QUESTION.mistake(
    "You set the seed of all of PyTorch to the generator's, so a second call "
    "repeats the first, and others who draw are disturbed. Pass `generator` "
    "on to the function that draws."
)
def hard_attention(weights, v, draws, generator):
    torch.manual_seed(generator.initial_seed())
    return mean_of(drawn(weights, draws), v)


@QUESTION.mistake(
    "You lose an axis where its size is 1. `squeeze()` removes every such "
    "axis, that of a single sequence or query, too: say which one."
)
def hard_attention(weights, v, draws, generator):
    return mean_of(drawn(weights, draws, generator), v).squeeze()


@QUESTION.mistake(
    "Values in double or half precision raise: the shares of your draws are "
    "float32. Give them the dtype of v, `.to(v.dtype)`."
)
def hard_attention(weights, v, draws, generator):
    choice = drawn(weights, draws, generator)
    return F.one_hot(choice, v.shape[1]).float().mean(dim=2) @ v


@QUESTION.mistake(
    "Your result is float32, whatever the arguments are. A result has the "
    "dtype of the values."
)
def hard_attention(weights, v, draws, generator):
    return mean_of(drawn(weights, draws, generator), v).float()


# --- Trials: first where nothing is left to chance


def seeded(seed=0):
    return torch.Generator().manual_seed(seed)


QUESTION.call(
    "idea",
    tensor([[[0.0, 1.0]]]),
    tensor([[[3.0], [10.0]]]),
    1,
    seeded(),
    rule="All weight is on one key.",
)
QUESTION.call(
    "idea",
    tensor([[[0.0, 1.0]], [[1.0, 0.0]]]),
    tensor([[[1.0], [2.0]], [[3.0], [4.0]]]),
    3,
    seeded(),
    rule="All weight is on one key, another in each sequence.",
)

# --- Where chance decides

BATCH, QUERIES = 7, 61


def taken(hard_attention, weights, draws, generator):
    """Which share of its draws took each key: (BATCH, QUERIES, key)."""
    keys = len(weights)
    got = hard_attention(
        tensor(weights).expand(BATCH, QUERIES, keys).contiguous(),
        torch.eye(keys).expand(BATCH, keys, keys).contiguous(),
        draws,
        generator,
    )
    return expect_tensor(
        got, (BATCH, QUERIES, keys), axes="batch, query, d_v", name="the result"
    )


def share(where, p):
    return Share(int(where.sum()), where.numel(), p)


def equal(first, second):
    return (first - second).abs() < 1e-4


def words(weights, draws):
    return (
        f"{BATCH} sequences of {QUERIES} queries, each with weights {weights}, "
        f"and v the unit vectors, {draws} draw{'s' * (draws > 1)}"
    )


HALVES = [0.5, 0.5]


@QUESTION.trial("idea", words(HALVES, 1), "One draw takes one value.")
def trial(hard_attention):
    got = taken(hard_attention, HALVES, 1, seeded())
    one = equal(got, 0) | equal(got, 1)
    return Seen({"numbers that are 0 or 1": share(one, 1.0)})


@QUESTION.trial(
    "idea", words(HALVES, 1), "Each query of each sequence draws by itself."
)
def trial(hard_attention):
    got = taken(hard_attention, HALVES, 1, seeded())[..., 1]
    return Seen(
        {
            "same key in queries that are neighbours": share(
                equal(got[:, :-1:2], got[:, 1::2]), 0.5
            ),
            "same key in sequences that are neighbours": share(
                equal(got[:-1:2], got[1::2]), 0.5
            ),
        }
    )


@QUESTION.trial(
    "idea", words([0.2, 0.8], 1), "A key must come as often as its weight says."
)
def trial(hard_attention):
    got = taken(hard_attention, [0.2, 0.8], 1, seeded())[..., 1]
    return Seen({"queries that draw key 1": share(equal(got, 1), 0.8)})


@QUESTION.trial(
    "idea",
    words([0.2, 0.8], 5),
    "The mean of 5 draws comes out wrong. A key that is drawn twice counts "
    "twice, and the number of draws divides.",
)
def trial(hard_attention):
    got = 5 * taken(hard_attention, [0.2, 0.8], 5, seeded())[..., 1]
    ways = {0: 0.00032, 1: 0.0064, 2: 0.0512, 3: 0.2048, 4: 0.4096, 5: 0.32768}
    whole = equal(got, got.round()) & (got > -0.5) & (got < 5.5)
    return Seen(
        {
            "results that are a mean of 5 values": share(whole, 1.0),
            **{
                f"queries with {times} of 5 draws on key 1": share(
                    equal(got, times), p
                )
                for times, p in ways.items()
            },
        }
    )


@QUESTION.trial(
    "idea",
    words([0.5, 0.3, 0.2], 2),
    "Each draw is made from the full row of weights: a key may come twice.",
)
def trial(hard_attention):
    got = taken(hard_attention, [0.5, 0.3, 0.2], 2, seeded())
    twice = equal(got, 1).any(dim=-1)
    return Seen({"queries that draw the same key twice": share(twice, 0.38)})


@QUESTION.trial(
    "idea",
    words(HALVES, 3) + ", twice with a generator of the same seed",
    "With the same seed the result must be the same.",
)
def trial(hard_attention):
    first = taken(hard_attention, HALVES, 3, seeded(1))
    second = taken(hard_attention, HALVES, 3, seeded(1))
    return Seen({"both results are equal": bool(equal(first, second).all())})


@QUESTION.trial(
    "edges",
    words(HALVES, 1) + ", twice with one generator",
    "A second call with the same generator makes new draws.",
)
def trial(hard_attention):
    generator = seeded(2)
    first = taken(hard_attention, HALVES, 1, generator)[..., 1]
    second = taken(hard_attention, HALVES, 1, generator)[..., 1]
    return Seen({"same key in both calls": share(equal(first, second), 0.5)})


@QUESTION.trial(
    "edges",
    words(HALVES, 1) + ", with generators of two seeds",
    "Another seed makes other draws.",
)
def trial(hard_attention):
    first = taken(hard_attention, HALVES, 1, seeded(3))[..., 1]
    second = taken(hard_attention, HALVES, 1, seeded(4))[..., 1]
    return Seen({"same key in both calls": share(equal(first, second), 0.5)})


@QUESTION.trial(
    "edges",
    words(HALVES, 1),
    "Take every random number from the generator, and leave PyTorch's own as "
    "they are.",
)
def trial(hard_attention):
    before = torch.get_rng_state()
    taken(hard_attention, HALVES, 1, seeded())
    same = torch.equal(before, torch.get_rng_state())
    return Seen({"the state of `torch.rand` is as before": same})


@QUESTION.trial(
    "edges",
    words([0.0, 0.1, 0.2, 0.7], 11),
    "Each key must come as often as its weight says.",
)
def trial(hard_attention):
    weights = [0.0, 0.1, 0.2, 0.7]
    got = taken(hard_attention, weights, 11, seeded())
    total = BATCH * QUERIES * 11
    counts = (11 * got).round().sum(dim=(0, 1)).nan_to_num(0).clamp(0, total)
    return Seen(
        {
            f"draws of key {key}": Share(int(counts[key]), total, p)
            for key, p in enumerate(weights)
        }
    )


def turned(tensor):
    """The same numbers, in another order in memory."""
    order = range(tensor.dim())[::-1]
    return tensor.permute(*order).contiguous().permute(*order)


QUESTION.call(
    "edges",
    turned(torch.eye(5)[[3, 1, 4, 0, 2, 3]].view(2, 3, 5)),
    turned(numbers(2, 5, 7)),
    2,
    seeded(),
    rule="These tensors are transposed views, and not contiguous.",
)


@QUESTION.sizes
def general(batch=2, query=3, key=5, d_v=7, draws=11):
    """All weight of each query is on one key."""
    chosen = (2 * torch.arange(batch * query) + 1) % key
    weights = F.one_hot(chosen, key).float().view(batch, query, key)
    return weights, numbers(batch, key, d_v), draws, seeded()


@test_case(points=5)
def test_idea(hard_attention):
    QUESTION.check("idea", hard_attention)


@test_case(points=3)
def test_edges(hard_attention):
    QUESTION.check("idea edges", hard_attention)
