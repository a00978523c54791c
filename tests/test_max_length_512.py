"""Claims of docs/questions/max-length-512.md."""

import itertools
import json
import re

import bert
import masked_lm
import numpy as np
import pytest
import torch
import torch.nn.functional as F
from max_length_512 import (
    PIECES,
    POSITIONS,
    SENTENCES,
    TEXTS,
    WORDS,
    count,
    cut,
    extended,
    genesis,
    head_weights,
    layer_flops,
    look_up,
    map_bytes,
    on_previous,
    outcome,
    shift,
    sinusoids,
    text_of,
    without_positions,
    word_pieces,
)
from tokenizers import Tokenizer
from torch import nn

FOLDER = bert.model_file("model.safetensors").parent
TABLE = bert.load_parameters()[POSITIONS]


def test_position_table_ends_at_512(measured):
    """Proved, checked on the trained weights: a position table with 512 rows serves 512 tokens and raises IndexError
    for the 513th, in NumPy, in a raw `nn.Embedding` and in our BERT; without the table, or with positions from a
    formula, 513 tokens run."""
    rows, d_model = TABLE.shape
    measured(
        rows=rows,
        last_position=rows - 1,
        longest=512,
        too_long=513,
        tokens_without_table=600,
        positions_by_formula=5000,
    )
    for n, expected in ((512, "runs"), (513, "IndexError")):
        assert outcome(look_up, TABLE.numpy(), np.arange(n)) == expected
        assert outcome(nn.Embedding(rows, 8), torch.arange(n)) == expected
        assert outcome(bert.run_bert, text_of(n)) == expected
        assert text_of(n).token_ids.shape == (1, n)
    with pytest.raises(IndexError, match="index out of range in self"):
        bert.run_bert(text_of(513))
    assert outcome(bert.run_bert, text_of(600), embed=without_positions) == "runs"  # controls: no table, no limit
    assert sinusoids(np.arange(5000), d_model).shape == (5000, d_model)


def test_recycled_positions_run(measured):
    """Proved, checked on the trained weights: a word beyond the limit does have an embedding; what is missing is the
    row of its position, and with positions counted modulo 512 the same 513 tokens run."""
    batch = text_of(513)
    vocabulary = len(bert.load_parameters()["embeddings.word_embeddings.weight"])
    measured(tokens=513, modulus=512, vocabulary=vocabulary, largest_token_id=batch.token_ids.max())
    assert batch.token_ids.max() < vocabulary
    assert outcome(bert.run_bert, batch) == "IndexError"
    assert outcome(bert.run_bert, batch._replace(position_ids=batch.position_ids % 512)) == "runs"


def test_transformers_raises_runtime_error(measured, oracle):
    """Measured on all-MiniLM-L6-v2 in transformers 5: 513 tokens end in a RuntimeError, with position ids or segment
    ids given by the caller too; only with both given does the lookup itself fail, with an IndexError."""
    ids = text_of(513).token_ids
    positions, segments = {"position_ids": torch.arange(513)[None]}, {"token_type_ids": torch.zeros_like(ids)}
    with torch.no_grad():
        fitting = outcome(oracle, ids[:, :512])
        found = [outcome(oracle, ids, **given) for given in ({}, positions, segments, positions | segments)]
    measured(longest=512, too_long=513, runtime_errors=found.count("RuntimeError"))
    assert fitting == "runs"
    assert found == ["RuntimeError", "RuntimeError", "RuntimeError", "IndexError"]


def test_only_the_position_table_has_512_rows(measured, transformers):
    """Proved by listing the trained tensors: of all of them only the position table has a side of 512; it holds 0.87 %
    of the parameters of all-MiniLM-L6-v2, and 0.36 % of those of BERT-base."""
    tensors = bert.load_parameters()
    sided = [name for name, tensor in tensors.items() if 512 in tensor.shape]
    total = sum(tensor.numel() for tensor in tensors.values())
    with torch.device("meta"):  # shapes only
        base = transformers.BertModel(transformers.BertConfig())
    base_table, base_total = base.embeddings.position_embeddings.weight.numel(), base.num_parameters()
    measured(tensors=len(tensors), rows=512, sided=len(sided), table=TABLE.numel(), share=TABLE.numel() / total)
    measured(base_table=base_table, base_total=base_total, base_share=base_table / base_total)
    assert sided == [POSITIONS]
    assert base_table == 512 * 768
    assert base_table / base_total < 0.004


def test_specials_leave_510_or_509(measured):
    """Proved, checked on the model's tokenizer: [CLS] and [SEP] take two of the 512 positions for one text and three
    for a pair, so 510 or 509 WordPieces of content run and one more does not."""
    tokenizer = bert.load_tokenizer()
    single, pair = (512 - tokenizer.num_special_tokens_to_add(is_pair) for is_pair in (False, True))
    measured(limit=512, single=single, pair=pair, specials=512 - single, specials_of_pair=512 - pair)
    assert (single, pair) == (510, 509)
    for more, expected in ((0, "runs"), (1, "IndexError")):
        one = bert.encode(" ".join(["word"] * (single + more)))
        two = bert.encode((" ".join(["word"] * 9), " ".join(["word"] * (pair - 9 + more))))
        assert (one.token_ids.shape[1], two.token_ids.shape[1]) == (512 + more, 512 + more)
        assert outcome(bert.run_bert, one) == outcome(bert.run_bert, two) == expected


def test_wordpieces_outnumber_words(measured):
    """Measured with the vocabulary of BERT-base uncased: at the rates of our texts, 510 WordPieces hold 467 words of
    everyday English, 424 of the first chapter of Genesis, 167 of a medical text and 119 of an error message."""
    held = {}
    for name, text in {"genesis": genesis(), **TEXTS}.items():
        words, tokens, unknown = count(text)
        if name != "Chinese":
            key = name.replace(" ", "_")
            held[name] = 510 * words / tokens
            measured(**{f"{key}_words": words, f"{key}_tokens": tokens, f"{key}_ratio": tokens / words})
            measured(**{f"{key}_held": round(held[name])})
            assert unknown == 0
    measured(limit=512, content=510, characters_of_genesis=len(genesis()))
    assert held["everyday"] > held["genesis"] > held["medical"] > held["error message"]
    assert held["everyday"] < 510
    assert count("the river is near the old town")[:2] == (7, 7)  # control: frequent words are one piece each


def test_bible_words_in_512(measured):
    """Measured with the vocabulary of BERT-base uncased: over every twentieth chapter of the King James Bible a word
    takes 1.26 WordPieces, so 510 of them hold 404 words; counted without punctuation a word takes 1.11."""
    texts = [text for _, text in masked_lm.chapters()[::20]]
    words, tokens, _ = np.sum([count(text) for text in texts], axis=0)
    bare = np.sum([count(re.sub(r"[^\w\s]", "", text)) for text in texts], axis=0)
    measured(chapters=len(texts), words=words, tokens=tokens, ratio=tokens / words, held=510 * words / tokens)
    measured(content=510, ratio_without_punctuation=bare[1] / bare[0])
    assert 1.2 < tokens / words < 1.3
    assert 1 < bare[1] / bare[0] < tokens / words  # control: without punctuation the gap shrinks


def test_longest_match_is_wordpiece(measured):
    """Measured with the full vocabulary: cutting the longest known piece from the left gives exactly the tokens of the
    `tokenizers` library, for every word of our texts and of a chapter of the Bible; the small vocabulary of the
    listing cuts its six words in the same way."""
    tokenizer = bert.load_tokenizer()
    vocabulary = set(tokenizer.get_vocab())
    words = sorted({*re.findall(r"[a-z]+", (genesis() + " ".join(TEXTS.values())).lower()), *WORDS})
    library = [bert.encode(word).tokens[0][1:-1] for word in words]
    cut_words = sum(len(pieces) > 1 for pieces in library)
    measured(words=len(words), cut_into_pieces=cut_words, vocabulary=len(vocabulary), examples=len(WORDS))
    measured(**{f"pieces_of_{word}": len(word_pieces(word, PIECES)) for word in WORDS[:-1]})
    assert [word_pieces(word, vocabulary) for word in words] == library
    assert all(word_pieces(word, PIECES) == word_pieces(word, vocabulary) for word in WORDS)
    letters = {piece for piece in vocabulary if len(piece.removeprefix("##")) == 1}
    assert len(word_pieces("ferry", letters)) == 5  # control: a vocabulary of letters cuts every letter


def test_han_characters_are_single_tokens(measured):
    """Measured with the vocabulary of BERT-base uncased: every character of our Chinese text is a token of its own, so
    the limit counts characters there, and 31 of its 44 Han characters are [UNK]."""
    text = TEXTS["Chinese"]
    han = re.findall(r"[\u4e00-\u9fff]", text)
    words, tokens, unknown = count(text)
    english = count(TEXTS["everyday"])[1] / len(TEXTS["everyday"])
    measured(characters=len(text), tokens=tokens, han=len(han), unknown=unknown, unknown_share=unknown / len(han))
    measured(words_between_spaces=words, everyday_tokens_per_character=english)
    assert tokens == len(text)
    assert unknown > len(han) / 2
    assert english < 0.3  # control: English


def test_tokenizer_file_cuts_at_128(measured):
    """Measured on the files of all-MiniLM-L6-v2: its tokenizer cuts every text to 128 tokens without a word, its
    sentence-transformers settings say 256, and its table has 512 rows."""
    tokenizer = Tokenizer.from_file(str(bert.model_file("tokenizer.json")))
    settings = json.loads((FOLDER / "sentence_bert_config.json").read_text())["max_seq_length"]
    lengths = {n: len(tokenizer.encode(" ".join(["word"] * n)).ids) for n in (5, 300, 900)}
    untruncated = bert.encode(" ".join(["word"] * 300)).token_ids.shape[1]
    measured(file=lengths[300], settings=settings, table=len(TABLE), words=300, untruncated=untruncated)
    assert set(lengths.values()) == {128}  # 5 words are padded to it as well
    assert (settings, len(TABLE)) == (256, 512)
    assert untruncated == 302  # control: with truncation off


def test_segment_table_ends_at_two(measured):
    """Proved, checked on the trained weights: the segment table has two rows, so segment ids 0 and 1 run and 2 raises
    IndexError; with a third row it runs."""
    parameters, name = bert.load_parameters(), "embeddings.token_type_embeddings.weight"
    batch = bert.encode(SENTENCES[0])
    three = {**parameters, name: torch.cat([parameters[name], torch.zeros(1, 384)])}
    found = [outcome(bert.run_bert, batch._replace(segment_ids=torch.full_like(batch.token_ids, i))) for i in range(3)]
    third = batch._replace(segment_ids=torch.full_like(batch.token_ids, 2))
    measured(rows=len(parameters[name]), first=0, second=1, third=2)
    assert found == ["runs", "runs", "IndexError"]
    assert outcome(bert.run_bert, third, three) == "runs"  # control: one more row


def test_one_segment_holds_many_sentences(measured):
    """Proved, checked on the trained weights: twenty-four sentences, each closed by its own [SEP], run inside one
    segment; what ends the list is position 512, not the second sentence."""
    batches = {n: bert.encode(" [SEP] ".join((SENTENCES * 9)[:n])) for n in (24, 36)}
    tokens = {n: batch.token_ids.shape[1] for n, batch in batches.items()}
    closed = (batches[24].token_ids == bert.load_tokenizer().token_to_id("[SEP]")).sum()
    segments = len(batches[24].segment_ids.unique())
    measured(sentences=24, tokens=tokens[24], separators=closed, segments=segments)
    measured(too_many=36, too_many_tokens=tokens[36], limit=512)
    assert (closed, segments) == (24, 1)
    assert outcome(bert.run_bert, batches[24]) == "runs"
    assert outcome(bert.run_bert, batches[36]) == "IndexError"  # control: too many tokens


def test_quadratic_work_is_a_tenth_at_512(measured):
    """Proved, and counted by PyTorch on all-MiniLM-L6-v2: the quadratic part of a layer's multiplications is $n/(n + 6
    d_{model})$, for BERT-base 2.7 % at 128 tokens, 10 % at 512 and half only at 4,608."""
    from torch.utils.flop_counter import FlopCounterMode  # noqa: PLC0415 (imports torch._dynamo)

    for n in (128, 512):
        with FlopCounterMode(display=False) as counter:
            bert.run_bert(text_of(n), keep_weights=False)
        assert counter.get_total_flops() == 6 * sum(layer_flops(n, 384))
    flops = {n: layer_flops(n) for n in (128, 512, 2048, 4608, 8192)}
    shares = {n: attention / (dense + attention) for n, (dense, attention) in flops.items()}
    measured(d_model=768, **{f"length_{n}": n for n in flops}, **{f"share_{n}": share for n, share in shares.items()})
    measured(counted_at_512=counter.get_total_flops(), dense_per_token=flops[512][0] / 512)
    assert shares == pytest.approx({n: n / (n + 6 * 768) for n in flops})
    assert shares[4608] == 0.5
    assert flops[128][0] / 128 == flops[512][0] / 512  # control: the dense part per token


def test_maps_outgrow_the_work(measured):
    """Proved, checked on the maps of all-MiniLM-L6-v2: at the same number of tokens, sequences of 512 take 1.08 times
    the multiplications of sequences of 128 and 4 times the attention maps; one sequence of BERT-base goes from 9 to
    144 MiB."""
    work = (sum(layer_flops(512)) / 512) / (sum(layer_flops(128)) / 128)
    maps = (map_bytes(512) / 512) / (map_bytes(128) / 128)
    held = sum(weights.numel() * weights.element_size() for weights in bert.run_bert(text_of(128)).weights)
    mib = {n: map_bytes(n) / 2**20 for n in (128, 512, 4096)}
    measured(short=128, long=512, longer=4096, work=work, extra_work=work - 1, maps=maps)
    measured(mib_128=mib[128], mib_512=mib[512], mib_4096=mib[4096], gib_4096=mib[4096] / 1024, held_by_minilm=held)
    measured(sequences_of_512=64, sequences_of_128=256, tokens_of_the_batch=64 * 512)
    assert held == map_bytes(128, n_layers=6, n_heads=12)
    assert work == pytest.approx(5120 / 4736)
    assert maps == 4
    assert 64 * 512 == 256 * 128


def test_position_rows_show_training_lengths(measured):
    """Measured on all-MiniLM-L6-v2: the four longest rows of the position table are 0, 127, 510 and 511, the ends of
    texts of 128 and of 512 tokens, and the rows beyond 127 are longer than those before by a step that occurs
    nowhere else."""
    lengths = TABLE.norm(dim=1)
    longest = sorted(lengths.topk(4).indices.tolist())
    medians = [lengths[start : start + 63].median() for start in (1, 64, 128, 192, 256, 320, 384, 448)]
    steps = [(after / before - 1).item() for before, after in itertools.pairwise(medians)]
    measured(**{f"row_{i}": i for i in longest}, **{f"length_of_row_{i}": lengths[i] for i in longest})
    measured(before=lengths[1:127].median(), after=lengths[128:500].median(), step=steps[1], rows=512, short=128)
    others = [step for i, step in enumerate(steps) if i != 1]
    measured(largest_other_step=max(map(abs, others)))
    assert longest == [0, 127, 510, 511]
    assert steps[1] > 3 * max(map(abs, others))  # control: the other boundaries of 64 rows


def test_one_head_attends_to_the_previous_token(measured):
    """Measured on all-MiniLM-L6-v2: in short texts head 2 of the first layer gives 0.9997 to the previous token; no
    other of the 72 heads gives it more than 0.30, the median head 0.04."""
    batch = bert.encode(SENTENCES)
    visible = batch.mask[:, 2:]
    weights = bert.run_bert(batch).weights  # of every layer, (batch, heads, n, n)
    before = [layer.diagonal(-1, dim1=2, dim2=3)[:, :, 1:] for layer in weights]  # (batch, heads, n - 2) each
    means = torch.stack([layer[:, head][visible].mean() for layer in before for head in range(bert.N_HEADS)])
    own = on_previous(batch, TABLE).nanmean()
    measured(heads=len(means), head=means.argmax(), largest=means.max(), second=means.topk(2)[0][1])
    measured(median=means.median(), tokens=int(visible.sum()))
    assert means.argmax() == 2
    assert own.item() == pytest.approx(means.max().item(), abs=1e-6)
    assert means.topk(2)[0][1] < 0.4  # control: the other heads


def test_row_in_the_table_is_no_promise(measured):
    """Measured on all-MiniLM-L6-v2, whose contrastive tuning saw at most 128 tokens: a head that gives the previous
    token 0.999 in a text of 128 tokens gives it 0.19 at the same positions of a text of 512, and 0.81 to tokens on rows
    128 and later; 384 tokens give 0.25 there on rows 0 to 383 and 0.996 on rows 128 and later."""
    long = bert.encode(genesis())
    early = {n: on_previous(cut(long, n), TABLE)[0, :125].mean() for n in (128, 256, 384, 512)}
    late = {n: on_previous(cut(long, n), TABLE)[0, 127:].mean() for n in (256, 512)}
    moved = on_previous(shift(cut(long, 384), 127), TABLE)[0, :125].mean()  # token 1 stands on row 128
    measured(**{f"length_{n}": n for n in early}, **{f"early_{n}": weight for n, weight in early.items()})
    measured(**{f"late_{n}": weight for n, weight in late.items()}, first=2, last=126, later=129)
    outbid = head_weights(cut(long, 512), TABLE)[0, 2:127, 128:].sum(1).mean()
    measured(last_row=383, first_row=128, same_tokens_on_later_rows=moved, early_to_late=outbid)
    # Over eight other chapters: early 0.999 to 1.000 at 128, 0.54 to 0.58 at 256, 0.19 to 0.24 at 512, late above 0.98.
    assert early[128] > 0.99
    assert early[512] < 0.3 < early[256] < 0.7
    assert min(late.values()) > 0.95  # control: positions beyond the tuned ones, in the same texts
    assert early[384] < 0.4
    assert outbid > 0.7
    assert moved > 0.95  # control: the same tokens, as many of them, on later rows


def test_copied_rows_keep_the_head(measured):
    """Measured on all-MiniLM-L6-v2: for texts that start at position 600, a head that looks at the previous token gives
    it 0.999 with copied rows, 0.22 with interpolated and 0.04 with random ones; interpolation harms it at position 0
    too."""
    batch, found = bert.encode(SENTENCES), {}
    for way in ("copied", "random", "interpolated"):
        found |= {(way, at): on_previous(shift(batch, at), extended(way)).nanmean() for at in (0, 600)}
    measured(start=600, rows=1024, old_rows=512, **{f"{way}_at_{at}": weight for (way, at), weight in found.items()})
    assert found["copied", 600] > 0.99
    assert found["random", 600] < 0.1
    assert 0.1 < found["interpolated", 600] < 0.4
    assert found["interpolated", 0] < 0.6
    assert found["copied", 0] == found["random", 0] > 0.99  # control: the first 512 rows are the old ones


def test_copied_rows_cannot_be_told_apart(measured):
    """Measured on all-MiniLM-L6-v2 with copied rows, in a text of 960 tokens: from position 640 the head gives 0.62 to
    the previous token and 0.37 to the one 512 places further back, whose row is the same."""
    long, found = bert.encode(genesis()), {}
    for way in ("copied", "random"):
        weights = head_weights(long, extended(way))[0]
        query = torch.arange(640, 959)
        found[way] = [weights[query, query - back].mean().item() for back in (1, 513)]
    measured(tokens=len(weights), start=640, back=512, previous=found["copied"][0], alias=found["copied"][1])
    measured(random_previous=found["random"][0], random_alias=found["random"][1])
    assert torch.equal(extended("copied")[:512], extended("copied")[512:])
    assert min(found["copied"]) > 0.3
    assert sum(found["copied"]) > 0.95
    assert max(found["random"]) < 0.05  # control: rows of their own


def test_sentence_vector_hides_the_damage(measured):
    """Measured on all-MiniLM-L6-v2: at position 700, where the head is blind with random rows and intact with copied
    ones, the sentence vectors keep the same cosine with the unmoved text, 0.86 and 0.86."""
    batch, parameters = bert.encode(SENTENCES), bert.load_parameters()
    unmoved = bert.sentence_embeddings(batch)

    def cosine(way, at):
        moved = bert.sentence_embeddings(shift(batch, at), {**parameters, POSITIONS: extended(way)})
        return (moved * unmoved).sum(1).mean().item()

    found = {way: cosine(way, 700) for way in ("copied", "random", "interpolated")}
    heads = {way: on_previous(shift(batch, 700), extended(way)).nanmean() for way in ("copied", "random")}
    measured(start=700, **found, head_copied=heads["copied"], head_random=heads["random"], whole=cosine("copied", 512))
    assert abs(found["copied"] - found["random"]) < 0.03
    assert heads["copied"] > 0.99
    assert heads["random"] < 0.1
    assert cosine("copied", 512) == pytest.approx(1, abs=1e-5)  # control: rows 512 and on are rows 0 and on


def test_moved_text_changes_its_vector(measured):
    """Measured on all-MiniLM-L6-v2: the same text moved inside the trained table gets another vector, at a cosine of
    0.96 after 20 positions and 0.74 after 300; without position vectors nothing changes."""
    batch = bert.encode(SENTENCES)
    unmoved = bert.sentence_embeddings(batch)
    found = {}
    for at in (20, 100, 300):
        found[at] = (bert.sentence_embeddings(shift(batch, at)) * unmoved).sum(1).mean().item()
    bare, moved = (bert.sentence_embeddings(b, embed=without_positions) for b in (batch, shift(batch, 300)))
    measured(**{f"moved_by_{at}": at for at in found}, **{f"cosine_{at}": cosine for at, cosine in found.items()})
    measured(without_positions=(bare * moved).sum(1).mean())
    assert found[20] > 0.9
    assert found[300] < 0.85
    assert torch.equal(bare, moved)  # control


def test_enlarged_config_wipes_the_table(measured, transformers, oracle):
    """Measured in transformers 5: loading the checkpoint with 1,024 positions raises RuntimeError; told to ignore the
    mismatch, it draws all rows anew, the 512 learned ones included, at a mean absolute cosine of 0.04 with them."""
    load = transformers.BertModel.from_pretrained
    larger = {"max_position_embeddings": 1024, "local_files_only": True}
    refused = outcome(load, FOLDER, **larger)
    with torch.random.fork_rng():  # the library draws from the global generator
        torch.manual_seed(0)
        grown = load(FOLDER, ignore_mismatched_sizes=True, **larger)
    rows = grown.embeddings.position_embeddings.weight.detach()
    cosine = F.cosine_similarity(rows[:512], TABLE, dim=1).abs().mean()
    copied = F.cosine_similarity(extended("copied")[:512], TABLE, dim=1).mean()
    words = (m.embeddings.word_embeddings.weight for m in (grown, oracle))
    measured(asked=1024, had=512, rows=len(rows), cosine=cosine, cosine_if_copied=copied, deviation=rows.std())
    assert refused == "RuntimeError"
    # Of 512 cosines of independent vectors of 384 entries the absolute values have mean sqrt(2 / (384 π)) = 0.041
    # and deviation sqrt((1 - 2 / π) / 384) = 0.031, their mean therefore 0.0014.
    assert cosine == pytest.approx((2 / (384 * np.pi)) ** 0.5, abs=6 * 0.0014)
    assert torch.equal(*words)  # control: the tables that fit are loaded
    assert copied == pytest.approx(1)


def test_roberta_counts_from_two(measured, transformers):
    """Measured in transformers 5 on a small random RoBERTa: its first position is 2, so a table of 514 rows serves 512
    tokens and no more, and a table of 512 rows only 510."""
    sizes = {"vocab_size": 9, "hidden_size": 8, "num_hidden_layers": 1, "num_attention_heads": 1}
    served = {}
    for rows in (512, 514):
        config = transformers.RobertaConfig(**sizes, intermediate_size=8, max_position_embeddings=rows, pad_token_id=1)
        model = transformers.RobertaModel(config).eval()
        runs = [n for n in (510, 511, 512, 513) if outcome(model, torch.full((1, n), 5)) == "runs"]
        served[rows] = max(runs)
    first = transformers.models.roberta.modeling_roberta.RobertaEmbeddings.create_position_ids_from_input_ids(
        torch.full((1, 3), 5), padding_idx=1
    )
    measured(rows=514, served=served[514], fewer_rows=512, served_by_fewer=served[512], first=first[0, 0])
    assert (served[514], served[512], first[0, 0]) == (512, 510, 2)


def test_modernbert_has_no_last_position(measured, transformers):
    """Measured in transformers 5 on a small random ModernBERT: its configuration says 8,192 positions, but no tensor
    has that side, and a model configured for 64 positions runs on 200 tokens, where a BERT of that size raises an
    error."""
    sizes = {"vocab_size": 9, "hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 2}
    sizes |= {"intermediate_size": 48, "max_position_embeddings": 64, "pad_token_id": 0}
    specials = {"bos_token_id": 1, "eos_token_id": 2, "cls_token_id": 1, "sep_token_id": 2}
    model = transformers.ModernBertModel(transformers.ModernBertConfig(**sizes, **specials)).eval()
    control = transformers.BertModel(transformers.BertConfig(**sizes)).eval()
    sided = [[name for name, p in m.named_parameters() if 64 in p.shape] for m in (model, control)]
    default = transformers.ModernBertConfig().max_position_embeddings
    measured(default=default, configured=64, tokens=200, tables=len(sided[0]), tables_of_bert=len(sided[1]))
    assert default == 8192
    assert sided == [[], ["embeddings.position_embeddings.weight"]]
    with torch.no_grad():
        assert outcome(model, torch.full((1, 200), 5)) == "runs"
        assert outcome(control, torch.full((1, 200), 5)) == "RuntimeError"  # control: a table
