"""May BERT's three embeddings be added? Does it hurt the semantics?"""

import numpy as np

# %% --8<-- [start:lookups]
SIZES = (4, 3, 2)  # tokens, positions, segments: few enough to list all 24 triples
TRIPLES = np.indices(SIZES, dtype=np.int64).reshape(3, -1).T  # (24, 3)


def random_tables(sizes: tuple[int, ...], d: int, seed: int = 0) -> list[np.ndarray]:
    """Tables (size, d) of N(0, 1) entries, rounded to 64ths: their sums are exact."""
    rng = np.random.default_rng(seed)
    return [np.round(64 * rng.standard_normal((size, d))) / 64 for size in sizes]


def one_hots(ids: np.ndarray) -> np.ndarray:
    """The three one-hot vectors side by side: (n, 3) -> (n, 4 + 3 + 2)."""
    columns = zip(SIZES, ids.T, strict=True)
    return np.concatenate([np.eye(size)[column] for size, column in columns], axis=1)


def relu(x: np.ndarray) -> np.ndarray:
    return np.maximum(x, 0)


def add_lookups(ids: np.ndarray, tables: list, each=np.positive) -> np.ndarray:
    """One row of each table, added: (n, 3) -> (n, d). Devlin et al. 2019, figure 2."""
    columns = zip(tables, ids.T, strict=True)
    return sum(each(table[column]) for table, column in columns)


if __name__ == "__main__":  # true in the notebook and in the browser, not on import
    tables = random_tables(SIZES, d=768)
    print("one-hots side by side    one layer - sum   with ReLU before the sum")
    for ids in TRIPLES[[0, 7, 23], None]:  # (1, 3) each
        code, added = one_hots(ids), add_lookups(ids, tables)
        gap = np.abs(code @ np.vstack(tables) - added).max()
        bent = np.abs(add_lookups(ids, tables, relu) - added).max()
        print(f"{code[0].astype(np.int64)}{gap:18.1f}{bent:20.1f}")


# %% --8<-- [end:lookups]


# %% --8<-- [start:product_table]
def second_difference(table: np.ndarray) -> np.ndarray:  # (24, d) -> (d,)
    """What changing the token does at position 0, less what it does at position 1."""
    f = table.reshape(*SIZES, -1)[:, :, 0]  # (tokens, positions, d)
    return (f[1, 0] - f[0, 0]) - (f[1, 1] - f[0, 1])


def unexplained(table: np.ndarray) -> float:
    """Share of a table (24, d) that no sum of three tables gives: least squares."""
    code = one_hots(TRIPLES)  # (24, 9)
    fit = code @ np.linalg.lstsq(code, table, rcond=None)[0]
    return np.square(table - fit).sum() / np.square(table).sum()


def three_kinds(d: int = 768) -> dict[str, np.ndarray]:
    """Three tables with one row for each of the 24 triples, (24, d) each."""
    added = add_lookups(TRIPLES, random_tables(SIZES, d))
    free = random_tables((24,), d, seed=1)[0]
    return {"sum": added, "ReLU of the sum": relu(added), "24 free rows": free}


if __name__ == "__main__":
    print("table              rank   second difference   share no sum gives")
    for name, table in three_kinds().items():
        rank = np.linalg.matrix_rank(table)
        gap = np.linalg.norm(second_difference(table))
        print(f"{name:16}{rank:7d}{gap:20.1f}{unexplained(table):21.3f}")


# %% --8<-- [end:product_table]


# %% --8<-- [start:width]
def random_triples(n: int, tables: list, seed: int = 1) -> np.ndarray:  # (n, 3)
    sizes, rng = [len(table) for table in tables], np.random.default_rng(seed)
    return rng.integers(sizes, size=(n, len(sizes)), dtype=np.int64)


def linear_read_out(x: np.ndarray, tables: list, part: int) -> np.ndarray:
    """Which row of table `part` is in each sum (n, d)? Read by one linear layer: (n,).

    Linear discriminant analysis, from the tables alone: the other parts are noise with
    the mean and the covariance of their tables.
    """
    noise = [table for other, table in enumerate(tables) if other != part]
    covariance = sum(np.cov(table.T, bias=True) for table in noise)  # (d, d)
    weights = tables[part] @ np.linalg.inv(covariance)  # (rows, d)
    middle = tables[part] / 2 + sum(table.mean(axis=0) for table in noise)
    return (x @ weights.T - (weights * middle).sum(axis=1)).argmax(axis=1)


def read_back(tables: list, n: int = 500) -> list[float]:
    """Share of tokens, positions and segments read from n sums of random rows."""
    ids = random_triples(n, tables)
    x = add_lookups(ids, tables)  # (n, d)
    return [(linear_read_out(x, tables, i) == ids[:, i]).mean() for i in range(3)]


if __name__ == "__main__":
    print("width   token   position   segment")
    for d in (3, 8, 16, 32, 64):
        shares = read_back(random_tables((2000, 512, 2), d))
        print("{:5d}{:8.3f}{:11.3f}{:10.3f}".format(d, *shares))


# %% --8<-- [end:width]


# %% --8<-- [start:layer_norm]
def layer_norm(x: np.ndarray, eps: float = 1e-12) -> np.ndarray:  # (…, d) -> (…, d)
    centred = x - x.mean(axis=-1, keepdims=True)
    return centred / np.sqrt(np.square(centred).mean(axis=-1, keepdims=True) + eps)


def compare(shared: int, added: bool = True, n: int = 500, d: int = 768) -> list[float]:
    """Variance, and cosine after LayerNorm, of two inputs with `shared` common rows."""
    x, y = np.random.default_rng(shared).standard_normal((2, 3, n, d))
    y[:shared] = x[:shared]
    # each triple is a sum of three rows, or, if not `added`, has a row of its own
    x, y = (rows.sum(axis=0) if added else rows[2] for rows in (x, y))  # (n, d)
    return [x.var(), (layer_norm(x) * layer_norm(y)).mean()]  # LayerNorm: length √d


if __name__ == "__main__":
    print("rows in common   variance: sum, own row   cosine: sum, own row")
    for shared in (0, 1, 2):
        (wide, alike), (unit, apart) = compare(shared), compare(shared, added=False)
        print(f"{shared:14d}{wide:17.2f}{unit:9.2f}{alike:14.3f}{apart:9.3f}")


# %% --8<-- [end:layer_norm]


# %% --8<-- [start:read_out]
import bert


def trained_tables() -> list[np.ndarray]:
    """(30522, 384) tokens, (512, 384) positions, (2, 384) segments, of MiniLM."""
    names = [f"embeddings.{table}_embeddings.weight" for table in bert.TABLES]
    return [bert.load_parameters()[name].numpy() for name in names]


if __name__ == "__main__":
    print("entries seen   token   position   segment")
    for width in (3, 16, 64, 384):
        shares = read_back([table[:, :width] for table in trained_tables()])
        print("{:12d}{:8.3f}{:11.3f}{:10.3f}".format(width, *shares))


# %% --8<-- [end:read_out]


# %% --8<-- [start:search]
def search(z: np.ndarray, width: int = 384) -> tuple[np.ndarray, np.ndarray]:
    """Of all 31,254,528 triples, the nearest in direction to z (n, d); cosines."""
    centred = [table - table.mean(axis=1, keepdims=True) for table in trained_tables()]
    tokens, positions, segments = (table[:, :width] for table in centred)
    rest = (positions[:, None] + segments).reshape(-1, width)  # (512 · 2, width)
    found = [(-np.inf, 0, 0)] * len(z)  # cosine times the length of z, token, the rest
    for first in range(0, len(tokens), 1024):
        some = tokens[first : first + 1024]  # at most 1024 · 1024 triples at a time
        squares = np.square(some).sum(axis=1)[:, None] + np.square(rest).sum(axis=1)
        lengths = np.sqrt(squares + 2 * some @ rest.T)
        for i, x in enumerate(z[:, :width]):
            cosines = ((some @ x)[:, None] + rest @ x) / lengths
            token, other = divmod(cosines.argmax(), len(rest))
            found[i] = max(found[i], (cosines[token, other], first + token, other))
    triples = [(token, other // 2, other % 2) for _, token, other in found]
    norms = np.linalg.norm(z[:, :width], axis=1)
    return np.array(triples), np.array([best for best, _, _ in found]) / norms


# %% --8<-- [end:search]


# %% --8<-- [start:frequencies]
def parts_of(token_ids: np.ndarray, shuffled: bool = False) -> list[np.ndarray]:
    """Token, position and segment rows of a text (n,), (n, 384) each."""
    places = np.arange(len(token_ids))
    halves = places * 2 // len(places)  # the second half is segment 1
    places = np.random.default_rng(0).permutation(places) if shuffled else places
    tables = zip(trained_tables(), (token_ids, places, halves), strict=True)
    return [table[rows].astype(np.float64) for table, rows in tables]


def slow_waves(x: np.ndarray, k: int) -> np.ndarray:
    """x (n, d) with only the k slowest of its waves along the text."""
    waves = np.fft.rfft(x, axis=0)  # (n / 2 + 1, d)
    waves[k + 1 :] = 0
    return np.fft.irfft(waves, n=len(x), axis=0)


def main_directions(x: np.ndarray, table: np.ndarray, k: int) -> np.ndarray:
    """x (n, d) with only the k directions in which the rows of a table vary most."""
    directions = np.linalg.svd(table - table.mean(axis=0), full_matrices=False)[2][:k]
    return x @ directions.T @ directions


def share(part: np.ndarray, whole: np.ndarray) -> float:
    """Squares of one as a share of those of the other, after taking off their means."""
    part, whole = (np.square(x - x.mean(axis=0)).sum() for x in (part, whole))
    return part / whole


if __name__ == "__main__":
    import matplotlib.pyplot as plt

    from masked_lm import chapters

    genesis = bert.encode(chapters()[0][1]).token_ids[0, :512].numpy()
    kept = (1, 2, 4, 8, 12, 16, 32, 64)
    for shuffled, line, name in ((False, "o-", "in order"), (True, "s--", "shuffled")):
        token, position, segment = parts_of(genesis, shuffled)
        x, table = token + position + segment, trained_tables()[1]
        waves = [share(slow_waves(x, k) - position, position) for k in kept]
        found = [main_directions(x, table, k) for k in kept]
        directions = [share(part - position, position) for part in found]
        plt.semilogx(kept, waves, f"C3{line}", label=f"waves, {name}")
        plt.semilogx(kept, directions, f"C0{line}", label=f"directions, {name}")
    plt.xticks(kept, kept)
    plt.xlabel("waves or directions of the sum that are kept")
    plt.ylabel("share of the position part lost")
    plt.legend()
    plt.show()


# %% --8<-- [end:frequencies]
