"""Wrong answers to the exercises of chapter 2."""

import torch

from tests.wrong_answers import wrong

# Question 1: additive scores


@wrong("q1", "Did you add the two projections as they are?")
def additive_scores(q, k, w_q, w_k, v):
    return (q @ w_q.T + k @ w_k.T).tanh() @ v


@wrong("q1", "3 queries and 5 keys make 15 scores")
def additive_scores(q, k, w_q, w_k, v):
    # one key made of all
    hidden = q @ w_q.T + (k @ w_k.T).mean(dim=1, keepdim=True)
    return hidden.tanh() @ v


@wrong("q1", "expected shape (2, 3, 5) = (batch, query, key), got (2, 5, 3)")
def additive_scores(q, k, w_q, w_k, v):
    return ((q @ w_q.T)[:, None] + (k @ w_k.T)[:, :, None]).tanh() @ v


@wrong("q1", "expected shape (2, 3, 5) = (batch, query, key), got (2, 3, 5, 1)")
def additive_scores(q, k, w_q, w_k, v):
    return ((q @ w_q.T)[:, :, None] + (k @ w_k.T)[:, None]).tanh() @ v[:, None]


@wrong("q1", "Is a softmax already in there?")
def additive_scores(q, k, w_q, w_k, v):
    return (
        ((q @ w_q.T)[:, :, None] + (k @ w_k.T)[:, None]).tanh() @ v
    ).softmax(dim=-1)


@wrong("q1", "Is the tanh missing?")
def additive_scores(q, k, w_q, w_k, v):
    return ((q @ w_q.T)[:, :, None] + (k @ w_k.T)[:, None]) @ v


@wrong("q1", "Did you take a tanh of each side")
def additive_scores(q, k, w_q, w_k, v):
    return ((q @ w_q.T).tanh()[:, :, None] + (k @ w_k.T).tanh()[:, None]) @ v


@wrong("q1", "Does v come after the tanh")
def additive_scores(q, k, w_q, w_k, v):
    return (((q @ w_q.T)[:, :, None] + (k @ w_k.T)[:, None]) @ v).tanh()


# Question 2: bilinear scores


@wrong("q2", "Did you write `.T`?")
def bilinear_scores(q, k, w):
    return q @ w @ k.T


@wrong("q2", "Did you multiply element by element?")
def bilinear_scores(q, k, w):
    return ((q @ w) * k).sum(dim=-1)


@wrong("q2", "expected shape (2, 3, 5) = (batch, query, key), got (2, 5, 3)")
def bilinear_scores(q, k, w):
    return k @ w.T @ q.transpose(1, 2)


@wrong("q2", "Did you divide by √d_k?")
def bilinear_scores(q, k, w):
    return q @ w @ k.transpose(1, 2) / k.shape[-1] ** 0.5


@wrong("q2", "W is the wrong way round")
def bilinear_scores(q, k, w):
    return q @ w.T @ k.transpose(1, 2)


@wrong("q2", "Do the queries of one sequence meet the keys of the other?")
def bilinear_scores(q, k, w):
    return torch.einsum("bqd,de,cke->bqk", q, w, k)


# Question 3: masked softmax


@wrong("q3", "Did the softmax go along another axis?")
def masked_softmax(scores, mask):
    return scores.masked_fill(~mask, -torch.inf).softmax(dim=1).nan_to_num()


@wrong("q3", "Did you turn the mask round?")
def masked_softmax(scores, mask):
    return scores.masked_fill(mask, -torch.inf).softmax(dim=-1).nan_to_num()


@wrong("q3", "Did you put 0 in place of its score?")
def masked_softmax(scores, mask):
    return (scores * mask).softmax(dim=-1)


@wrong("q3", "Did you mask after the softmax? The masked scores")
def masked_softmax(scores, mask):
    return scores.softmax(dim=-1) * mask


@wrong("q3", "A query that may attend to nothing gets NaN")
def masked_softmax(scores, mask):
    return scores.masked_fill(~mask, -torch.inf).softmax(dim=-1)


@wrong("q3", "When every score is −1e9 they are all equal")
def masked_softmax(scores, mask):
    return scores.masked_fill(~mask, -1e9).softmax(dim=-1)


@wrong("q3", "Your function does not work in half precision")
def masked_softmax(scores, mask):
    weights = scores.masked_fill(~mask, -1e9).softmax(dim=-1)
    return weights * mask.any(dim=-1, keepdim=True)


@wrong("q3", "Did you mask after the softmax and divide by the sum?")
def masked_softmax(scores, mask):
    weights = scores.softmax(dim=-1) * mask
    return (weights / weights.sum(dim=-1, keepdim=True)).nan_to_num()


@wrong("q3", "Your function changed the scores")
def masked_softmax(scores, mask):
    return scores.masked_fill_(~mask, -torch.inf).softmax(dim=-1).nan_to_num()


@wrong("q3", "Did you index with the mask?")
def masked_softmax(scores, mask):
    scores = scores.clone()
    scores[~mask] = -torch.inf
    return scores.softmax(dim=-1).nan_to_num()


# Question 4: Luong's local window


def distances(scores, center):
    return torch.arange(scores.shape[-1]) - center[..., None]


def softmax_where(near, scores):
    return scores.masked_fill(~near, -torch.inf).softmax(dim=-1)


@wrong("q4", "Do your keys count from 1?")
def local_window(scores, center, half_width):
    far = (distances(scores, center) + 1) / half_width
    return softmax_where(far.abs() <= 1, scores) * torch.exp(-2 * far**2)


@wrong("q4", "The Gaussian is small out there, but not zero")
def local_window(scores, center, half_width):
    far = distances(scores, center) / half_width
    return scores.softmax(dim=-1) * torch.exp(-2 * far**2)


@wrong("q4", "Is it `<` where it should be `<=`?")
def local_window(scores, center, half_width):
    far = distances(scores, center) / half_width
    return softmax_where(far.abs() < 1, scores) * torch.exp(-2 * far**2)


@wrong("q4", "Where scores are equal, the Gaussian makes no difference")
def local_window(scores, center, half_width):
    far = distances(scores, center) / half_width
    return softmax_where(far.abs() <= 1, scores)


@wrong("q4", "Or did you multiply the scores by it, before the softmax?")
def local_window(scores, center, half_width):
    far = distances(scores, center) / half_width
    return softmax_where(far.abs() <= 1, scores * torch.exp(-2 * far**2))


@wrong("q4", "Did you normalise again after the Gaussian?")
def local_window(scores, center, half_width):
    far = distances(scores, center) / half_width
    weights = softmax_where(far.abs() <= 1, scores) * torch.exp(-2 * far**2)
    return weights / weights.sum(dim=-1, keepdim=True)


@wrong("q4", "Its standard deviation is half of D, σ = D/2. Is yours D?")
def local_window(scores, center, half_width):
    far = distances(scores, center) / half_width
    return softmax_where(far.abs() <= 1, scores) * torch.exp(-(far**2) / 2)


@wrong("q4", "`x / 2 * y` is (x / 2) · y")
def local_window(scores, center, half_width):
    distance, sigma = distances(scores, center), half_width / 2
    near = distance.abs() <= half_width
    return softmax_where(near, scores) * torch.exp(
        -(distance**2) / 2 * sigma**2
    )


@wrong("q4", "Did you cut the window out after the softmax?")
def local_window(scores, center, half_width):
    far = distances(scores, center) / half_width
    return scores.softmax(dim=-1) * torch.exp(-2 * far**2) * (far.abs() <= 1)


@wrong("q4", "Did you round it?")
def local_window(scores, center, half_width):
    far = distances(scores, center.round()) / half_width
    return softmax_where(far.abs() <= 1, scores) * torch.exp(-2 * far**2)


@wrong("q4", "Each query has a centre of its own")
def local_window(scores, center, half_width):
    far = (torch.arange(scores.shape[-1]) - center) / half_width
    return softmax_where(far.abs() <= 1, scores) * torch.exp(-2 * far**2)


@wrong("q4", "No gradient reaches the centre")
def local_window(scores, center, half_width):
    far = distances(scores, torch.tensor(center.tolist())) / half_width
    return softmax_where(far.abs() <= 1, scores) * torch.exp(-2 * far**2)


# Question 5: hard attention


def mean_of_values(choice, v):
    taken = [
        values[keys].mean(dim=1) for values, keys in zip(v, choice, strict=True)
    ]
    return torch.stack(taken)  # (batch, query, draws) -> (batch, query, d_v)


@wrong("q5", "Did you return the soft mean")
def hard_attention(weights, v, draws, generator):
    return weights @ v


@wrong("q5", "A query got a value of another sequence")
def hard_attention(weights, v, draws, generator):
    rows = weights.flatten(0, 1)
    choice = torch.multinomial(
        rows, draws, replacement=True, generator=generator
    )
    return v.flatten(0, 1)[choice].mean(dim=1).view(*weights.shape[:2], -1)


@wrong("q5", "`torch.multinomial` draws without replacement unless")
def hard_attention(weights, v, draws, generator):
    choice = torch.multinomial(
        weights.flatten(0, 1), draws, generator=generator
    )
    return mean_of_values(choice.view(*weights.shape[:2], draws), v)


@wrong("q5", "Are your draws uniform?")
def hard_attention(weights, v, draws, generator):
    shape = (*weights.shape[:2], draws)
    return mean_of_values(
        torch.randint(weights.shape[-1], shape, generator=generator), v
    )


@wrong("q5", "Did you take the key with the largest weight?")
def hard_attention(weights, v, draws, generator):
    return mean_of_values(weights.argmax(dim=-1, keepdim=True), v)


@wrong("q5", "All queries get the same draw")
def hard_attention(weights, v, draws, generator):
    choice = torch.multinomial(
        weights[:, 0], draws, replacement=True, generator=generator
    )
    return mean_of_values(choice[:, None].expand(-1, weights.shape[1], -1), v)


@wrong("q5", "Did you pass `generator` on")
def hard_attention(weights, v, draws, generator):
    choice = torch.multinomial(weights.flatten(0, 1), draws, replacement=True)
    return mean_of_values(choice.view(*weights.shape[:2], draws), v)


@wrong("q5", "Did you add up the draws")
def hard_attention(weights, v, draws, generator):
    rows = weights.flatten(0, 1)
    choice = torch.multinomial(
        rows, draws, replacement=True, generator=generator
    )
    return draws * mean_of_values(choice.view(*weights.shape[:2], draws), v)


# Question 6: alignment error


def links_of(weights, real):
    best = torch.nn.functional.one_hot(
        weights.argmax(dim=-1), weights.shape[-1]
    )
    return (best == 1) & real[..., None]


def error(found, sure, possible):
    agree = (found & sure).sum() + (found & possible).sum()
    return 1 - (agree / (found.sum() + sure.sum())).item()


@wrong("q6", "Did you return the agreement?")
def alignment_error(weights, sure, possible, real):
    return 1 - error(links_of(weights, real), sure, possible)


@wrong("q6", "Did you use a threshold")
def alignment_error(weights, sure, possible, real):
    found = (weights > 0.5) & real[..., None]
    agree = (found & sure).sum() + (found & possible).sum()
    return 1 - (agree / (found.sum() + sure.sum())).item()


@wrong("q6", "Did you take the argmax over the outputs?")
def alignment_error(weights, sure, possible, real):
    best = torch.nn.functional.one_hot(
        weights.argmax(dim=1), weights.shape[1]
    ).transpose(1, 2)
    return error((best == 1) & real[..., None], sure, possible)


@wrong("q6", "An output that is only padding changed the error")
def alignment_error(weights, sure, possible, real):
    return error(links_of(weights, torch.ones_like(real)), sure, possible)


@wrong("q6", "Did you compare with `sure` only?")
def alignment_error(weights, sure, possible, real):
    return error(links_of(weights, real), sure, sure)


@wrong("q6", "Is the number of sure links missing from your denominator")
def alignment_error(weights, sure, possible, real):
    found = links_of(weights, real)
    return 1 - ((found & possible).sum() / found.sum()).item()


@wrong("q6", "Did you take the mean of the sentences' errors?")
def alignment_error(weights, sure, possible, real):
    found = links_of(weights, real)
    errors = [
        error(*sentence) for sentence in zip(found, sure, possible, strict=True)
    ]
    return sum(errors) / len(errors)


@wrong("q6", "expected one number, got shape (2,)")
def alignment_error(weights, sure, possible, real):
    found = links_of(weights, real)
    agree = (found & sure).sum(dim=(1, 2)) + (found & possible).sum(dim=(1, 2))
    return 1 - agree / (found.sum(dim=(1, 2)) + sure.sum(dim=(1, 2)))


# Question 7: find the bugs


@wrong("q7", "The weights do not change with the new token")
def luong_step(x, state, memory, mask, cell, w_a, w_c):
    return broken_step(x, state, memory, mask, cell, w_a, w_c)  # noqa: F821


@wrong("q7", "Is yours still the old one?")
def luong_step(x, state, memory, mask, cell, w_a, w_c):
    h, c, feed = state
    new_h, new_c = cell(torch.cat([x, feed], dim=-1), (h, c))
    scores = (memory @ w_a.T @ h[:, :, None]).squeeze(-1)
    weights = scores.masked_fill(~mask, -torch.inf).softmax(dim=-1)
    context = (weights[:, None] @ memory).squeeze(1)
    feature = torch.tanh(torch.cat([context, new_h], dim=-1) @ w_c.T)
    return feature, (new_h, new_c, feature), weights


@wrong("q7", "The sentences of a batch must not compete")
def luong_step(x, state, memory, mask, cell, w_a, w_c):
    h, c, feed = state
    new_h, new_c = cell(torch.cat([x, feed], dim=-1), (h, c))
    scores = (memory @ w_a.T @ new_h[:, :, None]).squeeze(-1)
    weights = scores.masked_fill(~mask, -torch.inf).softmax(dim=0)
    context = (weights[:, None] @ memory).squeeze(1)
    feature = torch.tanh(torch.cat([context, new_h], dim=-1) @ w_c.T)
    return feature, (new_h, new_c, feature), weights


@wrong("q7", "Does your step still use the mask?")
def luong_step(x, state, memory, mask, cell, w_a, w_c):
    h, c, feed = state
    new_h, new_c = cell(torch.cat([x, feed], dim=-1), (h, c))
    scores = (memory @ w_a.T @ new_h[:, :, None]).squeeze(-1)
    weights = scores.softmax(dim=-1)
    context = (weights[:, None] @ memory).squeeze(1)
    feature = torch.tanh(torch.cat([context, new_h], dim=-1) @ w_c.T)
    return feature, (new_h, new_c, feature), weights


@wrong("q7", "Is the mask applied after the softmax?")
def luong_step(x, state, memory, mask, cell, w_a, w_c):
    h, c, feed = state
    new_h, new_c = cell(torch.cat([x, feed], dim=-1), (h, c))
    scores = (memory @ w_a.T @ new_h[:, :, None]).squeeze(-1)
    weights = scores.softmax(dim=-1) * mask
    context = (weights[:, None] @ memory).squeeze(1)
    feature = torch.tanh(torch.cat([context, new_h], dim=-1) @ w_c.T)
    return feature, (new_h, new_c, feature), weights


@wrong("q7", "The context is not the weighted mean of the memory")
def luong_step(x, state, memory, mask, cell, w_a, w_c):
    h, c, feed = state
    new_h, new_c = cell(torch.cat([x, feed], dim=-1), (h, c))
    keys = memory @ w_a.T
    scores = (keys @ new_h[:, :, None]).squeeze(-1)
    weights = scores.masked_fill(~mask, -torch.inf).softmax(dim=-1)
    context = (weights[:, None] @ keys).squeeze(1)
    feature = torch.tanh(torch.cat([context, new_h], dim=-1) @ w_c.T)
    return feature, (new_h, new_c, feature), weights


@wrong("q7", "Which vector do you hand on?")
def luong_step(x, state, memory, mask, cell, w_a, w_c):
    h, c, feed = state
    new_h, new_c = cell(torch.cat([x, feed], dim=-1), (h, c))
    scores = (memory @ w_a.T @ new_h[:, :, None]).squeeze(-1)
    weights = scores.masked_fill(~mask, -torch.inf).softmax(dim=-1)
    context = (weights[:, None] @ memory).squeeze(1)
    feature = torch.tanh(torch.cat([context, new_h], dim=-1) @ w_c.T)
    return feature, (new_h, new_c, context), weights


@wrong("q7", "feature of the first step")
def luong_step(x, state, memory, mask, cell, w_a, w_c):
    h, c, feed = state
    new_h, new_c = cell(torch.cat([x, feed], dim=-1), (h, c))
    scores = (memory @ w_a.T @ new_h[:, :, None]).squeeze(-1)
    weights = scores.masked_fill(~mask, -torch.inf).softmax(dim=-1)
    context = (weights[:, None] @ memory).squeeze(1)
    feature = torch.tanh(torch.cat([new_h, context], dim=-1) @ w_c.T)
    return feature, (new_h, new_c, feature), weights


@wrong("q7", "feature of the second step")
def luong_step(x, state, memory, mask, cell, w_a, w_c):
    h, c, feed = state
    new_h, new_c = cell(torch.cat([x, feed], dim=-1), (h, c))
    scores = (memory @ w_a.T @ new_h[:, :, None]).squeeze(-1)
    weights = scores.masked_fill(~mask, -torch.inf).softmax(dim=-1)
    context = (weights[:, None] @ memory).squeeze(1)
    feature = torch.tanh(torch.cat([context, new_h], dim=-1) @ w_c.T)
    return feature, (new_h, c, feature), weights
