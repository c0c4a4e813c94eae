"""torch and transformers: asked for when a model is to be run, and not before."""

from __future__ import annotations

import importlib.util

from poslens.errors import SettingError


def require_frameworks(*besides: str) -> None:
    """Require that torch and transformers are installed.

    Parameters
    ----------
    besides
        What else must be.

    Raises
    ------
    SettingError
        If one is not.
    """
    wanted = ("torch", "transformers", *besides)
    missing = [name for name in wanted if not importlib.util.find_spec(name)]
    if missing:
        raise SettingError(
            "there is nothing that could run a model",
            expected=" and ".join(wanted),
            got=f"no {' and no '.join(missing)}",
            remedy=f'pip install "poslens[torch{",gguf" if "gguf" in besides else ""}]"',
        )
