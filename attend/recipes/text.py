"""Recipes whose models read one text and write another."""

import math
import zlib
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any, ClassVar, NamedTuple

import torch
from torch import Tensor

from attend.data import Batch, Vocabulary, bucketed_batches
from attend.data.batching import Pair
from attend.data.splits import SPLITS, Split
from attend.data.vocabulary import UNK
from attend.decoding import NBest
from attend.metrics import perplexity
from attend.rnn import Seq2Seq
from attend.search import SearchConfig, search_targets
from attend.trainer import TrainConfig
from attend.trainer.process import this_process
from attend.training import teacher_forced_loss

Tokens = list[str]
TokenPair = tuple[Tokens, Tokens]


@dataclass(frozen=True)
class TextConfig(TrainConfig):
    """What a recipe for texts knows beside its flags."""

    labels: ClassVar[tuple[str, str]]  # of what is typed, and of the answer

    @property
    def attends(self) -> bool:
        """Whether the model looks back at the source."""
        raise NotImplementedError

    def read(self, split: Split) -> list[TokenPair]:
        """The tokens of every source and target of a split."""
        raise NotImplementedError

    def vocabularies(
        self, pairs: list[TokenPair]
    ) -> tuple[Vocabulary, Vocabulary]:
        """The vocabularies of source and target, from the training split."""
        raise NotImplementedError

    def tokenize(self, text: str) -> Tokens:
        """Cut a source into tokens."""
        raise NotImplementedError

    def detokenize(self, tokens: Tokens) -> str:
        """Write the tokens of a target as a text."""
        raise NotImplementedError

    def model(self, src_vocab: Vocabulary, tgt_vocab: Vocabulary) -> Seq2Seq:
        """Make the model, with its first weights."""
        raise NotImplementedError

    def same_model(self, model_config: dict[str, Any]) -> Seq2Seq:
        """Make a model of the same shape, from its stored config."""
        raise NotImplementedError

    def measure(self, task: "TextTask") -> dict[str, float]:
        """Measure the model on the test split."""
        raise NotImplementedError

    def task(self) -> "TextTask":
        """Read the data, and make the model."""
        return TextTask(self, prepare(self))


class Data(NamedTuple):
    """The pairs of the three splits as ids, and what the ids mean."""

    src_vocab: Vocabulary
    tgt_vocab: Vocabulary
    train: list[Pair]
    valid: list[Pair]
    test: list[Pair]

    def others(self, num: int = 64) -> list[list[int]]:
        """At most `num` sources, taken evenly from the training split."""
        every = math.ceil(len(self.train) / num)
        return [list(source) for source, _ in self.train[::every]]

    def fingerprint(self) -> int:
        """A number that is another one for other data."""
        vocabularies = (self.src_vocab.tokens, self.tgt_vocab.tokens)
        return zlib.crc32(repr((*vocabularies, *self[2:])).encode())


def prepare(config: TextConfig) -> Data:
    """Read the data of a recipe, and number its tokens.

    Raises:
        FileNotFoundError: if the data is not there.
        ValueError: if it is not in the form that the recipe reads.
    """
    train, valid, test = (config.read(split) for split in SPLITS)
    src_vocab, tgt_vocab = config.vocabularies(train)

    def numbered(pairs: list[TokenPair]) -> list[Pair]:
        return [
            (src_vocab.encode(source), tgt_vocab.encode(target))
            for source, target in pairs
        ]

    parts = (numbered(train), numbered(valid), numbered(test))
    return Data(src_vocab, tgt_vocab, *parts)


class TextTask:
    """What the trainer needs to know of texts; see `attend.trainer.Task`."""

    def __init__(self, config: TextConfig, data: Data) -> None:
        self.config, self.data = config, data
        self.device = this_process().device
        self.model = config.model(data.src_vocab, data.tgt_vocab)
        self.model.to(self.device)
        self.steps = math.ceil(len(data.train) / config.batch_size)

    def batches(self, generator: torch.Generator) -> list[Batch]:
        """The batches of one epoch, in an order that the generator decides."""
        size = self.config.batch_size
        return bucketed_batches(self.data.train, size, generator)

    def loss(self, batch: Batch) -> Tensor:
        """The loss of a batch, by teacher forcing, in nats a token."""
        return teacher_forced_loss(self.model, batch.to(self.device))

    def validate(self) -> dict[str, float]:
        """The loss on the validation split, and what it is as perplexity."""
        unsure = self.perplexity(self.data.valid)
        return {"loss": math.log(unsure), "perplexity": unsure}

    def perplexity(self, pairs: Sequence[Pair]) -> float:
        """How unsure the model is of these targets."""
        generator = torch.Generator().manual_seed(0)  # not the global one
        batches = bucketed_batches(pairs, 256, generator)
        return perplexity(
            self.model, [batch.to(self.device) for batch in batches]
        )

    def search(
        self, sources: Sequence[Sequence[int]], search: SearchConfig
    ) -> NBest:
        """What the model writes for some sources."""
        given = (self.model, self.data.tgt_vocab, sources, search)
        return search_targets(*given, self.data.others(), self.device)

    def measure(self) -> dict[str, float]:
        """Measure the model on the test split, as its recipe is measured."""
        return self.config.measure(self)

    def contents(self) -> dict[str, Any]:
        """What it takes to use the model, beside its flags and weights."""
        return {
            "model_config": asdict(self.model.config),
            "src_tokens": self.data.src_vocab.tokens,
            "tgt_tokens": self.data.tgt_vocab.tokens,
            "others": self.data.others(),
        }

    def fingerprint(self) -> int:
        """A number that is another one for other data."""
        return self.data.fingerprint()

    def summary(self) -> str:
        """What the model is trained on, in a few words."""
        train, valid, test = (len(pairs) for pairs in self.data[2:])
        return f"on {train:,} pairs ({valid:,} to validate, {test:,} to test)"


def stored_vocabulary(tokens: Sequence[str]) -> Vocabulary:
    """The vocabulary whose tokens were stored."""
    return Vocabulary(tokens, unknown=UNK in tokens)
