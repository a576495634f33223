# all.tcl - run the suite: build/maphtest test/all.tcl ?-suite smoke|test|full? ?-jobs N?
# ?PATTERN...?
#
# Each test/*.test runs in a process of its own with a time limit.  The suffix of a name says what
# it is: _fault _crash _power _fuzz _thread _slow.  smoke leaves out all of these, test leaves out
# _slow, full leaves out none and lets the others run longer.  PATTERN (core_get, sql*) picks files
# whatever their suffix. What failed is said again at the end, for who has only the end of a log.
# The last line is "N passed, N failed", with ", N skipped" when a machine cannot do something.  The
# exit status is 1 when a test failed, or was skipped without a reason that the machine gives.

set here [file dirname [file normalize [info script]]]
set suite test
set jobs 4
set patterns {}
while {[llength $argv]>0} {
  set argv [lassign $argv word]
  switch -- $word {
    -suite  {set argv [lassign $argv suite]}
    -jobs   {set argv [lassign $argv jobs]}
    default {lappend patterns $word}
  }
}

proc chosen {name} {
  if {[llength $::patterns]>0} {
    foreach pattern $::patterns {
      if {[string match [file rootname $pattern] $name]} {return 1}
    }
    return 0
  }
  switch $::suite {
    smoke   {return [expr {![regexp {_(fault|crash|power|fuzz|thread|slow)$} $name]}]}
    test    {return [expr {![regexp {_slow$} $name]}]}
    full    {return 1}
    default {error "no such suite: $::suite"}
  }
}

# The files are UTF-8, whatever the machine is set to.
set env(LC_ALL) C.UTF-8

# It ends what hangs: the clean root of house_trixie takes minutes on a fast machine alone, those of
# the whole check half an hour, and several times that on a slow one that does much else.
set limit [expr {$suite eq "full" ? 7200 : 2400}]
set env(MAPH_TEST_SUITE) $suite
if {![info exists env(ASAN_OPTIONS)]}  {set env(ASAN_OPTIONS) "detect_leaks=1:abort_on_error=0"}
if {![info exists env(UBSAN_OPTIONS)]} {set env(UBSAN_OPTIONS) "print_stacktrace=1"}
if {![info exists env(TSAN_OPTIONS)]}  {set env(TSAN_OPTIONS) "halt_on_error=0:exitcode=66"}

# Each file's temporary folders are made in one of ours, which goes at the end whatever happened.
set place [exec mktemp -d -t maph-tests.XXXXXX]
file attributes $place -permissions 0755
# Where a file lays what costs much to make and others need as well.
set env(MAPH_TEST_SHARED) $place

# The long ones first, so that no process waits for the last of them: before all a whole release,
# and those that wait for each other.
set longest {^house_(bookworm|trixie)$|^web_}
set long {_(fault|crash|power|fuzz|thread|slow)$|^(house|web)_}
set waiting {}
foreach file [lsort [glob -nocomplain $here/*.test]] {
  set name [file rootname [file tail $file]]
  if {[chosen $name]} {
    lappend waiting [list [expr {[regexp $long $name]+[regexp $longest $name]}] $name $file]
  }
}
set waiting [lmap item [lsort -index 0 -integer -decreasing $waiting] {lrange $item 1 end}]

array set total {passed 0 failed 0 skipped 0 unexpected 0}
set running {}
set reports_of_failures {}

# One browser at a time: several take so much memory from each other that pages do not come to rest.
proc may_start {name} {
  expr {![string match web_* $name] || [lsearch -glob $::running web_*]<0}
}
proc next_place {} {
  set place 0
  foreach item $::waiting {
    if {[may_start [lindex $item 0]]} {return $place}
    incr place
  }
  return -1
}

proc start_next {} {
  while {[llength $::running]<$::jobs && [set place [next_place]]>=0} {
    lassign [lindex $::waiting $place] name file
    set ::waiting [lreplace $::waiting $place $place]
    file mkdir $::place/$name
    set channel [open \
        "|[list env TMPDIR=$::place/$name timeout --kill-after=5 $::limit [info nameofexecutable]\
        $file 2>@1]" r]
    fconfigure $channel -blocking 0 -translation binary
    set ::output($channel) {}
    fileevent $channel readable [list collect $channel $name [clock milliseconds]]
    lappend ::running $name
  }
  if {[llength $::running]==0} {set ::finished 1}
}

proc collect {channel name started} {
  append ::output($channel) [read $channel]
  if {![eof $channel]} return
  fconfigure $channel -blocking 1
  set before [children_cpu]
  set status [catch {close $channel} message options]
  set code [expr {$status ? [dict get $options -errorcode] : {}}]
  report $name $::output($channel) $code [expr {([clock milliseconds]-$started)/1000.0}] \
      [expr {[children_cpu]-$before}]
  unset ::output($channel)
  sweep $name
  set ::running [lsearch -all -inline -not -exact $::running $name]
  start_next
}

# Seconds that the ended children and theirs have computed: those of one are added as it is closed.
proc children_cpu {} {
  set f [open /proc/self/stat]
  set fields [regsub {^.*\) } [read $f] {}]
  close $f
  expr {([lindex $fields 13]+[lindex $fields 14])/100.0}
}

# What a test that ended early left: its server and browser, by the pids it wrote down, and its
# folders, which may be written to until those have ended.
proc sweep {name} {
  foreach file [glob -nocomplain $::place/$name/*/{server-*,browser}.pid] {
    set f [open $file]
    catch {exec sh -c "kill -KILL [read -nonewline $f]"}
    close $f
  }
  for {set try 0} {$try<100 && [catch {file delete -force $::place/$name}]} {incr try} {after 20}
}

proc report {name output code seconds cpu} {
  set verdict {}
  set failures_before [expr {$::total(failed)+$::total(unexpected)}]
  if {[regexp -line {^@ (\d+) (\d+) (\d+) (\d+)$} $output line passed failed skipped unexpected]} {
    regsub -line {^@ \d+ \d+ \d+ \d+\n?} $output {} output
    incr ::total(passed) $passed
    incr ::total(failed) $failed
    incr ::total(skipped) $skipped
    incr ::total(unexpected) $unexpected
    set verdict "$passed passed"
    if {$failed} {append verdict ", $failed failed"}
    if {$skipped} {append verdict ", $skipped skipped"}
    if {$code ne {} && $failed==0 && $unexpected==0} {
      incr ::total(failed)
      append verdict ", then ended badly ($code)"
    }
  } else {
    incr ::total(failed)
    set why [expr {[lindex $code 2]==124 || [lindex $code 2]==137 ? "took over $::limit s" : \
        "ended early ($code)"}]
    set verdict "failed: $why"
  }
  set lines [list [format "%-28s %s  (%.1f s, CPU %.1f s)" $name $verdict $seconds $cpu]]
  if {[string trim $output] ne {}} {lappend lines {*}[split [string trimright $output] \n]}
  puts [join $lines \n]
  flush stdout
  if {$::total(failed)+$::total(unexpected)>$failures_before} {
    lappend ::reports_of_failures [join [lrange $lines 0 11] \n]
  }
}

start_next
if {![info exists finished]} {vwait finished}
file delete -force $place
if {[llength $reports_of_failures]>0} {puts "Failed:\n[join $reports_of_failures \n]"}
puts "$total(passed) passed, $total(failed) failed[expr {$total(skipped) ? ", $total(skipped)\
    skipped" : ""}]"
exit [expr {$total(failed)>0 || $total(unexpected)>0 || $total(passed)==0}]
