"""A small BERT, trained on a real text; every part of the masking is a parameter."""

import hashlib
import lzma
import re
from functools import cache
from pathlib import Path
from typing import NamedTuple

import torch
import torch.nn.functional as F
from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, trainers
from torch import Tensor, nn

MASK, FIRST = 0, 1  # token ids; ordinary tokens start at FIRST
# what selected tokens become: [MASK], any token, themselves
PLAIN, BERT = (1.0, 0.0, 0.0), (0.8, 0.1, 0.1)
# the last books of law, history, wisdom, prophets, Gospels with Acts; then letters
LAST_BOOKS = (5, 17, 22, 39, 44)
CORPUS = Path(__file__).parents[1] / "experiments/masking_rate/corpus.txt.xz"
SHA256 = (
    "cd45f0c9cedab8e4439bd6486c8952c77cc8b0ecc5d1f6ae3513f2039f47229d"  # of the text
)


class Corpus(NamedTuple):
    train: Tensor  # (blocks, n) token ids; a block never crosses a chapter
    held_out: (
        Tensor  # (blocks, n), from every 20th chapter, as unknown to the tokenizer
    )
    train_groups: Tensor  # (blocks,) group of books, 0 to 5
    held_out_groups: Tensor
    vocabulary_size: int


@cache
def chapters(path: Path = CORPUS) -> list[tuple[int, str]]:
    """(group of books, text) of the 1189 chapters of the King James Bible.

    Raises ValueError if the text was altered.
    """
    text = lzma.decompress(path.read_bytes())
    if (found := hashlib.sha256(text).hexdigest()) != SHA256:
        mend = "restore the file with git checkout"
        raise ValueError(f"{path}: the text's SHA-256 is {found}, not {SHA256}; {mend}")
    books, texts = {}, {}  # both in the order of the text
    for line in text.decode().splitlines():  # Ge1:1 In the beginning …
        book, chapter, verse = re.fullmatch(r"(\w+?)(\d+):\d+ (.*)", line).groups()
        number = books.setdefault(book, len(books) + 1)
        group = sum(number > last for last in LAST_BOOKS)
        texts.setdefault((group, book, chapter), []).append(verse)
    return [(group, " ".join(verses)) for (group, *_), verses in texts.items()]


def train_tokenizer(texts: list[str], vocabulary_size: int) -> Tokenizer:
    """Byte pair encoding; the ids of a trained WordPiece would differ from call to call.

    "the man's" becomes "▁the ▁man ' s": pieces that start a word are told from others.
    """
    tokenizer = Tokenizer(models.BPE())
    tokenizer.normalizer = normalizers.Lowercase()
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [pre_tokenizers.Metaspace(), pre_tokenizers.Punctuation()]
    )
    tokenizer.train_from_iterator(
        texts,
        trainers.BpeTrainer(
            vocab_size=vocabulary_size, special_tokens=["[MASK]"], show_progress=False
        ),
    )
    return tokenizer


def load_corpus(vocabulary_size: int = 2048, n: int = 64, every: int = 1) -> Corpus:
    """Blocks of n tokens, made of one chapter in `every`."""
    groups, texts = zip(*chapters()[::every], strict=True)
    held_out = torch.arange(len(texts)) % 20 == 7  # (chapters,)
    learn = [text for text, held in zip(texts, held_out, strict=True) if not held]
    tokenizer = train_tokenizer(learn, vocabulary_size)
    ids = [torch.tensor(found.ids).long() for found in tokenizer.encode_batch(texts)]
    blocks = [x[: len(x) // n * n].view(-1, n) for x in ids]  # the rest is dropped
    sizes = torch.tensor([len(block) for block in blocks])
    held = held_out.repeat_interleave(sizes)  # (blocks,)
    group = torch.tensor(groups).repeat_interleave(sizes)
    x = torch.cat(blocks)  # (blocks, n)
    return Corpus(
        x[~held], x[held], group[~held], group[held], tokenizer.get_vocab_size()
    )


def rotate(x: Tensor) -> Tensor:  # (…, n, d_k) -> (…, n, d_k)
    """Rotary positions: at this size they are learned from sooner than a table.

    Source: Su et al. 2021, section 3.4.
    """
    n, d_k = x.shape[-2:]
    speeds = 10_000.0 ** (-torch.arange(0, d_k, 2) / d_k)
    angles = torch.outer(torch.arange(n), speeds)  # (n, d_k / 2)
    cos, sin = angles.cos(), angles.sin()
    a, b = x.chunk(2, dim=-1)
    return torch.cat((a * cos - b * sin, b * cos + a * sin), dim=-1)


class Layer(nn.Module):
    def __init__(self, d_model: int, n_heads: int):
        super().__init__()
        self.n_heads = n_heads
        self.norm_1, self.norm_2 = nn.LayerNorm(d_model), nn.LayerNorm(d_model)
        self.w_qkv = nn.Linear(d_model, 3 * d_model)
        self.w_o = nn.Linear(d_model, d_model)
        self.w_1 = nn.Linear(d_model, 4 * d_model)
        self.w_2 = nn.Linear(4 * d_model, d_model)

    def forward(self, x: Tensor) -> Tensor:  # (batch, n, d_model), as it returns
        qkv = self.w_qkv(self.norm_1(x)).unflatten(-1, (3, self.n_heads, -1))
        q, k, v = qkv.permute(2, 0, 3, 1, 4)  # (batch, heads, n, d_k) each
        heads = F.scaled_dot_product_attention(rotate(q), rotate(k), v)
        x = x + self.w_o(heads.transpose(1, 2).flatten(-2))
        return x + self.w_2(F.gelu(self.w_1(self.norm_2(x))))


class Encoder(nn.Module):  # one table embeds the tokens and predicts them
    def __init__(self, n_tokens: int, d_model=128, n_layers=2, n_heads=4, seed=0):
        super().__init__()
        self.embedding = nn.Embedding(n_tokens, d_model)
        self.layers = nn.Sequential(*(Layer(d_model, n_heads) for _ in range(n_layers)))
        self.norm, self.bias = (
            nn.LayerNorm(d_model),
            nn.Parameter(torch.zeros(n_tokens)),
        )
        generator = torch.Generator().manual_seed(seed)
        std = 0.02 * (768 / d_model) ** 0.5  # BERT's 0.02 belongs to its width, 768
        for name, weight in self.named_parameters():
            if weight.dim() == 2:
                nn.init.normal_(weight, std=std, generator=generator)
            elif name.endswith("bias"):  # nn.Linear drew it from the global generator
                nn.init.zeros_(weight)

    def forward(self, token_ids: Tensor) -> Tensor:  # (batch, n) -> (batch, n, d_model)
        return self.norm(self.layers(self.embedding(token_ids)))

    def logits(self, states: Tensor) -> Tensor:  # (…, d_model) -> (…, vocabulary)
        return states @ self.embedding.weight.T + self.bias


def corrupt(token_ids, selected, split, n_tokens: int, generator) -> Tensor:
    """Turn selected tokens into [MASK], any token, themselves, in the shares `split`.

    token_ids, selected and the result: (batch, n). Source: Devlin et al. 2019, A.1.
    """
    lot = torch.rand(token_ids.shape, generator=generator)
    other = torch.randint(FIRST, n_tokens, token_ids.shape, generator=generator)
    masked = torch.where(selected & (lot < split[0]), MASK, token_ids)
    replaced = selected & (lot >= split[0]) & (lot < split[0] + split[1])
    return torch.where(replaced, other, masked)


@torch.no_grad()
def adamw(parameters, moments: list, t: int, lr: float, decay: float = 0.01) -> None:
    """Step t = 1, 2, … in place. Source: Loshchilov and Hutter 2019, algorithm 2."""
    for weight, (mean, square) in zip(parameters, moments, strict=True):
        mean.lerp_(weight.grad, 1 - 0.9)
        square.lerp_(weight.grad**2, 1 - 0.98)
        step = mean / (1 - 0.9**t) / ((square / (1 - 0.98**t)).sqrt() + 1e-8)
        weight.mul_(1 - lr * decay).sub_(lr * step)
        weight.grad = None


def train(
    corpus: Corpus,
    rate: float = 0.15,  # share of the tokens that are selected
    *,
    predict: float = 1.0,  # share of the selected that carry loss
    split: tuple = PLAIN,
    steps: int = 1000,
    seed: int = 0,
    batch_size: int = 32,
    lr: float = 3e-3,
    progress=iter,  # wraps the steps, as tqdm does
    **size,
) -> Encoder:
    """An `Encoder(**size)` after `steps` of masked language modelling.

    Of two runs with one seed only the masking differs: initial weights, blocks and the
    number u of each token are the same. Selected is u < rate: the masks are nested.
    """
    model = Encoder(corpus.vocabulary_size, seed=seed, **size)
    moments = [(torch.zeros_like(w), torch.zeros_like(w)) for w in model.parameters()]
    data = torch.Generator().manual_seed(2 * seed + 1_000_000)
    lots = torch.Generator().manual_seed(2 * seed + 1_000_001)
    for t in progress(range(1, steps + 1)):
        rows = torch.randint(len(corpus.train), (batch_size,), generator=data)
        token_ids = corpus.train[rows]  # (batch, n)
        u = torch.rand(token_ids.shape, generator=data)
        target = u < rate * predict
        x = corrupt(token_ids, u < rate, split, corpus.vocabulary_size, lots)
        logits = model.logits(model(x)[target])  # (targets, vocabulary)
        F.cross_entropy(logits, token_ids[target]).backward()
        warm_up_then_decay = min(t / 50, 1 - (t - 1) / steps)
        adamw(model.parameters(), moments, t, lr * warm_up_then_decay)
    return model


@torch.no_grad()
def evaluate(model: Encoder, blocks: Tensor, rate: float, draws: int = 1) -> float:
    """Nats per token that [MASK] hides at `rate`; for every model the same tokens."""
    generator, losses = torch.Generator().manual_seed(99), []
    for token_ids in blocks.repeat(draws, 1).split(128):
        hidden = torch.rand(token_ids.shape, generator=generator) < rate
        logits = model.logits(model(token_ids.masked_fill(hidden, MASK))[hidden])
        losses.append(F.cross_entropy(logits, token_ids[hidden], reduction="none"))
    return torch.cat(losses).mean().item()
