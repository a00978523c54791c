"""How does a text enter BERT? The embedding module, reviewed and corrected."""

import numpy as np


# %% --8<-- [start:pack]
def pack(a: list[str], b: tuple[str, ...] = (), length: int = 0, left: bool = False):
    """Tokens, segment ids and mask, (n,) each. Source: BERT code, run_classifier.py."""
    tokens = ["[CLS]", *a, "[SEP]", *([*b, "[SEP]"] if b else [])]
    segment_ids = np.repeat(np.int64([0, 1]), [len(a) + 2, len(b) + bool(b)])
    mask = np.ones(len(tokens), dtype=bool)  # True = visible
    sides = [(0, max(0, length - len(tokens)))[:: -1 if left else 1]]
    tokens = np.pad(tokens, sides, constant_values="[PAD]")
    return tokens, np.pad(segment_ids, sides), np.pad(mask, sides)


def positions(mask):
    """Position ids (…, n) of a mask (…, n), NumPy or torch: visible tokens, counted."""
    return (mask.cumsum(-1) - 1).clip(0)  # 0 for padding in front: nobody reads it


if __name__ == "__main__":  # true in the notebook and in the browser, not on import
    for left in (False, True):
        tokens, segment_ids, mask = pack(["cats", "purr"], ["dogs", "##y"], 9, left)
        rows = {"token": tokens, "segment id": segment_ids, "visible": 1 * mask}
        rows |= {"slot": range(9), "position id": positions(mask)}
        for name, row in rows.items():
            print(f"{name:12}" + "".join(f"{entry!s:>7}" for entry in row))
        print()


# %% --8<-- [end:pack]
# %% --8<-- [start:start]
def layer_norm(x: np.ndarray, epsilon: float = 1e-12) -> np.ndarray:  # (…, d), same
    deviation = np.sqrt(x.var(axis=-1, keepdims=True) + epsilon)
    return (x - x.mean(axis=-1, keepdims=True)) / deviation


def start(deviation: float, vocabulary: int = 10_000, n: int = 128, d: int = 512):
    """Untrained inputs (n, d); of a tied head the own token's logit (n,) and the loss.

    Input: token row plus position row, N(0, deviation²). Targets: random tokens.
    """
    rng, slots = np.random.default_rng(0), np.arange(n)
    rows = deviation * rng.standard_normal((vocabulary + n, d), dtype=np.float32)
    token_ids, targets = rng.integers(vocabulary, size=(2, n), dtype=np.int64)
    x = rows[token_ids] + rows[vocabulary:]
    # in the browser einsum needs half the time of @
    logits = np.einsum("nd,vd->nv", layer_norm(x), rows[:vocabulary]).astype(np.float64)
    losses = np.logaddexp.reduce(logits, axis=1) - logits[slots, targets]
    return x, logits[slots, token_ids], losses.mean()


if __name__ == "__main__":
    print("entries     sum   its tokens   LayerNorm   own logit    loss   guessing")
    for deviation in (1, 512**-0.5, 0.02):
        x, own, loss = start(deviation)
        each, after = x.std(axis=1), layer_norm(x).std()
        spread = f"{x.std():8.3f}  {each.min():.3f}-{each.max():.3f}"
        row = f"{after:12.3f}{own.mean():12.2f}{loss:8.2f}{np.log(10_000):11.2f}"
        print(f"{deviation:7.3f}{spread}{row}")


# %% --8<-- [end:start]
# %% --8<-- [start:dropout_order]
def mean_under_dropout(p: float, norm_first: bool = True) -> float:
    """Mean output over 2,000 masks, as a multiple of the output without dropout."""
    rng = np.random.default_rng(0)
    x = rng.standard_normal(512)
    kept = (rng.random((2000, 512)) >= p) / (1 - p)  # (masks, d): what is kept, grows
    out = layer_norm(x) * kept if norm_first else layer_norm(x * kept)
    return (out.mean(axis=0) * layer_norm(x)).mean()  # least squares: x has square 1


if __name__ == "__main__":
    print("dropout   after LayerNorm   before LayerNorm   root of 1 - p")
    for p in (0, 0.1, 0.3, 0.5):
        after, before = (mean_under_dropout(p, first) for first in (True, False))
        print(f"{p:7.1f}{after:18.3f}{before:19.3f}{(1 - p) ** 0.5:16.3f}")


# %% --8<-- [end:dropout_order]
# %% --8<-- [start:circulating]
import torch
from torch import Tensor, nn


class TransformerEmbedding(nn.Module):
    """The module that circulates: token row plus position row, then dropout."""

    def __init__(self, vocabulary: int, d_model: int, longest: int, p: float = 0.1):
        super().__init__()
        self.token_embed = nn.Embedding(vocabulary, d_model)
        self.pos_embed = nn.Embedding(longest, d_model)
        self.dropout = nn.Dropout(p)

    def forward(self, token_ids: Tensor) -> Tensor:  # (batch, n) -> (batch, n, d_model)
        slots = torch.arange(token_ids.shape[1], device=token_ids.device)  # (n,)
        return self.dropout(self.token_embed(token_ids) + self.pos_embed(slots))


if __name__ == "__main__":
    module, ids = TransformerEmbedding(10_000, 512, 128), torch.arange(32 * 128)
    for training in (True, False):
        out, again = (module.train(training)(ids.view(32, 128)) for _ in range(2))
        print(f"{training=!s:7}{tuple(out.shape)}, twice the same: {out.equal(again)}")


# %% --8<-- [end:circulating]
# %% --8<-- [start:corrected]
class BertEmbeddings(nn.Module):
    """BERT's input layer. Source: embedding_postprocessor; names as Hugging Face's."""

    def __init__(self, vocabulary: int, d_model: int, longest: int = 512):
        super().__init__()
        self.word_embeddings = nn.Embedding(vocabulary, d_model, padding_idx=0)
        self.position_embeddings = nn.Embedding(longest, d_model)
        self.token_type_embeddings = nn.Embedding(2, d_model)
        for table in self.children():  # the bounds are absolute: two deviations
            nn.init.trunc_normal_(table.weight, std=0.02, a=-0.04, b=0.04)
        nn.init.zeros_(self.word_embeddings.weight.data[0])  # it was overwritten
        self.LayerNorm = nn.LayerNorm(d_model, eps=1e-12)  # the default is 1e-5
        self.dropout = nn.Dropout(0.1)

    def forward(self, token_ids, segment_ids=None, position_ids=None):
        """(batch, n) each -> (batch, n, d_model). ValueError for too many tokens."""
        n, longest = token_ids.shape[1], self.position_embeddings.num_embeddings
        if n > longest and position_ids is None:
            raise ValueError(f"{n} tokens, but positions were learned for {longest}")
        if position_ids is None:
            position_ids = torch.arange(n, device=token_ids.device)[None]  # (1, n)
        if segment_ids is None:
            segment_ids = torch.zeros_like(token_ids)
        x = self.word_embeddings(token_ids) + self.token_type_embeddings(segment_ids)
        return self.dropout(self.LayerNorm(x + self.position_embeddings(position_ids)))


# %% --8<-- [end:corrected]
# %% --8<-- [start:mistakes]
import bert

TEXTS = [
    "The ferry to the island leaves twice a day, except when the captain is ill.",
    "Interest rates rose again this morning, and the banks expect fewer new loans.",
    "She planted tomatoes along the south wall because the bricks keep the warmth.",
]


def trained() -> BertEmbeddings:
    """The corrected module with a copy of the weights of all-MiniLM-L6-v2."""
    named, prefix = bert.load_parameters().items(), "embeddings."
    weights = {k.removeprefix(prefix): w.clone() for k, w in named if prefix in k}
    with torch.device("meta"):  # not initialised: the weights take its place
        module = BertEmbeddings(vocabulary=30_522, d_model=384)
    module.load_state_dict(weights, assign=True)
    return module.eval().requires_grad_(False)


def padded(batch: bert.Batch, left: bool = False, k: int = 16) -> bert.Batch:
    """k more [PAD] on one side; the positions are the slots."""
    sides = (k, 0) if left else (0, k)
    token_ids, segment_ids, _, mask = (nn.functional.pad(part, sides) for part in batch)
    return bert.Batch(token_ids, segment_ids, positions(mask | True), mask)


MODULE = {  # mistakes in the module
    "epsilon 1e-5": lambda m: setattr(m.LayerNorm, "eps", 1e-5),
    "dropout left on": nn.Module.train,
    "gain, bias not loaded": lambda m: m.LayerNorm.reset_parameters(),
    "tokens times √d": lambda m: m.word_embeddings.weight.mul_(384**0.5),
    "no position rows": lambda m: m.position_embeddings.weight.zero_(),
    "no segment row": lambda m: m.token_type_embeddings.weight.zero_(),
    "no LayerNorm": lambda m: setattr(m, "LayerNorm", nn.Identity()),
}
MODULE["circulating module"] = lambda m: [
    MODULE[name](m) for name in ("no segment row", "no LayerNorm")
]
INPUT = {  # mistakes in the batch, but for the first
    "[PAD] right": padded,
    "segment ids 1": lambda b: b._replace(segment_ids=1 - b.segment_ids),
    "[PAD] left": lambda b: padded(b, left=True),
    "[PAD] not masked": lambda b: padded(b)._replace(mask=padded(b).mask | True),
}


def vectors(*mistakes: str) -> Tensor:
    """Sentence vectors of TEXTS, (3, d_model), from all-MiniLM-L6-v2 with mistakes."""
    module, batch = trained(), bert.encode(TEXTS)
    for name in mistakes:
        MODULE.get(name, nn.Module.eval)(module)
        batch = INPUT.get(name, bert.Batch._make)(batch)
    with torch.random.fork_rng():
        torch.manual_seed(0)  # for the dropout
        return bert.sentence_embeddings(batch, embed=lambda b, *_: module(*b[:3]))


if __name__ == "__main__":
    import matplotlib.pyplot as plt

    right = vectors()
    found = {name: (vectors(name) * right).sum(1).mean() for name in MODULE | INPUT}
    for name in sorted(found, key=found.get):
        plt.barh(name, found[name], color="C0" if found[name] > 0.99 else "C3")
        plt.text(found[name] + 0.01, name, f"{found[name]:.3f}", va="center")
    plt.gca().set(xlabel="mean cosine with the right sentence vector", xlim=(0, 1.15))
    plt.show()


# %% --8<-- [end:mistakes]
