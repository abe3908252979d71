"""Learned rows added to a vocabulary table, where weights are written.

In float32, and rounded once to the table's dtype: added in bfloat16, an offset smaller than half a
step of its row would be lost, and one rounded before would be rounded twice. What the certificate
reads back (`coordexp.export.read_back`) says the same arithmetic anew, and does not ask this.

Shapes: `V` vocabulary, `K` bins, `D` width.
"""

import torch
from jaxtyping import Float
from torch import Tensor


@torch.no_grad()
def shift_rows(table: Float[Tensor, "V D"], offsets: Float[Tensor, "K D"], *, ids: range) -> None:
    """Add offsets to some rows of a table, in place.

    Args:
        table: Of any floating dtype.
        offsets: One for each coord id.
        ids: The coord ids.

    Example:
        >>> table = torch.full((3, 1), 256.0, dtype=torch.bfloat16)
        >>> shift_rows(table, torch.tensor([[1.5]]), ids=range(1, 2))  # steps of 2 up there
        >>> table[:, 0].tolist()
        [256.0, 258.0, 256.0]
    """
    rows = table[ids.start : ids.stop]
    rows.copy_(rows.float() + offsets.to(rows.device).float())
