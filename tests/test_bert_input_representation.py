"""Claims of docs/questions/bert-input-representation.md."""

import itertools
import math
import re

import bert
import numpy as np
import pytest
import torch
import torch.nn.functional as F
from bert_input_representation import (
    INPUT,
    MODULE,
    TEXTS,
    BertEmbeddings,
    TransformerEmbedding,
    layer_norm,
    mean_under_dropout,
    pack,
    padded,
    positions,
    start,
    trained,
    vectors,
)
from safetensors.torch import load_file
from tokenizers import Tokenizer
from torch import nn

Z = 6  # standard errors: a normal tail of 2e-9, which leaves a hundred comparisons below 1e-6
WEIGHTS = bert.model_file("model.safetensors")


@pytest.fixture
def seeded():
    """Random numbers of torch for a test that builds modules; the global generator stays as it was."""
    with torch.random.fork_rng():
        torch.manual_seed(0)
        yield torch.Generator().manual_seed(0)


def cosine(x, y) -> float:
    """Mean cosine of the rows of two matrices."""
    return F.cosine_similarity(x, y).mean().item()


def circulating(tables: dict) -> TransformerEmbedding:
    """The circulating module with given tables, without dropout."""
    token, position = tables["token"], tables["position"]
    with torch.device("meta"):
        module = TransformerEmbedding(len(token), token.shape[1], len(position))
    module.load_state_dict({"token_embed.weight": token, "pos_embed.weight": position}, assign=True)
    return module.eval()


# The input


def test_packed_input_is_the_tokenizers_output(measured):
    """Proved, checked on the model's tokenizer: tokens, segment ids and mask of one text, of a pair, and of both when
    padded on either side are those of the `tokenizers` library, two special tokens for a text and three for a pair."""
    texts = [TEXTS[0], (TEXTS[1], "Rates rose."), ("cats purr", TEXTS[2])]
    library, compared = Tokenizer.from_file(str(bert.model_file("tokenizer.json"))), 0
    library.no_truncation()
    for direction in (None, "right", "left"):
        library.no_padding() if direction is None else library.enable_padding(direction=direction)
        found = library.encode_batch(texts)
        for text, expected in zip(texts, found, strict=True):
            a, b = text if isinstance(text, tuple) else (text, "")
            pieces = [bert.encode(part).tokens[0][1:-1] if part else () for part in (a, b)]
            tokens, segment_ids, mask = pack(*pieces, length=len(expected.ids), left=direction == "left")
            assert tokens.tolist() == expected.tokens
            assert segment_ids.tolist() == expected.type_ids
            assert mask.tolist() == [bool(visible) for visible in expected.attention_mask]
            compared += 1
    single, pair = (len(pack(["a"], b)[0]) - 1 - len(b) for b in ((), ("b",)))
    measured(compared=compared, specials_of_text=single, specials_of_pair=pair, segments=len(set(segment_ids)))
    assert (single, pair) == (2, 3)


def test_bert_input_forgets_case_and_accents(measured):
    """Measured with the tokenizer of all-MiniLM-L6-v2, the one of BERT-base uncased: capitals and accents are gone
    before the first lookup, and a "[SEP]" that a user types becomes the separator itself."""
    spellings = ["Café in Élan", "cafe in elan", "CAFÉ IN ÉLAN", "café  in   élan"]
    found = {tuple(bert.encode(text).token_ids[0].tolist()) for text in spellings}
    other = tuple(bert.encode("cafes in elan").token_ids[0].tolist())
    typed = bert.encode("one [SEP] two")
    measured(spellings=len(spellings), inputs=len(found), separators=typed.tokens[0].count("[SEP]"))
    measured(segments_of_typed=len(typed.segment_ids.unique()))
    assert len(found) == 1
    assert other not in found  # control: another letter is another input
    assert typed.tokens[0] == ["[CLS]", "one", "[SEP]", "two", "[SEP]"]


def test_token_ids_are_row_numbers(measured, seeded):
    """Proved, checked on our module: ids have no size or distance, since renumbering the vocabulary together with the
    table's rows changes no output; four ids give four vectors, and the table must have more rows than the largest
    id."""
    ids = torch.tensor([[1, 2, 3, 5]])  # the example of a popular answer
    module = BertEmbeddings(vocabulary=6, d_model=8).eval()
    order = torch.tensor([0, 4, 1, 5, 3, 2])  # new number of each token
    renumbered = BertEmbeddings(vocabulary=6, d_model=8).eval()
    renumbered.load_state_dict(module.state_dict())
    with torch.no_grad():
        renumbered.word_embeddings.weight[order] = module.word_embeddings.weight
        out, same, control = module(ids), renumbered(order[ids]), renumbered(ids)
    measured(ids=ids.numel(), largest=ids.max(), width=8, vectors=out.shape[1], rows_needed=ids.max() + 1, too_few=4)
    measured(difference=(out - same).abs().max(), difference_without_renumbered_ids=(out - control).abs().max())
    assert out.shape == (1, 4, 8)
    assert torch.equal(out, same)
    assert not torch.allclose(out, control, atol=0.1)
    with pytest.raises(IndexError):
        BertEmbeddings(vocabulary=4, d_model=8)(ids)


def test_position_ids_carry_the_order(measured):
    """Measured on all-MiniLM-L6-v2: shuffle the slots of a text together with their position ids and the sentence
    vector stays the same; shuffle the tokens alone and it moves: the order is in the ids, not in the slots."""
    batch = bert.encode(TEXTS)
    order = torch.randperm(batch.token_ids.shape[1], generator=torch.Generator().manual_seed(0))
    shuffled = bert.Batch(*(part[:, order] for part in batch))
    in_slots = shuffled._replace(position_ids=batch.position_ids)
    right = vectors()
    same, moved = (bert.sentence_embeddings(part) for part in (shuffled, in_slots))
    measured(change=(same - right).abs().max(), cosine=cosine(same, right), cosine_in_slots=cosine(moved, right))
    assert torch.allclose(same, right, atol=1e-5)
    assert cosine(moved, right) < 0.9


def test_counted_positions_do_not_see_padding(measured):
    """Proved, checked against a plain loop: positions counted over visible tokens are 0, 1, 2, … whichever side the
    padding is on; the slots are so only without padding on the left."""
    masks = np.array([[1, 1, 1, 0, 0], [0, 0, 1, 1, 1], [1, 1, 1, 1, 1], [0, 1, 1, 0, 0]], dtype=bool)
    shifted = 0
    for mask, found in zip(masks, positions(masks), strict=True):
        visible = [position for position, seen in zip(found.tolist(), mask, strict=True) if seen]
        slots = [slot for slot, seen in enumerate(mask) if seen]
        shifted += slots != visible
        assert visible == list(range(len(visible)))
    measured(masks=len(masks), shifted_in_slots=shifted)
    assert shifted == 2  # control: the two masks with padding on the left
    assert np.array_equal(positions(masks), positions(torch.tensor(masks)).numpy())


# The module that circulates


def test_circulating_module_keeps_its_shape_comment(measured):
    """Proved, checked on tensors without data: with 10,000 tokens, width 512 and 128 positions the module returns
    (32, 128, 512) and has 5,185,536 parameters; it makes its positions on the device of its input."""
    with torch.device("meta"):
        module = TransformerEmbedding(10_000, 512, 128)
    seen = []
    module.pos_embed.register_forward_pre_hook(lambda _, given: seen.append(given[0].device.type))
    out = module(torch.zeros(32, 128, dtype=torch.long, device="meta"))
    token, position = (table.weight.numel() for table in (module.token_embed, module.pos_embed))
    batch, n, width = out.shape
    measured(batch=batch, tokens=n, width=width, vocabulary=10_000, parameters=token + position)
    measured(token_table=token, position_table=position)
    assert out.shape == (32, 128, 512)
    assert (out.device.type, seen) == ("meta", ["meta"])
    assert token + position == sum(part.numel() for part in module.parameters()) == 5_185_536


def test_circulating_module_is_gpt2s_input_layer(measured, transformers, seeded):
    """Measured in transformers 5 on small random models: with the same tables the circulating module returns exactly
    what enters the blocks of GPT-2, and something else than what enters those of BERT."""
    sizes = {"vocab_size": 50, "max_position_embeddings": 16, "hidden_size": 8}
    gpt = transformers.GPT2Model(
        transformers.GPT2Config(vocab_size=50, n_positions=16, n_embd=8, n_layer=1, n_head=1)
    ).eval()
    bert_model = transformers.BertModel(
        transformers.BertConfig(**sizes, num_hidden_layers=1, num_attention_heads=1, intermediate_size=8)
    ).eval()
    embeddings = bert_model.embeddings
    tables = {
        gpt: {"token": gpt.wte.weight, "position": gpt.wpe.weight},
        bert_model: {
            "token": embeddings.word_embeddings.weight,
            "position": embeddings.position_embeddings.weight,
        },
    }
    ids = torch.randint(1, 50, (3, 16), generator=seeded)
    with torch.no_grad():
        differences = [
            (circulating(tables[model])(ids) - model(ids, output_hidden_states=True).hidden_states[0]).abs().max()
            for model in (gpt, bert_model)
        ]
    measured(difference_from_gpt2=differences[0], difference_from_bert=differences[1], width=8)
    assert differences[0] == 0
    assert differences[1] > 1


def test_circulating_module_ends_at_its_last_row(measured):
    """Proved, checked on both modules: the 129th token of a table with 128 positions and the id 10,000 of a table with
    10,000 tokens raise IndexError in the circulating module; ours names both lengths in a ValueError, and runs if
    the caller gives positions that the table has."""
    old, new = TransformerEmbedding(10_000, 8, 128), BertEmbeddings(10_000, 8, longest=128).eval()
    longest, too_long = torch.zeros(1, 128, dtype=torch.long), torch.zeros(1, 129, dtype=torch.long)
    measured(positions=128, too_long=too_long.shape[1], vocabulary=10_000, too_high=10_000)
    for module in (old, new):
        assert module(longest).shape == (1, 128, 8)
        assert module(longest + 9_999).shape == (1, 128, 8)
        with pytest.raises(IndexError, match="index out of range in self"):
            module(longest + 10_000)
    with pytest.raises(IndexError, match="index out of range in self"):
        old(too_long)
    with pytest.raises(ValueError, match="129 tokens, but positions were learned for 128"):
        new(too_long)
    assert new(too_long, position_ids=torch.arange(129)[None] % 128).shape == (1, 129, 8)


def test_fresh_modules_drop_entries_until_eval(measured, seeded):
    """Measured: a module is in training mode when it is built, so two equal calls differ and a tenth of the entries is
    zero, the others larger by 1/0.9; after `eval()` the calls agree and no entry is zero."""
    module, ids = TransformerEmbedding(10_000, 512, 128), torch.arange(32 * 128).view(32, 128)
    first, second = module(ids), module(ids)
    clean, again = module.eval()(ids), module(ids)
    zeros, control = ((out == 0).double().mean().item() for out in (first, clean))
    kept = first != 0
    growth = (first[kept] / clean[kept]).mean().item()
    measured(rate=0.1, zeros=zeros, zeros_after_eval=control, growth=growth, entries=first.numel())
    assert zeros == pytest.approx(0.1, abs=Z * math.sqrt(0.1 * 0.9 / first.numel()))
    assert torch.allclose(first[kept], clean[kept] / 0.9, rtol=1e-5)
    assert not torch.equal(first, second)
    assert torch.equal(clean, again)
    assert control == 0


# Scale


def test_two_default_tables_sum_to_root_two(measured, seeded):
    """Measured on 128 inputs of width 512: rows with N(0, 1) entries, the default of `nn.Embedding`, as checked on the
    circulating module, sum to a standard deviation of √2 and to another one for each token; entries of deviation 0.02
    sum to a fiftieth of it, and LayerNorm makes each token's deviation 1 in both cases."""
    for name, deviation in (("default", 1.0), ("bert", 0.02)):
        x = start(deviation)[0]
        each, after = x.std(axis=1), layer_norm(x).std(axis=1)
        measured(**{f"deviation_{name}": deviation, f"sum_{name}": x.std(), f"after_{name}": after.mean()})
        measured(**{f"shortest_{name}": each.min(), f"longest_{name}": each.max()})
        # a standard deviation of k normal entries has relative standard error 1 / sqrt(2 k)
        assert x.std() == pytest.approx(deviation * 2**0.5, rel=Z / math.sqrt(2 * x.size))
        assert each == pytest.approx(deviation * 2**0.5, rel=Z / math.sqrt(2 * x.shape[1]))
        assert each.max() > 1.1 * each.min()  # control: without LayerNorm the tokens differ
        assert after == pytest.approx(1, abs=1e-5)
    module = TransformerEmbedding(10_000, 512, 128).eval()
    table, out = module.token_embed.weight, module(torch.randint(10_000, (32, 128), generator=seeded))
    measured(inputs=len(x), width=x.shape[1], default_table=table.std().item(), module_output=out.std().item())
    assert table.std().item() == pytest.approx(1, rel=Z / math.sqrt(2 * table.numel()))
    # the same position rows serve all texts: 128 · 512 independent entries at least
    assert out.std().item() == pytest.approx(2**0.5, rel=Z / math.sqrt(2 * 128 * 512))


def test_untrained_tied_head_answers_with_the_input_token(measured):
    """Measured on 128 inputs of width 512 and 10,000 tokens: a tied head on the LayerNorm of token row plus position
    row gives the own token the largest logit, on average the deviation times 512/√2; with the default deviation 1
    the cross-entropy of random targets starts at 362, with 0.02 near that of guessing, and it is 86 with the own
    token taken out."""
    vocabulary, n, d = 10_000, 128, 512
    measured(vocabulary=vocabulary, inputs=n, width=d, guessing=math.log(vocabulary))
    for name, deviation in (("default", 1.0), ("root", d**-0.5), ("bert", 0.02)):
        _, own, loss = start(deviation)
        rng = np.random.default_rng(0)  # the same numbers once more, for torch
        rows = torch.tensor(deviation * rng.standard_normal((vocabulary + n, d), dtype=np.float32))
        token_ids, targets = torch.tensor(rng.integers(vocabulary, size=(2, n), dtype=np.int64))
        states = F.layer_norm(rows[token_ids] + rows[vocabulary:], (d,), eps=1e-12)
        logits = states @ rows[:vocabulary].T
        oracle, wins = F.cross_entropy(logits, targets).item(), (logits.argmax(1) == token_ids).float().mean()
        others = logits.scatter(1, token_ids[:, None], -torch.inf)
        without = F.cross_entropy(others, targets).item()
        measured(**{f"deviation_{name}": deviation, f"own_{name}": own.mean(), f"loss_{name}": loss})
        measured(**{f"without_own_{name}": without, f"wins_{name}": wins})
        assert loss == pytest.approx(oracle, rel=1e-4)
        # e·(e + p) / (√2 deviation) has mean deviation · d / √2 and variance 1.5 d · deviation²
        assert own.mean() == pytest.approx(deviation * d / 2**0.5, abs=Z * deviation * math.sqrt(1.5 * d / n))
        assert wins == 1
        assert without < loss
        if name == "default":
            assert loss > 300
            assert 60 < without < 120  # control: 22.6 is the deviation of the logits, over √128 inputs 2
    assert math.log(vocabulary) < loss < math.log(vocabulary) + 0.5


def test_scale_of_the_tables_divides_their_gradient(measured, seeded):
    """Proved, checked in double precision: LayerNorm returns the same for tables 50 times as large, and their gradient
    is 50 times as small, so a step of gradient descent moves them 2,500 times less in proportion, a sign step as in
    early Adam 50 times; without LayerNorm the output grows and the gradient does not change."""
    factor, d = 50, 64
    small = BertEmbeddings(vocabulary=20, d_model=d).double().eval()
    ids, target = torch.arange(20)[None], torch.randn(1, 20, d, generator=seeded, dtype=torch.float64)
    outputs, gradients, bare = [], [], []
    for scale in (1, factor):
        module = BertEmbeddings(vocabulary=20, d_model=d).double().eval()
        module.load_state_dict(small.state_dict())
        for table in (module.word_embeddings, module.position_embeddings, module.token_type_embeddings):
            table.weight.data *= scale
        for norm, collected in ((module.LayerNorm, gradients), (nn.Identity(), bare)):
            module.LayerNorm = norm
            module.zero_grad()
            out = module(ids)
            (out * target).sum().backward()
            collected.append(module.word_embeddings.weight.grad[1:].clone())  # row 0 is [PAD]: frozen
            outputs.append(out.detach())
    ratio = (gradients[0].norm() / gradients[1].norm()).item()
    lengths = module.word_embeddings.weight.norm() / small.word_embeddings.weight.norm()
    control = (bare[0].norm() / bare[1].norm()).item()
    measured(factor=factor, output_difference=(outputs[0] - outputs[2]).abs().max(), gradient_ratio=ratio)
    measured(step_ratio=round(ratio * lengths.item(), 3), sign_step_ratio=round(lengths.item(), 9))
    measured(gradient_ratio_without_norm=control)
    assert torch.allclose(outputs[0], outputs[2], atol=1e-6)  # epsilon is 1e-9 of the variance
    assert ratio == pytest.approx(factor, rel=1e-6)
    assert torch.allclose(gradients[0], factor * gradients[1], rtol=1e-5)
    assert torch.allclose(bare[0], bare[1])  # control: without LayerNorm
    assert torch.allclose(outputs[3], factor * outputs[1])


def test_bert_tables_are_narrower_than_their_setting(measured, transformers, seeded):
    """Measured on 768,000 entries: a normal of deviation 0.02 that is cut at two deviations, as in BERT's code, has
    deviation 0.0176; Hugging Face's untrained BERT has 0.0200, and so has PyTorch's `trunc_normal_` if the bounds,
    which are absolute, are left at ±2."""
    rows, d = 1001, 768  # row 0 is [PAD]
    config = transformers.BertConfig(
        vocab_size=rows, hidden_size=d, num_hidden_layers=1, num_attention_heads=1, intermediate_size=1
    )
    loose = nn.init.trunc_normal_(torch.empty(rows, d), std=0.02)
    tables = {
        "ours": BertEmbeddings(rows, d).word_embeddings.weight,
        "hugging_face": transformers.BertModel(config).embeddings.word_embeddings.weight,
        "default_bounds": loose,
    }
    found = {name: table[1:].std().item() for name, table in tables.items()}
    density, mass = math.exp(-2) / math.sqrt(2 * math.pi), math.erf(2**0.5)
    theory = 0.02 * math.sqrt(1 - 4 * density / mass)  # variance of a normal cut at two deviations
    measured(setting=0.02, theory=theory, largest_ours=tables["ours"].abs().max(), **found)
    measured(largest_default_bounds=loose.abs().max(), entries=768 * 1000, bound=2)
    tolerance = Z / math.sqrt(2 * 768_000)  # relative; the kurtosis of the cut normal is smaller still
    assert found["ours"] == pytest.approx(theory, rel=tolerance)
    assert found["hugging_face"] == pytest.approx(0.02, rel=tolerance)
    assert found["default_bounds"] == pytest.approx(0.02, rel=tolerance)
    assert tables["ours"].abs().max() <= 0.04 < loose.abs().max()


# LayerNorm and dropout


def test_layer_norm_is_mostly_one_scale(measured, monkeypatch):
    """Measured on all-MiniLM-L6-v2: without the LayerNorm of the embeddings the sentence vectors are lost; one divisor
    for all tokens, then gain and bias, brings back most of them; gain and bias without a divisor do not."""
    module, batch, right = trained(), bert.encode(TEXTS), vectors()
    gain, bias = module.LayerNorm.weight, module.LayerNorm.bias
    after = module(*batch[:3])[batch.mask].std().item()
    module.LayerNorm = nn.Identity()
    raw = module(*batch[:3])
    each = raw.std(-1, unbiased=False)[batch.mask]  # (visible tokens,)

    class Scale(nn.Module):
        def __init__(self, divisor):
            super().__init__()
            self.divisor = divisor

        def forward(self, x):
            return x / self.divisor * gain + bias

    for name, divisor in (("one divisor", each.mean()), ("no divisor", 1.0)):
        monkeypatch.setitem(MODULE, name, lambda m, divisor=divisor: setattr(m, "LayerNorm", Scale(divisor)))
    names = ("no LayerNorm", "no divisor", "gain, bias not loaded", "one divisor")
    lost, bare, plain, one = (cosine(vectors(name), right) for name in names)
    measured(raw=raw[batch.mask].std(), after=after, shortest=each.min(), longest=each.max(), texts=len(TEXTS))
    measured(without=lost, gain_and_bias_only=bare, divisor_per_token_only=plain, one_divisor=one)
    measured(cls=raw[:, 0].std(-1, unbiased=False).mean(), middle=each.median())
    assert max(lost, bare) < 0.4
    assert one > 0.95 > plain > 0.8
    assert torch.allclose(vectors(), bert.sentence_embeddings(batch), atol=1e-5)  # control: the model as it is


def test_first_layer_loses_focus_without_layer_norm(measured):
    """Measured on all-MiniLM-L6-v2: fed with the bare sum, the heads of the first layer spread their attention almost
    evenly; the mean largest weight falls from 0.33 to 0.14."""
    batch, largest = bert.encode(TEXTS), {}
    for name in ("[PAD] right", "no LayerNorm"):
        module = trained()
        MODULE.get(name, nn.Module.eval)(module)
        run = bert.run_bert(batch, embed=lambda b, *_, module=module: module(*b[:3]))
        weights = run.weights[0].amax(-1).mean(1)  # (batch, queries)
        largest[name] = weights[batch.mask].mean().item()
    uniform = (1 / batch.mask.sum(1)).mean().item()
    measured(largest=largest["[PAD] right"], largest_of_bare_sum=largest["no LayerNorm"], uniform=uniform)
    assert uniform < largest["no LayerNorm"] < largest["[PAD] right"] / 2


def test_dropout_before_layer_norm_shrinks_the_mean(measured):
    r"""Measured on 2,000 masks and width 512: dropout after LayerNorm keeps the mean output, dropout before it shrinks
    the mean by $\sqrt{1-p}$, because LayerNorm divides by the variance that dropout adds."""
    n, d = 2000, 512
    for p in (0, 0.1, 0.5):
        after, before = (mean_under_dropout(p, norm_first) for norm_first in (True, False))
        key = str(p).replace(".", "_")
        measured(**{f"rate_{key}": p, f"after_{key}": after, f"before_{key}": before, f"root_{key}": (1 - p) ** 0.5})
        # Σ y² kept / d over n masks has standard error sqrt(Σ y⁴ p / (1 - p) / n) / d, Σ y⁴ = 3 d, for the normal y
        # of the listing Σ y⁴ is at most 4 d; width 512 adds less than 1 / d to the formula for `before`.
        error = Z * math.sqrt(4 * p / (1 - p) / (n * d))
        assert after == pytest.approx(1, abs=error + 1e-9)
        assert before == pytest.approx((1 - p) ** 0.5, abs=error + 1 / d)
    measured(masks=n, width=d)


# Padding


def test_padding_idx_zeroes_a_row_not_a_vector(measured, seeded):
    """Proved, checked on our module: `padding_idx` makes one row of the token table zero and keeps its gradient at
    zero; what enters the encoder for [PAD] is LayerNorm of position and segment, as long as any other token's
    vector. An initialisation after it overwrites the zeros."""
    d = 64
    module = BertEmbeddings(vocabulary=30, d_model=d).eval()
    ids = torch.tensor([[7, 8, 0, 0]])
    out = module(ids)
    out.square().mul(torch.randn(d, generator=seeded)).sum().backward()
    gradients = module.word_embeddings.weight.grad.norm(dim=1)
    overwritten = nn.Embedding(30, d, padding_idx=0)
    before = overwritten.weight[0].norm().item()
    nn.init.normal_(overwritten.weight, std=0.02)
    free = TransformerEmbedding(30, d, 8).eval()
    free(ids).square().sum().backward()
    measured(width=d, row=module.word_embeddings.weight[0].norm(), gradient=gradients[0], vector=out[0, 2].norm())
    measured(vector_of_token=out[0, 0].norm(), built=before, overwritten=overwritten.weight[0].norm())
    assert module.word_embeddings.weight[0].norm() == gradients[0] == before == 0
    assert gradients[7] > 0
    assert out.norm(dim=-1).detach() == pytest.approx(np.full((1, 4), d**0.5), rel=1e-5)
    assert overwritten.weight[0].norm() > 0.05
    assert free.token_embed.weight.grad[0].norm() > 0  # control: no padding_idx, the row is trained


def test_mask_hides_padding_whatever_its_row(measured, monkeypatch):
    """Measured on all-MiniLM-L6-v2, whose [PAD] row is not zero: behind the mask 16 [PAD] change nothing, nor do a zero
    row or one ten times as long; without the mask they take over, with a zero row still more."""
    right, row = vectors(), trained().word_embeddings.weight[0].norm()
    monkeypatch.setitem(MODULE, "zero row", lambda m: m.word_embeddings.weight[0].zero_())
    monkeypatch.setitem(MODULE, "long row", lambda m: m.word_embeddings.weight[0].mul_(10))
    changes = [(vectors(*edit, "[PAD] right") - right).abs().max() for edit in ((), ("zero row",), ("long row",))]
    seen, zero_seen = (cosine(vectors(*edit, "[PAD] not masked"), right) for edit in ((), ("zero row",)))
    measured(pads=16, row=row, change=max(changes), cosine_unmasked=seen, cosine_unmasked_zero_row=zero_seen)
    measured(times=10)
    assert row > 0.5
    assert max(changes) < 1e-5
    assert max(seen, zero_seen) < 0.8  # control: the same padding, visible


def test_left_padding_needs_position_ids(measured, oracle, transformers, seeded):
    """Measured on all-MiniLM-L6-v2, in our code and in transformers 5: 16 [PAD] on the left, masked, move the sentence
    vector, because positions are the slots; counted positions undo it. RoBERTa's code counts them by itself."""
    right, left = vectors(), padded(bert.encode(TEXTS), left=True)
    ours = cosine(vectors("[PAD] left"), right)
    mended = bert.sentence_embeddings(left._replace(position_ids=positions(left.mask)))
    given = {"input_ids": left.token_ids, "attention_mask": left.mask.long()}
    with torch.no_grad():
        library, library_mended = (
            cosine(bert.mean_pool(oracle(**given, **more).last_hidden_state, left.mask), right)
            for more in ({}, {"position_ids": positions(left.mask)})
        )
    measured(pads=16, cosine=ours, change_when_counted=(mended - right).abs().max(), library=library)
    measured(library_when_counted=library_mended)
    assert ours == pytest.approx(library, abs=1e-5)
    assert ours < 0.95
    assert torch.allclose(mended, right, atol=1e-5)
    assert library_mended == pytest.approx(1, abs=1e-5)
    sizes = {"vocab_size": 50, "hidden_size": 8, "num_hidden_layers": 1, "num_attention_heads": 1}
    moved = []
    for kind, pad in (("Roberta", 1), ("Bert", 0)):
        config = getattr(transformers, f"{kind}Config")(**sizes, intermediate_size=8, max_position_embeddings=40)
        model = getattr(transformers, f"{kind}Model")(config).eval()
        ids = torch.randint(5, 50, (1, 6), generator=seeded)
        shifted = F.pad(ids, (4, 0), value=pad)
        with torch.no_grad():
            plain, found = model(ids), model(shifted, attention_mask=(shifted != pad).long())
        moved.append((plain.last_hidden_state - found.last_hidden_state[:, 4:]).abs().max().item())
    measured(roberta_change=moved[0], bert_change=moved[1])
    assert moved[0] < 1e-5
    assert moved[1] > 0.1


def test_segment_row_matters_but_which_does_not(measured):
    """Measured on all-MiniLM-L6-v2, tuned on single texts: in pairs of sentences, segment ids all 0, or swapped, hardly
    move the vector, the same for single sentences with ids of 1; no segment row at all moves both far."""
    pairs = bert.encode([(TEXTS[i], TEXTS[(i + 1) % len(TEXTS)]) for i in range(len(TEXTS))])
    right, single = bert.sentence_embeddings(pairs), vectors()
    name, weights = "embeddings.token_type_embeddings.weight", bert.load_parameters()
    swapped, zero = (
        cosine(bert.sentence_embeddings(pairs._replace(segment_ids=ids)), right)
        for ids in (1 - pairs.segment_ids, 0 * pairs.segment_ids)
    )
    none = cosine(bert.sentence_embeddings(pairs, {**weights, name: 0 * weights[name]}), right)
    other, dropped = (cosine(vectors(name), single) for name in ("segment ids 1", "no segment row"))
    measured(pairs_swapped=swapped, pairs_all_zero=zero, pairs_without_row=none, singles_with_ids_1=other)
    measured(singles_without_row=dropped, singles=len(TEXTS), other_id=1)
    assert min(swapped, zero, other) > 0.98
    assert max(none, dropped) < 0.8


# The corrected module


def test_corrected_module_equals_hugging_faces_embeddings(measured, oracle):
    """Measured in transformers 5 on the weights of all-MiniLM-L6-v2: our module gives the output of `BertEmbeddings`
    and the same gradients, for pairs, padding on either side and default ids, with dropout of one seed as well, and
    `inputs_embeds` replaces the token lookup only; PyTorch's default epsilon or a missing segment row are told
    apart."""
    theirs, ours = oracle.embeddings, trained().requires_grad_(True)
    batches = [bert.encode([(TEXTS[0], TEXTS[1]), TEXTS[2]])]
    batches += [padded(batches[0], left=left) for left in (False, True)]
    differences = []
    for batch in batches:
        token_ids, segment_ids = batch[:2]
        counted = positions(batch.mask)
        named = {"input_ids": token_ids, "token_type_ids": segment_ids}
        looked_up = {"inputs_embeds": theirs.word_embeddings(token_ids), "token_type_ids": segment_ids}
        both = [
            (ours(token_ids), theirs(input_ids=token_ids)),
            (ours(token_ids, segment_ids), theirs(**named)),
            (ours(token_ids, segment_ids), theirs(**looked_up)),
            (ours(token_ids, segment_ids, counted), theirs(**named, position_ids=counted)),
        ]
        differences += [(a - b).abs().max().item() for a, b in both]
    a, b = both[-1]
    weights = torch.randn(a.shape, generator=torch.Generator().manual_seed(0))
    (a * weights).sum().backward()
    (b * weights).sum().backward()
    names = list(ours.state_dict())
    gradients = [
        (mine.grad - other.grad).abs().max().item()
        for mine, other in zip(ours.parameters(), theirs.parameters(), strict=True)
    ]
    theirs.zero_grad()
    trains = []
    for module in (ours, theirs):  # the same seed gives the same dropout, if it comes at the same place
        with torch.random.fork_rng():
            torch.manual_seed(0)
            trains.append(module.train()(*batch[:2]))
        module.eval()
    trained_difference = (trains[0] - trains[1]).abs().max().item()
    wrong = {}
    for name in ("epsilon 1e-5", "no segment row", "no LayerNorm"):
        module = trained()
        MODULE[name](module)
        wrong[name] = (module(*batches[0][:3]) - ours(*batches[0][:3])).abs().max().item()
    measured(difference=max(differences), gradient_difference=max(gradients), calls=len(differences))
    measured(with_default_epsilon=wrong["epsilon 1e-5"], without_segment_row=wrong["no segment row"])
    measured(without_layer_norm=wrong["no LayerNorm"], tensors=len(names), default_epsilon=nn.LayerNorm(2).eps)
    measured(difference_with_dropout=trained_difference, dropped=(trains[0] == 0).double().mean())
    assert names == list(theirs.state_dict())
    assert max(differences) < 2e-6
    assert trained_difference < 2e-6
    assert max(gradients) < 1e-4
    assert ours.word_embeddings.weight.grad[0].norm() == 0  # [PAD]: frozen in both
    assert wrong["no segment row"] > wrong["epsilon 1e-5"] > 1e-3


def test_saved_position_ids_break_strict_loading(measured):
    """Measured on the file of all-MiniLM-L6-v2: it carries a tensor of position ids, 0 to 511, that nobody learned; a
    module that makes its positions refuses it, and loads once the key is deleted."""
    prefix = "embeddings."
    tensors = {name.removeprefix(prefix): x for name, x in load_file(WEIGHTS).items() if name.startswith(prefix)}
    with torch.device("meta"):
        module = BertEmbeddings(30_522, 384)
    ids = tensors["position_ids"]
    measured(saved=len(tensors), learned=len(module.state_dict()), rows=ids.numel(), last=ids.max())
    assert torch.equal(ids, torch.arange(512)[None])
    with pytest.raises(RuntimeError, match=r"Unexpected key.*position_ids"):
        module.load_state_dict(tensors, assign=True)
    del tensors["position_ids"]
    module.load_state_dict(tensors, assign=True)  # control: without it


def test_embedding_layer_parameters_of_bert_base(measured, transformers):
    """Proved by counting, checked on Hugging Face's BertModel: the input layer of BERT-base has 23,837,184 parameters,
    22 % of the model, that of all-MiniLM-L6-v2 11,918,592, more than half."""
    with torch.device("meta"):  # shapes only
        base, ours = transformers.BertModel(transformers.BertConfig()), BertEmbeddings(30_522, 768)
    count, total = sum(part.numel() for part in ours.parameters()), base.num_parameters()
    small = sum(part.numel() for part in trained().parameters())
    whole = sum(tensor.numel() for tensor in bert.load_parameters().values())
    word, position, segment = 30_522 * 768, 512 * 768, 2 * 768
    measured(base=count, word=word, position=position, segment=segment, layer_norm=2 * 768, share=count / total)
    measured(width=768, minilm=small, minilm_share=small / whole)
    assert count == sum(part.numel() for part in base.embeddings.parameters()) == word + position + segment + 2 * 768
    assert small == (30_522 + 512 + 2 + 2) * 384


def test_wrong_inputs_keep_the_right_shape(measured):
    """Measured on all-MiniLM-L6-v2: each of eleven wrong input layers runs and returns numbers of the right shape; the
    cosine with the right sentence vector goes from 1.000 for a wrong epsilon down to 0.02 for the circulating
    module with the trained tables."""
    batch, right, found, shapes = bert.encode(TEXTS), vectors(), {}, 0
    for name in MODULE | INPUT:
        out = vectors(name)
        found[name] = cosine(out, right)
        shapes += out.shape == right.shape and bool(out.isfinite().all())
    weights = bert.load_parameters()
    tables = {
        key: weights[f"embeddings.{table}_embeddings.weight"]
        for key, table in (("token", "word"), ("position", "position"))
    }
    module = circulating(tables)
    own = bert.sentence_embeddings(batch, embed=lambda b, *_: module(b.token_ids))
    other = (right @ right.T)[~torch.eye(len(right), dtype=torch.bool)].mean()
    lengths = batch.mask.sum(1)
    measured(**{re.sub(r"\W+", "_", name).strip("_"): value for name, value in found.items()})
    measured(wrong=len(found) - 1, right_shapes=shapes, between_texts=other, pads=16, epsilon=1e-5)
    measured(texts=len(TEXTS), shortest_text=lengths.min(), longest_text=lengths.max())
    assert shapes == len(found) == 12
    assert torch.allclose(own, vectors("circulating module"), atol=1e-5)
    assert found["[PAD] right"] == pytest.approx(1, abs=1e-6)  # control: nothing is wrong
    assert found["epsilon 1e-5"] > 0.9999
    assert found["segment ids 1"] > 0.98
    assert 0.95 < found["dropout left on"] < 0.999
    order = ("[PAD] left", "gain, bias not loaded", "tokens times √d", "no position rows", "no LayerNorm")
    assert all(found[better] > found[worse] for better, worse in itertools.pairwise(order))
    assert found["circulating module"] < 0.1
