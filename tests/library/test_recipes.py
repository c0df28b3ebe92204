"""Recipes: their data, their models, and their measures.

A measure is compared with one made by hand, of a model that says what it is
told.
"""

import math
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pytest
import torch

from attend.data import Vocabulary
from attend.data.dates import dates
from attend.data.dialogue import dialogue, tokenize
from attend.data.splits import SPLITS, Split
from attend.decoding import NBest
from attend.recipes import RECIPES
from attend.recipes.chatbot import ChatbotConfig
from attend.recipes.dates import DatesConfig
from attend.recipes.lstm import LSTMConfig, build
from attend.recipes.text import (
    Data,
    TextConfig,
    TextTask,
    prepare,
    stored_vocabulary,
)
from attend.rnn import ATTENTIONS, Seq2Seq, Seq2SeqConfig
from attend.search import BEAM, GREEDY, SearchConfig, search_targets
from tests.library.scripted import Scripted, nats

SCORES = ("dot", "scaled_dot", "bilinear", "additive", "concat")
Tiny = Callable[..., ChatbotConfig]


def test_a_recipe_is_found_by_its_name() -> None:
    assert {name: recipe.name for name, recipe in RECIPES.items()} == {
        "chatbot": "chatbot",
        "dates": "dates",
    }
    assert {name: recipe.use for name, recipe in RECIPES.items()} == {
        "chatbot": "chat",
        "dates": "translate",
    }
    for recipe in RECIPES.values():
        assert recipe().out == Path("runs", recipe.name)
        assert len(set(recipe.labels)) == 2


# --- The data of the chatbot ---


@pytest.mark.parametrize("split", SPLITS)
def test_a_chatbot_reads_the_words_of_each_split(
    tiny: Tiny, talk: Path, tmp_path: Path, split: Split
) -> None:
    exchanges = dialogue(split, str(talk))
    assert len(exchanges) == {"train": 30, "valid": 5, "test": 5}[split]
    assert tiny(tmp_path).read(split) == [
        (tokenize(prompt), tokenize(reply)) for prompt, reply in exchanges
    ]


def test_a_chatbot_shares_one_vocabulary_and_one_embedding(
    tiny: Tiny, tmp_path: Path
) -> None:
    config = tiny(tmp_path)
    data = prepare(config)
    assert data.src_vocab is data.tgt_vocab
    model = build(config, data.src_vocab, data.tgt_vocab)
    assert model.src_embedding is model.tgt_embedding
    assert [len(pairs) for pairs in data[2:]] == [30, 5, 5]


@pytest.mark.parametrize("least", [1, 2, 3, 7])
def test_words_that_come_often_enough_in_training_are_known(
    tiny: Tiny, tmp_path: Path, least: int
) -> None:
    config = tiny(tmp_path, min_count=least)
    spoken = [
        word
        for prompt, reply in config.read("train")
        for word in [*prompt, *reply]
    ]
    data = prepare(config)
    assert set(data.src_vocab.tokens[4:]) == {
        word for word in spoken if spoken.count(word) >= least
    }


def test_rare_words_are_unknown_and_so_trained(
    tiny: Tiny, tmp_path: Path
) -> None:
    data = prepare(tiny(tmp_path, min_count=2))
    prompts = [data.src_vocab.decode(source) for source, _ in data.train]
    assert any("<unk>" in prompt for prompt in prompts)
    known = prepare(tiny(tmp_path, min_count=1))
    assert not any(
        known.src_vocab.unk_id in source for source, _ in known.train
    )
    assert len(known.src_vocab) > len(data.src_vocab)


def test_data_without_a_word_that_comes_often(
    tiny: Tiny, tmp_path: Path
) -> None:
    with pytest.raises(
        ValueError, match="no word of .* comes 1000 times: give more exchanges"
    ):
        prepare(tiny(tmp_path, min_count=1000))


def test_a_chatbot_writes_as_people_do() -> None:
    config = ChatbotConfig()
    assert config.tokenize("I don't, Robin!") == [
        "i",
        "don't",
        ",",
        "robin",
    ] + ["!"]
    assert config.detokenize(["i", "don't", ",", "robin", "!"]) == (
        "I don't, Robin!"
    )


# --- The data of the translator ---


def written(config: DatesConfig, split: Split) -> list[tuple[str, str]]:
    """The dates of a split, put together again."""
    pairs = config.read(split)
    return [("".join(source), "".join(target)) for source, target in pairs]


def test_dates_of_a_day_are_in_one_split() -> None:
    config = DatesConfig(num=500)
    days = [{iso for _, iso in written(config, split)} for split in SPLITS]
    assert not (days[0] & days[1] or days[0] & days[2] or days[1] & days[2])
    assert len(config.read("train")) + len(config.read("valid")) == 500
    assert 20 < len(config.read("valid")) < 100


def test_dates_are_those_of_the_task() -> None:
    tested = [(pair.source, pair.target) for pair in dates(1000, "test")]
    for seed in (0, 3):
        config = DatesConfig(num=200, seed=seed)
        drawn = [(pair.source, pair.target) for pair in dates(200, seed=seed)]
        train, valid = written(config, "train"), written(config, "valid")
        assert train == [pair for pair in drawn if pair not in valid]
        assert valid == [pair for pair in drawn if pair not in train]
        assert written(config, "test") == tested, "the same for every seed"


def test_dates_have_a_vocabulary_for_each_side() -> None:
    config = DatesConfig(num=100)
    pairs = config.read("train")
    src, tgt = config.vocabularies(pairs)
    assert src.unk_id == 3 and tgt.unk_id is None
    assert set(src.tokens[4:]) == {c for source, _ in pairs for c in source}
    assert tgt.tokens[3:] == sorted("0123456789-")
    assert config.tokenize("May 1") == ["M", "a", "y", " ", "1"]
    assert config.detokenize(["1", "-", "2"]) == "1-2"


# --- From texts to ids ---


@pytest.mark.parametrize("recipe", RECIPES.values(), ids=RECIPES)
def test_data_is_numbered_split_by_split(recipe: type, talk: Path) -> None:
    options: dict[str, Any] = {"data": str(talk), "min_count": 1}
    config = recipe(**(options if recipe is ChatbotConfig else {"num": 100}))
    data = prepare(config)
    for split in SPLITS:
        pairs = getattr(data, split)
        read = config.read(split)
        assert len(pairs) == len(read) > 0
        for (source, target), (words, said) in zip(pairs, read, strict=True):
            assert source == data.src_vocab.encode(words)
            assert target == data.tgt_vocab.encode(said)


def invented(train: int = 7) -> Data:
    """Data of small numbers, with two vocabularies of ten words."""
    vocab, other = Vocabulary("abcdefg"), Vocabulary("abcdefg")
    pairs = [
        ([3 + i % 7, 3 + i // 7 % 7, 3 + i // 49 % 7], [3 + i % 5])
        for i in range(train)
    ]
    valid = [([3], [4, 5, 6]), ([4, 4], [7]), ([9, 8], [])]
    test = [([5], [3, 3]), ([6, 6], [9]), ([7], [4, 5, 6, 7])]
    return Data(vocab, other, pairs, valid, test)


@pytest.mark.parametrize(
    "change",
    [
        {"src_vocab": Vocabulary("abcdefh")},
        {"tgt_vocab": Vocabulary("abcdefh")},
        {"train": [([3], [4])]},
        {"valid": [([3], [4])]},
        {"test": [([3], [4])]},
    ],
    ids=lambda change: next(iter(change)),
)
def test_other_data_has_another_fingerprint(change: dict[str, Any]) -> None:
    data = invented()
    assert data.fingerprint() == invented().fingerprint()
    assert data._replace(**change).fingerprint() != data.fingerprint()


@pytest.mark.parametrize("num", [1, 2, 63, 64, 65, 128, 129, 300])
def test_others_are_taken_evenly_from_the_training_data(num: int) -> None:
    data = invented(train=num)
    others = data.others()
    assert num / 2 - 1 <= len(others) or len(others) > 32
    assert 1 <= len(others) <= 64
    every = math.ceil(num / 64)
    assert others == [data.train[i][0] for i in range(0, num, every)]
    assert data.others(num=2) == [
        data.train[i][0] for i in range(0, num, max(math.ceil(num / 2), 1))
    ]


# --- The model ---


FLAGS: list[dict[str, Any]] = [
    {"hidden_size": 11},
    {"embed_size": 9},
    {"num_layers": 3},
    {"dropout": 0.0},
    {"dropout": 0.45},
    *({"attention": name} for name in ATTENTIONS),
    *({"score": name} for name in SCORES),
]


@pytest.mark.parametrize("recipe", RECIPES.values(), ids=RECIPES)
@pytest.mark.parametrize("flags", FLAGS, ids=str)
def test_every_flag_of_the_model_is_in_the_model(
    recipe: type[LSTMConfig], flags: dict[str, Any]
) -> None:
    sizes: dict[str, Any] = {"hidden_size": 6, "embed_size": 5}
    config = recipe(**{**sizes, **flags})
    data = invented()
    model = config.model(data.src_vocab, data.tgt_vocab)
    assert model.config == Seq2SeqConfig(
        src_vocab_size=len(data.src_vocab),
        tgt_vocab_size=len(data.tgt_vocab),
        d_embed=config.embed_size,
        d_hidden=config.hidden_size,
        num_layers=config.num_layers,
        dropout=config.dropout,
        attention=config.attention,
        score=config.score,
        half_width=None,
        share_embedding=False,
    )
    dropped = [m.p for m in model.modules() if isinstance(m, torch.nn.Dropout)]
    assert dropped and set(dropped) == {config.dropout}
    assert config.attends == (config.attention != "none")


def test_one_vocabulary_object_means_one_embedding() -> None:
    config, data = DatesConfig(), invented()
    assert data.src_vocab.tokens == data.tgt_vocab.tokens
    distinct = build(config, data.src_vocab, data.tgt_vocab)
    assert distinct.src_embedding is not distinct.tgt_embedding
    shared = build(config, data.src_vocab, data.src_vocab)
    assert shared.src_embedding is shared.tgt_embedding


@pytest.mark.parametrize("shared", [True, False])
def test_the_same_model_is_made_of_its_stored_config(shared: bool) -> None:
    config, data = DatesConfig(num_layers=2, hidden_size=5), invented()
    other = data.src_vocab if shared else data.tgt_vocab
    model = config.model(data.src_vocab, other)
    same = DatesConfig().same_model(asdict(model.config))
    assert isinstance(same, Seq2Seq)
    assert same.config == model.config
    assert {k: v.shape for k, v in same.state_dict().items()} == {
        k: v.shape for k, v in model.state_dict().items()
    }


@pytest.mark.parametrize("unknown", [True, False])
def test_a_stored_vocabulary_is_the_same_one(unknown: bool) -> None:
    vocab = Vocabulary(["b", "a", "ä", "<"], unknown)
    same = stored_vocabulary(vocab.tokens)
    assert same.tokens == vocab.tokens
    assert (same.ids, same.unk_id) == (vocab.ids, vocab.unk_id)


# --- What the trainer asks of a task ---


def task_of(data: Data, **flags: Any) -> TextTask:
    """A task with invented data."""
    sizes: dict[str, Any] = {"hidden_size": 6, "embed_size": 5}
    return TextTask(DatesConfig(**{**sizes, **flags}), data)


@pytest.mark.parametrize("size", [1, 3, 7, 32])
def test_a_task_has_every_pair_once_in_batches_of_the_size_asked_for(
    size: int,
) -> None:
    data = invented(train=20)
    task = task_of(data, batch_size=size)
    batches = task.batches(torch.Generator().manual_seed(0))
    assert task.steps == len(batches) == math.ceil(20 / size)
    assert max(len(batch.src) for batch in batches) == min(size, 20)
    seen = [row.tolist() for batch in batches for row in batch.src]
    assert sorted(seen) == sorted(list(source) for source, _ in data.train)


def test_the_order_hangs_on_the_generator_alone() -> None:
    task = task_of(invented(train=20), batch_size=3)

    def order(seed: int) -> list[list[int]]:
        batches = task.batches(torch.Generator().manual_seed(seed))
        return [row.tolist() for batch in batches for row in batch.src]

    first = order(5)
    torch.manual_seed(1)  # which makes no difference
    assert order(5) == first != order(6)


def by_hand(model: Scripted, pairs: list[Any]) -> float:
    """The perplexity of a scripted model."""
    total, count = 0.0, 0
    for source, target in pairs:
        sure = model.sure.get(tuple(source))
        given = (model.answers[tuple(source)], target, model.vocab_size)
        lost, tokens = nats(*given, *[sure] * (sure is not None))
        total, count = total + lost, count + tokens
    return math.exp(total / count)


def scripted(data: Data) -> Scripted:
    """A model that is right about some, and as sure as it is of no other."""
    everything = [*data.train, *data.valid, *data.test]
    answers = {tuple(source): target for source, target in everything}
    answers[tuple(data.valid[0][0])] = [9]
    answers[tuple(data.test[1][0])] = [8]
    sure = {
        tuple(source): 0.4 + 0.5 * place / len(everything)
        for place, (source, _) in enumerate(everything)
    }
    return Scripted(answers, len(data.tgt_vocab), sure)


def test_a_task_is_validated_on_the_validation_split() -> None:
    task = task_of(invented())
    task.model = model = scripted(task.data)
    expected = by_hand(model, task.data.valid)
    before = torch.get_rng_state()
    measured = task.validate()
    assert measured == pytest.approx(
        {"loss": math.log(expected), "perplexity": expected}, rel=1e-5
    )
    assert sorted(model.read) == sorted(
        tuple(source) for source, _ in task.data.valid
    )
    assert torch.equal(torch.get_rng_state(), before)


def test_the_loss_of_a_batch_is_that_of_teacher_forcing() -> None:
    task = task_of(invented())
    task.model = model = scripted(task.data)
    [batch] = task.batches(torch.Generator().manual_seed(0))
    expected = math.log(by_hand(model, task.data.train))
    assert task.loss(batch).item() == pytest.approx(expected, rel=1e-5)


def test_perplexity_is_a_mean_over_tokens_of_any_number_of_pairs() -> None:
    """Not over batches, of which there are several here."""
    task = task_of(invented(train=343))
    task.model = model = scripted(task.data)
    expected = by_hand(model, task.data.train)
    assert task.perplexity(task.data.train) == pytest.approx(expected, rel=1e-4)


def test_a_task_searches_with_sources_of_the_training_split(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    given: list[Any] = []

    def spied(*arguments: Any) -> NBest:
        given.extend(arguments)
        return search_targets(*arguments)

    monkeypatch.setattr("attend.recipes.text.search_targets", spied)
    task = task_of(invented(train=100))
    task.model.eval()
    search = SearchConfig(method="mmi", candidates=5, max_length=3)
    found = task.search([[3, 4], [5]], search)
    assert found.lengths.shape == (2, 1)
    model, vocab, sources, asked, others, device = given
    assert (model, vocab) == (task.model, task.data.tgt_vocab)
    assert (sources, asked) == ([[3, 4], [5]], search)
    assert others == task.data.others() != []
    assert device == task.device


def test_what_a_task_stores_is_what_it_takes_to_make_the_model() -> None:
    data = invented()
    task = task_of(data)
    assert task.contents() == {
        "model_config": asdict(task.model.config),
        "src_tokens": data.src_vocab.tokens,
        "tgt_tokens": data.tgt_vocab.tokens,
        "others": data.others(),
    }
    assert task.fingerprint() == data.fingerprint()
    assert task.summary() == "on 7 pairs (3 to validate, 3 to test)"


def test_a_recipe_makes_its_task_of_its_data(
    tiny: Tiny, tmp_path: Path
) -> None:
    config = tiny(tmp_path)
    task = config.task()
    assert isinstance(task, TextTask) and task.config is config
    assert task.data.fingerprint() == prepare(config).fingerprint()


# --- Measures ---


def dates_by_hand(replies: list[str]) -> TextTask:
    """A task whose model translates the test dates as it is told."""
    src, tgt = Vocabulary("0123456789/"), Vocabulary("0123456789-")
    texts = [f"{i}/{i}" for i in range(len(replies))]
    test = [
        (src.encode(text), tgt.encode(f"2024-01-0{i}"))
        for i, text in enumerate(texts)
    ]
    valid = [(src.encode("99"), tgt.encode("2024-12-31"))]
    data = Data(src, tgt, valid, valid, test)
    task = TextTask(DatesConfig(hidden_size=3, embed_size=2), data)
    answers = {tuple(src.encode("99")): tgt.encode("2024-12-31")}
    for (source, _), reply in zip(test, replies, strict=True):
        answers[tuple(source)] = tgt.encode(reply)
    task.model = Scripted(answers, len(tgt))
    return task


def test_dates_are_measured_by_what_is_written_for_the_test_split() -> None:
    task = dates_by_hand(
        [
            "2024-01-00",  # right
            "2024-01-01",  # right
            "2024-01-12",  # one character is wrong
            "2024-01-033",  # too long: EOS is wrong, the rest is right
            "2024-01",  # too short
            "",
        ]
    )
    measured = task.measure()
    assert measured.keys() == {"exact_match", "token_accuracy"}
    assert measured["exact_match"] == pytest.approx(2 / 6)
    right = 11 + 11 + 10 + 10 + 7 + 0  # of 11 with EOS, place by place
    assert measured["token_accuracy"] == pytest.approx(right / 66)


def test_dates_are_translated_greedily_and_hear_no_target(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    asked = []
    task = dates_by_hand(["2024-01-00"])
    search = task.search
    monkeypatch.setattr(
        task,
        "search",
        lambda sources, how: asked.append(how) or search(sources, how),
    )
    monkeypatch.setattr(task.model, "forward", None)
    task.measure()
    assert asked == [GREEDY]


def chat_by_hand(
    replies: dict[str, str], test: list[tuple[str, str]]
) -> TextTask:
    """A task whose model replies as it is told."""
    vocab = Vocabulary("abcdefghijklmnopqrstuvwxyz", unknown=True)
    valid = [(vocab.encode("vv"), vocab.encode("v"))]
    pairs = [(vocab.encode(a), vocab.encode(b)) for a, b in test]
    data = Data(vocab, vocab, valid, valid, pairs)
    config = ChatbotConfig(hidden_size=3, embed_size=2)
    task = TextTask(config, data)
    answers = {
        tuple(vocab.encode(prompt)): vocab.encode(reply)
        for prompt, reply in replies.items()
    }
    sure = {tuple(vocab.encode("vv")): 0.99}
    task.model = Scripted(
        {**answers, tuple(vocab.encode("vv")): vocab.encode("v")},
        len(vocab),
        sure,
    )
    return task


def test_a_chatbot_is_measured_by_its_replies_to_different_prompts() -> None:
    replies = {"a": "xyx", "b": "xy", "c": "xyx", "dd": ""}
    test = [("a", "xyx"), ("b", "q"), ("a", "p"), ("c", "xyz"), ("dd", "x")]
    task = chat_by_hand(replies, test)
    measured = task.measure()
    # a, b, c and dd once each: xyx, xy, xyx and nothing
    assert measured["distinct_1"] == pytest.approx(2 / 8)
    assert measured["distinct_2"] == pytest.approx(2 / 5)
    expected = by_hand(task.model, task.data.test)
    assert measured["perplexity"] == pytest.approx(expected, rel=1e-5)
    assert measured.keys() == {"perplexity", "distinct_1", "distinct_2"}


@pytest.mark.parametrize(
    ("said", "distinct"),
    [({"a": "", "b": ""}, (0.0, 0.0)), ({"a": "x", "b": "x"}, (0.5, 0.0))],
)
def test_nothing_is_varied_about_replies_that_are_too_short(
    said: dict[str, str], distinct: tuple[float, float]
) -> None:
    measured = chat_by_hand(said, [("a", "q"), ("b", "q")]).measure()
    assert (measured["distinct_1"], measured["distinct_2"]) == distinct


def test_replies_are_those_of_a_beam_to_each_prompt_of_the_test_split(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """However many: they are searched for in portions."""
    letters = "abcdefghij"
    prompts = [a + b for a in letters for b in letters][:70]
    task = chat_by_hand(
        {prompt: prompt for prompt in prompts},
        [(prompt, "q") for prompt in prompts[::-1]],
    )
    asked: list[Any] = []
    search = task.search
    monkeypatch.setattr(
        task,
        "search",
        lambda sources, how: (
            asked.append((sources, how)) or search(sources, how)
        ),
    )
    measured = task.measure()
    assert {how for _, how in asked} == {BEAM}
    sources = [tuple(source) for sources, _ in asked for source in sources]
    vocab = task.data.src_vocab
    assert sources == sorted(tuple(vocab.encode(prompt)) for prompt in prompts)
    # 140 letters of 10 kinds, 70 pairs that all differ
    assert measured["distinct_1"] == pytest.approx(10 / 140)
    assert measured["distinct_2"] == pytest.approx(1.0)


def test_a_recipe_without_its_parts_says_so() -> None:
    bare = TextConfig(out=Path("runs"))
    for missing in (
        lambda: bare.read("train"),
        lambda: bare.vocabularies([]),
        lambda: bare.tokenize(""),
        lambda: bare.detokenize([]),
        lambda: bare.task(),
    ):
        with pytest.raises(NotImplementedError):
            missing()
