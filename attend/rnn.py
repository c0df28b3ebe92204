"""LSTM encoder-decoder, without attention and with Bahdanau's or Luong's.

Everything is batch first, the decoder's state included: `h` and `c` are
`(batch, layers, d)`.
"""

from dataclasses import dataclass
from typing import Literal, get_args

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn
from torch.nn.utils.rnn import pack_padded_sequence, pad_packed_sequence

from attend.attention import Score, ScoreName, local_window, soft_attention
from attend.masks import padding_mask
from attend.state import State


class LSTMCell(nn.Module):
    """One step of a long short-term memory, from its equations.

    ::

        f = σ(W_f x + U_f h + b_f)        forget gate: how much of c to keep
        i = σ(W_i x + U_i h + b_i)        input gate: how much to write
        g = tanh(W_g x + U_g h + b_g)     candidate: what to write
        o = σ(W_o x + U_o h + b_o)        output gate: how much of c to show
        c' = f · c + i · g
        h' = o · tanh(c')

    The parameters have the names and shapes of `nn.LSTMCell`, which stacks the
    four matrices in the order i, f, g, o and has two biases, of which only the
    sum matters.

    Args:
        d_in: size of the input.
        d_hidden: size of the state.

    Source: Hochreiter & Schmidhuber 1997, with the forget gate of Gers et al.
    2000.
    """

    def __init__(self, d_in: int, d_hidden: int) -> None:
        super().__init__()
        bound = d_hidden**-0.5

        def drawn(*shape: int) -> nn.Parameter:
            return nn.Parameter(torch.empty(shape).uniform_(-bound, bound))

        self.weight_ih = drawn(4 * d_hidden, d_in)
        self.weight_hh = drawn(4 * d_hidden, d_hidden)
        self.bias_ih = drawn(4 * d_hidden)
        self.bias_hh = drawn(4 * d_hidden)

    def forward(
        self,
        x: Float[Tensor, "batch d_in"],
        h: Float[Tensor, "batch d"],
        c: Float[Tensor, "batch d"],
    ) -> tuple[Float[Tensor, "batch d"], Float[Tensor, "batch d"]]:
        """Read one input and return the new `(h, c)`."""
        gates = (
            x @ self.weight_ih.T
            + self.bias_ih
            + h @ self.weight_hh.T
            + self.bias_hh
        )
        i, f, g, o = gates.chunk(4, dim=-1)  # four times (batch, d)
        c = f.sigmoid() * c + i.sigmoid() * g.tanh()
        return o.sigmoid() * c.tanh(), c


AttentionName = Literal["none", "bahdanau", "luong"]
ATTENTIONS = get_args(AttentionName)


@dataclass(frozen=True)
class Seq2SeqConfig:
    """What an encoder-decoder is made of.

    Attributes:
        src_vocab_size: number of source tokens.
        tgt_vocab_size: number of target tokens.
        d_embed: size of a token's embedding.
        d_hidden: size of each LSTM layer, encoder and decoder alike.
        num_layers: LSTM layers, encoder and decoder alike.
        dropout: share of embedded and hidden units dropped in training.
        attention: how the decoder looks back, if at all.
        score: how queries and keys are compared.
        half_width: `D` of Luong's local-p window, in tokens, at least 1; None
            looks everywhere.
        share_embedding: one embedding table for source and target (one
            vocabulary for both).

    Raises:
        ValueError: for an unknown attention, one embedding for two sizes of
            vocabulary, or a window without Luong's attention.
    """

    src_vocab_size: int
    tgt_vocab_size: int
    d_embed: int = 32
    d_hidden: int = 64
    num_layers: int = 2
    dropout: float = 0.1
    attention: AttentionName = "none"
    score: ScoreName = "additive"
    half_width: int | None = None
    share_embedding: bool = False

    def __post_init__(self) -> None:
        """Refuse what does not go together."""
        if self.share_embedding and self.src_vocab_size != self.tgt_vocab_size:
            raise ValueError(
                "share_embedding needs one vocabulary for source and target, "
                f"got sizes {self.src_vocab_size} and {self.tgt_vocab_size}"
            )
        if self.attention not in ATTENTIONS:
            raise ValueError(
                f"unknown attention {self.attention!r}: choose from "
                f"{', '.join(ATTENTIONS)}"
            )
        if self.half_width is not None and self.attention != "luong":
            raise ValueError(
                f"half_width is for attention='luong', not {self.attention!r}"
            )


def lstm(config: Seq2SeqConfig, d_in: int) -> nn.LSTM:
    """A stack of LSTM layers, batch first, with dropout between the layers."""
    # there is no "between" in one
    dropout = config.dropout if config.num_layers > 1 else 0.0
    return nn.LSTM(
        d_in,
        config.d_hidden,
        config.num_layers,
        dropout=dropout,
        batch_first=True,
    )


class Encoder(nn.Module):
    """Read embedded source tokens with LSTM layers; never the padding."""

    def __init__(self, config: Seq2SeqConfig) -> None:
        super().__init__()
        self.lstm = lstm(config, config.d_embed)

    def forward(
        self,
        embedded: Float[Tensor, "batch src d_embed"],
        lengths: Int[Tensor, " batch"],
    ) -> tuple[
        Float[Tensor, "batch src d"],
        Float[Tensor, "batch layers d"],
        Float[Tensor, "batch layers d"],
    ]:
        """Return the top layer's states, and each layer's last `h` and `c`."""
        packed = pack_padded_sequence(
            embedded, lengths.cpu(), batch_first=True, enforce_sorted=False
        )
        outputs, (h, c) = self.lstm(packed)
        memory, _ = pad_packed_sequence(
            outputs, batch_first=True, total_length=embedded.shape[1]
        )
        # (layers, batch, d) -> batch first
        return memory, h.transpose(0, 1), c.transpose(0, 1)


class Decoder(nn.Module):
    """Without attention: it knows of the source what the first state says."""

    def __init__(self, config: Seq2SeqConfig) -> None:
        super().__init__()
        self.lstm = lstm(config, config.d_embed)

    def start(
        self, memory: Tensor, mask: Tensor, h: Tensor, c: Tensor
    ) -> State:
        """The state before the first target token."""
        return {"h": h, "c": c}

    def forward(
        self, embedded: Float[Tensor, "batch tgt d_embed"], state: State
    ) -> tuple[Float[Tensor, "batch tgt d"], State]:
        """Read embedded target tokens; return a feature of each, new state."""
        h, c = (state[name].transpose(0, 1).contiguous() for name in ("h", "c"))
        features, (h, c) = self.lstm(embedded, (h, c))
        h, c = h.transpose(0, 1), c.transpose(0, 1)  # batch first again
        return features, {"h": h, "c": c}


class AttentionDecoder(nn.Module):
    """What Bahdanau's and Luong's decoders share.

    They go token by token. The state also holds the `memory`, the `keys` if the
    score makes others of it, its `mask`, and the attention `weights` of the
    tokens just read, `(batch, tgt, src)`.
    """

    def __init__(self, config: Seq2SeqConfig) -> None:
        super().__init__()
        d = config.d_hidden
        self.cells = nn.ModuleList(
            nn.LSTMCell(d if layer else config.d_embed + d, d)
            for layer in range(config.num_layers)
        )
        self.score = Score(config.score, d, d)
        self.dropout = nn.Dropout(config.dropout)

    def start(
        self, memory: Tensor, mask: Tensor, h: Tensor, c: Tensor
    ) -> State:
        """The state before the first target token."""
        state = {"h": h, "c": c, "memory": memory, "mask": mask}
        keys = self.score.project(memory)
        return state if keys is memory else {**state, "keys": keys}

    def forward(
        self, embedded: Float[Tensor, "batch tgt d_embed"], state: State
    ) -> tuple[Float[Tensor, "batch tgt d"], State]:
        """Read embedded target tokens; return a feature of each, new state."""
        features, weights = [], []
        for x in embedded.unbind(dim=1):  # (batch, d_embed)
            feature, state = self.read(x, state)
            features.append(feature)
            weights.append(state["weights"])
        state = {**state, "weights": torch.cat(weights, dim=1)}
        return torch.stack(features, dim=1), state

    def advance(
        self, x: Float[Tensor, "batch d_in"], state: State
    ) -> tuple[Tensor, State]:
        """Move every layer one step; return the top one's output, new state."""
        h, c = [], []
        for layer, cell in enumerate(self.cells):
            if layer:  # between the layers, as in `nn.LSTM`
                x = self.dropout(x)
            x, new_c = cell(x, (state["h"][:, layer], state["c"][:, layer]))
            h.append(x)
            c.append(new_c)
        new = {"h": torch.stack(h, dim=1), "c": torch.stack(c, dim=1)}
        return x, {**state, **new}

    def read(self, x: Tensor, state: State) -> tuple[Tensor, State]:
        """Read one token: what Bahdanau and Luong do differently."""
        raise NotImplementedError


class BahdanauDecoder(AttentionDecoder):
    """Look first, then move.

    The previous state asks, and the context is part of the input.

    Source: Bahdanau et al. 2015, section 3.1. There the encoder reads in both
    directions, the cells are gated units, and a maxout layer stands before the
    output; here the encoder reads forward, the cells are LSTMs, and that layer
    is a tanh, as in the other decoders.
    """

    def __init__(self, config: Seq2SeqConfig) -> None:
        super().__init__(config)
        self.combine = nn.Linear(
            config.d_embed + 2 * config.d_hidden, config.d_hidden
        )

    def read(
        self, x: Float[Tensor, "batch d_embed"], state: State
    ) -> tuple[Float[Tensor, "batch d"], State]:
        """Read one token."""
        memory, mask = state["memory"], state["mask"]
        query = state["h"][:, -1:]  # the top layer, (batch, 1, d)
        keys = state.get("keys", memory)
        scores = self.score.compare(query, keys)  # (batch, 1, src)
        context, weights = soft_attention(scores, memory, mask)
        context = context.squeeze(1)  # (batch, d)
        output, state = self.advance(torch.cat([x, context], dim=-1), state)
        feature = self.combine(torch.cat([x, output, context], dim=-1)).tanh()
        return feature, {**state, "weights": weights}


class LuongDecoder(AttentionDecoder):
    """Move first, then look.

    The new state asks, and state and context together answer. The answer, the
    attentional vector, is fed into the next step (input feeding).

    Source: Luong et al. 2015, sections 3.1 to 3.3.
    """

    def __init__(self, config: Seq2SeqConfig) -> None:
        super().__init__(config)
        d = config.d_hidden
        self.combine = nn.Linear(2 * d, d)
        self.half_width = config.half_width
        if self.half_width is not None:
            self.position = nn.Sequential(
                nn.Linear(d, d), nn.Tanh(), nn.Linear(d, 1), nn.Sigmoid()
            )

    def start(
        self, memory: Tensor, mask: Tensor, h: Tensor, c: Tensor
    ) -> State:
        """The state before the first target token: nothing to feed in yet."""
        state = super().start(memory, mask, h, c)
        return {**state, "feed": torch.zeros_like(h[:, -1])}

    def read(
        self, x: Float[Tensor, "batch d_embed"], state: State
    ) -> tuple[Float[Tensor, "batch d"], State]:
        """Read one token."""
        memory, mask = state["memory"], state["mask"]
        x = torch.cat([x, state["feed"]], dim=-1)
        output, state = self.advance(x, state)
        query = output[:, None]  # (batch, 1, d)
        keys = state.get("keys", memory)
        scores = self.score.compare(query, keys)  # (batch, 1, src)
        if self.half_width is None:
            context, weights = soft_attention(scores, memory, mask)
        else:
            last = mask.sum(dim=-1) - 1  # the last real position, (batch, 1)
            center = last * self.position(query).squeeze(-1)  # (batch, 1)
            weights = local_window(scores, center, self.half_width, mask)
            context = weights @ memory
        both = torch.cat([context.squeeze(1), output], dim=-1)
        feature = self.combine(both).tanh()
        return feature, {**state, "feed": feature, "weights": weights}


DECODERS: dict[str, type[Decoder | AttentionDecoder]] = {
    "none": Decoder,
    "bahdanau": BahdanauDecoder,
    "luong": LuongDecoder,
}


def embedding(vocab_size: int, d_embed: int) -> nn.Embedding:
    """An embedding that starts uniform in ±1.

    Not normal, as PyTorch's own: uniform draws are equal to the bit on every
    kind of CPU.
    """
    table = nn.Embedding(vocab_size, d_embed)
    nn.init.uniform_(table.weight, -1, 1)
    return table


class Seq2Seq(nn.Module):
    """An encoder-decoder: one network reads, another one writes.

    Source: Sutskever et al. 2014; Cho et al. 2014.
    """

    def __init__(self, config: Seq2SeqConfig) -> None:
        super().__init__()
        self.config = config
        self.src_embedding = embedding(config.src_vocab_size, config.d_embed)
        self.tgt_embedding = embedding(config.tgt_vocab_size, config.d_embed)
        if config.share_embedding:
            self.tgt_embedding = self.src_embedding
        self.encoder = Encoder(config)
        self.decoder = DECODERS[config.attention](config)
        self.output = nn.Linear(config.d_hidden, config.tgt_vocab_size)
        self.dropout = nn.Dropout(config.dropout)

    def encode(
        self, src: Int[Tensor, "batch src"], src_lengths: Int[Tensor, " batch"]
    ) -> State:
        """Read the source; return the state from which decoding starts."""
        if not bool((src_lengths > 0).all()):
            raise ValueError(
                "a source is empty: drop it, or give it at least one token"
            )
        mask = padding_mask(src_lengths, src.shape[1])
        mask = mask[:, None]  # (batch, 1, src)
        embedded = self.dropout(self.src_embedding(src))
        memory, h, c = self.encoder(embedded, src_lengths)
        return self.decoder.start(memory, mask, h, c)

    def decode(
        self, tokens: Int[Tensor, "batch tgt"], state: State
    ) -> tuple[Float[Tensor, "batch tgt vocab"], State]:
        """Read target tokens from a state; return the logits after each."""
        embedded = self.dropout(self.tgt_embedding(tokens))
        features, state = self.decoder(embedded, state)
        return self.output(self.dropout(features)), state

    def forward(
        self, src: Tensor, src_lengths: Tensor, tgt_in: Tensor
    ) -> Tensor:
        """Teacher forcing: `(batch, tgt, vocab)` logits after each token."""
        logits, _ = self.decode(tgt_in, self.encode(src, src_lengths))
        return logits

    def step(self, tokens: Tensor, state: State) -> tuple[Tensor, State]:
        """One step of decoding, as the searches of `attend.decoding` ask."""
        logits, state = self.decode(tokens[:, None], state)
        return logits[:, 0].log_softmax(dim=-1), state
