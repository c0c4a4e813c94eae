"""Files at http(s) addresses."""

from __future__ import annotations

from urllib.parse import urljoin

from poslens.checkpoints.config import Config
from poslens.checkpoints.folder import CONFIG
from poslens.checkpoints.json_object import json_object
from poslens.checkpoints.remote.access import Access
from poslens.checkpoints.remote.http import AbsentError, DeniedError, public_url, request_headers
from poslens.checkpoints.remote.hub import JSON_FIRST_BYTES
from poslens.checkpoints.remote.remote_file import FIRST_BYTES, RemoteFile
from poslens.checkpoints.remote.transfer import Link


def open_address(url: str, access: Access, first_bytes: int = FIRST_BYTES) -> RemoteFile:
    """Open the file at an address; the hub's token goes to the hub alone.

    Raises
    ------
    AbsentError
        If there is no such file.
    SourceError
        If it cannot be read.
    """
    link = Link(url, request_headers(url), file=public_url(url), identity=public_url(url))
    return RemoteFile(link, access, first_bytes)


def open_beside(url: str, access: Access, name: str) -> RemoteFile | None:
    """Open a file in the same folder; None if there is none, or it is not for everyone.

    Raises
    ------
    SourceError
        If it cannot be read.
    """
    try:
        return open_address(urljoin(url, name), access, JSON_FIRST_BYTES)
    except (AbsentError, DeniedError):  # some hosts say of what is not there that it is forbidden
        return None


def config_beside(url: str, access: Access) -> Config | None:
    """Return the config in the same folder; None if there is none, or it is not for everyone.

    Raises
    ------
    SourceError
        If it cannot be read, or is no JSON object.
    """
    source = open_beside(url, access, CONFIG)
    return None if source is None else Config(json_object(source), source.shown)
