# lies.tcl - rounds of a server that lies at random (fake-nats, wild), and of who speaks with it.
# Source it behind replica.tcl.
#
#   lies_round NAME SEED PERCENT     lies at so many of 100 occasions, then a server that is well

set env(MAPH_TEST_BACK_OFF) 20
set env(MAPH_TEST_ANSWER) 300

# A command that speaks with it: what is wrong with how it ended, or nothing.
proc lies_hear {args} {
  set failed [catch {exec -- $::build/maph-replica {*}$args --server [nats_url] </dev/null 2>@1} \
      said options]
  set code [expr {$failed ? [dict get $options -errorcode] : {}}]
  set status [expr {$failed ? [lindex $code 2] : 0}]
  if {$failed && [lindex $code 0] ne "CHILDSTATUS"} {return "$args: $code: $said"}
  if {$status ni {0 1 2} || [regexp {Sanitizer|runtime error} $said]} {
    return "$args: status $status: $said"
  }
  return {}
}
proc lies_change {} {
  set key key[random 20]
  switch [random 4] {
    0 {fake_delete $key}
    1 {fake_put $key [string repeat v [random 3000]] {Content-Type text/plain}}
    default {fake_put $key v[random 1000]}
  }
}
proc lies_command {file} {
  switch [random 6] {
    0 {lies_hear put b put[random 9] value --timeout 1s}
    1 {lies_hear put b put[random 9] value --if-revision [random 50] --timeout 1s}
    2 {lies_hear put b put[random 9] value --if-absent --timeout 1s}
    3 {lies_hear get b key[random 20] --json --timeout 1s}
    4 {lies_hear del b put[random 9] --timeout 1s}
    5 {if {[file exists $file]} {lies_hear verify b $file --timeout 1s}}
  }
}
# What is wrong with what was heard: so many commands while the follower has its sessions.
proc lies_storm {file commands} {
  set wrong {}
  for {set i 0} {$i<$commands} {incr i} {
    for {set k 0} {$k<20} {incr k} lies_change
    set said [lies_command $file]
    if {$said ne {}} {lappend wrong $said}
  }
  return $wrong
}
# A follower that is told that the stream is none of a bucket ends; no other lie ends it.
proc lies_end {} {
  set ended [process_ended $::lies_follower]
  set log [follow_end $::lies_follower]
  if {$ended && ![regexp {is no key-value bucket} $log]} {return "it ended: $log"}
  if {[regexp {Sanitizer|runtime error} $log]} {return $log}
  return {}
}
proc lies_last {} {
  lindex [lsort -integer [lmap message [fake dump] {lindex $message 0}]] end
}
proc lies_equal {file} {
  after 5
  expr {![catch {store_entries $file} entries] && [differences [fake_bucket] $entries] eq {}
      && [store_version $file]>=[lies_last]}
}
proc lies_round {name seed percent} {
  set ::lies_file [set file $::dir/lies-$seed.maph]
  if {![info exists ::fake]} {fake_start b}
  fake well
  for {set i 0} {$i<20} {incr i} lies_change
  set ::lies_follower [follow b $file --marker-age 0]
  fake wild $seed $percent
  do_test $name-storm [list lies_storm $file 12] {}
  fake well
  fake close
  do_test $name-lives lies_end {}
  # Whoever was lied to does not know it: all keys are compared.
  set ::lies_follower [follow b $file --marker-age 0]
  do_test $name-equal {until {[lies_equal $::lies_file]}} yes
  do_test $name-sound {
    follow_end $::lies_follower
    exec $build/maph check $::lies_file
  } /^sound/
}
