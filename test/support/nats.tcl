# nats.tcl - NATS servers that a test starts and ends, and a client that judges what they hold.
# Source it behind tester.tcl.
#
#   nats_start ?NAME? ?CONFIG?       one server with JetStream, ready; CONFIG: more lines for it
#   nats_cluster NAMES ?CONFIG?      several that know each other, once they have a leader
#   nats_url ?NAME ...?              what --server gets: of all servers, or of these
#   nats_pid NAME, nats_log NAME
#   nats_end NAME ?SIGNAL?           by TERM or KILL; gone when this returns
#   nats_again NAME ?WAIT?           the same server, port and store; WAIT 0: not until it is ready
#   nats_freeze NAME, nats_thaw NAME
#   nats_store NAME                  its folder, to copy and put back while it is ended
#
# The client speaks the protocol itself, so that no fault is shared with what is under test.
#
#   nats_open ?NAME?                 a connection, a name for the following
#   nats_close C
#   nats_request C SUBJECT PAYLOAD ?HEADERS? ?SECONDS?
#                                    {STATUS HEADERS PAYLOAD}; STATUS {} where the answer has none
#   nats_api C NAME PAYLOAD          a request to $JS.API.NAME; its JSON, or an error
#   nats_create C BUCKET ?NAME VALUE ...?
#                                    a key-value bucket as other clients make it; fields of the
#                                    stream's configuration, in JSON
#   nats_update C BUCKET ?NAME VALUE ...?
#   nats_destroy C BUCKET
#   nats_info C BUCKET               JSON of the stream
#   nats_last C BUCKET               its last sequence
#   nats_put C BUCKET KEY VALUE ?HEADERS?     its revision
#   nats_delete C BUCKET KEY         a marker; its revision
#   nats_purge C BUCKET KEY          with all older revisions
#   nats_purge_deletes C BUCKET ?KEYS?     markers go, of all keys that have one or of these
#   nats_drop C BUCKET SEQUENCE      one message
#   nats_load C BUCKET COUNT OPTIONS...       many random changes, not waited for (see there)
#   nats_sync C                      once the server has read all that was sent
#
#   nats_bucket C BUCKET             {KEY {REVISION VALUE TIME_MS HEADERS} ...} of the living keys,
#                                    message by message from the server that C is connected to
#   store_entries FILE               {KEY {VERSION VALUE EXPIRES_MS} ...}
#   differences BUCKET STORE         at most 20 sentences; {}: equal, each version a revision
#   equal C BUCKET FILE              the differences of the two
#   until_equal C BUCKET FILE ?SECONDS?     waits for the version, then for no difference
#
#   fake_start BUCKET                fake-nats (test/nats) as the server "fake"; it needs no NATS
#   fake ORDER ?WORD ...?            an order to it (test/nats/fake.c); what it answers behind "ok"
#   fake_put KEY VALUE ?HEADERS?, fake_delete KEY, fake_twist SEQUENCE KIND ?TEXT? ?always?
#   fake_bucket                      as nats_bucket, without times and headers
#   hex BYTES
#
# The tests that need it begin with "if {![requires nats NAME]} finish_test".

array set nats {}
array set nats_channel {}
set nats_serial 0
# Seconds that an answer may take.  A server of a cluster without a leader never answers: a test of
# that waits shorter and asks again.
set nats_patience 60

# -------------------------------------------------------------------------------------- the servers
proc nats_write_config {name cluster more} {
  set port $::nats($name,port)
  set lines [list "server_name: $name" "listen: 127.0.0.1:$port" \
      "jetstream { store_dir: \"$::nats($name,store)\", max_mem: 256M, max_file: 4G }"]
  if {[llength $cluster]>0} {
    set routes [lmap other $cluster {string cat nats://127.0.0.1: $::nats($other,route)}]
    lappend lines "cluster { name: tests, listen: \"127.0.0.1:$::nats($name,route)\", \
        routes: \[[join $routes {, }]\] }"
  }
  set f [open $::dir/nats-$name.conf w]
  puts $f [join [list {*}$lines {*}$more] \n]
  close $f
}
proc nats_prepare {names more} {
  foreach name $names {
    set ::nats($name,port) [maph_hold_port]
    set ::nats($name,route) [maph_hold_port]
    set ::nats($name,store) $::dir/nats-$name
    set ::nats($name,log) $::dir/nats-$name.log
    lappend ::nats(names) $name
  }
  foreach name $names {
    nats_write_config $name [expr {[llength $names]>1 ? $names : {}}] $more
  }
}
proc nats_launch {name} {
  set ::nats($name,pid) [exec nats-server -c $::dir/nats-$name.conf >>& $::nats($name,log) &]
  # all.tcl ends by this file what a test leaves.
  set f [open $::dir/server-$::nats($name,pid).pid w]
  puts $f $::nats($name,pid)
  close $f
}
proc nats_start {{name a} {more {}}} {
  nats_prepare [list $name] $more
  nats_again $name
}
proc nats_cluster {names {more {}}} {
  nats_prepare $names $more
  foreach name $names {nats_launch $name}
  foreach name $names {nats_wait_ready $name}
}
proc nats_again {name {wait 1}} {
  nats_launch $name
  if {$wait} {nats_wait_ready $name}
}
# Ready: it answers JetStream requests; in a cluster that takes a leader.
proc nats_wait_ready {name} {
  until {![catch {
    set c [nats_open $name]
    set answer [nats_request $c \$JS.API.INFO {} {} 5]
    nats_close $c
  }] && [regexp {"memory"} [lindex $answer 2]] && ![regexp {"error"} [lindex $answer 2]]
      || [process_ended $::nats($name,pid)]}
  if {[process_ended $::nats($name,pid)]} {error "nats-server does not start: [nats_log $name]"}
}
proc nats_url {args} {
  if {[llength $args]==0} {set args $::nats(names)}
  join [lmap name $args {string cat nats://127.0.0.1: $::nats($name,port)}] ,
}
proc nats_pid {name} {return $::nats($name,pid)}
proc nats_store {name} {return $::nats($name,store)}
proc nats_log {name} {
  set f [open $::nats($name,log)]
  set text [read $f]
  close $f
  return $text
}
proc nats_running {name} {info exists ::nats($name,pid)}
proc nats_end {name {signal TERM}} {
  set pid $::nats($name,pid)
  unset ::nats($name,pid)
  catch {send_signal $signal $pid}
  # One that is stopped gets no other signal before it goes on.
  catch {send_signal CONT $pid}
  set deadline [expr {[clock milliseconds]+120000}]
  while {![process_ended $pid]} {
    if {[clock milliseconds]>$deadline} {
      send_signal KILL $pid
      set deadline [expr {[clock milliseconds]+120000}]
    }
    after 5
  }
  file delete $::dir/server-$pid.pid
}
proc nats_freeze {name} {
  set pid $::nats($name,pid)
  send_signal STOP $pid
  until {[regexp {\) T } [exec cat /proc/$pid/stat]]}
}
proc nats_thaw {name} {send_signal CONT $::nats($name,pid)}
# finish_test calls it.
proc nats_end_all {} {
  foreach c [array names ::nats_channel *,inbox] {catch {nats_close [lindex [split $c ,] 0]}}
  foreach name [expr {[info exists ::nats(names)] ? $::nats(names) : {}}] {
    if {[nats_running $name]} {nats_end $name KILL}
  }
}

# ----------------------------------------------------------------------------------- the connection
# A channel, and what was read ahead: answers by the subject that they came to.
proc nats_open {{name {}}} {
  if {$name eq {}} {set name [lindex $::nats(names) 0]}
  nats_open_port $::nats($name,port)
}
proc nats_open_port {port} {
  set c [socket 127.0.0.1 $port]
  fconfigure $c -translation binary -buffering full -buffersize 262144 -blocking 0
  set ::nats_channel($c,inbox) _INBOX.judge[pid]x[incr ::nats_serial]
  set ::nats_channel($c,next) 0
  set ::nats_channel($c,answers) {}
  nats_line $c 30
  puts -nonewline $c "CONNECT {\"verbose\":false,\"pedantic\":false,\"headers\":true,\
      \"no_responders\":true,\"lang\":\"tcl\",\"version\":\"1\",\"protocol\":1,\"name\":\"judge\"}\r
SUB $::nats_channel($c,inbox).> 1\r\n"
  nats_sync $c
  return $c
}
proc nats_close {c} {
  array unset ::nats_channel $c,*
  catch {close $c}
}
# Wait until there is something to read, in an event loop of one event.
proc nats_readable {c deadline} {
  set left [expr {$deadline-[clock milliseconds]}]
  if {$left<=0} {error "the NATS server is silent"}
  set timer [after $left {set ::nats_wake 1}]
  fileevent $c readable {set ::nats_wake 1}
  vwait ::nats_wake
  fileevent $c readable {}
  after cancel $timer
}
proc nats_line {c seconds} {
  set deadline [expr {[clock milliseconds]+1000*$seconds}]
  while {[gets $c line]<0} {
    if {[eof $c]} {error "the NATS server closed the connection"}
    nats_readable $c $deadline
  }
  string trimright $line \r
}
proc nats_bytes {c size seconds} {
  set deadline [expr {[clock milliseconds]+1000*$seconds}]
  set bytes [read $c $size]
  while {[string length $bytes]<$size} {
    if {[eof $c]} {error "the NATS server closed the connection"}
    nats_readable $c $deadline
    append bytes [read $c [expr {$size-[string length $bytes]}]]
  }
  return $bytes
}
# One thing that the server says: {msg SUBJECT REPLY HEADERS PAYLOAD} or {pong}.
proc nats_event {c seconds} {
  while 1 {
    set line [nats_line $c $seconds]
    switch -glob -- $line {
      MSG* - HMSG* {return [nats_message $c $line $seconds]}
      PING {
        puts -nonewline $c "PONG\r\n"
        flush $c
      }
      PONG {return pong}
      -ERR* {error "the NATS server says $line"}
    }
  }
}
proc nats_message {c line seconds} {
  set words [split $line]
  set total [lindex $words end]
  set heads [expr {[lindex $words 0] eq "HMSG" ? [lindex $words end-1] : 0}]
  set names [lrange $words 3 [expr {[lindex $words 0] eq "HMSG" ? "end-2" : "end-1"}]]
  set bytes [nats_bytes $c [expr {$total+2}] $seconds]
  list msg [lindex $words 1] [lindex $names 0] [string range $bytes 0 $heads-1] \
      [string range $bytes $heads end-2]
}
# {STATUS {NAME VALUE ...}} of a block of headers; names as they came.
proc nats_headers {block} {
  set status {}
  set all {}
  foreach line [split [string map {\r\n \n} $block] \n] {
    if {[regexp {^NATS/1\.0 ?(\S*)} $line -> code]} {
      set status $code
    } elseif {[regexp {^([^:]+): ?(.*)$} $line -> name value]} {
      dict set all $name $value
    }
  }
  list $status $all
}
proc nats_send {c subject reply payload {headers {}}} {
  if {[llength $headers]==0} {
    puts -nonewline $c "PUB $subject $reply [string length $payload]\r\n$payload\r\n"
    return
  }
  set block "NATS/1.0\r\n"
  foreach {name value} $headers {append block "$name: $value\r\n"}
  append block \r\n
  set heads [string length $block]
  puts -nonewline $c "HPUB $subject $reply $heads [expr {$heads+[string length $payload]}]\r\n"
  puts -nonewline $c "$block$payload\r\n"
}
# The token by which nats_answer knows the answer.
proc nats_ask {c subject payload {headers {}}} {
  set token [incr ::nats_channel($c,next)]
  nats_send $c $subject $::nats_channel($c,inbox).$token $payload $headers
  return $token
}
proc nats_answer {c token {seconds {}}} {
  if {$seconds eq {}} {set seconds $::nats_patience}
  set place $::nats_channel($c,inbox).$token
  if {[dict exists $::nats_channel($c,answers) $place]} {
    set answer [dict get $::nats_channel($c,answers) $place]
    dict unset ::nats_channel($c,answers) $place
    return $answer
  }
  flush $c
  while 1 {
    set event [nats_event $c $seconds]
    if {[lindex $event 0] ne "msg"} continue
    lassign [nats_headers [lindex $event 3]] status headers
    set answer [list $status $headers [lindex $event 4]]
    if {[lindex $event 1] eq $place} {return $answer}
    dict set ::nats_channel($c,answers) [lindex $event 1] $answer
  }
}
proc nats_request {c subject payload {headers {}} {seconds {}}} {
  nats_answer $c [nats_ask $c $subject $payload $headers] $seconds
}
proc nats_sync {c} {
  puts -nonewline $c "PING\r\n"
  flush $c
  while 1 {
    set event [nats_event $c 120]
    if {$event eq "pong"} return
    lassign [nats_headers [lindex $event 3]] status headers
    dict set ::nats_channel($c,answers) [lindex $event 1] [list $status $headers [lindex $event 4]]
  }
}

# -------------------------------------------------------------------------------------- JetStream
proc nats_checked {answer what} {
  lassign $answer status headers json
  if {$status ne {} || [regexp {"error":\{} $json]} {error "$what: $status $json"}
  return $json
}
proc nats_api {c name payload} {
  nats_checked [nats_request $c \$JS.API.$name $payload] $name
}
# A number of the JSON, the first of that name behind the text AFTER.
proc nats_number {json name {after {}}} {
  set from [expr {$after eq {} ? 0 : [string first $after $json]}]
  if {![regexp -start $from "\"$name\":(-?\[0-9\]+)" $json -> number]} {error "no $name in $json"}
  return $number
}
proc nats_stream_config {bucket changes} {
  set config [dict create name "\"KV_$bucket\"" subjects "\[\"\$KV.$bucket.>\"\]" \
      max_msgs_per_subject 1 max_bytes -1 max_age 0 max_msg_size -1 storage {"file"} \
      retention {"limits"} discard {"new"} num_replicas 1 duplicate_window 120000000000 \
      deny_delete true allow_rollup_hdrs true allow_direct true max_consumers -1 max_msgs -1]
  foreach {name value} $changes {dict set config $name $value}
  set members {}
  dict for {name value} $config {lappend members "\"$name\":$value"}
  string cat \{ [join $members ,] \}
}
proc nats_create {c bucket args} {
  nats_api $c STREAM.CREATE.KV_$bucket [nats_stream_config $bucket $args]
}
proc nats_update {c bucket args} {
  nats_api $c STREAM.UPDATE.KV_$bucket [nats_stream_config $bucket $args]
}
proc nats_destroy {c bucket} {nats_api $c STREAM.DELETE.KV_$bucket {}}
proc nats_info {c bucket} {nats_api $c STREAM.INFO.KV_$bucket {}}
proc nats_last {c bucket} {nats_number [nats_info $c $bucket] last_seq {"state":}}
proc nats_put {c bucket key value {headers {}}} {
  nats_number [nats_checked [nats_request $c \$KV.$bucket.$key $value $headers] "put $key"] seq
}
proc nats_delete {c bucket key} {nats_put $c $bucket $key {} {KV-Operation DEL}}
proc nats_purge {c bucket key} {
  nats_put $c $bucket $key {} {KV-Operation PURGE Nats-Rollup sub}
}
proc nats_drop {c bucket sequence} {
  nats_api $c STREAM.MSG.DELETE.KV_$bucket "{\"seq\":$sequence,\"no_erase\":true}"
}
proc nats_purge_deletes {c bucket {keys {}}} {
  if {[llength $keys]==0} {
    dict for {key entry} [nats_messages $c $bucket] {
      if {[nats_is_marker [lindex $entry 3]]} {lappend keys $key}
    }
  }
  foreach key $keys {
    nats_api $c STREAM.PURGE.KV_$bucket "{\"filter\":\"\$KV.$bucket.$key\"}"
  }
}

# COUNT changes of random keys, sent and not waited for, so that the server is the one that is
# behind:
#   -keys N        key1 .. keyN
#   -size BYTES    of a value, at most
#   -deletes P, -purges P     of 1000 changes
#   -rate N        changes a second; 0: as fast as it goes
#   -prefix TEXT   of the values, so that two loads never write the same
proc nats_load {c bucket count args} {
  array set option {-keys 1000 -size 200 -deletes 0 -purges 0 -rate 0 -prefix v}
  array set option $args
  set filler [string repeat x $option(-size)]
  set begun [clock milliseconds]
  for {set i 0} {$i<$count} {incr i} {
    set subject \$KV.$bucket.key[expr {1+[random $option(-keys)]}]
    set what [random 1000]
    if {$what<$option(-deletes)} {
      nats_send $c $subject {} {} {KV-Operation DEL}
    } elseif {$what<$option(-deletes)+$option(-purges)} {
      nats_send $c $subject {} {} {KV-Operation PURGE Nats-Rollup sub}
    } else {
      set value $option(-prefix)$i:[string range $filler 0 [random $option(-size)]]
      nats_send $c $subject {} $value
    }
    if {$i%100==99} {
      flush $c
      if {$option(-rate)>0} {
        set early [expr {$begun+1000*$i/$option(-rate)-[clock milliseconds]}]
        if {$early>0} {after $early}
      }
    }
  }
  nats_sync $c
}

# ------------------------------------------------------------------------------------ the judgement
proc nats_is_marker {headers} {
  expr {[dict exists $headers KV-Operation] && [dict get $headers KV-Operation] in {DEL PURGE}
      || [dict exists $headers Nats-Marker-Reason]}
}
# {2026-11-29T18:02:36.123456789Z} in milliseconds.
proc nats_time {text} {
  if {![regexp {^(\d+)-(\d+)-(\d+)T(\d+):(\d+):(\d+)(?:\.(\d+))?Z$} $text -> y m d H M S part]} {
    error "no time: $text"
  }
  set seconds [clock scan "$y-$m-$d $H:$M:$S" -format {%Y-%m-%d %H:%M:%S} -gmt 1]
  scan [string range [string cat $part 000] 0 2] %d part
  expr {1000*$seconds+$part}
}

# The last message of each key, markers too: {KEY {REVISION VALUE TIME HEADERS} ...}.  Sixteen
# walkers ask for the next message of their part of the sequences, so that the answers overlap.
proc nats_messages {c bucket} {
  set info [nats_info $c $bucket]
  set first [nats_number $info first_seq {"state":}]
  set last [nats_number $info last_seq {"state":}]
  set direct [regexp {"allow_direct":true} $info]
  set part [expr {($last-$first)/16+1}]
  set walkers {}
  set found {}
  for {set from $first} {$from<=$last} {incr from $part} {
    lappend walkers [list $from [expr {min($from+$part-1,$last)}]]
  }
  while {[llength $walkers]>0} {
    set waiting [lmap walker $walkers {
      list [nats_ask_next $c $bucket $direct [lindex $walker 0]] [lindex $walker 1]
    }]
    set walkers {}
    foreach pair $waiting {
      lassign $pair token end
      set message [nats_found [nats_answer $c $token] $direct]
      if {$message eq {} || [lindex $message 1]>$end} continue
      lassign $message subject sequence
      lappend found [list $sequence [string range $subject [string length \$KV.$bucket.] end] \
          {*}[lrange $message 2 end]]
      if {$sequence<$end} {lappend walkers [list [expr {$sequence+1}] $end]}
    }
  }
  set keys {}
  foreach message [lsort -integer -index 0 $found] {
    lassign $message sequence key value time headers
    dict set keys $key [list $sequence $value $time $headers]
  }
  return $keys
}
proc nats_ask_next {c bucket direct sequence} {
  set name [expr {$direct ? "DIRECT.GET" : "STREAM.MSG.GET"}]
  nats_ask $c \$JS.API.$name.KV_$bucket "{\"seq\":$sequence,\"next_by_subj\":\">\"}"
}
# {SUBJECT SEQUENCE VALUE TIME HEADERS}, or {} where there is none.
proc nats_found {answer direct} {
  lassign $answer status headers payload
  if {$direct} {
    if {$status eq 404} {return {}}
    if {$status ne {} || ![dict exists $headers Nats-Sequence]} {error "direct get: $answer"}
    return [list [dict get $headers Nats-Subject] [dict get $headers Nats-Sequence] $payload \
        [dict get $headers Nats-Time-Stamp] $headers]
  }
  if {[regexp {"err_code":10037} $payload]} {return {}}
  nats_checked $answer "message get"
  set data {}
  set block {}
  regexp {"data":"([^"]*)"} $payload -> data
  regexp {"hdrs":"([^"]*)"} $payload -> block
  regexp {"subject":"([^"]*)"} $payload -> subject
  regexp {"time":"([^"]*)"} $payload -> time
  list $subject [nats_number $payload seq] [binary decode base64 $data] $time \
      [lindex [nats_headers [binary decode base64 $block]] 1]
}
proc nats_bucket {c bucket} {
  set living {}
  dict for {key message} [nats_messages $c $bucket] {
    lassign $message sequence value time headers
    if {[nats_is_marker $headers]} continue
    dict set living $key [list $sequence $value [nats_time $time] $headers]
  }
  return $living
}
proc store_entries {file} {
  set store [maph open $file -flags rdonly]
  set all {}
  foreach entry [entries [$store cursor]] {
    dict set all [dict get $entry key] [list [dict get $entry version] [dict get $entry value] \
        [dict get $entry expires]]
  }
  $store close
  return $all
}
proc store_version {file} {
  set store [maph open $file -flags rdonly]
  set version [dict get [$store stat] version]
  $store close
  return $version
}
proc differences {bucket store} {
  set all {}
  dict for {key entry} $bucket {
    if {![dict exists $store $key]} {
      lappend all "$key is missing: revision [lindex $entry 0]"
    } elseif {[lindex [dict get $store $key] 0]!=[lindex $entry 0]} {
      lappend all "$key has version [lindex [dict get $store $key] 0], not [lindex $entry 0]"
    } elseif {[lindex [dict get $store $key] 1] ne [lindex $entry 1]} {
      lappend all "$key has another value at revision [lindex $entry 0]"
    }
    dict unset store $key
  }
  dict for {key entry} $store {lappend all "$key is a ghost: version [lindex $entry 0]"}
  lrange $all 0 19
}
proc equal {c bucket file} {
  differences [nats_bucket $c $bucket] [store_entries $file]
}
# Readers may meet no file yet, and one at any version, while its follower works.
proc until_equal {c bucket file {seconds 120}} {
  set deadline [expr {[clock milliseconds]+1000*$seconds}]
  set last [nats_last $c $bucket]
  while 1 {
    set code [catch {store_version $file} version]
    if {!$code && $version>=$last} break
    if {[clock milliseconds]>$deadline} {error "not at $last in $seconds s, but: $version"}
    after 20
  }
  while {[set found [equal $c $bucket $file]] ne {}} {
    if {[clock milliseconds]>$deadline} {return $found}
    after 100
  }
}

# ----------------------------------------------------------------------------------------- the fake
proc hex {bytes} {
  if {$bytes eq {}} {return -}
  binary encode hex $bytes
}
proc fake_start {bucket} {
  set port [maph_hold_port]
  set ::nats(fake,port) $port
  lappend ::nats(names) fake
  set ::fake [open "|[list $::build/fake-nats $port $bucket 2>@stderr]" r+]
  fconfigure $::fake -translation binary -buffering line
  if {[gets $::fake] ne "ready"} {error "fake-nats does not start"}
}
proc fake {args} {
  puts $::fake $args
  set line [gets $::fake]
  if {![regexp {^ok ?(.*)$} $line -> rest]} {error "fake-nats: $args: $line"}
  return $rest
}
proc fake_put {key value {headers {}}} {
  set block {}
  if {$headers ne {}} {
    set block NATS/1.0\r\n
    foreach {name text} $headers {append block "$name: $text\r\n"}
    append block \r\n
  }
  fake put $key [hex $value] [hex $block]
}
proc fake_delete {key} {fake_put $key {} {KV-Operation DEL}}
proc fake_twist {sequence kind {text {}} args} {fake twist $sequence $kind [hex $text] {*}$args}
proc fake_bucket {} {
  set all {}
  foreach message [fake dump] {
    lassign $message sequence key digits marker
    if {$marker} continue
    dict set all $key [list $sequence [binary decode hex [string map {- {}} $digits]]]
  }
  return $all
}
