"""What is an embedding layer? A table, its gradient, and what its rows learn."""

import itertools

import numpy as np


# %% --8<-- [start:lookup]
def one_hot(ids: np.ndarray, rows: int) -> np.ndarray:  # (…) -> (…, rows)
    return (ids[..., None] == np.arange(rows)).astype(np.float64)


def lookup(table: np.ndarray, ids: np.ndarray, dense: bool = False) -> np.ndarray:
    """Rows of a table (rows, width) for ids (…): (…, width).

    By index, or if `dense` as the product of one-hot rows and the table.
    """
    return one_hot(ids, len(table)) @ table if dense else table[ids]


def table_gradient(ids, upstream, rows: int, dense: bool = False) -> np.ndarray:
    """Gradient of a loss at the table, (rows, width), from that at the output.

    ids: (n); upstream: (n, width). Each row gets the sum over its occurrences.
    """
    if dense:
        return one_hot(ids, rows).T @ upstream  # (rows, n) (n, width)
    gradient = np.zeros((rows, upstream.shape[-1]))
    np.add.at(gradient, ids, upstream)  # gradient[ids] += … counts a repeated id once
    return gradient


if __name__ == "__main__":  # true in the notebook and in the browser, not on import
    rng, ids = np.random.default_rng(0), np.array([3, 3, 7], dtype=np.int64)
    table, upstream = rng.standard_normal((10, 4)), np.ones((3, 4))
    gap = np.abs(lookup(table, ids) - lookup(table, ids, dense=True)).max()
    print(f"lookup minus product: {gap:.1f}\n\nrow    gradient  as product     with +=")
    buffered = np.zeros((10, 4))
    buffered[ids] += upstream
    sparse, product = (table_gradient(ids, upstream, 10, dense) for dense in (0, 1))
    for row in (2, 3, 7):
        values = sparse[row, 0], product[row, 0], buffered[row, 0]
        print(f"{row:3d}" + "".join(f"{value:12.1f}" for value in values))


# %% --8<-- [end:lookup]


# %% --8<-- [start:second_step]
def second_step(optimiser: str, rate: float = 0.1, decay: float = 0.1) -> np.ndarray:
    """How far each of three rows moves at the second step of training, (3,).

    Row 0 is used now, row 1 was used at the first step only, row 2 never; all gradients
    are 1. Sources: torch.optim; SparseAdam updates only the rows that were looked up.
    """
    table, m, v = np.ones(3), np.zeros(3), np.zeros(3)
    for step, used in ((1, 1), (2, 0)):
        gradient, before = np.eye(3)[used], table
        if optimiser in ("SGD", "momentum"):
            m = 0.9 * (optimiser == "momentum") * m + gradient
            table = table - rate * m
            continue
        touched = (gradient != 0) | (optimiser != "SparseAdam")
        m = np.where(touched, 0.9 * m + 0.1 * gradient, m)
        v = np.where(touched, 0.999 * v + 0.001 * gradient**2, v)
        change = m / (1 - 0.9**step) / (np.sqrt(v / (1 - 0.999**step)) + 1e-8)
        shrunk = table * (1 - rate * decay * (optimiser == "AdamW"))
        table = shrunk - rate * change * touched
    return before - table


if __name__ == "__main__":
    print("              used now   used before   never used")
    for optimiser in ("SGD", "momentum", "Adam", "AdamW", "SparseAdam"):
        now, earlier, never = second_step(optimiser)
        print(f"{optimiser:10}{now:12.4f}{earlier:14.4f}{never:13.4f}")


# %% --8<-- [end:second_step]


# %% --8<-- [start:ids]
SENTENCES = np.array([[1, 2, 3, 5], [0, 2, 3, 5], [4, 2, 3, 5]], dtype=np.int64)
RENUMBERED = np.array([20000, 7, 9000, 12, 15000, 300], dtype=np.int64)  # new ids


def cosines(vectors: np.ndarray) -> np.ndarray:
    """Cosines of all pairs of rows: (3, width) -> (3,)."""
    unit = vectors / np.linalg.norm(vectors, axis=1, keepdims=True)
    return (unit @ unit.T)[np.triu_indices(len(unit), 1)]


if __name__ == "__main__":
    _, order = np.unique(RENUMBERED, return_inverse=True)  # the same change, 0 … 5
    print("sentences as …        I, he   I, you   he, you")
    for name, vectors in (
        ("ids", SENTENCES),
        ("ids, renumbered", RENUMBERED[SENTENCES]),
        ("one-hots", one_hot(SENTENCES, 6).reshape(3, -1)),
        ("one-hots, renumbered", one_hot(order[SENTENCES], 6).reshape(3, -1)),
    ):
        print(f"{name:20}" + "".join(f"{value:8.3f}" for value in cosines(vectors)))


# %% --8<-- [end:ids]


# %% --8<-- [start:learning]
def world(shared: bool = True, zipf: bool = False, tokens: int = 80, seed: int = 0):
    """Class of each token, (tokens,); what follows it, (tokens, 12); its frequency.

    Tokens of one of four classes are followed by the same things if `shared`.
    """
    rng, classes = np.random.default_rng(seed), np.arange(tokens) % 4
    follows = rng.dirichlet(np.full(12, 0.3), size=4 if shared else tokens)
    frequency = 1 / np.arange(1, tokens + 1) if zipf else np.ones(tokens)
    return classes, follows[classes] if shared else follows, frequency / frequency.sum()


def train(world, start=0.1, width=16, steps=800, rate=1.0, dense=False, seed=0):
    """Table before and after, (tokens, width), and how often each row was used.

    Softmax of a linear layer on the row predicts what follows, by SGD, 64 at a time.
    """
    rng, (_, follows, frequency) = np.random.default_rng(seed), world
    first = start * rng.standard_normal((len(follows), width))
    table, used = first.copy(), np.zeros(len(follows))
    out = rng.standard_normal((width, 12)) / np.sqrt(width)
    for _ in range(steps):
        ids = rng.choice(len(table), 64, p=frequency)
        drawn = (rng.random((64, 1)) > follows[ids].cumsum(1)[:, :-1]).sum(1)  # 0 … 11
        x = lookup(table, ids, dense)  # (64, width)
        p = np.exp(x @ out)
        error = (p / p.sum(1, keepdims=True) - one_hot(drawn, 12)) / 64  # (64, 12)
        table = table - rate * table_gradient(ids, error @ out.T, len(table), dense)
        out = out - rate * x.T @ error
        used += np.bincount(ids, minlength=len(table))
    return first, table, used


def expected_step(row, out, target, rate: float) -> np.ndarray:
    """A row (width) after one step on its expected loss: it should predict `target`."""
    p = np.exp(row @ out)  # (width) (width, outcomes) -> (outcomes)
    return row - rate * (p / p.sum() - target) @ out.T


def likeness(table, classes) -> tuple[float, float]:
    """Mean cosine of two rows of one class, and of two classes."""
    unit = table / np.linalg.norm(table, axis=1, keepdims=True)
    same, cosine = classes[:, None] == classes, unit @ unit.T
    return cosine[same & ~np.eye(len(same), dtype=bool)].mean(), cosine[~same].mean()


if __name__ == "__main__":
    print("start   classes matter   cosine: before   after   of two classes")
    for start, shared in ((0.02, True), (0.1, True), (1.0, True), (0.1, False)):
        first, table, _ = train(here := world(shared), start)
        (before, _), (after, other) = (
            likeness(rows, here[0]) for rows in (first, table)
        )
        print(f"{start:5.2f}{shared!s:>17}{before:z17.3f}{after:z8.3f}{other:z17.3f}")


# %% --8<-- [end:learning]


# %% --8<-- [start:width]
def readable(points: np.ndarray) -> int:
    """How many yes/no labels of the points (n, width) one linear unit can produce.

    A separating plane can be moved until it meets `width` points, each of which may
    then fall on either side. For n > width points in general position.
    """
    n, width = points.shape
    x, found = np.hstack([points, np.ones((n, 1))]), set()
    for met in itertools.combinations(range(n), width):
        label = x @ np.linalg.svd(x[list(met)])[2][-1] > 0  # the plane through them
        for sides in itertools.product((False, True), repeat=width):
            label[list(met)] = sides
            found |= {label.tobytes(), (~label).tobytes()}
    return len(found)


if __name__ == "__main__":
    print("width   readable features of 8 tokens   all features")
    for width in (1, 2, 3, 5, 7):
        rows = np.random.default_rng(0).standard_normal((8, width))
        print(f"{width:5d}{readable(rows):32d}{2**8:15d}")


# %% --8<-- [end:width]


# %% --8<-- [start:figure]
if __name__ == "__main__":
    import matplotlib.pyplot as plt

    here, panels = world(), {}
    panels["before"], panels["classes matter"], _ = train(here, width=2)
    panels["classes do not"] = train(world(shared=False), width=2)[1]
    figure, axes = plt.subplots(1, 3, figsize=(6.4, 2.9), layout="constrained")
    for axis, (name, rows) in zip(axes, panels.items(), strict=True):
        for group, marker in enumerate("os^D"):
            x, y = rows[here[0] == group].T
            axis.plot(x, y, marker, ms=4, label=f"class {group + 1}")
        axis.set_xlabel(f"first entry\n{name}")
    axes[0].set_ylabel("second entry of the row")
    figure.legend(
        *axes[0].get_legend_handles_labels(), loc="outside upper center", ncols=4
    )
    plt.show()


# %% --8<-- [end:figure]


# %% --8<-- [start:trained]
import torch
import torch.nn.functional as F

import bert

NAME = "embeddings.word_embeddings.weight"
PAIRS = [
    ("The doctor examined the sick boy", "A physician looked at an ill child"),
    ("The car broke down on the highway", "Their vehicle stopped along a motorway"),
    ("Prices of houses are rising", "Homes become more expensive"),
    ("The film made everybody laugh", "That movie was very funny"),
    ("He quit his job last week", "She resigned from work some days ago"),
    ("The king lives in a castle", "One monarch resides inside this palace"),
    ("It is raining heavily outside", "There was a downpour this morning"),
    ("The soldiers lost the battle", "Troops were defeated during combat"),
    ("Students must hand in the essay tomorrow", "Pupils should submit papers soon"),
    ("The ship sank in the ocean", "One vessel went down at sea"),
    ("My computer is too slow", "This laptop takes forever to start"),
    ("The baby is sleeping", "An infant naps"),
]


def sentence_vectors(texts, table, layers=True):  # -> (batch, 384)
    """By the model with another word table, or without layers: the mean of its rows."""
    batch = bert.encode(texts)
    if layers:
        return bert.sentence_embeddings(batch, {**bert.load_parameters(), NAME: table})
    words = batch.mask & (batch.token_ids > 103)  # without [CLS], [SEP] and padding
    return F.normalize(bert.mean_pool(table[batch.token_ids], words), dim=-1)


def paraphrases(table, layers=True) -> tuple[int, float, float]:
    """How many of 12 texts are nearest to their paraphrase; its cosine; the others'."""
    one, two = (
        sentence_vectors([*side], table, layers) for side in np.transpose(PAIRS)
    )
    cosine = one @ two.T  # (12, 12), a text's own paraphrase on the diagonal
    own, n = cosine.diagonal(), len(PAIRS)
    rest = (cosine.sum() - own.sum()) / (n * n - n)
    found = (cosine.argmax(1) == torch.arange(n)).sum()
    return found.item(), own.mean().item(), rest.item()


def random_table(seed=0):  # the size and the scale of the trained one
    trained, generator = (
        bert.load_parameters()[NAME],
        torch.Generator().manual_seed(seed),
    )
    return torch.randn(trained.shape, generator=generator) * trained.std()


if __name__ == "__main__":
    print("rows      layers    found of 12   cosine, paraphrase   cosine, others")
    tables = {"trained": bert.load_parameters()[NAME], "random": random_table()}
    for (rows, table), layers in itertools.product(tables.items(), (False, True)):
        found, own, rest = paraphrases(table, layers)
        print(f"{rows:10}{'trained' if layers else 'none':10}{found:11d}", end="")
        print(f"{own:21.3f}{rest:17.3f}")


# %% --8<-- [end:trained]
