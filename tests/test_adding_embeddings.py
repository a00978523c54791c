"""Claims of docs/questions/adding-embeddings.md."""

import functools
import itertools

import bert
import numpy as np
import pytest
import torch
import torch.nn.functional as F
from adding_embeddings import (
    SIZES,
    TRIPLES,
    add_lookups,
    compare,
    layer_norm,
    linear_read_out,
    main_directions,
    one_hots,
    parts_of,
    random_tables,
    random_triples,
    read_back,
    relu,
    search,
    second_difference,
    share,
    slow_waves,
    three_kinds,
    trained_tables,
    unexplained,
)
from masked_lm import chapters

Z = 6  # standard errors: a normal tail of 2e-9, which leaves a hundred comparisons far below 1e-6
BERT_BASE, D_MODEL = (30522, 512, 2), 768


@functools.cache
def passages() -> tuple[bert.Batch, torch.Tensor]:
    """The first 64 tokens of six chapters of the King James Bible, 200 chapters apart, and their sentence vectors."""
    texts = [text[:600] for _, text in chapters()[::200]]
    batch = bert.Batch(*(column[:, :64] for column in bert.encode(texts)))  # no [SEP]
    return batch, bert.sentence_embeddings(batch)


def cosines(one, other) -> np.ndarray:
    return F.cosine_similarity(torch.as_tensor(one), torch.as_tensor(other), dim=-1).numpy()


def test_sum_of_lookups_is_one_linear_layer(measured):
    """Proved, checked on all triples of 4 tokens, 3 positions and 2 segments in exact arithmetic: the sum of three
    lookups equals the concatenated one-hot vectors times the stacked tables, one bias-free linear layer, and also the
    summed outputs of three bias-free linear layers; with a ReLU in each of the three it does not."""
    tables = random_tables(SIZES, D_MODEL)
    added = add_lookups(TRIPLES, tables)
    one = torch.nn.Linear(sum(SIZES), D_MODEL, bias=False, dtype=torch.float64)
    one.weight.data = torch.tensor(np.vstack(tables)).T
    codes = [F.one_hot(torch.tensor(ids), size).double() for ids, size in zip(TRIPLES.T, SIZES, strict=True)]
    three = sum(F.linear(code, torch.tensor(table).T) for code, table in zip(codes, tables, strict=True))
    one = one(torch.cat(codes, dim=1)).detach()
    lookups = sum(F.embedding(torch.tensor(ids), torch.tensor(t)) for ids, t in zip(TRIPLES.T, tables, strict=True))
    bent = np.abs(add_lookups(TRIPLES, tables, relu) - added).max()
    difference = max(float((torch.tensor(added) - other).abs().max()) for other in (one, three, lookups))
    measured(triples=len(TRIPLES), tokens=SIZES[0], positions=SIZES[1], segments=SIZES[2], width=D_MODEL)
    measured(entries_of_the_code=one_hots(TRIPLES).shape[1], difference=difference, difference_with_relu=bent)
    assert np.array_equal(one_hots(TRIPLES), torch.cat(codes, dim=1).numpy())
    assert difference == 0
    assert bent > 1  # control: no longer linear


def test_concatenation_and_projection_is_a_sum(measured):
    """Proved, checked in exact arithmetic: concatenating three rows and projecting them gives a sum of lookups in
    three projected tables, and plain concatenation is a sum of lookups in tables padded with zeros, at the summed
    width."""
    rng = np.random.default_rng(0)
    widths = (6, 5, 4)
    tables = [rng.integers(-9, 9, (size, d)).astype(float) for size, d in zip(SIZES, widths, strict=True)]
    projection = rng.integers(-9, 9, (sum(widths), 8)).astype(float)
    rows = [table[ids] for table, ids in zip(tables, TRIPLES.T, strict=True)]
    concatenated = np.concatenate(rows, axis=1)  # (24, 15)
    blocks = np.split(projection, np.cumsum(widths)[:-1])
    projected = [table @ block for table, block in zip(tables, blocks, strict=True)]
    padded = [table @ block for table, block in zip(tables, np.split(np.eye(15), np.cumsum(widths)[:-1]), strict=True)]
    errors = [
        np.abs(add_lookups(TRIPLES, projected) - concatenated @ projection).max(),
        np.abs(add_lookups(TRIPLES, padded) - concatenated).max(),
    ]
    bent = np.abs(add_lookups(TRIPLES, projected, relu) - concatenated @ projection).max()
    measured(projected_error=errors[0], padded_error=errors[1], error_with_relu=bent, concatenated_width=sum(widths))
    assert errors == [0, 0]
    assert bent > 1  # control


def test_sums_fill_seven_of_24_dimensions(measured):
    """Proved, checked: a table that is a sum of three, of 4, 3 and 2 rows, has rank at most 4 + 3 + 2 - 2 = 7 and
    zero second differences, so a free table of 24 random rows is not one: 17/24 of it is out of reach; a ReLU after the
    sum already leaves that space."""
    found = {}
    for name, table in zip(("sum", "bent", "free"), three_kinds(D_MODEL).values(), strict=True):
        found[name] = np.linalg.matrix_rank(table), np.linalg.norm(second_difference(table)), unexplained(table)
        measured(**{f"{name}_rank": found[name][0], f"{name}_second_difference": found[name][1]})
        measured(**{f"{name}_unexplained": found[name][2]})
    code_rank = np.linalg.matrix_rank(one_hots(TRIPLES))
    measured(code_rank=code_rank, rows_of_three=sum(SIZES), rows_of_product=len(TRIPLES), width=D_MODEL)
    measured(out_of_reach=17, out_of_reach_share=17 / 24, summands=len(SIZES))
    assert code_rank == sum(SIZES) - (len(SIZES) - 1) == found["sum"][0] == 7
    assert found["sum"][1] == 0
    assert found["sum"][2] < 1e-25
    # The share of a 24 · 768 normal matrix in a space of 17 · 768 dimensions: Beta, standard deviation 0.0047.
    assert found["free"][2] == pytest.approx(17 / 24, abs=Z * 0.0047)
    assert found["free"][0] == found["bent"][0] == 24
    assert min(found["free"][1], found["bent"][1]) > 5


def test_small_tables_are_a_thousand_times_smaller(measured):
    """Proved, counted: three added tables of BERT-base have 31,036 rows; one table with a row for each triple would
    have 31,254,528, 1,007 times as many; in the toy it is 24 rows
    against 9."""
    tables = trained_tables()  # the vocabulary, positions and segments of BERT-base, at half its width
    rows = [len(table) for table in tables]
    added, product = sum(rows) * D_MODEL, int(np.prod(rows)) * D_MODEL
    toy = [table.size for table in random_tables(SIZES, D_MODEL)]
    measured(tokens=rows[0], positions=rows[1], segments=rows[2], rows_added=sum(rows), rows_product=int(np.prod(rows)))
    measured(width=D_MODEL, parameters_added=added, parameters_product=product, times=product // added)
    measured(toy_added=sum(toy), toy_product=three_kinds(D_MODEL)["24 free rows"].size)
    measured(toy_rows_added=sum(SIZES), toy_rows_product=len(TRIPLES), gigabytes=product * 4 / 1e9, half_width=384)
    assert tuple(rows) == BERT_BASE
    assert (sum(rows), int(np.prod(rows))) == (31_036, 31_254_528)
    assert (added, product) == (23_835_648, 24_003_477_504)
    assert (sum(toy), three_kinds(D_MODEL)["24 free rows"].size) == (6_912, 18_432)
    assert three_kinds()["24 free rows"].shape == (len(TRIPLES), D_MODEL)  # the listing's width is that of the claims


def test_sum_leaves_interactions_to_later_layers(measured):
    """Proved: no linear read-out of a sum of a token row and a position row computes exclusive-or, the best one
    says 1/2 everywhere, but one ReLU layer after the sum computes it exactly."""
    pairs = np.array(list(itertools.product((0, 1), repeat=2)))
    tables = [np.array([[0.0, 0], [1, 0]]), np.array([[0.0, 0], [0, 1]])]
    x, target = add_lookups(pairs, tables), pairs[:, 0] ^ pairs[:, 1]  # (4, 2), (4,)
    design = np.column_stack([x, np.ones(4)])
    linear = design @ np.linalg.lstsq(design, target.astype(float), rcond=None)[0]
    after = relu(x @ np.array([[1.0, -1], [-1, 1]])).sum(axis=1)
    measured(
        cases=len(pairs), linear_low=linear.min(), linear_high=linear.max(), error_after=np.abs(after - target).max()
    )
    assert np.allclose(linear, 0.5, atol=1e-12)
    assert np.array_equal(after, target)


def test_added_tables_are_defined_up_to_a_shift(measured):
    """Proved, checked in exact arithmetic: adding a vector to all token rows and taking it off all position rows
    changes no sum; with three tables two such shifts are free, which are the two dimensions missing from the rank."""
    tables = random_tables(SIZES, D_MODEL)
    shift = random_tables((1,), D_MODEL, seed=1)[0]
    shifted = add_lookups(TRIPLES, [tables[0] + shift, tables[1] - shift, tables[2]])
    control = add_lookups(TRIPLES, [tables[0] + shift, tables[1], tables[2]])
    free = sum(SIZES) - np.linalg.matrix_rank(one_hots(TRIPLES))
    changes = [np.abs(other - add_lookups(TRIPLES, tables)).max() for other in (shifted, control)]
    measured(change=changes[0], change_of_one_side=changes[1], free_shifts=free, rows=sum(SIZES))
    assert changes[0] == 0 < changes[1]
    assert free == len(SIZES) - 1


def test_three_rows_of_an_input_get_one_gradient(measured):
    """Proved, checked with PyTorch's derivative: the token, position and segment row of an input receive the same
    gradient, bit for bit, so a position that always holds the same token is trained in step with it for ever; rows that
    are combined in several ways are told apart."""
    tables = [torch.tensor(table, requires_grad=True) for table in random_tables(SIZES, 16)]
    ids = torch.tensor([[0, 0, 0], [1, 1, 0], [2, 2, 1], [0, 0, 1], [2, 1, 1]]).T  # token 0 at position 0, nowhere else
    weights = torch.tensor(random_tables((5,), 16, seed=1)[0])
    x = sum(F.embedding(column, table) for column, table in zip(ids, tables, strict=True))
    (F.layer_norm(x, (16,)).tanh() * weights).sum().backward()
    token, position, _ = (table.grad for table in tables)
    gaps = [float((token[i] - position[i]).abs().max()) for i in (0, 1)]
    measured(difference_when_tied=gaps[0], difference_when_not=gaps[1], gradient=token[0].norm())
    assert gaps[0] == 0 < float(token[0].norm())
    assert gaps[1] > 1e-3  # control: token 1 and position 1 meet other partners


def test_cls_row_and_position_zero_are_one_parameter(measured):
    """Measured on all-MiniLM-L6-v2: moving all of position 0 into the row of [CLS] changes nothing, because the two
    always occur together; moving position 1 into one token's row changes the sentence vector."""
    batch, weights = bert.encode("the river burst its bank and flooded the old mill"), bert.load_parameters()
    word, place = "embeddings.word_embeddings.weight", "embeddings.position_embeddings.weight"
    whole, changes = bert.sentence_embeddings(batch), []
    for position in (0, 1):
        tokens, positions = weights[word].clone(), weights[place].clone()
        tokens[batch.token_ids[0, position]] += positions[position]
        positions[position] = 0
        moved = bert.sentence_embeddings(batch, {**weights, word: tokens, place: positions})
        changes.append(float((moved - whole).abs().max()))
    measured(change_for_cls=changes[0], change_for_position_1=changes[1], moved_first=0, moved_second=1)
    assert changes[0] < 1e-6
    assert changes[1] > 1e-3


def test_segment_row_is_a_shared_bias(measured):
    """Measured on all-MiniLM-L6-v2: for texts of one segment, row 0 of the segment table can be moved into every
    token row without effect, but it cannot be left out: the model counts on that constant."""
    (batch, whole), weights = passages(), bert.load_parameters()
    word, segment = "embeddings.word_embeddings.weight", "embeddings.token_type_embeddings.weight"
    row = weights[segment][0]
    folded = {**weights, word: weights[word] + row, segment: weights[segment] - row}
    left_out = {**weights, segment: weights[segment] - row}
    change = float((bert.sentence_embeddings(batch, folded) - whole).abs().max())
    cosine = cosines(bert.sentence_embeddings(batch, left_out), whole).mean()
    first, second = weights[segment]
    measured(change_when_folded=change, cosine_when_left_out=cosine, passages=len(whole), tokens=batch.mask.shape[1])
    measured(cosine_of_segments=cosines(first, second).item(), distance=(first - second).norm(), length=first.norm())
    assert change < 1e-5
    assert cosine < 0.95


def test_one_dimension_is_too_few(measured):
    """Proved, enumerated: with tables of one number each, 0, 1 and 2, nine pairs have only five sums, so a common
    space does not make addition harmless; with 0, 1, 2 and 0, 3, 6 all nine differ, yet no linear layer reads them."""
    pairs = np.array(list(itertools.product(range(3), repeat=2)))
    numbers = np.arange(3.0)[:, None]
    collided = np.unique(add_lookups(pairs, [numbers, numbers]))
    spaced = add_lookups(pairs, [numbers, 3 * numbers])  # (9, 1)
    # One linear layer reads the first part if it has a score w·x + b for each value that wins on its three sums. On a
    # line every winner holds one interval: the three sums 0, 3, 6 of value 0 enclose 1 and 2, which belong to others.
    zeros = np.sort(spaced[pairs[:, 0] == 0, 0])
    enclosed = sum(zeros[0] < x < zeros[-1] for x in spaced[pairs[:, 0] != 0, 0])
    measured(pairs=len(pairs), sums=len(collided), sums_when_spaced=len(np.unique(spaced)), enclosed=enclosed)
    assert len(collided) == 5
    assert len(np.unique(spaced)) == len(pairs)
    assert enclosed > 0


def test_width_makes_random_sums_readable(measured):
    """Measured on random tables of 2,000 tokens, 512 positions and 2 segments: one linear layer, computed from the
    tables, reads nearly no token or position from sums of 3 numbers and all of them from sums of 64 or more."""
    found = {}
    for d in (3, 8, 16, 64, 384):
        found[d] = read_back(random_tables((2000, 512, 2), d))
        token, position, segment = found[d]
        measured(**{f"width_{d}": d, f"token_at_{d}": token, f"position_at_{d}": position, f"segment_at_{d}": segment})
    measured(sums=500, tokens=2000, positions=512, segments=2)
    # Over 30 seeds the shares at 3 were at most 0.016 and 0.04, those at 64 at least 0.998 and 1.
    assert max(found[3][:2]) < 0.1
    assert min(found[64][:2]) > 0.99
    assert min(found[384]) == 1
    tables = random_tables((20, 12, 2), 6)
    ids = random_triples(50, tables)
    x = add_lookups(ids, tables)
    for part in range(3):  # oracle: the nearest row, each distance measured in units of the noise
        noise = [table for other, table in enumerate(tables) if other != part]
        metric = np.linalg.inv(sum((t - t.mean(0)).T @ (t - t.mean(0)) / len(t) for t in noise))
        rest = [y - sum(t.mean(0) for t in noise) for y in x]
        nearest = [
            min(range(len(tables[part])), key=lambda r: (y - tables[part][r]) @ metric @ (y - tables[part][r]))
            for y in rest
        ]
        assert nearest == linear_read_out(x, tables, part).tolist()


def test_random_directions_are_nearly_orthogonal(measured):
    """Measured: the cosine of two random rows has standard deviation $1/\\sqrt{d}$: 0.577 at width 3, 0.036 at 768."""
    for d in (3, 64, 768):
        one, other = random_tables((2000, 2000), d)
        found = cosines(one, other)
        measured(**{f"width_{d}": d, f"deviation_at_{d}": found.std(), f"theory_at_{d}": d**-0.5})
        assert found.std() == pytest.approx(d**-0.5, rel=Z / np.sqrt(2 * 2000))  # kurtosis at most 3


def test_trained_sums_are_readable_by_one_layer(measured):
    """Measured on all-MiniLM-L6-v2: one linear layer computed from the tables reads token and position from each of
    500 random sums, and the segment from most; shown only 3 of the 384 entries it reads almost nothing."""
    found = {}
    for width in (3, 16, 64, 384):
        found[width] = read_back([table[:, :width] for table in trained_tables()])
        token, position, segment = found[width]
        measured(**{f"entries_{width}": width, f"token_at_{width}": token, f"position_at_{width}": position})
        measured(**{f"segment_at_{width}": segment})
    measured(sums=500)
    # 500 draws: an error rate of 3 % or more would leave none with a probability of 2e-7.
    assert found[384][:2] == [1, 1]
    assert found[384][2] > 0.5 + Z * 0.5 / 500**0.5  # better than a coin
    assert max(found[3][:2]) < 0.1  # control: the same layer on three numbers


def test_every_triple_is_found_by_search(measured):
    """Measured on all-MiniLM-L6-v2: from what LayerNorm makes of the sum, a search over all 31,254,528 triples
    finds the token, the position and the segment of each of twelve random inputs; from 2 of the 384 entries it finds
    none."""
    tables, weights, name = trained_tables(), bert.load_parameters(), "embeddings.LayerNorm"
    ids = random_triples(12, tables)
    token_ids, position_ids, segment_ids = torch.tensor(ids).T[:, None]  # (1, 12) each
    received = bert.embed(bert.Batch(token_ids, segment_ids, position_ids, token_ids >= 0), weights)[0]
    z = ((received - weights[f"{name}.bias"]) / weights[f"{name}.weight"]).numpy()  # its own gain and bias undone
    triples, agreement = search(z)
    found, control = triples == ids, search(z, width=2)[0] == ids
    measured(inputs=len(ids), triples=int(np.prod([len(table) for table in tables])), entries=384, few=2)
    measured(found=found.all(axis=1).sum(), found_from_two=control.all(axis=1).sum())
    measured(least_cosine=agreement.min())
    assert found.all()
    assert np.allclose(agreement, 1, atol=1e-5)  # LayerNorm is accounted for, its centring included
    assert not control.all(axis=1).any()


def test_token_stays_nearest_though_the_vector_turns(measured):
    """Measured on all-MiniLM-L6-v2, for 296 tokens: adding position 100 and segment 0 turns and lengthens the token
    row, yet of all 30,522 rows the token's own still has the largest cosine for nearly all; only position 0, an outlier
    as long as two tokens, hides half of them, and taking its row off again brings all back."""
    tokens, positions, segments = trained_tables()
    sample = np.arange(999, 30522, 100)
    unit = tokens / np.linalg.norm(tokens, axis=1, keepdims=True)
    found = {}
    for position in (0, 1, 100, 511):
        x = tokens[sample] + positions[position] + segments[0]
        kept = cosines(x, tokens[sample])
        hit = (x @ unit.T).argmax(axis=1) == sample
        longer = (np.linalg.norm(x, axis=1) / np.linalg.norm(tokens[sample], axis=1)).mean()
        found[position] = hit.mean(), kept.mean()
        measured(
            **{f"position_{position}": position, f"hits_at_{position}": hit.sum(), f"cosine_at_{position}": kept.mean()}
        )
        measured(**{f"hit_share_at_{position}": hit.mean(), f"least_cosine_at_{position}": kept.min()})
        measured(**{f"longer_at_{position}": longer})
    lengths = np.linalg.norm(positions, axis=1)
    back = tokens[sample] + positions[0] + segments[0] - (positions[0] + segments[0])
    restored = ((back @ unit.T).argmax(axis=1) == sample).mean()
    measured(sample=len(sample), rows=len(tokens), restored=restored, length_of_position_0=lengths[0])
    measured(median_position=np.median(lengths), median_token=np.median(np.linalg.norm(tokens[999:], axis=1)))
    assert found[100][1] < 0.9  # the direction does change
    assert min(found[1][0], found[100][0]) > 0.99
    assert found[0][0] < 0.7
    assert restored == 1


def test_trained_tables_keep_to_different_directions(measured):
    """Measured on all-MiniLM-L6-v2: the 12 directions in which position rows vary most hold nearly all of their
    variance and 0.4 % of that of the token rows, an eighth of what 12 random directions would hold."""
    tokens, positions, _ = trained_tables()
    held = [share(main_directions(table, positions, 12), table) for table in (positions, tokens)]
    ranks = [(np.square(np.linalg.svd(t - t.mean(0), compute_uv=False))) for t in (positions, tokens[::20])]
    used = [values.sum() ** 2 / np.square(values).sum() for values in ranks]
    centred = [table - table.mean(axis=0) for table in (tokens[::20], positions)]
    angles = np.concatenate([cosines(centred[0], row[None]) for row in centred[1][::8]])
    measured(directions=12, held_of_positions=held[0], held_of_tokens=held[1], chance=12 / 384)
    measured(dimensions_of_positions=used[0], dimensions_of_tokens=used[1], mean_cosine=angles.mean())
    measured(deviation_of_cosines=angles.std(), deviation_by_chance=384**-0.5)
    assert held[0] > 0.9
    assert held[1] < 12 / 384 / 4  # control: what chance would give
    assert angles.std() < 384**-0.5 / 2


def test_filter_fails_where_directions_succeed(measured):
    """Measured on 512 tokens of Genesis 1 with the tables of all-MiniLM-L6-v2: position and segment rows do change
    slowly along the text, but no low-pass filter, and not even the
    filter that fits the answer best, one factor for each wave and the same for all entries, gives the position
    part back, while 12 directions do; shuffling the positions destroys the spectrum and leaves the directions
    untouched."""
    token_ids = bert.encode(chapters()[0][1]).token_ids[0, :512].numpy()
    table, found = trained_tables()[1].astype(np.float64), {}
    for name in ("ordered", "shuffled"):
        token, position, segment = parts_of(token_ids, shuffled=name == "shuffled")
        x = token + position + segment
        slow = [share(slow_waves(part, 20), part) for part in (token, position, segment)]
        cuts = {k: share(slow_waves(x, k) - position, position) for k in (*range(1, 41), 64, 128, 256)}
        waves, target = (np.fft.rfft(y - y.mean(axis=0), axis=0)[1:] for y in (x, position))
        gains = (target * waves.conj()).sum(axis=1) / np.square(np.abs(waves)).sum(axis=1)  # least squares, per wave
        guess = np.fft.irfft(np.concatenate([0 * waves[:1], gains[:, None] * waves]), n=len(x), axis=0)
        lost = share(main_directions(x, table, 12) - position, position)
        found[name] = slow[1], min(cuts.values()), share(guess - position, position), lost
        keys = "position_in_slow_waves", "lost_by_best_cut", "lost_by_best_filter", "lost_by_directions"
        measured(**{f"{key}_{name}": value for key, value in zip(keys, found[name], strict=True)})
        measured(**{f"best_cut_{name}": min(cuts, key=cuts.get)})
    measured(tokens=512, slowest=20, waves=256, token_in_slow_waves=slow[0], segment_in_slow_waves=slow[2])
    measured(white=20 / 256, directions=12)
    ordered, shuffled = found["ordered"], found["shuffled"]
    assert slow[2] > 0.9 > ordered[0] > 0.4 > slow[0]  # the premise: the spectra differ
    assert ordered[2] > 2 * ordered[3]
    assert shuffled[0] < 0.1  # control: no slow waves left
    assert shuffled[3] == pytest.approx(ordered[3], abs=0.02)
    assert shuffled[1] > 1 > ordered[1] > 5 * ordered[3]
    for n in (512, 511):
        wave = np.cos(2 * np.pi * 3 * np.arange(n) / n)[:, None]  # three turns: the third slowest wave
        assert np.allclose(slow_waves(wave, 3), wave)
        assert np.allclose(slow_waves(wave, 2), 0)


def test_same_segment_is_a_hundredth_closer(measured):
    """Measured on all-MiniLM-L6-v2 for 20,000 random pairs: inputs of the same segment are closer than inputs of
    different segments, by about 0.01 of cosine."""
    tables, n = trained_tables(), 20_000
    one, other = random_triples(n, tables), random_triples(n, tables, seed=2)
    one[:, 2] = 0
    found = []
    for segment in (0, 1):
        other[:, 2] = segment
        found.append(cosines(add_lookups(one, tables), add_lookups(other, tables)))
    gain = found[0] - found[1]
    measured(pairs=n, same=found[0].mean(), different=found[1].mean(), gain=gain.mean(), gain_deviation=gain.std())
    assert gain.mean() > Z * gain.std() / n**0.5
    assert gain.mean() < 0.02


def test_three_added_tables_have_three_times_the_variance(measured):
    """Measured at width 768: under the same initialisation a sum of three rows has three times the variance of one
    row, and LayerNorm with BERT's epsilon of 1e-12 takes that scale off."""
    (wide, _), (unit, _) = compare(0), compare(0, added=False)
    x = random_tables((1000,), D_MODEL)[0] * 0.02
    differences = [np.abs(layer_norm(x, eps) - layer_norm(x * 3**0.5, eps)).max() for eps in (1e-12, 1e-5)]
    oracle = F.layer_norm(torch.tensor(x), (D_MODEL,), eps=1e-12).numpy()
    measured(variance_of_sum=wide, variance_of_row=unit, factor=3, deviation=0.02, epsilon=1e-12, large_epsilon=1e-5)
    measured(difference=differences[0], difference_with_large_epsilon=differences[1], width=D_MODEL)
    # 384,000 entries: relative standard error of a variance sqrt(2 / 384,000) = 0.0023
    assert wide == pytest.approx(3, rel=Z * 0.0023)
    assert unit == pytest.approx(1, rel=Z * 0.0023)
    assert differences[0] < 1e-6
    assert differences[1] > 0.01  # control: an epsilon that is felt
    assert np.allclose(layer_norm(x), oracle, atol=1e-9)


def test_layer_norm_keeps_shared_rows_alike(measured):
    """Measured at width 768: after LayerNorm, sums that share one or two of their three rows still have cosine 1/3
    and 2/3, while a table with a row for each triple gives 0; and sums of uniform entries keep a kurtosis of 2.6 where
    single rows keep 1.8: LayerNorm fixes each vector's mean and variance, nothing else."""
    for shared in (0, 1, 2):
        found, control = (compare(shared, added)[1] for added in (True, False))
        measured(**{f"shared_{shared}": shared, f"cosine_{shared}": found, f"own_row_{shared}": control})
        # 500 pairs, each cosine with a standard deviation of at most 1/sqrt(768) = 0.036
        assert found == pytest.approx(shared / 3, abs=Z * 0.036 / 500**0.5)
        assert control == pytest.approx(0, abs=Z * 0.036 / 500**0.5)
    rows = np.random.default_rng(0).uniform(-1, 1, (3, 500, D_MODEL))
    kurtosis = [np.mean(layer_norm(x) ** 4) for x in (rows[0], rows.sum(axis=0))]
    measured(kurtosis_of_row=kurtosis[0], kurtosis_of_sum=kurtosis[1], width=D_MODEL)
    # 384,000 entries of z⁴ with standard deviations of 2.4 and 6.1 (measured), so standard errors of at most 0.01
    assert kurtosis == pytest.approx([1.8, 2.6], abs=Z * 0.01)


def test_one_hot_code_has_no_coordinates_on_a_manifold(measured):
    """Proved, checked on all-MiniLM-L6-v2: the one-hot triples are finitely many points, not a manifold of
    |V|+|S|+|P| dimensions, and on the space of that dimension the linear map has rank 384, so it is no system of
    coordinates there."""
    stacked = np.vstack(trained_tables()).astype(np.float64)  # (31036, 384)
    values = np.linalg.eigvalsh(stacked.T @ stacked)
    rank = int((values > values.max() * 1e-10).sum())
    points = len(np.unique(one_hots(TRIPLES), axis=0))
    measured(dimensions=len(stacked), rank=rank, kernel=len(stacked) - rank, toy_points=points, least=values.min())
    assert rank == stacked.shape[1] == 384
    assert len(stacked) - rank > 30_000
    assert points == 24


def score_terms(batch: bert.Batch) -> dict[tuple[str, str], torch.Tensor]:
    """First layer's scores as nine terms, (batch, heads, n, n): part of the query times part of the key.

    LayerNorm divides a sum by one number, so it splits as the sum does. Segment row and biases are one part, "rest".
    """
    weights = bert.load_parameters()
    sums = bert.embed(batch, weights, normalise=lambda name, x, parameters: x)

    def share_of_layer_norm(name, x, parameters):
        centred = x - x.mean(-1, keepdim=True)
        return centred / sums.std(-1, correction=0, keepdim=True) * parameters[f"{name}.weight"]

    parts = {table: bert.embed(batch, weights, share_of_layer_norm, (table,)) for table in ("word", "position")}
    parts["rest"] = bert.embed(batch, weights) - parts["word"] - parts["position"]

    def project(which: str, part: str) -> torch.Tensor:
        name = f"encoder.layer.0.attention.self.{which}"
        bias = weights[f"{name}.bias"] if part == "rest" else None
        return bert.split_heads(F.linear(parts[part], weights[f"{name}.weight"], bias))

    pairs = itertools.product(parts, repeat=2)
    return {(q, k): project("query", q) @ project("key", k).mT / 32**0.5 for q, k in pairs}


TERMS = {
    "tokens": [("word", "word")],
    "places": [("position", "position")],
    "mixed": [("word", "position"), ("position", "word")],
}


def test_mixed_terms_are_the_smallest_not_nothing(measured):
    """Measured on all-MiniLM-L6-v2, six passages of 64 tokens: the first layer's scores split exactly into products
    of parts; leaving out the mixed terms, token with position, moves attention and sentence vectors less than leaving
    out token with token or position with position, but in one head they carry a large share of the variance."""
    batch, whole = passages()
    terms, seen = score_terms(batch), []

    def without(pairs):
        weights = sum(term for pair, term in terms.items() if pair not in pairs).softmax(-1)

        def attention(layer, *given):
            seen.append(bert.attention_weights(layer, *given))
            return weights if layer == 0 else seen[-1]

        vectors = bert.sentence_embeddings(batch, attention=attention)
        return weights, float(cosines(vectors, whole).mean())

    untouched, same = without([])
    original = seen[0]
    centred = {pair: term - term.mean(-1, keepdim=True) for pair, term in terms.items()}  # softmax sees no row mean
    total = sum(centred.values()).square().sum((0, 2, 3))  # (heads,)
    measured(
        passages=len(whole),
        tokens=batch.mask.shape[1],
        error=float((untouched - original).abs().max()),
        cosine_untouched=same,
    )
    moved, cosine = {}, {}
    for name, pairs in TERMS.items():
        weights, cosine[name] = without(pairs)
        moved[name] = float((weights - original).abs().sum(-1).mean() / 2)  # total variation
        shares = sum(centred[pair] for pair in pairs).square().sum((0, 2, 3)) / total
        measured(**{f"{name}_median_share": shares.median(), f"{name}_largest_share": shares.max()})
        measured(**{f"{name}_moved": moved[name], f"{name}_cosine": cosine[name]})
    assert torch.allclose(untouched, original, atol=1e-5)  # control: nothing left out
    assert moved["mixed"] < min(moved["tokens"], moved["places"])
    assert cosine["mixed"] > max(cosine["tokens"], cosine["places"])
    assert shares.max() > 0.2


def test_meaning_survives_other_addends(measured):
    """Measured on all-MiniLM-L6-v2, six passages of 64 tokens: other position and segment rows move the sentence
    vector little, compared with position rows in random order or no token rows at all."""
    (batch, whole), weights = passages(), bert.load_parameters()
    word, place = "embeddings.word_embeddings.weight", "embeddings.position_embeddings.weight"
    order = torch.randperm(512, generator=torch.Generator().manual_seed(0))

    def cosine(positions=0, segment=0, parameters=weights):
        position_ids = batch.position_ids + positions * (batch.position_ids > 0)  # [CLS] stays at 0
        changed = bert.Batch(batch.token_ids, batch.segment_ids + segment, position_ids, batch.mask)
        return float(cosines(bert.sentence_embeddings(changed, parameters), whole).mean())

    found = {f"shifted_by_{by}": cosine(positions=by) for by in (0, 10, 100, 300)}
    found |= {"segment_1": cosine(segment=1), "no_tokens": cosine(parameters={**weights, word: 0 * weights[word]})}
    found |= {"random_places": cosine(parameters={**weights, place: weights[place][order]})}
    found |= {"no_places": cosine(parameters={**weights, place: 0 * weights[place]})}
    others = (whole @ whole.T)[~torch.eye(len(whole), dtype=torch.bool)].mean()
    measured(
        passages=len(whole), tokens=batch.mask.shape[1], other_passages=others, few=10, more=100, many=300, **found
    )
    assert found["shifted_by_0"] == pytest.approx(1, abs=1e-5)
    assert found["segment_1"] > 0.95
    assert found["shifted_by_10"] > found["random_places"]
    assert found["no_tokens"] < others
