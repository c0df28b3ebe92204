"""What a beam costs: the time of beam search in multiples of greedy search.

256 sentences, models of untrained weights that never end a sentence, so that
both searches take the same number of steps. Each ratio is the median of several
rounds, in each of which the two are timed one after the other. Exit status 1 if
a beam of 4 costs more than 5 times greedy search.
"""

import statistics
import sys
import time
from collections.abc import Callable

import torch

from attend.attention import ScoreName
from attend.data import Vocabulary
from attend.decoding import beam_search, greedy
from attend.rnn import ATTENTIONS, AttentionName, Seq2Seq, Seq2SeqConfig
from attend.training import reproducible

SENTENCES, SOURCE_LENGTH, STEPS = 256, 12, 16
ROUNDS = 7
BEAM_SIZES = (1, 2, 4, 8)
LIMIT = (4, 5.0)  # a beam of 4 may cost 5 times greedy search
SCORES: dict[AttentionName, ScoreName] = {
    "none": "dot",
    "bahdanau": "additive",
    "luong": "dot",
}
VOCABULARIES = {"characters": 30, "words": 1_000}


def seconds(run: Callable[[], object]) -> float:
    """Return how long one call takes."""
    start = time.perf_counter()
    run()
    return time.perf_counter() - start


@torch.no_grad()
def ratios(attention: AttentionName, vocab_size: int) -> dict[int, float]:
    """Return, for each beam size, the time in multiples of greedy search."""
    reproducible(0)
    config = Seq2SeqConfig(
        vocab_size,
        vocab_size,
        d_embed=64,
        d_hidden=128,
        num_layers=1,
        attention=attention,
        score=SCORES[attention],
    )
    model = Seq2Seq(config).eval()
    # never likely: no sentence ends
    model.output.bias[Vocabulary.eos_id] = -1e4
    src = torch.randint(3, vocab_size, (SENTENCES, SOURCE_LENGTH))
    state = model.encode(src, torch.full((SENTENCES,), SOURCE_LENGTH))
    first = torch.full((SENTENCES,), Vocabulary.bos_id)
    ids = (Vocabulary.eos_id, Vocabulary.pad_id, STEPS)

    def base() -> float:
        return seconds(lambda: greedy(model.step, state, first, *ids))

    def beam(size: int) -> float:
        given = (model.step, state, first, *ids)
        return seconds(lambda: beam_search(*given, beam_size=size))

    # the first warms up
    rounds = [(base(), *map(beam, BEAM_SIZES)) for _ in range(ROUNDS + 1)][1:]
    return {
        size: statistics.median(times[i + 1] / times[0] for times in rounds)
        for i, size in enumerate(BEAM_SIZES)
    }


def main() -> int:
    """Print the table of ratios."""
    print(
        f"{SENTENCES} sentences, {STEPS} steps; time in multiples of greedy "
        "search"
    )
    print(
        f"{'model':<10}{'vocabulary':<20}",
        *(f"k = {size:<4}" for size in BEAM_SIZES),
    )
    worst = 0.0
    for name, vocab_size in VOCABULARIES.items():
        for attention in ATTENTIONS:
            measured = ratios(attention, vocab_size)
            worst = max(worst, measured[LIMIT[0]])
            row = "  ".join(f"{ratio:6.2f}" for ratio in measured.values())
            print(
                f"{attention:<10}{f'{vocab_size} {name}':<18}{row}", flush=True
            )
    verdict = "within" if worst <= LIMIT[1] else "ABOVE"
    print(
        f"a beam of {LIMIT[0]} costs at most {worst:.2f} times greedy search: "
        f"{verdict} {LIMIT[1]}"
    )
    return int(worst > LIMIT[1])


if __name__ == "__main__":
    sys.exit(main())
