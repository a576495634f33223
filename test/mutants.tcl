# mutants.tcl - take each rule that keeps data safe out of a copy of core and server, one at a time;
# a crash test must then fail.
#
#   MAPH_TEST_COMPILE='cc FLAGS' MAPH_TEST_LIBRARIES='-lcmph -lcivetweb' build/maphtest
#   test/mutants.tcl ?PATTERN...?  make mutants does this
#
# test/mutants.list holds them.  One of a mutant's tests must fail; without a mutation all pass.
# Text that is gone is an error: the rule moved, and so must its mutant.

set top [file dirname [file dirname [file normalize [info script]]]]
set compile $env(MAPH_TEST_COMPILE)
set libraries $env(MAPH_TEST_LIBRARIES)
set work [exec mktemp -d -t maph-mutants.XXXXXX]
set patterns [expr {[llength $argv] ? $argv : "*"}]

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

proc compile {source object} {
  exec -ignorestderr {*}$::compile -w -DMAPH_TEST -I$::work/core -I$::top/ext -I$::work/server \
      -I$::top/test/binding -c -o $object $source 2>@1
}
proc core_sources {} {
  lmap file [glob $::work/core/*/*.c] {
    if {[string match */core/example/* $file]} continue
    set file
  }
}
# The objects of some sources; those that did not change are there already.
proc objects_of {sources changed} {
  set objects {}
  foreach source [lsort $sources] {
    set object $::work/whole/[file tail [file dirname $source]]-[file rootname \
        [file tail $source]].o
    if {$changed eq "all" || $source in $changed} {
      if {$changed ne "all"} {set object $::work/mutant/[file tail $object]}
      compile $source $object
    }
    lappend objects $object
  }
  return $objects
}
# As in Makefile.in: the server is one object that shows server_main alone.
proc server_object {changed} {
  set object $::work/whole/server.o
  if {$changed eq "all" || [lsearch -glob $changed $::work/server/*]>=0} {
    set object [expr {$changed eq "all" ? $object : "$::work/mutant/server.o"}]
    set sources [glob $::work/server/*.c $::work/server/*/*.c $::top/ext/entry/*.c \
        $::top/ext/option/*.c]
    exec ld -r -o $object.all {*}[objects_of $sources $changed]
    exec objcopy --redefine-sym main=server_main $object.all
    exec objcopy --keep-global-symbol=server_main --keep-global-symbol=accept $object.all $object
  }
  return $object
}
proc build_program {program changed} {
  set objects [objects_of [concat [core_sources] [glob $::top/test/crash/*.c]] $changed]
  exec {*}$::compile -o $program {*}$objects [server_object $changed] {*}$::libraries
}

proc restore_sources {} {
  foreach room {core server} {
    file delete -force $::work/$room
    file copy $::top/$room $::work/$room
  }
}

# The status of a test.  A mutant may also loop: it is given up after some time, which counts as
# noticed.
proc status_of {program test} {
  if {![catch {exec -ignorestderr timeout -s KILL 1200 $program {*}$test 2>@1} output options]} {
    return 0
  }
  set code [dict get $options -errorcode]
  set ::last_output $output
  expr {[lindex $code 0] eq "CHILDSTATUS" ? [lindex $code 2] : 137}
}

proc noticed {name files tests} {
  restore_sources
  file delete -force $::work/mutant
  file mkdir $::work/mutant
  set changed {}
  dict for {file text} $files {
    spit $::work/$file $text
    lappend changed $::work/$file
  }
  if {[lsearch -glob $changed *.h]>=0} {set changed [core_sources]}
  build_program $::work/maphcrash-mutant $changed
  foreach test $tests {
    if {[status_of $::work/maphcrash-mutant $test]!=0} {return $test}
  }
  return {}
}

file mkdir $work/whole
restore_sources
build_program $work/maphcrash all
set mutants [read_mutants $top/test/mutants.list]
set passed 0
set failed 0
set every {}
foreach mutant $mutants {
  lassign $mutant name edits tests
  if {![llength [lsearch -all -inline -glob -not [lmap p $patterns {string match *$p* $name}] 0]]} \
      continue
  lappend every {*}$tests
  set started [clock milliseconds]
  if {[catch {noticed $name [mutate $name $edits] $tests} by]} {
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
foreach test [lsort -unique [lmap test $every {list [lindex $test 0] 1}]] {
  if {[status_of $work/maphcrash $test]==0} {incr passed} else {
    puts "! without a mutation $test fails: $last_output"
    incr failed
  }
}
file delete -force $work
puts "$passed passed, $failed failed"
exit [expr {$failed>0 || $passed==0}]
