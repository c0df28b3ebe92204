"""A split by what the prompt says: no prompt is ever in both parts.

That holds today, tomorrow and with more data. Every test uses so many prompts
that no rule puts them right by luck.
"""

import zlib
from collections import Counter

from otter.test_files import test_case

from attend.grading.expect import UnusableAnswerError

OK_FORMAT = False
name = "q2"
points = None


def things(count: int) -> list[str]:
    """As many words, all different, that mean nothing."""
    return [
        chr(97 + i % 26) + chr(97 + i // 26 % 26) + "o" * (1 + i // 676)
        for i in range(count)
    ]


def run(split_by_prompt, exchanges, one_in=2):
    """Split, and return both parts if they are lists of exchanges."""
    got = split_by_prompt(list(exchanges), one_in)
    if got is None:
        raise UnusableAnswerError(
            "expected two lists, got None: is a `return` missing?"
        )
    if not isinstance(got, tuple | list) or [type(part) for part in got] != [
        list,
        list,
    ]:
        raise UnusableAnswerError(
            f"expected two lists, (train, held_out), got a {type(got).__name__}"
            + (
                f" of {[type(part).__name__ for part in got]}"
                if isinstance(got, tuple)
                else ""
            )
        )
    for exchange in [*got[0], *got[1]]:
        if not isinstance(exchange, tuple) or len(exchange) != 2:
            raise UnusableAnswerError(
                "expected exchanges in both lists, (prompt, reply), got "
                f"{exchange!r}"
            )
    return got


def expect_together(split_by_prompt, groups: list[list[str]]) -> None:
    """Assert that the prompts of each group are in one part."""
    prompts = [prompt for group in groups for prompt in group]
    parts = run(
        split_by_prompt,
        [(prompt, f"Answer {i}.") for i, prompt in enumerate(prompts)],
    )
    train, held_out = ({prompt for prompt, _ in part} for part in parts)
    torn = [
        group for group in groups if train & {*group} and held_out & {*group}
    ]
    line = f"{len(torn)} of {len(groups)} prompts are in both parts"
    if torn:
        here = next(prompt for prompt in torn[0] if prompt in train)
        there = next(prompt for prompt in torn[0] if prompt in held_out)
        line += f":\n  in train    {here!r}\n  in held_out {there!r}"
    assert not torn, line


@test_case(
    points=1,
    failure_message=(
        "Not every exchange is in one of the two parts as it was given. A "
        "prompt may have several replies: does a dict keep only the last? "
        "Did you return the prompt in the form that you compare?"
    ),
)
def test_every_exchange_in_one_part(split_by_prompt):
    exchanges = [
        (f"Where is my {t}?", r)
        for t in things(50)
        for r in ("Here!", "No idea.")
    ]
    train, held_out = run(split_by_prompt, exchanges)
    given, got = Counter(exchanges), Counter([*train, *held_out])
    lost, extra = list((given - got).elements()), list((got - given).elements())
    assert not lost and not extra, (
        f"100 exchanges: {len(lost)} are lost"
        + (f", such as {lost[0]}" if lost else "")
        + (f"; not among those given is {extra[0]}" if extra else "")
    )


@test_case(
    points=1,
    failure_message=(
        "The parts have the wrong sizes. About one prompt in `one_in` must "
        "be held out. Did you return them in the order train, held_out?"
    ),
)
def test_size_of_the_parts(split_by_prompt):
    exchanges = [
        (f"Have you seen my {thing}?", "Yes.") for thing in things(1000)
    ]
    train, held_out = run(split_by_prompt, exchanges, 10)
    assert 50 <= len(held_out) <= 150, (
        "1,000 prompts, one_in 10: expected about 900 in train and 100 in "
        f"held_out, got {len(train)} and {len(held_out)}"
    )


@test_case(
    points=1,
    failure_message=(
        "A prompt with two replies is in both parts, so the test asks what "
        "the training has answered. Did you split the exchanges? Split the "
        "prompts, and let every reply go where its prompt goes."
    ),
)
def test_all_replies_to_a_prompt_stay_together(split_by_prompt):
    expect_together(
        split_by_prompt,
        [[f"Where is my {thing}?"] * 2 for thing in things(200)],
    )


@test_case(
    points=1,
    failure_message=(
        "A prompt in capitals and in small letters is in both parts. Did you "
        "compare the prompts as they are written? `lower()` first."
    ),
)
def test_case_does_not_matter(split_by_prompt):
    prompts = [f"Where is my {thing}" for thing in things(200)]
    expect_together(
        split_by_prompt, [[p, p.upper(), p.lower()] for p in prompts]
    )


@test_case(
    points=1,
    failure_message=(
        "A prompt with another punctuation mark is in the other part. Take "
        "out everything that is neither a letter, a digit nor a space, "
        "before you decide."
    ),
)
def test_punctuation_does_not_matter(split_by_prompt):
    expect_together(
        split_by_prompt,
        [
            [f"it's my {t}", f"it's my {t}!", f'it\'s, "my" {t}...']
            for t in things(200)
        ],
    )


@test_case(
    points=1,
    failure_message=(
        "Punctuation marks that are not ASCII still tell prompts apart. "
        "`string.punctuation` knows only those of an American typewriter; "
        "phones write ’ and …, and other languages have more. Ask each "
        "character `isalnum()`."
    ),
)
def test_punctuation_beyond_ascii(split_by_prompt):
    expect_together(
        split_by_prompt,
        [
            [f"it's my {t}", f"it\u2019s my {t}", f"it's my {t}\u2026"]
            for t in things(200)
        ],
    )


@test_case(
    points=1,
    failure_message=(
        "A space more or less puts a prompt into the other part. A mark that "
        'is taken out may leave its space behind: `" ".join(text.split())` '
        "leaves one space between words and none at the ends."
    ),
)
def test_spaces_do_not_matter(split_by_prompt):
    expect_together(
        split_by_prompt,
        [
            [f"where is my {t}", f" where  is my {t}", f"where is my {t} ?"]
            for t in things(200)
        ],
    )


@test_case(
    points=1,
    failure_message=(
        "Prompts in another script all go to one part. Did you keep only a "
        "to z? Then nothing is left of them, and they all look the same. "
        "`isalnum()` knows the letters of every script."
    ),
)
def test_other_scripts(split_by_prompt):
    exchanges = [(f"你有{chr(0x4E00 + i)}吗?", "有") for i in range(200)]
    train, held_out = run(split_by_prompt, exchanges)
    assert min(len(train), len(held_out)) >= 50, (
        "200 prompts in Chinese, one_in 2: expected about 100 in each part, "
        f"got {len(train)} and {len(held_out)}"
    )


@test_case(
    points=1,
    failure_message=(
        "When exchanges are added, old prompts move from one part to the "
        "other. Does your choice depend on a place in the list, or on a "
        "shuffle? Decide by the prompt alone: what was tested on today must "
        "not be trained on tomorrow."
    ),
)
def test_more_data_moves_nothing(split_by_prompt):
    old = [(f"Where is my {thing}?", "Here!") for thing in things(200)]
    new = [(f"Are you a {thing}?", "No.") for thing in things(99)]
    _, before = run(split_by_prompt, old)
    _, after = run(split_by_prompt, [*new, *old])
    moved = {*before} ^ ({*after} & {*old})
    assert not moved, (
        f"99 new exchanges in front of 200 old ones: {len(moved)} of the old "
        "moved"
    )


@test_case(
    points=1,
    failure_message=(
        "When Python starts again, your split is another one. Did you use "
        "`hash`? For texts it gives other numbers in every run. "
        "`zlib.crc32(text.encode())` gives the same on every machine, for "
        "ever."
    ),
)
def test_the_same_in_every_run(split_by_prompt):
    exchanges = [(f"Where is my {thing}?", "Here!") for thing in things(200)]
    names, runs = getattr(split_by_prompt, "__globals__", {}), []
    own = {"hash": names["hash"]} if "hash" in names else {}
    for start in ("first", "second"):
        # What `hash` does to a text when Python starts again: as if with
        # another key.
        names["hash"] = lambda value, key=start: zlib.crc32(
            repr((key, value)).encode()
        )
        try:
            runs.append(run(split_by_prompt, exchanges)[1])
        finally:
            del names["hash"]
            names.update(own)
    moved = len({*runs[0]} ^ {*runs[1]})
    assert not moved, (
        f"200 prompts, Python started twice: {moved} went to another part"
    )
