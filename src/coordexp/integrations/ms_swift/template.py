"""ms-swift's template, made to write and scale exactly what we do."""

from typing import Any

from coordexp.config.custom import CoordTokens
from coordexp.rendering.encode import Encoder


def apply_coord_template_adapter(template: Any, coord_tokens: CoordTokens) -> None:  # noqa: ANN401 - ms-swift's
    """Keep a template from scaling boxes, exactly when `enabled` and `skip_bbox_norm` are true.

    Boxes of coord tokens are in bins already. ms-swift would take them for pixels, scale them a
    second time to 0..1000, and fail on tokens that are text.

    Args:
        template: Of ms-swift; changed in place.
        coord_tokens: The block `custom.coord_tokens`.
    """
    if coord_tokens.enabled and coord_tokens.skip_bbox_norm:
        template.normalize_bbox = _leave_boxes


def _leave_boxes(inputs: Any) -> None:  # noqa: ANN401 - ms-swift's
    """Take away what the scaling alone would have read; the boxes stay as they are."""
    for key in ("bbox_type", "image_id"):
        inputs.objects.pop(key, None)


def write_as_we_do(template: Any, encoder: Encoder) -> None:  # noqa: ANN401 - ms-swift's
    r"""Let a template end an answer and mark a picture as the base's own chat template does.

    ms-swift supervises `<|im_end|>\n` where generation stops at `<|im_end|>`, and writes the ids of
    Qwen's own tokenizer for pictures whatever the tokenizer.

    Args:
        template: Of ms-swift; changed in place.
        encoder: Of the same base.
    """
    template.template_meta.suffix = [encoder.conversation.end_of_turn]
    template.image_token_id = encoder.image_token_id
