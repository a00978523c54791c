"""What is the difference between static word vectors and BERT's contextual ones?"""

import numpy as np


# %% --8<-- [start:counts]
def pmi(counts: np.ndarray) -> np.ndarray:
    """Pointwise mutual information of words and context words, (words, contexts).

    counts: how often each context word stood near each word. Skip-gram with k negative
    samples fits pmi - log k. Source: Levy and Goldberg 2014, section 3.
    """
    joint = counts / counts.sum()
    return np.log(joint / joint.sum(axis=1, keepdims=True) / joint.sum(axis=0))


NEAR = ("river", "muddy", "loan", "money", "the")
COUNTS = np.array(  # made up: one use of ten is the river's
    [[50, 20, 2, 8, 120], [9, 1, 300, 410, 1080], [2000, 200, 1500, 3500, 10800]]
)  # rows: bank of a river, bank for money, all other words

if __name__ == "__main__":  # true in the notebook and in the browser, not on import
    senses, shares = pmi(COUNTS)[:2], np.array([[0.1], [0.9]])
    word = pmi(np.array([COUNTS[0] + COUNTS[1], COUNTS[2]]))[0]  # one word, one row
    larger = (senses + np.log(shares)).max(axis=0)
    print("near    river bank   money bank   the word bank   larger of PMI + log share")
    table = np.array([*senses, word, larger]).T.round(2) + 0.0  # no -0.00
    for name, row in zip(NEAR, table, strict=True):
        print("{:8}{:10.2f}{:13.2f}{:16.2f}{:28.2f}".format(name, *row))


# %% --8<-- [end:counts]


# %% --8<-- [start:superposition]
def merged_word(share: float, spread=2.0, width=10, n_contexts=1000, seed=0):
    """What is left of two senses, `share` and 1 - share of the uses, in one vector.

    In a made-up log-linear language a sense v meets the context c with a probability
    proportional to exp(v · c). The word's vector is fitted to the log of the mixture.
    Returns the weights of rarer sense, commoner sense and a third vector in it, (3,).
    """
    rng = np.random.default_rng(seed)
    senses = rng.standard_normal((3, width)) * spread / np.sqrt(width)
    contexts = rng.standard_normal((n_contexts, width))
    near = np.exp(senses @ contexts.T)  # (3, n_contexts)
    near /= near.sum(axis=1, keepdims=True)
    mixture = np.log(share * near[0] + (1 - share) * near[1])  # (n_contexts,)
    design = np.column_stack([contexts, np.ones(n_contexts)])
    vector = np.linalg.lstsq(design, mixture, rcond=None)[0][:-1]  # (width,)
    return np.linalg.lstsq(senses.T, vector, rcond=None)[0]


if __name__ == "__main__":
    print("share of the rarer sense   its weight   of the other   of a third vector")
    for share in (0.5, 0.2, 0.1, 0.02):
        rarer, other, third = np.mean(
            [merged_word(share, seed=s) for s in range(40)], 0
        )
        print(f"{share:24.2f}{rarer:13.2f}{other:15.2f}{third:20.2f}")


# %% --8<-- [end:superposition]


# %% --8<-- [start:mixing]
def visible(n: int, sees: str) -> np.ndarray:
    """Which of n tokens (columns) each token (rows) may attend to: (n, n)."""
    masks = {"all": np.ones((n, n)), "left": np.tri(n), "itself": np.eye(n)}
    return masks[sees].astype(bool)


def mixed(vectors: np.ndarray, sees: str = "all") -> np.ndarray:
    """One attention layer without projections, x + softmax(x xᵀ / √d) x: (n, d).

    sees: "all" tokens, as BERT; those to the "left", as GPT; only "itself".
    """
    n, d = vectors.shape
    scores = np.where(visible(n, sees), vectors @ vectors.T / np.sqrt(d), -np.inf)
    weights = np.exp(scores - scores.max(axis=1, keepdims=True))
    weights /= weights.sum(axis=1, keepdims=True)  # (n, n)
    return vectors + weights @ vectors


def cosine(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """Cosine along the last axis, broadcast over the others."""
    lengths = np.linalg.norm(a, axis=-1) * np.linalg.norm(b, axis=-1)
    return (a * b).sum(axis=-1) / lengths


TABLE = {  # a static table, made up: one row per word, whatever surrounds it
    "apple": np.array([1.0, 1.0, 0.0]),
    "phone": np.array([2.0, 0.0, 1.0]),
    "pie": np.array([0.0, 2.0, 1.0]),
}


def apples(sees: str, place: int) -> float:
    """Cosine of apple beside phone and apple beside pie; its place: 0, first, or 1."""
    pairs = np.array([[TABLE[other]] * 2 for other in ("phone", "pie")])  # (2, 2, 3)
    pairs[:, place] = TABLE["apple"]
    return cosine(*(mixed(pair, sees)[place] for pair in pairs))


if __name__ == "__main__":
    print("each token sees   apple first   apple last      (cosine of the two apples)")
    for sees in ("all", "left", "itself"):
        print(f"{sees:15}{apples(sees, 0):14.3f}{apples(sees, 1):13.3f}")


# %% --8<-- [end:mixing]


# %% --8<-- [start:states]
import re
from functools import cache, partial
from pathlib import Path

import torch

import bert


@cache
def read(texts: tuple[str, ...], reads: str = "all"):
    """Tokens of some texts, and their hidden states: 7 of (batch, n, 384).

    reads: what a token may attend to, as in `mixed`.
    """

    def attention(layer, q, k, x, mask):
        allowed = torch.from_numpy(visible(x.shape[1], reads))
        return bert.attention_weights(layer, q, k, x, mask & allowed)

    batch = bert.encode(list(texts))
    run = bert.run_bert(batch, attention=attention, keep_weights=False)
    return batch.tokens, run.hidden_states


def states(texts: tuple[str, ...], word: str, reads: str = "all") -> np.ndarray:
    """States of each occurrence of a word, embeddings first: (7, occurrences, 384)."""
    tokens, layers = read(texts, reads)
    at = torch.tensor([[token == word for token in row] for row in tokens])
    return np.stack([layer[at].numpy() for layer in layers])


def plain(words: str) -> np.ndarray:
    """States of some words where little is said about them: (7, words, 384)."""
    found = [states((f"They talked about the {w}.",), w) for w in words.split()]
    return np.concatenate(found, axis=1)


LAUNCH, PIE = "Apple launched a new phone.", "Apple pie is delicious."

if __name__ == "__main__":
    a, b = (states((text,), "apple") for text in (LAUNCH, PIE))
    alone = [states((text,), "apple", reads="itself") for text in (LAUNCH, PIE)]
    near = [cosine(x, plain("phone pie")) for x in (a, b)]  # (7, 2) each
    table = np.hstack([cosine(a, b), cosine(*alone), *near])  # (7, 6)
    print("layer   the two apples      launch apple       pie apple")
    print("      reading all   self    phone      pie    phone      pie")
    for layer in (0, 1, 3, 6):
        print(f"{layer:5d}   " + "".join(f"{value:9.3f}" for value in table[layer]))


# %% --8<-- [end:states]


# %% --8<-- [start:glove]
DATA = Path(bert.__file__).parents[1] / "experiments/static_vs_contextual"


@cache
def glove() -> dict[str, np.ndarray]:
    """Static vectors, (50,) each, of the words kept from GloVe 6B; see its README."""
    words = (DATA / "words.txt").read_text(encoding="utf-8").splitlines()
    vectors = np.load(DATA / "vectors.npy").astype(np.float32)
    return dict(zip(words, vectors, strict=True))


def two_part_fit(word: str, *groups: str) -> tuple[float, float, float]:
    """Weights of two groups of words, each averaged, in the static vector of a word.

    The third number is the share of the vector's squared length that they explain.
    """
    table = glove()
    parts = [np.mean([table[w] for w in group.split()], 0) for group in groups]
    parts = np.stack(parts, axis=1)  # (50, 2)
    weights = np.linalg.lstsq(parts, table[word], rcond=None)[0]
    left = table[word] - parts @ weights
    return *weights, 1 - (left @ left) / (table[word] @ table[word])


RIVER, MONEY = "river shore stream muddy lake", "money loan finance cash account"
MAKER, FRUIT = "microsoft ibm intel software computer", "fruit juice pie cherry orange"

if __name__ == "__main__":
    print("word     river   money   explained    maker   fruit   explained")
    for word in ("bank", "loan", "apple"):
        fits = *two_part_fit(word, RIVER, MONEY), *two_part_fit(word, MAKER, FRUIT)
        print("{:6}{:8.2f}{:8.2f}{:12.2f}{:9.2f}{:8.2f}{:12.2f}".format(word, *fits))


# %% --8<-- [end:glove]


# %% --8<-- [start:exams]
@cache
def sentences(word: str, kind: str) -> tuple[tuple[str, ...], np.ndarray]:
    """Sentences with a word, and the sense, 0 or 1, of each occurrence in them.

    kind: "single"; "crossed", one sense among words of the other; "both", two senses.
    """
    lines = (DATA / "sentences.tsv").read_text(encoding="utf-8").splitlines()
    rows = [line.split("\t") for line in lines]  # word, kind, senses, sentence
    kept = [row[2:] for row in rows if row[:2] == [word, kind]]
    senses = [int(sense) for senses, _ in kept for sense in senses]
    return tuple(text for _, text in kept), np.array(senses)


def surroundings(texts: tuple[str, ...], word: str, reach: int = 99) -> np.ndarray:
    """Mean static vector of up to `reach` words on each side: (1, occurrences, 50)."""
    found, table = [], glove()
    for words in (re.findall("[a-z]+", text.lower()) for text in texts):
        for at in np.flatnonzero(np.array(words) == word):
            near = words[max(0, at - reach) : at + reach + 1]
            found.append(np.mean([table[w] for w in near if w != word], axis=0))
    return np.array(found)[None]


def last_token(texts: tuple[str, ...], word: str) -> np.ndarray:
    """Instead of the word: the state of its sentence's [SEP], (7, occurrences, 384)."""
    counts = [re.findall("[a-z]+", text.lower()).count(word) for text in texts]
    return states(texts, "[SEP]").repeat(counts, axis=1)


def lean(x, examples, senses) -> np.ndarray:
    """How much nearer x is to the mean example of sense 1 than to that of sense 0."""
    zero, one = (examples[senses == sense].mean(axis=0) for sense in (0, 1))
    return cosine(x, one) - cosine(x, zero)


def exams(represent, layer: int) -> np.ndarray:
    """Right answers: senses in 52 single sentences, each left out of the examples in
    its turn; order of the senses in 28 with both; senses in 28 crossed ones. (3,)"""
    right = np.zeros(3, dtype=np.int64)
    for word in ("bank", "bat", "mouse", "plant", "match", "seal"):
        (x, y), (pairs, order), (crossed, truth) = (
            (represent(texts, word)[layer], senses)
            for texts, senses in (
                sentences(word, kind) for kind in ("single", "both", "crossed")
            )
        )
        others = ~np.eye(len(y), dtype=bool)
        leans = [lean(x[i], x[rest], y[rest]) for i, rest in enumerate(others)]
        right[0] += ((np.array(leans) > 0) == y).sum()
        first, second = lean(pairs, x, y).reshape(-1, 2).T
        right[1] += ((second > first) == order[1::2]).sum()
        right[2] += ((lean(crossed, x, y) > 0) == truth).sum()
    return right


READERS = {
    "its state, embeddings": (states, 0),
    "its state, layer 3": (states, 3),
    "its state, layer 6": (states, 6),
    "[SEP], layer 6": (last_token, 6),
    "mean GloVe of the others": (surroundings, 0),
    "… of 4 on each side": (partial(surroundings, reach=4), 0),
}

if __name__ == "__main__":
    print("read from                   single / 52   both / 28   crossed / 28")
    for name, reader in READERS.items():
        print("{:26}{:13d}{:12d}{:15d}".format(name, *exams(*reader)))


# %% --8<-- [end:exams]


# %% --8<-- [start:figure]
if __name__ == "__main__":
    import matplotlib.pyplot as plt

    right = [exams(states, layer) / (52, 28, 28) for layer in range(7)]
    static = exams(surroundings, 0) / (52, 28, 28)
    looks = {"topic and sense agree": "C0o-", "both senses in one sentence": "C2s-"}
    looks["topic and sense disagree"] = "C3^-"
    for kind, (name, look) in enumerate(looks.items()):
        plt.plot([row[kind] for row in right], look, label=name)
        plt.axhline(static[kind], color=look[:2], linestyle=":")
    plt.plot([], [], ":", color="grey", label="mean GloVe of the other words")
    plt.gca().set(xlabel="layer (0: embeddings)", ylabel="share of right answers")
    plt.ylim(0, 1.05)
    plt.legend(fontsize=9, ncols=2, loc="lower center")
    plt.show()


# %% --8<-- [end:figure]
