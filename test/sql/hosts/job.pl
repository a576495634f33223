# The job of sql_hosts.test, by Perl's DBD::SQLite: job.pl EXTENSION
use strict;
use warnings;
use DBI qw(:sql_types);

sub connected {
  my $db = DBI->connect("dbi:SQLite:dbname=shop.db", "", "", {RaiseError => 1, PrintError => 0});
  $db->sqlite_enable_load_extension(1);
  $db->sqlite_load_extension($ARGV[0]);
  return $db;
}

my $db = connected();
$db->do("CREATE VIRTUAL TABLE kv USING maph('shop.maph')");
$db->do("CREATE TABLE names(id TEXT PRIMARY KEY, name TEXT)");
$db->begin_work;
my $insert = $db->prepare("INSERT INTO kv(key, value) VALUES(?, ?)");
for (["a", 1, SQL_INTEGER], ["b", 2.5, SQL_DOUBLE], ["c", "text", SQL_VARCHAR],
     ["d", undef, SQL_VARCHAR], ["e", "\0\xff", SQL_BLOB]) {
  my ($key, $value, $type) = @$_;
  $insert->bind_param(1, $key);
  $insert->bind_param(2, $value, $type);
  $insert->execute;
}
$db->do("INSERT INTO names VALUES('c', 'sea')");
$db->commit;
$db->begin_work;
$db->do("DELETE FROM kv");
$db->rollback;
print "undone\n";
print $db->do("UPDATE kv SET value = ? WHERE key = ?", undef, "changed", "c"), "\n";
my $rows = $db->selectall_arrayref("SELECT key, typeof(value), quote(value) FROM kv ORDER BY key");
print join("|", @$_), "\n" for @$rows;
print $db->selectrow_array("SELECT name FROM names JOIN kv ON key = id"), "\n";
eval { $db->do("INSERT INTO kv VALUES('a', 1)") };
print $db->err == 19 ? "constraint\n" : $@;
undef $insert;
$db->disconnect;
$db = connected();
my $count = "SELECT count(*) FROM kv WHERE key BETWEEN ? AND ?";
print $db->selectrow_array($count, undef, "b", "d"), "\n";
print $db->selectrow_array("SELECT maph_get('shop.maph', 'c')"), "\n";
