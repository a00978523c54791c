"""Claims of docs/questions/cls-token.md."""

from functools import cache, partial
from math import comb

import bert
import numpy as np
import pytest
import torch
import torch.nn.functional as F
from cls_token import TEXTS, edited, found, head_sizes, keyword_texts, looks, pool, readouts, train

BATCH = bert.encode(TEXTS)
WORDS = BATCH.token_ids > 103  # neither [PAD] nor [CLS] nor [SEP]
SEP = BATCH.token_ids == 102
FIRST = torch.zeros_like(SEP).index_fill(1, torch.tensor(0), True)
PARAMETERS = bert.load_parameters()


@cache
def intact() -> bert.Run:
    return bert.run_bert(BATCH)


@cache
def vectors() -> dict[str, torch.Tensor]:
    return readouts(BATCH)


@cache
def attention_of_slot_0() -> np.ndarray:
    return looks(BATCH)


def share(hits: torch.Tensor) -> float:
    return hits.double().mean().item()


def cosine(a: torch.Tensor, b: torch.Tensor) -> float:
    return F.cosine_similarity(a, b, dim=-1).mean().item()


def alone(weights):
    """Slot 0 reads nothing but itself."""
    weights[:, :, 0, 1:] = 0
    return weights


def fair(weights):
    """What slot 0 gives to the words is dealt out to them in equal parts."""
    words, row = WORDS[:, None], weights[:, :, 0]  # (batch, 1, n), (batch, heads, n)
    equal = (row * words).sum(-1, keepdim=True) / words.sum(-1, keepdim=True)
    weights[:, :, 0] = torch.where(words, equal, row)
    return weights


def blind(weights):
    """Slot 0 reads no words."""
    weights[:, :, 0] = weights[:, :, 0].masked_fill(WORDS[:, None], 0)
    return weights


def unread(slots):
    """Nobody reads the `slots` (batch, n), except each slot itself."""
    others = slots[:, None, :] & ~torch.eye(slots.shape[1], dtype=torch.bool)
    return lambda weights: weights.masked_fill(others[:, None], 0)


def test_pooled_output_is_tanh_of_a_dense_layer_on_cls(measured, oracle):
    """Proved, checked against Hugging Face's BertModel on the weights of all-MiniLM-L6-v2: the sequence output has
    shape (batch, n, d_model) and holds the state of [CLS] in slot 0; the pooled output has shape (batch, d_model) and
    is tanh of a dense layer on that state, not the state itself."""
    with torch.no_grad():
        output = oracle(input_ids=BATCH.token_ids, attention_mask=BATCH.mask.long())
    state, pooled = vectors()["[CLS]"], vectors()["pooler"]
    error = (pooled - output.pooler_output).abs().max().item()
    control = (state - output.pooler_output).abs().max().item()
    batch, n, d_model = output.last_hidden_state.shape
    measured(batch=batch, n=n, d_model=d_model, error=error, difference_without_pooler=control)
    assert output.pooler_output.shape == (batch, d_model) == (len(TEXTS), 384)
    assert (state - output.last_hidden_state[:, 0]).abs().max() < 1e-5
    assert error < 1e-5
    assert control > 0.1


def test_shipped_pooler_is_untrained_noise(measured):
    """Measured on all-MiniLM-L6-v2: its pooler looks untrained: each bias is exactly 0, the largest singular value of
    the matrix is that of fresh noise of the same deviation, and such noise in its place finds as many paraphrases;
    all of the 24 square attention matrices stick out of the noise, and their biases have moved."""

    def stretch(matrix):  # largest singular value against 2 s √d, where it lies for noise of deviation s
        largest = torch.linalg.eigvalsh(matrix @ matrix.T)[-1].sqrt()
        return (largest / (2 * matrix.std() * matrix.shape[0] ** 0.5)).item()

    weight, bias = PARAMETERS["pooler.dense.weight"], PARAMETERS["pooler.dense.bias"].abs().max().item()
    names = [
        f"encoder.layer.{layer}.attention.{part}"
        for layer in range(6)
        for part in ("self.query", "self.key", "self.value", "output.dense")
    ]
    trained = [stretch(PARAMETERS[f"{name}.weight"]) for name in names]
    trained_biases = [PARAMETERS[f"{name}.bias"].abs().max().item() for name in names]
    noise = weight.std() * torch.randn(20, *weight.shape, generator=torch.Generator().manual_seed(0))
    fresh = [stretch(matrix) for matrix in noise]
    hits = [share(found((vectors()["[CLS]"] @ matrix).tanh())) for matrix in noise]
    shipped = share(found(vectors()["pooler"]))
    measured(draws=len(noise), matrices=len(trained), largest_bias=bias, smallest_trained_bias=min(trained_biases))
    measured(stretch=stretch(weight), noise_low=min(fresh), noise_high=max(fresh), trained_low=min(trained))
    measured(found=shipped, found_by_noise_low=min(hits), found_by_noise_high=max(hits))
    # Over 200 other draws the stretch of noise lay between 0.975 and 1.016, with a standard deviation of 0.007.
    assert bias == 0 < min(trained_biases)
    assert stretch(weight) == pytest.approx(1, abs=0.05)
    assert min(trained) > 1.05
    assert min(hits) <= shipped <= max(hits)


def test_cls_starts_identical_in_every_text(measured):
    """Measured on all-MiniLM-L6-v2: the input state of [CLS] is the same in all 80 texts; the part of it that differs
    between texts is a few per cent of its length up to layer 5 and more than half of it in layer 6."""
    parts = []
    for x in intact().hidden_states:
        own = x[:, 0]
        parts.append(((own - own.mean(0)).norm(dim=1).mean() / own.norm(dim=1).mean()).item())
    spread = intact().hidden_states[0].std(0).amax(-1)  # (n): over the texts
    measured(texts=len(TEXTS), spread=spread[0], spread_of_first_word=spread[1])
    measured(**{f"layer_{layer}": part for layer, part in enumerate(parts)})
    assert spread[0] == 0
    assert spread[1] > 0.1  # control: an ordinary slot
    assert max(parts[:6]) < 0.05
    assert parts[6] > 0.5


def test_cls_turns_to_the_words_in_the_last_layer(measured):
    """Measured on all-MiniLM-L6-v2: in layers 2 to 5 [CLS] gives more than nine tenths of its attention to itself, in
    the last layer less than six tenths, and more than a third to the words; a word gives itself about a tenth or
    less."""
    shares = attention_of_slot_0()
    own = [weights.mean(1).diagonal(dim1=1, dim2=2)[WORDS].mean().item() for weights in intact().weights]
    names = ("itself", "words", "sep")
    measured(**{f"{name}_{layer + 1}": shares[layer, at] for layer in range(6) for at, name in enumerate(names)})
    measured(word_to_itself_low=min(own), word_to_itself_high=max(own))
    assert shares[:, :3].sum(1) == pytest.approx(np.ones(6), abs=1e-5)
    assert (shares[1:5, 0] > 0.9).all()
    assert shares[5, 0] < 0.6 and shares[5, 1] > 1 / 3
    assert (shares[1:5, 1] < 0.1).all()
    assert max(own) < 0.12  # control: the same share for ordinary tokens


def test_what_cls_reads_early_is_redundant(measured):
    """Measured on all-MiniLM-L6-v2: with [CLS] shut off from everything else in layers 1 to 5 its final vector hardly
    moves and finds as many paraphrases; shut off in layer 6 alone it loses some; shut off in all six, it is one
    constant."""
    cases = {"early": range(5), "last": [5], "always": range(6)}
    final = {
        name: readouts(BATCH, attention=partial(edited, change=alone, layers=layers)) for name, layers in cases.items()
    }
    hits = {name: share(found(read["[CLS]"])) for name, read in final.items()}
    means = {name: share(found(read["mean"])) for name, read in final.items()}
    similar = {name: cosine(read["[CLS]"], vectors()["[CLS]"]) for name, read in final.items()}
    spread = {name: read["[CLS]"].std(0).max().item() for name, read in final.items()}
    measured(found=share(found(vectors()["[CLS]"])), found_early=hits["early"], found_last=hits["last"])
    measured(cosine_early=similar["early"], cosine_last=similar["last"], spread_always=spread["always"])
    measured(mean_last=means["last"], mean_always=means["always"], mean=share(found(vectors()["mean"])))
    assert similar["early"] > 0.995 and similar["last"] < 0.9
    assert hits["last"] < hits["early"]
    assert spread["always"] < 1e-5 and spread["last"] > 1e-3


def test_cls_is_no_fairer_to_words_than_a_word(measured):
    """Measured on all-MiniLM-L6-v2: in the last layer, where [CLS] reads the words, its attention to them is no
    closer to uniform (total variation) than the attention that an ordinary word gives to the same other words."""

    def unfairness(weights):  # (batch, heads, n, n) -> of [CLS] and of the word at each word's slot, (pairs)
        mean = weights.mean(1)
        others = WORDS[:, None, :] & ~torch.eye(WORDS.shape[1], dtype=torch.bool)  # (batch, n, n)
        keep = WORDS & (others.sum(-1) > 1)
        equal = others / others.sum(-1, keepdim=True)
        distances = []
        for rows in (mean[:, :1].expand_as(mean), mean):
            inside = rows * others
            distances.append(0.5 * (inside / inside.sum(-1, keepdim=True) - equal).abs().sum(-1)[keep])
        return distances

    of_cls, of_words = unfairness(intact().weights[5])
    forced = bert.run_bert(BATCH, attention=partial(edited, change=fair, layers=[5]))
    control, _ = unfairness(forced.weights[5])
    measured(comparisons=len(of_cls), cls=of_cls.mean(), word=of_words.mean(), forced=control.mean())
    assert of_cls.mean() > 0.9 * of_words.mean() > 0.15
    assert control.max() < 1e-6


def test_forced_fairness_does_not_help_cls(measured):
    """Measured on all-MiniLM-L6-v2: dealing out in equal parts what [CLS] gives to the words, in all layers, leaves
    the share of paraphrases that it finds where it was, while cutting it off from the words costs most of them."""
    equal, cut = (readouts(BATCH, attention=partial(edited, change=change))["[CLS]"] for change in (fair, blind))
    learned = vectors()["[CLS]"]
    measured(found=share(found(learned)), found_fair=share(found(equal)), found_cut=share(found(cut)))
    measured(cosine=cosine(equal, learned))
    assert abs(share(found(equal)) - share(found(learned))) < 0.1
    assert share(found(cut)) < 0.5 * share(found(learned))
    assert cosine(equal, learned) < 0.95


def test_final_cls_is_no_weighted_average_of_words(measured):
    """Measured on all-MiniLM-L6-v2: no weights whatever, not even negative ones, make the final state of [CLS] from
    the word embeddings or from the final word states: the closest combination misses it by nine tenths of its
    length."""

    def miss(target, basis):  # distance of (d) to the span of the rows of (words, d), relative
        basis = basis.double()
        return ((target - torch.linalg.pinv(basis) @ basis @ target).norm() / target.norm()).item()

    first, final = intact().hidden_states[0], intact().hidden_states[6]
    rows = [(x[0].double(), e[words], x[words]) for x, e, words in zip(final, first, WORDS, strict=True)]
    from_inputs = np.mean([miss(own, inputs) for own, inputs, _ in rows])
    from_states = np.mean([miss(own, states) for own, _, states in rows])
    control = np.mean([miss(states.double().mean(0), states) for _, _, states in rows])
    measured(from_inputs=from_inputs, from_states=from_states, mean_of_the_states=control)
    assert min(from_inputs, from_states) > 0.85
    assert control < 1e-6


def test_zero_query_pooling_is_mean_pooling(measured):
    """Proved, checked against PyTorch's attention: pooling with a query is attention with one query; only a query
    that scores all words alike, as zero does, gives the mean, and a random one, which means nothing either, does
    not."""
    words, queries = np.random.default_rng(0).standard_normal((2, 4, 32))  # as in the listing
    average, equal = pool(words, 0 * queries[0])
    pooled, weights = pool(words, 0.1 * queries[0])
    x = torch.tensor(words)
    oracle = F.scaled_dot_product_attention(torch.tensor(0.1 * queries[:1]), x, x, scale=1.0)[0].numpy()
    longer = pool(words, 0.5 * queries[0])[1]
    measured(equal=equal[0], smallest=weights.min(), largest=weights.max(), largest_of_longer=longer.max())
    measured(error=np.abs(pooled - oracle).max(), words=len(words))
    assert np.allclose(average, words.mean(axis=0), atol=1e-15)
    assert np.allclose(pooled, oracle, atol=1e-14)
    assert weights.max() > 3 * weights.min()


def test_learned_query_beats_the_fair_average(measured):
    """Measured: where one word of sixteen decides the class, a query that is trained together with the classifier
    learns to give that word most of the weight and gets every test text right; the fair average of the same words
    does not."""
    x, labels = keyword_texts(seed=1)
    test, answers = keyword_texts(seed=2)
    shuffled = np.random.default_rng(0).permutation(labels)
    right, on_keyword = [], []
    for learn_query, given in ((False, labels), (True, labels), (True, shuffled)):
        query, classifier = train(x, given, learn_query)
        pooled, weights = pool(test, query)
        right.append(((pooled @ classifier).argmax(axis=1) == answers).mean())
        on_keyword.append(weights[:, 0].mean())
    measured(words=x.shape[1], classes=4, fair=right[0], learned=right[1], shuffled=right[2])
    measured(weight_when_fair=on_keyword[0], weight_when_learned=on_keyword[1])
    # Over 20 pairs of seeds: fair 0.55 to 0.69, learned always 1, shuffled labels 0.20 to 0.36; weight 0.83 to 0.85.
    assert right[0] < 0.8 and right[1] > 0.98 and right[2] < 0.45
    assert on_keyword[0] == pytest.approx(1 / x.shape[1])
    assert on_keyword[1] > 0.7


def test_either_mark_of_slot_zero_makes_the_sink(measured):
    """Measured on all-MiniLM-L6-v2: words give slot 0 more than half of their attention in layers 3 to 5 as long as
    it carries the token [CLS] or the position embedding 0; with another word at another position the sink is gone,
    and mean pooling finds less than half as many paraphrases. Read at slot 0, "dog" at position 0 finds about as many
    as [CLS]."""
    dog = bert.load_tokenizer().token_to_id("dog")
    to_slot, hits, by_slot = {}, {}, {}
    for name, token, position in (("cls_0", 101, 0), ("cls_40", 101, 40), ("dog_0", dog, 0), ("dog_40", dog, 40)):
        token_ids, position_ids = BATCH.token_ids.clone(), BATCH.position_ids.clone()
        token_ids[:, 0], position_ids[:, 0] = token, position
        altered = BATCH._replace(token_ids=token_ids, position_ids=position_ids)
        run = intact() if name == "cls_0" else bert.run_bert(altered)
        to_slot[name] = [weights.mean(1)[:, :, 0][WORDS].mean().item() for weights in run.weights[2:5]]
        hits[name] = share(found(bert.mean_pool(run.hidden_states[6], BATCH.mask)))
        by_slot[name] = share(found(run.hidden_states[6][:, 0]))
    measured(position=40, **{f"{name}_layer_5": shares[-1] for name, shares in to_slot.items()})
    measured(**{f"{name}_found_by_mean": hit for name, hit in hits.items()})
    measured(**{f"{name}_found_by_slot_0": hit for name, hit in by_slot.items()})
    gone = to_slot.pop("dog_40")
    assert all(min(shares) > 0.5 for shares in to_slot.values())
    assert max(gone) < 0.1  # control: neither mark
    assert abs(by_slot["dog_0"] - by_slot["cls_0"]) < 0.1
    assert hits["dog_40"] < 0.5 * min(hits["cls_0"], hits["cls_40"], hits["dog_0"])


def test_the_sink_hands_over_little(measured):
    """Measured on all-MiniLM-L6-v2: slot 0 takes about two thirds of the attention of the words in layer 5, but its
    value vectors are so short that it makes up less than a tenth of what they receive, by the length of the weighted
    vectors."""
    taken, received, lengths = [], [], []

    def attention(layer, q, k, x, mask):
        weights = bert.attention_weights(layer, q, k, x, mask)
        name = f"encoder.layer.{layer}.attention"
        v = bert.split_heads(bert.linear(f"{name}.self.value", x, PARAMETERS))  # (batch, heads, n, d_v)
        w_o = PARAMETERS[f"{name}.output.dense.weight"].unflatten(1, (bert.N_HEADS, -1))  # (d_model, heads, d_v)
        moved = torch.einsum("bhnd,mhd->bhnm", v, w_o)  # what each head would hand over at weight 1
        given = torch.einsum("bhqk,bhkm->bqkm", weights, moved).norm(dim=-1)  # (batch, n, n)
        taken.append(weights.mean(1)[:, :, 0][WORDS].mean().item())
        received.append((given[:, :, 0] / given.sum(-1))[WORDS].mean().item())
        whole = moved.sum(1).norm(dim=-1)
        lengths.append((whole[:, 0].mean() / whole[WORDS].mean()).item())
        return weights

    bert.run_bert(BATCH, attention=attention)
    measured(**{f"taken_{layer + 1}": part for layer, part in enumerate(taken)})
    measured(**{f"received_{layer + 1}": part for layer, part in enumerate(received)})
    measured(**{f"length_against_words_{layer + 1}": part for layer, part in enumerate(lengths)})
    assert taken == pytest.approx(attention_of_slot_0()[:, 3], abs=1e-5)
    assert all(part > 0.5 for part in taken[1:]) and all(part < 0.15 for part in received[1:])
    assert max(lengths[1:]) < 0.2


def test_words_need_a_sink_to_read(measured):
    """Measured on all-MiniLM-L6-v2: if no other slot may read slot 0, mean pooling finds less than half as many
    paraphrases; the same cut around [SEP] costs next to nothing."""
    hits = {
        name: share(found(readouts(BATCH, attention=partial(edited, change=unread(slots)))["mean"]))
        for name, slots in (("first", FIRST), ("sep", SEP))
    }
    whole = share(found(vectors()["mean"]))
    measured(found=whole, found_without_slot_0=hits["first"], found_without_sep=hits["sep"])
    assert hits["first"] < 0.5 * whole
    assert hits["sep"] > 0.9 * whole  # control: the same size of cut, another slot


def test_without_cls_the_first_word_takes_its_place(measured):
    """Measured on all-MiniLM-L6-v2: if [CLS] is left out, the word that moves to slot 0 ends almost in the state that
    [CLS] would have had and far from its own, while the second word keeps most of its own."""
    shorter = bert.Batch(*(part[:, 1:] for part in BATCH))
    run = bert.run_bert(shorter._replace(position_ids=shorter.position_ids - 1))
    state, own = run.hidden_states[6], intact().hidden_states[6]
    like_cls, like_itself = cosine(state[:, 0], own[:, 0]), cosine(state[:, 0], own[:, 1])
    second = cosine(state[:, 1], own[:, 2])
    after_one = cosine(run.hidden_states[1][:, 0], intact().hidden_states[1][:, 0])
    hits = share(found(bert.mean_pool(state, shorter.mask)))
    measured(like_cls=like_cls, like_itself=like_itself, second_like_itself=second, like_cls_after_layer_1=after_one)
    measured(found_by_mean=share(found(vectors()["mean"])), found_by_mean_without_cls=hits)
    assert like_cls > 0.9 and second > 0.8 and like_itself < 0.4
    assert hits < share(found(vectors()["mean"]))


def test_mean_finds_more_paraphrases_than_raw_cls(measured):
    """Measured on all-MiniLM-L6-v2, which was tuned with mean pooling, on 40 pairs of short paraphrases: by cosine,
    mean pooling finds the other wording of more texts than the raw [CLS] vector (sign test over pairs below 1 %), and
    of more than max pooling and the pooled output."""
    hits = {name: found(x) for name, x in vectors().items()}
    pairs = {name: x.view(-1, 2).sum(1) for name, x in hits.items()}  # 0, 1 or 2 of the two directions
    wins, losses = (int((a > b).sum()) for a, b in ((pairs["mean"], pairs["[CLS]"]), (pairs["[CLS]"], pairs["mean"])))
    p = 2 * sum(comb(wins + losses, k) for k in range(losses + 1)) / 2 ** (wins + losses)
    shuffled = vectors()["mean"].clone()
    shuffled[1::2] = shuffled[1::2].roll(1, 0)  # each text beside a wording of something else
    measured(pairs=len(pairs["mean"]), texts=len(TEXTS), wins=wins, losses=losses, p=p)
    measured(mean=share(hits["mean"]), maximum=share(hits["max"]), cls=share(hits["[CLS]"]))
    final = intact().hidden_states[6]
    measured(pooler=share(hits["pooler"]), first_word=share(found(final[:, 1])), sep=share(found(final[SEP])))
    measured(shuffled=share(found(shuffled)), one_in=1 / (len(TEXTS) - 1))
    for text, length in enumerate(BATCH.mask.sum(1)):  # the read-outs again, text by text, without padding
        states = final[text, :length]
        assert torch.allclose(vectors()["mean"][text], states.mean(0), atol=1e-5)
        assert torch.allclose(vectors()["max"][text], states.max(0).values, atol=1e-5)
    assert p < 0.01
    assert share(hits["mean"]) > max(share(hits[name]) for name in ("max", "[CLS]", "pooler"))
    assert share(found(shuffled)) < 0.05


def test_centring_lifts_raw_cls_to_the_mean(measured):
    """Measured on all-MiniLM-L6-v2, on the same pairs: the [CLS] vectors of unlike texts share a large common part;
    without it (the average of all texts subtracted, no labels used) they find as many paraphrases as mean pooling."""
    raw, mean = vectors()["[CLS]"], vectors()["mean"]
    unlike = ~torch.block_diag(*[torch.ones(2, 2)] * (len(TEXTS) // 2)).bool()  # all but the pairs and the diagonal
    common = {
        name: F.cosine_similarity(x[:, None], x, dim=-1)[unlike].mean().item() for name, x in (("c", raw), ("m", mean))
    }
    centred, centred_mean = share(found(raw, centred=True)), share(found(mean, centred=True))
    offset = torch.randn(384, generator=torch.Generator().manual_seed(0))
    control = share(found(raw - offset / offset.norm() * raw.mean(0).norm()))
    measured(cls=share(found(raw)), mean=share(found(mean)), cls_centred=centred, mean_centred=centred_mean)
    measured(cosine_of_unlike_cls=common["c"], cosine_of_unlike_mean=common["m"], other_offset=control)
    assert common["c"] > 0.5 and common["m"] < 0.2
    assert centred > share(found(raw)) + 0.15
    assert abs(centred - centred_mean) < 0.1
    assert control <= share(found(raw)) + 0.05  # an offset of the same length in a random direction


def test_ten_steps_turn_cls_into_a_sentence_vector(measured):
    """Measured on all-MiniLM-L6-v2: ten steps of contrastive gradient descent on the last layer, reading nothing but
    [CLS] on half of the pairs, lift the share of paraphrases it finds on the other half; with shuffled partners they
    do not."""
    name, x = "encoder.layer.5", intact().hidden_states[5]

    def last_layer(rows, weights):  # the state of [CLS] after layer 6, (rows, d_model)
        own, mask = x[rows, :1], BATCH.mask[rows, None, None]
        q, k, v = (
            bert.split_heads(bert.linear(f"{name}.attention.self.{part}", y, weights))
            for part, y in (("query", own), ("key", x[rows]), ("value", x[rows]))
        )
        heads = (bert.attention_weights(5, q, k, x, mask) @ v).transpose(1, 2).flatten(2)
        mixed = own + bert.linear(f"{name}.attention.output.dense", heads, weights)
        y = bert.layer_norm(f"{name}.attention.output.LayerNorm", mixed, weights)
        inner = F.gelu(bert.linear(f"{name}.intermediate.dense", y, weights))
        outer = y + bert.linear(f"{name}.output.dense", inner, weights)
        return bert.layer_norm(f"{name}.output.LayerNorm", outer, weights)[:, 0]

    def held_out(half, shift, steps=10, rate=0.01, temperature=0.05):
        taught, rest = (torch.arange(len(TEXTS))[torch.arange(len(TEXTS)) // 2 % 2 == at] for at in (half, 1 - half))
        taught = taught.clone()
        taught[1::2] = taught[1::2].roll(shift)  # 0: each text beside its other wording
        weights = {**PARAMETERS}
        for key in [key for key in weights if key.startswith(name)]:
            weights[key] = weights[key].clone().requires_grad_()
        leaves = [weight for weight in weights.values() if weight.requires_grad]
        for _ in range(steps):
            unit = F.normalize(last_layer(taught, weights), dim=-1)
            similar = (unit @ unit.T / temperature).fill_diagonal_(-torch.inf)
            loss = F.cross_entropy(similar, torch.arange(len(taught)) ^ 1)
            for leaf, gradient in zip(leaves, torch.autograd.grad(loss, leaves), strict=True):
                leaf.data -= rate * gradient
        with torch.no_grad():
            return found(last_layer(rest, weights)), rest

    hits, shuffled = ([held_out(half, shift) for half in (0, 1)] for shift in (0, 1))
    before, mean = (share(torch.cat([found(vectors()[kind][rest]) for _, rest in hits])) for kind in ("[CLS]", "mean"))
    after, control = (share(torch.cat([hit for hit, _ in runs])) for runs in (hits, shuffled))
    measured(steps=10, before=before, after=after, shuffled=control, mean=mean)
    with torch.no_grad():
        assert torch.allclose(last_layer(torch.arange(len(TEXTS)), PARAMETERS), vectors()["[CLS]"], atol=1e-5)
    assert after > before + 0.1
    assert control < before + 0.05


def test_causal_mask_blinds_the_first_slot(measured):
    """Measured on all-MiniLM-L6-v2: under a causal mask the state of slot 0 is the same in every text, so nothing can
    be read from it; without the mask it is not."""
    causal = readouts(BATCH, attention=partial(edited, change=torch.tril))
    spread, control = causal["[CLS]"].std(0).max().item(), vectors()["[CLS]"].std(0).max().item()
    measured(spread=spread, spread_without_mask=control, found_by_mean=share(found(causal["mean"])))
    assert spread < 1e-5
    assert control > 0.1


def test_no_word_sees_the_final_cls_state(measured):
    """Proved, checked on all-MiniLM-L6-v2: whatever [CLS] reads in the last layer changes its own final state and
    none of the others, so a loss on word states, such as masked-word prediction, cannot train that state as an
    output; one layer earlier the same change reaches the words."""
    few = bert.Batch(*(part[:20] for part in BATCH))
    finals = [
        bert.run_bert(few, attention=partial(edited, change=change, layers=layers)).hidden_states[6]
        for change, layers in ((alone, ()), (alone, [5]), (alone, [0]))
    ]
    own, others = ((finals[1] - finals[0])[:, slots].abs().max().item() for slots in (0, slice(1, None)))
    earlier = (finals[2] - finals[0])[WORDS[:20]].abs().max().item()
    measured(change_of_cls=own, change_of_the_others=others, change_of_the_words_from_layer_1=earlier)
    assert others == 0
    assert own > 0.1
    assert earlier > 1e-3  # control: the same edit where later layers can read it


def test_classifier_head_sizes(measured):
    """Proved, checked against PyTorch's modules at width 768 and two classes: [CLS] and mean pooling need the same
    linear layer at every length, the pooler adds more than half a million parameters, and only a layer on all tokens
    side by side grows with the length."""
    d_model, classes = 768, 2
    linear = torch.nn.Linear(d_model, classes)
    for n in (1, 128, 512):
        modules = (
            [linear],
            [torch.nn.Linear(d_model, d_model), torch.nn.Tanh(), linear],
            [torch.nn.Flatten(), torch.nn.Linear(n * d_model, classes)],
        )
        oracle = tuple(sum(p.numel() for m in parts for p in m.parameters()) for parts in modules)
        sizes = head_sizes(n)
        measured(**{f"length_{n}": n, f"cls_or_mean_{n}": sizes[0], f"pooler_{n}": sizes[1], f"all_{n}": sizes[2]})
        assert sizes == oracle
    measured(width=d_model, classes=classes, pooler_alone=sizes[1] - sizes[0])
    assert head_sizes(1)[:2] == head_sizes(512)[:2]
    assert head_sizes(512)[2] > 500 * head_sizes(1)[2]


def test_words_keep_their_identity_without_attending_to_themselves(measured):
    """Measured on all-MiniLM-L6-v2: up to layer 5 the states of the same word in two texts are closer to each other
    than to the other words of their own text, although a word gives itself about a tenth of its attention or less; in
    the last layer the text wins."""
    ids, text = BATCH.token_ids[WORDS], torch.arange(len(TEXTS))[:, None].expand_as(WORDS)[WORDS]
    same_word, same_text = ids[:, None] == ids, text[:, None] == text
    again = (same_word & ~same_text).any(1)[:, None]  # words that occur in another text as well
    groups = {"same": same_word & ~same_text & again, "here": ~same_word & same_text & again}
    groups["neither"] = ~same_word & ~same_text & again
    table = {name: [] for name in groups}
    for x in intact().hidden_states:
        unit = F.normalize(x[WORDS], dim=-1)
        for name, group in groups.items():
            table[name].append((unit @ unit.T)[group].mean().item())
    own = [weights.mean(1).diagonal(dim1=1, dim2=2)[WORDS].mean().item() for weights in intact().weights]
    measured(words=again.sum().item(), own_attention_low=min(own), own_attention_high=max(own))
    measured(**{f"{name}_{layer}": value for name, row in table.items() for layer, value in enumerate(row)})
    assert max(own) < 0.12
    assert all(a > b for a, b in zip(table["same"][:6], table["here"], strict=False))
    assert table["same"][6] < table["here"][6]
