# crash.tcl - run a crash test of build/maphcrash as a do_test.  Its output is shown: the seed, and
# what was done.

proc crash_test {what count} {
  set failed [catch {exec -ignorestderr $::build/maphcrash $what $count 2>@1} output options]
  set status [expr {$failed && [lindex [dict get $options -errorcode] 0] eq "CHILDSTATUS" ? \
      [lindex [dict get $options -errorcode] 2] : $failed}]
  foreach line [split $output \n] {
    if {![regexp {^child process exited|^0 troubles$} $line]} {puts "  [string trim $line]"}
  }
  if {$status==77} {
    incr ::count(skipped)
    return
  }
  do_test crash-$what [list list $status] 0
}
