"""What the classes of this room are made of, from PyTorch Lightning; or which extra brings it."""

from dualview.errors import needs

with needs("train", "training"):
    import pytorch_lightning as lightning
    from pytorch_lightning.callbacks import Checkpoint
    from pytorch_lightning.plugins.environments import LightningEnvironment
    from pytorch_lightning.plugins.io import CheckpointIO

__all__ = ["Checkpoint", "CheckpointIO", "LightningEnvironment", "lightning"]
