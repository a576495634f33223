# golden.tcl - make test/data/golden-1.maph: build/maphtest test/support/golden.tcl FILE
#
# Every kind of record, small, the same bytes on every machine: random numbers and time come from
# hooks, and the words that name this machine are cleared.  A file of a release is never made again:
# a change of the format gets a file of its own beside it.
lassign $argv file
maph_hook random 20240229
maph_hook now_ns 1709164800000000000
file delete $file $file.lock

set m [maph open $file -durability off]
proc transaction {script} {
  set ::t [$::m begin]
  eval $script
  $::t commit
}
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
$m close

# A power loss: what follows begins with an epoch.
proc patch {file offset bytes} {
  set f [open $file r+b]
  seek $f $offset
  puts -nonewline $f $bytes
  close $f
}
patch $file 384 [binary format w 3]
maph_hook boot 1
# The library that made it first had drawn more numbers for the marks of its writers by now.
maph_hook random -2607761164216552351
set m [maph open $file -durability off]
$m put after-the-epoch 1
# Enough keys that the index splits.
transaction {for {set i 0} {$i<1700} {incr i} {$::t put s$i $i}}
$m delete "\0\xff\r\n"
$m close
# Boot, place, lock file and mount are of this machine.
patch $file 392 [string repeat \0 40]
patch $file 440 [string repeat \0 8]
file delete $file.lock
