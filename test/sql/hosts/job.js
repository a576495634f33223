// The job of sql_hosts.test, by node:sqlite or better-sqlite3: job.js EXTENSION MODULE
const [extension, module_] = process.argv.slice(2);

function connect() {
  let db;
  if (module_ === 'node:sqlite') {
    const { DatabaseSync } = require('node:sqlite');
    db = new DatabaseSync('shop.db', { allowExtension: true });
  } else {
    const Database = require(module_);
    db = new Database('shop.db');
  }
  db.loadExtension(extension);
  return db;
}

let db = connect();
db.exec("CREATE VIRTUAL TABLE kv USING maph('shop.maph')");
db.exec('CREATE TABLE names(id TEXT PRIMARY KEY, name TEXT)');
db.exec('BEGIN');
const insert = db.prepare('INSERT INTO kv(key, value) VALUES(?, CAST(? AS INTEGER))');
insert.run('a', 1);
const rows = [['b', 2.5], ['c', 'text'], ['d', null], ['e', Buffer.from([0, 255])]];
const other = db.prepare('INSERT INTO kv(key, value) VALUES(?, ?)');
for (const row of rows) other.run(...row);
db.exec("INSERT INTO names VALUES('c', 'sea')");
db.exec('COMMIT');
db.exec('BEGIN');
db.exec('DELETE FROM kv');
db.exec('ROLLBACK');
console.log('undone');
const update = db.prepare('UPDATE kv SET value = ? WHERE key = ?').run('changed', 'c');
console.log(Number(update.changes));
const query = 'SELECT key, typeof(value) AS t, quote(value) AS q FROM kv ORDER BY key';
for (const { key, t, q } of db.prepare(query).all()) console.log([key, t, q].join('|'));
console.log(db.prepare('SELECT name, value FROM names JOIN kv ON key = id').get().name);
try {
  db.exec("INSERT INTO kv VALUES('a', 1)");
} catch (error) {
  console.log(/UNIQUE constraint/.test(error.message) ? 'constraint' : error.message);
}
db.close();
db = connect();
const count = 'SELECT count(*) AS n FROM kv WHERE key BETWEEN ? AND ?';
console.log(db.prepare(count).get('b', 'd').n);
console.log(db.prepare("SELECT maph_get('shop.maph', 'c') AS v").get().v);
