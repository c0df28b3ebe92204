"""Encoder-decoders in loops over plain numbers, from the papers' equations.

Nothing is batched, padded or vectorised, so this is slow, and there is little
to get wrong. The equation numbers are those of Bahdanau et al. 2015 and Luong
et al. 2015.
"""

import math
from dataclasses import dataclass, field

from attend.rnn import Seq2Seq

Vector = list[float]
Matrix = list[Vector]


def dot(a: Vector, b: Vector) -> float:
    return math.fsum(x * y for x, y in zip(a, b, strict=True))


def matvec(matrix: Matrix, x: Vector) -> Vector:
    return [dot(row, x) for row in matrix]


def add(*vectors: Vector) -> Vector:
    return [math.fsum(column) for column in zip(*vectors, strict=True)]


def tanh(x: Vector) -> Vector:
    return [math.tanh(value) for value in x]


def sigmoid(x: float) -> float:
    return 1 / (1 + math.exp(-x))


def softmax(x: Vector) -> Vector:
    exps = [math.exp(value) for value in x]
    return [value / math.fsum(exps) for value in exps]


@dataclass
class Output:
    """What was computed for one sentence: one entry per target token."""

    logits: Matrix = field(default_factory=list)
    weights: Matrix = field(default_factory=list)


class Reference:
    """The parameters of a model, as lists of numbers."""

    def __init__(self, model: Seq2Seq) -> None:
        self.config = model.config
        self.p = {
            name: tensor.tolist() for name, tensor in model.state_dict().items()
        }

    def cell(
        self, names: dict[str, str], x: Vector, h: Vector, c: Vector
    ) -> tuple[Vector, Vector]:
        """Take one step of an LSTM, unit by unit."""
        w, u = self.p[names["weight_ih"]], self.p[names["weight_hh"]]
        b, b2 = self.p[names["bias_ih"]], self.p[names["bias_hh"]]
        d = len(h)
        new_h, new_c = [], []
        for unit in range(d):
            i, f, g, o = (
                dot(w[row], x) + b[row] + dot(u[row], h) + b2[row]
                for row in (unit, d + unit, 2 * d + unit, 3 * d + unit)
            )
            new_c.append(sigmoid(f) * c[unit] + sigmoid(i) * math.tanh(g))
            new_h.append(sigmoid(o) * math.tanh(new_c[-1]))
        return new_h, new_c

    def stack(
        self, prefix: str, suffix: str, x: Vector, h: Matrix, c: Matrix
    ) -> Vector:
        """Move each layer of a stack a step, in place; return the top state."""
        for layer in range(self.config.num_layers):
            names = {
                kind: f"{prefix}{kind}{suffix}".format(layer=layer)
                for kind in ("weight_ih", "weight_hh", "bias_ih", "bias_hh")
            }
            h[layer], c[layer] = self.cell(names, x, h[layer], c[layer])
            x = h[layer]
        return x

    def score(self, q: Vector, k: Vector) -> float:
        """Compare a query with a key."""
        name = self.config.score
        if name == "dot":
            return dot(q, k)
        if name == "scaled_dot":
            return dot(q, k) / math.sqrt(len(k))
        if name == "bilinear":
            return dot(q, matvec(self.p["decoder.score.w"], k))
        v = self.p["decoder.score.v"]
        if name == "additive":
            hidden = add(
                matvec(self.p["decoder.score.w_q"], q),
                matvec(self.p["decoder.score.w_k"], k),
            )
        else:
            hidden = matvec(self.p["decoder.score.w"], q + k)
        return dot(v, tanh(hidden))

    def linear(self, name: str, x: Vector) -> Vector:
        return add(matvec(self.p[f"{name}.weight"], x), self.p[f"{name}.bias"])

    def translate(self, src: list[int], tgt: list[int]) -> Output:
        """Read a source and the target so far; predict the next tokens.

        There is a prediction after each of the target tokens.
        """
        layers, d = self.config.num_layers, self.config.d_hidden
        h, c = (
            [[0.0] * d for _ in range(layers)],
            [[0.0] * d for _ in range(layers)],
        )
        memory = [
            self.stack(
                "encoder.lstm.",
                "_l{layer}",
                self.p["src_embedding.weight"][token],
                h,
                c,
            )
            for token in src
        ]
        output = Output()
        feed = [0.0] * d
        for token in tgt:
            x = self.p["tgt_embedding.weight"][token]
            if self.config.attention == "none":
                feature = self.stack("decoder.lstm.", "_l{layer}", x, h, c)
            elif self.config.attention == "bahdanau":
                # section 3.1, eq. 6
                weights = softmax([self.score(h[-1], key) for key in memory])
                context = self.mean(weights, memory)  # eq. 5
                top = self.stack(
                    "decoder.cells.{layer}.", "", x + context, h, c
                )
                # eq. 4
                feature = tanh(
                    self.linear("decoder.combine", x + top + context)
                )
                output.weights.append(weights)
            else:
                # section 3.3
                top = self.stack("decoder.cells.{layer}.", "", x + feed, h, c)
                weights = self.look(top, memory)
                context = self.mean(weights, memory)
                # eq. 5
                feature = feed = tanh(
                    self.linear("decoder.combine", context + top)
                )
                output.weights.append(weights)
            output.logits.append(self.linear("output", feature))
        return output

    def look(self, query: Vector, memory: Matrix) -> Vector:
        """Return Luong's weights, global (eq. 7) or local-p (eq. 9 and 10)."""
        scores = [self.score(query, key) for key in memory]
        width = self.config.half_width
        if width is None:
            return softmax(scores)
        [z] = self.linear(
            "decoder.position.2", tanh(self.linear("decoder.position.0", query))
        )
        return window(scores, (len(memory) - 1) * sigmoid(z), width)

    @staticmethod
    def mean(weights: Vector, memory: Matrix) -> Vector:
        return [
            dot(weights, list(column)) for column in zip(*memory, strict=True)
        ]


def window(scores: Vector, p: float, half_width: int) -> Vector:
    """Return Luong's local-p weights (eq. 10).

    They are a softmax over [p - D, p + D], times a Gaussian.
    """
    inside = [
        s for s in range(len(scores)) if p - half_width <= s <= p + half_width
    ]
    total = math.fsum(math.exp(scores[s]) for s in inside)
    sigma = half_width / 2
    weights = [0.0] * len(scores)
    for s in inside:
        weights[s] = (
            math.exp(scores[s])
            / total
            * math.exp(-((s - p) ** 2) / (2 * sigma**2))
        )
    return weights
