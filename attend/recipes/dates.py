"""The translator of dates of chapters 1 and 2."""

import datetime
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from typing import ClassVar

from attend.data import Vocabulary, make_batch
from attend.data.dates import FIRST_DAY, dates
from attend.data.splits import Split
from attend.flags import require, require_counts
from attend.metrics import exact_match, token_accuracy
from attend.recipes.lstm import LSTMConfig
from attend.recipes.text import TextTask, TokenPair, Tokens
from attend.search import GREEDY


@dataclass(frozen=True)
class DatesConfig(LSTMConfig):
    """Train a translator of dates, in several languages, to ISO 8601."""

    out: Path = Path("runs/dates")
    epochs: int = 3
    hidden_size: int = 64
    embed_size: int = 32
    dropout: float = 0.0
    num: int = 8000
    """Dates to train and to validate on."""

    name: ClassVar = "dates"
    use: ClassVar = "translate"
    labels: ClassVar = ("date> ", "iso>  ")

    def __post_init__(self) -> None:
        """Refuse numbers that cannot be meant."""
        super().__post_init__()
        require_counts(self, "num")
        require(self, "num", self.num >= 100, "at least 100")

    def read(self, split: Split) -> list[TokenPair]:
        """The characters of every written date and its ISO form.

        Each day is in one split. Of the days that are not for the test, a ninth
        are for validation.
        """
        if split == "test":
            pairs = dates(1000, "test")
        else:
            pairs = [
                pair
                for pair in dates(self.num, seed=self.seed)
                if (days(pair.target) % 10 == 1) == (split == "valid")
            ]
        return [(list(pair.source), list(pair.target)) for pair in pairs]

    def vocabularies(
        self, pairs: list[TokenPair]
    ) -> tuple[Vocabulary, Vocabulary]:
        """The characters of written dates, and those of ISO dates."""
        sources, targets = zip(*pairs, strict=True)
        source = Vocabulary(chain.from_iterable(sources), unknown=True)
        return source, Vocabulary(chain.from_iterable(targets))

    def tokenize(self, text: str) -> Tokens:
        """Cut a text into characters."""
        return list(text)

    def detokenize(self, tokens: Tokens) -> str:
        """Put characters together."""
        return "".join(tokens)

    def measure(self, task: TextTask) -> dict[str, float]:
        """How often a date is right, and a character; free-running."""
        sources = [source for source, _ in task.data.test]
        predicted = task.search(sources, GREEDY).first().tokens.cpu()
        tgt = make_batch(task.data.test).tgt_out
        return {
            "exact_match": exact_match(predicted, tgt),
            "token_accuracy": token_accuracy(predicted, tgt),
        }


def days(iso: str) -> int:
    """Days from the first day of the task *dates*."""
    return (datetime.date.fromisoformat(iso) - FIRST_DAY).days
