# tester.tcl - what every test file stands on.  A file begins with
#     source [file dirname [info script]]/support/tester.tcl
# and ends with
#     finish_test
#
#   do_test NAME SCRIPT EXPECTED
#       The script's result is EXPECTED; /RE/ matches, ~/RE/ does not match.
#   do_error_test NAME SCRIPT CODE ?RE?
#       The script fails with that maph code (NOTFOUND ...) and a sentence matching RE.
#   do_execsql_test NAME SQL EXPECTED
#       On the connection "db".
#   do_catchsql_test NAME SQL EXPECTED
#       {0 RESULT} or {1 MESSAGE}.
#   do_fault_test NAME ERRNO PATTERN PREPARE SCRIPT CHECK
#       SCRIPT with the 1st, 2nd, ... matching system call failing, until none does.
#   requires CAPABILITY NAME
#       Whether this machine can (root, plain, ...); if not, NAME counts as skipped.  Under an
#       emulator nothing is native: its memory and time are counted as the program's.
#   lacks NAME PACKAGED REASON
#       A skip that the machine is the reason for; where CI is set, only when no package could
#       help it.
#   skip NAME REASON
#       A skip that nobody expects: the run fails.
#   seed
#       Start the random numbers; it prints the seed, and MAPH_TEST_SEED=N replays it.
#   random N, random_bytes N
#       0..N-1; N bytes.
#   scale TEST FULL
#       The first in make test, the second in make fulltest.
#   contents STORE ?PREFIX?
#       Every entry through a cursor: {key value ...} sorted by key.
#   child_start ?PREFIX?, child_eval, child_send, child_receive, child_stop, child_kill
#       Another process with the binding.
#   send_signal SIGNAL PID
#   until CONDITION ?SECONDS?
#       Wait for what another process does: "yes" once the condition holds, else an error.
#   cpu_seconds SCRIPT
#       The time that this process computes for it, whatever else the machine does.
#   made_once NAME SCRIPT
#       The path of what costs much to make and other files need as well: the first of a run of the
#       suite makes it by SCRIPT, at the path $made, and the others wait for it.
#   maph_hold_port
#       A port that is the test's to its end, for a server that is told its port.
#   start_server ?ARGS?, run_server COMMAND, stop_server ?SIGNAL?
#       maph-server on a free port; by a command of one's own that says --listen 127.0.0.1:0.
#   with_server COMMAND SCRIPT
#       Another one for as long as the script runs.
#   http METHOD PATH ?-body B? ?-headers {N V ...}?
#       An answer of the server that was started last.
#   open_sqlite ?FILE?
#       The connection "db" with maph.so loaded.
#
# $dir is a fresh folder, gone at the end.  $build is the folder of the products under test, $top
# the source's.

# A server's new stores begin at a version that is made of the time; tests count from 1, but for
# those that take this away.
set env(MAPH_TEST_FIRST_VERSION) 1

set top [file dirname [file dirname [file dirname [file normalize [info script]]]]]
set build [file dirname [file normalize [info nameofexecutable]]]
set test_name [file rootname [file tail [info script]]]
if {[info exists argv0] && [file extension $argv0] eq ".test"} {
  set test_name [file rootname [file tail $argv0]]
}
array set count {passed 0 failed 0 skipped 0 unexpected 0}
set suite [expr {[info exists env(MAPH_TEST_SUITE)] ? $env(MAPH_TEST_SUITE) : "test"}]
set sanitizer [expr {[regexp {build-(\w+)$} $build -> name] ? $name : ""}]

# Some programs that tests use lie where an ordinary user does not look.
append env(PATH) :/usr/sbin:/sbin

set dir [exec mktemp -d -t maph-$test_name.XXXXXX]
file attributes $dir -permissions 0755

# ------------------------------------------------------------------------------------- the verdicts
proc shorten {text} {
  regsub -all {[^\x20-\x7e\n]} $text {?} text
  expr {[string length $text]>500 ? "[string range $text 0 499]... ([string length $text]\
      characters)" : $text}
}

proc verdict {name ok got expected} {
  if {$ok} {
    incr ::count(passed)
  } else {
    incr ::count(failed)
    puts "! $::test_name: $name\n    expected: [shorten $expected]\n    got:      [shorten $got]"
  }
}

proc matches {got expected} {
  if {[regexp {^~/(.*)/$} $expected -> re]} {return [expr {![regexp -- $re $got]}]}
  if {[regexp {^/(.*)/$} $expected -> re]} {return [regexp -- $re $got]}
  string equal $got $expected
}

proc do_test {name script expected} {
  if {[catch {uplevel #0 $script} got options]} {
    verdict $name 0 "error: $got\n[dict get $options -errorinfo]" $expected
  } else {
    verdict $name [matches $got $expected] $got $expected
  }
}

proc do_error_test {name script code {re {}}} {
  if {[catch {uplevel #0 $script} got options]} {
    set found [dict get $options -errorcode]
    set ok [expr {[lindex $found 0] eq "MAPH" && [lindex $found 1] eq $code \
        && [regexp -- $re $got]}]
    verdict $name $ok "$found $got" "MAPH $code, a sentence like: $re"
  } else {
    verdict $name 0 "no error, but: $got" "MAPH $code"
  }
}

proc do_execsql_test {name sql expected} {
  do_test $name [list db eval $sql] [list {*}$expected]
}

proc do_catchsql_test {name sql expected} {
  set failed [catch {uplevel #0 [list db eval $sql]} got]
  verdict $name [expr {[lindex $expected 0]==$failed && [matches $got [lindex $expected 1]]}] \
      [list $failed $got] $expected
}

# Before each round PREPARE runs; after it CHECK, which sees $code (OK or a maph code) and answers 1
# when all is well.
proc do_fault_test {name error pattern prepare script check} {
  for {set n 1} {$n<10000} {incr n} {
    uplevel #0 $prepare
    maph_fault arm $n $error $pattern
    set ::code [code_of [list uplevel #0 $script]]
    lassign [maph_fault disarm] seen failed
    do_test "$name, call $n" $check 1
    if {$failed==0} {
      do_test "$name, passes untouched" {set code} OK
      return
    }
  }
  verdict "$name ends" 0 "10000 rounds" "a round without a fault"
}

proc skip {name reason} {
  incr ::count(skipped)
  incr ::count(unexpected)
  puts "- $::test_name: $name skipped: $reason"
}

# What a machine, or the build under test, may lack without that being a fault.
proc capable {capability} {
  switch $capability {
    root   {expr {[exec id -u]==0 && ![catch {exec setpriv --reuid=65534 --clear-groups true}]}}
    mount  {expr {![catch {exec unshare -m mount -t tmpfs none /mnt}]}}
    plain  {expr {$::sanitizer eq ""}}
    native {expr {![info exists ::env(MAPH_TEST_EMULATED)]}}
    server {file exists $::build/maph-server}
    sql    {file exists $::build/maph.so}
    nats   {expr {[auto_execok nats-server] ne ""}}
    replica {expr {[auto_execok nats-server] ne "" && [file exists $::build/maph-replica]}}
    nginx - openssl - perl - mandoc - systemd-analyze - systemd-sysusers - codespell -
    spin - g++ - clang - clang++ - cmake - aarch64-linux-gnu-gcc - qemu-aarch64 - musl-gcc - \
    riscv64-linux-gnu-gcc - qemu-riscv64 - python3 - \
    pkg-config - dpkg-shlibdeps - debootstrap - lintian - man \
        {expr {[auto_execok $capability] ne ""}}
    chromium {expr {[auto_execok chromium] ne "" && ![catch {package require sqlite3}]}}
    default {error "no such capability: $capability"}
  }
}

proc lacks {name packaged reason} {
  incr ::count(skipped)
  if {$packaged && [info exists ::env(CI)] && $::env(CI) ne {}} {incr ::count(unexpected)}
  puts "- $::test_name: $name skipped: $reason"
}

proc requires {capability name} {
  if {[capable $capability]} {return 1}
  if {$capability in {server sql}} {skip $name "needs $capability"} else {
    lacks $name [expr {$capability ni {root mount plain native}}] "needs $capability"
  }
  return 0
}

proc finish_test {} {
  foreach child [array names ::children] {child_kill $child}
  if {[info exists ::server(pid)]} {stop_server}
  foreach command [info commands {*_end_all}] {$command}
  catch {db close}
  catch {file attributes $::dir -permissions 0755}
  file delete -force $::dir
  puts "@ $::count(passed) $::count(failed) $::count(skipped) $::count(unexpected)"
  exit [expr {$::count(failed)>0 || $::count(unexpected)>0}]
}

# ------------------------------------------------------------------------------------- random input
proc seed {} {
  set seed [expr {[info exists ::env(MAPH_TEST_SEED)] ? $::env(MAPH_TEST_SEED) : \
      [clock microseconds] % 1000000007}]
  puts "  $::test_name: seed $seed (replay with MAPH_TEST_SEED=$seed)"
  expr {srand($seed)}
  return $seed
}
proc random {n} {expr {int(rand()*$n)}}
proc random_bytes {n} {
  set words {}
  for {set i 0} {$i<($n+3)/4} {incr i} {lappend words [random 4294967296]}
  string range [binary format i* $words] 0 $n-1
}
proc scale {test full} {expr {$::suite eq "full" ? $full : $test}}

# ------------------------------------------------------------------------------------------- stores
proc entries {cursor} {
  set all {}
  while {![catch {$cursor next} entry options]} {lappend all $entry}
  $cursor close
  if {[lindex [dict get $options -errorcode] 1] ne "NOTFOUND"} {return -options $options $entry}
  return $all
}
proc contents {store {prefix {}}} {
  set pairs {}
  foreach entry [entries [$store cursor $prefix]] {
    lappend pairs [list [dict get $entry key] [dict get $entry value]]
  }
  concat {*}[lsort -index 0 $pairs]
}
proc keys_in_order {cursor} {
  lmap entry [entries $cursor] {dict get $entry key}
}
# The code's name when the script fails in maph, else OK.
proc code_of {script} {
  if {![catch {uplevel 1 $script} result options]} {return OK}
  set code [dict get $options -errorcode]
  if {[lindex $code 0] ne "MAPH"} {return -options $options $result}
  lindex $code 1
}

# ------------------------------------------------------------------------------------------- time
# Two minutes are for a machine with much else to do; no pass takes that long.
proc until {condition {seconds 120}} {
  set deadline [expr {[clock milliseconds]+1000*$seconds}]
  while {![uplevel 1 [list expr $condition]]} {
    if {[clock milliseconds]>$deadline} {error "not in $seconds s: $condition"}
    after 5
  }
  return yes
}

# Hundredths of a second that a process has computed.
proc cpu_ticks {{pid self}} {
  set f [open /proc/$pid/stat]
  set fields [regsub {^.*\) } [read $f] {}]
  close $f
  expr {[lindex $fields 11]+[lindex $fields 12]}
}
proc cpu_seconds {script} {
  set before [cpu_ticks]
  uplevel 1 $script
  expr {([cpu_ticks]-$before)/100.0}
}

# The lock goes with the process that holds it, and so with its pipe.
proc made_once {name script} {
  global env
  set shared [expr {[info exists env(MAPH_TEST_SHARED)] ? $env(MAPH_TEST_SHARED) : $::dir}]
  set lock [open [list | flock $shared/$name.lock sh -c {echo; exec cat}] r+]
  if {[gets $lock line]<0} {error "no lock on $shared/$name.lock: is flock there?"}
  try {
    if {![file exists $shared/$name]} {
      upvar 1 made made
      set made $::dir/$name.made
      uplevel 1 $script
      exec mv -T $made $shared/$name
    }
  } finally {
    close $lock
  }
  return $shared/$name
}

# ---------------------------------------------------------------------------------- other processes
# A child reads scripts and answers results; child_send and child_receive let it work meanwhile.
proc child_start {args} {
  # MAPH_TEST_RUNNER: the emulator that runs programs of the machine under test.
  set runner [expr {[info exists ::env(MAPH_TEST_RUNNER)] ? $::env(MAPH_TEST_RUNNER) : ""}]
  set program [list {*}$runner [info nameofexecutable]]
  set channel [open "|[list {*}$args {*}$program $::top/test/support/child.tcl]" r+]
  fconfigure $channel -translation binary -buffering full
  set ::children($channel) [pid $channel]
  child_eval $channel {set ::argv {}}
  return $channel
}
proc child_send {channel script} {
  set bytes [encoding convertto utf-8 $script]
  puts -nonewline $channel "[string length $bytes]\n$bytes"
  flush $channel
}
proc child_receive {channel} {
  if {[gets $channel length]<0} {error "the child is gone"}
  lassign [encoding convertfrom utf-8 [read $channel $length]] code result errorcode
  return -code $code -errorcode $errorcode $result
}
proc child_eval {channel script} {
  child_send $channel $script
  child_receive $channel
}
# The shell's own kill: a small system has no other.
proc send_signal {signal pid} {exec sh -c "kill -$signal $pid"}

proc child_pid {channel} {lindex $::children($channel) end}
proc child_stop {channel} {
  unset ::children($channel)
  close $channel
}
proc child_kill {channel} {
  send_signal KILL [child_pid $channel]
  unset ::children($channel)
  catch {close $channel}
}

# --------------------------------------------------------------------------------------- the server
set server_listens_at 127.0.0.1:0

proc start_server {args} {
  set ::server(data) $::dir/data
  file mkdir $::server(data)
  run_server [list $::build/maph-server --data $::server(data) --listen $::server_listens_at \
      {*}$args]
}
# A command that becomes the server.  Its port is the one that it says it got: a port that was free
# when a test looked may be another process's by then.
proc run_server {command} {
  set ::server(log) $::dir/server-[incr ::server_starts].log
  set pid [exec {*}$command >& $::server(log) &]
  set ::server(pid) $pid
  set f [open $::dir/server-$pid.pid w]
  puts $f $pid
  close $f
  until {[regexp { on http://127\.0\.0\.1:(\d+)} [server_log] -> ::server(port)] \
      || [set ended [process_ended $pid]]}
  if {[info exists ended] && $ended} {
    unset ::server(pid)
    error "maph-server does not start: [server_log]"
  }
  return $::server(port)
}
# Another server for as long as the script runs.
proc with_server {command script} {
  array set kept [array get ::server]
  run_server $command
  catch {uplevel 1 $script} result options
  stop_server
  array set ::server [array get kept]
  return -options $options $result
}
# Ended with all its threads: the first one is shown as ended while others still hold the locks and
# sockets of the process.
proc process_ended {pid} {
  if {[catch {open /proc/$pid/stat} f]} {return 1}
  set failed [catch {read $f} line]
  close $f
  if {$failed} {return 1}
  set fields [regsub {^.*\) } $line {}]
  expr {[lindex $fields 0] in {Z X} && [lindex $fields 17]<=1}
}
proc server_log {} {
  set f [open $::server(log)]
  set text [read $f]
  close $f
  return $text
}
proc stop_server {{signal TERM}} {
  set pid $::server(pid)
  unset ::server(pid)
  file delete $::dir/server-$pid.pid
  send_signal $signal $pid
  set deadline [expr {[clock milliseconds]+120000}]
  while {![process_ended $pid]} {
    if {[clock milliseconds]>$deadline} {
      send_signal KILL $pid
      error "maph-server did not stop: [server_log]"
    }
    after 10
  }
  if {[regexp {(AddressSanitizer|ThreadSanitizer|LeakSanitizer|runtime error)} [server_log]]} {
    verdict "the sanitizer is silent about maph-server" 0 [server_log] ""
  }
}

# One request on a connection of its own: {status N headers {name value ...} body B}, header names
# in lower case.
proc http {method path args} {
  array set option {-body {} -headers {}}
  array set option $args
  set channel [socket 127.0.0.1 $::server(port)]
  fconfigure $channel -translation binary -buffering full
  set request "$method $path HTTP/1.1\r\nHost: 127.0.0.1:$::server(port)\r\nConnection: close\r\n"
  foreach {name value} $option(-headers) {append request "$name: $value\r\n"}
  if {$option(-body) ne {} || $method in {PUT POST}} {
    append request "Content-Length: [string length $option(-body)]\r\n"
  }
  # A server that refuses a body may answer and close before it is all written.
  catch {
    puts -nonewline $channel "$request\r\n$option(-body)"
    flush $channel
  }
  set reply [read_to_end $channel]
  close $channel
  if {![regexp {^HTTP/1\.\d (\d+)[^\r\n]*\r\n(.*?)\r\n\r\n(.*)$} $reply -> status head body]} {
    error "no HTTP answer: $reply"
  }
  set headers {}
  foreach line [split [string map {\r\n \n} $head] \n] {
    if {[regexp {^([^:]+):\s*(.*)$} $line -> name value]} {
      dict set headers [string tolower $name] $value
    }
  }
  if {[dict exists $headers transfer-encoding]} {set body [unchunk $body]}
  if {[dict exists $headers content-length] && $method ne "HEAD" && $status!=304
      && [string length $body]!=[dict get $headers content-length]} {
    error "an answer cut short: $reply"
  }
  dict create status $status headers $headers body $body
}
# Who closes before it has read everything may reset the connection after its answer: that is an end
# as well.  Tcl would drop what came before an error, but not what it has read already.
proc read_to_end {channel} {
  fconfigure $channel -buffersize 65536
  set all {}
  while {![catch {read $channel 1} byte] && $byte ne {}} {
    append all $byte [read $channel [chan pending input $channel]]
  }
  return $all
}
proc unchunk {body} {
  set whole {}
  while {[regexp {^([0-9a-fA-F]+)[^\r]*\r\n} $body line size]} {
    set size [scan $size %x]
    if {$size==0} break
    set start [string length $line]
    append whole [string range $body $start [expr {$start+$size-1}]]
    set body [string range $body [expr {$start+$size+2}] end]
  }
  return $whole
}
proc http_status {args} {dict get [http {*}$args] status}
proc http_body {args} {dict get [http {*}$args] body}

# ------------------------------------------------------------------------------------------- SQLite
proc open_sqlite {{file :memory:}} {
  package require sqlite3
  sqlite3 db $file
  db enable_load_extension 1
  db eval {SELECT load_extension($::build || '/maph')}
  return
}
