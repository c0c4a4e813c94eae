"""Servers and networks that fail: recovery or one clear line, never a part taken for the whole."""

from __future__ import annotations

import json
import os
import resource
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from faults import (
    Fault,
    Reply,
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
from gpt2_shaped import POSITIONS, TOKENS, Shape, write_gpt2
from huggingface_hub import constants
from safetensors.numpy import save_file
from server import HubServer

from poslens.checkpoints import PositionTable, load_table
from poslens.checkpoints.remote import patience
from poslens.errors import SourceError

WEIGHTS = "model.safetensors"

Same = Callable[[PositionTable, PositionTable], None]

# Where a fault may strike: the config, the hub's answer for the weights, the weights' first bytes
# on the CDN, and one of the ranges after these.
PLACES = {
    "config": {"file": "config.json"},
    "hub": {"file": WEIGHTS, "host": "hub"},
    "first bytes": {"file": WEIGHTS, "host": "cdn"},
    "a range": {"file": WEIGHTS, "host": "cdn", "skip": 1},
}

PASSING: dict[str, Fault] = {
    "closed at once": closed(0),
    "closed within": closed(100),
    "silent at once": stalled(0),
    "silent within": stalled(100),
    "too short": shortened(10),
    "too long": header(Content_Length="99999999"),
    **{str(number): status(number) for number in (408, 429, 500, 502, 503, 504)},
    "429, later": status(429, Retry_After="0"),
}

# None of these is an answer to what was asked.
WRONG: dict[str, Fault] = {
    "other bytes": shifted(4),
    "another range": header(Content_Range="bytes 8-107/1000000"),
    "no range": header(Content_Range=None),
    "a range of nothing": header(Content_Range="bytes */*"),
    "a range of an unknown size": header(Content_Range="bytes 0-99/*"),
    "too little said": header(Content_Length="50"),
    "packed": gzipped,
    "a circle": redirected("?again"),
    "away from http": redirected("file:///etc/passwd"),
    "a redirect to nowhere": redirected("http://[::1/"),
    "a teapot": status(418),
    "416": status(416, Content_Range="bytes */7"),
    "204": status(204),
}


@pytest.fixture
def hub(server: HubServer, gpt2: Path) -> HubServer:
    server.add_model("gpt2", gpt2)
    return server


@pytest.mark.parametrize("place", PLACES)
@pytest.mark.parametrize("fault", PASSING)
def test_what_passes_is_outlasted(
    hub: HubServer, gpt2: Path, same: Same, place: str, fault: str
) -> None:
    hub.fail(**PLACES[place], fault=PASSING[fault], times=2)
    same(load_table("gpt2"), load_table(gpt2))


LASTING = [
    (place, fault)
    for place in PLACES
    for fault in ("closed within", "silent within", "too short", "500")
    if place != "hub" or fault == "500"  # a redirect has no body
]


@pytest.mark.parametrize(("place", "fault"), LASTING)
def test_what_lasts_is_an_error_and_leaves_nothing_wrong(
    hub: HubServer,
    gpt2: Path,
    same: Same,
    monkeypatch: pytest.MonkeyPatch,
    place: str,
    fault: str,
) -> None:
    hub.fail(**PLACES[place], fault=PASSING[fault])
    with pytest.raises(SourceError, match=r"cannot read .*3 times; check the network") as caught:
        load_table("gpt2")
    assert str(caught.value).isprintable()
    assert "Signature" not in str(caught.value)
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    with pytest.raises(SourceError, match="offline mode"):
        load_table("gpt2")
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
    hub.mend()
    same(load_table("gpt2"), load_table(gpt2))


@pytest.mark.parametrize("place", PLACES)
@pytest.mark.parametrize("fault", WRONG)
def test_a_wrong_answer_is_never_taken(
    hub: HubServer, gpt2: Path, same: Same, place: str, fault: str
) -> None:
    """Once, it may be outlasted or refused; always, it is refused."""
    hub.fail(**PLACES[place], fault=WRONG[fault], times=1)
    try:
        same(load_table("gpt2"), load_table(gpt2))
    except SourceError as error:
        assert str(error).isprintable()  # noqa: PT017 - either will do
    hub.mend()
    same(load_table("gpt2"), load_table(gpt2))


@pytest.mark.parametrize("fault", WRONG)
def test_wrong_answers_end_in_one_line(hub: HubServer, fault: str) -> None:
    hub.fail(WEIGHTS, WRONG[fault], host="cdn", skip=1)
    with pytest.raises(SourceError) as caught:
        load_table("gpt2")
    assert str(caught.value).isprintable()
    assert "Signature" not in str(caught.value)


def test_a_broken_range_is_gone_on_with_where_it_broke(
    hub: HubServer, gpt2: Path, same: Same
) -> None:
    """wpe and wte lie side by side and come together: 659 kB, of which 400,000 bytes arrive."""
    hub.fail(WEIGHTS, _long(closed(400_000)), host="cdn")
    same(load_table("gpt2"), load_table(gpt2))
    long = [one for one in hub.asked(WEIGHTS, "cdn") if one.status == 206 and _span(one.range)[0]]
    start, stop = max((_span(one.range) for one in long), key=lambda span: span[1] - span[0])
    asked = [_span(one.range) for one in long if _span(one.range)[1] == stop]
    assert asked == [(start, stop), (start + 400_000, stop)]


def _span(text: str | None) -> tuple[int, int]:
    first, last = str(text).removeprefix("bytes=").split("-")
    return int(first), int(last)


def _long(fault: Fault) -> Fault:
    """Let a fault meet only replies that are longer than what it lets through."""
    return lambda reply: fault(reply) if reply.stop - reply.start > 400_000 else reply


def test_a_second_run_goes_on_where_the_first_gave_up(
    hub: HubServer, gpt2: Path, same: Same, shape: Shape
) -> None:
    dead = 0

    def dying(reply: Reply) -> Reply:
        nonlocal dead
        if reply.stop - reply.start > 400_000:
            dead += 1
            return closed(400_000)(reply)
        return status(500)(reply) if dead else reply

    hub.fail(WEIGHTS, dying, host="cdn")
    with pytest.raises(SourceError, match="what has arrived is kept"):
        load_table("gpt2")
    hub.mend()
    before = hub.sent()
    same(load_table("gpt2"), load_table(gpt2))
    left = shape.nbytes(POSITIONS, TOKENS) - 400_000
    assert hub.sent() - before <= left + 2 * 16_384


def test_a_link_that_expires_is_asked_for_anew(hub: HubServer, gpt2: Path, same: Same) -> None:
    hub.fail(WEIGHTS, status(403), host="cdn", skip=1, times=1)
    same(load_table("gpt2"), load_table(gpt2))
    assert len(hub.asked(WEIGHTS, "hub")) in (2, 3)  # the other range may be on its way by then


@pytest.mark.parametrize("place", ["hub", "a range"])
def test_an_etag_that_changes_between_requests(
    hub: HubServer, gpt2: Path, same: Same, place: str
) -> None:
    hub.fail(WEIGHTS, status(403), host="cdn", skip=1, times=1)  # the hub is asked once more
    where = PLACES[place] | {"skip": 1}
    hub.fail(**where, fault=header(ETag='"new"', X_Linked_Etag='"new"'))
    with pytest.raises(SourceError, match=r"changed while it was read: .*; run again"):
        load_table("gpt2")
    hub.mend()
    same(load_table("gpt2"), load_table(gpt2))


def test_a_size_that_changes_between_requests(hub: HubServer) -> None:
    def grown(reply: Reply) -> Reply:
        said = f"bytes {reply.start}-{reply.stop - 1}/{reply.content.size + 1}"
        return reply.with_headers(Content_Range=said)

    hub.fail(WEIGHTS, grown, host="cdn", skip=1)
    with pytest.raises(SourceError, match=r"changed while it was read"):
        load_table("gpt2")


def test_a_commit_between_two_requests(server: HubServer, tmp_path: Path, same: Same) -> None:
    """The weights are those of the config that was read, and not the newest."""
    old, new = (write_gpt2(tmp_path / str(i), Shape(9, 4, 11, 1), seed=i) for i in (0, 1))
    commit = server.add_model("gpt2", old)

    def pushed(reply: Reply) -> Reply:
        server.add_model("gpt2", new)
        return reply

    server.fail("config.json", pushed)
    table = load_table("gpt2")
    same(table, load_table(old))
    assert table.source.revision == commit
    same(load_table("gpt2"), load_table(new))


def test_waits_grow_and_the_server_may_ask_for_longer_ones(
    hub: HubServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    slept: list[float] = []
    monkeypatch.setattr(patience, "PATIENCE", patience.Patience(6, 0.5, 1.0))
    monkeypatch.setattr(time, "sleep", slept.append)
    hub.fail("config.json", status(503), times=3)
    hub.fail("config.json", status(429, Retry_After="7"), skip=3, times=1)
    hub.fail("config.json", status(429, Retry_After="86400"), skip=4, times=1)
    load_table("gpt2")
    assert slept == [0.5, 1.0, 2.0, 7.0, patience.LONGEST_WAIT]


def test_the_number_of_tries_is_kept_to(hub: HubServer) -> None:
    hub.fail("config.json", status(500))
    with pytest.raises(SourceError, match="3 times"):
        load_table("gpt2")
    assert len(hub.requests) == 3


@pytest.mark.parametrize("number", [400, 401, 403, 404, 410, 418])
def test_refusals_are_not_repeated(hub: HubServer, number: int) -> None:
    hub.fail(WEIGHTS, status(number), host="hub")
    hub.fail(f"{WEIGHTS}.index.json", status(number))
    with pytest.raises(SourceError, match=f"HTTP status {number}"):
        load_table("gpt2")
    assert len(hub.asked(WEIGHTS)) == 1


LIES = [
    (lambda sound: (2**60).to_bytes(8, "little") + sound[8:], r"at most 32 MB, got a header"),
    (lambda sound: len(sound).to_bytes(8, "little") + sound[8:], r"as its first 8 bytes say"),
    (lambda sound: sound[:8] + sound[9:], r"not a sound safetensors file"),
    (lambda sound: b"<html>Please log in</html>" + sound, r"not a sound safetensors file"),
]


@pytest.mark.parametrize(("lie", "message"), LIES)
def test_a_header_that_lies(
    server: HubServer, tmp_path: Path, lie: Callable[[bytes], bytes], message: str
) -> None:
    path = tmp_path / "a.safetensors"
    save_file({"wpe.weight": np.random.default_rng(0).normal(size=(999, 40))}, path)
    lying = lie(path.read_bytes())
    server.add_model("org/lies", {"config.json": b'{"model_type": "gpt2"}', WEIGHTS: lying})
    with pytest.raises(SourceError, match=message):
        load_table("org/lies")
    assert server.sent(WEIGHTS) <= 20_000


def test_a_table_that_lies_beyond_the_file(server: HubServer) -> None:
    record = {"dtype": "F32", "shape": [2**20, 2**10], "data_offsets": [0, 2**32]}
    text = json.dumps({"wpe.weight": record}).encode()
    lying = len(text).to_bytes(8, "little") + text + bytes(64)
    server.add_model("org/lies", {"config.json": b'{"model_type": "gpt2"}', WEIGHTS: lying})
    with pytest.raises(SourceError, match=r"expected 429\d+ bytes, as the header says, got"):
        load_table("org/lies")


@pytest.mark.parametrize("name", ["config.json", f"{WEIGHTS}.index.json"])
def test_a_config_of_200_mb(server: HubServer, tmp_path: Path, name: str) -> None:
    path = tmp_path / "huge.json"
    with path.open("wb") as file:
        file.truncate(200_000_000)
    files = {"config.json": b'{"model_type": "gpt2"}', name: path}
    server.add_model("org/huge", files)
    with pytest.raises(SourceError, match=r"JSON object of at most (7|64) MB, got 200000000 bytes"):
        load_table("org/huge")
    assert server.sent() < 2_000_000


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", r"an empty file"),
        (b"{", r"expected one JSON object"),
        (b"[1]", r"expected one JSON object .* got a JSON list"),
        (b"<html>Please log in</html>", r"expected one JSON object"),
        (b"\xff" * 40, r"expected one JSON object"),
    ],
)
def test_configs_that_are_none(server: HubServer, content: bytes, message: str) -> None:
    server.add_model("org/name", {"config.json": content})
    with pytest.raises(SourceError, match=message):
        load_table("org/name")


MEMORY = """
import sys
from pathlib import Path
import poslens

def resident(what):
    lines = Path("/proc/self/status").read_text().splitlines()
    return int(next(line for line in lines if line.startswith(what)).split()[1]) * 1024

poslens.load_table(sys.argv[1])  # imports, pools, buffers
Path("/proc/self/clear_refs").write_text("5")  # the peak is what is resident now
before = resident("VmHWM")
table = poslens.load_table(sys.argv[2], allow_full_download=True)
print(resident("VmHWM") - before, table.rows.shape[0])
"""


@pytest.mark.skipif(sys.platform != "linux", reason="the kernel's own account of memory")
@pytest.mark.parametrize("route", ["hub", "no ranges", "no ranges, no etag", "no etag"])
def test_a_neighbour_of_300_mb_costs_no_memory(
    server: HubServer, tmp_path: Path, environment: dict[str, str], route: str
) -> None:
    """However the file comes: the table, and at most 64 MB beside it."""
    huge, rows = 300_000_000, 1000
    text = json.dumps(
        {
            "big": {"dtype": "F32", "shape": [huge // 4], "data_offsets": [0, huge]},
            "wpe.weight": {
                "dtype": "F32",
                "shape": [rows, 8],
                "data_offsets": [huge, huge + rows * 32],
            },
        }
    ).encode()
    path = tmp_path / WEIGHTS
    with path.open("wb") as file:
        file.write(len(text).to_bytes(8, "little") + text)
        file.seek(huge, os.SEEK_CUR)
        file.write(np.random.default_rng(0).normal(size=(rows, 8)).astype("<f4").tobytes())
    config = b'{"model_type": "gpt2"}'
    server.add_model("org/huge", {"config.json": config, WEIGHTS: path})
    small = tmp_path / "small.safetensors"
    save_file({"wpe.weight": np.eye(4)}, small)
    server.add_model("org/small", {"config.json": config, WEIGHTS: small})
    if route != "hub":
        server.publish("huge/config.json", config)
    source = "org/huge" if route == "hub" else server.publish(f"huge/{WEIGHTS}", path)
    if "no ranges" in route:
        server.fail(f"huge/{WEIGHTS}", unranged)
    if "no etag" in route:
        server.fail("", header(ETag=None))
    done = subprocess.run(  # noqa: S603
        [sys.executable, "-c", MEMORY, "org/small", source],
        env={**os.environ, **environment, "HF_ENDPOINT": server.hub},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    grown, found = map(int, done.stdout.split())
    assert found == rows
    assert grown < 64_000_000


@pytest.mark.skipif(sys.platform == "win32", reason="limits of POSIX")
def test_a_full_disk(
    hub: HubServer, gpt2: Path, same: Same, caplog: pytest.LogCaptureFixture
) -> None:
    """No file may grow beyond 100 kB, as on a disk that fills up: the table comes all the same."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, hard))
    try:
        table = load_table("gpt2")
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    same(table, load_table(gpt2))
    assert "without its cache" in caplog.text
    same(load_table("gpt2"), load_table(gpt2))


def test_no_cache_can_be_made(hub: HubServer, gpt2: Path, same: Same) -> None:
    home = Path(os.environ["HF_HOME"])
    home.mkdir()
    (home / "assets").write_text("in the way")
    same(load_table("gpt2"), load_table(gpt2))


@pytest.mark.skipif(sys.platform == "win32", reason="signals of POSIX")
def test_ctrl_c_in_a_silent_transfer(
    hub: HubServer, environment: dict[str, str], gpt2: Path, same: Same
) -> None:
    hub.fail(WEIGHTS, stalled(50_000), host="cdn", skip=1)
    process = subprocess.Popen(
        [sys.executable, "-m", "poslens", "analyze", "gpt2", "--json", "-"],
        env={**os.environ, **environment, "HF_ENDPOINT": hub.hub},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        while not any(one.sent >= 50_000 for one in hub.asked(WEIGHTS, "cdn")):
            assert process.poll() is None
            time.sleep(0.01)
        process.send_signal(signal.SIGINT)
        out, error = process.communicate(timeout=5)
    finally:
        process.kill()
    assert (process.returncode, out) == (130, "")
    assert error == "poslens: interrupted; nothing was written\n"
    hub.mend()
    same(load_table("gpt2"), load_table(gpt2))
