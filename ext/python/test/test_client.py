"""MaphClient and MaphStore against the real server."""

import itertools
import json
import os
import signal
import socket
import tempfile
import threading
import time
import unittest

from support import Server, ServerTest, fork, needs_route

import maph_client
from maph_client import MaphClient

# Every kind of key that a URL, a path or JSON could spoil.
KEYS = [
    "k",
    "a/b",
    "a//b",
    "/",
    "a?b",
    "a#b",
    "100%",
    "%2F",
    "%",
    "a b",
    "a+b",
    ".",
    "..",
    "a.",
    "../../etc",
    "é",
    "日本",
    "\U0001f600",
    '"',
    "'",
    "\\",
    "\n",
    "\0",
    "\x7f",
    "a&b=c",
    ":",
    "@",
    "~",
    "<b>",
    b"\xff\xfe",
    b"\x00\xff",
    b"\x80",
]


def in_threads(n, work):
    threads = [threading.Thread(target=work) for _ in range(n)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()


class Mapping(ServerTest):
    def test_a_value_comes_back_as_what_it_was_put(self):
        for value in [
            "new_value",
            "",
            "é\n\"",
            "with\0nul",
            b"",
            b"bytes",
            b"\xff\x00",
            json.dumps({"price": 29.99}),
            "x" * 3000000,
            b"\xfe" * 3000000,
        ]:
            self.store["k"] = value
            self.assertEqual(self.store["k"], value)
            self.assertIs(type(self.store["k"]), type(value))
            self.assertEqual([entry.value for entry in self.store.scan()], [value])
            self.assertEqual(self.store.get_many(["k"]), {"k": value})

    def test_every_key_stays_itself(self):
        for n, key in enumerate(KEYS):
            self.store[key] = str(n)
        self.assertEqual([self.store[key] for key in KEYS], [str(n) for n in range(len(KEYS))])
        self.assertEqual(set(self.store), set(KEYS))
        self.assertEqual(dict(self.store.items()), {key: str(n) for n, key in enumerate(KEYS)})
        self.assertEqual(self.store.get_many(KEYS), {key: str(n) for n, key in enumerate(KEYS)})
        self.assertEqual(
            {entry.key: entry.value for entry in self.store.export()},
            {key: str(n) for n, key in enumerate(KEYS)},
        )
        self.assertTrue(all(key in self.store for key in KEYS))
        for key in KEYS:
            del self.store[key]
        self.assertEqual(len(self.store), 0)
        self.assertFalse(any(key in self.store for key in KEYS))

    def test_keys_too_long_for_a_url(self):
        for key in ["x" * 30000, "é" * 32767, b"\xff" * 65535]:
            version = self.store.put(key, "v", if_absent=True).version
            self.assertEqual(self.store.entry(key).version, version)
            self.assertIn(key, self.store)
            with self.assertRaises(maph_client.PreconditionFailedError):
                self.store.put(key, "w", if_version=version + 1)
            self.assertFalse(self.store.put(key, b"w", if_version=version).created)
            self.assertEqual(self.store[key], b"w")
            del self.store[key]
            self.assertNotIn(key, self.store)
            with self.assertRaises(KeyError):
                self.store[key]
            with self.assertRaises(KeyError):
                del self.store[key]
        with self.assertRaises(maph_client.MaphError):
            self.store["x" * 65536] = "v"

    def test_the_rest_of_the_mapping(self):
        store = self.store
        store.update({"a": "1", "b": b"2"}, c="3")
        self.assertEqual(len(store), 3)
        self.assertEqual(sorted(store), ["a", "b", "c"])
        self.assertEqual(sorted(store.keys()), ["a", "b", "c"])
        self.assertIn("a", store.keys())
        self.assertIn(("b", b"2"), store.items())
        self.assertIn("3", store.values())
        self.assertNotIn("4", store.values())
        self.assertEqual(store.get("a"), "1")
        self.assertIsNone(store.get("z"))
        self.assertEqual(store.get("z", "d"), "d")
        self.assertEqual(store.setdefault("a", "9"), "1")
        self.assertEqual(store.setdefault("d", "9"), "9")
        self.assertEqual(store.pop("d"), "9")
        self.assertEqual(store.pop("d", None), None)
        with self.assertRaises(KeyError):
            store.pop("d")
        self.assertNotIn(17, store)
        key, value = store.popitem()
        self.assertNotIn(key, store)
        store.clear()
        self.assertEqual(list(store), [])
        self.assertTrue(store)
        self.assertEqual(store, self.client.store(self.name))
        self.assertIn(self.name, repr(store))
        with self.assertRaises(KeyError):
            store.popitem()

    def test_update_takes_what_dict_takes(self):
        self.store.update([("a", "1")])
        self.store.update(iter([("b", "2")]), c="3")
        self.store.update(self.store)
        self.store.update(big=b"\xff" * 5000000)
        self.assertEqual(
            {key: len(value) for key, value in self.store.items()},
            {"a": 1, "b": 1, "c": 1, "big": 5000000},
        )

    def test_what_is_no_key_or_value(self):
        for key in ["", b""]:
            for fails in [
                lambda: self.store.put(key, "v"),
                lambda: self.store.batch().put(key, "v"),
                lambda: self.store.get_many([key]),
                lambda: self.store.update({key: "v"}),
            ]:
                with self.assertRaisesRegex(ValueError, "at least one byte"):
                    fails()
        for key in [1, None, 1.5, ("a",)]:
            with self.assertRaises(TypeError):
                self.store[key]
        for value in [1, None, {"a": 1}, ["a"]]:
            with self.assertRaisesRegex(TypeError, "json.dumps"):
                self.store["k"] = value
            with self.assertRaisesRegex(TypeError, "json.dumps"):
                self.store.update(k=value)
        self.assertEqual(len(self.store), 0)

    def test_keys_of_every_byte(self):
        keys = [bytes([n]) for n in range(256)] + [bytes(range(256)), bytes(range(255, -1, -1))]
        for n, key in enumerate(keys):
            self.store[key] = str(n)
        self.assertEqual([self.store[key] for key in keys], [str(n) for n in range(len(keys))])
        self.assertEqual(
            {key if isinstance(key, bytes) else key.encode() for key in self.store}, set(keys)
        )
        self.assertEqual(self.store.get_many(keys), {key: str(n) for n, key in enumerate(keys)})
        for kind in [bytearray, memoryview]:
            self.assertTrue(kind(b"\xff") in self.store and kind(b"\xff\xfe\xfd") not in self.store)

    def test_half_a_surrogate_pair_is_refused_at_once(self):
        name = os.fsdecode(b"caf\xe9")
        for fails in [
            lambda: self.store[name],
            lambda: self.store.put(name, "v"),
            lambda: self.store.put("k", name),
            lambda: self.store.batch().put(name, "v"),
            lambda: self.store.batch().put("k", name),
            lambda: self.store.batch().get(name),
            lambda: self.store.get_many([name]),
            lambda: self.store.update({name: "v"}),
            lambda: self.store.import_entries([(name, "v")]),
        ]:
            with self.assertRaisesRegex(ValueError, "surrogate pair.*os.fsencode"):
                fails()
        self.store[os.fsencode(name)] = "v"
        self.assertEqual([os.fsdecode(key) for key in self.store], [name])

    def test_each_popitem_takes_another(self):
        self.store.update({str(n): str(n) for n in range(40)})
        taken = []

        def take():
            for _ in range(10):
                taken.append(self.store.popitem())

        in_threads(4, take)
        self.assertEqual(sorted(taken), sorted((str(n), str(n)) for n in range(40)))
        with self.assertRaisesRegex(KeyError, f"{self.name} is empty"):
            self.store.popitem()

    def test_pages(self):
        everything = {f"{'even' if n % 2 == 0 else 'odd'}{n}": str(n) for n in range(2500)}
        self.store.update(everything)
        self.assertEqual(dict(self.store.items()), everything)
        self.assertEqual(len(list(self.store)), 2500)
        self.assertEqual(
            list(self.store.scan_keys("odd")),
            sorted(key for key in everything if key.startswith("odd")),
        )
        self.assertEqual(
            list(self.store.scan_keys(from_="even2", to="odd11", reverse=True)),
            sorted((key for key in everything if "even2" <= key < "odd11"), reverse=True),
        )
        self.assertEqual(
            [entry.key for entry in self.store.scan("odd", from_="odd9")],
            sorted(key for key in everything if "odd9" <= key),
        )
        self.assertEqual(len(list(self.store.scan("even"))), 1250)
        self.assertEqual(list(self.store.scan_keys("none")), [])
        self.store.update([(b"\xff\x00a", "1"), (b"\xff\x01", "2"), ("a b&c=d", "3"), ("a+b", "4")])
        self.assertEqual(list(self.store.scan_keys(b"\xff\x00")), [b"\xff\x00a"])
        self.assertEqual(
            [entry.key for entry in self.store.export(b"\xff")], [b"\xff\x00a", b"\xff\x01"]
        )
        self.assertEqual(
            [[*self.store.scan_keys(prefix)] for prefix in ["a ", "a+", "a b&c="]],
            [["a b&c=d"], ["a+b"], ["a b&c=d"]],
        )
        self.store.clear()
        self.assertEqual(len(self.store), 0)

    def test_a_range_is_deleted(self):
        store = self.store
        store.update((f"k{n:04}", "v") for n in range(2500))
        store.update({b"\xff\x01": "1", b"\xff\x02": "2", "user/1": "1"})
        seen = []
        self.assertEqual(store.delete_range(from_="k1000", to="k1003"), 3)
        self.assertEqual(store.delete_range("k", progress=lambda job: seen.append(job.state)), 2497)
        self.assertEqual(set(seen) | {"running"}, {"running"})
        self.assertEqual(store.delete_range("k", sync="full"), 0)
        self.assertEqual(store.delete_range(b"\xff", from_=b"\xff\x02"), 1)
        self.assertEqual(list(store), ["user/1", b"\xff\x01"])
        job = store.start_delete_range(to="v")
        self.assertEqual((job.wait()["deleted"], job.info["last_key"]), (1, "user/1"))
        for nothing in [{}, {"prefix": ""}, {"from_": "", "to": b""}]:
            self.assertRaisesRegex(ValueError, "clear", store.delete_range, **nothing)
        self.assertEqual(list(store), [b"\xff\x01"])

    def test_an_export_in_key_order(self):
        names = [f"k{n * 7 % 50:02}" for n in range(50)]
        for name in names:
            self.store[name] = "v"

        def keys(*prefix, **options):
            return [entry.key for entry in self.store.export(*prefix, **options)]

        in_order = sorted(names)
        self.assertEqual((keys(), keys(sorted=True)), (names, in_order))
        self.assertEqual(keys(reverse=True), in_order[::-1])
        self.assertEqual(keys("k1"), in_order[10:20])
        self.assertEqual(keys(from_="k05", to="k08"), ["k05", "k06", "k07"])
        self.assertEqual(keys("k1", from_="k18", reverse=True), ["k19", "k18"])
        self.assertEqual(
            [json.loads(line)["key"] for line in self.store.export_lines(to="k02")], ["k00", "k01"]
        )

    def test_iteration_meets_every_key_that_stays(self):
        self.store.update({f"k{n}": "0" for n in range(3000)})
        seen = []
        for n, key in enumerate(self.store):
            seen.append(key)
            if n % 10 == 0:
                self.store[f"k{n}"] = "1"
        self.assertEqual(set(seen), {f"k{n}" for n in range(3000)})


class Conditions(ServerTest):
    def test_versions(self):
        first = self.store.put("k", "1")
        self.assertTrue(first.created)
        second = self.store.put("k", "2", if_version=first.version)
        self.assertFalse(second.created)
        self.assertGreater(second.version, first.version)
        with self.assertRaises(maph_client.PreconditionFailedError) as caught:
            self.store.put("k", "3", if_version=first.version)
        self.assertEqual(caught.exception.version, second.version)
        self.assertEqual(caught.exception.status, 412)
        self.assertIsNone(caught.exception.operation)
        with self.assertRaises(maph_client.PreconditionFailedError):
            self.store.delete("k", if_version=first.version)
        self.store.delete("k", if_version=second.version)
        self.assertNotIn("k", self.store)

    def test_absent_and_present(self):
        with self.assertRaises(maph_client.PreconditionFailedError) as caught:
            self.store.put("k", "1", if_present=True)
        self.assertIsNone(caught.exception.version)
        self.store.put("k", "1", if_absent=True)
        with self.assertRaises(maph_client.PreconditionFailedError):
            self.store.put("k", "2", if_absent=True)
        self.store.put("k", "2", if_present=True)
        self.assertEqual(self.store["k"], "2")
        with self.assertRaises(ValueError):
            self.store.put("k", "3", if_absent=True, if_present=True)

    def test_counters_of_eight_threads(self):
        def count():
            for _ in range(20):
                self.store.modify("n", lambda value: str(int(value or 0) + 1))

        threads = [threading.Thread(target=count) for _ in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        self.assertEqual(self.store["n"], "160")

    def test_increment_loses_none(self):
        def count():
            for _ in range(20):
                self.store.increment("counter", 3)

        threads = [threading.Thread(target=count) for _ in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        self.assertEqual(self.store["counter"], "240")
        self.assertEqual(self.store.increment("counter", -(1 << 63)), 240 - (1 << 63))
        self.assertEqual(self.store.increment("new", ttl=1000), 1)
        self.assertIsNotNone(self.store.entry("new").expires_at)
        self.store["text"] = "x"
        for key, by, code in (("text", 1, "not_a_number"), ("counter", -(1 << 62), "overflow")):
            with self.assertRaises(maph_client.BadRequestError) as refused:
                self.store.increment(key, by)
            self.assertEqual(refused.exception.code, code)
        with self.assertRaises(ValueError):
            self.store.increment("k" * 40000)

    def test_merge(self):
        self.store.put("j", '{"a": 1, "b": {"c": 29.990}}', content_type="application/json")
        done = self.store.merge("j", {"a": None, "b": {"d": [1, "\u00fc"]}})
        self.assertEqual((done.created, done.version), (False, self.store.entry("j").version))
        self.assertEqual(self.store["j"], '{"b":{"c":29.990,"d":[1,"\\u00fc"]}}')
        self.assertTrue(self.store.merge("fresh", {"x": 1}, ttl=1000).created)
        self.assertIsNotNone(self.store.entry("fresh").expires_at)
        self.store["text"] = "x"
        with self.assertRaises(maph_client.BadRequestError) as refused:
            self.store.merge("text", {})
        self.assertEqual(refused.exception.code, "not_json")

    def test_each_pop_takes_another(self):
        taken, lock = [], threading.Lock()
        self.store.update({str(n): str(n) for n in range(40)})

        def take():
            for n in range(40):
                value = self.store.pop(str(n), None)
                with lock:
                    taken.append(value)

        threads = [threading.Thread(target=take) for _ in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        self.assertEqual(
            sorted(int(value) for value in taken if value is not None), list(range(40))
        )

    def test_expiry_and_type(self):
        before = int(time.time() * 1000)
        self.store.put("k", '{"a":1}', ttl=1000, content_type="application/json", sync="full")
        entry = self.store.entry("k")
        self.assertEqual(
            (entry.type, entry.media_type, entry.value), ("json", "application/json", '{"a":1}')
        )
        self.assertTrue(before + 999000 <= entry.expires_at <= before + 1100000)
        self.assertEqual(list(self.store.scan()), [entry])


class Batches(ServerTest):
    def test_all_or_nothing(self):
        self.store["b"] = "old"
        with self.store.batch() as batch:
            batch.put("a", "1", if_absent=True).put("b", b"\xff").get("b").delete("missing").get(
                "missing"
            )
        self.assertEqual([one.status for one in batch.results], [201, 200, 200, 404, 404])
        self.assertEqual([one.found for one in batch.results], [True, True, True, False, False])
        self.assertEqual(batch.results[2].entry.value, b"\xff")
        self.assertEqual(batch.results[0].version, self.store.entry("a").version)
        with self.assertRaises(maph_client.PreconditionFailedError) as caught:
            with self.store.batch(sync="full") as batch:
                batch.put("c", "1").put("a", "2", if_absent=True)
        self.assertEqual(caught.exception.operation, 1)
        self.assertNotIn("c", self.store)

    def test_an_exception_inside_sends_nothing(self):
        with self.assertRaises(RuntimeError):
            with self.store.batch() as batch:
                batch.put("a", "1")
                self.assertEqual(len(batch), 1)
                raise RuntimeError
        self.assertEqual(len(self.store), 0)

    def test_what_failed_is_still_there(self):
        batch = self.store.batch().put("a", "1").put("b", "2", if_present=True)
        for _ in range(2):
            with self.assertRaises(maph_client.PreconditionFailedError):
                batch.commit()
            self.assertEqual((len(batch), len(self.store)), (2, 0))
        self.store["b"] = "1"
        self.assertEqual([one.status for one in batch.commit()], [201, 200])
        self.assertEqual(
            (len(batch), batch.commit(), dict(self.store)), (0, [], {"a": "1", "b": "2"})
        )

    def test_empty(self):
        self.assertEqual(self.store.batch().commit(), [])
        self.assertEqual(self.store.get_many([]), {})

    def test_get_many_of_more_than_a_request_takes(self):
        self.store.update({f"k{n}": str(n) for n in range(0, 12000, 3)})
        self.assertEqual(
            self.store.get_many(f"k{n}" for n in range(12000)),
            {f"k{n}": str(n) for n in range(0, 12000, 3)},
        )

    def test_what_the_server_refuses(self):
        with self.assertRaises(maph_client.BadRequestError):
            self.store.batch().put("k", "v", ttl=-1).commit()


class Transfer(ServerTest):
    def test_export_is_import(self):
        self.store.update({key: str(n) for n, key in enumerate(KEYS)})
        self.store.put("typed", b"\x01\x02", content_type="image/png", ttl=5000)
        self.store["text"] = "é\0"
        self.store["large"] = "y" * 2000000
        copy = self.client.create_store(self.name + "-copy")
        self.assertEqual(copy.import_lines(self.store.export_lines()), len(KEYS) + 3)
        again = self.client.create_store(self.name + "-again")
        self.assertEqual(again.import_entries(self.store.export()), len(KEYS) + 3)

        def shape(store):
            return {
                entry.key: (entry.value, entry.type, entry.media_type, entry.expires_at)
                for entry in store.export()
            }

        self.assertEqual(shape(copy), shape(self.store))
        self.assertEqual(shape(again), shape(self.store))

    def test_pairs_and_objects(self):
        self.assertEqual(
            self.store.import_entries(
                [("a", "1"), (b"\xff", b"\xfe"), {"key": "c", "value": {"n": 1}}, ("nul", "\0")]
            ),
            4,
        )
        self.assertEqual(
            dict(self.store.items()), {"a": "1", b"\xff": b"\xfe", "c": '{"n":1}', "nul": "\0"}
        )

    def test_many_entries_stream_both_ways(self):
        self.assertEqual(
            self.store.import_entries((f"k{n}", "v" * 100) for n in range(30000)), 30000
        )
        self.assertEqual(sum(1 for _ in self.store.export()), 30000)
        self.assertEqual(sum(1 for _ in self.store.export_lines("k1")), 11111)

    def test_lines_refused_are_named_and_the_others_are_in(self):
        with self.assertRaises(maph_client.ImportFailedError) as caught:
            self.store.import_lines(
                [b'{"key":"a","value":"1"}', b"nonsense", b'{"key":"b","value":"2"}\n']
            )
        self.assertEqual((caught.exception.imported, caught.exception.failed), (2, 1))
        self.assertEqual(caught.exception.errors[0]["line"], 2)
        self.assertEqual(sorted(self.store), ["a", "b"])

    def test_an_export_left_early_leaves_the_client_well(self):
        self.store.update({f"k{n}": "v" * 1000 for n in range(5000)})
        for _ in range(5):
            for entry in self.store.export():
                break
            self.assertEqual(self.store[entry.key], entry.value)

    def test_a_failing_source_imports_nothing_half(self):
        def entries():
            yield "a", "1"
            raise RuntimeError("the source failed")

        with self.assertRaisesRegex(RuntimeError, "source failed"):
            self.store.import_entries(entries())
        self.store["b"] = "2"
        self.assertEqual(self.store["b"], "2")


class Stores(ServerTest):
    def test_create_get_list_delete(self):
        client = self.client
        store = client.create_store("one", expected_keys=1000)
        with self.assertRaises(maph_client.StoreExistsError) as caught:
            client.create_store("one")
        self.assertEqual((caught.exception.status, caught.exception.code), (409, "store_exists"))
        self.assertTrue(caught.exception.request_id)
        self.assertEqual(client.create_store("one", exist_ok=True), store)
        self.assertEqual(client.get_store("one"), store)
        store["k"] = "v"
        info = {one.name: one for one in client.list_stores()}["one"]
        self.assertEqual((info.size, info.error), (1, ""))
        client.delete_store("one")
        for fails in [
            lambda: client.get_store("one"),
            lambda: client.delete_store("one"),
            lambda: store["k"],
            lambda: "k" in store,
            lambda: len(store),
        ]:
            self.assertRaises(maph_client.StoreNotFoundError, fails)
        with self.assertRaises(maph_client.BadRequestError):
            client.create_store("../etc")
        with self.assertRaises(maph_client.BadRequestError):
            client.store(".hidden")["k"]

    def test_a_missing_store_is_no_missing_key(self):
        with self.assertRaises(maph_client.StoreNotFoundError) as caught:
            self.client.store("none").get("k")
        self.assertNotIsInstance(caught.exception, KeyError)

    def test_stats_sync_check(self):
        self.store.update({str(n): "v" for n in range(100)})
        stats = self.store.stats()
        self.assertEqual((stats.name, stats.size), (self.name, 100))
        self.assertTrue(
            0 < stats.load_factor <= 1 and stats.bytes > 0 and stats.raw["generation"] == 1
        )
        self.store.sync()
        done = self.store.check()
        self.assertEqual((done["success"], done["problems"]), (True, 0))
        with self.assertRaises(maph_client.JobNotFoundError):
            maph_client.Job(self.client._transport, {"id": "999999"}).refresh()
        self.assertTrue(any(job.info["store"] == self.name for job in self.client.jobs()))
        self.client.ping()

    def test_maintenance(self):
        needs_route("stores/NAME/optimize")
        needs_route("stores/NAME/compact")
        self.store.update({str(n): "v" for n in range(1000)})
        self.store.clear()
        self.store.update({str(n): "w" for n in range(1000)})
        self.store.optimize()
        self.store.compact()
        self.assertEqual(self.store.backup(self.name)["file"], f"{self.name}.maph")
        with self.assertRaises(maph_client.StoreExistsError):
            self.store.backup(self.name)
        self.assertEqual(dict(self.store.items()), {str(n): "w" for n in range(1000)})


class Connections(ServerTest):
    def test_one_connection_serves_many_requests(self):
        opened = []
        client = MaphClient(self.server.url)
        fresh = client._transport._fresh
        client._transport._fresh = lambda timeout: opened.append(1) or fresh(timeout)
        store = client.store(self.name)
        for n in range(50):
            store[str(n)] = "v"
            self.assertEqual(store[str(n)], "v")
        with self.assertRaises(KeyError):
            store["missing"]
        self.assertEqual(len(list(store.export())), 50)
        self.assertEqual(len(opened), 1)
        client.close()
        self.assertEqual(store["1"], "v")
        self.assertEqual(len(opened), 2)
        client.close()

    def test_threads_share_a_client(self):
        failures = []

        def work(me):
            try:
                for n in range(30):
                    self.store[f"{me}-{n}"] = f"{me}:{n}" * 100
                    if self.store[f"{me}-{n}"] != f"{me}:{n}" * 100:
                        failures.append((me, n))
            except Exception as error:
                failures.append(error)

        threads = [threading.Thread(target=work, args=(me,)) for me in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        self.assertEqual(failures, [])
        self.assertEqual(len(self.store), 240)

    def test_a_child_process_opens_its_own(self):
        self.store["k"] = "v"
        child = fork()
        if child == 0:
            os._exit(0 if all(self.store["k"] == "v" for _ in range(20)) else 1)
        same = all(self.store["k"] == "v" for _ in range(20))
        self.assertEqual((os.waitpid(child, 0)[1], same), (0, True))

    def test_children_of_a_program_whose_threads_use_the_client(self):
        """Whatever the threads hold when the child is made, the child can go on."""
        self.store["k"] = "v"
        stop = threading.Event()

        def work():
            while not stop.is_set():
                self.store["k"]

        threads = [threading.Thread(target=work) for _ in range(4)]
        for thread in threads:
            thread.start()
        children = []
        for _ in range(20):
            child = fork()
            if child == 0:
                signal.alarm(60)
                os._exit(0 if self.store["k"] == "v" else 1)
            children.append(os.waitpid(child, 0)[1])
        stop.set()
        for thread in threads:
            thread.join()
        self.assertEqual(children, [0] * 20)


class Kept(unittest.TestCase):
    """A server that answers the first request of a connection and takes a second one, but closes
    instead of answering it. `hasty`: it closes when it has read the second one's head; `idle`: it
    closes after its first answer.
    """

    hasty = idle = False

    def setUp(self):
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.addCleanup(self.listener.close)
        self.asked, self.begun, self.ended = [], 0, threading.Semaphore(0)
        threading.Thread(target=self.serve, daemon=True).start()
        self.client = MaphClient(f"http://127.0.0.1:{self.listener.getsockname()[1]}")
        self.addCleanup(self.client.close)
        self.store = self.client.store("s")

    def serve(self):
        while True:
            try:
                connection, _ = self.listener.accept()
            except OSError:
                return
            self.begun += 1
            with connection, connection.makefile("rb") as lines:
                for number in range(1 if self.idle else 2):
                    head = list(itertools.takewhile(lambda line: line.strip(), lines))
                    if not head:
                        break
                    if number and self.hasty:
                        self.asked.append(head[0].split()[0].decode())
                        break
                    size = [
                        int(line.split(b":")[1])
                        for line in head
                        if line.lower().startswith(b"content-length:")
                    ]
                    if any(b"chunked" in line for line in head):
                        while lines.readline() != b"0\r\n":
                            pass
                        lines.readline()
                    lines.read(sum(size))
                    self.asked.append(head[0].split()[0].decode())
                    if number == 0:
                        status = (
                            b"204 No Content"
                            if head[0].startswith(b"DELETE")
                            else b"200 OK\r\nContent-Length: 14"
                        )
                        connection.sendall(
                            b'HTTP/1.1 %s\r\nETag: "1"\r\n\r\n' % status
                            + (b"" if b"204" in status else b'{"results":[]}')
                        )
            self.ended.release()

    def all_ended(self):
        for _ in range(self.begun):
            self.ended.acquire()
        self.begun = 0

    def after_a_first(self, call):
        self.client.close()
        self.all_ended()
        self.store.entry("first")
        if self.idle:
            self.all_ended()
        del self.asked[:]
        call()

    def test_what_can_be_repeated_is(self):
        for call, method in [
            (lambda: self.store.entry("k"), "GET"),
            (lambda: self.store.get_many(["k"]), "POST"),
        ]:
            self.after_a_first(call)
            self.assertEqual(self.asked, [method, method])

    def test_what_was_not_sent_to_its_end_is_sent_again(self):
        """The kept connection ends between the look at it and the last byte of the request: nobody
        can have done that."""
        self.hasty = True
        for call in [
            lambda: self.store.put("k", "v" * 20000000),
            lambda: self.store.put("k", "v" * 20000000, if_absent=True),
        ]:
            self.after_a_first(call)
            self.assertEqual(self.asked, ["PUT", "PUT"])

    def test_what_may_have_been_done_is_not_done_again(self):
        for call in [
            lambda: self.store.delete("k"),
            lambda: self.store.put("k", "v"),
            lambda: self.store.put("k", "v", if_present=True),
            lambda: self.store.put("k", "v", if_absent=True),
            lambda: self.store.put("k", "v", if_version=1),
            self.store.batch().put("k", "v").commit,
            lambda: self.store.update({"k": "v"}),
            lambda: self.store.import_entries([("k", "v")]),
            lambda: self.store.start("compact"),
            lambda: self.client.create_store("s"),
            lambda: self.client.delete_store("s"),
            lambda: self.store.put("x" * 40000, "v"),
        ]:
            with self.assertRaisesRegex(
                maph_client.ConnectionLostError, "it may have been done or not"
            ):
                self.after_a_first(call)
            self.assertEqual(len(self.asked), 1)

    def test_a_connection_that_the_server_closed_while_it_was_idle_is_not_used(self):
        self.idle = True
        for call in [
            lambda: self.store.put("k", "v"),
            lambda: self.store.delete("k"),
            lambda: self.store.entry("k"),
        ]:
            self.after_a_first(call)
            self.assertEqual(len(self.asked), 1)


class Restart(unittest.TestCase):
    def test_the_client_outlives_a_restart(self):
        server = Server()
        self.addCleanup(server.stop)
        with MaphClient(server.url) as client:
            store = client.create_store("s")
            store["k"] = "1"
            server.halt()
            with self.assertRaises(maph_client.ConnectionLostError) as caught:
                store["k"]
            self.assertIsInstance(caught.exception, ConnectionError)
            self.assertIsNone(caught.exception.status)
            server.start()
            self.assertEqual(store["k"], "1")
            store["k"] = "2"
            server.halt()
            server.start()
            store.put("k", "3", if_version=store.entry("k").version)
            self.assertEqual(store["k"], "3")


class Refusals(unittest.TestCase):
    def test_tokens(self):
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        tokens = os.path.join(folder.name, "tokens")
        with open(tokens, "w", opener=lambda path, flags: os.open(path, flags, 0o600)) as file:
            file.write("reader-0123456789 read *\nadmin-01234567890 admin *\n")
        server = Server("--tokens", tokens)
        self.addCleanup(server.stop)
        with self.assertRaises(maph_client.UnauthorizedError):
            MaphClient(server.url).list_stores()
        store = MaphClient(server.url, token="admin-01234567890").create_store("s")
        store["k"] = "v"
        reader = MaphClient(server.url, token="reader-0123456789").get_store("s")
        self.assertEqual(reader["k"], "v")
        with self.assertRaises(maph_client.ForbiddenError):
            reader["k"] = "w"
        with self.assertRaises(PermissionError):
            del reader["k"]

    def test_limits(self):
        server = Server("--max-body", "1000", "--max-batch", "100000")
        self.addCleanup(server.stop)
        store = MaphClient(server.url).create_store("s")
        for size in [1001, 20000000]:
            with self.assertRaises(maph_client.TooLargeError):
                store["k"] = "x" * size
        store["k"] = "x" * 1000
        with self.assertRaises(maph_client.TooLargeError):
            store.import_entries([("k", "x" * 200000)] * 200)
        self.assertEqual(len(store["k"]), 1000)

    def test_read_only(self):
        server = Server()
        self.addCleanup(server.stop)
        MaphClient(server.url).create_store("s")["k"] = "v"
        server.halt()
        server.arguments = ("--read-only",)
        server.start()
        store = MaphClient(server.url).get_store("s")
        self.assertEqual(store["k"], "v")
        with self.assertRaises(maph_client.ReadOnlyError):
            store["k"] = "w"

    def test_urls(self):
        for url in ["", "ftp://x", "http://", "http://u:p@x", "http://x?y"]:
            with self.assertRaises(ValueError):
                MaphClient(url)
        self.assertEqual(MaphClient("localhost:1").url, "http://localhost:1")
        self.assertEqual(MaphClient("https://h/base/").url, "https://h/base")
        for url in ["http://[::1", "http://x:99999"]:
            with self.assertRaisesRegex(ValueError, "not the URL of a maph server: 'http://"):
                MaphClient(url)
        with self.assertRaisesRegex(ValueError, r"strip\(\)") as caught:
            MaphClient("http://x", token="secret\n")
        self.assertNotIn("secret", str(caught.exception))
        with self.assertRaisesRegex(
            maph_client.ConnectionLostError,
            "^GET http://127.0.0.1:1/stores: .*refused; is maph-server running there",
        ):
            MaphClient("http://127.0.0.1:1").list_stores()
        with self.assertRaisesRegex(
            maph_client.ConnectionLostError,
            r"^GET http://127.0.0.1:1/stores/s/keys/x{150,200}\.\.\.: ",
        ):
            MaphClient("http://127.0.0.1:1").store("s")["x" * 3000]


if __name__ == "__main__":
    unittest.main()
