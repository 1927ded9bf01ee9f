"""`train`: one network from its first epoch, or from where it was interrupted, to its last."""

from __future__ import annotations

import importlib.util
import logging
import signal
import threading
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from dualview.arguments import (
    calling,
    file_path,
    flag,
    instance_of,
    offering,
    optional,
    takes,
)
from dualview.conversion.parameters import MODEL
from dualview.errors import DivergenceError, need
from dualview.files.writing import refused_by_the_system
from dualview.training.environment import settings_alone_decide, start_a_group
from dualview.training.interruption import terminable
from dualview.training.metrics import TrainingResult, write_metrics
from dualview.training.settings import AUTO, SettingsError, TrainSettings
from dualview.training.threads import use_threads
from dualview.training.watcher import Unwatched, Watcher

if TYPE_CHECKING:
    import pytorch_lightning as lightning
    from torch import nn

    from dualview.datasets import Dataset
    from dualview.training.module import Classifier, Measure
    from dualview.training.teacher import Teacher

CHECKPOINT = "last.ckpt"
METRICS = "metrics.csv"
TENSORBOARD = "tensorboard"


def module_value(value: Any) -> Any:
    """A check as `dualview.arguments` has them: a network. PyTorch is imported when it is asked."""
    from torch import nn

    return instance_of(nn.Module)(value)


def dataset_value(value: Any) -> Any:
    """Likewise: a data set."""
    from dualview.datasets import Dataset

    return instance_of(Dataset, repair="dualview.datasets.load('digits')")(value)


@takes(
    SettingsError,
    net=module_value,
    data=dataset_value,
    settings=instance_of(TrainSettings),
    folder=file_path,
    watcher=optional(offering("started", "stepped", "epoch_done")),
    measure=optional(calling(2)),
    validate=flag,
    teacher=optional(offering("loss", "set_gates")),
)
def train(
    net: nn.Module,
    data: Dataset,
    settings: TrainSettings,
    folder: Path,
    *,
    watcher: Watcher | None = None,
    measure: Measure | None = None,
    validate: bool = True,
    teacher: Teacher | None = None,
) -> TrainingResult:
    """Train `net` in place; go on from the folder's checkpoint if an earlier call left one.

    The images are standardised by the mean and standard deviation of each channel over the train
    split. **A gated network carries this as its `input_transform` from then on, and is called on
    images as they are, pixels from 0 to 1; a plain module cannot, and the result's `network` is the
    transform with the module behind it.** A network that has an input transform keeps it.

    On the CPU an interrupted and resumed run ends with exactly the numbers and parameters of an
    uninterrupted one. The network's structure, data and settings must be those of the first call;
    that the network starts from the same numbers, and `measure` is the same, is up to the caller.
    The settings alone decide: variables of a job scheduler or launcher change nothing, and several
    devices are served by processes that this one starts. The folder gets `metrics.csv` (one row an
    epoch) and, when the last epoch is done, `model.safetensors`, which says itself what gated
    network it is of; `last.ckpt` is left for the caller to remove once it has recorded the result.
    PyTorch's global random state is as before when the
    call returns.

    Args:
        net: maps images (b, c, h, w) to logits (b, classes), or under the squared loss of two
            classes to one output (b, 1): standardised images, or, where it carries an input
            transform, images as they are. It ends in evaluation mode.
        data: train, validation and test split.
        settings: options; what is None is chosen by the number of train examples.
        folder: where the run's files go; made if missing.
        watcher: told of every step and epoch.
        measure: called as `measure(net, epochs_done)` before the first epoch and after each, in
            evaluation mode and without gradients: a gated network takes images as they are there,
            a plain module standardised ones. What it returns (numbers, texts, lists and dicts) is
            kept in the checkpoint and in the result's `measurements`; None is left out.
            It must not change the network.
        validate: False leaves the validation split alone, for runs that train on it.
        teacher: what `net` learns from beside the labels (`dualview.distil` makes it).

    Returns:
        The curve, what became of the run ("finished", or "diverged" where a loss was not finite),
        and the network that takes images as they are.

    Raises:
        RunError: the folder's checkpoint is damaged, or of another run.
        SettingsError: the network does not fit the data.
        MissingExtraError: PyTorch Lightning is not installed.
        KeyboardInterrupt: the user interrupted; completed epochs are safe.
        Terminated: likewise, by SIGTERM, or SIGUSR1 and the like of job schedulers; a SystemExit
            with status 128 + the signal's number.

    >>> import tempfile, torch, dualview.datasets as datasets
    >>> _ = torch.manual_seed(0)
    >>> net = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(64, 10))
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     result = train(net, datasets.load("digits"), TrainSettings(epochs=9), Path(folder))
    >>> result.status, len(result.curve), result.test_accuracy > 0.5
    ('finished', 9, True)
    >>> test = datasets.load("digits").test
    >>> hits = result.network(test.pixels).argmax(1) == test.labels
    >>> bool(hits.float().mean() == result.test_accuracy)
    True
    """
    require_lightning()
    import torch

    from dualview.conversion.sharing.saving import save_network
    from dualview.training.feeding import feed
    from dualview.training.fitting import check_network_fits

    settings = settings.resolved(len(data.train))
    settings = replace(settings, precision=precision_here(settings))
    gpus = list(range(torch.cuda.device_count()))
    with torch.random.fork_rng(devices=gpus):
        fed = feed(net, data)
        check_network_fits(fed, data, settings)
    folder = Path(folder)
    make_folder(folder)
    # Convolutions are quicker so; fully connected layers do not notice. (PyTorch's stubs of
    # `Module.to` leave the layout out.)
    net.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    with (
        torch.random.fork_rng(devices=gpus),
        use_threads(settings.threads),
        _quiet(),
        settings_alone_decide(),
    ):
        from dualview.training.module import Classifier

        module = Classifier(net, fed, data, settings, measure, validate=validate, teacher=teacher)
        status, message = _fit(module, folder, watcher or Unwatched())
        device = device_name(module.trainer.strategy.root_device)
    net.to(memory_format=torch.contiguous_format).eval()  # type: ignore[call-overload]
    if module.trainer.is_global_zero:
        write_metrics(module.curve, folder / METRICS)
        if status == "finished":
            save_network(net, folder / MODEL)
    parameters = sum(p.numel() for p in net.parameters() if p.requires_grad)
    return TrainingResult(
        status,
        message,
        tuple(module.curve),
        parameters,
        device,
        tuple(module.measurements),
        fed.whole.eval(),
    )


def make_folder(folder: Path) -> None:
    """Make the folder of a run, if it is not there.

    Raises:
        RunError: the system refuses.
    """
    with refused_by_the_system(folder, "a folder to write to", "choose another folder"):
        folder.mkdir(parents=True, exist_ok=True)


def _fit(module: Classifier, folder: Path, watcher: Watcher) -> tuple[str, str]:
    """Let Lightning train, which leaves curve and measurements in the module: status, message."""
    from dualview.training.checkpoints import curve_of, read_checkpoint
    from dualview.training.identity import job_identity
    from dualview.training.keeping import MEASUREMENTS

    checkpoint, settings = folder / CHECKPOINT, module.settings
    validate, measured = len(module.evaluated) > 1, module.measure is not None
    taught = {} if module.teacher is None else module.teacher.identity
    job = job_identity(
        "train", module.fed, module.data, settings, validate=validate, measured=measured, **taught
    )
    earlier = read_checkpoint(checkpoint, job)
    if earlier is not None:
        module.curve = curve_of(earlier, settings.epochs, checkpoint)
        module.measurements = list(earlier[MEASUREMENTS])
    trainer = _trainer(settings, folder, len(module.curve), watcher, job)
    if trainer.num_devices > 1:
        start_a_group()
    module.net.train()
    with _interruptible():
        try:
            trainer.fit(module, ckpt_path=None if earlier is None else checkpoint)
        except DivergenceError as error:
            return "diverged", str(error)
    return "finished", ""


def _trainer(
    settings: TrainSettings, folder: Path, epochs_done: int, watcher: Watcher, job: dict[str, Any]
) -> lightning.Trainer:
    import pytorch_lightning as lightning

    from dualview.training.keeping import KeepEpochs, OwnCheckpoints

    return lightning.Trainer(
        **_machine(settings, OwnCheckpoints(job)),
        max_epochs=settings.epochs,
        # Nothing is there, and nothing comes there: Lightning would go on from what it finds.
        default_root_dir=folder / "lightning",
        logger=_tensorboard(folder, epochs_done) if settings.tensorboard else False,
        callbacks=[KeepEpochs(folder / CHECKPOINT, folder / METRICS, watcher)],
        num_sanity_val_steps=0,
        log_every_n_steps=1,
        use_distributed_sampler=False,
        enable_progress_bar=False,
        enable_model_summary=False,
    )


def _tensorboard(folder: Path, epochs_done: int) -> Any:
    """Lightning's TensorBoard logger, or False where TensorBoard is not installed."""
    if importlib.util.find_spec("tensorboard") is None:
        return False
    from pytorch_lightning.loggers import TensorBoardLogger

    # What an interrupted process logged beyond its last checkpoint is hidden by purge_step.
    return TensorBoardLogger(
        save_dir=folder, name="", version="", sub_dir=TENSORBOARD, purge_step=epochs_done
    )


def require_lightning() -> None:
    """Refuse early where PyTorch Lightning is missing.

    Raises:
        MissingExtraError: it is; the message names the extra.
    """
    need("pytorch_lightning", "train", "training")


@takes(SettingsError, settings=instance_of(TrainSettings))
def check_machine(settings: TrainSettings) -> None:
    """See that Lightning can serve accelerator, devices and precision here.

    Raises:
        SettingsError: it cannot.
    """
    import pytorch_lightning as lightning
    from pytorch_lightning.utilities.exceptions import MisconfigurationException

    try:
        with _quiet(), settings_alone_decide():
            lightning.Trainer(**_machine(settings), logger=False, enable_checkpointing=False)
    # ImportError: of a device's library; OverflowError: of as many devices as no list can have.
    except (
        MisconfigurationException,
        ValueError,
        TypeError,
        RuntimeError,
        ImportError,
        OverflowError,
    ) as error:
        raise SettingsError(
            f"accelerator={settings.accelerator!r}, devices={settings.devices!r}, "
            f"precision={settings.precision!r}: not possible here: {error}"
        ) from error


def _machine(settings: TrainSettings, *plugins: Any) -> dict[str, Any]:
    """Lightning's own options. The environment is named, lest Lightning look for a launcher's."""
    from dualview.training.processes import OwnProcesses

    return {
        "accelerator": settings.accelerator,
        "devices": settings.devices,
        "precision": precision_here(settings),
        "plugins": [OwnProcesses(), *plugins],
    }


@takes(SettingsError, settings=instance_of(TrainSettings))
def cpu_threads(settings: TrainSettings) -> int | None:
    """Threads that sums on the CPU depend on in their last bits; None where a GPU trains."""
    import torch

    gpu = torch.cuda.is_available() or torch.backends.mps.is_available()
    if settings.accelerator == "cpu" or (settings.accelerator == "auto" and not gpu):
        return settings.threads or torch.get_num_threads()
    return settings.threads


def on_this_machine(settings: TrainSettings) -> TrainSettings:
    """The settings with the threads and the precision that they mean here, as records keep them."""
    return replace(settings, threads=cpu_threads(settings), precision=precision_here(settings))


def precision_here(settings: TrainSettings) -> str:
    """Lightning's name of the precision: the settings' own, or what "auto" stands for here."""
    import torch

    if settings.precision != AUTO:
        return settings.precision
    if settings.accelerator in ("auto", "gpu", "cuda") and torch.cuda.is_available():
        fast = torch.cuda.is_bf16_supported()
    else:
        others = settings.accelerator == "auto" and torch.backends.mps.is_available()
        fast = settings.accelerator in ("auto", "cpu") and not others and multiplies_bfloat16()
    return "bf16-mixed" if fast else "32-true"


def multiplies_bfloat16() -> bool:
    """Whether the processor has instructions for it; without them it is slower than float32."""
    import torch

    # A public question since PyTorch 2.10; earlier releases keep to float32.
    capabilities: dict[str, Any] = getattr(torch.cpu, "get_capabilities", dict)()
    return any(capabilities.get(name, False) for name in ("avx512_bf16", "amx_bf16"))


def device_name(device: Any) -> str:
    """A device as records name it."""
    import torch

    if device.type == "cuda":
        return torch.cuda.get_device_name(device)
    if device.type == "cpu":
        n = torch.get_num_threads()
        return f"cpu ({n} thread{'s' if n > 1 else ''})"
    return str(device)


@contextmanager
def _quiet() -> Iterator[None]:
    """Silence Lightning's notes (devices found, tips, "fit stopped"); its warnings still show."""
    import pytorch_lightning  # noqa: F401  (first, since its import sets the levels)

    loggers = [logging.getLogger(name) for name in ("pytorch_lightning", "lightning_fabric")]
    levels = [logger.level for logger in loggers]
    for logger in loggers:
        logger.setLevel(logging.WARNING)
    try:
        with warnings.catch_warnings():
            # The user's choice, not an accident.
            warnings.filterwarnings("ignore", message="GPU available but not used")
            # `train` has called net.train(): what is not in training mode is frozen on purpose.
            warnings.filterwarnings("ignore", message=r"Found \d+ module\(s\) in eval mode")
            # Between Lightning and PyTorch; nothing that a user of this package could do.
            warnings.filterwarnings("ignore", r"`isinstance\(treespec, LeafSpec\)`", FutureWarning)
            yield
    finally:
        for logger, level in zip(loggers, levels, strict=True):
            logger.setLevel(level)


@contextmanager
def _interruptible() -> Iterator[None]:
    """Ctrl-C leaves as KeyboardInterrupt.

    Lightning turns it into SystemExit(1) and stops listening to further ones; callers could then
    not tell an interruption from failure.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    handler = signal.getsignal(signal.SIGINT)
    try:
        with terminable():
            yield
    except SystemExit as stop:
        if isinstance(stop.__context__, KeyboardInterrupt):
            raise KeyboardInterrupt from stop
        raise
    finally:
        signal.signal(signal.SIGINT, handler)
