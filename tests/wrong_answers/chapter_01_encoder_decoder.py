"""Wrong answers to the exercises of chapter 1."""

import torch
import torch.nn.functional as F
from torch import nn

from tests.wrong_answers import wrong

# --- q1: padding mask


@wrong("q1", "Is it `<` or `<=`?")
def padding_mask(lengths, max_length):
    return torch.arange(max_length) <= lengths[:, None]


@wrong("q1", "Your mask lies on its side")
def padding_mask(lengths, max_length):
    return torch.arange(max_length)[:, None] < lengths


@wrong("q1", "Your mask is the wrong way round")
def padding_mask(lengths, max_length):
    return torch.arange(max_length) >= lengths[:, None]


@wrong("q1", "expected dtype torch.bool, got torch.float32")
def padding_mask(lengths, max_length):
    mask = torch.zeros(len(lengths), max_length)
    for row, length in zip(mask, lengths, strict=True):
        row[:length] = 1
    return mask


@wrong("q1", "Your mask holds numbers instead of True and False")
def padding_mask(lengths, max_length):
    return (torch.arange(max_length) < lengths[:, None]).int()


@wrong("q1", "Your mask is not as wide as it was asked to be")
def padding_mask(lengths, max_length):
    return torch.arange(lengths.max()) < lengths[:, None]


@wrong("q1", "expected a tensor, got a list")
def padding_mask(lengths, max_length):
    return [
        [position < length for position in range(max_length)]
        for length in lengths
    ]


# --- q2: masked loss


@wrong("q2", "Did you divide by all positions?")
def masked_loss(logits, tgt, pad_id):
    losses = F.cross_entropy(logits.transpose(1, 2), tgt, reduction="none")
    return (losses * (tgt != pad_id)).mean()


@wrong("q2", "Padding still adds to your loss")
def masked_loss(logits, tgt, pad_id):
    return F.cross_entropy(logits.transpose(1, 2), tgt)


@wrong("q2", "Did you take the sum?")
def masked_loss(logits, tgt, pad_id):
    return F.cross_entropy(
        logits.transpose(1, 2), tgt, ignore_index=pad_id, reduction="sum"
    )


@wrong("q2", "Did you take the mean of each sentence")
def masked_loss(logits, tgt, pad_id):
    real = tgt != pad_id
    losses = (
        F.cross_entropy(logits.transpose(1, 2), tgt, reduction="none") * real
    )
    return (losses.sum(dim=1) / real.sum(dim=1)).mean()


@wrong("q2", "Is softmax applied only once?")
def masked_loss(logits, tgt, pad_id):
    return F.cross_entropy(
        logits.softmax(-1).transpose(1, 2), tgt, ignore_index=pad_id
    )


@wrong("q2", "so -log(e²/(e⁰ + e¹ + e²)): expected 0.4076, got -0.4076")
def masked_loss(logits, tgt, pad_id):
    log_probs = (
        logits.log_softmax(dim=-1).gather(-1, tgt[..., None]).squeeze(-1)
    )
    return log_probs[tgt != pad_id].mean()


@wrong("q2", "Your loss is wrong when pad_id is not 0")
def masked_loss(logits, tgt, pad_id):
    return F.cross_entropy(logits.transpose(1, 2), tgt, ignore_index=0)


@wrong("q2", "Did you mix up positions and vocabulary?")
def masked_loss(logits, tgt, pad_id):
    batch, length, vocab = logits.shape
    return F.cross_entropy(
        logits.reshape(batch, vocab, length), tgt, ignore_index=pad_id
    )


@wrong("q2", "expected a tensor, got a float")
def masked_loss(logits, tgt, pad_id):
    return F.cross_entropy(
        logits.transpose(1, 2), tgt, ignore_index=pad_id
    ).item()


# --- q3: GRU cell


def parts(x, h, w_ih, w_hh, b_ih, b_hh):
    return *(x @ w_ih.T + b_ih).chunk(3, dim=-1), *(h @ w_hh.T + b_hh).chunk(
        3, dim=-1
    )


@wrong("q3", "Did you swap z and 1 - z?")
def gru_cell(x, h, w_ih, w_hh, b_ih, b_hh):
    x_r, x_z, x_n, h_r, h_z, h_n = parts(x, h, w_ih, w_hh, b_ih, b_hh)
    r, z = (x_r + h_r).sigmoid(), (x_z + h_z).sigmoid()
    return z * (x_n + r * h_n).tanh() + (1 - z) * h


@wrong("q3", "Are your gates in the wrong order?")
def gru_cell(x, h, w_ih, w_hh, b_ih, b_hh):
    x_z, x_r, x_n, h_z, h_r, h_n = parts(x, h, w_ih, w_hh, b_ih, b_hh)
    r, z = (x_r + h_r).sigmoid(), (x_z + h_z).sigmoid()
    return (1 - z) * (x_n + r * h_n).tanh() + z * h


@wrong("q3", "Did you forget its tanh?")
def gru_cell(x, h, w_ih, w_hh, b_ih, b_hh):
    x_r, x_z, x_n, h_r, h_z, h_n = parts(x, h, w_ih, w_hh, b_ih, b_hh)
    r, z = (x_r + h_r).sigmoid(), (x_z + h_z).sigmoid()
    return (1 - z) * (x_n + r * h_n) + z * h


@wrong("q3", "got [[0.7311, 0.7311]]")
def gru_cell(x, h, w_ih, w_hh, b_ih, b_hh):
    x_r, x_z, x_n, h_r, h_z, h_n = parts(x, h, w_ih, w_hh, b_ih, b_hh)
    r, z = (x_r + h_r).sigmoid(), (x_z + h_z).sigmoid()
    return (1 - z) * (x_n + r * h_n).sigmoid() + z * h


@wrong("q3", "Your reset gate resets nothing")
def gru_cell(x, h, w_ih, w_hh, b_ih, b_hh):
    _, z, n = (x @ w_ih.T + b_ih + h @ w_hh.T + b_hh).chunk(3, dim=-1)
    z = z.sigmoid()
    return (1 - z) * n.tanh() + z * h


@wrong("q3", "Did you apply it before the matrix product")
def gru_cell(x, h, w_ih, w_hh, b_ih, b_hh):
    x_r, x_z, x_n, h_r, h_z, _ = parts(x, h, w_ih, w_hh, b_ih, b_hh)
    r, z = (x_r + h_r).sigmoid(), (x_z + h_z).sigmoid()
    h_n = (r * h) @ w_hh.chunk(3)[2].T + b_hh.chunk(3)[2]
    return (1 - z) * (x_n + h_n).tanh() + z * h


@wrong("q3", "Is it outside the reset gate?")
def gru_cell(x, h, w_ih, w_hh, b_ih, b_hh):
    x_r, x_z, x_n, h_r, h_z, h_n = parts(x, h, w_ih, w_hh, b_ih + b_hh, 0)
    r, z = (x_r + h_r).sigmoid(), (x_z + h_z).sigmoid()
    return (1 - z) * (x_n + r * h_n).tanh() + z * h


@wrong("q3", "Does each gate get all four of its terms")
def gru_cell(x, h, w_ih, w_hh, b_ih, b_hh):
    x_r, x_z, x_n, h_r, h_z, h_n = parts(x, h, w_ih, w_hh, b_ih, b_hh)
    b_r, b_z, _ = b_hh.chunk(3)
    r, z = (x_r + h_r - b_r).sigmoid(), (x_z + h_z - b_z).sigmoid()
    return (1 - z) * (x_n + r * h_n).tanh() + z * h


# --- q4: clipping by global norm


def global_norm(gradients):
    return torch.cat([gradient.flatten() for gradient in gradients]).norm()


@wrong("q4", "Did you clip each tensor by its own norm?")
def clip_by_global_norm(gradients, max_norm):
    clipped = [
        gradient * max_norm / gradient.norm().clamp(min=max_norm)
        for gradient in gradients
    ]
    return clipped, global_norm(gradients)


@wrong("q4", "You change gradients that are small enough")
def clip_by_global_norm(gradients, max_norm):
    norm = global_norm(gradients)
    return [gradient * max_norm / norm for gradient in gradients], norm


@wrong("q4", "Did you clip each number on its own?")
def clip_by_global_norm(gradients, max_norm):
    clipped = [gradient.clamp(-max_norm, max_norm) for gradient in gradients]
    return clipped, global_norm(gradients)


@wrong("q4", "Did you only divide by the norm?")
def clip_by_global_norm(gradients, max_norm):
    norm = global_norm(gradients)
    return [
        gradient / norm if norm > max_norm else gradient
        for gradient in gradients
    ], norm


@wrong("q4", "You changed the gradients that you were given")
def clip_by_global_norm(gradients, max_norm):
    norm = global_norm(gradients)
    for gradient in gradients:
        gradient *= max_norm / norm.clamp(min=max_norm)
    return gradients, norm


@wrong("q4", "gradients [3] and [4], so √(9 + 16): expected 5, got 7")
def clip_by_global_norm(gradients, max_norm):
    norm = sum(gradient.norm() for gradient in gradients)
    return [
        gradient * max_norm / norm.clamp(min=max_norm) for gradient in gradients
    ], norm


@wrong("q4", "The norm that you return is not the global norm before clipping")
def clip_by_global_norm(gradients, max_norm):
    factor = max_norm / global_norm(gradients).clamp(min=max_norm)
    clipped = [gradient * factor for gradient in gradients]
    return clipped, global_norm(clipped)


@wrong("q4", "expected two things, `return clipped, norm`, got one list")
def clip_by_global_norm(gradients, max_norm):
    factor = max_norm / global_norm(gradients).clamp(min=max_norm)
    return [gradient * factor for gradient in gradients]


# --- q5: greedy decoding


def start(state, bos_id):
    batch = next(iter(state.values())).shape[0]
    return torch.full((batch,), bos_id), [[] for _ in range(batch)]


def add(results, tokens, eos_id):
    """Put the tokens of sentences not yet ended; return whether all have."""
    for ids, token in zip(results, tokens.tolist(), strict=True):
        if ids[-1:] != [eos_id]:
            ids.append(token)
    return all(ids[-1] == eos_id for ids in results)


@wrong("q5", "A finished sentence goes on after EOS")
def greedy_decode(step, state, bos_id, eos_id, max_length):
    tokens, _ = start(state, bos_id)
    steps, ended = [], torch.zeros(len(tokens), dtype=torch.bool)
    while len(steps) < max_length and not ended.all():
        log_probs, state = step(tokens, state)
        tokens = log_probs.argmax(dim=-1)
        steps.append(tokens)
        ended |= tokens == eos_id
    return torch.stack(steps, dim=1).tolist()


@wrong("q5", "Do you stop as soon as one sentence of the batch ends?")
def greedy_decode(step, state, bos_id, eos_id, max_length):
    tokens, results = start(state, bos_id)
    for _ in range(max_length):
        log_probs, state = step(tokens, state)
        tokens = log_probs.argmax(dim=-1)
        add(results, tokens, eos_id)
        if (tokens == eos_id).any():
            break
    return results


@wrong("q5", "Your result begins with BOS")
def greedy_decode(step, state, bos_id, eos_id, max_length):
    tokens, results = start(state, bos_id)
    add(results, tokens, eos_id)
    for _ in range(max_length):
        log_probs, state = step(tokens, state)
        tokens = log_probs.argmax(dim=-1)
        if add(results, tokens, eos_id):
            break
    return results


@wrong("q5", "You feed the model the wrong token")
def greedy_decode(step, state, bos_id, eos_id, max_length):
    tokens, results = start(state, bos_id)
    for _ in range(max_length):
        log_probs, state = step(tokens, state)  # always BOS
        if add(results, log_probs.argmax(dim=-1), eos_id):
            break
    return results


@wrong("q5", "Your token is not the most likely one")
def greedy_decode(step, state, bos_id, eos_id, max_length):
    tokens, results = start(state, bos_id)
    for _ in range(max_length):
        log_probs, state = step(tokens, state)
        tokens = torch.multinomial(log_probs.exp(), 1).squeeze(1)
        if add(results, tokens, eos_id):
            break
    return results


@wrong("q5", "Do you give every step the same old state?")
def greedy_decode(step, state, bos_id, eos_id, max_length):
    tokens, results = start(state, bos_id)
    for _ in range(max_length):
        log_probs, _ = step(tokens, state)
        tokens = log_probs.argmax(dim=-1)
        if add(results, tokens, eos_id):
            break
    return results


@wrong("q5", "Your decoding does not end after max_length tokens")
def greedy_decode(step, state, bos_id, eos_id, max_length):
    tokens, results = start(state, bos_id)
    while True:
        log_probs, state = step(tokens, state)
        tokens = log_probs.argmax(dim=-1)
        if add(results, tokens, eos_id):
            return results


@wrong("q5", "Your sentence lacks its EOS")
def greedy_decode(step, state, bos_id, eos_id, max_length):
    tokens, results = start(state, bos_id)
    for _ in range(max_length):
        log_probs, state = step(tokens, state)
        tokens = log_probs.argmax(dim=-1)
        if add(results, tokens, eos_id):
            break
    return [[token for token in ids if token != eos_id] for ids in results]


@wrong("q5", "all sentences have ended, and still you call step")
def greedy_decode(step, state, bos_id, eos_id, max_length):
    tokens, results = start(state, bos_id)
    for _ in range(max_length):
        log_probs, state = step(tokens, state)
        tokens = log_probs.argmax(dim=-1)
        add(results, tokens, eos_id)
    return results


@wrong(
    "q5", "expected a list with one list of ids for each sentence, got a Tensor"
)
def greedy_decode(step, state, bos_id, eos_id, max_length):
    tokens, _ = start(state, bos_id)
    steps = []
    for _ in range(max_length):
        log_probs, state = step(tokens, state)
        tokens = log_probs.argmax(dim=-1)
        steps.append(tokens)
    return torch.stack(steps, dim=1)


# --- q6: scheduled sampling


def own_inputs(tgt_in, logits):
    return torch.cat([tgt_in[:, :1], logits.argmax(dim=-1)[:, :-1]], dim=1)


@wrong("q6", "it is all true or all predicted")
def scheduled_inputs(tgt_in, logits, probability):
    return (
        own_inputs(tgt_in, logits) if torch.rand(()) < probability else tgt_in
    )


@wrong("q6", "expected both kinds in all of them, got it in 0")
def scheduled_inputs(tgt_in, logits, probability):
    coin = torch.rand(len(tgt_in), 1) < probability
    return torch.where(coin, own_inputs(tgt_in, logits), tgt_in)


@wrong("q6", "You toss the coins once and use them for every sentence")
def scheduled_inputs(tgt_in, logits, probability):
    coin = torch.rand(tgt_in.shape[1]) < probability
    return torch.where(coin, own_inputs(tgt_in, logits), tgt_in)


@wrong("q6", "You replaced BOS")
def scheduled_inputs(tgt_in, logits, probability):
    coin = torch.rand(tgt_in.shape) < probability
    return torch.where(coin, logits.argmax(dim=-1), tgt_in)


@wrong("q6", "got [[14, 11, 12, 13]]")
def scheduled_inputs(tgt_in, logits, probability):
    coin = torch.rand(tgt_in.shape) < probability
    return torch.where(coin, logits.argmax(dim=-1).roll(1, dims=1), tgt_in)


@wrong("q6", "Are they off by one?")
def scheduled_inputs(tgt_in, logits, probability):
    coin = torch.rand(tgt_in.shape) < probability
    coin[:, 0] = False
    return torch.where(coin, logits.argmax(dim=-1), tgt_in)


@wrong("q6", "Is your probability the wrong way round?")
def scheduled_inputs(tgt_in, logits, probability):
    coin = torch.rand(tgt_in.shape) < probability
    return torch.where(coin, tgt_in, own_inputs(tgt_in, logits))


@wrong("q6", "You wrote into tgt_in")
def scheduled_inputs(tgt_in, logits, probability):
    coin = torch.rand(tgt_in.shape) < probability
    tgt_in[coin] = own_inputs(tgt_in, logits)[coin]
    return tgt_in


# --- q7: find the bugs


def loss_of(model, batch, pad_id):
    logits = model(batch.src, batch.src_lengths, batch.tgt[:, :-1])
    return F.cross_entropy(
        logits.flatten(0, 1), batch.tgt[:, 1:].flatten(), ignore_index=pad_id
    )


def learn(model, optimizer, loss, max_norm):
    optimizer.zero_grad()
    loss.backward()
    nn.utils.clip_grad_norm_(model.parameters(), max_norm)
    optimizer.step()
    return loss.item()


@wrong("q7", "The decoder reads the very token that it must predict")
def train_step(model, optimizer, batch, pad_id, max_norm):
    model.train()
    logits = model(batch.src, batch.src_lengths, batch.tgt)
    loss = F.cross_entropy(
        logits.flatten(0, 1), batch.tgt.flatten(), ignore_index=pad_id
    )
    return learn(model, optimizer, loss, max_norm)


@wrong("q7", "expected decoder input [1, 5, 4, 3], got [5, 4, 3, 2]")
def train_step(model, optimizer, batch, pad_id, max_norm):
    model.train()
    logits, tgt = (
        model(batch.src, batch.src_lengths, batch.tgt[:, 1:]),
        batch.tgt[:, 1:],
    )
    loss = F.cross_entropy(
        logits.flatten(0, 1), tgt.flatten(), ignore_index=pad_id
    )
    return learn(model, optimizer, loss, max_norm)


@wrong("q7", "The loss looks at the wrong targets")
def train_step(model, optimizer, batch, pad_id, max_norm):
    model.train()
    logits, tgt = (
        model(batch.src, batch.src_lengths, batch.tgt[:, :-1]),
        batch.tgt[:, :-1],
    )
    loss = F.cross_entropy(
        logits.flatten(0, 1), tgt.flatten(), ignore_index=pad_id
    )
    return learn(model, optimizer, loss, max_norm)


@wrong("q7", "Padding counts in your loss")
def train_step(model, optimizer, batch, pad_id, max_norm):
    model.train()
    return learn(model, optimizer, loss_of(model, batch, pad_id=-100), max_norm)


@wrong("q7", "The model trains in evaluation mode")
def train_step(model, optimizer, batch, pad_id, max_norm):
    return learn(model, optimizer, loss_of(model, batch, pad_id), max_norm)


@wrong("q7", "Is zero_grad between backward and step?")
def train_step(model, optimizer, batch, pad_id, max_norm):
    model.train()
    loss = loss_of(model, batch, pad_id)
    loss.backward()
    nn.utils.clip_grad_norm_(model.parameters(), max_norm)
    optimizer.zero_grad()
    optimizer.step()
    return loss.item()


@wrong("q7", "Gradients of earlier batches are still there")
def train_step(model, optimizer, batch, pad_id, max_norm):
    model.train()
    loss = loss_of(model, batch, pad_id)
    loss.backward()
    nn.utils.clip_grad_norm_(model.parameters(), max_norm)
    optimizer.step()
    return loss.item()


@wrong("q7", "The step is longer than max_norm allows")
def train_step(model, optimizer, batch, pad_id, max_norm):
    model.train()
    loss = loss_of(model, batch, pad_id)
    optimizer.zero_grad()
    nn.utils.clip_grad_norm_(model.parameters(), max_norm)
    loss.backward()
    optimizer.step()
    return loss.item()


@wrong("q7", "You return the loss with its whole graph")
def train_step(model, optimizer, batch, pad_id, max_norm):
    model.train()
    loss = loss_of(model, batch, pad_id)
    learn(model, optimizer, loss, max_norm)
    return loss


@wrong("q7", "q7 ✗ 1 of 8 points")
def train_step(model, optimizer, batch, pad_id, max_norm):
    # the notebook's, as it is
    return broken_train_step(model, optimizer, batch, pad_id, max_norm)


@wrong("q7", "expected the loss, got None")
def train_step(model, optimizer, batch, pad_id, max_norm):
    model.train()
    learn(model, optimizer, loss_of(model, batch, pad_id), max_norm)
