"""The test server speaks the hub's protocol: huggingface_hub itself says so."""

from __future__ import annotations

import hashlib
import os
import subprocess
import sys
from pathlib import Path

import httpx2
import pytest
from faults import (
    closed,
    gzipped,
    header,
    redirected,
    shifted,
    shortened,
    stalled,
    status,
    unranged,
)
from huggingface_hub import (
    constants,
    get_hf_file_metadata,
    hf_hub_download,
    hf_hub_url,
    list_repo_files,
    model_info,
    snapshot_download,
)
from huggingface_hub.errors import (
    EntryNotFoundError,
    GatedRepoError,
    HfHubHTTPError,
    OfflineModeIsEnabled,
    RepositoryNotFoundError,
    RevisionNotFoundError,
)
from server import HubServer

CONFIG = b'{"model_type": "gpt2"}'
WEIGHTS = bytes(range(256)) * 1000
FILES = {"config.json": CONFIG, "model.safetensors": WEIGHTS, "sub dir/a+b.txt": b"text"}
TOKEN = "hf_of_a_reader"  # noqa: S105 - a token of no one


def get(url: str, span: str | None = None, **headers: str) -> httpx2.Response:
    named = {key.replace("_", "-"): value for key, value in headers.items()}
    asked = named if span is None else named | {"Range": f"bytes={span}"}
    return httpx2.get(url, headers=asked, follow_redirects=True, timeout=5)


@pytest.mark.parametrize("relays", [False, True])
@pytest.mark.parametrize("name", ["gpt2", "org/name"])
def test_files_are_downloaded(server: HubServer, name: str, relays: bool) -> None:
    server.relays = relays
    commit = server.add_model(name, FILES)
    for file, content in FILES.items():
        path = Path(hf_hub_download(name, file))
        assert path.read_bytes() == content
        assert path.parent.relative_to(path.parents[1 + file.count("/")]).parts[0] == commit
    assert server.sent() == sum(map(len, FILES.values()))
    assert {one.host for one in server.asked("model.safetensors")} == {"hub", "cdn"}
    assert {one.host for one in server.asked("config.json")} == {"hub"}


def test_metadata(server: HubServer) -> None:
    commit = server.add_model("org/name", FILES)
    small, large = (
        get_hf_file_metadata(hf_hub_url("org/name", file))
        for file in ("config.json", "model.safetensors")
    )
    assert (small.commit_hash, large.commit_hash) == (commit, commit)
    assert (small.size, large.size) == (len(CONFIG), len(WEIGHTS))
    blob = b"blob %d\0" % len(CONFIG) + CONFIG
    assert small.etag == hashlib.sha1(blob, usedforsecurity=False).hexdigest()
    assert large.etag == hashlib.sha256(WEIGHTS).hexdigest()
    assert large.location.startswith(server.cdn)
    assert small.location.startswith(server.hub)
    assert server.sent() == 0


def test_listings_and_snapshots(server: HubServer) -> None:
    commit = server.add_model("org/name", FILES)
    assert sorted(list_repo_files("org/name")) == sorted(FILES)
    info = model_info("org/name", revision="main")
    assert (info.sha, info.id) == (commit, "org/name")
    assert model_info("org/name").sha == commit
    folder = Path(snapshot_download("org/name", revision=commit))
    found = {path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()}
    assert found == set(FILES)


def test_a_revision_is_a_branch_a_tag_or_a_commit(server: HubServer) -> None:
    first = server.add_model("org/name", {"a.txt": b"1"})
    server.add_model("org/name", {"a.txt": b"2"}, revision="refs/pr/1")
    second = server.add_model("org/name", {"a.txt": b"3"})
    assert first != second
    for revision, content in ((first, b"1"), ("refs/pr/1", b"2"), ("main", b"3"), (second, b"3")):
        assert Path(hf_hub_download("org/name", "a.txt", revision=revision)).read_bytes() == content


def test_a_renamed_repository(server: HubServer) -> None:
    server.add_model("openai-community/gpt2", FILES)
    server.rename("gpt2", "openai-community/gpt2")
    assert Path(hf_hub_download("gpt2", "config.json")).read_bytes() == CONFIG
    assert Path(hf_hub_download("gpt2", "model.safetensors")).read_bytes() == WEIGHTS


def test_what_is_not_there(server: HubServer) -> None:
    server.add_model("org/name", FILES)
    with pytest.raises(RepositoryNotFoundError):
        hf_hub_download("org/other", "config.json")
    with pytest.raises(RepositoryNotFoundError):
        list_repo_files("other")
    with pytest.raises(RevisionNotFoundError):
        hf_hub_download("org/name", "config.json", revision="v2")
    with pytest.raises(EntryNotFoundError):
        hf_hub_download("org/name", "absent.json")


def test_access(server: HubServer, monkeypatch: pytest.MonkeyPatch) -> None:
    server.add_model("org/private", FILES, token=TOKEN)
    server.add_model("org/gated", FILES, gated=True)
    with pytest.raises(RepositoryNotFoundError):
        hf_hub_download("org/private", "config.json")
    with pytest.raises(GatedRepoError):
        hf_hub_download("org/gated", "config.json")
    with pytest.raises(RepositoryNotFoundError):
        hf_hub_download("org/private", "config.json", token="hf_of_another")  # noqa: S106
    monkeypatch.setenv("HF_TOKEN", TOKEN)
    assert Path(hf_hub_download("org/private", "model.safetensors")).read_bytes() == WEIGHTS
    seen = {(one.host, one.authorization) for one in server.asked("org/private/model.safetensors")}
    assert seen == {("hub", f"Bearer {TOKEN}"), ("cdn", None)}


def test_an_interrupted_download_is_resumed(
    server: HubServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("huggingface_hub.file_download.time.sleep", lambda _: None)
    monkeypatch.setattr(constants, "DOWNLOAD_CHUNK_SIZE", 50_000)  # what is kept is whole chunks
    server.add_model("org/name", FILES)
    server.fail("model.safetensors", closed(100_000), times=1, host="cdn")
    assert Path(hf_hub_download("org/name", "model.safetensors")).read_bytes() == WEIGHTS
    first, second = (one for one in server.asked(host="cdn") if one.method == "GET")
    assert (first.status, first.range, first.sent) == (200, None, 100_000)
    assert (second.status, second.range) == (206, "bytes=100000-")
    assert second.sent == len(WEIGHTS) - 100_000


def test_an_error_is_an_error(server: HubServer) -> None:
    server.add_model("org/name", FILES)
    server.fail("config.json", status(500), method="HEAD")
    with pytest.raises(HfHubHTTPError, match="500 Internal Server Error"):
        get_hf_file_metadata(hf_hub_url("org/name", "config.json"))


@pytest.mark.parametrize(
    ("span", "code", "start", "stop"),
    [
        ("0-9", 206, 0, 10),
        ("5-", 206, 5, 256_000),
        ("-7", 206, 255_993, 256_000),
        ("255999-300000", 206, 255_999, 256_000),
        ("256000-", 416, 0, 0),
        ("9-3", 416, 0, 0),
        ("-", 200, 0, 256_000),
        ("0-1,5-6", 200, 0, 256_000),  # several ranges may be ignored
        (None, 200, 0, 256_000),
    ],
)
def test_ranges(server: HubServer, span: str | None, code: int, start: int, stop: int) -> None:
    server.add_model("org/name", FILES)
    url = server.publish("a file.bin", WEIGHTS)
    for address in (url, hf_hub_url("org/name", "model.safetensors")):
        answer = get(address, span)
        assert (answer.status_code, answer.content) == (code, WEIGHTS[start:stop])
        expected = {206: f"bytes {start}-{stop - 1}/256000", 416: "bytes */256000", 200: None}
        assert answer.headers.get("content-range") == expected[code]
        assert server.requests[-1].sent == stop - start
    assert "x-repo-commit" not in get(url).headers


def test_conditions(server: HubServer) -> None:
    url = server.publish("a.bin", WEIGHTS)
    etag = get(url, "0-0").headers["etag"]
    assert get(url, If_None_Match=etag).status_code == 304
    assert get(url, If_Match='"other"').status_code == 412
    assert get(url, "3-5", If_Match=etag).content == WEIGHTS[3:6]
    assert get(url, "3-5", If_Range=etag).status_code == 206
    assert get(url, "3-5", If_Range='"other"').content == WEIGHTS


def test_faults_meet_the_requests_they_are_planned_for(server: HubServer) -> None:
    url = server.publish("a.bin", WEIGHTS)
    server.fail("a.bin", status(429, Retry_After="7"), skip=1, times=2)
    answers = [get(url, "0-3") for _ in range(4)]
    assert [answer.status_code for answer in answers] == [206, 429, 429, 206]
    assert answers[1].headers["retry-after"] == "7"
    server.fail("a.bin", status(503), host="hub")
    assert get(url, "0-3").status_code == 206
    server.fail("a.bin", status(503))
    assert [get(url).status_code for _ in range(3)] == [503] * 3
    server.mend()
    assert [one.status for one in server.asked("a.bin")] == [
        *(206, 429, 429, 206, 206, 503, 503, 503)
    ]


def test_bodies_that_are_not_what_the_headers_say(server: HubServer) -> None:
    def one(fault: Fault, times: int = 1) -> httpx2.Response:
        server.mend()
        server.fail("a.bin", fault, times=times)
        return get(url, "1000-1999")

    url = server.publish("a.bin", WEIGHTS)
    for broken in (closed(10), header(Content_Length="1001")):
        with pytest.raises(httpx2.RemoteProtocolError):
            one(broken)
    assert one(unranged).content == WEIGHTS
    short = one(shortened(100))
    assert short.headers["content-range"] == "bytes 1000-1999/256000"
    assert short.content == WEIGHTS[1000:1900]
    other = one(shifted(24))
    assert (other.headers["content-range"], other.content) == (
        "bytes 1024-2023/256000",
        WEIGHTS[1024:2024],
    )
    assert one(header(Content_Range="bytes 0-999/256000")).content == WEIGHTS[1000:2000]
    unsized = one(header(Content_Length=None))
    assert "content-length" not in unsized.headers
    assert unsized.content == WEIGHTS[1000:2000]
    assert len(one(header(Content_Length="900")).content) == 900
    packed = one(gzipped)
    assert (packed.status_code, packed.headers["content-encoding"]) == (200, "gzip")
    assert packed.content == WEIGHTS
    with pytest.raises(httpx2.TooManyRedirects):
        one(redirected("/files/a.bin"), times=99)


def test_a_stall_ends_with_the_server() -> None:
    """The client's patience is over first; the server does not wait for its own."""
    with HubServer() as server:
        url = server.publish("a.bin", WEIGHTS)
        server.fail("a.bin", stalled(65_536))
        with (
            httpx2.Client(timeout=0.2, trust_env=False) as client,
            client.stream("GET", url) as answer,
        ):
            pieces = answer.iter_raw()
            read = 0
            while read < 65_536:
                read += len(next(pieces))
            with pytest.raises(httpx2.ReadTimeout):
                next(pieces)
    assert read == server.sent() == 65_536


def test_a_sparse_file_is_not_read_into_memory(server: HubServer, tmp_path: Path) -> None:
    path = tmp_path / "huge.bin"
    with path.open("wb") as handle:
        handle.truncate(2**40)
    url = server.publish("huge.bin", path)
    assert get(url, f"{2**40 - 5}-").content == bytes(5)


def test_a_process_of_its_own(server: HubServer, environment: dict[str, str]) -> None:
    server.add_model("org/name", FILES)
    code = "from huggingface_hub import list_repo_files as l; print(*l('org/name'), sep='\\n')"
    variables = {**os.environ, **environment, "HF_ENDPOINT": server.hub}
    listed = subprocess.run(  # noqa: S603
        [sys.executable, "-c", code], env=variables, capture_output=True, text=True, check=True
    )
    assert listed.stdout.splitlines() == list(FILES)
    offline = subprocess.run(  # noqa: S603
        [sys.executable, "-c", code],
        env=variables | {"HF_HUB_OFFLINE": "1"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert OfflineModeIsEnabled.__name__ in offline.stderr
    assert len(server.asked("org/name/tree/main")) == 1


def test_the_real_hub_is_never_asked(server: HubServer, monkeypatch: pytest.MonkeyPatch) -> None:
    """What the fixture leaves unset would be asked elsewhere, and fail here."""
    server.add_model("org/name", FILES)
    hosts = set()
    real = httpx2.Client.send

    def noted(self: httpx2.Client, request: httpx2.Request, **options: object) -> httpx2.Response:
        hosts.add(request.url.host)
        return real(self, request, **options)  # type: ignore[arg-type]

    monkeypatch.setattr(httpx2.Client, "send", noted)
    snapshot_download("org/name")
    list_repo_files("org/name")
    assert hosts == {"127.0.0.1"}
