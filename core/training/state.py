"""What a training carries from step to step, and its way to and from a checkpoint."""

from __future__ import annotations

import copy
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import torch
from torch import nn

from core.nets.build import Networks, build_discriminator, with_strengths
from core.nets.classifier import AttributeClassifier
from core.nets.discriminator import Discriminator
from core.nets.guide import Guide
from core.training.asking import Asking
from core.training.config import TrainConfig
from core.training.leakage import LinearLeakage
from core.training.parallel import Team
from core.training.pseudo import PseudoLabels
from core.training.regions import Regions

if TYPE_CHECKING:
    from core.training.finetune import Teacher

STAGES = ("warmup", "disentanglement", "amortisation", "guide", "synthesis")
NUMBERED = ("warmup", "disentanglement", "amortisation", "synthesis")  # in older checkpoints


def stage_place(stored: str | int) -> int:
    """The place in STAGES of what a checkpoint says: a stage's name, "" at the end, or an older number."""
    name = stored if isinstance(stored, str) else (*NUMBERED, "")[stored]
    return STAGES.index(name) if name else len(STAGES)


@dataclass
class TrainState:
    """Networks, their average, residual codes, optimisers, and where the training stands.

    `residuals` are the codes of this process's images out of `codes` in all.
    """

    networks: Networks
    average: Networks
    residuals: nn.Embedding
    discriminator: Discriminator | None = None
    leakage: LinearLeakage | None = None
    guides: list[Guide] = field(default_factory=list)  # none, one, or two
    asking: Asking | None = None
    priors: list[torch.Tensor] = field(default_factory=list)  # of the labels (`dataset.log_priors`)
    guide_priors: list[torch.Tensor] = field(default_factory=list)  # of those that guides learn from
    pseudo: PseudoLabels | None = None  # those, where they are not the labels
    regions: Regions | None = None
    features: nn.Module | None = None
    teacher: Teacher | None = None  # the frozen base of a fine-tuning; not part of a checkpoint
    features_from_file: bool = False  # then a checkpoint need not hold them
    optimizers: dict[str, torch.optim.Optimizer] = field(default_factory=dict)
    stage: int = 0
    step: int = 0
    codes: int = 0
    precision: torch.dtype = torch.float32
    team: Team = field(default_factory=Team)

    @classmethod
    def fresh(
        cls,
        config: TrainConfig,
        value_counts: list[int],
        images: int,
        device: torch.device,
        team: Team | None = None,
    ) -> TrainState:
        """Networks drawn from the seed, the same in all processes of a team."""
        team = team or Team()
        torch.manual_seed(config.seed)
        networks = Networks(config.network, value_counts).to(device)
        drawn = torch.randn(images, config.network.residual_dim)[team.part].contiguous()
        residuals = nn.Embedding.from_pretrained(drawn, freeze=False, sparse=True).to(device)
        average = copy.deepcopy(networks).requires_grad_(False).eval()
        critic = None
        if config.synthesis.adversarial and config.network.kind == "style":
            critic = build_discriminator(config.network).to(device)
        guides: list[Guide] = []
        asking = None
        if config.guide.steps:
            sizes = config.network.image_channels, config.network.image_size
            begin = config.guide.begin
            likes: list[AttributeClassifier | None] = [] if begin == "fresh" else [networks.classifier]
            likes += [] if begin == "classifier" else [None]
            guides = [Guide(*sizes, value_counts, like).to(device) for like in likes]
            asking = Asking(value_counts, config.synthesis.success, config.synthesis.many).to(device)
        leakage = None
        if config.synthesis.leakage:
            leakage = LinearLeakage(config.network.residual_dim, value_counts).to(device)
        regions = Regions(value_counts).to(device) if config.synthesis.beyond else None
        priors = [torch.zeros(count, device=device) for count in value_counts]  # as though all were equal
        parts = networks, average, residuals, critic, leakage, guides, asking, priors, priors
        return cls(*parts, regions=regions, codes=images, team=team)

    def residual_codes(self, rows: torch.Tensor) -> torch.Tensor:
        """Codes (n, R) of the rows (n,), zeros for -1, without gradients. All processes must call."""
        return self.team.rows(self.residuals.weight, rows)

    def _modules(self) -> dict[str, nn.Module]:
        modules: dict[str, nn.Module | None] = {
            "networks": self.networks,
            "average": self.average,
            "residuals": self.residuals,
            "discriminator": self.discriminator,
            **dict(zip(("guide", "second_guide"), self.guides, strict=False)),
            "pseudo": self.pseudo,
            "asking": self.asking,
            "leakage": self.leakage,
            "regions": self.regions,
            "features": None if self.features_from_file else self.features,
        }
        return {name: module for name, module in modules.items() if module is not None}

    def tensors(self) -> dict[str, torch.Tensor]:
        """Every tensor of the state by a flat name, whole tables from all processes, which must all call."""
        flat = {
            f"{name}.{key}": tensor
            for name, module in self._modules().items()
            for key, tensor in module.state_dict().items()
        }
        for name, optimizer in self.optimizers.items():
            for index, values in optimizer.state_dict()["state"].items():
                for key, value in values.items():
                    flat[f"optimizer.{name}.{index}.{key}"] = torch.as_tensor(value)
        for key in self._sharded(flat):
            flat[key] = self.team.whole_table(flat[key], self.codes)
        return flat

    @staticmethod
    def _sharded(flat: dict[str, torch.Tensor]) -> list[str]:
        """Names of tensors that have a row for each residual code."""
        return [
            k
            for k in flat
            if k == "residuals.weight" or (k.startswith("optimizer.residuals.") and flat[k].dim())
        ]

    def restore(self, flat: dict[str, torch.Tensor]) -> None:
        """Put tensors of a checkpoint back; the optimisers of the current stage must exist."""
        flat = flat | {key: flat[key][self.team.part] for key in self._sharded(flat)}
        for name, module in self._modules().items():
            prefix = f"{name}."
            own = {key.removeprefix(prefix): t for key, t in flat.items() if key.startswith(prefix)}
            own.pop("enough", None)  # of a guide, in older checkpoints
            if name in ("networks", "average") and own:
                own = with_strengths(own, module)
            if name == "regions" and self.regions is not None and own:
                own["maps"] = self.regions.of_attributes(own["maps"])
            if name == "asking" and self.asking is not None and own:
                own.setdefault("keeping", self.asking.keeping)
            if own:
                module.load_state_dict(own)
        for name, optimizer in self.optimizers.items():
            prefix = f"optimizer.{name}."
            states: dict[int, dict[str, Any]] = {}
            for key, tensor in flat.items():
                if key.startswith(prefix):
                    index, entry = key.removeprefix(prefix).split(".", 1)
                    # SparseAdam counts steps in a plain integer, Adam in a tensor
                    plain = isinstance(optimizer, torch.optim.SparseAdam) and entry == "step"
                    states.setdefault(int(index), {})[entry] = int(tensor) if plain else tensor
            current = optimizer.state_dict()
            optimizer.load_state_dict({"state": states, "param_groups": current["param_groups"]})
