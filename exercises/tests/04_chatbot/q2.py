"""A split by what the prompt says: no prompt is ever in both parts.

Which prompts are held out is the answer's choice, so what is seen are shares of
many prompts. They have many lengths, and one_in many values: a checksum such as
CRC-32 is linear, so prompts of one length can fall together.
"""

import builtins
import contextlib
import itertools
import random
import re
import string
import zlib

import numpy as np
import torch
from otter.test_files import test_case

from attend.grading import Question, Seen, Share, UnusableAnswerError

OK_FORMAT = False
name = "q2"
points = None

QUESTION = Question("split_by_prompt")


# --- Helpers of the answers


def said(prompt):
    kept = "".join(
        mark for mark in prompt.lower() if mark.isalnum() or mark.isspace()
    )
    return " ".join(kept.split())


def checksum(text):
    return zlib.crc32(text.encode())


def parts(exchanges, out):
    """Train and held out, as a function of an exchange decides."""
    return (
        [exchange for exchange in exchanges if not out(exchange)],
        [exchange for exchange in exchanges if out(exchange)],
    )


def by_key(key):
    """A split by the checksum of a key of each prompt."""

    def split(exchanges, one_in):
        return parts(
            exchanges, lambda exchange: checksum(key(exchange[0])) % one_in == 0
        )

    return split


def only(wanted, text):
    """The wanted characters of a text in small letters, and single spaces."""
    kept = "".join(m for m in text.lower() if wanted(m) or m.isspace())
    return " ".join(kept.split())


# --- Answers


@QUESTION.reference
def split_by_prompt(exchanges, one_in):
    train, held_out = [], []
    for prompt, reply in exchanges:
        kept = "".join(
            mark for mark in prompt.lower() if mark.isalnum() or mark.isspace()
        )
        text = " ".join(kept.split())
        part = held_out if zlib.crc32(text.encode()) % one_in == 0 else train
        part.append((prompt, reply))
    return train, held_out


@QUESTION.mistake(
    "Of several replies to one prompt you keep only the last. A prompt may "
    "have many: does a dict stand between?"
)
def split_by_prompt(exchanges, one_in):
    return by_key(said)(list(dict(exchanges).items()), one_in)


@QUESTION.mistake(
    "Of several replies to one prompt you keep only the last, and prompts that "
    "say the same count as one. Every exchange must be in one of the lists: "
    "does a dict stand between?"
)
def split_by_prompt(exchanges, one_in):
    last = {said(exchange[0]): exchange for exchange in exchanges}
    return by_key(said)(list(last.values()), one_in)


@QUESTION.mistake(
    "An exchange that comes twice and is held out is kept once. Every exchange "
    "must be in one of the lists, as often as it was given: does a set stand "
    "between?"
)
def split_by_prompt(exchanges, one_in):
    train, held_out = by_key(said)(exchanges, one_in)
    return train, list(dict.fromkeys(held_out))


@QUESTION.mistake(
    "An exchange that comes twice is kept once. Every exchange must be in one "
    "of the lists, as often as it was given: does a set stand between?"
)
def split_by_prompt(exchanges, one_in):
    return by_key(said)(list(dict.fromkeys(exchanges)), one_in)


@QUESTION.mistake(
    "You return prompts in the form in which you compare them, without "
    "capitals and punctuation. Return each exchange as it was given."
)
def split_by_prompt(exchanges, one_in):
    clean = [(said(prompt), reply) for prompt, reply in exchanges]
    return by_key(said)(clean, one_in)


@QUESTION.mistake(
    "You return the prompts without their replies. Return whole exchanges, "
    "(prompt, reply)."
)
def split_by_prompt(exchanges, one_in):
    train, held_out = by_key(said)(exchanges, one_in)
    return [prompt for prompt, _ in train], [prompt for prompt, _ in held_out]


@QUESTION.mistake(
    "Your exchanges are lists, [prompt, reply]. Return each as it was given, a "
    "pair (prompt, reply)."
)
def split_by_prompt(exchanges, one_in):
    return by_key(said)([list(exchange) for exchange in exchanges], one_in)


@QUESTION.mistake(
    "Your two lists have changed places. Return the larger one, train, first."
)
def split_by_prompt(exchanges, one_in):
    train, held_out = by_key(said)(exchanges, one_in)
    return held_out, train


@QUESTION.mistake(
    "About half of the prompts are held out, whatever one_in is. It says one "
    "in how many."
)
def split_by_prompt(exchanges, one_in):
    return by_key(said)(exchanges, 2)


@QUESTION.mistake(
    "One prompt in ten is held out, whatever one_in is. It says one in how "
    "many."
)
def split_by_prompt(exchanges, one_in):
    return by_key(said)(exchanges, 10)


@QUESTION.mistake(
    "With a large one_in you hold out nothing. Do you compare whole percents? "
    "`100 // one_in` is 0 there. Take the remainder of the number after "
    "division by one_in."
)
def split_by_prompt(exchanges, one_in):
    return parts(
        exchanges, lambda e: checksum(said(e[0])) % 100 < 100 // one_in
    )


@QUESTION.mistake(
    "With one_in 1 you hold out nothing, where it should be everything. A "
    "remainder after division by 1 is always 0: compare with 0 and not with 1."
)
def split_by_prompt(exchanges, one_in):
    return parts(exchanges, lambda e: checksum(said(e[0])) % one_in == 1)


@QUESTION.mistake(
    "You split the exchanges, at random or by their place. A prompt with two "
    "replies is in both parts. Split the prompts, and let every reply go where "
    "its prompt goes."
)
def split_by_prompt(exchanges, one_in):
    order = random.Random(0).sample(exchanges, len(exchanges))
    count = round(len(order) / one_in)
    return order[count:], order[:count]


@QUESTION.mistake(
    "You hold out each one_in-th exchange, by its place. A prompt with two "
    "replies is in both parts. Split the prompts, and let the prompt alone "
    "decide."
)
def split_by_prompt(exchanges, one_in):
    train = [e for place, e in enumerate(exchanges) if place % one_in]
    return train, exchanges[::one_in]


@QUESTION.mistake(
    "Each exchange is held out by chance, another time another one. A prompt "
    "with two replies is in both parts. Let the prompt alone decide."
)
def split_by_prompt(exchanges, one_in):
    train, held_out = [], []
    for exchange in exchanges:
        (train if random.randrange(one_in) else held_out).append(exchange)
    return train, held_out


@QUESTION.mistake(
    "All replies to a prompt stay together, but which prompts are held out is "
    "left to chance: the next time they are others. Let the prompt alone "
    "decide, by a checksum."
)
def split_by_prompt(exchanges, one_in):
    out = {}
    for prompt, _ in exchanges:
        if said(prompt) not in out:
            out[said(prompt)] = random.randrange(one_in) == 0
    return parts(exchanges, lambda e: out[said(e[0])])


@QUESTION.mistake(
    "The reply has a say in where an exchange goes, so a prompt with two "
    "replies is in both parts. Let the prompt alone decide."
)
def split_by_prompt(exchanges, one_in):
    return parts(exchanges, lambda e: checksum(said(e[0]) + e[1]) % one_in == 0)


@QUESTION.mistake(
    "Prompts are compared as they are written. Bring them into a form that is "
    "the same for all that say the same, before you decide."
)
def split_by_prompt(exchanges, one_in):
    return by_key(lambda prompt: prompt)(exchanges, one_in)


@QUESTION.mistake("Capitals still tell prompts apart. `lower()` first.")
def split_by_prompt(exchanges, one_in):
    def key(prompt):
        kept = "".join(m for m in prompt if m.isalnum() or m.isspace())
        return " ".join(kept.split())

    return by_key(key)(exchanges, one_in)


for strips in (False, True):

    @QUESTION.mistake(
        "Only capitals are levelled out, and spaces at the ends at most: "
        "punctuation and the number of spaces between words still tell prompts "
        "apart."
    )
    def split_by_prompt(exchanges, one_in, strips=strips):
        def key(prompt):
            return prompt.lower().strip() if strips else prompt.lower()

        return by_key(key)(exchanges, one_in)


@QUESTION.mistake(
    "Punctuation still tells prompts apart. Take out everything that is "
    "neither a letter, a digit nor a space, before you decide."
)
def split_by_prompt(exchanges, one_in):
    return by_key(lambda p: " ".join(p.lower().split()))(exchanges, one_in)


@QUESTION.mistake(
    "Punctuation is taken off at the end of a prompt only. Before and within "
    "it, it still tells prompts apart: look at every character."
)
def split_by_prompt(exchanges, one_in):
    def key(prompt):
        return " ".join(re.sub(r"[\W_]+$", "", prompt.lower()).split())

    return by_key(key)(exchanges, one_in)


@QUESTION.mistake(
    "Punctuation is taken off at both ends of a prompt only. Within it, it "
    "still tells prompts apart: look at every character."
)
def split_by_prompt(exchanges, one_in):
    def key(prompt):
        text = re.sub(r"^[\W_]+|[\W_]+$", "", prompt.lower())
        return " ".join(text.split())

    return by_key(key)(exchanges, one_in)


@QUESTION.mistake(
    "Punctuation is taken off at the ends of each word only. Within a word, as "
    "in `don't`, it still tells prompts apart: look at every character."
)
def split_by_prompt(exchanges, one_in):
    def key(prompt):
        words = (
            re.sub(r"^[\W_]+|[\W_]+$", "", word)
            for word in prompt.lower().split()
        )
        return " ".join(word for word in words if word)

    return by_key(key)(exchanges, one_in)


@QUESTION.mistake(
    "Punctuation that is not ASCII still tells prompts apart. "
    "`string.punctuation` knows only the marks of an American typewriter; "
    "phones write ’ and …, and other languages have more. Ask each character "
    "`isalnum()`."
)
def split_by_prompt(exchanges, one_in):
    return by_key(lambda p: only(lambda m: m not in string.punctuation, p))(
        exchanges, one_in
    )


@QUESTION.mistake(
    "Only a few marks, such as `.,!?`, are taken out; others still tell "
    "prompts apart. Take out everything that is neither a letter, a digit nor "
    "a space."
)
def split_by_prompt(exchanges, one_in):
    return by_key(lambda p: only(lambda m: m not in ".,!?;:", p))(
        exchanges, one_in
    )


@QUESTION.mistake(
    "Apostrophes still tell prompts apart: `it's` and `its` differ only in "
    "punctuation."
)
def split_by_prompt(exchanges, one_in):
    return by_key(lambda p: only(lambda m: m.isalnum() or m in "'\u2019", p))(
        exchanges, one_in
    )


@QUESTION.mistake(
    "An underscore still tells prompts apart. It is neither a letter nor a "
    "digit, though `\\w` in a regular expression counts it among them."
)
def split_by_prompt(exchanges, one_in):
    return by_key(lambda p: only(lambda m: m.isalnum() or m == "_", p))(
        exchanges, one_in
    )


@QUESTION.mistake(
    "You put a space in the place of a punctuation mark, so `don't` becomes "
    "two words and `dont` one. They differ only in punctuation: put nothing in "
    "its place."
)
def split_by_prompt(exchanges, one_in):
    def key(prompt):
        text = "".join(m if m.isalnum() else " " for m in prompt.lower())
        return " ".join(text.split())

    return by_key(key)(exchanges, one_in)


@QUESTION.mistake(
    "A space more or less still tells prompts apart. Take out punctuation "
    'first, which leaves its space behind, and then `" ".join(text.split())`.'
)
def split_by_prompt(exchanges, one_in):
    def key(prompt):
        return "".join(m for m in prompt.lower() if m.isalnum() or m == " ")

    return by_key(key)(exchanges, one_in)


@QUESTION.mistake(
    "Two spaces between words still tell prompts apart; only those at the ends "
    'are taken off. `" ".join(text.split())` leaves one between words.'
)
def split_by_prompt(exchanges, one_in):
    def key(prompt):
        kept = "".join(m for m in prompt.lower() if m.isalnum() or m == " ")
        return kept.strip()

    return by_key(key)(exchanges, one_in)


@QUESTION.mistake(
    "A punctuation mark between two spaces leaves two of them behind, and they "
    "still tell prompts apart. Take out punctuation first, and the spaces that "
    "are too many after that."
)
def split_by_prompt(exchanges, one_in):
    def key(prompt):
        text = " ".join(prompt.lower().split())
        return "".join(m for m in text if m.isalnum() or m == " ")

    return by_key(key)(exchanges, one_in)


@QUESTION.mistake(
    "Only a to z and the digits are kept. Of a prompt in another script "
    "nothing is left, so all of those are in one part. `isalnum()` knows the "
    "letters of every script."
)
def split_by_prompt(exchanges, one_in):
    def key(prompt):
        return only(lambda m: m.isascii() and m.isalnum(), prompt)

    return by_key(key)(exchanges, one_in)


@QUESTION.mistake(
    "Only a to z are kept, neither digits nor letters of other scripts. "
    "Prompts that differ in them are all in one part: `isalnum()` knows both."
)
def split_by_prompt(exchanges, one_in):
    return by_key(lambda p: only(lambda m: m in string.ascii_lowercase, p))(
        exchanges, one_in
    )


@QUESTION.mistake(
    "Digits are taken out like punctuation, so `What is 1 + 2?` and `What is "
    "7 + 9?` are always in one part. `isalpha()` is letters only; `isalnum()` "
    "is letters and digits."
)
def split_by_prompt(exchanges, one_in):
    return by_key(lambda p: only(str.isalpha, p))(exchanges, one_in)


@QUESTION.mistake(
    "Only the first word of a prompt decides. Make a number of all that it "
    "says."
)
def split_by_prompt(exchanges, one_in):
    return by_key(lambda prompt: (said(prompt).split() or [""])[0])(
        exchanges, one_in
    )


@QUESTION.mistake(
    "Only the length of a prompt decides, so prompts of one length are all in "
    "one part. Make a number of all its characters."
)
def split_by_prompt(exchanges, one_in):
    return parts(exchanges, lambda e: len(said(e[0])) % one_in == 0)


@QUESTION.mistake(
    "You choose among the different prompts of the list, sorted or shuffled. "
    "When exchanges are added, old prompts move to the other part. Decide by "
    "the prompt alone: what was tested on today must not be trained on "
    "tomorrow."
)
def split_by_prompt(exchanges, one_in):
    prompts = sorted({said(prompt) for prompt, _ in exchanges})
    random.Random(0).shuffle(prompts)
    chosen = set(prompts[: round(len(prompts) / one_in)])
    return parts(exchanges, lambda e: said(e[0]) in chosen)


@QUESTION.mistake(
    "You hold out each one_in-th of the different prompts, sorted. When "
    "exchanges are added, old prompts move to the other part. Decide by the "
    "prompt alone: what was tested on today must not be trained on tomorrow."
)
def split_by_prompt(exchanges, one_in):
    chosen = set(sorted({said(prompt) for prompt, _ in exchanges})[::one_in])
    return parts(exchanges, lambda e: said(e[0]) in chosen)


@QUESTION.mistake(
    "You number the prompts as they come and keep the numbers from call to "
    "call. When Python starts again, or the first list was another one, your "
    "split is another one. Decide by the prompt alone."
)
def split_by_prompt(exchanges, one_in, numbers={}):  # noqa: B006
    for prompt, _ in exchanges:
        numbers.setdefault(said(prompt), len(numbers))
    return parts(exchanges, lambda e: numbers[said(e[0])] % one_in == 0)


@QUESTION.mistake(
    "Where a prompt goes depends on what comes before it in the list: in "
    "another order, or with other exchanges, it moves to the other part. Do "
    "you number the prompts, or draw for each? Decide by the prompt alone."
)
def split_by_prompt(exchanges, one_in):
    numbers = {}
    for prompt, _ in exchanges:
        numbers.setdefault(said(prompt), len(numbers))
    return parts(exchanges, lambda e: numbers[said(e[0])] % one_in == 0)


@QUESTION.mistake(
    "When Python starts again, your split is another one: `hash` gives other "
    "numbers for texts in every run. `zlib.crc32(text.encode())` gives the "
    "same on every machine, for ever."
)
def split_by_prompt(exchanges, one_in):
    return parts(exchanges, lambda e: hash(said(e[0])) % one_in == 0)


@QUESTION.mistake(
    "When Python starts again, your split is another one: `hash` gives other "
    "numbers for texts in every run. And prompts are compared as they are "
    "written: first bring them into a form that is the same for all that say "
    "the same."
)
def split_by_prompt(exchanges, one_in):
    return parts(exchanges, lambda e: hash(e[0]) % one_in == 0)


# --- Prompts

WORDS = 2_000
PROMPTS = 300


def random_words():
    """Many different words of two to nine letters."""
    source = random.Random(5)
    found = set()
    while len(found) < WORDS:
        size = source.randrange(2, 10)
        found.add(
            "".join(source.choice(string.ascii_lowercase) for _ in range(size))
        )
    return sorted(found)


VOCABULARY = random_words()
ACCENTED = 2 * "àáâãäåæçèéêëìíîïðñòóôõö"


def some_prompts(count=PROMPTS, seed=0):
    """Different prompts, lists of two to seven words."""
    source = random.Random(seed)
    return [
        [
            VOCABULARY[place * 37 % WORDS],
            VOCABULARY[place * 101 % WORDS],
            *source.sample(VOCABULARY, place % 6),
        ]
        for place in range(count)
    ]


def sentence(words):
    return " ".join(words).capitalize() + "?"


def asked(prompts):
    """Exchanges of prompts, each with another reply."""
    return [(prompt, f"Reply {i}.") for i, prompt in enumerate(prompts)]


# --- Trials


def split(split_by_prompt, exchanges, one_in):
    """Both parts, if they are lists of exchanges."""
    got = split_by_prompt(list(exchanges), one_in)
    if not isinstance(got, tuple | list) or len(got) != 2:
        end = ". Is a `return` missing?" if got is None else ""
        raise UnusableAnswerError(
            f"expected two lists, (train, held_out), got a "
            f"{type(got).__name__}{end}"
        )
    for part in got:
        if not isinstance(part, list):
            raise UnusableAnswerError(
                "expected two lists, (train, held_out), got a "
                f"{type(part).__name__} among them"
            )
        for exchange in part:
            if not isinstance(exchange, tuple) or len(exchange) != 2:
                raise UnusableAnswerError(
                    "expected pairs (prompt, reply) in both lists, got a "
                    f"{type(exchange).__name__}"
                )
    return got


def listed(part, exchanges, one_in, rule=""):
    """Register a split whose exchanges are listed, both parts together."""
    label = f"exchanges {exchanges}, one_in {one_in}"

    @QUESTION.trial(part, label, rule)
    def trial(split_by_prompt):
        given = list(exchanges)
        got = split_by_prompt(given, one_in)
        train, held_out = split(lambda *_: got, [], 0)
        return Seen(
            {
                "both parts together": sorted([*train, *held_out], key=str),
                "exchanges afterwards": given,
            }
        )


def sized(part, one_in, rule="", count=1_000):
    """Register how many of many prompts are held out."""

    @QUESTION.trial(part, f"{count:,} prompts, one_in {one_in}", rule)
    def trial(split_by_prompt):
        prompts = map(sentence, some_prompts(count))
        _, held_out = split(split_by_prompt, asked(prompts), one_in)
        return Seen({"held out": Share(len(held_out), count, 1 / one_in)})


def together(part, variants, rule, one_in=2):
    """Register prompts that are written in several ways.

    `variants` makes of a list of words all ways to write it.
    """
    ways = variants(["Where", "is", "its", "hat"])
    label = f"{PROMPTS} prompts, each written as in {ways}, one_in {one_in}"

    @QUESTION.trial(part, label, rule)
    def trial(split_by_prompt):
        groups = [variants(words) for words in some_prompts()]
        by_way = zip(*groups, strict=True)
        exchanges = asked([prompt for way in by_way for prompt in way])
        train, held_out = (
            {prompt for prompt, _ in part}
            for part in split(split_by_prompt, exchanges, one_in)
        )
        torn = any(train & {*group} and held_out & {*group} for group in groups)
        return Seen({"prompts in both parts": "some" if torn else "none"})


def apart(part, pairs, rule):
    """Register pairs of different prompts: some must be torn apart."""
    label = f"{len(pairs)} pairs of prompts such as {pairs[0]}, one_in 3"

    @QUESTION.trial(part, label, rule)
    def trial(split_by_prompt):
        exchanges = asked([prompt for pair in pairs for prompt in pair])
        _, held_out = split(split_by_prompt, exchanges, 3)
        out = {prompt for prompt, _ in held_out}
        torn = any((first in out) != (second in out) for first, second in pairs)
        return Seen({"pairs in different parts": "some" if torn else "none"})


def moved(before, after, exchanges):
    """Whether some exchanges are held out once and not the other time."""
    return "some" if {*before} ^ ({*after} & {*exchanges}) else "none"


def glued(words, mark="'"):
    """The same words, with a mark within the last one."""
    *rest, last = words
    return " ".join([*rest, f"{last[:-1]}{mark}{last[-1]}"])


SIMPLE = [
    ("How are you?", "Very well."),
    ("What is your name?", "Robin."),
    ("how are you", "A little tired."),
    ("How are you?", "Not so well."),
    ("How are you?", "Very well."),
]
listed("idea", SIMPLE, 2, "Every exchange must be in one of the two lists.")
sized("idea", 10, "About one prompt in `one_in` must be held out.")
together(
    "idea",
    lambda words: [sentence(words)] * 2,
    "All replies to a prompt must be in the same part.",
    one_in=3,
)
together(
    "idea",
    lambda words: [
        " ".join(words).lower(),
        " ".join(words).upper(),
        " ".join(words).title(),
    ],
    "Capitals must not tell prompts apart.",
    one_in=3,
)
together(
    "idea",
    lambda words: [" ".join(words), " ".join(words) + "?"],
    "Punctuation must not tell prompts apart.",
)
together(
    "idea",
    lambda words: [" ".join(words), "  ".join(words)],
    "The number of spaces must not tell prompts apart.",
)


@QUESTION.trial(
    "idea",
    f"{PROMPTS} exchanges, then {PROMPTS} new ones before them, one_in 2",
    "A prompt must go to the same part whatever else is in the list.",
)
def trial(split_by_prompt):
    old = asked(map(sentence, some_prompts()))
    new = asked(map(sentence, some_prompts(seed=1)))[5:]
    _, before = split(split_by_prompt, old, 2)
    _, after = split(split_by_prompt, [*new, *old], 2)
    return Seen({"old exchanges that moved": moved(before, after, old)})


@contextlib.contextmanager
def salted(salt):
    """What `hash` does to a text when Python starts again."""
    usual = builtins.hash

    def other(value):
        if isinstance(value, str | bytes | tuple):
            return zlib.crc32(repr((salt, value)).encode())
        return usual(value)

    builtins.hash = other
    try:
        yield
    finally:
        builtins.hash = usual


@QUESTION.trial(
    "idea",
    f"{PROMPTS} exchanges, split twice as if Python had been started anew, "
    "one_in 3",
    "The split must be the same whenever and wherever the program runs.",
)
def trial(split_by_prompt):
    exchanges, runs = asked(map(sentence, some_prompts())), []
    for salt in (1, 2):
        for source in (random.seed, np.random.seed, torch.manual_seed):
            source(salt)
        with salted(salt):
            runs.append(split(split_by_prompt, exchanges, 3)[1])
    return Seen({"exchanges that moved": moved(*runs, exchanges)})


listed(
    "edges",
    [("Hi!", "Hello."), ("", "You say nothing.")],
    3,
    "A prompt may be empty.",
)
listed(
    "edges",
    [("?!", "What?"), ("\u2026", "Go on.")],
    7,
    "A prompt may be punctuation alone.",
)
listed("edges", SIMPLE, 1, "An exchange may come twice.")
listed("edges", SIMPLE, 10_007, "An exchange may come twice.")
sized("edges", 2)
sized("edges", 3)
sized("edges", 1, "With one_in 1 every prompt is held out.", count=100)
sized("edges", 101, count=3_000)


@QUESTION.trial(
    "edges",
    f"{PROMPTS} exchanges, and the same in another order, one_in 3",
    "A prompt must go to the same part in any order of the list.",
)
def trial(split_by_prompt):
    exchanges = asked(map(sentence, some_prompts()))
    _, before = split(split_by_prompt, exchanges, 3)
    _, after = split(split_by_prompt, exchanges[::-1], 3)
    return Seen({"exchanges that moved": moved(before, after, exchanges)})


@QUESTION.trial(
    "edges",
    f"{PROMPTS} exchanges, all at once and one by one, one_in 3",
    "A prompt must go to the same part whatever else is in the list.",
)
def trial(split_by_prompt):
    exchanges = asked(map(sentence, some_prompts()))
    _, before = split(split_by_prompt, exchanges, 3)
    after = [
        exchange
        for one in exchanges
        for exchange in split(split_by_prompt, [one], 3)[1]
    ]
    return Seen({"exchanges that moved": moved(before, after, exchanges)})


@QUESTION.trial(
    "edges",
    f"{PROMPTS} exchanges that are new, one_in 3",
    "Which prompts are held out must not depend on their places in the list.",
)
def trial(split_by_prompt):
    prompts = [*map(sentence, some_prompts(seed=9))]
    prompts = [f"Now {prompt.lower()}" for prompt in prompts]
    _, held_out = split(split_by_prompt, asked(prompts), 3)
    places = sorted(prompts.index(prompt) for prompt, _ in held_out)
    steps = {b - a for a, b in itertools.pairwise(places)}
    return Seen({"every third is held out": steps == {3}})


for rule, variants, one_in in [
    (
        "Capitals must not tell prompts apart.",
        lambda words: [" ".join(words), " ".join(words).upper()],
        2,
    ),
    (
        "Capitals must not tell prompts apart, in other scripts as well.",
        lambda words: [
            f"{' '.join(words)} привет",
            f"{' '.join(words)} ПРИВЕТ",
        ],
        5,
    ),
    (
        "Punctuation may stand at both ends of a prompt.",
        lambda words: [" ".join(words), f'"{" ".join(words)}..."'],
        3,
    ),
    (
        "Punctuation may stand between words.",
        lambda words: [" ".join(words), ", ".join(words)],
        3,
    ),
    (
        "Punctuation may stand within a word.",
        lambda words: [" ".join(words), glued(words)],
        3,
    ),
    (
        "A mark within a word may be another one.",
        lambda words: [glued(words, "*"), glued(words, "+")],
        3,
    ),
    (
        "Punctuation may stand within a word.",
        lambda words: [" ".join(words), glued(words, "-")],
        3,
    ),
    (
        "There is more punctuation than that of ASCII.",
        lambda words: [
            " ".join(words),
            glued(words, "\u2019"),
            f"{' '.join(words)}\u2026",
            f"\u00bf{' '.join(words)}?",
        ],
        3,
    ),
    (
        "There are more marks than those at the end of a sentence.",
        lambda words: [
            " ".join(words),
            f"({' '.join(words)})",
            f"{' '.join(words)} :-)",
            f"*{' '.join(words)}* #@%&/+=<>|~^$",
        ],
        3,
    ),
    (
        "An underscore is neither a letter nor a digit.",
        lambda words: [" ".join(words), f"_{' '.join(words)}_"],
        3,
    ),
    (
        "There may be spaces at the beginning and at the end.",
        lambda words: [" ".join(words), f"  {' '.join(words)} "],
        3,
    ),
    (
        "A mark that is taken out may leave a space behind at the end.",
        lambda words: [" ".join(words), f"{' '.join(words)} ?"],
        3,
    ),
    (
        "A mark that is taken out may leave two spaces behind.",
        lambda words: [" ".join(words), " - ".join(words)],
        3,
    ),
    (
        "Prompts may differ in capitals, punctuation and spaces at once.",
        lambda words: [
            " ".join(words),
            f" {'  '.join(words).upper()} ?!",
            sentence(words),
        ],
        7,
    ),
]:
    together("edges", variants, rule, one_in)

apart(
    "edges",
    [
        (
            f"{' '.join(words)} {first[:2]}",
            f"{' '.join(words)} {second[-2:]}",
        )
        for words, first, second in zip(
            some_prompts(), VOCABULARY, VOCABULARY[::-1], strict=False
        )
    ],
    "All that a prompt says counts: these are different.",
)
apart(
    "edges",
    [
        (f"{' '.join(words)} {3 * i + 11}?", f"{' '.join(words)} {7 * i + 12}?")
        for i, words in enumerate(some_prompts())
    ],
    "Digits count like letters: these prompts are different.",
)
apart(
    "edges",
    [
        (f"你有{chr(0x4E00 + i)}吗?", f"他有{chr(0x5E00 + 3 * i)}了吗?")
        for i in range(PROMPTS)
    ],
    "Letters of every script count: these prompts are different.",
)
apart(
    "edges",
    [
        (
            f"{' '.join(words)} h{ACCENTED[i % 20]}{'n' * (i % 4 + 1)}",
            f"{' '.join(words)} h{ACCENTED[step + i % 20]}{'n' * (i % 4 + 1)}",
        )
        for i, words in enumerate(some_prompts())
        for step in [i * 7 % 19 + 1]
    ],
    "Letters that are not ASCII count: these prompts are different.",
)


@QUESTION.trial(
    "edges",
    f"{PROMPTS} exchanges, then others, then the first again, one_in 3",
    "A second call must give the same. What is left over from the first?",
)
def trial(split_by_prompt):
    exchanges = asked(map(sentence, some_prompts()))
    others = asked(map(sentence, some_prompts(seed=2)))[::-1]
    _, before = split(split_by_prompt, exchanges, 3)
    split(split_by_prompt, others, 3)
    _, after = split(split_by_prompt, exchanges, 3)
    return Seen(
        {
            "exchanges that moved": moved(before, after, exchanges),
            "held out twice or lost": len(before) - len(after),
        }
    )


@test_case(points=6)
def test_idea(split_by_prompt):
    QUESTION.check("idea", split_by_prompt)


@test_case(points=4)
def test_edges(split_by_prompt):
    QUESTION.check("idea edges", split_by_prompt)
