"""A question names a mistake only where it did the same on every input."""

import functools
import inspect

import pytest
import torch
from torch import Tensor, nn, tensor

from attend.grading import Diagnosis, Question, Seen, Share, numbers
from attend.grading import battery as kinds


def twice(x):
    return 2 * x


def make(**options):
    """A question that asks for twice a tensor."""
    question = Question("twice", returns={"the double": "n"}, **options)
    question.reference(twice)

    def mistake(message):
        def register(function):
            function.__name__ = "twice"
            question.mistake(message)(function)

        return register

    mistake("You square.")(lambda x: x * x)
    mistake("You add 2.")(lambda x: x + 2)
    question.call("idea", tensor([2.0]))
    question.call("idea", tensor([3.0, 5.0]))
    question.call("edges", tensor([-1.0]), rule="Numbers may be negative.")
    return question


def told(question, answer, parts="idea edges"):
    with pytest.raises(Diagnosis) as caught:
        question.check(parts, answer)
    return caught.value


def test_a_right_answer_is_told_nothing():
    make().check("idea edges", lambda x: x + x)


def test_a_mistake_is_named_where_it_did_the_same_everywhere():
    """All three agree on [2]; the next input tells them apart."""
    for answer, message in [
        (lambda x: x**2, "You square."),
        (lambda x: 2 + x, "You add 2."),
    ]:
        problem = told(make(), answer)
        assert problem.mistake and problem.message == message
        assert problem.detail.startswith("x [3, 5]:\n  the double: expected")


@pytest.mark.parametrize(
    "answer",
    [
        lambda x: x.abs() * x,  # squares, but not where it is negative
        lambda x: (x * x).double(),
        lambda x: 2 * x if len(x) < 2 else x + 2,
    ],
)
def test_no_mistake_is_named_that_is_only_nearly_the_same(answer):
    problem = told(make(), answer)
    assert not problem.mistake
    assert problem.message == "Your answer is not right yet."
    assert "expected" in problem.detail


def test_the_rule_of_the_input_is_stated_where_there_is_one():
    problem = told(make(), lambda x: 2 * x.abs())
    assert problem.message == "Numbers may be negative."
    assert problem.detail == "x [-1]:\n  the double: expected [-2], got [2]"


def test_a_mistake_is_compared_on_inputs_of_all_parts():
    """Even where only the idea is checked."""
    problem = told(make(), lambda x: x.abs() * x, "idea")
    assert not problem.mistake


def test_edges_do_not_count_without_the_idea():
    question = make()
    wrong_idea = lambda x: torch.where(x < 0, 2 * x, x)  # noqa: E731
    assert told(question, wrong_idea, "idea")
    assert told(question, wrong_idea, "idea edges")


def test_an_answer_that_raises_shows_its_own_lines():
    def answer(x):
        return x.view(7)

    problem = told(make(), answer)
    assert problem.message.startswith("Your code raised RuntimeError")
    assert problem.detail.startswith("It was given x [2].\nline ")
    assert problem.detail.endswith("answer: return x.view(7)")


def test_a_mistake_that_raises_is_named_too():
    question = make()

    def twice(x):
        return x[0] * 2 if len(x) > 1 else x[1]

    question.mistake("You index.")(twice)
    answer = lambda x: 2 * x[0] if len(x) > 1 else x[len(x)]  # noqa: E731
    assert told(question, answer).message == "You index."


@pytest.mark.parametrize(
    ("answer", "message"),
    [
        (None, "`twice` is still empty: it is None."),
        (..., "`twice` is still empty: it is Ellipsis."),
        (3, "`twice` is no function: it is 3."),
        (lambda x: None, "`twice` is still empty: it returned None."),
        (functools.partial(lambda x: ...), "`twice` is still empty"),
    ],
)
def test_what_is_not_there_yet(answer, message):
    assert told(make(), answer).message.startswith(message)


def test_the_reference_gets_copies_of_its_own():
    """An answer that changes its argument is not compared with the change."""

    def answer(x):
        x *= 2
        return x

    problem = told(make(), answer)
    assert problem.message == kinds.KINDS["arguments"]
    assert problem.detail == "x [2]:\n  `x` afterwards: expected [2], got [4]"


def test_answers_are_seeded_and_the_generator_is_put_back():
    question = Question("draw")

    @question.reference
    def draw():
        return torch.rand(3)

    question.call("idea")
    before = torch.get_rng_state()
    question.check("idea edges", lambda: torch.rand(3))
    assert torch.equal(torch.get_rng_state(), before)


def test_two_functions_are_told_apart():
    question = Question("go", "back")

    @question.reference
    def go(x):
        return x + 1

    @question.reference
    def back(x):
        return x - 1

    @question.mistake("You go two steps.")
    def go(x):  # noqa: F811
        return x + 2

    @question.mistake("You stay.")
    def back(x):  # noqa: F811
        return x

    @question.trial("idea", "one step from 3")
    def trial(go):
        return go(3)

    @question.trial("idea", "one step back from 3")
    def trial(back):  # noqa: F811
        return back(3)

    def check(go, back):
        with pytest.raises(Diagnosis) as caught:
            question.check("idea", go, back)
        return caught.value.message

    plus, minus = question.right["go"], question.right["back"]
    question.check("idea", plus, minus)
    assert check(lambda x: x + 2, minus) == "You go two steps."
    assert check(plus, lambda x: x) == "You stay."
    # both are wrong, and one of them is named: its own trials tell
    assert check(lambda x: x + 2, lambda x: x) == "You go two steps."


def test_chance_is_matched_by_shares():
    question = Question("coin")

    @question.reference
    def coin(p):
        return bool(torch.rand(()) < p)

    @question.mistake("The probability is the wrong way round.")
    def coin(p):  # noqa: F811
        return bool(torch.rand(()) > p)

    @question.trial("idea", "1,000 coins with p = 0.3")
    def trial(coin):
        return Seen(
            {"True": Share(sum(coin(0.3) for _ in range(1000)), 1000, 0.3)}
        )

    question.check("idea", lambda p: torch.bernoulli(tensor(p)).item() == 1)
    problem = told(
        question, lambda p: torch.bernoulli(tensor(p)).item() == 0, "idea"
    )
    assert problem.mistake
    assert "True: expected about 300 of 1000, got 7" in problem.detail
    assert not told(question, lambda p: True, "idea").mistake


@pytest.mark.parametrize(
    ("use", "message"),
    [
        (lambda q: q.reference(len), "the question asks for twice, not len"),
        (lambda q: q.trial("a", "b")(lambda thrice: 0), "twice, not thrice"),
        (lambda q: q.check("oops", twice), "no trial has the part oops"),
        (lambda q: Question("a", without=["b"]), "no kind of the battery: b"),
    ],
)
def test_what_a_test_file_may_not_say(use, message):
    with pytest.raises(ValueError, match=message):
        use(make())


# --- The battery


def kinds_of(question):
    return list(dict.fromkeys(t.kind for t in question.trials if t.kind))


def test_the_battery_is_added_by_itself():
    assert kinds_of(make()) == [
        "arguments",
        "layout",
        "again",
        "float64",
        "float16",
    ]
    assert kinds_of(make(without=["float16", "again"])) == [
        "arguments",
        "layout",
        "float64",
    ]
    assert "gradients" in kinds_of(make(gradients=["x"]))


def test_sizes_are_all_defaults_then_each_of_them_one():
    def shapes(batch=2, query=3, key=5):
        return (numbers(batch, query, key),)

    calls = list(kinds.sizes(shapes))
    assert [tuple(call.arguments[0].shape) for call in calls] == [
        (2, 3, 5),
        (1, 3, 5),
        (2, 1, 5),
        (2, 3, 1),
    ]
    assert [call.part for call in calls] == ["idea"] + ["edges"] * 3
    assert list(inspect.signature(shapes).parameters)[0] in calls[1].rule


@pytest.mark.parametrize("shape", [(5,), (2, 3), (2, 3, 5), (3, 2, 1)])
def test_another_layout_has_the_same_numbers_and_no_view(shape):
    given = numbers(*shape)
    question = Question("flat")
    seen = []

    @question.reference
    def flat(x):
        seen.append(x)
        return x.reshape(-1)

    question.call("idea", given)
    question.check("idea edges", lambda x: x.flatten())
    assert all(
        torch.equal(x.float(), given) for x in seen if x.dtype != torch.float16
    )
    assert any(not x.is_contiguous() for x in seen)
    if len(shape) > 1:
        problem = told(question, lambda x: x.view(-1))
        assert "view size is not compatible" in str(problem)


def test_modules_are_copied_before_their_dtype_is_changed():
    layer = nn.Linear(2, 3)
    question = Question("apply")

    @question.reference
    def apply(layer, x):
        return layer(x)

    question.call("idea", layer, numbers(5, 2))
    question.check("idea edges", lambda layer, x: layer(x))
    assert layer.weight.dtype == torch.float32


def test_gradients_are_compared():
    question = make(gradients=["x"])
    question.check("idea edges", lambda x: x + x)
    cut = told(question, lambda x: 2 * x.detach())
    assert cut.message == kinds.KINDS["gradients"]
    assert "expected [" in cut.detail
    assert "got none: it does not reach the result" in cut.detail
    wrong = told(question, lambda x: x + x.detach())
    assert wrong.message == kinds.KINDS["gradients"]


def test_what_is_left_over_from_the_first_call_is_seen():
    def answer(x, seen=[]):  # noqa: B006
        seen.append(x)
        return 2 * x + (len(seen) > 1 and torch.equal(seen[-2], x)) * 1.0

    problem = told(make(), answer)
    assert problem.message == kinds.KINDS["again"]


def test_random_numbers_of_the_battery_are_the_same_everywhere():
    assert numbers(2).tolist() == numbers(2).tolist()
    assert not torch.equal(numbers(2, 3), numbers(3, 2).mT)
    assert isinstance(numbers(), Tensor)
    low, high = numbers(1000, low=3, high=5).aminmax()
    assert 3 <= low < 3.1 and 4.9 < high < 5


def test_arguments_in_words():
    names = ["x", "n", "f"]
    arguments = (tensor([[1.0, 2.0]]), 3, [tensor([True])])
    assert kinds.describe(names, arguments) == "x [[1, 2]], n 3, f [[True]]"
    large = (numbers(4, 5), 3, [numbers(99)])
    assert (
        kinds.describe(names, large)
        == "x of shape (4, 5), n 3, f [of shape (99,)]"
    )
    assert kinds.describe(["m"], (nn.Linear(1, 1),)) == "m of class Linear"
    generator = torch.Generator()
    assert kinds.describe(["g"], (generator,)) == "g with a seed"
