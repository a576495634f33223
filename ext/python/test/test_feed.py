"""The change feed and jobs: against a server that says exactly what a test wants, and against the
real one where it has them."""

import http.server
import io
import itertools
import json
import queue
import re
import threading
import unittest

from support import Server, ServerTest, needs_route

import maph_client
from maph_client import MaphClient
from maph_client.changes import events


class Fake:
    """An HTTP server that answers each request with what `answer(method, path, number)` gives:
    (status, headers, pieces of the body)."""

    def __init__(self, answer):
        outer = self
        self.paths = []

        class Handler(http.server.BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_GET(self):
                if self.headers.get("Transfer-Encoding"):
                    while int(self.rfile.readline(), 16):
                        while self.rfile.readline() != b"\r\n":
                            pass
                    self.rfile.readline()
                self.rfile.read(int(self.headers.get("Content-Length", 0)))
                outer.paths.append(
                    self.path if self.command == "GET" else f"{self.command} {self.path}"
                )
                status, headers, pieces = answer(self.command, self.path, len(outer.paths))
                self.send_response(status)
                for name, value in headers.items():
                    self.send_header(name, value)
                self.send_header("Transfer-Encoding", "chunked")
                self.end_headers()
                try:
                    for piece in pieces:
                        if piece is None:  # a connection that breaks
                            self.close_connection = True
                            return
                        self.wfile.write(b"%x\r\n%s\r\n" % (len(piece), piece))
                    self.wfile.write(b"0\r\n\r\n")
                except OSError:
                    self.close_connection = True

            do_POST = do_PUT = do_PATCH = do_DELETE = do_GET

            def log_message(self, *_):
                pass

        self.server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.server.daemon_threads = True
        self.server.handle_error = lambda *_: None  # a client that closes is no news
        self.thread = threading.Thread(
            target=self.server.serve_forever, kwargs={"poll_interval": 0.01}
        )
        self.thread.start()
        self.url = f"http://127.0.0.1:{self.server.server_port}"

    def stop(self):
        self.server.shutdown()
        self.thread.join()
        self.server.server_close()


def event(version, key, value=None, last=True):
    """As the server writes it: a delete when there is no value."""
    member = {"op": "delete" if value is None else "put", "key": key, "version": version}
    if value is not None:
        member["value"] = value
    if last:
        member["last"] = True
    return f"{f'id: {version}' if last else ':'}\ndata: {json.dumps(member)}\n\n".encode()


SSE = {"Content-Type": "text/event-stream"}
FAST = b"retry: 1\n\n"


def problem(status, code):
    return (
        status,
        {"Content-Type": "application/problem+json"},
        [json.dumps({"status": status, "code": code, "detail": "because"}).encode()],
    )


class Parser(unittest.TestCase):
    def parse(self, text):
        retries = []
        got = [
            (one.name, one.data, one.id)
            for one in events((line.rstrip(b"\n") for line in io.BytesIO(text)), retries.append)
        ]
        return got, retries

    def test_the_standards_examples(self):
        self.assertEqual(
            self.parse(b"data: YHOO\ndata: +2\ndata: 10\n\n")[0],
            [("message", "YHOO\n+2\n10", None)],
        )
        self.assertEqual(
            self.parse(
                b": test stream\n\ndata: first event\nid: 1\n\ndata:second event\nid\n\ndata:  "
                b"third event\n\n"
            )[0],
            [
                ("message", "first event", "1"),
                ("message", "second event", ""),
                ("message", " third event", None),
            ],
        )
        self.assertEqual(
            self.parse(b"data\n\ndata\ndata\n\ndata:")[0],
            [("message", "", None), ("message", "\n", None)],
        )
        self.assertEqual(
            self.parse(b"event: x\r\ndata:a\r\n\r\nretry: 10\nretry: x\n\nid: 1\0\ndata: b\n\n"),
            ([("x", "a", None), ("message", "b", None)], [10]),
        )

    def test_an_unfinished_event_is_dropped(self):
        self.assertEqual(self.parse(b"data: a\n\ndata: b\nid: 2\n")[0], [("message", "a", None)])


class Forwarded(unittest.TestCase):
    """Writes that the server of a replica sends to its bucket."""

    def store(self, answer):
        fake = Fake(answer)
        self.addCleanup(fake.stop)
        client = MaphClient(fake.url)
        self.addCleanup(client.close)
        return fake, client.store("s")

    @staticmethod
    def problem(status, code, **more):
        body = json.dumps({"status": status, "code": code, "detail": "because", **more}).encode()
        headers = {"Content-Type": "application/problem+json", "Retry-After": "3"}
        return lambda *_: (status, headers, [body])

    def fails(self, call):
        with self.assertRaises(maph_client.MaphError) as caught:
            call()
        return caught.exception

    def test_each_code_has_its_class(self):
        for status, code, kind, also in (
            (504, "outcome_unknown", maph_client.OutcomeUnknownError, maph_client.ServerError),
            (
                503,
                "bucket_unavailable",
                maph_client.BucketUnavailableError,
                maph_client.BusyError,
            ),
            (409, "no_transactions", maph_client.NoTransactionsError, maph_client.BadRequestError),
        ):
            fake, store = self.store(self.problem(status, code, revision=7))
            calls = [
                lambda: store.put("k", "v"),
                lambda: store.put("k", "v", if_version=1),
                lambda: store.__delitem__("k"),
                lambda: store.increment("k"),
                lambda: store.merge("k", {}),
                lambda: store.batch().put("k", "v").commit(),
            ]
            for number, call in enumerate(calls):
                error = self.fails(call)
                self.assertIs(type(error), kind)
                self.assertIsInstance(error, also)
                self.assertNotIsInstance(error, (ConnectionError, TimeoutError))
                self.assertEqual((error.status, error.code), (status, code))
                self.assertEqual(len(fake.paths), number + 1)  # it was asked for once
            if status == 504:
                self.assertEqual(error.revision, 7)
            if status == 503:
                self.assertEqual(error.retry_after, 3.0)

    def test_what_is_not_told_is_none(self):
        for more in ({}, {"revision": "7"}):
            _, store = self.store(self.problem(504, "outcome_unknown", **more))
            self.assertIsNone(self.fails(lambda: store.put("k", "v")).revision)

    def test_pop_does_not_go_on_over_one(self):
        unknown = self.problem(504, "outcome_unknown")
        fake, store = self.store(
            lambda method, path, number: (200, {"ETag": '"1"', "Maph-Type": "text"}, [b"1"])
            if number == 1
            else unknown()
        )
        error = self.fails(lambda: store.pop("k"))
        self.assertIs(type(error), maph_client.OutcomeUnknownError)
        self.assertEqual(len(fake.paths), 2)

    def test_a_gateway_of_its_own(self):
        _, store = self.store(lambda *_: (504, {"Content-Type": "text/html"}, [b"<h1>"]))
        for call, kind in (
            (lambda: store.put("k", "v"), maph_client.OutcomeUnknownError),
            (lambda: store.__delitem__("k"), maph_client.OutcomeUnknownError),
            (lambda: store["k"], maph_client.ServerError),
        ):
            self.assertIs(type(self.fails(call)), kind)


class Feed(unittest.TestCase):
    def feed(self, answer, since=0, **options):
        fake = Fake(answer)
        self.addCleanup(fake.stop)
        client = MaphClient(fake.url)
        self.addCleanup(client.close)
        changes = client.store("s").changes(since=since, **options)
        self.addCleanup(changes.close)
        return fake, changes

    def test_puts_and_deletes(self):
        body = [
            FAST,
            b": heartbeat\n\n",
            event(1, "a", "1", last=False),
            event(1, "b", "2"),
            event(2, "a"),
            b'event: later\ndata: {"op":"put","key":"x"}\n\n',
            b'id: 3\ndata: '
            b'{"op":"delete","key":"/w==","key_encoding":"base64","version":3,"last":true}\n\n',
            event(4, "c", "", last=False),
            b'id: 4\ndata: '
            b'{"op":"put","key":"d","version":4,"type":"blob","value_omitted":true,'
            b'"last":true}\n\n',
            b"id: 9\n\n",
            event(10, "e"),
        ]
        fake, changes = self.feed(
            lambda *_: (200, SSE, itertools.chain(body, itertools.repeat(b":\n\n")))
        )
        got = list(itertools.islice(changes, 6))
        self.assertEqual(
            [(one.key, one.value, one.version, one.deleted, one.last) for one in got],
            [
                ("a", "1", 1, False, False),
                ("b", "2", 1, False, True),
                ("a", None, 2, True, True),
                (b"\xff", None, 3, True, True),
                ("c", "", 4, False, False),
                ("d", None, 4, False, True),
            ],
        )
        self.assertEqual(changes.version, 3)  # the one just given may still be in work
        self.assertEqual((next(changes).key, changes.version), ("e", 9))
        self.assertEqual(fake.paths, ["/stores/s/changes?since=0&values=1"])

    def test_prefix_without_values(self):
        fake, changes = self.feed(
            lambda *_: (200, SSE, [event(1, "a b", "1")]), since=7, prefix="a b", values=False
        )
        next(changes)
        self.assertEqual(fake.paths, ["/stores/s/changes?since=7&prefix=a+b"])

    def test_a_feed_that_breaks_is_taken_up_after_the_last_whole_transaction(self):
        def answer(method, path, number):
            if number == 1:
                return 200, SSE, [FAST, event(5, "a", "1"), event(6, "b", "1", last=False), None]
            if number == 2:
                return problem(503, "busy")
            if number == 3:
                return (
                    200,
                    SSE,
                    [event(6, "b", "1", last=False), event(6, "c", "1"), event(7, "d", "1")[:-9]],
                )
            return 200, SSE, itertools.chain([event(7, "d", "1")], itertools.repeat(b":\n\n"))

        fake, changes = self.feed(answer, since=4)
        self.assertEqual(
            [one.key for one in itertools.islice(changes, 5)], ["a", "b", "b", "c", "d"]
        )
        self.assertEqual(
            [re.search(r"since=(\d+)", path).group(1) for path in fake.paths], ["4", "5", "5", "6"]
        )

    def test_a_quiet_feed_is_taken_up_too(self):
        def answer(method, path, number):
            if number == 1:
                return 200, SSE, [FAST, b": nothing yet\n\n", None]
            if number == 2:
                return 502, {"Content-Type": "text/html"}, [b"<html>the server behind me is away"]
            return 200, SSE, itertools.chain([event(1, "a", "1")], itertools.repeat(b":\n\n"))

        fake, changes = self.feed(answer)
        self.assertEqual((next(changes).key, len(fake.paths)), ("a", 3))

    def test_what_is_no_feed_is_not_waited_on(self):
        fake, changes = self.feed(
            lambda *_: (200, {"Content-Type": "text/html"}, [b"<html>welcome"])
        )
        with self.assertRaisesRegex(
            maph_client.ServerError,
            f"^GET {fake.url}/stores/s/changes: .*not an answer of maph-server",
        ):
            next(changes)

    def test_a_past_that_is_gone(self):
        fake, changes = self.feed(lambda *_: problem(410, "compacted"))
        with self.assertRaises(maph_client.CompactedError):
            next(changes)
        self.assertEqual(len(fake.paths), 1)

    def test_a_past_that_goes_while_away(self):
        fake, changes = self.feed(
            lambda method, path, number: (200, SSE, [FAST, event(1, "a", "1")])
            if number == 1
            else problem(410, "compacted")
        )
        self.assertEqual(next(changes).key, "a")
        with self.assertRaises(maph_client.CompactedError):
            next(changes)

    def test_an_error_inside_the_feed(self):
        fake, changes = self.feed(
            lambda *_: (
                200,
                SSE,
                [
                    b'event: problem\ndata: '
                    b'{"op":"problem","status":410,"code":"compacted","detail":"gone"}\n\n'
                ],
            )
        )
        with self.assertRaisesRegex(maph_client.CompactedError, "gone"):
            next(changes)

    def test_without_reconnecting_the_end_is_the_end(self):
        fake, changes = self.feed(lambda *_: (200, SSE, [event(1, "a", "1")]), reconnect=False)
        self.assertEqual([one.key for one in changes], ["a"])
        fake, changes = self.feed(
            lambda *_: (200, SSE, [event(1, "a", "1"), None]), reconnect=False
        )
        self.assertEqual(next(changes).key, "a")
        with self.assertRaises(maph_client.ConnectionLostError):
            next(changes)

    def test_no_server_at_the_start_is_an_error(self):
        with self.assertRaises(maph_client.ConnectionLostError):
            next(MaphClient("http://127.0.0.1:1").store("s").changes(0))

    def ends_when_closed(self, changes, first):
        """A thread takes what comes; when it waits for more, close() ends it."""
        got = queue.Queue()

        def watch():
            for one in changes:
                got.put(one.key)
            got.put("end")

        thread = threading.Thread(target=watch, daemon=True)
        thread.start()
        first(got)
        changes.close()
        self.assertEqual(got.get(timeout=120), "end")
        thread.join()
        self.assertEqual(list(changes), [])

    def test_close_wakes_the_thread_that_waits(self):
        for headers in [SSE, {**SSE, "Connection": "close"}]:
            for heartbeats in [False, True]:
                with self.subTest(headers=headers, heartbeats=heartbeats):
                    hold = threading.Event()
                    self.addCleanup(hold.set)

                    def body():
                        yield event(1, "a", "1")
                        while not hold.wait(0.01 if heartbeats else None):
                            yield b": heartbeat\n\n"

                    fake, changes = self.feed(lambda *_: (200, headers, body()))
                    self.ends_when_closed(
                        changes, lambda got: self.assertEqual(got.get(timeout=60), "a")
                    )

    def test_close_wakes_the_thread_that_waits_for_an_answer(self):
        asked, hold = threading.Event(), threading.Event()
        self.addCleanup(hold.set)

        def answer(*_):
            asked.set()
            hold.wait()
            return 200, SSE, []

        fake, changes = self.feed(answer)
        self.ends_when_closed(changes, lambda got: asked.wait())


class Strangers(unittest.TestCase):
    """Answers that are not of a maph-server: no call takes one for success."""

    def calls(self, client):
        store = client.store("s")
        return [
            client.list_stores,
            client.jobs,
            client.ping,
            lambda: client.create_store("s"),
            lambda: client.get_store("s"),
            lambda: client.delete_store("s"),
            lambda: store.put("k", "v"),
            lambda: store["k"],
            lambda: store.delete("k"),
            lambda: "k" in store,
            lambda: store.get_many(["k"]),
            lambda: store.update({"k": "v"}),
            store.batch().put("k", "v").commit,
            lambda: list(store),
            lambda: list(store.scan()),
            lambda: list(store.export()),
            lambda: store.import_entries([("k", "v")]),
            store.stats,
            store.sync,
            store.optimize,
            lambda: next(store.changes(0)),
            lambda: next(store.changes()),
        ]

    def answer(self, status, headers, body, sentence):
        fake = Fake(lambda *_: (status, headers, [body]))
        self.addCleanup(fake.stop)
        with MaphClient(fake.url) as client:
            for n, call in enumerate(self.calls(client)):
                with self.subTest(call=n), self.assertRaisesRegex(
                    maph_client.ServerError, f"^(GET|PUT|POST|DELETE) {fake.url}/\\S+: .*{sentence}"
                ) as caught:
                    call()
                self.assertEqual(caught.exception.status, status)

    def test_another_web_server(self):
        self.answer(
            200, {"Content-Type": "text/html"}, b"<html>welcome", "not an answer of maph-server"
        )

    def test_a_proxy_that_redirects(self):
        self.answer(
            301,
            {"Location": "https://elsewhere/"},
            b"moved",
            "leads to https://elsewhere/: .*give MaphClient the address",
        )

    def test_a_proxy_without_its_server(self):
        self.answer(
            502,
            {"Content-Type": "text/html"},
            b"<html>bad gateway",
            "502 without a reason: not an answer of maph-server",
        )

    def test_the_etag_of_a_proxy_that_compresses(self):
        fake = Fake(lambda *_: (200, {"ETag": 'W/"7"', "Maph-Type": "text"}, [b"v"]))
        self.addCleanup(fake.stop)
        with MaphClient(fake.url) as client:
            self.assertEqual(
                (client.store("s").entry("k").version, client.store("s").put("k", "v").version),
                (7, 7),
            )


class Jobs(unittest.TestCase):
    def run_job(self, states):
        states = iter(states)
        fake = Fake(
            lambda method, path, number: (
                202 if number == 1 else 200,
                {"Content-Type": "application/json"},
                [json.dumps(next(states)).encode()],
            )
        )
        self.addCleanup(fake.stop)
        client = MaphClient(fake.url)
        self.addCleanup(client.close)
        return fake, client.store("s")

    def test_progress_until_done(self):
        fake, store = self.run_job(
            [{"id": "7", "state": "running", "done": n} for n in range(3)]
            + [{"id": "7", "state": "done", "done": 3}]
        )
        seen = []
        self.assertEqual(
            store.optimize(progress=lambda job: seen.append(job.info["done"]))["done"], 3
        )
        self.assertEqual(seen, [0, 1, 2])
        self.assertEqual(fake.paths, ["POST /stores/s/optimize", "/jobs/7", "/jobs/7", "/jobs/7"])

    def test_failure(self):
        fake, store = self.run_job(
            [
                {"id": "7", "state": "running"},
                {"id": "7", "state": "failed", "code": "full", "detail": "the disk is full"},
            ]
        )
        with self.assertRaisesRegex(maph_client.JobFailedError, "the disk is full") as caught:
            store.compact()
        self.assertEqual(caught.exception.code, "full")

    def test_cancel(self):
        fake, store = self.run_job(
            [
                {"id": "7", "state": "running"},
                {},
                {"id": "7", "state": "cancelled", "code": "cancelled"},
            ]
        )
        job = store.start("compact")
        job.cancel()
        with self.assertRaisesRegex(maph_client.JobFailedError, "cancelled"):
            job.wait()
        self.assertEqual(fake.paths[1:], ["DELETE /jobs/7", "/jobs/7"])


class RealFeed(ServerTest):
    def test_changes_of_a_real_server(self):
        needs_route("stores/NAME/changes")
        self.store["a"] = "1"
        with self.store.batch() as batch:
            batch.put("b", "2").put("c", b"\xff").delete("a")
        with self.store.changes(since=0) as changes:
            got = [
                (one.key, one.value, one.deleted, one.last) for one in itertools.islice(changes, 4)
            ]
            self.assertEqual(
                got,
                [
                    ("a", "1", False, True),
                    ("b", "2", False, False),
                    ("c", b"\xff", False, False),
                    ("a", None, True, True),
                ],
            )
            self.store["d"] = "4"
            self.assertEqual(next(changes).key, "d")
        with self.store.changes() as changes:
            self.assertEqual(changes.version, self.store.stats().version)

    def test_close_wakes_the_thread_that_waits(self):
        server = Server("--heartbeat", "1")
        self.addCleanup(server.stop)
        client = MaphClient(server.url)
        self.addCleanup(client.close)
        client.create_store("s")["a"] = "1"
        Feed.ends_when_closed(
            self,
            client.store("s").changes(since=0),
            lambda got: self.assertEqual(got.get(timeout=60), "a"),
        )

    def test_across_a_restart(self):
        needs_route("stores/NAME/changes")
        server = Server()
        self.addCleanup(server.stop)
        client = MaphClient(server.url)
        self.addCleanup(client.close)
        store = client.create_store("s")
        with store.changes(since=0) as changes:
            store["a"] = "1"
            self.assertEqual(next(changes).key, "a")
            server.halt()
            server.start()
            store["b"] = "2"
            self.assertEqual(next(changes).key, "b")


if __name__ == "__main__":
    unittest.main()
