"""A host of the test server: sockets, threads and the bodies of replies."""

from __future__ import annotations

import socket
import sys
import threading
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from socketserver import TCPServer
from typing import Any, Protocol

from faults import Reply

LONGEST_STALL = 60.0  # seconds, if nobody closes the server


@dataclass
class Request:
    """One request as the server saw it.

    Attributes
    ----------
    host
        ``"hub"`` or ``"cdn"``.
    file
        ``"org/name/model.safetensors"`` on either host; the path of anything else.
    range, authorization
        These headers, or None.
    sent
        Bytes of the body handed to the operating system so far.
    """

    host: str
    method: str
    path: str
    file: str
    range: str | None
    authorization: str | None
    status: int = 0
    sent: int = 0


class Owner(Protocol):
    """What knows the replies."""

    closing: threading.Event
    failures: list[Exception]

    def reply(self, request: Request, headers: dict[str, str]) -> Reply:
        """Return what is sent, and note the request; headers have lower-case names."""


class Listener(ThreadingHTTPServer):
    """One of the two hosts; closing it ends every connection and waits for its threads."""

    daemon_threads = False
    request_queue_size = 128

    def __init__(self, owner: Owner, host: str) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.owner, self.host = owner, host
        self.address = f"http://127.0.0.1:{self.server_address[1]}"
        self._connections: set[socket.socket] = set()

    def server_bind(self) -> None:
        TCPServer.server_bind(self)  # HTTPServer's looks the host's name up, which may take long
        self.server_name, self.server_port = "127.0.0.1", self.server_address[1]

    def get_request(self) -> tuple[socket.socket, Any]:
        connection, address = super().get_request()
        self._connections.add(connection)
        return connection, address

    def shutdown_request(self, request: Any) -> None:
        self._connections.discard(request)
        super().shutdown_request(request)

    def close_connections(self) -> None:
        for connection in list(self._connections):
            try:
                connection.shutdown(socket.SHUT_RDWR)
            except OSError:
                continue  # closed already

    def handle_error(self, *_: object) -> None:
        error = sys.exception()
        if isinstance(error, Exception) and not isinstance(error, ConnectionError):
            self.owner.failures.append(error)  # a ConnectionError is a client that has gone


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True  # or every small answer waits for an acknowledgement
    server: Listener

    def do_GET(self) -> None:
        self._serve()

    def do_HEAD(self) -> None:
        self._serve()

    def _serve(self) -> None:
        headers = {key.lower(): value for key, value in self.headers.items()}
        request = Request(
            self.server.host,
            self.command,
            self.path,
            self.path,
            headers.get("range"),
            headers.get("authorization"),
        )
        reply = self.server.owner.reply(request, headers)
        self.send_response(reply.status)
        for name, value in reply.headers.items():
            self.send_header(name, value)
        length = reply.stop - reply.start
        if reply.status != 304 and reply.headers.get("Content-Length") != str(length):
            self.close_connection = True  # nobody can tell where this message ends
        self.end_headers()
        if self.command == "GET":
            self._send_body(request, reply)

    def _send_body(self, request: Request, reply: Reply) -> None:
        length = reply.stop - reply.start
        ends = (reply.closes_after, reply.stalls_after)
        most = min((end for end in ends if end is not None), default=length)
        for piece in reply.content.pieces(reply.start, min(reply.start + most, reply.stop)):
            request.sent += len(piece)
            self.wfile.write(piece)
        if most < length:  # a message that is complete leaves the connection as it is
            self.close_connection = True
            if reply.stalls_after is not None:
                self.server.owner.closing.wait(LONGEST_STALL)

    def log_message(self, *_: object) -> None:
        """Say nothing: `HubServer.requests` is the log."""
