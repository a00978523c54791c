"""Claims of docs/questions/weight-sharing.md."""

import functools

import numpy as np
import pytest
import safetensors
import torch
import torch.nn.functional as F
from bert import encode, load_parameters, load_tokenizer, run_bert
from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, trainers
from torch import nn
from weight_sharing import (
    COUNTS,
    PARTS,
    TABLE,
    D,
    V,
    bert,
    bert_heads,
    embed,
    layer,
    logits,
    loss_and_gradients,
    random_tables,
    train,
    trained_winners,
    transformer,
    translation_gradients,
    winners,
)

TINY = {"hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 32}


def parameters(model: nn.Module) -> int:
    """Each parameter once, however many modules use it."""
    return sum(weight.numel() for weight in model.parameters())


def marian(
    transformers, vocabulary: int = 1000, d: int = 64, d_ff: int = 64, n_layers: int = 1, **options
) -> nn.Module:
    """An untrained encoder and decoder for translation, without storage."""
    tokens = {"pad_token_id": 0, "eos_token_id": 0, "forced_eos_token_id": 0, "decoder_start_token_id": 0}
    vocabularies = {"vocab_size": vocabulary, "decoder_vocab_size": vocabulary}
    encoder = {"encoder_layers": 1, "encoder_ffn_dim": 64, "encoder_attention_heads": 8}
    decoder = {"decoder_layers": n_layers, "decoder_ffn_dim": d_ff, "decoder_attention_heads": 8}
    settings = {**tokens, **vocabularies, **encoder, **decoder, **options, "attn_implementation": "eager"}
    with torch.device("meta"):
        return transformers.MarianMTModel(transformers.MarianConfig(d_model=d, **settings))


def multiplications(model: nn.Module, **inputs) -> dict[str, int]:
    """What a forward pass multiplies in its linear layers, by the layer's name."""
    counts = {}
    for name, module in model.named_modules():
        if isinstance(module, nn.Linear):

            def count(module, arguments, _, name=name):
                positions = arguments[0].shape[:-1].numel()
                counts[name] = counts.get(name, 0) + positions * module.weight.numel()

            module.register_forward_hook(count)
    model(**inputs)
    return counts


def test_linear_head_shares_embedding_without_transpose(measured):
    """Proved, checked in PyTorch: `nn.Linear(d, V)` stores its weight as (V, d), the shape of the table of
    `nn.Embedding(V, d)`, and computes $x W^\\top$, so one tensor can serve both and is counted once."""
    vocabulary, d = 1000, 64
    with torch.random.fork_rng():
        torch.manual_seed(0)
        table, head = nn.Embedding(vocabulary, d), nn.Linear(d, vocabulary, bias=False)
    separate = parameters(nn.ModuleList([table, head]))
    shapes = tuple(table.weight.shape), tuple(head.weight.shape)
    head.weight = table.weight
    tied = parameters(nn.ModuleList([table, head]))
    states = torch.randn(5, d, generator=torch.Generator().manual_seed(0))
    error = (head(states) - logits(table.weight, states)).abs().max()
    measured(rows=shapes[1][0], columns=shapes[1][1], separate=separate, tied=tied, error=error)
    assert shapes[0] == shapes[1] == (vocabulary, d)
    assert head.weight.data_ptr() == table.weight.data_ptr()
    assert (separate, tied) == (2 * vocabulary * d, vocabulary * d)
    assert error < 1e-5  # float32


def test_library_translation_model_has_one_table(measured, transformers):
    """Proved, checked on MarianMT in transformers: by default the encoder's embedding, the decoder's embedding and the
    output projection are one tensor; separate vocabularies leave the tie inside the decoder, and without tying there
    are three tables."""
    found = {}
    for name, options in {
        "default": {},
        "own_vocabularies": {"share_encoder_decoder_embeddings": False},
        "untied": {"tie_word_embeddings": False},
    }.items():
        model = marian(transformers, **options)
        encoder, decoder = model.model.encoder.embed_tokens.weight, model.model.decoder.embed_tokens.weight
        found[name] = {id(encoder), id(decoder), id(model.lm_head.weight)}
        assert (encoder is decoder) == (name == "default")
        assert (decoder is model.lm_head.weight) == (name != "untied")
    measured(uses=3, **{f"tables_{name}": len(tables) for name, tables in found.items()})
    assert [len(tables) for tables in found.values()] == [1, 2, 3]


def tiny_bert(kind: type, **options) -> nn.Module:
    """A small untrained BERT with 50 tokens, the same on every call."""
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return kind(kind.config_class(vocab_size=50, **TINY, **options)).eval()


def test_bert_decoder_is_its_word_table(measured, transformers):
    """Proved, checked on BertForMaskedLM in transformers: the decoder of the masked language model is the word table
    itself; before it stand a dense layer, GELU and LayerNorm, after it a bias for each token."""
    model = tiny_bert(transformers.BertForMaskedLM)
    untied = tiny_bert(transformers.BertForMaskedLM, tie_word_embeddings=False)
    ids = torch.tensor([[2, 7, 9, 3]])
    head, words = model.cls.predictions, model.bert.embeddings.word_embeddings
    with torch.no_grad():
        head.bias.copy_(torch.linspace(-1, 1, 50))
        states, scores = model.bert(ids).last_hidden_state, model(ids).logits
        error = (scores - logits(words.weight, head.transform(states), head.bias)).abs().max()
        without = (scores - logits(words.weight, states, head.bias)).abs().max()
    measured(error=error, error_without_transform=without, biases=head.bias.numel(), tokens=50)
    assert head.decoder.weight is words.weight
    assert untied.cls.predictions.decoder.weight is not untied.bert.embeddings.word_embeddings.weight  # control
    assert error < 1e-6
    assert without > 1e-2  # control: the transform is not the identity


def test_tied_table_is_saved_once(measured, transformers, tmp_path):
    """Proved, checked on BertForMaskedLM in transformers: the file of a tied model holds the table once, and loading
    ties the two uses again; without tying the file holds both."""
    found = {}
    for tied in (True, False):
        tiny_bert(transformers.BertForMaskedLM, tie_word_embeddings=tied).save_pretrained(tmp_path / str(tied))
        with safetensors.safe_open(tmp_path / str(tied) / "model.safetensors", "pt") as file:
            found[tied] = sum(file.get_slice(name).get_shape() == [50, 16] for name in file.keys())
    measured(saved_if_tied=found[True], saved_if_separate=found[False], tokens=50, width=16)
    loaded = transformers.BertForMaskedLM.from_pretrained(tmp_path / "True")
    assert found == {True: 1, False: 2}
    assert loaded.cls.predictions.decoder.weight is loaded.bert.embeddings.word_embeddings.weight


def test_transformer_2017_counts_by_number_of_tables(measured):
    """Proved, counted and checked against `torch.nn.Transformer`: with 37,000 tokens the base model has 63.0 million
    parameters with one shared table and 100.9 million with three, the big model 214.2 and 289.9 million."""
    for name, d, d_ff, heads in (("base", 512, 2048, 8), ("big", 1024, 4096, 16)):
        with torch.device("meta"):
            oracle = nn.Transformer(d, heads, 6, 6, d_ff, batch_first=True)
        # PyTorch adds what the paper's formulas lack: biases in attention and a LayerNorm after each stack.
        kept = [
            weight.numel()
            for part, weight in oracle.named_parameters()
            if not ("attn" in part and "bias" in part) and part.split(".")[1] != "norm"
        ]
        layers, table = transformer(d, d_ff, tables=0), 37_000 * d
        one, two, three = (transformer(d, d_ff, tables) for tables in (1, 2, 3))
        measured(**{f"{name}_layers": layers, f"{name}_table": table, f"{name}_one": one, f"{name}_three": three})
        measured(**{f"{name}_two": two, f"{name}_saved": 1 - one / three, f"{name}_saved_tokens": three - one})
        measured(**{f"{name}_one_millions": one / 1e6, f"{name}_three_millions": three / 1e6})
        assert layers == sum(kept)
        assert COUNTS[f"Transformer {name}"] == (one, three)
        assert (two - one, three - one) == (table, 2 * table)
    measured(vocabulary=37_000)


def test_bert_base_counts_with_and_without_tie(measured, transformers):
    """Proved, counted and checked against transformers: BERT-base has 109,482,240 parameters, its word table 23,440,896
    of them; with both pre-training heads it has 110,106,428, and 133,547,324 if the head had a table of its own."""
    with torch.device("meta"):
        encoder, pretraining, untied = (
            parameters(kind(transformers.BertConfig(**options)))
            for kind, options in (
                (transformers.BertModel, {}),
                (transformers.BertForPreTraining, {}),
                (transformers.BertForPreTraining, {"tie_word_embeddings": False}),
            )
        )
    words, tied, separate = 30_522 * 768, bert() + bert_heads(), bert() + bert_heads(2)
    measured(vocabulary=30_522, width=768, encoder=encoder, words=words, share=words / encoder, heads=bert_heads())
    measured(tied=tied, separate=separate, saved=1 - tied / separate, library_untied=untied)
    assert (bert(), tied) == (encoder, pretraining) == (109_482_240, 110_106_428)
    assert COUNTS["BERT-base, heads"] == (tied, separate)
    assert untied == separate + 30_522  # the library then keeps the bias of the head twice, too


def test_albert_counts_and_multiplications(measured, transformers):
    """Proved, counted and checked against transformers: ALBERT-base shares one layer twelve times and has 11,683,584
    parameters instead of 89,650,176, but a forward pass multiplies exactly as often; a table of width 128 with a
    projection has 3,938,304 parameters instead of 23,040,000."""
    sizes = {"hidden_size": 768, "num_attention_heads": 12, "intermediate_size": 3072}
    found = {}
    for groups in (1, 12):
        with torch.device("meta"):
            model = transformers.AlbertModel(transformers.AlbertConfig(**sizes, num_hidden_groups=groups)).eval()
            work = multiplications(model, input_ids=torch.zeros(1, 16, dtype=torch.long))
        found[groups] = parameters(model), sum(work.values())
    wide, narrow = 30_000 * 768, 30_000 * 128 + 128 * 768
    measured(tokens=16, layers=12, shared=found[1][0], not_shared=found[12][0], multiplications=found[1][1])
    measured(multiplications_not_shared=found[12][1], saved=1 - found[1][0] / found[12][0], width=128)
    measured(wide_table=wide, narrow_table=narrow, ratio=wide / narrow, vocabulary=30_000)
    assert COUNTS["ALBERT: layers"] == (found[1][0], found[12][0]) == (11_683_584, 89_650_176)
    assert found[1][1] == found[12][1]
    assert bert(30_000, 768, 1) - bert(30_000, 128, 1) == wide - narrow + (512 + 2 + 2) * (768 - 128) - 768


def test_tied_gradient_adds_all_uses(measured):
    """Proved, checked by finite differences and PyTorch's derivative: the gradient of a table that is source embedding,
    target embedding and output projection is the sum of the gradients that three separate tables would get."""
    rng = np.random.default_rng(0)
    table, body = rng.standard_normal((9, 4)) / 2, rng.standard_normal((4, 4)) / 2
    x, y = rng.integers(0, 9, (6, 2)), rng.integers(0, 9, 6)
    loss, lookup, softmax, _ = loss_and_gradients(table, table, body, x, y)

    copies = [torch.tensor(table, requires_grad=True) for _ in range(3)]
    states = torch.tanh(4**0.5 * sum(F.embedding(torch.tensor(x[:, i]), copies[i]) for i in (0, 1))) @ torch.tensor(
        body
    )
    oracle = F.cross_entropy(states @ copies[2].T, torch.tensor(y))
    source, target, output = (part.numpy() for part in torch.autograd.grad(oracle, copies))

    differences, step = np.zeros_like(table), 1e-6
    for entry in np.ndindex(table.shape):
        up, down = table.copy(), table.copy()
        up[entry] += step
        down[entry] -= step
        differences[entry] = sum(
            sign * loss_and_gradients(t, t, body, x, y)[0] / (2 * step) for sign, t in ((1, up), (-1, down))
        )
    errors = [np.abs(lookup + softmax - other).max() for other in (source + target + output, differences)]
    one_use_missing = min(np.abs(part).max() for part in (source, target, output))
    measured(uses=3, error_against_torch=errors[0], error_against_differences=errors[1], smallest_use=one_use_missing)
    assert loss == pytest.approx(oracle.item(), rel=1e-12)
    assert errors[0] < 1e-14
    # Central differences err by step²/6 times the third derivative, and by rounding, 1e-16 / step.
    assert errors[1] < 1e-8
    assert np.abs(lookup - source - target).max() < 1e-14
    assert one_use_missing > 0.01  # control: leave out any use and the sum is wrong


def test_lookup_moves_few_rows_softmax_all(measured):
    """Proved, checked on a random table of 1,000 tokens of two languages: lookups give a gradient only to the rows that
    were looked up, softmax gives one to every row at every step, those of the other language included."""
    lookup, softmax = (np.abs(part).sum(axis=1) > 0 for part in translation_gradients())
    rows = {name.replace(" ", "_"): slice(*bounds) for name, bounds in PARTS.items()}
    measured(rows=len(lookup), pairs=32, lookup=lookup.sum(), softmax=softmax.sum())
    measured(**{f"{name}_rows": part.stop - part.start for name, part in rows.items()})
    measured(**{f"{name}_by_lookup": lookup[part].sum() for name, part in rows.items()})
    measured(**{f"{name}_by_softmax": softmax[part].sum() for name, part in rows.items()})
    rng = np.random.default_rng(0)  # the tokens that translation_gradients draws after its table
    rng.standard_normal((1000, 64))
    seen = {*rng.integers(0, 600, 32).tolist(), *rng.integers(400, 1000, (2, 32))[0].tolist()}
    assert set(np.flatnonzero(lookup).tolist()) == seen
    assert softmax.all()


def test_trained_table_is_moved_in_every_row(measured):
    """Measured on all-MiniLM-L6-v2, with its word table used as the output layer too: one masked word gives a gradient
    through the lookup to the rows of the tokens in the sentence, and through softmax to every row of the table."""
    batch = encode("the river burst its [MASK] after a week of rain")
    inputs, outputs = (load_parameters()[TABLE].double().requires_grad_() for _ in range(2))
    weights = {name: weight.double() for name, weight in load_parameters().items()} | {TABLE: inputs}
    masked = batch.token_ids == load_tokenizer().token_to_id("[MASK]")
    states = run_bert(batch, weights).hidden_states[-1][masked]
    answer = torch.tensor([load_tokenizer().token_to_id("bank")])
    gradients = torch.autograd.grad(F.cross_entropy(logits(outputs, states), answer), (inputs, outputs))
    lookup, softmax = (int((part.abs().sum(dim=1) > 0).sum()) for part in gradients)
    measured(rows=len(outputs), lookup=lookup, softmax=softmax, share_without_lookup=1 - lookup / len(outputs))
    assert lookup == len(batch.token_ids.unique())
    assert softmax == len(outputs) == 30_522


def test_equal_lengths_let_the_nearest_row_win(measured):
    """Proved, checked on random tables: among rows of equal length the largest logit belongs to the nearest row, which
    is also the row at the smallest angle; a bias of minus half the squared length does the same for any rows."""
    rows, unit, states = random_tables()
    for name, table in (("one", unit), ("three", 3 * unit)):
        largest, nearest, aligned = winners(table, states)
        measured(**{f"nearest_{name}": (largest == nearest).mean(), f"aligned_{name}": (largest == aligned).mean()})
        assert (largest == nearest).all()
        assert (largest == aligned).all()
        itself = winners(table, table[:500])[0]
        assert (itself == np.arange(500)).all()  # Cauchy-Schwarz
    largest, nearest, aligned = winners(rows, states, -(rows**2).sum(axis=1) / 2)
    measured(nearest_biased=(largest == nearest).mean(), aligned_biased=(largest == aligned).mean())
    measured(rows=len(rows), states=len(states))
    oracle = np.array([((rows - state) ** 2).sum(axis=1).argmin() for state in states])  # a plain loop
    assert (largest == nearest).all()
    assert (nearest == oracle).all()
    assert (largest == aligned).mean() < 0.9  # control: distance and angle are two things


def test_row_equal_to_the_state_can_lose(measured):
    """Proved, by example: with the rows (1, 0) and (3, 1) the state (1, 0) gets the logits 1 and 3, so the row that it
    equals has probability 0.12; scaled to equal length it wins."""
    table, state = np.array([[1.0, 0], [3.0, 1]]), np.array([[1.0, 0]])
    scores = logits(table, state)[0]
    unit = table / np.linalg.norm(table, axis=1, keepdims=True)
    measured(first=1, second=3, own_logit=scores[0], other_logit=scores[1], probability=1 / (1 + np.exp(2.0)), zero=0)
    assert tuple(scores) == (1, 3)
    assert [rows.item() for rows in winners(table, state)] == [1, 0, 0]
    assert [rows.item() for rows in winners(unit, state)] == [0, 0, 0]  # control


def test_random_rows_rarely_let_the_nearest_win(measured):
    """Measured on 3,000 normal rows of width 64: the largest logit rarely belongs to the nearest row, and for
    nearly half of the states not to the row at the smallest angle, because longer rows win."""
    rows, unit, states = random_tables()
    largest, nearest, aligned = winners(rows, states)
    lengths = np.linalg.norm(rows, axis=1)
    measured(rows=len(rows), width=rows.shape[1], nearest=(largest == nearest).mean())
    measured(aligned=(largest == aligned).mean(), length=lengths.mean(), length_of_winners=lengths[largest].mean())
    # Shares of 500 states: standard error of at most 0.5 / √500 = 0.022, and the limits are more than 6 of them away.
    assert (largest == nearest).mean() < 0.3
    assert 0.35 < (largest == aligned).mean() < 0.75
    assert lengths[largest].mean() > lengths.mean()
    assert (winners(unit, states)[0] == winners(unit, states)[1]).all()  # control


def test_trained_rows_lose_to_longer_neighbours(measured):
    """Measured on all-MiniLM-L6-v2, every 25th row of its word table: nearly every row, used as a state, gets the
    largest logit itself; a few, such as some plurals, lose to a longer neighbour; of rows of length 1 none does."""
    sample = torch.arange(0, 30_522, 25)
    raw = (trained_winners(sample) == sample).double().mean().item()
    unit = (trained_winners(sample[::10], unit=True) == sample[::10]).double().mean().item()
    table = load_parameters()[TABLE]
    length, direction = table.norm(dim=1), F.normalize(table, dim=1)
    cosines = direction[sample[::10]] @ direction.T  # (123, V)
    cosines[torch.arange(len(cosines)), sample[::10]] = -1
    measured(
        rows=len(sample), itself=raw, itself_at_equal_length=unit, nearest_cosine=cosines.amax(dim=1).median().item()
    )
    measured(spread=(length.std() / length.mean()).item(), length_of_mask=length.min().item())
    ids, name = load_tokenizer().token_to_id, load_tokenizer().id_to_token
    for token, winner in {"matrices": "matrix", "carpets": "carpet", "formulas": "formula", "bank": "bank"}.items():
        row, other = torch.tensor([ids(token)]), ids(winner)
        cosine = (direction[row] @ direction[other]).item()
        ratio = (length[row] / length[other]).item()
        measured(**{f"length_{token}": length[row].item(), f"length_winner_of_{token}": length[other].item()})
        measured(**{f"cosine_{token}": cosine, f"ratio_{token}": ratio})
        assert name(trained_winners(row).item()) == winner
        assert name(trained_winners(row, unit=True).item()) == token  # control
        assert token == winner or cosine > ratio  # what |i|² < i · j says
    assert 0.99 < raw < 1
    assert unit == 1


def test_tied_projection_is_no_inverse(measured):
    """Measured on all-MiniLM-L6-v2: projecting a state on the word table and adding up the rows with these weights
    multiplies the state by $E^\\top E$, which stretches some directions 200 times as much as others; for an inverse all
    directions would be stretched alike, as they are for orthonormal columns."""
    trained = load_parameters()[TABLE]  # (30522, 384)
    generator = torch.Generator().manual_seed(0)
    orthonormal = torch.linalg.qr(torch.randn(2000, trained.shape[1], generator=generator))[0]  # control
    found = {}
    for name, table in (("trained", trained), ("orthonormal", orthonormal)):
        back = logits(table, torch.eye(table.shape[1])) @ table  # (d, d)
        stretch = torch.linalg.eigvalsh(back.double())
        found[name] = (stretch[-1] / stretch[0]).item()
        measured(**{f"stretch_{name}": found[name]})
    measured(tokens=len(trained), width=trained.shape[1])
    assert found["orthonormal"] == pytest.approx(1, abs=1e-4)  # float32
    assert 200 < found["trained"] < 230


def positions(n: int, d: int) -> np.ndarray:
    """Sines and cosines, (n, d). Vaswani et al. 2017, section 3.5."""
    angles = np.arange(n)[:, None] * 10_000 ** (-np.arange(0, d, 2) / d)
    return np.stack([np.sin(angles), np.cos(angles)], axis=-1).reshape(n, d)


def test_root_d_lifts_rows_to_the_positions(measured):
    """Measured on a random table of width 512 with entries of variance 1/512: the position vectors are 16 times as long
    as its rows and drown them in the sum; times √512 the rows are the longer ones and dominate it."""
    n, d = 200, 512
    table = np.random.default_rng(0).standard_normal((n, d)) * d**-0.5
    found = {}
    for scaled in (False, True):
        x = embed(table, np.arange(n)[:, None], scaled)
        mixed = x + positions(n, d)
        lengths = [np.linalg.norm(vectors, axis=1) for vectors in (x, mixed)]
        found[scaled] = ((x * mixed).sum(axis=1) / lengths[0] / lengths[1]).mean()
        measured(**{f"length_{scaled}": lengths[0].mean(), f"cosine_{scaled}": found[scaled]})
    measured(width=d, root=d**0.5, position_length=np.linalg.norm(positions(n, d), axis=1).mean())
    assert np.allclose(np.linalg.norm(positions(n, d), axis=1), (d / 2) ** 0.5)
    # Row · position is N(0, 1/2) for rows of length 1, so one cosine spreads by 1/16, and by 0.04 if scaled: means of
    # 200 have standard errors below 0.005, and 6 of them are 0.03.
    assert found[False] == pytest.approx(1 / (1 + d / 2) ** 0.5, abs=0.03)
    assert found[True] == pytest.approx((2 / 3) ** 0.5, abs=0.03)


def test_unit_variance_table_spoils_the_tied_start(measured):
    """Measured on random normalised states of width 512 and 2,000 tokens: with the standard deviation 1, the default of
    `nn.Embedding`, a tied head starts with ten times the cross-entropy of guessing; with 1/√512 or BERT's 0.02 it
    starts close to guessing."""
    vocabulary, d, n = 2000, 512, 200
    rng = np.random.default_rng(0)
    states = rng.standard_normal((n, d))
    states = (states - states.mean(axis=1, keepdims=True)) / states.std(axis=1, keepdims=True)
    rows, y = rng.standard_normal((vocabulary, d)), torch.tensor(rng.integers(0, vocabulary, n))
    found = {}
    for name, deviation in (("unit", 1.0), ("root", d**-0.5), ("bert", 0.02)):
        scores = logits(rows * deviation, states)
        found[name] = F.cross_entropy(torch.tensor(scores), y).item()
        measured(**{f"loss_{name}": found[name], f"spread_{name}": scores.std(), f"deviation_{name}": deviation})
    with torch.random.fork_rng():
        torch.manual_seed(0)
        default = nn.Embedding(vocabulary, d).weight.std().item()
    measured(vocabulary=vocabulary, width=d, guess=np.log(vocabulary), default_deviation=default)
    assert default == pytest.approx(1, abs=0.01)
    # The mean of 200 losses has a standard error of the logits' spread over √200: 1.6, 0.07 and 0.03. Small logits of
    # variance v add v/2 to the loss of guessing.
    assert found["unit"] > 60
    assert found["root"] == pytest.approx(np.log(vocabulary) + 0.5, abs=0.45)
    assert found["bert"] == pytest.approx(np.log(vocabulary) + d * 0.02**2 / 2, abs=0.2)


SEEDS = 4


@functools.cache
def curve(agree: bool, tied: bool, body: bool = False, **options) -> np.ndarray:
    """A training run; no run is done twice."""
    return train(agree, tied, body, **options)


def best(*arm, **options) -> tuple[float, float]:
    """The best loss of the run that the page prints, and the mean over seeds."""
    losses = [curve(*arm, **options, seed=seed).min() for seed in range(SEEDS)]
    return losses[0], np.mean(losses).item()


def test_tying_helps_if_classes_agree(measured):
    """Measured on a toy language of 80 tokens and 800 training pairs, where the next token is of the same class: the
    best expected loss is lower with one table than with two, at three learning rates and on average over seeds."""
    tied, separate = best(True, True), best(True, False)
    measured(tokens=V, width=D, pairs=800, classes=5, seeds=SEEDS, floor=np.log(16))
    measured(tied=tied[0], separate=separate[0], tied_mean=tied[1], separate_mean=separate[1])
    measured(gain=separate[1] - tied[1])
    for rate in (0.01, 0.04):
        losses = [curve(True, kind, rate=rate).min() for kind in (True, False)]
        measured(**{f"rate_{rate}": rate, f"tied_at_{rate}": losses[0], f"separate_at_{rate}": losses[1]})
        assert losses[1] - losses[0] > 0.15
    # Over 20 seeds the difference was 0.39 ± 0.034, at least 0.32.
    assert separate[1] - tied[1] > 0.2
    assert tied[1] > np.log(16)


def test_tying_hurts_if_classes_disagree(measured):
    """Measured on the same toy language with classes of inputs that are unrelated to the classes of outputs: the best
    expected loss is far higher with one table than with two, and two tables do not notice the change."""
    tied, separate = best(False, True), best(False, False)
    agreeing = best(True, False)[1]
    measured(tied=tied[0], separate=separate[0], tied_mean=tied[1], separate_mean=separate[1], tokens=V)
    measured(loss=tied[1] - separate[1], separate_if_classes_agree=agreeing, guess=np.log(V))
    for rate in (0.01, 0.04):
        losses = [curve(False, kind, rate=rate).min() for kind in (True, False)]
        measured(**{f"rate_{rate}": rate, f"tied_at_{rate}": losses[0], f"separate_at_{rate}": losses[1]})
        assert losses[0] - losses[1] > 0.4
    # Over 20 seeds the difference was 0.73 ± 0.044, at least 0.65.
    assert tied[1] - separate[1] > 0.4
    # Control: means of four with a deviation of 0.05 each.
    assert separate[1] == pytest.approx(agreeing, abs=0.2)


def test_matrix_between_repairs_the_tie(measured):
    """Measured on the toy language with unrelated classes: a learned matrix between lookup and projection brings the
    best loss of the tied model close to that of two tables with such a matrix."""
    without, tied, separate = best(False, True)[:2], best(False, True, True), best(False, False, True)
    measured(without=without[0], tied=tied[0], separate=separate[0])
    measured(without_mean=without[1], tied_mean=tied[1], separate_mean=separate[1], gap=tied[1] - separate[1])
    # Over 20 seeds the gap was 0.05 ± 0.05 with the matrix, at most 0.12, and 0.73 ± 0.044 without.
    assert tied[1] - separate[1] < 0.25
    assert without[1] - tied[1] > 0.4


def test_tying_is_faster_only_if_classes_agree(measured):
    """Measured on the toy language: an expected loss of 3.8 nats is reached in fewer steps with one table than with two
    if the classes agree, and not in 150 steps if they are unrelated; with a matrix between it is reached, but later."""

    def steps(*arm) -> list[int]:
        below = [curve(*arm, seed=seed) <= 3.8 for seed in range(SEEDS)]
        return [10 * (int(reached.argmax()) + 1) for reached in below if reached.any()]

    agree_tied, agree_separate = steps(True, True), steps(True, False)
    unrelated_tied, unrelated_separate = steps(False, True), steps(False, False)
    matrix_tied, matrix_separate = steps(False, True, True), steps(False, False, True)
    measured(target=3.8, seeds=SEEDS, agree_tied=agree_tied[0], agree_separate=agree_separate[0])
    measured(unrelated_separate=unrelated_separate[0], matrix_tied=matrix_tied[0], matrix_separate=matrix_separate[0])
    measured(unrelated_tied_reaching=len(unrelated_tied), unrelated_tied_best=curve(False, True).min(), steps=150)
    # Over ten seeds: 20 to 30 against 40 to 60 steps; with the matrix 60 to 80 against 30 to 50.
    assert max(agree_tied) < min(agree_separate)
    assert unrelated_tied == []
    assert len(unrelated_separate) == SEEDS
    assert min(matrix_tied) > max(matrix_separate)


def test_tying_gains_fade_with_data(measured):
    """Measured on the toy language with agreeing classes: the advantage of one table over two shrinks when there are
    twenty times as many training pairs."""
    scarce, plenty = (best(True, False, n_pairs=n)[1] - best(True, True, n_pairs=n)[1] for n in (800, 16_000))
    measured(few=800, many=16_000, gain_few=scarce, gain_many=plenty, seeds=SEEDS)
    # Over four seeds the gain at 16,000 pairs lay between 0.039 and 0.045.
    assert scarce > 0.2
    assert 0 < plenty < 0.1


def test_joint_vocabulary_lengthens_softmax_only(measured, transformers):
    """Proved, counted in a forward pass of the 2017 base size with equally long texts: for each target token the
    weights of the decoder multiply 25,165,824 times at any vocabulary, those of the projection d times its size."""
    found, n = {}, 16
    for vocabulary in (18_500, 37_000):
        model = marian(transformers, vocabulary, d=512, d_ff=2048, n_layers=6).eval()
        ids = torch.zeros(1, n, dtype=torch.long, device="meta")
        with torch.no_grad():
            counts = multiplications(model, input_ids=ids, decoder_input_ids=ids, use_cache=False)
        decoder = sum(count for name, count in counts.items() if ".decoder." in name)
        found[vocabulary] = decoder // n, counts["lm_head"] // n
    (decoder, small), (same, large) = found.values()
    measured(half=18_500, joint=37_000, width=512, decoder=decoder, small=small, large=large)
    measured(share=large / (decoder + large), more=(decoder + large) / (decoder + small) - 1)
    assert decoder == same == 6 * (8 * 512**2 + 2 * 512 * 2048)
    assert (small, large) == (18_500 * 512, 37_000 * 512)
    assert decoder < 6 * layer(512, 2048, 2, biased=False)  # the rest are LayerNorms and biases


def test_padding_row_moves_once_tied(measured, transformers):
    """Proved, checked in PyTorch and on BERT in transformers: `padding_idx` keeps the gradient of a row at zero in the
    lookup only; once the table is the output projection as well, softmax moves the padding row too."""
    ids, labels = torch.tensor([[2, 7, 9, 0]]), torch.tensor([[-100, 8, -100, -100]])
    encoder, tied = (tiny_bert(kind) for kind in (transformers.BertModel, transformers.BertForMaskedLM))
    encoder(ids).last_hidden_state.square().sum().backward()
    tied(ids, labels=labels).loss.backward()
    frozen, moved = (model.get_input_embeddings().weight.grad.abs().sum(dim=1) for model in (encoder, tied))
    measured(
        gradient_frozen=frozen[0], gradient_tied=moved[0], rows_frozen=(frozen > 0).sum(), rows_tied=(moved > 0).sum()
    )
    assert encoder.get_input_embeddings().padding_idx == 0
    assert frozen[0] == 0
    assert frozen[7] > 0
    assert (moved > 0).all()


def test_feed_forward_is_shared_by_all_positions(measured):
    """Proved, checked on all-MiniLM-L6-v2: the feed-forward layer is one map applied to each position by itself, a
    convolution of width 1, so its number of parameters does not depend on the length of the text."""
    states = run_bert(encode("the river burst its bank after a week of rain")).hidden_states[1][0]  # (n, d_model)
    weights = [load_parameters()[f"encoder.layer.1.{part}.dense.weight"] for part in ("intermediate", "output")]
    biases = [load_parameters()[f"encoder.layer.1.{part}.dense.bias"] for part in ("intermediate", "output")]

    def feed_forward(x):
        return F.linear(F.gelu(F.linear(x, weights[0], biases[0])), weights[1], biases[1])

    alone = torch.stack([feed_forward(state) for state in states])
    inner = F.gelu(F.conv1d(states.T[None], weights[0][:, :, None], biases[0]))
    convolved = F.conv1d(inner, weights[1][:, :, None], biases[1])[0].T
    errors = [(feed_forward(states) - other).abs().max().item() for other in (alone, convolved)]
    measured(convolution_width=1, positions=len(states), error_alone=errors[0], error_convolution=errors[1])
    measured(parameters=sum(part.numel() for part in (*weights, *biases)))
    assert max(errors) < 1e-4
    assert (alone[1] - alone[2]).abs().max() > 0.1  # control: the positions differ, only the map is the same


def test_library_defaults_tie_or_not(measured, transformers):
    """Proved, read from the default configurations in transformers: BERT, GPT-2, T5, BART, ALBERT and Gemma tie input
    and output table, Llama, Mistral, Qwen3, GPT-NeoX and RemBERT do not; a table is 21 % of BERT-base, 1.9 % of a Llama
    with 6.7 billion parameters."""
    tying, separate = ("Bert GPT2 T5 Bart Albert Gemma", "Llama Mistral Qwen3 GPTNeoX RemBert")
    with torch.device("meta"):
        llama = transformers.LlamaForCausalLM(transformers.LlamaConfig())
    table = llama.lm_head.weight.numel()
    measured(billions=parameters(llama) / 1e9, llama_share=table / parameters(llama), bert_share=30_522 * 768 / bert())
    for names, expected in ((tying, True), (separate, False)):
        for name in names.split():
            assert getattr(transformers, f"{name}Config")().tie_word_embeddings == expected, name
    assert llama.lm_head.weight is not llama.model.embed_tokens.weight


ENGLISH = """
All human beings are born free and equal in dignity and rights. They are endowed with reason and conscience and should
act towards one another in a spirit of brotherhood. Everyone is entitled to all the rights and freedoms set forth in
this Declaration, without distinction of any kind, such as race, colour, sex, language, religion, political or other
opinion, national or social origin, property, birth or other status."""
GERMAN = """
Alle Menschen sind frei und gleich an Würde und Rechten geboren. Sie sind mit Vernunft und Gewissen begabt und sollen
einander im Geist der Brüderlichkeit begegnen. Jeder hat Anspruch auf die in dieser Erklärung verkündeten Rechte und
Freiheiten ohne irgendeinen Unterschied, etwa nach Rasse, Hautfarbe, Geschlecht, Sprache, Religion, politischer oder
sonstiger Überzeugung, nationaler oder sozialer Herkunft, Vermögen, Geburt oder sonstigem Stand."""
CHINESE = """
人人生而自由，在尊严和权利上一律平等。他们赋有理性和良心，并应以兄弟关系的精神相对待。
人人有资格享有本宣言所载的一切权利和自由，不分种族、肤色、性别、语言、宗教、政治或其他见解、
国籍或社会出身、财产、出生或其他身分等任何区别。"""


def pieces_of_both(one: str, other: str, size: int = 200) -> tuple[int, int, int]:
    """Pieces of a joint byte-pair vocabulary that the first text uses, the second, and both."""
    tokenizer = Tokenizer(models.BPE())
    tokenizer.normalizer, tokenizer.pre_tokenizer = normalizers.Lowercase(), pre_tokenizers.Whitespace()
    tokenizer.train_from_iterator([one, other], trainers.BpeTrainer(vocab_size=size, show_progress=False))
    assert tokenizer.get_vocab_size() == size
    first, second = (set(tokenizer.encode(text).tokens) for text in (one, other))
    return len(first), len(second), len(first & second)


def test_german_shares_pieces_chinese_does_not(measured):
    """Measured on two articles of the Universal Declaration of Human Rights: of a joint byte-pair vocabulary of 200
    pieces English and German use some in common, English and Chinese none."""
    found = {name: pieces_of_both(ENGLISH, text) for name, text in (("german", GERMAN), ("chinese", CHINESE))}
    measured(size=200, articles=2)
    for name, (english, own, both) in found.items():
        measured(**{f"english_with_{name}": english, name: own, f"both_{name}": both})
    assert found["german"][2] > 10
    assert found["chinese"][2] == 0
