import torch
from otter.test_files import test_case

from attend.grading import expect_tensor
from attend.grading.expect import UnusableAnswerError

OK_FORMAT = False
name = "q5"
points = None

BOS, EOS, VOCAB = 1, 2, 7


class Model:
    """A model whose next token is the one that follows the last in `follows`.

    It says what it is sure of, or, with `sure` False, is only a little in
    favour. Where it goes by the clock, the next token is the one at the number
    of steps that the state has counted.
    """

    def __init__(self, follows, limit, sure=True, clock=False):
        self.follows, self.limit, self.clock = follows, limit, clock
        self.odds = 1000.0 if sure else 1.5
        self.fed = []

    def step(self, tokens, state):
        expect_tensor(
            tokens,
            (1,),
            torch.int64,
            axes="batch",
            name="tokens, as you call step",
        )
        if not isinstance(state, dict):
            kind = type(state).__name__
            raise UnusableAnswerError(
                f"state, as you call step: expected a dict, got a {kind}"
            )
        assert len(self.fed) < self.limit, (
            f"max_length {self.limit}: step was called once more"
        )
        self.fed.append(int(tokens))
        count = int(state["steps"])
        token = self.follows[count if self.clock else int(tokens)]
        odds = torch.ones(1, VOCAB)
        odds[0, token] = self.odds
        return (odds / odds.sum()).log(), {"steps": state["steps"] + 1}


def decode(greedy_decode, step, state, max_length):
    """Decode; return the answer if it is a list of lists of plain integers."""
    got = greedy_decode(step, state, BOS, EOS, max_length)
    if got is None:
        raise UnusableAnswerError(
            "expected a list of lists of ids, got None: is a `return` missing?"
        )
    if not isinstance(got, list) or not all(
        isinstance(ids, list) for ids in got
    ):
        inner = (
            f" of {type(got[0]).__name__}"
            if isinstance(got, list) and got
            else ""
        )
        raise UnusableAnswerError(
            "expected a list with one list of ids for each sentence, got a "
            f"{type(got).__name__}{inner}; `.tolist()` turns a tensor into "
            "lists"
        )
    batch = len(next(iter(state.values())))
    if len(got) != batch:
        raise UnusableAnswerError(
            f"expected {batch} lists, one for each sentence, got {len(got)}"
        )
    if strange := [
        token for ids in got for token in ids if not isinstance(token, int)
    ]:
        raise UnusableAnswerError(
            "expected plain integers as ids, got a "
            f"{type(strange[0]).__name__}: `.tolist()` or `.item()` makes them"
        )
    return got


def decode_one(greedy_decode, model, max_length):
    state = {"steps": torch.zeros(1, dtype=torch.int64)}
    return decode(greedy_decode, model.step, state, max_length)[0]


def two_sentences(greedy_decode):
    """Decode a batch of two sentences; return them and the number of calls.

    The sentences are 3, EOS and 4, 5, 6, EOS.
    """
    scripts = torch.tensor([[3, EOS, 3, 3, 3, 3, 3], [4, 5, 6, EOS, 4, 4, 4]])
    calls = []

    def step(tokens, state):
        expect_tensor(
            tokens,
            (2,),
            torch.int64,
            axes="batch",
            name="tokens, as you call step",
        )
        calls.append(tokens.tolist())
        assert len(calls) <= 7, "max_length 7: step was called once more"
        best = scripts.gather(1, state["steps"][:, None])  # (batch, 1)
        log_probs = torch.full((2, VOCAB), -9.0).scatter(1, best, 0.0)
        return log_probs, {"steps": state["steps"] + 1}

    state = {"steps": torch.zeros(2, dtype=torch.int64)}
    return decode(greedy_decode, step, state, 7), len(calls)


@test_case(
    points=1,
    failure_message=(
        "Your decoding does not end after max_length tokens. A model that "
        "never says EOS would keep it in the loop for ever. Let a `for` "
        "count the steps."
    ),
)
def test_max_length(greedy_decode):
    model = Model([3] * VOCAB, limit=5)
    decode_one(greedy_decode, model, 5)
    assert len(model.fed) == 5, (
        f"max_length 5, and no EOS: expected 5 steps, got {len(model.fed)}"
    )


@test_case(
    points=1,
    failure_message=(
        "You feed the model the wrong token. The first one is BOS; after "
        "that each step reads the token that the step before has chosen."
    ),
)
def test_feeds_its_own_tokens(greedy_decode):
    model = Model([0, 3, 0, 5, 6, 4, 0], limit=4)
    decode_one(greedy_decode, model, 4)
    assert model.fed == [1, 3, 5, 4], (
        "after BOS = 1 the model says 3, after 3 it says 5, after 5 it says "
        f"4:\n  expected to be fed [1, 3, 5, 4]\n  got             {model.fed}"
    )


@test_case(
    points=1,
    failure_message=(
        "Your model does not remember. Do you give every step the same old "
        "state? `step` returns a new one: keep it and hand it to the next "
        "step."
    ),
)
def test_passes_the_state_on(greedy_decode):
    model = Model([3, 4, 5, 6], limit=4, clock=True)
    got = [
        token for token in decode_one(greedy_decode, model, 4) if token != BOS
    ]
    assert got == [3, 4, 5, 6], (
        "a model that reads what to say off its state: expected [3, 4, 5, "
        f"6], got {got}"
    )


@test_case(
    points=1,
    failure_message=(
        "Your token is not the most likely one. Greedy decoding takes the "
        "largest log-probability over the vocabulary, the same every time: "
        "no draw, and no smallest."
    ),
)
def test_most_likely(greedy_decode):
    model = Model([3] * VOCAB, limit=11, sure=False)
    got = [
        token for token in decode_one(greedy_decode, model, 11) if token != BOS
    ]
    assert got == [3] * 11, (
        f"11 times token 3 is the most likely one: expected only 3, got {got}"
    )


@test_case(
    points=1,
    failure_message=(
        "Your result begins with BOS. BOS starts the model off, but the "
        "model did not say it, and nobody wants to read it."
    ),
)
def test_no_bos(greedy_decode):
    got = decode_one(greedy_decode, Model([3] * VOCAB, limit=3), 3)
    assert got == [3, 3, 3], (
        f"a model that only says 3: expected [3, 3, 3], got {got}"
    )


@test_case(
    points=1,
    failure_message=(
        "A finished sentence goes on after EOS. What the model says after "
        "EOS means nothing: cut it off, even while other sentences of the "
        "batch still go on."
    ),
)
def test_nothing_after_eos(greedy_decode):
    got, _ = two_sentences(greedy_decode)
    ids = [token for token in got[0] if token != BOS]
    assert ids in ([3, EOS], [3]), (  # a missing EOS has a test case of its own
        f"EOS is 2; the shorter of two sentences: expected [3, 2], got {got[0]}"
    )


@test_case(
    points=1,
    failure_message=(
        "A long sentence is cut short. Do you stop as soon as one sentence "
        "of the batch ends? Remember which have ended, and go on until all "
        "of them have."
    ),
)
def test_each_sentence_has_its_own_end(greedy_decode):
    got, _ = two_sentences(greedy_decode)
    assert got[1][:3] == [4, 5, 6], (
        "EOS is 2; the longer of two sentences: expected [4, 5, 6, 2], got "
        f"{got[1]}"
    )


@test_case(
    points=1,
    failure_message=(
        "Your sentence lacks its EOS. Keep it as the last token: it tells a "
        "sentence that has ended from one that was cut off at max_length."
    ),
)
def test_eos_is_kept(greedy_decode):
    got, _ = two_sentences(greedy_decode)
    assert [ids[-1:] for ids in got] == [[EOS], [EOS]], (
        f"EOS is 2: expected [[3, 2], [4, 5, 6, 2]], got {got}"
    )


@test_case(
    points=1,
    failure_message=(
        "Your result is right but you do too much work: all sentences have "
        "ended, and still you call step. Leave the loop then."
    ),
)
def test_stops_when_all_have_ended(greedy_decode):
    _, calls = two_sentences(greedy_decode)
    assert calls == 4, (
        "the longest sentence has 4 tokens: expected 4 calls of step, got "
        f"{calls}"
    )
