"""Wrong answers to the exercises of chapter 4."""

import copy
import math
import random
import string
import zlib

import torch

from tests.wrong_answers import wrong

# Question 1: batches of similar length


def cut(items, size):
    return [items[start : start + size] for start in range(0, len(items), size)]


def shuffled(items, generator):
    return [
        items[i]
        for i in torch.randperm(len(items), generator=generator).tolist()
    ]


def by_length(lengths, indices):
    return sorted(indices, key=lambda index: lengths[index])


@wrong("q1", "Did you return the lengths themselves?")
def bucketed(lengths, batch_size, bucket, generator):
    made = []
    for chunk in cut(shuffled(lengths, generator), bucket * batch_size):
        made += cut(sorted(chunk), batch_size)
    return shuffled(made, generator)


@wrong("q1", "got a list of Tensor; `.tolist()` turns a tensor into lists")
def bucketed(lengths, batch_size, bucket, generator):
    made = []
    for chunk in cut(
        torch.randperm(len(lengths), generator=generator), bucket * batch_size
    ):
        made += cut(chunk[torch.tensor(lengths)[chunk].argsort()], batch_size)
    return shuffled(made, generator)


@wrong("q1", "Did you draw with replacement")
def bucketed(lengths, batch_size, bucket, generator):
    order = torch.randint(
        len(lengths), (len(lengths),), generator=generator
    ).tolist()
    made = []
    for chunk in cut(order, bucket * batch_size):
        made += cut(by_length(lengths, chunk), batch_size)
    return shuffled(made, generator)


@wrong("q1", "Did you drop the last batch, or the last chunk")
def bucketed(lengths, batch_size, bucket, generator):
    made = []
    for chunk in cut(
        shuffled(range(len(lengths)), generator), bucket * batch_size
    ):
        made += cut(by_length(lengths, chunk), batch_size)
    return shuffled(
        [batch for batch in made if len(batch) == batch_size], generator
    )


@wrong("q1", "23 lengths, batch_size 4, bucket 2: in no batch are")
def bucketed(lengths, batch_size, bucket, generator):
    size, order = bucket * batch_size, shuffled(range(len(lengths)), generator)
    made = []
    for number in range(len(lengths) // size):
        chunk = order[number * size : (number + 1) * size]
        made += cut(by_length(lengths, chunk), batch_size)
    return shuffled(made, generator)


@wrong("q1", "Is your chunk `bucket` indices long?")
def bucketed(lengths, batch_size, bucket, generator):
    made = []
    for chunk in cut(shuffled(range(len(lengths)), generator), bucket):
        made += cut(by_length(lengths, chunk), batch_size)
    return shuffled(made, generator)


@wrong("q1", "Is a chunk sorted, and by its lengths?")
def bucketed(lengths, batch_size, bucket, generator):
    return cut(shuffled(range(len(lengths)), generator), batch_size)


@wrong("q1", "`sort()` alone sorts the indices; it needs a `key`")
def bucketed(lengths, batch_size, bucket, generator):
    made = []
    for chunk in cut(
        shuffled(range(len(lengths)), generator), bucket * batch_size
    ):
        made += cut(sorted(chunk), batch_size)
    return shuffled(made, generator)


@wrong("q1", "nothing may mix the indices afterwards")
def bucketed(lengths, batch_size, bucket, generator):
    order = by_length(lengths, range(len(lengths)))
    return cut(shuffled(order, generator), batch_size)


@wrong("q1", "the model sees all short sequences first")
def bucketed(lengths, batch_size, bucket, generator):
    made = []
    for chunk in cut(
        shuffled(range(len(lengths)), generator), bucket * batch_size
    ):
        made += cut(by_length(lengths, chunk), batch_size)
    return made


@wrong("q1", "The batches of a chunk come in order of length")
def bucketed(lengths, batch_size, bucket, generator):
    return cut(by_length(lengths, range(len(lengths))), batch_size)


@wrong("q1", "Did you seed it again inside the function")
def bucketed(lengths, batch_size, bucket, generator):
    generator.manual_seed(0)
    made = []
    for chunk in cut(
        shuffled(range(len(lengths)), generator), bucket * batch_size
    ):
        made += cut(by_length(lengths, chunk), batch_size)
    return shuffled(made, generator)


@wrong("q1", "Did you sort all lengths at once?")
def bucketed(lengths, batch_size, bucket, generator):
    return shuffled(
        cut(by_length(lengths, range(len(lengths))), batch_size), generator
    )


@wrong("q1", "Did you cut into `bucket` chunks?")
def bucketed(lengths, batch_size, bucket, generator):
    made = []
    per_chunk = math.ceil(len(lengths) / batch_size / bucket)
    for chunk in cut(
        shuffled(range(len(lengths)), generator), per_chunk * batch_size
    ):
        made += cut(by_length(lengths, chunk), batch_size)
    return shuffled(made, generator)


@wrong("q1", "Or did you sort everything, and shuffle within the chunks?")
def bucketed(lengths, batch_size, bucket, generator):
    made = []
    for chunk in cut(
        by_length(lengths, range(len(lengths))), bucket * batch_size
    ):
        made += cut(shuffled(chunk, generator), batch_size)
    return shuffled(made, generator)


@wrong("q1", "`random.shuffle` does not know it")
def bucketed(lengths, batch_size, bucket, generator):
    order = list(range(len(lengths)))
    random.shuffle(order)
    made = []
    for chunk in cut(order, bucket * batch_size):
        made += cut(by_length(lengths, chunk), batch_size)
    return shuffled(made, generator)


@wrong("q1", "neither does a plain `torch.randperm(n)`")
def bucketed(lengths, batch_size, bucket, generator):
    made = []
    for chunk in cut(
        shuffled(range(len(lengths)), generator), bucket * batch_size
    ):
        made += cut(by_length(lengths, chunk), batch_size)
    return shuffled(made, None)


# Question 2: a split without overlap


def said(prompt):
    kept = "".join(
        mark for mark in prompt.lower() if mark.isalnum() or mark.isspace()
    )
    return " ".join(kept.split())


def checksum(text):
    return zlib.crc32(text.encode())


def parts(exchanges, out):
    return [e for e in exchanges if not out(e)], [
        e for e in exchanges if out(e)
    ]


@wrong("q2", "does a dict keep only the last?")
def split_by_prompt(exchanges, one_in):
    replies = dict(exchanges)
    return parts(
        list(replies.items()), lambda e: checksum(said(e[0])) % one_in == 0
    )


@wrong("q2", "Did you return the prompt in the form that you compare?")
def split_by_prompt(exchanges, one_in):
    clean = [(said(prompt), reply) for prompt, reply in exchanges]
    return parts(clean, lambda e: checksum(e[0]) % one_in == 0)


@wrong("q2", "Did you return them in the order train, held_out?")
def split_by_prompt(exchanges, one_in):
    train, held_out = parts(
        exchanges, lambda e: checksum(said(e[0])) % one_in == 0
    )
    return held_out, train


@wrong("q2", "The parts have the wrong sizes")
def split_by_prompt(exchanges, one_in):
    return parts(exchanges, lambda e: checksum(said(e[0])) % 2 == 0)


@wrong("q2", "Did you split the exchanges?")
def split_by_prompt(exchanges, one_in):
    order = random.Random(0).sample(exchanges, len(exchanges))
    return order[len(order) // one_in :], order[: len(order) // one_in]


@wrong("q2", "Split the prompts, and let every reply go where its prompt goes")
def split_by_prompt(exchanges, one_in):
    return parts(exchanges, lambda e: checksum(said(e[0]) + e[1]) % one_in == 0)


@wrong("q2", "A prompt with two replies is in both parts")
def split_by_prompt(exchanges, one_in):
    train = [e for place, e in enumerate(exchanges) if place % one_in]
    return train, exchanges[::one_in]


@wrong("q2", "Did you compare the prompts as they are written?")
def split_by_prompt(exchanges, one_in):
    return parts(exchanges, lambda e: checksum(e[0]) % one_in == 0)


@wrong("q2", "A prompt with another punctuation mark is in the other part")
def split_by_prompt(exchanges, one_in):
    return parts(
        exchanges, lambda e: checksum(e[0].lower().strip()) % one_in == 0
    )


@wrong("q2", "`string.punctuation` knows only those of an American typewriter")
def split_by_prompt(exchanges, one_in):
    table = str.maketrans("", "", string.punctuation)

    def words(prompt):
        return " ".join(prompt.lower().translate(table).split())

    return parts(exchanges, lambda e: checksum(words(e[0])) % one_in == 0)


@wrong("q2", "A mark that is taken out may leave its space behind")
def split_by_prompt(exchanges, one_in):
    def words(prompt):
        return "".join(
            mark for mark in prompt.lower() if mark.isalnum() or mark == " "
        )

    return parts(exchanges, lambda e: checksum(words(e[0])) % one_in == 0)


@wrong("q2", "Did you keep only a to z?")
def split_by_prompt(exchanges, one_in):
    def words(prompt):
        kept = "".join(
            mark
            for mark in prompt.lower()
            if mark in string.ascii_lowercase + " "
        )
        return " ".join(kept.split())

    return parts(exchanges, lambda e: checksum(words(e[0])) % one_in == 0)


@wrong("q2", "Does your choice depend on a place in the list, or on a shuffle?")
def split_by_prompt(exchanges, one_in):
    prompts = sorted({said(prompt) for prompt, _ in exchanges})
    random.Random(0).shuffle(prompts)
    chosen = set(prompts[: len(prompts) // one_in])
    return parts(exchanges, lambda e: said(e[0]) in chosen)


@wrong("q2", "what was tested on today must not be trained on tomorrow")
def split_by_prompt(exchanges, one_in):
    numbers = {}
    for prompt, _ in exchanges:
        numbers.setdefault(said(prompt), len(numbers))
    return parts(exchanges, lambda e: numbers[said(e[0])] % one_in == 0)


@wrong("q2", "Did you use `hash`?")
def split_by_prompt(exchanges, one_in):
    return parts(exchanges, lambda e: hash(said(e[0])) % one_in == 0)


# Question 3: perplexity


def mean_loss(log_probs, real):
    return -log_probs[real].mean().item()


def joined(batches):
    return torch.cat([log_probs[real] for log_probs, real in batches])


@wrong("q3", "is the minus missing?")
def perplexity(batches):
    return joined(batches).mean().exp().item()


@wrong("q3", "That is the mean loss, in nats")
def perplexity(batches):
    return -joined(batches).mean().item()


@wrong("q3", "Did you write `2 ** …`?")
def perplexity(batches):
    return 2 ** -joined(batches).mean().item()


@wrong("q3", "Did you divide by the number of tokens before the exponential?")
def perplexity(batches):
    return math.exp(-joined(batches).sum().item())


@wrong("q3", "it belongs neither in the sum nor in the count")
def perplexity(batches):
    nats = sum(-log_probs.sum().item() for log_probs, _ in batches)
    return math.exp(nats / sum(real.numel() for _, real in batches))


@wrong("q3", "two of padding with log-probability 0: expected 4")
def perplexity(batches):
    nats = sum(-log_probs[real].sum().item() for log_probs, real in batches)
    return math.exp(nats / sum(real.numel() for _, real in batches))


@wrong("q3", "Did you multiply by the mask?")
def perplexity(batches):
    nats = sum(-(log_probs * real).sum().item() for log_probs, real in batches)
    return math.exp(nats / sum(real.sum().item() for _, real in batches))


@wrong("q3", "Did you take the mean of the probabilities")
def perplexity(batches):
    return 1 / joined(batches).exp().mean().item()


@wrong("q3", "or of one over them?")
def perplexity(batches):
    return (-joined(batches)).exp().mean().item()


@wrong("q3", "A short reply counts as much as a long one")
def perplexity(batches):
    rows = [
        row
        for log_probs, real in batches
        for row in zip(log_probs, real, strict=True)
    ]
    return math.exp(sum(mean_loss(*row) for row in rows) / len(rows))


@wrong("q3", "or even a perplexity, for each reply")
def perplexity(batches):
    rows = [
        row
        for log_probs, real in batches
        for row in zip(log_probs, real, strict=True)
    ]
    return sum(math.exp(mean_loss(*row)) for row in rows) / len(rows)


@wrong("q3", "Did you take the mean of the batches' means")
def perplexity(batches):
    return math.exp(sum(mean_loss(*batch) for batch in batches) / len(batches))


@wrong("q3", "Keep a sum and a count, and divide once")
def perplexity(batches):
    # every batch by its replies, not its tokens
    replies = sum(len(real) for _, real in batches)
    return math.exp(
        sum(mean_loss(*batch) * len(batch[1]) for batch in batches) / replies
    )


@wrong("q3", "or of their perplexities?")
def perplexity(batches):
    return sum(math.exp(mean_loss(*batch)) for batch in batches) / len(batches)


@wrong("q3", "Did you multiply the probabilities")
def perplexity(batches):
    log_probs = joined(batches)
    return (log_probs.exp().prod() ** (-1 / len(log_probs))).item()


@wrong("q3", "or take the exponential before dividing?")
def perplexity(batches):
    log_probs = joined(batches)
    return math.exp(-log_probs.sum().item()) ** (1 / len(log_probs))


# Question 4: distinct-n


def ngrams_of(words, n):
    return [tuple(words[i : i + n]) for i in range(len(words) - n + 1)]


def share(ngrams, count=None):
    if not ngrams:
        raise ValueError("nothing to measure")
    return len(set(ngrams)) / (len(ngrams) if count is None else count)


@wrong("q4", "You count single words where it should be n-grams")
def distinct(replies, n):
    return share([word for words in replies for word in words])


@wrong("q4", "'a b a c a b', n 2: 4 different pairs (ab, ba, ac, ca) of 5")
def distinct(replies, n):
    count = sum(max(0, len(words) - n + 1) for words in replies)
    return share(
        [word for words in replies if len(words) >= n for word in words], count
    )


@wrong("q4", "Do you use n, or do you always take pairs?")
def distinct(replies, n):
    return share(
        [
            pair
            for words in replies
            for pair in zip(words, words[1:], strict=False)
        ]
    )


@wrong("q4", "or forget their order?")
def distinct(replies, n):
    return share(
        [frozenset(ngram) for words in replies for ngram in ngrams_of(words, n)]
    )


@wrong("q4", "Did you glue the words together")
def distinct(replies, n):
    return share(
        ["".join(ngram) for words in replies for ngram in ngrams_of(words, n)]
    )


@wrong("q4", "Do you step on by n?")
def distinct(replies, n):
    return share(
        [ngram for words in replies for ngram in ngrams_of(words, n)[::n]]
    )


@wrong("q4", "not k − n")
def distinct(replies, n):
    return share(
        [ngram for words in replies for ngram in ngrams_of(words, n)[:-1]]
    )


@wrong("q4", "and no shorter ones at its end")
def distinct(replies, n):
    return share(
        [
            tuple(words[i : i + n])
            for words in replies
            for i in range(len(words))
        ]
    )


@wrong("q4", "Did you measure each reply by itself, and take the mean?")
def distinct(replies, n):
    shares = [
        share(ngrams_of(words, n)) for words in replies if len(words) >= n
    ]
    if not shares:
        raise ValueError("nothing to measure")
    return sum(shares) / len(shares)


@wrong("q4", "Did you join the replies first?")
def distinct(replies, n):
    return share(ngrams_of([word for words in replies for word in words], n))


@wrong("q4", "Is it the number of words, or of replies")
def distinct(replies, n):
    ngrams = [ngram for words in replies for ngram in ngrams_of(words, n)]
    return share(ngrams, sum(map(len, replies)))


@wrong("q4", "3 different pairs of 5: expected 0.6, got 3")
def distinct(replies, n):
    ngrams = [ngram for words in replies for ngram in ngrams_of(words, n)]
    return share(ngrams, len(replies))


@wrong("q4", "nor −1 of them, as k − n + 1 would say")
def distinct(replies, n):
    ngrams = [ngram for words in replies for ngram in ngrams_of(words, n)]
    return share(ngrams, sum(len(words) - n + 1 for words in replies))


@wrong("q4", "A reply shorter than n changes the result")
def distinct(replies, n):
    ngrams = []
    for words in replies:
        # a short reply as one n-gram
        ngrams += ngrams_of(words, min(n, len(words)))
    return share(ngrams)


@wrong("q4", "expected a ValueError, got ZeroDivisionError")
def distinct(replies, n):
    ngrams = [ngram for words in replies for ngram in ngrams_of(words, n)]
    return len(set(ngrams)) / len(ngrams)


@wrong("q4", "neither is 0, which would mean that all was repeated")
def distinct(replies, n):
    ngrams = [ngram for words in replies for ngram in ngrams_of(words, n)]
    return len(set(ngrams)) / max(1, len(ngrams))


# Question 5: resume. What is wrong may be in `checkpoint` or in `restore`; the
# other stays right.


def state_of(run):
    return {
        "model": run.model.state_dict(),
        "optimizer": run.optimizer.state_dict(),
        "schedule": run.schedule.state_dict(),
        "epoch": run.epoch,
        "position": run.position,
        "random": torch.get_rng_state(),
    }


def put_back(run, saved, *but):
    for part in {"model", "optimizer", "schedule"} - set(but):
        getattr(run, part).load_state_dict(copy.deepcopy(saved[part]))
    if "position" not in but:
        run.position = saved["position"]
    if "epoch" not in but:
        run.epoch = saved["epoch"]
    if "random" not in but:
        torch.set_rng_state(saved["random"])


@wrong("q5", "Did you save a whole object, such as the model?")
def checkpoint(run):
    return copy.deepcopy({**state_of(run), "model": run.model})


@wrong("q5", "does not have the weights that were saved")
def restore(run, saved):
    put_back(run, saved, "model")


@wrong("q5", "the schedule belongs to another optimizer")
def restore(run, saved):
    run.optimizer = torch.optim.Adam(run.model.parameters(), lr=0.1)
    put_back(run, saved)


@wrong(
    "q5",
    "Write into the model, the optimizer and the schedule that the run has",
)
def restore(run, saved):
    resumed = copy.deepcopy(run)
    put_back(resumed, saved)
    return resumed


@wrong("q5", "The optimizer starts anew")
def restore(run, saved):
    run.model.load_state_dict(saved["model"])  # the weights only


@wrong("q5", "Adam keeps two running means for each weight")
def restore(run, saved):
    put_back(run, saved, "optimizer")


@wrong("q5", "The learning rate falls from the start again")
def restore(run, saved):
    put_back(run, saved, "schedule")


@wrong("q5", "Dropout draws other numbers than it would have")
def restore(run, saved):
    put_back(run, saved, "random")


@wrong("q5", "A seed is not enough: it starts from the beginning")
def restore(run, saved):
    put_back(run, saved, "random")
    torch.manual_seed(0)


@wrong("q5", "and set it again, as the last thing you do")
def restore(run, saved):
    torch.set_rng_state(saved["random"])
    run.__init__()  # a clean start, which draws first weights
    put_back(run, saved, "random")


@wrong("q5", "Is `run.epoch` saved and restored?")
def restore(run, saved):
    put_back(run, saved, "epoch")


@wrong("q5", "The resumed run starts its epoch again")
def restore(run, saved):
    put_back(run, saved, "position")


@wrong("q5", "Your checkpoint changes while the run goes on")
def checkpoint(run):
    return state_of(run)


@wrong(
    "q5", "saved['optimizer']['state'][0]['step'] is no longer what was saved"
)
def checkpoint(run):
    # the weights are copied, the optimizer's means are not
    saved = state_of(run)
    saved["model"] = copy.deepcopy(saved["model"])
    return saved


@wrong("q5", "give it a copy")
def restore(run, saved):
    run.model.load_state_dict(saved["model"])
    run.optimizer.load_state_dict(saved["optimizer"])
    run.schedule.load_state_dict(saved["schedule"])
    run.epoch, run.position = saved["epoch"], saved["position"]
    torch.set_rng_state(saved["random"])


@wrong("q5", "Did you call `eval()`, draw a number, or set a seed?")
def checkpoint(run):
    run.model.eval()
    return copy.deepcopy(state_of(run))


@wrong("q5", "Saving disturbs the run")
def checkpoint(run):
    saved = copy.deepcopy(state_of(run))
    saved["number"] = int(torch.randint(10**6, ()))  # for the name of the file
    return saved


# Question 6: keep the best


def weights_of(model):
    return copy.deepcopy(model.state_dict())


@wrong("q6", "Do you keep the largest loss, as if it were an accuracy?")
def early_stopping(model, train_epoch, valid_loss, patience, max_epochs):
    losses, highest, waited, best = [], -math.inf, 0, weights_of(model)
    while len(losses) < max_epochs and waited < patience:
        train_epoch(model)
        losses.append(valid_loss(model))
        waited += 1
        if losses[-1] > highest:
            highest, waited, best = losses[-1], 0, weights_of(model)
    model.load_state_dict(best)
    return losses


@wrong("q6", "It begins at infinity")
def early_stopping(model, train_epoch, valid_loss, patience, max_epochs):
    losses, lowest, waited, best = [], 100.0, 0, weights_of(model)
    while len(losses) < max_epochs and waited < patience:
        train_epoch(model)
        losses.append(valid_loss(model))
        waited += 1
        if losses[-1] < lowest:
            lowest, waited, best = losses[-1], 0, weights_of(model)
    model.load_state_dict(best)
    return losses


@wrong("q6", "Do you count every epoch as a bad one?")
def early_stopping(model, train_epoch, valid_loss, patience, max_epochs):
    losses, lowest, best = [], math.inf, weights_of(model)
    while len(losses) < min(max_epochs, patience):  # patience from the start
        train_epoch(model)
        losses.append(valid_loss(model))
        if losses[-1] < lowest:
            lowest, best = losses[-1], weights_of(model)
    model.load_state_dict(best)
    return losses


@wrong("q6", "Training must end after `max_epochs`")
def early_stopping(model, train_epoch, valid_loss, patience, max_epochs):
    losses, lowest, waited, best = [], math.inf, 0, weights_of(model)
    while waited < patience:
        train_epoch(model)
        losses.append(valid_loss(model))
        waited += 1
        if losses[-1] < lowest:
            lowest, waited, best = losses[-1], 0, weights_of(model)
    model.load_state_dict(best)
    return losses


@wrong("q6", "the result is one loss for each epoch trained, good or bad")
def early_stopping(model, train_epoch, valid_loss, patience, max_epochs):
    lows, waited, best = [], 0, weights_of(model)
    for _ in range(max_epochs):
        train_epoch(model)
        loss = valid_loss(model)
        waited += 1
        if loss < min(lows, default=math.inf):
            lows.append(loss)
            waited, best = 0, weights_of(model)
        if waited == patience:
            break
    model.load_state_dict(best)
    return lows


@wrong("q6", "You count all bad epochs since the start")
def early_stopping(model, train_epoch, valid_loss, patience, max_epochs):
    losses, lowest, bad, best = [], math.inf, 0, weights_of(model)
    while len(losses) < max_epochs and bad < patience:
        train_epoch(model)
        losses.append(valid_loss(model))
        if losses[-1] < lowest:
            lowest, best = losses[-1], weights_of(model)
        else:
            bad += 1
    model.load_state_dict(best)
    return losses


@wrong("q6", "Do you compare with the previous epoch?")
def early_stopping(model, train_epoch, valid_loss, patience, max_epochs):
    losses, previous, waited, best = [], math.inf, 0, weights_of(model)
    while len(losses) < max_epochs and waited < patience:
        train_epoch(model)
        losses.append(valid_loss(model))
        waited += 1
        if losses[-1] < previous:
            waited, best = 0, weights_of(model)
        previous = losses[-1]
    model.load_state_dict(best)
    return losses


@wrong("q6", "Is it `<=` where it should be `<`?")
def early_stopping(model, train_epoch, valid_loss, patience, max_epochs):
    losses, lowest, waited, best = [], math.inf, 0, weights_of(model)
    while len(losses) < max_epochs and waited < patience:
        train_epoch(model)
        losses.append(valid_loss(model))
        waited += 1
        if losses[-1] <= lowest:
            lowest, waited, best = losses[-1], 0, weights_of(model)
    model.load_state_dict(best)
    return losses


@wrong("q6", "expected 3 epochs, got 4")
def early_stopping(model, train_epoch, valid_loss, patience, max_epochs):
    losses, lowest, waited, best = [], math.inf, 0, weights_of(model)
    while len(losses) < max_epochs and waited <= patience:
        train_epoch(model)
        losses.append(valid_loss(model))
        waited += 1
        if losses[-1] < lowest:
            lowest, waited, best = losses[-1], 0, weights_of(model)
    model.load_state_dict(best)
    return losses


@wrong("q6", "patience 3: expected 5 epochs, got 4")
def early_stopping(model, train_epoch, valid_loss, patience, max_epochs):
    losses, lowest, waited, best = [], math.inf, 0, weights_of(model)
    while len(losses) < max_epochs and waited < max(patience - 1, 1):
        train_epoch(model)
        losses.append(valid_loss(model))
        waited += 1
        if losses[-1] < lowest:
            lowest, waited, best = losses[-1], 0, weights_of(model)
    model.load_state_dict(best)
    return losses


@wrong("q6", "The model ends with the weights of its last epoch")
def early_stopping(model, train_epoch, valid_loss, patience, max_epochs):
    losses, lowest, waited, best = [], math.inf, 0, copy.deepcopy(model)
    while len(losses) < max_epochs and waited < patience:
        train_epoch(model)
        losses.append(valid_loss(model))
        waited += 1
        if losses[-1] < lowest:
            lowest, waited, best = losses[-1], 0, copy.deepcopy(model)
    model = best  # another name for the best one; the caller keeps the last
    return losses


@wrong("q6", "Did you keep them by reference?")
def early_stopping(model, train_epoch, valid_loss, patience, max_epochs):
    losses, lowest, waited, best = [], math.inf, 0, model.state_dict()
    while len(losses) < max_epochs and waited < patience:
        train_epoch(model)
        losses.append(valid_loss(model))
        waited += 1
        if losses[-1] < lowest:
            lowest, waited, best = losses[-1], 0, model.state_dict()
    model.load_state_dict(best)
    return losses


@wrong("q6", "a `.copy()` of the dict holds them too")
def early_stopping(model, train_epoch, valid_loss, patience, max_epochs):
    losses, lowest, waited, best = [], math.inf, 0, model.state_dict()
    while len(losses) < max_epochs and waited < patience:
        train_epoch(model)
        losses.append(valid_loss(model))
        waited += 1
        if losses[-1] < lowest:
            lowest, waited, best = losses[-1], 0, model.state_dict().copy()
    model.load_state_dict(best)
    return losses


@wrong("q6", "Do you put the best weights back only where patience ends it?")
def early_stopping(model, train_epoch, valid_loss, patience, max_epochs):
    losses, lowest, waited, best = [], math.inf, 0, weights_of(model)
    for _ in range(max_epochs):
        train_epoch(model)
        losses.append(valid_loss(model))
        waited += 1
        if losses[-1] < lowest:
            lowest, waited, best = losses[-1], 0, weights_of(model)
        if waited == patience:
            model.load_state_dict(best)
            break
    return losses


@wrong("q6", "The parameters are the best ones, the buffers are not")
def early_stopping(model, train_epoch, valid_loss, patience, max_epochs):
    losses, lowest, waited, best = [], math.inf, 0, []
    while len(losses) < max_epochs and waited < patience:
        train_epoch(model)
        losses.append(valid_loss(model))
        waited += 1
        if losses[-1] < lowest:
            best = [
                parameter.detach().clone() for parameter in model.parameters()
            ]
            lowest, waited = losses[-1], 0
    for parameter, value in zip(model.parameters(), best, strict=True):
        parameter.data.copy_(value)
    return losses


# Question 7: re-ranking


def log_mean(log_p_others):
    return log_p_others.logsumexp(dim=1) - math.log(log_p_others.shape[1])


def ranked(scores):
    return scores, scores.argsort(descending=True)


@wrong("q7", "expected two tensors, (scores, order), got a Tensor")
def rerank(log_p, log_p_others, penalty):
    return (log_p - penalty * log_mean(log_p_others)).argsort(descending=True)


@wrong("q7", "Does the penalty stand before the wrong term?")
def rerank(log_p, log_p_others, penalty):
    return ranked(penalty * log_p - log_mean(log_p_others))


@wrong("q7", "p = ½ and ¼, penalty 0")
def rerank(log_p, log_p_others, penalty):
    return ranked((log_p - penalty * log_mean(log_p_others)).exp())


@wrong("q7", "Did you add the second term?")
def rerank(log_p, log_p_others, penalty):
    return ranked(log_p + penalty * log_mean(log_p_others))


@wrong("q7", "Candidates and prompts are mixed up")
def rerank(log_p, log_p_others, penalty):
    return ranked(log_p - penalty * log_mean(log_p_others.T))


@wrong("q7", "expected a difference of 1.386, got none")
def rerank(log_p, log_p_others, penalty):
    everything = log_p_others.flatten()  # one number for all candidates
    return ranked(
        log_p
        - penalty * (everything.logsumexp(dim=0) - math.log(len(everything)))
    )


@wrong("q7", "Did you take the exponential first?")
def rerank(log_p, log_p_others, penalty):
    return ranked(log_p - penalty * log_p_others.exp().mean(dim=1).log())


@wrong("q7", "You took the mean of the logarithms")
def rerank(log_p, log_p_others, penalty):
    return ranked(log_p - penalty * log_p_others.mean(dim=1))


@wrong("q7", "Your mean is a sum")
def rerank(log_p, log_p_others, penalty):
    return ranked(log_p - penalty * log_p_others.logsumexp(dim=1))


@wrong("q7", "Dividing the logarithm by N is something else")
def rerank(log_p, log_p_others, penalty):
    return ranked(
        log_p - penalty * log_p_others.logsumexp(dim=1) / log_p_others.shape[1]
    )


@wrong("q7", "inside the bracket that the penalty multiplies")
def rerank(log_p, log_p_others, penalty):
    log_n = math.log(log_p_others.shape[1])
    return ranked(log_p - penalty * log_p_others.logsumexp(dim=1) - log_n)


@wrong("q7", "Does the penalty multiply the whole second term, log N too")
def rerank(log_p, log_p_others, penalty):
    log_n = math.log(log_p_others.shape[1]) if penalty else 0.0
    return ranked(log_p - penalty * log_p_others.logsumexp(dim=1) + log_n)


@wrong("q7", "A larger score is better: did you sort upwards?")
def rerank(log_p, log_p_others, penalty):
    scores = log_p - penalty * log_mean(log_p_others)
    return scores, scores.argsort()


@wrong("q7", "it is not the rank of candidate 0")
def rerank(log_p, log_p_others, penalty):
    scores = log_p - penalty * log_mean(log_p_others)
    return scores, scores.argsort(descending=True).argsort()
