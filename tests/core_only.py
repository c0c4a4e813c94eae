"""Run by ``make core`` in an environment that has only the core: it installs, imports and works.

A plain script, not a pytest module: pytest is not part of the core.
"""

import importlib.util
import sys
import tempfile
from pathlib import Path
from typing import Any

EXTRAS = ("torch", "transformers", "sklearn", "safetensors", "matplotlib", "pytest")
LAZY = ("numpy", "scipy", "xarray", "plotly", "rich", "typer")


def main() -> None:
    """Analyse, save, show; leave with a message at the first thing that is not right."""
    present = [name for name in EXTRAS if importlib.util.find_spec(name)]
    if present:
        sys.exit(f"this environment must hold the core alone, but has {', '.join(present)}")

    import poslens

    loaded = [name for name in LAZY if name in sys.modules]
    if loaded:
        sys.exit(f"import poslens must load no library, but loaded {', '.join(loaded)}")

    import numpy as np

    rng = np.random.default_rng(0)
    study = poslens.analyze(np.cumsum(rng.standard_normal((65, 12)), axis=0), nulls=19)
    with tempfile.TemporaryDirectory() as folder:
        page, saved = Path(folder, "page.html"), Path(folder, "study.nc")
        study.report(page)
        study.save(saved)
        if poslens.open_study(saved) != study or page.stat().st_size < 1_000_000:
            sys.exit("a study does not survive saving, or its page is empty")

    demo = poslens.analyze("demo", nulls=0, contexts=2, length=64)
    if demo.claim("attention.four_terms").verdict.value != "supported":
        sys.exit("the demo model cannot be read with a text")

    acts(poslens)

    from typer.testing import CliRunner

    from poslens.cli import app

    result = CliRunner().invoke(app, ["analyze", "sinusoidal:length=40,dim=8", "--nulls", "0"])
    if result.exit_code != 0 or "sinusoid.many_frequencies" not in result.output:
        sys.exit(f"the command line fails with the core alone: {result.output}")
    print("the core installs, imports and works alone")


def acts(poslens: Any) -> None:
    """Compress and extend without a text, and write what was made."""
    from poslens.edit.written import write_compressed, write_extended

    with tempfile.TemporaryDirectory() as folder:
        smaller = poslens.compress("demo", rank=9)
        write_compressed(smaller, Path(folder, "smaller"))
        longer = poslens.extend("demo", 1023, method="linear")
        write_extended(longer, Path(folder, "longer"))
        lengths = [poslens.load_table(Path(folder, name)).length for name in ("smaller", "longer")]
    if lengths != [512, 1023]:
        sys.exit(f"edited checkpoints have tables of {lengths} positions")


if __name__ == "__main__":
    main()
