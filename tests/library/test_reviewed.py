"""What a second reader of searches, trainer and models found, kept found."""

import errno
import math
import os
import signal
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from filelock import FileLock
from tensorboard.backend.event_processing.event_accumulator import (
    EventAccumulator,
)
from torch import Tensor

from attend.decoding import (
    Decoded,
    State,
    beam_search,
    exact_search,
    greedy,
    mutual_information,
    sequence_log_probs,
)
from attend.decoding.beam import check_penalties, largest_length_penalty
from attend.flags import FlagError
from attend.recipes import RECIPES
from attend.recipes.chatbot import ChatbotConfig
from attend.respond import Run, load_run, respond
from attend.search import SearchConfig
from attend.trainer import (
    CheckpointError,
    Stopped,
    Training,
    checkpoints,
    train,
)
from tests.library.tables import BOS, EOS, PAD, bos, make_model, sources
from tests.library.toy_transformer import (
    ClassifierConfig,
    LanguageConfig,
    LanguageTask,
)

Tiny = Callable[..., ChatbotConfig]


# --- Searches ---


def test_a_step_may_fill_in_the_dict_it_was_given() -> None:
    """It is its own; otherwise a beam would reorder nothing, unseen."""
    model = make_model("luong")
    with torch.no_grad():
        start = model.encode(*sources([4, 2, 5], 6))
    before = dict(start)

    def step(tokens: Tensor, state: State) -> tuple[Tensor, State]:
        log_probs, new = model.step(tokens, state)
        state.update(new)
        return log_probs, state

    given = (start, bos(3), EOS, PAD, 9)
    expected = beam_search(model.step, *given, beam_size=4)
    found = beam_search(step, *given, beam_size=4)
    assert torch.equal(found.tokens, expected.tokens)
    assert torch.equal(found.scores, expected.scores)
    assert start.keys() == before.keys()
    assert all(start[name] is before[name] for name in before)
    sequences = (found.tokens[:, 0], found.lengths[:, 0], bos(3))
    own = sequence_log_probs(step, start, *sequences)
    torch.testing.assert_close(own, found.log_probs[:, 0])


@pytest.mark.usefixtures("unchecked")
def test_nothing_to_write_and_prompts_that_are_no_tensors() -> None:
    def step(tokens: Tensor, state: State) -> tuple[Tensor, State]:
        return torch.zeros(len(tokens), 5).log_softmax(dim=-1), state

    nobody = torch.zeros(0, dtype=torch.long)
    with pytest.raises(ValueError, match="the state has no rows: there is not"):
        greedy(step, {"row": torch.zeros(0)}, nobody, EOS, PAD, 3)
    state, first = {"row": torch.zeros(2)}, torch.full((2,), BOS)
    with pytest.raises(ValueError, match=r"shape \(2, tokens\).* got \[\[3\]"):
        greedy(step, state, first, EOS, PAD, 3, prompt=[[3], [4]])
    with pytest.raises(ValueError, match=r"one for each row of the .* got 1: "):
        greedy(step, state, 1, EOS, PAD, 3)
    with pytest.raises(ValueError, match="holds the token 7, which is not in"):
        greedy(step, state, first, EOS, PAD, 3, prompt=torch.tensor([[3], [7]]))


def chain_step(tokens: Tensor, state: State) -> tuple[Tensor, State]:
    """Every token is as likely, after any."""
    return torch.full((len(tokens), 5), 0.2).log(), state


def test_exact_search_starts_from_what_begins_with_the_prompt() -> None:
    """Anything else, however likely, is none of its results."""
    given = ({"row": torch.zeros(2)}, torch.full((2,), BOS), EOS, PAD, 4)
    prompt = torch.tensor([[3, 4], [4, PAD]])
    start = Decoded(
        torch.tensor([[3, 3, EOS], [4, EOS, PAD]]),
        torch.tensor([3, 2]),
        torch.tensor([-0.5, -0.25]),
        None,
    )
    found = exact_search(chain_step, *given, start=start, prompt=prompt)
    assert found.tokens.tolist() == [[3, 4, EOS], [4, EOS, PAD]]
    expected = torch.tensor([math.log(0.2), -0.25])
    torch.testing.assert_close(found.log_probs, expected)


@pytest.mark.parametrize("max_length", [1, 2, 7, 40, 97, 1000, 100_000])
def test_the_penalty_that_is_advised_is_taken(max_length: int) -> None:
    most = largest_length_penalty(max_length)
    check_penalties(most, 0.0, max_length)
    with pytest.raises(ValueError, match=f"choose at most {most:.1f}"):
        check_penalties(most + 0.1, 0.0, max_length)


@pytest.mark.usefixtures("unchecked")
@pytest.mark.parametrize(
    "first", [BOS, torch.tensor([1]), torch.ones(3).long()]
)
def test_mutual_information_needs_a_first_token_for_each_source(
    first: Any,
) -> None:
    start = {"row": torch.zeros(2)}
    found = beam_search(
        chain_step, start, torch.full((2,), BOS), EOS, PAD, 3, beam_size=2
    )
    with pytest.raises(
        ValueError, match="first must be a tensor of 2 token id"
    ):
        mutual_information(chain_step, found, start, first)


def test_coverage_of_keys_that_grow_is_refused() -> None:
    def step(tokens: Tensor, state: State) -> tuple[Tensor, State]:
        keys = state["mask"].shape[2] + 1
        log_probs, _ = chain_step(tokens, state)
        mask = torch.ones(len(tokens), 1, keys, dtype=torch.bool)
        weights = torch.full((len(tokens), 1, keys), 1 / keys)
        return log_probs, {"mask": mask, "weights": weights}

    start = {"mask": torch.ones(1, 1, 2, dtype=torch.bool)}
    with pytest.raises(ValueError, match="needs weights on the source and a"):
        beam_search(
            *(step, start, torch.tensor([BOS]), EOS, PAD, 4),
            coverage_penalty=0.2,
            beam_size=3,
        )


def test_a_padding_that_is_no_token() -> None:
    """As -100, which some losses leave out."""
    given = ({"row": torch.zeros(2)}, torch.full((2,), BOS), EOS, -100, 3)
    prompt = torch.tensor([[3, 4], [4, -100]])
    found = beam_search(chain_step, *given, beam_size=2, prompt=prompt).first()
    assert found.tokens[0, :2].tolist() == [3, 4]
    assert found.tokens[1, 0] == 4


def test_attention_of_layers_and_heads_is_shown_as_its_mean(
    trained: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What a person looks at has a row for each word, and nothing else."""
    text = "What is 8 and 1?"
    search = SearchConfig(num_best=2, max_length=5)
    [plain] = respond(trained, [text], search)
    step, shares = trained.model.step, torch.tensor([0.5, 1.0, 1.5])

    def heads(tokens: Tensor, state: State) -> tuple[Tensor, State]:
        log_probs, new = step(tokens, state)
        looks = new["weights"][:, None, None]  # (batch, layers, heads, 1, key)
        return log_probs, {
            **new,
            "weights": looks.repeat(1, 2, 1, 1, 1) * shares[:, None, None],
        }

    monkeypatch.setattr(trained.model, "step", heads)
    [found] = respond(trained, [text], search)
    assert [reply.tokens for reply in found] == [r.tokens for r in plain]
    for ours, theirs in zip(found, plain, strict=True):
        assert ours.weights is not None and theirs.weights is not None
        torch.testing.assert_close(ours.weights, theirs.weights)


# --- Locks ---


@pytest.mark.parametrize(
    "error",
    [
        NotImplementedError("FileSystem does not appear to support flock"),
        OSError(errno.ENOLCK, "No locks available"),
        OSError(errno.EOPNOTSUPP, "Operation not supported"),
    ],
)
def test_a_file_system_without_locks_is_used_without_one(
    tiny: Tiny,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    error: Exception,
) -> None:
    def none(*arguments: Any, **options: Any) -> None:
        raise error

    monkeypatch.setattr(FileLock, "acquire", none)
    assert len(train(tiny(tmp_path)).history) == 2


def test_files_of_others_in_the_folder_are_left(
    tiny: Tiny, tmp_path: Path
) -> None:
    kept = ["notes.tmp", "last.pt.tmp", "best.pt.0a1b2c3d.tmp.txt"]
    for name in kept:
        (tmp_path / name).write_text("mine")
    (tmp_path / "best.pt.0a1b2c3d.tmp").write_text("half of it")
    train(tiny(tmp_path, epochs=1))
    assert not (tmp_path / "best.pt.0a1b2c3d.tmp").exists()
    assert all((tmp_path / name).read_text() == "mine" for name in kept)


# --- Training ---


class Uneven(LanguageTask):
    """Epochs of 5, 3 and 6 batches, as batches of so many tokens make them."""

    def batches(self, generator: torch.Generator) -> list[Tensor]:
        number = {0: 5, 1: 3, 2: 6}[generator.initial_seed()]
        return list(self.texts[:40].split(8))[:number] + [
            self.texts[:8] for _ in range(number - 5)
        ]


def test_epochs_of_different_numbers_of_batches(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(LanguageConfig, "task", lambda config: Uneven(config))
    train(LanguageConfig(tmp_path, epochs=3, batch_size=8))
    events = EventAccumulator(str(tmp_path)).Reload()
    steps = [event.step for event in events.Scalars("train/loss")]
    assert steps == list(range(1, 15))
    losses = [event.value for event in events.Scalars("train/loss")]
    last = checkpoints.load(tmp_path / "last.pt")
    assert last["steps_taken"] == 14
    means = [losses[:5], losses[5:8], losses[8:]]
    for (train_loss, _), each in zip(last["history"], means, strict=True):
        assert math.isclose(train_loss, sum(each) / len(each), rel_tol=1e-5)


def test_killed_between_the_two_files_the_best_model_is_the_best(
    tiny: Tiny, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The first epoch is in last.pt, and its model was not kept yet."""
    config = tiny(tmp_path / "killed")
    expected = train(tiny(tmp_path / "whole"))
    original = checkpoints.write

    def killed(path: Path, content: bytes) -> None:
        if path.name == "best.pt":
            raise KeyboardInterrupt
        original(path, content)

    with monkeypatch.context() as patch:
        patch.setattr(checkpoints, "write", killed)
        with pytest.raises(KeyboardInterrupt):
            train(config)
    training = Training(config)
    training.restore()
    assert (training.epoch, training.best_epoch) == (1, 1)
    best = checkpoints.load(config.out / "best.pt")["model"]
    assert all(
        torch.equal(best[name], tensor)
        for name, tensor in training.model.state_dict().items()
    )
    assert train(config, resume=True) == expected


def test_a_signal_in_the_last_validation_is_heard(
    tiny: Tiny, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    expected = train(tiny(tmp_path / "whole"))
    config = tiny(tmp_path / "stopped")
    finish = Training.finish_epoch

    def stopped(self: Training) -> dict[str, float]:
        if self.epoch == 1:
            os.kill(os.getpid(), signal.SIGTERM)
        return finish(self)

    with monkeypatch.context() as patch:
        patch.setattr(Training, "finish_epoch", stopped)
        with pytest.raises(Stopped):
            train(config)
    assert not (config.out / "report.json").exists()
    assert train(config, resume=True) == expected


def test_a_folder_that_is_taken_is_refused_before_the_data_is_read(
    trained: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def read(*arguments: Any) -> None:
        raise AssertionError("the data was read")

    monkeypatch.setattr(type(trained.config), "read", read)
    with pytest.raises(CheckpointError, match="holds a run already"):
        train(trained.config)
    nothing = replace(trained.config, out=tmp_path / "nothing")
    with pytest.raises(CheckpointError, match="there is no run to resume"):
        train(nothing, resume=True)
    assert list(tmp_path.iterdir()) == []


def test_memory_that_is_short_is_not_another_version(
    trained: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*arguments: Any, **options: Any) -> None:
        raise torch.cuda.OutOfMemoryError("CUDA out of memory")

    for name in ("to", "load_state_dict"):
        with monkeypatch.context() as patch:
            patch.setattr(type(trained.model), name, full)
            with pytest.raises(torch.cuda.OutOfMemoryError):
                load_run(trained.config.out)


def test_a_run_that_writes_no_texts_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = ClassifierConfig(tmp_path, epochs=1)
    train(config)
    monkeypatch.setitem(RECIPES, "classifier", ClassifierConfig)
    with pytest.raises(CheckpointError, match="one of classifier, which writ"):
        load_run(tmp_path)


def test_a_folder_whose_name_is_no_text() -> None:
    with pytest.raises(FlagError, match="out must be a path that is text"):
        ChatbotConfig(out=Path("m\udcff"))


def test_a_length_penalty_that_many_tokens_make_too_large() -> None:
    SearchConfig(length_penalty=10.0, max_length=1000)
    with pytest.raises(
        FlagError, match=r"length_penalty must be at most 7\.1 for 100000 tok"
    ):
        SearchConfig(length_penalty=10.0, max_length=100_000)
