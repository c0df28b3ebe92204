"""The long runs of chapter 4."""

import dataclasses
import math
import tempfile
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch

from attend.data import Vocabulary, pad
from attend.data.dialogue import detokenize, dialogue, tokenize
from attend.data.splits import Split
from attend.decoding import repeat, sequence_log_probs
from attend.experiments.runs import count_parameters, per_seed
from attend.metrics import distinct_n
from attend.recipes.chatbot import ChatbotConfig
from attend.recipes.text import TokenPair
from attend.respond import Run, load_run, respond
from attend.search import SearchConfig
from attend.trainer import Report, train

# The chatbots of chapter 4, of nearly equal size: those with attention have the
# smaller state.
CHATBOTS: dict[str, dict[str, Any]] = {
    "none": {"hidden_size": 168, "attention": "none"},
    "bahdanau": {
        "hidden_size": 128,
        "attention": "bahdanau",
        "score": "additive",
    },
    "luong": {"hidden_size": 137, "attention": "luong", "score": "dot"},
}


class Backwards(ChatbotConfig):
    """The recipe of the chatbot, turned round: from replies to prompts."""

    def read(self, split: Split) -> list[TokenPair]:
        """The words of every reply and prompt of a split."""
        return [(reply, prompt) for prompt, reply in super().read(split)]


# Ways to reply: a name, and what `respond` is told.
REPLIES = {
    "greedy": SearchConfig(method="greedy"),
    "beam of 5": SearchConfig(),
    "beam of 20": SearchConfig(beam_size=20),
    "beam of 20, length penalty 1": SearchConfig(
        beam_size=20, length_penalty=1.0
    ),
    "sampling": SearchConfig(method="sample"),
    "sampling, nucleus 0.9, temperature 0.7": SearchConfig(
        method="sample", temperature=0.7, top_p=0.9
    ),
    "mutual information": SearchConfig(method="mmi"),
}


def train_chatbot(config: ChatbotConfig, **options: Any) -> tuple[Run, Report]:
    """Train a chatbot in a folder that is then forgotten."""
    with tempfile.TemporaryDirectory(prefix="attend-") as folder:
        out = Path(folder) / "run"
        config = dataclasses.replace(config, out=out, **options)
        report = train(config)
        return load_run(config.out), report


def reply_measures(
    replies: Sequence[Sequence[str]], traced: float
) -> dict[str, float]:
    """How varied replies to different prompts are.

    And how well a judge finds their prompts.
    """
    commonest = Counter(map(tuple, replies)).most_common(1)[0][1]
    return {
        "distinct_1": distinct_n(replies, 1),
        "distinct_2": distinct_n(replies, 2),
        "commonest": commonest / len(replies),
        "length": sum(map(len, replies)) / len(replies),
        "traced": traced,
    }


@torch.no_grad()
def traced(
    judge: Run,
    prompts: Sequence[Sequence[int]],
    replies: Sequence[Sequence[int]],
) -> float:
    """How well a judge finds the prompt that a reply was given to.

    The judge is a model that was trained to write the prompt for a reply. It
    orders the prompts by how much their probability rises by knowing the reply:
    their mutual information.

    Args:
        judge: the model, trained backwards.
        prompts: different prompts, as ids.
        replies: a reply to each, as ids, none of them empty.

    Returns:
        The share of the other prompts that it puts below the right one: 1 if it
        always finds the right one, 0.5 if it guesses.
    """
    num, device = len(prompts), judge.device
    tokens, lengths = (
        tensor.to(device)
        for tensor in pad([[*prompt, Vocabulary.eos_id] for prompt in prompts])
    )
    first = torch.full((num,), Vocabulary.bos_id, device=device)
    table = torch.empty(num, num, device=device)  # (reply, prompt)
    for row, reply in enumerate(replies):
        src, length = (tensor.to(device) for tensor in pad([reply]))
        state = repeat(judge.model.encode(src, length), num)
        given = (judge.model.step, state, tokens, lengths, first)
        table[row] = sequence_log_probs(*given)
    scores = table - table.logsumexp(dim=0)
    right = scores.diagonal()[:, None]
    # a tie is a guess
    below = (scores < right).double() + 0.5 * (scores == right).double()
    return ((below.sum(dim=1) - 0.5) / (num - 1)).mean().item()


def chat_run(seed: int) -> dict[str, Any]:
    """Train a chatbot and a judge; measure replies to all test prompts."""
    run, report = train_chatbot(ChatbotConfig(), seed=seed)
    judge, _ = train_chatbot(Backwards(), seed=seed)
    exchanges = dict(dialogue("test"))  # the last reply to each prompt
    prompts = list(exchanges)
    said = {"people": [tokenize(reply) for reply in exchanges.values()]}
    for name, search in REPLIES.items():
        found = respond(run, prompts, search)
        said[name] = [best.tokens for best, *_ in found]
    asked = [judge.tgt_vocab.encode(tokenize(prompt)) for prompt in prompts]
    result: dict[str, Any] = {
        "perplexity": report.test["perplexity"],
        "prompts": len(prompts),
    }
    for name, replies in said.items():
        encoded = map(judge.src_vocab.encode, replies)
        ids = [reply or [Vocabulary.eos_id] for reply in encoded]
        result[name] = reply_measures(replies, traced(judge, asked, ids))
    result["transcript"] = {
        prompt: {name: detokenize(replies[i]) for name, replies in said.items()}
        for i, prompt in enumerate(prompts)
    }
    shown = {k: v for k, v in result.items() if k != "transcript"}
    print(seed, shown, flush=True)
    return result


def chatbot() -> dict[str, Any]:
    """Chapter 4: replies to all test prompts, looked for in different ways."""
    return per_seed(chat_run)


def perplexity_run(seed: int, **options: Any) -> dict[str, Any]:
    """Train one chatbot and report its perplexity."""
    run, report = train_chatbot(ChatbotConfig(), seed=seed, **options)
    valid = [math.exp(epoch.valid_loss) for epoch in report.history]
    result = {
        "perplexity": report.test["perplexity"],
        "valid": valid,
        "train": [math.exp(epoch.train_loss) for epoch in report.history],
        "best_epoch": report.best_epoch,
        "parameters": count_parameters(run.model),
    }
    print(seed, options, result, flush=True)
    return result


def chatbot_attention() -> dict[str, Any]:
    """Chapter 4: whether small talk needs attention.

    Three models of nearly equal size.
    """
    return {
        name: per_seed(perplexity_run, **options)
        for name, options in CHATBOTS.items()
    }


def chatbot_public() -> dict[str, Any]:
    """Chapter 4: the same program on the ChatterBot corpus, by one flag."""
    return per_seed(perplexity_run, data="chatterbot")
