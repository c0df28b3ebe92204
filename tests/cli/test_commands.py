"""The command `attend`: what it prints, and how it ends."""

import errno
import os
import re
import shlex
import signal
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from torch.utils.tensorboard import SummaryWriter
from tqdm import tqdm

from attend.cli import resuming, shaded
from attend.recipes import RECIPES
from attend.recipes.chatbot import ChatbotConfig
from attend.recipes.dates import DatesConfig
from attend.recipes.text import TextTask
from attend.respond import Run
from attend.trainer import Epoch, Report, Stopped, checkpoints

Attend = Callable[..., Any]  # see conftest.py
SMALL = [
    "--epochs",
    "2",
    "--batch-size",
    "8",
    "--hidden-size",
    "7",
    "--embed-size",
    "5",
]


@pytest.fixture
def chatbot(trained: Run) -> Path:
    """Return the folder of a small chatbot."""
    return trained.config.out


@pytest.fixture
def dates(trained_dates: Run) -> Path:
    """Return the folder of a small translator of dates, without attention."""
    return trained_dates.config.out


# --- Help ---


def test_help_names_the_commands(attend: Attend) -> None:
    ended = attend("--help")
    assert ended.status == 0
    for command in ("train", "chat", "translate"):
        assert re.search(rf"• {command} +[A-Z]", ended.out)
    for recipe in ("chatbot", "dates"):
        assert re.search(rf"• {recipe} +[A-Z]", attend("train", "--help").out)


@pytest.mark.parametrize(
    "command",
    [["train", "chatbot"], ["train", "dates"], ["chat"], ["translate"]],
)
def test_every_flag_has_a_plain_name_and_a_help_text(
    attend: Attend, command: list[str]
) -> None:
    ended = attend(*command, "--help")
    assert ended.status == 0
    text = re.sub("[│╭╮╰╯─]", " ", ended.out)
    flags = re.findall(
        r"^ +(--\w.*)", re.sub(r"\s*\n {6,}", "  ", text), re.MULTILINE
    )
    assert len(flags) > 10
    for flag in flags:
        words = r"[A-Za-z].* \(default: "
        assert re.match(rf"--[a-z-]+( \S+)?  +{words}", flag), (
            f"no plain name, no help: {flag}"
        )


# --- Training ---


def test_train_and_what_it_says(
    attend: Attend, talk: Path, tmp_path: Path
) -> None:
    ended = attend("train", "chatbot", "--data", talk, *SMALL)
    assert (ended.status, ended.err) == (0, ""), (
        "no bar where there is no terminal"
    )
    assert "on 30 pairs (5 to validate, 5 to test), on the CPU" in ended.out
    assert re.search(
        r"^epoch  1/2  train loss \d\.\d{3}  valid loss",
        ended.out,
        re.MULTILINE,
    )
    assert re.search(
        r"Kept: the model of epoch [12]\. On the test split:\n  perplexity",
        ended.out,
    )
    assert "attend chat --run runs/chatbot\n" in ended.out
    assert (tmp_path / "runs/chatbot/report.json").is_file()
    again = attend("train", "chatbot", "--data", talk, *SMALL)
    assert again.status == 1
    assert again.err.startswith(
        "attend: runs/chatbot holds a run already: go on with it (--resume)"
    )
    done = attend("train", "chatbot", "--data", talk, *SMALL, "--resume")
    assert done.status == 0
    assert done.out.startswith(
        "all 2 epochs are done: there is nothing left to train\n\nKept:"
    )
    other = attend(
        "train", "chatbot", "--data", talk, *SMALL, "--lr", "0.5", "--resume"
    )
    assert other.status == 1
    assert "began with other flags: lr was 0.008 and is now 0.5." in other.err


def test_train_ends_with_the_report(
    attend: Attend, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of the epoch that was the best, with four digits."""
    measures = {"perplexity": 12.345678, "distinct_1": 0.000123456}
    report = Report(measures, 2, [Epoch(1.0, 1.0)] * 3)
    given: list[Any] = []
    monkeypatch.setattr(
        "attend.cli.train",
        lambda config, resume, say: given.append((config, resume)) or report,
    )
    ended = attend("train", "dates", "--out", "a folder", "--lr", "0.5")
    assert (ended.status, ended.err) == (0, "")
    assert ended.out == (
        "\nKept: the model of epoch 2. On the test split:\n"
        "  perplexity      12.35\n"
        "  distinct 1      0.0001235\n"
        "\n"
        "Try it:          attend translate --run 'a folder'\n"
        "See the curves:  tensorboard --logdir 'a folder'\n"
    )
    attend("train", "dates", "--resume")
    assert given == [
        (DatesConfig(out=Path("a folder"), lr=0.5), False),
        (DatesConfig(), True),
    ]


@pytest.mark.parametrize(
    "error",
    [
        MemoryError(),
        RuntimeError("DefaultCPUAllocator: can't allocate memory: 8 bytes"),
        RuntimeError("CUDA out of memory. Tried to allocate 2.00 GiB"),
        RuntimeError("Storage size calculation overflowed with sizes=[1]"),
    ],
    ids=str,
)
def test_a_model_that_is_too_large(
    attend: Attend, monkeypatch: pytest.MonkeyPatch, error: Exception
) -> None:
    def fails(*_: Any, **__: Any) -> None:
        raise error

    monkeypatch.setattr("attend.cli.train", fails)
    assert attend("train", "dates") == (
        *(1, ""),
        "attend: there is not enough memory for this: choose smaller numbers\n",
    )


def test_a_mistake_of_the_program_is_not_called_another(
    attend: Attend, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fails(*_: Any, **__: Any) -> None:
        raise RuntimeError("mat1 and mat2 shapes cannot be multiplied")

    monkeypatch.setattr("attend.cli.train", fails)
    with pytest.raises(RuntimeError, match="mat1 and mat2"):
        attend("train", "dates")


def test_the_command_that_resumes_gives_the_same_flags(talk: Path) -> None:
    assert resuming(DatesConfig()) == "attend train dates --resume"
    config = ChatbotConfig(
        out=Path("a folder/of mine"), lr=1e-5, attention="none"
    )
    words = shlex.split(resuming(config))
    assert words[:3] == ["attend", "train", "chatbot"]
    assert words[3:] == [
        *(
            "--out",
            "a folder/of mine",
            "--lr",
            "1e-05",
            "--attention",
            "none",
            "--resume",
        )
    ]


# --- What cannot be meant, or does not work ---


@pytest.mark.parametrize(
    ("command", "message"),
    [
        ("", "Expected one of {train, chat, translate}"),
        ("train", "Expected one of {chatbot, dates}"),
        ("train poems", "Unrecognized options: poems"),
        ("train chatbot --hiden-size 3", "Unrecognized options: --hiden-size"),
        ("train chatbot --hidden-size large", "Error parsing --hidden-size"),
        (
            "train chatbot --attention all",
            "invalid choice 'all' for argument '--attention'",
        ),
        (
            "train chatbot --hidden-size 0",
            "attend: --hidden-size must be at least 1, got 0\n",
        ),
        (
            "train chatbot --dropout 1.5",
            "attend: --dropout must be at least 0 and below 1, got",
        ),
        (
            "chat --method beam --beam-size 0",
            "attend: --beam-size must be at least 1, got 0\n",
        ),
        (
            "chat --temperature 0.5",
            "attend: --temperature is for --method sample\n",
        ),
        ("chat --beam-size 3", "attend: --beam-size is for --method beam\n"),
        (
            "chat --method beam --num-best 9",
            "attend: --num-best must be at most the beam size 5",
        ),
    ],
)
def test_a_command_that_cannot_be_meant(
    attend: Attend, command: str, message: str
) -> None:
    ended = attend(*command.split())
    assert (ended.status, ended.out) == (2, "")
    assert message in ended.err and "Traceback" not in ended.err


def test_a_search_that_does_not_fit_the_model(
    attend: Attend, chatbot: Path, dates: Path
) -> None:
    wide = attend(
        "chat", "--run", chatbot, "--method", "beam", "--beam-size", "500"
    )
    assert (wide.status, wide.out) == (2, "")
    assert re.fullmatch(
        r"attend: --beam-size 500 is larger than the model's vocabulary of "
        r"\d\d tokens\n",
        wide.err,
    )
    blind = attend(
        "translate", "--run", dates, "--show-attention", "May 1, 2024"
    )
    assert blind.status == 2
    assert "--show-attention needs a model with attention" in blind.err
    blind = attend(
        "translate", "--run", dates, "--coverage-penalty", "0.2", "May 1, 2024"
    )
    assert blind.status == 2
    assert "--coverage-penalty needs a model with attention" in blind.err


def test_a_run_of_another_recipe(
    attend: Attend, chatbot: Path, dates: Path
) -> None:
    for command, folder, instead in (
        ("chat", dates, "translate"),
        ("translate", chatbot, "chat"),
    ):
        ended = attend(command, "--run", folder)
        assert ended.status == 2
        assert f"use `attend {instead}`" in ended.err


def test_a_run_that_is_not_there_or_damaged(
    attend: Attend, chatbot: Path, tmp_path: Path
) -> None:
    missing = attend("chat")
    assert (missing.status, missing.out) == (1, "")
    assert missing.err == (
        "attend: there is no run in runs/chatbot: train one, or name another "
        "folder\n"
    )
    assert "there is no run in runs/dates" in attend("translate").err
    content = (chatbot / "best.pt").read_bytes()
    (tmp_path / "best.pt").write_bytes(content[:-100])
    damaged = attend("chat", "--run", tmp_path)
    assert damaged.status == 1
    assert damaged.err.endswith(
        "best.pt is damaged, or was cut off when it was copied: copy it "
        "again, or train again\n"
    )


@pytest.mark.parametrize("field", ["model", "config", "others", None])
def test_a_run_of_another_version(
    attend: Attend, copied: Path, trained: Run, field: str | None
) -> None:
    """A field is missing, or the whole file is of an older format."""
    config = replace(trained.config, out=copied)
    words = [*shlex.split(resuming(config))[1:-1], "--resume"]
    for name, command in (
        ("best.pt", ["chat", "--run", str(copied)]),
        ("last.pt", words),
    ):
        contents = checkpoints.load(copied / name)
        if field:
            del contents[field]
            checkpoints.save(copied / name, contents)
        else:
            content = (copied / name).read_bytes()
            old = content.replace(
                b"attend checkpoint 2", b"attend checkpoint 1"
            )
            assert old != content
            (copied / name).write_bytes(old)
        before = left_in(copied)
        ended = attend(*command, typed=b"What is it?\n")
        assert (ended.status, ended.out) == (1, "")
        assert ended.err == (
            f"attend: {copied / name} was made by another version of this "
            "library: use it with that version, or train again into another "
            "folder\n"
        )
        assert left_in(copied) == before


def left_in(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir()}


OS_ERRORS = [
    OSError(errno.EIO, "Input/output error"),
    OSError(errno.EIO, "Input/output error", "a file.tsv"),
    OSError("the quota is used up"),
    OSError(errno.EIO, None),
    OSError(),
]


@pytest.mark.parametrize("error", OS_ERRORS, ids=str)
@pytest.mark.parametrize("when", ["before", "while"])
def test_data_that_cannot_be_read(
    attend: Attend,
    tmp_path: Path,
    talk: Path,
    monkeypatch: pytest.MonkeyPatch,
    when: str,
    error: OSError,
) -> None:
    """Before or while training: it is said in words, and not of the curves."""

    def fails(*_: Any) -> None:
        raise error

    if when == "before":
        monkeypatch.setattr("attend.recipes.chatbot.dialogue", fails)
    else:
        monkeypatch.setattr(TextTask, "loss", fails)
    ended = attend("train", "chatbot", "--data", talk, *SMALL)
    assert ended.status == 1
    [line] = ended.err.splitlines()
    said = line.removeprefix("attend: ")
    assert said and "None" not in said and "curves" not in said
    assert said.startswith("a file.tsv: ") == (error.filename is not None)
    if error.errno is None:
        assert str(error) in said
    else:
        assert os.strerror(error.errno) in said
    assert (tmp_path / "runs").exists() == (when == "while")


def test_curves_that_cannot_be_written(
    attend: Attend, talk: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: Any) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(SummaryWriter, "flush", full)
    ended = attend("train", "chatbot", "--data", talk, *SMALL)
    assert ended.status == 1
    assert ended.err == (
        "attend: the curves in runs/chatbot cannot be written: the disk is "
        "full (No space left on device). Make room, and resume\n"
    )


def test_training_in_several_processes(
    attend: Attend,
    tmp_path: Path,
    talk: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("WORLD_SIZE", "2")
    ended = attend("train", "chatbot", "--data", talk, *SMALL)
    assert (ended.status, ended.out) == (1, "")
    assert ended.err == (
        "attend: this is one of 2 processes, and training in several is not "
        "there yet: start one, without torchrun\n"
    )
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (None, "attend: there is no dialogue 'talk.txt'"),
        (b"", "attend: talk.txt is empty"),
        (
            b"no tab\n",
            "attend: line 1 of talk.txt is 'no tab': it must be a prompt, "
            "one tab",
        ),
        (b"\xff\xfe\n", "attend: talk.txt is not in UTF-8"),
    ],
)
def test_data_that_is_not_right(
    attend: Attend, tmp_path: Path, content: bytes | None, message: str
) -> None:
    if content is not None:
        (tmp_path / "talk.txt").write_bytes(content)
    ended = attend("train", "chatbot", "--data", "talk.txt")
    assert (ended.status, ended.out) == (1, "")
    assert ended.err.startswith(message)
    assert not (tmp_path / "runs").exists()


def test_a_folder_that_cannot_be_made(
    attend: Attend, talk: Path, tmp_path: Path
) -> None:
    (tmp_path / "runs").write_text("a file")
    ended = attend("train", "chatbot", "--data", talk, *SMALL)
    assert (ended.status, ended.out) == (1, "")
    assert re.fullmatch(r"attend: runs/chatbot cannot be made: .*\n", ended.err)


def test_a_learning_rate_that_is_too_high(
    attend: Attend, talk: Path, tmp_path: Path
) -> None:
    ended = attend("train", "chatbot", "--data", talk, *SMALL, "--lr", "1e30")
    assert ended.status == 1
    assert re.fullmatch(
        r"attend: .* became .* in epoch 1: train again with a lower lr\. "
        r"runs/chatbot/last.pt still holds the weights from before\n",
        ended.err,
    )


# --- Chat and translation, piped ---


def test_each_line_piped_in_is_answered_by_a_line(
    attend: Attend, chatbot: Path
) -> None:
    ended = attend(
        "chat", "--run", chatbot, typed=b"What is 8 and 1?\n\n  and 3 ?\nquit\n"
    )
    assert ended.status == 0
    lines = ended.out.splitlines()
    assert len(lines) == 4 and lines[1] == ""
    assert ended.err == "(The model has never learned: quit)\n"


def test_unknown_words_and_odd_bytes_are_named_and_the_chat_goes_on(
    attend: Attend, chatbot: Path
) -> None:
    ended = attend(
        "chat",
        "--run",
        chatbot,
        typed="What is ß and 注?\nAnd 3?".encode() + b"\xff",
    )
    assert ended.status == 0
    assert len(ended.out.splitlines()) == 2
    assert ended.err.splitlines() == [
        "(The model has never learned: ß, 注)",
        "(The model has never learned: �)",
    ]


def test_several_replies_are_numbered(attend: Attend, chatbot: Path) -> None:
    ended = attend(
        "chat", "--run", chatbot, "--num-best", "3", typed=b"What is it?\n"
    )
    lines = ended.out.splitlines()
    assert [line[:3] for line in lines] == ["1. ", "2. ", "3. "]
    numbers = [
        float(re.search(r"\((-\d+\.\d\d)\)$", line)[1]) for line in lines
    ]
    assert numbers == sorted(numbers, reverse=True)


def test_asked_twice_a_sample_may_differ_but_a_chat_can_be_repeated(
    attend: Attend, chatbot: Path
) -> None:
    command = (
        "chat",
        "--run",
        chatbot,
        "--method",
        "sample",
        "--max-length",
        "9",
    )
    first, again = (
        attend(*command, typed=b"What is it?\n" * 6).out for _ in range(2)
    )
    assert first == again
    assert len(set(first.splitlines())) > 1
    assert (
        attend(*command, "--seed", "7", typed=b"What is it?\n" * 6).out != first
    )


def test_attention_is_shown(attend: Attend, chatbot: Path) -> None:
    ended = attend(
        "chat", "--run", chatbot, "--show-attention", typed=b"What is it?\n"
    )
    reply, heading, *rows = ended.out.splitlines()
    assert heading.split() == ["what", "is", "it", "?"]
    assert len(rows) >= 1 and re.search("[░▒▓█]", ended.out)


def test_texts_and_lines_are_looked_for_as_asked(
    attend: Attend, dates: Path
) -> None:
    for words, piped in (
        (["May 1, 2024"], b""),
        ([], b"May 1, 2024\n"),
    ):
        ended = attend(
            *("translate", "--run", dates, *words, "--num-best", "3"),
            typed=piped,
        )
        assert [line[:3] for line in ended.out.splitlines()] == [
            *("1. ", "2. ", "3. "),
        ]
        ended = attend(
            *("translate", "--run", dates, *words, "--max-length", "1"),
            *("--method", "greedy"),
            typed=piped,
        )
        assert len(ended.out) == 2


def test_translate_texts_or_lines(attend: Attend, dates: Path) -> None:
    given = attend("translate", "--run", dates, "May 1, 2024", "1 mai 2024")
    piped = attend(
        "translate", "--run", dates, typed=b"May 1, 2024\n1 mai 2024\n"
    )
    assert given.status == piped.status == 0
    assert given.out == piped.out and len(given.out.splitlines()) == 2
    empty = attend("translate", "--run", dates, "")
    assert (empty.status, empty.err) == (
        1,
        "attend: there is nothing to reply to in '': say something\n",
    )


def test_a_reader_who_has_seen_enough(
    attend: Attend, chatbot: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As in `attend chat < lines | head -1`."""
    reader, writer = os.pipe()
    os.close(reader)
    with open(writer, "w") as closed, monkeypatch.context() as patch:
        patch.setattr(sys, "stdout", closed)
        ended = attend("chat", "--run", chatbot, typed=b"What is it?\n" * 3)
    assert (ended.status, ended.err) == (1, "")


def test_stopped_at_once(
    attend: Attend, monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupted(folder: Path) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("attend.cli.load_run", interrupted)
    assert attend("chat") == (130, "", "attend: stopped at once\n")


# --- Attention in a terminal ---


def test_shades_grow_with_the_weight() -> None:
    weights = torch.tensor([[0.0, 0.19, 0.21, 0.5, 0.7, 1.0]])
    drawing = shaded(weights, list("abcdef"), ["x"], 80)
    assert drawing == "     a b c d e f\n  x      ░ ▒ ▓ █"


def test_words_of_any_width_stay_in_their_columns() -> None:
    weights = torch.eye(3)
    drawing = shaded(weights, ["I", "注意", " "], ["me", "注", "z"], 80)
    assert drawing.splitlines() == [
        "      I 注意 ␣",
        "  me  █",
        "  注    ████",
        "   z         █",
    ]


def test_keys_that_do_not_fit_go_below() -> None:
    weights = torch.full((1, 3), 1.0)
    drawing = shaded(
        weights, ["abc", "def", "a word that is too long"], ["x"], 13
    )
    assert drawing.splitlines() == [
        "     abc def",
        "  x  ███ ███",
        "",
        "     a word that is too long",
        "  x  " + "█" * 23,
    ]


# --- What a second reader found ---


def test_a_folder_that_looks_like_a_flag_can_be_resumed() -> None:
    words = shlex.split(resuming(ChatbotConfig(out=Path("-x"))))
    assert words == ["attend", "train", "chatbot", "--out=-x", "--resume"]


def test_help_is_not_broken_off_in_the_middle(
    attend: Attend, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In a wide terminal every flag's help is one line.

    A docstring of several lines would be broken where its lines end.
    """
    monkeypatch.setenv("COLUMNS", "230")
    for command in (["train", name] for name in RECIPES):
        assert broken_off(attend(*command, "--help").out) == []
    for command in (["chat"], ["translate"]):
        assert broken_off(attend(*command, "--help").out) == []


def broken_off(text: str) -> list[str]:
    """Return the lines of flags whose help does not end on them."""
    lines = [re.sub("[│─]", "", line).strip() for line in text.splitlines()]
    return [
        line
        for line in lines
        if re.match(r"--\S+( \S+)?  +\S", line) and not line.endswith(")")
    ]


def test_stdout_that_is_full(
    attend: Attend, talk: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(line: str) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(tqdm, "write", full)
    ended = attend("train", "chatbot", "--data", talk, *SMALL)
    assert (ended.status, ended.err) == (
        1,
        "attend: stdout cannot be written: No space left on device\n",
    )


def test_ctrl_c_that_also_ends_who_reads(
    attend: Attend, talk: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As in `attend train chatbot | tee log`: stderr says how to go on."""

    def stopped(*arguments: object, **options: object) -> None:
        raise Stopped(signal.SIGINT, Path("runs/chatbot"))

    monkeypatch.setattr("attend.cli.train", stopped)
    reader, writer = os.pipe()
    os.close(reader)
    with open(writer, "w") as closed, monkeypatch.context() as patch:
        patch.setattr(sys, "stdout", closed)
        ended = attend("train", "chatbot", "--data", talk)
    assert ended.status == 130
    assert "Stopped, and saved. To go on:" in ended.err
    assert "--resume" in ended.err
