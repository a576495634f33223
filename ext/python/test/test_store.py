"""The package maph: a store in this process, through libmaph.so.0."""

import gc
import itertools
import os
import pathlib
import re
import signal
import subprocess
import sys
import tempfile
import threading
import unittest
import uuid

from support import BUILD, PACKAGES, TOP, fork

import maph


class StoreTest(unittest.TestCase):
    def setUp(self):
        folder = tempfile.TemporaryDirectory(prefix="maph-python.")
        self.addCleanup(folder.cleanup)
        self.path = os.path.join(folder.name, "s.maph")
        self.store = maph.open(self.path, "c")
        self.addCleanup(self.close)

    def close(self):
        gc.collect()
        self.store.close()


class Mapping(StoreTest):
    def test_bytes_in_bytes_out(self):
        for value in [b"", b"v", b"\0\xff", b"x" * 3000000, bytearray(b"a"), memoryview(b"b")]:
            self.store["k"] = value
            self.assertEqual(self.store["k"], bytes(value))
            self.assertEqual(self.store.view("k"), bytes(value))
            self.assertEqual(self.store.get_many(["k"]), [bytes(value)])
        for key in [b"k2", "é", "\0", b"\xff", "x" * 65535, bytearray(b"b"), memoryview(b"m")]:
            self.store[key] = "é"
            self.assertEqual(self.store[key], "é".encode())
            self.assertIn(key, self.store)
        self.assertEqual(
            self.store.entry("é"),
            ("é".encode(), "é".encode(), self.store.entry("é").version, None, "text", "", None),
        )

    def test_as_a_mapping(self):
        store = self.store
        store.update({"a": "1", b"b": b"2"}, c="3")
        store.update([("d", "4")])
        self.assertEqual(len(store), 4)
        self.assertEqual(sorted(store), [b"a", b"b", b"c", b"d"])
        self.assertEqual(dict(store.items()), {b"a": b"1", b"b": b"2", b"c": b"3", b"d": b"4"})
        self.assertEqual(sorted(store.values()), [b"1", b"2", b"3", b"4"])
        self.assertIn(b"a", store.keys())
        self.assertIn(("a", b"1"), store.items())
        self.assertIn(b"4", store.values())
        self.assertEqual((store.get("a"), store.get("z"), store.get("z", 7)), (b"1", None, 7))
        self.assertEqual(store.setdefault("a", "9"), b"1")
        self.assertEqual(store.setdefault("e", "9"), b"9")
        self.assertEqual(store.pop("e"), b"9")
        self.assertEqual(store.pop("e", 5), 5)
        with self.assertRaises(KeyError):
            store.pop("e")
        self.assertNotIn(1, store)
        self.assertIn(store.popitem()[0], [b"a", b"b", b"c", b"d"])
        self.assertEqual(len(store), 3)
        store.clear()
        with self.assertRaisesRegex(KeyError, f"{self.path} is empty"):
            store.popitem()
        self.assertEqual((len(store), list(store)), (0, []))
        other = maph.open(self.path)
        self.assertNotEqual(store, other)
        other.close()

    def test_each_popitem_takes_another(self):
        self.store.update({str(n): str(n) for n in range(400)})
        taken = []

        def take():
            for _ in range(100):
                taken.append(self.store.popitem())

        threads = [threading.Thread(target=take) for _ in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        self.assertEqual(
            sorted(taken), sorted((str(n).encode(), str(n).encode()) for n in range(400))
        )

    def test_keys_of_every_byte(self):
        keys = [bytes([n]) for n in range(256)] + [bytes(range(256)), b".", b"..", b"/", b"%2F"]
        self.store.update({key: key for key in keys})
        self.assertEqual([self.store[key] for key in keys], keys)
        self.assertEqual(set(self.store), set(keys))
        name = os.fsdecode(b"caf\xe9")
        with self.assertRaisesRegex(ValueError, "surrogate pair.*os.fsencode"):
            self.store[name] = "v"
        self.store[os.fsencode(name)] = "v"

    def test_a_missing_key_is_a_keyerror(self):
        for fails in [
            lambda: self.store["k"],
            lambda: self.store.view("k"),
            lambda: self.store.entry("k"),
            lambda: self.store.delete("k"),
            lambda: self.store.__delitem__("k"),
        ]:
            with self.assertRaises(KeyError) as caught:
                fails()
            self.assertIsInstance(caught.exception, maph.NotFoundError)

    def test_what_is_no_key_or_value(self):
        for key in [1, None, ("a",)]:
            self.assertRaises(TypeError, lambda: self.store[key])
            self.assertRaises(TypeError, lambda: self.store.put("k", key))
            self.assertRaises(TypeError, lambda: self.store.get_many([key]))
        self.assertRaises(maph.MisuseError, lambda: self.store.put("", "v"))
        self.assertRaises(maph.TooBigError, lambda: self.store.put("x" * 65536, "v"))

    def test_types_and_expiry(self):
        self.store.put("t", "x", ttl=1000)
        self.store.put("j", "{}", type="json", media_type="application/json")
        self.store.put("gone", "x", expires_at=1)
        self.assertEqual(
            (self.store.entry("j").type, self.store.entry("j").media_type),
            ("json", "application/json"),
        )
        self.assertGreater(self.store.entry("t").expires_at, 1700000000000)
        self.assertNotIn("gone", self.store)
        self.assertRaises(ValueError, lambda: self.store.put("k", "v", type="float"))
        self.assertRaises(ValueError, lambda: self.store.put("k", "v", ttl=1, expires_at=1))
        for past in [dict(expires_at=0), dict(expires_at=-1), dict(ttl=0), dict(ttl=-1e12)]:
            self.store.put("gone", "x", **past)
            self.assertNotIn("gone", self.store, past)
        self.store.put("late", "x", ttl=1e15)
        self.assertIn("late", self.store)

    def test_many(self):
        keys = [f"k{n}" for n in range(20000)]
        self.store.update({key: key * 3 for key in keys[::2]})
        want = [(key * 3).encode() if n % 2 == 0 else None for n, key in enumerate(keys)]
        self.assertEqual(self.store.get_many(keys), want)
        self.assertEqual(self.store.view_many(keys), want)
        self.assertEqual(self.store.get_many([]), [])
        self.assertEqual(len(list(self.store.cursor("k1"))), 5555)

    def test_two_openings_share_the_file(self):
        with maph.open(self.path) as reader:
            self.store["k"] = "1"
            self.assertEqual(reader["k"], b"1")
            with self.assertRaises(maph.ReadOnlyError):
                reader["k"] = "2"

    def test_memory(self):
        with maph.open(":memory:", "c") as store:
            store["k"] = "v"
            self.assertEqual(dict(store), {b"k": b"v"})

    def test_opening(self):
        with self.assertRaisesRegex(maph.CantOpenError, 'or open it with mode "c"$'):
            maph.open(self.path + "-none")
        self.assertRaises(maph.ExistsError, lambda: maph.open(self.path, "x"))
        self.assertRaises(maph.FormatError, lambda: maph.open(__file__))
        for wrong in [
            dict(mode="q"),
            dict(durability="much"),
            dict(advice="some"),
            dict(perfect_hash="none"),
        ]:
            self.assertRaises(ValueError, lambda: maph.open(self.path, **wrong))
        self.assertRaises(ValueError, lambda: maph.open("a\0b"))
        with maph.open(
            self.path, "w", busy_timeout=1e9
        ) as patient:  # more milliseconds than an int holds
            patient["k"] = "v"
        path = pathlib.Path(self.path + "2")
        with maph.open(
            path,
            "x",
            durability="full",
            expected_keys=1000,
            verify=True,
            prefault=True,
            permissions=0o600,
        ) as store:
            store["k"] = "v"
            self.assertEqual(store["k"], b"v")
            self.assertEqual(path.stat().st_mode & 0o777, 0o600)
        with maph.open(path) as reader:
            with maph.open(self.path + "3", "x") as prebuilt:
                prebuilt["k"] = "prebuilt"
            maph.replace(path, self.path + "3")
            self.assertEqual(reader["k"], b"prebuilt")
        with self.assertRaises(maph.CantOpen if hasattr(maph, "CantOpen") else Exception):
            maph.replace(path, self.path + "3")
        maph.destroy(path)
        self.assertFalse(path.exists())


class Loads(StoreTest):
    def test_a_load_is_there_at_its_end(self):
        path = self.path + ".loaded"
        with maph.load(path, optimize=True) as entries:
            for i in range(1000):
                entries[f"key{i}"] = str(i)
            entries.put("key7", b"again", expires_at=9999999999999, media_type="a/b")
            self.assertEqual(len(entries), 1001)
            self.assertFalse(os.path.exists(path))
        with maph.open(path) as store:
            self.assertEqual(len(store), 1000)
            self.assertEqual(store["key7"], b"again")
            self.assertEqual(store.entry("key7").media_type, "a/b")
            self.assertEqual(store["key999"], b"999")
            self.assertEqual(store.check(), [])
            self.assertGreater(store.stats()["frozen_keys"], 0)
        self.assertRaises(maph.ExistsError, maph.load, path)

    def test_a_load_that_fails_leaves_nothing(self):
        path = self.path + ".loaded"
        with self.assertRaises(ZeroDivisionError):
            with maph.load(path) as entries:
                entries["a"] = "1"
                1 / 0
        self.assertFalse(os.path.exists(path))
        entries = maph.load(path)
        self.assertRaises(maph.MisuseError, entries.put, b"", b"")
        entries["b"] = "2"
        entries.finish()
        self.assertRaises(maph.MisuseError, entries.put, b"c", b"")
        self.assertRaises(maph.MisuseError, entries.finish)
        self.assertRaises(ValueError, maph.load, path, perfect_hash="none")
        with maph.open(path) as store:
            self.assertEqual(dict(store), {b"b": b"2"})


class GivenVersions(StoreTest):
    SOURCE = uuid.UUID("00112233-4455-6677-8899-aabbccddeeff")

    def test_who_writes_gives_them(self):
        path = self.path + ".copy"
        with maph.open(path, "x", versions="given", uuid=self.SOURCE) as store:
            with self.assertRaises(maph.ReadOnlyError):
                store["a"] = "1"
            with store.transaction() as transaction:
                self.assertEqual(transaction.version, 0)
                self.assertRaises(maph.ReadOnlyError, transaction.put, "a", "1")
                transaction.at(70)
                self.assertEqual(transaction.put("a", "1").version, 70)
                self.assertRaises(maph.ConflictError, transaction.at, 69)
                transaction.at(75)
                transaction["b"] = "2"
                transaction.at(80)
                self.assertEqual(transaction.version, 80)
            self.assertEqual([store.entry(key).version for key in "ab"], [70, 75])
            stats = store.stats()
            self.assertEqual(
                (stats["version"], stats["versions"], stats["uuid"]),
                (80, "given", str(self.SOURCE)),
            )
            with store.transaction() as transaction:
                self.assertRaises(maph.ConflictError, transaction.at, 80)
                self.assertRaises(maph.MisuseError, transaction.at, 1 << 48)
                self.assertRaises((ValueError, OverflowError), transaction.at, -1)
            with store.transaction() as transaction:
                transaction.at(90)
            self.assertEqual((store.stats()["version"], len(store)), (90, 2))

    def test_a_load_gives_them_too(self):
        path, next_path = self.path + ".copy", self.path + ".next"
        maph.open(path, "x", versions="given", uuid=self.SOURCE).close()
        with maph.load(next_path, versions="given", uuid=self.SOURCE) as entries:
            self.assertRaises(maph.ReadOnlyError, entries.put, "a", "1")
            entries.at(90)
            entries["a"] = "2"
            self.assertRaises(maph.ConflictError, entries.at, 89)
            entries.at(95)
        maph.replace(path, next_path)
        with maph.open(path) as store:
            self.assertEqual((store.entry("a").version, store.stats()["version"]), (90, 95))

    def test_an_ordinary_store_counts_its_own(self):
        path = self.path + ".after"
        with maph.open(path, "x", after_version=1000) as store:
            self.assertEqual(store.put("a", "1").version, 1001)
            self.assertEqual(store.stats()["versions"], "own")
            with store.transaction() as transaction:
                self.assertRaises(maph.MisuseError, transaction.at, 2000)
        self.assertRaises(ValueError, maph.open, path, versions="theirs")
        self.assertRaises(ValueError, maph.load, path, versions="theirs")
        self.assertRaises(maph.MisuseError, maph.open, path, uuid=self.SOURCE)


class Conditions(StoreTest):
    def test_conditions(self):
        first = self.store.put("k", "1", if_absent=True)
        self.assertEqual(first.existed, False)
        with self.assertRaises(maph.ExistsError) as caught:
            self.store.put("k", "2", if_absent=True)
        self.assertEqual(caught.exception.version, first.version)
        second = self.store.put("k", "2", if_version=first.version)
        self.assertEqual(second.existed, True)
        with self.assertRaises(maph.ConflictError) as caught:
            self.store.put("k", "3", if_version=first.version)
        self.assertEqual(caught.exception.version, second.version)
        with self.assertRaises(maph.NotFoundError):
            self.store.put("none", "3", if_present=True)
        with self.assertRaises(maph.NotFoundError) as caught:
            del self.store["none"]
        self.assertEqual(caught.exception.args, ("none",))
        with self.assertRaises(maph.ConflictError):
            self.store.delete("k", if_version=first.version)
        self.assertEqual(self.store.delete("k", if_version=second.version).existed, True)
        self.assertRaises(
            ValueError, lambda: self.store.put("k", "3", if_absent=True, if_version=2)
        )

    def test_numbers_that_c_would_cut(self):
        version = self.store.put("k", "1").version
        for number in [2**64 + version, -1, 2**64]:
            for fails in [
                lambda: self.store.put("k", "2", if_version=number),
                lambda: self.store.delete("k", if_version=number),
                lambda: self.store.changes(number, timeout=0),
                lambda: self.store.cursor().seek(number),
                lambda: maph.open(self.path, expected_keys=number),
            ]:
                with self.assertRaisesRegex(
                    ValueError,
                    "^(if_version|since|place|expected_keys) is from 0 to 18446744073709551615, "
                    f"not {number}$",
                ):
                    fails()
        for wrong in [
            dict(auto_compact=2**32 + 5),
            dict(permissions=2**32 + 0o600),
            dict(auto_compact=-1),
        ]:
            with self.assertRaisesRegex(
                ValueError, "^(auto_compact|permissions) is from 0 to 2147483647, not "
            ):
                maph.open(self.path, "w", **wrong)
        self.assertEqual(dict(self.store), {b"k": b"1"})
        self.assertRaises(
            maph.MisuseError, lambda: maph.open(self.path, busy_timeout=-(2**32) / 1000)
        )


class Transactions(StoreTest):
    def test_whole_or_not_at_all(self):
        with maph.open(self.path) as reader:
            with self.store.transaction(durability="full") as transaction:
                transaction["a"] = "1"
                transaction.put("b", "2", if_absent=True)
                self.assertEqual(
                    (transaction["a"], transaction.get("z"), "b" in transaction), (b"1", None, True)
                )
                self.assertNotIn("a", reader)
                version = transaction.version
            self.assertEqual((reader["a"], reader.entry("b").version), (b"1", version))
        with self.assertRaises(RuntimeError):
            with self.store.transaction() as transaction:
                transaction["c"] = "1"
                del transaction["a"]
                raise RuntimeError
        self.assertEqual(sorted(self.store), [b"a", b"b"])

    def test_savepoints(self):
        with self.store.transaction() as transaction:
            transaction["a"] = "1"
            with self.assertRaises(RuntimeError):
                with transaction.savepoint():
                    transaction["a"] = "2"
                    with transaction.savepoint():
                        transaction["b"] = "2"
                    raise RuntimeError
            with transaction.savepoint():
                transaction["c"] = "3"
        self.assertEqual(dict(self.store), {b"a": b"1", b"c": b"3"})

    def test_a_transaction_ends_once(self):
        transaction = self.store.transaction()
        transaction["a"] = "1"
        transaction.commit()
        transaction.abort()
        for fails in [
            transaction.commit,
            lambda: transaction["a"],
            lambda: transaction.put("b", "1"),
            transaction.snapshot,
            lambda: transaction.version,
        ]:
            self.assertRaises(maph.MisuseError, fails)
        self.assertEqual(dict(self.store), {b"a": b"1"})

    def test_one_writer(self):
        with maph.open(self.path, "w", busy_timeout=0) as other:
            with self.store.transaction():
                with self.assertRaises(maph.BusyError):
                    other["k"] = "v"
            other["k"] = "v"

    def test_interrupt(self):
        with maph.open(self.path, "w", busy_timeout=60) as other:
            with self.store.transaction():
                over = threading.Event()

                def interrupt():
                    while not over.wait(0.01):
                        other.interrupt()

                thread = threading.Thread(target=interrupt)
                thread.start()
                with self.assertRaises(maph.CancelledError):
                    other["k"] = "v"
                over.set()
                thread.join()
            other["k"] = "v"
        self.assertRaises(maph.MisuseError, other.interrupt)

    def test_a_forgotten_transaction_is_aborted(self):
        transaction = self.store.transaction()
        transaction["a"] = "1"
        del transaction
        gc.collect()
        self.store["b"] = "1"
        self.assertEqual(list(self.store), [b"b"])

    def test_increment(self):
        self.assertEqual(self.store.increment("n"), 1)
        self.assertEqual(self.store.increment("n", -(1 << 63)), 1 - (1 << 63))
        with self.store.transaction() as transaction:
            self.assertEqual(transaction.increment("n", 5), 6 - (1 << 63))
            self.assertEqual(transaction.increment("new", 2, ttl=1000), 2)
        self.assertEqual(self.store["n"], str(6 - (1 << 63)).encode())
        self.assertIsNotNone(self.store.entry("new").expires_at)
        self.store["text"] = "x"
        for key, by in (("text", 1), ("n", -7)):
            with self.assertRaises(maph.MismatchError):
                self.store.increment(key, by)
        with self.assertRaises(ValueError):
            self.store.increment("n", 1 << 63)

    def test_a_snapshot_of_a_transaction(self):
        self.store["a"] = "0"
        with self.store.transaction() as transaction:
            transaction["a"] = "1"
            snapshot = transaction.snapshot()
            transaction["a"] = "2"
            self.assertEqual(snapshot["a"], b"1")
            self.assertEqual(snapshot.stats()["records"], len(snapshot))
        self.assertEqual((snapshot["a"], self.store["a"]), (b"1", b"2"))
        snapshot.close()

    def test_views_outlive_what_is_undone(self):
        """What a transaction wrote is overwritten once it is undone; a view of it is not."""

        def rollback(transaction):
            with self.assertRaises(RuntimeError), transaction.savepoint():
                transaction["a"] = "1" * 5000
                held.extend(
                    [
                        transaction.view("a"),
                        transaction.snapshot().view("a"),
                        transaction.snapshot().view_many(["a"])[0],
                        next(transaction.snapshot().cursor(views=True)).value,
                    ]
                )
                raise RuntimeError

        for end in ["abort", "commit"]:
            held = []
            transaction = self.store.transaction()
            rollback(transaction)
            getattr(transaction, end)()
            self.store["b"] = "2" * 5000
            self.assertEqual({bytes(view) for view in held}, {b"1" * 5000})
            self.assertEqual((len(held), "a" in self.store), (4, False))
            del self.store["b"]


class Snapshots(StoreTest):
    def test_a_snapshot_does_not_change(self):
        self.store.update({"a": "1", "b": "2"})
        with self.store.snapshot() as snapshot:
            self.store.update({"a": "9", "c": "3"})
            del self.store["b"]
            self.assertEqual(dict(snapshot), {b"a": b"1", b"b": b"2"})
            self.assertEqual(
                (len(snapshot), snapshot["a"], snapshot.get("c"), "b" in snapshot),
                (2, b"1", None, True),
            )
            self.assertEqual(snapshot.get_many(["a", "c", "b"]), [b"1", None, b"2"])
            self.assertEqual(snapshot.entry("a").version, snapshot.version)
            self.assertEqual(list(snapshot.view_many(["a"])), [b"1"])
            self.assertEqual([entry.key for entry in snapshot.cursor("b")], [b"b"])
        for fails in [
            lambda: snapshot["a"],
            lambda: len(snapshot),
            lambda: list(snapshot),
            lambda: snapshot.version,
        ]:
            self.assertRaises(maph.MisuseError, fails)
        snapshot.close()
        self.assertEqual(dict(self.store), {b"a": b"9", b"c": b"3"})

    def test_a_cursor_outlives_the_name_of_its_snapshot(self):
        self.store.update({str(n): "v" for n in range(100)})
        self.assertEqual(sum(1 for _ in self.store.snapshot().cursor()), 100)

    def test_a_cursor_reads_on_when_its_snapshot_is_closed(self):
        self.store.update({"a": "1", "b": "2"})
        snapshot = self.store.snapshot()
        cursors = [snapshot.cursor(), snapshot.cursor(views=True)]
        snapshot.close()
        self.store.update({"a": "9", "c": "9"})
        self.store.compact()
        for cursor in cursors:
            self.assertEqual(
                [(bytes(entry.key), bytes(entry.value)) for entry in cursor],
                [(b"a", b"1"), (b"b", b"2")],
            )
        self.assertRaises(maph.MisuseError, lambda: snapshot["a"])

    def test_a_cursor_goes_on_later(self):
        self.store.update({str(n): "v" for n in range(10)})
        with self.store.cursor() as cursor:
            first = [next(cursor).key for _ in range(4)]
            place = cursor.tell()
        self.assertRaises(maph.MisuseError, lambda: next(cursor))
        again = self.store.cursor()
        again.seek(place)
        self.assertEqual(
            sorted(first + [entry.key for entry in again], key=int),
            [str(n).encode() for n in range(10)],
        )


class Ranges(StoreTest):
    """Keys in the order of their bytes, through a store, a snapshot and a transaction alike."""

    KEYS = [b"\0", b"a", b"a\0", b"a/1", b"a/2", b"a0", b"b", "é".encode(), b"\xff", b"\xff\xff"]

    def setUp(self):
        super().setUp()
        shuffled = self.KEYS[::2] + self.KEYS[::-1][::2]
        self.store.update({key: b"v" + key for key in shuffled})

    def keys(self, steps):
        return [entry.key for entry in steps]

    def test_the_same_through_every_reader(self):
        with self.store.snapshot() as snapshot, self.store.transaction() as transaction:
            for reader in [self.store, snapshot, transaction]:
                self.assertEqual(self.keys(reader.range()), self.KEYS)
                self.assertEqual(self.keys(reader.range(reverse=True)), self.KEYS[::-1])
                self.assertEqual(self.keys(reader.prefix("a/")), [b"a/1", b"a/2"])
                self.assertEqual(self.keys(reader.prefix("a/", reverse=True, limit=1)), [b"a/2"])
                for entry in reader.range():
                    self.assertEqual(entry, reader.entry(entry.key))
                for entry in reader.range(views=True):
                    self.assertIsInstance(entry.value, memoryview)
                    self.assertEqual(entry.value, b"v" + entry.key)
                del entry

    def test_bounds(self):
        keys, bounds = self.KEYS, [None, b"", *self.KEYS, b"a/", b"z", b"\xff\xff\xff"]
        for low, high in itertools.product(bounds, bounds):
            for in_low, in_high in itertools.product([True, False], repeat=2):
                want = [
                    key
                    for key in keys
                    if (low is None or key > low or in_low and key == low)
                    and (high is None or key < high or in_high and key == high)
                ]
                given = {"include_from": in_low, "include_to": in_high}
                self.assertEqual(self.keys(self.store.range(low, high, **given)), want)
                got = self.store.range(low, high, reverse=True, **given)
                self.assertEqual(self.keys(got), want[::-1])
                got = self.store.range(low, high, prefix="a", limit=2, **given)
                self.assertEqual(self.keys(got), [key for key in want if key[:1] == b"a"][:2])
        self.assertEqual(self.keys(self.store.range("a", to="a0", limit=3)), keys[1:4])
        self.assertEqual(self.keys(self.store.range(from_="b")), keys[6:])
        self.assertEqual(self.keys(self.store.range(bytearray(b"b"), memoryview(b"c"))), [b"b"])

    def test_limits(self):
        for limit in [0, 1, 9, 10, 11, 2**64 - 1, None]:
            for reverse in [False, True]:
                want = self.KEYS[::-1] if reverse else self.KEYS
                got = self.store.range(limit=limit, reverse=reverse)
                self.assertEqual(self.keys(got), want[:limit], limit)
                self.assertEqual(self.keys(got), [])
        self.assertEqual(self.keys(self.store.range(None, b"", include_to=True, limit=0)), [])
        for limit in [-1, 2**64]:
            self.assertRaisesRegex(ValueError, "limit", self.store.range, limit=limit)

    def test_both_ways(self):
        keys = self.KEYS
        for reverse in [False, True]:
            steps = self.store.range(reverse=reverse)
            keys = self.KEYS[::-1] if reverse else self.KEYS
            self.assertIsNone(steps.previous())
            self.assertEqual([next(steps).key, next(steps).key], keys[:2])
            self.assertEqual(steps.previous().key, keys[0])
            self.assertIsNone(steps.previous())
            self.assertEqual(self.keys(steps), keys)
            self.assertRaises(StopIteration, next, steps)
            self.assertEqual(steps.previous().key, keys[-1])
        steps = self.store.range()
        steps.seek("a/1")
        self.assertEqual(next(steps).key, b"a/1")
        steps.seek("a/10")
        self.assertEqual((steps.previous().key, next(steps).key), (b"a/1", b"a/2"))
        steps.seek("a/10")
        self.assertEqual(next(steps).key, b"a/2")
        inner = self.store.prefix("a/")
        inner.seek("z")
        self.assertRaises(StopIteration, next, inner)
        self.assertEqual((inner.previous().key, inner.estimate()), (b"a/2", 2))
        self.assertEqual(self.store.range(limit=3).estimate(), 10)

    def test_a_range_is_as_of_its_opening(self):
        store = self.store
        snapshot = store.snapshot()
        before = [store.range(), store.snapshot().range(), snapshot.range(views=True)]
        snapshot.close()
        store["a"], store["new"] = "9", "9"
        del store["b"]
        store.compact()
        for steps in before:
            entries = [(entry.key, bytes(entry.value)) for entry in steps]
            self.assertEqual(entries, [(key, b"v" + key) for key in self.KEYS])
        self.assertEqual(self.keys(store.prefix("n")), [b"new"])
        self.assertRaises(maph.MisuseError, snapshot.range)

    def test_a_transaction_sees_its_own_writes(self):
        with self.store.transaction() as transaction:
            transaction["a/0"], transaction["a/2"] = "0", "2"
            del transaction["a/1"]
            now = transaction.prefix("a/")
            transaction["a/3"] = "3"
            inside = [(entry.key, entry.value) for entry in now]
            self.assertEqual(inside, [(b"a/0", b"0"), (b"a/2", b"2")])
            self.assertEqual(self.keys(transaction.prefix("a/3")), [b"a/3"])
            self.assertEqual(self.keys(self.store.prefix("a/")), [b"a/1", b"a/2"])
            with self.assertRaises(RuntimeError), transaction.savepoint():
                transaction["a/4"] = "4" * 5000
                undone = transaction.prefix("a/", reverse=True, views=True)
                held = next(undone).value
                raise RuntimeError
            self.assertRaises(maph.ConflictError, next, undone)
            self.assertRaises(maph.ConflictError, undone.previous)
            transaction["a/5"] = "5" * 5000
            self.assertEqual(bytes(held), b"4" * 5000)
            self.assertEqual(self.keys(transaction.prefix("a/")), [b"a/0", b"a/2", b"a/3", b"a/5"])
        self.assertEqual(self.keys(self.store.prefix("a/")), [b"a/0", b"a/2", b"a/3", b"a/5"])
        self.assertRaises(maph.MisuseError, transaction.range)

    def test_expired_entries_are_not_there(self):
        self.store.put("a/1", "gone", expires_at=1)
        self.assertEqual(self.keys(self.store.prefix("a/")), [b"a/2"])

    def test_it_closes(self):
        with self.store.range() as steps:
            next(steps)
        steps.close()
        for fails in [
            lambda: next(steps),
            steps.previous,
            lambda: steps.seek("a"),
            steps.estimate,
        ]:
            with self.assertRaisesRegex(maph.MisuseError, f"^{self.path}: the range is closed"):
                fails()
        left = self.store.range()
        opened = len(self.store._gate.opened)
        del left
        self.assertEqual(len(self.store._gate.opened), opened - 1)
        late = self.store.snapshot().range()
        self.store.close()
        self.assertRaisesRegex(maph.MisuseError, "the store is closed: open it", next, late)
        self.assertRaisesRegex(maph.MisuseError, "the store is closed", self.store.range)
        late.close()

    def test_what_it_takes(self):
        store = self.store
        for wrong in [
            lambda: store.range(1, 9),
            lambda: store.range("a", 9),
            lambda: store.range(prefix=None),
            lambda: store.prefix(None),
            lambda: store.prefix(1),
            lambda: store.range().seek(None),
        ]:
            self.assertRaisesRegex(TypeError, "keys and values are str or bytes, not ", wrong)
        self.assertRaisesRegex(TypeError, "limit is a whole number or None", store.range, limit="3")
        self.assertRaises(TypeError, store.prefix)
        self.assertRaises(TypeError, store.range, "a", "b", "c")
        self.assertEqual(self.keys(store.prefix("x" * 70000)), [])
        self.assertEqual(self.keys(store.prefix("")), self.KEYS)

    def test_as_many_keys_as_make_runs(self):
        keys = sorted(str(n * 7919 % 100003).encode() for n in range(20000))
        with maph.open(self.path + "-big", "c") as store:
            with store.transaction() as transaction:
                for n in range(20000):
                    transaction[str(n * 7919 % 100003)] = str(n)
            self.assertEqual(self.keys(store.range()), keys)
            self.assertEqual(self.keys(store.range(keys[9000], limit=50)), keys[9000:9050])
            self.assertEqual(len(list(store.range(keys[100], keys[200]))), 100)


class Lifetime(StoreTest):
    def test_a_view_is_the_file_and_keeps_it(self):
        self.store["k"] = "x" * 5000
        view = self.store.view("k")
        self.assertEqual(
            (view.readonly, view.format, view.nbytes, view.contiguous), (True, "B", 5000, True)
        )
        with self.assertRaises(TypeError):
            view[0] = 1
        self.store["k"] = "y"
        piece = view[10:20]
        del view
        for refused in [self.store.close, self.store.refresh]:
            with self.assertRaisesRegex(
                BufferError, f"^{self.path}: .*memoryviews of it are alive; release"
            ):
                refused()
        self.assertEqual((piece, self.store["k"], self.store.closed), (b"x" * 10, b"y", False))
        piece.release()
        del piece
        self.store.refresh()
        self.store.close()
        self.assertTrue(self.store.closed)

    def test_a_view_while_the_store_grows_is_rewritten_and_replaced(self):
        self.store["k"] = "x" * 5000
        views = [self.store.view("k"), maph.open(self.path).view("k")]
        for n in range(100):
            self.store[str(n)] = "y" * 100000
        self.store["k"] = "z"
        for _ in range(2):
            self.store.compact()
            self.store.optimize()
        with maph.open(self.path, "w") as other:
            other.clear()
            other.compact()
        maph.destroy(self.path)
        self.assertEqual([bytes(view) for view in views], [b"x" * 5000] * 2)
        with maph.open(self.path, "c") as another:
            another["k"] = "another"
        self.assertEqual([bytes(view) for view in views], [b"x" * 5000] * 2)

    def test_a_view_keeps_a_store_that_has_lost_its_name(self):
        with maph.open(self.path, "w") as store:
            store["k"] = "x" * 100000
        views = [
            maph.open(self.path).view("k"),
            maph.open(self.path).snapshot().view("k"),
            maph.open(self.path).view_many(["k"])[0],
            next(iter(maph.open(self.path).cursor(views=True))).value,
        ]
        gc.collect()
        self.assertTrue(all(bytes(view) == b"x" * 100000 for view in views))

    def test_the_file_is_unmapped_with_the_last_view(self):
        self.store["k"] = "x"
        path = os.path.realpath(self.path)

        def mapped():
            with open("/proc/self/maps") as maps:
                return sum(line.rstrip().endswith(path) for line in maps)

        self.close()
        self.assertEqual(mapped(), 0)
        view = maph.open(self.path).view("k")
        gc.collect()
        self.assertGreater(mapped(), 0)
        del view
        gc.collect()
        self.assertEqual(mapped(), 0)

    def test_leaving_the_with_block_while_a_view_is_alive(self):
        self.store["k"] = "x"
        with self.assertRaises(BufferError):
            with maph.open(self.path) as reader:
                view = reader.view("k")
        self.assertEqual(view, b"x")
        view.release()
        del view
        reader.close()

    def test_a_program_that_ends_with_a_view_is_quiet(self):
        self.store["k"] = "x"
        program = (
            "import maph, sys; store = maph.open(sys.argv[1]); view = store.view('k');"
            "print(bytes(view))"
        )
        done = subprocess.run(
            [sys.executable, "-c", program, self.path],
            capture_output=True,
            text=True,
            env={**os.environ, "PYTHONPATH": PACKAGES},
        )
        self.assertEqual((done.returncode, done.stdout, done.stderr), (0, "b'x'\n", ""))

    def test_empty_values_pin_nothing(self):
        self.store["k"] = ""
        view = self.store.view("k")
        self.store.close()
        self.assertEqual(bytes(view), b"")

    def test_closing_closes_what_is_open(self):
        self.store.update({str(n): "v" for n in range(10)})
        snapshot, cursor, transaction = (
            self.store.snapshot(),
            self.store.cursor(),
            self.store.transaction(),
        )
        inner, keys = snapshot.cursor(), iter(self.store)
        next(cursor), next(keys)
        transaction["lost"] = "1"
        self.store.close()
        self.store.close()
        for fails in [
            lambda: snapshot["1"],
            lambda: next(cursor),
            lambda: next(inner),
            lambda: next(keys),
            lambda: transaction.put("a", "b"),
            transaction.commit,
            lambda: self.store["1"],
            lambda: self.store.put("a", "b"),
            self.store.refresh,
            self.store.snapshot,
            lambda: len(self.store),
            self.store.sync,
        ]:
            with self.assertRaisesRegex(
                maph.MisuseError, f"^{self.path}: the store is closed: open it again"
            ):
                fails()
        for closes in [snapshot.close, cursor.close, transaction.abort]:
            closes()
        self.store = maph.open(self.path)
        self.assertNotIn("lost", self.store)

    def test_refresh_follows_another_file(self):
        self.store["k"] = "old"
        with maph.open(self.path) as reader:
            self.assertEqual(reader["k"], b"old")
            with self.store.snapshot() as snapshot:
                reader.refresh()
                self.assertEqual((reader["k"], snapshot["k"]), (b"old", b"old"))

    def test_readers_and_a_thread_that_refreshes_and_closes(self):
        self.store.update({str(n): str(n) for n in range(100)})
        reader, failures, closed = maph.open(self.path), [], threading.Event()

        def read():
            try:
                while True:
                    for n in range(100):
                        if (
                            reader[str(n)] != str(n).encode()
                            or len(list(reader.snapshot().cursor("1"))) != 11
                        ):
                            failures.append(n)
            except maph.MisuseError:
                if not closed.is_set():
                    failures.append("closed early")
            except Exception as error:
                failures.append(error)

        threads = [threading.Thread(target=read) for _ in range(4)]
        for thread in threads:
            thread.start()
        for _ in range(50):
            reader.refresh()
        closed.set()
        reader.close()
        for thread in threads:
            thread.join()
        self.assertEqual(failures, [])

    def test_writing_threads(self):
        def write(me):
            for n in range(100):
                with self.store.transaction() as transaction:
                    transaction["n"] = str(int(transaction.get("n", b"0")) + 1)
                self.store[f"{me}-{n}"] = "v"

        threads = [threading.Thread(target=write, args=(me,)) for me in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        self.assertEqual((self.store["n"], len(self.store)), (b"400", 401))

    def told_in_the_child(self, view, snapshot, cursor, steps):
        status = 0
        for fails in [
            lambda: self.store["k"],
            lambda: self.store.put("a", "b"),
            lambda: snapshot["k"],
            lambda: next(cursor),
            lambda: next(steps),
            self.store.transaction,
            self.store.refresh,
        ]:
            try:
                fails()
                status = 1
            except maph.MisuseError as error:
                status |= 2 * (
                    f"{self.path}: a store does not cross fork(): open it in the child"
                    != str(error)
                )
        for closes in [steps.close, cursor.close, snapshot.close, self.store.close]:
            closes()
        with maph.open(self.path) as mine:
            return status | 4 * (mine["k"] != view or bytes(view) != b"v" * 1000)

    def test_a_child_of_a_program_whose_threads_use_the_store(self):
        """Whatever the threads hold when the child is made, the child is told, waits for nobody,
        and its views go on."""
        self.store["k"] = "v" * 1000
        view, snapshot, cursor, steps, stop = (
            self.store.view("k"),
            self.store.snapshot(),
            self.store.cursor(),
            self.store.range(),
            threading.Event(),
        )

        def work():
            while not stop.is_set():
                self.store["c"] = "x"
                with self.store.snapshot() as now, now.cursor() as all_of_it:
                    snapshot["k"], list(all_of_it), list(now.range())

        threads = [threading.Thread(target=work) for _ in range(4)]
        for thread in threads:
            thread.start()
        children = []
        for _ in range(30):
            child = fork()
            if child == 0:
                signal.alarm(60)
                status = 8
                try:
                    status = self.told_in_the_child(view, snapshot, cursor, steps)
                finally:
                    os._exit(status)
            children.append(os.waitpid(child, 0)[1])
        stop.set()
        for thread in threads:
            thread.join()
        self.assertEqual((children, bytes(view)), ([0] * 30, b"v" * 1000))
        snapshot.close()

    def test_a_child_of_fork_may_only_close(self):
        self.store["k"] = "v"
        child = fork()
        if child == 0:
            status = 1
            try:
                self.store["k"]
            except maph.MisuseError:
                self.store.close()
                status = 0
            finally:
                os._exit(status)
        self.assertEqual(os.waitpid(child, 0)[1], 0)
        self.assertEqual(self.store["k"], b"v")


class Interrupts(StoreTest):
    """A handler of signals that raises, as that of Ctrl-C does: what was being done ends, and
    nothing stays marked, locked or open."""

    def setUp(self):
        super().setUp()
        for place, name, value in [
            (maph.gate, "GRACE", 0),
            (sys, "unraisablehook", lambda _: None),
        ]:
            self.addCleanup(setattr, place, name, getattr(place, name))
            setattr(place, name, value)
        self.store["k"] = "v"
        self.other = maph.open(self.path, "w", busy_timeout=0)
        self.addCleanup(self.other.close)
        self.held = self.store.snapshot()
        self.cursor = self.held.cursor()

    def work(self):
        store, held = self.store, self.held
        store["k"] = "v"
        store["k"], store.get("none"), store.entry("k"), store.view("k"), store.get_many(
            ["k"]
        ), "k" in store, store.stats()
        held["k"], held.entry("k"), held.view("k"), len(held), self.cursor.tell()
        with store.snapshot() as snapshot, snapshot.cursor(views=True) as cursor:
            list(cursor)
        with held.range("k") as steps:
            next(steps), steps.previous(), steps.seek("k"), steps.estimate()
        with store.transaction() as transaction:
            transaction["a"] = "1"
            list(transaction.prefix("a"))
            with transaction.savepoint(), transaction.snapshot() as inside:
                inside["a"], transaction["a"], transaction.version
        with store.changes(since=held.version, timeout=0) as changes:
            next(changes), changes.version
        store.refresh()

    def comes_through(self, work, places):
        """Whether it does when interrupted at the place after so many: where a function begins, or
        after a call of one written in C."""

        def look(frame, event, argument):
            nonlocal places
            if event in ("call", "c_return"):
                places -= 1
                if places < 0:
                    raise KeyboardInterrupt

        try:
            sys.setprofile(look)
            work()
            return True
        except KeyboardInterrupt:
            return False
        finally:
            sys.setprofile(None)

    def is_well(self):
        """Nobody is in a call, nobody holds the writer's lock, and no turn is taken: so another
        thread sees it."""
        said = []

        def look():
            try:
                self.store.refresh()
                self.other["k"] = "w"
                said.append((self.held["k"], self.cursor.tell() > 0))
            except Exception as error:
                said.append(error)

        thread = threading.Thread(target=look, daemon=True)
        thread.start()
        thread.join(60)
        self.assertEqual(said, [(b"v", True)])

    def test_at_every_beginning_of_a_function_and_after_every_call(self):
        places = 0
        while not self.comes_through(self.work, places):
            self.is_well()
            places += 1
        self.assertGreater(places, 200 if maph.compiled else 300)
        self.is_well()

    def test_closing_at_every_such_place(self):
        for places in itertools.count():
            store = maph.open(self.path, "w")
            kept = [store.snapshot(), store.cursor(), store.transaction()]
            done = self.comes_through(store.close, places)
            if not store.closed:
                self.assertEqual(store["k"], b"v")
            store.close()
            self.other["k"] = "v"
            self.assertEqual((store.closed, len(kept)), (True, 3))
            if done:
                break
        self.assertGreater(places, 5)

    def test_a_rewrite_ends(self):
        """Python sees a signal as the function that tells of the progress begins, whether somebody
        asked for it or not."""

        def look(frame, event, argument):
            if event == "call" and frame.f_code.co_name == "call":
                raise KeyboardInterrupt

        for progress in [(), (lambda *_: False,)]:
            for rewrite in [
                self.store.compact,
                self.store.optimize,
                lambda *progress: self.store.backup(self.path + "-copy", *progress),
            ]:
                with self.assertRaises(KeyboardInterrupt):
                    try:
                        sys.setprofile(look)
                        rewrite(*progress)
                    finally:
                        sys.setprofile(None)
                self.is_well()
                pathlib.Path(self.path + "-copy").unlink(missing_ok=True)
        said = []
        sys.unraisablehook = said.append
        self.store.compact()
        self.assertIs(sys.unraisablehook.__self__, said)

    @unittest.skipIf(
        sys.version_info < (3, 11),
        "Python 3.10 looks at signals where nothing can be done about it",
    )
    def test_by_signals(self):
        fired = False

        def ring(*_):
            nonlocal fired
            fired = True
            raise KeyboardInterrupt

        def work_until_it_rings(delay):
            signal.setitimer(signal.ITIMER_REAL, delay)
            while not fired:
                self.work()

        self.addCleanup(signal.signal, signal.SIGALRM, signal.signal(signal.SIGALRM, ring))
        for n in range(400):
            fired = False
            try:
                work_until_it_rings(1e-5 * (1 + n))
            except KeyboardInterrupt:
                pass
            self.is_well()


class Keeping(StoreTest):
    def test_stats_sync_check(self):
        self.store.update({str(n): "v" for n in range(100)})
        stats = self.store.stats()
        self.assertEqual((stats["records"], stats["generation"], len(stats["uuid"])), (100, 1, 36))
        self.store.sync()
        self.assertEqual(self.store.check(), [])

    def test_damage_is_reported_and_recovered(self):
        self.store.update({str(n): "v" * 100 for n in range(1000)})
        self.store.close()
        with open(self.path, "r+b") as file:
            data = file.read()
            file.seek(data.index(b"v" * 100) + 50)
            file.write(b"X")
        with maph.open(self.path) as damaged:
            problems = damaged.check()
            self.assertTrue(problems and problems[0].offset > 0 and problems[0].sentence)
        self.assertTrue(maph.recover(self.path))
        with maph.open(self.path, "w") as store:
            self.assertEqual(store.check(), [])

    def needs(self, function):
        found = subprocess.run(
            ["nm", "-D", "--defined-only", os.environ["MAPH_LIBRARY"]],
            capture_output=True,
            text=True,
        ).stdout
        if not re.search(rf"\b{function}\b", found):
            self.skipTest(f"needs a libmaph with {function}")

    def test_a_library_without_a_function_says_so(self):
        from maph.library import _missing

        with self.assertRaisesRegex(NotImplementedError, "old.so has no maph_new"):
            _missing("old.so", "maph_new")(1, 2)

    def test_rewrites(self):
        self.needs("maph_optimize")
        for n in range(10):
            self.store.update({str(key): str(n) * 100 for key in range(1000)})
        phases = set()
        done = self.store.compact(lambda phase, *_: phases.add(phase))
        self.assertLess(done["bytes_after"], done["bytes_before"])
        self.assertEqual(done["records"], 1000)
        self.assertEqual(self.store.optimize()["frozen_keys"], 1000)
        self.store.backup(self.path + "-copy")
        self.assertRaises(maph.ExistsError, lambda: self.store.backup(self.path + "-copy"))
        with maph.open(self.path + "-copy") as copy:
            self.assertEqual(dict(copy), dict(self.store))

    def test_progress_that_raises_stops_the_rewrite(self):
        self.needs("maph_compact")
        self.store.update({str(key): "v" * 1000 for key in range(1000)})

        def fail(*_):
            raise RuntimeError("stop")

        try:
            self.store.compact(fail)
        except RuntimeError as error:
            self.assertEqual(str(error), "stop")
        self.assertEqual((len(self.store), self.store.check()), (1000, []))

    def test_changes(self):
        self.needs("maph_changes_open")
        self.store["a"] = "1"
        with self.store.transaction() as transaction:
            transaction["b"] = "2"
            del transaction["a"]
        with self.store.changes(since=0, timeout=0) as changes:
            self.assertEqual(
                [(one.entry.key, one.entry.value, one.deleted, one.last) for one in changes],
                [(b"a", b"1", False, True), (b"b", b"2", False, False), (b"a", b"", True, True)],
            )
            self.store["c"] = "3"
            self.assertEqual([one.entry.key for one in changes], [b"c"])
            self.assertEqual(changes.version, self.store.stats()["version"])
        with self.store.changes() as changes:
            thread = threading.Thread(target=self.store.put, args=("d", "4"))
            thread.start()
            self.assertEqual(next(changes).entry.key, b"d")
            thread.join()


class Errors(unittest.TestCase):
    def test_every_code_of_the_header_has_its_exception(self):
        header = (TOP / "core" / "maph.h").read_text()
        enum = re.search(r"MAPH_OK\s*=\s*0,.*?\};", header, re.S).group(0)
        codes = {name: int(number) for name, number in re.findall(r"MAPH_(\w+)\s*=\s*(\d+)", enum)}
        self.assertGreater(len(codes), 14)
        del codes["OK"]
        from maph.errors import CODES

        self.assertEqual({kind.__name__[:-5].upper(): code for code, kind in CODES.items()}, codes)

    def test_sentences_name_the_file(self):
        with self.assertRaisesRegex(maph.CantOpenError, "/no/such.maph"):
            maph.open("/no/such.maph")


class Layout(unittest.TestCase):
    def test_structs_are_those_of_the_header(self):
        from maph.library import STRUCTS

        makefile = (TOP / "Makefile").read_text()
        compiler = re.search(r"^CC\s*=\s*(.*)$", makefile, re.M).group(1).split()
        lines, want = [], []
        for name, struct in STRUCTS:
            lines.append(f'printf("%zu\\n", sizeof({name}));')
            want.append(__import__("ctypes").sizeof(struct))
            for field, *_ in struct._fields_:
                lines.append(
                    f'printf("%zu %zu\\n", offsetof({name}, {field}), '
                    f'sizeof((({name}*)0)->{field}));'
                )
                want.append((getattr(struct, field).offset, getattr(struct, field).size))
        with tempfile.TemporaryDirectory() as folder:
            source = os.path.join(folder, "layout.c")
            with open(source, "w") as file:
                file.write(
                    '#include <stdio.h>\n#include "maph.h"\nint main(void){\n'
                    + "\n".join(lines)
                    + "\nreturn 0; }\n"
                )
            subprocess.run([*compiler, "-I", TOP / "core", "-o", source[:-2], source], check=True)
            said = subprocess.run([source[:-2]], check=True, capture_output=True, text=True).stdout
        got = [
            tuple(map(int, line.split())) if " " in line else int(line)
            for line in said.splitlines()
        ]
        self.assertEqual(got, want)

    def test_functions_are_declared_in_the_header(self):
        from maph.library import FUNCTIONS

        header = (TOP / "core" / "maph.h").read_text()
        for name, _, arguments in FUNCTIONS:
            found = re.search(rf"MAPH_API [\w *]*\b{name}\((.*?)\);", header, re.DOTALL)
            self.assertIsNotNone(found, name)
            declared = 0 if found.group(1) == "void" else found.group(1).count(",") + 1
            self.assertEqual(len(arguments), declared, name)


class Loading(unittest.TestCase):
    def load(self, **environment):
        return subprocess.run(
            [sys.executable, "-c", "import maph; print(maph.library_version)"],
            capture_output=True,
            text=True,
            cwd="/",
            env={**os.environ, "PYTHONPATH": PACKAGES, **environment},
        )

    def test_a_library_that_is_not_there(self):
        self.assertRegex(
            self.load(MAPH_LIBRARY="/no/libmaph.so.0").stderr,
            "ImportError: maph needs libmaph.so.0",
        )

    def test_where_the_loader_finds_it(self):
        self.assertEqual(
            self.load(MAPH_LIBRARY="", LD_LIBRARY_PATH=str(BUILD)).stdout.strip(),
            maph.library_version,
        )


if __name__ == "__main__":
    unittest.main()
