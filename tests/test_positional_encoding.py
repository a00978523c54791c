"""Claims of docs/questions/positional-encoding.md."""

import ast
import itertools
import math
from fractions import Fraction
from importlib.util import find_spec
from pathlib import Path

import bert
import numpy as np
import pytest
import torch
import torch.nn.functional as F
from positional_encoding import (
    POSITIONS,
    SWAPPED,
    TEXTS,
    attend,
    clocks,
    codes,
    frequencies,
    look_back,
    main_directions,
    pair_score,
    position_tables,
    rotate,
    sensitivity,
    sentence_vectors,
    shift_matrix,
    sinusoids,
    step_matrix,
    t5_bucket,
)

ORDERS = list(itertools.permutations(range(4)))  # of four tokens, 我 爱 吃 饭
N = 512
PAIRS = [  # the same tokens in another order
    SWAPPED,
    ["Anna owes Ben ten pounds.", "Ben owes Anna ten pounds."],
    ["Rates rose before prices fell.", "Prices fell before rates rose."],
    ["The committee rejected the plan, not the budget.", "The committee rejected the budget, not the plan."],
    ["Is the bank open?", "The bank is open?"],
]


def library(path: str, *names: str) -> list:
    """Functions of the installed transformers, from its source: importing the library takes seconds."""
    source = Path(find_spec("transformers").origin).parent / "models" / path
    found = [
        node
        for node in ast.walk(ast.parse(source.read_text(encoding="utf-8")))
        if isinstance(node, ast.FunctionDef) and node.name in names
    ]
    for node in found:
        node.decorator_list = []
    namespace = {"torch": torch, "math": math}
    found.reverse()  # a function of the module hides a method of the same name
    exec(compile(ast.Module(found, type_ignores=[]), str(source), "exec"), namespace)
    return [namespace[name] for name in names]


def drawn(module: torch.nn.Module) -> torch.nn.Module:
    """The module with weights N(0, 0.3²) from a generator of its own, ready for inference."""
    generator = torch.Generator().manual_seed(0)
    for weights in module.parameters():
        weights.data = 0.3 * torch.randn(weights.shape, generator=generator, dtype=weights.dtype)
    return module.eval()


def along(products: np.ndarray, k: int) -> np.ndarray:
    """All products of a position p with p + k: (n, n) -> (n - k,)."""
    return np.diagonal(products, k)


def offset_share(products: np.ndarray) -> float:
    """Share of the variance off the diagonal that the offset alone explains: (n, n) -> 0 … 1."""
    i, j = np.indices(products.shape)
    offsets, values = (j - i)[i != j] + len(products), products[i != j]
    means = np.bincount(offsets, values) / np.maximum(np.bincount(offsets), 1)
    return 1 - np.square(values - means[offsets]).sum() / np.square(values - values.mean()).sum()


def cosines(table: np.ndarray) -> np.ndarray:
    rows = table / np.linalg.norm(table, axis=1, keepdims=True)
    return rows @ rows.T


def test_attention_without_positions_is_permutation_equivariant(measured):
    """Proved, checked in exact rational arithmetic on all orders of four tokens: permuting the inputs of self-attention
    without positions permutes its outputs and changes nothing else, so their mean is one and the same; with a vector
    added at each position every order has a mean of its own."""
    rng = np.random.default_rng(0)
    draw = np.frompyfunc(lambda _: Fraction(int(rng.integers(-2, 3)), 2), 1, 1)
    x, places, w_q, w_k, w_v = draw(np.zeros((5, 4, 4)))  # halves: nothing is rounded
    power = np.frompyfunc(lambda score: Fraction(2) ** math.floor(score), 1, 1)  # any function of the score will do
    exact = {"w_q": w_q, "w_k": w_k, "w_v": w_v, "power": power}
    outputs = [attend(x[list(order)], **exact) for order in ORDERS]
    placed = [attend(x[list(order)] + places, **exact) for order in ORDERS]
    difference = max(np.abs(y - outputs[0][list(order)]).max() for y, order in zip(outputs, ORDERS, strict=True))
    means, placed_means = ({tuple(y.mean(axis=0)) for y in ys} for ys in (outputs, placed))
    measured(tokens=len(x), orders=len(ORDERS), difference=float(difference), means=len(means))
    measured(means_with_positions=len(placed_means))
    assert difference == 0
    assert (len(means), len(placed_means)) == (1, len(ORDERS))
    x, w_q, w_k, w_v = rng.standard_normal((4, 4, 4))  # and with exp it is the attention of PyTorch
    for causal in (False, True):
        q, k, v = (torch.tensor(x @ w)[None] for w in (w_q, w_k, w_v))
        oracle = F.scaled_dot_product_attention(q, k, v, is_causal=causal, scale=1.0)[0].numpy()
        assert np.allclose(attend(x, w_q, w_k, w_v, causal), oracle, atol=1e-12)


def test_whole_encoder_layer_is_permutation_equivariant(measured):
    """Proved, checked on PyTorch's encoder layers in double precision: feed-forward layers, residuals and LayerNorm act
    on each token alone, so a whole encoder without positions is permutation-equivariant too."""
    layer = torch.nn.TransformerEncoderLayer(16, 4, 32, dropout=0.0, batch_first=True, dtype=torch.float64)
    encoder = drawn(torch.nn.TransformerEncoder(layer, 3, enable_nested_tensor=False))
    x, places = torch.randn(2, 4, 16, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    plain, placed = 0.0, 0.0
    with torch.no_grad():
        whole, whole_placed = encoder(x[None])[0], encoder((x + places)[None])[0]
        for order in map(list, ORDERS):
            plain = max(plain, (encoder(x[order][None])[0] - whole[order]).abs().max().item())
            placed = max(placed, (encoder((x[order] + places)[None])[0] - whole_placed[order]).abs().max().item())
    measured(layers=3, orders=len(ORDERS), difference=plain, with_positions=placed)
    assert plain < 1e-12
    assert placed > 1e-3


def test_one_causal_layer_sees_a_set_two_see_an_order(measured):
    """Proved, checked on all orders of the earlier tokens: with a causal mask and no positions the last output of one
    layer does not depend on the order of the tokens before it; from two layers on it does, and without the mask it
    never does."""
    (one, two), (open_one, open_two) = (
        [sensitivity(n, "none", causal=causal) for n in (1, 2)] for causal in (True, False)
    )
    measured(causal_one_layer=one, causal_two_layers=two, open_one_layer=open_one, open_two_layers=open_two)
    assert max(one, open_one, open_two) < 1e-12
    assert two > 0.01


def test_vectors_that_move_along_change_nothing(measured):
    """Proved, checked on all orders of the earlier tokens: position vectors that stay in place while the tokens move
    make the last output depend on the order; vectors that move along with their tokens do not."""
    stay, move = ([sensitivity(n, order) for n in (1, 2)] for order in ("added", "moved"))
    measured(stay_one_layer=stay[0], stay_two_layers=stay[1], move_one_layer=move[0], move_two_layers=move[1])
    assert min(stay) > 0.1
    assert max(move) < 1e-12
    with_vectors, without = (sensitivity(2, order, causal=True) for order in ("moved", "none"))
    assert abs(with_vectors - without) > 1e-3  # the vectors are there: under a mask they show


def test_causal_mask_counts_positions(measured):
    """Proved: without any position vector, a causal head with equal scores that reads a mark on the first token returns
    1, 1/2, 1/3, …: the position; without the mask it returns the same number everywhere."""
    n, zero = 6, np.zeros((1, 1))
    x = np.eye(n)[:, :1]  # the first token is marked with a 1
    counted, control = (attend(x, zero, zero, np.ones((1, 1)), causal)[:, 0] for causal in (True, False))
    measured(first=counted[0], second=counted[1], third=counted[2], sixth=counted[5], control=control[0])
    assert np.allclose(counted, 1 / np.arange(1, n + 1), rtol=1e-15)
    assert np.allclose(control, 1 / n)


def test_recurrence_and_convolution_read_order(measured):
    """Proved by example, on PyTorch's layers: the last output of a recurrent layer or of a convolution changes with the
    order of the tokens before it; that of attention does not."""
    recurrent, convolution = drawn(torch.nn.RNN(8, 8, batch_first=True)), drawn(torch.nn.Conv1d(8, 8, kernel_size=4))
    attention = drawn(torch.nn.MultiheadAttention(8, 2, batch_first=True))
    tokens = torch.randn(4, 8, generator=torch.Generator().manual_seed(1))
    batch = torch.stack([tokens[[*order, 3]] for order in itertools.permutations(range(3))])  # (6, 4, 8)
    with torch.no_grad():
        last = [recurrent(batch)[0][:, -1], convolution(batch.mT)[..., -1], attention(batch, batch, batch)[0][:, -1]]
    changes = [(outputs - outputs[0]).abs().max().item() for outputs in last]
    measured(recurrent=changes[0], convolution=changes[1], attention=changes[2])
    assert min(changes[:2]) > 0.01
    assert changes[2] < 1e-5


def test_positions_travel_with_their_tokens(measured):
    """Measured on all-MiniLM-L6-v2: tokens may be fed in any order as long as each keeps its position id; permuting the
    tokens alone changes the states."""
    batch = bert.encode(TEXTS[0])
    order = torch.randperm(batch.token_ids.shape[1], generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        states = bert.run_bert(batch).hidden_states[-1][0]
        moved = batch._replace(token_ids=batch.token_ids[:, order], position_ids=batch.position_ids[:, order])
        together = (bert.run_bert(moved).hidden_states[-1][0] - states[order]).abs().max()
        alone = batch._replace(token_ids=batch.token_ids[:, order])
        control = (bert.run_bert(alone).hidden_states[-1][0] - states[order]).abs().max()
    measured(tokens=len(order), together=together, alone=control)
    assert together < 1e-5  # single precision through six layers; 1e-6 to 3e-6, depending on the processor
    assert control > 0.5


def test_minilm_without_positions_is_a_bag_of_words(measured):
    """Measured on all-MiniLM-L6-v2: without its position rows, sentences that differ only in word order get the same
    vector, and the two occurrences of a word the same state; with them they do not."""
    tables = position_tables()
    trained, blind = (
        [torch.cosine_similarity(*sentence_vectors(pair, tables[name]), dim=0).item() for pair in PAIRS]
        for name in ("as trained", "no rows at all")
    )
    both_the = []
    for name in ("as trained", "no rows at all"):
        batch, parameters = bert.encode(SWAPPED[0]), {**bert.load_parameters(), POSITIONS: tables[name]}
        states = bert.run_bert(batch, parameters).hidden_states[-1][0]
        at = [place for place, token in enumerate(batch.tokens[0]) if token == "the"]
        both_the.append(torch.cosine_similarity(*states[at], dim=0).item())
    measured(pairs=len(PAIRS), dog_and_man=trained[0], lowest=min(trained), highest=max(trained))
    measured(blind_lowest=min(blind), the_and_the=both_the[0], blind_the_and_the=both_the[1])
    for pair in PAIRS:
        first, second = bert.encode(pair).tokens
        assert sorted(first) == sorted(second)
    assert max(trained) < 0.999 < 1 - 1e-5 < min(blind)
    assert both_the[0] < 0.95 < 1 - 1e-5 < both_the[1]


def test_removing_the_table_removes_more_than_order(measured):
    """Measured on all-MiniLM-L6-v2: five ways to take the order away keep cosines from 0.01 to 0.92 with the trained
    sentence vectors; of two that leave the words without rows, the one that lets [CLS] keep its own keeps more."""
    tables, generator = position_tables(), torch.Generator().manual_seed(0)
    trained = sentence_vectors(TEXTS, tables["as trained"])
    kept = {name: (sentence_vectors(TEXTS, table) * trained).sum(1).mean().item() for name, table in tables.items()}
    swaps = [torch.cosine_similarity(*sentence_vectors(SWAPPED, table), dim=0).item() for table in tables.values()]
    batch, shuffled = bert.encode(TEXTS), []
    for _ in range(20):  # words shuffled, all rows as trained
        ids = batch.token_ids.clone()
        for row, length in zip(ids, batch.mask.sum(1).tolist(), strict=True):
            row[1 : length - 1] = row[1 + torch.randperm(length - 2, generator=generator)]
        shuffled.append((bert.sentence_embeddings(batch._replace(token_ids=ids)) * trained).sum(1).mean().item())
    no_first = tables["as trained"].clone()
    no_first[0] = 0  # the order stays, the mark of [CLS] goes
    marked = (sentence_vectors(TEXTS, no_first) * trained).sum(1).mean()
    others = (trained @ trained.T)[~torch.eye(len(TEXTS), dtype=torch.bool)].mean()
    as_trained, nothing, cls_kept, mean_rows, all_first = kept.values()
    measured(first_row=0, rows_averaged=16, texts=len(TEXTS), as_trained=as_trained, nothing=nothing, cls_kept=cls_kept)
    measured(mean_rows=mean_rows, all_first=all_first, shuffled=np.mean(shuffled), other_texts=others)
    measured(cls_row_removed=marked)
    assert torch.equal(tables["… words: mean of 16"][40], tables["as trained"][1:17].mean(dim=0))
    assert swaps[0] < 0.99
    assert min(swaps[1:]) > 1 - 1e-5  # all four are blind to order
    assert all_first < 0.2
    assert 0.6 < nothing < 0.8
    assert 0.8 < cls_kept < mean_rows < as_trained
    assert 0.8 < np.mean(shuffled) < 0.97  # over 60 single shuffles 0.86 to 0.93, deviation 0.015
    assert nothing < marked < 0.99


def test_topic_survives_without_order(measured):
    """Measured on all-MiniLM-L6-v2: without position rows it still finds the paraphrase of each of eight sentences
    among eight; with the row of position 0 at every token it does not."""
    texts = [
        *TEXTS,
        "The ferry to the island leaves twice a day, except when the captain is ill.",
        "The referee stopped the match since nobody could see the ball through the fog.",
        "A good knife is sharpened on a wet stone and dried before it is put away.",
        "Interest rates rose again this morning, and the banks expect fewer new loans.",
    ]
    paraphrases = [
        "Heavy rainfall made the stream overflow, and the ancient watermill stood under water.",
        "With rain coming in from above, she wanted to borrow money to have her home repaired.",
        "Dad studied the news at night as his kids sat over a board game.",
        "Against a warm brick wall she grew vegetables.",
        "Two boats a day sail to the isle unless their skipper is sick.",
        "Football in thick mist: the game was called off because players lost sight of the ball.",
        "Whet your blade on a moist whetstone, then wipe it before storing it.",
        "Borrowing got dearer today, so lenders foresee less new credit.",
    ]
    found = {}
    for name, table in position_tables().items():
        similarity = sentence_vectors(texts, table) @ sentence_vectors(paraphrases, table).T
        found[name] = (similarity.argmax(dim=1) == torch.arange(len(texts))).sum().item()
    measured(sentences=len(texts), trained=found["as trained"], blind=found["no rows at all"])
    measured(all_first=found["row 0 for every token"])
    assert found["as trained"] == found["no rows at all"] == len(texts)
    assert found["row 0 for every token"] < len(texts) - 2


def test_position_head_ignores_the_words(measured):
    """Measured on all-MiniLM-L6-v2: for texts of equal length without a word in common, head 2 of the first layer
    puts its weights within a total variation of 0.0003 of each other, no other head within 0.1; without position rows
    neither does this one."""
    texts = [
        "the river burst its bank after a week of rain and flooded the old mill",
        "she asked her brother for more money because our roof was leaking again last winter",
        "no one believed him when he said that this moon would be green on friday",
    ]
    distances = []
    for table in (position_tables()["as trained"], position_tables()["no rows at all"]):
        batch = bert.encode(texts)
        assert batch.mask.all()
        weights = torch.stack(bert.run_bert(batch, {**bert.load_parameters(), POSITIONS: table}).weights)
        pairs = [weights[:, i] - weights[:, j] for i, j in ((0, 1), (0, 2), (1, 2))]  # (layers, heads, n, n)
        distances.append(torch.stack(pairs).abs().sum(-1).mean((0, -1)) / 2)  # total variation: (layers, heads)
    trained, blind = distances
    others = trained.flatten()[torch.arange(trained.numel()) != 2]  # all but head 2 of layer 0
    measured(head=2, tokens=batch.token_ids.shape[1], distance=trained[0, 2], heads=trained.numel())
    measured(other_lowest=others.min(), other_median=others.median(), without_rows=blind[0, 2])
    words = [set(row) - {"[CLS]", "[SEP]"} for row in batch.tokens]
    assert not (words[0] & words[1] or words[0] & words[2] or words[1] & words[2])
    assert trained[0, 2] < 0.002
    assert others.min() > 0.1
    assert blind[0, 2] > 0.3


def test_sinusoid_products_depend_on_distance_alone(measured):
    r"""Proved: every sinusoidal vector has squared length $d/2$, and the product of two is
    $\sum_i \cos(\omega_i k)$: it depends on the offset $k$ alone, is the same for $k$ and $-k$, and does not fall
    monotonically."""
    d, n = 512, 600
    table = sinusoids(np.arange(n), d)
    for p, i in itertools.product((0, 1, 77, 599), (0, 1, 100, 255)):  # the published formula, entry by entry
        assert table[p, 2 * i] == pytest.approx(math.sin(p / 10000 ** (2 * i / d)), abs=1e-12)
        assert table[p, 2 * i + 1] == pytest.approx(math.cos(p / 10000 ** (2 * i / d)), abs=1e-12)
    products = table @ table.T
    formula = np.cos(np.arange(n)[:, None] * frequencies(d)).sum(axis=1)
    spread = max(np.ptp(along(products, k)) for k in (1, 10, 100))
    two_sided = abs(products[100, 110] - products[100, 90])
    first_rise = int(np.argmax(np.diff(formula) > 0))
    cosine = formula / formula[0]
    measured(d=d, squared_length=products[7, 7], length=np.sqrt(products[7, 7]), spread=spread, two_sided=two_sided)
    measured(next_cosine=cosine[1], tenth_cosine=cosine[10], hundredth_cosine=cosine[100], first_rise=first_rise)
    measured(cosine_before_rise=cosine[first_rise], cosine_after_rise=cosine[first_rise + 1])
    assert np.allclose(np.diag(products), d / 2)
    assert np.allclose(products[0], formula, atol=1e-9)
    assert spread < 1e-9
    assert two_sided < 1e-9
    assert 0 < first_rise < n - 1
    control = codes(64)["random rows"]
    assert np.ptp(along(control @ control.T, 1)) > 1


def test_wavelengths_run_to_sixty_thousand(measured):
    r"""Proved: at width 512 the wavelengths run from $2\pi$ to $2\pi \cdot 10000^{510/512}$; the $10000 \cdot 2\pi$ of
    the paper is reached with the spacing of its authors' code, which divides by one less."""
    d = 512
    lengths = 2 * np.pi / frequencies(d)
    increment = math.log(10_000) / (d // 2 - 1)  # tensor2tensor, get_timing_signal_1d
    code = 2 * np.pi * np.exp(np.arange(d // 2) * increment)
    measured(d=d, shortest=lengths[0], longest=lengths[-1], longest_in_code=code[-1], base=10_000)
    assert lengths[0] == pytest.approx(2 * np.pi)
    assert lengths[-1] == pytest.approx(2 * np.pi * 10_000 ** (510 / 512), rel=1e-12)
    assert code[-1] == pytest.approx(2 * np.pi * 10_000, rel=1e-12)


def test_order_of_the_columns_is_free(measured):
    """Proved: with all sines first and all cosines after them, as in the authors' code, every product of two position
    vectors stays what it was: the columns are permuted."""
    d = 64
    table = sinusoids(np.arange(N), d)
    side_by_side = np.concatenate([table[:, 0::2], table[:, 1::2]], axis=1)
    halves = np.abs(side_by_side @ side_by_side.T - table @ table.T).max()
    sines_only = np.ptp(along(table[:, 0::2] @ table[:, 0::2].T, 1))
    measured(d=d, difference=halves, spread_of_sines_alone=sines_only)
    assert halves < 1e-10
    assert sines_only > 0.1  # control: without the cosines the products are no longer a function of the offset


def test_shift_is_one_rotation_for_all_positions(measured):
    r"""Proved: $PE(p + k) = PE(p) R_k$ with one orthogonal matrix for all positions, and $R_a R_b = R_{a+b}$; it is
    neither the sum of $PE(p)$ and $PE(k)$, nor any other combination of the two, nor $PE(p)$ plus a fixed vector."""
    d, k = 512, 3
    positions = np.array([0, 1, 10, 500, 9_000])
    error = np.abs(sinusoids(positions, d) @ shift_matrix(k, d) - sinusoids(positions + k, d)).max()
    rotation = shift_matrix(k, d)
    orthogonal = np.abs(rotation @ rotation.T - np.eye(d)).max()
    composed = np.abs(shift_matrix(20, d) @ shift_matrix(17, d) - shift_matrix(37, d)).max()
    ten, three, thirteen = sinusoids([10, k, 10 + k], d)
    length = np.linalg.norm(thirteen)
    added = np.linalg.norm(ten + three - thirteen) / length
    best = np.linalg.lstsq(np.stack([ten, three], axis=1), thirteen, rcond=None)[1].item() ** 0.5 / length
    steps = sinusoids(np.arange(k, N + k), d) - sinusoids(np.arange(N), d)  # what a fixed vector would have to be
    common = np.square(steps.mean(axis=0)).sum() / np.square(steps).sum(axis=1).mean()
    measured(d=d, p=10, k=k, sum=13, error=error, orthogonal=orthogonal, composed=composed)
    measured(of_the_sum=added, of_the_best_combination=best, shared_by_all_steps=common)
    assert max(error, orthogonal, composed) < 1e-9
    assert added > 1
    assert best > 0.3
    assert common < 0.01


def test_missing_slash_breaks_the_code(measured):
    """Proved by computing it: with cos(pos · 10000^(2i/d)) the lengths and the products at one offset vary, neighbours
    are no longer similar, most cosines turn by more than half a circle per position, and single precision is lost."""
    d, positions = 512, np.arange(N)
    found = {}
    for name, misprint in (("right", False), ("wrong", True)):
        table = sinusoids(positions, d, misprint)
        products, similar = table @ table.T, along(cosines(table), 1)
        base = np.float32(10_000) ** (np.arange(0, d, 2, dtype=np.float32) / np.float32(d))
        single = positions.astype(np.float32)[:, None]
        single = np.cos(single * base if misprint else single / base)
        found[name] = {
            "shortest": np.diag(products).min(),
            "longest": np.diag(products).max(),
            "spread": np.ptp(along(products, 1)),
            "neighbours_lowest": similar.min(),
            "neighbours_highest": similar.max(),
            "single_error": np.abs(single - table[:, 1::2]).max(),
        }
    for name in ("wrong", "right"):  # to nine decimals: whole on every processor
        measured(**{f"{name}_{key}": round(value, 9) for key, value in found[name].items()})
    turns = 1 / frequencies(d)  # radians per position of the misprinted cosines
    measured(d=d, cosines=d // 2, beyond_half_a_circle=(turns > np.pi).sum(), fastest=turns[-1])
    right, wrong = found["right"], found["wrong"]
    assert right["spread"] < 1e-9
    assert wrong["spread"] > 100
    assert wrong["longest"] - wrong["shortest"] > 100
    assert wrong["neighbours_highest"] < 0.5
    assert right["neighbours_lowest"] > 0.97
    assert right["single_error"] < 1e-4  # 3e-5 or 5e-5, depending on how the processor takes powers
    assert wrong["single_error"] > 1 / 3  # 0.37 or 0.53


def test_one_matrix_looks_back_only_with_the_published_formula(measured):
    """Measured at width 64 on 512 positions: a matrix fitted on half of the sinusoidal rows finds the row one back from
    every other position, also beyond those fitted; with the misprint it misses a third in between and nearly all
    beyond, and on random rows all."""
    shares = {
        (name, k, beyond): look_back(table, k, beyond)
        for name, table in codes().items()
        for k, beyond in itertools.product((1, 100), (False, True))
    }
    for (name, k, beyond), share in shares.items():
        measured(**{f"{name.split()[0]}_{k}_{'beyond' if beyond else 'between'}": share})
    measured(d=64, positions=N, far=100)
    right, wrong, random = codes()
    assert all(share == 1 for (name, *_), share in shares.items() if name == right)
    assert 0.5 < shares[wrong, 1, False] < 0.85  # over 60 other halves 0.58 to 0.71
    assert shares[wrong, 1, True] < 0.2
    assert max(share for (name, *_), share in shares.items() if name == random) < 0.05


def test_turned_sinusoids_tell_before_from_after(measured):
    r"""Proved: the plain product of two sinusoidal vectors cannot tell $p - k$ from $p + k$; with the matrix $R_{-k}$
    between them, as $W^Q W^{K\top}$ can be, the score has its maximum $d/2$ at $p - k$."""
    d, p, k = 64, 200, 5
    table = sinusoids(np.arange(N), d)
    plain, turned = table[p] @ table.T, table[p] @ shift_matrix(-k, d) @ table.T
    measured(d=d, k=k, plain_before=plain[p - k], plain_after=plain[p + k])
    measured(turned_before=turned[p - k], turned_after=turned[p + k], best_offset=turned.argmax() - p)
    assert plain[p - k] == pytest.approx(plain[p + k], abs=1e-9)
    assert turned.argmax() == p - k
    assert turned[p - k] == pytest.approx(d / 2)
    assert turned[p + k] < 0.8 * turned[p - k]


def test_projections_decide_what_is_relative(measured):
    """Measured at width 64 on 512 positions: the offset explains all of the variance of plain products of sinusoids,
    and little of it after random projections to queries and keys."""
    d, table = 64, sinusoids(np.arange(N), 64)
    plain, turned = offset_share(table @ table.T), offset_share(table @ shift_matrix(-5, d) @ table.T)
    projected = []
    for seed in range(10):
        w_q, w_k = np.random.default_rng(seed).standard_normal((2, d, d))
        projected.append(offset_share(table @ w_q @ w_k.T @ table.T))
    measured(d=d, positions=N, plain=plain, turned=turned, projected=np.mean(projected), highest=max(projected))
    assert min(plain, turned) > 1 - 1e-9
    assert max(projected) < 0.4


def test_learned_rows_are_stepped_by_one_matrix(measured):
    """Measured on the position table of all-MiniLM-L6-v2: in its ten main directions one matrix, fitted on every other
    step, predicts the remaining steps; it does not for shuffled rows, nor for curves with the same spectra."""
    z, variances = main_directions()
    shares = variances / variances.sum()
    share = step_matrix(z)[1]
    rng = np.random.default_rng(0)
    shuffled = step_matrix(rng.permutation(z))[1]
    spectrum, free = np.fft.rfft(z, axis=0), []
    for _ in range(10):  # the same waves in each direction, with phases of their own
        phases = np.exp(2j * np.pi * rng.random(spectrum.shape))
        free.append(step_matrix(np.fft.irfft(spectrum * phases, n=len(z), axis=0))[1])
    standing = 1 - np.square(z[2::2] - z[1:-1:2]).sum() / np.square(z[2::2] - z[2::2].mean(axis=0)).sum()
    measured(rows=len(z), directions=10, held=shares[:10].sum(), tenth=shares[9], eleventh=shares[10])
    measured(share=share, shuffled=shuffled, same_spectra=np.mean(free), highest=max(free), standing_still=standing)
    assert share > 0.99
    assert shuffled < 0.2
    assert max(free) < 0.9  # over 200 draws mean 0.775, deviation 0.012, highest 0.84


def test_learned_positions_are_five_clocks(measured):
    """Measured on the position table of all-MiniLM-L6-v2: the matrix of one step has five pairs of eigenvalues, all
    within 0.01 of the unit circle, each turning about three times slower than the one before; on each of the five
    planes the rows lie on a ring. Curves with the same spectra give no rings."""
    z = main_directions()[0]
    hands, values = clocks(z)
    periods, radii = 2 * np.pi / np.angle(values), np.abs(hands)
    spreads = radii.std(axis=0) / radii.mean(axis=0)
    turns = np.angle(hands[1:] / hands[:-1]).sum(axis=0) / (2 * np.pi)
    rng, spectrum = np.random.default_rng(0), np.fft.rfft(z, axis=0)
    free = np.fft.irfft(spectrum * np.exp(2j * np.pi * rng.random(spectrum.shape)), n=len(z), axis=0)
    free_values = np.linalg.eigvals(step_matrix(free)[0])
    free_radii = np.abs(clocks(free)[0])
    free_spreads = free_radii.std(axis=0) / free_radii.mean(axis=0)
    for number, (period, spread, turn) in enumerate(zip(periods, spreads, turns, strict=True)):
        measured(**{f"period_{number}": period, f"spread_{number}": spread, f"turns_{number}": turn})
    measured(modulus_lowest=np.abs(values).min(), modulus_highest=np.abs(values).max(), bound=0.01)
    measured(**{f"ratio_{number}": ratio for number, ratio in enumerate(periods[1:4] / periods[:3])})
    measured(free_modulus_lowest=np.abs(free_values).min(), free_spread_lowest=free_spreads.min())
    assert len(values) == 5
    assert np.abs(np.abs(values) - 1).max() < 0.01
    assert periods[:4] == pytest.approx([5.95, 17.0, 51.9, 156.6], rel=0.01)
    assert spreads.max() < 0.2 < free_spreads.min()  # over 200 draws 0.31 and more
    assert np.abs(free_values).min() < 0.8  # over 200 draws at most 0.71


def test_learned_similarity_is_not_monotone(measured):
    """Measured on the position table of all-MiniLM-L6-v2: a row is more like the row six places on than like the one
    three places on; sinusoids of the same width are not."""
    learned = cosines(bert.load_parameters()[POSITIONS].double().numpy()[1:])
    formula = cosines(sinusoids(np.arange(1, N), 384))
    medians = {
        f"{name}_{k}": np.median(along(table, k))
        for name, table in (("learned", learned), ("formula", formula))
        for k in (1, 3, 6)
    }
    measured(**medians, near=3, far=6, width=384)
    assert medians["learned_6"] > medians["learned_3"] + 0.1
    assert medians["formula_6"] < medians["formula_3"]


def test_offset_explains_half_of_the_learned_products(measured):
    """Measured on the position table of all-MiniLM-L6-v2: the offset explains half of the variance of the products of
    two learned rows, all of it for sinusoids and none for random rows."""
    rows = bert.load_parameters()[POSITIONS].double().numpy()[1:]
    learned = rows - rows.mean(axis=0)
    random = np.random.default_rng(0).standard_normal(rows.shape)
    formula = sinusoids(np.arange(1, N), rows.shape[1])
    shares = [offset_share(table @ table.T) for table in (learned, formula, random)]
    measured(learned=shares[0], formula=shares[1], random=shares[2])
    assert 0.4 < shares[0] < 0.6
    assert shares[1] > 1 - 1e-9
    assert shares[2] < 0.02


def test_relative_schemes_see_only_the_offset(measured):
    """Proved, checked on one pair of contents at many places: with the schemes of Shaw, T5, ALiBi and rotary positions
    the score depends on the offset alone; with vectors added to the input it does not. ALiBi's penalty is the same
    before and after."""
    offsets, starts = (-30, -2, 1, 60), (40, 100, 411, 5_000)
    spreads, directed = {}, {}
    for scheme in ("added", "Shaw", "T5", "ALiBi", "rotary"):
        found = np.array([[pair_score(scheme, i, i + k) for i in starts] for k in offsets])  # (offsets, starts)
        spreads[scheme] = np.ptp(found, axis=1).max()
        directed[scheme] = abs(pair_score(scheme, 5, 3) - pair_score(scheme, 3, 5))
        measured(**{f"{scheme}_spread": spreads[scheme], f"{scheme}_directed": directed[scheme]})
        for pair in ((5, 3), (105, 103), (3, 5), (400, 200), (500, 200)):
            measured(**{f"{scheme}_{pair[0]}_{pair[1]}": pair_score(scheme, *pair)})
    q, k = np.random.default_rng(0).standard_normal((2, 64))
    for i, j in ((5, 3), (400, 200)):  # the added vectors, written out
        oracle = (q + sinusoids([i], 64)[0]) @ (k + sinusoids([j], 64)[0]) / 8
        assert pair_score("added", i, j) == pytest.approx(oracle)
    assert pair_score("none", 5, 3) == pytest.approx(q @ k / 8)
    measured(query=5, key=3, moved_query=105, moved_key=103, near=200, far=300)
    assert spreads.pop("added") > 0.5
    assert max(spreads.values()) < 1e-9
    assert directed.pop("ALiBi") == 0
    assert min(directed.values()) > 0.1
    assert pair_score("none", 5, 3) == pair_score("none", 400, 200)  # control: no scheme, no position


def test_shaw_and_t5_stop_counting(measured):
    """Proved, checked against the buckets of transformers for 1,201 offsets: Shaw's rows are clipped, at 16 in our
    listing; T5's 32 buckets are exact for distances below 8 and then widen, and the last one begins at 91, before its
    `max_distance` of 128; one of the 32 is never used."""
    offsets = np.arange(-600, 601)
    (oracle,) = library("t5/modeling_t5.py", "_relative_position_bucket")
    buckets = t5_bucket(offsets)
    last = offsets[(buckets == buckets.max()) & (offsets > 0)].min()
    exact = [k for k in range(1, 601) if (buckets[offsets > 0] == t5_bucket(k)).sum() == 1]
    measured(
        offsets=len(offsets), clip=16, n_buckets=32, used=len(set(buckets.tolist())), last_begins=last, longest=128
    )
    measured(widening_from=max(exact) + 1)
    assert np.array_equal(buckets, oracle(torch.tensor(offsets)).numpy())
    assert t5_bucket(7) != t5_bucket(8) == t5_bucket(9)
    assert pair_score("Shaw", 400, 200) == pair_score("Shaw", 500, 200) == pytest.approx(pair_score("Shaw", 216, 200))
    assert pair_score("Shaw", 216, 200) != pair_score("Shaw", 215, 200)
    assert pair_score("T5", 300, 209) == pair_score("T5", 900, 200) != pair_score("T5", 300, 210)
    assert pair_score("ALiBi", 500, 200) < pair_score("ALiBi", 400, 200)  # control: no bucket, no clip


def test_alibi_is_a_fixed_penalty(measured):
    """Proved, checked against the code of transformers: ALiBi subtracts slope times distance, with slopes from 1/2 to
    1/256 for eight heads; under a causal mask adding slope times key position gives the same weights."""
    n, slope = 9, 1 / 16
    slopes_of, build = library("bloom/modeling_bloom.py", "_get_alibi_slopes", "build_alibi_tensor")
    slopes = slopes_of(8, torch.device("cpu")).flatten()
    mask = torch.ones(n, n).tril().bool()
    contents = torch.randn(n, n, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    biases = [[pair_score("ALiBi", i, j) - pair_score("none", i, j) for j in range(n)] for i in range(n)]
    ours = torch.tensor(biases, dtype=torch.float64)
    theirs = build(torch.ones(1, n, dtype=torch.int64), 8, torch.float64)[3]  # (1, n): the fourth head
    weights = [(contents + bias).masked_fill(~mask, -torch.inf).softmax(-1) for bias in (ours, theirs)]
    difference = (weights[0] - weights[1]).abs().max()
    control = (contents.masked_fill(~mask, -torch.inf).softmax(-1) - weights[1]).abs().max()
    measured(heads=8, steepest=slopes.max(), flattest=slopes.min(), slope=slope, difference=difference, control=control)
    assert slopes[3] == slope
    assert difference < 1e-12
    assert control > 0.01


def test_rotary_positions_turn_queries_and_keys(measured):
    """Proved, checked against the code of transformers: rotary positions keep the length of queries and keys, make
    their product a function of the offset, and are the rotations by which sinusoids are shifted."""
    d, far = 64, 5_000
    q, k = np.random.default_rng(0).standard_normal((2, 1, d))
    places = np.array([0, 1, 77, far])
    turned = rotate(np.repeat(q, len(places), axis=0), places)
    _, apply = library("llama/modeling_llama.py", "rotate_half", "apply_rotary_pos_emb")
    halves = np.concatenate([np.arange(0, d, 2), np.arange(1, d, 2)])  # Llama pairs entry i with entry i + d / 2
    angles = torch.tensor(np.tile(places[:, None] * frequencies(d), 2))[None]  # (1, 4, d)
    queries = torch.tensor(np.repeat(q[:, halves], len(places), axis=0))[None, None]  # (1, 1, 4, d)
    oracle = apply(queries, queries, angles.cos(), angles.sin())[0][0, 0].numpy()
    against_library = np.abs(turned[:, halves] - oracle).max()
    length = np.abs(np.linalg.norm(turned, axis=1) - np.linalg.norm(q)).max()
    products = [(rotate(q, [i]) @ rotate(k, [i + 7]).T).item() for i in places]
    plain = (q @ k.T).item()
    sinusoid = np.abs(rotate(sinusoids(places, d), np.full(4, -3)) - sinusoids(places + 3, d)).max()
    measured(
        d=d, start=0, far=far, length=length, spread=np.ptp(products), against_library=against_library, shifted=sinusoid
    )
    measured(product=products[0], unturned=plain)
    assert max(against_library, length, np.ptp(products), sinusoid) < 1e-9
    assert abs(products[0] - plain) > 0.1


def test_rotary_head_can_prefer_far_tokens(measured):
    """Proved by example: rotary scores need not fall with the distance; a head whose query is its key turned by 50
    positions scores highest 50 tokens back."""
    d, back = 64, 50
    content = np.random.default_rng(0).standard_normal((1, d))
    keys = rotate(np.repeat(content, 301, axis=0), np.arange(301))
    aligned, turned = (rotate(query, [300]) @ keys.T for query in (content, rotate(content, [-back])))
    aligned, turned = aligned[0] / np.square(content).sum(), turned[0] / np.square(content).sum()
    best = 300 - turned.argmax()
    measured(d=d, back=back, best=best, aligned_here=aligned[300], aligned_back=aligned[300 - back])
    measured(turned_here=turned[300], turned_back=turned[300 - back])
    assert best == back
    assert aligned.argmax() == 300


def test_equal_tokens_hide_relative_positions(measured):
    """Proved: if all tokens are equal, attention whose positions act on the scores alone returns the same vector at
    every position, causal mask or not; with vectors added to the input it does not."""
    n, d = 6, 8
    rng = np.random.default_rng(0)
    w_q, w_k, w_v = rng.standard_normal((3, d, d)) / d
    x = np.repeat(rng.standard_normal((1, d)), n, axis=0)
    spreads = {}
    for causal in (False, True):
        rotary = attend(x, w_q, w_k, w_v, causal, turn=lambda rows: rotate(rows, np.arange(n)))
        added = attend(x + sinusoids(np.arange(n), d), w_q, w_k, w_v, causal)
        spreads[causal] = np.ptp(rotary, axis=0).max(), np.ptp(added, axis=0).max()
    measured(tokens=n, rotary=max(rotary for rotary, _ in spreads.values()), added=spreads[False][1])
    measured(added_causal=spreads[True][1])
    assert max(rotary for rotary, _ in spreads.values()) < 1e-12
    assert min(added for _, added in spreads.values()) > 1e-3
    words = rng.standard_normal((n, d))  # control: unequal tokens do feel the rotation
    turned = attend(words, w_q, w_k, w_v, turn=lambda rows: rotate(rows, np.arange(n)))
    q, k = (torch.tensor(rotate(words @ w, np.arange(n)))[None] for w in (w_q, w_k))
    oracle = F.scaled_dot_product_attention(q, k, torch.tensor(words @ w_v)[None], scale=1.0)[0].numpy()
    assert np.allclose(turned, oracle, atol=1e-12)
    assert np.abs(turned - attend(words, w_q, w_k, w_v)).max() > 1e-3
