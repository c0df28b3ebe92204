"""Small models unlike an LSTM, and tasks for them, as later chapters have.

A language model whose cache of keys and values grows, a translator with layers,
heads and cross-attention, and a classifier that decodes nothing.
"""

import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from attend.attention import scaled_dot_scores, soft_attention
from attend.masks import padding_mask
from attend.state import State
from attend.trainer import TrainConfig

PAD, BOS, EOS = 0, 1, 2
LAYERS, HEADS, WIDTH = 2, 3, 6  # a head has two dimensions
LONGEST = 16


class SelfAttention(nn.Module):
    """Attention of every head to what was written so far."""

    def __init__(self) -> None:
        super().__init__()
        self.qkv = nn.Linear(WIDTH, 3 * WIDTH)

    def heads(self, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        # three times (batch, heads, length, head_dim)
        q, k, v = self.qkv(x).unflatten(-1, (3, HEADS, -1)).unbind(dim=2)
        return q.transpose(1, 2), k.transpose(1, 2), v.transpose(1, 2)


class ToyLanguageModel(nn.Module):
    """Reads its own words; the state is a cache of keys and values.

    `k`, `v`: (batch, layers, heads, time, head_dim), one longer at each step.
    """

    def __init__(self, vocab: int) -> None:
        super().__init__()
        self.embedding = nn.Embedding(vocab, WIDTH)
        self.places = nn.Embedding(LONGEST, WIDTH)
        self.layers = nn.ModuleList(SelfAttention() for _ in range(LAYERS))
        self.output = nn.Linear(WIDTH, vocab)
        self.dropout = nn.Dropout(0.2)

    def start(self, batch: int) -> State:
        empty = torch.zeros(batch, LAYERS, HEADS, 0, WIDTH // HEADS)
        return {"k": empty, "v": empty}

    def forward(self, tokens: Tensor) -> Tensor:
        """All at once, with a causal mask: (batch, length, vocab) logits."""
        x = self.embedding(tokens) + self.places.weight[: tokens.shape[1]]
        causal = torch.ones(2 * [tokens.shape[1]]).tril().bool()
        for layer in self.layers:
            q, k, v = layer.heads(x)
            looked, _ = soft_attention(scaled_dot_scores(q, k), v, causal)
            x = x + self.dropout(looked.transpose(1, 2).flatten(2))
        return self.output(x)

    def step(self, tokens: Tensor, state: State) -> tuple[Tensor, State]:
        x = self.embedding(tokens) + self.places.weight[state["k"].shape[3]]
        x = x[:, None]  # (batch, 1, width)
        keys, values, weights = [], [], []
        for number, layer in enumerate(self.layers):
            q, k, v = layer.heads(x)
            k = torch.cat([state["k"][:, number], k], dim=2)
            v = torch.cat([state["v"][:, number], v], dim=2)
            looked, weight = soft_attention(scaled_dot_scores(q, k), v)
            x = x + self.dropout(looked.transpose(1, 2).flatten(2))
            keys.append(k)
            values.append(v)
            weights.append(weight)  # (batch, heads, 1, time)
        cache = {"k": torch.stack(keys, dim=1), "v": torch.stack(values, dim=1)}
        new = {**cache, "weights": torch.stack(weights, dim=1)}
        return self.output(x)[:, 0].log_softmax(dim=-1), new


class ToyTranslator(ToyLanguageModel):
    """The language model, which also looks at a source in every layer."""

    def encode(self, src: Tensor, src_lengths: Tensor) -> State:
        mask = padding_mask(src_lengths, src.shape[1])[:, None]
        memory = self.embedding(src)  # (batch, src, width)
        return {**self.start(len(src)), "memory": memory, "mask": mask}

    def step(self, tokens: Tensor, state: State) -> tuple[Tensor, State]:
        _, new = super().step(tokens, {"k": state["k"], "v": state["v"]})
        own = new["v"][:, -1, :, -1:]  # (batch, heads, 1, head_dim)
        memory = state["memory"].unflatten(-1, (HEADS, -1)).transpose(1, 2)
        weights, x = [], own
        for _ in range(LAYERS):
            scores = 9 * scaled_dot_scores(x, memory)
            x, weight = soft_attention(scores, memory, state["mask"][:, None])
            weights.append(weight)  # (batch, heads, 1, src)
        looked = (x + own).transpose(1, 2).flatten(2)[:, 0]
        state = {**state, **new, "weights": torch.stack(weights, dim=1)}
        return self.output(looked).log_softmax(dim=-1), state


class LanguageTask:
    """Counting up by one or two, from any number: what follows is certain."""

    def __init__(self, config: "LanguageConfig") -> None:
        self.config = config
        self.model = ToyLanguageModel(11)
        generator = torch.Generator().manual_seed(3)
        starts = torch.randint(8, (60, 1), generator=generator)
        steps = torch.randint(1, 3, (60, 1), generator=generator)
        self.texts = 3 + (starts + steps * torch.arange(7)) % 8
        self.steps = math.ceil(40 / config.batch_size)

    def batches(self, generator: torch.Generator) -> list[Tensor]:
        order = torch.randperm(40, generator=generator)
        return list(self.texts[order].split(self.config.batch_size))

    def loss(self, batch: Tensor) -> Tensor:
        logits = self.model(batch[:, :-1])
        return F.cross_entropy(logits.flatten(0, 1), batch[:, 1:].flatten())

    @torch.no_grad()
    def validate(self) -> dict[str, float]:
        return {"loss": self.loss(self.texts[40:50]).item()}

    @torch.no_grad()
    def measure(self) -> dict[str, float]:
        bits = self.loss(self.texts[50:]).item() / math.log(2)
        return {"bits_a_token": bits}

    def contents(self) -> dict[str, Any]:
        return {"vocab_size": 11}

    def fingerprint(self) -> int:
        return int(self.texts.sum())

    def summary(self) -> str:
        return "on 40 texts"


@dataclass(frozen=True)
class LanguageConfig(TrainConfig):
    """A language model; its batches are bare tensors."""

    out: Path = Path("runs/language")
    name: ClassVar = "language"

    def task(self) -> LanguageTask:
        return LanguageTask(self)


class ClassifierTask:
    """Which quarter of the plane a point is in: no text, and no decoder."""

    def __init__(self, config: "ClassifierConfig") -> None:
        self.config = config
        hidden = config.hidden_size
        self.model = nn.Sequential(
            nn.Linear(2, hidden),
            nn.Tanh(),
            nn.Dropout(0.1),
            nn.Linear(hidden, 4),
        )
        generator = torch.Generator().manual_seed(5)
        self.points = torch.rand(90, 2, generator=generator) * 2 - 1
        self.classes = (self.points > 0).long() @ torch.tensor([1, 2])
        self.steps = math.ceil(50 / config.batch_size)

    def batches(
        self, generator: torch.Generator
    ) -> list[tuple[Tensor, Tensor]]:
        order = torch.randperm(50, generator=generator)
        return [
            (self.points[rows], self.classes[rows])
            for rows in order.split(self.config.batch_size)
        ]

    def loss(self, batch: tuple[Tensor, Tensor]) -> Tensor:
        points, classes = batch
        return F.cross_entropy(self.model(points), classes)

    def accuracy(self, rows: slice) -> float:
        found = self.model(self.points[rows]).argmax(dim=-1)
        return (found == self.classes[rows]).double().mean().item()

    @torch.no_grad()
    def validate(self) -> dict[str, float]:
        rows = slice(50, 70)
        loss = self.loss((self.points[rows], self.classes[rows])).item()
        return {"loss": loss, "accuracy": self.accuracy(rows)}

    @torch.no_grad()
    def measure(self) -> dict[str, float]:
        return {"accuracy": self.accuracy(slice(70, 90))}

    def contents(self) -> dict[str, Any]:
        return {"classes": ["sw", "se", "nw", "ne"]}

    def fingerprint(self) -> int:
        return int(self.classes.sum())

    def summary(self) -> str:
        return "on 50 points"


@dataclass(frozen=True)
class ClassifierConfig(TrainConfig):
    """A classifier of points; its batches are pairs of tensors."""

    out: Path = Path("runs/classifier")
    hidden_size: int = 8
    name: ClassVar = "classifier"

    def task(self) -> ClassifierTask:
        return ClassifierTask(self)
