"""Names, sizes and conventions of Qwen3-VL with a mixture of experts.

All is as in Qwen3-VL but the MLP of the language model's layers::

    ...layers.N.mlp.gate.weight             the router, which sends each token to a few experts
    ...layers.N.mlp.experts.gate_up_proj    a matrix for each expert, stacked; no linear layer
    ...layers.N.mlp.experts.down_proj

Layers that `mlp_only_layers` of its configuration names have Qwen3-VL's MLP, in no published size.
"""

from dataclasses import replace

from coordexp.families.qwen3_vl.family import QWEN3_VL

QWEN3_VL_MOE = replace(
    QWEN3_VL,
    name="qwen3_vl_moe",
    towers=tuple(
        replace(
            each,
            experts=("experts.gate_up_proj", "experts.down_proj"),
            routers=("gate.weight",),
        )
        if each.tower == "language"
        else each
        for each in QWEN3_VL.towers
    ),
)
