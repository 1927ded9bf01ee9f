"""What the classes of this room are made of, from PyTorch Lightning; or which extra brings it."""

from dualview.training.run import require_lightning

try:
    import pytorch_lightning as lightning
    from pytorch_lightning.callbacks import Checkpoint
    from pytorch_lightning.plugins.environments import LightningEnvironment
    from pytorch_lightning.plugins.io import CheckpointIO
except ModuleNotFoundError:
    require_lightning()
    raise  # Lightning is there, and something of its own is not

__all__ = ["Checkpoint", "CheckpointIO", "LightningEnvironment", "lightning"]
