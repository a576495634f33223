# replica_bench.tcl - maph-replica against a bare NATS client that does nothing with what it gets:
# make bench-replica
#
#   build/maphtest test/replica_bench.tcl ?OPTION VALUE ...?
#       -keys 1000000      keys of the bucket, and messages missed
#       -few 100000        keys that the second resume's messages are of
#       -size 200          bytes of a value
#       -rate 50000        changes a second asked for, live
#       -seconds 10        of that
#       -rounds 3          medians of so many
#
# One nats-server, everything on this machine.  In each round the receiver and the replica take
# turns at the same work, so that their ratio is of one moment.  first-sync: an empty replica until
# its file is there and complete.  resume: the replica was away while messages came.  live: the lag
# is from the publisher's call until a receiver has the message, and until a reader of the replica's
# file sees it, who looks each millisecond.  Nothing here judges.

source [file dirname [info script]]/support/tester.tcl
source $top/test/support/nats.tcl
source $top/test/support/replica.tcl
fconfigure stdout -buffering line
array set option {-keys 1000000 -few 100000 -size 200 -rate 50000 -seconds 10 -rounds 3}
foreach {name value} $argv {
  if {![info exists option($name)] || ![string is integer -strict $value] || $value<1} {
    puts "make bench-replica BENCHFLAGS=\"?OPTION NUMBER ...?\": options are [array names option]"
    exit 2
  }
  set option($name) $value
}
if {[auto_execok nats-server] eq {} || ![file executable $build/maph-replica]} {
  puts "make bench-replica needs: apt-get install nats-server libnats-dev, and ./configure"
  exit 2
}
set bench $build/replica-bench
array set figures {}

proc median {list} {lindex [lsort -real $list] [expr {[llength $list]/2}]}
# What a part of the benchmark prints: a dictionary.
proc bench {args} {exec $::bench {*}$args}
# A server closes a connection that leaves its pings unanswered, as one does that nothing is asked
# by for minutes: then there is a new one.
proc last_sequence {} {
  if {![catch {nats_last $::c b} last]} {return $last}
  nats_close $::c
  set ::c [nats_open]
  nats_last $::c b
}
proc wait_for_last {last} {
  until {[last_sequence]>=$last} 600
}
proc publish {count keys rate} {
  set before [last_sequence]
  set said [bench publish [nats_url] b $count $keys $::option(-size) $rate]
  wait_for_last [expr {$before+$count}]
  return $said
}
# Microseconds that a follower and its child have computed.
proc follower_cpu {pid} {
  set ticks [cpu_ticks $pid]
  set child [follow_child $pid]
  if {$child ne {}} {incr ticks [cpu_ticks $child]}
  expr {$ticks*10000.0}
}
# Until the file has the version; then {messages M seconds S cpu_us C}.
proc followed_to {last messages} {
  set began [clock microseconds]
  set pid [follow b $::file]
  while {[catch {store_version $::file} version] || $version<$last} {after 2}
  set seconds [expr {([clock microseconds]-$began)/1e6}]
  set cpu [expr {[follower_cpu $pid]/$messages}]
  list [dict create messages $messages seconds $seconds cpu_us $cpu] $pid
}
proc note {name member bare replica} {
  lappend ::figures($name,$member,bare) $bare
  lappend ::figures($name,$member,replica) $replica
  lappend ::figures($name,$member,ratio) [expr {$replica/double(max($bare, 1e-9))}]
}
proc note_both {name bare replica} {
  foreach member {seconds cpu_us} {
    note $name $member [dict get $bare $member] [dict get $replica $member]
  }
  note $name rate [expr {[dict get $bare messages]/[dict get $bare seconds]}] \
      [expr {[dict get $replica messages]/[dict get $replica seconds]}]
}
proc show {name member unit format} {
  if {![info exists ::figures($name,$member,bare)]} return
  foreach part {bare replica ratio} {set $part [median $::figures($name,$member,$part)]}
  puts [format "%-16s %-16s $format  $format  %7.2f" $name $unit $replica $bare $ratio]
}

# -------------------------------------------------------------------------------------- the rounds
proc first_sync {} {
  set last [last_sequence]
  set bare [bench receive [nats_url] b 1 $last]
  foreach file [glob -nocomplain $::file*] {file delete $file}
  lassign [followed_to $last [dict get $bare messages]] replica pid
  follow_end $pid
  note_both first-sync $bare $replica
  lappend ::figures(bytes) [expr {[file size $::file]/double($::option(-keys))}]
}
# COUNT messages on so many keys come while nobody follows.
proc resume {name count keys} {
  set from [expr {[last_sequence]+1}]
  publish $count $keys 0
  set last [last_sequence]
  set bare [bench receive [nats_url] b $from $last]
  lassign [followed_to $last [dict get $bare messages]] replica pid
  follow_end $pid
  note_both $name $bare $replica
}
proc live_bare {count rate} {
  set last [last_sequence]
  set channel [open |[list $::bench receive [nats_url] b [expr {$last+1}] [expr {$last+$count}]]]
  after 500
  set published [publish $count $::option(-keys) $rate]
  set said [gets $channel]
  close $channel
  list $said $published
}
proc live_replica {count rate} {
  set last [last_sequence]
  set pid [follow b $::file]
  until {[store_version $::file]>=$last && [sidecar $::file state] eq "following"} 600
  set channel [open |[list $::bench watch $::file [expr {$last+$count}]]]
  gets $channel
  set before [follower_cpu $pid]
  set published [publish $count $::option(-keys) $rate]
  set said [gets $channel]
  dict set said cpu_us [expr {([follower_cpu $pid]-$before)/$count}]
  close $channel
  follow_end $pid
  list $said $published
}
proc live {} {
  set count [expr {$::option(-rate)*$::option(-seconds)}]
  lassign [live_bare $count $::option(-rate)] bare published
  lassign [live_replica $count $::option(-rate)] replica published_too
  foreach member {p50 p99 most cpu_us} {
    note live $member [dict get $bare $member] [dict get $replica $member]
  }
  note live rate [expr {$count/[dict get $published seconds]}] \
      [expr {$count/[dict get $published_too seconds]}]
}

set failed [catch {
  nats_start
  set c [nats_open]
  nats_create $c b
  set file $dir/b.maph
  puts "$option(-keys) keys, values of $option(-size) bytes, $option(-rounds) rounds, [exec nproc]\
      processors, nats-server [lindex [exec nats-server --version] end]"
  publish $option(-keys) $option(-keys) 0
  for {set round 1} {$round<=$option(-rounds)} {incr round} {
    first_sync
    live
    resume resume-distinct $option(-keys) $option(-keys)
    resume resume-few-keys $option(-keys) $option(-few)
  }
  puts [format "%-16s %-16s %10s  %10s  %7s" medians {} replica receiver ratio]
  foreach name {first-sync resume-distinct resume-few-keys} {
    show $name rate {messages/s} %10.0f
    show $name seconds seconds %10.2f
    show $name cpu_us {CPU us a message} %10.2f
  }
  show live rate {published/s} %10.0f
  show live p50 {lag p50, s} %10.4f
  show live p99 {lag p99, s} %10.4f
  show live most {lag at most, s} %10.4f
  show live cpu_us {CPU us a message} %10.2f
  puts [format "%-16s %-16s %10.0f" first-sync {bytes a key} [median $figures(bytes)]]
} message options]
follow_end_all
nats_end_all
file delete -force $dir
if {$failed} {return -options $options $message}
