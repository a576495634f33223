# bucket.tcl - maph-replica as tests of its writing side call it.  Source it behind nats.tcl.
#
#   replica ARGUMENT...          {EXIT-STATUS STDOUT STDERR}, the server's URL from the environment
#   last BUCKET KEY              {REVISION VALUE HEADERS} of its last message, as the judge $c reads
#                                it, without the headers of NATS; {}: it has none
#   count_together BUCKET PROCESSES TIMES
#                                so many processes add 1 to one key so many times, each time under
#                                the condition that nobody was there before: {SUCCESSES VALUE} and,
#                                where something went wrong, what

proc replica {args} {
  set failed [catch {
    exec sh -c {exec "$@" 2>$0} $::dir/errors $::build/maph-replica {*}$args
  } output options]
  set status 0
  if {$failed} {
    set code [dict get $options -errorcode]
    if {[lindex $code 0] ne "CHILDSTATUS"} {error "$code $output"}
    set status [lindex $code 2]
    regsub {\n?child process exited abnormally$} $output {} output
  }
  set f [open $::dir/errors]
  fconfigure $f -translation binary
  set errors [string trim [string map {{maph-replica: } {}} [read $f]]]
  close $f
  list $status $output $errors
}
proc last {bucket key} {
  set messages [nats_messages $::c $bucket]
  if {![dict exists $messages $key]} {return {}}
  lassign [dict get $messages $key] sequence value time headers
  list $sequence $value [dict filter $headers script {name said} {
    expr {![string match Nats-* $name]}
  }]
}

# Each adds one to a counter so many times, and notes each success.
set counter {
  lassign $argv program bucket times
  proc run {args} {
    if {![catch {exec $::program {*}$args 2>@1} out options]} {return [list 0 $out]}
    list [lindex [dict get $options -errorcode] 2] $out
  }
  set done 0
  set wrong {}
  while {$done<$times} {
    lassign [run get --json $bucket counter] status text
    if {$status!=0 || ![regexp {"value":"(\d+)","revision":(\d+)} $text -> value revision]} {
      lappend wrong $text
      break
    }
    lassign [run put $bucket counter [expr {$value+1}] --if-revision $revision] status text
    if {$status==0} {incr done} elseif {$status!=1} {
      lappend wrong $text
      break
    }
  }
  puts [list $done $wrong]
}
proc count_together {bucket processes times} {
  replica put $bucket counter 0
  set f [open $::dir/counter.tcl w]
  puts $f $::counter
  close $f
  set channels {}
  for {set i 0} {$i<$processes} {incr i} {
    lappend channels [open "|[list [info nameofexecutable] $::dir/counter.tcl \
        $::build/maph-replica $bucket $times]"]
  }
  set done 0
  set wrong {}
  foreach channel $channels {
    lassign [gets $channel] count mistakes
    incr done $count
    lappend wrong {*}$mistakes
    close $channel
  }
  list counted $done bucket [lindex [replica get $bucket counter] 1] wrong $wrong
}
