"""One step of a gated recurrent unit, equal to PyTorch's."""

import torch
from otter.test_files import test_case
from torch import tensor

from attend.grading import Question, numbers

OK_FORMAT = False
name = "q3"
points = None

QUESTION = Question(
    "gru_cell",
    returns={"the new state": "batch, d_hidden"},
    gradients=["x", "h", "w_ih", "w_hh", "b_ih", "b_hh"],
)


# --- Answers


@QUESTION.reference
def gru_cell(x, h, w_ih, w_hh, b_ih, b_hh):
    x_r, x_z, x_n = (x @ w_ih.T + b_ih).chunk(3, dim=-1)
    h_r, h_z, h_n = (h @ w_hh.T + b_hh).chunk(3, dim=-1)
    r = (x_r + h_r).sigmoid()
    z = (x_z + h_z).sigmoid()
    n = (x_n + r * h_n).tanh()
    return (1 - z) * n + z * h


def parts(x, h, w_ih, w_hh, b_ih, b_hh):
    """The six products, those of x first."""
    return (
        *(x @ w_ih.T + b_ih).chunk(3, dim=-1),
        *(h @ w_hh.T + b_hh).chunk(3, dim=-1),
    )


@QUESTION.mistake(
    "You swapped z and 1 - z: in h' = (1 - z) n + z h, a z near 1 keeps the "
    "old state."
)
def gru_cell(x, h, w_ih, w_hh, b_ih, b_hh):
    x_r, x_z, x_n, h_r, h_z, h_n = parts(x, h, w_ih, w_hh, b_ih, b_hh)
    r, z = (x_r + h_r).sigmoid(), (x_z + h_z).sigmoid()
    return z * (x_n + r * h_n).tanh() + (1 - z) * h


@QUESTION.mistake(
    "Your gates are in the wrong order: the weights of z stand where you look "
    "for those of r. They are stacked in the order r, z, n."
)
def gru_cell(x, h, w_ih, w_hh, b_ih, b_hh):
    x_z, x_r, x_n, h_z, h_r, h_n = parts(x, h, w_ih, w_hh, b_ih, b_hh)
    r, z = (x_r + h_r).sigmoid(), (x_z + h_z).sigmoid()
    return (1 - z) * (x_n + r * h_n).tanh() + z * h


@QUESTION.mistake(
    "The candidate is not squashed: it lacks its tanh, so the state can grow "
    "without bound."
)
def gru_cell(x, h, w_ih, w_hh, b_ih, b_hh):
    x_r, x_z, x_n, h_r, h_z, h_n = parts(x, h, w_ih, w_hh, b_ih, b_hh)
    r, z = (x_r + h_r).sigmoid(), (x_z + h_z).sigmoid()
    return (1 - z) * (x_n + r * h_n) + z * h


@QUESTION.mistake(
    "The candidate goes through a sigmoid. It is a tanh, so that the state can "
    "be negative, too."
)
def gru_cell(x, h, w_ih, w_hh, b_ih, b_hh):
    x_r, x_z, x_n, h_r, h_z, h_n = parts(x, h, w_ih, w_hh, b_ih, b_hh)
    r, z = (x_r + h_r).sigmoid(), (x_z + h_z).sigmoid()
    return (1 - z) * (x_n + r * h_n).sigmoid() + z * h


@QUESTION.mistake(
    "The gates go through a tanh. They are sigmoids: a gate lies between 0 and "
    "1."
)
def gru_cell(x, h, w_ih, w_hh, b_ih, b_hh):
    x_r, x_z, x_n, h_r, h_z, h_n = parts(x, h, w_ih, w_hh, b_ih, b_hh)
    r, z = (x_r + h_r).tanh(), (x_z + h_z).tanh()
    return (1 - z) * (x_n + r * h_n).tanh() + z * h


@QUESTION.mistake(
    "In a batch of several your sentences mix. Cut the last dimension into "
    "three with `chunk(3, dim=-1)`; `reshape(3, batch, …)` cuts across "
    "sentences."
)
def gru_cell(x, h, w_ih, w_hh, b_ih, b_hh):
    x_r, x_z, x_n = (x @ w_ih.T + b_ih).reshape(3, *h.shape)
    h_r, h_z, h_n = (h @ w_hh.T + b_hh).reshape(3, *h.shape)
    r, z = (x_r + h_r).sigmoid(), (x_z + h_z).sigmoid()
    return (1 - z) * (x_n + r * h_n).tanh() + z * h


@QUESTION.mistake(
    "Your reset gate resets nothing: for the candidate the two products are "
    "simply added. Multiply that of h by r first."
)
def gru_cell(x, h, w_ih, w_hh, b_ih, b_hh):
    x_r, x_z, x_n, h_r, h_z, h_n = parts(x, h, w_ih, w_hh, b_ih, b_hh)
    z = (x_z + h_z).sigmoid()
    return (1 - z) * (x_n + h_n).tanh() + z * h


@QUESTION.mistake(
    "You apply the reset gate to h, before the matrix product. That is the "
    "cell of 2014; PyTorch's multiplies the product, r ⊙ (W h + b)."
)
def gru_cell(x, h, w_ih, w_hh, b_ih, b_hh):
    x_r, x_z, x_n, h_r, h_z, _ = parts(x, h, w_ih, w_hh, b_ih, b_hh)
    r, z = (x_r + h_r).sigmoid(), (x_z + h_z).sigmoid()
    h_n = (r * h) @ w_hh.chunk(3)[2].T + b_hh.chunk(3)[2]
    return (1 - z) * (x_n + h_n).tanh() + z * h


@QUESTION.mistake(
    "The bias b_hn is outside the reset gate. It belongs inside the bracket "
    "that r multiplies."
)
def gru_cell(x, h, w_ih, w_hh, b_ih, b_hh):
    x_r, x_z, x_n, h_r, h_z, h_n = parts(x, h, w_ih, w_hh, b_ih, b_hh)
    r, z = (x_r + h_r).sigmoid(), (x_z + h_z).sigmoid()
    b_n = b_hh.chunk(3)[2]
    return (1 - z) * (x_n + r * (h_n - b_n) + b_n).tanh() + z * h


@QUESTION.mistake(
    "Your reset gate multiplies the part of x, too. Only W h + b is reset."
)
def gru_cell(x, h, w_ih, w_hh, b_ih, b_hh):
    x_r, x_z, x_n, h_r, h_z, h_n = parts(x, h, w_ih, w_hh, b_ih, b_hh)
    r, z = (x_r + h_r).sigmoid(), (x_z + h_z).sigmoid()
    return (1 - z) * (r * (x_n + h_n)).tanh() + z * h


@QUESTION.mistake(
    "Your reset gate multiplies the part of x instead of that of h."
)
def gru_cell(x, h, w_ih, w_hh, b_ih, b_hh):
    x_r, x_z, x_n, h_r, h_z, h_n = parts(x, h, w_ih, w_hh, b_ih, b_hh)
    r, z = (x_r + h_r).sigmoid(), (x_z + h_z).sigmoid()
    return (1 - z) * (r * x_n + h_n).tanh() + z * h


@QUESTION.mistake(
    "The gates r and z lack the bias b_hh. Each gate has four terms: two "
    "products and two biases."
)
def gru_cell(x, h, w_ih, w_hh, b_ih, b_hh):
    x_r, x_z, x_n, h_r, h_z, h_n = parts(x, h, w_ih, w_hh, b_ih, b_hh)
    b_r, b_z, _ = b_hh.chunk(3)
    r, z = (x_r + h_r - b_r).sigmoid(), (x_z + h_z - b_z).sigmoid()
    return (1 - z) * (x_n + r * h_n).tanh() + z * h


@QUESTION.mistake(
    "Both biases are missing. There are two for each gate and for the "
    "candidate: b_ih with the product of x, b_hh with that of h."
)
def gru_cell(x, h, w_ih, w_hh, b_ih, b_hh):
    zero = torch.zeros_like(b_ih)
    return QUESTION.right["gru_cell"](x, h, w_ih, w_hh, zero, zero)


@QUESTION.mistake(
    "You swapped the biases: b_ih belongs to the product of x, b_hh to that "
    "of h."
)
def gru_cell(x, h, w_ih, w_hh, b_ih, b_hh):
    return QUESTION.right["gru_cell"](x, h, w_ih, w_hh, b_hh, b_ih)


@QUESTION.mistake(
    "Your new state is the candidate alone. h' = (1 - z) n + z h mixes it with "
    "the old state."
)
def gru_cell(x, h, w_ih, w_hh, b_ih, b_hh):
    x_r, x_z, x_n, h_r, h_z, h_n = parts(x, h, w_ih, w_hh, b_ih, b_hh)
    return (x_n + (x_r + h_r).sigmoid() * h_n).tanh()


# --- Trials


def one_unit(x, h, w_ih, w_hh, b_ih, b_hh):
    """One sentence and one unit: the weights of r, z and n."""
    return (
        tensor([[x]]),
        tensor([[h]]),
        tensor(w_ih)[:, None],
        tensor(w_hh)[:, None],
        tensor(b_ih),
        tensor(b_hh),
    )


ZERO = [0.0, 0.0, 0.0]
QUESTION.call("idea", *one_unit(0.0, 0.8, ZERO, ZERO, ZERO, ZERO))
for where, rule in enumerate(
    [
        "Only the weight of x in the reset gate is not 0.",
        "Only the weight of x in the update gate is not 0.",
        "Only the weight of x in the candidate is not 0.",
    ]
):
    w_ih = [2.0 * (place == where) for place in range(3)]
    QUESTION.call(
        "idea", *one_unit(1.0, 0.8, w_ih, ZERO, ZERO, ZERO), rule=rule
    )
QUESTION.call(
    "idea",
    *one_unit(1.0, 0.5, [1.0, 2.0, 3.0], [-1.0, 2.0, 1.5], ZERO, ZERO),
    rule="All biases are 0.",
)
QUESTION.call(
    "idea",
    *one_unit(0.5, -0.5, [1.0, -2.0, 1.0], [2.0, 1.0, -1.0], [0.1, 0.2, 0.3],
              [-0.4, 0.6, 0.8]),
)  # fmt: skip
QUESTION.call(
    "edges",
    *one_unit(300.0, 0.5, [1.0, -1.0, 1.0], [1.0, 1.0, 1.0], ZERO, ZERO),
    rule="What goes into sigmoid and tanh may be large. Written out with exp "
    "they give ∞ / ∞, which is NaN.",
)


@QUESTION.sizes
def general(batch=2, d_in=7, d_hidden=5):
    return (
        numbers(batch, d_in),
        numbers(batch, d_hidden),
        numbers(3 * d_hidden, d_in, low=-1, high=1),
        numbers(3 * d_hidden, d_hidden, low=-1.5, high=1.5),
        numbers(3 * d_hidden),
        numbers(3 * d_hidden, low=-1, high=2.5),
    )


@test_case(points=5)
def test_idea(gru_cell):
    QUESTION.check("idea", gru_cell)


@test_case(points=2)
def test_edges(gru_cell):
    QUESTION.check("idea edges", gru_cell)
