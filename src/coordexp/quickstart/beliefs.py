"""What the trained model believes about a few coordinates, for the report."""

import json
import os
from collections.abc import Sequence
from pathlib import Path

import torch

from coordexp.data.files.image import load_image
from coordexp.data.files.jsonl import RecordFile
from coordexp.files import write_text
from coordexp.inference.run.predict import Predictor
from coordexp.rendering.collate import Collator

AXES = ("x1", "y1", "x2", "y2")


def write_beliefs(
    predictor: Predictor, data: Path, out: Path, *, indices: Sequence[int], objects: int
) -> None:
    """Write the distributions at the first objects of some records, by teacher forcing.

    Args:
        predictor: A model that writes coord tokens.
        data: JSONL of records.
        out: JSON file; a list of rows with `root, image, object, axis, true_bin, probs, size_px`.
        indices: Which records.
        objects: How many objects of each record.
    """
    records = RecordFile(data, predictor.style.alphabet)
    root = os.path.relpath(records.root, out.parent)
    rows = []
    for index in indices:
        rows.extend(_beliefs(predictor, records, index, objects, root))
    write_text(out, json.dumps(rows) + "\n")


@torch.inference_mode()
def _beliefs(
    predictor: Predictor, records: RecordFile, index: int, objects: int, root: str
) -> list[dict[str, object]]:
    vocab, encoder = predictor.vocab, predictor.encoder
    if vocab is None:
        raise ValueError("the text baseline has no distributions over bins")
    record = records[index]
    picture = load_image(records.root, record)
    example = encoder.encode(record, picture, seed=0, epoch=0, index=index)
    collate = Collator(
        pad_id=encoder.tokenizer.pad_token_id, image_token_id=encoder.image_token_id, side="right"
    )
    batch = {name: value.to(predictor.model.device) for name, value in collate([example]).items()}
    labels = batch.pop("labels")[0]
    logits = predictor.model(**batch).logits[0].float()
    places = [place for place, label in enumerate(labels.tolist()) if label in vocab.ids]
    ordered = sorted(record.taught, key=lambda item: item.geometry.values[1::-1])
    rows: list[dict[str, object]] = []
    for number, item in enumerate(ordered[:objects]):
        for axis, place in zip(AXES, places[4 * number : 4 * number + 4], strict=True):
            p = logits[place - 1, vocab.ids.start : vocab.ids.stop].softmax(-1)
            rows.append(
                {
                    "root": root,
                    "image": record.image,
                    "object": item.desc,
                    "axis": axis,
                    "true_bin": vocab.bin_of(int(labels[place])),
                    "probs": [round(value, 6) for value in p.tolist()],
                    "size_px": record.width if axis.startswith("x") else record.height,
                }
            )
    return rows
