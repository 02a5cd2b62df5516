"""The `train` section of a card. Every default is the published recipe's (facts.md, section 3)."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Discriminator, Field, Tag


class Section(BaseModel):
    """Base of every part of a card: frozen, no unknown keys, no silent conversion, finite numbers."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True, allow_inf_nan=False)


# Any text but "auto" is taken for a number gone wrong: the message for that says how to write one.
_AUTO_OR_NUMBER = Discriminator(lambda value: "<auto>" if value == "auto" else "<number>")
_Auto = Annotated[Literal["auto"], Tag("<auto>")]
BatchSize = Annotated[Annotated[int, Field(ge=1, le=4096), Tag("<number>")] | _Auto, _AUTO_OR_NUMBER]
Workers = Annotated[Annotated[int, Field(ge=0, le=256), Tag("<number>")] | _Auto, _AUTO_OR_NUMBER]


class Gains(Section):
    """Factors on the parts of the loss."""

    box: float = Field(7.5, ge=0, le=100, description="factor on the box loss (CIoU) and on the mask loss")
    cls: float = Field(0.5, ge=0, le=100, description="factor on the class loss (BCE)")
    dfl: float = Field(1.5, ge=0, le=100, description="factor on the distribution focal loss of the box sides")


class Assigner(Section):
    """Task-aligned assignment of points to instances (TOOD, arXiv 2108.07755)."""

    top_k: int = Field(10, ge=1, le=100, description="points per instance")
    alpha: float = Field(0.5, ge=0, le=10, description="exponent of the class score in the alignment metric")
    beta: float = Field(6.0, ge=0, le=20, description="exponent of the box IoU in the alignment metric")


class Augmentation(Section):
    """Random changes to the training pictures; 0 turns one off."""

    mosaic: float = Field(1.0, ge=0, le=1, description="probability of a mosaic of four pictures")
    close_mosaic: int = Field(10, ge=0, le=10_000, description="last epochs without mosaic")
    scale: float = Field(0.5, ge=0, lt=1, description="zoom range: a factor in 1 - scale .. 1 + scale")
    translate: float = Field(0.1, ge=0, le=1, description="shift range, as a share of the picture's side")
    degrees: float = Field(0.0, ge=0, le=180, description="rotation range in degrees, both ways")
    shear: float = Field(0.0, ge=0, lt=90, description="shear range in degrees, both ways")
    perspective: float = Field(0.0, ge=0, le=0.001, description="perspective coefficient range, both ways")
    hsv_h: float = Field(0.015, ge=0, le=1, description="hue range, as a share of the colour circle")
    hsv_s: float = Field(0.7, ge=0, le=1, description="saturation range, as a share")
    hsv_v: float = Field(0.4, ge=0, le=1, description="brightness range, as a share")
    flip_lr: float = Field(0.5, ge=0, le=1, description="probability of a flip left to right")
    flip_ud: float = Field(0.0, ge=0, le=1, description="probability of a flip upside down")
    mixup: float = Field(0.0, ge=0, le=1, description="probability of blending two pictures (recipe for l and x: 0.15)")
    copy_paste: float = Field(
        0.0, ge=0, le=1, description="probability of pasting instances of another picture (recipe for l and x: 0.3)"
    )
    multi_scale: float = Field(
        0.0, ge=0, lt=1, description="range of the input size per batch, as a share of image_size, in steps of 32"
    )


class Train(Section):
    """How the network is trained. A card without this section uses its weights as they are."""

    epochs: int = Field(
        100, ge=1, le=10_000, description="passes over the training set: 100 to fine-tune, 500 for COCO from scratch"
    )
    batch: BatchSize = Field(
        16, description="pictures per step and process, or auto: as many as memory holds, at most nominal_batch"
    )
    sync_batch_norm: bool = Field(
        True, description="statistics of all processes together, so that 2 x 8 pictures learn as 1 x 16"
    )
    optimizer: Literal["auto", "sgd", "adamw"] = Field(
        "auto", description="auto: adamw with its own lr0 and momentum below 10,000 iterations, else sgd"
    )
    lr0: float = Field(0.01, gt=0, le=1, description="learning rate after warm-up")
    lrf: float = Field(0.01, gt=0, le=1, description="last learning rate, as a share of lr0")
    cosine: bool = Field(False, description="cosine decay of the learning rate in place of a linear one")
    momentum: float = Field(0.937, ge=0, lt=1, description="SGD momentum (nesterov), or Adam's beta 1")
    weight_decay: float = Field(
        5e-4, ge=0, le=1, description="weight decay, scaled by batch x accumulated steps / nominal_batch"
    )
    nominal_batch: int = Field(
        64, ge=1, le=65_536, description="pictures per optimizer step; smaller batches are accumulated up to it"
    )
    warmup_epochs: float = Field(3.0, ge=0, le=1000, description="epochs of rising learning rate; part of one is fine")
    warmup_steps: int = Field(
        100, ge=0, le=1_000_000, description="least steps of warm-up: epochs of a small set are few steps"
    )
    warmup_momentum: float = Field(0.8, ge=0, lt=1, description="momentum at the first step")
    warmup_bias_lr: float = Field(0.1, ge=0, le=1, description="learning rate of the biases at the first step")
    ema_decay: float = Field(0.9999, ge=0, lt=1, description="decay of the averaged weights")
    ema_tau: float = Field(2000.0, gt=0, le=1e6, description="steps over which that decay is ramped up")
    amp: bool = Field(True, description="mixed precision where the device has it")
    clip_norm: float = Field(10.0, ge=0, le=1e6, description="largest norm of the gradient; 0 for no limit")
    seed: int = Field(0, ge=0, lt=2**32, description="seed of all random numbers")
    val_interval: int = Field(1, ge=1, le=10_000, description="epochs between two validations; the last is validated")
    patience: int = Field(50, ge=0, le=10_000, description="epochs without gain before an early stop; 0 for never")
    freeze: int = Field(
        0, ge=0, le=22, description="leading modules that are not trained; 10 is the backbone, 22 all but the head"
    )
    class_weights: dict[str, float] = Field(
        default_factory=dict, description="class name to a factor on its class loss; 1 where not named"
    )
    overlap_masks: Literal["merged", "separate"] = Field(
        "merged",
        description="where objects overlap: merged gives each point to the smallest one alone, as one map of labels "
        "does; separate leaves every object its whole mask",
    )
    gains: Gains = Field(default_factory=Gains, description="factors on the parts of the loss")
    assigner: Assigner = Field(default_factory=Assigner, description="which points learn which instance")
    augmentation: Augmentation = Field(
        default_factory=Augmentation, description="random changes to the training pictures"
    )
    cache: Literal["auto", "ram", "disk", "off"] = Field(
        "auto", description="where decoded pictures are kept between epochs; auto: ram where they fit, else off"
    )
    strict: bool = Field(False, description="refuse broken pictures and label lines instead of leaving them out")
    workers: Workers = Field(
        "auto",
        description="processes that read pictures, 0 reads them in the main one; auto: 4, or fewer on a small machine",
    )
