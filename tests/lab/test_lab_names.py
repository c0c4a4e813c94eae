"""The lab's public names, and what importing them costs."""

from __future__ import annotations

import subprocess
import sys

import pytest

import poslens
from poslens import lab
from poslens.errors import LabError


@pytest.mark.parametrize("name", lab.__all__)
def test_every_public_name_exists(name: str) -> None:
    assert getattr(poslens.lab, name) is not None
    assert name in dir(lab)


def test_other_names_do_not() -> None:
    with pytest.raises(AttributeError, match=r"'poslens\.lab' has no attribute 'Lamp'"):
        _ = lab.Lamp  # type: ignore[attr-defined]


def test_data_and_settings_need_no_torch() -> None:
    code = (
        "import sys, poslens.lab as lab\n"
        "lab.Shape, lab.Recipe, lab.Split, lab.Copy, lab.scheme\n"
        "assert 'torch' not in sys.modules\n"
        "lab.Decoder\n"
        "assert 'torch' in sys.modules and 'transformers' not in sys.modules\n"
    )
    done = subprocess.run([sys.executable, "-c", code], check=False)  # noqa: S603
    assert done.returncode == 0


def test_without_torch_the_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [name for name in sys.modules if name.startswith("poslens.lab.")]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "torch", None)
    with pytest.raises(LabError, match=r"without torch: .*pip install 'poslens\[torch\]'"):
        _ = lab.Training
