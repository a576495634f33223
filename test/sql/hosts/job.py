# The job of sql_hosts.test, by Python's sqlite3: job.py EXTENSION
import sqlite3
import sys


def connect():
    db = sqlite3.connect("shop.db")
    db.enable_load_extension(True)
    db.load_extension(sys.argv[1])
    db.enable_load_extension(False)
    return db


db = connect()
db.execute("CREATE VIRTUAL TABLE kv USING maph('shop.maph')")
db.execute("CREATE TABLE names(id TEXT PRIMARY KEY, name TEXT)")
with db:
    rows = [("a", 1), ("b", 2.5), ("c", "text"), ("d", None), ("e", b"\0\xff")]
    db.executemany("INSERT INTO kv(key, value) VALUES(?, ?)", rows)
    db.execute("INSERT INTO names VALUES('c', 'sea')")
try:
    with db:
        db.execute("DELETE FROM kv")
        raise RuntimeError("undone")
except RuntimeError as error:
    print(error)
with db:
    print(db.execute("UPDATE kv SET value = ? WHERE key = ?", ("changed", "c")).rowcount)
for row in db.execute("SELECT key, typeof(value), quote(value) FROM kv ORDER BY key"):
    print("|".join(row))
print(db.execute("SELECT name, value FROM names JOIN kv ON key = id").fetchone()[0])
try:
    with db:
        db.execute("INSERT INTO kv VALUES('a', 1)")
except sqlite3.IntegrityError:
    print("constraint")
db.close()
db = connect()
print(db.execute("SELECT count(*) FROM kv WHERE key BETWEEN ? AND ?", ("b", "d")).fetchone()[0])
print(db.execute("SELECT maph_get('shop.maph', 'c')").fetchone()[0])
