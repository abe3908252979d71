"""Names, sizes and conventions of Qwen3.5 with a mixture of experts.

All is as in Qwen3.5 but the MLP of the language model's layers, whatever else the layer does::

    ...layers.N.mlp.gate.weight             the router, which sends each token to a few experts
    ...layers.N.mlp.experts.gate_up_proj    a matrix for each expert, stacked; no linear layer
    ...layers.N.mlp.experts.down_proj
    ...layers.N.mlp.shared_expert.*         an MLP that every token goes through
    ...layers.N.mlp.shared_expert_gate      how much of it a token takes

The last two are linear layers. The drafts (`mtp.*`) have experts too, one by one; they are kept as
they are, as Qwen3.5's.
"""

from dataclasses import replace

from coordexp.families.qwen3_5.family import QWEN3_5

QWEN3_5_MOE = replace(
    QWEN3_5,
    name="qwen3_5_moe",
    towers=tuple(
        replace(
            each,
            leaves=(*each.leaves, "shared_expert_gate"),
            experts=("experts.gate_up_proj", "experts.down_proj"),
            routers=("gate.weight",),
        )
        if each.tower == "language"
        else each
        for each in QWEN3_5.towers
    ),
)
