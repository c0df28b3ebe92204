"""A model whose every word is written in a table, for measures by hand."""

import math
from collections.abc import Mapping, Sequence

import torch
from torch import Tensor, nn

from attend.state import State

SURE = 0.75  # how probable the scripted token is, unless said otherwise


class Scripted(nn.Module):
    """Answers each source with the ids it is told, and then EOS.

    Attributes:
        read: the sources it was given to read, in order.
    """

    def __init__(
        self,
        answers: Mapping[tuple[int, ...], Sequence[int]],
        vocab_size: int,
        sure: Mapping[tuple[int, ...], float] | None = None,
    ) -> None:
        """Say which answer, and how sure it is of it, for each source."""
        super().__init__()
        self.answers, self.vocab_size = answers, vocab_size
        self.sure = sure or {}
        self.read: list[tuple[int, ...]] = []
        self.eval()

    def script(self, src: Tensor, lengths: Tensor) -> tuple[Tensor, Tensor]:
        """The answers to a batch of sources, and how sure they are."""
        sources = [
            tuple(row[:length])
            for row, length in zip(src.tolist(), lengths.tolist(), strict=True)
        ]
        self.read += sources
        rows = [[*self.answers.get(source, [])] for source in sources]
        longest = max(map(len, rows)) + 1
        padded = [row + [2] * (longest - len(row)) for row in rows]
        sure = [self.sure.get(source, SURE) for source in sources]
        return torch.tensor(padded), torch.tensor(sure)

    def log_probs(self, tokens: Tensor, sure: Tensor) -> Tensor:
        """Those after a token: sure of one, the rest shared by the others."""
        other = (1 - sure) / (self.vocab_size - 1)
        table = other[:, None].repeat(1, self.vocab_size)
        return table.scatter(1, tokens[:, None], sure[:, None]).log()

    def encode(self, src: Tensor, src_lengths: Tensor) -> State:
        """Read sources."""
        answers, sure = self.script(src, src_lengths)
        time = torch.zeros(len(src), dtype=torch.long)
        return {"answers": answers, "sure": sure, "time": time}

    def step(self, tokens: Tensor, state: State) -> tuple[Tensor, State]:
        """Write the next token of the script, whatever came before."""
        answers, time = state["answers"], state["time"]
        place = time.clamp(max=answers.shape[1] - 1)
        said = answers.gather(1, place[:, None]).squeeze(1)
        new = {**state, "time": time + 1}
        return self.log_probs(said, state["sure"]), new

    def forward(
        self, src: Tensor, src_lengths: Tensor, tgt_in: Tensor
    ) -> Tensor:
        """The same when the targets are fed in."""
        state = self.encode(src, src_lengths)
        logits = []
        for _ in range(tgt_in.shape[1]):
            log_probs, state = self.step(tgt_in[:, 0], state)
            logits.append(log_probs)
        return torch.stack(logits, dim=1)


def nats(
    answer: Sequence[int],
    target: Sequence[int],
    vocab_size: int,
    sure: float = SURE,
) -> tuple[float, int]:
    """The loss of a target, its EOS included, and its number of tokens."""
    said = [*answer, *[2] * (len(target) + 1)]
    total = 0.0
    for place, token in enumerate([*target, 2]):
        right = said[place] == token
        total -= math.log(sure if right else (1 - sure) / (vocab_size - 1))
    return total, len(target) + 1
