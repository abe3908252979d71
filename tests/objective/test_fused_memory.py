from dataclasses import replace

import pytest
import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from coordexp.objective import CoordWeights
from coordexp.objective.backends.blocks import CPU_SIZES
from tests.objective.fused_cases import random_case

TOKENS, VOCAB = 700, 5000


class LargestTensor(TorchDispatchMode):
    """Notes the largest storage behind any result of any operation."""

    def __init__(self) -> None:
        super().__init__()
        self.elements = 0

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):  # noqa: ANN001, ANN204
        result = func(*args, **(kwargs or {}))
        for leaf in tree_leaves(result):
            if isinstance(leaf, Tensor):
                size = leaf.untyped_storage().nbytes() // leaf.element_size()
                self.elements = max(self.elements, size)
        return result


@pytest.mark.parametrize("trainable_head", [False, True])
@pytest.mark.parametrize("gate", [1.0, 0.0])
def test_no_tensor_holds_the_logits(gate: float, *, trainable_head: bool) -> None:
    case = random_case(tokens=TOKENS, vocab=VOCAB, width=2, ignored_share=0.0)
    case = replace(case, weights=CoordWeights(**{**case.weights, "gate": gate}))
    with LargestTensor() as largest:
        case.run("fused", torch.float32, trainable_head=trainable_head)
    assert largest.elements <= CPU_SIZES.height * CPU_SIZES.width
    with LargestTensor() as largest:
        case.run("reference", torch.float32)
    assert largest.elements > TOKENS * VOCAB / 3  # the tracer sees what it should
