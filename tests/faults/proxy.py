"""A proxy in front of an HTTP server that fails on purpose: `Proxy(server)` and `proxy.fault = Fault("late")`."""

import socket
import threading
import time
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Literal, Self
from urllib.parse import urlsplit

Kind = Literal[
    "refuse", "deaf", "silent", "late", "late request", "trickle", "cut request", "cut reply", "drop reply", "status"
]


@dataclass
class Fault:
    """What happens to requests whose line contains `path`, after the first `skip` of them, and to `times` of them.

    refuse: no connection is accepted any more. deaf: connections are accepted, and nothing is read, whatever `path` is.
    silent: the request is read, and never answered. late: the reply is `seconds` late. late request: the server gets
    the request `seconds` late. trickle: the reply comes a byte every half second. cut request, cut reply: the
    connection ends after `size` bytes of it. drop reply: the server has done the work and answered, but the connection
    ends without a byte of the reply. status: answered with `status` in place of the server.
    """

    kind: Kind
    path: str = ""
    skip: int = 0
    times: float = float("inf")
    seconds: float = 5.0
    size: int = 40
    status: int = 503
    seen: int = field(default=0, init=False)  # matching requests

    @property
    def happened(self) -> bool:
        """Whether a request was hit."""
        return self.seen > self.skip

    def hits(self, request_line: str) -> bool:
        """Whether this request is to fail; counts it."""
        if self.path not in request_line:
            return False
        self.seen += 1
        return self.skip < self.seen <= self.skip + self.times


class Proxy:
    """Forwards each request to `upstream`, the address of a server; use it as a context manager.

    `fault` may change at any moment and holds for the requests that begin afterwards; None: no fault. `requests` holds
    the first line of each request so far.
    """

    def __init__(self, upstream: str) -> None:
        server = urlsplit(upstream)
        self._upstream = (server.hostname or "", server.port or 80)
        self._open: set[socket.socket] = set()
        self._counting = threading.Lock()
        self._listener: socket.socket | None = None
        self._port = 0
        self.fault: Fault | None = None
        self.requests: list[str] = []
        self.accept()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.refuse()

    @property
    def uri(self) -> str:
        """The address of the proxy, which stays the same."""
        return f"http://127.0.0.1:{self._port}"

    def refuse(self) -> None:
        """Refuse connections from now on, and end those that there are."""
        if self._listener is not None:
            with suppress(OSError):  # a thread waits in accept(), which close() alone would not end
                self._listener.shutdown(socket.SHUT_RDWR)
            self._listener.close()
            self._listener = None
        self.hang_up()

    def accept(self) -> None:
        """Accept connections again."""
        self._listener = socket.create_server(("127.0.0.1", self._port))
        self._port = self._listener.getsockname()[1]
        threading.Thread(target=self._serve, args=(self._listener,), daemon=True).start()

    def hang_up(self) -> None:
        """End all connections that there are, such as those that a fault keeps waiting."""
        while self._open:
            with suppress(OSError):
                self._open.pop().shutdown(socket.SHUT_RDWR)

    def heal(self) -> None:
        """Behave from now on, to new connections as well as to those that a fault keeps waiting, which end."""
        self.fault = None
        self.hang_up()
        if self._listener is None:
            self.accept()

    def _serve(self, listener: socket.socket) -> None:
        with suppress(OSError):  # the listener was closed
            while True:
                client, _ = listener.accept()
                self._open.add(client)
                threading.Thread(target=self._serve_one, args=(client,), daemon=True).start()

    def _serve_one(self, client: socket.socket) -> None:
        with client, suppress(OSError):  # the client has gone, or `hang_up` ended the connection
            self._exchange(client)
        self._open.discard(client)

    def _exchange(self, client: socket.socket) -> None:
        """Carry one request and its reply, then end the connection: the next request meets the fault of its time."""
        if self.fault is not None and self.fault.kind == "deaf":
            self.fault.seen = self.fault.skip + 1
            self._wait_for_hang_up(client)
            return
        head, body = _read_request(client)
        if not head:
            return
        line = head.partition(b"\r\n")[0].decode(errors="replace")
        with self._counting:
            self.requests.append(line)
            fault = self.fault if self.fault is not None and self.fault.hits(line) else None
        if fault is None:
            client.sendall(self._forward(head, body))
        else:
            self._fail(client, fault, head, body)

    def _fail(self, client: socket.socket, fault: Fault, head: bytes, body: bytes) -> None:
        if fault.kind == "refuse":
            self.refuse()
        elif fault.kind == "silent":
            self._wait_for_hang_up(client)
        elif fault.kind == "status":
            client.sendall(f"HTTP/1.1 {fault.status} Fault\r\nContent-Length: 0\r\nConnection: close\r\n\r\n".encode())
        elif fault.kind == "cut request":
            with socket.create_connection(self._upstream) as server:
                server.sendall((head + body)[: fault.size])
        elif fault.kind == "late":
            reply = self._forward(head, body)
            time.sleep(fault.seconds)
            client.sendall(reply)
        elif fault.kind == "late request":
            time.sleep(fault.seconds)
            client.sendall(self._forward(head, body))
        elif fault.kind == "trickle":
            for byte in self._forward(head, body):
                client.sendall(bytes([byte]))
                time.sleep(0.5)
        else:
            reply = self._forward(head, body)
            client.sendall(reply[: fault.size] if fault.kind == "cut reply" else b"")

    def _forward(self, head: bytes, body: bytes) -> bytes:
        """The server's whole reply to a request."""
        line, _, rest = head.partition(b"\r\n")
        kept = [header for header in rest.split(b"\r\n") if header and not header.lower().startswith(b"connection:")]
        with socket.create_connection(self._upstream) as server:
            server.sendall(b"\r\n".join([line, *kept, b"Connection: close", b"", b""]) + body)
            return b"".join(iter(lambda: server.recv(65536), b""))

    def _wait_for_hang_up(self, client: socket.socket) -> None:
        while client in self._open:
            time.sleep(0.05)


def _read_request(client: socket.socket) -> tuple[bytes, bytes]:
    """Head, with its empty line, and body of a request; nothing where the connection ended before."""
    data = b""
    while b"\r\n\r\n" not in data:
        chunk = client.recv(65536)
        if not chunk:
            return b"", b""
        data += chunk
    head, _, body = data.partition(b"\r\n\r\n")
    headers = dict(line.lower().split(b":", 1) for line in head.split(b"\r\n")[1:])
    missing = int(headers.get(b"content-length", b"0")) - len(body)
    while missing > 0:
        chunk = client.recv(min(missing, 65536))
        if not chunk:
            return b"", b""
        body += chunk
        missing -= len(chunk)
    return head + b"\r\n\r\n", body
