"""Right answers to the exercises of chapter 3, written in unusual ways."""

import functools
import heapq
import itertools
import math
from collections import deque
from heapq import heappop, heappush

import numpy as np
import torch

from tests.right_answers import right


def logged(function):
    """A decorator that changes nothing."""

    @functools.wraps(function)
    def wrapper(*args, **kwargs):
        return function(*args, **kwargs)

    return wrapper


# Question 1: one step of the beam


@right("q1")
@logged
def beam_step(live, log_probs):
    pairs = itertools.product(range(len(live)), range(log_probs.shape[1]))
    totals = {(i, j): (live[i] + log_probs[i, j]).item() for i, j in pairs}
    chosen = sorted(totals, key=totals.get, reverse=True)[: len(live)]
    parents, tokens = torch.tensor(chosen).T
    return live[parents] + log_probs[parents, tokens], parents, tokens


@right("q1")
def beam_step(live, log_probs):
    totals = live.double().numpy()[:, None] + log_probs.double().numpy()
    order = np.argsort(-totals.ravel(), kind="stable")[: len(totals)]
    parents, tokens = np.divmod(order, totals.shape[1])
    best = totals[parents, tokens]
    return [torch.from_numpy(part) for part in (best, parents, tokens)]


@right("q1")
def beam_step(live, log_probs):
    """Take the best one, strike it out, and so on."""
    left = torch.einsum("b,v->bv", live, torch.ones_like(log_probs[0]))
    left = left + log_probs
    found = []
    for _ in live:
        place = int(left.argmax())
        row, column = divmod(place, left.size(1))
        found.append((left[row, column].clone(), row, column))
        left[row, column] = -torch.inf
    best, parents, tokens = zip(*found, strict=True)
    return torch.stack(best), torch.tensor(parents), torch.tensor(tokens)


@right("q1")
def beam_step(live, log_probs):
    """Only the best few of a row can be among the best of all."""
    beam = live.numel()
    few = min(beam, log_probs.shape[-1])
    best, tokens = log_probs.add(live.unsqueeze(-1)).topk(few, dim=-1)
    best, places = best.reshape(-1).sort(descending=True, stable=True)
    places = places[:beam]
    parents = torch.div(places, few, rounding_mode="floor")
    return best[:beam], parents, tokens.reshape(-1).take(places)


# Question 2: length penalty


@right("q2")
def best_hypothesis(tokens, token_log_probs, pad_id, alpha):
    best = None
    for place, row in enumerate(tokens.tolist()):
        length = row.index(pad_id) if pad_id in row else len(row)
        total = math.fsum(token_log_probs[place, :length].tolist())
        score = total * math.pow(6 / (5 + length), alpha)
        if best is None or score > best[1]:
            best = place, score
    return best


@right("q2")
def best_hypothesis(tokens, token_log_probs, pad_id, alpha):
    numbers = np.ma.masked_array(
        token_log_probs.numpy().astype(np.float64),
        mask=tokens.eq(pad_id).numpy(),
    )
    scores = np.ma.sum(numbers, axis=1) / ((5 + numbers.count(1)) / 6) ** alpha
    return [int(scores.argmax()), float(scores.max())]


@right("q2")
@logged
def best_hypothesis(tokens, token_log_probs, pad_id, alpha):
    padding = tokens.sub(pad_id).eq(0)
    total = token_log_probs.masked_fill(padding, 0).double().sum(-1)
    length = (~padding).double().sum(-1)
    divided = total.mul(torch.exp(-alpha * torch.log((5 + length) / 6)))
    score, place = divided.topk(1)
    return place.tolist()[0], score.tolist()[0]


@right("q2")
def best_hypothesis(tokens, token_log_probs, pad_id, alpha):
    def score(place):
        real = token_log_probs[place][tokens[place] != pad_id]
        return (real.sum() / ((5 + len(real)) / 6) ** alpha).item()

    place = max(range(len(tokens)), key=score)
    return place, score(place)


# Question 3: finished hypotheses


@right("q3")
def beam_decode(table, bos_id, eos_id, beam_size, max_length):
    """A matrix of tokens, and places that are empty."""
    totals = table.new_full((beam_size,), -torch.inf)
    totals[0] = 0
    written = torch.full((beam_size, 1), bos_id)
    done = {}
    for _ in range(max_length):
        grid = totals[:, None] + table[written[:, -1]]
        totals, flat = grid.ravel().topk(beam_size)
        parents, tokens = flat // len(table), flat % len(table)
        written = torch.column_stack([written[parents], tokens])
        ended = tokens.eq(eos_id)
        for place in ended.nonzero().ravel().tolist():
            done[tuple(written[place].tolist())] = totals[place].item()
        totals = totals.masked_fill(ended, -torch.inf)
        if totals.max() <= max(done.values(), default=-math.inf):
            break
    if not done:
        done[tuple(written[totals.argmax()].tolist())] = totals.max().item()
    ids = max(done, key=done.get)
    return list(ids[1:]), done[ids]


@right("q3")
@logged
def beam_decode(table, bos_id, eos_id, beam_size, max_length):
    """By recursion, from step to step, and never too soon at an end."""

    def following(pair):
        total, ids = pair
        row = table[ids[-1]].double().numpy()
        return ((total + float(p), (*ids, j)) for j, p in enumerate(row))

    def search(live, best, steps):
        if not live or not steps:
            return best or live[0]
        kept = heapq.nlargest(
            beam_size, itertools.chain.from_iterable(map(following, live))
        )
        ended = [pair for pair in kept if pair[1][-1] == eos_id]
        best = max([*ended, *([best] if best else [])], default=None)
        going = [pair for pair in kept if pair[1][-1] != eos_id]
        return search(going, best, steps - 1)

    total, ids = search([(0.0, (bos_id,))], None, max_length)
    return list(ids[1:]), total


@right("q3")
def beam_decode(table, bos_id, eos_id, beam_size, max_length):
    """Finished ones stay in the list, but are not continued."""
    everything = [(0.0, [bos_id], False)]
    for _ in range(max_length):
        over = [item for item in everything if item[2]]
        grown = [
            (total + more, [*ids, token], token == eos_id)
            for total, ids, ended in everything
            if not ended
            for token, more in enumerate(table[ids[-1]].tolist())
        ]
        grown.sort(key=lambda item: -item[0])
        everything = over + grown[:beam_size]
    total, ids, _ = max(everything, key=lambda item: (item[2], item[0]))
    return ids[1:], total


# Question 4: the nucleus


@right("q4")
def nucleus(probs, p):
    result = torch.zeros_like(probs)
    for row, new in zip(probs, result, strict=True):
        total, left = 0.0, deque(row.argsort(descending=True).tolist())
        while left and total < p:
            token = left.popleft()
            total += row[token].item()
            new[token] = row[token]
        new /= new.sum()
    return result


@right("q4")
def nucleus(probs, p):
    """All in double precision, and it stays so."""
    doubled = probs.double()
    ordered, order = torch.sort(doubled, dim=-1, descending=True)
    before = torch.nn.functional.pad(ordered.cumsum(-1)[:, :-1], (1, 0))
    inside = (before < p).gather(-1, order.argsort(-1))
    kept = torch.where(inside, doubled, 0)
    return torch.nn.functional.normalize(kept, p=1, dim=-1)


@right("q4")
@logged
def nucleus(probs, p):
    rows = probs.float().numpy()
    result = np.zeros_like(rows)
    for number, row in enumerate(rows):
        order = np.argsort(row)[::-1]
        sums = np.cumsum(row[order].astype(np.float64))
        size = min(int(np.searchsorted(sums, p)), len(row) - 1) + 1
        head = order[:size]
        result[number, head] = row[head] / row[head].sum()
    return torch.from_numpy(result).to(probs.dtype)


@right("q4")
def nucleus(probs, p):
    """With `topk`, and a row at a time by `vmap`-like stacking."""

    def one(row):
        ordered, order = row.topk(len(row))
        outside = ordered.cumsum(0).sub(ordered).ge(p)
        kept = ordered.masked_fill(outside, 0)
        return row.new_zeros(len(row)).index_put((order,), kept / kept.sum())

    return torch.stack([*map(one, probs)])


# Question 5: best-first search


@right("q5")
def best_first(table, bos_id, eos_id, max_length):
    """Names of the module's functions, a counter, and no lists in the heap."""
    order, heap = itertools.count(), []
    heappush(heap, (0.0, next(order), bos_id, None, 0))
    while True:
        entry = heappop(heap)
        cost, _, last, _, length = entry
        if last == eos_id:
            break
        if length == max_length:
            continue
        for token, log_prob in enumerate(table[last]):
            if log_prob > -math.inf:
                more = cost - log_prob.item()
                child = (more, next(order), token, entry, length + 1)
                heappush(heap, child)
    ids = []
    while entry[3] is not None:
        ids.insert(0, entry[2])
        entry = entry[3]
    return ids, -cost


class Beginning:
    """It knows which of two comes first."""

    def __init__(self, log_prob, ids):
        self.log_prob, self.ids = log_prob, ids

    def __lt__(self, other):
        return self.log_prob > other.log_prob


@right("q5")
@logged
def best_first(table, bos_id, eos_id, max_length):
    rows = table.double().numpy()
    heap = [Beginning(0.0, (bos_id,))]
    while heap:
        first = heapq.heappop(heap)
        *_, last = first.ids
        if last == eos_id:
            return list(first.ids[1:]), first.log_prob
        if len(first.ids) <= max_length:
            heap += [
                Beginning(first.log_prob + float(more), (*first.ids, token))
                for token, more in enumerate(rows[last])
            ]
            heapq.heapify(heap)
    raise AssertionError


@right("q5")
def best_first(table, bos_id, eos_id, max_length):
    """With the last step apart: there only EOS is worth a push."""
    heap = [(-0.0, (bos_id,))]
    while heap[0][1][-1] != eos_id:
        cost, ids = heapq.heappop(heap)
        room = max_length - len(ids) + 1
        tokens = range(len(table)) if room > 1 else [eos_id] * room
        for token in tokens:
            if token != bos_id:
                more = float(table[ids[-1], token])
                heapq.heappush(heap, (cost - more, ids + (token,)))
    cost, (_, *ids) = heap[0]
    return ids, -cost


@right("q5")
def best_first(table, bos_id, eos_id, max_length):
    """What is as long, with the same last token, is needed only once."""
    heap, seen = [(0.0, [bos_id])], set()
    while True:
        cost, ids = heapq.heappop(heap)
        if ids[-1] == eos_id:
            return ids[1:], -cost
        if (ids[-1], len(ids)) in seen or len(ids) > max_length:
            continue
        seen.add((ids[-1], len(ids)))
        for token, log_prob in enumerate(table[ids[-1]].tolist()):
            heapq.heappush(heap, (cost - log_prob, [*ids, token]))


# Question 6: the state of every hypothesis


@right("q6")
def repeat_state(state, beam):
    result = {}
    for name, tensor in state.items():
        rows = [tensor[b] for b in range(len(tensor)) for _ in range(beam)]
        result[name] = torch.stack(rows)
    return result


@right("q6")
@logged
def repeat_state(state, beam):
    def wide(tensor):
        return (
            tensor.unsqueeze(1)
            .expand(-1, beam, *tensor.shape[1:])
            .flatten(0, 1)
            .contiguous()
        )

    return dict(zip(state, map(wide, state.values()), strict=True))


@right("q6")
def repeat_state(state, beam):
    batch = max(map(len, state.values()))
    rows = torch.arange(batch * beam).div(beam, rounding_mode="floor")
    return {
        name: tensor.index_select(0, rows) for name, tensor in state.items()
    }


@right("q6")
def advance(step, choose, tokens, state):
    said, after = step(tokens, state)
    parents, chosen = choose(said)
    new = {name: torch.empty_like(tensor) for name, tensor in after.items()}
    for b, k in itertools.product(*map(range, parents.shape)):
        beam = parents.shape[1]
        for name, tensor in after.items():
            new[name][b * beam + k] = tensor[b * beam + int(parents[b, k])]
    return torch.cat([*chosen]), new


@right("q6")
@logged
def advance(step, choose, tokens, state):
    said, after = step(tokens, state)
    parents, chosen = choose(said)
    batch, beam = chosen.shape

    def follow(tensor):
        grouped = tensor.unflatten(0, (batch, beam))
        return grouped[torch.arange(batch).unsqueeze(1), parents].flatten(0, 1)

    for name in list(after):
        after[name] = follow(after[name])
    return [chosen.reshape(-1), after]


@right("q6")
def advance(step, choose, tokens, state):
    said, after = step(tokens=tokens, state=state)
    parents, chosen = (part.numpy() for part in choose(said))
    rows = parents + parents.shape[1] * np.arange(len(parents))[:, None]
    rows = torch.from_numpy(rows.ravel())
    after = {
        name: tensor.index_select(0, rows) for name, tensor in after.items()
    }
    return torch.from_numpy(chosen.ravel().copy()), after


# Question 7: find the bugs


@right("q7")
def search_one(step, state, bos_id, eos_id, beam_size, max_length):
    """One call of step for each hypothesis."""
    live = [(0.0, [bos_id], state)]
    best = -math.inf, []
    for _ in range(max_length):
        grown = []
        for total, ids, before in live:
            said, after = step(torch.tensor(ids[-1:]), before)
            grown += [
                (total + more, [*ids, token], after)
                for token, more in enumerate(said[0].tolist())
            ]
        grown = heapq.nlargest(beam_size, grown, key=lambda item: item[0])
        ended = [item[:2] for item in grown if item[1][-1] == eos_id]
        best = max([best, *ended])
        live = [item for item in grown if item[1][-1] != eos_id]
    return best[1][1:], best[0]


@right("q7")
@logged
def search_one(step, state, bos_id, eos_id, beam_size, max_length):
    """The beam begins with one row, and what cannot win leaves it."""
    totals = torch.zeros(1, dtype=torch.float64)
    ids = torch.full((1, 1), bos_id)
    best, best_total = None, -math.inf
    while totals.numel() and ids.shape[1] <= max_length:
        said, state = step(ids[:, -1], state)
        grid = totals.unsqueeze(1) + said
        totals, flat = grid.flatten().topk(min(beam_size, grid.numel()))
        rows = flat // grid.shape[1]
        ids = torch.hstack([ids[rows], (flat % grid.shape[1]).unsqueeze(1)])
        for total, line in zip(totals.tolist(), ids.tolist(), strict=True):
            if line[-1] == eos_id and total > best_total:
                best, best_total = line[1:], total
        alive = (ids[:, -1] != eos_id) & (totals > best_total)
        totals, ids, rows = totals[alive], ids[alive], rows[alive]
        state = {name: tensor[rows] for name, tensor in state.items()}
    return best, best_total


@right("q7")
def search_one(step, state, bos_id, eos_id, beam_size, max_length):
    """The only beginning is in the last place, and tokens are tuples."""
    state = {name: torch.cat([t] * beam_size) for name, t in state.items()}
    totals = torch.full((beam_size,), -1e9)
    totals[-1] = 0.0
    written = ((),) * beam_size
    tokens = torch.tensor([bos_id]).expand(beam_size)
    finished = {}
    for _ in range(max_length):
        said, state = step(tokens, state)
        totals, flat = (totals[:, None] + said).ravel().topk(beam_size)
        parents, tokens = flat // said.size(-1), flat % said.size(-1)
        state = {
            name: torch.index_select(tensor, 0, parents)
            for name, tensor in state.items()
        }
        written = tuple(
            (*written[parent], token)
            for parent, token in zip(
                parents.tolist(), tokens.tolist(), strict=True
            )
        )
        for place, line in enumerate(written):
            if line[-1] == eos_id:
                finished.setdefault(line, totals[place].item())
                totals[place] = -1e9
    best = max(finished, key=finished.get)
    return list(best), finished[best]
