"""The command with closed streams, many times over: a program for a test.

Each command is a process of its own, forked from this one, which has loaded
PyTorch once. In it the streams are as Python leaves them where the caller has
closed them: there is no descriptor, and the stream is None.
"""

import itertools
import json
import os
import sys
import traceback
from pathlib import Path

from attend import start
from attend.recipes.chatbot import ChatbotConfig
from attend.recipes.dates import DatesConfig
from attend.trainer import train

SIZES = ["--epochs", "1", "--hidden-size", "5", "--embed-size", "3"]
STREAMS = ("stdin", "stdout", "stderr")


def commands(folder: Path) -> dict[str, list[str]]:
    """What is run in each way; the last one fails."""
    chatbot = ["chatbot", "--data", "talk.tsv", *SIZES]
    return {
        "train": ["train", *chatbot, "--out", str(folder / "run")],
        "chat": ["chat", "--run", "chatbot", "--method", "greedy"],
        "translate": ["translate", "--run", "dates", "May 1, 2024"],
        "fails": ["chat", "--run", "nowhere"],
    }


def run(words: list[str], closed: tuple[str, ...], folder: Path) -> int:
    """Run a command with some streams closed; return its status."""
    child = os.fork()
    if not child:
        folder.mkdir()
        (folder / "stdin").write_text("what is it ?\nand 3 ?\n")
        for number, name in enumerate(STREAMS):
            kind = os.O_RDWR | os.O_CREAT
            os.dup2(os.open(folder / name, kind), number)
        for number, name in enumerate(STREAMS):
            if name in closed:
                os.close(number)
                setattr(sys, name, None)
        sys.argv = ["attend", *words]
        try:
            start.main()
            status = 0
        except SystemExit as end:
            status = end.code if isinstance(end.code, int) else 99
        except BaseException:
            (folder / "traceback").write_text(traceback.format_exc())
            status = 98
        for stream in (sys.stdout, sys.stderr):
            stream.flush()
        os._exit(status)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


def main() -> None:
    """Run every command with every choice of closed streams."""
    sizes = {"epochs": 1, "hidden_size": 5, "embed_size": 3}
    train(ChatbotConfig(out=Path("chatbot"), data="talk.tsv", **sizes))
    train(DatesConfig(out=Path("dates"), num=100, **sizes))
    statuses = {}
    for number in range(4):
        for closed in itertools.combinations(STREAMS, number):
            for name in commands(Path()):
                folder = Path(f"{name} without {' '.join(closed)}")
                words = commands(folder)[name]
                statuses[folder.name] = run(words, closed, folder)
    Path("statuses.json").write_text(json.dumps(statuses))


if __name__ == "__main__":
    sys.exit(main())
