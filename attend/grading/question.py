"""A question: its right answer, its named mistakes, and what tells them apart.

A verdict is found by comparison. The answer and the reference are run on the
same inputs, each with copies of its own. Where they differ, a mistake is named
only if it did the same as the answer on every input. Otherwise the verdict
states facts: the first input that came out wrong, what was expected and what
came.
"""

import functools
import inspect
import sys
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple, TypeVar

from attend.grading import battery, steady
from attend.grading.battery import Arguments, Call
from attend.grading.compare import Raised, UnusableAnswerError, difference
from attend.grading.explain import (
    UNUSABLE,
    USUAL_RULE,
    Diagnosis,
    in_words,
    missing,
    out_of_time,
    own_lines,
)
from attend.grading.time_limit import (
    OutOfTimeError,
    limited,
    run_with_limit,
)

Answer = Callable[..., Any]
Definition = TypeVar("Definition", bound=Callable[..., Any])

SECONDS = 10.0


class Trial(NamedTuple):
    """One thing to try with an answer.

    Attributes:
        part: The part of the question, such as `"idea"`.
        label: The input, in words.
        rule: What is broken where the answer differs; "" for nothing special.
        names: Which functions of the answer it is given.
        run: Takes these functions and returns what it saw.
        kind: Which kind of the battery it belongs to; "" for none.
    """

    part: str
    label: str
    rule: str
    names: tuple[str, ...]
    run: Callable[..., Any]
    kind: str = ""


class Mistake(NamedTuple):
    """A wrong answer that people give.

    Attributes:
        name: The function that it replaces.
        message: What the verdict says of it.
        function: The wrong function.
    """

    name: str
    message: str
    function: Answer


class Question:
    """A question of an exercise.

    A test file makes one, and registers with it the reference, the mistakes and
    the inputs. The battery is added to the inputs of `call` and `sizes`: the
    arguments afterwards, other memory layouts, a second call, other dtypes, and
    gradients.

    Args:
        names: The functions (or classes) that a student writes.
        returns: A name for each result of the first function, and what its
            dimensions mean, such as `{"the mask": "batch, max_length"}`.
        gradients: Parameters of the first function whose gradients are
            compared, too.
        without: Kinds of the battery that the question's text rules out.
        wider: Whether float64 will do where the reference has another float.
    """

    def __init__(
        self,
        *names: str,
        returns: dict[str, str] | None = None,
        gradients: Sequence[str] = (),
        without: Sequence[str] = (),
        wider: bool = False,
    ) -> None:
        if unknown := set(without) - set(battery.KINDS):
            raise ValueError(
                f"no kind of the battery: {', '.join(sorted(unknown))}; there "
                f"are {', '.join(battery.KINDS)}"
            )
        self.names = names
        self.returns = returns or {"the result": ""}
        self.gradients = tuple(gradients)
        self.without = tuple(without)
        self.wider = wider
        self.right: dict[str, Answer] = {}
        self.mistakes: list[Mistake] = []
        self._registered: list[Trial | Call] = []
        self._seen: dict[tuple[int, int], Any] = {}

    # --- What a test file registers ---

    def reference(self, function: Definition) -> Definition:
        """Register a right function, under its own name.

        Args:
            function: The function, or class.

        Returns:
            The same.
        """
        self.right[self._name(function)] = function
        return function

    def mistake(self, message: str) -> Callable[[Definition], Definition]:
        """Register a wrong function, under the name of the one it replaces.

        Args:
            message: What is wrong, as the student will read it. It must be true
                of whatever does the same as this function on every input.

        Returns:
            A decorator that returns the function as it is.
        """

        def register(function: Definition) -> Definition:
            name = self._name(function)
            self.mistakes.append(Mistake(name, message, function))
            return function

        return register

    def trial(
        self, part: str, label: str, rule: str = ""
    ) -> Callable[[Definition], Definition]:
        """Register a function that tries an answer and returns what it saw.

        Its parameters, those without a default, are the functions that it
        tries. It returns a tensor, a number, a list, or `Seen` with a name for
        each. It must build its arguments anew each time.

        Args:
            part: The part of the question.
            label: The input, in words: what a student needs to try it.
            rule: What is broken where the answer differs from the reference.

        Returns:
            A decorator that returns the function as it is.
        """

        def register(function: Definition) -> Definition:
            names = tuple(
                name
                for name, parameter in inspect.signature(
                    function
                ).parameters.items()
                if parameter.default is parameter.empty
            )
            for name in names:
                self._check(name)
            trial = Trial(part, label, rule, names, function)
            self._registered.append(trial)
            return function

        return register

    def call(self, part: str, *arguments: Any, rule: str = "") -> None:
        """Register a call of the first function, written out by hand.

        Args:
            part: The part of the question.
            arguments: The arguments. Every answer is given copies.
            rule: What is broken where the result differs.
        """
        self._registered.append(Call(part, arguments, rule))

    def sizes(
        self, function: Callable[..., Arguments]
    ) -> Callable[..., Arguments]:
        """Register calls of the first function of many sizes.

        Args:
            function: Makes the arguments. Its parameters are sizes, and their
                defaults different primes. The battery calls the answer with all
                defaults, which belongs to the part `"idea"`, and with each size
                1 in turn, which belongs to `"edges"`.

        Returns:
            The same function.
        """
        self._registered.extend(battery.sizes(function))
        return function

    # --- What is done with an answer ---

    @functools.cached_property
    def trials(self) -> list[Trial]:
        """All trials as they were registered, then those of the battery."""
        name = self.names[0]
        calls = [item for item in self._registered if isinstance(item, Call)]
        parameters = list(inspect.signature(self.right[name]).parameters)
        found = [
            item
            if isinstance(item, Trial)
            else Trial(
                item.part,
                battery.describe(parameters, item.arguments),
                item.rule,
                (name,),
                battery.plain(item.arguments, self.returns),
                item.kind,
            )
            for item in self._registered
            if item.kind not in self.without
        ]
        for kind in battery.KINDS:
            if kind in self.without:
                continue
            for call in calls:
                variant = battery.variant(
                    kind,
                    call.arguments,
                    parameters,
                    self.returns,
                    self.gradients,
                )
                if variant:
                    label, run = variant
                    rule = battery.KINDS[kind]
                    found.append(
                        Trial("edges", label, rule, (name,), run, kind)
                    )
        return found

    def check(self, parts: str, *answers: Any) -> None:
        """Check some parts of a question: all must be right.

        Args:
            parts: The parts, such as `"idea"`, or `"idea edges"` for edges that
                count only with the idea.
            answers: What the student wrote, in the order of `names`.

        Raises:
            Diagnosis: If anything is wrong with the answer.
        """
        given = dict(zip(self.names, answers, strict=True))
        nested = limited()
        try:
            with steady.kept(), steady.keyboard() as pressed:
                run_with_limit(
                    lambda: self._diagnose(parts.split(), given, pressed),
                    SECONDS,
                )
        except OutOfTimeError as error:
            if nested:
                raise
            raise out_of_time(given, SECONDS, error) from None

    def _diagnose(
        self,
        parts: list[str],
        given: dict[str, Any],
        pressed: Callable[[], bool],
    ) -> None:
        for name, answer in given.items():
            if message := missing(name, answer):
                raise Diagnosis(message)
        known = {trial.part for trial in self.trials}
        if unknown := set(parts) - known:
            raise ValueError(f"no trial has the part {', '.join(unknown)}")
        tried = _Tried(self.trials, given, pressed)
        text = ""
        for place, trial in enumerate(self.trials):
            if trial.part not in parts:
                continue
            try:
                text = self._compare(self._known(place), tried(place))
            finally:
                if text or sys.exception():
                    # what was printed in other trials is of no interest
                    sys.stdout.write(tried.output.text)
            if text:
                raise self._verdict(place, tried, text)

    def _verdict(self, place: int, did: "_Tried", text: str) -> Diagnosis:
        """Name the mistake that did the same, or state the facts."""
        trial, got = self.trials[place], did(place)
        rule, lines = trial.rule or USUAL_RULE, ""
        if isinstance(got, Raised):
            lines = own_lines(got.error)
            text = in_words(got.error)
            if isinstance(got.error, UnusableAnswerError):
                text = str(got.error)
            elif lines:
                rule, text = f"Your code raised {text}", ""
            else:
                rule = UNUSABLE
        detail = "\n".join(
            part
            for part in (
                f"{trial.label}:" if text else f"It was given {trial.label}.",
                _indented(text),
                lines,
            )
            if part
        )
        for mistake in self.mistakes:
            if mistake.name in trial.names and self._same(mistake, place, did):
                return Diagnosis(mistake.message, detail, mistake=True)
        return Diagnosis(rule, detail)

    def _same(self, mistake: Mistake, first: int, did: "_Tried") -> bool:
        """Whether a mistake does the same as the answer in every trial."""
        places = [
            place
            for place, trial in enumerate(self.trials)
            if mistake.name in trial.names
        ]
        return not any(
            self._compare(
                self._known(place, mistake), did(place), matching=True
            )
            for place in [first, *places]
        )

    def _known(self, place: int, mistake: Mistake | None = None) -> Any:
        """What the reference, or a mistake, does in a trial."""
        key = place, id(mistake)
        if key not in self._seen:
            functions = dict(self.right)
            if mistake:
                functions[mistake.name] = mistake.function
            self._seen[key] = _see(self.trials[place], functions, lambda: False)
        return self._seen[key]

    def _compare(self, expected: Any, got: Any, matching: bool = False) -> str:
        return difference(
            expected,
            got,
            axes=self.returns,
            wider=self.wider,
            matching=matching,
        )

    def _name(self, function: Callable[..., Any]) -> str:
        self._check(function.__name__)
        return function.__name__

    def _check(self, name: str) -> None:
        if name not in self.names:
            raise ValueError(
                f"the question asks for {', '.join(self.names)}, not {name}"
            )


class _Tried:
    """What an answer did in each trial; it is tried once."""

    def __init__(
        self,
        trials: Sequence[Trial],
        given: dict[str, Any],
        pressed: Callable[[], bool],
    ) -> None:
        self.trials, self.given, self.pressed = trials, given, pressed
        self.seen: dict[int, Any] = {}
        self.output = steady.Captured()

    def __call__(self, place: int) -> Any:
        if place not in self.seen:
            with steady.captured() as self.output:
                self.seen[place] = _see(
                    self.trials[place], self.given, self.pressed
                )
        return self.seen[place]


def _see(
    trial: Trial, functions: dict[str, Any], pressed: Callable[[], bool]
) -> Any:
    steady.reset()
    try:
        return trial.run(*(functions[name] for name in trial.names))
    except OutOfTimeError:
        raise
    except BaseException as error:
        # whatever an answer does, SystemExit too, is its problem
        if pressed():
            raise
        return Raised(error)


def _indented(text: str) -> str:
    return "\n".join(f"  {line}" for line in text.splitlines())
