import torch
from otter.test_files import test_case

from attend.grading import expect_close, expect_tensor

OK_FORMAT = False
name = "q2"
points = None


def loss_of(masked_loss, logits, tgt, pad_id=0):
    got = masked_loss(torch.tensor(logits), torch.tensor(tgt), pad_id)
    return expect_tensor(
        got, (), axes="no dimension, one number", name="the loss"
    )


@test_case(
    points=1,
    failure_message=(
        "The loss of one single token is already wrong. It is minus the log "
        "of the probability that softmax gives to the right token. Is the "
        "minus there? Is softmax applied only once? F.cross_entropy wants "
        "raw logits: it has its own log-softmax inside."
    ),
)
def test_one_token(masked_loss):
    got = loss_of(masked_loss, [[[0.0, 1.0, 2.0]]], [[2]])
    expect_close(
        got,
        0.4076,
        name="logits [0, 1, 2], target 2, so -log(e²/(e⁰ + e¹ + e²))",
    )


@test_case(
    points=1,
    failure_message=(
        "Your loss is not the mean over the tokens. Did you take the sum? "
        "With a sum a batch of long sentences takes bigger steps than a "
        "batch of short ones."
    ),
)
def test_mean(masked_loss):
    got = loss_of(masked_loss, [[[0.0, 0.0, 0.0]] * 2], [[2, 1]])
    expect_close(got, 1.0986, name="two tokens, each with loss log 3 = 1.099")


@test_case(
    points=1,
    failure_message=(
        "With two tokens your loss is wrong. Did you mix up positions and "
        "vocabulary? To swap two dimensions, transpose them. `view` and "
        "`reshape` leave the numbers in their order and only cut the rows "
        "elsewhere."
    ),
)
def test_positions_stay_apart(masked_loss):
    got = loss_of(masked_loss, [[[0.0, 0.0, 9.0], [0.0, 9.0, 0.0]]], [[2, 1]])
    expect_close(
        got,
        0.0002,
        name="logits [[0, 0, 9], [0, 9, 0]], targets [2, 1], sure and right",
    )


@test_case(
    points=1,
    failure_message=(
        "Padding still adds to your loss. Where the target is pad_id there "
        "is nothing to predict: whatever the logits are there, the loss must "
        "stay the same."
    ),
)
def test_padding_adds_nothing(masked_loss):
    before = loss_of(
        masked_loss, [[[0.0, 0.0, 0.0], [5.0, 0.0, 0.0]]], [[2, 0]]
    )
    after = loss_of(masked_loss, [[[0.0, 0.0, 0.0], [0.0, 5.0, 0.0]]], [[2, 0]])
    expect_close(
        after, before.item(), name="targets [2, pad], other logits at pad"
    )


@test_case(
    points=1,
    failure_message=(
        "More padding makes your loss smaller. Did you divide by all "
        "positions? The losses at padding are gone from the sum, so do not "
        "count them: divide by the number of real tokens."
    ),
)
def test_padding_is_not_counted(masked_loss):
    got = loss_of(masked_loss, [[[0.0, 0.0, 0.0]] * 4], [[2, 0, 0, 0]])
    expect_close(
        got,
        1.0986,
        name="one real token with loss log 3 = 1.099, and three of padding",
    )


@test_case(
    points=1,
    failure_message=(
        "The tokens of a short sentence count for more than those of a long "
        "one. Did you take the mean of each sentence, then the mean of these "
        "means? Take one mean over all real tokens."
    ),
)
def test_mean_over_tokens(masked_loss):
    sure, guess = [0.0, 0.0, 9.0], [0.0, 0.0, 0.0]
    got = loss_of(
        masked_loss,
        [[sure, sure, sure], [guess, guess, guess]],
        [[2, 2, 2], [2, 0, 0]],
    )
    expect_close(
        got,
        0.2748,
        name="losses 0, 0, 0 and, in a sentence of one token, 1.099",
    )


@test_case(
    points=1,
    failure_message=(
        "Your loss is wrong when pad_id is not 0. Did you forget to use the "
        "argument? Another vocabulary may pad with another number, and then "
        "0 is a token like any other."
    ),
)
def test_pad_id(masked_loss):
    got = loss_of(
        masked_loss, [[[0.0, 0.0, 0.0], [0.0, 9.0, 0.0]]], [[0, 2]], pad_id=2
    )
    expect_close(
        got,
        1.0986,
        name="targets [0, 2] with pad_id 2; the loss of token 0 is log 3",
    )
