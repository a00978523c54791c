"""Claims of docs/questions/embedding-layer.md."""

import math
import re

import bert
import numpy as np
import pytest
import torch
import torch.nn.functional as F
from embedding_layer import (
    NAME,
    PAIRS,
    RENUMBERED,
    SENTENCES,
    cosines,
    expected_step,
    likeness,
    lookup,
    one_hot,
    paraphrases,
    random_table,
    readable,
    second_step,
    sentence_vectors,
    table_gradient,
    train,
    world,
)
from torch import nn

Z = 6  # standard deviations over seeds: a normal tail of 2e-9, which leaves a dozen comparisons far below 1e-6
TRAINED = bert.load_parameters()[NAME]  # (30522, 384)
VOCABULARY = bert.load_tokenizer().get_vocab()
WORDS = sorted(word for word in VOCABULARY if re.fullmatch("[a-z]{3,}", word))  # the vocabulary comes in any order


def unit(table: torch.Tensor) -> torch.Tensor:
    return F.normalize(table, dim=-1)


# The layer


def test_lookup_equals_the_product_exactly(measured):
    """Proved, checked against `F.embedding` and `F.linear`: as long as all entries of the table are finite, looking up
    rows and multiplying one-hot rows with the table give exactly the same numbers; a row of NaN that no token uses
    spoils the product for every token and the lookup for none."""
    rng = np.random.default_rng(0)
    table, ids = rng.standard_normal((30_522, 16)), rng.integers(30_522, size=(2, 8))
    rows, product = lookup(table, ids), lookup(table, ids, dense=True)
    t, i = torch.tensor(table), torch.tensor(ids)
    oracles = F.embedding(i, t).numpy(), F.linear(F.one_hot(i, 30_522).double(), t.T).numpy()
    unused = next(row for row in range(30_522) if row not in ids)
    table[unused] = np.nan
    spoilt, untouched = np.isnan(lookup(table, ids, dense=True)).mean(), np.isnan(lookup(table, ids)).mean()
    measured(vocabulary=30_522, tokens=ids.size, width=16, difference=np.abs(rows - product).max())
    measured(share_spoilt_in_product=spoilt, share_spoilt_in_lookup=untouched)
    assert rows.shape == (2, 8, 16)
    assert np.array_equal(rows, product)
    assert all(np.array_equal(rows, oracle) for oracle in oracles)
    assert (spoilt, untouched) == (1, 0)


def test_one_hot_form_is_what_explodes(measured):
    """Proved by counting, checked against PyTorch's flop counter: for 128 tokens, a vocabulary of 30,522 and width 768
    the one-hot rows take 15,627,264 bytes in single precision where the ids take 1,024, and their product with the
    table 3,000,434,688 multiplications where the lookup takes none."""
    from torch.utils.flop_counter import FlopCounterMode  # noqa: PLC0415

    tokens, vocabulary, width = 128, 30_522, 768
    with torch.device("meta"):  # shapes only
        ids = torch.zeros(tokens, dtype=torch.int64)
        table, rows = torch.empty(vocabulary, width), torch.empty(tokens, vocabulary)
        counts = []
        for form in (lambda: rows @ table, lambda: F.embedding(ids, table)):
            with FlopCounterMode(display=False) as counter:
                form()
            counts.append(counter.get_total_flops() // 2)  # a multiplication and an addition each
    one_hots, numbers = rows.nbytes, ids.nbytes
    measured(tokens=tokens, vocabulary=vocabulary, width=width, one_hot_bytes=one_hots, id_bytes=numbers)
    measured(multiplications=counts[0], multiplications_of_lookup=counts[1], ratio=one_hots / numbers)
    measured(table_bytes=table.nbytes, touched_at_most=tokens / vocabulary)
    assert one_hots == 4 * tokens * vocabulary == one_hot(np.arange(1), vocabulary).size * tokens * 4
    assert numbers == 8 * tokens
    assert counts == [tokens * vocabulary * width, 0]


def test_one_hot_rows_stand_left_of_the_table(measured):
    """Proved: four one-hot rows of length four times a table of four rows of two is the table itself; table times
    one-hot rows is not defined; and different tokens have one-hot rows with cosine 0 at distance $\\sqrt{2}$."""
    x, table = one_hot(np.arange(4), 4), np.random.default_rng(0).standard_normal((4, 2))
    distances = {float(np.linalg.norm(x[i] - x[j])) for i in range(4) for j in range(i)}
    measured(rows=4, width=2, rank=np.linalg.matrix_rank(x @ table), distance=max(distances), cosine=(x @ x.T)[0, 1])
    assert np.array_equal(x @ table, table)
    assert np.array_equal(x, np.eye(4))
    assert distances == {math.sqrt(2)}
    with pytest.raises(ValueError, match="mismatch"):
        table @ x


def test_lookup_appends_one_axis(measured):
    """Proved, checked on PyTorch and numpy: ids of any shape give that shape with the width appended, from a single id
    to none at all; an id beyond the table raises IndexError in both, but $-1$ only in PyTorch: numpy returns the last
    row."""
    table = np.random.default_rng(0).standard_normal((6, 8))
    shapes = [(), (4,), (3, 4), (2, 3, 4), (3, 0)]
    for shape in shapes:
        ids = np.zeros(shape, dtype=np.int64)
        assert lookup(table, ids).shape == (*shape, 8) == F.embedding(torch.tensor(ids), torch.tensor(table)).shape
        assert lookup(table, ids, dense=True).shape == (*shape, 8)
    wrapped = np.abs(lookup(table, np.array([-1]))[0] - table[5]).max()
    measured(shapes=len(shapes), ids=4, width=8, rows=6, negative=-1, numpy_minus_last_row=wrapped)
    assert wrapped == 0
    assert np.array_equal(lookup(table, np.array([-1]), dense=True), np.zeros((1, 8)))  # no such one-hot
    for wrong in (-1, 6):
        with pytest.raises(IndexError):
            F.embedding(torch.tensor([wrong]), torch.tensor(table))
    with pytest.raises(IndexError):
        lookup(table, np.array([6]))


def test_bfloat16_leaves_1135_of_30522_ids(measured):
    """Proved by going through all ids of BERT's vocabulary: PyTorch looks up int32 and int64 only and refuses floats
    and smaller integers; cast to bfloat16 and back 1,135 different ids are left, through float16 6,005, through float32
    all."""
    ids, table = torch.arange(30_522), torch.ones(2, 3)
    left = {kind: len(ids.to(kind).long().unique()) for kind in (torch.bfloat16, torch.float16, torch.float32)}
    refused = (torch.float32, torch.bfloat16, torch.int16, torch.uint8, torch.bool)
    for kind in refused:
        with pytest.raises(RuntimeError, match="Long, Int"):
            F.embedding(torch.tensor([1, 0]).to(kind), table)
    for kind in (torch.int32, torch.int64):
        assert F.embedding(torch.tensor([1, 0]).to(kind), table).shape == (2, 3)
    last_exact = next(n for n in range(30_522) if n + 1 != int(torch.tensor(n + 1).bfloat16()))
    measured(ids=len(ids), bfloat16=left[torch.bfloat16], float16=left[torch.float16], float32=left[torch.float32])
    measured(last_exact_in_bfloat16=last_exact)
    assert list(left.values()) == [1135, 6005, 30_522]
    with pytest.raises(RuntimeError, match="floating point"):
        torch.tensor([1, 2], requires_grad=True)


def test_per_token_networks_fold_into_the_table(measured):
    """Proved, checked up to rounding: a bias, an activation or a whole network that works on each token alone, behind
    a lookup, is a lookup in another table; so a table of width 128 and a projection to 768, as in ALBERT, is one table
    of rank 128 at most."""
    rng = np.random.default_rng(0)
    table, ids = rng.standard_normal((50, 6)), rng.integers(50, size=(3, 7))
    inner, bias, outer = rng.standard_normal((6, 32)), rng.standard_normal(32), rng.standard_normal((32, 6))

    def network(x):  # sums in a fixed order, whatever the number of rows
        return np.einsum("...h,hd->...d", np.tanh(np.einsum("...d,dh->...h", x, inner) + bias), outer)

    behind, folded = network(lookup(table, ids)), lookup(network(table), ids)
    mixing = network(lookup(table, ids).cumsum(axis=1))  # control: each token reads those before it
    narrow, wide = rng.standard_normal((900, 128)), rng.standard_normal((128, 768))
    measured(difference=np.abs(behind - folded).max(), difference_if_tokens_mix=np.abs(mixing - folded).max())
    measured(narrow=128, wide=768, rank=np.linalg.matrix_rank(narrow @ wide), rows=900)
    assert np.allclose(behind, folded, rtol=0, atol=1e-13)
    assert np.abs(mixing - folded).max() > 1
    assert np.linalg.matrix_rank(narrow @ wide) == 128


# Its gradient


def test_lookup_gradient_adds_up_repeated_tokens(measured):
    """Proved, checked against PyTorch's autograd and a plain loop: the gradient of a table is the sum of the upstream
    gradients over the occurrences of each token, zero for every other row, and equal to the transposed one-hot rows
    times the upstream gradient; `gradient[ids] += …` in numpy counts a repeated token once."""
    rng, ids = np.random.default_rng(0), np.array([3, 3, 7])
    upstream, loop = rng.standard_normal((3, 4)), np.zeros((10, 4))
    for token, row in zip(ids, upstream, strict=True):
        loop[token] += row
    table = torch.zeros(10, 4, dtype=torch.float64, requires_grad=True)
    (F.embedding(torch.tensor(ids), table) * torch.tensor(upstream)).sum().backward()
    forms = [table_gradient(ids, upstream, 10, dense) for dense in (False, True)]
    ones, buffered = table_gradient(ids, np.ones((3, 4)), 10), np.zeros((10, 4))
    buffered[ids] += np.ones((3, 4))
    rows = np.flatnonzero(np.abs(forms[0]).sum(axis=1))
    measured(rows=10, rows_with_gradient=len(rows), repeated=ones[3, 0], once=ones[7, 0], other=ones[2, 0])
    measured(buffered=buffered[3, 0], difference_to_product=np.abs(forms[0] - forms[1]).max(), token=3, other_token=7)
    assert all(np.allclose(form, loop, rtol=0, atol=1e-14) for form in (*forms, table.grad.numpy()))
    assert rows.tolist() == [3, 7]
    assert (ones[3, 0], ones[7, 0], buffered[3, 0]) == (2, 1, 1)


def test_table_and_one_hot_layer_train_alike(measured):
    """Proved, checked over 800 steps of SGD: a table with lookups and a linear layer on one-hot rows, started alike,
    stay equal up to rounding; PyTorch's `nn.Embedding` and `nn.Linear` do so as well, the latter only without a
    bias."""
    tables = [train(world(), dense=dense)[1] for dense in (False, True)]
    start = train(world())[0]
    generator = torch.Generator().manual_seed(0)
    ids = torch.randint(80, (40, 64), generator=generator)
    head = torch.randn(16, 12, generator=generator, dtype=torch.float64)
    ends = []
    for bias in (None, False, True):  # None: the embedding
        layer = nn.Embedding(80, 16, device="meta") if bias is None else nn.Linear(80, 16, bias=bias, device="meta")
        layer = layer.to_empty(device="cpu").double()
        layer.load_state_dict(
            {"weight": torch.tensor(start if bias is None else start.T)}
            | ({"bias": torch.zeros(16, dtype=torch.float64)} if bias else {})
        )
        for batch in ids:
            layer.zero_grad()
            x = layer(batch if bias is None else F.one_hot(batch, 80).double())
            F.cross_entropy(x @ head, batch % 12).backward()
            for parameter in layer.parameters():
                parameter.data.sub_(parameter.grad)
        ends.append(layer.weight.detach() if bias is None else layer.weight.detach().T)
    gap, with_bias = (ends[0] - ends[1]).abs().max(), (ends[0] - ends[2]).abs().max()
    measured(steps=800, difference=np.abs(tables[0] - tables[1]).max(), moved=np.abs(tables[0] - start).max())
    measured(torch_difference=gap, torch_difference_with_bias=with_bias)
    assert np.allclose(*tables, rtol=0, atol=1e-12)
    assert gap < 1e-12
    assert with_bias > 0.01  # control


def test_optimiser_decides_which_unused_rows_move(measured):
    """Proved, checked against `torch.optim`: SGD and SparseAdam move only the rows of the batch; momentum and Adam go
    on moving rows that were used earlier; weight decay, here 0.1 at a rate of 0.1, of AdamW and of SGD moves rows that
    were never used."""
    found, never = {}, {}
    measured(rate=0.1, decay=0.1)
    for name in ("SGD", "momentum", "Adam", "AdamW", "SparseAdam", "SGD_decay"):
        layer = nn.Embedding(3, 1, sparse=name == "SparseAdam", _weight=torch.ones(3, 1, dtype=torch.float64))
        decay = {"weight_decay": 0.1}
        options = {"momentum": {"momentum": 0.9}, "AdamW": decay, "SGD_decay": decay}.get(name, {})
        optimiser = getattr(torch.optim, {"momentum": "SGD", "SGD_decay": "SGD"}.get(name, name))(
            layer.parameters(), lr=0.1, **options
        )
        for token in (1, 0):
            before = layer.weight.detach().clone()
            optimiser.zero_grad()
            layer(torch.tensor([token])).sum().backward()
            optimiser.step()
        moved = (before - layer.weight.detach())[:, 0].numpy()
        never[name] = moved[2]
        if name == "SGD_decay":
            continue  # PyTorch alone
        found[name] = second_step(name)
        for row, far in zip(("now", "earlier", "never"), found[name], strict=True):
            measured(**{f"{name}_{row}": far})
        assert np.allclose(found[name], moved, rtol=1e-6, atol=1e-12)
    unused = {name: [bool(far != 0) for far in rows[1:]] for name, rows in found.items()}
    assert unused["SGD"] == unused["SparseAdam"] == [False, False]
    assert unused["momentum"] == unused["Adam"] == [True, False]
    assert unused["AdamW"] == [True, True]
    measured(SGD_decay_never=never["SGD_decay"])
    assert never["SGD"] == 0
    assert never["SGD_decay"] == pytest.approx(never["AdamW"])
    assert np.allclose(second_step("AdamW", decay=0), found["Adam"])  # control


def test_pretrained_padding_row_is_frozen_not_zeroed(measured):
    """Proved on PyTorch: `padding_idx` zeroes the row of a new table only; in `nn.Embedding.from_pretrained` the row
    keeps its values; in both it gets no gradient from a lookup."""
    ids, given = torch.tensor([0, 1]), torch.ones(4, 3)
    fresh = nn.Embedding(4, 3, padding_idx=0)
    loaded = nn.Embedding.from_pretrained(given, freeze=False, padding_idx=0)
    control = nn.Embedding.from_pretrained(given.clone(), freeze=False)
    for layer in (fresh, loaded, control):
        layer(ids).sum().backward()
    lengths = [layer.weight[0].norm().item() for layer in (fresh, loaded)]
    gradients = [layer.weight.grad[0].norm().item() for layer in (fresh, loaded, control)]
    measured(new=lengths[0], loaded=lengths[1], gradient_new=gradients[0], gradient_loaded=gradients[1])
    measured(gradient_without_padding_idx=gradients[2])
    assert lengths == [0, pytest.approx(3**0.5)]
    assert gradients == [0, 0, pytest.approx(3**0.5)]


def test_max_norm_rewrites_rows_in_the_forward_pass(measured):
    """Proved on PyTorch: with `max_norm` a forward pass shortens the rows that it looks up in the stored table itself,
    in evaluation mode and without gradients too."""
    weight = 2 * torch.ones(4, 4)  # rows of length 4
    changes = []
    for max_norm in (1.0, None):
        layer = nn.Embedding(4, 4, max_norm=max_norm, _weight=weight.clone()).eval()
        with torch.no_grad():
            layer(torch.tensor([1]))
        changes.append(layer.weight.detach().norm(dim=1))
    measured(limit=1, before=weight[1].norm(), after=changes[0][1], other_row=changes[0][2], without=changes[1][1])
    assert changes[0].tolist() == pytest.approx([4, 1, 4, 4], rel=1e-5)
    assert changes[1].tolist() == [4, 4, 4, 4]  # control


# Ids


def test_id_similarity_depends_on_the_numbering(measured):
    """Proved: the cosines of three sentences written as vectors of ids change order when the dictionary is renumbered;
    as one-hot rows they are the share of common tokens, under any numbering."""
    _, order = np.unique(RENUMBERED, return_inverse=True)
    ids, renumbered = cosines(SENTENCES), cosines(RENUMBERED[SENTENCES])
    hot, hot_renumbered = (cosines(one_hot(sentences, 6).reshape(3, -1)) for sentences in (SENTENCES, order[SENTENCES]))
    for name, values in (("ids", ids), ("renumbered", renumbered), ("hot", hot), ("hot_renumbered", hot_renumbered)):
        measured(**{f"{name}_{pair}": value for pair, value in zip(("i_he", "i_you", "he_you"), values, strict=True)})
    measured(share_of_common_tokens=3 / 4)
    oracle = F.cosine_similarity(torch.tensor(SENTENCES[0]).double(), torch.tensor(SENTENCES[1]).double(), dim=0)
    assert ids[0] == pytest.approx(oracle.item())
    assert np.argsort(ids).tolist() == np.argsort(renumbered).tolist()[::-1]
    assert np.allclose([hot, hot_renumbered], 3 / 4)


def test_wider_map_of_ids_neither_separates_nor_joins(measured):
    """Measured on 2,000 random matrices of four rows and eight columns: a linear map of three id vectors raises each of
    their cosines about as often as it lowers it, 57 % to 58 % of the time; a map that keeps lengths leaves all
    three as they are; and the three vectors stay in the plane that they span."""
    rng, before, maps = np.random.default_rng(0), cosines(SENTENCES), 2000
    after = np.array([cosines(SENTENCES @ rng.standard_normal((4, 8))) for _ in range(maps)])  # (2000, 3)
    isometry = np.linalg.qr(rng.standard_normal((8, 4)))[0].T  # (4, 8)
    raised, kept = (after > before).mean(axis=0), cosines(SENTENCES @ isometry)
    measured(maps=maps, raised_low=raised.min(), raised_high=raised.max(), lowest=after.min(), highest=after.max())
    measured(change_by_isometry=np.abs(kept - before).max(), rank=np.linalg.matrix_rank(SENTENCES))
    measured(rows=4, columns=8, id_rows_needed=SENTENCES.max() + 1)
    # The standard error of a share near 0.58 over 2,000 maps is 0.011.
    assert all(0.5 < share < 0.58 + Z * 0.011 for share in raised)
    assert np.allclose(kept, before)
    assert np.linalg.matrix_rank(SENTENCES) == np.linalg.matrix_rank(SENTENCES @ isometry) == 2
    assert after.min() < 0.1  # far below the lowest, 0.839, before


# What the rows learn


def test_equal_targets_never_push_rows_apart(measured):
    """Proved, checked on 2,000 random cases: two rows that should predict the same thing are never farther apart after
    both took the same gradient step than before, whatever the linear output layer $W$, if the step is at most
    $4/\\lVert W\\rVert^2$; what of their difference $W$ cannot see stays as it was; with different targets, or beyond
    the bound, the distance can grow."""
    rng, cases, width, outcomes = np.random.default_rng(0), 2000, 6, 4
    same, other, large, hidden = [], [], [], []
    for _ in range(cases):
        a, b = rng.standard_normal((2, width)) * 3
        out, targets = rng.standard_normal((width, outcomes)), rng.dirichlet(np.ones(outcomes), size=2)
        rate, unseen = 4 / np.linalg.norm(out, 2) ** 2, np.linalg.svd(out)[0][:, outcomes:]  # (width, 2)
        for ratios, target, factor in ((same, targets[0], 1), (other, targets[1], 1), (large, targets[0], 20)):
            moved = expected_step(a, out, targets[0], factor * rate) - expected_step(b, out, target, factor * rate)
            ratios.append(np.linalg.norm(moved) / np.linalg.norm(a - b))
            if ratios is same:
                hidden.append(np.abs(unseen.T @ (moved - (a - b))).max())
    measured(cases=cases, largest_ratio=max(same), mean_ratio=np.mean(same), change_of_unseen_part=max(hidden))
    measured(largest_ratio_other_target=max(other), largest_ratio_beyond_bound=max(large))
    assert max(same) <= 1 + 1e-12
    assert np.mean(same) < 1
    assert max(hidden) < 1e-12
    assert max(other) > 1
    assert max(large) > 1  # controls


def test_expected_step_is_autograds(measured):
    """Proved, checked against PyTorch's autograd: a row's gradient under cross-entropy is the output layer times the
    difference of prediction and target, so tokens with the same row and the same target get the same step."""
    rng = np.random.default_rng(0)
    row, out, target = rng.standard_normal(6), rng.standard_normal((6, 4)), rng.dirichlet(np.ones(4))
    x = torch.tensor(row, requires_grad=True)
    F.cross_entropy(x @ torch.tensor(out), torch.tensor(target)).backward()
    error = np.abs(expected_step(row, out, target, 1) - (row - x.grad.numpy())).max()
    measured(error=error, gradient=x.grad.norm())
    assert error < 1e-14


def test_rows_of_tokens_with_equal_contexts_align(measured):
    """Measured: 80 rows of width 16 start as small random numbers with cosine 0; after 800 steps on predicting what
    follows, rows of a class whose tokens are followed by the same things have a mean cosine above 0.85; if classes do
    not matter to what follows, they stay at 0."""
    shared, control = world(), world(shared=False)
    first, table, _ = train(shared)
    _, unrelated, _ = train(control)
    before, after, without = (likeness(rows, shared[0]) for rows in (first, table, unrelated))
    measured(tokens=80, width=16, steps=800, start=0.1, before=before[0], after=after[0], control=without[0])
    measured(other_before=before[1], other_after=after[1], other_control=without[1], classes=4)
    # Over 40 seeds: after 0.919, deviation 0.008; control 0.002, deviation 0.009.
    assert after[0] > 0.919 - Z * 0.008
    assert abs(before[0]) < Z * 0.009 + 0.002
    assert abs(without[0]) < Z * 0.009 + 0.002


def test_large_start_hides_what_training_adds(measured):
    """Measured: with entries of deviation 1, the default of `nn.Embedding`, the same training leaves rows of a class
    with a mean cosine of about 0.2 and each row at a cosine near 0.9 with its start; with 0.02 it is above 0.9 and near
    0."""
    for start in (0.02, 0.1, 1.0):
        first, table, _ = train(here := world(), start=start)
        own = cosine_of_rows(first, table)
        measured(**{f"start_{start}": start, f"same_class_{start}": likeness(table, here[0])[0], f"own_{start}": own})
        # Over 40 seeds: mean and deviation of the cosine in a class and of that with the start.
        mean, spread, kept, kept_spread = {
            0.02: (0.973, 0.004, 0.032, 0.024),
            0.1: (0.919, 0.008, 0.196, 0.023),
            1.0: (0.191, 0.019, 0.870, 0.007),
        }[start]
        assert abs(likeness(table, here[0])[0] - mean) < Z * spread
        assert abs(own - kept) < Z * kept_spread
    torch_default = nn.Embedding(2000, 16).weight.std().item()
    assert abs(torch_default - 1) < Z / math.sqrt(2 * 2000 * 16)  # the default that the sentence names


def cosine_of_rows(one: np.ndarray, two: np.ndarray) -> float:
    lengths = np.linalg.norm(one, axis=1) * np.linalg.norm(two, axis=1)
    return ((one * two).sum(axis=1) / lengths).mean()


def test_rare_rows_learn_later(measured):
    """Measured, after 100 steps: with frequencies that fall as one over the rank, rows of a class have a mean cosine
    above 0.65 among the most frequent quarter of 80 tokens and below 0.5 among the rarest; with equal frequencies the
    two quarters agree; after 800 steps the rarest catch up; a token that never occurs keeps its row to the last bit."""
    classes, follows, frequency = world(zipf=True)
    frequency[-1] = 0
    quarters, found = {"frequent": slice(0, 20), "rare": slice(60, 79)}, {}
    runs = {"zipf": (frequency / frequency.sum(), 100), "equal": (world()[2], 100), "long": (world(zipf=True)[2], 800)}
    for run, (drawn, steps) in runs.items():
        first, table, used = train((classes, follows, drawn), steps=steps)
        assert used.sum() == 64 * steps  # every draw is counted
        for name, part in quarters.items():
            found[run, name] = likeness(table[part], classes[part])[0]
            measured(**{f"{run}_{name}": found[run, name], f"{run}_{name}_used": used[part].mean()})
        if run == "zipf":
            assert used[-1] == 0
            assert np.array_equal(table[-1], first[-1])
            measured(never_used_moved=np.abs(table[-1] - first[-1]).max(), tokens=len(table), steps=steps)
        measured(**{f"steps_{run}": steps})
    # Over 30 seeds, mean and deviation: 0.826 and 0.029 among the frequent, 0.299 and 0.066 among the rare after 100
    # steps; 0.732 and 0.054, 0.746 and 0.044 with equal frequencies; 0.919 and 0.011, 0.877 and 0.016 after 800.
    assert found["zipf", "frequent"] > 0.826 - Z * 0.029
    assert found["zipf", "rare"] < 0.5
    assert abs(found["equal", "frequent"] - found["equal", "rare"]) < Z * 0.07
    assert found["long", "rare"] > 0.877 - Z * 0.016


# Width


def test_one_column_names_tokens_but_width_frees_features(measured):
    """Proved by enumeration, checked against Cover's formula: with one column eight tokens can already be told apart,
    all of them by an argmax of affine scores, but one linear unit can read only 16 of the 256 ways to say yes or no
    about each; with three columns 128, with seven all 256."""
    tokens = 8
    counts = {}
    for width in (1, 2, 3, 5, 7):
        counts[width] = readable(np.random.default_rng(0).standard_normal((tokens, width)))
        assert counts[width] == 2 * sum(math.comb(tokens - 1, k) for k in range(width + 1))
    column = np.arange(tokens, dtype=np.float64)[:, None]
    scores = lookup(column, np.arange(tokens)) @ (2 * column.T) - column.T**2  # -(x - x_j)² without x²
    measured(tokens=tokens, labels=2**tokens, named_by_one_column=(scores.argmax(1) == np.arange(tokens)).sum())
    for width, count in counts.items():
        measured(**{f"width_{width}": width, f"readable_at_{width}": count})
    measured(half=counts[3] / 2**tokens, one_hot_rank=np.linalg.matrix_rank(one_hot(np.arange(tokens), tokens)))
    assert scores.argmax(1).tolist() == list(range(tokens))
    assert counts[7] == 2**tokens


# Trained tables


def test_plural_rows_lie_near_their_singulars(measured):
    """Measured on all-MiniLM-L6-v2: the rows of 2,907 words and of the same words with an s have a mean cosine of 0.67,
    and for 80 % of every tenth of them the word with the s is the nearest of all other rows, though the layer is told
    nothing of spelling; with partners exchanged and in a random table the cosine is near 0."""
    pairs = torch.tensor([(VOCABULARY[word], VOCABULARY[f"{word}s"]) for word in WORDS if f"{word}s" in VOCABULARY])
    one, two = pairs.T
    found, some = {}, slice(None, None, 10)
    for name, table in (("trained", unit(TRAINED)), ("random", unit(random_table()))):
        near, exchanged = ((table[one] * table[other]).sum(1).mean().item() for other in (two, two.roll(1000)))
        cosine = table[one[some]] @ table.T  # (291, 30522)
        cosine[torch.arange(len(cosine)), one[some]] = -1
        found[name] = near, exchanged, (cosine.argmax(1) == two[some]).float().mean().item()
    measured(searched=len(cosine))
    measured(words=len(one), cosine=found["trained"][0], exchanged=found["trained"][1], nearest=found["trained"][2])
    measured(random=found["random"][0], random_nearest=found["random"][2])
    assert found["trained"][0] > 0.6
    assert found["trained"][2] > 0.75
    # The mean of 2,907 cosines of independent rows of width 384 has deviation 1 / sqrt(384 · 2907) = 0.00095.
    assert abs(found["random"][0]) < Z * 0.00095
    assert abs(found["trained"][1]) < 0.05
    assert found["random"][2] < 0.01


def test_unused_rows_stayed_short_and_alike(measured):
    """Measured on all-MiniLM-L6-v2: the rows of 994 tokens [unused…], which no ordinary text contains, are less than
    half as long as the others and have a mean cosine of 0.82 with one another; rows of words have 0.01."""
    unused = sorted(number for token, number in VOCABULARY.items() if token.startswith("[unused"))
    words = [VOCABULARY[word] for word in WORDS]
    lengths, alike = {}, {}
    for name, rows in (("unused", unused), ("words", words)):
        total, n = unit(TRAINED)[rows].sum(0), len(rows)
        lengths[name] = TRAINED[rows].norm(dim=1).mean().item()
        alike[name] = ((total @ total - n) / (n * (n - 1))).item()  # mean cosine of all pairs
        measured(**{name: n, f"length_{name}": lengths[name], f"cosine_{name}": alike[name]})
    assert lengths["unused"] < 0.5 * lengths["words"]
    assert alike["unused"] > 0.8
    assert abs(alike["words"]) < 0.05


def test_trained_rows_find_paraphrases_before_any_layer(measured):
    """Measured on all-MiniLM-L6-v2 and twelve pairs of paraphrases: the mean of the trained rows alone finds 11 of 12
    partners, the whole model 12; a random table finds at most 1, with the trained layers or without; what the layers
    add is distance to the others."""
    found = {}
    for rows, table in (("trained", TRAINED), ("random", random_table())):
        for layers in (False, True):
            name = f"{rows}_{'with' if layers else 'without'}_layers"
            found[name] = paraphrases(table, layers)
            for kind, value in zip(("found", "own", "others"), found[name], strict=True):
                measured(**{f"{name}_{kind}": value})
    bags = [[set(bert.encode(text).tokens[0][1:-1]) for text in pair] for pair in PAIRS]
    overlap = [len(one & two) for one, two in bags]
    measured(pairs=len(PAIRS), pairs_that_share_a_token=sum(map(bool, overlap)))
    model = bert.sentence_embeddings(bert.encode([one for one, _ in PAIRS]))
    assert torch.allclose(sentence_vectors([one for one, _ in PAIRS], TRAINED), model)
    assert found["trained_without_layers"][0] >= 10
    assert found["trained_with_layers"][0] == 12
    assert max(found["random_without_layers"][0], found["random_with_layers"][0]) <= 4  # chance: one of 12
    assert found["trained_with_layers"][2] < 0.1
    assert found["trained_without_layers"][2] > 0.2


def test_uncased_vocabulary_merges_he_and_you(measured):
    """Measured with the tokenizer of all-MiniLM-L6-v2, that of BERT-base uncased: of the six characters in three
    Chinese sentences it knows one; "he" and "you" become the same [UNK], and the two sentences the same vector, as do
    two emoji; I and he stay apart."""
    i, he, you = texts = ["我爱吃饭", "他爱吃饭", "你爱吃饭"]
    batch, vectors = bert.encode(texts), bert.sentence_embeddings(bert.encode(texts))
    smile, rocket = bert.encode(["done 🙂", "done 🚀"]).token_ids
    known = {character for character in "".join(texts) if bert.encode(character).tokens[0][1] != "[UNK]"}
    merged, apart = (vectors[1] - vectors[2]).abs().max(), (vectors[0] - vectors[1]).abs().max()
    measured(characters=len(set("".join(texts))), known=len(known), unknown_in_he=batch.tokens[1].count("[UNK]"))
    measured(difference_he_you=merged, difference_i_he=apart, cosine_i_he=vectors[0] @ vectors[1])
    assert batch.tokens[1] == batch.tokens[2] == ["[CLS]", *["[UNK]"] * 4, "[SEP]"]
    assert known == {"我"}
    assert torch.equal(smile, rocket)
    assert merged < 1e-5  # the same numbers, but rows of a batch may be summed in different orders
    assert apart > 0.01  # control
    assert (i, he, you) == tuple(texts)


def test_neighbours_row_beats_any_random_start(measured):
    """Measured on all-MiniLM-L6-v2, twelve words treated as new: with a row of N(0, 1) entries, of N(0, 0.02²), or the
    mean row in place of their own the sentence vectors keep a cosine between 0.6 and 0.8 with the true ones; with the
    row of the nearest other token 0.97."""
    sentences = {
        "doctor": "the doctor examined the sick boy",
        "houses": "prices of houses are rising fast",
        "castle": "the king lives in an old castle",
        "battle": "the soldiers lost the battle at dawn",
        "computer": "my computer is too slow for this",
        "ship": "the ship sank in the ocean",
        "piano": "she plays the piano every evening",
        "storm": "a heavy storm destroyed the bridge",
        "horse": "the farmer sold his horse at the market",
        "bread": "we need fresh bread for breakfast",
        "judge": "the judge sent him to prison",
        "birds": "birds fly south before winter",
    }
    generator, kept, table, directions = torch.Generator().manual_seed(0), {}, TRAINED.clone(), unit(TRAINED)
    for word, text in sentences.items():
        row, true = VOCABULARY[word], sentence_vectors([text], TRAINED)
        cosine = directions @ directions[row]
        cosine[row] = -1
        noise = torch.randn(384, generator=generator)
        rows = {"unit": noise, "small": 0.02 * noise, "mean": TRAINED.mean(0), "near": TRAINED[cosine.argmax()]}
        for name, new in (rows | {"own": TRAINED[row]}).items():
            table[row] = new
            kept.setdefault(name, []).append((sentence_vectors([text], table) * true).sum().item())
        table[row] = TRAINED[row]
    found = {name: float(np.mean(values)) for name, values in kept.items()}
    measured(
        words=len(sentences), **found, small_deviation=0.02, length_unit=noise.norm(), length=TRAINED.norm(dim=1).mean()
    )
    assert all(0.6 < found[name] < 0.8 for name in ("unit", "small", "mean"))
    assert found["near"] > 0.93
    assert found["own"] == pytest.approx(1, abs=1e-5)  # control


def test_trained_table_uses_all_its_columns(measured):
    """Measured on all-MiniLM-L6-v2: no two rows of the table are equal; cut to its 128 leading directions of 384 it
    keeps 66 % of its variance and the sentence vectors a cosine of 0.76 with the true ones, cut to 256 one of 0.92; 128
    random directions give less, and cutting a table that has rank 128 already changes nothing."""
    texts = [text for pair in PAIRS for text in pair]
    mean, true = TRAINED.mean(0), sentence_vectors(texts, TRAINED)
    variances, directions = torch.linalg.eigh((TRAINED - mean).T @ (TRAINED - mean))
    directions = directions.flip(1)
    random = torch.linalg.qr(torch.randn(384, 384, generator=torch.Generator().manual_seed(0)))[0]
    used = bert.encode(texts).token_ids.unique()  # no other row is looked up

    def cut(table, basis, rank):  # only `rank` directions of each row's difference from the mean are kept
        kept, table = basis[:, :rank], table.clone()
        table[used] = (table[used] - mean) @ kept @ kept.T + mean
        return table

    found = {
        rank: (sentence_vectors(texts, cut(TRAINED, directions, rank)) * true).sum(1).mean().item()
        for rank in (128, 256, 384)
    }
    control = (sentence_vectors(texts, cut(TRAINED, random, 128)) * true).sum(1).mean().item()
    narrow = cut(TRAINED, directions, 128)
    again = (sentence_vectors(texts, cut(narrow, directions, 128)) * sentence_vectors(texts, narrow)).sum(1).mean()
    share = (variances.flip(0)[:128].sum() / variances.sum()).item()
    distinct = len(TRAINED.unique(dim=0))
    measured(
        distinct_rows=distinct, width=384, rank=128, twice_the_rank=256, variance_at_128=share, random_at_128=control
    )
    measured(**{f"cosine_at_{rank}": value for rank, value in found.items()}, narrow_table_cut_again=again)
    assert distinct == 30_522
    assert found[128] < found[256] < found[384] == pytest.approx(1, abs=1e-4)
    assert control < found[128] < 0.85
    assert again == pytest.approx(1, abs=1e-4)  # control: the cut itself does no harm


def test_largest_score_needs_no_distribution(measured):
    """Proved: the scores 0.1, 0.4 and 0.9 sum to 1.4, so they are no probabilities; their softmax gives the largest
    0.486, and the argmax is the same, since softmax keeps the order."""
    scores = torch.tensor([0.1, 0.4, 0.9], dtype=torch.float64)
    shares = scores.softmax(0)
    measured(total=scores.sum(), largest=shares.max(), label=scores.argmax(), total_after_softmax=shares.sum())
    assert scores.sum().item() == pytest.approx(1.4)
    assert scores.argmax() == shares.argmax() == 2
