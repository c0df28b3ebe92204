"""Right answers to the exercises of chapter 4, written in unusual ways."""

import copy
import functools
import hashlib
import io
import itertools
import math
import re
import unicodedata
from collections import Counter, deque

import numpy as np
import torch
import torch.nn.functional as F

from tests.right_answers import right


def logged(function):
    """A decorator that changes nothing."""

    @functools.wraps(function)
    def wrapper(*args, **kwargs):
        return function(*args, **kwargs)

    return wrapper


# Question 1: batches of similar length


# Fisher and Yates by hand, a number at a time
@right("q1")
@logged
def bucketed(lengths, batch_size, bucket, generator):
    def shuffle(things):
        for last in range(len(things) - 1, 0, -1):
            other = torch.randint(last + 1, (), generator=generator).item()
            things[last], things[other] = things[other], things[last]

    rest, made = list(range(len(lengths))), []
    shuffle(rest)
    while rest:
        chunk = sorted(rest[: bucket * batch_size], key=lengths.__getitem__)
        del rest[: bucket * batch_size]
        while chunk:
            made.append(chunk[:batch_size])
            del chunk[:batch_size]
    shuffle(made)
    return made


# Tensors throughout; random keys whose argsort is the shuffle
@right("q1")
def bucketed(lengths, batch_size, bucket, generator):
    def order(count):
        keys = torch.rand(count, generator=generator, dtype=torch.float64)
        return keys.argsort()

    sizes = torch.tensor(lengths)
    made = []
    for chunk in order(len(lengths)).split(bucket * batch_size):
        made += chunk[sizes[chunk].argsort()].split(batch_size)
    return [made[place].tolist() for place in order(len(made))]


# One sort by (number of the chunk, length), and a PyTorch sampler
@right("q1")
def bucketed(lengths, batch_size, bucket, generator):
    sampler = torch.utils.data.RandomSampler(
        lengths, generator=generator, num_samples=len(lengths)
    )
    places = {index: place for place, index in enumerate(sampler)}
    rows = sorted(
        places,
        key=lambda i: (places[i] // (bucket * batch_size), lengths[i]),
    )
    made = {}
    for place, index in enumerate(rows):
        made.setdefault(place // batch_size, []).append(index)
    last = torch.multinomial(
        torch.ones(len(made)), len(made), generator=generator
    )
    return [made[place] for place in last.tolist()]


# Recursion over the chunks
@right("q1")
def bucketed(lengths, batch_size, bucket, generator):
    def cut(order):
        if not order:
            return []
        chunk = sorted(order[: bucket * batch_size], key=lambda i: lengths[i])
        count = -(-len(chunk) // batch_size)
        pieces = [
            chunk[k * batch_size : (k + 1) * batch_size] for k in range(count)
        ]
        return pieces + cut(order[bucket * batch_size :])

    made = cut(torch.randperm(len(lengths), generator=generator).tolist())
    return [made[i] for i in torch.randperm(len(made), generator=generator)]


# Question 2: a split without overlap


# A regular expression, and SHA-256 as a fraction
@right("q2")
def split_by_prompt(exchanges, one_in):
    def out(pair):
        said = re.sub(r"[\W_]+", "", pair[0].casefold())
        digest = hashlib.sha256(said.encode()).digest()
        return int.from_bytes(digest, "big") * one_in < 1 << 256

    held_out = [pair for pair in exchanges if out(pair)]
    return [pair for pair in exchanges if not out(pair)], held_out


# Unicode's categories, and a random number seeded with the text
@right("q2")
def split_by_prompt(exchanges, one_in):
    import random

    parts = [], []
    for prompt, reply in exchanges:
        marks = [
            mark
            for mark in prompt.upper()
            if unicodedata.category(mark)[0] in "LN" or mark.isspace()
        ]
        said = " ".join("".join(marks).split())
        source = random.Random(said)
        parts[source.randrange(one_in) == one_in - 1].append((prompt, reply))
    return parts


# MD5 of the words in a row, decided once for each prompt in a dict
@right("q2")
@logged
def split_by_prompt(exchanges, one_in):
    words = str.maketrans({"_": ""})
    out = {}
    for prompt, _ in exchanges:
        said = re.sub(r"[^\w\s]", "", prompt.lower().translate(words)).split()
        digest = hashlib.md5("\0".join(said).encode()).hexdigest()
        out[prompt] = int(digest, 16) % one_in == 0
    train = list(itertools.filterfalse(lambda e: out[e[0]], exchanges))
    return train, list(filter(lambda e: out[e[0]], exchanges))


# A polynomial by hand, in the order of the words in the alphabet
@right("q2")
def split_by_prompt(exchanges, one_in):
    def number(prompt):
        value = 7
        for mark in filter(str.isalnum, prompt.casefold()):
            value = (value * 1_000_003 + ord(mark)) % ((1 << 61) - 1)
        value = value * 0x9E3779B97F4A7C15 % (1 << 64)
        return value >> 20

    train, held_out = [], []
    for pair in reversed(exchanges):
        (train if number(pair[0]) % one_in else held_out).append(pair)
    return [train, held_out]


# Question 3: perplexity


@right("q3")
def perplexity(batches):
    nats = [
        -value
        for log_probs, real in batches
        for row, mask in zip(log_probs.tolist(), real.tolist(), strict=True)
        for value, is_real in zip(row, mask, strict=True)
        if is_real
    ]
    return math.exp(math.fsum(nats) / len(nats))


@right("q3")
def perplexity(batches):
    flat = torch.cat([x.masked_select(real).double() for x, real in batches])
    return float(flat.mean().neg().exp())


# A mean that is updated from batch to batch, in NumPy
@right("q3")
def perplexity(batches):
    mean, seen = 0.0, 0
    for log_probs, real in batches:
        values = log_probs.double().numpy()[real.numpy()]
        if values.size:
            seen += values.size
            mean += (values.mean() - mean) * values.size / seen
    return np.exp(-mean).item()


# `where` and a geometric mean of the batches' perplexities, with weights
@right("q3")
@logged
def perplexity(batches):
    counts = [real.sum().item() for _, real in batches]
    total = sum(counts)
    result = 1.0
    for (log_probs, real), count in zip(batches, counts, strict=True):
        if count:
            kept = torch.where(real, log_probs, torch.zeros_like(log_probs))
            loss = -kept.double().sum().item() / count
            result *= math.exp(loss * count / total)
    return result


# Question 4: distinct-n


@right("q4")
def distinct(replies, n):
    counts = Counter()
    for words in replies:
        counts.update(zip(*(words[shift:] for shift in range(n)), strict=False))
    total = sum(counts.values())
    if not total:
        raise ValueError(f"there is no {n}-gram")
    return len(counts) / total


def windows(words, n):
    window = deque(maxlen=n)
    for word in words:
        window.append(word)
        if len(window) == n:
            yield tuple(window)


@right("q4")
@logged
def distinct(replies, n):
    seen, total = {}, 0
    for ngram in itertools.chain.from_iterable(
        windows(words, n) for words in replies
    ):
        seen[ngram] = True
        total += 1
    try:
        return len(seen) / total
    except ZeroDivisionError:
        raise ValueError("nothing to measure") from None


# Numbers for words, and rows of PyTorch's `unfold` and `unique`
@right("q4")
def distinct(replies, n):
    number = {}
    rows = []
    for words in replies:
        ids = [number.setdefault(word, len(number)) for word in words]
        if len(ids) >= n:
            rows.append(torch.tensor(ids).unfold(0, n, 1))
    if not rows:
        raise ValueError("all replies are too short")
    ngrams = torch.cat(rows)
    return len(ngrams.unique(dim=0)) / len(ngrams)


# Sorted neighbours in place of a set
@right("q4")
def distinct(replies, n):
    ngrams = sorted(
        words[i : i + n]
        for words in replies
        for i, _ in enumerate(words[n - 1 :])
    )
    if ngrams == []:
        raise ValueError("no n-grams")
    return sum(1 for _ in itertools.groupby(ngrams)) / len(ngrams)


# Question 5: one function each, the other is the solution's


# A file in memory, read at once
@right("q5")
def checkpoint(run):
    file = io.BytesIO()
    torch.save(
        {
            "random": torch.random.get_rng_state(),
            "position": run.position,
            "epoch": run.epoch,
            **{
                part: getattr(run, part).state_dict()
                for part in ("schedule", "optimizer", "model")
            },
        },
        file,
    )
    file.seek(0)
    return torch.load(file, weights_only=True)


def fresh(thing):
    """A copy, made by recursion."""
    if isinstance(thing, torch.Tensor):
        return thing.detach().clone()
    if isinstance(thing, dict):
        return {key: fresh(value) for key, value in thing.items()}
    if isinstance(thing, list | tuple):
        return type(thing)(fresh(value) for value in thing)
    return thing


@right("q5")
@logged
def checkpoint(run):
    saved = {
        "model": dict(run.model.state_dict()),
        "optimizer": run.optimizer.state_dict(),
        "schedule": run.schedule.state_dict(),
        "random": torch.default_generator.get_state(),
    }
    return fresh(saved) | {"epoch": run.epoch, "position": run.position}


# The weights in place, without `load_state_dict`
@right("q5")
def restore(run, saved):
    with torch.no_grad():
        for name, tensor in run.model.state_dict().items():
            tensor.copy_(saved["model"][name])
    for part in ("schedule", "optimizer"):
        getattr(run, part).load_state_dict(fresh(saved[part]))
    vars(run).update(epoch=saved["epoch"], position=saved["position"])
    torch.default_generator.set_state(saved["random"].clone())


# The random numbers first: nothing after them draws any
@right("q5")
def restore(run, saved):
    file = io.BytesIO()
    torch.save(saved, file)
    file.seek(0)
    for name, value in torch.load(file, weights_only=True).items():
        if name == "random":
            torch.set_rng_state(value)
        elif hasattr(getattr(run, name), "load_state_dict"):
            getattr(run, name).load_state_dict(value)
        else:
            setattr(run, name, value)


# Question 6: keep the best


# A copy of every epoch, and all decisions from the list of losses
@right("q6")
@logged
def early_stopping(model, train_epoch, valid_loss, patience, max_epochs):
    losses, kept = [], []
    while len(losses) < max_epochs:
        train_epoch(model)
        losses.append(valid_loss(model))
        kept.append({k: v.clone() for k, v in model.state_dict().items()})
        if len(losses) - losses.index(min(losses)) > patience:
            break
    model.load_state_dict(kept[losses.index(min(losses))])
    return losses


# A generator of losses, and the weights as a file in memory
@right("q6")
def early_stopping(model, train_epoch, valid_loss, patience, max_epochs):
    best = {"loss": None, "left": patience}

    def epochs():
        for _ in range(max_epochs):
            train_epoch(model)
            loss = valid_loss(model)
            best["left"] -= 1
            if best["loss"] is None or loss < best["loss"]:
                file = io.BytesIO()
                torch.save(model.state_dict(), file)
                best.update(loss=loss, left=patience, file=file)
            yield loss
            if best["left"] == 0:
                return

    losses = list(epochs())
    best["file"].seek(0)
    model.load_state_dict(torch.load(best["file"], weights_only=True))
    return losses


# A whole model is kept, and written back tensor by tensor
@right("q6")
def early_stopping(model, train_epoch, valid_loss, patience, max_epochs):
    losses, champion, when = [], None, 0
    try:
        for epoch in range(1, max_epochs + 1):
            train_epoch(model)
            losses += [valid_loss(model)]
            if champion is None or losses[-1] < losses[when - 1]:
                champion, when = copy.deepcopy(model), epoch
            if epoch - when == patience:
                return losses
        return losses
    finally:
        theirs = champion.state_dict()
        with torch.no_grad():
            for name, tensor in model.state_dict().items():
                tensor.copy_(theirs[name])


# Recursion, an epoch a call
@right("q6")
def early_stopping(model, train_epoch, valid_loss, patience, max_epochs):
    def epoch(losses, lowest, best, waited):
        if len(losses) == max_epochs or waited == patience:
            model.load_state_dict(best)
            return losses
        train_epoch(model)
        loss = valid_loss(model)
        if loss < lowest:
            lowest, waited = loss, -1
            best = copy.deepcopy(model.state_dict())
        return epoch([*losses, loss], lowest, best, waited + 1)

    return epoch([], math.inf, {}, 0)


# Question 7: re-ranking


@right("q7")
def rerank(log_p, log_p_others, penalty):
    others = log_p_others.double().numpy()
    mean = np.logaddexp.reduce(others, axis=1) - np.log(others.shape[1])
    scores = torch.from_numpy(log_p.double().numpy() - penalty * mean)
    return scores.to(log_p.dtype), (-scores).argsort()


# The greatest number of each row is taken off by hand
@right("q7")
@logged
def rerank(log_p, log_p_others, penalty):
    top = log_p_others.amax(dim=-1, keepdim=True)
    mean = (log_p_others - top).exp().mean(dim=-1).log() + top[:, 0]
    scores = log_p.sub(mean, alpha=penalty)
    return scores, scores.topk(len(scores)).indices


# Lists and loops
@right("q7")
def rerank(log_p, log_p_others, penalty):
    scores = []
    for own, row in zip(log_p.tolist(), log_p_others.tolist(), strict=True):
        top = max(row)
        total = math.fsum(math.exp(value - top) for value in row)
        scores.append(own - penalty * (top + math.log(total / len(row))))
    order = sorted(range(len(scores)), key=scores.__getitem__, reverse=True)
    return torch.tensor(scores, dtype=log_p.dtype), torch.tensor(order)


# The sum of a row from its softmax: log softmax(x) = x − logsumexp(x)
@right("q7")
def rerank(log_p, log_p_others, penalty):
    wide = log_p_others.double()
    largest, place = wide.max(dim=1, keepdim=True)
    total = largest - F.log_softmax(wide, dim=1).gather(1, place)
    mean = total.squeeze(1) - math.log(wide.shape[1])
    scores = torch.einsum(
        "sc,s->c",
        torch.stack([log_p.double(), mean]),
        torch.tensor([1.0, -penalty]).double(),
    ).to(log_p.dtype)
    return scores, scores.sort(descending=True).indices
