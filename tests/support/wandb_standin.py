"""A loopback stand-in for the W&B server: enough for the library to run online in tests.

    with StandIn() as server:            # ephemeral port on 127.0.0.1, standard library only
        env = server.env                 # WANDB_BASE_URL and WANDB_API_KEY
        run = server.run("my-run")       # afterwards: config, summary, history, files, ...

Faults are set per request class ("graphql", "files" for the file stream, "upload") to an HTTP status, "hang"
(no answer ever comes) or "reset" (the connection is closed with no answer). `stop()` closes every socket,
which is what a server that dies looks like to the client.
"""

# Method names are given by the protocols: GraphQL operations and HTTP verbs.
# ruff: noqa: N802, N815

from __future__ import annotations

import base64
import contextlib
import hashlib
import json
import re
import socket
import sys
import threading
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, TypeAlias
from urllib.parse import quote, unquote, urlsplit

API_KEY = "0" * 40
ENTITY = "local"
HISTORY, EVENTS, CONSOLE, SUMMARY = (
    "wandb-history.jsonl",
    "wandb-events.jsonl",
    "output.log",
    "wandb-summary.json",
)
_OPERATION = re.compile(r"\b(?:query|mutation)\s+(\w+)")
Json: TypeAlias = dict[str, Any]


@dataclass
class RunRecord:
    """What one run has delivered."""

    entity: str
    project: str
    name: str
    attributes: Json = field(default_factory=dict)  # displayName, groupName, tags, ...
    config: Json = field(default_factory=dict)  # "_wandb" included
    streams: dict[str, dict[int, str]] = field(default_factory=dict)  # file → {line number: line}
    files: dict[str, bytes] = field(default_factory=dict)
    complete: bool = False
    exitcode: int | None = None

    @property
    def global_id(self) -> str:
        return base64.b64encode(f"Run:v1:{self.name}:{self.project}:{self.entity}".encode()).decode()

    def lines(self, stream: str) -> list[str]:
        return [line for _, line in sorted(self.streams.get(stream, {}).items())]

    @property
    def history(self) -> list[Json]:
        return [json.loads(line) for line in self.lines(HISTORY)]

    @property
    def summary(self) -> Json:
        found: Json = json.loads((self.lines(SUMMARY) or ["{}"])[-1])
        return found

    def bucket(self) -> Json:
        lines = {name: self.lines(name) for name in (HISTORY, EVENTS, CONSOLE)}
        entity = {"id": self.entity, "name": self.entity}
        return {
            "id": self.global_id,
            "name": self.name,
            "sweepName": None,
            "displayName": self.attributes.get("displayName") or self.name,
            "description": self.attributes.get("notes"),
            "notes": self.attributes.get("notes"),
            "tags": self.attributes.get("tags") or [],
            "config": json.dumps({key: {"value": value} for key, value in self.config.items()}),
            "wandbConfig": json.dumps({"t": self.config.get("_wandb", {}).get("t", {})}),
            "summaryMetrics": json.dumps(self.summary),
            "project": {"id": self.project, "name": self.project, "entity": entity},
            "historyLineCount": len(lines[HISTORY]),
            "historyTail": json.dumps(lines[HISTORY][-1:]),
            "eventsLineCount": len(lines[EVENTS]),
            "eventsTail": json.dumps(lines[EVENTS][-1:]),
            "logLineCount": len(lines[CONSOLE]),
        }


class StandIn:
    """The server; a context manager."""

    def __init__(self) -> None:
        self.runs: dict[tuple[str, str, str], RunRecord] = {}
        self.unknown: list[str] = []  # operations answered with {"data": {}}
        self.requests: list[tuple[str, int]] = []  # (what, status)
        self.faults: dict[str, str] = {}
        self.connections: set[socket.socket] = set()
        self.lock = threading.RLock()
        self.stopping = threading.Event()
        self.http = _Server(("127.0.0.1", 0), type("Handler", (_Handler,), {"owner": self}))
        self.thread = threading.Thread(target=self.http.serve_forever, args=(0.05,), daemon=True)
        self.url = f"http://127.0.0.1:{self.http.server_address[1]}"
        self.env = {"WANDB_BASE_URL": self.url, "WANDB_API_KEY": API_KEY}

    def __enter__(self) -> StandIn:
        self.thread.start()
        return self

    def __exit__(self, *exc: object) -> None:
        self.stop()

    def stop(self) -> None:
        if not self.stopping.is_set():
            self.stopping.set()
            self.http.shutdown()
            self.http.server_close()
            for connection in list(self.connections):
                _close(connection)

    def fail(self, how: str) -> None:
        """Answer every request with this fault from now on."""
        self.faults = dict.fromkeys(("graphql", "files", "upload"), how)

    def run(self, name: str) -> RunRecord:
        """The only run whose id begins with this."""
        (found,) = [record for record in self.runs.values() if record.name.startswith(name)]
        return found

    def record(self, entity: str, project: str, name: str) -> RunRecord:
        return self.runs.setdefault((entity, project, name), RunRecord(entity, project, name))

    # GraphQL: one method per operation name, variables → data.

    def graphql(self, name: str, variables: Json) -> Json:
        method = getattr(self, f"op_{name}", None)
        if method is None:
            self.unknown.append(name)
            return {}
        data: Json = method(variables)
        return data

    def op_Viewer(self, v: Json) -> Json:
        return {
            "viewer": {
                "id": "VXNlcjox",
                "entity": ENTITY,
                "username": ENTITY,
                "flags": "{}",
                "email": "nobody@localhost",
                "teams": {"edges": []},
            }
        }

    def op_ServerFeaturesQuery(self, v: Json) -> Json:
        return {"serverInfo": {"features": []}}

    def op_OrganizationCoreWeaveOrganizationID(self, v: Json) -> Json:
        return {"entity": {"organization": None}}

    def op_UpsertBucket(self, v: Json) -> Json:
        known = len(self.runs)
        if v.get("name"):
            record = self.record(v.get("entity") or ENTITY, v.get("project") or "uncategorized", v["name"])
        else:
            record = next(r for r in self.runs.values() if r.global_id == v["id"])
        config = json.loads(v.get("config") or "{}")
        record.config.update({key: item.get("value") for key, item in config.items()})
        skip = {"config", "id", "name", "project", "entity"}
        record.attributes.update({k: x for k, x in v.items() if x is not None and k not in skip})
        return {"upsertBucket": {"bucket": record.bucket(), "inserted": len(self.runs) > known}}

    def op_RunResumeStatus(self, v: Json) -> Json:
        entity, project = v.get("entity") or ENTITY, v["project"]
        found = self.runs.get((entity, project, v["name"]))
        bucket = found.bucket() if found else None
        return {
            "model": {
                "id": project,
                "name": project,
                "entity": {"id": entity, "name": entity},
                "bucket": bucket,
            }
        }

    def op_CreateRunFiles(self, v: Json) -> Json:
        where = "/".join(quote(part, safe="") for part in (v["entity"], v["project"], v["run"]))
        files = [
            {"name": name, "uploadUrl": f"{self.url}/_upload/{where}/{quote(name, safe='')}"}
            for name in v["files"]
        ]
        return {"createRunFiles": {"runID": v["run"], "uploadHeaders": [], "files": files}}

    # The file stream and uploads.

    def file_stream(self, path: str, body: Json) -> Json:
        entity, project, name = (unquote(part) for part in path.split("/")[2:5])
        record = self.record(entity, project, name)
        for stream, chunk in (body.get("files") or {}).items():
            record.streams.setdefault(stream, {}).update(enumerate(chunk["content"], chunk["offset"]))
        if body.get("complete"):
            record.complete, record.exitcode = True, body.get("exitcode")
        return {"limits": {}}

    def upload(self, path: str, body: bytes) -> None:
        entity, project, name, file = (unquote(part) for part in path.split("/")[2:6])
        self.record(entity, project, name).files[file] = body


def _close(connection: socket.socket) -> None:
    with contextlib.suppress(OSError):  # already gone
        connection.shutdown(socket.SHUT_RDWR)


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    block_on_close = False
    request_queue_size = 128  # the client opens many connections at once

    def handle_error(self, request: Any, client_address: Any) -> None:
        if not isinstance(sys.exc_info()[1], ConnectionError):  # clients hang up at will
            super().handle_error(request, client_address)


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    owner: StandIn

    def setup(self) -> None:
        super().setup()
        self.owner.connections.add(self.connection)

    def finish(self) -> None:
        self.owner.connections.discard(self.connection)
        super().finish()

    def log_message(self, *args: object) -> None:
        pass

    def answer(self) -> None:
        server, path = self.owner, urlsplit(self.path).path
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        payload: Json = json.loads(body) if path == "/graphql" else {}
        kind = "other"  # telemetry
        if payload:
            kind = "graphql"
        elif path.endswith("/file_stream"):
            kind = "files"
        elif path.startswith("/_upload/"):
            kind = "upload"
        match = _OPERATION.search(payload.get("query", ""))
        operation = match[1] if match else ""
        fault = "reset" if server.stopping.is_set() else server.faults.get(kind, "200")
        status = int(fault) if fault.isdigit() else 0
        server.requests.append((f"{kind} {operation or path}", status))
        if status >= 400:
            self.reply(status, {"errors": [{"message": "injected fault"}]})
        elif status == 0:
            if fault == "hang":
                server.stopping.wait()
            self.close_connection = True
            _close(self.connection)
        else:
            self.serve(kind, operation, path, payload, body)

    do_GET = do_POST = do_PUT = do_HEAD = answer

    def serve(self, kind: str, operation: str, path: str, payload: Json, body: bytes) -> None:
        server = self.owner
        data: Json = {}
        headers: dict[str, str] = {}
        with server.lock:
            if kind == "graphql":
                data = {"data": server.graphql(operation, payload.get("variables") or {})}
            elif kind == "files":
                data = server.file_stream(path, json.loads(body))
            elif kind == "upload":
                server.upload(path, body)
                headers["ETag"] = base64.b64encode(hashlib.md5(body).digest()).decode()
        self.reply(200, data, headers)

    def reply(self, status: int, data: Json, headers: dict[str, str] | None = None) -> None:
        body = json.dumps(data).encode()
        self.send_response(status)
        for key, value in {"Content-Type": "application/json", **(headers or {})}.items():
            self.send_header(key, value)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)
