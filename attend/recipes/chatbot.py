"""The chatbot of chapter 4."""

from collections import Counter
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from typing import ClassVar

from attend.attention import ScoreName
from attend.data import Vocabulary
from attend.data.dialogue import detokenize, dialogue, tokenize
from attend.data.splits import Split
from attend.flags import require_counts
from attend.metrics import distinct_n
from attend.recipes.lstm import LSTMConfig
from attend.recipes.text import TextTask, TokenPair, Tokens
from attend.rnn import AttentionName
from attend.search import BEAM


@dataclass(frozen=True)
class ChatbotConfig(LSTMConfig):
    """Train a chatbot on pairs of what one says and what the other answers."""

    out: Path = Path("runs/chatbot")
    epochs: int = 16
    dropout: float = 0.5
    attention: AttentionName = "bahdanau"
    score: ScoreName = "additive"
    data: str = "small-talk"
    """small-talk, chatterbot (downloaded), or a file: prompt, tab, reply."""
    min_count: int = 2
    """A word that comes less often in the training data counts as unknown."""

    name: ClassVar = "chatbot"
    use: ClassVar = "chat"
    labels: ClassVar = ("you> ", "bot> ")

    def __post_init__(self) -> None:
        """Refuse numbers that cannot be meant."""
        super().__post_init__()
        require_counts(self, "min_count")

    def read(self, split: Split) -> list[TokenPair]:
        """The words of every prompt and reply of a split."""
        exchanges = dialogue(split, self.data)
        return [
            (tokenize(prompt), tokenize(reply)) for prompt, reply in exchanges
        ]

    def vocabularies(
        self, pairs: list[TokenPair]
    ) -> tuple[Vocabulary, Vocabulary]:
        """One vocabulary for both sides: the words that come often enough."""
        words = chain.from_iterable(prompt + reply for prompt, reply in pairs)
        counts = Counter(words)
        often = [
            word for word, count in counts.items() if count >= self.min_count
        ]
        if not often:
            raise ValueError(
                f"no word of {self.data} comes {self.min_count} times: give "
                "more exchanges, or lower min_count"
            )
        vocab = Vocabulary(often, unknown=True)
        return vocab, vocab

    def tokenize(self, text: str) -> Tokens:
        """Cut a text into words, in lower case, and punctuation marks."""
        return tokenize(text)

    def detokenize(self, tokens: Tokens) -> str:
        """Write words and marks as a sentence."""
        return detokenize(tokens)

    def measure(self, task: TextTask) -> dict[str, float]:
        """How unsure the model is of people's replies, how varied its own are.

        Its own are those of a beam, one to each different prompt of the test
        split.
        """
        prompts = sorted({tuple(prompt) for prompt, _ in task.data.test})
        replies: list[list[str]] = []
        for start in range(0, len(prompts), 64):
            found = task.search(prompts[start : start + 64], BEAM).first()
            replies += map(task.data.tgt_vocab.decode, found.tokens.tolist())
        measures = {"perplexity": task.perplexity(task.data.test)}
        for n in (1, 2):  # nothing is varied about replies without a word
            long_enough = any(len(reply) >= n for reply in replies)
            measure = distinct_n(replies, n) if long_enough else 0.0
            measures[f"distinct_{n}"] = measure
        return measures
