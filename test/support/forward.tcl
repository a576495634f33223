# forward.tcl - machines that serve replicas of a bucket over HTTP and send writes to it.  Source it
# behind http_client.tcl, nats.tcl and bucket.tcl.
#
#   machine_start NAME BUCKET ?SERVER-OPTION ...?
#                            a folder with a replica BUCKET.maph, its follower, a relay and a server
#   at NAME SCRIPT           the script with that machine's server as `http` and others know it
#   machine_file NAME        its replica; the bucket's name is the store's
#   machine_pid NAME WHAT    of its follower, relay or server
#   relay_start NAME ?OPTION ...?, relay_stop NAME ?SIGNAL?
#   child_of PID             the process that it supervises
#   machines_end
#
#   count_over_http MACHINES BUCKET CLIENTS TIMES
#                            so many clients add 1 to the key counter so many times each, by GET and
#                            PUT with If-Match, each over all of these machines in turn: {SUCCESSES
#                            VALUE UNKNOWN} and, where something went wrong, what

proc machine_note {pid} {
  set f [open $::dir/server-$pid.pid w]
  puts $f $pid
  close $f
  return $pid
}
proc machine_file {name} {return $::machine($name,folder)/$::machine($name,bucket).maph}
proc machine_pid {name what} {return $::machine($name,$what)}
proc child_of {pid} {
  until {![catch {exec cat /proc/$pid/task/$pid/children} child] && $child ne {}}
  string trim $child
}
# How often a relay of that machine has said that it takes writes.
proc relay_starts {name} {
  if {![file exists $::dir/$name-relay.log]} {return 0}
  regexp -all {takes writes at} [exec cat $::dir/$name-relay.log]
}
proc relay_start {name args} {
  set socket $::dir/$name.socket
  set before [relay_starts $name]
  set ::machine($name,relay) [machine_note [exec $::build/maph-replica relay $socket {*}$args \
      >>& $::dir/$name-relay.log &]]
  until {[relay_starts $name]>$before || [process_ended $::machine($name,relay)]}
  if {[relay_starts $name]==$before} {error [exec cat $::dir/$name-relay.log]}
}
proc relay_stop {name {signal TERM}} {
  send_signal $signal $::machine($name,relay)
  until {[process_ended $::machine($name,relay)]}
}
proc machine_start {name bucket args} {
  set folder $::dir/$name
  file mkdir $folder
  set ::machine($name,folder) $folder
  set ::machine($name,bucket) $bucket
  set ::machine($name,follower) [machine_note [exec $::build/maph-replica follow $bucket \
      $folder/$bucket.maph >>& $::dir/$name-follow.log &]]
  relay_start $name
  set waited [replica wait $folder/$bucket.maph --timeout 120s]
  if {[lindex $waited 0]!=0} {error $waited}
  run_server [list $::build/maph-server --data $folder --listen $::server_listens_at \
      --replica-socket $::dir/$name.socket {*}$args]
  set ::server(data) $folder
  set ::machine($name,server) $::server(pid)
  set ::machine($name,state) [array get ::server]
  lappend ::machine(names) $name
}
proc at {name script} {
  array set ::server $::machine($name,state)
  uplevel 1 $script
}
proc machines_end {} {
  foreach name $::machine(names) {
    at $name stop_server
    foreach what {relay follower} {
      catch {send_signal TERM $::machine($name,$what)}
      until {[process_ended $::machine($name,$what)]}
    }
  }
}

# ------------------------------------------------------------------------------------ many clients
set http_counter {
  lassign $argv bucket times ports
  fconfigure stdout -buffering line
  proc request {port method path headers body} {
    set channel [socket 127.0.0.1 $port]
    fconfigure $channel -translation binary
    puts -nonewline $channel "$method $path HTTP/1.1\r\nHost: 127.0.0.1:$port\r\nConnection: close\
        \r\nContent-Length: [string length $body]\r\n$headers\r\n$body"
    flush $channel
    set reply [read $channel]
    close $channel
    if {![regexp {^HTTP/1\.1 (\d+)} $reply -> status]} {return {0 {} {}}}
    set tag {}
    regexp -nocase {\r\nETag: ("\d+")} $reply -> tag
    list $status $tag [string range $reply [string first \r\n\r\n $reply]+4 end]
  }
  set done 0
  set unknown 0
  set wrong {}
  set turn 0
  while {$done<$times && $wrong eq {}} {
    set port [lindex $ports [expr {[incr turn]%[llength $ports]}]]
    lassign [request $port GET /stores/$bucket/keys/counter {} {}] status tag value
    if {$status!=200} {
      lappend wrong "get: $status $value"
      break
    }
    set port [lindex $ports [expr {[incr turn]%[llength $ports]}]]
    lassign [request $port PUT /stores/$bucket/keys/counter "If-Match: $tag\r\n" \
        [expr {$value+1}]] status tag text
    switch $status {
      200 {incr done}
      412 {}
      503 {after 5}
      504 {incr unknown}
      default {lappend wrong "put: $status $text"}
    }
  }
  puts [list $done $unknown $wrong]
}
proc count_over_http {names bucket clients times} {
  set ports [lmap name $names {dict get $::machine($name,state) port}]
  set f [open $::dir/http_counter.tcl w]
  puts $f $::http_counter
  close $f
  set channels {}
  for {set i 0} {$i<$clients} {incr i} {
    lappend channels [open "|[list [info nameofexecutable] $::dir/http_counter.tcl $bucket $times \
        $ports]"]
  }
  set done 0
  set unknown 0
  set wrong {}
  foreach channel $channels {
    lassign [gets $channel] count lost mistakes
    incr done $count
    incr unknown $lost
    lappend wrong {*}$mistakes
    close $channel
  }
  list $done [lindex [replica get $bucket counter] 1] $unknown {*}$wrong
}
