"""Luong's local window: a softmax in the window, times a Gaussian.

The centre of the Gaussian is real-valued, and is learned.
"""

import math

import torch
from otter.test_files import test_case
from torch import tensor

from attend.grading import Question, numbers

OK_FORMAT = False
name = "q4"
points = None

QUESTION = Question(
    "local_window",
    returns={"the weights": "batch, query, key"},
    gradients=["scores", "center"],
)


# --- Answers


@QUESTION.reference
def local_window(scores, center, half_width):
    distance = torch.arange(scores.shape[-1]) - center[..., None]
    far = distance.abs() > half_width
    weights = scores.masked_fill(far, float("-inf")).softmax(dim=-1)
    sigma = half_width / 2
    return weights * torch.exp(-(distance**2) / (2 * sigma**2))


def away(scores, center):
    """The distance j - p of each key from each centre."""
    return torch.arange(scores.shape[-1]) - center[..., None]


def softmax_where(near, scores):
    return scores.masked_fill(~near, float("-inf")).softmax(dim=-1)


def gaussian(distance, sigma):
    return torch.exp(-(distance**2) / (2 * sigma**2))


def luong(scores, distance, half_width, bell):
    """The softmax in the usual window, times some bell."""
    return softmax_where(distance.abs() <= half_width, scores) * bell


# The window


@QUESTION.mistake(
    "Your keys count from 1, in window and Gaussian. The first is key 0."
)
def local_window(scores, center, half_width):
    return QUESTION.right["local_window"](scores, center - 1, half_width)


@QUESTION.mistake(
    "A key outside the window gets weight, and a share of the softmax. The "
    "Gaussian is small out there, but not zero: mask the keys that are further "
    "than D from the centre."
)
def local_window(scores, center, half_width):
    distance = away(scores, center)
    return scores.softmax(dim=-1) * gaussian(distance, half_width / 2)


@QUESTION.mistake(
    "A key exactly D from the centre is missing from your window. It belongs "
    "to it: `<=`, not `<`."
)
def local_window(scores, center, half_width):
    distance = away(scores, center)
    near = distance.abs() < half_width
    return softmax_where(near, scores) * gaussian(distance, half_width / 2)


@QUESTION.mistake(
    "The key exactly D to the right of the centre is missing from your window, "
    "while the one to the left is there. Both belong to it: |j − p| ≤ D."
)
def local_window(scores, center, half_width):
    distance = away(scores, center)
    near = (distance >= -half_width) & (distance < half_width)
    return softmax_where(near, scores) * gaussian(distance, half_width / 2)


@QUESTION.mistake(
    "Your window takes in keys that are further than D from the centre, though "
    "less than D + 1: |j − p| ≤ D. The centre may lie between two keys."
)
def local_window(scores, center, half_width):
    distance = away(scores, center)
    near = distance.abs() < half_width + 1
    return softmax_where(near, scores) * gaussian(distance, half_width / 2)


@QUESTION.mistake(
    "The last key of the window is missing. A slice `low:high` ends before "
    "`high`."
)
def local_window(scores, center, half_width):
    distance = away(scores, center)
    end = torch.floor(center + half_width)[..., None]
    near = (distance >= -half_width) & (distance + center[..., None] < end)
    return softmax_where(near, scores) * gaussian(distance, half_width / 2)


@QUESTION.mistake(
    "Your window goes wrong where it begins before key 0: a slice with a "
    "negative start counts from the end. Start at 0 then."
)
def local_window(scores, center, half_width):
    near = torch.zeros(scores.shape, dtype=torch.bool)
    for batch, row in enumerate(center.tolist()):
        for query, p in enumerate(row):
            low, high = math.ceil(p - half_width), math.floor(p + half_width)
            near[batch, query, low : high + 1] = True
    weights = softmax_where(near, scores).nan_to_num()
    return weights * gaussian(away(scores, center), half_width / 2)


@QUESTION.mistake(
    "Your window is half as wide as it should be: D is how far it reaches on "
    "each side, |j − p| ≤ D."
)
def local_window(scores, center, half_width):
    distance = away(scores, center)
    near = distance.abs() <= half_width / 2
    weights = softmax_where(near, scores).nan_to_num()
    return weights * gaussian(distance, half_width / 2)


@QUESTION.mistake(
    "You cut the window out after the softmax: keys outside of it have already "
    "taken their share. Mask the scores before."
)
def local_window(scores, center, half_width):
    distance = away(scores, center)
    near = distance.abs() <= half_width
    return scores.softmax(dim=-1) * near * gaussian(distance, half_width / 2)


@QUESTION.mistake(
    "The scores outside the window still take part in the softmax, and you "
    "divide by what is left afterwards. Where one of them is far larger than "
    "those inside nothing is left: 0/0 is NaN. Mask the scores before."
)
def local_window(scores, center, half_width):
    distance = away(scores, center)
    weights = scores.softmax(dim=-1) * (distance.abs() <= half_width)
    weights = weights / weights.sum(dim=-1, keepdim=True)
    return weights * gaussian(distance, half_width / 2)


@QUESTION.mistake(
    "A key outside the window takes part in the softmax with a score of 0. The "
    "exponential of 0 is 1: only the score −∞ gives weight 0."
)
def local_window(scores, center, half_width):
    distance = away(scores, center)
    near = distance.abs() <= half_width
    return (scores * near).softmax(dim=-1) * gaussian(distance, half_width / 2)


@QUESTION.mistake(
    "A key outside the window takes part in the softmax with a score of 0, and "
    "only then its weight is wiped out. Mask with −∞ before the softmax."
)
def local_window(scores, center, half_width):
    distance = away(scores, center)
    near = distance.abs() <= half_width
    weights = (scores * near).softmax(dim=-1) * near
    return weights * gaussian(distance, half_width / 2)


@QUESTION.mistake(
    "You put −1e9 in place of the scores outside the window. That does not fit "
    "into half precision, where no number is above 65,504. Fill with −∞, which "
    "every float type has."
)
def local_window(scores, center, half_width):
    distance = away(scores, center)
    filled = scores.masked_fill(distance.abs() > half_width, -1e9)
    return filled.softmax(dim=-1) * gaussian(distance, half_width / 2)


@QUESTION.mistake(
    "You put −10,000 in place of the scores outside the window, or a number "
    "near it. A score inside may be lower, and then a key outside gets its "
    "weight. Only −∞ is below all numbers."
)
def local_window(scores, center, half_width):
    distance = away(scores, center)
    filled = scores.masked_fill(distance.abs() > half_width, -1e4)
    return filled.softmax(dim=-1) * gaussian(distance, half_width / 2)


@QUESTION.mistake(
    "Your softmax goes over the queries. Each query shares its weight out over "
    "its keys, the last axis."
)
def local_window(scores, center, half_width):
    distance = away(scores, center)
    filled = scores.masked_fill(distance.abs() > half_width, -math.inf)
    weights = filled.softmax(dim=1).nan_to_num()
    return weights * gaussian(distance, half_width / 2)


# The Gaussian


@QUESTION.mistake(
    "The Gaussian is missing: in the window you return the softmax as it is."
)
def local_window(scores, center, half_width):
    near = away(scores, center).abs() <= half_width
    return softmax_where(near, scores)


@QUESTION.mistake(
    "You multiply the scores by the Gaussian, before the softmax. It "
    "multiplies the weights."
)
def local_window(scores, center, half_width):
    distance = away(scores, center)
    scores = scores * gaussian(distance, half_width / 2)
    return softmax_where(distance.abs() <= half_width, scores)


AGAIN = (
    "Your weights are normalised after the Gaussian, so that they sum to one. "
    "Luong's are not: what the Gaussian takes away is gone, so a centre far "
    "from the best key costs something."
)


@QUESTION.mistake(AGAIN)
def local_window(scores, center, half_width):
    weights = QUESTION.right["local_window"](scores, center, half_width)
    return weights / weights.sum(dim=-1, keepdim=True)


@QUESTION.mistake(
    "You add the logarithm of the Gaussian to the scores, so that the softmax "
    "normalises it, too: your weights sum to one. Luong's do not: what the "
    "Gaussian takes away is gone. Multiply by it after the softmax."
)
def local_window(scores, center, half_width):
    distance = away(scores, center)
    scores = scores + gaussian(distance, half_width / 2).log()
    return softmax_where(distance.abs() <= half_width, scores)


WIDTHS = [
    (
        "Your Gaussian is too wide. Its standard deviation is half of D, σ = "
        "D/2; yours is D.",
        lambda d, width: gaussian(d, width),
    ),
    (
        "In your exponent 2σ² does not divide as a whole: `x / 2 * y` is (x / "
        "2) · y. Put brackets around it.",
        lambda d, width: torch.exp(-(d**2) / 2 * (width / 2) ** 2),
    ),
    (
        "Your σ is a whole number: `//` drops the half of an odd D. It is D/2; "
        "for D = 1 yours is 0, and 0/0 is NaN.",
        lambda d, width: gaussian(d, width // 2 + torch.zeros(())),
    ),
    (
        "Your Gaussian does not depend on D: it has σ = 1/2, as for D = 1.",
        lambda d, width: gaussian(d, 0.5),
    ),
    (
        "Your Gaussian has the standard deviation 1, whatever D is. σ is D/2.",
        lambda d, width: gaussian(d, 1.0),
    ),
    (
        "Your exponent has the distance itself and not its square: (j − p)².",
        lambda d, width: torch.exp(-d.abs() / (2 * (width / 2) ** 2)),
    ),
    (
        "Your exponent has the distance itself, without square or sign: keys "
        "left of the centre get more weight. It is (j − p)².",
        lambda d, width: torch.exp(-d / (2 * (width / 2) ** 2)),
    ),
    (
        "Your exponent is divided by σ², twice as large as it should be: the 2 "
        "of 2σ² is missing.",
        lambda d, width: torch.exp(-(d**2) / (width / 2) ** 2),
    ),
    (
        "Your exponent is divided by 2σ instead of 2σ²: the square of σ is "
        "missing.",
        lambda d, width: torch.exp(-(d**2) / width),
    ),
    (
        "Your exponent is −2 (j − p)² / D. It is −(j − p)² / (2σ²), and with σ "
        "= D/2 that is −2 (j − p)² / D²: the square of D is missing.",
        lambda d, width: torch.exp(-2 * d**2 / width),
    ),
    (
        "Your exponent is −(j − p)² / D². With σ = D/2 it is −2 (j − p)² / D².",
        lambda d, width: torch.exp(-(d**2) / width**2),
    ),
    (
        "Your Gaussian is divided by its sum over the keys. The formula does "
        "not normalise it: at the centre it is 1.",
        lambda d, width: (
            gaussian(d, width / 2)
            / gaussian(d, width / 2).sum(dim=-1, keepdim=True)
        ),
    ),
    (
        "Your exponent has 2D in place of 2σ²: σ is D/2, and it is squared.",
        lambda d, width: torch.exp(-(d**2) / (2 * width)),
    ),
    (
        "The minus in front of your exponent is missing: keys far from the "
        "centre get more weight than those near it.",
        lambda d, width: torch.exp(d**2 / (2 * (width / 2) ** 2)),
    ),
    (
        "Your Gaussian is a probability density, with the factor 1 / (σ √2π). "
        "The formula has none: at the centre the Gaussian is 1.",
        lambda d, width: (
            gaussian(d, width / 2) / (width / 2 * math.sqrt(2 * math.pi))
        ),
    ),
]


def with_bell(message, bell):
    @QUESTION.mistake(message)
    def local_window(scores, center, half_width):
        distance = away(scores, center)
        return luong(scores, distance, half_width, bell(distance, half_width))


for message, bell in WIDTHS:
    with_bell(message, bell)


# The centre

ROUNDED = (
    "You round the centre. It is a real number and may lie between two keys; "
    "and rounding stops its gradient."
)


@QUESTION.mistake(ROUNDED)
def local_window(scores, center, half_width):
    return QUESTION.right["local_window"](scores, center.round(), half_width)


@QUESTION.mistake(ROUNDED)
def local_window(scores, center, half_width):
    center = center.round().long()
    return QUESTION.right["local_window"](scores, center, half_width)


CUT = (
    "You cut the centre down to a whole number. It is a real number and may "
    "lie between two keys; and rounding stops its gradient."
)


@QUESTION.mistake(CUT)
def local_window(scores, center, half_width):
    return QUESTION.right["local_window"](scores, center.floor(), half_width)


@QUESTION.mistake(CUT)
def local_window(scores, center, half_width):
    return QUESTION.right["local_window"](scores, center.long(), half_width)


@QUESTION.mistake(
    "You round the centre up. It is a real number and may lie between two "
    "keys; and rounding stops its gradient."
)
def local_window(scores, center, half_width):
    return QUESTION.right["local_window"](scores, center.ceil(), half_width)


@QUESTION.mistake(
    "Your window is laid around the rounded centre. The centre is a real "
    "number in the window, too: |j − p| ≤ D."
)
def local_window(scores, center, half_width):
    near = away(scores, center.round()).abs() <= half_width
    bell = gaussian(away(scores, center), half_width / 2)
    return softmax_where(near, scores) * bell


@QUESTION.mistake(
    "Your window is laid around the centre cut down to a whole number. The "
    "centre is a real number in the window, too: |j − p| ≤ D."
)
def local_window(scores, center, half_width):
    near = away(scores, center.floor()).abs() <= half_width
    bell = gaussian(away(scores, center), half_width / 2)
    return softmax_where(near, scores) * bell


@QUESTION.mistake(
    "Your window is laid around the real centre, but your Gaussian around the "
    "rounded one, and rounding stops its gradient."
)
def local_window(scores, center, half_width):
    bell = gaussian(away(scores, center.round()), half_width / 2)
    return luong(scores, away(scores, center), half_width, bell)


@QUESTION.mistake(
    "You use `center`, (batch, query), as it is, and its queries meet your "
    "keys. Each query has a centre of its own: give it a new last axis, so "
    "that it can be broadcast over the keys."
)
def local_window(scores, center, half_width):
    distance = torch.arange(scores.shape[-1]) - center
    return luong(
        scores, distance, half_width, gaussian(distance, half_width / 2)
    )


@QUESTION.mistake(
    "Your new axis of `center` stands before the queries, so its queries meet "
    "your keys. Each query has a centre of its own: put the new axis last, so "
    "that it can be broadcast over the keys."
)
def local_window(scores, center, half_width):
    distance = torch.arange(scores.shape[-1]) - center[:, None]
    return luong(
        scores, distance, half_width, gaussian(distance, half_width / 2)
    )


@QUESTION.mistake(
    "All your queries have the centre of the first query of their sequence. "
    "Each has its own."
)
def local_window(scores, center, half_width):
    return QUESTION.right["local_window"](scores, center[:, :1], half_width)


@QUESTION.mistake(
    "Each sequence has the centres of the first. Each has its own."
)
def local_window(scores, center, half_width):
    return QUESTION.right["local_window"](scores, center[:1], half_width)


# The rest


@QUESTION.mistake(
    "No gradient reaches the centre, so the model could not learn where to "
    "look. `item`, `detach`, `torch.tensor` and `no_grad` cut it."
)
def local_window(scores, center, half_width):
    return QUESTION.right["local_window"](scores, center.detach(), half_width)


@QUESTION.mistake(
    "No gradient reaches the centre, so the model could not learn where to "
    "look. You make a new tensor of its numbers, and that is float32, so in "
    "half precision your weights are, too."
)
def local_window(scores, center, half_width):
    center = tensor(center.tolist())
    return QUESTION.right["local_window"](scores, center, half_width)


@QUESTION.mistake(
    "No gradient reaches the scores. `item`, `detach`, `torch.tensor` and "
    "`no_grad` cut it."
)
def local_window(scores, center, half_width):
    return QUESTION.right["local_window"](scores.detach(), center, half_width)


@QUESTION.mistake(
    "No gradient goes from your weights to scores and centre. `item`, "
    "`tolist`, `detach` and `torch.tensor` cut it."
)
def local_window(scores, center, half_width):
    weights = QUESTION.right["local_window"](scores, center, half_width)
    return weights.detach()


@QUESTION.mistake(
    "Your function writes into the scores that it was given, as `masked_fill_` "
    "and `scores[…] = …` do. The caller may still need them: make a new tensor."
)
def local_window(scores, center, half_width):
    distance = away(scores, center)
    scores.masked_fill_(distance.abs() > half_width, -math.inf)
    return scores.softmax(dim=-1) * gaussian(distance, half_width / 2)


@QUESTION.mistake(
    "A large score makes your weights NaN: its exponential is ∞, and ∞/∞ is "
    "NaN. `softmax` takes care."
)
def local_window(scores, center, half_width):
    distance = away(scores, center)
    exp = scores.masked_fill(distance.abs() > half_width, -math.inf).exp()
    weights = exp / exp.sum(dim=-1, keepdim=True)
    return weights * gaussian(distance, half_width / 2)


@QUESTION.mistake(
    "Your weights of half-precision scores and centres are float32. Do you say "
    "`dtype=torch.float32` somewhere, or `float()`? A result has the dtype of "
    "the arguments."
)
def local_window(scores, center, half_width):
    wider = torch.promote_types(scores.dtype, torch.float32)
    return QUESTION.right["local_window"](scores, center.to(wider), half_width)


@QUESTION.mistake(
    "Your weights are float32, whatever the arguments are. A result has the "
    "dtype of the arguments."
)
def local_window(scores, center, half_width):
    return QUESTION.right["local_window"](
        scores.float(), center.float(), half_width
    )


@QUESTION.mistake(
    "You make a new tensor of plain numbers: no gradient goes through them, "
    "and the result is float32 whatever the arguments are."
)
def local_window(scores, center, half_width):
    return tensor(
        QUESTION.right["local_window"](scores, center, half_width).tolist()
    )


# --- Trials: all centres are binary fractions, so that |j - p| ≤ D is exact,
# and scores are far apart where they are large: half precision knows no small
# differences there

QUESTION.call("idea", torch.zeros(1, 1, 5), tensor([[2.0]]), 1)
QUESTION.call(
    "idea",
    torch.zeros(1, 1, 9),
    tensor([[4.0]]),
    3,
    rule="With another half width your result is wrong.",
)
QUESTION.call(
    "idea",
    tensor([[[5.0, 0.0, 1.0, 0.5, -1.0, 0.0, 0.0]]]),
    tensor([[4.0]]),
    2,
    rule="Scores may differ, in the window and outside.",
)
QUESTION.call(
    "idea",
    tensor([[[0.0, 1.0, 0.5, -1.0, 0.0, 1.0, 2.0]]]),
    tensor([[2.5]]),
    2,
    rule="The centre may lie between two keys.",
)
QUESTION.call(
    "idea",
    torch.zeros(1, 1, 5),
    tensor([[0.0]]),
    1,
    rule="A window that reaches beyond the first key or the last is cut there: "
    "the keys that are left share the whole softmax.",
)
QUESTION.call(
    "edges",
    torch.zeros(1, 1, 7),
    tensor([[2.75]]),
    1,
    rule="The centre may lie between two keys.",
)
QUESTION.call(
    "edges",
    torch.zeros(1, 3, 3),
    tensor([[0.0, 1.25, 2.0]]),
    1,
    rule="Each query has a centre of its own.",
)
QUESTION.call(
    "edges",
    tensor([[[0.0, 1.0, 0.5, 2.0, 0.0, 1.0, -1.0]]]),
    tensor([[0.0]]),
    2,
    rule="The window may begin before the first key.",
)
QUESTION.call(
    "edges",
    tensor([[[0.0, 1.0, 0.5, 2.0, 0.0, 1.0, -1.0]]]),
    tensor([[5.5]]),
    2,
    rule="The window may end after the last key.",
)
QUESTION.call(
    "edges",
    tensor([[[0.0, 1.0, 0.5]]]),
    tensor([[1.25]]),
    5,
    rule="The window may hold all keys.",
)
QUESTION.call(
    "edges",
    tensor([[[0.0, 1000.0, 1100.0, 1150.0, 1200.0]]]),
    tensor([[2.25]]),
    1,
    rule="Scores may be large.",
)
QUESTION.call(
    "edges",
    tensor([[[1000.0, 0.0, 1.0, 0.5]]]),
    tensor([[2.0]]),
    1,
    rule="A score outside the window may be far larger than those inside.",
)
QUESTION.call(
    "edges",
    tensor([[[0.0, -30000.0, -30016.0, -30000.0, 5.0]]]),
    tensor([[2.25]]),
    1,
    rule="Scores may be very negative.",
)


def turned(tensor):
    """The same numbers, in another order in memory."""
    order = range(tensor.dim())[::-1]
    return tensor.permute(*order).contiguous().permute(*order)


QUESTION.call(
    "edges",
    turned(numbers(2, 3, 5)),
    turned(tensor([[0.0, 1.25, 3.5], [4.0, 2.0, 0.75]])),
    2,
    rule="These tensors are transposed views, and not contiguous.",
)


@QUESTION.sizes
def general(batch=2, query=5, key=11, half_width=3):
    centers = torch.arange(batch * query).view(batch, query) * 2.3125
    return (
        numbers(batch, query, key),
        centers % (key - 1) if key > 1 else torch.zeros(batch, query),
        half_width,
    )


@test_case(points=6)
def test_idea(local_window):
    QUESTION.check("idea", local_window)


@test_case(points=4)
def test_edges(local_window):
    QUESTION.check("idea edges", local_window)
