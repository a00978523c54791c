"""How does masked language modelling make the vectors of words contextual?"""

from collections import Counter
from functools import cache, partial
from itertools import product

import numpy as np


# %% --8<-- [start:grammar]
def sentences():
    """All 972 texts like "these old dogs near this sheep never run", 8 words each.

    The first word fixes the number of the verb; between them stands a noun of either
    number. "sheep" shows no number of its own."""
    nouns = ("dog", "cat", "sheep"), ("dogs", "cats", "sheep")
    verbs = ("sleeps", "runs", "eats"), ("sleep", "run", "eat")
    looks, times = ("old", "red", "wet"), ("often", "never", "rarely")
    for a, b in product((0, 1), repeat=2):  # numbers of the two nouns, 1: plural
        this, that = (("this", "these")[number] for number in (a, b))
        parts = (this,), looks, nouns[a], ("near",), (that,), nouns[b], times, verbs[a]
        yield from product(*parts)


TEXTS = [*sentences()]
NOTHING, LEFT, BAG, ALL = "its place", "words to the left", "words unordered", "all"


def perfect_losses(known, texts=TEXTS):
    """Nats that a perfect guesser loses at each hidden place, (8,): H(word | known).

    Each place of each text is hidden in turn; BAG does not tell which place it is."""
    views = {
        NOTHING: lambda text, at: at,
        LEFT: lambda text, at: text[:at],
        BAG: lambda text, at: (*sorted(text[:at] + text[at + 1 :]),),
        ALL: lambda text, at: (text[:at], text[at + 1 :]),
    }
    cases = [(text[at], views[known](text, at)) for text in texts for at in range(8)]
    asked, answered = Counter(view for _, view in cases), Counter(cases)
    nats = [np.log(asked[case[1]] / answered[case]) for case in cases]
    return np.reshape(nats, (len(texts), 8)).mean(axis=0)


if __name__ == "__main__":  # true in the notebook and in the browser, not on import
    print("what is known         determiner   adjective    noun    verb   mean of all")
    for known in (NOTHING, LEFT, BAG, ALL):
        nats = perfect_losses(known)
        print(f"{known:18}", *(f"{nats[at]:10.3f}" for at in (0, 1, 2, 7)), end="")
        print(f"{nats.mean():12.3f}")


# %% --8<-- [end:grammar]


# %% --8<-- [start:model]
WORDS = ["[MASK]", *sorted({word for text in TEXTS for word in text})]
IDS = np.array([[WORDS.index(word) for word in text] for text in TEXTS], dtype=np.int64)


def start(seed, d_model=16):
    """Small random parameters; "words" is at once embedding and output table."""
    rng = np.random.default_rng(seed)
    sizes = {"words": len(WORDS), "places": 8, "match": d_model, "value": d_model}
    scales = {16: 0.25, 8: 0.2, len(WORDS): 0.2}  # 0.25: one by the root of d_model
    return {k: rng.normal(0, scales[n], (n, d_model)) for k, n in sizes.items()}


def states(p, ids, at, attention=True, positions=True, left_only=False):
    """One head of attention at place `at` (batch,) of each row of ids (batch, 8).

    Returns the states (batch, d_model) and what their derivative needs."""
    x = p["words"].take(ids, axis=0) + positions * p["places"]  # (batch, 8, d_model)
    own = x[np.arange(len(ids)), at]  # (batch, d_model)
    scores = np.einsum("bd,bnd->bn", own @ p["match"], x) / x.shape[-1] ** 0.5
    hidden = left_only * (np.arange(8) > at[:, None])  # (batch, 8)
    a = np.exp(scores - scores.max(axis=1, keepdims=True)) * (1 - hidden)
    a *= attention / a.sum(axis=1, keepdims=True)
    mixed = np.einsum("bn,bnd->bd", a, x)
    return own + mixed @ p["value"], (x, own, a, mixed)


def softmax(logits):
    q = np.exp(logits - logits.max(axis=1, keepdims=True))
    return q / q.sum(axis=1, keepdims=True)


def gradients(p, ids, at, answers, **knobs):
    """Derivative of the mean loss at the hidden places, written out by hand."""
    h, (x, own, a, mixed) = states(p, ids, at, **knobs)
    rows = np.arange(len(ids))
    error = softmax(h @ p["words"].T)  # (batch, words)
    error[rows, answers] -= 1
    dh = error @ p["words"] / len(ids)  # (batch, d_model)
    dmixed = dh @ p["value"].T
    da = np.einsum("bd,bnd->bn", dmixed, x)
    ds = a * (da - (a * da).sum(axis=1, keepdims=True)) / x.shape[-1] ** 0.5
    dq = np.einsum("bn,bnd->bd", ds, x)
    dx = a[..., None] * dmixed[:, None] + ds[..., None] * (own @ p["match"])[:, None]
    dx[rows, at] += dh + dq @ p["match"].T
    # each row of dx is added to the row of its word: np.add.at, but faster
    cells = np.arange(p["words"].size).reshape(p["words"].shape).take(ids, axis=0)
    sums = np.bincount(cells.ravel(), dx.ravel(), p["words"].size)
    words = error.T @ h / len(ids) + sums.reshape(p["words"].shape)
    places = dx.sum(axis=0) * knobs.get("positions", True)
    return dict(words=words, places=places, match=own.T @ dq, value=mixed.T @ dh)


# %% --8<-- [end:model]


# %% --8<-- [start:training]
TRAIN, EXAM = np.random.default_rng(0).permutation(IDS).reshape(2, 486, 8)
ARMS = {  # what the model lacks; what the training lacks
    "masked model": ({}, {}),
    "no attention": ({"attention": False}, {}),
    "no positions": ({"positions": False}, {}),
    "left context": ({"left_only": True}, {}),
    "shuffled contexts": ({}, {"shuffled": True}),  # context and answer of two texts
    "nouns never hidden": ({}, {"hidden": (0, 1, 3, 4, 6, 7)}),
}


@cache
def train(arm="masked model", steps=400, seed=0, batch=64):
    """Adam on one word per text, always hidden by [MASK]; `steps=0`: untrained."""
    knobs, data = ARMS[arm]
    p, rng, rows = start(seed), np.random.default_rng(1000 + seed), np.arange(batch)
    table = np.concatenate([*p.values()])  # all rows of all parameters; p: views of it
    cuts = np.cumsum([len(w) for w in p.values()])[:-1]
    p = dict(zip(p, np.split(table, cuts), strict=True))
    mean, square = np.zeros((2, *table.shape))
    for t in range(1, steps + 1):
        ids = TRAIN[rng.integers(len(TRAIN), size=batch)]
        at = rng.choice(data.get("hidden", 8), batch)
        answers = ids[rows, at]
        if data.get("shuffled"):
            ids = ids[rng.permutation(batch)]
        ids[rows, at] = 0
        g = np.concatenate([*gradients(p, ids, at, answers, **knobs).values()])
        mean += 0.1 * (g - mean)  # in place
        square += 0.01 * (g**2 - square)
        step = mean / (1 - 0.9**t) / (np.sqrt(square / (1 - 0.99**t)) + 1e-8)
        table -= 0.03 * min(1, 2 - 2 * t / steps) * step
    return p


def exam(at, arm="masked model", steps=400, seed=0, hidden=True):
    """States at place `at` of 486 new texts, and the probabilities of all words."""
    ids, p = EXAM.copy(), train(arm, steps, seed)
    ids[:, at] *= not hidden  # 0 is [MASK]
    h, _ = states(p, ids, np.full(len(ids), at), **ARMS[arm][0])
    return h, softmax(h @ p["words"].T)


PLURAL = EXAM[:, 0] == WORDS.index("these")
HARD = EXAM[:, 0] != EXAM[:, 4]  # the noun next to the verb has the other number


def number_right(at, *arm):
    """Share of HARD texts whose hidden determiner (at = 0) or verb (at = 7) gets the
    right number, the one whose forms have more probability together."""
    _, q = exam(at, *arm)
    plural = q[:, np.unique(EXAM[PLURAL, at])].sum(axis=1)
    singular = q[:, np.unique(EXAM[~PLURAL, at])].sum(axis=1)
    return ((plural > singular) == PLURAL)[HARD].mean()


def mean_loss(*arm):
    answers = [exam(at, *arm)[1][np.arange(len(EXAM)), EXAM[:, at]] for at in range(8)]
    return -np.log(answers).mean()


if __name__ == "__main__":
    print("                    mean loss   number right: verb   determiner")
    for arm in [*ARMS][:5]:
        print(f"{arm:20}{mean_loss(arm):9.3f}", end="")
        print(f"{number_right(7, arm):17.2f}{number_right(0, arm):13.2f}")


# %% --8<-- [end:training]


# %% --8<-- [start:sense]
def spread(x, plural):
    """How much vectors x (texts, width) differ, by their length (root mean squares);
    and the share of their variance that lies between singular and plural."""
    around = x - x.mean(axis=0)
    means = around[plural].mean(axis=0), around[~plural].mean(axis=0)
    between = (np.square(means).sum(axis=1) * [plural.mean(), (~plural).mean()]).sum()
    variance, size = (around**2).sum(axis=1).mean(), (x**2).sum(axis=1).mean()
    return (variance / size) ** 0.5, between / max(variance, 1e-9 * size)


def sheep(*arm):
    """`spread` of the visible subject "sheep" in the exam."""
    which = EXAM[:, 2] == WORDS.index("sheep")
    return spread(exam(2, *arm, hidden=False)[0][which], PLURAL[which])


SHOWN = {name: (name, 400) for name in [*ARMS][:2] + [*ARMS][4:]}
SHOWN["untrained"] = "masked model", 0

if __name__ == "__main__":
    print('the visible word "sheep"   differs by   explained by its number (4 seeds)')
    for name, arm in SHOWN.items():
        size, share = np.transpose([sheep(*arm, seed) for seed in range(4)])
        print(f"{name:20}{size.mean():18.3f}{'':9}", end="")
        print(*(f"{x:6.2f}" for x in sorted(share)))


# %% --8<-- [end:sense]


# %% --8<-- [start:figure]
if __name__ == "__main__":
    import matplotlib.pyplot as plt

    figure, axes = plt.subplots(2, 1, figsize=(6.4, 6.4))
    steps, lines = (0, 25, 50, 100, 200, 400), ("C0o-", "C3s--", "C2^:", "C1v-.")
    for arm, line in zip([*ARMS][:3] + [*ARMS][4:5], lines, strict=True):
        right = [number_right(7, arm, n) for n in steps]
        axes[0].plot(steps, right, line, label=arm)
    dots = "C0o", "C3s", "C1v", "C4D", "C7P"
    for (name, arm), dot in zip(SHOWN.items(), dots, strict=True):
        points = np.transpose([sheep(*arm, seed) for seed in range(4)])
        axes[1].plot(*points, dot, label=name)
    axes[0].set(xlabel="steps of training", ylabel="number of the hidden verb right")
    axes[1].set(xlabel='"sheep" differs by context', ylabel="explained by its number")
    axes[0].legend()
    axes[1].legend(loc=(0.38, 0.05))
    plt.show()


# %% --8<-- [end:figure]


# %% --8<-- [start:two_sheep]
import torch

import bert

LOOKS = [*product("old red wet small young big".split(), repeat=2)]
FLOCK = [f"this {a} sheep near these {b} sheep" for a, b in LOOKS]
FLOCK += [f"these {a} sheep near this {b} sheep" for a, b in LOOKS]  # the same words
NO_POSITIONS = {"embed": partial(bert.embed, tables=("word", "token_type"))}


def no_attention(layer, q, k, x, mask):
    """Each token reads itself alone: (batch, heads, n, n)."""
    return torch.eye(q.shape[2]).expand(*q.shape[:3], -1)


@torch.no_grad()
def layers(texts, **parts):
    """Input and states of all-MiniLM-L6-v2: 7 arrays (texts, n, 384)."""
    run = bert.run_bert(bert.encode(texts), keep_weights=False, **parts)
    return [x.numpy() for x in run.hidden_states]


if __name__ == "__main__":
    print("        first sheep   explained by   without positions, difference")
    print("layer    differs by     its number   between the members of a pair")
    runs = layers(FLOCK), layers(FLOCK, **NO_POSITIONS)
    for layer, (x, y) in enumerate(zip(*runs, strict=True)):
        size, share = spread(x[:, 3], np.arange(72) >= 36)  # [CLS] this old sheep
        pair = np.abs(y[36:, 3] - y[:36, 3]).max()
        print(f"{layer:5d}{size:14.3f}{share:15.3f}{pair:20.4f}")


# %% --8<-- [end:two_sheep]
