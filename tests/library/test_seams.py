"""Models unlike an LSTM go through every search and through the trainer.

None of them is a special case anywhere: see tests/library/toy_transformer.py.
"""

import math
import os
import signal
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from tensorboard.backend.event_processing.event_accumulator import (
    EventAccumulator,
)
from torch import Tensor
from torch.testing import assert_close

from attend.decoding import (
    Decoded,
    State,
    beam_search,
    exact_search,
    greedy,
    sample,
    sequence_log_probs,
)
from attend.trainer import Stopped, TrainConfig, checkpoints, train
from tests.library.toy_transformer import (
    BOS,
    EOS,
    HEADS,
    LAYERS,
    PAD,
    ClassifierConfig,
    LanguageConfig,
    ToyLanguageModel,
    ToyTranslator,
)

VOCAB = 7
PROMPTS = torch.tensor([[3, 4, 5], [6, 0, 0], [4, 6, 0], [0, 0, 0]])
FIRST = torch.tensor([BOS, 3, BOS, 5])  # the last tokens may differ, too


@pytest.fixture
def language_model() -> ToyLanguageModel:
    """Return an untrained model that is sure of something."""
    torch.manual_seed(2)
    model = ToyLanguageModel(VOCAB).eval()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.mul_(3)
    return model


@pytest.fixture
def translator() -> ToyTranslator:
    """Return an untrained model that looks at a source."""
    torch.manual_seed(5)
    model = ToyTranslator(VOCAB).eval()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.mul_(3)
    return model


def read(model: ToyLanguageModel, tokens: Tensor) -> Tensor:
    """The log-probabilities after each token, all at once."""
    with torch.no_grad():
        return model(tokens).log_softmax(dim=-1)


def test_the_cached_step_is_the_model_all_at_once(
    language_model: ToyLanguageModel,
) -> None:
    tokens = torch.randint(VOCAB, (5, 11))
    state, expected = language_model.start(5), read(language_model, tokens)
    for time in range(11):
        with torch.no_grad():
            log_probs, state = language_model.step(tokens[:, time], state)
        assert_close(log_probs, expected[:, time])


# --- Searches ---


def test_greedy_goes_on_from_different_prompts(
    language_model: ToyLanguageModel,
) -> None:
    start, limit = language_model.start(4), 9
    found = greedy(
        language_model.step, start, FIRST, EOS, PAD, limit, prompt=PROMPTS
    )
    for row, (first, prompt) in enumerate(zip(FIRST, PROMPTS, strict=True)):
        written = [int(first), *prompt[prompt != PAD].tolist()]
        given, total = len(written), 0.0
        while len(written) <= limit and written[-1] != EOS:
            log_probs = read(language_model, torch.tensor([written]))[0, -1]
            total += log_probs.max().item()
            written.append(int(log_probs.argmax()))
        length = int(found.lengths[row])
        assert found.tokens[row, :length].tolist() == written[1:]
        assert given < len(written)
        assert float(found.log_probs[row]) == pytest.approx(total, rel=1e-4)


def whole(model: ToyLanguageModel, found: Decoded) -> Tensor:
    """The log-probability of what follows each prompt, all at once."""
    totals = torch.zeros(len(PROMPTS))
    for row, prompt in enumerate(PROMPTS):
        length = int(found.lengths[row])
        tokens = torch.cat([FIRST[row : row + 1], found.tokens[row, :length]])
        log_probs = read(model, tokens[None, :-1])[0]
        each = log_probs.gather(1, tokens[1:, None]).squeeze(1)
        totals[row] = each[int((prompt != PAD).sum()) :].sum()
    return totals


@pytest.mark.parametrize("beam_size", [1, 3, VOCAB])
def test_a_beam_goes_on_from_different_prompts(
    language_model: ToyLanguageModel, beam_size: int
) -> None:
    step, start = language_model.step, language_model.start(4)
    given = (step, start, FIRST, EOS, PAD, 7)
    best = beam_search(*given, beam_size=beam_size, prompt=PROMPTS).first()
    narrow = greedy(*given, prompt=PROMPTS)
    if beam_size == 1:
        assert torch.equal(best.tokens, narrow.tokens)
    assert_close(best.log_probs, whole(language_model, best))
    exact = exact_search(*given, start=best, prompt=PROMPTS)
    ends = exact.lengths > 0
    assert ends.any()
    assert_close(exact.log_probs[ends], whole(language_model, exact)[ends])
    best_ends = (best.tokens == EOS).any(dim=1)
    assert (exact.log_probs >= best.log_probs - 1e-5)[best_ends].all()


def test_samples_go_on_from_different_prompts(
    language_model: ToyLanguageModel,
) -> None:
    step, start = language_model.step, language_model.start(4)
    found = sample(
        *(step, start, FIRST, EOS, PAD, 9),
        generator=torch.Generator().manual_seed(1),
        prompt=PROMPTS,
    )
    given = PROMPTS != PAD
    assert torch.equal(found.tokens[:, :3][given], PROMPTS[given])
    assert_close(found.log_probs, whole(language_model, found))


def test_weights_on_what_was_written_grow(
    language_model: ToyLanguageModel,
) -> None:
    """Of layers and heads, with zeros for keys that were not there yet."""
    step, start = language_model.step, language_model.start(4)
    given = (step, start, FIRST, EOS, PAD, 8)
    alone = greedy(*given)
    beam = beam_search(*given, beam_size=3, num_best=2)
    assert beam.weights is not None and alone.weights is not None
    length = beam.tokens.shape[2]
    assert beam.weights.shape == (4, 2, LAYERS, HEADS, length, length)
    first = beam.first()
    assert first.weights is not None
    for found in (alone, first):
        for row, steps in enumerate(found.lengths.tolist()):
            tokens = torch.cat([FIRST[row : row + 1], found.tokens[row]])
            state = language_model.start(1)
            for time in range(steps):
                with torch.no_grad():
                    _, state = step(tokens[time : time + 1], state)
                looks = found.weights[row, :, :, time]
                assert_close(
                    looks[..., : time + 1], state["weights"][0, :, :, 0]
                )
                assert not looks[..., time + 1 :].any()
            assert not found.weights[row, :, :, steps:].any()


def test_a_translator_with_layers_and_heads(translator: ToyTranslator) -> None:
    src = torch.tensor([[3, 4, 5, 6], [5, 3, PAD, PAD], [6, 6, 4, PAD]])
    lengths = torch.tensor([4, 2, 3])
    with torch.no_grad():
        state = translator.encode(src, lengths)
    first = torch.full((3,), BOS)
    given = (translator.step, state, first, EOS, PAD, 6)
    found = beam_search(*given, beam_size=4, num_best=4)
    assert found.weights is not None
    assert found.weights.shape[:5] == (
        3,
        4,
        LAYERS,
        HEADS,
        found.tokens.shape[2],
    )
    assert found.weights.shape[5] == 4
    for row in range(3):
        for place in range(4):
            tokens = found.tokens[row, place, : found.lengths[row, place]]
            if not len(tokens):  # an empty place
                continue
            its = {
                name: tensor[row : row + 1] for name, tensor in state.items()
            }
            own = sequence_log_probs(
                *(translator.step, its, tokens[None]),
                torch.tensor([len(tokens)]),
                first[:1],
            )
            assert_close(own, found.log_probs[row, place : place + 1])
    covered = beam_search(*given, beam_size=4, num_best=4, coverage_penalty=0.3)
    assert covered.weights is not None
    for row in range(3):
        real = int(lengths[row])
        for place in range(4):
            looks = covered.weights[row, place].mean(dim=(0, 1)).sum(dim=0)
            coverage = looks[:real].clamp(1e-6, 1).log().sum()
            score = covered.log_probs[row, place] + 0.3 * coverage
            assert_close(covered.scores[row, place], score)


def test_coverage_of_what_grows_is_refused(
    language_model: ToyLanguageModel,
) -> None:
    """A language model has no source; a mask does not make it one."""
    start = language_model.start(2)
    start["mask"] = torch.ones(2, 1, 3, dtype=torch.bool)

    def step(tokens: Tensor, state: State) -> tuple[Tensor, State]:
        mask = state["mask"]
        log_probs, new = language_model.step(tokens, state)
        return log_probs, {**new, "mask": mask}

    with pytest.raises(ValueError, match="needs weights on the source and a"):
        beam_search(
            *(step, start, torch.full((2,), BOS), EOS, PAD, 3),
            coverage_penalty=0.2,
        )


# --- The trainer ---

CONFIGS = {
    "language": LanguageConfig(epochs=3, batch_size=8, lr=0.02),
    "classifier": ClassifierConfig(epochs=3, batch_size=8, lr=0.02),
}


@pytest.mark.parametrize("kind", CONFIGS)
def test_any_task_is_trained_and_measured(kind: str, tmp_path: Path) -> None:
    config = replace(CONFIGS[kind], out=tmp_path, epochs=30)
    said: list[str] = []
    report = train(config, say=said.append)
    losses = [epoch.valid_loss for epoch in report.history]
    assert min(losses) < 0.7 * losses[0]
    if kind == "language":
        assert report.test["bits_a_token"] < 2.5 < math.log2(8)
        assert "perplexity" not in "".join(said)
    else:
        assert report.test["accuracy"] > 0.6
        assert "valid accuracy 0." in said[-1]
    events = EventAccumulator(str(tmp_path)).Reload()
    curves = {"train/loss", "train/gradient_norm", "train/lr", "valid/loss"}
    extra = {"valid/accuracy"} if kind == "classifier" else set()
    assert set(events.Tags()["scalars"]) == curves | extra
    saved = checkpoints.load(tmp_path / "best.pt")
    task = config.task()
    task.model.load_state_dict(saved["model"])
    task.model.eval()
    assert task.measure() == report.test
    assert task.contents().items() <= saved.items()


def stopped_after(config: TrainConfig, epoch: int) -> None:
    """Train until Ctrl-C comes as the line of an epoch is said."""

    def say(line: str) -> None:
        if line.startswith(f"epoch {epoch:2}/"):
            os.kill(os.getpid(), signal.SIGINT)

    with pytest.raises(Stopped):
        train(config, say=say)


@pytest.mark.parametrize("kind", CONFIGS)
def test_any_task_stopped_and_resumed_equals_never_stopped(
    kind: str, tmp_path: Path
) -> None:
    config = replace(CONFIGS[kind], out=tmp_path / "never stopped")
    expected = train(config)
    again = replace(config, out=tmp_path / "stopped")
    stopped_after(again, epoch=1)
    middle = checkpoints.load(again.out / "last.pt")
    assert (len(middle["history"]), middle["step"]) == (1, 1)
    assert train(again, resume=True) == expected
    ours, theirs = (
        checkpoints.load(each.out / "last.pt")["model"]
        for each in (again, config)
    )
    assert all(torch.equal(ours[name], theirs[name]) for name in theirs)
