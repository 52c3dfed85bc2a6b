"""Arguments of Lightning's Trainer: which settings they are, and why the others are refused."""

from typing import Annotated, Any, Literal

from pydantic import Field

from miner.support.ranges import Group, rule, whole

DDP = "miner_ddp"  # the name of our strategy in Lightning's registry
_WHOLE = "every block is fitted and scored; use trainer.fast_dev_run, or image.crop_px"
_SCORED = "every level is scored once, when it is fitted"
_OWN = "blocks are optimised on their own"
_NO_PARAMETERS = "the module holds no parameters: those of blocks are in shards"
REFUSED = {
    "logger": "choose loggers with logger=[csv,tensorboard]",
    **dict.fromkeys(("max_epochs", "min_epochs"), "an epoch is a level; set pyramid.n_levels"),
    **dict.fromkeys(("max_steps", "min_steps"), "a level is fitted for fitting.max_steps"),
    **dict.fromkeys(("limit_train_batches", "limit_val_batches", "limit_test_batches"), _WHOLE),
    **dict.fromkeys(("limit_predict_batches", "overfit_batches"), _WHOLE),
    **dict.fromkeys(("val_check_interval", "check_val_every_n_epoch"), _SCORED),
    "num_sanity_val_steps": "there is nothing to render before the first level is fitted",
    "log_every_n_steps": "pruning.every_n_steps says how often quality is measured and logged",
    "enable_checkpointing": "callbacks.checkpoint stores every chunk; leave it out with "
    "callbacks.checkpoint=null",
    "enable_model_summary": _NO_PARAMETERS,
    "accumulate_grad_batches": f"{_OWN}; fitting.batch_pixels sets the pixels of a step",
    "gradient_clip_val": f"{_OWN}; lower optimizer.lr",
    "gradient_clip_algorithm": f"{_OWN}; lower optimizer.lr",
    "inference_mode": "what is rendered of a level is trained on at the next",
    "use_distributed_sampler": "each rank is given its share of a level's chunks",
    "barebones": "a run without loggers and callbacks is logger=null callbacks=null",
    "plugins": "trainer.strategy chooses them",
    "sync_batchnorm": "there is no batch normalisation",
    "reload_dataloaders_every_n_epochs": "every level has batches of its own",
    "enable_autolog_hparams": "loggers get the whole configuration",
    "model_registry": "the module holds no parameters; W&B takes logger.wandb.log_representation",
}
REFUSED_CALLBACKS = {  # of Lightning, with all that are derived from them
    "Checkpoint": "it would store no network; callbacks.checkpoint stores every chunk",
    **dict.fromkeys(("StochasticWeightAveraging", "WeightAveraging"), _NO_PARAMETERS),
    "BaseFinetuning": _NO_PARAMETERS,
    "ModelPruning": f"{_NO_PARAMETERS}; pruning=plateau ends the fit of a block",
    "GradientAccumulationScheduler": f"{_OWN}; fitting.batch_pixels sets the pixels of a step",
    "LearningRateFinder": f"{_OWN}; set optimizer.lr",
    "SpikeDetection": "there is no one loss; blocks that diverge are fitted again",
    "BatchSizeFinder": "a batch is a level; fitting.max_memory_gib bounds the memory of a step",
}

_Span = Annotated[float, Field(ge=0, le=1e6)]
_Spans = dict[Literal["weeks", "days", "hours", "minutes", "seconds"], _Span]


class TrainerConfig(Group):
    """The group `trainer`, checked."""

    target: Literal["pytorch_lightning.Trainer"] = rule(
        "be pytorch_lightning.Trainer", alias="_target_"
    )
    accelerator: Literal["auto", "cpu", "cuda", "gpu"] = rule(
        "be auto, cpu or cuda: choose with trainer=cpu"
    )
    devices: Annotated[int, whole(1, 1024)]
    num_nodes: Annotated[int, whole(1, 2**16)]
    strategy: Literal["auto", "miner_ddp"] = rule(
        "be auto, or miner_ddp for several devices: choose with trainer=ddp"
    )
    precision: Literal["32-true", "32", 32] = rule("be 32-true: stored tensors are float32")
    fast_dev_run: bool | Annotated[int, Field(ge=0)] = rule("be true, false or a number of chunks")
    max_time: Annotated[str, Field(pattern=r"^\d{1,6}:\d\d:\d\d:\d\d$")] | _Spans | None = rule(
        "be DD:HH:MM:SS, a mapping as {minutes:30}, or null"
    )
    profiler: Literal["simple", "advanced"] | None = rule("be null, simple or advanced")
    enable_progress_bar: bool = rule("be true or false")
    callbacks: list[dict[str, Any]] | None = rule("be a list of classes with _target_, or null")
    default_root_dir: str | None = rule("name a folder, or null")
    benchmark: bool | None = rule("be true, false or null")
    deterministic: bool | Literal["warn"] | None = rule("be true, false, warn or null")
    detect_anomaly: bool = rule("be true or false")

    @property
    def is_ddp(self) -> bool:
        """Whether several processes are one run."""
        return self.strategy == DDP

    @property
    def max_chunks(self) -> int | None:
        """Chunks of each level that are fitted; None for all."""
        return int(self.fast_dev_run) or None
