"""Vocabulary and batches."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from attend.data import (
    Batch,
    Vocabulary,
    batches,
    bucketed_batches,
    make_batch,
    pad,
)

letters = st.text(alphabet="abcdefg ü年", min_size=0, max_size=13)


# --- Vocabulary ---


def test_vocabulary_puts_special_tokens_first_and_sorts_the_rest() -> None:
    vocab = Vocabulary("hello")
    assert vocab.tokens == ["<pad>", "<bos>", "<eos>", "e", "h", "l", "o"]
    assert (vocab.pad_id, vocab.bos_id, vocab.eos_id, vocab.unk_id) == (
        0,
        1,
        2,
        None,
    )
    assert len(vocab) == 7
    assert vocab.encode("hole") == [4, 6, 5, 3]


def test_vocabulary_does_not_depend_on_order_or_repeats() -> None:
    assert (
        Vocabulary(["b", "a", "b", "<eos>"]).tokens
        == Vocabulary(["a", "b"]).tokens
    )


def test_vocabulary_of_words() -> None:
    vocab = Vocabulary(["to", "be", "or", "not"])
    assert vocab.decode(vocab.encode(["not", "to", "be"])) == [
        "not",
        "to",
        "be",
    ]


@given(letters, letters)
def test_vocabulary_round_trip(text: str, more: str) -> None:
    vocab = Vocabulary(text + more)
    assert "".join(vocab.decode(vocab.encode(text))) == text


@given(letters, letters)
def test_vocabulary_round_trip_through_unknown(text: str, known: str) -> None:
    vocab = Vocabulary(known, unknown=True)
    ids = vocab.encode(text)
    assert vocab.tokens[3] == "<unk>"
    assert vocab.decode(ids) == [c if c in known else "<unk>" for c in text]
    assert [i == vocab.unk_id for i in ids] == [c not in known for c in text]


@given(st.lists(letters, min_size=1, max_size=5))
def test_padded_and_framed_sequences_decode_to_themselves(
    texts: list[str],
) -> None:
    vocab = Vocabulary("".join(texts))
    batch = make_batch(
        [(vocab.encode(text), vocab.encode(text)) for text in texts]
    )
    for rows in (batch.src, batch.tgt):
        assert ["".join(vocab.decode(row)) for row in rows.tolist()] == texts


def test_decode_ends_at_the_first_eos() -> None:
    vocab = Vocabulary("ab")
    assert vocab.decode([1, 3, 0, 4, 2, 3, 2]) == ["a", "b"]


def test_unknown_token() -> None:
    with pytest.raises(
        KeyError, match=r"'z' is not among the 5 tokens .* unknown=True"
    ):
        Vocabulary("ab").encode("abz")


@pytest.mark.parametrize("i", [-1, 5])
def test_unknown_id(i: int) -> None:
    with pytest.raises(
        IndexError, match=f"id {i} is outside this vocabulary of 5 tokens"
    ):
        Vocabulary("ab").decode([3, i])


# --- Batches ---


def test_pad() -> None:
    ids, lengths = pad([[5, 6, 7], [], [8]], pad_id=9)
    assert ids.tolist() == [[5, 6, 7], [9, 9, 9], [8, 9, 9]]
    assert lengths.tolist() == [3, 0, 1]
    assert ids.dtype == lengths.dtype == torch.int64


@given(
    st.lists(st.lists(st.integers(3, 97), max_size=7), min_size=1, max_size=5)
)
def test_pad_keeps_every_sequence(sequences: list[list[int]]) -> None:
    ids, lengths = pad(sequences)
    assert ids.shape == (len(sequences), max(map(len, sequences)))
    for row, length, sequence in zip(ids, lengths, sequences, strict=True):
        assert row[:length].tolist() == sequence
        assert (row[length:] == 0).all()


def test_pad_of_nothing() -> None:
    with pytest.raises(
        ValueError, match="a batch needs at least one sequence, got none"
    ):
        pad([])


def test_make_batch_frames_the_target() -> None:
    batch = make_batch([([5, 6, 7], [8]), ([9], [3, 4])])
    assert batch.src.tolist() == [[5, 6, 7], [9, 0, 0]]
    assert batch.src_lengths.tolist() == [3, 1]
    assert batch.tgt.tolist() == [[1, 8, 2, 0], [1, 3, 4, 2]]
    assert batch.tgt_lengths.tolist() == [3, 4]


def test_make_batch_with_other_special_tokens() -> None:
    batch = make_batch(
        [([5, 6], [8]), ([9], [3, 4])], pad_id=11, bos_id=13, eos_id=17
    )
    assert batch.src.tolist() == [[5, 6], [9, 11]]
    assert batch.tgt.tolist() == [[13, 8, 17, 11], [13, 3, 4, 17]]


def test_a_batch_says_what_is_read_and_what_is_predicted() -> None:
    batch = make_batch(
        [([5, 6], [8]), ([9], [3, 4])], pad_id=11, bos_id=13, eos_id=17
    )
    assert batch.tgt_in.tolist() == [[13, 8, 17], [13, 3, 4]]
    assert batch.tgt_out.tolist() == [[8, 17, 11], [3, 4, 17]]
    assert batch.first.tolist() == [13, 13]


def test_a_batch_moves_to_another_device_as_a_whole() -> None:
    batch = make_batch([([5, 6], [8]), ([9], [3, 4])])
    moved = batch.to(torch.device("meta"))
    assert isinstance(moved, Batch)
    for old, new in zip(batch, moved, strict=True):
        assert new.device.type == "meta"
        assert (new.shape, new.dtype) == (old.shape, old.dtype)
    assert all(tensor.device.type == "cpu" for tensor in batch)
    again = batch.to(torch.device("cpu"))
    assert all(map(torch.equal, again, batch))


def test_make_batch_of_nothing() -> None:
    with pytest.raises(
        ValueError, match="a batch needs at least one sequence, got none"
    ):
        make_batch([])


PAIRS = [([i], [i, i]) for i in range(3, 14)]  # eleven


def test_batches_go_through_every_pair_once_an_epoch() -> None:
    made = batches(
        PAIRS, 5, epochs=3, generator=torch.Generator().manual_seed(0)
    )
    assert [len(batch.src) for batch in made] == [5, 5, 1] * 3
    epochs = [
        torch.cat([batch.src for batch in made[i : i + 3]]).flatten()
        for i in (0, 3, 6)
    ]
    for order in epochs:
        assert sorted(order.tolist()) == list(range(3, 14))
    assert epochs[0].tolist() != epochs[1].tolist() != list(range(3, 14))
    for batch in made:
        # source and target stay together
        assert torch.equal(batch.tgt[:, 1], batch.src[:, 0])


def test_batches_take_their_order_from_the_generator() -> None:
    def order(seed: int) -> list[int]:
        return batches(
            PAIRS, 11, generator=torch.Generator().manual_seed(seed)
        )[0].src.tolist()

    assert order(3) == order(3) != order(5)
    torch.manual_seed(3)
    assert batches(PAIRS, 11)[0].src.tolist() == order(3)


def test_batches_of_nothing() -> None:
    with pytest.raises(
        ValueError, match="there are no pairs to make batches of"
    ):
        batches([], 5)


def test_batches_of_no_size() -> None:
    with pytest.raises(
        ValueError, match="batch_size must be at least 1, got 0"
    ):
        batches(PAIRS, 0)


@pytest.mark.parametrize("bucket", [1, 2, 8])
@pytest.mark.parametrize("batch_size", [1, 3, 11, 13])
def test_bucketed_batches_go_through_every_pair_once(
    batch_size: int, bucket: int
) -> None:
    made = bucketed_batches(PAIRS, batch_size, bucket=bucket)
    assert sorted(
        torch.cat([batch.src for batch in made]).flatten().tolist()
    ) == list(range(3, 14))
    sizes = sorted((len(batch.src) for batch in made), reverse=True)
    assert sizes == [len(batch.src) for batch in batches(PAIRS, batch_size)]
    for batch in made:
        # source and target stay together
        assert torch.equal(batch.tgt[:, 1], batch.src[:, 0])


# in order of length
LONGER = [([3] * (i // 7 + 1), [4] * (i % 7 + 1)) for i in range(7 * 11)]


def test_one_bucket_of_all_pairs_sorts_them_by_length() -> None:
    made = bucketed_batches(LONGER, 7, bucket=11)
    for batch in made:
        assert len(set(batch.src_lengths.tolist())) == 1
        # the frame is two
        assert batch.tgt_lengths.tolist() == [3, 4, 5, 6, 7, 8, 9]
    order = [int(batch.src_lengths[0]) for batch in made]
    # the batches are shuffled
    assert sorted(order) == list(range(1, 12)) != order


def test_buckets_leave_less_padding_and_keep_some_chance() -> None:
    def padding(made: list[Batch]) -> int:
        return sum(int((batch.src == 0).sum()) for batch in made)

    torch.manual_seed(0)
    bucketed = bucketed_batches(LONGER, 7, bucket=3)
    assert padding(bucketed_batches(LONGER, 7, bucket=11)) == 0
    assert 0 < padding(bucketed) < padding(batches(LONGER, 7)) / 2


def test_bucketed_batches_take_their_order_from_the_generator() -> None:
    def order(seed: int) -> list[list[int]]:
        made = bucketed_batches(
            PAIRS, 3, torch.Generator().manual_seed(seed), bucket=2
        )
        return [batch.src.flatten().tolist() for batch in made]

    assert order(3) == order(3) != order(5)
    torch.manual_seed(5)
    assert order(3) != [
        batch.src.flatten().tolist() for batch in bucketed_batches(PAIRS, 3)
    ]


def test_bucketed_batches_of_nothing() -> None:
    with pytest.raises(
        ValueError, match="there are no pairs to make batches of"
    ):
        bucketed_batches([], 5)


@pytest.mark.parametrize(("batch_size", "bucket"), [(0, 8), (5, 0)])
def test_bucketed_batches_of_no_size(batch_size: int, bucket: int) -> None:
    with pytest.raises(
        ValueError, match=f"got batch_size={batch_size} and bucket={bucket}"
    ):
        bucketed_batches(PAIRS, batch_size, bucket=bucket)
