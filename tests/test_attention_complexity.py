"""Claims of docs/questions/attention-complexity.md."""

import tracemalloc
from collections import Counter
from typing import ClassVar
from unittest.mock import patch

import bert
import numpy as np
import pytest
import torch
import torch.nn.functional as F
from attention_complexity import (
    WEIGHTS,
    X,
    blockwise,
    core,
    counted,
    layer_cost,
    loop_over_heads,
    multi_head,
    split_heads,
)
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils._python_dispatch import TorchDispatchMode

HEADS = 4  # of the example: X is (8, 32), so d_k is 8
LINEAR = ("projections", "feed-forward")


class Counted(np.ndarray):
    """An array that keeps the bill of all that numpy computes from it: a counter for the snippet's own numpy code."""

    bill: ClassVar[Counter] = Counter()

    def __array_ufunc__(self, ufunc, method, *inputs, **options):
        plain = [np.asarray(value) for value in inputs]
        result = getattr(ufunc, method)(*plain, **options)
        if ufunc is np.matmul:
            Counted.bill["flops"] += 2 * result.size * plain[0].shape[-1]
        if ufunc is np.exp:
            Counted.bill["exponentials"] += result.size
        Counted.bill["largest"] = max(Counted.bill["largest"], result.size)
        return np.asarray(result).view(Counted)


def bill(function, *arrays, **options) -> Counter:
    Counted.bill = Counter()
    function(*(value.view(Counted) if isinstance(value, np.ndarray) else value for value in arrays), **options)
    return Counted.bill


def flops(function, *arguments) -> int:
    return sum(counted(function, *arguments).values())


def counted_layer(n: int, d_model: int, n_heads: int) -> dict[str, int]:
    """FLOPs of the parts of one layer by PyTorch's counter, each product written out."""
    x, w = torch.zeros(n, d_model), torch.zeros(d_model, d_model)
    up, down = torch.zeros(d_model, 4 * d_model), torch.zeros(4 * d_model, d_model)
    q, k, v = ((x @ w).view(n, n_heads, -1).transpose(0, 1) for _ in range(3))  # (n_heads, n, d_k)
    return {
        "projections": flops(lambda: [x @ w for _ in range(4)]),
        "core": flops(lambda: (q @ k.mT).softmax(-1) @ v),
        "feed-forward": flops(lambda: (x @ up).relu() @ down),
    }


def share_of_core(cost: dict[str, int]) -> float:
    return cost["core"] / sum(cost.values())


def random_heads(n_heads: int, n: int, d_k: int, seed: int = 0) -> np.ndarray:
    """Queries, keys and values, (3, n_heads, n, d_k)."""
    return np.random.default_rng(seed).standard_normal((3, n_heads, n, d_k))


def hearers(how: str, x: np.ndarray = X, n_heads: int = HEADS) -> list[int]:
    """Tokens whose output changes when token 0 changes."""
    before, after = (multi_head(tokens, *WEIGHTS, n_heads, how) for tokens in (x, x + np.eye(len(x), 1)))
    return np.flatnonzero(np.abs(after - before).max(axis=1) > 1e-9).tolist()


# --- what it costs ---


def test_attention_core_costs_four_n_squared_d(measured):
    """Proved, checked with PyTorch's counter and with one for numpy: each of the two products of self-attention,
    $QK^\\top$ and the weighted sum, takes exactly $2n^2d$ FLOPs over all heads together."""
    for n, d_model, n_heads in ((128, 64, 1), (96, 48, 3), (512, 384, 12)):
        q, k, v = (torch.zeros(n_heads, n, d_model // n_heads) for _ in range(3))
        scores, mix = flops(lambda q=q, k=k: q @ k.mT), flops(lambda q=q, k=k, v=v: (q @ k.mT) @ v)
        ours = bill(core, *random_heads(n_heads, n, d_model // n_heads))["flops"]
        measured(**{f"n_{n}": n, f"d_{n}": d_model, f"scores_{n}": scores, f"core_{n}": ours})
        assert scores == mix - scores == 2 * n * n * d_model
        assert ours == mix == layer_cost(n, d_model, n_heads)["core"]
    base, longer, wider = (counted_layer(n, d, 4)["core"] for n, d in ((64, 32), (128, 32), (64, 64)))
    measured(twice_as_long=longer / base, twice_as_wide=wider / base)
    assert (longer / base, wider / base) == (4, 2)


def test_linear_layers_cost_24_n_d_squared(measured):
    """Proved, checked with PyTorch's counter: the four projections of an encoder layer take $8nd^2$ FLOPs and a feed-
    forward network of inner width $4d$ takes $16nd^2$, linear in $n$, which $O(n^2 d)$ leaves out."""
    for n, d_model in ((64, 96), (128, 96), (64, 192)):
        found = counted_layer(n, d_model, 4)
        measured(**{f"projections_{n}_{d_model}": found["projections"], f"ffn_{n}_{d_model}": found["feed-forward"]})
        assert found["projections"] == 8 * n * d_model**2
        assert found["feed-forward"] == 16 * n * d_model**2
        assert found == layer_cost(n, d_model, 4)


def test_core_overtakes_projections_at_2d_and_layer_at_6d(measured):
    """Proved, checked with PyTorch's counter: the core costs as much as the four projections at $n = 2d$ and as much
    as everything else in the layer at $n = 6d$, because its share is $n / (n + 6d)$ for $d_{ff} = 4d$."""
    d_model = 64
    at_2d, at_6d, short = (counted_layer(times * d_model, d_model, 4) for times in (2, 6, 1))
    measured(share_at_2d=share_of_core(at_2d), share_at_6d=share_of_core(at_6d), share_at_d=share_of_core(short))
    measured(bert_base_2d=2 * 768, bert_base_6d=6 * 768, d_model=768)
    assert at_2d["core"] == at_2d["projections"]
    assert at_6d["core"] == sum(at_6d[part] for part in LINEAR)
    assert short["core"] < short["projections"]  # control: at n = d nothing is equal yet
    for n in (1, 17, 300):
        assert share_of_core(layer_cost(n, d_model, 4)) == pytest.approx(n / (n + 6 * d_model), rel=1e-12)


def test_bert_base_core_is_a_tenth_at_512(measured):
    """Proved, checked with PyTorch's counter on tensors of BERT-base's shapes: at 512 tokens 10 % of the matrix FLOPs
    of a layer are quadratic in the length, at 128 tokens 2.7 %."""
    for n in (128, 512):
        found = counted_layer(n, 768, 12)
        linear = sum(found[part] for part in LINEAR)
        measured(
            **{
                f"tokens_{n}": n,
                f"share_at_{n}": share_of_core(found),
                f"gflop_at_{n}": 12 * (linear + found["core"]) / 1e9,
            }
        )
        measured(
            **{f"linear_mflop_per_token_{n}": linear / n / 1e6, f"core_mflop_per_token_{n}": found["core"] / n / 1e6}
        )
        measured(**{f"linear_share_at_{n}": linear / (linear + found["core"])})
        assert found == layer_cost(n, 768, 12)
        assert share_of_core(found) == n / (n + 6 * 768)


def test_more_heads_multiply_softmax_not_flops(measured):
    """Proved, checked with two counters: at fixed width the number of heads changes no FLOP of the matrix products,
    but softmax takes $n^2$ exponentials per head, and PyTorch's counter of products sees none of them."""
    n, d_model = 64, 48
    products, exponentials = {}, {}
    for n_heads in (1, 4, 12):
        products[n_heads] = sum(counted_layer(n, d_model, n_heads).values())
        exponentials[n_heads] = bill(core, *random_heads(n_heads, n, d_model // n_heads))["exponentials"]
        assert exponentials[n_heads] == n_heads * n * n
    blind = flops(lambda: torch.zeros(12, n, n).softmax(-1))
    measured(one_head=products[1], four_heads=products[4], twelve_heads=products[12], counted_in_softmax=blind)
    measured(exponentials_ratio=exponentials[12] / exponentials[1], heads=12, weights_bert_base=12 * 512**2)
    measured(weights_bert_base_mb=12 * 512**2 * 4 / 1e6, n_bert=512)
    assert products[1] == products[4] == products[12]
    assert blind == 0


def test_batched_heads_save_no_flops_over_a_loop(measured):
    """Proved, checked with a counter in the numpy code itself: the batched product over all heads takes exactly as
    many FLOPs as a loop over the heads, $8nd^2 + 4n^2d$, and gives the same numbers."""
    (n, d_model), batched, loop = (
        X.shape,
        bill(multi_head, X, *WEIGHTS, HEADS),
        bill(loop_over_heads, X, *WEIGHTS, HEADS),
    )
    difference = np.abs(multi_head(X, *WEIGHTS, HEADS) - loop_over_heads(X, *WEIGHTS, HEADS)).max()
    control = bill(multi_head, X, *WEIGHTS, HEADS, how="no transpose")["flops"]  # heads × heads, not n × n
    measured(batched=batched["flops"], loop=loop["flops"], difference=difference, without_transpose=control, n=n)
    assert batched == loop | {"largest": batched["largest"]}
    assert batched["flops"] == 8 * n * d_model**2 + 4 * n**2 * d_model
    assert control == 8 * n * d_model**2 + 4 * n * HEADS * d_model
    assert difference < 1e-12


def test_conv_kernels_add_flops_where_heads_do_not(measured):
    """Proved, checked with PyTorch's counter: twice as many kernels double the FLOPs of a convolution, whereas twice
    as many heads leave those of attention unchanged, because heads divide the width and kernels add to it."""
    x = torch.zeros(1, 32, 128)  # (batch, channels, n)
    few, many = (flops(F.conv1d, x, torch.zeros(kernels, 32, 3)) for kernels in (8, 16))
    heads = [counted_layer(128, 32, n_heads)["core"] for n_heads in (8, 16)]
    measured(kernels=many / few, heads=heads[1] / heads[0])
    assert (many / few, heads[1] / heads[0]) == (2, 1)


def test_recurrence_is_cheaper_than_attention_with_its_projections(measured):
    """Proved, checked with PyTorch's counter on its own cells: a plain recurrent layer takes $4nd^2$ FLOPs, equal to
    the attention core at $n = d$, but fewer than core and projections together at every length; an LSTM takes
    $16nd^2$ and meets them at $n = 2d$."""
    d_model = 32
    for n in (1, d_model, 2 * d_model):
        token = torch.zeros(1, d_model)
        plain, lstm = (n * flops(cell(d_model, d_model), token) for cell in (torch.nn.RNNCell, torch.nn.LSTMCell))
        cost = counted_layer(n, d_model, 4)
        with_projections = cost["core"] + cost["projections"]
        measured(**{f"core_over_rnn_{n}": cost["core"] / plain, f"attention_over_rnn_{n}": with_projections / plain})
        measured(**{f"attention_over_lstm_{n}": with_projections / lstm})
        assert (plain, lstm) == (4 * n * d_model**2, 16 * n * d_model**2)
        assert with_projections > plain
        assert (cost["core"] == plain) == (n == d_model)
        assert (with_projections == lstm) == (n == 2 * d_model)


def test_backward_pass_costs_twice_the_forward_pass(measured):
    """Proved, checked with PyTorch's counter: where both factors need a gradient, the backward pass of a matrix
    product takes twice its FLOPs, one product per factor; with the weights frozen it takes them once."""

    def train(weights_too: bool):
        x, w = torch.zeros(64, 32, requires_grad=True), torch.zeros(32, 32, requires_grad=weights_too)
        q = (x @ w).view(64, HEADS, 8).transpose(0, 1)
        z = (q @ q.mT).softmax(-1) @ q if weights_too else q
        z.sum().backward()

    cost = layer_cost(64, 32, HEADS)
    one_projection = cost["projections"] // 4
    full, frozen = flops(train, True) / (one_projection + cost["core"]), flops(train, False) / one_projection
    measured(full=full, frozen=frozen)
    assert (full, frozen) == (3, 2)  # forward and backward together


def test_cached_step_is_linear_in_the_length(measured):
    """Proved, checked with a counter in the numpy code: with the keys and values of earlier tokens kept, the core of
    one new query costs $4nd$ FLOPs, not $4n^2d$, and its output is the last row of the full computation."""
    q, k, v = random_heads(HEADS, 128, 16)
    step, full = bill(core, q[:, -1:], k, v)["flops"], bill(core, q, k, v)["flops"]
    measured(n=128, step=step, full=full, ratio=full / step)
    assert (step, full) == (4 * 128 * 64, 4 * 128**2 * 64)
    assert np.allclose(core(q[:, -1:], k, v), core(q, k, v)[:, -1:], atol=1e-12)


def test_shared_keys_save_memory_not_core_flops(measured):
    """Proved, checked with a counter in the numpy code: when all heads share one set of keys and values, the core
    takes as many FLOPs as before, while keys and values shrink by the number of heads."""
    q, k, v = random_heads(HEADS, 64, 16)
    own, shared = bill(core, q, k, v)["flops"], bill(core, q, k[:1], v[:1])["flops"]
    measured(own=own, shared=shared, kept=k[:1].size / k.size, heads=HEADS)
    assert own == shared == 4 * 64**2 * (HEADS * 16)
    assert k.size == HEADS * k[:1].size


def test_head_widths_need_not_add_up_to_the_model_width(measured):
    """Proved, checked against a loop over heads: nothing requires $m \\cdot a = d$; with four heads 12 wide on a
    model 32 wide the output has the right shape, and the core costs $4n^2ma$."""
    wide = np.random.default_rng(1).standard_normal((4, 32, 48)) / 6
    matrices = (*wide[:3], wide[3].T)  # W_O is (48, 32)
    out = multi_head(X, *matrices, HEADS)
    core_flops = bill(multi_head, X, *matrices, HEADS)["flops"] - 4 * 2 * len(X) * 32 * 48
    measured(d_model=32, heads=HEADS, inner=48, d_k=12, core=core_flops)
    assert np.allclose(out, loop_over_heads(X, *matrices, HEADS), atol=1e-12)
    assert out.shape == X.shape
    assert core_flops == 4 * len(X) ** 2 * 48


# --- transposes and reshapes ---


def test_multi_head_equals_torch_multi_head_attention(measured):
    """Proved, checked against PyTorch's multi-head attention: reshape and transpose compute what a loop over the
    heads computes; each of the two wrong ways gives an array of the right shape with other numbers."""
    w_q, w_k, w_v, w_o = (torch.from_numpy(w) for w in WEIGHTS)
    x = torch.from_numpy(X)[:, None]  # (n, batch, d_model)
    weights_in, no_bias = torch.cat([w_q, w_k, w_v], 1).T, torch.zeros(32, dtype=torch.float64)
    oracle, _ = F.multi_head_attention_forward(
        x, x, x, 32, HEADS, weights_in, None, None, None, False, 0.0, w_o.T.contiguous(), no_bias, training=False
    )
    outputs = {how: multi_head(X, *WEIGHTS, HEADS, how) for how in ("right", "reshape", "no transpose")}
    errors = {how: np.abs(out - oracle[:, 0].numpy()).max() for how, out in outputs.items()}
    measured(right=errors["right"], reshape=errors["reshape"], no_transpose=errors["no transpose"])
    assert errors["right"] < 1e-12
    assert np.abs(loop_over_heads(X, *WEIGHTS, HEADS) - oracle[:, 0].numpy()).max() < 1e-12
    assert min(errors["reshape"], errors["no transpose"]) > 1
    assert {out.shape for out in outputs.values()} == {X.shape}


def test_head_split_is_a_view(measured):
    """Proved, checked on numpy arrays and torch tensors: reshape to $(n, m, a)$ and transpose to $(m, n, a)$ copy
    nothing, they change strides from $(d, 1)$ to $(a, d, 1)$; head $h$ is the columns $ha$ to $(h + 1)a - 1$."""
    n, d_k, d_model = 4, 3, 6
    y = np.arange(n * d_model, dtype=np.int64).reshape(n, d_model)
    heads, t = split_heads(y, 2), torch.from_numpy(y)
    t_heads = t.view(n, 2, d_k).transpose(0, 1)
    strides = tuple(size // y.itemsize for size in heads.strides)
    measured(n=n, heads=2, d_k=d_k, d_model=d_model, stride_of_head=strides[0], stride_of_token=strides[1])
    assert np.shares_memory(heads, y)
    assert t_heads.data_ptr() == t.data_ptr()
    assert strides == t_heads.stride() == (d_k, d_model, 1)
    assert np.array_equal(heads, t_heads.numpy())
    assert all(np.array_equal(heads[h], y[:, h * d_k : (h + 1) * d_k]) for h in range(2))
    assert not np.array_equal(split_heads(y, 2, "reshape"), heads)  # control: the same shape is not the same split


def test_merging_the_heads_needs_one_copy(measured):
    """Proved, checked in PyTorch and numpy: the product leaves the heads as $(m, n, a)$ in memory; transposed back,
    no strides describe rows $d$ long, so view raises an error; reshape and contiguous copy $nd$ numbers."""
    n, d_k, n_heads = 4, 3, 2
    summed = torch.ones(n_heads, n, n) @ torch.ones(n, n_heads, d_k).transpose(0, 1)  # weights @ v
    back = summed.transpose(0, 1)  # (n, n_heads, d_k)
    with pytest.raises(RuntimeError, match="view size is not compatible"):
        back.view(n, n_heads * d_k)
    merged = back.reshape(n, n_heads * d_k)
    array = np.eye(n) @ split_heads(np.ones((n, 6)), n_heads)
    measured(stride_of_token=back.stride(0), stride_of_head=back.stride(1), stride_inside=back.stride(2), heads=n_heads)
    assert summed.is_contiguous()
    assert back.stride() == (d_k, n * d_k, 1)
    assert merged.data_ptr() != summed.data_ptr() != back.contiguous().data_ptr()
    assert torch.equal(back.contiguous().view(n, n_heads * d_k), merged)
    assert not np.shares_memory(array.transpose(1, 0, 2).reshape(n, 6), array)
    untouched = torch.ones(n, 6).view(n, 2, 3).transpose(0, 1)
    assert untouched.transpose(0, 1).reshape(n, 6).data_ptr() == untouched.data_ptr()  # control: nothing new, no copy


def test_matmul_copies_the_heads_of_a_batch(measured):
    """Measured in PyTorch on a CPU: with one text the merge is the only copy of multi-head attention, with a batch
    there are four, because matmul merges the axes batch and head into one, which no strides can describe."""

    class Copies(TorchDispatchMode):
        count = 0

        def __torch_dispatch__(self, function, types, args=(), kwargs=None):
            self.count += function is torch.ops.aten.clone.default
            return function(*args, **(kwargs or {}))

    found = {}
    for batch_size in (1, 3):
        q, k, v = torch.zeros(3, batch_size, 8, 32).view(3, batch_size, 8, HEADS, 8).transpose(2, 3).unbind()
        with Copies() as copies:
            ((q @ k.mT).softmax(-1) @ v).transpose(1, 2).reshape(batch_size, 8, 32)
        found[batch_size] = copies.count
    measured(one_text=found[1], batch=found[3], batch_size=3)
    assert found == {1: 1, 3: 4}


def test_direct_reshape_hands_tokens_to_heads(measured):
    """Proved, checked on labelled entries: reshape from $(n, d)$ straight to $(m, n, a)$ raises no error and, if $m$
    divides $n$, gives each head all features of its own $n / m$ neighbouring tokens instead of its own $a$ features
    of all tokens."""
    n, d_model = X.shape
    tokens = np.arange(n)[:, None].repeat(d_model, axis=1)  # each entry knows its token
    right, torn = (
        [np.unique(head).tolist() for head in split_heads(tokens, HEADS, how)] for how in ("right", "reshape")
    )
    measured(n=n, d_model=d_model, heads=HEADS, seen_right=len(right[0]), seen_torn=len(torn[0]))
    assert right == [list(range(n))] * HEADS
    assert torn == [[0, 1], [2, 3], [4, 5], [6, 7]]


def test_direct_reshape_cuts_the_text_into_pieces(measured):
    """Proved, checked by changing one token: if $m$ divides $n$ and the inverse reshape undoes it, the direct reshape
    lets a token reach only the $n / m$ tokens of its piece; followed by the right merge it is wrong as well."""
    long = np.concatenate([X, X + 1, X - 1])  # 24 tokens
    all_of, reached, reached_long = hearers("right"), hearers("reshape"), hearers("reshape", long)
    heads = [split_heads(X @ w, HEADS, "reshape") for w in WEIGHTS[:3]]
    mixed = core(*heads).transpose(1, 0, 2).reshape(X.shape) @ WEIGHTS[3]  # wrong split, right merge
    error = np.abs(mixed - loop_over_heads(X, *WEIGHTS, HEADS)).max()
    measured(
        n=len(X),
        heads=HEADS,
        right=len(all_of),
        torn=len(reached),
        n_long=24,
        torn_long=len(reached_long),
        right_merge=error,
    )
    assert all_of == list(range(8))
    assert reached == [0, 1]
    assert reached_long == list(range(6))
    assert error > 1


def test_without_the_transpose_heads_attend_to_heads(measured):
    """Proved, checked by changing one token: without the transpose the product batches over tokens and compares the
    heads of one token, with $m \\times m$ scores each, so no token hears of any other; the output shape is still
    right."""
    pieces = split_heads(X, HEADS, "no transpose")
    scores, control = pieces @ pieces.swapaxes(1, 2), split_heads(X, HEADS) @ split_heads(X, HEADS).swapaxes(1, 2)
    found = hearers("no transpose")
    measured(tables=scores.shape[0], table_side=scores.shape[1], hearers=len(found), n=len(X), heads=HEADS)
    assert scores.shape == (8, HEADS, HEADS)
    assert control.shape == (HEADS, 8, 8)
    assert found == [0]
    assert len(hearers("right")) == len(X)


def test_permutation_test_finds_one_mistake_of_two(measured):
    """Proved, checked on random tokens: attention commutes with reordering its tokens; the direct reshape does not,
    but the version without the transpose does, so only a comparison with a loop over heads finds both."""
    order = np.random.default_rng(1).permutation(len(X))
    errors = {
        how: np.abs(multi_head(X[order], *WEIGHTS, HEADS, how) - multi_head(X, *WEIGHTS, HEADS, how)[order]).max()
        for how in ("right", "reshape", "no transpose")
    }
    measured(right=errors["right"], reshape=errors["reshape"], no_transpose=errors["no transpose"])
    assert max(errors["right"], errors["no transpose"]) < 1e-12
    assert errors["reshape"] > 0.1


def test_einsum_writes_the_heads_without_a_transpose(measured):
    """Proved, checked on random numbers: with the axes named, `einsum("ihc,jhc->hij")` gives the scores of all heads
    from $(n, m, a)$, so the transpose only tells matmul which axis is the batch."""
    q, k = (split_heads(X @ w, HEADS, "no transpose") for w in WEIGHTS[:2])  # (n, heads, d_k)
    named = np.einsum("ihc,jhc->hij", q, k)
    batched = split_heads(X @ WEIGHTS[0], HEADS) @ split_heads(X @ WEIGHTS[1], HEADS).swapaxes(1, 2)
    measured(difference=np.abs(named - batched).max(), heads=HEADS)
    assert np.allclose(named, batched, atol=1e-12)
    assert named.shape != (q @ k.swapaxes(1, 2)).shape  # control: matmul on the same arrays does something else


def test_concatenation_and_output_matrix_sum_the_heads(measured):
    """Proved, checked on random numbers: concatenating the heads and multiplying by $W_O$ is the sum over heads of
    each head times its own $a$ rows of $W_O$."""
    w_q, w_k, w_v, w_o = WEIGHTS
    heads = core(*(split_heads(X @ w, HEADS) for w in (w_q, w_k, w_v)))  # (heads, n, d_k)
    total = sum(head @ rows for head, rows in zip(heads, np.split(w_o, HEADS), strict=True))
    swapped = sum(head @ rows for head, rows in zip(heads[::-1], np.split(w_o, HEADS), strict=True))
    out = multi_head(X, *WEIGHTS, HEADS)
    measured(difference=np.abs(out - total).max(), heads_swapped=np.abs(out - swapped).max())
    assert np.allclose(out, total, atol=1e-12)
    assert np.abs(out - swapped).max() > 0.1  # control: the heads are not interchangeable


# --- memory ---


def test_blockwise_attention_is_exact(measured):
    """Proved, checked against the plain computation and PyTorch's attention: softmax over blocks of keys, its sums
    rescaled whenever the maximum moves, is the same function for every block size, and wrong without the
    rescaling."""
    q, k, v = np.random.default_rng(0).standard_normal((3, 512, 32))
    oracle = F.scaled_dot_product_attention(*(torch.from_numpy(x)[None] for x in (q, k, v)))[0].numpy()
    errors = {block: np.abs(blockwise(q, k, v, block) - oracle).max() for block in (1, 8, 64, 100, 512)}
    unscaled = np.abs(blockwise(q, k, v, 64, rescale=False) - oracle).max()
    measured(n=512, largest_error=max(errors.values()), without_rescaling=unscaled, block=64)
    assert np.abs(core(q, k, v) - oracle).max() < 1e-12
    assert max(errors.values()) < 1e-12
    assert unscaled > 0.1
    q[0] *= 1000  # its scores dwarf those of the other queries: each needs a maximum of its own
    assert np.allclose(core(q, k, v), blockwise(q, k, v, 64))


def test_blockwise_attention_saves_no_flops(measured):
    """Proved, checked with a counter in the numpy code: attention by blocks takes the same $4n^2d$ FLOPs as the plain
    computation at every block size, $n$ more exponentials per block, and its largest table is one block wide."""
    n, d_k = 512, 32
    q, k, v = np.random.default_rng(0).standard_normal((3, n, d_k))
    plain = bill(core, q, k, v)
    assert plain == {"flops": 4 * n * n * d_k, "exponentials": n * n, "largest": n * n}
    for block in (64, 128):
        found = bill(blockwise, q, k, v, block)
        measured(**{f"block_{block}": block, f"largest_{block}": found["largest"], f"flops_{block}": found["flops"]})
        measured(**{f"more_exponentials_{block}": found["exponentials"] / plain["exponentials"] - 1})
        assert found["flops"] == plain["flops"]
        assert found["largest"] == n * block
        assert found["exponentials"] == n * n + n * (n // block)
    measured(n=n, largest_plain=plain["largest"], flops_plain=plain["flops"])


def test_blockwise_memory_is_linear(measured):
    """Measured with Python's own memory tracer on one head of width 32 in double precision: when the text doubles, the
    peak memory of plain attention grows by a factor of four, that of attention by blocks of 64 keys by a factor of
    two."""

    def peak(function, n: int, *options) -> int:
        q, k, v = np.random.default_rng(0).standard_normal((3, n, 32))
        tracemalloc.start()
        function(q, k, v, *options)
        found = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        return found

    plain, blocks = (
        [peak(function, n, *options) for n in (1024, 2048)] for function, options in ((core, ()), (blockwise, (64,)))
    )
    measured(short=1024, long=2048, block=64, d_k=32, plain_mb=plain[1] / 1e6, blocks_mb=blocks[1] / 1e6)
    measured(plain_ratio=plain[1] / plain[0], blocks_ratio=blocks[1] / blocks[0], saved=plain[1] / blocks[1])
    # Nothing random is measured: arrays of known sizes, and a few kilobytes of Python objects.
    assert plain[1] / plain[0] == pytest.approx(4, rel=0.02)
    assert blocks[1] / blocks[0] == pytest.approx(2, rel=0.02)


# --- a trained model ---


def test_trained_encoder_costs_what_the_formula_says(measured):
    """Measured on all-MiniLM-L6-v2 with PyTorch's counter: the six layers take exactly $6 \\cdot 24nd^2$ FLOPs in
    linear layers and $6 \\cdot 4n^2d$ in the core, 18 % of the whole at 512 tokens; nothing else is a matrix
    product."""
    for n in (16, 128, 512):
        batch = bert.encode("so " * (n - 2))
        found, formula = counted(bert.run_bert, batch), layer_cost(n, 384, bert.N_HEADS)
        share = found["aten.bmm"] / sum(found.values())
        measured(**{f"tokens_{n}": n, f"share_at_{n}": share, f"mflop_per_token_{n}": found["aten.addmm"] / n / 1e6})
        measured(**{f"core_mflop_per_token_{n}": found["aten.bmm"] / n / 1e6})
        assert batch.token_ids.shape == (1, n)
        assert found["aten.bmm"] == bert.N_LAYERS * formula["core"]
        assert found["aten.addmm"] == bert.N_LAYERS * sum(formula[part] for part in LINEAR)
        assert set(found) == {"aten.bmm", "aten.addmm"}
    measured(d_model=384, layers=bert.N_LAYERS)


TEXTS = [
    "the river burst its bank after a week of rain",
    "she asked the bank for a loan to mend the roof",
    "two children played chess while their father read the news",
    "a cat sleeps on the warm stones of the old harbour wall",
]


def vectors_with(how: str) -> torch.Tensor:
    """Sentence vectors (texts, d_model) of the trained model, its heads split by the snippet's function."""

    def split(x):
        return torch.stack([torch.from_numpy(split_heads(rows, bert.N_HEADS, how)) for rows in x.numpy()])

    with patch.object(bert, "split_heads", split):
        return torch.cat([bert.sentence_embeddings(bert.encode(text)) for text in TEXTS])


def test_trained_encoder_fails_silently_with_torn_heads(measured):
    """Measured on all-MiniLM-L6-v2: with the direct reshape in place of the right split the model still runs and
    returns unit vectors, whose mean cosine with the true ones is far below one; our right split reproduces the true
    ones."""
    true = torch.cat([bert.sentence_embeddings(bert.encode(text)) for text in TEXTS])
    cosines = {how: (vectors_with(how) * true).sum(1) for how in ("right", "reshape")}
    different = (true @ true.T)[~torch.eye(len(TEXTS), dtype=torch.bool)].mean()
    measured(right=cosines["right"].min(), torn=cosines["reshape"].mean(), torn_best=cosines["reshape"].max())
    measured(unrelated_texts=different, texts=len(TEXTS))
    assert cosines["right"].min() > 1 - 1e-5
    assert cosines["reshape"].max() < 0.9


def test_blockwise_is_exact_on_trained_weights(measured):
    """Measured on all-MiniLM-L6-v2 in single precision: attention by blocks of 16 keys equals plain attention on the
    queries and keys of all 72 trained heads to rounding, and does not if the sums are not rescaled."""
    heads = []

    def attention(layer, q, k, x, mask):
        v = bert.split_heads(bert.linear(f"encoder.layer.{layer}.attention.self.value", x, bert.load_parameters()))
        heads.extend(torch.stack([q[0], k[0], v[0]], 1).numpy())  # (heads, 3, n, d_k)
        return bert.attention_weights(layer, q, k, x, mask)

    bert.run_bert(bert.encode(" and ".join(TEXTS)), attention=attention)
    errors, unscaled = (
        [np.abs(blockwise(*head, 16, rescale) - core(*head)).max() for head in heads] for rescale in (True, False)
    )
    measured(heads=len(heads), block=16, n=heads[0].shape[1], largest_error=max(errors))
    measured(without_rescaling=float(np.median(unscaled)))
    # Scores up to 36, rounded to 6e-8 of themselves, change a weight by at most 4e-6 of itself, twice over in each of
    # the two computations; the output is a mean of values up to 4.2. Without rescaling it is off by tenths.
    assert max(errors) < 1e-4
    assert np.median(unscaled) > 1e-2


def test_padding_costs_full_price(measured):
    """Measured on all-MiniLM-L6-v2 with PyTorch's counter: a short text padded to a long one costs as many FLOPs as
    the long one, and the mask, which hides the padding from the result, saves none."""
    long, short = "so " * 62, "so " * 6
    alone, pair, twins = (
        counted(bert.run_bert, bert.encode(texts)) for texts in ([short], [short, long], [long, long])
    )
    vectors = (bert.sentence_embeddings(bert.encode(texts))[0] for texts in ([short], [short, long]))
    difference = torch.dist(*vectors, p=float("inf")).item()
    measured(long=64, short=8, pair_over_twins=sum(pair.values()) / sum(twins.values()), difference=difference)
    measured(padded_over_alone=sum(pair.values()) / 2 / sum(alone.values()))
    assert pair == twins
    assert sum(pair.values()) > 8 * 2 * sum(alone.values())
    assert difference < 1e-5


def test_flop_counter_overlooks_fused_attention(measured):
    """Measured in PyTorch on a CPU: its FLOP counter finds nothing in the fused attention that is the default and
    nothing in `nn.MultiheadAttention` at inference; the same attention as plain products counts $4n^2d$."""
    q = torch.zeros(1, HEADS, 64, 8)
    fused = flops(F.scaled_dot_product_attention, q, q, q)
    with sdpa_kernel(SDPBackend.MATH):
        products = flops(F.scaled_dot_product_attention, q, q, q)
    x, layer = torch.zeros(1, 64, 32), torch.nn.MultiheadAttention(32, HEADS, batch_first=True).eval()
    with torch.no_grad():
        module = flops(layer, x, x, x)
    measured(fused=fused, products=products, module=module)
    assert (fused, products, module) == (0, 4 * 64**2 * 32, 0)
