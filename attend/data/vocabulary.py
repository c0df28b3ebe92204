"""The two-way table between tokens and the integers a network reads."""

from collections.abc import Iterable, Sequence

PAD, BOS, EOS, UNK = "<pad>", "<bos>", "<eos>", "<unk>"


class Vocabulary:
    """Numbers for tokens: first the special ones, then the others, sorted.

    0 pads, 1 begins a sequence, 2 ends it.

    Args:
        tokens: the tokens to know; repeats are fine, the order does not matter.
        unknown: add `<unk>` (id 3) and map every unknown token to it. Without
            it, an unknown token is an error.

    Attributes:
        pad_id: 0.
        bos_id: 1.
        eos_id: 2.
        unk_id: 3, or None without `unknown`.
    """

    pad_id, bos_id, eos_id = 0, 1, 2

    def __init__(self, tokens: Iterable[str], unknown: bool = False) -> None:
        special = [PAD, BOS, EOS] + [UNK] * unknown
        self.unk_id = special.index(UNK) if unknown else None
        self.tokens = special + sorted(set(tokens) - set(special))
        self.ids = {token: i for i, token in enumerate(self.tokens)}

    def __len__(self) -> int:
        return len(self.tokens)

    def encode(self, tokens: Iterable[str]) -> list[int]:
        """Turn tokens into ids; a string is read as its characters.

        Raises:
            KeyError: for an unknown token in a vocabulary without `<unk>`.
        """
        ids = []
        for token in tokens:
            i = self.ids.get(token, self.unk_id)
            if i is None:
                raise KeyError(
                    f"{token!r} is not among the {len(self)} tokens of this "
                    "vocabulary: build it from data that has the token, or "
                    "with unknown=True"
                )
            ids.append(i)
        return ids

    def decode(self, ids: Sequence[int]) -> list[str]:
        """Turn ids back into tokens, up to the first `<eos>`.

        `<pad>` and `<bos>` are left out.

        Raises:
            IndexError: for an id outside the vocabulary.
        """
        tokens = []
        for i in ids:
            if not 0 <= i < len(self):
                raise IndexError(
                    f"id {i} is outside this vocabulary of {len(self)} tokens"
                )
            if i == self.eos_id:
                break
            if i not in (self.pad_id, self.bos_id):
                tokens.append(self.tokens[i])
        return tokens
