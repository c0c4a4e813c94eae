"""torch and transformers: asked for when a model is to be run, and not before."""

from __future__ import annotations

import importlib.util

from poslens.errors import SettingError


def require_frameworks() -> None:
    """Require that torch and transformers are installed.

    Raises
    ------
    SettingError
        If one is not.
    """
    missing = [name for name in ("torch", "transformers") if not importlib.util.find_spec(name)]
    if missing:
        raise SettingError(
            "hidden states need a model that runs",
            expected="torch and transformers",
            got=f"no {' and no '.join(missing)}",
            remedy='pip install "poslens[torch]"',
        )
