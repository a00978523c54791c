"""What does the output layer do, and is it the inverse of the embedding?"""

import itertools

import numpy as np


# %% --8<-- [start:probabilities]
def logits(states, table, bias=0.0):  # (…, d), (V, d), (V,) -> (…, V)
    """A score for each token: the state with its row. Vaswani et al. 2017, 3.4."""
    return states @ table.T + bias


def log_normaliser(scores, shifted=True):  # (…, V) -> (…, 1)
    """log Σ exp(score), of scores without their maximum so that nothing overflows."""
    top = scores.max(axis=-1, keepdims=True) if shifted else 0.0
    return top + np.log(np.exp(scores - top).sum(axis=-1, keepdims=True))


def softmax(scores, temperature=1.0):  # (…, V) -> (…, V)
    scores = scores / temperature
    return np.exp(scores - log_normaliser(scores))


TOKENS = ("cat", "dog", "sat", "the")
TABLE = np.array([[2.0, 1.0], [1.0, 2.0], [-1.0, 0.5], [0.5, -2.0]])  # (V, d)
STATE = np.array([1.0, -0.3])  # (d,)
SHIFT = np.array([4.0, 3.0])

if __name__ == "__main__":
    plain = logits(STATE, TABLE)
    moved = logits(STATE, TABLE + SHIFT)
    print("                             the same vector added to all rows")
    print("token   logit   probability     logit   probability")
    for i, name in enumerate(TOKENS):
        print(f"{name:5}{plain[i]:8.2f}{softmax(plain)[i]:14.3f}", end="")
        print(f"{moved[i]:10.2f}{softmax(moved)[i]:14.3f}")


# %% --8<-- [end:probabilities]


# %% --8<-- [start:temperature]
def entropy(probabilities):  # (…, V) -> (…), in nats
    return -(probabilities * np.log(probabilities)).sum(axis=-1)


if __name__ == "__main__":
    print("temperature   first token   its probability   entropy")
    for temperature in (0.1, 0.5, 1, 2, 10):
        p = softmax(logits(STATE, TABLE), temperature)
        first, share = TOKENS[p.argmax()], p.max()
        print(f"{temperature:11}{first:>14}{share:18.3f}{entropy(p):10.3f}")


# %% --8<-- [end:temperature]


# %% --8<-- [start:loss]
def loss_and_gradients(states, table, answers, bias=0.0):
    """Mean cross-entropy of the answers, (n,), with its gradients.

    They belong to the logits, (n, V), the states, (n, d), the table, the bias, (V,).
    """
    scores, n = logits(states, table, bias), np.arange(len(answers))
    loss = (log_normaliser(scores)[:, 0] - scores[n, answers]).mean()
    errors = softmax(scores)
    errors[n, answers] -= 1  # p - y
    errors /= len(answers)
    return loss, errors, errors @ table, errors.T @ states, errors.sum(axis=0)


def fit_bias(answers, n_tokens, n_steps=300):
    """The best bias if the states say nothing (all zero): only the bias can learn."""
    bias, states = np.zeros(n_tokens), np.zeros((len(answers), 1))
    for _ in range(n_steps):
        bias -= 2 * loss_and_gradients(states, np.ones((n_tokens, 1)), answers, bias)[4]
    return bias - bias.mean()  # a constant is free


# "cat" 20 times of 100, "dog" 10, …
ANSWERS = np.repeat(np.arange(4, dtype=np.int64), (20, 10, 5, 65))

if __name__ == "__main__":
    bias, share = fit_bias(ANSWERS, 4), np.bincount(ANSWERS) / len(ANSWERS)
    log_share = np.log(share) - np.log(share).mean()
    print("token   share   log of it, centred   learned bias   probability")
    for i, name in enumerate(TOKENS):
        print(f"{name:5}{share[i]:8.2f}{log_share[i]:21.3f}", end="")
        print(f"{bias[i]:15.3f}{softmax(bias)[i]:14.2f}")


# %% --8<-- [end:loss]


# %% --8<-- [start:width]
def rows_on_a_curve(n_tokens, d):  # (V,), (V, d): the rows (x, x², …, xᵈ)
    x = np.linspace(-1, 1, n_tokens)
    return x, x[:, None] ** np.arange(1, d + 1)


def state_for(x, tokens):  # (V,), k token ids -> (2k,): a state of width 2k
    """Its logits are -Π (x - x_token)² up to a constant: the tokens tie at the top."""
    return -np.poly(np.repeat(x[list(tokens)], 2))[::-1][1:]


def ties_at_the_top(scores, tokens):
    """Have the tokens equal logits, above all others? Up to rounding."""
    top, rest = scores[list(tokens)], np.delete(scores, tokens)
    return np.ptp(top) < 1e-12 < top.min() - rest.max()


def pairs_in_the_plane(table):
    """How many pairs of rows, (V, 2), some state puts level at the top. Exact: the
    state must stand at a right angle to their difference, on one side or the other."""
    count = 0
    for pair in itertools.combinations(range(len(table)), 2):
        a, b = table[pair[0]] - table[pair[1]]
        sides = table @ np.array([-b, a]), table @ np.array([b, -a])
        count += any(ties_at_the_top(scores, pair) for scores in sides)
    return count


def reached(n_tokens, k):  # sets of k tokens at the top of softmax, at width 2k
    x, table = rows_on_a_curve(n_tokens, 2 * k)
    sets = itertools.combinations(range(n_tokens), k)
    return sum(ties_at_the_top(logits(state_for(x, s), table), s) for s in sets)


if __name__ == "__main__":
    print("tokens   alone, width 2    pairs   level, width 2   level, width 4")
    for n in (4, 8, 16, 32):
        pairs, plane = n * (n - 1) // 2, pairs_in_the_plane(rows_on_a_curve(n, 2)[1])
        print(f"{n:6}{reached(n, 1):17}{pairs:9}{plane:17}{reached(n, 2):17}")


# %% --8<-- [end:width]


# %% --8<-- [start:cost]
def multiplications(d, vocabulary, n_layers, d_ff=None):
    """Per position, with weights: all layers, the head's dense, the projection."""
    return n_layers * (4 * d * d + 2 * d * (d_ff or 4 * d)), d * d, d * vocabulary


def loss_in_blocks(states, table, answers, block):
    """The same mean loss from `block` columns of logits at a time; (loss, largest)."""
    n, largest = len(answers), 0
    total, wanted = np.full(n, -np.inf), np.zeros(n)
    for start in range(0, len(table), block):
        part = logits(states, table[start : start + block])  # (n, block)
        total = np.logaddexp(total, log_normaliser(part)[:, 0])
        inside = np.flatnonzero((start <= answers) & (answers < start + part.shape[1]))
        wanted[inside] = part[inside, answers[inside] - start]
        largest = max(largest, part.size)
    return (total - wanted).mean(), largest


def batch_of_states(n=32, d=64, n_tokens=30_522):
    rng = np.random.default_rng(0)
    states, table = rng.standard_normal((n, d)), rng.standard_normal((n_tokens, d)) / 8
    return states, table, rng.integers(0, n_tokens, n, dtype=np.int64)


if __name__ == "__main__":
    print("columns at a time   numbers held    loss")
    for block in (30_522, 4096, 512):
        loss, largest = loss_in_blocks(*batch_of_states(), block)
        print(f"{block:17,}{largest:15,}{loss:8.3f}")


# %% --8<-- [end:cost]


# %% --8<-- [start:figure]
POINTS = np.array([[1.2, 0.9], [1.0, -1.1], [-1.0, 1.2], [-1.3, -0.8], [0.4, 0.0]])
UNIT = POINTS / np.linalg.norm(POINTS, axis=1, keepdims=True)
LIFT = np.array([0.0, 0.0, 0.0, 0.0, 1.5])  # a bias for the inner row alone

if __name__ == "__main__":
    import matplotlib.pyplot as plt

    figure, axes = plt.subplots(1, 3, figsize=(8.4, 3.4), sharey=True)
    grid = np.linspace(-3, 3, 301)
    plane = np.stack(np.meshgrid(grid, grid), axis=-1)  # (301, 301, 2)
    colours = ["C0", "C1", "C2", "C4", "C3"]
    arms = {"no bias": (POINTS, 0), "bias 1.5": (POINTS, LIFT), "length 1": (UNIT, 0)}
    for axis, (name, (table, bias)) in zip(axes, arms.items(), strict=True):
        best = logits(plane, table, bias).argmax(axis=-1)
        fill = {"levels": np.arange(6) - 0.5, "colors": colours, "alpha": 0.4}
        axis.contourf(grid, grid, best, **fill).set_rasterized(True)
        for row, (x, y) in enumerate(table):
            label = "inner row" if row == 4 else f"row {row + 1}"
            axis.plot((0, x), (0, y), color=colours[row], linewidth=2)
            axis.plot(x, y, "D" if row == 4 else "o", color=colours[row], label=label)
        axis.set_xlabel(f"state, first number ({name})")
    axes[0].set_ylabel("state, second number")
    handles = axes[0].get_legend_handles_labels()
    figure.legend(*handles, loc="outside upper center", ncols=5)
    plt.show()


# %% --8<-- [end:figure]


# %% --8<-- [start:mlm_head]
import torch
import torch.nn.functional as F


def mlm_head(states, weights, activation=F.gelu, normalise=True):
    """BERT's head: dense, GELU, LayerNorm, table, bias; (…, d) -> (…, V).

    Source: Devlin et al. 2019, code, run_pretraining.py, get_masked_lm_output.
    """
    dense, dense_bias, gain, shift, table, bias = weights
    states = activation(F.linear(states, dense, dense_bias))  # (…, d)
    if normalise:
        states = F.layer_norm(states, states.shape[-1:], gain, shift, 1e-12)
    return states @ table.T + bias, states


def random_head(d=64, n_tokens=500, n=1000):
    """States and the six weights of a head, drawn; gain 1, shift 0, biases 0."""
    generator = torch.Generator().manual_seed(0)
    rows = torch.randn(d + n_tokens + n, d, generator=generator).double()
    dense, table, states = rows.split((d, n_tokens, n))
    zero, none = torch.zeros(d).double(), torch.zeros(n_tokens).double()
    return states, (dense / d**0.5, zero, zero + 1, zero, table / d**0.5, none)


def linear_rest(states, scores):
    """Share of the scores' square that no one linear map of the states explains."""
    fitted = states @ torch.linalg.lstsq(states, scores).solution
    return ((scores - fitted).square().sum() / scores.square().sum()).item()


ARMS = {
    "as in BERT": (F.gelu, True),
    "no GELU": (lambda x: x, True),
    "no LayerNorm": (F.gelu, False),
    "neither": (lambda x: x, False),
}

if __name__ == "__main__":
    x, weights = random_head()
    print("head            rank of the logits   not linear   length of the state")
    for name, arm in ARMS.items():
        z, h = mlm_head(x, weights, *arm)
        low, high = h.norm(dim=1).aminmax()
        rank, rest = torch.linalg.matrix_rank(z), linear_rest(x, z)
        print(f"{name:14}{rank:20}{rest:13.3f}{low:13.2f} – {high:.2f}")


# %% --8<-- [end:mlm_head]


# %% --8<-- [start:trained]
import bert

WORDS = "embeddings.word_embeddings.weight"
TEXTS = [
    "the river burst its bank after a week of rain and flooded the old mill",
    "she asked the bank for a loan because the roof of the house was leaking",
    "in the long evening the two children played a chess game while their father read",
]


def read_layers(texts, table):
    """Share of the tokens, [CLS] and [SEP] apart, whose state gives the largest logit
    to their own row of the table, (V, d): embeddings and 6 layers."""
    batch = bert.encode(texts)
    words = batch.mask & (batch.token_ids != 101) & (batch.token_ids != 102)
    layers = [logits(x[words], table) for x in bert.run_bert(batch).hidden_states]
    own = batch.token_ids[words]
    return [(scores.argmax(dim=1) == own).double().mean().item() for scores in layers]


if __name__ == "__main__":
    table = bert.load_parameters()[WORDS]  # (30522, 384)
    generator = torch.Generator().manual_seed(0)
    other = torch.randn(table.shape, generator=generator)
    print("layer   word table   rows of length 1   random rows")
    arms = [read_layers(TEXTS, rows) for rows in (table, F.normalize(table), other)]
    for layer, row in enumerate(zip(*arms, strict=True)):
        print(f"{layer:5}{row[0]:13.3f}{row[1]:19.3f}{row[2]:14.3f}")


# %% --8<-- [end:trained]
