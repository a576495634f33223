# http_client.tcl - raw connections to the server that start_server began, for what `http` of
# tester.tcl cannot say.
#
#   raw_open                     a connection that stays
#   raw_send CHANNEL BYTES       exactly these bytes
#   raw_reply CHANNEL ?HEAD?  the next answer: {status N headers {..} body B}; HEAD 1: an answer
#   without a body
#   raw BYTES                    open, send, one answer, close
#   raw_status BYTES             its status; "closed" when the server just closes
#   closed CHANNEL               whether the server has closed it (waits until something is known)
#   host                         a good Host line
#   next_line CHANNEL            like gets and read, but an error when nothing comes for 120 s
#   next_bytes CHANNEL SIZE
#   json_field BODY NAME         the value of a member, good enough for flat answers
#   curl ARGS                    curl's output; $url stands for the server

proc url {} {return http://127.0.0.1:$::server(port)}
proc host {} {return "Host: 127.0.0.1:$::server(port)\r\n"}

proc raw_open {} {
  set channel [socket 127.0.0.1 $::server(port)]
  fconfigure $channel -translation binary -buffering none
  return $channel
}
proc raw_send {channel bytes} {puts -nonewline $channel $bytes}

proc raw_reply {channel {no_body 0}} {
  # Also when the server resets a connection whose request it has not read whole.
  if {[catch {gets $channel} line] || ![regexp {^HTTP/1\.1 (\d+)} $line -> status]} {
    return [dict create status closed headers {} body $line]
  }
  set headers {}
  while {[set line [string trimright [gets $channel] \r]] ne {}} {
    regexp {^([^:]+): ?(.*)$} $line -> name value
    dict set headers [string tolower $name] $value
  }
  set body {}
  if {!$no_body && $status!=204 && $status!=304 && $status!=100} {
    if {[dict exists $headers transfer-encoding]} {
      while {[scan [gets $channel] %x size]==1 && $size>0} {
        append body [read $channel $size]
        gets $channel
      }
      gets $channel
    } else {
      set body [read $channel [dict get $headers content-length]]
    }
  }
  dict create status $status headers $headers body $body
}

# With nothing to read for 120 s, an error; else what SCRIPT reads.
proc patiently {channel script} {
  set deadline [expr {[clock milliseconds]+120000}]
  fconfigure $channel -blocking 0
  while {[set result [uplevel 1 $script]] eq "later" && ![eof $channel]} {
    if {[clock milliseconds]>$deadline} {error "nothing came for 120 s"}
    after 1
  }
  fconfigure $channel -blocking 1
  return $result
}
proc next_line {channel} {
  set line {}
  patiently $channel {expr {[gets $channel line]<0 ? "later" : "now"}}
  return $line
}
proc next_bytes {channel size} {
  set bytes {}
  patiently $channel {append bytes [read $channel [expr {$size-[string length $bytes]}]]; expr\
      {[string length $bytes]<$size ? "later" : "now"}}
  return $bytes
}

proc raw {bytes} {
  set channel [raw_open]
  raw_send $channel $bytes
  set reply [raw_reply $channel]
  close $channel
  return $reply
}
proc raw_status {bytes} {dict get [raw $bytes] status}
proc closed {channel} {
  if {[catch {read $channel 1} byte]} {return 1}
  expr {$byte eq {} && [eof $channel]}
}

proc json_field {body name} {
  set string [format {"%s":"((?:[^"\\]|\\.)*)"} $name]
  set other [format {"%s":([^,\x7d\s]+)} $name]
  if {[regexp $string $body -> value] || [regexp $other $body -> value]} {return $value}
  return {}
}
proc header {reply name} {
  expr {[dict exists $reply headers $name] ? [dict get $reply headers $name] : {}}
}
proc code {reply} {json_field [dict get $reply body] code}
proc curl {args} {exec curl -s --max-time 60 {*}$args}
