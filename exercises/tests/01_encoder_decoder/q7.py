import torch
from otter.test_files import test_case
from torch import nn
from torch.nn.functional import cross_entropy

from attend.data import Batch
from attend.grading import expect_close, show
from attend.grading.expect import UnusableAnswerError

OK_FORMAT = False
name = "q7"
points = None

NO_BOUND = 1e9


class Model(nn.Module):
    """Looks the next token up in a table, and remembers how it was called."""

    def __init__(self):
        super().__init__()
        start = torch.arange(49.0).reshape(7, 7).sin()  # any numbers
        self.table = nn.Parameter(start)
        self.eval()

    def forward(self, src, src_lengths, tgt_in):
        self.was_training = self.training
        self.fed = tgt_in.clone()
        return self.table[tgt_in]  # (batch, length, vocab)


def batch():
    """Two sentences of the same length: no padding, BOS is 1, EOS is 2."""
    src, lengths = torch.tensor([[3, 4, 5], [5, 4, 3]]), torch.tensor([3, 3])
    tgt = torch.tensor([[1, 5, 4, 3, 2], [1, 3, 4, 5, 2]])
    return Batch(src, lengths, tgt, torch.tensor([5, 5]))


def padded_batch():
    tgt = torch.tensor([[1, 5, 4, 3, 2], [1, 3, 2, 0, 0]])
    return batch()._replace(tgt=tgt, tgt_lengths=torch.tensor([5, 3]))


def run(train_step, model, data, max_norm=NO_BOUND):
    """Take one step of SGD; return the loss and the change of the weights.

    The learning rate is 1.
    """
    before = model.table.detach().clone()
    loss = train_step(
        model, torch.optim.SGD(model.parameters(), lr=1.0), data, 0, max_norm
    )
    if loss is None:
        raise UnusableAnswerError(
            "expected the loss, got None. Is a `return` missing?"
        )
    return loss, model.table.detach() - before


def true_loss(model, data):
    logits = model.table[data.tgt[:, :-1]]
    return cross_entropy(
        logits.flatten(0, 1), data.tgt[:, 1:].flatten(), ignore_index=0
    )


@test_case(
    points=1,
    failure_message=(
        "The decoder reads the very token that it must predict. It only has "
        "to copy, so the loss falls to nothing and nothing is learned. Feed "
        "it all target tokens but the last."
    ),
)
def test_decoder_input(train_step):
    model, data = Model(), batch()
    run(train_step, model, data)
    fed, wanted = show(model.fed[0]), show(data.tgt[0, :-1])
    assert torch.equal(model.fed, data.tgt[:, :-1]), (
        "target [1, 5, 4, 3, 2], BOS 1, EOS 2: expected decoder input "
        f"{wanted}, got {fed}"
    )


@test_case(
    points=1,
    failure_message=(
        "The loss looks at the wrong targets. After the first token, BOS, "
        "the model is to predict the second: compare its logits with all "
        "target tokens but the first."
    ),
)
def test_targets(train_step):
    model, data = Model(), batch()
    expected = true_loss(model, data).item()
    loss, _ = run(train_step, model, data)
    expect_close(loss, expected, name="the loss of a batch without padding")


@test_case(
    points=1,
    failure_message=(
        "Padding counts in your loss. The model would be praised for writing "
        "PAD after PAD, and the short sentences of a batch would teach it "
        "little else."
    ),
)
def test_padding(train_step):
    model, data = Model(), padded_batch()
    expected = true_loss(model, data).item()
    loss, _ = run(train_step, model, data)
    expect_close(
        loss, expected, name="the loss of a batch with padding, pad_id 0"
    )


@test_case(
    points=1,
    failure_message=(
        "The model trains in evaluation mode, so its dropout is off. It may "
        "be left so by the evaluation before: switch it to training mode in "
        "each step."
    ),
)
def test_training_mode(train_step):
    model = Model()
    run(train_step, model, batch())
    assert model.was_training, (
        "model.training during the forward pass: expected True, got False"
    )


@test_case(
    points=1,
    failure_message=(
        "The step changes no weight. Is zero_grad between backward and step? "
        "It wipes out the gradients before step can use them. Or is "
        "optimizer.step() missing?"
    ),
)
def test_weights_change(train_step):
    _, change = run(train_step, Model(), batch())
    assert change.any(), (
        "largest change of a weight: expected more than 0, got 0"
    )


@test_case(
    points=1,
    failure_message=(
        "Gradients of earlier batches are still there: backward adds to what "
        "it finds. Set them to zero in each step, before backward."
    ),
)
def test_old_gradients_are_gone(train_step):
    model, data = Model(), batch()
    _, expected = run(train_step, model, data)
    model = Model()
    model.table.grad = torch.ones(7, 7)  # left by an earlier step
    _, change = run(train_step, model, data)
    assert expected.any(), "the step changes no weight at all"
    name = "change of one weight, where the earlier gradient was 1"
    expect_close(change[6, 6], expected[6, 6].item(), name=name)
    expect_close(change, expected, name="change of the weights")


@test_case(
    points=1,
    failure_message=(
        "The step is longer than max_norm allows. The gradients exist only "
        "after backward, and step uses them at once: clip between the two."
    ),
)
def test_clipping(train_step):
    _, change = run(train_step, Model(), batch(), max_norm=0.125)
    expect_close(
        change.norm(),
        0.125,
        name="length of a step with learning rate 1, max_norm 0.125",
    )


@test_case(
    points=1,
    failure_message=(
        "You return the loss with its whole graph. Whoever collects these "
        "losses for a curve keeps every activation of every batch in memory. "
        "Return a plain number."
    ),
)
def test_returns_a_number(train_step):
    loss, _ = run(train_step, Model(), batch())
    kept = isinstance(loss, torch.Tensor) and loss.requires_grad
    assert not kept, (
        "expected a float, such as loss.item() gives, got a tensor with "
        "requires_grad"
    )
