"""The command `attend`: train a model, chat with it, translate with it.

What it offers is read off the recipes.
"""

import functools
import io
import operator
import os
import re
import shlex
import shutil
import sys
import unicodedata
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import torch
import tyro
from jaxtyping import Float
from torch import Tensor
from tqdm import tqdm

from attend.flags import FlagError
from attend.recipes import RECIPES
from attend.respond import Run, load_run, respond
from attend.search import SearchConfig
from attend.trainer import Stopped, TrainConfig, train
from attend.trainer.checkpoints import reason

with suppress(ImportError):  # where there is one, the arrow keys work
    import readline  # noqa: F401

DESCRIPTION = "Train a model of the book Learning to Attend, and use it."
# For nothing, and for up to a quarter, a half, three quarters, all of the
# attention.
SHADES = " ░▒▓█"


# --- Commands and their flags ---

if TYPE_CHECKING:
    Recipe = TrainConfig
else:
    Recipe = functools.reduce(
        operator.or_,
        (
            Annotated[recipe, tyro.conf.subcommand(name)]
            for name, recipe in RECIPES.items()
        ),
    )


def first_folder(use: str) -> Path:
    """Where the first recipe of that use puts its runs."""
    recipes = (recipe for recipe in RECIPES.values() if recipe.use == use)
    return Path(f"runs/{next(recipes).name}")


@dataclass(frozen=True)
class Train:
    """Train a model and measure it on the test split."""

    recipe: Recipe
    resume: bool = False
    """Go on with the run in the folder; give the flags that it began with."""


@dataclass(frozen=True)
class Chat:
    """Chat with a chatbot you trained; lines piped in are answered too."""

    search: SearchConfig = SearchConfig(method="mmi")
    run: Path = first_folder("chat")
    """The folder of the training run."""
    show_attention: bool = False
    """Show how much attention each word of a reply paid to yours."""


@dataclass(frozen=True)
class Translate:
    """Translate, say "March 5, 2024", with a model that you trained."""

    search: SearchConfig
    texts: Annotated[
        tyro.conf.Positional[tuple[str, ...]],
        tyro.conf.arg(metavar="[TEXT ...]", help_behavior_hint=""),
    ] = ()
    """What to translate; without any, lines that are typed or piped in."""
    run: Path = first_folder("translate")
    """The folder of the training run."""
    show_attention: bool = False
    """Show how much attention each token written paid to those read."""


Command = (
    Annotated[Train, tyro.conf.subcommand("train")]
    | Annotated[Chat, tyro.conf.subcommand("chat")]
    | Annotated[Translate, tyro.conf.subcommand("translate")]
)
MARKERS = (
    tyro.conf.OmitArgPrefixes,  # --hidden-size, not --recipe.hidden-size
    tyro.conf.OmitSubcommandPrefixes,
    tyro.conf.CascadeSubcommandArgs,  # --resume may follow the recipe's name
    tyro.conf.FlagCreatePairsOff,
)


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the command.

    It ends with status 2 if it cannot be meant, with 1 if something else is
    wrong.
    """
    for stream in (sys.stdin, sys.stdout, sys.stderr):
        # A terminal may be unable to write every letter.
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="replace", line_buffering=True)
    try:
        command = tyro.cli(
            Command,
            prog="attend",
            description=DESCRIPTION,
            args=arguments,
            config=MARKERS,
        )
        if isinstance(command, Train):
            run_training(command)
        else:
            use_model(command)
        sys.stdout.flush()
    except FlagError as error:
        fail(f"--{error.flag.replace('_', '-')} {error.problem}", 2)
    except BrokenPipeError:  # who read the output has seen enough
        stop_writing()
        sys.exit(1)
    except OSError as error:
        where = f"{error.filename}: " if error.filename else ""
        fail(where + reason(error), 1)
    except ValueError as error:
        fail(str(error), 1)
    except (RuntimeError, MemoryError) as error:
        if not re.search("memory|overflow", f"{error!r}", re.IGNORECASE):
            raise
        fail("there is not enough memory for this: choose smaller numbers", 1)
    except KeyboardInterrupt:
        fail("stopped at once", 130)


def fail(message: str, status: int) -> None:
    """Say what is wrong, and end."""
    print(f"attend: {message}", file=sys.stderr)
    sys.exit(status)


def stop_writing() -> None:
    """Let what is still written to stdout go nowhere."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


# --- Training ---


def run_training(command: Train) -> None:
    """Train, and say what came of it."""
    config = command.recipe
    try:
        report = train(config, command.resume, say=say)
    except Stopped as stopped:
        message = f"\nStopped, and saved. To go on:\n\n  {resuming(config)}\n"
        try:
            print(message, flush=True)
        except BrokenPipeError:  # Ctrl-C has ended the reader, too
            stop_writing()
            print(message, file=sys.stderr)
        sys.exit(128 + stopped.number)
    except BrokenPipeError:
        stop_writing()
        fail(f"stopped, for nobody reads this. To go on: {resuming(config)}", 1)
    print(f"\nKept: the model of epoch {report.best_epoch}. On the test split:")
    for name, value in report.test.items():
        print(f"  {name.replace('_', ' '):<15} {value:.4g}")
    folder = shlex.quote(str(config.out))
    print(f"\nTry it:          attend {config.use} --run {folder}")
    print(f"See the curves:  tensorboard --logdir {folder}")


def say(line: str) -> None:
    """Print a line above the bar.

    Raises:
        ValueError: if it cannot be written, for another reason than that nobody
            reads it.
    """
    try:
        tqdm.write(line)
    except BrokenPipeError:
        raise
    except OSError as error:
        raise ValueError(
            f"stdout cannot be written: {reason(error)}"
        ) from error


def resuming(config: TrainConfig) -> str:
    """The command that goes on with a run.

    It has the flags that differ from the defaults.
    """
    words = ["attend", "train", config.name]
    for field in fields(config):
        value = getattr(config, field.name)
        flag = f"--{field.name.replace('_', '-')}"
        if str(value).startswith("-"):  # or it would be read as a flag
            words.append(f"{flag}={value}")
        elif value != field.default:
            words += [flag, str(value)]
    return shlex.join([*words, "--resume"])


# --- Using a model ---


def use_model(command: Chat | Translate) -> None:
    """Answer the texts given, or what is typed or piped in."""
    run = open_run(command)
    texts = command.texts if isinstance(command, Translate) else ()
    for text in texts:
        answer(run, command, text, command.search)
    if not texts:
        talk(run, command)


def open_run(command: Chat | Translate) -> Run:
    """Load the run, and refuse one of another use.

    Or flags that do not fit its model.
    """
    torch.set_num_threads(1)  # small models are fastest so
    run, search = load_run(command.run), command.search
    config = run.config
    if config.use != type(command).__name__.lower():
        raise FlagError(
            "run",
            f"{command.run} is a run of {config.name}: use "
            f"`attend {config.use}`",
        )
    search.refuse_unfit(len(run.tgt_vocab))
    for flag, asked in (
        ("show_attention", command.show_attention),
        ("coverage_penalty", search.coverage_penalty),
    ):
        if asked and not config.attends:
            raise FlagError(
                flag,
                "needs a model with attention, and that of "
                f"{command.run} has none",
            )
    return run


def talk(run: Run, command: Chat | Translate) -> None:
    """Answer every line.

    Where they are typed, with a prompt, until quit, Ctrl-D or Ctrl-C.
    """
    typed = sys.stdin.isatty()
    prompt, prefix = run.config.labels
    if typed:
        print("To end: quit, Ctrl-D or Ctrl-C.")
    lines = typed_lines(prompt) if typed else piped_lines()
    for number, line in enumerate(lines):
        search = command.search
        if search.method == "sample":  # asked twice, it may answer differently
            search = replace(search, seed=(search.seed + number) % 2**63)
        if line:
            answer(run, command, line, search, prefix * typed)
        else:
            print("(Say something.)" * typed)  # piped: one line for each line
    if typed:
        print("Bye!")


def typed_lines(prompt: str) -> Iterator[str]:
    """The lines typed at a prompt, without the spaces around them."""
    while True:
        try:
            line = input(prompt).strip()
        except (EOFError, KeyboardInterrupt):
            print()
            return
        if line.lower() == "quit":
            return
        yield line


def piped_lines() -> Iterator[str]:
    """The lines of stdin, without the spaces around them."""
    for line in sys.stdin:
        yield line.strip()


def answer(
    run: Run,
    command: Chat | Translate,
    text: str,
    search: SearchConfig,
    prefix: str = "",
) -> None:
    """Print the replies to a text, each on a line.

    On stderr it says which tokens of the text are unknown. Several replies are
    numbered, with the score that ranks them.
    """
    if unknown := run.unknown(text):
        named = ", ".join(unknown)
        print(f"(The model has never learned: {named})", file=sys.stderr)
    replies = respond(run, [text], search)[0]
    for place, reply in enumerate(replies, start=1):
        written = reply.text or "…"
        if len(replies) > 1:
            written = f"{place}. {written}  ({reply.score:.2f})"
        print(prefix + written)
        if command.show_attention and reply.weights is not None:
            columns = shutil.get_terminal_size().columns
            keys, queries = run.config.tokenize(text), reply.tokens
            print(shaded(reply.weights, keys, queries, columns))


# --- Attention in a terminal ---


def shaded(
    weights: Float[Tensor, "query key"],
    keys: Sequence[str],
    queries: Sequence[str],
    columns: int,
) -> str:
    """Draw attention weights in text: a line a query, a block a key.

    The darker, the more.

    Args:
        weights: `(query, key)`, between 0 and 1.
        keys: a label for each block; a space is shown as `␣`.
        queries: a label for each line.
        columns: width of the terminal; keys that do not fit go into another
            drawing below.
    """
    keys = ["␣" if key == " " else key for key in keys]
    margin = max(map(width, queries), default=0) + 4
    drawings, first = [], 0
    while first < len(keys):
        last, room = first + 1, columns - margin - width(keys[first])
        while last < len(keys) and width(keys[last]) + 1 <= room:
            room -= width(keys[last]) + 1
            last += 1
        drawing = [" " * margin + " ".join(keys[first:last])]
        rows = weights[:, first:last].tolist()
        for query, row in zip(queries, rows, strict=True):
            shown = zip(row, keys[first:last], strict=True)
            blocks = " ".join(shade(w) * width(key) for w, key in shown)
            indent = " " * (margin - 2 - width(query))
            drawing.append(f"{indent}{query}  {blocks}")
        drawings.append("\n".join(line.rstrip() for line in drawing))
        first = last
    return "\n\n".join(drawings)


def shade(weight: float) -> str:
    """A block as dark as a weight between 0 and 1 is large."""
    return SHADES[min(int(weight * len(SHADES)), len(SHADES) - 1)]


def width(text: str) -> int:
    """Columns that a text takes in a terminal: Chinese characters take two."""
    return sum(
        2 if unicodedata.east_asian_width(c) in "WF" else 1 for c in text
    )
