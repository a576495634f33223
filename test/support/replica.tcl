# replica.tcl - followers that a test starts and ends.  Source it behind nats.tcl.
#
#   follow BUCKET FILE ?ARG ...?     a follower of the servers of nats.tcl; its process id
#   publish FILE BUCKET ?ARG ...?    a publisher, the same way; follow_end and so on take it too
#   follow_end PID ?SIGNAL?          gone, with its child, when this returns; what it said
#   follow_log PID                   what it has said until now
#   replica ARG ...                  another command: {STATUS OUTPUT}; $err is its standard error
#   sidecar FILE NAME                what lies beside the file says: position, state, losses, ...
#   until_state FILE STATE
#
# A follower waits at most 300 ms between two sessions (MAPH_TEST_BACK_OFF).
#
# The tests that need it begin with "if {![requires replica NAME]} finish_test".

set env(MAPH_TEST_BACK_OFF) 300
set follow_server {}
array set follow_log_of {}
set follow_count 0

proc follow {bucket file args} {follow_begin follow $bucket $file {*}$args}
proc publish {file bucket args} {follow_begin publish $file $bucket {*}$args}
proc follow_begin {command args} {
  set log $::dir/follow-[incr ::follow_count].log
  set server [expr {$::follow_server eq {} ? [nats_url] : $::follow_server}]
  set pid [exec $::build/maph-replica $command {*}$args --server $server >& $log &]
  set ::follow_log_of($pid) $log
  set f [open $::dir/server-$pid.pid w]
  puts $f $pid
  close $f
  return $pid
}
proc follow_log {pid} {
  set f [open $::follow_log_of($pid)]
  set text [read $f]
  close $f
  return $text
}
proc follow_child {pid} {
  if {[catch {exec cat /proc/$pid/task/$pid/children} text]} {return {}}
  string trim $text
}
proc follow_end {pid {signal TERM}} {
  set child [follow_child $pid]
  catch {send_signal $signal $pid}
  set deadline [expr {[clock milliseconds]+120000}]
  while {![process_ended $pid] || $child ne {} && ![process_ended $child]} {
    if {[clock milliseconds]>$deadline} {
      catch {send_signal KILL $pid}
      error "maph-replica did not stop: [follow_log $pid]"
    }
    after 5
  }
  file delete $::dir/server-$pid.pid
  set log [follow_log $pid]
  unset ::follow_log_of($pid)
  if {[regexp {(AddressSanitizer|ThreadSanitizer|LeakSanitizer|runtime error)} $log]} {
    verdict "the sanitizer is silent about maph-replica" 0 $log ""
  }
  return $log
}
# finish_test calls it.
proc follow_end_all {} {
  foreach pid [array names ::follow_log_of] {catch {follow_end $pid KILL}}
}
proc replica {args} {
  set failed [catch {exec -- $::build/maph-replica {*}$args --server [nats_url] \
      </dev/null >$::dir/.out 2>$::dir/.err} result options]
  foreach {name file} {::err .err out .out} {
    set f [open $::dir/$file]
    fconfigure $f -translation binary
    set $name [read $f]
    close $f
  }
  set code [expr {$failed ? [dict get $options -errorcode] : {}}]
  list [expr {$failed ? [lindex $code 2] : 0}] $out
}
# The record that was written last: see ext/nats/sidecar.h.
proc sidecar {file name} {
  set f [open $file.replica rb]
  set bytes [read $f]
  close $f
  set found {}
  foreach at {1024 2560} {
    binary scan $bytes @${at}wu written
    if {$found eq {} || $written>[lindex $found 0]} {set found [list $written $at]}
  }
  set at [lindex $found 1]
  binary scan $bytes @${at}wua64[string repeat wu 16] \
      written created position time last_seen heard followed caught_up state pid sessions \
      applied losses rebuilds ghosts left_out listings restarts
  set state [lindex {stopped connecting syncing following rebuilding disconnected {no bucket}} \
      $state]
  set $name
}
proc until_state {file state} {
  until {![catch {sidecar $file state} found] && $found eq $state}
}
