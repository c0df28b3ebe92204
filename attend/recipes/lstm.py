"""Recipes whose model is the LSTM encoder-decoder of chapters 1 and 2."""

from dataclasses import dataclass
from typing import Any

from attend.attention import ScoreName
from attend.data import Vocabulary
from attend.flags import require, require_counts
from attend.recipes.text import TextConfig
from attend.rnn import AttentionName, Seq2Seq, Seq2SeqConfig


@dataclass(frozen=True)
class LSTMConfig(TextConfig):
    """What every recipe with an LSTM can be told."""

    hidden_size: int = 128
    """Size of each LSTM layer."""
    embed_size: int = 64
    """Size of a token's embedding."""
    num_layers: int = 1
    """LSTM layers, in the encoder and in the decoder."""
    dropout: float = 0.3
    """Share of the units dropped in training."""
    attention: AttentionName = "luong"
    """How the decoder looks back at the source."""
    score: ScoreName = "dot"
    """How attention compares the decoder's state with the source's."""

    def __post_init__(self) -> None:
        """Refuse numbers that cannot be meant."""
        super().__post_init__()
        require_counts(self, "hidden_size", "embed_size", "num_layers")
        require(self, "num_layers", self.num_layers <= 1000, "at most 1000")
        right = 0 <= self.dropout < 1
        require(self, "dropout", right, "at least 0 and below 1")

    @property
    def attends(self) -> bool:
        """Whether the model looks back at the source."""
        return self.attention != "none"

    def model(self, src_vocab: Vocabulary, tgt_vocab: Vocabulary) -> Seq2Seq:
        """Make the model, with its first weights."""
        return build(self, src_vocab, tgt_vocab)

    def same_model(self, model_config: dict[str, Any]) -> Seq2Seq:
        """Make a model of the same shape, from its stored config."""
        return Seq2Seq(Seq2SeqConfig(**model_config))


def build(
    config: LSTMConfig, src_vocab: Vocabulary, tgt_vocab: Vocabulary
) -> Seq2Seq:
    """Make the model of a recipe.

    One vocabulary on both sides means one embedding.
    """
    return Seq2Seq(
        Seq2SeqConfig(
            len(src_vocab),
            len(tgt_vocab),
            d_embed=config.embed_size,
            d_hidden=config.hidden_size,
            num_layers=config.num_layers,
            dropout=config.dropout,
            attention=config.attention,
            score=config.score,
            share_embedding=src_vocab is tgt_vocab,
        )
    )
