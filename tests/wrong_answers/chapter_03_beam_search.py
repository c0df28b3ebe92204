"""Wrong answers to the exercises of chapter 3."""

import heapq
import math

import torch

from tests.wrong_answers import wrong

# Question 1: one step of the beam


@wrong("q1", "make it a column first")
def beam_step(live, log_probs):
    best, flat = (live + log_probs).flatten().topk(len(live))
    return best, flat // log_probs.shape[1], flat % log_probs.shape[1]


@wrong("q1", "Did you take the best of each parent?")
def beam_step(live, log_probs):
    best, tokens = (live[:, None] + log_probs).max(dim=1)
    best, parents = best.sort(descending=True)
    return best, parents, tokens[parents]


@wrong("q1", "got best of shape (2, 2)")
def beam_step(live, log_probs):
    best, tokens = (live[:, None] + log_probs).topk(len(live))
    return best, torch.arange(len(live))[:, None].expand_as(tokens), tokens


@wrong("q1", "Did you forget to add the parent's log-probability")
def beam_step(live, log_probs):
    best, flat = log_probs.flatten().topk(len(live))
    return best, flat // log_probs.shape[1], flat % log_probs.shape[1]


@wrong("q1", "Did you multiply the logs")
def beam_step(live, log_probs):
    best, flat = (live[:, None] * log_probs).flatten().topk(len(live))
    return best, flat // log_probs.shape[1], flat % log_probs.shape[1]


@wrong("q1", "or return probabilities?")
def beam_step(live, log_probs):
    best, flat = (
        (live.exp()[:, None] * log_probs.exp()).flatten().topk(len(live))
    )
    return best, flat // log_probs.shape[1], flat % log_probs.shape[1]


@wrong("q1", "Did you add the probabilities?")
def beam_step(live, log_probs):
    totals = (live.exp()[:, None] + log_probs.exp()).log()
    best, flat = totals.flatten().topk(len(live))
    return best, flat // log_probs.shape[1], flat % log_probs.shape[1]


@wrong("q1", "You kept the least likely continuations")
def beam_step(live, log_probs):
    totals, order = (live[:, None] + log_probs).flatten().sort()
    best, flat = totals[: len(live)], order[: len(live)]
    return best, flat // log_probs.shape[1], flat % log_probs.shape[1]


@wrong("q1", "Parents and tokens have changed places")
def beam_step(live, log_probs):
    best, flat = (live[:, None] + log_probs).flatten().topk(len(live))
    return best, flat % log_probs.shape[1], flat // log_probs.shape[1]


@wrong("q1", "it is the size of the vocabulary, not of the beam")
def beam_step(live, log_probs):
    best, flat = (live[:, None] + log_probs).flatten().topk(len(live))
    return best, flat // len(live), flat % len(live)


@wrong("q1", "parents: expected dtype torch.int64, got torch.float32")
def beam_step(live, log_probs):
    best, flat = (live[:, None] + log_probs).flatten().topk(len(live))
    return best, flat / log_probs.shape[1], flat % log_probs.shape[1]


@wrong("q1", "Did you sort the flat numbers")
def beam_step(live, log_probs):
    totals = (live[:, None] + log_probs).flatten()
    flat = totals.topk(len(live)).indices.sort().values
    return totals[flat], flat // log_probs.shape[1], flat % log_probs.shape[1]


# Question 2: length penalty


def sums_and_lengths(tokens, token_log_probs, pad_id):
    real = tokens != pad_id
    return torch.where(real, token_log_probs, 0.0).sum(dim=1), real.sum(dim=1)


def largest(scores):
    return int(scores.argmax()), scores.max().item()


@wrong("q2", "leave the log-probabilities at padding out of the sum")
def best_hypothesis(tokens, token_log_probs, pad_id, alpha):
    _, lengths = sums_and_lengths(tokens, token_log_probs, pad_id)
    return largest(token_log_probs.sum(dim=1) / ((5 + lengths) / 6) ** alpha)


@wrong("q2", "Did you divide the probability?")
def best_hypothesis(tokens, token_log_probs, pad_id, alpha):
    log_probs, lengths = sums_and_lengths(tokens, token_log_probs, pad_id)
    return largest(log_probs.exp() / ((5 + lengths) / 6) ** alpha)


@wrong("q2", "Did you multiply by it?")
def best_hypothesis(tokens, token_log_probs, pad_id, alpha):
    log_probs, lengths = sums_and_lengths(tokens, token_log_probs, pad_id)
    return largest(log_probs * ((5 + lengths) / 6) ** alpha)


@wrong("q2", "Did you divide by the plain length?")
def best_hypothesis(tokens, token_log_probs, pad_id, alpha):
    log_probs, lengths = sums_and_lengths(tokens, token_log_probs, pad_id)
    return largest(log_probs / lengths**alpha)


@wrong("q2", "Is the 5 or the 6 missing?")
def best_hypothesis(tokens, token_log_probs, pad_id, alpha):
    log_probs, lengths = sums_and_lengths(tokens, token_log_probs, pad_id)
    return largest(log_probs / (5 + lengths) ** alpha)


@wrong("q2", "Do the parentheses come before the division?")
def best_hypothesis(tokens, token_log_probs, pad_id, alpha):
    log_probs, lengths = sums_and_lengths(tokens, token_log_probs, pad_id)
    return largest(log_probs / (5 + lengths / 6) ** alpha)


@wrong("q2", "EOS included.")
def best_hypothesis(tokens, token_log_probs, pad_id, alpha):
    log_probs, lengths = sums_and_lengths(tokens, token_log_probs, pad_id)
    return largest(log_probs / ((5 + lengths - 1) / 6) ** alpha)


@wrong("q2", "Is α a factor in yours?")
def best_hypothesis(tokens, token_log_probs, pad_id, alpha):
    log_probs, lengths = sums_and_lengths(tokens, token_log_probs, pad_id)
    return largest(
        log_probs / (alpha * (5 + lengths) / 6) if alpha else log_probs
    )


@wrong("q2", "Did you take `tokens.shape[1]`?")
def best_hypothesis(tokens, token_log_probs, pad_id, alpha):
    log_probs, _ = sums_and_lengths(tokens, token_log_probs, pad_id)
    return largest(log_probs / ((5 + tokens.shape[1]) / 6) ** alpha)


@wrong("q2", "divide only the best at the end?")
def best_hypothesis(tokens, token_log_probs, pad_id, alpha):
    log_probs, lengths = sums_and_lengths(tokens, token_log_probs, pad_id)
    place = int(log_probs.argmax())
    return place, (
        log_probs[place] / ((5 + lengths[place]) / 6) ** alpha
    ).item()


@wrong("q2", "the best is the one nearest to zero")
def best_hypothesis(tokens, token_log_probs, pad_id, alpha):
    log_probs, lengths = sums_and_lengths(tokens, token_log_probs, pad_id)
    scores = log_probs / ((5 + lengths) / 6) ** alpha
    place = int(scores.argmin())
    return place, scores[place].item()


# Question 3: finished hypotheses


def all_continuations(table, live):
    return [
        (log_prob + table[ids[-1], token].item(), [*ids, token])
        for log_prob, ids in live
        for token in range(len(table))
    ]


def split(pairs, eos_id):
    ended = [pair for pair in pairs if pair[1][-1] == eos_id]
    return ended, [pair for pair in pairs if pair[1][-1] != eos_id]


@wrong("q3", "There is something after EOS")
def beam_decode(table, bos_id, eos_id, beam_size, max_length):
    live = [(0.0, [bos_id])]
    for _ in range(max_length):
        live = sorted(all_continuations(table, live), reverse=True)[:beam_size]
    return live[0][1][1:], live[0][0]


@wrong("q3", "How many times does your loop go round?")
def beam_decode(table, bos_id, eos_id, beam_size, max_length):
    live, finished = [(0.0, [bos_id])], []
    for _ in range(max_length + 1):
        kept = sorted(all_continuations(table, live), reverse=True)[:beam_size]
        ended, live = split(kept, eos_id)
        finished += ended
        if not live or (finished and max(finished) >= max(live)):
            break
    log_prob, ids = max(finished or live)
    return ids[1:], log_prob


@wrong("q3", "is there a maximum over nothing?")
def beam_decode(table, bos_id, eos_id, beam_size, max_length):
    live, finished = [(0.0, [bos_id])], []
    for _ in range(max_length):
        kept = sorted(all_continuations(table, live), reverse=True)[:beam_size]
        ended, live = split(kept, eos_id)
        finished += ended
        if finished and max(finished) >= max(live):
            break
    log_prob, ids = max(finished or live)
    return ids[1:], log_prob


@wrong("q3", "Did you keep every continuation?")
def beam_decode(table, bos_id, eos_id, beam_size, max_length):
    live, finished = [(0.0, [bos_id])], []
    for _ in range(max_length):
        ended, live = split(all_continuations(table, live), eos_id)
        finished += ended
    log_prob, ids = max(finished or live)
    return ids[1:], log_prob


@wrong("q3", "You returned the first hypothesis that ended")
def beam_decode(table, bos_id, eos_id, beam_size, max_length):
    live, finished = [(0.0, [bos_id])], []
    for _ in range(max_length):
        kept = sorted(all_continuations(table, live), reverse=True)[:beam_size]
        finished, live = split(kept, eos_id)
        if finished:
            break
    log_prob, ids = max(finished or live)
    return ids[1:], log_prob


@wrong("q3", "as many hypotheses have ended as the beam has places?")
def beam_decode(table, bos_id, eos_id, beam_size, max_length):
    live, finished = [(0.0, [bos_id])], []
    for _ in range(max_length):
        kept = sorted(all_continuations(table, live), reverse=True)[:beam_size]
        ended, live = split(kept, eos_id)
        finished += ended
        if not live or len(finished) >= beam_size:
            break
    log_prob, ids = max(finished or live)
    return ids[1:], log_prob


@wrong("q3", "Did you forget those that ended before the last step?")
def beam_decode(table, bos_id, eos_id, beam_size, max_length):
    live, finished = [(0.0, [bos_id])], []
    for _ in range(max_length):
        kept = sorted(all_continuations(table, live), reverse=True)[:beam_size]
        finished, live = split(kept, eos_id)
        if not live:
            break
    log_prob, ids = max(finished or live)
    return ids[1:], log_prob


@wrong("q3", "What has finished comes first")
def beam_decode(table, bos_id, eos_id, beam_size, max_length):
    live, finished = [(0.0, [bos_id])], []
    for _ in range(max_length):
        kept = sorted(all_continuations(table, live), reverse=True)[:beam_size]
        ended, live = split(kept, eos_id)
        finished += ended
        if not live or (finished and max(finished) >= max(live)):
            break
    log_prob, ids = max(finished + live)
    return ids[1:], log_prob


@wrong("q3", "Return the most likely of those that were cut off")
def beam_decode(table, bos_id, eos_id, beam_size, max_length):
    live, finished = [(0.0, [bos_id])], []
    for _ in range(max_length):
        kept = sorted(all_continuations(table, live), reverse=True)[:beam_size]
        ended, live = split(kept, eos_id)
        finished += ended
        if not live or (finished and max(finished) >= max(live)):
            break
    log_prob, ids = max(finished)
    return ids[1:], log_prob


@wrong("q3", "your beam has become narrower")
def beam_decode(table, bos_id, eos_id, beam_size, max_length):
    live, finished = [(0.0, [bos_id])], []
    for _ in range(max_length):
        room = max(beam_size - len(finished), 1)
        kept = sorted(all_continuations(table, live), reverse=True)[:room]
        ended, live = split(kept, eos_id)
        finished += ended
        if not live or (finished and max(finished) >= max(live)):
            break
    log_prob, ids = max(finished or live)
    return ids[1:], log_prob


@wrong("q3", "The tokens are right, their log-probability is not")
def beam_decode(table, bos_id, eos_id, beam_size, max_length):
    live, finished = [(0.0, [bos_id])], []
    for _ in range(max_length):
        kept = sorted(all_continuations(table, live), reverse=True)[:beam_size]
        ended, live = split(kept, eos_id)
        finished += ended
        if not live or (finished and max(finished) >= max(live)):
            break
    log_prob, ids = max(finished or live)
    return ids[1:], log_prob / (len(ids) - 1)


@wrong("q3", "tokens: expected them without BOS, got BOS EOS")
def beam_decode(table, bos_id, eos_id, beam_size, max_length):
    live, finished = [(0.0, [bos_id])], []
    for _ in range(max_length):
        kept = sorted(all_continuations(table, live), reverse=True)[:beam_size]
        ended, live = split(kept, eos_id)
        finished += ended
        if not live or (finished and max(finished) >= max(live)):
            break
    log_prob, ids = max(finished or live)
    return ids, log_prob


# Question 4: the nucleus


def back(kept, order):
    kept = kept / kept.sum(dim=-1, keepdim=True)
    return torch.zeros_like(kept).scatter(-1, order, kept)


@wrong("q4", "Did you compare each probability with p?")
def nucleus(probs, p):
    kept = probs.masked_fill(probs < p, 0.0)
    return kept / kept.sum(dim=-1, keepdim=True)


@wrong("q4", "The most likely token is not in your nucleus")
def nucleus(probs, p):
    ordered, order = probs.sort(dim=-1)
    return back(
        ordered.masked_fill(ordered.cumsum(dim=-1) - ordered >= p, 0.0), order
    )


@wrong("q4", "The token that crosses p is missing")
def nucleus(probs, p):
    ordered, order = probs.sort(dim=-1, descending=True)
    return back(ordered.masked_fill(ordered.cumsum(dim=-1) > p, 0.0), order)


@wrong("q4", "Without it the nucleus does not reach p")
def nucleus(probs, p):
    ordered, order = probs.sort(dim=-1, descending=True)
    outside = ordered.cumsum(dim=-1) > p
    outside[:, 0] = False
    return back(ordered.masked_fill(outside, 0.0), order)


@wrong("q4", "Did you shift a mask, and leave its first place as it was?")
def nucleus(probs, p):
    ordered, order = probs.sort(dim=-1, descending=True)
    outside = ordered.cumsum(dim=-1) >= p
    outside[:, 1:] = outside[:, :-1].clone()
    return back(ordered.masked_fill(outside, 0.0), order)


@wrong("q4", "or `>` where it should be `>=`?")
def nucleus(probs, p):
    ordered, order = probs.sort(dim=-1, descending=True)
    outside = ordered.cumsum(dim=-1) > p
    outside[:, 1:] = outside[:, :-1].clone()
    outside[:, 0] = False
    return back(ordered.masked_fill(outside, 0.0), order)


@wrong("q4", "Is it `<=` where it should be `<`, or")
def nucleus(probs, p):
    ordered, order = probs.sort(dim=-1, descending=True)
    return back(
        ordered.masked_fill(ordered.cumsum(dim=-1) - ordered > p, 0.0), order
    )


@wrong("q4", "What is left does not sum to one")
def nucleus(probs, p):
    ordered, order = probs.sort(dim=-1, descending=True)
    kept = ordered.masked_fill(ordered.cumsum(dim=-1) - ordered >= p, 0.0)
    return torch.zeros_like(probs).scatter(-1, order, kept)


@wrong("q4", "Did you take a softmax of probabilities?")
def nucleus(probs, p):
    ordered, order = probs.sort(dim=-1, descending=True)
    outside = ordered.cumsum(dim=-1) - ordered >= p
    return back(ordered.masked_fill(outside, -torch.inf).softmax(dim=-1), order)


@wrong("q4", "You go through the tokens in the order of the vocabulary")
def nucleus(probs, p):
    kept = probs.masked_fill(probs.cumsum(dim=-1) - probs >= p, 0.0)
    return kept / kept.sum(dim=-1, keepdim=True)


@wrong("q4", "Did you return them in the order of the sort")
def nucleus(probs, p):
    ordered, _ = probs.sort(dim=-1, descending=True)
    kept = ordered.masked_fill(ordered.cumsum(dim=-1) - ordered >= p, 0.0)
    return kept / kept.sum(dim=-1, keepdim=True)


@wrong("q4", "or take them back with `gather`?")
def nucleus(probs, p):
    ordered, order = probs.sort(dim=-1, descending=True)
    kept = ordered.masked_fill(ordered.cumsum(dim=-1) - ordered >= p, 0.0)
    return (kept / kept.sum(dim=-1, keepdim=True)).gather(-1, order)


@wrong("q4", "Each row has a nucleus of its own")
def nucleus(probs, p):
    ordered, order = probs.sort(dim=-1, descending=True)
    size = int((ordered.cumsum(dim=-1) - ordered < p)[0].sum())
    return back(
        torch.cat([ordered[:, :size], 0 * ordered[:, size:]], dim=1), order
    )


@wrong("q4", "Did you write into `probs`?")
def nucleus(probs, p):
    ordered, order = probs.sort(dim=-1, descending=True)
    outside = ordered.cumsum(dim=-1) - ordered >= p
    probs[outside.scatter(-1, order, outside)] = 0.0
    return probs / probs.sum(dim=-1, keepdim=True)


# Question 5: best-first search


@wrong("q5", "Two beginnings were equally likely, and your search broke down")
def best_first(table, bos_id, eos_id, max_length):
    heap = [(0.0, torch.tensor([bos_id]))]
    while True:
        cost, ids = heapq.heappop(heap)
        if ids[-1] == eos_id:
            return ids[1:].tolist(), -cost
        if len(ids) <= max_length:
            for token, log_prob in enumerate(table[ids[-1]].tolist()):
                heapq.heappush(
                    heap,
                    (cost - log_prob, torch.cat([ids, torch.tensor([token])])),
                )


@wrong("q5", "heapq pops the smallest entry: push minus the log-probability")
def best_first(table, bos_id, eos_id, max_length):
    heap = [(0.0, [bos_id])]
    while True:
        log_prob, ids = heapq.heappop(heap)
        if ids[-1] == eos_id:
            return ids[1:], log_prob
        if len(ids) <= max_length:
            for token, more in enumerate(table[ids[-1]].tolist()):
                heapq.heappush(heap, (log_prob + more, [*ids, token]))


@wrong("q5", "Turn the sign back before you return it")
def best_first(table, bos_id, eos_id, max_length):
    heap = [(0.0, [bos_id])]
    while True:
        cost, ids = heapq.heappop(heap)
        if ids[-1] == eos_id:
            return ids[1:], cost
        if len(ids) <= max_length:
            for token, log_prob in enumerate(table[ids[-1]].tolist()):
                heapq.heappush(heap, (cost - log_prob, [*ids, token]))


@wrong("q5", "Or a probability?")
def best_first(table, bos_id, eos_id, max_length):
    heap = [(-1.0, [bos_id])]
    while True:
        minus_prob, ids = heapq.heappop(heap)
        if ids[-1] == eos_id:
            return ids[1:], -minus_prob
        if len(ids) <= max_length:
            for token, prob in enumerate(table[ids[-1]].exp().tolist()):
                heapq.heappush(heap, (minus_prob * prob, [*ids, token]))


@wrong("q5", "You stopped as soon as an ending was pushed")
def best_first(table, bos_id, eos_id, max_length):
    heap = [(0.0, [bos_id])]
    while True:
        cost, ids = heapq.heappop(heap)
        for token, log_prob in enumerate(table[ids[-1]].tolist()):
            if token == eos_id:
                return [*ids[1:], token], log_prob - cost
            heapq.heappush(heap, (cost - log_prob, [*ids, token]))


@wrong("q5", "Push all continuations of what you pop, not only the best one")
def best_first(table, bos_id, eos_id, max_length):
    heap = [(0.0, [bos_id])]
    while True:
        cost, ids = heapq.heappop(heap)
        if ids[-1] == eos_id:
            return ids[1:], -cost
        if len(ids) <= max_length:
            log_prob, token = table[ids[-1]].max(dim=0)
            heapq.heappush(heap, (cost - log_prob.item(), [*ids, token.item()]))


@wrong("q5", "Or is the sign of what you add wrong?")
def best_first(table, bos_id, eos_id, max_length):
    heap = [(0.0, [bos_id])]
    while True:
        cost, ids = heapq.heappop(heap)
        if ids[-1] == eos_id:
            return ids[1:], -cost
        if len(ids) <= max_length:
            for token, log_prob in enumerate(table[ids[-1]].tolist()):
                heapq.heappush(heap, (-(cost + log_prob), [*ids, token]))


@wrong("q5", "What is that long already must not be continued")
def best_first(table, bos_id, eos_id, max_length):
    heap = [(0.0, [bos_id])]
    while True:
        cost, ids = heapq.heappop(heap)
        if ids[-1] == eos_id:
            return ids[1:], -cost
        for token, log_prob in enumerate(table[ids[-1]].tolist()):
            heapq.heappush(heap, (cost - log_prob, [*ids, token]))


@wrong("q5", "You returned a beginning that was cut off at `max_length`")
def best_first(table, bos_id, eos_id, max_length):
    heap = [(0.0, [bos_id])]
    while True:
        cost, ids = heapq.heappop(heap)
        if ids[-1] == eos_id or len(ids) - 1 == max_length:
            return ids[1:], -cost
        for token, log_prob in enumerate(table[ids[-1]].tolist()):
            heapq.heappush(heap, (cost - log_prob, [*ids, token]))


@wrong("q5", "Do you count BOS too?")
def best_first(table, bos_id, eos_id, max_length):
    heap = [(0.0, [bos_id])]
    while True:
        cost, ids = heapq.heappop(heap)
        if ids[-1] == eos_id:
            return ids[1:], -cost
        if len(ids) < max_length:
            for token, log_prob in enumerate(table[ids[-1]].tolist()):
                heapq.heappush(heap, (cost - log_prob, [*ids, token]))


@wrong("q5", "Do you continue each token only once")
def best_first(table, bos_id, eos_id, max_length):
    heap, seen = [(0.0, [bos_id])], set()
    while True:
        cost, ids = heapq.heappop(heap)
        if ids[-1] == eos_id:
            return ids[1:], -cost
        if ids[-1] not in seen and len(ids) <= max_length:
            seen.add(ids[-1])
            for token, log_prob in enumerate(table[ids[-1]].tolist()):
                heapq.heappush(heap, (cost - log_prob, [*ids, token]))


@wrong("q5", "You went on until the heap was empty")
def best_first(table, bos_id, eos_id, max_length):
    heap, ends = [(0.0, [bos_id])], []
    while heap:
        cost, ids = heapq.heappop(heap)
        if ids[-1] == eos_id:
            ends.append((cost, ids))
        elif len(ids) <= max_length:
            for token, log_prob in enumerate(table[ids[-1]].tolist()):
                heapq.heappush(heap, (cost - log_prob, [*ids, token]))
    cost, ids = min(ends)
    return ids[1:], -cost


# Question 6: the state of every hypothesis


@wrong("q6", "`repeat` lays the whole batch end to end")
def repeat_state(state, beam):
    return {
        name: tensor.repeat(beam, *[1] * (tensor.dim() - 1))
        for name, tensor in state.items()
    }


@wrong("q6", "expected shape (6, 1), got (6,)")
def repeat_state(state, beam):
    return {
        name: tensor.repeat_interleave(beam) for name, tensor in state.items()
    }


@wrong("q6", "Their rows are repeated and nothing else")
def repeat_state(state, beam):
    return {
        name: tensor.repeat(1, beam).view(-1, tensor.shape[1])
        for name, tensor in state.items()
    }


@wrong("q6", "You handed on a state from before the step")
def advance(step, choose, tokens, state):
    log_probs, _ = step(tokens, state)
    parents, tokens = choose(log_probs)
    batch, beam = parents.shape
    rows = (torch.arange(batch)[:, None] * beam + parents).flatten()
    return tokens.flatten(), {
        name: tensor[rows] for name, tensor in state.items()
    }


@wrong("q6", "The state stays where it was")
def advance(step, choose, tokens, state):
    log_probs, state = step(tokens, state)
    parents, tokens = choose(log_probs)
    return tokens.flatten(), state


@wrong("q6", "The second sentence got the state of the first")
def advance(step, choose, tokens, state):
    log_probs, state = step(tokens, state)
    parents, tokens = choose(log_probs)
    rows = parents.flatten()
    return tokens.flatten(), {
        name: tensor[rows] for name, tensor in state.items()
    }


@wrong("q6", "reorder every tensor of the dictionary")
def advance(step, choose, tokens, state):
    log_probs, state = step(tokens, state)
    parents, tokens = choose(log_probs)
    batch, beam = parents.shape
    rows = (torch.arange(batch)[:, None] * beam + parents).flatten()
    return tokens.flatten(), {**state, "h": state["h"][rows]}


@wrong("q6", "Did you copy row after row within one tensor?")
def advance(step, choose, tokens, state):
    log_probs, state = step(tokens, state)
    parents, tokens = choose(log_probs)
    batch, beam = parents.shape
    for tensor in state.values():
        for sentence in range(batch):
            for place in range(beam):
                parent = int(parents[sentence, place])
                tensor[sentence * beam + place] = tensor[
                    sentence * beam + parent
                ]
    return tokens.flatten(), state


@wrong("q6", "Sentence b begins at row b · beam, not b · batch")
def advance(step, choose, tokens, state):
    log_probs, state = step(tokens, state)
    parents, tokens = choose(log_probs)
    rows = (
        torch.arange(len(parents))[:, None] * len(parents) + parents
    ).flatten()
    return tokens.flatten(), {
        name: tensor[rows] for name, tensor in state.items()
    }


@wrong("q6", "the tokens come row by row")
def advance(step, choose, tokens, state):
    log_probs, state = step(tokens, state)
    parents, tokens = choose(log_probs)
    batch, beam = parents.shape
    rows = (torch.arange(batch)[:, None] * beam + parents).flatten()
    return tokens.T.flatten(), {
        name: tensor[rows] for name, tensor in state.items()
    }


@wrong("q6", "expected shape (6,) = (batch · beam), got (2, 3)")
def advance(step, choose, tokens, state):
    log_probs, state = step(tokens, state)
    parents, tokens = choose(log_probs)
    batch, beam = parents.shape
    rows = (torch.arange(batch)[:, None] * beam + parents).flatten()
    return tokens, {name: tensor[rows] for name, tensor in state.items()}


# Question 7: find the bugs


def start(beam_size):
    return torch.tensor([0.0] + [-math.inf] * (beam_size - 1))


def run(
    step, state, bos_id, eos_id, beam_size, max_length, live, follow, write
):
    state = {
        name: tensor.repeat_interleave(beam_size, dim=0)
        for name, tensor in state.items()
    }
    tokens, written = (
        torch.full((beam_size,), bos_id),
        [[] for _ in range(beam_size)],
    )
    best, best_log_prob = [], -math.inf
    for _ in range(max_length):
        before = state
        log_probs, after = step(tokens, state)
        best_now, flat = (live[:, None] + log_probs).flatten().topk(beam_size)
        live, parents = best_now, flat // log_probs.shape[1]
        tokens = flat % log_probs.shape[1]
        state = follow(before, after, parents)
        written = write(written, parents.tolist())
        for place, token in enumerate(tokens.tolist()):
            written[place].append(token)
            if token == eos_id:
                if live[place] > best_log_prob:
                    best, best_log_prob = written[place], live[place].item()
                live[place] = -math.inf
        if live.max() <= best_log_prob:
            break
    return best, best_log_prob


def by_parents(before, after, parents):
    return {name: tensor[parents] for name, tensor in after.items()}


def copies(written, parents):
    return [list(written[parent]) for parent in parents]


@wrong("q7", "A beam of 2 finds what a beam of 1 finds")
def search_one(step, state, bos_id, eos_id, beam_size, max_length):
    return broken_search(step, state, bos_id, eos_id, beam_size, max_length)  # noqa: F821


@wrong("q7", "Do all hypotheses begin with log-probability 0?")
def search_one(step, state, bos_id, eos_id, beam_size, max_length):
    live = torch.zeros(beam_size)
    return run(
        step,
        state,
        bos_id,
        eos_id,
        beam_size,
        max_length,
        live,
        by_parents,
        copies,
    )


@wrong("q7", "The state does not follow its hypothesis")
def search_one(step, state, bos_id, eos_id, beam_size, max_length):
    def follow(before, after, parents):
        return after

    live = start(beam_size)
    return run(
        step, state, bos_id, eos_id, beam_size, max_length, live, follow, copies
    )


@wrong("q7", "Which row does the new hypothesis k need?")
def search_one(step, state, bos_id, eos_id, beam_size, max_length):
    def follow(before, after, parents):
        return by_parents(before, before, parents)

    live = start(beam_size)
    return run(
        step, state, bos_id, eos_id, beam_size, max_length, live, follow, copies
    )


@wrong("q7", "Two children of one parent share its list")
def search_one(step, state, bos_id, eos_id, beam_size, max_length):
    def write(written, parents):
        return [written[parent] for parent in parents]

    live = start(beam_size)
    return run(
        step,
        state,
        bos_id,
        eos_id,
        beam_size,
        max_length,
        live,
        by_parents,
        write,
    )


@wrong("q7", "did you take those that stood in the same place?")
def search_one(step, state, bos_id, eos_id, beam_size, max_length):
    def write(written, parents):
        return [list(ids) for ids in written]

    live = start(beam_size)
    return run(
        step,
        state,
        bos_id,
        eos_id,
        beam_size,
        max_length,
        live,
        by_parents,
        write,
    )


@wrong("q7", "Did you change something that was no bug?")
def search_one(step, state, bos_id, eos_id, beam_size, max_length):
    state = {
        name: tensor.repeat_interleave(beam_size, dim=0)
        for name, tensor in state.items()
    }
    tokens, written = (
        torch.full((beam_size,), bos_id),
        [[] for _ in range(beam_size)],
    )
    live = start(beam_size)
    for _ in range(max_length):
        log_probs, state = step(tokens, state)
        live, flat = (live[:, None] + log_probs).flatten().topk(beam_size)
        parents, tokens = flat // log_probs.shape[1], flat % log_probs.shape[1]
        state = by_parents(state, state, parents)
        written = copies(written, parents.tolist())
        for place, token in enumerate(tokens.tolist()):
            written[place].append(token)
            if token == eos_id:
                return written[place], live[place].item()
