"""Whole programs, from flags to a trained model that answers: what `attend train` runs.

A recipe is a dataclass of flags that knows its data. The parts serve all recipes: `prepare` reads
the data, `build` makes the model, `train` trains it into a folder, `load_run` reads it back from
there, and `respond` uses it. A folder holds

- `best.pt`, the model with the lowest loss on the validation split,
- `last.pt`, everything that is needed to go on training,
- `events.out.tfevents.*`, the curves, for `tensorboard --logdir`, and
- `report.json`, the results on the test split, once training is done.
"""

import datetime
import json
import math
import shutil
import signal
import threading
import zlib
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, fields
from itertools import chain
from pathlib import Path
from types import FrameType
from typing import Any, ClassVar, Literal, NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor
from torch.utils.tensorboard import SummaryWriter
from tqdm import tqdm

from attend import checkpoints
from attend.attention import ScoreName
from attend.checkpoints import CheckpointError
from attend.data import Batch, Vocabulary, bucketed_batches, make_batch, pad
from attend.data.batching import Pair
from attend.data.dates import FIRST_DAY, dates
from attend.data.dialogue import detokenize, dialogue, tokenize
from attend.data.vocabulary import UNK
from attend.decoding import (
    Decoded,
    NBest,
    State,
    beam_search,
    greedy,
    mutual_information,
    repeat,
    sample,
)
from attend.metrics import distinct_n, exact_match, perplexity, token_accuracy
from attend.rnn import AttentionName, Seq2Seq, Seq2SeqConfig
from attend.training import clip_by_global_norm, reproducible, sequence_cross_entropy

Split = Literal["train", "valid", "test"]
SPLITS: tuple[Split, ...] = ("train", "valid", "test")
Tokens = list[str]
TokenPair = tuple[Tokens, Tokens]
Say = Callable[[str], object]


# --- Flags ---


class FlagError(Exception):
    """A flag that cannot be meant. No ValueError: a parser of flags would put it in other words.

    Attributes:
        flag: the name of the field.
        problem: what is wrong with it.
    """

    def __init__(self, flag: str, problem: str) -> None:
        super().__init__(f"{flag} {problem}")
        self.flag, self.problem = flag, problem


@dataclass(frozen=True)
class TrainConfig:
    """What every recipe can be told."""

    out: Path
    """The folder of the run."""
    epochs: int = 20
    """How often to go through the training data."""
    batch_size: int = 32
    """Pairs in a batch."""
    lr: float = 8e-3
    """The first learning rate of Adam; it falls in a straight line to zero."""
    max_norm: float = 1.0
    """Bound on the joint norm of all gradients."""
    seed: int = 0
    """Decides the first weights, the order of the data, and what dropout drops."""
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

    name: ClassVar[str]

    def __post_init__(self) -> None:
        """Refuse numbers that cannot be meant."""
        for flag in ("epochs", "batch_size", "hidden_size", "embed_size", "num_layers"):
            check(self, flag, getattr(self, flag) >= 1, "at least 1")
        for flag in ("lr", "max_norm"):
            check(self, flag, 0 < getattr(self, flag) < math.inf, "a positive number")
        check(self, "seed", self.seed >= 0, "zero or more")
        check(self, "dropout", 0 <= self.dropout < 1, "at least 0 and below 1")

    def read(self, split: Split) -> list[TokenPair]:
        """The tokens of every source and target of a split."""
        raise NotImplementedError

    def vocabularies(self, pairs: list[TokenPair]) -> tuple[Vocabulary, Vocabulary]:
        """The vocabularies of source and target, from the pairs of the training split."""
        raise NotImplementedError

    def tokenize(self, text: str) -> Tokens:
        """Cut a source into tokens."""
        raise NotImplementedError

    def detokenize(self, tokens: Tokens) -> str:
        """Write the tokens of a target as a text."""
        raise NotImplementedError


@dataclass(frozen=True)
class ChatbotConfig(TrainConfig):
    """Train a chatbot on pairs of what one says and what the other answers."""

    out: Path = Path("runs/chatbot")
    epochs: int = 16
    dropout: float = 0.5
    attention: AttentionName = "bahdanau"
    score: ScoreName = "additive"
    data: str = "small-talk"
    """small-talk, chatterbot (downloaded once), or a file of lines of prompt, tab, reply."""
    min_count: int = 2
    """A word that comes less often in the training data counts as unknown."""

    name: ClassVar[str] = "chatbot"

    def __post_init__(self) -> None:
        """Refuse numbers that cannot be meant."""
        super().__post_init__()
        check(self, "min_count", self.min_count >= 1, "at least 1")

    def read(self, split: Split) -> list[TokenPair]:
        """The words of every prompt and reply of a split."""
        exchanges = dialogue(split, self.data)
        return [(tokenize(prompt), tokenize(reply)) for prompt, reply in exchanges]

    def tokenize(self, text: str) -> Tokens:
        """Cut a text into words, in lower case, and punctuation marks."""
        return tokenize(text)

    def detokenize(self, tokens: Tokens) -> str:
        """Write words and marks as a sentence."""
        return detokenize(tokens)

    def vocabularies(self, pairs: list[TokenPair]) -> tuple[Vocabulary, Vocabulary]:
        """One vocabulary for prompts and replies: the words that come often enough."""
        counts = Counter(chain.from_iterable(prompt + reply for prompt, reply in pairs))
        often = [word for word, count in counts.items() if count >= self.min_count]
        if not often:
            raise ValueError(
                f"no word of {self.data} comes {self.min_count} times: give more exchanges, or "
                "lower min_count"
            )
        vocab = Vocabulary(often, unknown=True)
        return vocab, vocab


@dataclass(frozen=True)
class DatesConfig(TrainConfig):
    """Train a translator of dates, from as people write them in several languages to ISO 8601."""

    out: Path = Path("runs/dates")
    epochs: int = 3
    hidden_size: int = 64
    embed_size: int = 32
    dropout: float = 0.0
    num: int = 8000
    """Dates to train and to validate on."""

    name: ClassVar[str] = "dates"

    def __post_init__(self) -> None:
        """Refuse numbers that cannot be meant."""
        super().__post_init__()
        check(self, "num", self.num >= 100, "at least 100")

    def read(self, split: Split) -> list[TokenPair]:
        """The characters of every written date and its ISO form; each day is in one split."""
        pairs = dates(1000, "test") if split == "test" else dates(self.num, seed=self.seed)
        if split != "test":  # a ninth of the days left are for validation
            pairs = [p for p in pairs if (days(p.target) % 10 == 1) == (split == "valid")]
        return [(list(pair.source), list(pair.target)) for pair in pairs]

    def tokenize(self, text: str) -> Tokens:
        """Cut a text into characters."""
        return list(text)

    def detokenize(self, tokens: Tokens) -> str:
        """Put characters together."""
        return "".join(tokens)

    def vocabularies(self, pairs: list[TokenPair]) -> tuple[Vocabulary, Vocabulary]:
        """The characters of written dates, and those of ISO dates."""
        sources, targets = zip(*pairs, strict=True)
        source = Vocabulary(chain.from_iterable(sources), unknown=True)
        return source, Vocabulary(chain.from_iterable(targets))


RECIPES: dict[str, type[ChatbotConfig | DatesConfig]] = {
    "chatbot": ChatbotConfig,
    "dates": DatesConfig,
}


def check(flags: object, flag: str, right: bool, wanted: str) -> None:
    """Refuse a flag, unless it is right."""
    if not right:
        raise FlagError(flag, f"must be {wanted}, got {getattr(flags, flag)}")


def days(iso: str) -> int:
    """Days from the first day of the task *dates*."""
    return (datetime.date.fromisoformat(iso) - FIRST_DAY).days


# --- Data and model ---


class Data(NamedTuple):
    """The pairs of the three splits as ids, and what the ids mean."""

    src_vocab: Vocabulary
    tgt_vocab: Vocabulary
    train: list[Pair]
    valid: list[Pair]
    test: list[Pair]

    def others(self, num: int = 64) -> list[list[int]]:
        """At most `num` sources, taken evenly from the training split."""
        every = math.ceil(len(self.train) / num)
        return [list(source) for source, _ in self.train[::every]]

    def fingerprint(self) -> int:
        """A number that is another one for other data."""
        return zlib.crc32(repr((self.src_vocab.tokens, self.tgt_vocab.tokens, *self[2:])).encode())


def prepare(config: TrainConfig) -> Data:
    """Read the data of a recipe, and number its tokens.

    Raises:
        FileNotFoundError: if the data is not there.
        ValueError: if it is not in the form that the recipe reads.
    """
    train, valid, test = (config.read(split) for split in SPLITS)
    src_vocab, tgt_vocab = config.vocabularies(train)

    def encode(pairs: list[TokenPair]) -> list[Pair]:
        return [(src_vocab.encode(source), tgt_vocab.encode(target)) for source, target in pairs]

    return Data(src_vocab, tgt_vocab, encode(train), encode(valid), encode(test))


def build(config: TrainConfig, src_vocab: Vocabulary, tgt_vocab: Vocabulary) -> Seq2Seq:
    """Make the model of a recipe; one vocabulary on both sides means one embedding."""
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


# --- Training ---


class Epoch(NamedTuple):
    """Losses of one epoch, in nats a token: the mean of its steps, and on the validation split."""

    train_loss: float
    valid_loss: float


class Report(NamedTuple):
    """What came of a training run.

    Attributes:
        test: the measures on the test split, by name.
        best_epoch: the epoch, from 1, after which the validation loss was lowest: its model is
            the one that is kept and tested.
        history: the losses of every epoch.
    """

    test: dict[str, float]
    best_epoch: int
    history: list[Epoch]


class Stopped(Exception):
    """A signal stopped the training, which has saved where it stands.

    Attributes:
        number: the signal's.
    """

    def __init__(self, number: int, folder: Path) -> None:
        super().__init__(f"training was stopped and is saved in {folder}: go on with resume=True")
        self.number = number


def train(config: TrainConfig, resume: bool = False, say: Say = lambda line: None) -> Report:
    """Train a model into the folder `config.out`, and measure the best one on the test split.

    Ctrl-C, or SIGTERM, finishes the step and saves; a second one stops at once. However a run is
    stopped, even by a power cut, it can be resumed, and on a CPU it then ends with the weights of
    a run that was never stopped, equal to the bit.

    Args:
        config: the flags of a recipe.
        resume: go on with the run in the folder, which must have the same flags and data.
        say: called with a line of text after each epoch.

    Raises:
        CheckpointError: if the folder holds a run and `resume` is False, or none to go on with
            and `resume` is True; if the disk is full.
        Stopped: after Ctrl-C or SIGTERM.
        ValueError: if the loss stops being a finite number, and as `prepare`.
        FileNotFoundError: as `prepare`.
    """
    data = prepare(config)
    training = Training(config, data)
    if resume:
        training.restore()
    else:
        training.begin()
    say(training.summary())
    with caught_signals() as caught, monitored(training, say) as monitor:
        while training.epoch < config.epochs:
            train_epoch(training, monitor, caught)
            training.finish_epoch()
            monitor.epoch()
            training.save()
    report = Report(evaluate(load_run(config.out), data), training.best_epoch, training.history)
    write_report(config, report)
    return report


def train_epoch(training: "Training", monitor: "Monitor", caught: list[int]) -> None:
    """Take the steps that are left of an epoch.

    Raises:
        Stopped: after a signal, once the step is finished and saved.
    """
    training.model.train()
    for batch in training.batches_left():
        loss, norm = training.learn(batch)
        monitor.step(loss, norm)
        if caught:
            training.save()
            raise Stopped(caught[0], training.config.out)
    training.model.eval()


class Training:
    """Everything that changes while a model is trained.

    Attributes:
        model: the model.
        optimizer: Adam.
        schedule: of the learning rate: from `lr` in a straight line to zero.
        step: steps taken in this epoch.
        loss_sum: of those steps.
        history: the losses of the epochs that are finished.
    """

    def __init__(self, config: TrainConfig, data: Data) -> None:
        reproducible(config.seed)
        self.config, self.data = config, data
        self.fingerprint = data.fingerprint()
        self.steps = math.ceil(len(data.train) / config.batch_size)  # in an epoch
        self.model = build(config, data.src_vocab, data.tgt_vocab).to(device())
        self.optimizer = torch.optim.Adam(self.model.parameters(), lr=config.lr)
        self.schedule = torch.optim.lr_scheduler.LinearLR(
            self.optimizer, 1.0, 0.0, total_iters=config.epochs * self.steps
        )
        self.step, self.loss_sum = 0, 0.0
        self.history: list[Epoch] = []

    @property
    def epoch(self) -> int:
        """Epochs finished."""
        return len(self.history)

    @property
    def steps_taken(self) -> int:
        """Steps taken in all epochs."""
        return self.epoch * self.steps + self.step

    @property
    def best_epoch(self) -> int:
        """The epoch, from 1, with the lowest validation loss so far."""
        return 1 + min(range(self.epoch), key=lambda i: self.history[i].valid_loss)

    def summary(self) -> str:
        """What is trained on what, in a line."""
        train, valid, test = (len(pairs) for pairs in self.data[2:])
        parameters = sum(parameter.numel() for parameter in self.model.parameters())
        where = f"from epoch {self.epoch + 1}, step {self.step + 1}, " * (self.steps_taken > 0)
        if self.epoch == self.config.epochs:
            return f"all {self.epoch} epochs are done: there is nothing left to train"
        return (
            f"{parameters:,} parameters, {where}on {train:,} pairs ({valid:,} to validate, "
            f"{test:,} to test), on the {device().type.upper()}"
        )

    def batches_left(self) -> list[Batch]:
        """The batches of this epoch that are still to come; their order depends on the epoch."""
        generator = torch.Generator().manual_seed(self.config.seed * 100_003 + self.epoch)
        order = bucketed_batches(self.data.train, self.config.batch_size, generator)
        return [to_device(batch) for batch in order[self.step :]]

    def learn(self, batch: Batch) -> tuple[float, float]:
        """Take one step; return its loss, and the norm of the gradient before clipping."""
        src, src_lengths, tgt, _ = batch
        logits = self.model(src, src_lengths, tgt[:, :-1])  # teacher forcing
        loss = sequence_cross_entropy(logits, tgt[:, 1:])
        self.optimizer.zero_grad()
        loss.backward()
        norm = clip_by_global_norm(self.model.parameters(), self.config.max_norm)
        if not bool(loss.isfinite() & norm.isfinite()):
            raise ValueError(self.diverged(f"the loss became {loss:.4g}, its gradient {norm:.4g}"))
        self.optimizer.step()
        self.schedule.step()
        self.step += 1
        self.loss_sum += loss.item()
        return loss.item(), norm.item()

    def finish_epoch(self) -> None:
        """Measure on the validation split, and keep the model if it is the best so far."""
        batches = evaluation_batches(self.data.valid)
        valid_loss = math.log(perplexity(self.model, batches))
        if not math.isfinite(valid_loss):
            raise ValueError(self.diverged(f"the validation loss became {valid_loss:.4g}"))
        self.history.append(Epoch(self.loss_sum / self.steps, valid_loss))
        self.step, self.loss_sum = 0, 0.0
        if self.best_epoch == self.epoch:
            checkpoints.save(self.config.out / "best.pt", self.run_contents())

    def diverged(self, what: str) -> str:
        """Say what went wrong, and what to do."""
        return (
            f"{what} in epoch {self.epoch + 1}: train again with a lower lr. "
            f"{self.config.out / 'last.pt'} still holds the weights from before"
        )

    def begin(self) -> None:
        """Make the folder for a new run.

        Raises:
            CheckpointError: if it holds a run already, or cannot be made.
        """
        folder = self.config.out
        if (folder / "last.pt").exists() or (folder / "best.pt").exists():
            raise CheckpointError(
                f"{folder} holds a run already: go on with it (--resume), choose another folder "
                "(--out), or delete this one"
            )
        try:
            folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise CheckpointError(f"{folder} cannot be made: {error.strerror}") from error
        self.save()

    def run_contents(self) -> dict[str, Any]:
        """What it takes to use the model."""
        return {
            "recipe": self.config.name,
            "config": {**asdict(self.config), "out": str(self.config.out)},
            "src_tokens": self.data.src_vocab.tokens,
            "tgt_tokens": self.data.tgt_vocab.tokens,
            "others": self.data.others(),
            "model": self.model.state_dict(),
        }

    def save(self) -> None:
        """Write `last.pt`: what it takes to use the model, and to go on training it."""
        state = {
            "data": self.fingerprint,
            "optimizer": self.optimizer.state_dict(),
            "schedule": self.schedule.state_dict(),
            "random": random_state(),
            "step": self.step,
            "loss_sum": self.loss_sum,
            "history": [tuple(epoch) for epoch in self.history],
        }
        checkpoints.save(self.config.out / "last.pt", {**self.run_contents(), **state})

    def restore(self) -> None:
        """Read `last.pt`, and stand where the run stood when it was written.

        Raises:
            CheckpointError: if there is none, or it is damaged, or its flags or data differ.
        """
        path = self.config.out / "last.pt"
        if not path.exists():
            raise CheckpointError(
                f"there is no run to resume in {path.parent}: begin one, without --resume"
            )
        saved = checkpoints.load(path)
        refuse_differences(self.config, read_config(saved, path))
        if saved["data"] != self.fingerprint:
            raise CheckpointError(
                f"the data is not what the run in {path.parent} began with: undo the change, or "
                "begin another run in another folder"
            )
        self.model.load_state_dict(saved["model"])
        self.optimizer.load_state_dict(saved["optimizer"])
        self.schedule.load_state_dict(saved["schedule"])
        set_random_state(saved["random"])
        self.step, self.loss_sum = saved["step"], saved["loss_sum"]
        self.history = [Epoch(*losses) for losses in saved["history"]]


def refuse_differences(given: TrainConfig, saved: TrainConfig) -> None:
    """Refuse to go on with other flags than the run began with; the folder may have moved."""
    if given.name != saved.name:
        raise CheckpointError(f"{given.out} holds a run of {saved.name}, not of {given.name}")
    differences = [
        f"{field.name} was {getattr(saved, field.name)} and is now {getattr(given, field.name)}"
        for field in fields(given)
        if field.name != "out" and getattr(given, field.name) != getattr(saved, field.name)
    ]
    if differences:
        raise CheckpointError(
            f"the run in {given.out} began with other flags: {', '.join(differences)}. Give the "
            "same ones, or begin another run in another folder"
        )


class Monitor:
    """What people see of a training run: curves for TensorBoard, a bar on a terminal, lines.

    Args:
        training: the run.
        say: called with each line.
        writer: writes the curves.
        bar: the bar.
    """

    def __init__(self, training: Training, say: Say, writer: SummaryWriter, bar: tqdm) -> None:
        self.training, self.say, self.writer, self.bar = training, say, writer, bar

    def step(self, loss: float, norm: float) -> None:
        """Show a step."""
        training = self.training
        at = training.steps_taken
        self.writer.add_scalar("train/loss", loss, at)
        self.writer.add_scalar("train/gradient_norm", norm, at)
        self.writer.add_scalar("train/lr", training.schedule.get_last_lr()[0], at)
        self.bar.set_description(f"epoch {training.epoch + 1}", refresh=False)
        self.bar.set_postfix(loss=f"{loss:.2f}", refresh=False)
        self.bar.update()

    def epoch(self) -> None:
        """Show the epoch just finished."""
        training = self.training
        train_loss, valid_loss = training.history[-1]
        self.writer.add_scalar("valid/loss", valid_loss, training.steps_taken)
        self.writer.add_scalar("valid/perplexity", math.exp(valid_loss), training.steps_taken)
        self.writer.flush()  # before the checkpoint after which none of this comes again
        best = "  best so far" if training.best_epoch == training.epoch else ""
        self.say(
            f"epoch {training.epoch:2}/{training.config.epochs}  train loss {train_loss:.3f}  "
            f"valid loss {valid_loss:.3f}  valid perplexity {math.exp(valid_loss):.4g}{best}"
        )


@contextmanager
def monitored(training: Training, say: Say) -> Iterator[Monitor]:
    """Open the curves and the bar of a run, and close them.

    Raises:
        CheckpointError: if the curves cannot be written.
    """
    done, total = training.steps_taken, training.config.epochs * training.steps
    columns = shutil.get_terminal_size().columns - 4  # room for the ^C of a terminal
    hook = threading.excepthook
    threading.excepthook = lambda _: None  # what the writer's thread meets comes here, too
    try:
        with (
            # What a killed run wrote after its last checkpoint comes again, and shall not be twice.
            SummaryWriter(training.config.out, purge_step=done + 1) as writer,
            tqdm(
                total=total, initial=done, unit="step", leave=False, disable=None, ncols=columns
            ) as bar,
        ):
            yield Monitor(training, say, writer, bar)
    except OSError as error:
        raise CheckpointError(
            f"the curves in {training.config.out} cannot be written: {error.strerror}. Make room, "
            "and resume"
        ) from error
    finally:
        threading.excepthook = hook


@contextmanager
def caught_signals() -> Iterator[list[int]]:
    """Collect the first SIGINT or SIGTERM in a list; a second one acts as it always does.

    Only the main thread can catch signals; in others the list stays empty.
    """
    caught: list[int] = []
    before: dict[int, Any] = {}

    def restore() -> None:
        for number, handler in before.items():
            signal.signal(number, handler)

    def catch(number: int, frame: FrameType | None) -> None:
        caught.append(number)
        restore()

    if threading.current_thread() is threading.main_thread():
        for number in (signal.SIGINT, signal.SIGTERM):
            before[number] = signal.signal(number, catch)
    try:
        yield caught
    finally:
        restore()


def device() -> torch.device:
    """The GPU if there is one."""
    return torch.device("cuda" if torch.cuda.is_available() else "cpu")


def to_device(batch: Batch) -> Batch:
    """Move a batch to where models are."""
    return Batch(*(tensor.to(device()) for tensor in batch))


def evaluation_batches(pairs: list[Pair]) -> list[Batch]:
    """Batches to measure on; the global random numbers stay as they are."""
    generator = torch.Generator().manual_seed(0)
    return [to_device(batch) for batch in bucketed_batches(pairs, 256, generator)]


def random_state() -> dict[str, Tensor]:
    """Where PyTorch's random numbers stand."""
    state = {"cpu": torch.get_rng_state()}
    return state | ({"cuda": torch.cuda.get_rng_state()} if device().type == "cuda" else {})


def set_random_state(state: dict[str, Tensor]) -> None:
    """Go on with PyTorch's random numbers from where they stood."""
    torch.set_rng_state(state["cpu"])
    if "cuda" in state and device().type == "cuda":
        torch.cuda.set_rng_state(state["cuda"])


# --- Using a trained model ---


class Run(NamedTuple):
    """A trained model, in eval mode, and what it takes to talk to it.

    Attributes:
        config: the flags it was trained with.
        src_vocab: what the ids of texts mean.
        tgt_vocab: what the ids of replies mean.
        others: some sources of the training data, against which mutual information is measured.
        model: the model.
    """

    config: TrainConfig
    src_vocab: Vocabulary
    tgt_vocab: Vocabulary
    others: list[list[int]]
    model: Seq2Seq

    def unknown(self, text: str) -> list[str]:
        """The tokens of a text that the model has never learned, each once."""
        tokens = dict.fromkeys(self.config.tokenize(text))
        return [token for token in tokens if token not in self.src_vocab.ids]


def load_run(folder: Path) -> Run:
    """Read the best model of a training run, finished or not.

    Raises:
        CheckpointError: if there is none, or its file is damaged.
    """
    path = folder / "best.pt"
    if not path.exists():
        begun = (folder / "last.pt").exists()
        raise CheckpointError(
            f"the run in {folder} has not finished its first epoch: resume it"
            if begun
            else f"there is no run in {folder}: train one, or name another folder"
        )
    saved = checkpoints.load(path)
    config = read_config(saved, path)
    src, tgt = (
        Vocabulary(saved[name], unknown=UNK in saved[name]) for name in ("src_tokens", "tgt_tokens")
    )
    if saved["src_tokens"] == saved["tgt_tokens"]:
        tgt = src
    model = build(config, src, tgt).to(device())
    model.load_state_dict(saved["model"])
    return Run(config, src, tgt, saved["others"], model.eval())


def read_config(saved: dict[str, Any], path: Path) -> TrainConfig:
    """The flags in a checkpoint, with the folder where it is now."""
    try:
        return RECIPES[saved["recipe"]](**{**saved["config"], "out": path.parent})
    except (KeyError, TypeError) as error:
        raise CheckpointError(
            f"{path} was made by another version of this library, with other flags"
        ) from error


@dataclass(frozen=True)
class SearchConfig:
    """How a reply is looked for."""

    method: Literal["greedy", "beam", "sample", "mmi"] = "beam"
    """greedy: the likeliest word at each step; beam: the likeliest replies; sample: at random; mmi:
    of the likeliest replies those that would fit other texts least (mutual information)."""
    beam_size: int = 5
    """Beam: how many beginnings are kept."""
    num_best: int = 1
    """Beam, sample and mmi: how many replies to give."""
    length_penalty: float = 0.0
    """Beam: favours longer replies; 0.6 to 1 is usual."""
    coverage_penalty: float = 0.0
    """Beam: favours replies that look at the whole prompt; around 0.2 is usual."""
    temperature: float = 1.0
    """Sample: below 1 the likely becomes likelier."""
    top_k: int | None = None
    """Sample: among the k likeliest words only."""
    top_p: float | None = None
    """Sample: among the fewest words that together have this probability."""
    candidates: int = 20
    """Mmi: how many of the likeliest replies to choose from."""
    mmi_weight: float = 0.7
    """Mmi: how much a reply loses that would fit other texts too; 0 changes nothing."""
    max_length: int = 40
    """The most tokens of a reply."""
    seed: int = 0
    """Sample: decides the draws."""

    def __post_init__(self) -> None:
        """Refuse numbers that cannot be meant, and flags of another method."""
        for flag in ("beam_size", "num_best", "max_length", "candidates"):
            check(self, flag, getattr(self, flag) >= 1, "at least 1")
        for flag in ("length_penalty", "coverage_penalty", "mmi_weight"):
            check(self, flag, 0 <= getattr(self, flag) < math.inf, "zero or a positive number")
        check(self, "temperature", 0 < self.temperature < math.inf, "a positive number")
        check(self, "top_k", self.top_k is None or self.top_k >= 1, "at least 1")
        check(self, "top_p", self.top_p is None or 0 < self.top_p <= 1, "above 0 and at most 1")
        check(self, "seed", self.seed >= 0, "zero or more")
        for field in fields(self):
            methods = METHODS.get(field.name, (self.method,))
            if self.method not in methods and getattr(self, field.name) != field.default:
                raise FlagError(field.name, f"is for --method {' and '.join(methods)}")
        if self.num_best > self.beam_size and self.method == "beam":
            raise FlagError("num_best", f"must be at most the beam size {self.beam_size}")
        if self.num_best > self.candidates and self.method == "mmi":
            raise FlagError("num_best", f"must be at most the {self.candidates} candidates")


METHODS = {
    "beam_size": ("beam",),
    "num_best": ("beam", "sample", "mmi"),
    "length_penalty": ("beam",),
    "coverage_penalty": ("beam",),
    "temperature": ("sample",),
    "top_k": ("sample",),
    "top_p": ("sample",),
    "candidates": ("mmi",),
    "mmi_weight": ("mmi",),
    "seed": ("sample",),
}
BEAM = SearchConfig()


class Response(NamedTuple):
    """One reply to a text.

    Attributes:
        text: the reply as a person would write it.
        tokens: its tokens.
        log_prob: the model's log-probability of the reply, its end included, in nats.
        score: what replies are ranked by; the log-probability unless there are penalties.
        weights: `(tokens, tokens of the text)`, where the model looked; None without attention.
    """

    text: str
    tokens: list[str]
    log_prob: float
    score: float
    weights: Float[Tensor, "tgt src"] | None


def respond(run: Run, texts: Sequence[str], search: SearchConfig = BEAM) -> list[list[Response]]:
    """Reply to each text: `search.num_best` times, the best first (samples: as they were drawn).

    Raises:
        ValueError: if a text is empty, or the search does not fit the model.
    """
    sources = [run.src_vocab.encode(run.config.tokenize(text)) for text in texts]
    for text, source in zip(texts, sources, strict=True):
        if not source:
            raise ValueError(f"there is nothing to reply to in {text!r}: say something")
    found = decode(run, sources, search)
    places = range(found.lengths.shape[1])
    return [
        [
            written(run, found, row, place, len(source))
            for place in places
            if found.lengths[row, place] > 0
        ]
        for row, source in enumerate(sources)
    ]


@torch.no_grad()
def decode(run: Run, sources: Sequence[Sequence[int]], search: SearchConfig) -> NBest:
    """Search for the targets of encoded sources. Of the special tokens only EOS is ever produced.

    Raises:
        ValueError: if the search does not fit the model: a beam larger than the vocabulary, or a
            coverage penalty without attention.
    """
    vocab = run.tgt_vocab
    special = [i for i in (vocab.pad_id, vocab.bos_id, vocab.unk_id) if i is not None]
    never = torch.tensor(special, device=device())

    def step(tokens: Tensor, state: State) -> tuple[Tensor, State]:
        log_probs, state = run.model.step(tokens, state)
        return log_probs.index_fill(1, never, -math.inf), state

    src, src_lengths = pad(sources)
    state = run.model.encode(src.to(device()), src_lengths.to(device()))
    ids = (vocab.bos_id, vocab.eos_id, vocab.pad_id, search.max_length)
    if search.method == "beam":
        size, best = search.beam_size, search.num_best
        penalties = (search.length_penalty, search.coverage_penalty)
        return beam_search(step, state, *ids, size, best, *penalties)
    if search.method == "mmi":
        found = beam_search(step, state, *ids, search.candidates, search.candidates)
        others, lengths = pad(run.others)
        other_state = run.model.encode(others.to(device()), lengths.to(device()))
        return mutual_information(
            step, found, other_state, vocab.bos_id, search.mmi_weight, search.num_best
        )
    if search.method == "greedy":
        return n_best(greedy(step, state, *ids), 1)
    generator = torch.Generator(device()).manual_seed(search.seed)
    kept = (search.temperature, search.top_k, search.top_p)
    drawn = sample(step, repeat(state, search.num_best), *ids, *kept, generator)
    return n_best(drawn, search.num_best)


def n_best(found: Decoded, best: int) -> NBest:
    """Group sequences, `best` of them for each source."""
    tokens, lengths, log_probs = (tensor.unflatten(0, (-1, best)) for tensor in found[:3])
    weights = None if found.weights is None else found.weights.unflatten(0, (-1, best))
    return NBest(tokens, lengths, log_probs, log_probs, weights)


def written(run: Run, found: NBest, row: int, place: int, src_length: int) -> Response:
    """Write out one of the sequences found."""
    tokens = run.tgt_vocab.decode(found.tokens[row, place].tolist())
    weights = found.weights
    return Response(
        run.config.detokenize(tokens),
        tokens,
        found.log_probs[row, place].item(),
        found.scores[row, place].item(),
        None if weights is None else weights[row, place, : len(tokens), :src_length].cpu(),
    )


# --- Results ---


def evaluate(run: Run, data: Data) -> dict[str, float]:
    """Measure a model on the test split, as its recipe is measured."""
    return MEASURES[run.config.name](run, data)


def measure_chatbot(run: Run, data: Data) -> dict[str, float]:
    """How unsure the model is of people's replies, and how varied its own are.

    Its own are those of a beam, one to each different prompt of the test split.
    """
    prompts = sorted({tuple(prompt) for prompt, _ in data.test})
    replies = []
    for start in range(0, len(prompts), 64):
        found = decode(run, prompts[start : start + 64], BEAM).first()
        replies += [run.tgt_vocab.decode(ids) for ids in found.tokens.tolist()]
    measures = {"perplexity": perplexity(run.model, evaluation_batches(data.test))}
    for n in (1, 2):  # nothing is varied about replies without a word
        long_enough = any(len(reply) >= n for reply in replies)
        measures[f"distinct_{n}"] = distinct_n(replies, n) if long_enough else 0.0
    return measures


def measure_dates(run: Run, data: Data) -> dict[str, float]:
    """How often a whole date is right, and how often a character; free-running."""
    batch = make_batch(data.test)
    found = decode(run, [source for source, _ in data.test], SearchConfig(method="greedy")).first()
    predicted, tgt = found.tokens.cpu(), batch.tgt[:, 1:]
    return {
        "exact_match": exact_match(predicted, tgt),
        "token_accuracy": token_accuracy(predicted, tgt),
    }


MEASURES: dict[str, Callable[[Run, Data], dict[str, float]]] = {
    "chatbot": measure_chatbot,
    "dates": measure_dates,
}


def write_report(config: TrainConfig, report: Report) -> None:
    """Write `report.json`: the flags, the losses, and the results on the test split."""
    contents = {
        "recipe": config.name,
        "config": {**asdict(config), "out": str(config.out)},
        "best_epoch": report.best_epoch,
        "history": [epoch._asdict() for epoch in report.history],
        "test": report.test,
    }
    text = json.dumps(contents, indent=1, ensure_ascii=False) + "\n"
    checkpoints.write(config.out / "report.json", text.encode())
