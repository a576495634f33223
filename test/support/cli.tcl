# cli.tcl - the program maph, run as a shell would run it.
#
#   cli ARG... ?-in BYTES? ?-to FILE?  run it: {STATUS OUTPUT}; $err is what it said on standard
#   error.  A signal is a STATUS such as SIGINT. status ARG...  its exit status
#   said RE                             whether $err matches
#   shell SCRIPT                        the same through sh, where $maph is the program
#   cli_start CHANNEL-MODE ARG...       started with a pipe; the channel
#   cli_end CHANNEL                     {STATUS OUTPUT}, once it ended
#   write_file NAME BYTES  read_file NAME      in $dir, binary
#   on_terminal ARG...  what a terminal gets to see of it (standard output and error together)
#   on_terminal_shell COMMAND           the same of a command for sh
#   other_files  what is in $dir but the names given: temporary files that stayed

set maph $build/maph
set env(maph) $maph
cd $dir

proc write_file {name bytes} {
  set f [open $::dir/$name wb]
  puts -nonewline $f $bytes
  close $f
}
proc read_file {name} {
  set f [open $::dir/$name rb]
  set bytes [read $f]
  close $f
  return $bytes
}

# What exec's error says of how the process ended.
proc ended {failed options} {
  if {!$failed} {return 0}
  set code [dict get $options -errorcode]
  switch [lindex $code 0] {
    CHILDSTATUS {return [lindex $code 2]}
    CHILDKILLED {return [lindex $code 2]}
  }
  error $code
}

proc cli {args} {
  set in {}
  set to .out
  while {[set i [lsearch -exact $args -in]]>=0} {
    set in [lindex $args $i+1]
    set args [lreplace $args $i $i+1]
  }
  while {[set i [lsearch -exact $args -to]]>=0} {
    set to [lindex $args $i+1]
    set args [lreplace $args $i $i+1]
  }
  write_file .in $in
  set failed [catch {exec -- $::maph {*}$args <$::dir/.in >$::dir/$to 2>$::dir/.err} result options]
  set ::err [read_file .err]
  list [ended $failed $options] [read_file $to]
}
proc status {args} {lindex [cli {*}$args] 0}
proc output {args} {lindex [cli {*}$args] 1}
proc said {re} {regexp -- $re $::err}

proc shell {script} {
  set failed [catch {exec sh -c $script </dev/null >$::dir/.out 2>$::dir/.err} result options]
  set ::err [read_file .err]
  list [ended $failed $options] [read_file .out]
}

proc cli_start {mode args} {
  set channel [open "|[list $::maph {*}$args 2>$::dir/.err]" $mode]
  fconfigure $channel -translation binary -buffering none
  return $channel
}
proc cli_end {channel} {
  set out {}
  catch {close $channel write}
  catch {set out [read $channel]}
  set failed [catch {close $channel} result options]
  set ::err [read_file .err]
  list [ended $failed $options] $out
}

proc on_terminal {args} {
  on_terminal_shell \
      [join [lmap word [list $::maph {*}$args] {string cat ' [string map {' '\\''} $word] '}] { }]
}
# The same of a command for sh.
proc on_terminal_shell {command} {
  catch {exec timeout 120 script -qec $command /dev/null </dev/null >$::dir/.out}
  read_file .out
}

# Each byte as \xHH.
proc hex {bytes} {
  binary scan $bytes H* digits
  regsub -all {..} $digits {\\x&}
}
proc json_number {json name} {
  regexp "\"$name\":(\[0-9.\]+)" $json -> number
  return $number
}

proc other_files {args} {
  lsort [lmap file [glob -nocomplain -directory $::dir -tails * .*] {
    if {$file in {. .. .in .out .err} || $file in $args} continue
    set file
  }]
}
