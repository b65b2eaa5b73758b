# A right solution of the challenge of design-url-shortener in Python, for the test that the grader doesn't think in
# Rust.

import json
import os
import re
import secrets
import sqlite3
import string
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import urlsplit

ALPHABET = string.ascii_letters + string.digits + "-_"
FILE = os.path.join(os.environ["DATA"], "links.sqlite")
LOCAL = threading.local()


def db():
    if not hasattr(LOCAL, "db"):
        LOCAL.db = sqlite3.connect(FILE, timeout=60, isolation_level=None)
        LOCAL.db.execute("PRAGMA journal_mode = WAL")
        LOCAL.db.execute("PRAGMA synchronous = FULL")
    return LOCAL.db


db().execute(
    "CREATE TABLE IF NOT EXISTS link (code TEXT PRIMARY KEY, url TEXT, until REAL, deleted INTEGER DEFAULT 0, "
    "clicks INTEGER DEFAULT 0)"
)


def is_good(url, host):
    if not isinstance(url, str) or len(url) > 2048 or not re.fullmatch(r"[!-~]+", url):
        return False
    if not re.match(r"https?://[^/?#]", url, re.IGNORECASE):
        return False
    authority = re.split(r"[/?#]", url.split("://", 1)[1])[0]
    target = authority.rpartition("@")[2]
    return bool(target) and not target.startswith(":") and target.lower() != host.lower()


def create(given, host):
    url, alias, seconds = given.get("url"), given.get("alias"), given.get("expires_in")
    if not is_good(url, host):
        return 422, {"error": "url"}
    if alias is not None and (not re.fullmatch(r"[A-Za-z0-9_-]{1,32}", alias) or alias == "links"):
        return 422, {"error": "alias"}
    until = None if seconds is None else time.time() + seconds
    while True:
        code = alias or "".join(secrets.choice(ALPHABET) for _ in range(7))
        made = db().execute("INSERT OR IGNORE INTO link (code, url, until) VALUES (?, ?, ?)", (code, url, until))
        if made.rowcount:
            return 201, {"code": code, "short_url": f"http://{host}/{code}"}
        if alias:
            return 409, {"error": "taken"}


def follow(code, counts):
    row = db().execute("SELECT url, until, deleted FROM link WHERE code = ?", (code,)).fetchone()
    if row is None:
        return 404, None
    url, until, deleted = row
    if deleted or (until is not None and time.time() >= until):
        return 410, None
    if counts:
        db().execute("UPDATE link SET clicks = clicks + 1 WHERE code = ?", (code,))
    return 302, url


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    wbufsize = -1

    def do_POST(self):
        given = json.loads(self.rfile.read(int(self.headers.get("Content-Length") or 0)))
        self.reply(*create(given, self.headers["Host"]))

    def do_GET(self):
        path = urlsplit(self.path).path
        stats = re.fullmatch(r"/links/([^/]+)/stats", path)
        if stats:
            row = db().execute("SELECT clicks FROM link WHERE code = ?", (stats[1],)).fetchone()
            return self.reply(200, {"clicks": row[0]}) if row else self.reply(404)
        status, url = follow(path[1:], self.command == "GET")
        self.reply(status, headers={"Location": url} if url else {})

    do_HEAD = do_GET

    def do_DELETE(self):
        code = self.path.removeprefix("/links/")
        found = db().execute("UPDATE link SET deleted = 1 WHERE code = ?", (code,)).rowcount
        self.reply(204 if found else 404)

    def reply(self, status, value=None, headers={}):
        content = b"" if value is None else json.dumps(value).encode()
        self.send_response(status)
        for name, text in headers.items():
            self.send_header(name, text)
        if status != 204:
            self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(content)

    def log_message(self, *args):
        pass


class Server(ThreadingHTTPServer):
    request_queue_size = 1024


Server(("127.0.0.1", int(os.environ["PORT"])), Handler).serve_forever()
