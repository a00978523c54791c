"""Claims of docs/questions/output-layer.md."""

import itertools

import bert
import numpy as np
import pytest
import torch
import torch.nn.functional as F
from output_layer import (
    ANSWERS,
    ARMS,
    LIFT,
    POINTS,
    SHIFT,
    STATE,
    TABLE,
    TEXTS,
    UNIT,
    WORDS,
    batch_of_states,
    entropy,
    fit_bias,
    linear_rest,
    log_normaliser,
    logits,
    loss_and_gradients,
    loss_in_blocks,
    mlm_head,
    multiplications,
    pairs_in_the_plane,
    random_head,
    reached,
    read_layers,
    rows_on_a_curve,
    softmax,
    state_for,
)

GAIN = "encoder.layer.5.output.LayerNorm.weight"
TINY = {"hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 32}


def word_table() -> torch.Tensor:
    """The word table of all-MiniLM-L6-v2, (30522, 384), in double precision."""
    return bert.load_parameters()[WORDS].double()


def final_states(texts: list[str]) -> torch.Tensor:
    """Final states of the tokens, (tokens, 384), in double precision."""
    batch = bert.encode(texts)
    return bert.run_bert(batch).hidden_states[-1][batch.mask].double()


def test_logits_become_probabilities_through_softmax(measured):
    """Proved, by example and against PyTorch: logits can be negative and need not add up to 1; softmax turns them into
    positive numbers that do, in the same order, with $e^{z_i - z_j}$ as the ratio of two; and the elementwise product
    of states and transposed table is not defined."""
    scores = logits(STATE, TABLE)
    p = softmax(scores)
    measured(total=scores.sum(), lowest=scores.min(), total_of_probabilities=p.sum(), one=1)
    measured(cat=scores[0], the=scores[3], gap=scores[0] - scores[3], ratio=p[0] / p[3], p_cat=p[0], p_the=p[3])
    assert scores.min() < 0
    assert abs(scores.sum() - 1) > 0.5
    assert p.sum() == pytest.approx(1, abs=1e-15)
    assert np.allclose(p, torch.tensor(scores).softmax(0).numpy(), rtol=1e-14)
    assert (np.argsort(p) == np.argsort(scores)).all()
    assert p[0] / p[3] == pytest.approx(np.exp(scores[0] - scores[3]))
    with pytest.raises(ValueError, match="broadcast"):
        batch_of_states()[0] * TABLE.T  # (n, d) * (d, V)


def test_vector_added_to_all_rows_shows_at_the_input_only(measured):
    """Proved, and measured on all-MiniLM-L6-v2: adding one vector to every row of the table changes all logits of a
    state alike, so no probability; read as embeddings, the same rows give other sentence vectors."""
    plain, moved = logits(STATE, TABLE), logits(STATE, TABLE + SHIFT)
    measured(logit=plain[0], logit_moved=moved[0], probability=softmax(plain)[0], probability_moved=softmax(moved)[0])
    assert np.allclose(softmax(moved), softmax(plain), rtol=1e-12)
    assert np.allclose(moved - plain, STATE @ SHIFT)
    table, states, batch = word_table(), final_states(TEXTS), bert.encode(TEXTS)
    row = table[bert.load_tokenizer().token_to_id("the")]
    change = (logits(states, table + row).softmax(1) - logits(states, table).softmax(1)).abs().max().item()
    one_row = table.clone()
    one_row[2000] += row
    control = (logits(states, one_row).softmax(1) - logits(states, table).softmax(1)).abs().max().item()
    other = bert.sentence_embeddings(batch, {**bert.load_parameters(), WORDS: (table + row).float()})
    cosine = (bert.sentence_embeddings(batch) * other).sum(1).mean().item()
    measured(change=change, change_if_one_row_moves=control, cosine_at_the_input=cosine)
    assert change < 1e-12
    assert control > 1e-6
    assert cosine < 0.9


def test_exponentials_overflow_unless_the_maximum_is_subtracted(measured):
    """Proved, in the arithmetic of the machine: the exponential of a logit overflows above 709.8 in double, 88.7 in
    single and 11.1 in half precision; with the maximum subtracted it never does; and taking the logarithm of a finished
    softmax gives minus infinity where the logarithm of the sum gives the answer."""
    for name, kind in (("double", np.float64), ("single", np.float32), ("half", np.float16)):
        limit = float(np.log(np.float64(np.finfo(kind).max)))
        measured(**{f"limit_{name}": limit})
        with np.errstate(over="ignore"):
            assert np.isfinite(np.exp(kind(limit * 0.999)))
            assert np.isinf(np.exp(kind(limit * 1.001)))
            too_large = np.array([limit * 1.01, 0, 0], dtype=kind)
            assert np.isinf(log_normaliser(too_large, shifted=False))  # control
        assert log_normaliser(too_large) == pytest.approx(float(too_large[0]), rel=1e-3)
    two_states = np.array([[2000.0, 0.0], [0.0, 0.0]])  # the maximum of each, not of all: no logarithm of zero
    assert np.allclose(log_normaliser(two_states)[:, 0], [2000, np.log(2)])
    scores = np.array([[200.0, 0.0]], dtype=np.float32)
    with np.errstate(divide="ignore"):
        late = float(np.log(softmax(scores))[0, 1])
    early = float((scores - log_normaliser(scores))[0, 1])
    measured(gap=200, log_probability=early)
    assert late == -np.inf
    assert early == F.log_softmax(torch.tensor(scores), 1)[0, 1].item() == -200


def test_bfloat16_steps_by_an_eighth_between_16_and_32(measured):
    """Proved, by listing all of them: between 16 and 32 neighbouring bfloat16 numbers are 0.125 apart, so logits of
    20.00 and 20.05 tie, and the ratio of two probabilities can be off by 13 %; in single precision it is off by less
    than a millionth part."""
    bits = torch.arange(2**16, dtype=torch.int32).to(torch.int16)
    every = bits.view(torch.bfloat16).float()
    steps = every[(every >= 16) & (every <= 32)].sort().values.diff().unique()
    pair = torch.tensor([20.0, 20.05])
    rounded = pair.bfloat16().float()
    fine = torch.linspace(16, 32, 100_001, dtype=torch.float64)
    errors = {kind: (fine.to(kind).double() - fine).abs().max().item() for kind in (torch.bfloat16, torch.float32)}
    ratio, control = (np.exp(2 * errors[kind]) - 1 for kind in (torch.bfloat16, torch.float32))
    measured(low=16, high=32, step=steps.item(), first=pair[0].item(), second=pair[1].item(), worst_ratio=ratio)
    measured(gap_left=(rounded[1] - rounded[0]).item(), true_ratio=np.exp(0.05), worst_ratio_single=control)
    assert steps.item() == 0.125
    assert rounded[0] == rounded[1]
    assert pair[0] != pair[1]  # control: single precision tells them apart
    assert ratio == pytest.approx(np.exp(0.125) - 1, rel=1e-3)
    assert control < 1e-5


def test_output_error_is_the_expected_row_minus_the_answers(measured):
    """Proved, checked against PyTorch's derivative: the gradient of the cross-entropy is $p - y$ at the logits and at
    the bias, and at the state the mean row under $p$ minus the row of the answer; over all rows of the table the
    gradient adds up to zero, as that of a squared error does not."""
    rng = np.random.default_rng(0)
    states, table, bias = rng.standard_normal((5, 6)), rng.standard_normal((20, 6)), rng.standard_normal(20)
    answers = np.array([3, 1, 4, 1, 5], dtype=np.int64)
    loss, errors, *gradients = loss_and_gradients(states, table, answers, bias)
    leaves = [torch.tensor(part, requires_grad=True) for part in (states, table, bias)]
    scores = leaves[0] @ leaves[1].T + leaves[2]
    scores.retain_grad()
    oracle = F.cross_entropy(scores, torch.tensor(answers))
    oracle.backward()
    worst = max(np.abs(leaf.grad.numpy() - part).max() for leaf, part in zip(leaves, gradients, strict=True))
    squared = torch.autograd.grad(((leaves[0] @ leaves[1].T) ** 2).mean(), leaves[1])[0].sum(0).abs().max().item()
    measured(difference=worst, sum_over_rows=np.abs(gradients[1].sum(axis=0)).max(), sum_for_squares=squared)
    assert loss == pytest.approx(oracle.item(), rel=1e-13)
    assert np.allclose(errors, scores.grad.numpy(), atol=1e-15)
    assert worst < 1e-14
    expected = softmax(logits(states, table, bias)) @ table  # the mean row under p
    assert np.allclose(gradients[0] * len(answers), expected - table[answers])
    assert np.abs(gradients[1].sum(axis=0)).max() < 1e-15
    assert squared > 1e-2  # control


def test_output_layer_over_fixed_states_is_convex(measured):
    """Proved, checked on a small case: for fixed states the cross-entropy is convex in the table and two starts end at
    one loss with one table up to a common row; a squared error on the probabilities is not convex, and neither is the
    cross-entropy once the states move too."""
    rng = np.random.default_rng(0)
    states, answers = rng.standard_normal((40, 2)), rng.integers(0, 4, 40, dtype=np.int64)
    x, y = torch.tensor(states), torch.tensor(answers)
    losses = {
        "table": lambda w: F.cross_entropy(x @ w[:8].view(4, 2).T, y),
        "squares": lambda w: (F.one_hot(y, 4) - (x @ w[:8].view(4, 2).T).softmax(1)).square().sum(1).mean(),
        "both": lambda w: F.cross_entropy(w[8:].view(40, 2) @ w[:8].view(4, 2).T, y),
    }
    lowest = dict.fromkeys(losses, np.inf)
    for _, (name, loss) in itertools.product(range(5), losses.items()):
        start = torch.tensor(2 * rng.standard_normal(88))[: 88 if name == "both" else 8]
        curvature = torch.linalg.eigvalsh(torch.autograd.functional.hessian(loss, start)).min().item()
        lowest[name] = min(lowest[name], curvature)
    ends, tables = [], []
    for seed in (1, 2):
        table = 3 * np.random.default_rng(seed).standard_normal((4, 2))
        for _ in range(1500):
            table -= 2 * loss_and_gradients(states, table, answers)[3]
        ends.append(loss_and_gradients(states, table, answers)[0])
        tables.append(table - table.mean(axis=0))
    measured(**{f"lowest_curvature_{name}": value for name, value in lowest.items()})
    measured(
        loss=ends[0], loss_difference=abs(ends[0] - ends[1]), table_difference=np.abs(np.diff(tables, axis=0)).max()
    )
    assert lowest["table"] > -1e-12
    assert lowest["squares"] < -1e-2
    assert lowest["both"] < -1e-3
    assert ends[0] == pytest.approx(ends[1], abs=1e-9)
    assert np.allclose(*tables, atol=1e-4)


def test_best_bias_without_a_context_is_the_log_frequency(measured):
    """Proved, checked by gradient descent: if the states say nothing, the best bias is the logarithm of each token's
    frequency up to a constant, and the loss is the entropy of the frequencies; without a bias it stays at $\\ln V$."""
    shares = np.bincount(ANSWERS) / len(ANSWERS)
    bias = fit_bias(ANSWERS, 4)
    states, table = np.zeros((len(ANSWERS), 1)), np.ones((4, 1))
    with_bias, without = (loss_and_gradients(states, table, ANSWERS, b)[0] for b in (bias, 0.0))
    log_shares = np.log(shares) - np.log(shares).mean()
    measured(
        tokens=4, loss=with_bias, entropy=entropy(shares), loss_without=without, log_bert_vocabulary=np.log(30_522)
    )
    measured(vocabulary=30_522, bias_the=bias[3], share_the=shares[3], bias_sat=bias[2], share_sat=shares[2])
    assert np.allclose(bias, log_shares, atol=1e-6)
    assert with_bias == pytest.approx(entropy(shares), abs=1e-9)
    assert without == pytest.approx(np.log(4), abs=1e-12)  # control


def test_temperature_keeps_the_order_and_raises_the_entropy(measured):
    """Proved, checked on an example and 200 random ones: dividing the logits by a temperature keeps their order; the
    entropy grows with it, at the rate of the variance of the divided logits per unit of log temperature; equal logits
    do not notice; and it is the same as dividing the state."""
    scores = logits(STATE, TABLE)
    for temperature in (0.1, 0.5, 1, 2, 10):
        p = softmax(scores, temperature)
        measured(**{f"top_at_{temperature}": p.max(), f"entropy_at_{temperature}": entropy(p)})
        measured(**{f"temperature_{temperature}": temperature})
        assert (np.argsort(p) == np.argsort(scores)).all()
        assert np.allclose(softmax(logits(STATE / temperature, TABLE)), p, rtol=1e-12)
    measured(tokens=4, entropy_of_uniform=np.log(4))
    step, worst = 1e-5, 0.0
    for z in np.random.default_rng(0).standard_normal((200, 10)) * 3:
        p = softmax(z)
        slope = (entropy(softmax(z, np.exp(step))) - entropy(softmax(z, np.exp(-step)))) / (2 * step)
        worst = max(worst, abs(slope - ((p * z**2).sum() - (p * z).sum() ** 2)))
        assert slope > 0
    measured(worst_error_of_the_slope=worst)
    assert worst < 1e-7
    assert entropy(softmax(np.ones(4), 0.1)) == pytest.approx(entropy(softmax(np.ones(4), 10)))  # control


def test_unit_rows_and_states_cannot_be_sure(measured):
    """Proved: if rows and state have length 1, no token of 30,522 gets more than $1 / (1 + (V - 1) e^{-2})$, and the
    loss never falls below 8.3; a factor of 7.5 before softmax allows 99 %, one of 20 any certainty."""
    n, row = 30_522, np.array([[1.0, 0.0]])
    table = np.concatenate([row, np.tile(-row, (n - 1, 1))])  # the best case: all others point the other way
    factor = np.log((n - 1) * 99) / 2
    bound, enough, sure = (softmax(factor * logits(row, table))[0, 0] for factor in (1, factor, 20))
    measured(tokens=n, bound=bound, loss=-np.log(bound), factor=factor, enough=enough, larger=20, left=1 - sure)
    assert bound == pytest.approx(1 / (1 + (n - 1) * np.exp(-2)))
    rows = np.random.default_rng(0).standard_normal((n, 8))
    rows /= np.linalg.norm(rows, axis=1, keepdims=True)
    assert softmax(logits(rows[:100], rows)).max() < bound
    assert enough == pytest.approx(0.99)
    assert 1 - sure < 1e-9  # control


def test_log_probabilities_have_at_most_the_rank_of_width_and_one(measured):
    """Proved, checked at width 8 with 100 tokens and 300 states: the logits have rank 8, the log-probabilities 9, with
    a bias 9 and 10, after a LayerNorm without a shift 7 and 8; the average of two softmaxes has all 100."""
    rng = np.random.default_rng(0)
    states, tables, bias = rng.standard_normal((300, 8)), rng.standard_normal((2, 100, 8)), rng.standard_normal(100)
    normal = (states - states.mean(axis=1, keepdims=True)) / states.std(axis=1, keepdims=True)
    arms = {"plain": (states, 0.0), "biased": (states, bias), "normalised": (normal, 0.0)}
    rank = {}
    for name, (x, b) in arms.items():
        scores = logits(x, tables[0], b)
        rank[name] = tuple(int(np.linalg.matrix_rank(part)) for part in (scores, scores - log_normaliser(scores)))
        measured(**{f"logits_{name}": rank[name][0], f"log_probabilities_{name}": rank[name][1]})
    mixture = np.log((softmax(logits(states, tables[0])) + softmax(logits(states, tables[1]))) / 2)
    measured(width=8, tokens=100, states=300, mixture=np.linalg.matrix_rank(mixture))
    assert rank == {"plain": (8, 9), "biased": (9, 10), "normalised": (7, 8)}
    assert np.linalg.matrix_rank(mixture) == 100  # control


def test_row_inside_the_others_never_wins_without_a_bias(measured):
    """Proved, checked on a grid of 90,601 states: a row that is a weighted mean of the others has at no state the
    largest logit; with a bias it has it for short states only; stretched to the length of the others, in a sector."""
    inside, others = POINTS[4], POINTS[:4]
    system = np.vstack([others[:3].T, np.ones(3)])
    shares = np.linalg.solve(system, np.append(inside, 1))  # of the first three rows: all positive
    grid = np.linspace(-3, 3, 301)
    plane = np.stack(np.meshgrid(grid, grid), axis=-1)
    arms = {"plain": (POINTS, 0.0), "biased": (POINTS, LIFT), "unit": (UNIT, 0.0)}
    won = {name: (logits(plane, *arm).argmax(axis=-1) == 4).mean() for name, arm in arms.items()}
    highest = softmax(logits(plane, POINTS))[..., 4].max()
    turn = np.linspace(0, 2 * np.pi, 1001)
    circle = np.stack([np.cos(turn), np.sin(turn)], axis=-1)
    short, long = ((logits(r * circle, POINTS, LIFT).argmax(axis=1) == 4).mean() for r in (1, 3))
    measured(short=1, long=3, won_when_short=short, won_when_long=long)
    measured(states=plane[..., 0].size, bias=LIFT[4], highest_probability=highest, length=1)
    measured(least_share=shares.min(), **{f"won_{name}": share for name, share in won.items()})
    assert shares.min() > 0
    assert np.allclose(shares @ others[:3], inside)
    assert won["plain"] == 0
    assert highest < 0.5
    assert long == 0 < short
    assert min(won["biased"], won["unit"]) > 0.05  # controls


def test_width_four_levels_any_two_tokens(measured):
    """Proved, by construction: with the rows $(x, x^2)$ each single token can be put first, whatever the number of
    tokens, but of the pairs only as many as there are tokens can share the top; with $(x, x^2, x^3, x^4)$ each pair
    can, at probabilities as near to one half each as one likes."""
    for n in (8, 32):
        pairs = n * (n - 1) // 2
        plane = pairs_in_the_plane(rows_on_a_curve(n, 2)[1])
        alone, level = reached(n, 1), reached(n, 2)
        measured(**{f"tokens_{n}": n, f"pairs_{n}": pairs, f"alone_{n}": alone, f"plane_{n}": plane})
        measured(**{f"level_{n}": level})
        assert alone == plane == n
        assert level == pairs
    x, table = rows_on_a_curve(8, 4)
    p = softmax(1000 * logits(state_for(x, (1, 5)), table))
    measured(narrow=2, wide=4, half=p[1], other_half=p[5])
    assert p[[1, 5]] == pytest.approx([0.5, 0.5], abs=1e-6)
    # control: at width 2 a third token is at least as high wherever two tokens that are no neighbours are level
    flat = rows_on_a_curve(8, 2)[1]
    across = np.array([[0, 1], [-1, 0]]) @ (flat[1] - flat[5])
    assert all(np.delete(logits(side * across, flat), (1, 5)).max() > (flat[1] @ across) * side for side in (1, -1))


def test_log_probabilities_give_the_state_back(measured):
    """Measured on all-MiniLM-L6-v2, its word table used as the output layer: the pseudo-inverse of the centred table
    recovers all final states from their log-probabilities, even from 400 of the 30,522, with a relative error below a
    billionth; the transposed table does not."""
    table, states = word_table(), final_states(TEXTS)
    log_p = logits(states, table).log_softmax(1)  # (n, V)
    every = torch.arange(len(table))
    some = every[torch.randperm(len(table), generator=torch.Generator().manual_seed(0))[:400]]
    error = {}
    for name, tokens in (("every", every), ("some", some)):
        rows, scores = table[tokens], log_p[:, tokens]
        rows, scores = rows - rows.mean(0), scores - scores.mean(1, keepdim=True)
        back = torch.linalg.solve(rows.T @ rows, rows.T @ scores.T).T
        error[name] = ((back - states).norm() / states.norm()).item()
        if name == "every":
            turned = F.cosine_similarity(scores @ rows, states).mean().item()
    measured(tokens=len(table), width=table.shape[1], some_tokens=len(some), cosine_of_transposed=turned)
    measured(**{f"error_from_{name}": value for name, value in error.items()})
    measured(billionth=1e-9)
    assert max(error.values()) < 1e-9
    assert turned < 0.9  # control


def random_texts() -> bert.Batch:
    """Eight texts of 64 random tokens: 512 different states."""
    token_ids = torch.randint(1000, 30_000, (8, 64), generator=torch.Generator().manual_seed(0))
    zero = torch.zeros_like(token_ids)
    return bert.Batch(token_ids, zero, torch.arange(64).expand_as(token_ids), zero == 0)


def test_log_probabilities_betray_the_live_width(measured):
    """Measured on all-MiniLM-L6-v2, its word table used as the output layer: the log-probabilities of 1,000 tokens at
    512 positions have 381 singular values above noise, not 384, as three gains of the last LayerNorm are zero; with
    these set to 0.5 they have 384, and averaged with those of a second table more than that."""
    chosen = torch.randperm(30_522, generator=torch.Generator().manual_seed(0))[:1000]
    tables = word_table()[chosen], word_table()[chosen.flip(0)]
    gain = bert.load_parameters()[GAIN]
    dead = gain.abs() < 1e-8
    widths, gaps = {}, {}
    for name, weight, mixed in (
        ("trained", gain, False),
        ("filled", torch.where(dead, 0.5, gain), False),
        ("mixture", gain, True),
    ):
        run = bert.run_bert(random_texts(), {**bert.load_parameters(), GAIN: weight}, keep_weights=False)
        states = run.hidden_states[-1].flatten(0, 1).double()  # (512, 384)
        p = sum(logits(states, table).softmax(1) for table in tables[: 1 + mixed]) / (1 + mixed)
        values = torch.linalg.svdvals(p.log() - p.log().mean(1, keepdim=True))
        widths[name] = int((values > 1e-5 * values[0]).sum())
        gaps[name] = (values[widths[name] - 1] / values[min(widths[name], 511)]).item()
    measured(positions=len(states), tokens=len(chosen), d=384, dead=dead.sum(), next_gain=gain[~dead].abs().min())
    measured(edge=gaps["trained"], **{f"width_{name}": width for name, width in widths.items()})
    assert widths["trained"] == 384 - dead.sum() == 381
    assert widths["filled"] == 384
    assert min(gaps["trained"], gaps["filled"]) > 1e4
    assert widths["mixture"] > 400  # control


def test_mlm_head_equals_the_library_and_has_622650_parameters(measured, transformers):
    """Proved, checked against BertForMaskedLM: the head of BERT is a dense layer, GELU, LayerNorm, the word table and a
    bias per token; beyond the table BERT-base has 622,650 parameters in it, 2.6 % of the layer."""
    torch_state = torch.random.get_rng_state()
    model = transformers.BertForMaskedLM(transformers.BertConfig(vocab_size=50, **TINY)).eval()
    torch.random.set_rng_state(torch_state)
    generator = torch.Generator().manual_seed(0)
    for weight in model.parameters():
        weight.data = torch.randn(weight.shape, generator=generator)
    head = model.cls.predictions
    norm = head.transform.LayerNorm
    dense = head.transform.dense
    weights = (dense.weight, dense.bias, norm.weight, norm.bias, model.bert.embeddings.word_embeddings.weight)
    states = torch.randn(3, 7, 16, generator=generator)
    with torch.no_grad():
        ours, _ = mlm_head(states, (*weights, head.decoder.bias))
        difference = (ours - head(states)).abs().max().item()
        without = (
            (mlm_head(states, (*weights, head.decoder.bias), *ARMS["no GELU"])[0] - head(states)).abs().max().item()
        )
    with torch.device("meta"):
        base = transformers.BertForMaskedLM(transformers.BertConfig())
    table = base.bert.embeddings.word_embeddings.weight
    own = sum(weight.numel() for weight in base.cls.parameters() if weight is not table)
    share = own / (own + table.numel())
    measured(difference=difference, difference_without_gelu=without, own=own, table=table.numel(), share=share)
    assert difference < 1e-4
    assert without > 1  # control
    assert own == 768 * 768 + 768 + 2 * 768 + 30_522


def test_mlm_head_without_gelu_and_norm_is_one_table(measured):
    """Proved, and measured on random weights of width 64: without GELU and LayerNorm BERT's head equals one other
    table; with them it does not, but the rank of its logits is still at most the width, and 63 after a norm without
    shift, which gives each state the length $\\sqrt{d}$."""
    states, weights = random_head()
    found = {}
    for name, arm in ARMS.items():
        scores, inner = mlm_head(states, weights, *arm)
        low, high = (value.item() for value in inner.norm(dim=1).aminmax())
        rest = round(linear_rest(states, scores), 20)  # below that is rounding, which differs from run to run
        found[name] = int(torch.linalg.matrix_rank(scores)), rest, low, high
        keys = (f"{key}_{name.replace(' ', '_')}" for key in ("rank", "rest", "low", "high"))
        measured(**dict(zip(keys, found[name], strict=True)))
    folded = weights[4] @ weights[0]  # (V, d): the table times the dense layer
    same = (states @ folded.T - mlm_head(states, weights, *ARMS["neither"])[0]).abs().max().item()
    measured(width=64, difference_to_one_table=same)
    assert same < 1e-12
    assert found["neither"][1] < 1e-20
    assert found["as in BERT"][1] > 0.1
    assert [found[name][0] for name in ARMS] == [63, 63, 64, 64]
    assert found["as in BERT"][2:] == pytest.approx((8, 8))
    assert found["no LayerNorm"][3] > 2 * found["no LayerNorm"][2]  # control


def test_vocabulary_projection_costs_three_layers(measured, transformers):
    """Proved, counted in BertForMaskedLM: per position BERT-base's projection multiplies 23,440,896 times with weights,
    3.3 times as often as a layer; at 15 % of the positions the head adds 4 % to the 12 layers, and its logits are 39.7
    times as large as the states."""
    with torch.device("meta"):
        model = transformers.BertForMaskedLM(transformers.BertConfig()).eval()
        counts = {}
        for name, module in model.named_modules():
            if isinstance(module, torch.nn.Linear):
                part = name.split(".")[0] if "decoder" not in name else "decoder"
                counts[part] = counts.get(part, 0) + module.weight.numel()  # a position passes each layer once
    layers, dense, projection = multiplications(768, 30_522, 12)
    assert counts == {"bert": layers, "cls": dense, "decoder": projection}
    measured(layers=layers, layer=layers // 12, projection=projection, in_layers=projection / (layers / 12))
    measured(n_layers=12, share=projection / layers, at_15=0.15 * (dense + projection) / layers, rate=0.15)
    measured(ratio=30_522 / 768, batch=32, positions=512, vocabulary=30_522)
    numbers = 32 * 512 * 30_522
    measured(gigabytes=4 * numbers / 1e9, gigabytes_at_15=0.15 * 4 * numbers / 1e9, states=4 * 32 * 512 * 768 / 1e9)
    large = multiplications(1024, 30_522, 24)
    measured(share_of_large=large[2] / large[0])
    assert 3 < projection / (layers / 12) < 3.5
    assert large[2] / large[0] < projection / layers / 2  # control: a larger model notices it less


def test_loss_in_blocks_needs_no_full_logits(measured):
    """Proved, checked against PyTorch: the loss over 30,522 tokens can be computed from 512 columns of logits at a
    time, with a sixtieth of the numbers held, and is the same; with a block left out it is not."""
    states, table, answers = batch_of_states()
    oracle = F.cross_entropy(torch.tensor(states @ table.T), torch.tensor(answers)).item()
    for block in (30_522, 4096, 512):
        loss, largest = loss_in_blocks(states, table, answers, block)
        measured(**{f"block_{block}": block, f"loss_{block}": loss, f"largest_{block}": largest})
        assert loss == pytest.approx(oracle, rel=1e-13)
        assert largest == 32 * block
    first = 512 * np.arange(len(states))  # the first token of each of 32 blocks
    oracle = F.cross_entropy(torch.tensor(states @ table.T), torch.tensor(first)).item()
    assert loss_in_blocks(states, table, first, 512)[0] == pytest.approx(oracle, rel=1e-13)
    within = answers % 30_000  # answers that the shortened table still has
    short, full = (loss_in_blocks(states, rows, within, 512)[0] for rows in (table[:30_000], table))
    measured(held=30_522 / 512, shortened=short, not_shortened=full)
    assert abs(short - full) > 1e-3  # control


def test_minilm_states_read_as_their_own_tokens(measured):
    """Measured on all-MiniLM-L6-v2: with its word table as the output layer each state reads as the token that it
    stands on up to layer 2, with rows of length 1 up to layer 4; then the share falls; random rows never do it."""
    table = bert.load_parameters()[WORDS]
    other = torch.randn(table.shape, generator=torch.Generator().manual_seed(0))
    arms = {"raw": table, "unit": F.normalize(table), "random": other}
    share = {name: read_layers(TEXTS, rows) for name, rows in arms.items()}
    for name, layers in share.items():
        measured(**{f"{name}_{layer}": value for layer, value in enumerate(layers)})
    measured(last_raw=2, last_unit=4, layers=6)
    assert share["raw"][:3] == [1, 1, 1]
    assert share["unit"][:5] == [1] * 5
    assert share["raw"][6] < 0.7
    assert share["unit"][6] < 0.9
    assert max(share["random"]) < 0.05  # control


MASKED = {
    "the river burst its [MASK] after a week of rain": "bank",
    "she asked the [MASK] for a loan because the roof was leaking": "bank",
    "the capital of france is [MASK] and that of italy is rome": "paris",
    "the two children played a [MASK] of chess while their father read": "game",
    "he opened the [MASK] and walked into the room": "door",
    "a cat and a [MASK] ran through the garden": "dog",
}


def test_minilm_has_no_head_that_could_predict(measured):
    """Measured on all-MiniLM-L6-v2, six sentences: read through its word table, the final state of [MASK] ranks the
    hidden word far down, while the same word, visible, is read off its own state; the checkpoint has no head for masked
    tokens, so its predictions cannot be tested."""
    names = [name for name in bert.load_parameters() if "cls" in name or "predictions" in name or "decoder" in name]
    table, ids = bert.load_parameters()[WORDS], bert.load_tokenizer().token_to_id
    ranks = {"hidden": [], "visible": []}
    for text, word in MASKED.items():
        for name, shown in (("hidden", text), ("visible", text.replace("[MASK]", word))):
            batch = bert.encode(shown)
            at = bert.encode(text).token_ids[0].tolist().index(ids("[MASK]"))
            scores = logits(bert.run_bert(batch).hidden_states[-1][0, at], table)
            ranks[name].append(1 + (scores > scores[ids(word)]).sum().item())
    best, median = min(ranks["hidden"]), float(np.median(ranks["hidden"]))
    measured(sentences=len(MASKED), best_rank_hidden=best, median_place_hidden=median / len(table), tokens=len(table))
    measured(worst_rank_visible=max(ranks["visible"]), median_rank_visible=float(np.median(ranks["visible"])))
    measured(weights_of_a_head=len(names))
    assert not names
    assert median > 1000
    assert np.median(ranks["visible"]) < 10  # control


def test_each_sampled_row_of_minilm_can_win(measured):
    """Measured on all-MiniLM-L6-v2, every 25th row of its word table: each can be given the largest logit; nearly all
    by their own row as the state, the rest by a state that steps away from whoever wins; the inner row of the plane
    cannot."""
    table = word_table().float()
    sample = torch.arange(0, len(table), 25)
    first = logits(table[sample], table).argmax(1)
    losers = sample[first != sample].tolist()

    def steps(rows, token, limit=200):
        state = rows[token].clone()
        for step in range(limit):
            winner = logits(state, rows).argmax().item()
            if winner == token:
                return step
            state = state + rows[token] - rows[winner]
        return None

    needed = [steps(table, token) for token in losers]
    measured(sampled=len(sample), losers=len(losers), most_steps=max(needed), limit=200)
    assert 0 < len(losers) < 10
    assert all(needed)
    assert steps(torch.tensor(POINTS), 4, 2000) is None  # control


def test_likeliest_tokens_do_not_make_the_likeliest_text(measured):
    """Proved, by example: taking the likeliest token at each of two steps gives a text of probability 0.30, where
    another has 0.36; if the second step does not depend on the first, it gives the likeliest text."""

    def best_and_greedy(first, second):
        joint = softmax(np.log(first))[:, None] * softmax(np.log(second))  # (2, 2)
        step = np.argmax(np.log(first))  # largest logit: softmax is not needed
        return joint.max(), joint[step, np.argmax(np.log(second)[step])]

    first, second = np.array([0.6, 0.4]), np.array([[0.5, 0.5], [0.1, 0.9]])
    best, greedy = best_and_greedy(first, second)
    same_best, same_greedy = best_and_greedy(first, second[[1, 1]])
    measured(best=best, greedy=greedy, independent_best=same_best, independent_greedy=same_greedy)
    assert greedy == pytest.approx(0.30)
    assert best == pytest.approx(0.36)
    assert same_best == same_greedy  # control


def test_smoothed_labels_have_a_best_gap(measured):
    """Proved, checked against PyTorch's loss: with label smoothing 0.1 over 37,000 tokens the loss is lowest when the
    answer's logit leads by 12.7; without smoothing it keeps falling however large the lead."""
    n, epsilon = 37_000, 0.1
    best = np.log((1 - epsilon) * n / epsilon + 1)
    slope = {}
    for name, smoothing in (("smoothed", epsilon), ("plain", 0.0)):
        for offset in (-1, 0, 1):
            lead = torch.tensor(best + offset, requires_grad=True, dtype=torch.float64)
            scores = F.pad(lead[None], (0, n - 1))[None]
            F.cross_entropy(scores, torch.tensor([0]), label_smoothing=smoothing).backward()
            slope[name, offset] = lead.grad.item()
    measured(tokens=n, smoothing=epsilon, lead=best, slope=slope["smoothed", 0], slope_plain=slope["plain", 0])
    assert slope["smoothed", -1] < -1e-3
    assert abs(slope["smoothed", 0]) < 1e-12
    assert slope["smoothed", 1] > 1e-3
    assert all(slope["plain", offset] < 0 for offset in (-1, 0, 1))  # control


def test_span_head_has_its_softmax_over_positions(measured, transformers):
    """Proved, checked against the library's models: the heads of BERT-base for two classes and for answer spans have
    the same 1,538 parameters; the span head takes two softmaxes over the positions, not one over its two outputs."""
    with torch.device("meta"):
        base = transformers.BertConfig(num_labels=2)
        span_model = transformers.BertForQuestionAnswering(base)
        heads = {
            "classes": transformers.BertForSequenceClassification(base).classifier,
            "span": span_model.qa_outputs,
            "tokens": transformers.BertForTokenClassification(transformers.BertConfig(num_labels=9)).classifier,
        }
    sizes = {name: sum(weight.numel() for weight in head.parameters()) for name, head in heads.items()}
    torch_state = torch.random.get_rng_state()
    model = transformers.BertForQuestionAnswering(transformers.BertConfig(vocab_size=50, **TINY)).eval()
    torch.random.set_rng_state(torch_state)
    generator = torch.Generator().manual_seed(0)
    for weight in model.parameters():
        weight.data = torch.randn(weight.shape, generator=generator)
    ids = torch.randint(0, 50, (1, 9), generator=generator)
    with torch.no_grad():
        out = model(ids, start_positions=torch.tensor([2]), end_positions=torch.tensor([5]))
        states = model.bert(ids).last_hidden_state
        scores = F.linear(states, model.qa_outputs.weight, model.qa_outputs.bias)[0].double().numpy()  # (n, 2)
    ours = -np.log([softmax(scores[:, 0])[2], softmax(scores[:, 1])[5]]).mean()
    control = -np.log([softmax(scores)[2, 0], softmax(scores)[5, 1]]).mean()  # over the two outputs
    measured(**sizes, difference=abs(ours - out.loss.item()), difference_over_outputs=abs(control - out.loss.item()))
    measured(width=768, labels=9)
    assert sizes == {"classes": 1538, "span": 1538, "tokens": 9 * 769}
    assert ours == pytest.approx(out.loss.item(), abs=1e-4)
    assert abs(control - out.loss.item()) > 0.1
