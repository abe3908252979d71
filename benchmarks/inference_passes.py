"""How many passes of the model the grammar leaves of an answer that is known.

What a model that is never wrong would take: the tests' own walk along an answer's tokens, over
scenes of seven boxes with names of COCO's. Token by token, every token is a pass.
"""

import random
import sys
from pathlib import Path

from coordexp.data.contract.geometry import Geometry
from coordexp.data.contract.record import RecordObject
from coordexp.inference.decode.grammar import AnswerGrammar
from coordexp.rendering.encode import Encoder

sys.path.insert(0, str(Path(__file__).parents[1]))
from tests.inference.oracle import answer_ids, follow

SCENES, BOXES = 200, 7
COCO = [
    "person",
    "bicycle",
    "car",
    "motorcycle",
    "airplane",
    "bus",
    "train",
    "truck",
    "boat",
    "traffic light",
    "fire hydrant",
    "stop sign",
    "parking meter",
    "bench",
    "bird",
    "cat",
    "dog",
    "horse",
    "sheep",
    "cow",
    "elephant",
    "bear",
    "zebra",
    "giraffe",
    "backpack",
    "umbrella",
    "handbag",
    "tie",
    "suitcase",
    "frisbee",
    "skis",
    "snowboard",
    "sports ball",
    "kite",
    "baseball bat",
    "baseball glove",
    "skateboard",
    "surfboard",
    "tennis racket",
    "bottle",
    "wine glass",
    "cup",
    "fork",
    "knife",
    "spoon",
    "bowl",
    "banana",
    "apple",
    "sandwich",
    "orange",
    "broccoli",
    "carrot",
    "hot dog",
    "pizza",
    "donut",
    "cake",
    "chair",
    "couch",
    "potted plant",
    "bed",
    "dining table",
    "toilet",
    "tv",
    "laptop",
    "mouse",
    "remote",
    "keyboard",
    "cell phone",
    "microwave",
    "oven",
    "toaster",
    "sink",
    "refrigerator",
    "book",
    "clock",
    "vase",
    "scissors",
    "teddy bear",
    "hair drier",
    "toothbrush",
]


def passes_per_object(encoder: Encoder) -> dict[str, float]:
    """Return tokens and passes for an object, and their ratios, free and restricted to COCO."""
    answers = [answer_ids(encoder, scene) for scene in scenes()]
    objects = SCENES * BOXES
    tokens = sum(map(len, answers)) / objects
    figures = {"tokens": round(tokens, 2)}
    for name, names in (("passes", None), ("passes restricted", tuple(COCO))):
        grammar = AnswerGrammar(encoder, restrict_to=names)
        passes = sum(follow(grammar, ids).passes for ids in answers) / objects
        figures[name] = round(passes, 2)
        figures[f"tokens / {name}"] = round(tokens / passes, 2)
    return figures


def scenes() -> list[list[RecordObject]]:
    """Return the same random scenes each time."""
    chance = random.Random(0)

    def box() -> RecordObject:
        x1, x2 = sorted(chance.sample(range(1000), 2))
        y1, y2 = sorted(chance.sample(range(1000), 2))
        return RecordObject(chance.choice(COCO), Geometry("bbox_2d", (x1, y1, x2, y2), "bin"))

    return [[box() for _ in range(BOXES)] for _ in range(SCENES)]
