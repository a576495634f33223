# mutants.tcl - take each rule that keeps data safe out of a copy of core and server, one at a time;
# a test must then fail: of maphcrash, or a file of test/ that a maphtest made of the copy runs.
#
#   MAPH_TEST_COMPILE='cc FLAGS' MAPH_TEST_LIBRARIES='-lcmph -lcivetweb' \
#   MAPH_TEST_BESIDE='files of ext/ that the server is made of' \
#   MAPH_TEST_TCL='{-I/usr/include/tcl8.6} {-ltcl8.6}' build/maphtest test/mutants.tcl ?PATTERN...?
#   make mutants does this
#   build/maphtest test/mutants.tcl -texts     only looks whether the source still has each text
#
# test/mutants.list holds them.  One of a mutant's tests must fail; without a mutation all pass.
# Text that is gone is an error: the rule moved, and so must its mutant.

set top [file dirname [file dirname [file normalize [info script]]]]

proc read_mutants {file} {
  set mutants {}
  foreach line [split [slurp $file] \n] {
    set rest [string range $line 1 end]
    switch -glob -- $line {
      "mutant *" {lappend mutants {*}[expr {[info exists name] ? [list [list $name $edits $tests]] \
          : {}}]; set name [string range $line 7 end]; set edits {}; set tests {}}
      "in *"     {lappend edits [string range $line 3 end] {} {}}
      "by *"     {lappend tests [string range $line 3 end]}
      "-*"       {lset edits end-1 [join [concat [list_of [lindex $edits end-1]] [list $rest]] \n]}
      "+*"       {lset edits end [join [concat [list_of [lindex $edits end]] [list $rest]] \n]}
    }
  }
  lappend mutants [list $name $edits $tests]
}
proc list_of {text} {expr {$text eq {} ? {} : [split $text \n]}}

# ----------------------------------------------------------------------------------------- the work
proc slurp {file} {
  set f [open $file]
  fconfigure $f -translation binary
  set text [read $f]
  close $f
  return $text
}
proc spit {file text} {
  set f [open $file w]
  fconfigure $f -translation binary
  puts -nonewline $f $text
  close $f
}

# TEXT without its white space, and the place in TEXT of each character that is left.
proc squeeze {text} {
  set places [lmap range [regexp -all -inline -indices {\S} $text] {lindex $range 0}]
  return [list [regsub -all {\s+} $text {}] $places]
}

# Replace OLD, which must be there once whatever its white space.  Files are named as in the source
# tree; core/ may be left out.
proc mutate {name edits} {
  set files {}
  foreach {file old new} $edits {
    if {![regexp / $file]} {
      set file [string range [glob $::top/core/*/$file] [string length $::top/] end]
    }
    set text [expr {[dict exists $files $file] ? [dict get $files $file] : [slurp $::top/$file]}]
    lassign [squeeze $text] squeezed places
    set wanted [lindex [squeeze $old] 0]
    set first [string first $wanted $squeezed]
    if {$first<0 || $first!=[string last $wanted $squeezed]} {
      error "$name: $file does not hold this text exactly once:\n$old"
    }
    set last [expr {$first+[string length $wanted]-1}]
    dict set files $file \
        [string replace $text [lindex $places $first] [lindex $places $last] $new]
  }
  return $files
}

# Each mutant whose text is not there, or there twice.
proc lost_texts {mutants} {
  set lost {}
  foreach mutant $mutants {
    if {[catch {mutate {*}[lrange $mutant 0 1]} why]} {lappend lost $why}
  }
  return $lost
}
set mutants [read_mutants $top/test/mutants.list]
if {$argv eq "-texts"} {
  set lost [lost_texts $mutants]
  foreach why $lost {puts "! $why"}
  puts "[expr {[llength $mutants]-[llength $lost]}] passed, [llength $lost] failed"
  exit [expr {[llength $lost]>0}]
}

set compile $env(MAPH_TEST_COMPILE)
set libraries $env(MAPH_TEST_LIBRARIES)
lassign $env(MAPH_TEST_TCL) tcl_flags tcl_libraries
set work [exec mktemp -d -t maph-mutants.XXXXXX]
set patterns [expr {[llength $argv] ? $argv : "*"}]

proc compile {source object} {
  exec -ignorestderr {*}$::compile -w -DMAPH_TEST -I$::work/core -I$::top/ext -I$::work/server \
      -I$::top/test/binding {*}$::tcl_flags -c -o $object $source 2>@1
}
proc core_sources {} {
  lmap file [glob $::work/core/*/*.c] {
    if {[string match */core/example/* $file]} continue
    set file
  }
}
# The objects of some sources.  Those that did not change are there once a whole program was made.
proc objects_of {sources changed} {
  set objects {}
  foreach source [lsort $sources] {
    set object [file tail [file dirname $source]]-[file rootname [file tail $source]].o
    set object $::work/[expr {$source in $changed ? "mutant" : "whole"}]/$object
    if {![file exists $object]} {compile $source $object}
    lappend objects $object
  }
  return $objects
}
# As in Makefile.in: the server is one object that shows server_main alone.
proc server_object {changed} {
  set mutant [expr {[lsearch -glob $changed $::work/server/*]>=0}]
  set object $::work/[expr {$mutant ? "mutant" : "whole"}]/server.o
  if {![file exists $object]} {
    set sources [list {*}[glob $::work/server/*.c $::work/server/*/*.c] \
        {*}[lmap file $::env(MAPH_TEST_BESIDE) {string cat $::top/ $file}]]
    exec ld -r -o $object.all {*}[objects_of $sources $changed]
    exec objcopy --redefine-sym main=server_main $object.all
    exec objcopy --keep-global-symbol=server_main --keep-global-symbol=accept $object.all $object
  }
  return $object
}
# maphcrash or maphtest, in that folder, of the sources of which these changed.
proc build_program {folder program changed} {
  set core [objects_of [core_sources] $changed]
  if {$program eq "maphcrash"} {
    exec {*}$::compile -o $folder/$program {*}$core \
        {*}[objects_of [glob $::top/test/crash/*.c] {}] [server_object $changed] {*}$::libraries
  } else {
    set tested [list {*}[glob $::top/test/binding/*.c] $::top/ext/nats/keys.c]
    exec {*}$::compile -o $folder/$program {*}$core {*}[objects_of $tested {}] \
        {*}$::tcl_libraries -lm {*}$::libraries
  }
}

proc restore_sources {} {
  foreach room {core server} {
    file delete -force $::work/$room
    file copy $::top/$room $::work/$room
  }
}

# A test of the list is a command of maphcrash, or the pattern of files of test/.
proc files_of {test} {lsort [glob -nocomplain -directory $::top/test [lindex $test 0].test]}
proc program_of {test} {expr {[llength [files_of $test]] ? "maphtest" : "maphcrash"}}

# The status of a test.  A mutant may also loop: it is given up after some time, which counts as
# noticed.
proc status_of {folder test} {
  set program [program_of $test]
  set runs [expr {$program eq "maphtest" ? [files_of $test] : [list $test]}]
  foreach run $runs {
    if {$program eq "maphtest"} {set run [list $run]}
    if {![catch {exec -ignorestderr timeout -s KILL 1200 $folder/$program {*}$run 2>@1} output \
        options]} continue
    set code [dict get $options -errorcode]
    set ::last_output $output
    return [expr {[lindex $code 0] eq "CHILDSTATUS" ? [lindex $code 2] : 137}]
  }
  return 0
}

# Of the sources as they are, which gives the objects that no mutant changes.
proc build_whole {program} {
  if {[file exists $::work/whole/$program]} return
  restore_sources
  build_program $::work/whole $program {}
}

proc noticed {files tests} {
  foreach program [lsort -unique [lmap test $tests {program_of $test}]] {build_whole $program}
  restore_sources
  file delete -force $::work/mutant
  file mkdir $::work/mutant
  set changed {}
  dict for {file text} $files {
    spit $::work/$file $text
    lappend changed $::work/$file
  }
  if {[lsearch -glob $changed *.h]>=0} {set changed [core_sources]}
  foreach test $tests {
    set program [program_of $test]
    if {![file exists $::work/mutant/$program]} {build_program $::work/mutant $program $changed}
    if {[status_of $::work/mutant $test]!=0} {return $test}
  }
  return {}
}

file mkdir $work/whole $work/tmp
set env(TMPDIR) $work/tmp
set passed 0
set failed 0
set every {}
foreach mutant $mutants {
  lassign $mutant name edits tests
  if {![llength [lsearch -all -inline -glob -not [lmap p $patterns {string match *$p* $name}] 0]]} \
      continue
  lappend every {*}$tests
  set started [clock milliseconds]
  if {[catch {noticed [mutate $name $edits] $tests} by]} {
    puts "! $by"
    incr failed
  } elseif {$by eq {}} {
    puts "! not noticed: $name ($tests)"
    incr failed
  } else {
    puts [format "noticed by %-18s %s (%.0f s)" $by $name \
        [expr {([clock milliseconds]-$started)/1000.0}]]
    incr passed
  }
  flush stdout
}
foreach test [lsort -unique [lmap test $every {
  expr {[program_of $test] eq "maphcrash" ? [list [lindex $test 0] 1] : $test}
}]] {
  if {[status_of $work/whole $test]==0} {incr passed} else {
    puts "! without a mutation $test fails: $last_output"
    incr failed
  }
}
file delete -force $work
puts "$passed passed, $failed failed"
exit [expr {$failed>0 || $passed==0}]
