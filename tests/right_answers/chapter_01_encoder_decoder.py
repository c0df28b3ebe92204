"""Right answers to the exercises of chapter 1, in unusual ways."""

import math
import random
from functools import reduce

import numpy as np
import torch
import torch.nn.functional as F
from torch import nn

from tests.right_answers import right

# --- q1


# Nested Python lists, row by row
@right("q1")
def padding_mask(lengths, max_length):
    rows = []
    for n in lengths.tolist():
        rows.append([True] * n + [False] * (max_length - n))
    return torch.tensor(rows, dtype=torch.bool, device=lengths.device)


# Running count of ones (cumsum), compared with expanded lengths by torch.le
@right("q1")
def padding_mask(lengths, max_length):
    table = lengths.view(-1, 1).expand(-1, max_length)
    nth_token = torch.ones_like(table).cumsum(dim=1)
    return torch.le(nth_token, table)


# A triangular lookup table with one row for every possible length, indexed by
# the lengths
@right("q1")
def padding_mask(lengths, max_length):
    lookup = torch.ones(max_length + 1, max_length, dtype=torch.bool).tril(-1)
    return lookup.to(lengths.device)[lengths.long()]


# --- q2


# Flattened, log_softmax, then PyTorch's nll_loss as a sum over real tokens,
# divided by their number
@right("q2")
def masked_loss(logits, tgt, pad_id):
    flat_tgt = tgt.reshape(-1)
    flat = F.log_softmax(logits.reshape(flat_tgt.numel(), -1), dim=1)
    total = F.nll_loss(flat, flat_tgt, ignore_index=pad_id, reduction="sum")
    return total / flat_tgt.ne(pad_id).sum()


# Two Python loops that collect one loss at a time, stacked at the end (gradient
# kept)
@right("q2")
def masked_loss(logits, tgt, pad_id):
    collected = []
    for sentence, truth in zip(logits, tgt.tolist(), strict=False):
        for scores, token in zip(sentence, truth, strict=False):
            if token == pad_id:
                continue
            collected.append(scores.log_softmax(0)[token].neg())
    return torch.stack(collected).mean()


# Nonzero() finds the real tokens first, advanced indexing picks, all in float64
# and cast back
@right("q2")
def masked_loss(logits, tgt, pad_id):
    b, t = torch.nonzero(tgt != pad_id, as_tuple=True)
    chosen = logits[b, t].double().log_softmax(-1)
    nats = chosen[torch.arange(b.numel(), device=b.device), tgt[b, t]]
    return (-nats.sum() / b.numel()).to(logits.dtype)


# --- q3


# Weights viewed as (3, d_hidden, d_in), one einsum for all gates, unbind
@right("q3")
def gru_cell(x, h, w_ih, w_hh, b_ih, b_hh):
    units = h.size(-1)
    from_x = torch.einsum("gui,bi->gbu", w_ih.reshape(3, units, -1), x)
    from_x = from_x + b_ih.reshape(3, 1, units)
    from_h = torch.einsum("guk,bk->gbu", w_hh.reshape(3, units, units), h)
    from_h = from_h + b_hh.reshape(3, 1, units)
    reset, update = torch.sigmoid(from_x[:2] + from_h[:2]).unbind(0)
    candidate = torch.tanh(torch.addcmul(from_x[2], reset, from_h[2]))
    return candidate + update * (h - candidate)


# One sentence at a time, float64 inside, helper function for a part, cast back
@right("q3")
def gru_cell(x, h, w_ih, w_hh, b_ih, b_hh):
    size = h.shape[1]

    def part(k, w, b, v):
        rows = slice(k * size, (k + 1) * size)
        return w[rows].double() @ v.double() + b[rows].double()

    out = []
    for x_one, h_one in zip(x.unbind(0), h.unbind(0), strict=False):
        r = torch.sigmoid(
            part(0, w_ih, b_ih, x_one) + part(0, w_hh, b_hh, h_one)
        )
        z = torch.sigmoid(
            part(1, w_ih, b_ih, x_one) + part(1, w_hh, b_hh, h_one)
        )
        n = torch.tanh(
            part(2, w_ih, b_ih, x_one) + r * part(2, w_hh, b_hh, h_one)
        )
        out.append((1 - z) * n + z * h_one.double())
    return torch.stack(out).to(h.dtype)


# Nn.GRUCell called functionally with the given weights, so gradients reach them
@right("q3")
def gru_cell(x, h, w_ih, w_hh, b_ih, b_hh):
    skeleton = nn.GRUCell(x.size(1), h.size(1), device="meta")
    weights = {
        "weight_ih": w_ih,
        "weight_hh": w_hh,
        "bias_ih": b_ih,
        "bias_hh": b_hh,
    }
    return torch.func.functional_call(skeleton, weights, (x, h))


# --- q4


# Really lays all tensors end to end as one float64 vector, scales it, and cuts
# it up again
@right("q4")
def clip_by_global_norm(gradients, max_norm):
    long = torch.cat([g.flatten() for g in gradients])
    norm = torch.linalg.vector_norm(long, dtype=torch.float64)
    scaled = long * (max_norm / max(norm.item(), max_norm))
    pieces = scaled.split([g.numel() for g in gradients])
    back = [
        p.reshape(g.shape).clone()
        for p, g in zip(pieces, gradients, strict=False)
    ]
    return (back, norm.to(long.dtype))


# Numpy inside, math.fsum over the squares
@right("q4")
def clip_by_global_norm(gradients, max_norm):
    arrays = [g.detach().cpu().numpy().astype(np.float64) for g in gradients]
    length = math.sqrt(math.fsum(float((a * a).sum()) for a in arrays))
    factor = max_norm / length if length > max_norm else 1.0
    clipped = [
        torch.as_tensor(a * factor).to(g)
        for a, g in zip(arrays, gradients, strict=False)
    ]
    return (clipped, torch.tensor(length, dtype=gradients[0].dtype))


# Hypot folded over the tensors' norms, torch.maximum, and a map with a lambda
@right("q4")
def clip_by_global_norm(gradients, max_norm):
    norm = reduce(torch.hypot, (torch.linalg.vector_norm(g) for g in gradients))
    ceiling = torch.full_like(norm, max_norm)
    factor = ceiling / torch.maximum(norm, ceiling)
    return (list(map(lambda g: torch.mul(g, factor), gradients)), norm)


# --- q5


# Collects whole columns as tensors, finds the first EOS of each row by cumsum,
# and cuts at the end
@right("q5")
def greedy_decode(step, state, bos_id, eos_id, max_length):
    some = next(iter(state.values()))
    last = torch.full((some.size(0),), bos_id, device=some.device)
    open_ = torch.ones_like(last, dtype=torch.bool)
    written = torch.empty(some.size(0), 0, dtype=torch.long, device=some.device)
    while written.size(1) < max_length and open_.any():
        scores, state = step(last, state)
        last = scores.max(dim=1).indices
        written = torch.cat([written, last.unsqueeze(1)], dim=1)
        open_ &= last.ne(eos_id)
    is_eos = written.eq(eos_id).long()
    before = is_eos.cumsum(1) - is_eos
    return [
        row[n == 0].tolist() for row, n in zip(written, before, strict=False)
    ]


# Recursion over steps, no loop over time; finished sentences are fed EOS
@right("q5")
def greedy_decode(step, state, bos_id, eos_id, max_length):

    def extend(lists, tokens, state, left):
        running = [not ids or ids[-1] != eos_id for ids in lists]
        if left == 0 or not any(running):
            return lists
        log_probs, state = step(torch.tensor(tokens), state)
        best = [
            max(range(len(p)), key=p.__getitem__) for p in log_probs.tolist()
        ]
        best = [
            b if run else eos_id for b, run in zip(best, running, strict=False)
        ]
        longer = [
            ids + [b] if run else ids
            for ids, b, run in zip(lists, best, running, strict=False)
        ]
        return extend(longer, best, state, left - 1)

    batch = len(next(iter(state.values())))
    return extend([[]] * batch, [bos_id] * batch, state, max_length)


# A set of the sentences still running, numpy for the argmax, while loop
@right("q5")
def greedy_decode(step, state, bos_id, eos_id, max_length):
    size = list(state.values())[0].shape[0]
    answer = {i: [] for i in range(size)}
    running = set(range(size))
    current = np.full(size, bos_id, dtype=np.int64)
    calls = 0
    while running and calls != max_length:
        out, state = step(torch.from_numpy(current.copy()), state)
        calls += 1
        current = np.argmax(out.detach().numpy(), axis=1)
        for i in sorted(running):
            answer[i].append(int(current[i]))
            if current[i] == eos_id:
                running.discard(i)
    return [answer[i] for i in range(size)]


# --- q6


# Plain Python loops and the random module
@right("q6")
def scheduled_inputs(tgt_in, logits, probability):
    guesses = logits.argmax(-1).tolist()
    rows = []
    for truth, guess in zip(tgt_in.tolist(), guesses, strict=False):
        row = truth[:1]
        for t in range(1, len(truth)):
            row.append(
                guess[t - 1] if random.random() < probability else truth[t]
            )
        rows.append(row)
    return tgt_in.new_tensor(rows)


# Integer arithmetic, true token plus coin times difference, coins from
# torch.bernoulli
@right("q6")
def scheduled_inputs(tgt_in, logits, probability):
    shifted = torch.zeros_like(tgt_in)
    shifted[:, 1:] = logits.topk(1, dim=-1).indices[:, :-1, 0] - tgt_in[:, 1:]
    heads = torch.bernoulli(torch.full(tgt_in.shape, float(probability)))
    return tgt_in + heads.to(tgt_in) * shifted


# Numpy inside, binomial coins, seeded from torch's generator
@right("q6")
def scheduled_inputs(tgt_in, logits, probability):
    rng = np.random.default_rng(int(torch.randint(2**31, ())))
    truth = tgt_in.cpu().numpy()
    best = logits.detach().cpu().numpy().argmax(axis=2)
    mixed = truth.copy()
    coins = rng.binomial(1, probability, size=truth[:, 1:].shape).astype(bool)
    mixed[:, 1:] = np.where(coins, best[:, :-1], truth[:, 1:])
    return torch.from_numpy(mixed).to(tgt_in)


# --- q7


# Own masked loss from log_softmax, gradients dropped by hand, clipping written
# out
@right("q7")
def train_step(model, optimizer, batch, pad_id, max_norm):
    src, src_lengths, tgt, tgt_lengths = batch
    model.train(True)
    for p in model.parameters():
        p.grad = None
    reads, predicts = (tgt[:, :-1], tgt[:, 1:])
    log_probs = model(src, src_lengths, reads).log_softmax(-1)
    nats = -log_probs.gather(2, predicts.unsqueeze(2)).squeeze(2)
    loss = nats[predicts != pad_id].mean()
    loss.backward()
    grads = [p.grad for p in model.parameters() if p.grad is not None]
    norm = torch.sqrt(sum(g.square().sum() for g in grads))
    for g in grads:
        g.mul_(max_norm / norm.clamp(min=max_norm))
    optimizer.step()
    return float(loss.detach())


# Torch.autograd.grad instead of backward, gradients assigned fresh, then
# clipped
@right("q7")
def train_step(model, optimizer, batch, pad_id, max_norm):
    src, src_lengths, tgt, tgt_lengths = batch
    model.train()
    logits = model(src, src_lengths, tgt.narrow(1, 0, tgt.size(1) - 1))
    truth = tgt.narrow(1, 1, tgt.size(1) - 1)
    real = truth.ne(pad_id)
    loss = F.cross_entropy(logits[real], truth[real])
    params = [p for p in model.parameters() if p.requires_grad]
    fresh = torch.autograd.grad(loss, params, allow_unused=True)
    for p, g in zip(params, fresh, strict=False):
        p.grad = g
    nn.utils.clip_grad_norm_(params, max_norm)
    optimizer.step()
    return loss.tolist()


# Everything in a closure that optimizer.step calls, nll_loss as a sum over the
# count
@right("q7")
def train_step(model, optimizer, batch, pad_id, max_norm):
    src, src_lengths, tgt, tgt_lengths = batch
    model.train()

    def closure():
        model.zero_grad()
        log_probs = F.log_softmax(model(src, src_lengths, tgt[:, :-1]), dim=-1)
        truth = tgt[:, 1:].reshape(-1)
        total = F.nll_loss(
            log_probs.reshape(len(truth), -1),
            truth,
            ignore_index=pad_id,
            reduction="sum",
        )
        mean = total / torch.count_nonzero(truth != pad_id)
        mean.backward()
        nn.utils.clip_grad_norm_(list(model.parameters()), max_norm)
        return mean

    return optimizer.step(closure).item()
