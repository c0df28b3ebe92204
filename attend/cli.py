"""The command `attend`: train a model, chat with it, translate with it."""

import io
import os
import shlex
import shutil
import sys
import unicodedata
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Annotated

import torch
import tyro
from jaxtyping import Float
from torch import Tensor
from tqdm import tqdm

from attend.recipes import (
    ChatbotConfig,
    DatesConfig,
    FlagError,
    Run,
    SearchConfig,
    Stopped,
    TrainConfig,
    load_run,
    respond,
    train,
)

with suppress(ImportError):  # where there is one, the arrow keys work at the prompt
    import readline  # noqa: F401

DESCRIPTION = "Train a model of the book Learning to Attend, and use it."
SHADES = (
    " ░▒▓█"  # for nothing, and for up to a quarter, a half, three quarters, all of the attention
)


# --- Commands and their flags ---


@dataclass(frozen=True)
class Train:
    """Train a model and measure it on the test split."""

    recipe: (
        Annotated[ChatbotConfig, tyro.conf.subcommand("chatbot")]
        | Annotated[DatesConfig, tyro.conf.subcommand("dates")]
    )
    resume: bool = False
    """Go on with the run in the folder; the other flags must be those that it began with."""


@dataclass(frozen=True)
class Chat:
    """Chat with a model that `attend train chatbot` has made; piped lines are answered too."""

    search: SearchConfig = SearchConfig(method="mmi")
    run: Path = Path("runs/chatbot")
    """The folder of the training run."""
    show_attention: bool = False
    """Show how much of the attention each word of a reply paid to each word of yours."""


@dataclass(frozen=True)
class Translate:
    """Translate dates to ISO 8601 with a model that `attend train dates` has made."""

    search: SearchConfig
    texts: Annotated[
        tyro.conf.Positional[tuple[str, ...]],
        tyro.conf.arg(metavar="[TEXT ...]", help_behavior_hint=""),
    ] = ()
    """Dates such as "March 5, 2024"; without any, lines that are typed or piped in."""
    run: Path = Path("runs/dates")
    """The folder of the training run."""
    show_attention: bool = False
    """Show how much of the attention each character written paid to each one read."""


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
    """Run the command; end with status 2 if it cannot be meant, 1 if something else is wrong."""
    for stream in (sys.stdin, sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):  # a terminal may be unable to write every letter
            stream.reconfigure(errors="replace", line_buffering=True)
    try:
        command = tyro.cli(
            Command, prog="attend", description=DESCRIPTION, args=arguments, config=MARKERS
        )
        if isinstance(command, Train):
            run_training(command)
        elif isinstance(command, Chat):
            run_chat(command)
        else:
            run_translation(command)
        sys.stdout.flush()
    except FlagError as error:
        fail(f"--{error.flag.replace('_', '-')} {error.problem}", 2)
    except (ValueError, OSError) as error:
        if isinstance(error, BrokenPipeError):  # who read the output has seen enough
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
            sys.exit(1)
        fail(str(error), 1)
    except KeyboardInterrupt:
        fail("stopped at once", 130)


def fail(message: str, status: int) -> None:
    """Say what is wrong, and end."""
    print(f"attend: {message}", file=sys.stderr)
    sys.exit(status)


# --- Training ---


def run_training(command: Train) -> None:
    """Train, and say what came of it."""
    config = command.recipe
    try:
        report = train(config, command.resume, say=tqdm.write)
    except Stopped as stopped:
        print(f"\nStopped, and saved. To go on:\n\n  {resuming(config)}\n")
        sys.exit(128 + stopped.number)
    print(f"\nKept: the model of epoch {report.best_epoch}. On the test split:")
    for name, value in report.test.items():
        print(f"  {name.replace('_', ' '):<15} {value:.4g}")
    folder, use = shlex.quote(str(config.out)), USES[config.name]
    print(f"\nTry it:          attend {use} --run {folder}")
    print(f"See the curves:  tensorboard --logdir {folder}")


USES = {"chatbot": "chat", "dates": "translate"}


def resuming(config: TrainConfig) -> str:
    """The command that goes on with a run: with the flags that differ from the defaults."""
    words = ["attend", "train", config.name]
    for field in fields(config):
        value = getattr(config, field.name)
        if value != field.default:
            words += [f"--{field.name.replace('_', '-')}", str(value)]
    return shlex.join([*words, "--resume"])


# --- Using a model ---


def run_chat(command: Chat) -> None:
    """Answer what is typed or piped in."""
    talk(open_run(command), command, "you> ", "bot> ")


def run_translation(command: Translate) -> None:
    """Translate the texts given, or what is typed or piped in."""
    run = open_run(command)
    if not command.texts:
        talk(run, command, "date> ", "iso>  ")
    for text in command.texts:
        answer(run, command, text, command.search)


def open_run(command: Chat | Translate) -> Run:
    """Load the run, and refuse one of another recipe, or a search that does not fit its model."""
    torch.set_num_threads(1)  # small models are fastest so
    run, search = load_run(command.run), command.search
    wanted = "chatbot" if isinstance(command, Chat) else "dates"
    if run.config.name != wanted:
        name = run.config.name
        raise FlagError("run", f"{command.run} is a run of {name}: use `attend {USES[name]}`")
    size = len(run.tgt_vocab)
    flag = {"beam": "beam_size", "mmi": "candidates"}.get(search.method)
    if flag and getattr(search, flag) > size:
        number = getattr(search, flag)
        raise FlagError(flag, f"{number} is larger than the model's vocabulary of {size} tokens")
    attends = run.config.attention != "none"
    if not attends and (command.show_attention or search.coverage_penalty):
        flag = "show_attention" if command.show_attention else "coverage_penalty"
        raise FlagError(flag, f"needs a model with attention, and that of {command.run} has none")
    return run


def talk(run: Run, command: Chat | Translate, prompt: str, prefix: str) -> None:
    """Answer every line; where they are typed, with a prompt, until quit, Ctrl-D or Ctrl-C."""
    typed = sys.stdin.isatty()
    if typed:
        print("To end: quit, Ctrl-D or Ctrl-C.")
    for number, line in enumerate(typed_lines(prompt) if typed else piped_lines()):
        search = command.search
        if search.method == "sample":  # asked twice, it may answer differently
            search = replace(search, seed=search.seed + number)
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
    run: Run, command: Chat | Translate, text: str, search: SearchConfig, prefix: str = ""
) -> None:
    """Print the replies to a text, each on a line, and on stderr which of its tokens are unknown.

    Several replies are numbered, with the score that ranks them.
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
            print(shaded(reply.weights, run.config.tokenize(text), reply.tokens, columns))


# --- Attention in a terminal ---


def shaded(
    weights: Float[Tensor, "query key"], keys: Sequence[str], queries: Sequence[str], columns: int
) -> str:
    """Draw attention weights in text: a line a query, a block a key, darker for more.

    Args:
        weights: `(query, key)`, between 0 and 1.
        keys: a label for each block; a space is shown as `␣`.
        queries: a label for each line.
        columns: width of the terminal; keys that do not fit go into another drawing below.
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
        for query, row in zip(queries, weights[:, first:last].tolist(), strict=True):
            blocks = [shade(w) * width(key) for w, key in zip(row, keys[first:last], strict=True)]
            drawing.append(" " * (margin - 2 - width(query)) + query + "  " + " ".join(blocks))
        drawings.append("\n".join(line.rstrip() for line in drawing))
        first = last
    return "\n\n".join(drawings)


def shade(weight: float) -> str:
    """A block as dark as a weight between 0 and 1 is large."""
    return SHADES[min(int(weight * len(SHADES)), len(SHADES) - 1)]


def width(text: str) -> int:
    """Columns that a text takes in a terminal: Chinese characters take two."""
    return sum(2 if unicodedata.east_asian_width(c) in "WF" else 1 for c in text)
