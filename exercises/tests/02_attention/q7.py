"""One step of Luong's decoder: a test for each bug, whatever the others do."""

import torch
from otter.test_files import test_case
from torch import Tensor, nn

from attend.grading import expect_close, expect_tensor, show
from attend.rnn import LuongDecoder, Seq2SeqConfig

OK_FORMAT = False
name = "q7"
points = None

BATCH, SRC, D_EMBED, D = 3, 7, 2, 5


def arguments() -> dict[str, object]:
    """The arguments of a step: three sentences of seven tokens, no padding."""
    # the grader gives the notebook its own random state back
    torch.manual_seed(0)
    return {
        "x": torch.rand(BATCH, D_EMBED),
        "state": tuple(torch.rand(BATCH, D) for _ in range(3)),
        "memory": torch.rand(BATCH, SRC, D),
        "mask": torch.ones(BATCH, SRC, dtype=torch.bool),
        "cell": nn.LSTMCell(D_EMBED + D, D),
        "w_a": 4 * torch.rand(D, D) - 2,
        "w_c": torch.rand(D, 2 * D),
    }


def padded() -> Tensor:
    """The last three tokens of the first sentence are padding."""
    return torch.arange(SRC) < torch.tensor([[4], [7], [7]])


def weights_of(result: object) -> Tensor:
    """The attention weights, the last of the three results."""
    _, _, weights = result
    return expect_tensor(
        weights, (BATCH, SRC), axes="batch, src", name="weights"
    )


@test_case(
    points=1,
    failure_message=(
        "The weights do not change with the new token. Luong moves first and "
        "then looks: the query is the new state. Is yours still the old one? "
        "(With Bahdanau it would be right.)"
    ),
)
def test_the_new_state_asks(luong_step):
    first = arguments()
    second = {**arguments(), "x": -3 * first["x"]}
    before, after = (
        weights_of(luong_step(**first)),
        weights_of(luong_step(**second)),
    )
    assert not torch.allclose(before, after, atol=1e-5), (
        "two tokens, the same state: expected two sets of weights, got twice "
        f"{show(before[0, :3])[:-1]}, …]"
    )


@test_case(
    points=1,
    failure_message=(
        "The weights of a sentence do not sum to one over its tokens. Along "
        "which axis does the softmax go? The sentences of a batch must not "
        "compete with each other."
    ),
)
def test_softmax_over_the_source(luong_step):
    weights = weights_of(luong_step(**arguments()))
    expect_close(
        weights.sum(dim=1),
        torch.ones(BATCH),
        name="no padding, sums over the tokens",
    )


@test_case(
    points=1,
    failure_message="Padding gets weight. Does your step still use the mask?",
)
def test_padding_gets_nothing(luong_step):
    weights = weights_of(luong_step(**{**arguments(), "mask": padded()}))
    leaked = weights[~padded()].sum().item()
    assert leaked == 0, (
        f"three tokens of padding: expected weight 0 in all, got {show(leaked)}"
    )


@test_case(
    points=1,
    failure_message=(
        "Where there is padding, the weights do not sum to one. Is the mask "
        "applied after the softmax? Then the padding has already taken its "
        "share."
    ),
)
def test_mask_before_the_softmax(luong_step):
    weights = weights_of(luong_step(**{**arguments(), "mask": padded()}))
    name = "padding in the first sentence only, sums over the tokens"
    expect_close(weights.sum(dim=1), torch.ones(BATCH), name=name)


@test_case(
    points=1,
    failure_message=(
        "The context is not the weighted mean of the memory. Which tensor do "
        "your weights multiply? The keys, W_a times the memory, are for the "
        "scores only."
    ),
)
def test_context_comes_from_the_memory(luong_step):
    given = arguments()
    # context + state, in whichever order
    given["w_c"] = 0.1 * torch.eye(D).repeat(1, 2)
    result = luong_step(**given)
    weights = weights_of(result)
    h, c, feed = given["state"]
    new_h, _ = given["cell"](torch.cat([given["x"], feed], dim=-1), (h, c))
    context = (weights[:, None] @ given["memory"]).squeeze(1)
    expected = (0.1 * (context + new_h)).tanh()
    got = expect_tensor(result[0], (BATCH, D), axes="batch, d", name="feature")
    name = "W_c that adds context and state: feature of the first sentence"
    expect_close(got[0], expected[0], name=name)


@test_case(
    points=1,
    failure_message=(
        "The next step is not fed with this step's feature. Input feeding "
        "needs the new attentional vector in the new state. Which vector do "
        "you hand on?"
    ),
)
def test_feature_is_fed_on(luong_step):
    feature, (_, _, feed), _ = luong_step(**arguments())
    expect_tensor(
        feed, (BATCH, D), axes="batch, d", name="the vector in the new state"
    )
    expect_close(feed[0], feature[0], name="the vector in the new state")


@test_case(
    points=1,
    failure_message=(
        "The first step or the second is not that of Luong's decoder. Read "
        "the equations again, line by line: what goes into the cell, in "
        "which order are context and state joined?"
    ),
)
def test_two_steps_beside_the_library(luong_step):
    given = {**arguments(), "mask": padded()}
    config = Seq2SeqConfig(
        2,
        2,
        D_EMBED,
        D,
        num_layers=1,
        dropout=0.0,
        attention="luong",
        score="bilinear",
    )
    decoder = LuongDecoder(config)
    with torch.no_grad():
        decoder.cells[0].load_state_dict(given["cell"].state_dict())
        decoder.score.w.copy_(given["w_a"])
        decoder.combine.weight.copy_(given["w_c"])
        decoder.combine.bias.zero_()
    h, c, feed = given["state"]
    start = decoder.start(
        given["memory"], padded()[:, None], h[:, None], c[:, None]
    )
    state = {**start, "feed": feed}
    for step in ("first", "second"):
        expected, state = decoder.read(given["x"], state)
        got, given["state"], _ = luong_step(**given)
        expect_tensor(got, (BATCH, D), axes="batch, d", name="feature")
        expect_close(
            got[0],
            expected[0],
            name=f"feature of the {step} step, first sentence",
        )
