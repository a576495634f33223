<?php
# The job of sql_hosts.test, by PHP's SQLite3: php -d sqlite3.extension_dir=FOLDER job.php NAME
function connect() {
  $db = new SQLite3('shop.db');
  $db->enableExceptions(true);
  $db->loadExtension($GLOBALS['argv'][1]);
  return $db;
}

$db = connect();
$db->exec("CREATE VIRTUAL TABLE kv USING maph('shop.maph')");
$db->exec('CREATE TABLE names(id TEXT PRIMARY KEY, name TEXT)');
$db->exec('BEGIN');
$insert = $db->prepare('INSERT INTO kv(key, value) VALUES(?, ?)');
foreach ([['a', 1], ['b', 2.5], ['c', 'text'], ['d', null], ['e', "\0\xff"]] as [$key, $value]) {
  $insert->bindValue(1, $key);
  if ($key === 'e') {
    $insert->bindValue(2, $value, SQLITE3_BLOB);
  } else {
    $insert->bindValue(2, $value);
  }
  $insert->execute();
  $insert->reset();
}
$db->exec("INSERT INTO names VALUES('c', 'sea')");
$db->exec('COMMIT');
$db->exec('BEGIN');
$db->exec('DELETE FROM kv');
$db->exec('ROLLBACK');
echo "undone\n";
$update = $db->prepare('UPDATE kv SET value = :value WHERE key = :key');
$update->bindValue(':value', 'changed');
$update->bindValue(':key', 'c');
$update->execute();
echo $db->changes(), "\n";
$rows = $db->query('SELECT key, typeof(value), quote(value) FROM kv ORDER BY key');
while ($row = $rows->fetchArray(SQLITE3_NUM)) echo implode('|', $row), "\n";
echo $db->querySingle('SELECT name, value FROM names JOIN kv ON key = id'), "\n";
try {
  $db->exec("INSERT INTO kv VALUES('a', 1)");
} catch (Exception $error) {
  echo $db->lastErrorCode() === 19 ? "constraint\n" : $error->getMessage() . "\n";
}
$db->close();
$db = connect();
$count = $db->prepare('SELECT count(*) FROM kv WHERE key BETWEEN ? AND ?');
$count->bindValue(1, 'b');
$count->bindValue(2, 'd');
echo $count->execute()->fetchArray(SQLITE3_NUM)[0], "\n";
echo $db->querySingle("SELECT maph_get('shop.maph', 'c')"), "\n";
