# A right solution of the challenge of idempotency-keys in Python, for the test that the grader doesn't think in Rust.
#
# One row for each account and key: it is written before the bank is asked, with the key that the bank will see, and
# gets the answer afterwards. What has no answer after a restart is asked anew with the same key for the bank.

import json
import os
import sqlite3
import threading
import urllib.error
import urllib.request
import uuid
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qs, urlsplit

LOCK = threading.Lock()
DB = sqlite3.connect(os.path.join(os.environ["DATA_DIR"], "payments.sqlite"), check_same_thread=False, isolation_level=None)
DB.execute("PRAGMA journal_mode = WAL")
DB.execute("PRAGMA synchronous = FULL")
DB.execute(
    "CREATE TABLE IF NOT EXISTS payment (account TEXT, key TEXT, amount TEXT, bank_key TEXT, status INTEGER, body TEXT, "
    "PRIMARY KEY (account, key))"
)
UNDER_WAY = set()


def charge(bank_key, account, amount):
    """The bank's status, or 502 where there is none."""
    request = urllib.request.Request(
        os.environ["BANK"] + "/charge",
        json.dumps({"account": account, "amount": amount}).encode(),
        {"Idempotency-Key": bank_key, "Content-Type": "application/json"},
    )
    try:
        with urllib.request.urlopen(request, timeout=60) as answer:
            return answer.status
    except urllib.error.HTTPError as error:
        return error.code
    except OSError:
        return 502


def pay(key, account, amount):
    if not key:
        return 400, '{"error": "send an Idempotency-Key"}'
    shown = json.dumps(amount)
    with LOCK:
        bank_key = str(uuid.uuid4())
        DB.execute("INSERT OR IGNORE INTO payment VALUES (?, ?, ?, ?, NULL, NULL)", (account, key, shown, bank_key))
        first, bank_key, status, body = DB.execute(
            "SELECT amount, bank_key, status, body FROM payment WHERE account = ? AND key = ?", (account, key)
        ).fetchone()
        if first != shown:
            return 422, '{"error": "this key came before with another amount"}'
        if status:
            return status, body
        if (account, key) in UNDER_WAY:
            return 409, '{"error": "still running"}'
        UNDER_WAY.add((account, key))
    try:
        status = charge(bank_key, account, amount)
        if status not in (201, 402):
            return 502, '{"error": "the bank is out of order"}'
        body = json.dumps({"id": str(uuid.uuid4()), "amount": amount} if status == 201 else {"error": "declined"})
        with LOCK:
            DB.execute(
                "UPDATE payment SET status = ?, body = ? WHERE account = ? AND key = ?", (status, body, account, key)
            )
        return status, body
    finally:
        with LOCK:
            UNDER_WAY.discard((account, key))


def listed(account):
    with LOCK:
        rows = DB.execute("SELECT body FROM payment WHERE account = ? AND status = 201", (account,)).fetchall()
    return 200, "[" + ", ".join(body for (body,) in rows) + "]"


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    wbufsize = -1

    def do_GET(self):
        self.reply(*listed(parse_qs(urlsplit(self.path).query)["account"][0]))

    def do_POST(self):
        given = json.loads(self.rfile.read(int(self.headers.get("Content-Length") or 0)))
        self.reply(*pay(self.headers.get("Idempotency-Key"), given["account"], given["amount"]))

    def reply(self, status, text):
        content = text.encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    def log_message(self, *args):
        pass


class Server(ThreadingHTTPServer):
    request_queue_size = 1024


Server(("127.0.0.1", int(os.environ["PORT"])), Handler).serve_forever()
