# The job of sql_hosts.test, by Ruby's sqlite3: job.rb EXTENSION
require "sqlite3"

def connect
  db = SQLite3::Database.new("shop.db")
  db.enable_load_extension(true)
  db.load_extension(ARGV[0])
  db.enable_load_extension(false)
  db
end

db = connect
db.execute("CREATE VIRTUAL TABLE kv USING maph('shop.maph')")
db.execute("CREATE TABLE names(id TEXT PRIMARY KEY, name TEXT)")
db.transaction do
  rows = [["a", 1], ["b", 2.5], ["c", "text"], ["d", nil], ["e", SQLite3::Blob.new("\x00\xff".b)]]
  db.prepare("INSERT INTO kv(key, value) VALUES(?, ?)") do |insert|
    rows.each { |row| insert.execute(row) }
  end
  db.execute("INSERT INTO names VALUES('c', 'sea')")
end
begin
  db.transaction do
    db.execute("DELETE FROM kv")
    raise "undone"
  end
rescue RuntimeError => error
  puts error.message
end
db.execute("UPDATE kv SET value = ? WHERE key = ?", ["changed", "c"])
puts db.changes
db.execute("SELECT key, typeof(value), quote(value) FROM kv ORDER BY key") do |row|
  puts row.join("|")
end
puts db.get_first_value("SELECT name, value FROM names JOIN kv ON key = id")
begin
  db.execute("INSERT INTO kv VALUES('a', 1)")
rescue SQLite3::ConstraintException
  puts "constraint"
end
db.close
db = connect
puts db.get_first_value("SELECT count(*) FROM kv WHERE key BETWEEN ? AND ?", ["b", "d"])
puts db.get_first_value("SELECT maph_get('shop.maph', 'c')")
