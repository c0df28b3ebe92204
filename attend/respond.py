"""A trained model, used: texts in, texts out."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor

from attend.data import Vocabulary
from attend.decoding import NBest
from attend.flags import FlagError
from attend.recipes import RECIPES
from attend.recipes.text import TextConfig, stored_vocabulary
from attend.rnn import Seq2Seq
from attend.search import BEAM, SearchConfig, search_targets
from attend.trainer import CheckpointError, TrainConfig, checkpoints
from attend.trainer.process import this_process


class Run(NamedTuple):
    """A trained model, in eval mode, and what it takes to talk to it.

    Attributes:
        config: the flags it was trained with.
        src_vocab: what the ids of texts mean.
        tgt_vocab: what the ids of replies mean.
        others: some sources of the training data, against which mutual
            information is measured.
        model: the model.
        device: where it computes.
    """

    config: TextConfig
    src_vocab: Vocabulary
    tgt_vocab: Vocabulary
    others: list[list[int]]
    model: Seq2Seq
    device: torch.device

    def unknown(self, text: str) -> list[str]:
        """The tokens of a text that the model has never learned, each once."""
        tokens = dict.fromkeys(self.config.tokenize(text))
        return [token for token in tokens if token not in self.src_vocab.ids]

    def search(
        self, sources: Sequence[Sequence[int]], search: SearchConfig
    ) -> NBest:
        """What the model writes for some sources, given as ids.

        Raises:
            ValueError: if the search does not fit the model.
        """
        given = (self.model, self.tgt_vocab, sources, search)
        return search_targets(*given, self.others, self.device)


def load_run(folder: Path) -> Run:
    """Read the best model of a training run, finished or not.

    Raises:
        CheckpointError: if there is none, or its file is damaged, or made by
            another version.
    """
    path = folder / "best.pt"
    if not path.exists():
        begun = (folder / "last.pt").exists()
        raise CheckpointError(
            f"the run in {folder} has not finished its first epoch: resume it"
            if begun
            else f"there is no run in {folder}: train one, or name another "
            "folder"
        )
    saved = checkpoints.load(path)
    with checkpoints.understood(path):
        config = stored_config(saved, folder)
        if not isinstance(config, TextConfig):
            raise CheckpointError(
                f"the run in {folder} is one of {config.name}, which writes no "
                "texts: name another folder"
            )
        src_vocab, tgt_vocab = (
            stored_vocabulary(saved[name])
            for name in ("src_tokens", "tgt_tokens")
        )
        model = config.same_model(saved["model_config"])
        model.load_state_dict(saved["model"])
        others = saved["others"]
    device = this_process().device
    model.to(device).eval()
    return Run(config, src_vocab, tgt_vocab, others, model, device)


def stored_config(saved: dict[str, Any], folder: Path) -> TrainConfig:
    """The flags in a checkpoint, with the folder where it is now.

    Raises:
        LookupError: if there is no such recipe.
        TypeError: if it has other flags.
        ValueError: if its flags are refused today.
    """
    try:
        return RECIPES[saved["recipe"]](**{**saved["config"], "out": folder})
    except FlagError as error:
        raise ValueError(str(error)) from error


class Response(NamedTuple):
    """One reply to a text.

    Attributes:
        text: the reply as a person would write it.
        tokens: its tokens.
        log_prob: the model's log-probability of the reply, its end included, in
            nats.
        score: what replies are ranked by; the log-probability unless there are
            penalties.
        weights: `(tokens, tokens of the text)`, where the model looked; None
            without attention.
    """

    text: str
    tokens: list[str]
    log_prob: float
    score: float
    weights: Float[Tensor, "tgt src"] | None


def respond(
    run: Run, texts: Sequence[str], search: SearchConfig = BEAM
) -> list[list[Response]]:
    """Reply to each text: `search.num_best` times.

    The best comes first; samples come as they were drawn.

    Raises:
        ValueError: if a text is empty, or the search does not fit the model.
    """
    sources = [
        run.src_vocab.encode(run.config.tokenize(text)) for text in texts
    ]
    for text, source in zip(texts, sources, strict=True):
        if not source:
            raise ValueError(
                f"there is nothing to reply to in {text!r}: say something"
            )
    found = run.search(sources, search)
    return [
        [
            written(run, found, row, place, len(source))
            for place in range(found.lengths.shape[1])
            if found.lengths[row, place] > 0
        ]
        for row, source in enumerate(sources)
    ]


def written(
    run: Run, found: NBest, row: int, place: int, src_length: int
) -> Response:
    """Write out one of the sequences found."""
    tokens = run.tgt_vocab.decode(found.tokens[row, place].tolist())
    weights = found.weights
    if weights is not None:
        weights = weights[row, place, ..., : len(tokens), :src_length].cpu()
        if weights.dim() > 2:  # the mean over layers and heads
            weights = weights.flatten(0, -3).mean(dim=0)
    return Response(
        run.config.detokenize(tokens),
        tokens,
        found.log_probs[row, place].item(),
        found.scores[row, place].item(),
        weights,
    )
