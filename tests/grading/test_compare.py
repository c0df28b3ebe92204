"""What the comparison with the reference sees, and what it says."""

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn, tensor

from attend.grading import (
    Absent,
    Seen,
    Share,
    UnusableAnswerError,
    expect_tensor,
    show,
)
from attend.grading.compare import FALSE_ALARM, Raised, difference

HALF = torch.float16


@pytest.mark.parametrize(
    ("expected", "got"),
    [
        (tensor([1.0, -torch.inf]), tensor([1.00001, -torch.inf])),
        (tensor([torch.nan]), tensor([torch.nan])),
        (tensor([True]), tensor([True])),
        (tensor(2.0), nn.Parameter(tensor(2.0))),
        (tensor([1.0], dtype=HALF), tensor([1.005], dtype=HALF)),
        (0.5, 0.5),
        (2.0, 2),
        (math.nan, math.nan),
        (math.inf, math.inf),
        (None, None),
        ("a", "a"),
        ([1, [2, 3]], [1, [2, 3]]),
        ((1, "a"), [1, "a"]),
        ({"h": tensor([1])}, {"h": tensor([1])}),
        (Raised(ValueError("a")), Raised(ValueError("b"))),
        (Raised(OSError()), Raised(FileNotFoundError())),
        (Absent("none"), Absent("none")),
        (Share(50, 100, 0.5), Share(60, 100, 0.5)),
        (torch.float32, torch.float32),
        (Seen({"a": 1}), Seen({"a": 1})),
    ],
)
def test_what_agrees(expected, got):
    assert difference(expected, got) == ""
    assert difference(expected, got, matching=True) == ""


@pytest.mark.parametrize(
    ("expected", "got", "said"),
    [
        (tensor([1.0]), tensor([1.1]), "expected [1], got [1.1]"),
        (tensor([0.0]), tensor([-0.0001]), "expected [0], got [-0.0001]"),
        (tensor([1.0]), tensor([torch.nan]), "expected [1], got [nan]"),
        (tensor([torch.inf]), tensor([3.0]), "expected [inf], got [3]"),
        (tensor([1.0]), tensor(1.0), "expected shape (1,), got ()"),
        (tensor([1.0]), [1.0], "expected a tensor, got a list of 1 (float)"),
        (tensor([1.0]), (1, 2), "expected a tensor, got a tuple of 2 (int)"),
        (tensor([1.0]), None, "got None. Is a `return` missing?"),
        (tensor([1.0]), ..., "got Ellipsis. Is a `return` missing?"),
        (tensor([1.0]), 1.0, "expected a tensor, got a float"),
        (tensor([1]), tensor([1.0]), "dtype torch.int64, got torch.float32"),
        (tensor([9999]), tensor([10000]), "expected [9999], got [10000]"),
        (
            tensor([1.0]),
            tensor([1.0]).double(),
            "expected dtype torch.float32, got torch.float64",
        ),
        (
            tensor([1.0]),
            torch.ones(1, device="meta"),
            "expected a tensor on cpu, got one on meta",
        ),
        (
            tensor([1.0]),
            Absent("none: it does not reach the result"),
            "expected [1], got none: it does not reach the result",
        ),
        (tensor([1.0]), Raised(OSError("full")), "got OSError: full"),
        (1, True, "expected a plain whole number, got a bool"),
        (1, 1.0, "expected a plain whole number, got a float"),
        (1, 2, "expected 1, got 2"),
        (1.0, tensor(1.0), "a plain number, got a tensor of shape ()"),
        (1.0, 1.01, "expected 1, got 1.01"),
        (1.0, math.nan, "expected 1, got nan"),
        (True, 1, "expected True, got 1"),
        ("a", "b", "expected 'a', got 'b'"),
        (None, 0, "expected None, got 0"),
        ([1, 2], [1, 3], "expected [1, 2], got [1, 3]"),
        ([1, 2], [1], "expected [1, 2], got [1]"),
        ([1, 2], (1, 2), "expected a list, got a tuple of 2 (int)"),
        ([1], [tensor(1)], "a plain whole number, got a tensor of shape ()"),
        ([1], None, "expected a list, got None. Is a `return` missing?"),
        ((1, 2), 3, "expected a tuple, got an int"),
        ({"h": 1}, {"c": 1}, "expected a dict with h, got one with c"),
        ({"h": 1}, {"h": 2}, "the result['h']: expected 1, got 2"),
        ({"h": 1}, 3, "expected a dict with h, got an int"),
        (Raised(ValueError()), Seen({"a": 7}), "expected a ValueError, got"),
        (Raised(ValueError()), Raised(KeyError("a")), "got KeyError: 'a'"),
        (
            Raised(UnusableAnswerError("a")),
            Raised(UnusableAnswerError("b")),
            "got UnusableAnswerError: b",
        ),
        (Share(50, 100, 0.5), Share(90, 100, 0.5), "about 50 of 100, got 90"),
        (Share(0, 9, 0.0), Share(9, 9, 0.0), "expected none, got 9"),
        (Share(9, 9, 1.0), Share(8, 9, 1.0), "expected all 9, got 8"),
        (Share(50, 100, 0.5), None, "got None"),
        (Seen({"a": 1}), Seen({"a": 2}), "a: expected 1, got 2"),
        (Seen({"a": 1}), Raised(OSError("b")), "got OSError: b"),
        (
            Seen({"a": 1, "b": 2}),
            Seen({"what you return": 7}),
            "expected a, b, got an int",
        ),
    ],
)
def test_what_differs_and_how_it_is_said(expected, got, said):
    assert said in difference(expected, got)


@pytest.mark.parametrize(
    "value",
    [
        tensor([torch.nan, 2]),
        [1, "a", None],
        Absent("a"),
        Raised(UnusableAnswerError("a")),
        Share(9, 10, 0.0),
        Seen({"a": Share(1, 100, 0.9), "b": Raised(OSError())}),
    ],
)
def test_a_mistake_does_the_same_as_itself(value):
    assert difference(value, value, matching=True) == ""


def test_where_many_numbers_differ_the_worst_is_shown():
    expected = torch.zeros(3, 5, 7)
    got = expected.clone()
    got[2, 1, 3] = 0.25
    got[0, 4, 6] = 0.125
    assert difference(expected, got, name="w") == (
        "w: 2 of 105 numbers differ; the worst is at [2, 1, 3]: expected 0, "
        "got 0.25"
    )
    got[1, 0, 0] = torch.nan
    assert "at [1, 0, 0]: expected 0, got nan" in difference(expected, got)


def test_the_meaning_of_dimensions_is_said():
    text = difference(
        Seen({"mask": torch.ones(2, 3)}),
        Seen({"mask": torch.ones(3, 2)}),
        axes={"mask": "batch, key"},
    )
    assert text == "mask: expected shape (2, 3) = (batch, key), got (3, 2)"


def test_double_precision_where_it_will_do():
    single, double = tensor([1.0]), tensor([1.0], dtype=torch.float64)
    for expected in (single, single.half()):
        assert difference(expected, double, wider=True) == ""
    for expected, got in [(double, single), (single.half(), single)]:
        assert "expected dtype" in difference(expected, got, wider=True)


def test_a_tensor_subclass_is_no_tensor():
    class Liar(torch.Tensor):
        pass

    text = difference(tensor([1.0]), tensor([1.0]).as_subclass(Liar))
    assert text == "the result: expected a tensor, got a Liar"


def alarms(total, p):
    """The exact probability that a right answer is refused."""

    def log_probability(count):
        return (
            math.lgamma(total + 1)
            - math.lgamma(count + 1)
            - math.lgamma(total - count + 1)
            + count * math.log(p)
            + (total - count) * math.log(1 - p)
        )

    return sum(
        math.exp(log_probability(count))
        for count in range(total + 1)
        if not Share(count, total, p).agrees()
    )


@settings(max_examples=60)
@given(st.integers(1, 400), st.floats(0.01, 0.99))
def test_a_share_refuses_a_right_answer_once_in_a_million(total, p):
    assert alarms(total, p) <= FALSE_ALARM


def test_a_share_notices_what_is_far_off():
    assert not Share(250, 1000, 0.5).agrees()
    assert not Share(1, 1000, 0.0).agrees()
    assert not Share(999, 1000, 1.0).agrees()
    assert Share(0, 1000, 0.0).agrees() and Share(9, 9, 1.0).agrees()


def test_two_shares_agree_if_chance_explains_the_difference():
    assert Share(480, 1000, 0.5).agrees(Share(520, 1000, 0.5))
    assert not Share(250, 1000, 0.5).agrees(Share(500, 1000, 0.5))
    # both far from what is right, and near each other: the same mistake
    got, mistake = Share(0, 1000, 0.5), Share(0, 1000, 0.5)
    assert not got.agrees() and got.agrees(mistake)
    assert difference(mistake, got, matching=True) == ""
    assert difference(mistake, got) != ""


def test_expect_tensor():
    value = torch.ones(2, 3, dtype=torch.int64)
    assert expect_tensor(value, (2, 3), torch.int64) is value
    for change, said in [
        ({"dtype": torch.bool}, "expected dtype torch.bool, got torch.int64"),
        ({"shape": (3,), "axes": "key"}, r"shape \(3,\) = \(key\), got \(2, 3"),
    ]:
        with pytest.raises(UnusableAnswerError, match=f"mask: .*{said}"):
            expect_tensor(value, **change, name="mask")
    with pytest.raises(UnusableAnswerError, match="tensor, got an int"):
        expect_tensor(3)


def test_show():
    numbers = tensor([[0.26894, 1.0], [-torch.inf, torch.nan]])
    assert show(numbers) == "[[0.2689, 1], [-inf, nan]]"
    assert show([1, (2.5, True)]) == "[1, [2.5, True]]"
    assert show({"h": tensor([1.5])}) == "{h: [1.5]}"
