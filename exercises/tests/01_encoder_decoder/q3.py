import torch
from otter.test_files import test_case
from torch import nn

from attend.grading import expect_close

OK_FORMAT = False
name = "q3"
points = None

AXES = "batch, d_hidden"
SURE = 30.0  # as a bias, it makes the sigmoid of a gate 1; with a minus, 0


def run(
    gru_cell,
    r=(0.0, 0.0),
    z=(-SURE, -SURE),
    w_hn=((0.0, 0.0), (0.0, 0.0)),
    b_hn=(0.0, 0.0),
):
    """One step on x = 0.5, h = (0.4, -0.8), with given biases of the gates."""
    x, h = torch.tensor([[0.5]]), torch.tensor([[0.4, -0.8]])
    w_ih = torch.tensor([[0.0], [0.0], [0.0], [0.0], [2.0], [2.0]])
    b_ih = torch.tensor([*r, *z, 0.0, 0.0])
    w_hh = torch.cat([torch.zeros(4, 2), torch.tensor(w_hn)])
    b_hh = torch.tensor([0.0, 0.0, 0.0, 0.0, *b_hn])
    return gru_cell(x, h, w_ih, w_hh, b_ih, b_hh)


@test_case(
    points=1,
    failure_message=(
        "Where z is 1 the cell must keep its old state, and yours does not. "
        "Did you swap z and 1 - z? The new state is h' = (1 - z) n + z h."
    ),
)
def test_z_keeps(gru_cell):
    got = run(gru_cell, r=(SURE, SURE), z=(SURE, SURE))
    expect_close(
        got,
        torch.tensor([[0.4, -0.8]]),
        axes=AXES,
        name="z = 1, h = [0.4, -0.8]",
    )


@test_case(
    points=1,
    failure_message=(
        "Your candidate n is wrong even when nothing comes from the old "
        "state. Did you forget its tanh? Without it the state can grow "
        "without end; with a sigmoid it is never negative."
    ),
)
def test_candidate_is_tanh(gru_cell):
    got = run(gru_cell, r=(-SURE, -SURE))
    name = "r = 0, z = 0, W_in x = [1, 1], so n = tanh 1"
    expect_close(got, torch.tensor([[0.7616, 0.7616]]), axes=AXES, name=name)


@test_case(
    points=1,
    failure_message=(
        "With r = 1 and z = 0 the new state should be the candidate. Are "
        "your gates in the wrong order? The rows of the weights are stacked "
        "as r, z, n, as in PyTorch. (Keras has z first.)"
    ),
)
def test_order_of_the_gates(gru_cell):
    got = run(gru_cell, r=(SURE, SURE))
    name = "r = 1, z = 0, W_in x = [1, 1], so h' = n = tanh 1"
    expect_close(got, torch.tensor([[0.7616, 0.7616]]), axes=AXES, name=name)


@test_case(
    points=1,
    failure_message=(
        "Your reset gate resets nothing. Where r is 0 the candidate n must "
        "not feel the old state h: multiply what comes from h by r before "
        "you take the tanh."
    ),
)
def test_r_resets(gru_cell):
    got = run(gru_cell, r=(-SURE, -SURE), w_hn=((1.0, 0.0), (0.0, 1.0)))
    name = "r = 0, z = 0, W_in x = [1, 1], so n = tanh 1"
    expect_close(got, torch.tensor([[0.7616, 0.7616]]), axes=AXES, name=name)


@test_case(
    points=1,
    failure_message=(
        "Your r acts in the wrong place. Did you apply it before the matrix "
        "product, as W_hn (r * h)? Multiply after it, as r * (W_hn h + "
        "b_hn). The two differ as soon as W_hn mixes the units."
    ),
)
def test_r_after_the_product(gru_cell):
    got = run(gru_cell, r=(SURE, -SURE), w_hn=((0.0, 1.0), (1.0, 0.0)))
    name = "r = [1, 0], W_in x = [1, 1], W_hn h = [-0.8, 0.4]"
    expected = torch.tensor([[1 - 0.8, 1.0]]).tanh()
    expect_close(got, expected, axes=AXES, name=name)


@test_case(
    points=1,
    failure_message=(
        "Where r is 0 the bias b_hn must have no effect. Is it outside the "
        "reset gate? It belongs to what comes from h, so r multiplies it, "
        "too: r * (W_hn h + b_hn)."
    ),
)
def test_bias_inside(gru_cell):
    got = run(gru_cell, r=(-SURE, -SURE), b_hn=(1.0, 1.0))
    name = "r = 0, z = 0, b_hn = [1, 1], so n = tanh 1"
    expect_close(got, torch.tensor([[0.7616, 0.7616]]), axes=AXES, name=name)


@test_case(
    points=1,
    failure_message=(
        "The parts are right, but the whole differs from nn.GRUCell. Does "
        "each gate get all four of its terms: W_i x, b_i, W_h h and b_h?"
    ),
)
def test_equals_pytorch(gru_cell):
    torch.manual_seed(0)
    cell = nn.GRUCell(3, 5)
    x, h = torch.rand(2, 3), torch.rand(2, 5)
    weights = (cell.weight_ih, cell.weight_hh, cell.bias_ih, cell.bias_hh)
    got = gru_cell(x, h, *(weight.detach() for weight in weights))
    expect_close(got, cell(x, h), axes=AXES, name="batch 2, d_in 3, d_hidden 5")
