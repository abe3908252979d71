"""TRL's `GRPOTrainer` over our model: answers by our decoder, log-probabilities with the offsets.

::

    config = load_config("grpo.yaml")      # model, tuner, custom and data.train, as for `train`
    trainer = build_trainer(config, GRPOConfig(...), weights=STARTING_WEIGHTS, longest=100)
    trainer.train()
    trainer.save_model("runs/grpo")        # an adapter for `coordexp merge`

Three of TRL's methods are overridden, and each says why. The objective, the advantages and the log
are TRL's. Two limits: log-probabilities are those over the whole vocabulary, while answers are
drawn from what the grammar allows, which is the same as far as a tuned model stays inside it; and
the logits of an answer are held as a whole, which TRL's own head avoids.
"""

from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import Any

import torch
from datasets import Dataset
from jaxtyping import Float, Int
from torch import Tensor, nn
from trl import GRPOConfig, GRPOTrainer
from typing_extensions import override

from coordexp.config.schema import Config
from coordexp.data.files.jsonl import RecordFile
from coordexp.errors import InputError
from coordexp.families.known import load_family
from coordexp.inference.decode.grammar import AnswerGrammar
from coordexp.integrations.trl.refusals import check_arguments, check_trl
from coordexp.integrations.trl.reward import AnswerReward
from coordexp.integrations.trl.rows import Row, record_rows
from coordexp.integrations.trl.sampling import Sampler, picture_tensors
from coordexp.rendering.encode import Example
from coordexp.training.keep.weights import LearnerFiles
from coordexp.training.loop.optimizer import build_optimizer, parameter_groups
from coordexp.training.run.build import build_encoder, build_learner, build_style, build_vocab
from coordexp.training.run.class_list import trained_classes
from coordexp.training.run.stage1 import write_beside_weights


class AnswerTrainer(GRPOTrainer):  # type: ignore[misc] # TRL may be absent
    """GRPO on answers about pictures.

    Args:
        sampler: Makes the answers.
        files: Writes the checkpoints.
        kwargs: TRL's.
    """

    def __init__(self, *, sampler: Sampler, files: LearnerFiles, **kwargs: Any) -> None:  # noqa: ANN401
        self._sampler = sampler
        self._files = files
        self._asked: list[Example] = []
        super().__init__(rollout_func=_rollout, **kwargs)

    @override
    def _generate_and_score_completions(self, inputs: list[Row]) -> dict[str, Any]:
        """Keep the prompts with their pictures: TRL tells a rollout function nothing but texts."""
        self._asked = self._sampler.prompts(inputs)
        scored: dict[str, Any] = super()._generate_and_score_completions(inputs)
        pictures = self._pictures(self._asked)
        return {**scored, **pictures, "num_images": [1] * len(self._asked)}

    def answers(self) -> dict[str, list[Any] | None]:
        """Return an answer to each prompt that is asked now, as a rollout function does."""
        model = self.accelerator.unwrap_model(self.model)
        said = self._sampler.answers(model, self._asked)
        return {
            "prompt_ids": [prompt.input_ids.tolist() for prompt in self._asked],
            "completion_ids": [list(answer.ids) for answer in said],
            "logprobs": None,  # those of the objective are computed with it
            "env_mask": [list(map(int, answer.free)) for answer in said],
        }

    @override
    def _get_per_token_logps_and_entropies(
        self,
        model: nn.Module,
        input_ids: Int[Tensor, "B T"],
        attention_mask: Int[Tensor, "B T"],
        logits_to_keep: int,
        batch_size: int | None = None,
        compute_entropy: bool = False,
        pixel_values: Tensor | None = None,
        image_grid_thw: Tensor | None = None,
        **_: object,
    ) -> tuple[Tensor, Tensor | None, None]:
        """Go through the model's own head: TRL's reads its frozen rows, without the offsets."""
        if pixel_values is None or image_grid_thw is None:  # while answers are scored
            pictures = self._pictures(self._asked)
            pixel_values, image_grid_thw = pictures["pixel_values"], pictures["image_grid_thw"]
        rows = len(input_ids)
        patches = pixel_values.split(image_grid_thw.prod(-1).tolist())
        log_p, entropy = [], []
        for start in range(0, rows, batch_size or rows):
            part = slice(start, start + (batch_size or rows))
            with self.accelerator.autocast():
                logits = model(
                    input_ids=input_ids[part],
                    attention_mask=attention_mask[part],
                    mm_token_type_ids=(
                        input_ids[part] == self._sampler.encoder.image_token_id
                    ).int(),
                    pixel_values=torch.cat(patches[part]),
                    image_grid_thw=image_grid_thw[part],
                    logits_to_keep=logits_to_keep + 1,
                    use_cache=False,
                ).logits[:, :-1]
            of_tokens, spread = token_log_p(
                logits / self.temperature, input_ids[part, -logits_to_keep:]
            )
            log_p.append(of_tokens)
            entropy.append(spread)
        return torch.cat(log_p), torch.cat(entropy) if compute_entropy else None, None

    @override
    def _save(
        self, output_dir: str | None = None, state_dict: dict[str, Any] | None = None
    ) -> None:
        """Write what `coordexp merge` reads."""
        if self.args.should_save:
            directory = Path(output_dir or self.args.output_dir)
            model = self.accelerator.unwrap_model(self.model)
            self._files.write(model, directory, state_dict, super()._save)

    def _pictures(self, prompts: list[Example]) -> dict[str, Tensor]:
        device = self.accelerator.device
        return {name: tensor.to(device) for name, tensor in picture_tensors(prompts).items()}


def _rollout(_: list[str], trainer: AnswerTrainer) -> dict[str, list[Any] | None]:
    return trainer.answers()


def token_log_p(
    logits: Float[Tensor, "B C V"], ids: Int[Tensor, "B C"]
) -> tuple[Float[Tensor, "B C"], Float[Tensor, "B C"]]:
    """Return how probable tokens were, and the entropy at their places, both in nats.

    Args:
        logits: Divided by the temperature; each place's foretells the id at the same place.
        ids: The tokens.
    """
    all_log_p = logits.float().log_softmax(-1)
    of_ids = all_log_p.gather(-1, ids[..., None])[..., 0]
    return of_ids, -(all_log_p.exp() * all_log_p).sum(-1)


def build_trainer(
    config: Config, args: GRPOConfig, *, weights: Mapping[str, float], longest: int
) -> AnswerTrainer:
    """Return the trainer of a run, ready to start.

    Args:
        config: What learns and how fast (`model`, `tuner`, `custom`, the rates of `training`), and
            from which records (`data.train`). The loss, steps and batches of `training` are TRL's.
        args: TRL's: steps, batches, answers a picture, temperature.
        weights: Of the terms of the reward; `coordexp.rewards.weights.STARTING_WEIGHTS`.
        longest: More objects than this are too many in one answer.

    Raises:
        InputError: If something of both does not go together, or the weights cannot be used.
        CheckpointError: If the base cannot be used.
    """
    check_trl()
    check_arguments(config, args)
    vocab = build_vocab(config)
    if vocab is None:
        raise InputError("TRL: the decoder needs coord tokens")
    encoder = build_encoder(config.model.path, build_style(config))
    reward = AnswerReward(encoder, weights=weights, longest=longest)
    records = RecordFile(config.data.parts[0].path, encoder.style.alphabet)
    dataset = Dataset.from_list(list(record_rows(records, encoder.style)))
    learner = build_learner(config, vocab, encoder.tokenizer)
    groups = parameter_groups(config, load_family(config.model.path))
    write = partial(
        write_beside_weights,
        config=config,
        style=encoder.style,
        card=learner.card,
        classes=trained_classes(config),
    )
    return AnswerTrainer(
        sampler=Sampler(
            encoder,
            vocab,
            AnswerGrammar(encoder, restrict_to=None),
            temperature=args.temperature,
            max_new_tokens=args.max_completion_length,
        ),
        files=LearnerFiles(config.training.output_dir, write, saves=True),
        model=learner.model,
        reward_funcs=[reward],
        args=args,
        train_dataset=dataset,
        processing_class=encoder.tokenizer,
        optimizers=(build_optimizer(args, learner.model, groups), None),
    )
