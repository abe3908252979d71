"""The losses of pretraining: weighted cross-entropy on the answers, dense heads on visual tokens.

Shapes: `B` scenes, `G` visual tokens, `T` tokens, `D` width, `N` supervised tokens, `E` edges.

The dense heads make the vision tower learn within minutes instead of hours; they are thrown away.
"""

from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float, Int64
from torch import Tensor, nn
from torch.nn import functional
from transformers import PreTrainedTokenizerFast, Qwen3VLForConditionalGeneration

from coordexp.rendering.encode import IGNORE_INDEX
from coordexp.scenes.digits import CLASS_NAMES, MAX_OBJECTS, SCENE_SIZE
from tools.tiny_base.batches import (
    CELL,
    CELLS_PER_SIDE,
    VISUAL_TOKENS,
    Batch,
    CellTargets,
    TextPart,
)
from tools.tiny_base.forward import FastForward

_EDGES = SCENE_SIZE + 1
_EDGE_SIGMA_PX = 0.7


@dataclass(frozen=True)
class Losses:
    """Loss terms of one batch; `shown` holds what the log prints."""

    cells: Tensor
    text: Tensor
    shown: dict[str, float]


class Pretrainer(nn.Module):
    """The tiny model with its auxiliary heads, trained on batches of scenes."""

    def __init__(
        self, model: Qwen3VLForConditionalGeneration, tokenizer: PreTrainedTokenizerFast
    ) -> None:
        super().__init__()
        self.model = model
        rows, width = model.model.language_model.embed_tokens.weight.shape
        self.cell_head = CellHead(width)
        self.edge_head = nn.Linear(width, _EDGES)
        self.weigher = TokenWeigher(tokenizer, rows)
        self.fast = FastForward(model)

    def losses(self, batch: Batch, *, with_text: bool) -> Losses:
        """Return the loss of the visual tokens and, from the second phase on, of the answers."""
        image, deep = self.fast.vision(batch.patches)
        cells, shown = self.cell_head.loss(image, batch.cells)
        text = torch.zeros(())
        if with_text:
            first = 0
            for part in batch.parts:
                rows = slice(first, first + len(part.input_ids))
                share = len(part.input_ids) / len(batch.patches)
                loss, part_shown = self._text_loss(
                    part, image[rows], [level[rows] for level in deep]
                )
                text = text + share * loss
                for name, value in part_shown.items():
                    shown[name] = shown.get(name, 0.0) + share * value
                first = rows.stop
        return Losses(cells=cells, text=text, shown=shown)

    def _text_loss(
        self, part: TextPart, image: Float[Tensor, "B G D"], deep: list[Tensor]
    ) -> tuple[Tensor, dict[str, float]]:
        inputs, targets = part.input_ids[:, :-1], part.labels[:, 1:]
        supervised = targets != IGNORE_INDEX
        hidden = self.fast.text(inputs, image, deep)[supervised]
        target, before = targets[supervised], inputs[supervised]
        logits = functional.linear(hidden, self.model.model.language_model.embed_tokens.weight)
        weights, starts = self.weigher(target, before)
        nats = functional.cross_entropy(logits, target, reduction="none")
        # The state that begins a number must know all of it, not only its first digit: what a
        # single coord token will be read from later.
        edges = smooth_edge_loss(self.edge_head(hidden[starts]), part.coords)
        right = logits.detach().argmax(dim=-1) == target
        shown = {
            "word": float(right[self.weigher.is_word[target]].float().mean()),
            "first": float(right[starts].float().mean()),
            "token": float(right.float().mean()),
            "nats": float(nats.detach().mean()),
            "edge": float(edges.detach()),
        }
        return (weights * nats).sum() / weights.sum() + 0.3 * edges, shown


class CellHead(nn.Module):
    """Reads from each visual token whether it sees a digit, which one, and where its edges are."""

    centres: Tensor

    def __init__(self, width: int) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(width)
        self.seen = nn.Linear(width, 1)
        self.label = nn.Linear(width, len(CLASS_NAMES))
        self.rank = nn.Linear(width, MAX_OBJECTS)
        self.offset = nn.Linear(width, 4)
        self.edges = nn.Linear(width, 4 * _EDGES)
        self.decimals = nn.Linear(width, 4 * 3 * 10)
        cell = torch.arange(VISUAL_TOKENS)
        x, y = cell % CELLS_PER_SIDE, cell // CELLS_PER_SIDE
        centres = torch.stack([x, y, x, y], dim=1) * CELL + CELL / 2
        self.register_buffer("centres", centres, persistent=False)

    def loss(
        self, image: Float[Tensor, "B G D"], cells: CellTargets
    ) -> tuple[Tensor, dict[str, float]]:
        """Return the weighted sum of the head's terms."""
        states = self.norm(image)
        seen = cells.label != IGNORE_INDEX
        presence = functional.binary_cross_entropy_with_logits(
            self.seen(states).squeeze(-1), seen.float()
        )
        at, label, rank, box = states[seen], cells.label[seen], cells.rank[seen], cells.box[seen]
        labels = self.label(at)
        offsets = self.offset(at)
        to_edges = (box - self.centres.expand(*seen.shape, 4)[seen]) / CELL
        bins = (box * 999 / SCENE_SIZE + 0.5).long()
        decimals = torch.stack([bins // 100, bins // 10 % 10, bins % 10], dim=-1)
        terms = {
            "seen": (2.0, presence),
            "label": (1.0, functional.cross_entropy(labels, label)),
            "rank": (0.5, functional.cross_entropy(self.rank(at), rank)),
            "offset": (2.0, functional.smooth_l1_loss(offsets, to_edges, beta=0.1)),
            "edges": (0.5, smooth_edge_loss(self.edges(at).view(-1, 4, _EDGES), box)),
            "decimals": (
                0.3,
                functional.cross_entropy(self.decimals(at).view(-1, 10), decimals.flatten()),
            ),
        }
        shown = {name: float(term.detach()) for name, (_, term) in terms.items()}
        shown["label_acc"] = float((labels.argmax(dim=-1) == label).float().mean())
        shown["offset_px"] = float((offsets.detach() - to_edges).abs().mean()) * CELL
        return sum((weight * term for weight, term in terms.values()), torch.zeros(())), shown


class TokenWeigher:
    """Weighs target tokens: what must be seen counts, what the format dictates hardly does."""

    def __init__(self, tokenizer: PreTrainedTokenizerFast, vocab_rows: int) -> None:
        def ids(*texts: str) -> list[int]:
            return [
                token
                for text in texts
                for token in tokenizer.encode(text, add_special_tokens=False)
            ]

        self.is_digit = torch.zeros(vocab_rows, dtype=torch.bool)
        self.is_digit[ids(*"0123456789")] = True
        self.is_word = torch.zeros(vocab_rows, dtype=torch.bool)
        self.is_word[ids(*CLASS_NAMES)] = True
        (self.object_id,) = ids("object_")
        self.by_token = torch.full((vocab_rows,), 0.1)
        self.by_token[self.is_digit] = 1.0
        self.by_token[self.is_word] = 3.0
        self.by_token[ids(", ", '", "')] = 0.3
        self.by_token[ids(']}, "', "]}}", '"]}, "', '"]}}')] = 1.0

    def __call__(
        self, target: Int64[Tensor, " N"], before: Int64[Tensor, " N"]
    ) -> tuple[Float[Tensor, " N"], Bool[Tensor, " N"]]:
        """Return the weight of each target, and which of them begin a coordinate."""
        digit = self.is_digit[target]
        number = before == self.object_id
        starts = digit & ~self.is_digit[before] & ~number
        weights = torch.where(starts, 2.0, self.by_token[target])
        return torch.where(digit & number, 0.1, weights), starts


def smooth_edge_loss(logits: Float[Tensor, "*N E"], edge: Int64[Tensor, "*N"]) -> Tensor:
    """Return the cross-entropy against a narrow bell around each edge, in pixels."""
    bell = torch.arange(logits.shape[-1]) - edge[..., None]
    target = functional.softmax(-((bell / _EDGE_SIGMA_PX) ** 2) / 2, dim=-1)
    return -(target * functional.log_softmax(logits, dim=-1)).sum(dim=-1).mean()
