"""Right answers to the exercises of chapter 2, in unusual ways."""

import functools
import math
import random
from collections import Counter

import numpy as np
import torch
import torch.nn.functional as F

from attend.rnn import LuongDecoder, Seq2SeqConfig
from tests.right_answers import right

# --- q1


# Three loops, a score at a time
@right("q1")
def additive_scores(q, k, w_q, w_k, v):
    return torch.stack(
        [
            torch.stack(
                [
                    torch.stack([v @ (w_q @ a + w_k @ b).tanh() for b in keys])
                    for a in queries
                ]
            )
            for queries, keys in zip(q, k, strict=True)
        ]
    )


# In double precision, with einsum, and the tanh made of a sigmoid
@right("q1")
def additive_scores(q, k, w_q, w_k, v):
    dtype = q.dtype
    q, k, w_q, w_k, v = (t.double() for t in (q, k, w_q, w_k, v))
    left = torch.einsum("bqi,si->bqs", q, w_q)
    right_side = torch.einsum("bki,si->bks", k, w_k)
    both = left.unsqueeze(2) + right_side.unsqueeze(1)
    hidden = 2 * torch.sigmoid(2 * both) - 1
    return torch.einsum("bqks,s->bqk", hidden, v).to(dtype)


# Luong's concat: one matrix for [q; k], all pairs laid out
@right("q1")
def additive_scores(q, k, w_q, w_k, v):
    (batch, queries, _), keys = q.shape, k.shape[1]
    pairs = torch.cat(
        [
            q[:, :, None].expand(-1, -1, keys, -1),
            k[:, None].expand(-1, queries, -1, -1),
        ],
        dim=-1,
    )
    hidden = F.linear(pairs, torch.cat([w_q, w_k], dim=1)).tanh()
    return F.linear(hidden, v[None])[..., 0].reshape(batch, queries, keys)


# A key at a time, stacked along the last axis
@right("q1")
def additive_scores(q, k, w_q, w_k, v):
    left = q @ w_q.mT
    columns = [
        ((left + (key @ w_k.mT)[:, None]).tanh() * v).sum(dim=-1)
        for key in k.unbind(dim=1)
    ]
    return torch.stack(columns, dim=-1)


# --- q2


@right("q2")
def bilinear_scores(q, k, w):
    return torch.einsum("bqi,ij,bkj->bqk", q, w, k)


# PyTorch's bilinear form, of all pairs
@right("q2")
def bilinear_scores(q, k, w):
    (batch, queries, d_q), (_, keys, d_k) = q.shape, k.shape
    left = q.unsqueeze(2).expand(batch, queries, keys, d_q)
    right_side = k.unsqueeze(1).expand(batch, queries, keys, d_k)
    scores = F.bilinear(left.contiguous(), right_side.contiguous(), w[None])
    return scores.squeeze(3)


# The keys first, in double precision, then on its side
@right("q2")
def bilinear_scores(q, k, w):
    scores = k.double() @ w.double().t() @ q.double().mT
    return scores.swapaxes(1, 2).to(q.dtype)


# Recursion over the batch
@right("q2")
def bilinear_scores(q, k, w):
    if len(q) == 1:
        return torch.mm(torch.mm(q[0], w), k[0].T)[None]
    return torch.cat(
        [bilinear_scores(q[:1], k[:1], w), bilinear_scores(q[1:], k[1:], w)]
    )


# --- q3


# Exponentials by hand, less the largest score that is allowed
@right("q3")
def masked_softmax(scores, mask):
    mask = mask.expand_as(scores)
    top = scores.masked_fill(~mask, -math.inf).amax(dim=-1, keepdim=True)
    top = top.masked_fill(top.isinf(), 0.0)
    exp = torch.where(mask, scores - top, -math.inf).exp()
    return exp / exp.sum(dim=-1, keepdim=True).clamp(min=0.5)


# PyTorch's attention, whose values are unit vectors
@right("q3")
def masked_softmax(scores, mask):
    batch, _, keys = scores.shape
    unit = torch.eye(keys, dtype=scores.dtype).expand(batch, keys, keys)
    mask = mask.expand_as(scores)
    alone = ~mask.any(dim=-1, keepdim=True)
    weights = F.scaled_dot_product_attention(
        scores, unit, unit, attn_mask=mask | alone, scale=1.0
    )
    return weights * mask


# Query by query, the softmax of the keys that are allowed
@right("q3")
def masked_softmax(scores, mask):
    weights = torch.zeros_like(scores)
    allowed = mask.expand(scores.shape)
    for batch in range(scores.shape[0]):
        for query in range(scores.shape[1]):
            keys = [key for key, ok in enumerate(allowed[batch, query]) if ok]
            if keys:
                some = scores[batch, query, keys]
                weights[batch, query, keys] = F.softmax(some, dim=0)
    return weights


# In logarithms, the normaliser subtracted
@right("q3")
def masked_softmax(scores, mask):
    logs = scores.masked_fill(~mask, -torch.inf)
    return (logs - logs.logsumexp(dim=-1, keepdim=True)).exp().nan_to_num(0.0)


# The lowest finite number, and zeros put in place afterwards
@right("q3")
def masked_softmax(scores, mask):
    lowest = torch.finfo(scores.dtype).min
    return torch.where(mask, scores, lowest).softmax(dim=-1) * mask


# --- q4


# Query by query, with a slice for the window
@right("q4")
def local_window(scores, center, half_width):
    keys = scores.shape[-1]
    rows = []
    for line, p in zip(scores.flatten(0, 1), center.reshape(-1), strict=True):
        first = max(math.ceil(p.item() - half_width), 0)
        last = min(math.floor(p.item() + half_width), keys - 1)
        distance = torch.arange(first, last + 1) - p
        bell = torch.exp(-2 * (distance / half_width) ** 2)
        weights = line[first : last + 1].softmax(dim=0) * bell
        rows.append(F.pad(weights, (first, keys - 1 - last)))
    return torch.stack(rows).view(scores.shape)


# Logarithms to the last
@right("q4")
def local_window(scores, center, half_width):
    place = torch.arange(scores.shape[-1], dtype=center.dtype)
    off = (center.unsqueeze(-1) - place) / half_width
    inside = torch.where(off.abs() <= 1, scores, -math.inf)
    return (inside.log_softmax(dim=-1) - 2 * off.square()).exp()


# PyTorch's normal distribution, in double precision
@right("q4")
def local_window(scores, center, half_width):
    normal = torch.distributions.Normal(
        center.double()[..., None], half_width / 2
    )
    place = torch.arange(scores.shape[2], dtype=torch.float64)
    at_centre = normal.log_prob(normal.mean)
    bell = (normal.log_prob(place) - at_centre).exp()
    low, high = center[..., None] - half_width, center[..., None] + half_width
    inside = (place >= low) & (place <= high)
    exp = scores.double().masked_fill(~inside, -math.inf)
    exp = (exp - exp.amax(dim=-1, keepdim=True)).exp()
    return (exp / exp.sum(dim=-1, keepdim=True) * bell).to(scores.dtype)


# --- q5


# PyTorch's distributions take no generator: Gumbel noise does as well
@right("q5")
def hard_attention(weights, v, draws, generator):
    shape = (draws, *weights.shape)
    uniform = torch.rand(shape, generator=generator, dtype=torch.float64)
    noise = -(-uniform.clamp(min=1e-300).log()).log()
    best = (weights.double().log() + noise).argmax(dim=-1)
    return torch.stack(
        [
            v.gather(1, keys[..., None].expand(-1, -1, v.shape[2]))
            for keys in best
        ]
    ).mean(dim=0)


# Numbers between 0 and 1, looked up in the sums of the weights
@right("q5")
def hard_attention(weights, v, draws, generator):
    steps = weights.double().cumsum(dim=-1)
    chance = torch.rand(*weights.shape[:2], draws, generator=generator)
    keys = torch.searchsorted(
        steps, chance.double() * steps[..., -1:], right=True
    )
    means = [
        values[row].mean(dim=1) for values, row in zip(v, keys, strict=True)
    ]
    return torch.stack(means)


# Query by query, in Python's lists
@right("q5")
def hard_attention(weights, v, draws, generator):
    def mean(row, values):
        keys = torch.multinomial(row, draws, True, generator=generator).tolist()
        return sum(n / draws * values[key] for key, n in Counter(keys).items())

    return torch.stack(
        [
            torch.stack([mean(row, values) for row in rows])
            for rows, values in zip(weights, v, strict=True)
        ]
    )


# Another source of random numbers, whose seed the generator draws
@right("q5")
def hard_attention(weights, v, draws, generator):
    seed = torch.randint(2**62, (), generator=generator).item()
    source = random.Random(seed)
    keys = [
        [source.choices(range(len(row)), row, k=draws) for row in rows]
        for rows in weights.tolist()
    ]
    counts = F.one_hot(torch.tensor(keys), weights.shape[-1]).sum(dim=2)
    return (counts.to(v.dtype) / draws) @ v


# --- q6


# Sets of triples
@right("q6")
def alignment_error(weights, sure, possible, real):
    found = {
        (b, i, max(range(len(row)), key=row.__getitem__))
        for b, rows in enumerate(weights.tolist())
        for i, row in enumerate(rows)
        if real[b, i]
    }
    certain, allowed = (
        {tuple(link) for link in table.nonzero().tolist()}
        for table in (sure, possible)
    )
    agreed = len(found & certain) + len(found & allowed)
    return 1 - agreed / (len(found) + len(certain))


# NumPy, and a pure fraction: the complement of what agrees
@right("q6")
def alignment_error(weights, sure, possible, real):
    outputs = real.numpy()
    best = weights.numpy().argmax(axis=-1)[outputs]
    rows = np.arange(len(best))
    in_sure = int(sure.numpy()[outputs][rows, best].sum())
    in_possible = int(possible.numpy()[outputs][rows, best].sum())
    total = len(best) + int(sure.sum())
    return (total - in_sure - in_possible) / total


# Gathered at the largest weight; the last of several
@right("q6")
def alignment_error(weights, sure, possible, real):
    keys = weights.shape[-1]
    best = keys - 1 - weights.flip(-1).argmax(dim=-1, keepdim=True)
    hits = [
        (table.gather(-1, best)[..., 0] & real).sum()
        for table in (sure, possible)
    ]
    total = real.sum() + sure.sum()
    return float(1 - torch.stack(hits).sum().double() / total)


# --- q7


# Einsum, and the logarithm of the mask
@right("q7")
def luong_step(x, state, memory, mask, cell, w_a, w_c):
    *old, feed = state
    h, c = cell(torch.hstack([x, feed]), tuple(old))
    scores = torch.einsum("bi,ij,bsj->bs", h, w_a, memory)
    weights = (scores + mask.to(scores.dtype).log()).softmax(dim=1)
    context = torch.einsum("bs,bsd->bd", weights, memory)
    of_context, of_state = w_c.chunk(2, dim=1)
    feature = (context @ of_context.T + h @ of_state.T).tanh()
    return feature, (h, c, feature), weights


# Sentence by sentence, without its padding
@right("q7")
def luong_step(x, state, memory, mask, cell, w_a, w_c):
    h, c = cell(torch.cat([x, state[2]], dim=1), state[:2])
    features, rows = [], []
    for query, places, real in zip(h, memory, mask, strict=True):
        tokens = places[real]
        shares = F.softmax(tokens @ (query @ w_a), dim=0)
        features.append((w_c @ torch.cat([shares @ tokens, query])).tanh())
        row = torch.zeros(len(places), dtype=shares.dtype)
        rows.append(row.masked_scatter(real, shares))
    feature = torch.stack(features)
    return [feature, [h, c, feature], torch.stack(rows)]


# PyTorch's attention gives the context; a decorator keeps the name
def with_list(function):
    @functools.wraps(function)
    def wrapped(*given, **named):
        feature, state, weights = function(*given, **named)
        return feature, (*state, feature), weights

    return wrapped


@right("q7")
@with_list
def luong_step(x, state, memory, mask, cell, w_a, w_c):
    h, c, feed = state
    new = cell(torch.cat([x, feed], dim=-1), (h, c))
    query = (new[0] @ w_a)[:, None]
    context = F.scaled_dot_product_attention(
        query, memory, memory, attn_mask=mask[:, None], scale=1.0
    ).squeeze(1)
    scores = torch.where(mask, (memory * query).sum(dim=-1), -math.inf)
    feature = torch.cat([context, new[0]], dim=-1).matmul(w_c.mT).tanh()
    return feature, new, scores.softmax(dim=-1)


# The library's decoder itself, with the same weights; what the question asks
# must be what the book does
@right("q7")
def luong_step(x, state, memory, mask, cell, w_a, w_c):
    h, c, feed = state
    config = Seq2SeqConfig(
        src_vocab_size=2,
        tgt_vocab_size=2,
        d_embed=x.shape[-1],
        d_hidden=h.shape[-1],
        num_layers=1,
        dropout=0.0,
        attention="luong",
        score="bilinear",
    )
    decoder = LuongDecoder(config).to(x.dtype)
    decoder.cells[0] = cell
    for owner, name, value in [
        (decoder.score, "w", w_a),
        (decoder.combine, "weight", w_c),
        (decoder.combine, "bias", torch.zeros(len(w_c), dtype=x.dtype)),
    ]:
        delattr(owner, name)
        setattr(owner, name, value)
    start = decoder.start(memory, mask[:, None], h[:, None], c[:, None])
    feature, new = decoder.read(x, {**start, "feed": feed})
    scores = (memory @ w_a.T @ new["h"][:, 0, :, None]).squeeze(-1)
    weights = scores.masked_fill(~mask, -math.inf).softmax(dim=-1)
    return feature, (new["h"][:, 0], new["c"][:, 0], new["feed"]), weights
