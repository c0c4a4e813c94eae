"""Train matched models that differ in how they know where a token is, and evaluate them.

Needs the extra ``torch``. A run is a `Decoder` of a `Shape` and an encoding, its batches (`Split` of
a text, or a task), and a `Recipe`, together a `Training`:

    shape = Shape(layers=4, heads=4, width=128, context=512)
    split = Split(python_help(), block=8 * shape.context + 1)
    model = Decoder(shape, scheme("alibi", shape))
    for metrics in Training(model, split, Recipe(steps=1000)).run():
        print(metrics.step, metrics.loss)
    by_length = extrapolation(model, split)
"""

from poslens.errors import LabError

try:
    import torch  # noqa: F401
except ModuleNotFoundError as error:
    raise LabError(
        "the lab cannot run without torch",
        expected="the extra torch",
        got="a Python without it",
        remedy="install it: pip install 'poslens[torch]'",
    ) from error

from poslens.lab.batches import IGNORED, Batch, Batches
from poslens.lab.data import Split, Text, python_help, read_text
from poslens.lab.evaluate import Losses, accuracy, extrapolation, losses, sliding_losses
from poslens.lab.export import byte_tokenizer, export
from poslens.lab.model import Decoder
from poslens.lab.recipe import Recipe
from poslens.lab.schemes import SCHEMES, scheme
from poslens.lab.shape import Shape
from poslens.lab.snapshots import save_snapshot, snapshot_path, snapshot_steps
from poslens.lab.state import load_training, save_training
from poslens.lab.tasks import Copy, Counting, Lookup, Reverse
from poslens.lab.train import Metrics, Training

__all__ = [
    "IGNORED",
    "SCHEMES",
    "Batch",
    "Batches",
    "Copy",
    "Counting",
    "Decoder",
    "LabError",
    "Lookup",
    "Losses",
    "Metrics",
    "Recipe",
    "Reverse",
    "Shape",
    "Split",
    "Text",
    "Training",
    "accuracy",
    "byte_tokenizer",
    "export",
    "extrapolation",
    "load_training",
    "losses",
    "python_help",
    "read_text",
    "save_snapshot",
    "save_training",
    "scheme",
    "sliding_losses",
    "snapshot_path",
    "snapshot_steps",
]
