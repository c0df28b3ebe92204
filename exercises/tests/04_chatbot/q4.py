"""Distinct-n: different n-grams over all n-grams, of all replies together."""

from collections import Counter

from otter.test_files import test_case

from attend.grading import Question, Seen

OK_FORMAT = False
name = "q4"
points = None

QUESTION = Question("distinct", returns={"the measure": ""})


# --- Helpers of the answers


def ngrams_of(words, n):
    return [tuple(words[i : i + n]) for i in range(len(words) - n + 1)]


def all_ngrams(replies, n):
    return [ngram for words in replies for ngram in ngrams_of(words, n)]


def share(ngrams, count=None):
    """Different ones over all, or over another number."""
    if not ngrams:
        raise ValueError("nothing to measure")
    return len(set(ngrams)) / (len(ngrams) if count is None else count)


# --- Answers


@QUESTION.reference
def distinct(replies, n):
    ngrams = []
    for words in replies:
        for start in range(len(words) - n + 1):
            ngrams.append(tuple(words[start : start + n]))
    if not ngrams:
        raise ValueError("no reply has n words: there is nothing to measure")
    return len(set(ngrams)) / len(ngrams)


@QUESTION.mistake(
    "You count single words, whatever n is. For n = 2 what must differ is a "
    "pair of neighbours, above and below the line."
)
def distinct(replies, n):
    return share([word for words in replies for word in words])


for least in (0, 1):  # the words of all replies, or of those with n words

    @QUESTION.mistake(
        "Above the line you count different words, and below it n-grams. Count "
        "n-grams in both places."
    )
    def distinct(replies, n, least=least):
        count = len(all_ngrams(replies, n))
        if not count:
            raise ValueError("nothing to measure")
        long = [words for words in replies if len(words) >= n * least]
        return len(set(sum(long, []))) / count


@QUESTION.mistake("You take pairs, whatever n is. An n-gram has n words.")
def distinct(replies, n):
    return share(all_ngrams(replies, 2))


@QUESTION.mistake(
    "Your n-grams have n + 1 words. `words[i : i + n]` has n of them."
)
def distinct(replies, n):
    return share(all_ngrams(replies, n + 1))


@QUESTION.mistake(
    "You count n-grams of one word, of two, and so on up to n. Count those of "
    "n words only."
)
def distinct(replies, n):
    return share(
        [g for size in range(n) for g in all_ngrams(replies, size + 1)]
    )


@QUESTION.mistake(
    "N-grams with the same words in another order, or as often as you like, "
    "count as one. A tuple keeps the order; a set does not."
)
def distinct(replies, n):
    return share([frozenset(ngram) for ngram in all_ngrams(replies, n)])


@QUESTION.mistake(
    "N-grams with the same words in another order count as one. Do you sort "
    "them? `i do` and `do i` are two."
)
def distinct(replies, n):
    return share([tuple(sorted(ngram)) for ngram in all_ngrams(replies, n)])


for mark in ("", "-", "_", "|"):

    @QUESTION.mistake(
        "Different n-grams count as one where their words are the same when "
        "written in a row. Do you glue the words together? A tuple keeps them "
        "apart."
    )
    def distinct(replies, n, mark=mark):
        return share([mark.join(ngram) for ngram in all_ngrams(replies, n)])


@QUESTION.mistake(
    "Capitals and small letters count as the same. Words are the same only if "
    "they are written the same."
)
def distinct(replies, n):
    small = [[word.lower() for word in words] for words in replies]
    return share(all_ngrams(small, n))


@QUESTION.mistake(
    "Your n-grams do not overlap: you step on by n. Every word starts one, as "
    "long as n words are left."
)
def distinct(replies, n):
    return share(
        [ngram for words in replies for ngram in ngrams_of(words, n)[::n]]
    )


@QUESTION.mistake(
    "The last n-gram of each reply is missing. A reply of k words has "
    "k − n + 1 of them, not k − n."
)
def distinct(replies, n):
    return share(
        [ngram for words in replies for ngram in ngrams_of(words, n)[:-1]]
    )


@QUESTION.mistake(
    "The first n-gram of each reply is missing: places count from 0."
)
def distinct(replies, n):
    return share(
        [ngram for words in replies for ngram in ngrams_of(words, n)[1:]]
    )


@QUESTION.mistake(
    "At the end of a reply you count n-grams that have fewer than n words. A "
    "reply of k words has k − n + 1 n-grams."
)
def distinct(replies, n):
    return share(
        [
            tuple(words[i : i + n])
            for words in replies
            for i in range(len(words))
        ]
    )


@QUESTION.mistake(
    "You measure each reply by itself and take the mean, so a bot that says "
    "the same to everybody can get the best mark. Count the n-grams of all "
    "replies together."
)
def distinct(replies, n):
    shares = [share(all_ngrams([w], n)) for w in replies if len(w) >= n]
    if not shares:
        raise ValueError("nothing to measure")
    return sum(shares) / len(shares)


@QUESTION.mistake(
    "You measure each reply by itself, with 0 for one that is too short, and "
    "take the mean. Count the n-grams of all replies together."
)
def distinct(replies, n):
    shares = [share(all_ngrams([w], n)) if len(w) >= n else 0 for w in replies]
    if not any(shares):
        raise ValueError("nothing to measure")
    return sum(shares) / len(shares)


@QUESTION.mistake(
    "You look for doubles within each reply only, so what two replies have in "
    "common counts twice. Make one set of the n-grams of all replies."
)
def distinct(replies, n):
    different = sum(len(set(ngrams_of(words, n))) for words in replies)
    return different * share([0] * len(all_ngrams(replies, n)))


@QUESTION.mistake(
    "A reply that comes twice is counted once. Count the n-grams of every "
    "reply: a bot that repeats itself is what is looked for."
)
def distinct(replies, n):
    return share(all_ngrams(dict.fromkeys(map(tuple, replies)), n))


@QUESTION.mistake(
    "Your n-grams run from one reply into the next. Take those of each reply "
    "by itself, and do not join the replies."
)
def distinct(replies, n):
    return share(ngrams_of([word for words in replies for word in words], n))


def divided_by(what, number, look):
    """Another divisor; what is looked at to be 0 is it, or the n-grams."""

    @QUESTION.mistake(
        f"You divide by the number of {what}. Divide by the number of all "
        "n-grams, so that 1 means: nothing comes twice."
    )
    def distinct(replies, n):
        ngrams = all_ngrams(replies, n)
        if not (ngrams if look == "n-grams" else number(replies)):
            raise ValueError("nothing to measure")
        return len(set(ngrams)) / number(replies)


for what, number in [
    ("words", lambda replies: sum(map(len, replies))),
    ("different words", lambda replies: len(set(sum(replies, [])))),
    ("replies", len),
]:
    divided_by(what, number, "n-grams")
    divided_by(what, number, "the divisor")


@QUESTION.mistake(
    "You do not divide: your result is the number of different n-grams. Divide "
    "by the number of all n-grams."
)
def distinct(replies, n):
    return share(all_ngrams(replies, n), 1)


@QUESTION.mistake(
    "Your fraction stands on its head: all n-grams over the different ones. "
    "It is the other way round, and never above 1."
)
def distinct(replies, n):
    return 1 / share(all_ngrams(replies, n))


@QUESTION.mistake(
    "Your result is the share of repeated n-grams, 1 minus what is asked. It "
    "is 1 where nothing comes twice."
)
def distinct(replies, n):
    return 1 - share(all_ngrams(replies, n))


@QUESTION.mistake(
    "You count n-grams that come exactly once. One that comes twice is a "
    "different one as well, and counts once above the line."
)
def distinct(replies, n):
    counts = Counter(all_ngrams(replies, n)).values()
    once = sum(count == 1 for count in counts)
    return once * share([0] * sum(counts))


@QUESTION.mistake(
    "A reply of fewer than n − 1 words counts less than nothing: `len(words) - "
    "n + 1` is negative there. It has no n-gram at all: count 0."
)
def distinct(replies, n):
    count = sum(len(words) - n + 1 for words in replies)
    return share(all_ngrams(replies, n), count)


@QUESTION.mistake(
    "A reply shorter than n counts as one short n-gram, an empty one among "
    "them. It has none at all."
)
def distinct(replies, n):
    return share(
        [
            tuple(words[i : i + n])
            for words in replies
            for i in range(max(1, len(words) - n + 1))
        ]
    )


@QUESTION.mistake(
    "A reply shorter than n counts as one short n-gram, unless it is empty. It "
    "has none at all."
)
def distinct(replies, n):
    return share(
        [
            tuple(words[i : i + n])
            for words in replies
            if words
            for i in range(max(1, len(words) - n + 1))
        ]
    )


@QUESTION.mistake(
    "You raise a ValueError as soon as one reply is shorter than n. Others may "
    "have n-grams: raise it only where no reply has one."
)
def distinct(replies, n):
    if not replies or any(len(words) < n for words in replies):
        raise ValueError("a reply is too short")
    return share(all_ngrams(replies, n))


@QUESTION.mistake(
    "Where there is no n-gram you divide by 0. Look first, and raise a "
    "`ValueError` that says so."
)
def distinct(replies, n):
    ngrams = all_ngrams(replies, n)
    return len(set(ngrams)) / len(ngrams)


@QUESTION.mistake(
    "You raise a ValueError only where there are no replies. Where all are "
    "shorter than n you divide by 0: it is n-grams that must be there."
)
def distinct(replies, n):
    if not replies:
        raise ValueError("there are no replies")
    ngrams = all_ngrams(replies, n)
    return len(set(ngrams)) / len(ngrams)


@QUESTION.mistake(
    "You raise a ValueError only where no reply has a word. Where all are "
    "shorter than n you divide by 0: it is n-grams that must be there."
)
def distinct(replies, n):
    if not any(replies):
        raise ValueError("there are no words")
    ngrams = all_ngrams(replies, n)
    return len(set(ngrams)) / len(ngrams)


@QUESTION.mistake(
    "Where there is no n-gram you return 0, which would mean that all was "
    "repeated. There is nothing to measure: raise a `ValueError` that says so."
)
def distinct(replies, n):
    ngrams = all_ngrams(replies, n)
    return len(set(ngrams)) / max(1, len(ngrams))


@QUESTION.mistake(
    "Where there is no n-gram you return 1, as if all were different. There is "
    "nothing to measure: raise a `ValueError` that says so."
)
def distinct(replies, n):
    ngrams = all_ngrams(replies, n)
    return len(set(ngrams)) / len(ngrams) if ngrams else 1.0


@QUESTION.mistake(
    "Where there is no n-gram you return NaN. Whoever calls you may not look: "
    "raise a `ValueError` that says so."
)
def distinct(replies, n):
    ngrams = all_ngrams(replies, n)
    return len(set(ngrams)) / len(ngrams) if ngrams else float("nan")


@QUESTION.mistake(
    "Where there is no n-gram you raise an AssertionError. Raise a "
    "`ValueError` that says so."
)
def distinct(replies, n):
    ngrams = all_ngrams(replies, n)
    assert ngrams, "nothing to measure"
    return share(ngrams)


@QUESTION.mistake(
    "Your ValueError has no message. Let it say that there is nothing to "
    "measure."
)
def distinct(replies, n):
    if not all_ngrams(replies, n):
        raise ValueError
    return share(all_ngrams(replies, n))


@QUESTION.mistake(
    "You add words to the replies that you were given. Leave them as they are."
)
def distinct(replies, n):
    result = share(all_ngrams(replies, n))
    for words in replies:
        words.append("</s>")
    return result


@QUESTION.mistake(
    "Your result is rounded. Return it as it is; round where you print it."
)
def distinct(replies, n):
    return round(share(all_ngrams(replies, n)), 2)


# --- Inputs


def said(*replies):
    """Replies as lists of words."""
    return [reply.split() for reply in replies]


QUESTION.call("idea", said("a b a"), 2)
QUESTION.call("idea", said("a b c a b c"), 2, rule="N-grams overlap.")
QUESTION.call("idea", said("a b a c a b"), 1)
QUESTION.call("idea", said("a b a c a b"), 2)
QUESTION.call("idea", said("a b a c a b a b"), 3)
QUESTION.call(
    "idea",
    said("a b", "a b"),
    2,
    rule="The n-grams of all replies count together, none from one into the "
    "next.",
)
QUESTION.call("idea", said("i do not know", "i do not think so"), 2)
QUESTION.call("idea", said("a b c b", "b c b b c", "c b c b"), 3)
QUESTION.call(
    "edges",
    said("a b b", "a a b", "b a", "a b", "b b b"),
    2,
    rule="The order of words counts, and how often one comes.",
)
QUESTION.call(
    "edges", said("a a b", "a b b"), 3, rule="How often a word comes counts."
)
QUESTION.call(
    "edges",
    said("a bc", "ab c", "d e"),
    2,
    rule="Where one word ends and the next begins counts.",
)
QUESTION.call(
    "edges",
    said("a-b c", "a b-c", "a_b c", "a b_c", "a|b c", "a b|c"),
    2,
    rule="A word may have any characters in it.",
)
QUESTION.call(
    "edges",
    said("Yes you", "yes you", "YES you"),
    2,
    rule="Words are the same only if they are written the same.",
)
QUESTION.call(
    "edges",
    said("yes", "a b c a", "a b c"),
    3,
    rule="A reply shorter than n has no n-gram.",
)
QUESTION.call(
    "edges", said("", "a b a", ""), 2, rule="A reply may have no word at all."
)
QUESTION.call("edges", said("", "a", "a a"), 1, rule="A reply may be empty.")
QUESTION.call("edges", said("a b c d e"), 5, rule="A reply may have n words.")
QUESTION.call("edges", said("a b", "c d e f", "c d e f"), 4)
QUESTION.call("edges", said("yes"), 1)
QUESTION.call("edges", said(*["a b c d e f g", "h a b"] * 11), 2)
QUESTION.call("edges", said("a b c d e f g h a b c d e"), 2)
QUESTION.call(
    "edges",
    [[f"w{word % 307}" for word in range(401)]],
    1,
    rule="There may be many words.",
)


def nothing(replies, n):
    """Register replies without an n-gram."""

    @QUESTION.trial(
        "edges",
        f"replies {said(*replies)}, n {n}",
        "Where there is no n-gram, raise a `ValueError` that says so.",
    )
    def trial(distinct):
        try:
            got = distinct(said(*replies), n)
        except ValueError as error:
            got = "a ValueError"
            if not str(error).strip():
                got += " without a message"
        return Seen({"you return or raise": got})


nothing(["yes", "no"], 2)
nothing(["a b c", "a b"], 5)
nothing(["", ""], 1)
nothing([], 2)


@test_case(points=6)
def test_idea(distinct):
    QUESTION.check("idea", distinct)


@test_case(points=4)
def test_edges(distinct):
    QUESTION.check("idea edges", distinct)
