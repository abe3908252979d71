"""What to say of a mixture's experts before a run, so that none is passed over in silence."""

from collections.abc import Sequence

from transformers import PreTrainedModel

from coordexp.config.schema import Config
from coordexp.families.config_file import load_config
from coordexp.families.family import Family
from coordexp.model.experts import expert_stacks
from coordexp.training.step.loss_function import ROUTER_LOSS


def experts_note(config: Config, model: PreTrainedModel, family: Family) -> Sequence[str]:
    """Return what becomes of a model's experts and routers; nothing where it has none.

    Args:
        config: Of the run.
        model: Before PEFT or after it.
        family: Of the model.
    """
    stacks = expert_stacks(model, family.towers)
    if not stacks:
        return ()
    layers = {name.rpartition(".")[0] for name in stacks}
    count = len(next(iter(stacks.values())))
    places = f"each of {len(layers)} layers" if len(layers) > 1 else "one layer"
    which = f"the {count} experts in {places}"
    tuner = config.tuner
    if tuner.freeze_llm:
        note = f"{which} and their routers are not trained: tuner.freeze_llm is true"
    elif tuner.train_type == "full":
        note = f"{which} and their routers are trained, and nothing balances the experts' load"
    elif tuner.train_experts:
        note = f"{which} get LoRA, their routers are not trained"
    else:
        note = (
            f"{which} and their routers are not trained; tuner.train_experts: true gives the "
            "experts LoRA"
        )
    if not family.text_config(load_config(config.model.path)).get(ROUTER_LOSS):
        return (note,)
    return (
        note,
        f"{ROUTER_LOSS}: true in the base's config.json is turned off: it would add "
        "router_aux_loss_coef times another loss to the objective",
    )
