# golden.tcl - make test/data/golden-N.maph: build/maphtest test/support/golden.tcl FILE ?N?
#
#   1  every kind of record, and a recovery
#   2  keys in order: runs of several sizes, before and after a recovery, and keys that none has yet
#   3  versions that are given, in a rewritten file, and a recovery
#   4  index pieces behind the end of the log, and a checkpoint that says so
#   5  a perfect hash, records of one size, in their long form
#   6  a perfect hash, records of many kinds, in their long form
#   7  a perfect hash, records of one size, in their short form
#   8  a perfect hash, records of many kinds, in their short form
#   9  keys in order, as 2, in narrow leaves
#  10  a perfect hash, as 7, and keys in order in dense leaves
#  11  keys in order, as 2, but compacted, in dense leaves, and then written to
#
# Every kind of record, small, the same bytes on every machine: random numbers and time come from
# hooks, and the words that name this machine are cleared.  A file of a release is never made again:
# a change of the format gets a file of its own beside it.  How many runs there are, and how large,
# is not of the format: 2 to 4, 9 and 11 come out otherwise where the library makes other ones.
# 2 to 4, 7 and 8 are what the library made before it knew narrow leaves, 5 and 6 before it knew the
# short form too; now it makes 9 of the same as 2, and 10 of the same as 5 and 7.
lassign [concat $argv 1] file which
maph_hook random 20240229
maph_hook now_ns 1709164800000000000
file delete $file $file.lock

proc transaction {script} {
  set ::t [$::m begin]
  uplevel 1 $script
  $::t commit
}
proc patch {file offset bytes} {
  set f [open $file r+b]
  seek $f $offset
  puts -nonewline $f $bytes
  close $f
}
# A power loss: what follows begins with an epoch.
proc lose_power {{random {}}} {
  $::m close
  patch $::file 384 [binary format w 3]
  maph_hook boot [incr ::boots]
  if {$random ne {}} {maph_hook random $random}
  set ::m [maph open $::file -durability off]
}

proc make_records {} {
  global m file
  set m [maph open $file -durability off]
  foreach n {1 2 3 4 8 9 16 17 64 129 241 1100} {$m put [string repeat k $n] "value of $n"}
  $m put empty {}
  $m put "\0\xff\r\n" "\0binary\xff"
  foreach {type value} {blob b text {text in UTF-8} json {{"a":[1,2,null]}} integer -42 real 2.5 \
      null {}} {
    $m put_if type-$type $value -type $type -key_is_text 1
  }
  $m put_if typed-and-dated [string repeat 0123456789 30] -type json -expires 4102444800000 \
      -media_type application/json
  $m put_if expired gone -expires 1000000000000
  $m put_if media x -media_type text/plain
  transaction {for {set i 0} {$i<4} {incr i} {$::t put several $i}; $::t delete several; $::t put\
      several last}
  transaction {$::t put kept 1; $::t savepoint 0; $::t put rolled-back 1; $::t rollback_to 0}
  $m put changed before
  $m put changed after
  $m put deleted soon
  $m delete deleted
  $m put again 1
  $m delete again
  $m put again 2

  # A decided transaction that was aborted leaves a pad.
  set t [$m begin full]
  $t put aborted 1
  $t prepare
  $t abort
  $m put after-the-pad 1
  # The library that made it first had drawn more numbers for the marks of its writers by now.
  lose_power -2607761164216552351
  $m put after-the-epoch 1
  # Enough keys that the index splits.
  transaction {for {set i 0} {$i<1700} {incr i} {$::t put s$i $i}}
  $m delete "\0\xff\r\n"
}

# Keys that share much, that begin with each other, with bytes of all kinds, of one prefix alone.
proc ordered_key {i} {
  set n [expr {$i*2654435761 & 0xffffffff}]
  switch [expr {$i%5}] {
    0 {return [format user/%08x/profile $n]}
    1 {return [format user/%08x $n]}
    2 {return [binary format IS $n $i]}
    3 {return [string repeat shared-by-many- 3][format %08x $n]}
    4 {return [format %x $n]}
  }
}
proc make_order {} {
  global m file
  set m [maph open $file -durability off]
  foreach key {a ab abc a\0 a\0\0 a\0b b \xff \xff\xff} {
    $m put $key "value of [string length $key]"
  }
  for {set i 0} {$i<700} {incr i} {$m put [ordered_key $i] $i}
  $m tidy
  # Neither adds an entry, and what is deleted keeps its own.
  for {set i 0} {$i<700} {incr i 7} {$m put [ordered_key $i] again}
  for {set i 3} {$i<700} {incr i 11} {$m delete [ordered_key $i]}
  for {set i 700} {$i<800} {incr i} {$m put [ordered_key $i] $i}
  $m put_if expired/1 gone -expires 1000000000000
  $m put_if expired/2 later -expires 4102444800000
  lose_power
  for {set i 800} {$i<860} {incr i} {$m put [ordered_key $i] $i}
  transaction {for {set i 860} {$i<880} {incr i} {$::t put [ordered_key $i] $i}}
  set t [$m begin]
  $t put aborted 1
  $t abort
  $m delete [ordered_key 801]
  $m put [ordered_key 3] {there again}
  # Of these there is no run yet.
  foreach key {tail/1 a/tail tail/2} {$m put $key tail}
}

proc at {version script} {
  $::t at $version
  uplevel 1 $script
}
proc make_given {} {
  global m file
  set m [maph open $file -durability off -versions given \
      -uuid [binary format H* 00112233445566778899aabbccddeeff]]
  transaction {
    for {set i 0} {$i<120} {incr i} {at [expr {1000+3*$i}] {$::t put key-$i $i}}
    at 1500 {}
  }
  transaction {at 1510 {$::t put_if passed 1 -expires 1000000000000}}
  $m compact
  # Each record has its own version, and the transaction one above.
  transaction {
    at 2000 {$::t put key-7 seven}
    at 2001 {$::t delete key-8}
    at 2001 {$::t put later 1}
    at 2100 {}
  }
  transaction {at 2200 {}}
  transaction {at 2300 {$::t put_if typed {{"a":1}} -type json -key_is_text 1}}
  for {set i 0} {$i<40} {incr i} {
    transaction {at [expr {5000000000+$i}] {$::t put more-$i $i}}
  }
  $m tidy
  lose_power
  transaction {at 5000000100 {$::t put after-the-epoch 1; $::t delete more-1}}
  lose_power
  for {set i 0} {$i<9} {incr i} {
    transaction {at [expr {6000000000+2*$i}] {$::t put last-$i $i}}
  }
}

proc frozen_key {i} {format key-%06d [expr {$i*7919%1000000}]}
proc make_frozen {mixed} {
  global m file
  set m [maph open $file -durability off]
  $m put [frozen_key 0] [format %020d 0]
  for {set n 1} {$n<4} {incr n} {
    transaction {
      for {set i [expr {$n*50-50}]} {$i<$n*50} {incr i} {
        set value [string repeat $i, [expr {$i*$i%90}]]
        $::t put [frozen_key $i] [if {$mixed} {set value} else {format "value %014d" $i}]
      }
    }
  }
  if {$mixed} {
    foreach {type value} {blob b text {text in UTF-8} json {{"a":[1,2]}} integer -42 real 2.5 \
        null {}} {
      $m put_if type-$type $value -type $type -key_is_text 1
    }
    $m put_if dated x -expires 4102444800000
    $m put_if typed {<p>} -media_type text/html
    $m put_if typed-and-dated {[]} -type json -expires 4102444800000 -media_type application/json
    $m put [string repeat k 300] {a long key}
    $m put large [string repeat L 5000]
  }
  $m optimize
  for {set i 0} {$i<150} {incr i 11} {$m put [frozen_key $i] changed}
  for {set i 5} {$i<150} {incr i 13} {$m delete [frozen_key $i]}
  $m delete [frozen_key 22]
  $m put [frozen_key 5] {there again}
  for {set i 0} {$i<30} {incr i} {$m put later-$i $i}
  lose_power
  for {set i 7} {$i<150} {incr i 17} {$m put [frozen_key $i] {changed again}}
  transaction {
    $::t put [frozen_key 1] one
    $::t delete [frozen_key 1]
    $::t put [frozen_key 2] two
  }
}
proc make_dense {} {
  global m
  make_order
  maph_hook leaf 100
  $m compact
  maph_hook leaf 8
  for {set i 900} {$i<940} {incr i} {$m put [ordered_key $i] [string repeat . [expr {$i%90}]]}
  $m tidy
  lose_power
  for {set i 940} {$i<970} {incr i} {$m put [ordered_key $i] $i}
  for {set i 905} {$i<930} {incr i 3} {$m delete [ordered_key $i]}
  $m put tail/3 tail
}
proc make_spaces {} {
  global m file
  set m [maph open $file -durability off]
  for {set i 0} {$i<40} {incr i} {$m put [ordered_key $i] $i}
  $m tidy
}

switch $which {
  1 make_records
  2 - 9 {
    maph_hook leaf 8
    make_order
  }
  3 {
    maph_hook leaf 4
    make_given
  }
  4 {
    maph_hook leaf 8
    make_spaces
  }
  11 {
    maph_hook leaf 8
    make_dense
  }
  5 - 7 - 10 {make_frozen 0}
  6 - 8 {make_frozen 1}
}
$m close
# Boot, place, lock file and mount are of this machine.
patch $file 392 [string repeat \0 40]
patch $file 440 [string repeat \0 8]
file delete $file.lock
