"""The task dialogue: its tokens, its splits, and the small talk itself."""

import collections
import re
from itertools import chain
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from attend.data.dialogue import (
    NAMES,
    SMALL_TALK,
    Exchange,
    detokenize,
    dialogue,
    read_exchanges,
    split_of,
    tokenize,
)

SPLITS = ("train", "valid", "test")
EXCHANGES = read_exchanges(SMALL_TALK)


def words(text: str) -> list[str]:
    return [token for token in tokenize(text) if token[0].isalnum()]


# --- Tokens ---


@pytest.mark.parametrize(
    ("text", "tokens"),
    [
        ("Don't you know?", ["don't", "you", "know", "?"]),
        ("I\u2019m Robin...", ["i'm", "robin", ".", ".", "."]),
        (
            "the dogs' bed, 'n' so",
            ["the", "dogs", "'", "bed", ",", "'", "n", "'", "so"],
        ),
        (" e-mail\t42 caf\u00e9\n", ["e", "-", "mail", "42", "caf\u00e9"]),
        ("cafe\u0301", ["caf\u00e9"]),
        ("我是Robin。好！", ["我", "是", "robin", "。", "好", "！"]),
        ("<unk> a_b", ["<", "unk", ">", "a", "_", "b"]),
        (" \n", []),
    ],
)
def test_tokenize(text: str, tokens: list[str]) -> None:
    assert tokenize(text) == tokens


@pytest.mark.parametrize(
    ("tokens", "text"),
    [
        ("i'm fine , thanks . and you ?", "I'm fine, thanks. And you?"),
        (
            "on sunday pepper and i don't eat it",
            "On Sunday Pepper and I don't eat it",
        ),
        ("ill ideas", "Ill ideas"),
        ('he said " come in " ( twice ) .', 'He said "come in" (twice).'),
        ("an e - mail : 50 % of $ 7", "An e-mail: 50% of $7"),
        ("我 是 robin 。", "我是Robin。"),
        ("<unk> is new", "<unk> is new"),
        ("", ""),
    ],
)
def test_detokenize(tokens: str, text: str) -> None:
    assert detokenize(tokens.split()) == text


@given(st.text(alphabet="abi é年好，。 \"'-?!.,:()[]$%#", max_size=23))
def test_what_is_written_is_read_as_the_same_tokens(text: str) -> None:
    assert tokenize(detokenize(tokenize(text))) == tokenize(text)


# --- The small talk ---


def test_small_talk_is_written_back_to_the_letter() -> None:
    for text in chain.from_iterable(EXCHANGES):
        assert detokenize(tokenize(text)) == text
    assert (
        set(chain.from_iterable(map(tokenize, chain.from_iterable(EXCHANGES))))
        >= NAMES
    )


def test_small_talk_is_plain_and_short() -> None:
    for prompt, reply in EXCHANGES:
        assert re.fullmatch(r"[A-Z][A-Za-z ',.?!]*[.?!]", prompt)
        assert re.fullmatch(r"[A-Z][A-Za-z ',.?!]*[.?!]", reply)
        assert len(words(prompt)) <= 12
        assert len(words(reply)) <= 14


def test_small_talk_has_many_distinct_exchanges_in_few_words() -> None:
    spoken = [
        (" ".join(words(e.prompt)), " ".join(words(e.reply))) for e in EXCHANGES
    ]
    assert len(set(spoken)) == len(spoken) == 1310
    assert (
        len(
            {
                word
                for texts in spoken
                for text in texts
                for word in text.split()
            }
        )
        == 657
    )


def test_small_talk_gives_all_replies_to_a_prompt_in_a_row() -> None:
    runs = [
        e.prompt
        for i, e in enumerate(EXCHANGES)
        if e.prompt != EXCHANGES[i - 1].prompt
    ]
    assert len({" ".join(words(prompt)) for prompt in runs}) == len(runs) == 771


def test_life_has_several_answers_and_some_that_fit_many_prompts() -> None:
    replies = collections.Counter(exchange.prompt for exchange in EXCHANGES)
    assert sum(count > 1 for count in replies.values()) == 418
    common = collections.Counter(
        exchange.reply for exchange in EXCHANGES
    ).most_common(3)
    assert common == [
        ("I don't know.", 58),
        ("Of course.", 29),
        ("Me too.", 28),
    ]


def test_small_talk_is_split_by_prompt() -> None:
    splits = {split: dialogue(split) for split in SPLITS}
    assert [len(splits[split]) for split in SPLITS] == [1057, 142, 111]
    assert sorted(chain.from_iterable(splits.values())) == sorted(EXCHANGES)
    prompts = [
        {" ".join(words(e.prompt)) for e in exchanges}
        for exchanges in splits.values()
    ]
    assert sum(map(len, prompts)) == len(set.union(*prompts))
    # in order
    assert splits["valid"] == [
        e for e in EXCHANGES if e in set(splits["valid"])
    ]


def test_nearly_all_words_of_the_other_splits_are_in_train() -> None:
    known = set(
        chain.from_iterable(map(words, chain.from_iterable(dialogue("train"))))
    )
    for split in ("valid", "test"):
        spoken = list(
            chain.from_iterable(
                map(words, chain.from_iterable(dialogue(split)))
            )
        )
        assert sum(word in known for word in spoken) / len(spoken) > 0.985


def test_the_split_hangs_on_the_words_alone() -> None:
    assert (
        split_of("Hello!")
        == split_of("hello")
        == split_of("  HELLO ,")
        == "test"
    )
    assert split_of("See you later!") == "valid"
    assert split_of("Hi!") == "train"


@pytest.mark.usefixtures("unchecked")
def test_unknown_split() -> None:
    with pytest.raises(
        ValueError,
        match='split must be "train", "valid" or "test", got \'all\'',
    ):
        dialogue("all")  # type: ignore[arg-type]


# --- Files of one's own ---


def write(path: Path, content: bytes) -> str:
    path.write_bytes(content)
    return str(path)


def test_a_file_of_ones_own(tmp_path: Path) -> None:
    source = write(
        tmp_path / "own.tsv", "Hi!\t你好！\nHi!\tHi.\nhello\tno\n".encode()
    )
    assert dialogue("train", source) == [
        Exchange("Hi!", "你好！"),
        Exchange("Hi!", "Hi."),
    ]
    assert dialogue("test", source) == [Exchange("hello", "no")]


def test_a_file_as_windows_writes_it(tmp_path: Path) -> None:
    path = tmp_path / "own.tsv"
    write(path, "\ufeffHi!\tGood day.\r\nBye!\tBye.".encode())
    assert read_exchanges(path) == [
        Exchange("Hi!", "Good day."),
        Exchange("Bye!", "Bye."),
    ]


@pytest.mark.parametrize(
    ("content", "problem"),
    [
        (b"", "is empty: write one exchange a line"),
        (b" \n\n", "is empty: write one exchange a line"),
        (
            b"Hi!\tHi.\nBye! Bye.\n",
            r"line 2 of .* is 'Bye! Bye\.': it must be a prompt, one tab",
        ),
        (b"Hi!\tHi.\tHi.\n", "line 1 of .* one tab and a reply"),
        (b"Hi!\tHi.\n\nBye!\tBye.\n", "line 2 of .* is ''"),
        (b"Hi!\tHi.\nBye!\t \n", "line 2 of .* a reply"),
        (
            "Grüß Gott\tHallo".encode("latin-1"),
            "own.tsv is not in UTF-8 .*: save it in UTF-8",
        ),
        (
            b"Hi!\tHi.\n",
            "none of the 1 exchanges of .* is in the test split, .*: add "
            "exchanges",
        ),
    ],
)
def test_a_file_that_is_no_dialogue(
    tmp_path: Path, content: bytes, problem: str
) -> None:
    with pytest.raises(ValueError, match=problem):
        dialogue("test", write(tmp_path / "own.tsv", content))


@pytest.mark.parametrize("name", ["smalltalk", "."])
def test_no_such_dialogue(tmp_path: Path, name: str) -> None:
    with pytest.raises(
        FileNotFoundError, match='there is no dialogue .*: give "small-talk"'
    ):
        dialogue("train", str(tmp_path / name))
